//! The local set: values on their way out of the site where they were written
//! (Vivace §3.2, "temporary replicas"; W-LOCAL, BIND, GO and STABLE of PROTOCOL).
//!
//! A copy leaves the site only when a majority of the local set holds it (mend 3):
//! the coordinator says so with GO. Where no GO comes in time, a member copies the
//! value to its siblings, learns so that it is safe, and carries it itself.

mod care;
mod found;
#[cfg(feature = "sim")]
mod mutated;
mod recovery;
#[cfg(feature = "sim")]
mod remembered;
mod unbound;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use self::found::Found;
use crate::call::Call;
use crate::cluster::{Cluster, Container, Kind};
use crate::env::Env;
use crate::identity::{Incarnation, NodeId};
use crate::key::Key;
use crate::message::{CopyTag, Refusal, RpcId, WriteId};
use crate::outbox::Lsn;
use crate::propagation::Propagator;
use crate::quorum::Votes;
use crate::record::Record;
use crate::row::Row;
use crate::stored::{StoredValue, ValueId};
use crate::timestamp::Timestamp;
use crate::value::Value;

/// How long a member waits for GO, or for news of the propagator, before it looks
/// after a copy itself.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a value without a timestamp waits for its coordinator at most: longer than an
/// ordinary operation takes on the slowest link.
const UNBOUND_PATIENCE: Duration = Duration::from_secs(30);

/// It waits [`PATIENCE`], and where its coordinator can be reached, this many round trips to
/// the farthest replica besides.
const UNBOUND_TRIPS: u32 = 8;

/// Copies of a container taken over at once: after a restart with many, their values must not reach the
/// siblings all together. Others have their turn at the next look.
const TAKEOVERS_MAX: usize = 256;

/// How often copies are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// Aborted writes remembered one by one per coordinator life; older ones are
/// covered by a floor below which every unbound write is refused.
pub const ABORTED_MAX: usize = 1024;

/// Answers to the local set's own calls carry this operation number.
pub const LOCAL_SET_OPERATION: u64 = 0;

#[derive(Clone, Debug)]
struct LocalCopy {
    value: StoredValue,
    /// Whose it was before it had a timestamp; the value is filed under that then.
    write: Option<WriteId>,
    safe: bool,
    /// A majority of replicas holds the value: the copy is here for the others alone, and
    /// counts as backlog of their sites, no more of the local set.
    stable: bool,
    lsn: Lsn,
    /// The value, at `lsn`, is a record of itself.
    is_record: bool,
    propagator: NodeId,
    check_at: Duration,
    /// Copying to the siblings, because nobody else seems to look after it.
    takeover: Option<Box<(Call, Votes<()>)>>,
}

#[derive(Clone, Debug)]
struct UnboundCopy {
    value: StoredValue,
    propagator: NodeId,
    lsn: Lsn,
    since: Duration,
    check_at: Duration,
    abort: Option<(Call, Votes<Option<Timestamp>>)>,
}

impl LocalCopy {
    /// What it adds to the bytes that the local set keeps.
    fn counted_bytes(&self) -> u64 {
        if self.stable { 0 } else { self.value.bytes() }
    }

    /// What the value of this copy at `ts` is filed under.
    fn tag(&self, ts: Timestamp) -> CopyTag {
        self.write.map_or(CopyTag::Bound(ts), CopyTag::Unbound)
    }
}

/// Who sends W-LOCAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Of a new value, which a full backlog refuses.
    Coordinator,
    /// A member that looks after a copy. Were it refused for room, members whose
    /// backlogs are full of such copies would wait for each other for ever.
    Sibling,
}

/// Which writes of one coordinator life can't be bound here any more.
#[derive(Clone, Debug, Default)]
struct Aborted {
    below: u64,
    numbers: BTreeSet<u64>,
    /// Everything above is durable once the log is durable up to here.
    lsn: Lsn,
}

impl Aborted {
    fn contains(&self, number: u64) -> bool {
        number < self.below || self.numbers.contains(&number)
    }

    fn insert(&mut self, number: u64) {
        self.numbers.insert(number);
        while self.numbers.len() > ABORTED_MAX {
            if let Some(oldest) = self.numbers.pop_first() {
                self.below = self.below.max(oldest + 1);
            }
        }
    }
}

