//! The mark: how far the journal was surely durable, so that the loss of what was
//! acknowledged last does not pass for a torn tail.
//!
//! One sector in a file of its own: `checksum u32 LE | zeros 4 | generation u64 LE |
//! offset u32 LE | zeros`. Written, and synced, when the journal is made and at each start, and
//! behind each commit without a sync of its own: after a power failure it may be old, and then
//! vouches for less, but never too new.

use super::disk::{DiskError, DiskFile};
use super::sector::{Found, Place, SECTOR_BYTES, Seal, u32_at, u64_at};
use super::{Directory, Identity};

/// The mark's seal is that of no segment.
const GENERATION: u64 = u64::MAX;

/// All before this place of this segment was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub generation: u64,
    pub end: Place,
}

impl Mark {
    /// Writes it into its `file`, durably.
    pub fn put<F: DiskFile>(self, file: &F, identity: &Identity) -> Result<(), DiskError> {
        file.write_at(0, &self.encode(identity.directory))?;
        file.sync()
    }

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
    /// The disk has lost it: a crash does not do that.
    Blank,
    /// Nor that.
    Damaged,
    /// Nor that.
    Missing,
}

/// What is wrong with the mark of what was acknowledged: then nobody can tell whether the disk
/// lost the last of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkTrouble {
    /// There is no such file.
    #[error("is missing")]
    Missing,
    /// It is not what was written.
    #[error("is damaged")]
    Damaged,
    /// It is all zeros, as before a journal's first start wrote it at once.
    #[error("is blank")]
    Blank,
}
