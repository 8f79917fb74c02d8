//! Runs of bytes on the wire.

use std::fmt;

use bincode::de::{Decode, Decoder, read::Reader};
use bincode::enc::{Encode, Encoder, write::Writer};
use bincode::error::{DecodeError, EncodeError};
use bytes::Bytes;

use crate::codec::MESSAGE_BYTES_MAX;

/// Bytes of any length up to the message limit. Cloning shares them.
///
/// On the wire: the length as a variable-length integer, then the bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Blob(pub Bytes);

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

/// Bytes of at most this many are shown as they are.
const SHOWN_BYTES_MAX: usize = 64;

/// Longer ones by length and CRC-32C: a search that tells states apart by their text must
/// not take two values for one.
impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.0.len();
        match length <= SHOWN_BYTES_MAX {
            true => write!(f, "\"{}\"", self.0.escape_ascii()),
            false => write!(f, "{length} bytes #{:08x}", crc32c::crc32c(&self.0)),
        }
    }
}

impl Encode for Blob {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.0.len() as u64).encode(encoder)?;
        encoder.writer().write(&self.0)
    }
}

impl<Context> Decode<Context> for Blob {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let length = usize::try_from(u64::decode(decoder)?)
            .ok()
            .filter(|&length| length <= MESSAGE_BYTES_MAX)
            .ok_or(DecodeError::Other(
                "bytes: their length is over the message limit",
            ))?;
        decoder.claim_bytes_read(length)?;
        // A length is only a claim: allocate no more than the input really holds.
        let Some(bytes) = decoder
            .reader()
            .peek_read(length)
            .map(Bytes::copy_from_slice)
        else {
            return Err(DecodeError::UnexpectedEnd { additional: length });
        };
        decoder.reader().consume(length);
        Ok(Self(bytes))
    }
}

impl<'de, Context> bincode::BorrowDecode<'de, Context> for Blob {
    fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_that_differ_look_different() {
        for length in [1, SHOWN_BYTES_MAX, SHOWN_BYTES_MAX + 1, 1000] {
            let one = Blob::from(vec![7; length]);
            let mut bytes = vec![7; length];
            bytes[length - 1] = 8;
            assert_ne!(format!("{one:?}"), format!("{:?}", Blob::from(bytes)));
        }
    }
}
