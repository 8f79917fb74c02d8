//! Values that were stored or loaded lately, so that a read of a hot key and the send
//! right after a store never wait for the disk.

use std::collections::BTreeMap;

use vivace_core::Value;
use vivace_core::stored::ValueId;

/// What an entry takes beside the value's own bytes, about: its id twice, two map slots.
const ENTRY_BYTES: u64 = 256;

/// Values by id, the least lately used first to go.
#[derive(Debug)]
pub struct ValueCache {
    values: BTreeMap<ValueId, (Value, u64)>,
    /// Ids by when they were last used.
    uses: BTreeMap<u64, ValueId>,
    last_use: u64,
    bytes: u64,
    bytes_max: u64,
}

impl ValueCache {
    /// An empty one of up to `bytes_max`; of 0 it stays empty.
    pub fn new(bytes_max: u64) -> Self {
        Self {
            values: BTreeMap::new(),
            uses: BTreeMap::new(),
            last_use: 0,
            bytes: 0,
            bytes_max,
        }
    }

    /// Puts a value in, and others out. One that alone is too long stays out.
    pub fn insert(&mut self, id: &ValueId, value: &Value) {
        self.remove(id);
        let bytes = weight(value);
        if bytes > self.bytes_max {
            return;
        }
        self.bytes += bytes;
        self.last_use += 1;
        self.uses.insert(self.last_use, id.clone());
        self.values
            .insert(id.clone(), (value.clone(), self.last_use));
        while self.bytes > self.bytes_max {
            let (_, oldest) = self.uses.pop_first().expect("bytes are of entries");
            let (value, _) = self.values.remove(&oldest).expect("each use has a value");
            self.bytes -= weight(&value);
        }
    }

    /// The value, which counts as used.
    pub fn get(&mut self, id: &ValueId) -> Option<Value> {
        let (value, used) = self.values.get_mut(id)?;
        self.last_use += 1;
        let id = self.uses.remove(used).expect("each value has a use");
        self.uses.insert(self.last_use, id);
        *used = self.last_use;
        Some(value.clone())
    }

    /// Lets a value go.
    pub fn remove(&mut self, id: &ValueId) {
        if let Some((value, used)) = self.values.remove(id) {
            self.uses.remove(&used);
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
