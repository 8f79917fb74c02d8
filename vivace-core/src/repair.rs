//! Values that this node's disk has lost, or that nobody brings any more, fetched from
//! other replicas.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::cluster::{Container, Kind};
use crate::env::Env;
use crate::fetch::{Fetch, candidates};
use crate::key::Key;
use crate::message::{PriorityBody, RpcId};
use crate::timestamp::Timestamp;

/// Values fetched at once. Others are fetched when they are next asked for, or looked
/// at.
const REPAIRS_MAX: usize = 64;

/// After this long without an answer, a fetch is given up until somebody asks for the
/// value again.
const REPAIR_LIFE: Duration = Duration::from_secs(60);

/// What waits to be fetched is looked through this often, so that fetching takes a small
/// part of a link and never begins all at once.
const RESUME_PAUSE: Duration = Duration::from_millis(500);

/// Values that wait because somebody asked for them; more are fetched when asked for again.
const EXPECTED_MAX: usize = 4096;

/// A value that somebody waits for here is on its way. Where it has not come after this
/// long, who carried it may have crashed when a majority had it.
const EXPECTED_PATIENCE: Duration = Duration::from_secs(3);

/// Answers to fetches carry this operation number; no coordinator counts so far.
pub const REPAIR_OPERATION: u64 = u64::MAX;

#[derive(Clone, Debug)]
struct Repair {
    key: Key,
    ts: Timestamp,
    fetch: Fetch,
    until: Duration,
}

/// All values being fetched.
#[derive(Clone, Debug, Default)]
pub struct Repairs {
    by_call: BTreeMap<u32, Repair>,
    /// To be fetched when due, as others are done, where it is still missing.
    waiting: VecDeque<(Key, Timestamp, Duration)>,
    resume_at: Duration,
    calls_made: u32,
}

impl Repairs {
    /// How many values are being fetched, or wait for that.
    pub fn count(&self) -> usize {
        self.by_call.len() + self.waiting.len()
    }

    /// A start found a version missing.
    pub fn wait(&mut self, key: &Key, ts: Timestamp) {
        self.waiting.push_back((key.clone(), ts, Duration::ZERO));
    }

    /// Somebody waits here for a version that should be on its way.
    pub fn expect(&mut self, env: &Env, key: &Key, ts: Timestamp) {
        if self.waiting.len() < EXPECTED_MAX {
            let due = env.now.monotonic + EXPECTED_PATIENCE;
            self.resume_at = self.resume_at.max(env.now.monotonic);
            self.waiting.push_back((key.clone(), ts, due));
        }
    }

    /// Fetches the version `ts` of `key`, or a newer one.
    pub fn start(&mut self, env: &mut Env, container: &Container, key: &Key, ts: Timestamp) {
        let mut under_way = self.by_call.values();
        if self.by_call.len() >= REPAIRS_MAX
            || under_way.any(|repair| repair.key == *key && repair.ts >= ts)
        {
            return;
        }
        let body = match container.kind {
            Kind::Rw => PriorityBody::ReadData {
                key: key.clone(),
                at_least: ts,
            },
            Kind::Rmw => PriorityBody::OrderedReadData {
                key: key.clone(),
                at_least: ts,
                below: Timestamp::MAX,
            },
            // The next write brings the baselines' replicas a new value.
            Kind::Abd | Kind::LanRmw => return,
        };
        env.counters
            .count("repair: a value that the disk lost is asked for");
        self.calls_made = self.calls_made.wrapping_add(1);
        let rpc = RpcId {
            incarnation: env.incarnation,
            operation: REPAIR_OPERATION,
            call: self.calls_made,
        };
        let mut others = candidates(env, container, &[], ts);
        others.retain(|&node| node != env.me);
        let repair = Repair {
            key: key.clone(),
            ts,
            fetch: Fetch::among(env, container, rpc, others, body),
            until: env.now.monotonic + REPAIR_LIFE,
        };
        self.by_call.insert(rpc.call, repair);
    }

    /// The object of a call.
    pub fn key_of(&self, rpc: RpcId) -> Option<Key> {
        self.by_call.get(&rpc.call).map(|repair| repair.key.clone())
    }

    /// The object of a call whose answer has come; the call is over.
    pub fn take(&mut self, rpc: RpcId) -> Option<Key> {
        self.by_call.remove(&rpc.call).map(|repair| repair.key)
    }

    /// An answer without a value.
    pub fn on_answer(&mut self, env: &mut Env, rpc: RpcId, body: &PriorityBody) {
        match body {
            // A newer version was chosen; COMMIT tells of it.
            PriorityBody::Gone { .. } => drop(self.take(rpc)),
            PriorityBody::Refused { .. } => {
                if let Some(repair) = self.by_call.get_mut(&rpc.call) {
                    repair.fetch.on_refused(env);
                }
            }
            _ => {}
        }
    }

    /// Asks further nodes, and gives up what nobody answers.
    pub fn on_tick(&mut self, env: &mut Env) {
        self.by_call
            .retain(|_, repair| repair.until > env.now.monotonic);
        for repair in self.by_call.values_mut() {
            repair.fetch.on_tick(env);
        }
    }

    /// What is due now, and could be fetched.
    pub fn take_due(&mut self, env: &Env) -> Vec<(Key, Timestamp)> {
        let now = env.now.monotonic;
        if self.waiting.is_empty() || self.resume_at > now {
            return Vec::new();
        }
        self.resume_at = now + RESUME_PAUSE;
        let room = REPAIRS_MAX.saturating_sub(self.by_call.len());
        let due = self.waiting.iter().take(room);
        let due = due.take_while(|(_, _, due)| *due <= now).count();
        let due = self.waiting.drain(..due);
        due.map(|(key, ts, _)| (key, ts)).collect()
    }

    /// Asks a node that has come back.
    pub fn on_peer_up(&mut self, env: &mut Env, node: crate::identity::NodeId) {
        for repair in self.by_call.values_mut() {
            repair.fetch.on_peer_up(env, node);
        }
    }

    /// When [`Repairs::on_tick`] is next due.
    pub fn next_wakeup(&self) -> Option<Duration> {
        let first = self.waiting.front();
        let resume = first.map(|(_, _, due)| self.resume_at.max(*due));
        let fetches = self.by_call.values();
        fetches
            .map(|repair| repair.fetch.next_wakeup().min(repair.until))
            .chain(resume)
            .min()
    }
}
