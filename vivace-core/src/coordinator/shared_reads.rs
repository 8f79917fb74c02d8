//! Reads of one object that share a round.
//!
//! A round answers the reads that arrived before it began: what it hears from replicas is
//! then newer than their questions. A read begins a round of its own unless one of the
//! object began a moment ago and is under way; then it gathers others until a sixteenth of
//! a round trip (25 ms at most) after that one's begin, or until a round of the object ends. So however
//! many clients read a hot object, about sixteen rounds of it are under way per node, and
//! nobody waits much longer than alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Coordinator, OPERATIONS_MAX, Operation, busy};
use crate::client_protocol::Failure;
use crate::cluster::Container;
use crate::env::Env;
use crate::event::RequestId;
use crate::key::Key;
use crate::quorum::majority;

/// Rounds of one object begin at least this part of a round trip apart, where others of it
/// are under way.
const ROUNDS_PER_RTT: u32 = 16;

/// On long paths they begin no further apart than this.
const ROUNDS_APART_MAX: Duration = Duration::from_millis(25);

/// Clients of one round wait equally long, to this: the first one's deadline is the round's.
const DEADLINES_APART_MAX: Duration = Duration::from_millis(100);

/// The rounds of one object.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    under_way: u32,
    last_began: Duration,
    /// The one that waits for further clients.
    gathering: Option<u64>,
    /// The one that began last.
    begun: u64,
    /// Whether the replica in this site lacked the newest version when a round last heard.
    is_behind: Option<bool>,
}

/// All objects that are being read.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedReads(BTreeMap<Key, Rounds>);

impl SharedReads {
    /// Objects of which a round is under way or gathers readers.
    #[cfg(feature = "sim")]
    pub(super) fn under_way(&self) -> usize {
        let is_read = |rounds: &&Rounds| rounds.under_way > 0 || rounds.gathering.is_some();
        self.0.values().filter(is_read).count()
    }

    /// When a new round of `key` may begin: now, if nothing else is said.
    fn begin_at(&self, env: &Env, container: &Container, key: &Key) -> Option<Duration> {
        let rounds = self.0.get(key).filter(|rounds| rounds.under_way > 0)?;
        let apart = round_trip(env, container) / ROUNDS_PER_RTT;
        let at = rounds.last_began + apart.min(ROUNDS_APART_MAX);
        (at > env.now.monotonic && rounds.gathering.is_none()).then_some(at)
    }

    fn gather(&mut self, key: &Key, number: u64) {
        if let Some(rounds) = self.0.get_mut(key) {
            rounds.gathering = Some(number);
        }
    }

    /// Round `number` of `key` begins. Whether it asks the replica in this site for timestamp
    /// and value at once: the first does, the others where one has found that the value
    /// came of use, so that a large one is not sent in vain again and again.
    pub fn begin(&mut self, key: &Key, number: u64, now: Duration) -> bool {
        let rounds = self.0.entry(key.clone()).or_insert(Rounds {
            under_way: 0,
            last_began: now,
            gathering: None,
            begun: number,
            is_behind: None,
        });
        let is_alone = rounds.under_way == 0;
        rounds.under_way += 1;
        rounds.last_began = now;
        rounds.begun = number;
        if rounds.gathering == Some(number) {
            rounds.gathering = None;
        }
        is_alone || rounds.is_behind == Some(false)
    }

    /// A round of `key` has found the replica in this site behind the others, or not.
    pub fn find(&mut self, key: &Key, is_behind: bool) {
        if let Some(rounds) = self.0.get_mut(key) {
            rounds.is_behind = Some(is_behind);
        }
    }

    /// A round of `key` has ended; returns the one that now begins.
    pub fn end(&mut self, key: &Key) -> Option<u64> {
        let rounds = self.0.get_mut(key)?;
        rounds.under_way -= 1;
        let next = rounds.gathering;
        if rounds.under_way == 0 && next.is_none() {
            self.0.remove(key);
        }
        next
    }
}

impl Coordinator {
    /// Begins a read, under the number that was taken last, or shares another's round.
    pub(super) fn read(
        &mut self,
        env: &mut Env,
        container: &Container,
        key: Key,
        (id, deadline): (RequestId, Duration),
        mut read: Operation,
    ) -> Result<(), Failure> {
        let rounds = self.shared_reads.0.get(&key);
        let open = rounds.and_then(|rounds| match mutant!(env, JoinBegunRead) {
            true => Some(rounds.begun),
            false => rounds.gathering,
        });
        if let Some(number) = open
            && let Some(running) = self.running.get(&number)
            && let Some((first, until)) = running.operation.as_shared(&read)
            && deadline.abs_diff(until) <= DEADLINES_APART_MAX
            && deadline >= until
        {
            if env.sharers() + self.running.len() >= OPERATIONS_MAX {
                return Err(busy(format!(
                    "this node coordinates {OPERATIONS_MAX} operations already"
                )));
            }
            env.counters.count("shared: a read joins another's round");
            env.share(first, id);
            return Ok(());
        }
        let number = self.last_operation;
        match self.shared_reads.begin_at(env, container, &key) {
            Some(at) if at < deadline => {
                self.shared_reads.gather(&key, number);
                self.insert(container, Some(key), read, at);
            }
            Some(_) | None => {
                read.ask_together(self.shared_reads.begin(&key, number, env.now.monotonic));
                self.start(env, container, Some(key), read);
            }
        }
        Ok(())
    }
}

impl Operation {
    /// The client and the deadline of this read, where `other` reads the same of the object.
    fn as_shared(&self, other: &Self) -> Option<(RequestId, Duration)> {
        match (self, other) {
            (Self::Read(read), Self::Read(_)) => Some(read.client()),
            (Self::ReadState(read), Self::ReadState(other)) if read.reads_as(other) => {
                Some(read.client())
            }
            _ => None,
        }
    }
}

/// What the nearest majority of replicas takes to answer.
fn round_trip(env: &Env, container: &Container) -> Duration {
    let mut each: Vec<Duration> = container.replicas.iter().map(|&r| env.rtt(r)).collect();
    each.sort_unstable();
    each[majority(each.len()) - 1]
}
