//! Versions that a later record of the journal took the place of, while a start reads it.
//!
//! A crash may leave a record without its value: its write and the value's were under way
//! together, and neither was acknowledged. The version before it was, and its value is
//! still stored, for it is forgotten only when what replaces it is durable. So a replica
//! goes back to it, or a crash and the loss of another site would take it along.

use std::collections::BTreeMap;

use crate::key::Key;
use crate::stored::{StoredValue, ValueId};
use crate::timestamp::Timestamp;

/// By object, in the order of the journal.
#[derive(Clone, Debug, Default)]
pub struct Superseded(BTreeMap<Key, Vec<(Timestamp, StoredValue)>>);

impl Superseded {
    /// Remembers a version.
    pub fn add(&mut self, key: &Key, ts: Timestamp, value: StoredValue) {
        self.0.entry(key.clone()).or_default().push((ts, value));
    }

    /// Takes the versions of an object, the newest first, each with whether its value is
    /// here.
    pub fn take(
        &mut self,
        key: &Key,
        is_stored: &dyn Fn(&ValueId) -> bool,
    ) -> impl Iterator<Item = (Timestamp, StoredValue, bool)> {
        let mut versions = self.0.remove(key).unwrap_or_default();
        versions.sort_unstable_by_key(|&(ts, _)| std::cmp::Reverse(ts));
        versions.into_iter().map(move |(ts, value)| {
            let is_here = value == StoredValue::Tombstone || is_stored(&ValueId::version(key, ts));
            (ts, value, is_here)
        })
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
