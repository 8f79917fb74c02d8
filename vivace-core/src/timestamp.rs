//! Timestamps: what an operation waits for across sites instead of a value.

use std::fmt;

use bincode::de::{Decode, Decoder, read::Reader};
use bincode::enc::{Encode, Encoder, write::Writer};
use bincode::error::{DecodeError, EncodeError};

use crate::bounded::Bounded;
use crate::identity::{Incarnation, NodeId};

/// Who made a timestamp: the node in the upper 16 bits, its incarnation in the lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(u32);

impl WriterId {
    /// The writer that is `node` in its life number `incarnation`.
    pub fn new(node: NodeId, incarnation: Incarnation) -> Self {
        Self(u32::from(node.0) << 16 | u32::from(incarnation.0))
    }

    /// The node that made the timestamp.
    pub fn node(self) -> NodeId {
        NodeId((self.0 >> 16) as u16)
    }

    /// Which of the node's lives made it.
    pub fn incarnation(self) -> Incarnation {
        Incarnation((self.0 & 0xffff) as u16)
    }
}

/// A version's place in its object's order: nanoseconds since the Unix epoch
/// (or a counter, in query mode), ties broken by the writer (Vivace §3.2).
///
/// 12 bytes on the wire: `time` as 8 big-endian bytes, then the writer as 4, so
/// that the bytes sort as the timestamps do.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Nanoseconds, or a counter where no clock is trusted.
    pub time: u64,
    /// Who made it; unique among all nodes and their lives.
    pub writer: WriterId,
}

impl Timestamp {
    /// "Never written": below every timestamp that a node makes.
    pub const ZERO: Self = Self {
        time: 0,
        writer: WriterId(0),
    };

    /// Above every timestamp that a node makes; an open upper bound.
    pub const MAX: Self = Self {
        time: u64::MAX,
        writer: WriterId(u32::MAX),
    };

    /// The next larger timestamp, whoever could have made it: an exclusive upper
    /// bound for exactly this one. [`Timestamp::MAX`] has none and yields itself.
    #[must_use]
    pub fn successor(self) -> Self {
        match self.writer.0.checked_add(1) {
            Some(writer) => Self {
                time: self.time,
                writer: WriterId(writer),
            },
            None => match self.time.checked_add(1) {
                Some(time) => Self {
                    time,
                    writer: WriterId(0),
                },
                None => Self::MAX,
            },
        }
    }

    /// What accepting this one promises besides: the same writer's timestamp a nanosecond
    /// on, for a round that builds on this one without asking (RMW 8 of ARCHITECTURE.md).
    /// The largest has none and yields itself.
    #[must_use]
    pub fn next_round(self) -> Self {
        Self {
            time: self.time.saturating_add(1),
            writer: self.writer,
        }
    }

    /// The wire form; see the type's layout.
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.time.to_be_bytes());
        bytes[8..].copy_from_slice(&self.writer.0.to_be_bytes());
        bytes
    }

    /// The inverse of [`Timestamp::to_bytes`]; every 12 bytes are a timestamp.
    pub fn from_bytes(bytes: [u8; 12]) -> Self {
        let [a, b, c, d, e, f, g, h, w, x, y, z] = bytes;
        Self {
            time: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            writer: WriterId(u32::from_be_bytes([w, x, y, z])),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}@{}.{}",
            self.time,
            self.writer.node().0,
            self.writer.incarnation().0
        )
    }
}

impl Encode for Timestamp {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        encoder.writer().write(&self.to_bytes())
    }
}

impl<Context> Decode<Context> for Timestamp {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        decoder.claim_bytes_read(12)?;
        let mut bytes = [0; 12];
        decoder.reader().read(&mut bytes)?;
        Ok(Self::from_bytes(bytes))
    }
}

impl<'de, Context> bincode::BorrowDecode<'de, Context> for Timestamp {
    fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

impl Bounded for Timestamp {
    const BYTES_MAX: usize = 12;
}
