//! Copies that nobody seems to carry: a member asks, and takes over.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{LocalSet, PATIENCE, SWEEP_INTERVAL};
use crate::call::Call;
use crate::cluster::{Container, Kind};
use crate::env::Env;
use crate::event::Class;
use crate::identity::NodeId;
use crate::key::Key;
use crate::message::{PriorityBody, Propagation, RpcId, WriteId};
use crate::outbox::{Lsn, Message};
use crate::quorum::{Tally, Votes};
use crate::stored::{StoredBody, ValueId};
use crate::timestamp::Timestamp;

impl LocalSet {
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
}
