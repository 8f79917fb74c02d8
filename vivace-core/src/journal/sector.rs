//! Sectors: the unit that a disk writes whole or not at all, and that a checksum covers.
//!
//! Layout (512 bytes): `checksum u32 LE | start u32 LE | content 504 bytes`. The checksum
//! (CRC-32C) covers start and content, and begins from the journal's directory, the
//! file's generation and the sector's number: bytes of another journal, of an earlier use
//! of the file, or of another place never pass. `start` is the offset in the file where
//! the batch began that wrote the sector last. A sector of zeros was never written.

use super::Directory;

pub(super) const SECTOR_BYTES: usize = 512;
const HEADER_BYTES: usize = 8;
pub(super) const CONTENT_BYTES: usize = SECTOR_BYTES - HEADER_BYTES;

/// What the checksums of one file begin from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seal(u32);

/// What a sector was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Never written.
    Zero,
    /// As it was written, by the batch that began at `start`.
    Intact { start: u32 },
    /// Anything else.
    Damaged,
}

impl Seal {
    pub fn new(directory: Directory, generation: u64) -> Self {
        let crc = crc32c::crc32c(&directory.0);
        Self(crc32c::crc32c_append(crc, &generation.to_le_bytes()))
    }

    /// The checksum of `bytes` at place number `index`.
    pub fn checksum(self, index: u32, bytes: &[u8]) -> u32 {
        let crc = crc32c::crc32c_append(self.0, &index.to_le_bytes());
        crc32c::crc32c_append(crc, bytes)
    }

    /// Fills in the header of a sector whose content stands.
    pub fn close(self, index: u32, start: u32, sector: &mut [u8]) {
        sector[4..HEADER_BYTES].copy_from_slice(&start.to_le_bytes());
        let checksum = self.checksum(index, &sector[4..]);
        sector[..4].copy_from_slice(&checksum.to_le_bytes());
    }

    pub fn inspect(self, index: u32, sector: &[u8]) -> Found {
        let (header, _) = sector.split_at(HEADER_BYTES);
        if header == [0; HEADER_BYTES] && sector.iter().all(|&byte| byte == 0) {
            return Found::Zero;
        }
        if self.checksum(index, &sector[4..]) == u32_at(header, 0) {
            Found::Intact {
                start: u32_at(header, 4),
            }
        } else {
            Found::Damaged
        }
    }
}

/// The number at `offset`, little-endian.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(number)
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from(u32_at(bytes, offset)) | u64::from(u32_at(bytes, offset + 4)) << 32
}

/// A place in the stream that a segment's contents form, as an offset in its file.
/// Never inside a sector's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub u32);

impl Place {
    /// Where a segment's stream begins: behind the file's header.
    pub const FIRST: Self = Self::content_of(1);

    /// Where a sector's content begins.
    pub const fn content_of(sector: u32) -> Self {
        Self(sector * SECTOR_BYTES as u32 + HEADER_BYTES as u32)
    }

    pub fn sector(self) -> u32 {
        self.0 / SECTOR_BYTES as u32
    }

    /// Bytes of content from here to the end of the sector.
    pub fn left_in_sector(self) -> usize {
        SECTOR_BYTES - self.0 as usize % SECTOR_BYTES
    }

    /// Here, or where the next sector's content begins, if fewer than `bytes` are left.
    pub fn with_room_for(self, bytes: usize) -> Self {
        match self.left_in_sector() < bytes {
            true => Self::content_of(self.sector() + 1),
            false => self,
        }
    }

    /// The place `bytes` (no more than are left in the sector) further.
    pub fn forward(self, bytes: usize) -> Self {
        match self.left_in_sector() == bytes {
            true => Self::content_of(self.sector() + 1),
            false => Self(self.0 + bytes as u32),
        }
    }

    pub fn starts_sector(self) -> bool {
        self == Self::content_of(self.sector())
    }
}
