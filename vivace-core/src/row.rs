//! A map of few entries: they stand in a row, sorted.

use std::collections::{VecDeque, vec_deque};
use std::iter::Map;
use std::ops::{Bound, Range, RangeBounds};

/// A sorted map for one entry, mostly, and seldom more than a few: what is under way for an
/// object, by version, or of a version, by node. It is used as a `BTreeMap` is.
///
/// A tree takes room for eleven entries with the first one, 1 to 4 KB for the structures here,
/// which come and go with every operation. New entries mostly are the largest and old ones go
/// first, so both ends are cheap; in the middle, an entry costs as many moves as there are to
/// the nearer end.
#[derive(Clone, Debug)]
pub struct Row<K, V>(VecDeque<(K, V)>);

type Of<'a, K, V> = fn(&'a (K, V)) -> (&'a K, &'a V);
type OfMut<'a, K, V> = fn(&'a mut (K, V)) -> (&'a K, &'a mut V);

impl<K, V> Default for Row<K, V> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<K: Ord, V> Row<K, V> {
    /// An empty one that takes in so many at no cost of growing.
    pub fn with_room(entries: usize) -> Self {
        Self(VecDeque::with_capacity(entries))
    }

    /// Where `key` is, or would be.
    fn find(&self, key: &K) -> Result<usize, usize> {
        // The largest is asked for most.
        match self.0.back() {
            None => Err(0),
            Some((last, _)) if last < key => Err(self.0.len()),
            Some((last, _)) if last == key => Ok(self.0.len() - 1),
            Some(_) => self.0.binary_search_by(|(each, _)| each.cmp(key)),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is one of `key`.
    pub fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    /// The one of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        let at = self.find(key).ok()?;
        Some(&self.0[at].1)
    }

    /// The one of `key`, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        Some(&mut self.0[at].1)
    }

    /// Puts one in; returns the one that had its place.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.insert_at(at, key, value);
                None
            }
        }
    }

    /// The one of `key`, which is made where there is none.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let at = match self.find(&key) {
            Ok(at) => at,
            Err(at) => {
                self.insert_at(at, key, make());
                at
            }
        };
        &mut self.0[at].1
    }

    fn insert_at(&mut self, at: usize, key: K, value: V) {
        if self.0.capacity() == 0 {
            // Unasked, the first would take room for four.
            self.0.reserve_exact(1);
        }
        self.0.insert(at, (key, value));
    }

    /// Takes the one of `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.find(key).ok()?;
        self.0.remove(at).map(|(_, value)| value)
    }

    /// All, from the smallest key on.
    pub fn iter(&self) -> <&Self as IntoIterator>::IntoIter {
        self.into_iter()
    }

    fn places(&self, range: impl RangeBounds<K>) -> Range<usize> {
        let at = |key: &K| self.0.partition_point(|(each, _)| each < key);
        let behind = |key: &K| self.0.partition_point(|(each, _)| each <= key);
        let first = match range.start_bound() {
            Bound::Included(first) => at(first),
            Bound::Excluded(before) => behind(before),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => behind(last),
            Bound::Excluded(end) => at(end),
            Bound::Unbounded => self.0.len(),
        };
        first..end.max(first)
    }

    /// Those with keys in `range`, from the smallest key on.
    pub fn range(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let places = self.places(range);
        self.0.range(places).map(|(key, value)| (key, value))
    }

    /// Those with keys in `range`, to be changed.
    pub fn range_mut(
        &mut self,
        range: impl RangeBounds<K>,
    ) -> impl DoubleEndedIterator<Item = (&K, &mut V)> {
        let places = self.places(range);
        self.0.range_mut(places).map(|(key, value)| (&*key, value))
    }

    /// All keys, from the smallest on.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// All values, from that of the smallest key on.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// All values, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// All values, taken out.
    pub fn into_values(self) -> impl DoubleEndedIterator<Item = V> {
        self.0.into_iter().map(|(_, value)| value)
    }

    /// Keeps those alone that `keeps` says, from the smallest key on.
    pub fn retain(&mut self, mut keeps: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(key, value)| keeps(key, value));
    }
}

impl<K, V> IntoIterator for Row<K, V> {
    type Item = (K, V);
    type IntoIter = vec_deque::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, K, V> IntoIterator for &'a Row<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Map<vec_deque::Iter<'a, (K, V)>, Of<'a, K, V>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl<'a, K, V> IntoIterator for &'a mut Row<K, V> {
    type Item = (&'a K, &'a mut V);
    type IntoIter = Map<vec_deque::IterMut<'a, (K, V)>, OfMut<'a, K, V>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_row_is_a_sorted_map(
            steps in prop::collection::vec((0..4_u8, 0..12_u16, 0..12_u16), 1..60),
        ) {
            let mut row = Row::default();
            let mut map = BTreeMap::new();
            for (number, (kind, key, other)) in steps.into_iter().enumerate() {
                match kind {
                    0 => prop_assert_eq!(row.insert(key, number), map.insert(key, number)),
                    1 => prop_assert_eq!(row.remove(&key), map.remove(&key)),
                    2 => {
                        let there = *row.get_or_insert_with(key, || number);
                        prop_assert_eq!(there, *map.entry(key).or_insert(number));
                    }
                    _ => {
                        row.retain(|each, _| *each != key);
                        map.retain(|each, _| *each != key);
                    }
                }
                prop_assert_eq!(row.len(), map.len());
                prop_assert_eq!(row.is_empty(), map.is_empty());
                prop_assert_eq!(row.get(&key), map.get(&key));
                prop_assert_eq!(row.get_mut(&key), map.get_mut(&key));
                prop_assert_eq!(row.contains_key(&key), map.contains_key(&key));
                prop_assert!(row.iter().eq(map.iter()));
                prop_assert!(row.range(key..).rev().eq(map.range(key..).rev()));
                prop_assert!(row.range(..=key).eq(map.range(..=key)));
                prop_assert!(row.range_mut(key..).eq(map.range_mut(key..)));
                if key < other {
                    prop_assert!(row.range(key..other).eq(map.range(key..other)));
                }
                prop_assert_eq!(row.range(key..key).count(), 0);
            }
        }
    }
}
