//! Everything that clients did and heard: in a file, and summed up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde_json::Value;
use vivace_client::OperationError;
use vivace_core::HistoryLine;

use super::acknowledged::Acknowledged;
use crate::results::Latencies;

/// The file with every operation.
pub const HISTORY_FILE: &str = "history.jsonl";

/// Who reads at the end.
const LAST_READER: u32 = u32::MAX;

/// How much later than its deadline an operation may end before it counts as late.
const LATE_AFTER: Duration = Duration::from_millis(500);

/// One operation that ended.
pub struct Done<'a> {
    /// Who asked.
    pub client: u32,
    /// `read`, `write`, `execute` or `read_state`.
    pub kind: &'static str,
    /// Container and key.
    pub key: &'a str,
    /// What was asked for, as a history has it.
    pub arg: Value,
    /// When it began.
    pub begun: Instant,
    /// How long its last attempt took.
    pub latency: Duration,
    /// The result, as a history has it.
    pub outcome: Result<Value, OperationError>,
}

/// What came of the operations of one kind.
#[derive(Default)]
pub struct Tally {
    pub latencies: Latencies,
    pub failures: BTreeMap<String, u64>,
}

/// Takes in operations from all clients.
pub struct Record {
    start: Instant,
    /// When that was, since the Unix epoch.
    epoch: Duration,
    deadline: Duration,
    inner: Mutex<Inner>,
}

struct Inner {
    file: BufWriter<File>,
    error: Option<std::io::Error>,
    tallies: BTreeMap<&'static str, Tally>,
    /// How long operations took that ended well after their deadline.
    slow: Vec<Duration>,
    stalled: Duration,
    acknowledged: Acknowledged,
}

/// What a record amounts to.
pub struct Recorded {
    /// By kind.
    pub tallies: BTreeMap<&'static str, Tally>,
    /// Operations that ended well after their deadline, and not for want of a turn alone.
    pub late: u64,
    /// The longest that the clients' thread waited for its turn.
    pub stalled: Duration,
    /// What was acknowledged.
    pub acknowledged: Acknowledged,
}

impl Record {
    /// Makes the file in `directory`; time counts from now.
    pub fn create(directory: &Path, deadline: Duration) -> anyhow::Result<Self> {
        let path = directory.join(HISTORY_FILE);
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        Ok(Self {
            start: Instant::now(),
            epoch: SystemTime::now().duration_since(UNIX_EPOCH)?,
            deadline,
            inner: Mutex::new(Inner {
                file: BufWriter::new(file),
                error: None,
                tallies: BTreeMap::new(),
                slow: Vec::new(),
                stalled: Duration::ZERO,
                acknowledged: Acknowledged::default(),
            }),
        })
    }

    /// Since the Unix epoch, by a clock that nobody sets meanwhile.
    fn nanoseconds(&self, at: Instant) -> u64 {
        (self.epoch + (at - self.start)).as_nanos() as u64
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an operation that ended just now.
    pub fn add(&self, done: &Done<'_>) {
        let (begun, ended) = (
            self.nanoseconds(done.begun),
            self.nanoseconds(Instant::now()),
        );
        let (ret, is_settled, outcome) = match &done.outcome {
            Ok(ret) => (ret.clone(), true, "ok"),
            Err(error) => (Value::Null, error.surely_not_applied(), outcome_name(error)),
        };
        let line = HistoryLine {
            client: done.client,
            kind: done.kind,
            key: done.key,
            arg: done.arg.clone(),
            ret,
            start_ns: begun,
            end_ns: is_settled.then_some(ended),
            outcome,
        };
        let mut inner = self.inner();
        if done.outcome.is_ok() {
            inner.acknowledge(done, (begun, ended));
        }
        if done.latency > self.deadline + LATE_AFTER {
            inner.slow.push(done.latency);
        }
        let tally = inner.tallies.entry(done.kind).or_default();
        tally.latencies.record(done.latency);
        if outcome != "ok" {
            *tally.failures.entry(outcome.to_owned()).or_default() += 1;
        }
        inner.write(&line);
    }

    /// The clients' thread had its turn so much later than it asked for.
    pub fn stalled(&self, late: Duration) {
        let mut inner = self.inner();
        inner.stalled = inner.stalled.max(late);
    }

    /// Adds one that is no load: it is in the history alone.
    pub fn add_last_read(&self, kind: &'static str, key: &str, begun: Instant, ret: Value) {
        let line = HistoryLine {
            client: LAST_READER,
            kind,
            key,
            arg: Value::Null,
            ret,
            start_ns: self.nanoseconds(begun),
            end_ns: Some(self.nanoseconds(Instant::now())),
            outcome: "ok",
        };
        let mut inner = self.inner();
        inner.write(&line);
    }

    /// Sums up.
    ///
    /// # Errors
    /// The file is incomplete.
    pub fn finish(&self) -> anyhow::Result<Recorded> {
        let mut inner = self.inner();
        let written = match inner.error.take() {
            Some(error) => Err(error),
            None => inner.file.flush(),
        };
        written.context(HISTORY_FILE)?;
        let bound = self.deadline + LATE_AFTER + inner.stalled;
        let late = inner.slow.iter().filter(|&&took| took > bound);
        Ok(Recorded {
            late: late.count() as u64,
            tallies: std::mem::take(&mut inner.tallies),
            stalled: inner.stalled,
            acknowledged: std::mem::take(&mut inner.acknowledged),
        })
    }
}

impl Inner {
    /// Adds a line. The first failure is kept for the end.
    fn write(&mut self, line: &HistoryLine<'_>) {
        if self.error.is_none() {
            self.error = line.write(&mut self.file).err();
        }
    }

    fn acknowledge(&mut self, done: &Done<'_>, interval: (u64, u64)) {
        let acknowledged = &mut self.acknowledged;
        match (done.kind, &done.arg) {
            ("write", Value::String(value)) => acknowledged.written(done.key, value, interval),
            ("execute", Value::Number(amount)) => {
                acknowledged.added(done.key, amount.as_i64().unwrap_or(0));
            }
            ("execute", command) => {
                if let Some(item) = command["list"]["push"].as_str() {
                    acknowledged.pushed(done.key, item);
                }
            }
            _ => {}
        }
    }
}

fn outcome_name(error: &OperationError) -> &'static str {
    match error {
        OperationError::Conflict { .. } => "refused",
        OperationError::Busy { .. } => "busy",
        OperationError::Unavailable { .. } => "unavailable",
        OperationError::Unknown { .. } => "unknown",
        OperationError::Invalid { .. } => "invalid",
        _ => "other",
    }
}
