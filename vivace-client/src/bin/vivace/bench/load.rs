//! What one client does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use vivace_client::machine::builtin::{Counter, counter};
use vivace_client::{Client, Container, OperationError};
use vivace_core::HistoryLine;

use super::arguments::{BenchArguments, Operation};
use super::arrivals::{Plan, Schedule};
use super::history::History;
use super::keys::Keys;
use super::measured::{Measured, outcome_name};
use crate::output::line_text;

/// The pause after a failure, so that a node that refuses at once is not hammered.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);

/// What an operation of the open loop is counted as that no client was free for.
const EXPIRED: &str = "expired";

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

/// When operations begin.
enum Pace {
    /// When the same client's last one has ended.
    Closed,
    /// When their moments have come.
    Open(Box<Schedule>),
}

/// What all clients share.
pub struct Load {
    rw: Container,
    rmw: Container,
    rw_name: String,
    rmw_name: String,
    shares: [u32; 3],
    keys: Keys,
    key_prefix: String,
    value_bytes: usize,
    pace: Pace,
    /// How long an operation may take, and wait for its begin.
    patience: Duration,
    /// Tells the values of this run from those of another.
    run: u32,
    start: Instant,
    start_unix_ns: u64,
    /// Operations that begin earlier warm up.
    counts_from: Instant,
    phase: watch::Sender<Phase>,
    done: AtomicU64,
    over_at: OnceLock<Instant>,
    /// Why no operation of this load can succeed.
    refusal: OnceLock<String>,
    history: Option<History>,
    /// One for all: a thousand clients' own would take half a gigabyte, and the load's first
    /// tenths of a second to fill it with zeros.
    measured: Mutex<Measured>,
}

impl Load {
    /// A load that begins now.
    ///
    /// # Errors
    /// The thread of the open loop can't be started.
    pub fn new(
        client: &Client,
        asked: &BenchArguments,
        (rw, rmw): (String, String),
        patience: Duration,
        history: Option<History>,
    ) -> std::io::Result<Self> {
        let shares = Operation::ALL.map(|operation| asked.share(operation));
        let drawn = Operation::ALL.into_iter().zip(shares);
        let drawn = drawn.filter(|&(_, share)| share > 0);
        let measured = Measured::of(drawn.map(|(operation, _)| operation));
        let (run, start) = (rand::random(), Instant::now());
        let open = |rate| {
            Schedule::start(Plan {
                arrivals: asked.arrivals,
                rate,
                start,
                length: asked.warm_up + asked.duration,
                clients: asked.clients(),
                seed: u64::from(run),
            })
        };
        Ok(Self {
            rw: client.container(&rw),
            rmw: client.container(&rmw),
            rw_name: rw,
            rmw_name: rmw,
            shares,
            keys: Keys::new(asked.keys, asked.skew()),
            key_prefix: asked.key_prefix(run),
            value_bytes: asked.value_bytes,
            pace: match asked.rate {
                Some(rate) => Pace::Open(Box::new(open(rate)?)),
                None => Pace::Closed,
            },
            patience,
            run,
            start,
            start_unix_ns: unix_ns_of(start),
            counts_from: start + asked.warm_up,
            phase: watch::Sender::new(Phase::Running),
            done: AtomicU64::new(0),
            over_at: OnceLock::new(),
            refusal: OnceLock::new(),
            history,
            measured: Mutex::new(measured),
        })
    }

    /// What was measured until now.
    pub fn measured(&self) -> MutexGuard<'_, Measured> {
        // A client that panicked has nothing to add; what the others counted holds.
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Has the clients end after what they are at; those of the open loop after its last
    /// operation.
    pub fn end(&self) {
        self.over_at.get_or_init(Instant::now);
        self.phase.send_replace(Phase::Over);
    }

    /// Has the clients end now.
    pub fn cut_off(&self) {
        self.over_at.get_or_init(Instant::now);
        self.phase.send_replace(Phase::CutOff);
        self.put_away();
    }

    /// Ends what is not a client.
    pub fn put_away(&self) {
        match &self.pace {
            Pace::Closed => {}
            Pace::Open(schedule) => schedule.end(),
        }
    }

    /// Ends the load: nobody can carry out such operations.
    fn refuse(&self, operation: Operation, field: &str, reason: &str) {
        let flag = match (field, operation) {
            ("container", Operation::Read | Operation::Write) => {
                format!("--container {}", self.rw_name)
            }
            ("container", Operation::Execute) => format!("--rmw-container {}", self.rmw_name),
            ("value", _) => format!("--value-bytes {}", self.value_bytes),
            ("key", _) => format!("--key-prefix {}", self.key_prefix),
            (other, _) => other.to_owned(),
        };
        self.refusal
            .get_or_init(|| format!("{flag}: {reason} (asked to {})", operation.name()));
        self.cut_off();
    }

    /// Why nobody can carry out such operations, where that turned out.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    /// How long operations were begun that count; in the open loop, until the last has
    /// ended.
    pub fn measured_for(&self) -> Duration {
        let end = match (&self.pace, self.over_at.get()) {
            (Pace::Closed, Some(&at)) => at,
            (Pace::Closed, None) | (Pace::Open(_), _) => Instant::now(),
        };
        end.saturating_duration_since(self.counts_from)
    }

    /// The moment from which an operation's latency counts, once it has come; none when
    /// none is to be begun any more.
    async fn next(&self) -> Option<Instant> {
        match &self.pace {
            Pace::Closed => (!self.is_over()).then(Instant::now),
            Pace::Open(schedule) => schedule.next().await,
        }
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
        (operation, self.keys.draw())
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
pub async fn run_client(load: Arc<Load>, client: u32) {
    let mut phase = load.phase.subscribe();
    let mut number = 0u64;
    loop {
        let due = tokio::select! {
            biased;
            _ = phase.wait_for(|&phase| phase == Phase::CutOff) => None,
            due = load.next() => due,
        };
        let Some(due) = due else { break };
        let counts = due >= load.counts_from;
        let (operation, key) = load.draw();
        if due.elapsed() > load.patience {
            // As long as an answer may take it has waited for its begin.
            if counts {
                load.measured().failed(operation, EXPIRED);
            }
            tokio::task::yield_now().await;
            continue;
        }
        number += 1;
        let key = format!("{}{key}", load.key_prefix);
        let tag = format!("{:08x}-{client}-{number}", load.run);
        let start = Instant::now();
        let ended = tokio::select! {
            ended = perform(&load, operation, &key, &tag) => Some(ended),
            _ = phase.wait_for(|&phase| phase == Phase::CutOff) => None,
        };
        let end = Instant::now();
        load.record(client, operation, &key, &tag, (start, end), ended.as_ref());
        load.done.fetch_add(1, Ordering::Relaxed);
        if let Some(Err(OperationError::Invalid { field, reason })) = &ended {
            load.refuse(operation, field, reason);
        }
        let failure = match &ended {
            Some(Ok(_)) => None,
            Some(Err(error)) => Some(outcome_name(error)),
            None => Some("cut off"),
        };
        match failure {
            _ if !counts => {}
            None => load.measured().succeeded(operation, start - due, end - due),
            Some(outcome) => load.measured().failed(operation, outcome),
        }
        if matches!((&load.pace, &ended), (Pace::Closed, Some(Err(_)))) {
            sleep(FAILURE_PAUSE).await;
        }
    }
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
            // Only a history shows it.
            let found = read.filter(|_| load.history.is_some());
            Ok(found.map_or(Value::Null, |found| shown(&found.value)))
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
