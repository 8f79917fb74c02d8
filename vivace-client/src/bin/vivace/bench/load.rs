//! What one client of the closed loop does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use vivace_client::machine::builtin::{Counter, counter};
use vivace_client::{Client, Container, OperationError};
use vivace_core::HistoryLine;

use super::arguments::{BenchArguments, Operation};
use super::history::History;
use super::measured::{Measured, outcome_name};
use crate::output::line_text;

/// The pause after a failure, so that a node that refuses at once is not hammered.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);

/// The bytes of a foreign value that a history shows.
const SHOWN_BYTES_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// No operation begins any more.
    Over,
    /// Those under way are given up too.
    CutOff,
}

/// What all clients share.
pub struct Load {
    rw: Container,
    rmw: Container,
    rw_name: String,
    rmw_name: String,
    shares: [u32; 3],
    keys: u32,
    key_prefix: String,
    value_bytes: usize,
    /// Tells the values of this run from those of another.
    run: u32,
    start: Instant,
    start_unix_ns: u64,
    phase: watch::Sender<Phase>,
    done: AtomicU64,
    over_at: std::sync::OnceLock<Instant>,
    history: Option<History>,
}

impl Load {
    /// A load that begins now.
    pub fn new(
        client: &Client,
        asked: &BenchArguments,
        rw: String,
        rmw: String,
        start: Instant,
        history: Option<History>,
    ) -> Self {
        let run = rand::random();
        Self {
            rw: client.container(&rw),
            rmw: client.container(&rmw),
            rw_name: rw,
            rmw_name: rmw,
            shares: Operation::ALL.map(|operation| asked.share(operation)),
            keys: asked.keys,
            key_prefix: asked.key_prefix(run),
            value_bytes: asked.value_bytes,
            run,
            start,
            start_unix_ns: unix_ns_of(start),
            phase: watch::Sender::new(Phase::Running),
            done: AtomicU64::new(0),
            over_at: std::sync::OnceLock::new(),
            history,
        }
    }

    pub fn start(&self) -> Instant {
        self.start
    }

    /// How many operations have ended.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    pub fn is_over(&self) -> bool {
        *self.phase.borrow() != Phase::Running
    }

    /// Has the clients end after what they are at.
    pub fn end(&self) {
        self.over_at.get_or_init(Instant::now);
        self.phase.send_replace(Phase::Over);
    }

    /// Has the clients end now.
    pub fn cut_off(&self) {
        self.over_at.get_or_init(Instant::now);
        self.phase.send_replace(Phase::CutOff);
    }

    /// How long operations were begun.
    pub fn measured_for(&self) -> Duration {
        let end = self.over_at.get().copied().unwrap_or_else(Instant::now);
        end - self.start
    }

    fn draw(&self) -> (Operation, u32) {
        let mut percent = rand::random_range(0..100);
        let operation = Operation::ALL
            .into_iter()
            .zip(self.shares)
            .find(|&(_, share)| match percent < share {
                true => true,
                false => {
                    percent -= share;
                    false
                }
            })
            .map_or(Operation::Read, |(operation, _)| operation);
        (operation, rand::random_range(0..self.keys))
    }

    /// A moment on a clock that all processes of this machine share, and that never runs
    /// back in this one.
    fn unix_ns(&self, at: Instant) -> u64 {
        self.start_unix_ns + (at - self.start).as_nanos() as u64
    }

    fn record(
        &self,
        client: u32,
        operation: Operation,
        key: &str,
        tag: &str,
        (start, end): (Instant, Instant),
        ended: Option<&Result<Value, OperationError>>,
    ) {
        let Some(history) = &self.history else {
            return;
        };
        let (container, arg) = match operation {
            Operation::Read => (&self.rw_name, Value::Null),
            Operation::Write => (&self.rw_name, json!(tag)),
            Operation::Execute => (&self.rmw_name, json!(1)),
        };
        let (ret, is_settled, outcome) = match ended {
            Some(Ok(ret)) => (ret.clone(), true, "ok"),
            Some(Err(error)) => {
                let outcome = outcome_name(error);
                (Value::Null, error.surely_not_applied(), outcome)
            }
            None => (Value::Null, operation == Operation::Read, "unknown"),
        };
        history.add(&HistoryLine {
            client,
            kind: operation.name(),
            key: &format!("{container}/{key}"),
            arg,
            ret,
            start_ns: self.unix_ns(start),
            end_ns: is_settled.then(|| self.unix_ns(end)),
            outcome,
        });
    }
}

/// Nanoseconds since the Unix epoch at a moment that has passed.
fn unix_ns_of(moment: Instant) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("this machine's clock is past 1970");
    now.saturating_sub(moment.elapsed()).as_nanos() as u64
}

/// Asks until the load is over.
pub async fn run_client(load: Arc<Load>, client: u32) -> Measured {
    let mut measured = Measured::default();
    let mut phase = load.phase.subscribe();
    let mut number = 0u64;
    while !load.is_over() {
        number += 1;
        let (operation, key) = load.draw();
        let key = format!("{}{key}", load.key_prefix);
        let tag = format!("{:08x}-{client}-{number}", load.run);
        let start = Instant::now();
        let ended = tokio::select! {
            ended = perform(&load, operation, &key, &tag) => Some(ended),
            _ = phase.wait_for(|&phase| phase == Phase::CutOff) => None,
        };
        let end = Instant::now();
        load.record(client, operation, &key, &tag, (start, end), ended.as_ref());
        match ended {
            Some(Ok(_)) => measured.succeeded(operation, end - start),
            Some(Err(error)) => {
                measured.failed(operation, outcome_name(&error));
                sleep(FAILURE_PAUSE).await;
            }
            None => measured.failed(operation, "cut off"),
        }
        load.done.fetch_add(1, Ordering::Relaxed);
    }
    measured
}

/// Carries out one operation; yields what a history calls its result.
async fn perform(
    load: &Load,
    operation: Operation,
    key: &str,
    tag: &str,
) -> Result<Value, OperationError> {
    let key = key.as_bytes().to_vec();
    match operation {
        Operation::Read => {
            let read = load.rw.rw(key).read().await?;
            Ok(read.map_or(Value::Null, |found| shown(&found.value)))
        }
        Operation::Write => {
            let mut value = tag.as_bytes().to_vec();
            value.resize(load.value_bytes, b' ');
            load.rw.rw(key).write(value).await?;
            Ok(Value::Null)
        }
        Operation::Execute => {
            let counter = load.rmw.rmw::<Counter>(key);
            let value = counter.execute(counter::Command::Add(1)).await?;
            Ok(json!(value))
        }
    }
}

/// A value's tag; the beginning of one that is not of this command's making.
fn shown(value: &[u8]) -> Value {
    let beginning = &value[..value.len().min(SHOWN_BYTES_MAX)];
    json!(line_text(beginning.trim_ascii_end()))
}
