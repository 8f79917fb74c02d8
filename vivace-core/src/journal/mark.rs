//! The mark: how far the journal was surely durable, so that the loss of what was
//! acknowledged last does not pass for a torn tail.
//!
//! One sector in a file of its own: `checksum u32 LE | zeros 4 | generation u64 LE |
//! offset u32 LE | zeros`. Written behind each commit, never synced on its own: after a
//! power failure it may be old, and then vouches for less, but never too new.

use super::Directory;
use super::sector::{Found, Place, SECTOR_BYTES, Seal, u32_at, u64_at};

/// The mark's seal is that of no segment.
const GENERATION: u64 = u64::MAX;

/// All before this place of this segment was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub generation: u64,
    pub end: Place,
}

impl Mark {
    pub fn encode(self, directory: Directory) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        sector[8..16].copy_from_slice(&self.generation.to_le_bytes());
        sector[16..20].copy_from_slice(&self.end.0.to_le_bytes());
        Seal::new(directory, GENERATION).close(0, 0, &mut sector);
        sector
    }

    /// Reads it.
    pub fn decode(sector: &[u8; SECTOR_BYTES], directory: Directory) -> MarkFound {
        match Seal::new(directory, GENERATION).inspect(0, sector) {
            Found::Intact { .. } => MarkFound::Written(Self {
                generation: u64_at(sector, 8),
                end: Place(u32_at(sector, 16)),
            }),
            Found::Zero => MarkFound::Blank,
            Found::Damaged => MarkFound::Damaged,
        }
    }
}

/// What a start finds of the mark. It is a second witness: its loss alone proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkFound {
    Written(Mark),
    /// No commit has reached the disk with it.
    Blank,
    /// A crash does not do that.
    Damaged,
    /// Nor that.
    Missing,
}

impl MarkFound {
    /// What is wrong with it.
    pub fn trouble(self) -> Option<&'static str> {
        match self {
            Self::Written(_) | Self::Blank => None,
            Self::Damaged => Some("is damaged"),
            Self::Missing => Some("is missing"),
        }
    }
}
