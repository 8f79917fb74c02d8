//! The local set: values on their way out of the site where they were written
//! (Vivace §3.2, "temporary replicas"; W-LOCAL, BIND, GO and STABLE of PROTOCOL).
//!
//! A copy leaves the site only when a majority of the local set holds it (mend 3):
//! the coordinator says so with GO. Where no GO comes in time, a member copies the
//! value to its siblings, learns so that it is safe, and carries it itself.

#[cfg(feature = "sim")]
mod mutated;
#[cfg(feature = "sim")]
mod remembered;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::call::Call;
use crate::cluster::{Cluster, Container, Kind};
use crate::env::Env;
use crate::event::Class;
use crate::identity::{Incarnation, NodeId};
use crate::key::Key;
use crate::message::{CopyTag, PriorityBody, Propagation, Refusal, RpcId, WriteId};
use crate::outbox::{Lsn, Message};
use crate::propagation::Propagator;
use crate::quorum::{Tally, Votes};
use crate::record::Record;
use crate::stored::{StoredBody, StoredValue, ValueId};
use crate::timestamp::Timestamp;
use crate::value::Value;

/// How long a member waits for GO, or for news of the propagator, before it looks
/// after a copy itself.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a value without a timestamp waits for its coordinator: longer than an
/// ordinary operation takes on the slowest link.
const UNBOUND_PATIENCE: Duration = Duration::from_secs(30);

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
    lsn: Lsn,
    propagator: NodeId,
    check_at: Duration,
    /// Copying to the siblings, because nobody else seems to look after it.
    takeover: Option<(Call, Votes<()>)>,
}

#[derive(Clone, Debug)]
struct UnboundCopy {
    value: StoredValue,
    propagator: NodeId,
    lsn: Lsn,
    check_at: Duration,
    abort: Option<(Call, Votes<Option<Timestamp>>)>,
}

