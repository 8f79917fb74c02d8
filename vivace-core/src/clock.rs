//! Clocks and the timestamps made from them (DESIGN §4; Vivace §2 assumes
//! synchronized clocks, of which this module asks for a bound instead).

use std::time::Duration;

use crate::cluster::TimestampSource;
use crate::identity::Incarnation;
use crate::identity::NodeId;
use crate::message::TrustedTime;
use crate::outbox::{Lsn, Outbox};
use crate::record::Record;
use crate::timestamp::{Timestamp, WriterId};

/// What a node's wall clock says at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// C, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// ε, the bound on its error, in nanoseconds; none where the clock is unsynchronized.
    pub error_ns: Option<u64>,
}

impl ClockReading {
    /// C - ε: a time that has surely passed. Zero where the clock is not trusted.
    pub fn trusted(self) -> TrustedTime {
        TrustedTime(
            self.error_ns
                .map_or(0, |error| self.time_ns.saturating_sub(error)),
        )
    }
}

#[cfg(feature = "sim")]
impl ClockReading {
    /// A clock of unknown error claims to have none, for a mutant.
    pub fn claim_exactness(&mut self) {
        self.error_ns.get_or_insert(0);
    }
}

/// The moment at which an event is handled.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic time since an origin that never changes while the node runs.
    pub monotonic: Duration,
    /// The wall clock.
    pub clock: ClockReading,
}

/// Where a node's timestamps come from at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its own clock.
    Clock,
    /// A query to a majority.
    Query,
}

/// How far the durable high-water mark is put ahead of the clock. A restarted
/// node stays in query mode until its clock has passed the mark, so this is also
/// the longest time that a restart spends there.
const HIGH_WATER_STEP: Duration = Duration::from_millis(500);

/// Makes this node's timestamps and judges those of others.
#[derive(Clone, Debug)]
pub struct Clock {
    writer: WriterId,
    last: u64,
    /// The same, in containers that never use a clock.
    last_counter: u64,
    high_water: u64,
    high_water_lsn: Lsn,
    recovered_high_water: u64,
    error_max_ns: u64,
    slack_ns: u64,
    mode: Mode,
    mode_changes: u64,
}

impl Clock {
    /// The clock of a node that starts its life number `incarnation`.
    pub fn new(
        node: NodeId,
        incarnation: Incarnation,
        error_max: Duration,
        slack: Duration,
    ) -> Self {
        Self {
            writer: WriterId::new(node, incarnation),
            last: 0,
            last_counter: 0,
            high_water: 0,
            high_water_lsn: Lsn::default(),
            recovered_high_water: 0,
            error_max_ns: nanoseconds(error_max),
            slack_ns: nanoseconds(slack),
            mode: Mode::Query,
            mode_changes: 0,
        }
    }

    /// Its timestamps name no writer from now on, for a mutant.
    #[cfg(feature = "sim")]
    pub fn sign_as_nobody(&mut self) {
        self.writer = WriterId::default();
    }

    /// Takes over what was durable before the restart.
    pub fn recover_high_water(&mut self, time: u64) {
        self.recovered_high_water = self.recovered_high_water.max(time);
        self.high_water = self.high_water.max(time);
    }

    /// Re-judges the clock; a change of mode is counted.
    pub fn observe(&mut self, now: Now) {
        let trusted = now
            .clock
            .error_ns
            .is_some_and(|error| error <= self.error_max_ns);
        // A clock that a restart (or a step) put behind its own mark could sign
        // timestamps below acknowledged ones.
        let behind = now.clock.time_ns <= self.recovered_high_water;
        let mode = if trusted && !behind {
            Mode::Clock
        } else {
            Mode::Query
        };
        if mode != self.mode {
            self.mode = mode;
            self.mode_changes += 1;
        }
    }

    /// The mode since the last [`Clock::observe`].
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// How often the mode changed; the first choice counts where it is clock mode.
    pub fn mode_changes(&self) -> u64 {
        self.mode_changes
    }

    /// The mode in which an operation on a container of this source runs.
    pub fn mode_for(&self, source: TimestampSource) -> Mode {
        match source {
            TimestampSource::Clock => self.mode,
            TimestampSource::Query => Mode::Query,
        }
    }

    /// A new timestamp of this node's own clock; what carries it may leave once
    /// the log is durable up to the returned position.
    pub fn next_from_clock(&mut self, now: Now, out: &mut Outbox) -> (Timestamp, Lsn) {
        let time = now.clock.time_ns.max(self.last + 1);
        self.issue(time, out)
    }

    /// A new timestamp above `seen`, of a node that trusts no clock now, for a
    /// container of this source. Counters of containers that never use a clock are
    /// kept apart: nothing bounds them, and they must not move this node's clock.
    pub fn next_above(
        &mut self,
        source: TimestampSource,
        seen: Timestamp,
        out: &mut Outbox,
    ) -> (Timestamp, Lsn) {
        match source {
            TimestampSource::Clock => {
                let time = seen.time.max(self.last) + 1;
                self.issue(time, out)
            }
            TimestampSource::Query => {
                self.last_counter = seen.time.max(self.last_counter) + 1;
                (self.timestamp(self.last_counter), Lsn::default())
            }
        }
    }

    /// The timestamp after `ts` that came with its acceptance; none where `ts` is not of
    /// this life, or the last of all.
    pub fn next_round(
        &mut self,
        source: TimestampSource,
        ts: Timestamp,
        out: &mut Outbox,
    ) -> Option<(Timestamp, Lsn)> {
        let next = ts.next_round();
        if ts.writer != self.writer || next == ts {
            return None;
        }
        Some(match source {
            TimestampSource::Clock if next.time > self.last => self.issue(next.time, out),
            TimestampSource::Clock => (next, self.high_water_lsn),
            TimestampSource::Query => {
                self.last_counter = self.last_counter.max(next.time);
                (next, Lsn::default())
            }
        })
    }

    fn issue(&mut self, time: u64, out: &mut Outbox) -> (Timestamp, Lsn) {
        self.last = time;
        if time > self.high_water {
            self.high_water = time + nanoseconds(HIGH_WATER_STEP);
            self.high_water_lsn = out.persist(Record::ClockHighWater {
                time: self.high_water,
            });
        }
        (self.timestamp(time), self.high_water_lsn)
    }

    fn timestamp(&self, time: u64) -> Timestamp {
        let writer = self.writer;
        Timestamp { time, writer }
    }

    /// `cwait` (PROTOCOL, mend 5): how much longer an operation must wait before it
    /// may complete at `ts`; none once a trusted clock, this node's or the one whose
    /// lower bound is `remote`, has surely passed it by E.
    pub fn commit_wait(&self, now: Now, ts: Timestamp, remote: TrustedTime) -> Option<Duration> {
        let passed = now.clock.trusted().max(remote).0;
        let due = ts.time.saturating_add(self.error_max_ns);
        (passed <= due).then(|| Duration::from_nanos(due - passed + 1))
    }

    /// The largest `time` that this node believes possible now; none where its own
    /// clock can't judge.
    pub fn future_limit(&self, now: Now) -> Option<u64> {
        (self.mode == Mode::Clock).then(|| {
            now.clock
                .time_ns
                .saturating_add(2 * self.error_max_ns + self.slack_ns)
        })
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
