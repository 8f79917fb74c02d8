//! The replica: the newest *known* timestamp beside the newest *complete* version.
//!
//! Differs from Alg. 1, which erases the value it has when it hears of a newer
//! timestamp: a hot key would starve readers for ever, and a lost site would take
//! the previous value along (mend 1).

#[cfg(feature = "sim")]
mod holding;
#[cfg(feature = "sim")]
mod mutated;

use std::ops::Bound;

use crate::cluster::Container;
use crate::env::Env;
use crate::identity::{ContainerId, NodeId};
use crate::key::Key;
use crate::listing::Listed;
use crate::message::{KnownKey, PriorityBody, RpcId};
use crate::objects::Objects;
use crate::outbox::Lsn;
use crate::record::Record;
use crate::stored::{StoredValue, ValueId};
use crate::superseded::Superseded;
use crate::timestamp::Timestamp;
use crate::value::Value;

/// One object at one replica. `known >= complete.ts`, and both only grow.
#[derive(Clone, Debug, Default)]
struct Object {
    known: Timestamp,
    complete: Option<(Timestamp, StoredValue)>,
    /// Everything above is durable once the log is durable up to here.
    lsn: Lsn,
    #[cfg(feature = "sim")]
    remote_buffer: mutated::RemoteBuffer,
}

impl Object {
    fn complete_ts(&self) -> Timestamp {
        self.complete.map_or(Timestamp::ZERO, |(ts, _)| ts)
    }
}

/// A node's share of all RW objects.
#[derive(Clone, Debug)]
pub struct Replica {
    objects: Objects<Object>,
    /// While a start reads the journal.
    superseded: Superseded,
}

impl Replica {
    /// One that knows of nothing; `seed` is that of [`Objects::new`].
    pub fn new(seed: u64) -> Self {
        Self {
            objects: Objects::new(seed),
            superseded: Superseded::default(),
        }
    }

    /// How many objects of `container` are stored.
    pub fn object_count(&self, container: &Container) -> u64 {
        self.objects.count(container.id)
    }

    /// R-TS: reports what is durable, or will be when the answer leaves (mend 8). A local
    /// copy of the newest, durable at `copy`, counts where the replica lacks the value.
    pub fn on_read_ts(
        &self,
        env: &mut Env,
        container: &Container,
        (from, rpc): (NodeId, RpcId),
        key: &Key,
        copy: Option<Lsn>,
    ) {
        let (known, mut has, mut lsn) = match self.objects.get(key) {
            Some(object) => (
                object.known,
                object.complete_ts() >= object.known,
                object.lsn,
            ),
            None => (Timestamp::ZERO, false, Lsn::default()),
        };
        if !has && known > Timestamp::ZERO {
            env.counters.count("read: a timestamp ahead of its value");
        }
        if let Some(copied) = copy {
            (has, lsn) = (true, lsn.max(copied));
        }
        let lsn = if mutant!(env, ReportVolatile) {
            Lsn::default()
        } else {
            lsn
        };
        let clock = env.trusted_time();
        let body = PriorityBody::ReadTsAck {
            known,
            chosen: Timestamp::ZERO,
            has,
            clock,
        };
        env.answer_when_durable(lsn, from, rpc, container.epoch, body);
    }

    /// W-TS: knows the timestamp, durably, before it says so.
    pub fn on_write_ts(
        &mut self,
        env: &mut Env,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        key: &Key,
        ts: Timestamp,
    ) {
        let lsn = self.learn(env, key, ts);
        let clock = env.trusted_time();
        env.answer_when_durable(
            lsn,
            from,
            rpc,
            container.epoch,
            PriorityBody::WriteTsAck { clock },
        );
    }

    /// Raises `known`. Not only W-TS does: a value or a question for one tells of
    /// its timestamp too, or value and timestamp may sit on different majorities (mend 2).
    pub fn learn(&mut self, env: &mut Env, key: &Key, ts: Timestamp) -> Lsn {
        let object = self.objects.entry(key);
        if ts > object.known {
            mutant!(env, EraseOnNewerTimestamp => object.erase_below(env, key, ts));
            mutant!(env, BufferUnannounced => object.take_from_buffer(env, key, ts));
            object.known = ts;
            object.lsn = env.out.persist(Record::Known {
                key: key.clone(),
                ts,
            });
        }
        object.lsn
    }

    /// W-REMOTE: keeps the newest complete version.
    pub fn on_write_remote(
        &mut self,
        env: &mut Env,
        key: &Key,
        ts: Timestamp,
        value: Value,
    ) -> Lsn {
        let object = self.objects.entry(key);
        mutant!(env, EraseOnNewerTimestamp && ts < object.known => return object.lsn);
        mutant!(env, BufferUnannounced && ts > object.known =>
            return object.buffer(env, key, ts, value));
        if ts <= object.complete_ts() {
            return object.lsn;
        }
        let value = env.out.store(ValueId::version(key, ts), value);
        self.complete(env, key, ts, value, None)
    }

