//! The one place where messages become bytes and bytes become messages.
//!
//! Layout: bincode 2's standard configuration (little-endian, variable-length
//! integers, one byte for an enum's variant), with the hand-made layouts that
//! [`Timestamp`](crate::Timestamp), [`KeyName`](crate::KeyName) and
//! [`Value`](crate::Value) document. `tests/golden.rs` holds the bytes.

use bincode::config::{Configuration, LittleEndian, Varint, standard};
use bincode::enc::EncoderImpl;
use bincode::enc::write::SizeWriter;
use bincode::{BorrowDecode, Decode, Encode};

/// The longest encoding that any message may have: the largest value, plus 4 KiB
/// for all that stands around it.
pub const MESSAGE_BYTES_MAX: usize = crate::value::VALUE_BYTES_MAX + 4096;

/// Why bytes are not a message. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Longer than the limit that the caller set.
    #[error("message has {bytes} bytes; the limit is {limit}")]
    TooLong {
        /// The length that arrived.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Truncated, or not of this message's layout.
    #[error("message is malformed: {0}")]
    Malformed(bincode::error::DecodeError),
    /// A message was read, and bytes were left over.
    #[error("message is followed by {extra} bytes that do not belong to it")]
    Trailing {
        /// How many bytes are left over.
        extra: usize,
    },
}

fn layout() -> Configuration<LittleEndian, Varint, bincode::config::Limit<MESSAGE_BYTES_MAX>> {
    standard().with_limit::<MESSAGE_BYTES_MAX>()
}

/// The message's bytes.
///
/// # Panics
/// Never for the types of this crate: their encoders do not fail.
pub fn encode<M: Encode>(message: &M) -> Vec<u8> {
    bincode::encode_to_vec(message, layout()).expect("encoding into a Vec does not fail")
}

/// Appends the message's bytes.
///
/// # Panics
/// Never, as [`encode`].
pub(crate) fn encode_into<M: Encode>(message: &M, into: &mut Vec<u8>) {
    bincode::encode_into_std_write(message, into, layout())
        .expect("writing to a Vec does not fail");
}

/// How many bytes [`encode`] makes of it.
pub(crate) fn encoded_bytes<M: Encode>(message: &M) -> usize {
    let mut encoder = EncoderImpl::new(SizeWriter::default(), layout());
    message
        .encode(&mut encoder)
        .expect("counting bytes does not fail");
    encoder.into_writer().bytes_written
}

/// Reads the message that `bytes` begins with, and how many it takes. Borrows from them.
///
/// # Errors
/// [`CodecError::Malformed`] where it is none.
pub(crate) fn decode_front<'a, M: BorrowDecode<'a, ()>>(
    bytes: &'a [u8],
) -> Result<(M, usize), CodecError> {
    bincode::borrow_decode_from_slice(bytes, layout()).map_err(CodecError::Malformed)
}

/// Reads one message that takes exactly `bytes`.
///
/// # Errors
/// [`CodecError`] when `bytes` is longer than `limit`, is no message, or holds
/// more than one. Allocates no more than the input's length warrants.
pub fn decode<M: Decode<()>>(bytes: &[u8], limit: usize) -> Result<M, CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::TooLong {
            bytes: bytes.len(),
            limit,
        });
    }
    let (message, read) =
        bincode::decode_from_slice(bytes, layout()).map_err(CodecError::Malformed)?;
    match bytes.len() - read {
        0 => Ok(message),
        extra => Err(CodecError::Trailing { extra }),
    }
}
