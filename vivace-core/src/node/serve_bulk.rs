//! Requests of the bulk class, each to the part of the node that serves it.

use std::ops::Bound;

use super::Node;
use crate::cluster::{Container, Kind};
use crate::identity::{Epoch, NodeId};
use crate::key::{Key, KeyName};
use crate::listing::{Listed, PAGE_KEYS_MAX};
use crate::local_set::{LOCAL_SET_OPERATION, Sender};
use crate::message::KnownKey;
use crate::message::{BulkBody, BulkMessage, CopyTag, PriorityBody, Refusal, RpcId};
use crate::operation::Input;
use crate::outbox::{Lsn, Message};
use crate::repair::REPAIR_OPERATION;
use crate::stored::{StoredBody, ValueId};
use crate::timestamp::Timestamp;
use crate::value::Value;
use crate::vivace_rmw::{DERIVING_OPERATION, Derivation};

impl Node {
    pub(super) fn on_bulk(&mut self, from: NodeId, message: BulkMessage) {
        let BulkMessage { rpc, epoch, body } = message;
        if let BulkBody::ListLacking { container, .. }
        | BulkBody::WhichHeld { container, .. }
        | BulkBody::ListKnown { container, .. } = &body
        {
            let container = *container;
            let served = self
                .container_of(container, epoch)
                .and_then(|container| self.serve_listing(&container, from, rpc, body));
            if let Err(why) = served {
                self.refuse_bulk(from, rpc, epoch, why);
            }
            return;
        }
        match bulk_key(&body) {
            None if rpc.operation == REPAIR_OPERATION => self.on_repaired(rpc, body),
            None if rpc.operation == DERIVING_OPERATION => self.on_origin(from, rpc, body),
            None => {
                let input = Input::Bulk { from, rpc, body };
                self.coordinator.on_answer(&mut self.env, rpc, epoch, input);
            }
            Some(key) => {
                let key = key.clone();
                let served = self
                    .container_for(&key, epoch)
                    .and_then(|container| self.serve_bulk(&container, from, rpc, body));
                if let Err(why) = served {
                    self.refuse_bulk(from, rpc, epoch, why);
                }
            }
        }
    }

    fn refuse_bulk(&mut self, from: NodeId, rpc: RpcId, epoch: Epoch, why: Refusal) {
        let body = BulkBody::Refused { why };
        self.env
            .answer_bulk_when_durable(Lsn::default(), from, rpc, epoch, body);
    }

    /// What an operator asks who looks for lost values, or makes a backup.
    fn serve_listing(
        &mut self,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        body: BulkBody,
    ) -> Result<(), Refusal> {
        let body = match body {
            BulkBody::ListLacking { after, limit, .. } => {
                self.as_replica(container, &[Kind::Rw, Kind::Rmw])?;
                let limit = usize::from(limit).min(PAGE_KEYS_MAX);
                let mut keys = self.list(container, after, limit + 1, Listed::Lacking);
                let is_last = keys.len() <= limit;
                keys.truncate(limit);
                BulkBody::Lacking { keys, is_last }
            }
            BulkBody::ListKnown { after, limit, .. } => {
                self.as_replica(container, &[Kind::Rw, Kind::Rmw])?;
                let limit = usize::from(limit).min(PAGE_KEYS_MAX);
                let mut keys = self.list(container, after, limit + 1, Listed::All);
                let is_last = keys.len() <= limit;
                keys.truncate(limit);
                BulkBody::KnownKeys { keys, is_last }
            }
            BulkBody::WhichHeld { versions, .. } => {
                let asked = versions.into_iter().take(PAGE_KEYS_MAX);
                let best = asked.map(|(name, ts)| self.best_held(container, name, ts));
                BulkBody::BestHeld {
                    best: best.collect(),
                }
            }
            _ => return Ok(()),
        };
        let epoch = container.epoch;
        self.env
            .answer_bulk_when_durable(Lsn::default(), from, rpc, epoch, body);
        Ok(())
    }

    pub(super) fn list(
        &self,
        container: &Container,
        after: Option<KeyName>,
        limit: usize,
        listed: Listed,
    ) -> Vec<KnownKey> {
        let key = |name| Key {
            container: container.id,
            name,
        };
        let first = key(KeyName::FIRST);
        let after = after.map(key);
        let after = match &after {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(&first),
        };
        match container.kind {
            Kind::Rw | Kind::Abd => self.rw.list_after(after, container.id, limit, listed),
            Kind::Rmw | Kind::LanRmw => self.rmw.list_after(after, container.id, limit, listed),
        }
    }

    /// The best version that this node can serve, at a replica or in a local set, where
    /// the newest known is `ts`.
    fn best_held(&self, container: &Container, name: KeyName, ts: Timestamp) -> Timestamp {
        let key = Key {
            container: container.id,
            name,
        };
        let (replica, copy) = match container.kind {
            Kind::Rw | Kind::Abd => (self.rw.best(&key), self.local.find_rw(&key, ts)),
            Kind::Rmw | Kind::LanRmw => (
                self.rmw.best(&key),
                self.local.find_rmw(&key, ts, Timestamp::MAX),
            ),
        };
        replica.max(copy.map_or(Timestamp::ZERO, |found| found.ts))
    }

