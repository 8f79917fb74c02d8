//! Keys: what an object is called.

use std::fmt;

use bincode::de::{Decode, Decoder, read::Reader};
use bincode::enc::{Encode, Encoder, write::Writer};
use bincode::error::{DecodeError, EncodeError};
use bytes::Bytes;

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

/// An object's name within its container: 1 to [`KEY_NAME_BYTES_MAX`] bytes.
///
/// On the wire: one length byte, then the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Bytes);

impl KeyName {
    /// The least of all names.
    pub(crate) const FIRST: Self = Self(Bytes::from_static(b"\0"));

    /// Checks the length.
    ///
    /// # Errors
    /// [`KeyError`] when the name is empty or too long.
    pub fn new(name: impl Into<Bytes>) -> Result<Self, KeyError> {
        let name = name.into();
        match name.len() {
            0 => Err(KeyError::Empty),
            bytes if bytes > KEY_NAME_BYTES_MAX => Err(KeyError::TooLong { bytes }),
            _ => Ok(Self(name)),
        }
    }

    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl Encode for KeyName {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.0.len() as u8).encode(encoder)?;
        encoder.writer().write(&self.0)
    }
}

impl<Context> Decode<Context> for KeyName {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let length = usize::from(u8::decode(decoder)?);
        decoder.claim_bytes_read(length)?;
        let mut buffer = [0; KEY_NAME_BYTES_MAX];
        decoder.reader().read(&mut buffer[..length])?;
        Self::new(Bytes::copy_from_slice(&buffer[..length]))
            .map_err(|_| DecodeError::Other("key: is empty"))
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
