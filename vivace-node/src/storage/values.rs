//! Values on the disk, by id: what the journal's records only name.
//!
//! A value may be lost or damaged without harm beyond the time to fetch it from the
//! other replicas: the protocol knows the state "known, value missing". So a store
//! answers [`Lookup::Missing`] or [`Lookup::Damaged`] and never serves what fails its
//! checksum; what must never be lost is in the journal.
//!
//! [`ValueLog`] writes every value once, to the end of a file, with one sync for a whole
//! group. Measured against fjall 3.1.13 (docs/operations.md has the table): half of the
//! device's bytes, and a torn last write, a full disk and a damaged block each stay what
//! they are, where an LSM tree's own journal refuses to open or stops taking writes.

mod compaction;
mod frame;
mod index;
mod listing;
mod memory;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;
mod value_log;

use std::fmt;

use vivace_core::Value;
use vivace_core::stored::ValueId;

pub use memory::MemoryStore;
pub use recovery::Found;
pub use value_log::{OpenError, Recovered, ValueLog};

/// A change of a value store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Keep this value.
    Store {
        /// Its name. One id never has two contents.
        id: ValueId,
        /// The value.
        value: Value,
        /// It is a record of itself ([`ValueStore::records`]).
        is_record: bool,
    },
    /// Keep it no longer.
    Forget(ValueId),
}

/// The answer to a question for a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It is here, and it is the one that was stored under this id.
    Found(Value),
    /// It is not here.
    Missing,
    /// Something is here, but not what was stored: where, and what is wrong.
    Damaged(String),
}

/// Why changes were not made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// The disk is full. Nothing was promised; the same changes may be applied again
    /// when there is space.
    NoSpace(String),
    /// Nobody knows what is on the disk: only a restart that reads it can tell.
    Fatal(String),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace(why) | Self::Fatal(why) => f.write_str(why),
        }
    }
}

/// A part of a store whose ids fit into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part(pub u32);

/// What a store takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Values.
    pub values: u64,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Of these, bytes of values that nobody needs any more.
    pub dead_bytes: u64,
}

impl Usage {
    /// Bytes of values that are needed.
    pub fn needed_bytes(self) -> u64 {
        self.bytes.saturating_sub(self.dead_bytes)
    }
}

/// What giving space back is to save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saving {
    /// Work, as long as no more than [`DEAD_BYTES`], or than is needed, is dead: what is
    /// overwritten again and again dies by itself, and need not be moved first.
    Work,
    /// Space.
    Space,
    /// All space, that of files kept for reuse too.
    All,
}

/// So many bytes of forgotten values may stay while others are written.
pub const DEAD_BYTES: u64 = 256 << 20;

/// Keeps values by id. Written from one thread, read from any.
pub trait ValueStore: Send + Sync {
    /// Applies `changes` in order and makes them durable with one sync. What was stored
    /// can be read at once; forgetting is not made durable. Blocks.
    ///
    /// # Errors
    /// [`ApplyError`].
    fn apply(&self, changes: &[Change]) -> Result<(), ApplyError>;

    /// Gives back some of the space of forgotten values; whether there is more to do, as far
    /// as `saving` goes.
    /// Blocks for a few milliseconds of work, by the thread that calls
    /// [`ValueStore::apply`].
    ///
    /// # Errors
    /// [`ApplyError`].
    fn tidy(&self, saving: Saving) -> Result<bool, ApplyError>;

    /// The value of `id`. Blocks.
    fn get(&self, id: &ValueId) -> Lookup;

    /// Whether a value of `id` is here, as far as is known without reading it.
    fn contains(&self, id: &ValueId) -> bool;

    /// All parts, of now.
    fn parts(&self) -> Vec<Part>;

    /// The ids of the values in `part`; of one that is gone, none. Blocks.
    fn ids(&self, part: Part) -> Vec<ValueId>;

    /// The values in `part` that are records of themselves, with their bytes; perhaps some that
    /// were, before they were stored once more. Blocks.
    fn records(&self, part: Part) -> Vec<(ValueId, u32)>;

    /// What it takes.
    fn usage(&self) -> Usage;
}
