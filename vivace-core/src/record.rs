//! What must survive a restart (DESIGN §6), in the order in which it happened.

use bincode::{Decode, Encode};

use crate::cluster::Kind;
use crate::key::Key;
use crate::message::{CopyTag, WriteId};
use crate::stored::StoredValue;
use crate::timestamp::Timestamp;

/// One durable change of a node's state. Replaying all of them in order restores it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Record {
    /// No timestamp above `time` was made before this record was durable.
    ClockHighWater {
        /// Nanoseconds since the Unix epoch.
        time: u64,
    },
    /// RW: the replica knows this timestamp.
    Known {
        /// The object.
        key: Key,
        /// The timestamp.
        ts: Timestamp,
    },
    /// RW: the replica's complete version (and known timestamp, if newer).
    Complete {
        /// The object.
        key: Key,
        /// Its timestamp.
        ts: Timestamp,
        /// What is kept of its value.
        value: StoredValue,
    },
    /// RMW: the replica refuses smaller timestamps.
    Promised {
        /// The object.
        key: Key,
        /// The promise.
        ts: Timestamp,
    },
    /// RMW: the replica accepted this version.
    Accepted {
        /// The object.
        key: Key,
        /// The version.
        ts: Timestamp,
    },
    /// RMW: this version is known to be chosen.
    Chosen {
        /// The object.
        key: Key,
        /// The version.
        ts: Timestamp,
    },
    /// RMW: the replica holds this version, accepted or not.
    Version {
        /// The object.
        key: Key,
        /// The version.
        ts: Timestamp,
        /// What is kept of its value.
        value: StoredValue,
    },
    /// Alg. 2: the replica accepted this value.
    LanAccepted {
        /// The object.
        key: Key,
        /// Its timestamp.
        ts: Timestamp,
        /// What is kept of its value.
        value: StoredValue,
    },
    /// The local set's copy of a value on its way out.
    LocalCopy {
        /// The object.
        key: Key,
        /// Its timestamp, or whose it is.
        tag: CopyTag,
        /// What is kept of its value.
        value: StoredValue,
    },
    /// The unbound copy of `write` has this timestamp.
    LocalBound {
        /// The object.
        key: Key,
        /// The write.
        write: WriteId,
        /// Its timestamp.
        ts: Timestamp,
    },
    /// The copy of `write` can't be bound any more.
    LocalAborted {
        /// The object.
        key: Key,
        /// The write.
        write: WriteId,
    },
    /// The unbound copy of an aborted write is gone.
    LocalGivenUp {
        /// The object.
        key: Key,
        /// The write.
        write: WriteId,
    },
    /// The copy of this version is no longer needed.
    LocalDropped {
        /// The object.
        key: Key,
        /// The version.
        ts: Timestamp,
    },
    /// A crash left the record of this version without its value: the replica knows of it,
    /// and went back to what the records behind this one say that it holds.
    ValueLost {
        /// The object.
        key: Key,
        /// The version.
        ts: Timestamp,
    },
}

impl Record {
    /// The kinds of object whose nodes write such a record.
    pub fn kinds(&self) -> &'static [Kind] {
        match self {
            Self::ClockHighWater { .. } | Self::ValueLost { .. } => {
                &[Kind::Rw, Kind::Rmw, Kind::Abd, Kind::LanRmw]
            }
            Self::Known { .. } | Self::Complete { .. } => &[Kind::Rw, Kind::Abd],
            Self::Promised { .. } => &[Kind::Rmw, Kind::LanRmw],
            Self::Accepted { .. } | Self::Chosen { .. } | Self::Version { .. } => &[Kind::Rmw],
            Self::LanAccepted { .. } => &[Kind::LanRmw],
            Self::LocalCopy { .. }
            | Self::LocalBound { .. }
            | Self::LocalAborted { .. }
            | Self::LocalGivenUp { .. }
            | Self::LocalDropped { .. } => &[Kind::Rw, Kind::Rmw],
        }
    }

    /// The object that it tells of; none where it tells of the node alone.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::ClockHighWater { .. } => None,
            Self::Known { key, .. }
            | Self::Complete { key, .. }
            | Self::Promised { key, .. }
            | Self::Accepted { key, .. }
            | Self::Chosen { key, .. }
            | Self::Version { key, .. }
            | Self::LanAccepted { key, .. }
            | Self::LocalCopy { key, .. }
            | Self::LocalBound { key, .. }
            | Self::LocalAborted { key, .. }
            | Self::LocalGivenUp { key, .. }
            | Self::LocalDropped { key, .. }
            | Self::ValueLost { key, .. } => Some(key),
        }
    }
}