    fn serve_bulk(
        &mut self,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        body: BulkBody,
    ) -> Result<(), Refusal> {
        let epoch = container.epoch;
        match body {
            BulkBody::WriteLocal {
                key,
                tag,
                propagator,
                value,
                derivation,
            } => {
                self.as_local(container, from)?;
                if let CopyTag::Bound(ts) = tag {
                    self.refuse_future(container, ts)?;
                }
                let sender = match rpc.operation {
                    LOCAL_SET_OPERATION => Sender::Sibling,
                    _ => Sender::Coordinator,
                };
                let lsn = self.local.on_write_local(
                    &mut self.env,
                    &key,
                    tag,
                    propagator,
                    value,
                    sender,
                )?;
                let body = PriorityBody::WriteLocalAck {};
                self.env.answer_when_durable(lsn, from, rpc, epoch, body);
                mutant!(self.env, LeaveAtOnce =>
                    self.local.leave_at_once(&mut self.env, container, &key, tag));
                if let Some(derivation) = derivation.filter(|_| propagator == self.env.me) {
                    self.local.propagator.lineage.remember(&key, *derivation);
                }
                self.serve_waiters(container, &key);
            }
            BulkBody::WriteRemote {
                key,
                ts,
                propagator,
                relay,
                value,
            } => {
                self.as_replica(container, &[Kind::Rw, Kind::Rmw])?;
                // A replica whose clock is behind refuses for itself alone.
                self.relay_value(container, (&key, ts), propagator, &relay, &value);
                self.refuse_future(container, ts)?;
                if from == self.env.me && rpc != RpcId::NONE {
                    self.local
                        .keep_sent(&mut self.env, container, &key, ts, value.clone());
                }
                let is_call = rpc != RpcId::NONE || container.kind == Kind::Rw;
                match is_call && self.env.cluster.is_one_place(container) {
                    true => self.take_in(container, (&key, ts), (propagator, rpc), value),
                    false => self.store_remote(container, (&key, ts), (propagator, rpc), value),
                }
            }
            BulkBody::ApplyRemote {
                key,
                propagator,
                relay,
                derivation,
            } => {
                self.as_replica(container, &[Kind::Rmw])?;
                self.relay_commands(container, &key, propagator, &relay, &derivation);
                self.refuse_future(container, derivation.ts())?;
                self.derive(container, &key, propagator, derivation);
            }
            BulkBody::AbdRead { key } => {
                self.as_replica(container, &[Kind::Abd])?;
                self.answer_abd_read(container, from, rpc, &key);
            }
            BulkBody::AbdWrite { key, ts, value } => {
                self.as_replica(container, &[Kind::Abd])?;
                self.refuse_future(container, ts)?;
                let lsn = self.rw.on_write_remote(&mut self.env, &key, ts, value);
                let clock = self.env.trusted_time();
                let body = BulkBody::AbdWriteAck { clock };
                self.env
                    .answer_bulk_when_durable(lsn, from, rpc, epoch, body);
            }
            BulkBody::LanRead { key, ots } => {
                self.as_replica(container, &[Kind::LanRmw])?;
                self.refuse_future(container, ots)?;
                self.lan
                    .on_read(&mut self.env, container, from, rpc, &key, ots);
            }
            BulkBody::LanWrite { key, ots, value } => {
                self.as_replica(container, &[Kind::LanRmw])?;
                self.refuse_future(container, ots)?;
                self.lan
                    .on_write(&mut self.env, container, from, rpc, &key, (ots, value));
            }
            BulkBody::Data { .. }
            | BulkBody::AbdReadAck { .. }
            | BulkBody::AbdWriteAck { .. }
            | BulkBody::LanReadAck { .. }
            | BulkBody::LanWriteAck { .. }
            | BulkBody::Refused { .. }
            | BulkBody::ListLacking { .. }
            | BulkBody::Lacking { .. }
            | BulkBody::WhichHeld { .. }
            | BulkBody::BestHeld { .. }
            | BulkBody::ListKnown { .. }
            | BulkBody::KnownKeys { .. } => unreachable!("bulk_key names no key for an answer"),
        }
        Ok(())
    }

    /// A version has come, or has been made: durable, then acknowledged.
    pub(super) fn store_remote(
        &mut self,
        container: &Container,
        (key, ts): (&Key, Timestamp),
        asker: (NodeId, RpcId),
        value: Value,
    ) {
        let lsn = match container.kind {
            Kind::Rw | Kind::Abd => self.rw.on_write_remote(&mut self.env, key, ts, value),
            Kind::Rmw | Kind::LanRmw => self.rmw.on_write_remote(&mut self.env, key, ts, value),
        };
        self.ack_remote(container, (key, ts), asker, lsn);
        self.serve_waiters(container, key);
    }

