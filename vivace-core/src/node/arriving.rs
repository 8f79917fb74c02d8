//! Values of direct writes that have come, and that the disk does not hold yet.
//!
//! Elsewhere a timestamp is told only when its value is safe in a local set, so a record that
//! a power failure leaves without its value loses nothing. A direct write's value has no such
//! place to come back from: a replica that knew of it and had it no more would keep readers
//! waiting for what was perhaps never stored anywhere. So the replica learns of it when the value
//! is durable. The stored value is a record of that: the journal's own may follow later, and a
//! start that finds the value without it takes the value's word ([`Node::recover_stored`]). One
//! sync, not two.

use std::collections::{BTreeMap, VecDeque};

use super::Node;
use crate::cluster::{Container, Kind};
use crate::identity::NodeId;
use crate::key::Key;
use crate::local_set::Found;
use crate::message::{CopyTag, RpcId};
use crate::outbox::Lsn;
use crate::record::Record;
use crate::row::Row;
use crate::stored::{StoredValue, ValueId};
use crate::timestamp::Timestamp;
use crate::value::Value;

/// At this many the next is dropped, as if it were lost on its way: it comes again.
const ARRIVING_MAX: usize = 65_536;

/// Who is told when the value is stored, and under which call.
type Asker = (NodeId, RpcId);

#[derive(Clone, Debug)]
struct Arriving {
    value: StoredValue,
    /// Where it is a record of itself.
    told: Option<Lsn>,
    askers: Vec<Asker>,
}

/// All of a node's.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    values: BTreeMap<Key, Row<Timestamp, Arriving>>,
    /// When the log is durable up to here, this is; in that order.
    due: VecDeque<(Lsn, Key, Timestamp)>,
    count: usize,
}

impl Arrivals {
    /// Adds who asks to a value that is on its way to the disk; false where there is none.
    fn join(&mut self, key: &Key, ts: Timestamp, asker: Asker) -> bool {
        let versions = self.values.get_mut(key);
        let Some(arriving) = versions.and_then(|versions| versions.get_mut(&ts)) else {
            return false;
        };
        if !arriving.askers.contains(&asker) {
            arriving.askers.push(asker);
        }
        true
    }

    fn add(&mut self, lsn: Lsn, (key, ts): (&Key, Timestamp), arriving: Arriving) {
        let versions = self.values.entry(key.clone()).or_default();
        versions.insert(ts, arriving);
        // Mostly the last; the local set's copy may have been stored before others came.
        let at = match self.due.back() {
            Some((last, ..)) if *last > lsn => self.due.partition_point(|due| due.0 <= lsn),
            _ => self.due.len(),
        };
        self.due.insert(at, (lsn, key.clone(), ts));
        self.count += 1;
    }

    fn take(&mut self, key: &Key, ts: Timestamp) -> Option<Arriving> {
        let versions = self.values.get_mut(key)?;
        let arrived = versions.remove(&ts)?;
        if versions.is_empty() {
            self.values.remove(key);
        }
        self.count -= 1;
        Some(arrived)
    }

    /// Whether `ts` of `key` is among them.
    pub fn holds(&self, key: &Key, ts: Timestamp) -> bool {
        let versions = self.values.get(key);
        versions.is_some_and(|versions| versions.contains_key(&ts))
    }