    /// Keeps `ts`, whose value is stored, as the complete version where it is the newest.
    /// `told` is the position of a value that is a record of itself.
    pub fn complete(
        &mut self,
        env: &mut Env,
        key: &Key,
        ts: Timestamp,
        value: StoredValue,
        told: Option<Lsn>,
    ) -> Lsn {
        let object = self.objects.entry(key);
        if ts > object.complete_ts() {
            if let Some((older, _)) = object.complete.replace((ts, value)) {
                env.out.release(ValueId::version(key, older));
            }
            object.known = object.known.max(ts);
            let key = key.clone();
            let record = Record::Complete { key, ts, value };
            object.lsn = object.lsn.max(env.out.persist_behind(told, record));
        }
        object.lsn
    }

    /// The complete version, where it is at least as new as asked.
    pub fn find(&self, key: &Key, at_least: Timestamp) -> Option<(Timestamp, StoredValue, Lsn)> {
        let object = self.objects.get(key)?;
        let (ts, value) = object.complete.as_ref()?;
        (*ts >= at_least).then_some((*ts, *value, object.lsn))
    }

    /// The complete version, where it is the newest known.
    pub fn newest(&self, key: &Key) -> Option<(Timestamp, StoredValue, Lsn)> {
        self.find(key, self.objects.get(key)?.known)
    }

    /// Whether the complete version of `key` is `ts`.
    pub fn holds(&self, key: &Key, ts: Timestamp) -> bool {
        let Some(object) = self.objects.get(key) else {
            return false;
        };
        #[cfg(feature = "sim")]
        if object.remote_buffer.holds(ts) {
            return true;
        }
        object.complete.is_some_and(|(has, _)| has == ts)
    }

    /// The values that are needed and that `is_stored` does not know.
    pub fn unstored(&self, is_stored: &dyn Fn(&ValueId) -> bool) -> Vec<ValueId> {
        let objects = self.objects.iter();
        let stored = objects.filter_map(|(key, object)| match object.complete? {
            (ts, StoredValue::Bytes(_)) => Some(ValueId::version(key, ts)),
            (_, StoredValue::Tombstone) => None,
        });
        stored.filter(|id| !is_stored(id)).collect()
    }

    /// The disk has lost the value of `ts`: the timestamp stays known, so that the
    /// value is fetched and never taken for older than it is.
    pub fn lose(&mut self, key: &Key, ts: Timestamp) {
        if let Some(object) = self.objects.get_mut(key)
            && object.complete_ts() == ts
        {
            object.complete = None;
        }
    }

    /// The best version here; zero where there is none.
    pub fn best(&self, key: &Key) -> Timestamp {
        self.objects
            .get(key)
            .map_or(Timestamp::ZERO, Object::complete_ts)
    }

    /// Objects after `after`, at most `limit`.
    pub fn list_after(
        &self,
        after: Bound<&Key>,
        container: ContainerId,
        limit: usize,
        listed: Listed,
    ) -> Vec<KnownKey> {
        let objects = self.objects.after(after);
        objects
            .take_while(|(key, _)| key.container == container)
            .filter(|(_, object)| match listed {
                Listed::All => object.known > Timestamp::ZERO,
                Listed::Lacking => object.known > object.complete_ts(),
            })
            .take(limit)
            .map(|(key, object)| KnownKey {
                name: key.name.clone(),
                known: object.known,
            })
            .collect()
    }

    /// The newest known timestamp, where the value that it names is not here.
    pub fn lacking(&self, key: &Key) -> Option<Timestamp> {
        let object = self.objects.get(key)?;
        (object.known > object.complete_ts()).then_some(object.known)
    }

    /// Takes over a durable record.
    pub fn recover_known(&mut self, key: Key, ts: Timestamp) {
        let object = self.objects.entry(&key);
        object.known = object.known.max(ts);
    }

    /// Takes over a durable record.
    pub fn recover_complete(&mut self, key: Key, ts: Timestamp, value: StoredValue) {
        let object = self.objects.entry(&key);
        if ts > object.complete_ts() {
            if let Some((older, value)) = object.complete.replace((ts, value)) {
                self.superseded.add(&key, older, value);
            }
            object.known = object.known.max(ts);
        }
    }

    /// The journal has been read, and the newest version has no value: the newest one before
    /// it that has is the complete one. Returns what is to be durable of it, and adds those
    /// in between to `lost`.
    pub fn fall_back(
        &mut self,
        key: &Key,
        is_stored: &dyn Fn(&ValueId) -> bool,
        lost: &mut Vec<Timestamp>,
    ) -> Vec<Record> {
        let versions = self.superseded.take(key, is_stored);
        let Some(object) = self.objects.get_mut(key).filter(|o| o.complete.is_none()) else {
            return Vec::new();
        };
        for (ts, value, is_here) in versions {
            if is_here {
                object.complete = Some((ts, value));
                let key = key.clone();
                return vec![Record::Complete { key, ts, value }];
            }
            lost.push(ts);
        }
        Vec::new()
    }

    /// All has been recovered.
    pub fn end_recovery(&mut self) {
        self.superseded.clear();
    }
}
