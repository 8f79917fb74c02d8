//! No storage at all: for demonstrations and experiments.

use vivace_core::Lsn;
use vivace_core::record::Record;

use super::{OnDurable, Storage};

/// Calls everything durable at once and keeps nothing.
pub struct MemoryStorage {
    last: Lsn,
    reported: Lsn,
    on_durable: OnDurable,
}

impl MemoryStorage {
    /// An empty one.
    pub fn new(on_durable: OnDurable) -> Self {
        Self {
            last: Lsn::default(),
            reported: Lsn::default(),
            on_durable,
        }
    }
}

impl Storage for MemoryStorage {
    fn append(&mut self, lsn: Lsn, _record: &Record) {
        self.last = lsn;
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
