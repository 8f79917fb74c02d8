//! The journal: small records, durable in groups, in order; a pure structure over a
//! [`Disk`] that is passed in, so that node and simulator run the same lines.
//!
//! Four parts, which a node's owner spreads over its threads as it likes:
//!
//! ```text
//! Recovery::open(disk, identity, settings)?      or create(disk, identity, settings)?
//!   while let Some(record) = recovery.next_record()? { node.recover(record) }
//!   let Opened { appender, committer, keeper, .. } = recovery.finish()?
//!
//! appender.append(lsn, &record)?                 encodes into memory; no disk
//! if let Some(batch) = appender.take_batch()     batches may be merged: batch.merge(later)
//!   let done = committer.commit(batch)?          one write, one sync; blocks
//!     -> done.through is durable; keeper.on_sealed(sealed) for done.sealed
//! keeper.settle(appender.settled(durable))       when records and values up to there are
//! match keeper.step()? {                         blocks; off the commit path
//!   Step::Prepared(segment) => appender.add_segment(segment)
//!   Step::Worked => again   Step::Idle, Step::Unsettled, Step::NoSpace(_) => later
//! }
//! appender.room()                                Ample, DrainOnly, Full: ask before a write begins
//! ```
//!
//! An error of `commit` or `step` is final: the process must end with it.
//!
//! On disk (bytes in docs/formats.md): *segments* of fixed length, zeroed before their
//! use and written sector by sector (`sector`); a *checkpoint*, the fold of all
//! segments up to a generation (`checkpoint`); a *mark* of what was acknowledged last
//! (`mark`). Each begins with an identity (`header`).

mod appender;
mod checkpoint;
mod committer;
mod create;
mod disk;
mod fold;
mod folding;
mod header;
mod keeper;
mod mark;
mod names;
mod open_error;
mod recovery;
mod sector;
mod segment;

pub use appender::{Appender, Batch, NoRoom, Room, Segment};
pub use checkpoint::CheckpointError;
pub use committer::{CommitError, Committed, Committer, Sealed};
pub use create::create;
pub use disk::{Cause, Disk, DiskError, DiskFile, Operation};
pub use fold::fold;
pub use header::HeaderError;
pub use keeper::{Keeper, KeeperError, Step};
pub use mark::MarkTrouble;
pub use names::MARK;
pub use open_error::OpenError;
pub use recovery::{Opened, Recovery, Torn};

use crate::identity::NodeId;
use sector::SECTOR_BYTES;

/// The format that this code writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// The longest encoded record: a key, two timestamps, a write's name, and some more.
pub const RECORD_BYTES_MAX: usize = 1024;

/// One data directory, drawn by lot when it was made: it tells apart two journals of one
/// node, as after a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directory(pub [u8; 16]);

/// Whose journal it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name, of up to 255 bytes.
    pub cluster: String,
    /// The node.
    pub node: NodeId,
    /// The data directory.
    pub directory: Directory,
}

/// How much disk and memory a journal takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of a new segment: 4 KiB to 1 GiB, whole sectors. Larger ones are written to
    /// disk (as zeros) in longer bursts; smaller ones begin anew more often.
    pub segment_bytes: u32,
    /// Segments kept ready beyond the one in use, at least 1. The last of them is the
    /// reserve of [`Room::DrainOnly`].
    pub segments_ahead: usize,
    /// A checkpoint is written when sealed segments hold more than this and more than the
    /// earlier checkpoint: recovery reads at most about twice the larger of the two.
    pub checkpoint_after_bytes: u64,
    /// Memory that folding may take, about. Less means more passes over the segments.
    pub fold_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            segments_ahead: 2,
            checkpoint_after_bytes: 64 << 20,
            fold_bytes_max: 64 << 20,
        }
    }
}

impl Settings {
    /// # Panics
    /// Where a field is out of its range: settings are the program's, not the operator's.
    fn check(&self) {
        assert!(
            (8 * SECTOR_BYTES as u32..=1 << 30).contains(&self.segment_bytes)
                && self.segment_bytes.is_multiple_of(SECTOR_BYTES as u32),
            "segment_bytes: {} is not 4 KiB to 1 GiB in whole sectors",
            self.segment_bytes
        );
        assert!(self.segments_ahead >= 1, "segments_ahead: at least 1");
    }
}
