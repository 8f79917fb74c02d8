//! Everything that clients did and heard: in a file, and summed up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
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

/// Shorter ones are a timer's grain.
const STALL_MIN: Duration = Duration::from_millis(5);

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
    /// To the thread that writes the file, which may have to wait for a busy disk.
    lines: Option<mpsc::Sender<Vec<u8>>>,
    writer: Option<JoinHandle<io::Result<()>>>,
    tallies: BTreeMap<&'static str, Tally>,
    /// Begin and end of operations that ended well after their deadline.
    slow: Vec<(Instant, Instant)>,
    stalls: Stalls,
    acknowledged: Acknowledged,
}

/// When the clients' thread did not have its turn, for how long.
#[derive(Debug, Default)]
struct Stalls(Vec<(Instant, Duration)>);

impl Stalls {
    /// It asked for its turn at the end less `late`.
    fn add(&mut self, end: Instant, late: Duration) {
        if late >= STALL_MIN {
            self.0.push((end, late));
        }
    }

    /// How much of this time it did not have its turn.
    fn within(&self, from: Instant, to: Instant) -> Duration {
        let parts = self.0.iter().map(|&(end, late)| {
            let begin = end.checked_sub(late).unwrap_or(end);
            end.min(to).saturating_duration_since(begin.max(from))
        });
        parts.sum()
    }

    fn longest(&self) -> Duration {
        let all = self.0.iter().map(|&(_, late)| late);
        all.max().unwrap_or_default()
    }
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
        let (lines, incoming) = mpsc::channel();
        let writer = thread::Builder::new().name("history".into());
        let writer = writer.spawn(move || write_lines(file, &incoming))?;
        Ok(Self {
            start: Instant::now(),
            epoch: SystemTime::now().duration_since(UNIX_EPOCH)?,
            deadline,
            inner: Mutex::new(Inner {
                lines: Some(lines),
                writer: Some(writer),
                tallies: BTreeMap::new(),
                slow: Vec::new(),
                stalls: Stalls::default(),
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
            let now = Instant::now();
            inner
                .slow
                .push((now.checked_sub(done.latency).unwrap_or(now), now));
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
        self.inner().stalls.add(Instant::now(), late);
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
        inner.lines = None;
        let written = inner.writer.take().map_or(Ok(()), |writer| {
            let ended = writer.join();
            ended.unwrap_or_else(|_| Err(io::Error::other("its writer panicked")))
        });
        written.context(HISTORY_FILE)?;
        let bound = self.deadline + LATE_AFTER;
        let late = inner.slow.iter().filter(|&&(begun, ended)| {
            let without_turn = inner.stalls.within(begun, ended);
            ended - begun > bound + without_turn
        });
        Ok(Recorded {
            late: late.count() as u64,
            tallies: std::mem::take(&mut inner.tallies),
            stalled: inner.stalls.longest(),
            acknowledged: std::mem::take(&mut inner.acknowledged),
        })
    }
}

fn write_lines(file: File, lines: &mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    for line in lines {
        file.write_all(&line)?;
    }
    file.flush()
}

impl Inner {
    fn write(&mut self, line: &HistoryLine<'_>) {
        let mut bytes = Vec::new();
        line.write(&mut bytes)
            .expect("a vector takes whatever is written to it");
        if let Some(lines) = &self.lines {
            // Where the thread has ended, it has the reason, which `finish` tells.
            let _ = lines.send(bytes);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_without_a_turn_counts_where_it_meets_the_operation() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut stalls = Stalls::default();
        stalls.add(at(300), Duration::from_millis(200));
        stalls.add(at(900), Duration::from_millis(100));
        stalls.add(at(950), Duration::from_millis(1));
        let within = |from, to| stalls.within(at(from), at(to)).as_millis();
        assert_eq!(within(0, 1000), 300);
        assert_eq!(within(200, 850), 150);
        assert_eq!(within(300, 800), 0);
        assert_eq!(stalls.longest(), Duration::from_millis(200));
    }
}
