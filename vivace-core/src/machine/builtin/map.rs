//! A map of named fields.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::check_room;
use super::preview::preview;
use crate::blob::Blob;
use crate::machine::{Conflict, StateMachine};

/// The longest field name, in bytes.
pub const FIELD_BYTES_MAX: usize = 255;

/// Fields that change one by one while the whole is read at once.
///
/// Layout: the number of fields, then each as its name (length and bytes) and its
/// value as a [`Blob`], sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Map(BTreeMap<String, Blob>);

/// What a [`Map`] does. Each puts out whether the field had a value before.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Gives the field this value.
    Put {
        /// The field.
        field: String,
        /// Its new value.
        value: Blob,
    },
    /// Gives the field this value where it has none; a conflict names the one it has.
    PutIfAbsent {
        /// The field.
        field: String,
        /// Its first value.
        value: Blob,
    },
    /// Takes the field from `expected` to `new`; `None` stands for "no value" in
    /// both. A conflict names what was found instead.
    CompareAndSwap {
        /// The field.
        field: String,
        /// What must be there now.
        expected: Option<Blob>,
        /// What is there afterwards.
        new: Option<Blob>,
    },
    /// Takes the field away.
    Remove {
        /// The field.
        field: String,
    },
}

impl Map {
    /// The field's value, where it has one.
    pub fn get(&self, field: &str) -> Option<&Blob> {
        self.0.get(field)
    }

    /// The fields and their values, sorted by name.
    pub fn fields(&self) -> impl DoubleEndedIterator<Item = (&str, &Blob)> + ExactSizeIterator {
        self.0.iter().map(|(field, value)| (field.as_str(), value))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn put(&mut self, field: String, value: Blob) -> Result<bool, Conflict> {
        if field.is_empty() || field.len() > FIELD_BYTES_MAX {
            return Err(Conflict(format!(
                "the field's name has {} bytes; it must have 1 to {FIELD_BYTES_MAX}",
                field.len()
            )));
        }
        let other_bytes: usize = self
            .fields()
            .filter(|(name, _)| *name != field)
            .map(|(name, value)| name.len() + value.0.len())
            .sum();
        let entries = self.0.len() + usize::from(!self.0.contains_key(&field));
        check_room("map", entries, other_bytes + field.len() + value.0.len())?;
        Ok(self.0.insert(field, value).is_some())
    }

    fn compare_and_swap(
        &mut self,
        field: String,
        expected: Option<&Blob>,
        new: Option<Blob>,
    ) -> Result<bool, Conflict> {
        let found = self.0.get(&field);
        if found != expected {
            return Err(Conflict(format!(
                "field {field:?}: expected {}, found {}",
                preview(expected.map(|value| &value.0[..])),
                preview(found.map(|value| &value.0[..])),
            )));
        }
        match new {
            Some(value) => self.put(field, value),
            None => Ok(self.0.remove(&field).is_some()),
        }
    }
}

impl StateMachine for Map {
    const NAME: &'static str = "map";
    type Command = Command;
    type Output = bool;

    fn apply(&mut self, command: Command) -> Result<bool, Conflict> {
        match command {
            Command::Put { field, value } => self.put(field, value),
            Command::PutIfAbsent { field, value } => {
                self.compare_and_swap(field, None, Some(value))
            }
            Command::CompareAndSwap {
                field,
                expected,
                new,
            } => self.compare_and_swap(field, expected.as_ref(), new),
            Command::Remove { field } => Ok(self.0.remove(&field).is_some()),
        }
    }
}
