//! Values that were stored or loaded lately, so that a read of a hot key and the send
//! right after a store never wait for the disk.

use std::num::NonZeroUsize;

use lru::LruCache;
use vivace_core::Value;
use vivace_core::stored::ValueId;

/// What an entry takes beside the value's own bytes, about: its id twice, two map slots.
const ENTRY_BYTES: u64 = 256;

/// Most entries, however many bytes there are.
const ENTRIES_MAX: usize = 1 << 24;

/// Values by id, the least lately used first to go.
#[derive(Debug)]
pub struct ValueCache {
    values: LruCache<ValueId, Value>,
    bytes: u64,
    bytes_max: u64,
}

impl ValueCache {
    /// An empty one of up to `bytes_max`; of 0 it stays empty. Its table has room for as many
    /// entries as fit, and takes a 13th to a 7th of `bytes_max` for it as it fills: one that
    /// grows keeps the node from answering meanwhile, 12 ms at 57,000 entries.
    pub fn new(bytes_max: u64) -> Self {
        let entries = usize::try_from(bytes_max / ENTRY_BYTES).unwrap_or(ENTRIES_MAX);
        let room = NonZeroUsize::new(entries.min(ENTRIES_MAX)).unwrap_or(NonZeroUsize::MIN);
        Self {
            values: LruCache::new(room),
            bytes: 0,
            bytes_max,
        }
    }

    /// Puts a value in, and others out. One that alone is too long stays out.
    pub fn insert(&mut self, id: &ValueId, value: &Value) {
        let bytes = weight(value);
        if bytes > self.bytes_max {
            return self.remove(id);
        }
        self.bytes += bytes;
        // The earlier one of this id, or the oldest where there are too many.
        if let Some((_, gone)) = self.values.push(id.clone(), value.clone()) {
            self.bytes -= weight(&gone);
        }
        while self.bytes > self.bytes_max {
            let (_, oldest) = self.values.pop_lru().expect("bytes are of entries");
            self.bytes -= weight(&oldest);
        }
    }

    /// The value, which counts as used.
    pub fn get(&mut self, id: &ValueId) -> Option<Value> {
        self.values.get(id).cloned()
    }

    /// Lets a value go.
    pub fn remove(&mut self, id: &ValueId) {
        if let Some(value) = self.values.pop(id) {
            self.bytes -= weight(&value);
        }
    }
}

fn weight(value: &Value) -> u64 {
    value.len() as u64 + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::test_values::{id, long_value};

    #[test]
    fn the_least_lately_used_goes_first() {
        let mut cache = ValueCache::new(3 * (1000 + ENTRY_BYTES));
        for time in 1..=3 {
            cache.insert(&id("a", time), &long_value(time, 1000));
        }
        assert_eq!(cache.get(&id("a", 1)), Some(long_value(1, 1000)));
        cache.insert(&id("a", 4), &long_value(4, 1000));
        let kept: Vec<u64> = (1..=4)
            .filter(|&time| cache.get(&id("a", time)).is_some())
            .collect();
        assert_eq!(kept, [1, 3, 4]);
        assert_eq!(cache.bytes, 3 * (1000 + ENTRY_BYTES));
    }

    #[test]
    fn bytes_are_those_of_what_is_there() {
        let mut cache = ValueCache::new(10_000);
        cache.insert(&id("a", 1), &long_value(1, 1000));
        cache.insert(&id("a", 1), &long_value(1, 1000));
        cache.insert(&id("a", 2), &long_value(1, 20_000));
        assert_eq!(cache.bytes, 1000 + ENTRY_BYTES);
        assert_eq!(cache.get(&id("a", 2)), None);
        cache.remove(&id("a", 1));
        cache.remove(&id("a", 1));
        assert_eq!(cache.bytes, 0);
    }
}
