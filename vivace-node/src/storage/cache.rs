//! Values that were stored or loaded lately, so that a read of a hot key and the send
//! right after a store never wait for the disk.

use std::mem;
use std::num::NonZeroUsize;

use lru::LruCache;
use vivace_core::message::CopyTag;
use vivace_core::stored::ValueId;
use vivace_core::{Key, Value};

/// What an entry takes beside the value's own bytes, at most: its object's name and links, a
/// slot of the table, and room for two versions, which it keeps when one has replaced the other.
const ENTRY_BYTES: u64 = 256;

/// Most objects, however many bytes there are.
const OBJECTS_MAX: usize = 1 << 24;

/// An object's values; mostly one, two while one replaces another.
type Versions = Vec<(CopyTag, Value)>;

/// Values by id, those of the least lately used object the first to go.
///
/// By object, not by id: else each write of a hot object takes another place in a table that the
/// processor's caches don't hold.
#[derive(Debug)]
pub struct ValueCache {
    objects: LruCache<Key, Versions>,
    bytes: u64,
    bytes_max: u64,
}

impl ValueCache {
    /// An empty one of up to `bytes_max`; of 0 it stays empty. Its table has room for as many
    /// objects as fit, and takes a 13th to a 7th of `bytes_max` for it as it fills: one that
    /// grows keeps the node from answering meanwhile, 12 ms at 57,000 entries.
    pub fn new(bytes_max: u64) -> Self {
        let objects = usize::try_from(bytes_max / ENTRY_BYTES).unwrap_or(OBJECTS_MAX);
        let room = NonZeroUsize::new(objects.min(OBJECTS_MAX)).unwrap_or(NonZeroUsize::MIN);
        Self {
            objects: LruCache::new(room),
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
        let versions = match self.objects.get_mut(&id.key) {
            Some(versions) => versions,
            None => self.add_object(&id.key),
        };
        let earlier = match versions.iter_mut().find(|(tag, _)| *tag == id.tag) {
            Some((_, stored)) => Some(mem::replace(stored, value.clone())),
            None => {
                // Unasked, the first would take room for four.
                versions.reserve_exact(1);
                versions.push((id.tag, value.clone()));
                None
            }
        };
        self.bytes += bytes;
        self.bytes -= earlier.as_ref().map_or(0, weight);
        while self.bytes > self.bytes_max {
            let (_, oldest) = self.objects.pop_lru().expect("bytes are of values");
            self.bytes -= weight_of_all(&oldest);
        }
    }

    fn add_object(&mut self, key: &Key) -> &mut Versions {
        // The least lately used one, where there are too many.
        if let Some((_, gone)) = self.objects.push(key.clone(), Versions::new()) {
            self.bytes -= weight_of_all(&gone);
        }
        self.objects.peek_mut(key).expect("it was added")
    }

    /// The value, whose object counts as used.
    pub fn get(&mut self, id: &ValueId) -> Option<Value> {
        let versions = self.objects.get(&id.key)?;
        let found = versions.iter().find(|(tag, _)| *tag == id.tag);
        found.map(|(_, value)| value.clone())
    }

    /// Lets a value go.
    pub fn remove(&mut self, id: &ValueId) {
        let Some(versions) = self.objects.peek_mut(&id.key) else {
            return;
        };
        let Some(at) = versions.iter().position(|(tag, _)| *tag == id.tag) else {
            return;
        };
        let (_, value) = versions.swap_remove(at);
        self.bytes -= weight(&value);
        if versions.is_empty() {
            self.objects.pop(&id.key);
        }
    }
}

fn weight(value: &Value) -> u64 {
    value.len() as u64 + ENTRY_BYTES
}

fn weight_of_all(versions: &Versions) -> u64 {
    versions.iter().map(|(_, value)| weight(value)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::test_values::{id, long_value};

    #[test]
    fn the_least_lately_used_object_goes_first() {
        let mut cache = ValueCache::new(4 * (1000 + ENTRY_BYTES));
        let ids = [("a", 1), ("a", 2), ("b", 1), ("c", 1), ("d", 1)].map(|(k, time)| id(k, time));
        for id in &ids[..4] {
            cache.insert(id, &long_value(1, 1000));
        }
        assert_eq!(cache.get(&ids[0]), Some(long_value(1, 1000)));
        cache.insert(&ids[4], &long_value(4, 1000));
        let kept = |cache: &mut ValueCache| ids.clone().map(|id| cache.get(&id).is_some());
        assert_eq!(kept(&mut cache), [true, true, false, true, true]);
        assert_eq!(cache.bytes, 4 * (1000 + ENTRY_BYTES));

        // Both values of the object, for they were used together.
        cache.insert(&id("e", 1), &long_value(5, 1000));
        assert_eq!(kept(&mut cache), [false, false, false, true, true]);
        assert_eq!(cache.bytes, 3 * (1000 + ENTRY_BYTES));
    }

    #[test]
    fn an_entry_takes_no_more_than_it_counts_for() {
        let mut cache = ValueCache::new(10_000);
        cache.insert(&id("a", 1), &long_value(1, 100));
        cache.insert(&id("a", 2), &long_value(2, 100));
        cache.remove(&id("a", 1));
        let room = cache.objects.peek(&id("a", 2).key).map(Vec::capacity);
        assert_eq!(room, Some(2));
        let links = 2 * size_of::<usize>();
        let slot = 2 * size_of::<usize>() + 1;
        let object = size_of::<(Key, Versions)>() + links + slot;
        let versions = 2 * size_of::<(CopyTag, Value)>();
        assert!((object + versions) as u64 <= ENTRY_BYTES);
    }

    #[test]
    fn one_value_of_an_object_goes_and_another_stays() {
        let mut cache = ValueCache::new(10_000);
        cache.insert(&id("a", 1), &long_value(1, 1000));
        cache.insert(&id("a", 2), &long_value(2, 2000));
        cache.remove(&id("a", 1));
        assert_eq!(cache.get(&id("a", 1)), None);
        assert_eq!(cache.get(&id("a", 2)), Some(long_value(2, 2000)));
        cache.remove(&id("a", 2));
        assert_eq!((cache.bytes, cache.objects.len()), (0, 0));
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
