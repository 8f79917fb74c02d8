//! Keys: what an object is called.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bincode::de::{Decode, Decoder, read::Reader};
use bincode::enc::{Encode, Encoder, write::Writer};
use bincode::error::{DecodeError, EncodeError};

use crate::bounded::Bounded;
use crate::identity::ContainerId;

/// The longest key name, in bytes. It travels in every priority request, so it
/// decides how many of those fit the priority class's share of a link.
pub const KEY_NAME_BYTES_MAX: usize = 255;

/// Why bytes are not a key name. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name has no bytes.
    #[error("key: is empty; a key has 1 to {KEY_NAME_BYTES_MAX} bytes")]
    Empty,
    /// The name is longer than [`KEY_NAME_BYTES_MAX`].
    #[error("key: has {bytes} bytes; a key has 1 to {KEY_NAME_BYTES_MAX} bytes")]
    TooLong {
        /// The length that was offered.
        bytes: usize,
    },
}

/// The longest name that is kept without an allocation.
const INLINE_BYTES_MAX: usize = 30;

/// An object's name within its container: 1 to [`KEY_NAME_BYTES_MAX`] bytes, ordered as
/// those are. Names of up to 30 bytes are compared and cloned without following a pointer.
///
/// On the wire: one length byte, then the bytes.
#[derive(Clone)]
pub struct KeyName(Name);

#[derive(Clone)]
enum Name {
    /// Zeros behind its `length` bytes.
    Inline {
        length: u8,
        bytes: [u8; INLINE_BYTES_MAX],
    },
    Shared(Arc<[u8]>),
}

impl KeyName {
    /// The least of all names.
    pub(crate) const FIRST: Self = Self(Name::Inline {
        length: 1,
        bytes: [0; INLINE_BYTES_MAX],
    });

    /// Checks the length.
    ///
    /// # Errors
    /// [`KeyError`] when the name is empty or too long.
    pub fn new(name: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let name = name.as_ref();
        match name.len() {
            0 => Err(KeyError::Empty),
            bytes if bytes > KEY_NAME_BYTES_MAX => Err(KeyError::TooLong { bytes }),
            bytes if bytes > INLINE_BYTES_MAX => Ok(Self(Name::Shared(name.into()))),
            length => {
                let mut bytes = [0; INLINE_BYTES_MAX];
                bytes[..length].copy_from_slice(name);
                let length = length as u8;
                Ok(Self(Name::Inline { length, bytes }))
            }
        }
    }

    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Name::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Name::Shared(bytes) => bytes,
        }
    }
}

/// Big-endian, so that they compare as the bytes do. The last overlaps the one before.
fn words(bytes: &[u8; INLINE_BYTES_MAX]) -> [u64; 4] {
    [0, 8, 16, INLINE_BYTES_MAX - 8].map(|at| {
        let word = bytes[at..at + 8].try_into().expect("eight bytes");
        u64::from_be_bytes(word)
    })
}

impl Ord for KeyName {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (
                Name::Inline { length, bytes },
                Name::Inline {
                    length: other_length,
                    bytes: other_bytes,
                },
            ) => words(bytes)
                .cmp(&words(other_bytes))
                .then(length.cmp(other_length)),
            _ => self.as_bytes().cmp(other.as_bytes()),
        }
    }
}

impl PartialOrd for KeyName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for KeyName {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for KeyName {}

impl Hash for KeyName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

impl Encode for KeyName {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let name = self.as_bytes();
        (name.len() as u8).encode(encoder)?;
        encoder.writer().write(name)
    }
}

impl<Context> Decode<Context> for KeyName {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let length = usize::from(u8::decode(decoder)?);
        decoder.claim_bytes_read(length)?;
        let mut buffer = [0; KEY_NAME_BYTES_MAX];
        decoder.reader().read(&mut buffer[..length])?;
        Self::new(&buffer[..length]).map_err(|_| DecodeError::Other("key: is empty"))
    }
}

impl<'de, Context> bincode::BorrowDecode<'de, Context> for KeyName {
    fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

impl Bounded for KeyName {
    const BYTES_MAX: usize = 1 + KEY_NAME_BYTES_MAX;
}

/// An object: a name in a container (Vivace §3.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct Key {
    /// The container whose kind and replica set the object has.
    pub container: ContainerId,
    /// The object's name in it.
    pub name: KeyName,
}

impl Bounded for Key {
    const BYTES_MAX: usize = ContainerId::BYTES_MAX + KeyName::BYTES_MAX;
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:?}", self.container.0, self.name)
    }
}

const _: () = assert!(size_of::<KeyName>() == 32, "a tag, a length, 30 bytes");
