//! Whose turn it is when there is room on the way again.

use std::collections::{BTreeSet, VecDeque};

use crate::key::Key;

/// Keys in order of arrival, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct WaitingKeys {
    queue: VecDeque<Key>,
    members: BTreeSet<Key>,
}

impl WaitingKeys {
    pub fn push(&mut self, key: &Key) {
        if self.members.insert(key.clone()) {
            self.queue.push_back(key.clone());
        }
    }

    pub fn pop(&mut self) -> Option<Key> {
        let key = self.queue.pop_front()?;
        self.members.remove(&key);
        Some(key)
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn contains(&self, key: &Key) -> bool {
        self.members.contains(key)
    }

    /// Gives back the place of a key that was taken and has just been added again.
    pub fn move_to_front(&mut self, key: &Key) {
        if self.queue.back() == Some(key) {
            self.queue.rotate_right(1);
        }
    }
}
