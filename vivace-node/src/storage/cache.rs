//! Values that were stored or loaded lately, so that a read of a hot key and the send
//! right after a store never wait for the disk.
//!
//! A value that nobody has to send any more ([`ValueCache::renew`]) comes in only where its
//! object's was asked for: where three nodes shared two processors, keeping all of them took a
//! tenth of a write.

use std::num::NonZeroUsize;
use std::{iter, mem};

use lru::LruCache;
use vivace_core::message::CopyTag;
use vivace_core::stored::ValueId;
use vivace_core::{Key, Value};

/// What a value takes beside its own bytes, at most: its object's name and links, a slot of the
/// table, its tag.
const ENTRY_BYTES: u64 = 256;

/// Values of one object: what nobody takes out (it was forgotten while it was being loaded) must
/// not stay as long as the object is used.
const VERSIONS_MAX: usize = 4;

/// Most objects, however many bytes there are.
const OBJECTS_MAX: usize = 1 << 24;

/// An object's values: mostly one, which takes no room of its own, and another while that replaces
/// it. The `newest` is the one that was put in last.
#[derive(Debug)]
struct Versions {
    newest: (CopyTag, Value),
    others: Vec<(CopyTag, Value)>,
}

impl Versions {
    fn of(tag: CopyTag, value: Value) -> Self {
        Self {
            newest: (tag, value),
            others: Vec::new(),
        }
    }

    fn get(&self, tag: CopyTag) -> Option<&Value> {
        let mut all = iter::once(&self.newest).chain(&self.others);
        all.find(|(each, _)| *each == tag).map(|(_, value)| value)
    }

    /// Puts one in; returns the one that goes for it: of that tag, or the oldest of many.
    fn insert(&mut self, tag: CopyTag, value: Value) -> Option<Value> {
        let mut all = iter::once(&mut self.newest).chain(&mut self.others);
        if let Some((_, stored)) = all.find(|(each, _)| *each == tag) {
            return Some(mem::replace(stored, value));
        }
        let oldest = (self.others.len() + 1 == VERSIONS_MAX).then(|| self.others.remove(0).1);
        // Unasked, the first would take room for four.
        self.others.reserve_exact(1);
        self.others
            .push(mem::replace(&mut self.newest, (tag, value)));
        oldest
    }

    /// Takes the one of `tag` out, where there are others.
    fn remove_one_of_several(&mut self, tag: CopyTag) -> Option<Value> {
        let value = if self.newest.0 == tag {
            let (_, removed) = mem::replace(&mut self.newest, self.others.pop()?);
            removed
        } else {
            let at = self.others.iter().position(|(each, _)| *each == tag)?;
            self.others.remove(at).1
        };
        if self.others.is_empty() {
            self.others = Vec::new();
        }
        Some(value)
    }

    /// Takes the oldest out, where there are others.
    fn remove_oldest_of_several(&mut self) -> Option<Value> {
        let (oldest, _) = self.others.first()?;
        self.remove_one_of_several(*oldest)
    }

    fn weight(&self) -> u64 {
        let all = iter::once(&self.newest).chain(&self.others);
        all.map(|(_, value)| weight(value)).sum()
    }
}

