//! Which versions of an RMW object a replica keeps.

use std::collections::BTreeMap;
use std::ops::RangeBounds;

use crate::timestamp::Timestamp;

/// Versions by their exact timestamps: all that are no older than the chosen one, and,
/// while none of those is here, the newest that is older.
///
/// Differs from PROTOCOL's COMMIT, which drops every older version: a replica that hears
/// of a choice before it has the chosen value would drop its only one, and the loss of
/// the writer's site would take the whole object along and not its last change.
#[derive(Clone, Debug)]
pub struct Versions<T>(BTreeMap<Timestamp, T>);

impl<T> Default for Versions<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Versions<T> {
    /// Whether [`Versions::insert`] would keep `ts`.
    pub fn wants(&self, chosen: Timestamp, ts: Timestamp) -> bool {
        let newest = self.0.last_key_value().map(|(&newest, _)| newest);
        !self.0.contains_key(&ts) && (ts >= chosen || newest.is_none_or(|newest| newest < ts))
    }

    /// Takes a version in; returns those that it makes needless.
    pub fn insert(&mut self, chosen: Timestamp, ts: Timestamp, version: T) -> Vec<(Timestamp, T)> {
        self.0.insert(ts, version);
        self.choose(chosen)
    }

    /// Drops what `chosen` makes needless, and returns it.
    pub fn choose(&mut self, chosen: Timestamp) -> Vec<(Timestamp, T)> {
        let kept = match self.0.range(chosen..).next() {
            Some(_) => chosen,
            None => self
                .0
                .last_key_value()
                .map_or(chosen, |(&newest, _)| newest),
        };
        self.drop_below(kept)
    }

    /// Drops all versions below `ts`, and returns them.
    pub fn drop_below(&mut self, ts: Timestamp) -> Vec<(Timestamp, T)> {
        let kept = self.0.split_off(&ts);
        let dropped = std::mem::replace(&mut self.0, kept);
        dropped.into_iter().collect()
    }

    /// Whether this version is here.
    pub fn contains(&self, ts: Timestamp) -> bool {
        self.0.contains_key(&ts)
    }

    /// The oldest version in a range.
    pub fn oldest_in(&self, range: impl RangeBounds<Timestamp>) -> Option<(Timestamp, &T)> {
        self.0
            .range(range)
            .next()
            .map(|(&ts, version)| (ts, version))
    }

    /// The newest version.
    pub fn newest(&self) -> Option<(Timestamp, &T)> {
        self.0.last_key_value().map(|(&ts, version)| (ts, version))
    }

    /// All versions, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, &T)> {
        self.0.iter().map(|(&ts, version)| (ts, version))
    }

    /// Forgets one version.
    pub fn remove(&mut self, ts: Timestamp) {
        self.0.remove(&ts);
    }

    /// The timestamps of all versions, oldest first.
    #[cfg(feature = "sim")]
    pub fn timestamps(&self) -> impl Iterator<Item = Timestamp> {
        self.0.keys().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All versions, oldest first.
    pub fn into_values(self) -> impl Iterator<Item = T> {
        self.0.into_values()
    }
}
