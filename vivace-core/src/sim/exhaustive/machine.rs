//! A node and its disk, which takes each entry whole and in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::record::Record;
use crate::sim::host;
use crate::stored::ValueId;
use crate::{Lsn, Node, Value};

/// What is on its way to the disk.
#[derive(Clone, Debug)]
pub enum Entry {
    Record(Record),
    /// With whether it is a record of itself.
    Value(ValueId, Value, bool),
    Forget(ValueId),
}

#[derive(Clone, Default)]
pub struct Host {
    pub node: Option<Node>,
    pub life: u16,
    pub log: Vec<Record>,
    /// Durable values.
    pub values: BTreeMap<ValueId, Value>,
    /// Which of them are records of themselves.
    pub records: BTreeSet<ValueId>,
    pub unflushed: VecDeque<(Lsn, Entry)>,
    /// Values of `unflushed`, which can be loaded all the same.
    pub fresh: BTreeMap<ValueId, Value>,
}

impl Host {
    /// Takes an entry on its way to the disk.
    pub fn queue(&mut self, lsn: Lsn, entry: Entry) {
        match &entry {
            Entry::Value(id, value, _) => drop(self.fresh.insert(id.clone(), value.clone())),
            Entry::Forget(id) => drop(self.fresh.remove(id)),
            Entry::Record(_) => {}
        }
        self.unflushed.push_back((lsn, entry));
    }

    /// Removes a value, once all that is on its way has arrived.
    pub fn forget(&mut self, id: ValueId) {
        match self.unflushed.back() {
            Some(&(last, _)) => self.queue(last, Entry::Forget(id)),
            None => drop(self.values.remove(&id)),
        }
    }

    /// The oldest entry on its way has arrived.
    pub fn flush_one(&mut self) {
        let Some((_, entry)) = self.unflushed.pop_front() else {
            return;
        };
        match entry {
            Entry::Record(record) => self.log.push(record),
            Entry::Value(id, value, is_record) => {
                self.fresh.remove(&id);
                if is_record {
                    self.records.insert(id.clone());
                }
                self.values.insert(id, value);
            }
            Entry::Forget(id) => {
                self.values.remove(&id);
                self.records.remove(&id);
            }
        }
    }

    /// The durable values that are records of themselves, and their bytes.
    pub fn recorded(&self) -> impl Iterator<Item = (ValueId, u32)> {
        host::recorded(&self.values, &self.records)
    }

    /// A value, durable or not.
    pub fn load(&self, id: &ValueId) -> Option<Value> {
        self.fresh.get(id).or_else(|| self.values.get(id)).cloned()
    }
}
