//! What the rounds of both RMW algorithms share: ordering timestamps, the grace
//! after a rejection, and back-off.

use std::time::Duration;

use crate::clock::Mode;
use crate::cluster::{Container, TimestampSource};
use crate::env::Env;
use crate::identity::NodeId;
use crate::outbox::Lsn;
use crate::quorum::{Tally, Votes};
use crate::timestamp::{Timestamp, WriterId};

/// A rejected round waits at least about this long before the next.
const BACK_OFF_MIN: Duration = Duration::from_millis(5);

/// And never much longer than this.
const BACK_OFF_MAX: Duration = Duration::from_secs(2);

/// Another coordinator is not waited for longer than this, however far it is.
const TURN_MAX: Duration = Duration::from_secs(1);

/// Beyond the round trips that it needs, how long silent replicas may still turn a
/// contested vote into a majority.
const GRACE_MARGIN: Duration = Duration::from_millis(5);

/// The farthest replica's answer may take this many of its round trips.
const GRACE_RTTS: f64 = 1.25;

/// A vote of the replicas, with the grace that a rejection starts.
#[derive(Clone, Debug)]
pub struct Ballot<T> {
    votes: Votes<T>,
    asked: Duration,
    grace_until: Option<Duration>,
}

/// What a ballot has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not decided.
    Open,
    /// A majority of true: a minority's false does not matter (mend 2).
    Won,
    /// No majority of true, as far as can be told in time.
    Lost,
}

impl<T> Ballot<T> {
    /// A vote among `replicas` that nobody has cast, and that begins now.
    pub fn new(env: &Env, replicas: usize) -> Self {
        Self {
            votes: Votes::new(replicas),
            asked: env.now.monotonic,
            grace_until: None,
        }
    }

    /// Counts a true.
    pub fn yes(&mut self, from: NodeId, answer: T) {
        self.votes.yes(from, answer);
    }

    /// Counts a false.
    pub fn no(&mut self, from: NodeId) {
        self.votes.no(from);
    }

    /// Counts a true with its answer, or a false.
    pub fn cast(&mut self, from: NodeId, answer: Option<T>) {
        match answer {
            Some(answer) => self.yes(from, answer),
            None => self.no(from),
        }
    }

    /// The verdict now; a contested ballot gets a grace, for without one a single
    /// slow replica's false would abort what a majority accepts, and without an end
    /// to it one crashed replica and one false would hang. It lasts until the farthest
    /// replica can have answered: were it shorter, a near one that refuses every round
    /// would make all rounds fail that need a far one.
    pub fn verdict(&mut self, env: &mut Env, replicas: &[NodeId]) -> Verdict {
        mutant!(env, AnyFalseAborts && self.votes.has_false_among_majority() =>
            return Verdict::Lost);
        mutant!(env, MinorityQuorum && self.votes.has_half() => return Verdict::Won);
        match self.votes.tally() {
            Tally::Reached => Verdict::Won,
            Tally::Unreachable => Verdict::Lost,
            Tally::Pending if self.votes.is_contested() && !mutant!(env, NoGrace) => {
                if self.grace_until.is_none() {
                    env.counters.count("contested: a vote waits for the silent");
                }
                // Paths may have become shorter since.
                let rtt = env.rtt_max(replicas);
                let answered = self.asked + rtt.mul_f64(GRACE_RTTS);
                let anew = answered.max(env.now.monotonic + rtt / 2) + GRACE_MARGIN;
                let until = self.grace_until.map_or(anew, |until| until.min(anew));
                self.grace_until = Some(until);
                if until <= env.now.monotonic {
                    Verdict::Lost
                } else {
                    Verdict::Open
                }
            }
            Tally::Pending => Verdict::Open,
        }
    }

    /// The answers of those that said true.
    pub fn answers(&self) -> &[(NodeId, T)] {
        self.votes.answers()
    }

