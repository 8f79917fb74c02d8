//! How a value stands in a file: behind its id, under checksums that bind the two, so
//! that a stale or misdirected block never passes.
//!
//! Frame, integers little-endian: `magic u32 | header checksum u32 | body checksum u32 |
//! value bytes u32 | kind u8 (0 tombstone, 1 bytes, 2 bytes that are a record of themselves) |
//! id bytes u16 | id | value`. The
//! header checksum is CRC-32C of all from the body checksum to the id's end, and of the
//! [`Seal`], so that a damaged value can be stepped over; the body checksum of id and value.

use std::ops::Range;

use bytes::Bytes;
use vivace_core::stored::ValueId;
use vivace_core::{Blob, VALUE_BYTES_MAX, Value, codec};

/// "VVAL".
pub(super) const MAGIC: [u8; 4] = *b"VVAL";

/// What stands before the id.
pub(super) const HEADER_BYTES: usize = 19;

/// Longer than any encoded id.
pub(super) const ID_BYTES_MAX: usize = 512;

/// What a frame's header is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    /// Nothing, in segments of the formats 1 and 2.
    Open,
    /// The number of its segment (u32 behind the header): a file that is used again still has
    /// frames of the segment that it was.
    Segment(u32),
}

impl Seal {
    fn checksum(self, covered: &[u8]) -> u32 {
        let sum = crc32c::crc32c(covered);
        match self {
            Self::Open => sum,
            Self::Segment(segment) => crc32c::crc32c_append(sum, &segment.to_le_bytes()),
        }
    }
}

const TOMBSTONE: u8 = 0;
const BYTES: u8 = 1;
const RECORD: u8 = 2;

/// The encoded id, by which all of this module finds values.
pub(super) fn key(id: &ValueId) -> Vec<u8> {
    codec::encode(id)
}

/// The id of a key; none where it is no key.
pub(super) fn id(key: &[u8]) -> Option<ValueId> {
    codec::decode(key, ID_BYTES_MAX).ok()
}

/// A frame's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub key: Vec<u8>,
    pub value_bytes: usize,
    kind: u8,
    body_checksum: u32,
}

impl Header {
    /// Bytes of the whole frame.
    pub fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.key.len() + self.value_bytes
    }

    /// Whether the value is a record of itself.
    pub fn is_record(&self) -> bool {
        self.kind == RECORD
    }
}

/// Bytes of the value in a frame of `frame_bytes` under `key`.
pub(super) fn value_bytes(key: &[u8], frame_bytes: u32) -> u32 {
    frame_bytes.saturating_sub((HEADER_BYTES + key.len()) as u32)
}

