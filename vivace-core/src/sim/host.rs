//! One machine: a clock, a disk that outlives its node, and perhaps a running node.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::errand::Errand;
use crate::record::Record;
use crate::stored::ValueId;
use crate::{Lsn, Node, Value};

/// A clock: true time, shifted; and the error bound that it claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostClock {
    /// Nanoseconds ahead of true time.
    pub skew_ns: i64,
    /// What it believes to be its bound; none where it is unsynchronized.
    pub error_ns: Option<u64>,
}

/// What a crash leaves of the records that were not yet durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTail {
    /// None of them.
    Lost,
    /// A drawn number, from the oldest on: the log is torn after them.
    Torn,
    /// All: only the news of their durability was lost.
    Kept,
}

/// What is on its way to the disk.
#[derive(Debug)]
pub(super) enum Entry {
    Record(Record),
    Value(ValueId, Value),
    Forget(ValueId),
}

/// When a node dies of what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fuse {
    /// Only messages of this kind count, where there is one.
    pub errand: Option<Errand>,
    /// How many it still sends.
    pub left: u32,
}

#[derive(Default)]
pub(super) struct Host {
    pub node: Option<Node>,
    pub life: u16,
    pub log: Vec<Record>,
    /// Durable values.
    pub values: BTreeMap<ValueId, Value>,
    pub unflushed: VecDeque<(Lsn, Entry)>,
    /// Values of `unflushed`, which can be loaded all the same.
    pub fresh: BTreeMap<ValueId, Value>,
    pub flushed_at: Duration,
    pub tick_at: Option<Duration>,
    pub clock: HostClock,
    /// It does nothing before this moment.
    pub paused_until: Duration,
    /// It dies after some further sends.
    pub fuse: Option<Fuse>,
    /// It has done its last and crashes within this instant.
    pub is_dying: bool,
}

impl Host {
    /// Takes an entry on its way to the disk.
    pub fn queue(&mut self, lsn: Lsn, entry: Entry) {
        match &entry {
            Entry::Value(id, value) => drop(self.fresh.insert(id.clone(), value.clone())),
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
            Entry::Value(id, value) => {
                self.fresh.remove(&id);
                self.values.insert(id, value);
            }
            Entry::Forget(id) => drop(self.values.remove(&id)),
        }
    }

    /// A value, durable or not.
    pub fn load(&self, id: &ValueId) -> Option<Value> {
        self.fresh.get(id).or_else(|| self.values.get(id)).cloned()
    }
}
