//! What a run and its load say to each other: one line of JSON each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::results::WarmUp;
use crate::step::record::OwnWrites;
use crate::step::{Operation, WindowSpec};

/// The load's file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadConfig {
    /// The store.
    pub target: TargetConfig,
    /// Size of small objects in bytes.
    pub value_bytes: usize,
    /// How many each client has, and takes in turn.
    pub objects_per_client: u32,
    /// When an operation is given up, in ms.
    pub deadline_ms: u64,
    /// Seed of the objects' contents.
    pub seed: u64,
    /// Begins the keys of large values: two loads never write the same object.
    pub large_prefix: String,
}

/// How to reach the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetConfig {
    /// Client files that know node 1, this site's nodes, and all.
    Vivace {
        /// The measuring client's.
        client: PathBuf,
        /// This site's.
        site: PathBuf,
        /// All nodes'.
        all: PathBuf,
    },
    /// The members' client URLs, this site's first.
    Etcd {
        /// `http://ADDRESS:PORT`.
        members: Vec<String>,
    },
}

/// What a run asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Wait until the store serves and all its processes have found each other.
    Ready {
        /// For at most so long, in ms.
        patience_ms: u64,
    },
    /// Write the objects of a window for the first time.
    Prepare {
        /// The algorithm.
        system: String,
        /// What will be done.
        operation: Operation,
        /// How many objects.
        at_once: usize,
    },
    /// Wait until all values are where they belong.
    Settle {
        /// For at most so long, in ms.
        patience_ms: u64,
    },
    /// Wait until a node of this site warns of marks that the network does not keep.
    Alarm {
        /// For at most so long, in ms.
        patience_ms: u64,
    },
    /// Measure.
    Measure(Measure),
    /// Begin to write large values until told to stop.
    StartWrites {
        /// Size of each.
        bytes: usize,
        /// How many at once at most.
        at_once: usize,
        /// Bytes a second.
        bytes_per_second: f64,
    },
    /// Stop writing, and say what came of it.
    StopWrites,
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measure {
    /// What.
    pub window: WindowSpec,
    /// Where every operation goes: `begin_ns,end_ns,outcome` a line, with a heading.
    pub samples: PathBuf,
    /// Operations of each client before, which count nowhere.
    pub warm_up: u64,
    /// And for at most so long, in ms.
    pub warm_up_ms: u64,
    /// Over this time clients begin, one after the other, in ms.
    pub spread_ms: u64,
}

impl Measure {
    /// Over so long clients begin where nothing speaks against it.
    pub const SPREAD: Duration = Duration::from_millis(100);
}

/// What the load answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is done.
    Done,
    /// The wait for quiet ended; none where the store can't tell.
    Settled(Option<bool>),
    /// The alarm's words; none where it did not come, or the store knows no alarms.
    Alarmed(Option<String>),
    /// The window's measured part has begun.
    Began,
    /// It was measured.
    Measured(Measured),
    /// What the writers did.
    Wrote(OwnWrites),
    /// It failed.
    Failed(String),
}

/// What came of a measurement, beside the samples.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// What went before.
    pub warm_up: WarmUp,
    /// From the first operation's begin to the last one's end, in seconds.
    pub seconds: f64,
    /// Some of the failures in full.
    pub failures_said: Vec<String>,
    /// What a reader must know of it.
    pub notes: Vec<String>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Begin, by the monotonic clock.
    pub begin_ns: u64,
    /// End.
    pub end_ns: u64,
    /// None for a result, or the failure's cause in a word.
    pub failure: Option<String>,
}

/// What a line of samples calls a result.
const OK: &str = "ok";

impl Sample {
    /// The samples' heading.
    pub const HEADING: &str = "begin_ns,end_ns,outcome";

    /// Its line.
    pub fn line(&self) -> String {
        let outcome = self.failure.as_deref().unwrap_or(OK);
        format!("{},{},{outcome}", self.begin_ns, self.end_ns)
    }

    /// Reads lines with their heading; none where one is no sample.
    pub fn parse_all(text: &str) -> Option<Vec<Self>> {
        let mut lines = text.lines();
        if lines.next() != Some(Self::HEADING) {
            return None;
        }
        lines.map(Self::parse).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(3, ',');
        let begin_ns = fields.next()?.parse().ok()?;
        let end_ns = fields.next()?.parse().ok()?;
        let outcome = fields.next()?;
        Some(Self {
            begin_ns,
            end_ns,
            failure: (outcome != OK).then(|| outcome.to_owned()),
        })
    }

    /// Failures by cause.
    pub fn failures(samples: &[Self]) -> BTreeMap<String, u64> {
        let mut failures = BTreeMap::new();
        for cause in samples.iter().filter_map(|sample| sample.failure.as_ref()) {
            *failures.entry(cause.clone()).or_default() += 1;
        }
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::Sample;

    #[test]
    fn samples_come_back_as_they_were_written() {
        let sample = |failure: Option<&str>| Sample {
            begin_ns: 12,
            end_ns: 34,
            failure: failure.map(str::to_owned),
        };
        let samples = vec![sample(None), sample(Some("leader changed"))];
        let lines: Vec<String> = samples.iter().map(Sample::line).collect();
        let text = format!("{}\n{}\n", Sample::HEADING, lines.join("\n"));
        assert_eq!(Sample::parse_all(&text), Some(samples.clone()));
        assert_eq!(Sample::failures(&samples)["leader changed"], 1);
        assert_eq!(Sample::parse_all("begin_ns,end_ns,outcome\n1,x,ok"), None);
        assert_eq!(Sample::parse_all("1,2,ok"), None);
    }
}