    /// Acknowledges W-REMOTE to who carries the value, as soon as what it brought is
    /// durable; a direct write's under the name of its call.
    pub(super) fn ack_remote(
        &mut self,
        container: &Container,
        (key, ts): (&Key, Timestamp),
        (propagator, rpc): (NodeId, RpcId),
        lsn: Lsn,
    ) {
        let body = PriorityBody::WriteRemoteAck {
            key: key.clone(),
            ts,
        };
        self.env
            .answer_when_durable(lsn, propagator, rpc, container.epoch, body);
    }

    /// There is no space for a value. It is handed on all the same; who carries it hears
    /// that it has to come again. Whoever sent another message repeats it by itself.
    pub(super) fn on_no_room(&mut self, message: BulkMessage) {
        let BulkMessage { epoch, body, .. } = message;
        self.env
            .counters
            .count("dropped: a value, for the disk is full");
        let (key, ts, propagator) = match body {
            BulkBody::WriteRemote {
                key,
                ts,
                propagator,
                relay,
                value,
            } => {
                if let Ok(container) = self.container_for(&key, epoch) {
                    self.relay_value(&container, (&key, ts), propagator, &relay, &value);
                }
                (key, ts, propagator)
            }
            BulkBody::ApplyRemote {
                key,
                propagator,
                relay,
                derivation,
            } => {
                if let Ok(container) = self.container_for(&key, epoch) {
                    self.relay_commands(&container, &key, propagator, &relay, &derivation);
                }
                (key, derivation.ts(), propagator)
            }
            _ => return,
        };
        if self.container_for(&key, epoch).is_ok() {
            let body = PriorityBody::NoRoom { key, ts };
            self.env.send_priority(propagator, RpcId::NONE, epoch, body);
        }
    }

    fn answer_abd_read(&mut self, container: &Container, from: NodeId, rpc: RpcId, key: &Key) {
        let (epoch, clock) = (container.epoch, self.env.trusted_time());
        let Some((ts, value, lsn)) = self.rw.find(key, Timestamp::ZERO) else {
            let ts = self.rw.lacking(key).unwrap_or_default();
            let body = BulkBody::AbdReadAck {
                ts,
                value: None,
                clock,
            };
            // What was lost was durable before.
            return self
                .env
                .answer_bulk_when_durable(Lsn::default(), from, rpc, epoch, body);
        };
        let body = StoredBody::AbdReadAck { ts, clock };
        let message = Message::stored(rpc, epoch, body, ValueId::version(key, ts), value);
        self.env.out.send_when_durable(lsn, from, message);
    }

    /// Hands a value on inside this site, so that it crosses the link between sites once.
    fn relay_value(
        &mut self,
        container: &Container,
        (key, ts): (&Key, Timestamp),
        propagator: NodeId,
        relay: &[NodeId],
        value: &Value,
    ) {
        self.relay(container, relay, || BulkBody::WriteRemote {
            key: key.clone(),
            ts,
            propagator,
            relay: Vec::new(),
            value: value.clone(),
        });
    }

    /// Hands commands on inside this site.
    fn relay_commands(
        &mut self,
        container: &Container,
        key: &Key,
        propagator: NodeId,
        relay: &[NodeId],
        derivation: &Derivation,
    ) {
        self.relay(container, relay, || BulkBody::ApplyRemote {
            key: key.clone(),
            propagator,
            relay: Vec::new(),
            derivation: derivation.clone(),
        });
    }

    fn relay(&mut self, container: &Container, relay: &[NodeId], body: impl Fn() -> BulkBody) {
        for &node in relay {
            let mine = node == self.env.me || !self.env.is_local(node);
            if mine || !container.replicas.contains(&node) {
                self.env
                    .counters
                    .count("refused: relay to a node that is no replica here");
                continue;
            }
            let message = BulkMessage {
                rpc: RpcId::NONE,
                epoch: container.epoch,
                body: body(),
            };
            self.env.out.send(node, Message::Bulk(message));
        }
    }
}

/// The object of a request; none for an answer.
fn bulk_key(body: &BulkBody) -> Option<&Key> {
    match body {
        BulkBody::WriteLocal { key, .. }
        | BulkBody::WriteRemote { key, .. }
        | BulkBody::ApplyRemote { key, .. }
        | BulkBody::AbdRead { key }
        | BulkBody::AbdWrite { key, .. }
        | BulkBody::LanRead { key, .. }
        | BulkBody::LanWrite { key, .. } => Some(key),
        BulkBody::Data { .. }
        | BulkBody::AbdReadAck { .. }
        | BulkBody::AbdWriteAck { .. }
        | BulkBody::LanReadAck { .. }
        | BulkBody::LanWriteAck { .. }
        | BulkBody::Refused { .. }
        | BulkBody::ListLacking { .. }
        | BulkBody::Lacking { .. }
        | BulkBody::WhichHeld { .. }
        | BulkBody::BestHeld { .. }
        | BulkBody::ListKnown { .. }
        | BulkBody::KnownKeys { .. } => None,
    }
}
