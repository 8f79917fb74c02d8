//! The replica of RMW objects: `promised`, `accepted`, `chosen`, and versions by
//! their exact timestamps, served whether accepted or not (mend 1).

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
use crate::vivace_rmw::Versions;

#[derive(Clone, Debug, Default)]
struct Object {
    promised: Timestamp,
    accepted: Timestamp,
    chosen: Timestamp,
    versions: Versions<StoredValue>,
    /// Everything above is durable once the log is durable up to here.
    lsn: Lsn,
}

impl Object {
    fn has_accepted(&self) -> bool {
        self.versions.contains(self.accepted)
    }

    /// Drops needless versions, and returns them.
    fn choose(&mut self, ts: Timestamp) -> Vec<(Timestamp, StoredValue)> {
        self.chosen = self.chosen.max(ts);
        self.accept(ts);
        self.versions.choose(self.chosen)
    }

    /// The answer to OW-TS of `ots`.
    fn acceptance(&self, ots: Timestamp) -> PriorityBody {
        PriorityBody::OrderedWriteTsAck {
            accepted: self.accepted == ots,
            promised: self.promised,
        }
    }

    /// Whoever wrote `ts` may build on it without asking: nobody comes between.
    fn accept(&mut self, ts: Timestamp) {
        self.accepted = self.accepted.max(ts);
        self.promised = self.promised.max(ts.next_round());
    }
}

