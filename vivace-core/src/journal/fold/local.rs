//! What the records of one object's local copies amount to.
//!
//! They are operations on two maps, copies by timestamp and unbound copies by write. What
//! comes before a removal and concerns nothing else is void; where nothing is left before
//! it, the removal only concerns what stands before this range.

use std::collections::{BTreeMap, BTreeSet};

use crate::key::Key;
use crate::message::{CopyTag, WriteId};
use crate::record::Record;
use crate::timestamp::Timestamp;

#[derive(Debug, Default)]
pub struct LocalFold {
    key: Option<Key>,
    /// Versions and writes of which this range first removes what stood before it.
    dropped: BTreeSet<Timestamp>,
    given_up: BTreeSet<WriteId>,
    /// All else, in the order in which it was absorbed.
    operations: BTreeMap<u64, Record>,
    by_version: BTreeMap<Timestamp, Vec<u64>>,
    by_write: BTreeMap<WriteId, Vec<u64>>,
    turn: u64,
}

impl LocalFold {
    pub fn absorb(&mut self, record: Record) {
        match &record {
            Record::LocalDropped { key, ts } => {
                self.key.get_or_insert_with(|| key.clone());
                self.cancel_version(*ts);
                if !self.by_version.contains_key(ts) {
                    self.dropped.insert(*ts);
                    return;
                }
            }
            Record::LocalGivenUp { key, write } => {
                self.key.get_or_insert_with(|| key.clone());
                self.cancel_write(*write);
                if !self.by_write.contains_key(write) {
                    self.given_up.insert(*write);
                    return;
                }
            }
            _ => {}
        }
        self.push(record);
    }

    fn push(&mut self, record: Record) {
        let turn = self.turn;
        self.turn += 1;
        let (version, write) = touches(&record);
        if let Some(ts) = version {
            self.by_version.entry(ts).or_default().push(turn);
        }
        if let Some(write) = write {
            self.by_write.entry(write).or_default().push(turn);
        }
        self.operations.insert(turn, record);
    }

    fn remove(&mut self, turn: u64) {
        let Some(record) = self.operations.remove(&turn) else {
            return;
        };
        let (version, write) = touches(&record);
        if let Some(ts) = version {
            forget(&mut self.by_version, ts, turn);
        }
        if let Some(write) = write {
            forget(&mut self.by_write, write, turn);
        }
    }

    /// Removes what a drop of this version makes void.
    fn cancel_version(&mut self, ts: Timestamp) {
        for turn in self.by_version.get(&ts).cloned().unwrap_or_default() {
            match &self.operations[&turn] {
                // A binding takes an unbound copy away: it may only go with the copy that
                // it bound.
                Record::LocalBound { write, .. } => {
                    let write = *write;
                    let bound = self.by_write.get(&write).cloned().unwrap_or_default();
                    if let [copied, binding] = bound[..]
                        && binding == turn
                        && is_copy(&self.operations[&copied])
                    {
                        self.remove(copied);
                        self.remove(binding);
                        self.given_up.insert(write);
                    }
                }
                _ => self.remove(turn),
            }
        }
    }

    /// Removes what giving this write up makes void.
    fn cancel_write(&mut self, write: WriteId) {
        let turns = self.by_write.get(&write).cloned().unwrap_or_default();
        if let [only] = turns[..]
            && is_copy(&self.operations[&only])
        {
            self.remove(only);
        }
    }

    pub fn records(&self) -> usize {
        // A removal takes a small part of what a record takes.
        self.operations.len() + (self.dropped.len() + self.given_up.len()) / 8
    }

    pub fn into_partial(self) -> Vec<Record> {
        let mut records = Vec::new();
        if let Some(key) = self.key {
            let key = || key.clone();
            let drops = self.dropped.into_iter();
            records.extend(drops.map(|ts| Record::LocalDropped { key: key(), ts }));
            let ends = self.given_up.into_iter();
            records.extend(ends.map(|write| Record::LocalGivenUp { key: key(), write }));
        }
        records.extend(self.operations.into_values());
        records
    }

    /// Carries the operations out as recovery would, and writes down what is left. Where
    /// nothing stood before, nothing of it is to be removed.
    pub fn finish(self) -> Vec<Record> {
        let mut copies: BTreeMap<Timestamp, Vec<Record>> = BTreeMap::new();
        let mut unbound: BTreeMap<WriteId, Record> = BTreeMap::new();
        for record in self.operations.into_values() {
            match &record {
                Record::LocalCopy { tag, .. } => match *tag {
                    CopyTag::Bound(ts) => {
                        copies.insert(ts, vec![record]);
                    }
                    CopyTag::Unbound(write) => {
                        unbound.insert(write, record);
                    }
                },
                Record::LocalBound { write, ts, .. } => {
                    if let Some(copy) = unbound.remove(write) {
                        copies.insert(*ts, vec![copy, record]);
                    }
                }
                Record::LocalGivenUp { write, .. } => {
                    unbound.remove(write);
                }
                Record::LocalDropped { ts, .. } => {
                    copies.remove(ts);
                }
                _ => unreachable!("only records of local copies are absorbed"),
            }
        }
        let bound = copies.into_values().flatten();
        bound.chain(unbound.into_values()).collect()
    }
}

fn touches(record: &Record) -> (Option<Timestamp>, Option<WriteId>) {
    match record {
        Record::LocalCopy { tag, .. } => match *tag {
            CopyTag::Bound(ts) => (Some(ts), None),
            CopyTag::Unbound(write) => (None, Some(write)),
        },
        Record::LocalBound { write, ts, .. } => (Some(*ts), Some(*write)),
        Record::LocalGivenUp { write, .. } => (None, Some(*write)),
        Record::LocalDropped { ts, .. } => (Some(*ts), None),
        _ => (None, None),
    }
}

fn is_copy(record: &Record) -> bool {
    matches!(record, Record::LocalCopy { .. })
}

fn forget<K: Ord>(index: &mut BTreeMap<K, Vec<u64>>, of: K, turn: u64) {
    if let Some(turns) = index.get_mut(&of) {
        turns.retain(|&held| held != turn);
        if turns.is_empty() {
            index.remove(&of);
        }
    }
}
