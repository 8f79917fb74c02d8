//! Where a node's durable records go.

pub mod identity;
mod journal_disk;
mod log;
mod memory;
#[cfg(test)]
mod test_values;
pub mod values;

use std::path::Path;

use vivace_core::record::Record;
use vivace_core::stored::ValueId;
use vivace_core::{Incarnation, Lsn, NodeId, Value};

pub use journal_disk::{JournalDisk, JournalFile};
pub use log::{LogError, LogStorage};
pub use memory::MemoryStorage;

/// Says that the log is durable up to a position. Called from any thread.
pub type OnDurable = Box<dyn Fn(Lsn) + Send + Sync>;

/// Something to make durable.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Entry {
    /// A change of the protocol's state.
    Record(Record),
    /// A value.
    Value(ValueId, Value),
    /// A value that is not needed any more; it needs no position of its own.
    Forget(ValueId),
}

/// Takes entries in order and says when they are durable.
pub trait Storage: Send {
    /// Adds an entry behind all earlier ones; nothing is promised before
    /// [`Storage::flush`].
    fn append(&mut self, lsn: Lsn, entry: Entry);

    /// Removes a value once all that was appended is durable.
    fn forget(&mut self, id: ValueId);

    /// A value that was appended, in this life or an earlier one.
    fn load(&self, id: &ValueId) -> Option<Value>;

    /// Begins to make all that was appended durable. Doesn't block.
    fn flush(&mut self);

    /// Bytes appended and not yet durable.
    fn pending_bytes(&self) -> u64;

    /// `memory` or `log`, for `status`.
    fn name(&self) -> &'static str;
}

/// What an opened storage brings along from earlier lives.
pub struct Opened {
    /// The storage.
    pub storage: Box<dyn Storage>,
    /// This life of the node.
    pub incarnation: Incarnation,
    /// The durable records of earlier ones, in order.
    pub records: Vec<Record>,
}

/// Opens a node's log, or makes it.
///
/// # Errors
/// [`LogError`]; what the log holds was not changed.
pub fn open_log(
    directory: &Path,
    cluster: &str,
    node: NodeId,
    on_durable: OnDurable,
) -> Result<Opened, LogError> {
    LogStorage::open(directory, cluster, node, on_durable)
}

/// A storage that forgets all when the process ends. Its life number is drawn by
/// lot: two lives of one node share it once in 65,535 times.
pub fn open_memory(on_durable: OnDurable) -> Opened {
    Opened {
        storage: Box::new(MemoryStorage::new(on_durable)),
        incarnation: Incarnation(rand::random_range(1..=u16::MAX)),
        records: Vec::new(),
    }
}