    /// Whether a majority of all replicas gave an answer that `holds`.
    pub fn majority_that(&self, holds: impl Fn(&T) -> bool) -> bool {
        self.votes.majority_that(holds)
    }

    /// When the grace ends.
    pub fn next_wakeup(&self) -> Option<Duration> {
        self.grace_until
    }
}

/// What a coordinator remembers of a key from round to round.
#[derive(Clone, Debug, Default)]
pub struct Contention {
    /// The newest timestamp that a replica has named, and a clock may have made.
    seen: Timestamp,
    lost: u32,
    /// Whether the round before this one was refused, and this one followed at once.
    renewed: bool,
    /// When the round under way began.
    began: Duration,
}

impl Contention {
    /// A replica has named `ts`: the next round needs a newer one.
    pub fn see(&mut self, env: &mut Env, container: &Container, ts: Timestamp) {
        // Made by a broken clock, it would carry this node's timestamps along.
        if ts > self.seen && !env.is_future(container, ts) {
            self.seen = ts;
        }
    }

    /// A round begins.
    pub fn begin(&mut self, env: &Env) {
        self.began = env.now.monotonic;
    }

    /// A new timestamp for a round that begins, above all that was seen. Rounds are
    /// ballots: their order needs no clock, only their speed does.
    pub fn next_ots(&mut self, env: &mut Env, container: &Container) -> (Timestamp, Lsn) {
        self.begin(env);
        let mut above = self.seen;
        let by_clock = container.timestamps == TimestampSource::Clock;
        if by_clock && env.clock.mode() == Mode::Clock {
            let now = Timestamp {
                time: env.now.clock.time_ns,
                writer: WriterId::default(),
            };
            above = above.max(now);
        }
        env.clock
            .next_above(container.timestamps, above, &mut env.out)
    }

    /// A round was lost: when the next begins. `refused`: no majority promised.
    pub fn back_off(&mut self, env: &mut Env, replicas: &[NodeId], refused: bool) -> Duration {
        env.counters
            .count("lost: an RMW round to another coordinator");
        // Others' rounds move on during a back-off, and a timestamp from before it is
        // refused by an idle object too. The refusal told a newer one: waiting again
        // would make that one old as well, for ever.
        if refused && !self.renewed {
            self.renewed = true;
            return env.now.monotonic;
        }
        self.renewed = false;
        // A slow disk or congested bulk makes rounds longer than round trips tell.
        let round = env.rtt_max(replicas).max(env.now.monotonic - self.began);
        let base = (round / 4).max(BACK_OFF_MIN);
        let mean = (base * 2_u32.saturating_pow(self.lost.min(16))).min(BACK_OFF_MAX);
        self.lost += 1;
        env.now.monotonic + env.jitter.around(mean)
    }

    /// Who made the newest timestamp seen, where that is another node.
    pub fn rival(&self, env: &Env) -> Option<NodeId> {
        let node = self.seen.writer.node();
        (self.seen > Timestamp::ZERO && node != env.me).then_some(node)
    }

    /// How long a round of another coordinator may take: two round trips, and the time
    /// besides that the last one here took; never much, for it may have died.
    pub fn turn(&self, env: &Env, replicas: &[NodeId]) -> Duration {
        let round = (env.now.monotonic - self.began).max(BACK_OFF_MIN);
        (2 * env.rtt_max(replicas) + round).min(TURN_MAX)
    }

    /// A round was lost to one that is under way: when the next begins at the latest. It
    /// begins as soon as the other has ended.
    pub fn stand_back(&mut self, env: &mut Env, replicas: &[NodeId]) -> Duration {
        let turn = self.turn(env, replicas);
        let at_least = env.now.monotonic + turn + env.jitter.around(turn / 4);
        self.back_off(env, replicas, false).max(at_least)
    }

    /// A round was won.
    pub fn won(&mut self) {
        self.lost = 0;
        self.renewed = false;
    }
}