/// Values by id, the oldest of the least lately used object the first to go.
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

    /// Puts a value in, and others out; its object counts as used. One that alone is too long
    /// stays out.
    pub fn insert(&mut self, id: &ValueId, value: &Value) {
        if weight(value) > self.bytes_max {
            return self.remove(id);
        }
        if let Some(versions) = self.objects.get_mut(&id.key) {
            let earlier = versions.insert(id.tag, value.clone());
            return self.took_in(value, earlier.as_ref().map_or(0, weight));
        }
        let versions = Versions::of(id.tag, value.clone());
        // The least lately used object, where there are too many.
        let oldest = self.objects.push(id.key.clone(), versions);
        self.took_in(value, oldest.map_or(0, |(_, oldest)| oldest.weight()));
    }

    /// Puts a value in where others of its object are, which does not count as used for that.
    pub fn renew(&mut self, id: &ValueId, value: &Value) {
        if weight(value) > self.bytes_max {
            return self.remove(id);
        }
        if let Some(versions) = self.objects.peek_mut(&id.key) {
            let earlier = versions.insert(id.tag, value.clone());
            self.took_in(value, earlier.as_ref().map_or(0, weight));
        }
    }

    /// Counts a value that was put in, and `gone` bytes that went for it.
    fn took_in(&mut self, value: &Value, gone: u64) {
        self.bytes += weight(value);
        self.bytes -= gone;
        while self.bytes > self.bytes_max {
            self.bytes -= self.remove_oldest();
        }
    }

    /// What the oldest value of the least lately used object weighed, which is gone.
    fn remove_oldest(&mut self) -> u64 {
        let (_, versions) = self.objects.iter_mut().next_back().expect("it holds bytes");
        if let Some(value) = versions.remove_oldest_of_several() {
            return weight(&value);
        }
        let (_, last) = self.objects.pop_lru().expect("it was there just now");
        last.weight()
    }

    /// The value, whose object counts as used.
    pub fn get(&mut self, id: &ValueId) -> Option<Value> {
        self.objects.get(&id.key)?.get(id.tag).cloned()
    }

    /// Lets a value go.
    pub fn remove(&mut self, id: &ValueId) {
        let Some(versions) = self.objects.peek_mut(&id.key) else {
            return;
        };
        if let Some(value) = versions.remove_one_of_several(id.tag) {
            self.bytes -= weight(&value);
        } else if versions.newest.0 == id.tag
            && let Some(versions) = self.objects.pop(&id.key)
        {
            self.bytes -= versions.weight();
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

        // Of an object's values the oldest.
        cache.insert(&id("e", 1), &long_value(5, 1000));
        assert_eq!(kept(&mut cache), [false, true, false, true, true]);
        assert_eq!(cache.bytes, 4 * (1000 + ENTRY_BYTES));
    }

    #[test]
    fn a_value_that_nobody_sends_comes_in_where_its_object_is_read() {
        let mut cache = ValueCache::new(3 * (1000 + ENTRY_BYTES));
        let ids = [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("c", 1)].map(|(k, time)| id(k, time));
        cache.renew(&ids[0], &long_value(1, 1000));
        assert_eq!((cache.get(&ids[0]), cache.bytes), (None, 0));

        cache.insert(&ids[0], &long_value(1, 1000));
        cache.insert(&ids[1], &long_value(1, 1000));
        cache.renew(&ids[2], &long_value(2, 1000));
        let kept = |cache: &mut ValueCache| {
            ids.clone().map(|id| {
                cache
                    .objects
                    .peek(&id.key)
                    .is_some_and(|of| of.get(id.tag).is_some())
            })
        };
        assert_eq!(kept(&mut cache), [true, true, true, false, false]);
        // The first object was written last, and read least lately.
        cache.insert(&ids[4], &long_value(1, 1000));
        assert_eq!(kept(&mut cache), [false, true, true, false, true]);
        cache.renew(&ids[3], &long_value(2, 1000));
        assert_eq!(kept(&mut cache), [false, true, false, true, true]);
        assert_eq!(cache.bytes, 3 * (1000 + ENTRY_BYTES));
        cache.renew(&ids[3], &long_value(2, 10_000));
        assert_eq!(kept(&mut cache), [false, true, false, false, true]);
    }

    #[test]
    fn the_last_value_of_an_object_that_fills_it_alone_stays() {
        let mut cache = ValueCache::new(2 * (1000 + ENTRY_BYTES));
        cache.insert(&id("b", 1), &long_value(1, 1000));
        for time in 1..=3 {
            cache.insert(&id("a", time), &long_value(time, 1000));
        }
        let here = [("b", 1), ("a", 1), ("a", 2), ("a", 3)]
            .map(|(key, time)| cache.get(&id(key, time)).is_some());
        assert_eq!(here, [false, false, true, true]);
        assert_eq!(cache.bytes, 2 * (1000 + ENTRY_BYTES));
    }

    #[test]
    fn an_object_keeps_few_values() {
        let mut cache = ValueCache::new(100_000);
        for time in 1..=6 {
            cache.insert(&id("a", time), &long_value(time, 1000));
        }
        let kept = (1..=6).filter(|&time| cache.get(&id("a", time)).is_some());
        assert_eq!(kept.collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!(cache.bytes, VERSIONS_MAX as u64 * (1000 + ENTRY_BYTES));
    }

    #[test]
    fn an_entry_takes_no_more_than_it_counts_for() {
        let mut cache = ValueCache::new(10_000);
        cache.insert(&id("a", 1), &long_value(1, 100));
        let links = 2 * size_of::<usize>();
        let slot = 2 * size_of::<usize>() + 1;
        let entry = size_of::<(Key, Versions)>() + links + slot;
        assert!(entry as u64 <= ENTRY_BYTES);
        cache.insert(&id("a", 2), &long_value(2, 100));
        cache.remove(&id("a", 1));
        let others = cache.objects.peek(&id("a", 2).key);
        assert_eq!(others.map(|versions| versions.others.capacity()), Some(0));
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
