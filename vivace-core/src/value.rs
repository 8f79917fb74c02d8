//! Values: the bytes that travel behind, in the bulk class.

use std::fmt;

use bytes::Bytes;

use crate::blob::Blob;

/// The longest value that any configuration may allow, in bytes (8 MiB): a
/// receiver never allocates more for one.
pub const VALUE_BYTES_MAX: usize = 8 << 20;

/// An object's contents at one timestamp. Cloning shares the bytes.
///
/// On the wire: `0` for a tombstone; `1` and a [`Blob`] for a value.
#[derive(Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Value {
    /// The object was deleted at this timestamp.
    Tombstone,
    /// What was written.
    Bytes(Blob),
}

impl Value {
    /// How many bytes of data it holds.
    pub fn len(&self) -> usize {
        match self {
            Self::Tombstone => 0,
            Self::Bytes(blob) => blob.0.len(),
        }
    }

    /// Whether it holds no data (a tombstone or an empty value).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(Blob(bytes))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tombstone => write!(f, "tombstone"),
            Self::Bytes(blob) => write!(f, "{blob:?}"),
        }
    }
}
