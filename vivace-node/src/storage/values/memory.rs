//! Values in memory: for demonstrations, and where state is not to outlive a process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vivace_core::Value;
use vivace_core::stored::ValueId;

use super::{ApplyError, Change, Lookup, Part, Saving, Usage, ValueStore};

/// Keeps values in a map.
#[derive(Default)]
pub struct MemoryStore {
    values: Mutex<BTreeMap<ValueId, Value>>,
}

impl MemoryStore {
    fn values(&self) -> MutexGuard<'_, BTreeMap<ValueId, Value>> {
        // The map is whole between any two of its operations.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ValueStore for MemoryStore {
    fn apply(&self, changes: &[Change]) -> Result<(), ApplyError> {
        let mut values = self.values();
        for change in changes {
            match change {
                Change::Store { id, value, .. } => {
                    values.insert(id.clone(), value.clone());
                }
                Change::Forget(id) => {
                    values.remove(id);
                }
            }
        }
        Ok(())
    }

    fn tidy(&self, _: Saving) -> Result<bool, ApplyError> {
        Ok(false)
    }

    fn get(&self, id: &ValueId) -> Lookup {
        match self.values().get(id) {
            Some(value) => Lookup::Found(value.clone()),
            None => Lookup::Missing,
        }
    }

    fn contains(&self, id: &ValueId) -> bool {
        self.values().contains_key(id)
    }

    fn parts(&self) -> Vec<Part> {
        vec![Part(0)]
    }

    fn ids(&self, _part: Part) -> Vec<ValueId> {
        self.values().keys().cloned().collect()
    }

    /// None: nothing of it outlives the process.
    fn records(&self, _part: Part) -> Vec<(ValueId, u32)> {
        Vec::new()
    }

    fn usage(&self) -> Usage {
        let values = self.values();
        Usage {
            values: values.len() as u64,
            bytes: values.values().map(|value| value.len() as u64).sum(),
            dead_bytes: 0,
        }
    }
}