impl LocalCopy {
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
    copies: BTreeMap<Key, BTreeMap<Timestamp, LocalCopy>>,
    unbound: BTreeMap<(Key, WriteId), UnboundCopy>,
    aborted: BTreeMap<(NodeId, Incarnation), Aborted>,
    /// Values on their way to replicas.
    pub propagator: Propagator,
    copy_bytes: u64,
    calls_made: u32,
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
        if self.copy_bytes >= limit {
            return full("in this node's local set".into(), self.copy_bytes);
        }
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
        Ok(())
    }

    /// How many copies and unbound values are held: zero when all is settled.
    pub fn held(&self) -> usize {
        self.copies.values().map(BTreeMap::len).sum::<usize>() + self.unbound.len()
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
            lsn,
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
        lsn: Lsn,
        check_at: Duration,
    ) {
        match tag {
            CopyTag::Bound(ts) => {
                let copy = LocalCopy {
                    value,
                    write: None,
                    safe: false,
                    lsn,
                    propagator,
                    check_at,
                    takeover: None,
                };
                self.insert_bound(env, key, ts, copy);
            }
            CopyTag::Unbound(write) => {
                self.copy_bytes += value.bytes();
                self.wake_at(check_at);
                let copy = UnboundCopy {
                    value,
                    propagator,
                    lsn,
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
            self.copy_bytes -= replaced.value.bytes();
            release(env, key, replaced.tag(ts));
        }
    }

    fn take_unbound(&mut self, key: &Key, write: WriteId) -> Option<UnboundCopy> {
        let copy = self.unbound.remove(&(key.clone(), write))?;
        self.copy_bytes -= copy.value.bytes();
        Some(copy)
    }

    fn wake_at(&mut self, at: Duration) {
        self.sweep_at = Some(self.sweep_at.map_or(at, |next| next.min(at)));
    }

    fn bound_to(&self, key: &Key, write: WriteId) -> Option<(Timestamp, Lsn)> {
        let versions = self.copies.get(key)?;
        versions
            .iter()
            .find(|(_, c)| c.write == Some(write))
            .map(|(&ts, c)| (ts, c.lsn))
    }

    /// BIND: the unbound copy gets its timestamp, durably (mend 6). None where the
    /// copy has not arrived yet: the coordinator asks again. Where a newer version is
    /// stable, the copy was bound and dropped, or need not be kept any more.
    ///
    /// # Errors
    /// [`Refusal::NotBindable`] where the write was aborted or has another timestamp.
    pub fn on_bind(
        &mut self,
        env: &mut Env,
        key: &Key,
        write: WriteId,
        ts: Timestamp,
    ) -> Result<Option<Lsn>, Refusal> {
        if let Some((bound, lsn)) = self.bound_to(key, write) {
            return if bound == ts {
                Ok(Some(lsn))
            } else {
                Err(Refusal::NotBindable {})
            };
        }
        let coordinator = (write.node, write.incarnation);
        if self
            .aborted
            .get(&coordinator)
            .is_some_and(|a| a.contains(write.number))
        {
            env.counters.count("refused: BIND of an aborted write");
            return Err(Refusal::NotBindable {});
        }
        let copied = self.copies.get(key).and_then(|copies| copies.get(&ts));
        let copied = copied.map(|copy| copy.lsn);
        match self.bind(env, key, write, ts) {
            // A sibling that looks after the value brought it, with its timestamp.
            None if copied.is_some() => Ok(copied),
            None if self.propagator.was_stable(key, ts) => Ok(Some(Lsn::default())),
            bound => Ok(bound),
        }
    }

    fn bind(&mut self, env: &mut Env, key: &Key, write: WriteId, ts: Timestamp) -> Option<Lsn> {
        let unbound = self.take_unbound(key, write)?;
        let lsn = env.out.persist(Record::LocalBound {
            key: key.clone(),
            write,
            ts,
        });
        let copy = LocalCopy {
            value: unbound.value,
            write: Some(write),
            safe: false,
            lsn,
            propagator: unbound.propagator,
            check_at: env.now.monotonic + PATIENCE,
            takeover: None,
        };
        self.insert_bound(env, key, ts, copy);
        Some(lsn)
    }

    /// ABORT: refuses a later BIND, durably, or names the timestamp of an earlier
    /// one. The copy itself goes when a majority of the local set has said so.
    pub fn on_abort(
        &mut self,
        env: &mut Env,
        key: &Key,
        write: WriteId,
    ) -> (Option<Timestamp>, Lsn) {
        if let Some((ts, lsn)) = self.bound_to(key, write) {
            return (Some(ts), lsn);
        }
        let aborted = self
            .aborted
            .entry((write.node, write.incarnation))
            .or_default();
        if !aborted.contains(write.number) {
            aborted.insert(write.number);
            let key = key.clone();
            aborted.lsn = env.out.persist(Record::LocalAborted { key, write });
        }
        (None, aborted.lsn)
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

    /// STABLE: a majority of replicas holds `ts`. RW: copies up to it may go.
    /// RMW: exactly it may, for an older one may be what was chosen.
    pub fn on_stable(&mut self, env: &mut Env, container: &Container, key: &Key, ts: Timestamp) {
        if container.kind == Kind::Rw {
            self.propagator.remember_stable(key, ts);
        }
        self.drop_copies(env, key, |version| match container.kind {
            Kind::Rw | Kind::Abd => version <= ts,
            Kind::Rmw | Kind::LanRmw => version == ts,
        });
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
                *bytes -= copy.value.bytes();
                env.out.persist(Record::LocalDropped {
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

    /// Answers a sibling that wonders whether a copy is looked after.
    pub fn propagation_of(&self, key: &Key, ts: Timestamp) -> Propagation {
        if self.propagator.was_stable(key, ts) {
            Propagation::Stable {}
        } else if self.propagator.carries(key, ts) {
            Propagation::UnderWay {}
        } else {
            Propagation::Unknown {}
        }
    }

    /// News of the propagator.
    pub fn on_propagation_is(
        &mut self,
        env: &mut Env,
        container: &Container,
        key: &Key,
        ts: Timestamp,
        state: &Propagation,
    ) {
        match state {
            Propagation::Stable {} => self.on_stable(env, container, key, ts),
            Propagation::UnderWay {} => {
                if let Some(copy) = self.copies.get_mut(key).and_then(|v| v.get_mut(&ts)) {
                    copy.check_at = env.now.monotonic + PATIENCE * 4;
                }
            }
            Propagation::Unknown {} => self.take_over(env, container, key, ts),
        }
    }

    /// Copies the value to the siblings; a majority of them makes it safe.
    fn take_over(&mut self, env: &mut Env, container: &Container, key: &Key, ts: Timestamp) {
        let rpc = self.next_rpc(env);
        let Some(copy) = self
            .copies
            .get_mut(key)
            .and_then(|versions| versions.get_mut(&ts))
        else {
            return;
        };
        if copy.takeover.is_some() {
            return;
        }
        env.counters
            .count("taken over: a value that nobody carried");
        let members = container.local_set(env.site);
        let body = StoredBody::WriteLocal {
            ts,
            propagator: env.me,
        };
        let id = ValueId {
            key: key.clone(),
            tag: copy.tag(ts),
        };
        copy.propagator = env.me;
        let message = Message::stored(rpc, container.epoch, body, id, copy.value);
        let call = Call::start(env, rpc, members, message, Lsn::default());
        copy.takeover = Some((call, Votes::new(members.len())));
    }

    /// Gives an unbound copy up, with a majority of the local set.
    fn abort(&mut self, env: &mut Env, container: &Container, key: &Key, write: WriteId) {
        let rpc = self.next_rpc(env);
        let Some(copy) = self.unbound.get_mut(&(key.clone(), write)) else {
            return;
        };
        if copy.abort.is_some() || mutant!(env, LeaveOrphans) {
            return;
        }
        env.counters.count("aborted: a value without a timestamp");
        let members = container.local_set(env.site);
        let body = PriorityBody::Abort {
            key: key.clone(),
            write,
        };
        let call = Call::priority(env, container, rpc, members, body);
        copy.abort = Some((call, Votes::new(members.len())));
    }

    /// An answer to one of the local set's own calls.
    pub fn on_answer(&mut self, env: &mut Env, from: NodeId, rpc: RpcId, body: &PriorityBody) {
        let cluster = env.cluster.clone();
        match body {
            PriorityBody::WriteLocalAck {} => {
                let mut safe = None;
                for (key, versions) in &mut self.copies {
                    for (&ts, copy) in versions.iter_mut() {
                        let Some((call, votes)) = &mut copy.takeover else {
                            continue;
                        };
                        if call.rpc == rpc {
                            call.answered(from);
                            votes.yes(from, ());
                            if votes.tally() == Tally::Reached {
                                copy.takeover = None;
                                copy.safe = true;
                                safe = Some((key.clone(), ts, (copy.tag(ts), copy.value)));
                            }
                        }
                    }
                }
                if let Some((key, ts, source)) = safe
                    && let Some(container) = cluster.container(key.container)
                {
                    let settled = container.kind == Kind::Rw;
                    self.propagator
                        .start(env, container, &key, ts, source, settled);
                    self.wake_at(env.now.monotonic + SWEEP_INTERVAL);
                }
            }
            PriorityBody::AbortAck { bound } => self.on_abort_ack(env, from, rpc, *bound),
            _ => {}
        }
    }

    fn on_abort_ack(&mut self, env: &mut Env, from: NodeId, rpc: RpcId, bound: Option<Timestamp>) {
        let Some((id, copy)) = self
            .unbound
            .iter_mut()
            .find(|(_, copy)| copy.abort.as_ref().is_some_and(|(call, _)| call.rpc == rpc))
        else {
            return;
        };
        let id = id.clone();
        let (key, write) = id.clone();
        if let Some((call, votes)) = &mut copy.abort {
            call.answered(from);
            votes.yes(from, bound);
            let known = votes.answers().iter().find_map(|(_, bound)| *bound);
            let reached = votes.tally() == Tally::Reached;
            if let Some(ts) = known {
                self.bind(env, &key, write, ts);
            } else if reached {
                self.take_unbound(&key, write);
                release(env, &key, CopyTag::Unbound(write));
                env.out.persist(Record::LocalGivenUp { key, write });
            }
        }
    }

    /// Looks after copies whose time has come.
    pub fn on_tick(&mut self, env: &mut Env) {
        if self.sweep_at.is_none_or(|at| at > env.now.monotonic) {
            return;
        }
        let now = env.now.monotonic;
        let cluster = env.cluster.clone();
        let due: Vec<(Key, Timestamp, NodeId)> = self
            .copies
            .iter()
            .flat_map(|(key, versions)| versions.iter().map(move |(ts, copy)| (key, ts, copy)))
            .filter(|(_, _, copy)| copy.check_at <= now)
            .map(|(key, ts, copy)| (key.clone(), *ts, copy.propagator))
            .collect();
        for (key, ts, propagator) in due {
            let Some(container) = cluster.container(key.container) else {
                continue;
            };
            self.look_after(env, container, &key, ts, propagator);
        }
        let unbound: Vec<(Key, WriteId)> = self
            .unbound
            .iter()
            .filter(|(_, copy)| copy.check_at <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for (key, write) in unbound {
            if let Some(container) = cluster.container(key.container) {
                self.abort(env, container, &key, write);
            }
        }
        for copy in self.copies.values_mut().flat_map(BTreeMap::values_mut) {
            if let Some((call, _)) = &mut copy.takeover {
                call.on_tick(env);
            }
        }
        for copy in self.unbound.values_mut() {
            if let Some((call, _)) = &mut copy.abort {
                call.on_tick(env);
            }
        }
        self.propagator.on_tick(env);
        let busy = self.held() > 0 || self.propagator.count() > 0;
        self.sweep_at = busy.then(|| now + SWEEP_INTERVAL);
    }

    fn look_after(
        &mut self,
        env: &mut Env,
        container: &Container,
        key: &Key,
        ts: Timestamp,
        propagator: NodeId,
    ) {
        if let Some(copy) = self
            .copies
            .get_mut(key)
            .and_then(|versions| versions.get_mut(&ts))
        {
            copy.check_at = env.now.monotonic + PATIENCE;
        }
        if self.propagator.carries(key, ts) || mutant!(env, LeaveOrphans) {
            return;
        }
        if propagator != env.me && env.is_up(propagator, Class::Priority) {
            let body = PriorityBody::AskPropagation {
                key: key.clone(),
                ts,
            };
            env.send_priority(propagator, RpcId::NONE, container.epoch, body);
        } else {
            self.take_over(env, container, key, ts);
        }
    }

    /// A connection came back.
    pub fn on_peer_up(&mut self, env: &mut Env, node: NodeId, class: Class) {
        for copy in self.copies.values_mut().flat_map(BTreeMap::values_mut) {
            if let Some((call, _)) = &mut copy.takeover {
                call.on_peer_up(env, node, class);
            }
        }
        for copy in self.unbound.values_mut() {
            if let Some((call, _)) = &mut copy.abort {
                call.on_peer_up(env, node, class);
            }
        }
        if class == Class::Bulk {
            self.propagator.on_peer_up(env);
        }
    }

    /// When [`LocalSet::on_tick`] is next due.
    pub fn next_wakeup(&self) -> Option<Duration> {
        self.sweep_at
    }

    /// Takes over a durable copy; it is looked after soon.
    pub fn recover_copy(&mut self, env: &mut Env, key: &Key, tag: CopyTag, value: StoredValue) {
        self.insert(
            env,
            key,
            tag,
            env.me,
            value,
            Lsn::default(),
            env.now.monotonic + PATIENCE,
        );
    }

    /// Takes over a durable binding.
    pub fn recover_bound(&mut self, env: &mut Env, key: &Key, write: WriteId, ts: Timestamp) {
        if let Some(unbound) = self.take_unbound(key, write) {
            self.recover_copy(env, key, CopyTag::Bound(ts), unbound.value);
            if let Some(copy) = self.copies.get_mut(key).and_then(|v| v.get_mut(&ts)) {
                copy.write = Some(write);
            }
        }
    }

    /// Takes over a durable abort.
    pub fn recover_aborted(&mut self, write: WriteId) {
        self.aborted
            .entry((write.node, write.incarnation))
            .or_default()
            .insert(write.number);
    }

    /// Takes over the end of an aborted write.
    pub fn recover_given_up(&mut self, key: &Key, write: WriteId) {
        self.take_unbound(key, write);
    }

    /// Takes over a durable drop; of an RW object's copies, only stable ones go.
    pub fn recover_dropped(&mut self, kind: Option<Kind>, key: &Key, ts: Timestamp) {
        if kind == Some(Kind::Rw) {
            self.propagator.remember_stable(key, ts);
        }
        if let Some(versions) = self.copies.get_mut(key)
            && let Some(copy) = versions.remove(&ts)
        {
            self.copy_bytes -= copy.value.bytes();
        }
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

    /// The values that are needed and that `is_stored` does not know.
    pub fn unstored(&self, is_stored: &dyn Fn(&ValueId) -> bool) -> Vec<ValueId> {
        let copies = self.copies.iter().flat_map(|(key, versions)| {
            versions
                .iter()
                .map(move |(&ts, copy)| (key, copy.tag(ts), copy.value))
        });
        let unbound = self.unbound.iter();
        let unbound =
            unbound.map(|((key, write), copy)| (key, CopyTag::Unbound(*write), copy.value));
        let stored = copies
            .chain(unbound)
            .filter(|(_, _, value)| matches!(value, StoredValue::Bytes(_)));
        let ids = stored.map(|(key, tag, _)| ValueId {
            key: key.clone(),
            tag,
        });
        ids.filter(|id| !is_stored(id)).collect()
    }

    /// The disk has lost a value: its copy is none any more, and a sibling's takes
    /// its place.
    pub fn lose(&mut self, env: &mut Env, id: &ValueId) {
        if let CopyTag::Unbound(write) = id.tag {
            self.take_unbound(&id.key, write);
        }
        if let Some(versions) = self.copies.get_mut(&id.key) {
            let bytes = &mut self.copy_bytes;
            versions.retain(|&ts, copy| {
                let keep = copy.tag(ts) != id.tag;
                if !keep {
                    *bytes -= copy.value.bytes();
                }
                keep
            });
            if versions.is_empty() {
                self.copies.remove(&id.key);
            }
        }
        self.propagator.lose(env, id);
    }
}

/// A local copy that answers a question for a value.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The version.
    pub ts: Timestamp,
    /// What its value is filed under.
    pub tag: CopyTag,
    /// What is kept of the value.
    pub value: StoredValue,
    /// It is durable once the log is durable up to here.
    pub lsn: Lsn,
}

impl Found {
    /// A version that a replica holds.
    pub fn version((ts, value, lsn): (Timestamp, StoredValue, Lsn)) -> Self {
        let tag = CopyTag::Bound(ts);
        Self {
            ts,
            tag,
            value,
            lsn,
        }
    }

    fn copy(ts: Timestamp, copy: &LocalCopy) -> Self {
        Self {
            ts,
            tag: copy.tag(ts),
            value: copy.value,
            lsn: copy.lsn,
        }
    }
}

fn release(env: &mut Env, key: &Key, tag: CopyTag) {
    let key = key.clone();
    env.out.release(ValueId { key, tag });
}
