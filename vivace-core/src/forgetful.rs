//! A map of objects that may forget any of them, so that it never outgrows its bound.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::key::Key;

/// Something about some objects. What is forgotten for want of room is the next in the
/// order of keys, round and round: no bookkeeping, and no key is forgotten twice before
/// all others were once.
#[derive(Clone, Debug)]
pub struct ForgetfulMap<V> {
    by_key: BTreeMap<Key, V>,
    /// What was forgotten last.
    hand: Option<Key>,
}

impl<V> Default for ForgetfulMap<V> {
    fn default() -> Self {
        Self {
            by_key: BTreeMap::new(),
            hand: None,
        }
    }
}

impl<V> ForgetfulMap<V> {
    /// How many objects are remembered.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// What is known of `key`.
    pub fn get(&self, key: &Key) -> Option<&V> {
        self.by_key.get(key)
    }

    /// What is known of `key`.
    pub fn get_mut(&mut self, key: &Key) -> Option<&mut V> {
        self.by_key.get_mut(key)
    }

    /// Remembers `value`; the caller sees to the bound by [`ForgetfulMap::forget_one`].
    pub fn insert(&mut self, key: &Key, value: V) {
        self.by_key.insert(key.clone(), value);
    }

    /// Forgets `key`; returns what was known of it.
    pub fn remove(&mut self, key: &Key) -> Option<V> {
        self.by_key.remove(key)
    }

    /// Makes room; returns what was forgotten, none where nothing is left.
    pub fn forget_one(&mut self) -> Option<V> {
        let from = self.hand.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.by_key.range((from, Bound::Unbounded)).next();
        let next = next.or_else(|| self.by_key.first_key_value());
        let key = next.map(|(key, _)| key.clone())?;
        let value = self.by_key.remove(&key);
        self.hand = Some(key);
        value
    }
}
