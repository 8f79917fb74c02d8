//! No storage at all: for demonstrations and experiments.

use std::collections::BTreeMap;

use vivace_core::stored::ValueId;
use vivace_core::{Lsn, Value};

use super::{Entry, OnDurable, Storage};

/// Calls everything durable at once and keeps only values, as long as it lives.
pub struct MemoryStorage {
    last: Lsn,
    reported: Lsn,
    values: BTreeMap<ValueId, Value>,
    on_durable: OnDurable,
}

impl MemoryStorage {
    /// An empty one.
    pub fn new(on_durable: OnDurable) -> Self {
        Self {
            last: Lsn::default(),
            reported: Lsn::default(),
            values: BTreeMap::new(),
            on_durable,
        }
    }
}

impl Storage for MemoryStorage {
    fn append(&mut self, lsn: Lsn, entry: Entry) {
        self.last = lsn;
        match entry {
            Entry::Record(_) => {}
            Entry::Value(id, value) => drop(self.values.insert(id, value)),
            Entry::Forget(id) => self.forget(id),
        }
    }

    fn forget(&mut self, id: ValueId) {
        self.values.remove(&id);
    }

    fn load(&self, id: &ValueId) -> Option<Value> {
        self.values.get(id).cloned()
    }

    fn flush(&mut self) {
        if self.last > self.reported {
            self.reported = self.last;
            (self.on_durable)(self.last);
        }
    }

    fn pending_bytes(&self) -> u64 {
        0
    }

    fn name(&self) -> &'static str {
        "memory"
    }
}
