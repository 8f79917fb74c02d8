//! Values are stored outside the core: which of them it needs, and what becomes of
//! those that the disk loses.

use std::collections::BTreeMap;

use super::Node;
use crate::cluster::Kind;
use crate::identity::NodeId;
use crate::key::Key;
use crate::listing::Listed;
use crate::message::{BulkBody, BulkMessage, CopyTag, KnownKey, RpcId};
use crate::outbox::Message;
use crate::record::Record;
use crate::stored::{StoredBody, StoredMessage, ValueId};
use crate::timestamp::Timestamp;
use crate::vivace_rmw::DERIVING_OPERATION;

impl Node {
    /// Whether any part of this node needs the value of `id`.
    pub fn refers_to(&self, id: &ValueId) -> bool {
        self.is_at_a_replica(id) || self.is_arriving(id) || self.local.refers_to(id)
    }

    fn is_arriving(&self, id: &ValueId) -> bool {
        matches!(id.tag, CopyTag::Bound(ts) if self.arrivals.holds(&id.key, ts))
    }

    pub(super) fn is_at_a_replica(&self, id: &ValueId) -> bool {
        let (key, CopyTag::Bound(ts)) = (&id.key, id.tag) else {
            return false;
        };
        self.rw.holds(key, ts) || self.rmw.holds(key, ts) || self.lan.holds(key, ts)
    }

    /// After the last [`Node::recover`]: a crash may have left a record without its value,
    /// which nobody was told of. Were it taken for stored, the next message that brings
    /// the value would be acknowledged and not kept. What a replica lacks is fetched, some
    /// at a time. Returns how many values are missing. Costs one question per value.
    pub fn drop_unstored(&mut self, is_stored: &dyn Fn(&ValueId) -> bool) -> usize {
        let mut missing = self.local.unstored(is_stored);
        missing.extend(self.rw.unstored(is_stored));
        missing.extend(self.rmw.unstored(is_stored));
        missing.extend(self.lan.unstored(is_stored));
        for id in &missing {
            self.env
                .counters
                .count("lost: a value whose record outlived it");
            self.local.lose(&mut self.env, id);
            if let CopyTag::Bound(ts) = id.tag {
                self.rw.lose(&id.key, ts);
                self.rmw.lose(&id.key, ts);
                self.lan.lose(&id.key, ts);
            }
        }
        self.fall_back(&missing, is_stored);
        self.end_recovery();
        self.expect_lacking();
        missing.len()
    }

    /// Goes back to the versions before those that are missing, where they are stored. The
    /// journal hears of it: a checkpoint would keep nothing but the newest.
    fn fall_back(&mut self, missing: &[ValueId], is_stored: &dyn Fn(&ValueId) -> bool) {
        let mut lost: BTreeMap<&Key, Vec<Timestamp>> = BTreeMap::new();
        for id in missing {
            if let CopyTag::Bound(ts) = id.tag {
                lost.entry(&id.key).or_default().push(ts);
            }
        }
        for (key, mut lost) in lost {
            let mut kept = self.rw.fall_back(key, is_stored, &mut lost);
            kept.extend(self.rmw.fall_back(key, is_stored, &mut lost));
            if kept.is_empty() {
                continue;
            }
            self.env
                .counters
                .count("kept: the version before one that a crash left without its value");
            let lost = lost.into_iter().map(|ts| Record::ValueLost {
                key: key.clone(),
                ts,
            });
            for record in lost.chain(kept) {
                self.env.out.persist(record);
            }
        }
    }

    /// The journal has been read, and what it says is true of the values too.
    pub(crate) fn end_recovery(&mut self) {
        self.rw.end_recovery();
        self.rmw.end_recovery();
    }

    /// Whoever carried a value may have crashed when a majority had it.
    fn expect_lacking(&mut self) {
        let cluster = self.env.cluster.clone();
        for container in &cluster.spec().containers {
            if !container.kind.uses_local_sets() || !container.replicas.contains(&self.env.me) {
                continue;
            }
            let lacking = self.list(container, None, usize::MAX, Listed::Lacking);
            for KnownKey { name, known } in lacking {
                let key = Key {
                    container: container.id,
                    name,
                };
                self.repairs.wait(&key, known);
            }
        }
    }

