//! Copies that nobody seems to carry: a member asks, and takes over.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    LocalCopy, LocalSet, PATIENCE, SWEEP_INTERVAL, TAKEOVERS_MAX, UNBOUND_TRIPS, UnboundCopy,
};
use crate::call::Call;
use crate::cluster::Container;
use crate::env::Env;
use crate::event::Class;
use crate::identity::NodeId;
use crate::key::Key;
use crate::message::{PriorityBody, Propagation, RpcId, WriteId};
use crate::outbox::{Lsn, Message};
use crate::quorum::{Tally, Votes};
use crate::row::Row;
use crate::stored::{StoredBody, ValueId};
use crate::timestamp::Timestamp;

impl LocalSet {
    /// Answers a sibling that wonders whether a copy is looked after.
    pub fn propagation_of(&self, key: &Key, ts: Timestamp) -> Propagation {
        if self.propagator.stable.contains(key, ts) {
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
        let copy = self.copies.get_mut(key).and_then(|v| v.get_mut(&ts));
        let Some(copy) = copy.filter(|copy| copy.takeover.is_none()) else {
            return;
        };
        let under_way = self.takeovers.values();
        if under_way
            .filter(|(other, _)| other.container == key.container)
            .count()
            >= TAKEOVERS_MAX
        {
            env.counters.count("waits: a value to be taken over");
            copy.check_at = env.now.monotonic;
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
        copy.takeover = Some(Box::new((call, Votes::new(members.len()))));
        self.takeovers.insert(rpc.call, (key.clone(), ts));
    }

    /// An answer to one of the local set's own calls.
    pub fn on_answer(&mut self, env: &mut Env, from: NodeId, rpc: RpcId, body: &PriorityBody) {
        match body {
            PriorityBody::WriteLocalAck {} => self.on_taken_over(env, from, rpc),
            PriorityBody::AbortAck { bound } => self.on_abort_ack(env, from, rpc, *bound),
            _ => {}
        }
    }

    /// A sibling holds a value that this member looks after.
    fn on_taken_over(&mut self, env: &mut Env, from: NodeId, rpc: RpcId) {
        let Some((key, ts)) = self.takeovers.get(&rpc.call).cloned() else {
            return;
        };
        let copy = self.copies.get_mut(&key).and_then(|v| v.get_mut(&ts));
        let Some(copy) = copy else { return };
        let Some((call, votes)) = copy.takeover.as_deref_mut() else {
            return;
        };
        if call.rpc != rpc {
            return;
        }
        call.answered(from);
        votes.yes(from, ());
        if votes.tally() != Tally::Reached {
            return;
        }
        copy.takeover = None;
        copy.safe = true;
        let source = (copy.tag(ts), copy.value);
        self.takeovers.remove(&rpc.call);
        let cluster = env.cluster.clone();
        if let Some(container) = cluster.container(key.container) {
            self.propagator.take_over(env, container, &key, ts, source);
            self.wake_at(env.now.monotonic + SWEEP_INTERVAL);
        }
    }

    /// Forgets calls whose copies have gone meanwhile.
    fn prune_takeovers(&mut self) {
        let copies = &self.copies;
        self.takeovers.retain(|&call, (key, ts)| {
            let copy = copies.get(key).and_then(|versions| versions.get(ts));
            let under_way = copy.and_then(|copy| copy.takeover.as_ref());
            under_way.is_some_and(|takeover| takeover.0.rpc.call == call)
        });
    }

    /// Looks after copies whose time has come.
    pub fn on_tick(&mut self, env: &mut Env) {
        if self.sweep_at.is_none_or(|at| at > env.now.monotonic) {
            return;
        }
        self.prune_takeovers();
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
            .filter(|((key, write), copy)| {
                let container = cluster.container(key.container);
                container.is_some_and(|container| is_overdue(env, container, *write, copy))
            })
            .map(|(id, _)| id.clone())
            .collect();
        for (key, write) in unbound {
            if let Some(container) = cluster.container(key.container) {
                self.abort(env, container, &key, write);
            }
        }
        for (call, _) in takeovers(&mut self.copies) {
            call.on_tick(env);
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
        for (call, _) in takeovers(&mut self.copies) {
            call.on_peer_up(env, node, class);
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
}

/// Whether nobody is likely to bind the copy any more. Its BIND may have been lost: the
/// coordinator goes on when a majority has answered.
fn is_overdue(env: &Env, container: &Container, write: WriteId, copy: &UnboundCopy) -> bool {
    let trips = match env.is_up(write.node, Class::Priority) {
        true => env.rtt_max(&container.replicas) * UNBOUND_TRIPS,
        false => Duration::ZERO,
    };
    copy.check_at.min(copy.since + PATIENCE + trips) <= env.now.monotonic
}

/// The calls to siblings that are under way.
fn takeovers(
    copies: &mut BTreeMap<Key, Row<Timestamp, LocalCopy>>,
) -> impl Iterator<Item = &mut (Call, Votes<()>)> {
    let copies = copies.values_mut().flat_map(Row::values_mut);
    copies.filter_map(|copy| copy.takeover.as_deref_mut())
}
