//! The list of what a full segment holds, beside it, so that a start needs not read the
//! values themselves. It is no more than a hint: where it is missing or damaged, the
//! segment is read instead.
//!
//! Layout, integers little-endian: `entries | CRC-32C of the entries, segment and
//! directory u32`; an entry is `id bytes u16 | id | offset u32 | frame bytes u32`, whose highest
//! bit says that the value is a record of itself.

use crate::storage::identity::DirectoryId;

use super::index::Place;

/// A segment is full, however short, when its list is this long: the list is written
/// in one go, and read in one.
pub(super) const LISTING_BYTES_MAX: usize = 4 << 20;

const RECORD_BIT: u32 = 1 << 31;

/// What is listed of a frame.
pub(super) struct Entry<'l> {
    pub key: &'l [u8],
    pub place: Place,
    /// The value is a record of itself.
    pub is_record: bool,
}

/// The entries of one segment, encoded.
#[derive(Default)]
pub(super) struct Listing {
    entries: Vec<u8>,
}

impl Listing {
    pub fn push(&mut self, key: &[u8], place: Place, is_record: bool) {
        let bytes = match is_record {
            true => place.bytes | RECORD_BIT,
            false => place.bytes,
        };
        self.entries
            .extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.entries.extend_from_slice(key);
        self.entries.extend_from_slice(&place.offset.to_le_bytes());
        self.entries.extend_from_slice(&bytes.to_le_bytes());
    }

    pub fn bytes(&self) -> usize {
        self.entries.len()
    }

    /// What is listed of each frame of `segment`.
    pub fn iter(&self, segment: u32) -> Entries<'_> {
        self.iter_from(0, segment)
    }

    /// The same without the entries in the first `seen` bytes.
    pub fn iter_from(&self, seen: usize, segment: u32) -> Entries<'_> {
        let rest = self.entries.get(seen..).unwrap_or_default();
        Entries { rest, segment }
    }

    /// The file's bytes.
    pub fn encode(&self, segment: u32, directory: DirectoryId) -> Vec<u8> {
        let mut bytes = self.entries.clone();
        let checksum = checksum(&self.entries, segment, directory);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The listing in a file; none where it is not this segment's, or damaged.
    pub fn decode(mut bytes: Vec<u8>, segment: u32, directory: DirectoryId) -> Option<Self> {
        let stored = u32::from_le_bytes(*bytes.last_chunk::<4>()?);
        bytes.truncate(bytes.len() - 4);
        (checksum(&bytes, segment, directory) == stored).then_some(Self { entries: bytes })
    }
}

/// Entries of a listing, in order.
pub(super) struct Entries<'l> {
    rest: &'l [u8],
    segment: u32,
}

impl Entries<'_> {
    /// Bytes of those that are left.
    pub fn rest_bytes(&self) -> usize {
        self.rest.len()
    }
}

impl<'l> Iterator for Entries<'l> {
    type Item = Entry<'l>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some((entry, rest)) = first(self.rest, self.segment) else {
            // What is no entry is the end.
            self.rest = &[];
            return None;
        };
        self.rest = rest;
        Some(entry)
    }
}

/// The first entry, and what comes behind it.
fn first(entries: &[u8], segment: u32) -> Option<(Entry<'_>, &[u8])> {
    let (length, after) = entries.split_first_chunk::<2>()?;
    let (key, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let (offset, after) = after.split_first_chunk::<4>()?;
    let (bytes, after) = after.split_first_chunk::<4>()?;
    let bytes = u32::from_le_bytes(*bytes);
    let place = Place {
        segment,
        offset: u32::from_le_bytes(*offset),
        bytes: bytes & !RECORD_BIT,
    };
    let is_record = bytes & RECORD_BIT != 0;
    let entry = Entry {
        key,
        place,
        is_record,
    };
    Some((entry, after))
}

fn checksum(entries: &[u8], segment: u32, directory: DirectoryId) -> u32 {
    let sum = crc32c::crc32c_append(crc32c::crc32c(entries), &segment.to_le_bytes());
    crc32c::crc32c_append(sum, &directory.0)
}