    /// Fetches what was found missing, or has not come, where it still has not.
    pub(super) fn fetch_missing(&mut self) {
        let cluster = self.env.cluster.clone();
        for (key, ts) in self.repairs.take_due(&self.env) {
            let Some(container) = cluster.container(key.container) else {
                continue;
            };
            let is_here = match container.kind {
                Kind::Rw | Kind::Abd => self.rw.find(&key, ts).is_some(),
                Kind::Rmw | Kind::LanRmw => self.rmw.needs_not(&key, ts).is_some(),
            };
            if !is_here {
                self.repairs.start(&mut self.env, container, &key, ts);
            }
        }
    }

    /// Asks for the removal of what was released, where nothing else here needs it.
    pub(super) fn forget_released(&mut self) {
        for id in self.env.out.take_released() {
            if !self.refers_to(&id) {
                self.env.out.forget(id);
            }
        }
    }

    /// A question whose answer could not be loaded is asked once more: a newer version
    /// answers it, or it waits. A value that can't be carried is a sibling's to carry.
    pub(super) fn on_not_loaded(&mut self, to: NodeId, message: StoredMessage) {
        if !message.again && self.refers_to(&message.value) {
            let again = true;
            let message = StoredMessage { again, ..message };
            return self.env.out.send(to, Message::Stored(message));
        }
        let StoredMessage {
            rpc,
            epoch,
            body,
            value: id,
            ..
        } = message;
        self.on_value_lost(&id);
        let Ok(container) = self.container_for(&id.key, epoch) else {
            return;
        };
        if rpc.operation == DERIVING_OPERATION {
            return self.on_origin_lost(&container, rpc);
        }
        let key = id.key;
        let body = match body {
            StoredBody::Data {
                at_least, below, ..
            } => return self.answer_data(&container, to, rpc, &key, at_least, below),
            StoredBody::AbdReadAck { .. } => BulkBody::AbdRead { key },
            StoredBody::LanReadAck { promised, .. } => BulkBody::LanRead { key, ots: promised },
            StoredBody::WriteLocal { .. } | StoredBody::WriteRemote { .. } => return,
        };
        self.on_bulk(to, BulkMessage { rpc, epoch, body });
    }

    /// What the disk has lost is known and not here, a state that the protocol has
    /// anyway, and it is fetched from others.
    pub(super) fn on_value_lost(&mut self, id: &ValueId) {
        if !self.refers_to(id) {
            return;
        }
        self.env.counters.count("lost: a value, by the disk");
        let at_a_replica = self.is_at_a_replica(id);
        self.local.lose(&mut self.env, id);
        let cluster = self.env.cluster.clone();
        let (CopyTag::Bound(ts), Some(container)) = (id.tag, cluster.container(id.key.container))
        else {
            return;
        };
        match container.kind {
            Kind::Rw | Kind::Abd => self.rw.lose(&id.key, ts),
            Kind::Rmw => self.rmw.lose(&id.key, ts),
            Kind::LanRmw => self.lan.lose(&id.key, ts),
        }
        // A replica's version was safe in its writer's site before it came. A local copy may
        // never have been: a question for it would announce what nobody holds.
        if at_a_replica {
            self.repairs.start(&mut self.env, container, &id.key, ts);
        }
    }

    /// A value that the disk had lost is back: stored like any that arrives.
    pub(super) fn on_repaired(&mut self, rpc: RpcId, body: BulkBody) {
        if rpc.incarnation != self.env.incarnation {
            return;
        }
        let BulkBody::Data { ts, value } = body else {
            return;
        };
        let Some(key) = self.repairs.key_of(rpc) else {
            return;
        };
        let cluster = self.env.cluster.clone();
        let Some(container) = cluster.container(key.container) else {
            return;
        };
        // A newer version than was asked for may be of a broken clock: another may come.
        if self.refuse_future(container, ts).is_err() {
            return;
        }
        self.repairs.take(rpc);
        self.env
            .counters
            .count("repaired: a value that the disk lost has come");
        match container.kind {
            Kind::Rw | Kind::Abd => self.rw.on_write_remote(&mut self.env, &key, ts, value),
            Kind::Rmw | Kind::LanRmw => self.rmw.on_write_remote(&mut self.env, &key, ts, value),
        };
        self.serve_waiters(container, &key);
    }
}