/// A node's share of all RMW objects.
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

    /// R-TS, of a read-only command.
    pub fn on_read_ts(
        &self,
        env: &mut Env,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        key: &Key,
    ) {
        let clock = env.trusted_time();
        let (known, chosen, has, lsn) = match self.objects.get(key) {
            Some(object) => (
                object.accepted,
                object.chosen,
                object.has_accepted(),
                object.lsn,
            ),
            None => (Timestamp::ZERO, Timestamp::ZERO, false, Lsn::default()),
        };
        let body = PriorityBody::ReadTsAck {
            known,
            chosen,
            has,
            clock,
        };
        env.answer_when_durable(lsn, from, rpc, container.epoch, body);
    }

    /// OR-TS: the promise, durable before it is given.
    pub fn on_ordered_read_ts(
        &mut self,
        env: &mut Env,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        key: &Key,
        ots: Timestamp,
    ) {
        let object = self.objects.entry(key);
        if ots > object.promised {
            env.recent.forget_older(key, ots);
            object.promised = ots;
            object.lsn = env.out.persist(Record::Promised {
                key: key.clone(),
                ts: ots,
            });
        }
        let body = PriorityBody::OrderedReadTsAck {
            granted: ots == object.promised,
            promised: object.promised,
            accepted: object.accepted,
            chosen: object.chosen,
            has: object.has_accepted(),
        };
        env.answer_when_durable(object.lsn, from, rpc, container.epoch, body);
    }

    /// OW-TS: acceptance, and with it the promise of the next round, durable before it
    /// is given.
    pub fn on_ordered_write_ts(
        &mut self,
        env: &mut Env,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        key: &Key,
        ots: Timestamp,
    ) {
        self.accept(env, key, ots, None);
        let object = self.objects.entry(key);
        let body = object.acceptance(ots);
        env.answer_when_durable(object.lsn, from, rpc, container.epoch, body);
    }

    fn accept(&mut self, env: &mut Env, key: &Key, ots: Timestamp, told: Option<Lsn>) {
        let object = self.objects.entry(key);
        let again = object.accepted == ots;
        if ots >= object.promised && !again {
            object.accept(ots);
            mutant!(env, ForgetNext => object.promised = ots);
            mutant!(env, DropOnAcceptance => object.drop_below(env, key, ots));
            let record = Record::Accepted {
                key: key.clone(),
                ts: ots,
            };
            object.lsn = object.lsn.max(env.out.persist_behind(told, record));
        }
    }

    /// Whether OW-TS of `ots` would be accepted, or was.
    pub fn may_accept(&self, key: &Key, ots: Timestamp) -> bool {
        let object = self.objects.get(key);
        object.is_none_or(|object| ots >= object.promised || object.accepted == ots)
    }

    /// W-REMOTE and OW-TS in one, of a direct write whose value is stored: what is accepted
    /// here is here. `told` is the position of a value that is a record of itself. Returns when
    /// what was done is durable.
    ///
    /// # Errors
    /// The answer of a replica that has promised to refuse it.
    pub fn accept_with_value(
        &mut self,
        env: &mut Env,
        key: &Key,
        ots: Timestamp,
        value: StoredValue,
        told: Option<Lsn>,
    ) -> Result<Lsn, (Lsn, PriorityBody)> {
        if self.may_accept(key, ots) {
            self.keep(env, key, ots, value, told);
            self.accept(env, key, ots, told);
        }
        let object = self.objects.entry(key);
        match object.accepted == ots {
            true => Ok(object.lsn),
            false => Err((object.lsn, object.acceptance(ots))),
        }
    }

    /// Whether a value of `ots` that is a record of itself tells something new: that it was
    /// accepted, and is here.
    pub fn lacks_told(&self, key: &Key, ots: Timestamp) -> bool {
        let is_known = |object: &Object| object.accepted == ots && object.versions.contains(ots);
        self.may_accept(key, ots) && !self.objects.get(key).is_some_and(is_known)
    }

    /// W-REMOTE: a version to serve. It never touches `accepted` or `promised`:
    /// unlike an RW object's, it may never be chosen (mend 5).
    pub fn on_write_remote(
        &mut self,
        env: &mut Env,
        key: &Key,
        ts: Timestamp,
        value: Value,
    ) -> Lsn {
        if self.wants(key, ts) {
            let value = env.out.store(ValueId::version(key, ts), value);
            return self.keep(env, key, ts, value, None);
        }
        self.objects.entry(key).lsn
    }

    /// Keeps a version whose value is stored, where it is of use.
    fn keep(
        &mut self,
        env: &mut Env,
        key: &Key,
        ts: Timestamp,
        value: StoredValue,
        told: Option<Lsn>,
    ) -> Lsn {
        let object = self.objects.entry(key);
        if object.versions.wants(object.chosen, ts) {
            for (needless, _) in object.versions.insert(object.chosen, ts, value) {
                env.out.release(ValueId::version(key, needless));
            }
            mutant!(env, RemoteAccepts => object.accepted = object.accepted.max(ts));
            let key = key.clone();
            let record = Record::Version { key, ts, value };
            object.lsn = object.lsn.max(env.out.persist_behind(told, record));
        }
        object.lsn
    }

    /// COMMIT: older versions are history (mend 7: not before), once a newer one is here.
    pub fn on_commit(&mut self, env: &mut Env, key: &Key, ts: Timestamp) {
        let object = self.objects.entry(key);
        if ts > object.chosen {
            env.recent.forget_older(key, ts);
            #[cfg(feature = "sim")]
            let promised = object.promised.max(ts);
            let has_accepted = object.accepted == ts;
            for (older, _) in object.choose(ts) {
                env.out.release(ValueId::version(key, older));
            }
            mutant!(env, ForgetNext => object.promised = promised);
            let key = key.clone();
            let record = Record::Chosen { key, ts };
            // That it is chosen is true whether this replica remembers it or not; that it is
            // accepted here is this replica's word.
            match has_accepted {
                true => env.out.persist_later(record),
                false => object.lsn = env.out.persist(record),
            }
        }
    }

    /// The oldest version in `[at_least, below)`.
    pub fn find(
        &self,
        key: &Key,
        at_least: Timestamp,
        below: Timestamp,
    ) -> Option<(Timestamp, StoredValue, Lsn)> {
        if at_least >= below {
            return None;
        }
        let object = self.objects.get(key)?;
        let (ts, value) = object.versions.oldest_in(at_least..below)?;
        Some((ts, *value, object.lsn))
    }

    /// The accepted version.
    pub fn newest(&self, key: &Key) -> Option<(Timestamp, StoredValue, Lsn)> {
        let accepted = self.objects.get(key)?.accepted;
        self.find(key, accepted, accepted.successor())
    }

    /// The best version here; zero where there is none.
    pub fn best(&self, key: &Key) -> Timestamp {
        let object = self.objects.get(key);
        let newest = object.and_then(|object| object.versions.newest());
        newest.map_or(Timestamp::ZERO, |(ts, _)| ts)
    }

    /// Objects after `after`, at most `limit`; one is lacking where neither its accepted
    /// version nor a newer one is here.
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
            .filter(|(_, object)| object.accepted > Timestamp::ZERO)
            .filter(|(_, object)| match listed {
                Listed::All => true,
                Listed::Lacking => object.versions.oldest_in(object.accepted..).is_none(),
            })
            .take(limit)
            .map(|(key, object)| KnownKey {
                name: key.name.clone(),
                known: object.accepted,
            })
            .collect()
    }

    /// Whether this version is here.
    pub fn holds(&self, key: &Key, ts: Timestamp) -> bool {
        let object = self.objects.get(key);
        object.is_some_and(|object| object.versions.contains(ts))
    }

    /// Where this chosen version is here, or a later one, which was built on it: what
    /// must be durable before anyone hears so.
    pub fn held(&self, key: &Key, chosen: Timestamp) -> Option<Lsn> {
        let object = self.objects.get(key)?;
        let as_new = object.versions.oldest_in(chosen..);
        as_new.map(|_| object.lsn)
    }

    /// Whether W-REMOTE of this version would store it.
    pub fn wants(&self, key: &Key, ts: Timestamp) -> bool {
        let object = self.objects.get(key);
        object.is_none_or(|object| object.versions.wants(object.chosen, ts))
    }

    /// Where W-REMOTE of this version would be acknowledged without storing anything: it
    /// is here, or a later one is chosen.
    pub fn needs_not(&self, key: &Key, ts: Timestamp) -> Option<Lsn> {
        let object = self.objects.get(key)?;
        let needless = object.versions.contains(ts) || object.chosen > ts;
        needless.then_some(object.lsn)
    }

    /// The values that are needed and that `is_stored` does not know.
    pub fn unstored(&self, is_stored: &dyn Fn(&ValueId) -> bool) -> Vec<ValueId> {
        let objects = self.objects.iter();
        let stored = objects.flat_map(|(key, object)| {
            let versions = object.versions.iter();
            versions.filter_map(|(ts, value)| match value {
                StoredValue::Bytes(_) => Some(ValueId::version(key, ts)),
                StoredValue::Tombstone => None,
            })
        });
        stored.filter(|id| !is_stored(id)).collect()
    }

    /// The disk has lost a version.
    pub fn lose(&mut self, key: &Key, ts: Timestamp) {
        if let Some(object) = self.objects.get_mut(key) {
            object.versions.remove(ts);
        }
    }

    /// The chosen timestamp, where every version below `below` is history.
    pub fn gone(&self, key: &Key, below: Timestamp) -> Option<Timestamp> {
        let object = self.objects.get(key)?;
        (object.chosen >= below).then_some(object.chosen)
    }

    /// Takes over a durable promise.
    pub fn recover_promised(&mut self, key: Key, ts: Timestamp) {
        let object = self.objects.entry(&key);
        object.promised = object.promised.max(ts);
    }

    /// Takes over a durable acceptance.
    pub fn recover_accepted(&mut self, key: Key, ts: Timestamp) {
        self.objects.entry(&key).accept(ts);
    }

    /// Takes over a durable choice.
    pub fn recover_chosen(&mut self, key: Key, ts: Timestamp) {
        let object = self.objects.entry(&key);
        for (needless, value) in object.choose(ts) {
            self.superseded.add(&key, needless, value);
        }
    }

    /// Takes over a durable version.
    pub fn recover_version(&mut self, key: Key, ts: Timestamp, value: StoredValue) {
        let object = self.objects.entry(&key);
        if object.versions.wants(object.chosen, ts) {
            for (needless, value) in object.versions.insert(object.chosen, ts, value) {
                self.superseded.add(&key, needless, value);
            }
        }
    }

    /// The journal has been read, and a version has no value: those before it that have
    /// one are kept as if it had never been here. Returns what is to be durable of them,
    /// and adds those without one in between to `lost`.
    pub fn fall_back(
        &mut self,
        key: &Key,
        is_stored: &dyn Fn(&ValueId) -> bool,
        lost: &mut Vec<Timestamp>,
    ) -> Vec<Record> {
        let Some(object) = self.objects.get_mut(key) else {
            return Vec::new();
        };
        let mut kept = Vec::new();
        for (ts, value, is_here) in self.superseded.take(key, is_stored) {
            // Those that were history long before the crash.
            if ts < object.chosen && !kept.is_empty() {
                break;
            }
            if !is_here {
                lost.push(ts);
            } else if object.versions.wants(object.chosen, ts) {
                object.versions.insert(object.chosen, ts, value);
                let key = key.clone();
                kept.push(Record::Version { key, ts, value });
            }
        }
        kept
    }

    /// All has been recovered.
    pub fn end_recovery(&mut self) {
        self.superseded.clear();
    }
}
