//! Why a journal is not opened, by the kind and the place of what is wrong with it.

use super::checkpoint::CheckpointError;
use super::disk::DiskError;
use super::header::HeaderError;
use super::names;
use super::segment::Damage;
use crate::codec::CodecError;

/// A node that forgot must not vote, under its old id or under a new one in its place.
pub(super) const OR_WITHOUT: &str =
    "or go on without this node (docs/operations.md, \"A node whose state is lost\")";

/// Why a journal was not opened. What it holds was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The directory holds no segment.
    #[error(
        "the directory holds no journal: a node that lost its state must not vote under its old \
         id; restore the directory, {OR_WITHOUT}"
    )]
    Missing,
    /// [`create`](super::create) was asked for where there is a journal.
    #[error(
        "{file}: holds records, and this directory says that its node has never started: it may \
         have forgotten what it acknowledged and must not vote; restore the directory's newest \
         state, {OR_WITHOUT}"
    )]
    Exists {
        /// One of its files.
        file: String,
    },
    /// A file is not this journal's, or its header is damaged.
    #[error("{file}: {source}; {}", source.way_out())]
    Header {
        /// The file.
        file: String,
        /// Why.
        source: HeaderError,
    },
    /// A file has another length than its header says.
    #[error("{file}: has {bytes} bytes, and its header says {expected}; restore it, {OR_WITHOUT}")]
    WrongLength {
        /// The file.
        file: String,
        /// What it has.
        bytes: u64,
        /// What it should have.
        expected: u64,
    },
    /// A segment between others is gone.
    #[error("{file}: is missing; restore it, {OR_WITHOUT}")]
    MissingSegment {
        /// The file.
        file: String,
    },
    /// Something before the last batch is damaged.
    #[error(
        "{file}: damaged at byte {offset}, before what was written last: this node may have \
         forgotten what it acknowledged and must not vote; restore the file, {OR_WITHOUT}"
    )]
    Damaged {
        /// The file.
        file: String,
        /// Where.
        offset: u64,
    },
    /// The last batch is damaged as no interrupted write damages it.
    #[error(
        "{file}: damaged at byte {offset}, in what was written last, and not by an interrupted \
         write: this node may have forgotten what it acknowledged and must not vote; restore the \
         file, {OR_WITHOUT}"
    )]
    LastDamaged {
        /// The file.
        file: String,
        /// Where.
        offset: u64,
    },
    /// The journal ends before what the mark says was acknowledged.
    #[error(
        "{file}: ends at byte {end}, and {marked_file} was acknowledged up to byte {marked}: this \
         node has forgotten what it acknowledged and must not vote; restore the files, {OR_WITHOUT}"
    )]
    AcknowledgedLost {
        /// The segment in which it ends.
        file: String,
        /// Where.
        end: u64,
        /// The segment in which it ended.
        marked_file: String,
        /// Where.
        marked: u64,
    },
    /// Intact bytes that are no record of this program.
    #[error(
        "{file}: holds at byte {offset}, intact, what this program can't read ({source}): run the \
         program that wrote it, {OR_WITHOUT}"
    )]
    Malformed {
        /// The file.
        file: String,
        /// Where.
        offset: u64,
        /// Why.
        source: CodecError,
    },
    /// The checkpoint can't be read.
    #[error("{file}: {source}; {}", source.way_out())]
    Checkpoint {
        /// The file.
        file: String,
        /// Why.
        source: CheckpointError,
    },
}

impl OpenError {
    pub(super) fn damaged(generation: u64, damage: Damage) -> Self {
        let file = names::segment(generation);
        let offset = u64::from(damage.offset);
        match damage.is_newest {
            true => Self::LastDamaged { file, offset },
            false => Self::Damaged { file, offset },
        }
    }

    pub(super) fn checkpoint(file: &str, source: CheckpointError) -> Self {
        let file = file.to_owned();
        match source {
            CheckpointError::Disk(error) => Self::Disk(error),
            CheckpointError::Header(source) => Self::Header { file, source },
            source => Self::Checkpoint { file, source },
        }
    }
}