/// Adds the frame of `value` to `to`; returns its length.
pub(super) fn write(
    to: &mut Vec<u8>,
    seal: Seal,
    key: &[u8],
    value: &Value,
    is_record: bool,
) -> usize {
    let (kind, bytes): (u8, &[u8]) = match value {
        Value::Tombstone => (TOMBSTONE, &[]),
        Value::Bytes(blob) if is_record => (RECORD, &blob.0),
        Value::Bytes(blob) => (BYTES, &blob.0),
    };
    let start = to.len();
    to.extend_from_slice(&MAGIC);
    to.extend_from_slice(&[0; 4]);
    to.extend_from_slice(&body_checksum(key, bytes).to_le_bytes());
    to.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    to.push(kind);
    to.extend_from_slice(&(key.len() as u16).to_le_bytes());
    to.extend_from_slice(key);
    let checksum = seal.checksum(&to[start + 8..]);
    to[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
    to.extend_from_slice(bytes);
    to.len() - start
}

/// Where the key stands in bytes whose frame of it begins at `at`.
pub(super) fn key_range(at: usize, key: &[u8]) -> Range<usize> {
    let start = at + HEADER_BYTES;
    start..start + key.len()
}

/// Seals a frame of `key` anew, as it moves.
pub(super) fn reseal(frame: &mut [u8], key: &[u8], seal: Seal) {
    let checksum = seal.checksum(&frame[8..HEADER_BYTES + key.len()]);
    frame[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// The header that begins `bytes`; none where there is no intact one with this seal.
pub(super) fn header(bytes: &[u8], seal: Seal) -> Option<Header> {
    let fixed = bytes.get(..HEADER_BYTES)?;
    if !fixed.starts_with(&MAGIC) {
        return None;
    }
    let key_bytes = usize::from(u16::from_le_bytes([fixed[17], fixed[18]]));
    let covered = bytes.get(8..HEADER_BYTES + key_bytes)?;
    let value_bytes = u32_at(fixed, 12) as usize;
    let whole = seal.checksum(covered) == u32_at(fixed, 4);
    (whole && value_bytes <= VALUE_BYTES_MAX && key_bytes <= ID_BYTES_MAX).then(|| Header {
        key: bytes[HEADER_BYTES..HEADER_BYTES + key_bytes].to_vec(),
        value_bytes,
        kind: fixed[16],
        body_checksum: u32_at(fixed, 8),
    })
}

/// Whether `frame`, which begins with `header`, holds its value undamaged.
pub(super) fn is_intact(header: &Header, frame: &[u8]) -> bool {
    frame
        .get(HEADER_BYTES + header.key.len()..header.frame_bytes())
        .is_some_and(|value| body_checksum(&header.key, value) == header.body_checksum)
}

/// The value in a frame of `segment`, whose bytes it shares; what is wrong where it is not
/// the one that was written under `key`.
pub(super) fn value(key: &[u8], frame: &Bytes, segment: u32) -> Result<Value, &'static str> {
    let sealed = header(frame, Seal::Segment(segment)).or_else(|| header(frame, Seal::Open));
    let header = sealed.ok_or("has a damaged header")?;
    if header.key != key {
        return Err("is another value's");
    }
    if frame.len() != header.frame_bytes() || !is_intact(&header, frame) {
        return Err("fails its checksum");
    }
    match header.kind {
        TOMBSTONE if header.value_bytes == 0 => Ok(Value::Tombstone),
        BYTES | RECORD => Ok(Value::Bytes(Blob(frame.slice(HEADER_BYTES + key.len()..)))),
        _ => Err("is of no known kind"),
    }
}

fn body_checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::test_values::{id as named, value as some};

    const SEAL: Seal = Seal::Segment(1);

    fn frame(name: &ValueId, value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(
            &mut bytes,
            SEAL,
            &key(name),
            value,
            name.key.name.as_bytes() == b"r",
        );
        bytes
    }

    #[test]
    fn a_frame_opens_under_its_own_id_and_no_other() {
        let (mine, other) = (named("a", 1), named("a", 2));
        for stored in [some(b"some bytes"), some(b""), Value::Tombstone] {
            let bytes = Bytes::from(frame(&mine, &stored));
            assert_eq!(value(&key(&mine), &bytes, 1), Ok(stored));
            assert_eq!(value(&key(&other), &bytes, 1), Err("is another value's"));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let mine = named("a", 1);
        let bytes = frame(&mine, &some(b"some bytes"));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(value(&key(&mine), &damaged.into(), 1).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            let cut = Bytes::copy_from_slice(&bytes[..length]);
            assert!(
                value(&key(&mine), &cut, 1).is_err(),
                "cut to {length} bytes"
            );
        }
    }

    #[test]
    fn a_frame_of_another_segment_does_not_pass_until_it_is_sealed_anew() {
        let mine = named("a", 1);
        let mut bytes = frame(&mine, &some(b"some bytes"));
        assert_eq!(header(&bytes, Seal::Segment(2)), None);
        reseal(&mut bytes, &key(&mine), Seal::Segment(2));
        assert!(header(&bytes, Seal::Segment(2)).is_some());
        assert_eq!(header(&bytes, SEAL), None);
        reseal(&mut bytes, &key(&mine), Seal::Open);
        let found = value(&key(&mine), &bytes.into(), 1);
        assert_eq!(found, Ok(some(b"some bytes")), "of an earlier format");
    }

    #[test]
    fn a_damaged_value_leaves_its_length_readable() {
        let mine = named("a", 1);
        let mut bytes = frame(&mine, &some(b"some bytes"));
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let header = header(&bytes, SEAL).expect("the header is whole");
        assert_eq!(header.frame_bytes(), bytes.len());
        assert!(!is_intact(&header, &bytes));
    }
}
