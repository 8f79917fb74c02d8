//! W-REMOTE by commands: a replica makes the version itself.

use super::Node;
use crate::cluster::Container;
use crate::identity::NodeId;
use crate::key::Key;
use crate::message::{BulkBody, PriorityBody, RpcId};
use crate::outbox::Message;
use crate::stored::{StoredBody, ValueId};
use crate::timestamp::Timestamp;
use crate::value::Value;
use crate::vivace_rmw::{Derivation, Deriving};

impl Node {
    /// Reads the newest version here that `derivation` can begin at; without one, asks for
    /// the value.
    pub(super) fn derive(
        &mut self,
        container: &Container,
        key: &Key,
        propagator: NodeId,
        derivation: Derivation,
    ) {
        let ts = derivation.ts();
        if self.is_needless(container, key, ts, propagator) {
            return;
        }
        mutant!(self.env, AckBeforeApplied =>
            self.ack_remote(container, (key, ts), (propagator, RpcId::NONE), crate::outbox::Lsn::default()));
        let held = derivation.origins().find(|from| self.rmw.holds(key, *from));
        let origin = held.and_then(|from| self.rmw.find(key, from, Timestamp::MAX));
        mutant!(self.env, ApplyToAnyVersion && origin.is_none() =>
            return self.derive_from_newest(container, key, propagator, derivation));
        let Some((origin, value, lsn)) = origin else {
            self.env
                .counters
                .count("asked: a value whose commands come before what they change");
            return self.ask_for_value(container, key, ts, propagator);
        };
        let begun = self
            .deriving
            .begin(&self.env, key, origin, derivation, propagator);
        let Some(rpc) = begun else {
            self.env
                .counters
                .count("asked: a value, for too many are being made");
            return self.ask_for_value(container, key, ts, propagator);
        };
        let body = StoredBody::Data {
            ts: origin,
            at_least: origin,
            below: ts,
        };
        let id = ValueId::version(key, origin);
        let message = Message::stored(rpc, container.epoch, body, id, value);
        let me = self.env.me;
        self.env.out.send_when_durable(lsn, me, message);
    }

    /// The version to begin at has been read.
    pub(super) fn on_origin(&mut self, from: NodeId, rpc: RpcId, body: BulkBody) {
        let BulkBody::Data { value, .. } = body else {
            return;
        };
        if from != self.env.me {
            return;
        }
        let Some(deriving) = self.deriving.take(&self.env, rpc) else {
            return;
        };
        let made = self.make(&deriving, &value);
        let (key, ts, propagator) = deriving.into_parts();
        let cluster = self.env.cluster.clone();
        let Some(container) = cluster.container(key.container) else {
            return;
        };
        match made {
            Some(value) => {
                self.env
                    .counters
                    .count("derived: a version that came as commands");
                self.store_remote(container, (&key, ts), (propagator, RpcId::NONE), value);
            }
            None => {
                self.env
                    .counters
                    .count("asked: a value that its commands do not make here");
                self.ask_for_value(container, &key, ts, propagator);
            }
        }
    }

    fn make(&self, deriving: &Deriving, value: &Value) -> Option<Value> {
        let (machines, origin) = (&self.env.machines, deriving.origin);
        mutant!(self.env, ApplyToAnyVersion =>
            return deriving.derivation.apply(machines, origin, value));
        deriving.derivation.follow(machines, origin, value)
    }

    /// The version to begin at can't be read.
    pub(super) fn on_origin_lost(&mut self, container: &Container, rpc: RpcId) {
        if let Some(deriving) = self.deriving.take(&self.env, rpc) {
            let (key, ts, propagator) = deriving.into_parts();
            self.ask_for_value(container, &key, ts, propagator);
        }
    }

    /// Where W-REMOTE would store nothing, for the version is here or a later one is, it is
    /// acknowledged at once.
    fn is_needless(
        &mut self,
        container: &Container,
        key: &Key,
        ts: Timestamp,
        propagator: NodeId,
    ) -> bool {
        let durable = self
            .rmw
            .needs_not(key, ts)
            .filter(|_| !self.rmw.wants(key, ts));
        if let Some(lsn) = durable {
            self.ack_remote(container, (key, ts), (propagator, RpcId::NONE), lsn);
        }
        durable.is_some()
    }

    /// Asks whoever propagates it for the value, unless it has come meanwhile.
    fn ask_for_value(
        &mut self,
        container: &Container,
        key: &Key,
        ts: Timestamp,
        propagator: NodeId,
    ) {
        mutant!(self.env, AckBeforeApplied => return);
        if self.is_needless(container, key, ts, propagator) {
            return;
        }
        let body = PriorityBody::NeedValue {
            key: key.clone(),
            ts,
        };
        let epoch = container.epoch;
        self.env.send_priority(propagator, RpcId::NONE, epoch, body);
    }
}
