//! What a step measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::spec::{Step, WindowSpec};
use crate::link_usage::FlowUsage;
use crate::results::{Latencies, Machine, WarmUp};

/// `step.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// What was done.
    pub step: Step,
    /// The git revision, with `-dirty` where files differed from it; none outside of a
    /// work tree.
    pub revision: Option<String>,
    /// The version of Vivace.
    pub version: String,
    /// When it began: RFC 3339, UTC.
    pub started: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The machine.
    pub machine: Machine,
    /// With what it was measured; records that say nothing are from before.
    #[serde(default)]
    pub setup: Setup,
    /// What was measured on a store, in order.
    pub windows: Vec<WindowRecord>,
    /// What other kinds of step found.
    pub data: Value,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// What the command line can change about a step beside its settings, and programs that are
/// not of this source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// `--node`: the program's path and when it was built; none for this program as a node.
    pub node: Option<String>,
    /// `--data`; none where stores kept their data in `--out`.
    pub data: Option<String>,
    /// The first line of `etcd --version`, where the step needs etcd.
    pub etcd: Option<String>,
}

impl Setup {
    /// Whether both are of one command line, and of one etcd where both tell of one.
    pub fn is_alike(&self, other: &Self) -> bool {
        let etcds = self.etcd.as_ref().zip(other.etcd.as_ref());
        (&self.node, &self.data) == (&other.node, &other.data)
            && etcds.is_none_or(|(own, others)| own == others)
    }
}

/// Percentiles in ms, three digits exact; zero where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Operations, failed ones too, each with the time until it failed.
    pub n: u64,
    /// The shortest.
    pub min_ms: f64,
    /// Half of all don't exceed it.
    pub p50_ms: f64,
    /// 90 of 100 don't exceed it.
    pub p90_ms: f64,
    /// 99 of 100 don't exceed it; of fewer, the largest.
    pub p99_ms: f64,
    /// 999 of 1000 don't exceed it; of fewer, the largest.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Percentiles {
    /// Of a distribution.
    pub fn of(latencies: &Latencies) -> Self {
        let percentile = |p| latencies.percentile_ms(p).unwrap_or(0.0);
        Self {
            n: latencies.len(),
            min_ms: percentile(0.0),
            p50_ms: percentile(50.0),
            p90_ms: percentile(90.0),
            p99_ms: percentile(99.0),
            p999_ms: percentile(99.9),
            max_ms: percentile(100.0),
        }
    }
}

/// One window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowRecord {
    /// What was measured.
    pub window: WindowSpec,
    /// Operations that the machine did not spoil: what tables and charts show.
    pub kept: Percentiles,
    /// All operations.
    pub all: Percentiles,
    /// Failures by cause, spoilt ones too.
    pub failures: BTreeMap<String, u64>,
    /// Causes in full, a few of them.
    pub failures_said: Vec<String>,
    /// What went before.
    pub warm_up: WarmUp,
    /// From the window's begin to its last operation's end, in seconds.
    pub seconds: f64,
    /// Whether all earlier values had reached their replicas when it began; none where
    /// the store can't tell.
    pub settled: Option<bool>,
    /// Operations of the traffic made by the store itself.
    pub own_writes: Option<OwnWrites>,
    /// The links between sites.
    pub links: Vec<LinkUse>,
    /// How late the emulated WAN was.
    pub lateness: WindowLateness,
    /// Priority messages from one site to another, by name, where the step lists them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub messages: BTreeMap<String, MessageUse>,
}

/// Priority messages of one name during a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageUse {
    /// How many.
    pub count: u64,
    /// Their bytes, before they share packets.
    pub bytes: u64,
}

impl WindowRecord {
    /// Operations without a result.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Operations of which something came.
    pub fn succeeded(&self) -> u64 {
        self.all.n - self.failed().min(self.all.n)
    }
}

/// What the writers of large values did during a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnWrites {
    /// Writes that were acknowledged.
    pub written: u64,
    /// The others, by cause.
    pub failures: BTreeMap<String, u64>,
    /// Half of all writes took no longer, in ms; at the site where that took longest.
    pub p50_ms: f64,
}

impl OwnWrites {
    /// Counts those of other writers too.
    pub fn add(&mut self, other: Self) {
        self.written += other.written;
        for (cause, count) in other.failures {
            *self.failures.entry(cause).or_default() += count;
        }
        self.p50_ms = self.p50_ms.max(other.p50_ms);
    }
}

/// How late the emulated WAN wrote packets, by slices of the window: the machine's
/// doing. Operations that overlap a spoilt slice are set aside, unless they took so
/// long that a late packet does not explain it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WindowLateness {
    /// Slices.
    pub slices: u64,
    /// Those in which a packet was later than the bound.
    pub spoilt: u64,
    /// The largest 99th percentile of a slice, in µs.
    pub p99_us: u64,
    /// The latest packet, in µs.
    pub max_us: u64,
}

/// One direction of a link between sites during a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkUse {
    /// `FROM:TO`.
    pub link: String,
    /// The priority class.
    pub priority: FlowUsage,
    /// All other packets of programs.
    pub bulk: FlowUsage,
    /// Cross traffic made inside the router.
    pub cross: FlowUsage,
}

#[cfg(test)]
impl StepRecord {
    /// That of a step that was never measured.
    pub fn made_up(step: Step, windows: Vec<WindowRecord>) -> Self {
        Self {
            step,
            revision: None,
            version: "0".to_owned(),
            started: "2026-01-01T00:00:00Z".to_owned(),
            seconds: 1.0,
            machine: Machine::this(),
            setup: Setup::default(),
            windows,
            data: Value::Null,
            notes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_etcd_is_another_setup_where_a_step_has_one() {
        let of = |etcd: Option<&str>| Setup {
            etcd: etcd.map(str::to_owned),
            ..Setup::default()
        };
        let installed = of(Some("etcd Version: 3.4.23"));
        assert!(of(Some("etcd Version: 3.4.23")).is_alike(&installed));
        assert!(!of(Some("etcd Version: 3.5.99")).is_alike(&installed));
        // Steps without etcd, and machines.
        assert!(of(None).is_alike(&installed));
        assert!(installed.is_alike(&of(None)));
        let elsewhere = Setup {
            data: Some("/dev/shm".to_owned()),
            ..of(None)
        };
        assert!(!elsewhere.is_alike(&of(None)));
    }
}
