//! What the drops of local copies tell of versions that are stable.

use std::collections::{BTreeMap, VecDeque};

use crate::key::Key;
use crate::propagation::STABLE_REMEMBERED;
use crate::record::Record;
use crate::timestamp::Timestamp;

/// Forgets as [`StableVersions::remember`](crate::propagation::StableVersions::remember)
/// does: whom it heard of first.
#[derive(Debug, Default)]
pub struct StableFold {
    newest: BTreeMap<Key, (Timestamp, Record)>,
    order: VecDeque<Key>,
}

impl StableFold {
    pub fn absorb(&mut self, record: Record) {
        let Record::LocalDropped { key, ts } = &record else {
            return;
        };
        let ts = *ts;
        match self.newest.get_mut(key) {
            Some(held) if held.0 >= ts => {}
            Some(held) => *held = (ts, record),
            None => {
                self.order.push_back(key.clone());
                self.newest.insert(key.clone(), (ts, record));
                if self.order.len() > STABLE_REMEMBERED
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.newest.remove(&oldest);
                }
            }
        }
    }

    pub fn records(&self) -> usize {
        self.order.len()
    }

    pub fn finish(mut self) -> Vec<Record> {
        let keys = self.order.into_iter();
        keys.filter_map(|key| self.newest.remove(&key))
            .map(|(_, record)| record)
            .collect()
    }
}
