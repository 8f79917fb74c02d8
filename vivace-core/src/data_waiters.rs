//! Questions for values that are not here yet (R-DATA, OR-DATA).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::identity::NodeId;
use crate::key::Key;
use crate::message::RpcId;
use crate::timestamp::Timestamp;

/// Questions kept at one node; the oldest gives way, and its asker asks elsewhere.
pub const WAITERS_MAX: usize = 65_536;

/// How long a question is kept; askers repeat theirs more often.
const WAITER_LIFE: Duration = Duration::from_secs(30);

/// What a question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The value.
    Value,
    /// Only that this replica holds it.
    News,
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct DataWaiter {
    /// Who asks.
    pub from: NodeId,
    /// In which call.
    pub rpc: RpcId,
    /// The oldest version that answers.
    pub at_least: Timestamp,
    /// The first that does not.
    pub below: Timestamp,
    /// Whether the value is wanted, or only the news that it is here.
    pub wants: Wanted,
    expires: Duration,
}

/// All questions waiting at one node.
#[derive(Clone, Debug, Default)]
pub struct DataWaiters {
    by_key: BTreeMap<Key, Vec<DataWaiter>>,
    count: usize,
    /// When to look for expired ones next.
    sweep_at: Option<Duration>,
}

impl DataWaiters {
    /// How many questions wait.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Keeps a question; one repeated takes the place of the first. False where the
    /// bound made an older question give way.
    pub fn add(
        &mut self,
        now: Duration,
        key: &Key,
        (from, rpc): (NodeId, RpcId),
        (at_least, below): (Timestamp, Timestamp),
        wants: Wanted,
    ) -> bool {
        let expires = now + WAITER_LIFE;
        let waiters = self.by_key.entry(key.clone()).or_default();
        self.count -= waiters.len();
        waiters.retain(|waiter| (waiter.from, waiter.rpc) != (from, rpc) && waiter.expires > now);
        waiters.push(DataWaiter {
            from,
            rpc,
            at_least,
            below,
            wants,
            expires,
        });
        self.count += waiters.len();
        self.sweep_at.get_or_insert(expires);
        if self.count <= WAITERS_MAX {
            return true;
        }
        self.expire(now);
        if self.count > WAITERS_MAX
            && let Some(mut oldest) = self.by_key.first_entry()
        {
            oldest.get_mut().remove(0);
            self.count -= 1;
            if oldest.get().is_empty() {
                oldest.remove();
            }
        }
        false
    }

    /// Takes all questions for `key`; unanswered ones are given back by [`DataWaiters::put_back`].
    pub fn take(&mut self, key: &Key) -> Vec<DataWaiter> {
        let waiters = self.by_key.remove(key).unwrap_or_default();
        self.count -= waiters.len();
        waiters
    }

    /// Keeps what [`DataWaiters::take`] gave and nobody could answer.
    pub fn put_back(&mut self, key: Key, waiters: Vec<DataWaiter>) {
        if !waiters.is_empty() {
            self.count += waiters.len();
            self.by_key.insert(key, waiters);
        }
    }

    /// Forgets questions that nobody repeats any more: their askers have an answer
    /// from elsewhere, or have given up.
    pub fn on_tick(&mut self, now: Duration) {
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.expire(now);
            self.sweep_at = (self.count > 0).then(|| now + WAITER_LIFE);
        }
    }

    /// When [`DataWaiters::on_tick`] is next due.
    pub fn next_wakeup(&self) -> Option<Duration> {
        self.sweep_at
    }

    fn expire(&mut self, now: Duration) {
        let count = &mut self.count;
        self.by_key.retain(|_, waiters| {
            *count -= waiters.len();
            waiters.retain(|waiter| waiter.expires > now);
            *count += waiters.len();
            !waiters.is_empty()
        });
    }
}
