//! What is known to be at a majority of replicas, as far as it is remembered.

use std::collections::{BTreeMap, VecDeque};

use crate::key::Key;
use crate::timestamp::Timestamp;

/// Keys whose newest stable version is remembered, so that a member that missed
/// STABLE hears it when it asks.
pub const STABLE_REMEMBERED: usize = 4096;

/// Keys with their newest stable versions, the longest remembered first.
#[derive(Clone, Debug, Default)]
pub struct StableVersions {
    newest: BTreeMap<Key, Timestamp>,
    order: VecDeque<Key>,
}

impl StableVersions {
    /// Whether a majority of replicas is known to hold this version or one that
    /// stands for it. False where it was long ago.
    pub fn contains(&self, key: &Key, ts: Timestamp) -> bool {
        self.newest.get(key).is_some_and(|&stable| stable >= ts)
    }

    /// What is known as stable, as text: equal for two that recovered the same.
    #[cfg(feature = "sim")]
    pub fn remembered(&self) -> String {
        format!("{:?} in order {:?}", self.newest, self.order)
    }

    /// A majority of replicas holds this version or one that stands for it.
    pub fn remember(&mut self, key: &Key, ts: Timestamp) {
        let newest = self.newest.entry(key.clone()).or_insert_with(|| {
            self.order.push_back(key.clone());
            ts
        });
        *newest = (*newest).max(ts);
        if self.order.len() > STABLE_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.newest.remove(&oldest);
        }
    }
}