/// This node's part in the local sets of its site.
#[derive(Clone, Debug, Default)]
pub struct LocalSet {
    copies: BTreeMap<Key, Row<Timestamp, LocalCopy>>,
    unbound: BTreeMap<(Key, WriteId), UnboundCopy>,
    aborted: BTreeMap<(NodeId, Incarnation), Aborted>,
    /// Values on their way to replicas.
    pub propagator: Propagator,
    copy_bytes: u64,
    calls_made: u32,
    /// Copies that are on their way to the siblings, by call.
    takeovers: BTreeMap<u32, (Key, Timestamp)>,
    sweep_at: Option<Duration>,
}

impl LocalSet {
    /// Bytes that this node keeps for values on their way out.
    pub fn backlog_bytes(&self) -> u64 {
        self.copy_bytes.max(self.propagator.bytes())
    }

    /// Whether there is room for another value of `container`.
    ///
    /// # Errors
    /// What is full, in words for a client.
    pub fn check_room(&self, cluster: &Cluster, container: &Container) -> Result<(), String> {
        let spec = cluster.spec();
        let limit = spec.backlog_bytes_max;
        let full = |what: String, bytes| {
            Err(format!(
                "{bytes} bytes of values wait {what}; the limit is {limit} (limits.backlog_bytes_max)"
            ))
        };
        for site in container
            .replicas
            .iter()
            .filter_map(|&r| cluster.site_of(r))
        {
            let bytes = self.propagator.backlogs().bytes(site);
            if bytes >= limit {
                let name = &spec.sites[usize::from(site.0)];
                return full(format!("for site {name}"), bytes);
            }
        }
        // Copies that are on no way yet: nobody has said that they are safe.
        if self.copy_bytes >= limit {
            return full("in this node's local set".into(), self.copy_bytes);
        }
        Ok(())
    }

    /// How many copies and unbound values are held: zero when all is settled.
    pub fn held(&self) -> usize {
        self.copies.values().map(Row::len).sum::<usize>() + self.unbound.len()
    }

    /// Questions to other members about copies that this node may have to carry.
    #[cfg(feature = "sim")]
    pub fn takeovers(&self) -> usize {
        self.takeovers.len()
    }

    fn next_rpc(&mut self, env: &Env) -> RpcId {
        self.calls_made = self.calls_made.wrapping_add(1);
        RpcId {
            incarnation: env.incarnation,
            operation: LOCAL_SET_OPERATION,
            call: self.calls_made,
        }
    }