    /// How many there are.
    #[cfg(feature = "sim")]
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Node {
    /// W-REMOTE where writes are direct: the value first, then what tells of it.
    pub(super) fn take_in(
        &mut self,
        container: &Container,
        (key, ts): (&Key, Timestamp),
        asker: Asker,
        value: Value,
    ) {
        let stored = StoredValue::from(&value);
        if self.is_unwanted(container, key, ts) || stored == StoredValue::Tombstone {
            return self.learn(container, (key, ts), stored, None, &[asker]);
        }
        mutant!(self.env, LearnBeforeStored => {
            self.env.out.store(ValueId::version(key, ts), value);
            return self.learn(container, (key, ts), stored, None, &[asker]);
        });
        if self.arrivals.join(key, ts, asker) {
            return;
        }
        if self.arrivals.count >= ARRIVING_MAX {
            self.env
                .counters
                .count("dropped: a value, because the disk is behind");
            return;
        }
        let copy = self.local.find_rw(key, ts);
        // Filed under the same name.
        let is_same = |copy: &Found| copy.ts == ts && copy.tag == CopyTag::Bound(ts);
        let (lsn, told) = match copy.filter(is_same) {
            Some(copy) => (copy.lsn, copy.is_record.then_some(copy.lsn)),
            None => {
                let id = ValueId::version(key, ts);
                let told = self.env.out.store_as_record(id, value);
                (self.env.out.last(), told)
            }
        };
        let arriving = Arriving {
            value: stored,
            told,
            askers: vec![asker],
        };
        self.arrivals.add(lsn, (key, ts), arriving);
        if self.env.out.is_durable(lsn) {
            self.learn_arrived(key, ts);
        }
    }

    /// After the last [`Node::recover`], and before [`Node::drop_unstored`]: of values that are
    /// records of themselves, which the store has, with their bytes, what the journal does not
    /// tell. In any order. Costs a look-up per value.
    pub fn recover_stored(&mut self, records: impl IntoIterator<Item = (ValueId, u32)>) {
        mutant!(self.env, EmptyRestart => return);
        mutant!(self.env, IgnoreStored => return);
        let news = |(id, bytes): (ValueId, u32)| match id.tag {
            CopyTag::Bound(ts) => self.is_news(&id.key, ts).then_some((id.key, ts, bytes)),
            CopyTag::Unbound(_) => None,
        };
        let mut told: Vec<_> = records.into_iter().filter_map(news).collect();
        // As they were accepted: an older one is refused behind a newer one.
        told.sort();
        for (key, ts, bytes) in told {
            self.recover_told(&key, ts, StoredValue::Bytes(bytes));
        }
    }

    fn is_news(&self, key: &Key, ts: Timestamp) -> bool {
        match self.kind_of(key) {
            Some(Kind::Rw) => self.rw.best(key) < ts,
            Some(Kind::Rmw) => self.rmw.lacks_told(key, ts),
            Some(Kind::Abd | Kind::LanRmw) | None => false,
        }
    }

    fn recover_told(&mut self, key: &Key, ts: Timestamp, value: StoredValue) {
        self.env
            .counters
            .count("recovered: a value ahead of its record");
        match self.kind_of(key) {
            Some(Kind::Rmw) => {
                // One that a promise came before was not accepted then, either.
                let accepted = self
                    .rmw
                    .accept_with_value(&mut self.env, key, ts, value, None);
                if accepted.is_err() {
                    return;
                }
            }
            _ => drop(self.rw.complete(&mut self.env, key, ts, value, None)),
        }
        // Its writer looks after it until all have it.
        let tag = CopyTag::Bound(ts);
        let id = ValueId::version(key, ts);
        if ts.writer.node() == self.env.me && !self.local.refers_to(&id) {
            self.local.recover_copy(&mut self.env, key, tag, value);
            let key = key.clone();
            self.env.out.persist(Record::LocalCopy { key, tag, value });
        }
    }

    /// Whether the value is here, or will not be wanted.
    fn is_unwanted(&self, container: &Container, key: &Key, ts: Timestamp) -> bool {
        match container.kind {
            Kind::Rw | Kind::Abd => self.rw.best(key) >= ts,
            Kind::Rmw | Kind::LanRmw => self.rmw.holds(key, ts) || !self.rmw.may_accept(key, ts),
        }
    }

    /// The log is durable up to `through`: replicas learn of the values stored by then.
    pub(super) fn on_stored(&mut self, through: Lsn) {
        let is_stored = |due: &mut (Lsn, Key, Timestamp)| due.0 <= through;
        while let Some((_, key, ts)) = self.arrivals.due.pop_front_if(is_stored) {
            self.learn_arrived(&key, ts);
        }
    }

    fn learn_arrived(&mut self, key: &Key, ts: Timestamp) {
        let Some(arrived) = self.arrivals.take(key, ts) else {
            return;
        };
        let cluster = self.env.cluster.clone();
        if let Some(container) = cluster.container(key.container) {
            let Arriving {
                value,
                told,
                askers,
            } = arrived;
            self.learn(container, (key, ts), value, told, &askers);
        }
        if !self.is_at_a_replica(&ValueId::version(key, ts)) {
            self.env.out.release(ValueId::version(key, ts));
        }
    }

    /// The value is stored, or there is nothing to store. An RMW object's replica accepts it
    /// with that, unless it has promised otherwise.
    fn learn(
        &mut self,
        container: &Container,
        (key, ts): (&Key, Timestamp),
        value: StoredValue,
        told: Option<Lsn>,
        askers: &[Asker],
    ) {
        let kept = match container.kind {
            Kind::Rw | Kind::Abd => Ok(self.rw.complete(&mut self.env, key, ts, value, told)),
            Kind::Rmw | Kind::LanRmw => {
                self.meet(key, ts);
                self.rmw
                    .accept_with_value(&mut self.env, key, ts, value, told)
            }
        };
        for &asker in askers {
            match &kept {
                Ok(lsn) => self.ack_remote(container, (key, ts), asker, *lsn),
                Err((lsn, refusal)) => {
                    let ((node, rpc), epoch) = (asker, container.epoch);
                    self.env
                        .answer_when_durable(*lsn, node, rpc, epoch, refusal.clone());
                }
            }
        }
        self.serve_waiters(container, key);
    }
}
