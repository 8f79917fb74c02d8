//! Committing: one write and one sync for all that has gathered.

use super::Directory;
use super::appender::{Batch, Chunk};
use super::disk::{DiskError, DiskFile};
use super::mark::Mark;
use super::sector::SECTOR_BYTES;
use crate::outbox::Lsn;

/// Why nothing can be promised any more: the process must end. What was committed before
/// is safe; what was under way may or may not be found after a restart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The disk failed. It is not asked again: after a failed sync nobody knows what it
    /// holds, and a second one may lie.
    #[error("{0}: the journal can promise nothing more, and only a restart can tell what is safe")]
    Disk(DiskError),
    /// It failed before.
    #[error("the journal ended earlier: {0}")]
    Ended(DiskError),
}

/// A segment that nothing is written to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    pub(super) generation: u64,
    pub(super) end: super::sector::Place,
    /// It has no record behind this one; none at all where it was recovered.
    pub(super) through: Lsn,
}

/// What a commit achieved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the keeper waits for sealed segments, and the node for what is durable"]
pub struct Committed {
    /// All up to here is durable.
    pub through: Lsn,
    /// For the [`Keeper`](super::Keeper).
    pub sealed: Vec<Sealed>,
}

/// Writes batches, one after the other.
#[derive(Debug)]
pub struct Committer<F> {
    directory: Directory,
    mark: F,
    failed: Option<DiskError>,
}

impl<F: DiskFile> Committer<F> {
    pub(super) fn new(directory: Directory, mark: F) -> Self {
        Self {
            directory,
            mark,
            failed: None,
        }
    }

    /// Makes a batch durable: a write and a sync per segment that it touches, which is
    /// one but for a batch that fills one up. Blocks as long as the disk takes.
    ///
    /// Batches must come in the order in which they were taken.
    ///
    /// # Errors
    /// [`CommitError`]; final.
    pub fn commit(&mut self, batch: Batch<F>) -> Result<Committed, CommitError> {
        if let Some(failed) = &self.failed {
            return Err(CommitError::Ended(failed.clone()));
        }
        self.write(batch).map_err(|error| {
            self.failed = Some(error.clone());
            CommitError::Disk(error)
        })
    }

    fn write(&mut self, batch: Batch<F>) -> Result<Committed, DiskError> {
        let mut committed = Committed {
            through: batch.through(),
            sealed: Vec::new(),
        };
        let mut reached = None;
        for chunk in batch.chunks {
            let generation = chunk.segment.generation;
            let end = chunk.end;
            if chunk.is_last {
                let through = committed.through;
                committed.sealed.push(Sealed {
                    generation,
                    end,
                    through,
                });
            }
            if chunk.start < end {
                write_chunk(chunk)?;
                reached = Some(Mark { generation, end });
            }
        }
        if let Some(mark) = reached {
            self.mark.write_at(0, &mark.encode(self.directory))?;
        }
        Ok(committed)
    }
}

fn write_chunk<F: DiskFile>(mut chunk: Chunk<F>) -> Result<(), DiskError> {
    let first = chunk.start.sector();
    let sectors = chunk.sectors.chunks_exact_mut(SECTOR_BYTES);
    for (index, sector) in (first..).zip(sectors) {
        chunk.segment.seal.close(index, chunk.start.0, sector);
    }
    let offset = u64::from(first) * SECTOR_BYTES as u64;
    chunk.segment.file.write_at(offset, &chunk.sectors)?;
    chunk.segment.file.sync()
}