    /// W-LOCAL: durable, then acknowledged.
    ///
    /// # Errors
    /// [`Refusal`] where the write was aborted or the backlog is full.
    pub fn on_write_local(
        &mut self,
        env: &mut Env,
        key: &Key,
        tag: CopyTag,
        propagator: NodeId,
        value: Value,
        sender: Sender,
    ) -> Result<Lsn, Refusal> {
        let known = match tag {
            CopyTag::Bound(ts) => self.copies.get(key).and_then(|c| c.get(&ts)).map(|c| c.lsn),
            CopyTag::Unbound(write) => {
                let coordinator = (write.node, write.incarnation);
                if self
                    .aborted
                    .get(&coordinator)
                    .is_some_and(|a| a.contains(write.number))
                {
                    env.counters.count("refused: a copy of an aborted write");
                    return Err(Refusal::NotBindable {});
                }
                self.unbound
                    .get(&(key.clone(), write))
                    .map(|copy| copy.lsn)
                    .or_else(|| self.bound_to(key, write).map(|(_, lsn)| lsn))
            }
        };
        if let Some(lsn) = known {
            return Ok(lsn);
        }
        if sender == Sender::Coordinator {
            let cluster = env.cluster.clone();
            let container = cluster.container(key.container);
            if container.is_none_or(|c| self.check_room(&cluster, c).is_err()) {
                env.counters
                    .count("busy: the backlog of a local set is full");
                return Err(Refusal::Overloaded {});
            }
        }
        let id = ValueId {
            key: key.clone(),
            tag,
        };
        let value = env.out.store(id, value);
        let record = Record::LocalCopy {
            key: key.clone(),
            tag,
            value,
        };
        let lsn = env.out.persist(record);
        let patience = match tag {
            CopyTag::Bound(_) => PATIENCE,
            CopyTag::Unbound(_) => UNBOUND_PATIENCE,
        };
        self.insert(
            env,
            key,
            tag,
            propagator,
            value,
            (lsn, false),
            env.now.monotonic + patience,
        );
        Ok(lsn)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a copy")]
    fn insert(
        &mut self,
        env: &mut Env,
        key: &Key,
        tag: CopyTag,
        propagator: NodeId,
        value: StoredValue,
        (lsn, is_record): (Lsn, bool),
        check_at: Duration,
    ) {
        match tag {
            CopyTag::Bound(ts) => {
                let copy = LocalCopy {
                    value,
                    write: None,
                    safe: false,
                    stable: false,
                    lsn,
                    is_record,
                    propagator,
                    check_at,
                    takeover: None,
                };
                self.insert_bound(env, key, ts, copy);
            }
            CopyTag::Unbound(write) => {
                self.copy_bytes += value.bytes();
                // Most need not wait for so long.
                self.wake_at(check_at.min(env.now.monotonic + PATIENCE));
                let copy = UnboundCopy {
                    value,
                    propagator,
                    lsn,
                    since: env.now.monotonic,
                    check_at,
                    abort: None,
                };
                // Recovery meets it again where the disk had lost the first one's value.
                let replaced = self.unbound.insert((key.clone(), write), copy);
                self.copy_bytes -= replaced.map_or(0, |copy| copy.value.bytes());
            }
        }
    }

    /// Two copies of one version may come together: a sibling's, that carries the
    /// timestamp, and the coordinator's, that is bound to it.
    fn insert_bound(&mut self, env: &mut Env, key: &Key, ts: Timestamp, copy: LocalCopy) {
        self.wake_at(copy.check_at);
        self.copy_bytes += copy.value.bytes();
        let replaced = self.copies.entry(key.clone()).or_default().insert(ts, copy);
        if let Some(replaced) = replaced {
            self.copy_bytes -= replaced.counted_bytes();
            release(env, key, replaced.tag(ts));
        }
    }

    fn wake_at(&mut self, at: Duration) {
        self.sweep_at = Some(self.sweep_at.map_or(at, |next| next.min(at)));
    }

    /// GO: the copy is safe; this node carries it.
    pub fn on_go(&mut self, env: &mut Env, container: &Container, key: &Key, ts: Timestamp) {
        let Some(copy) = self
            .copies
            .get_mut(key)
            .and_then(|versions| versions.get_mut(&ts))
        else {
            return;
        };
        copy.safe = true;
        copy.propagator = env.me;
        copy.takeover = None;
        let source = (copy.tag(ts), copy.value);
        self.propagator.start(env, container, key, ts, source, true);
        self.wake_at(env.now.monotonic + SWEEP_INTERVAL);
    }

    /// A direct write of this node: the value is on its way to all replicas. This member
    /// looks after it until all have it, after a restart too. It is not refused for room,
    /// which was there when its client asked.
    pub fn keep_sent(
        &mut self,
        env: &mut Env,
        container: &Container,
        key: &Key,
        ts: Timestamp,
        value: Value,
    ) {
        let (tag, stored) = (CopyTag::Bound(ts), StoredValue::from(&value));
        let is_known = self.copies.get(key).is_some_and(|of| of.contains_key(&ts));
        if !is_known {
            let told = env.out.store_as_record(ValueId::version(key, ts), value);
            let record = Record::LocalCopy {
                key: key.clone(),
                tag,
                value: stored,
            };
            let lsn = env.out.persist_behind(told, record);
            let check_at = env.now.monotonic + PATIENCE;
            let me = env.me;
            self.insert(env, key, tag, me, stored, (lsn, told.is_some()), check_at);
        }
        self.propagator
            .watch_sent(env, container, key, ts, (tag, stored));
        self.wake_at(env.now.monotonic + SWEEP_INTERVAL);
    }

    /// A replica durably holds `ts` or, for RW objects, a newer version.
    pub fn on_write_remote_ack(
        &mut self,
        env: &mut Env,
        container: &Container,
        from: NodeId,
        key: &Key,
        ts: Timestamp,
    ) {
        if let Some(stable) = self.propagator.on_ack(env, container, from, key, ts) {
            self.on_stable(env, container, key, stable);
        }
    }

    /// STABLE: a majority of replicas holds `ts`. RW: copies up to it may go.
    /// RMW: exactly it may, for an older one may be what was chosen. The member that
    /// carries it keeps its own until all have it: a restart must not end its way.
    pub fn on_stable(&mut self, env: &mut Env, container: &Container, key: &Key, ts: Timestamp) {
        if container.kind == Kind::Rw {
            self.propagator.stable.remember(key, ts);
        }
        let Some(versions) = self.copies.get_mut(key) else {
            return;
        };
        let kept = self.propagator.is_carrying(key, ts);
        if let Some(copy) = versions.get_mut(&ts).filter(|_| kept) {
            self.copy_bytes -= copy.counted_bytes();
            copy.stable = true;
            copy.takeover = None;
        }
        let drops = |version| match container.kind {
            Kind::Rw | Kind::Abd => version < ts || (version == ts && !kept),
            Kind::Rmw | Kind::LanRmw => version == ts && !kept,
        };
        if versions.keys().any(|&version| drops(version)) {
            self.drop_copies(env, key, drops);
        }
    }

    /// Drops the copies of what has come to the end of its way.
    pub fn drop_delivered(&mut self, env: &mut Env) {
        for (key, ts) in self.propagator.take_ended() {
            let copy = self.copies.get(&key).and_then(|versions| versions.get(&ts));
            if copy.is_some_and(|copy| copy.stable) {
                self.drop_copies(env, &key, |version| version == ts);
            }
        }
    }

    /// COMMIT: `chosen` is chosen, so older versions are history.
    pub fn on_commit(&mut self, env: &mut Env, key: &Key, chosen: Timestamp) {
        self.drop_copies(env, key, |version| version < chosen);
        self.propagator.on_chosen(env, key, chosen);
    }

    fn drop_copies(&mut self, env: &mut Env, key: &Key, drops: impl Fn(Timestamp) -> bool) {
        let Some(versions) = self.copies.get_mut(key) else {
            return;
        };
        let bytes = &mut self.copy_bytes;
        versions.retain(|&ts, copy| {
            let keep = !drops(ts);
            if !keep {
                *bytes -= copy.counted_bytes();
                env.out.persist_later(Record::LocalDropped {
                    key: key.clone(),
                    ts,
                });
                release(env, key, copy.tag(ts));
            }
            keep
        });
        if versions.is_empty() {
            self.copies.remove(key);
        }
    }

    /// A copy that answers R-DATA (RW): exactly the one asked for, or a newer one
    /// that is safe; an unsafe one may be lost after a reader has returned it.
    pub fn find_rw(&self, key: &Key, at_least: Timestamp) -> Option<Found> {
        let versions = self.copies.get(key)?;
        versions
            .range(at_least..)
            .rev()
            .find(|(ts, copy)| **ts == at_least || copy.safe)
            .map(|(&ts, copy)| Found::copy(ts, copy))
    }

    /// A copy that answers OR-DATA (RMW): any version in the range. It may not be
    /// safe; whoever builds on it makes all of it safe again in its own version.
    pub fn find_rmw(&self, key: &Key, at_least: Timestamp, below: Timestamp) -> Option<Found> {
        let versions = self.copies.get(key)?;
        if at_least >= below {
            return None;
        }
        let (&ts, copy) = versions.range(at_least..below).next()?;
        Some(Found::copy(ts, copy))
    }

    /// Whether a copy, or a value on its way to replicas, is filed under `id`.
    pub fn refers_to(&self, id: &ValueId) -> bool {
        let mut copies = self.copies.get(&id.key).into_iter().flatten();
        copies.any(|(&ts, copy)| copy.tag(ts) == id.tag)
            || self.propagator.refers_to(id)
            || match id.tag {
                CopyTag::Unbound(write) => self.unbound.contains_key(&(id.key.clone(), write)),
                CopyTag::Bound(_) => false,
            }
    }
}

fn release(env: &mut Env, key: &Key, tag: CopyTag) {
    let key = key.clone();
    env.out.release(ValueId { key, tag });
}
