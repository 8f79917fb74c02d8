//! Which versions of an RMW object a replica keeps.

use std::ops::{Bound, RangeBounds};

use crate::timestamp::Timestamp;

/// Versions by their exact timestamps: all that are no older than the chosen one, and,
/// while none of those is here, the newest that is older.
///
/// Differs from PROTOCOL's COMMIT, which drops every older version: a replica that hears
/// of a choice before it has the chosen value would drop its only one, and the loss of
/// the writer's site would take the whole object along and not its last change.
///
/// There is one, and while commands are under way a few: they stand in a row, oldest first.
#[derive(Clone, Debug)]
pub struct Versions<T>(Vec<(Timestamp, T)>);

impl<T> Default for Versions<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Versions<T> {
    /// How many are older than `ts`.
    fn older(&self, ts: Timestamp) -> usize {
        self.0.partition_point(|(each, _)| *each < ts)
    }

    /// Whether [`Versions::insert`] would keep `ts`.
    pub fn wants(&self, chosen: Timestamp, ts: Timestamp) -> bool {
        let newest = self.newest().map(|(newest, _)| newest);
        !self.contains(ts) && (ts >= chosen || newest.is_none_or(|newest| newest < ts))
    }

    /// Takes a version in; returns those that it makes needless.
    pub fn insert(&mut self, chosen: Timestamp, ts: Timestamp, version: T) -> Vec<(Timestamp, T)> {
        let at = self.older(ts);
        match self.0.get_mut(at).filter(|(there, _)| *there == ts) {
            Some((_, there)) => *there = version,
            None => self.0.insert(at, (ts, version)),
        }
        self.choose(chosen)
    }

    /// Drops what `chosen` makes needless, and returns it.
    pub fn choose(&mut self, chosen: Timestamp) -> Vec<(Timestamp, T)> {
        let kept = match self.newest() {
            Some((newest, _)) if newest < chosen => newest,
            _ => chosen,
        };
        self.drop_below(kept)
    }

    /// Drops all versions below `ts`, and returns them.
    pub fn drop_below(&mut self, ts: Timestamp) -> Vec<(Timestamp, T)> {
        self.0.drain(..self.older(ts)).collect()
    }

    /// Whether this version is here.
    pub fn contains(&self, ts: Timestamp) -> bool {
        self.0
            .get(self.older(ts))
            .is_some_and(|(there, _)| *there == ts)
    }

    /// The oldest version in a range.
    pub fn oldest_in(&self, range: impl RangeBounds<Timestamp>) -> Option<(Timestamp, &T)> {
        let at = match range.start_bound() {
            Bound::Included(&from) => self.older(from),
            Bound::Excluded(&after) => self.0.partition_point(|(each, _)| *each <= after),
            Bound::Unbounded => 0,
        };
        let (ts, version) = self.0.get(at)?;
        range.contains(ts).then_some((*ts, version))
    }

    /// The newest version.
    pub fn newest(&self) -> Option<(Timestamp, &T)> {
        self.0.last().map(|(ts, version)| (*ts, version))
    }

    /// All versions, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, &T)> {
        self.0.iter().map(|(ts, version)| (*ts, version))
    }

    /// Forgets one version.
    pub fn remove(&mut self, ts: Timestamp) {
        self.0.retain(|(each, _)| *each != ts);
    }

    /// The timestamps of all versions, oldest first.
    #[cfg(feature = "sim")]
    pub fn timestamps(&self) -> impl Iterator<Item = Timestamp> {
        self.0.iter().map(|(ts, _)| *ts)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All versions, oldest first.
    pub fn into_values(self) -> impl Iterator<Item = T> {
        self.0.into_iter().map(|(_, version)| version)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn ts(time: u64) -> Timestamp {
        Timestamp {
            time,
            ..Timestamp::ZERO
        }
    }

    /// What is kept, by the words of [`Versions`] alone.
    fn kept(all: &BTreeMap<Timestamp, u64>, chosen: Timestamp) -> BTreeMap<Timestamp, u64> {
        let newest_older = all.range(..chosen).next_back();
        let as_new: BTreeMap<_, _> = all.range(chosen..).map(|(&ts, &v)| (ts, v)).collect();
        match (as_new.is_empty(), newest_older) {
            (true, Some((&ts, &version))) => BTreeMap::from([(ts, version)]),
            _ => as_new,
        }
    }

    #[test]
    fn what_is_kept_is_what_the_words_say() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        for _ in 0..500 {
            let (mut versions, mut model) = (Versions::default(), BTreeMap::new());
            let mut chosen = Timestamp::ZERO;
            for step in 0..30 {
                let at = ts(random.random_range(1..12));
                match random.random_range(0..3) {
                    0 => chosen = chosen.max(at),
                    1 if versions.wants(chosen, at) => {
                        model.insert(at, step);
                        let older = versions.insert(chosen, at, step);
                        assert!(older.iter().all(|(ts, _)| *ts < at), "{older:?}");
                    }
                    1 => {
                        let mut with = model.clone();
                        let is_new = with.insert(at, step).is_none();
                        let is_kept = kept(&with, chosen).contains_key(&at);
                        assert!(!is_new || !is_kept, "{at} is wanted");
                    }
                    _ => {
                        versions.remove(at);
                        model.remove(&at);
                    }
                }
                let before = model.len();
                model = kept(&model, chosen);
                let dropped = versions.choose(chosen);
                assert!(dropped.len() <= before);
                let here: Vec<_> = versions.iter().map(|(ts, &v)| (ts, v)).collect();
                assert_eq!(here, model.clone().into_iter().collect::<Vec<_>>());
                assert_eq!(versions.contains(at), model.contains_key(&at));
                let below = ts(random.random_range(1..12));
                if at < below {
                    let oldest = model.range(at..below).next();
                    let oldest = oldest.map(|(&ts, version)| (ts, version));
                    assert_eq!(versions.oldest_in(at..below), oldest);
                }
                let newest = model.last_key_value().map(|(&ts, version)| (ts, version));
                assert_eq!((versions.newest(), versions.len()), (newest, model.len()));
            }
        }
    }
}
