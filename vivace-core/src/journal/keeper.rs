//! Keeping: segments made ready ahead of need, sealed ones folded into checkpoints and
//! used again. Off the commit path; a crash at any point of it loses nothing.
//!
//! The order that makes it so: a checkpoint is durable before it has its name; it has
//! its name durably before a segment that it covers is touched; a segment is zeroed and
//! has its new header durably before it has its new name.

use super::appender::Segment;
use super::checkpoint::CheckpointError;
use super::committer::Sealed;
use super::disk::{Disk, DiskError, DiskFile};
use super::folding::Folding;
use super::header::{Header, Kind};
use super::open_error::OpenError;
use super::sector::{SECTOR_BYTES, Seal};
use super::{Identity, Settings, names};
use crate::outbox::Lsn;

/// Zeros are written in pieces of this.
const ZEROS_BYTES: usize = 1 << 20;

/// What a step did.
#[derive(Debug)]
pub enum Step<F> {
    /// Nothing is to be done before another segment is sealed.
    Idle,
    /// A checkpoint is due, and waits for [`Keeper::settle`].
    Unsettled,
    /// Some work; there is more.
    Worked,
    /// A segment is ready for [`Appender::add_segment`](super::Appender::add_segment).
    Prepared(Segment<F>),
    /// A checkpoint is durable, and segments are free.
    Checkpointed {
        /// Its length.
        bytes: u64,
    },
    /// There is no space for what is to be done; nothing is lost. Try again later, and
    /// not at once.
    NoSpace(DiskError),
}

/// Why the journal can't be kept any more: the process must end.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The disk failed; it is not asked again.
    #[error("{0}: the journal can't be kept")]
    Disk(#[from] DiskError),
    /// The earlier checkpoint can't be read any more.
    #[error("{file}: {source}")]
    Checkpoint {
        /// The file.
        file: String,
        /// Why.
        source: CheckpointError,
    },
    /// A sealed segment can't be read any more.
    #[error(transparent)]
    Segment(Box<OpenError>),
    /// It failed before.
    #[error("the journal's keeper ended earlier")]
    Ended,
}

impl KeeperError {
    pub(super) fn checkpoint(file: &str, source: CheckpointError) -> Self {
        match source {
            CheckpointError::Disk(error) => Self::Disk(error),
            source => Self::Checkpoint {
                file: file.to_owned(),
                source,
            },
        }
    }

    fn no_space(self) -> Result<DiskError, Self> {
        match self {
            Self::Disk(error) if error.is_no_space() => Ok(error),
            other => Err(other),
        }
    }
}

/// Prepares segments and writes checkpoints, a step at a time.
pub struct Keeper<D: Disk> {
    disk: D,
    identity: Identity,
    settings: Settings,
    state: State,
    folding: Option<Folding<D>>,
    settled: Option<Lsn>,
    has_failed: bool,
}

/// What is on the disk.
pub(super) struct State {
    /// The checkpoint covers all segments up to this; 0 where there is none.
    pub covered: u64,
    pub checkpoint_bytes: u64,
    pub sealed: Vec<Sealed>,
    /// Segments that a checkpoint covers.
    pub free: Vec<u64>,
    pub next_generation: u64,
    /// Segments prepared and not yet in use.
    pub ahead: usize,
}

impl<D: Disk> Keeper<D> {
    pub(super) fn new(disk: D, identity: Identity, settings: Settings, state: State) -> Self {
        Self {
            disk,
            identity,
            settings,
            state,
            folding: None,
            settled: None,
            has_failed: false,
        }
    }

    /// Takes over a segment from [`Committed::sealed`](super::Committed::sealed).
    pub fn on_sealed(&mut self, sealed: Sealed) {
        self.state.sealed.push(sealed);
        self.state.ahead -= 1;
    }

    /// All records up to here are true: the values that they speak of are stored. A fold
    /// keeps the newest record of a version and forgets those before; folded earlier, a
    /// crash would leave the newest without its value, and nothing to go back to.
    ///
    /// Take it from [`Appender::settled`](super::Appender::settled). Where nothing was
    /// settled yet, nothing is folded.
    pub fn settle(&mut self, through: Option<Lsn>) {
        self.settled = self.settled.max(through);
    }

    /// Bytes of the checkpoint.
    pub fn checkpoint_bytes(&self) -> u64 {
        self.state.checkpoint_bytes
    }

    /// Bytes in sealed segments that no checkpoint covers yet.
    pub fn sealed_bytes(&self) -> u64 {
        bytes(&self.state.sealed)
    }

    /// The oldest sealed segments, as far as all in them is settled.
    fn settled(&self) -> &[Sealed] {
        let sealed = &self.state.sealed;
        let is_settled = |sealed: &Sealed| Some(sealed.through) <= self.settled;
        &sealed[..sealed.iter().take_while(|s| is_settled(s)).count()]
    }

    /// Does some of what is to be done: a segment first, then a piece of a checkpoint.
    ///
    /// # Errors
    /// [`KeeperError`]; final.
    pub fn step(&mut self) -> Result<Step<D::File>, KeeperError> {
        if self.has_failed {
            return Err(KeeperError::Ended);
        }
        let done = self.try_step();
        self.has_failed = done.is_err();
        done
    }

    fn try_step(&mut self) -> Result<Step<D::File>, KeeperError> {
        let mut lacks = None;
        if self.state.ahead < self.settings.segments_ahead {
            match self.prepare() {
                Ok(segment) => return Ok(Step::Prepared(segment)),
                Err(error) => lacks = Some(error.no_space()?),
            }
        }
        // Where no segment can be made, a checkpoint may free some.
        if let Some(step) = self.fold(lacks.is_some())? {
            return Ok(step);
        }
        Ok(lacks.map_or(Step::Idle, Step::NoSpace))
    }

    fn fold(&mut self, is_urgent: bool) -> Result<Option<Step<D::File>>, KeeperError> {
        let mut folding = match self.folding.take() {
            Some(folding) => folding,
            None if self.is_due(is_urgent, self.settled()) => {
                match Folding::begin(
                    &self.disk,
                    &self.identity,
                    self.state.covered,
                    self.settled().to_vec(),
                ) {
                    Ok(folding) => folding,
                    Err(error) => return self.give_up(error).map(Some),
                }
            }
            None if !is_urgent && self.is_due(false, &self.state.sealed) => {
                return Ok(Some(Step::Unsettled));
            }
            None => return Ok(None),
        };
        match folding.step(&self.disk, &self.identity, &self.settings) {
            Ok(false) => {
                self.folding = Some(folding);
                Ok(Some(Step::Worked))
            }
            Ok(true) => {
                let through = folding.through();
                match folding.finish(&self.disk) {
                    Ok(bytes) => self.switch_to(through, bytes).map(Some),
                    Err(error) => self.give_up(error).map(Some),
                }
            }
            Err(error) => self.give_up(error).map(Some),
        }
    }

    fn is_due(&self, is_urgent: bool, sealed: &[Sealed]) -> bool {
        let sealed = bytes(sealed);
        let threshold = self
            .settings
            .checkpoint_after_bytes
            .max(self.state.checkpoint_bytes);
        sealed > 0 && (is_urgent || sealed >= threshold)
    }

    /// Leaves a checkpoint for which there is no space.
    fn give_up(&mut self, error: KeeperError) -> Result<Step<D::File>, KeeperError> {
        let error = error.no_space()?;
        if self.disk.list()?.iter().any(|n| n == names::CHECKPOINT_NEW) {
            self.disk.remove(names::CHECKPOINT_NEW)?;
        }
        Ok(Step::NoSpace(error))
    }

    /// The new checkpoint is durable: what it covers is free.
    fn switch_to(&mut self, through: u64, bytes: u64) -> Result<Step<D::File>, KeeperError> {
        if self.state.covered > 0 {
            self.disk.remove(&names::checkpoint(self.state.covered))?;
        }
        self.state.covered = through;
        self.state.checkpoint_bytes = bytes;
        let (folded, sealed): (Vec<_>, Vec<_>) = self
            .state
            .sealed
            .iter()
            .partition(|sealed| sealed.generation <= through);
        self.state.sealed = sealed;
        let freed = folded.iter().map(|sealed: &Sealed| sealed.generation);
        self.state.free.extend(freed);
        let a_round = self.settings.checkpoint_after_bytes / u64::from(self.settings.segment_bytes);
        let kept = a_round as usize + self.settings.segments_ahead;
        while self.state.free.len() > kept
            && let Some(generation) = self.state.free.pop()
        {
            self.disk.remove(&names::segment(generation))?;
        }
        Ok(Step::Checkpointed { bytes })
    }

    fn prepare(&mut self) -> Result<Segment<D::File>, KeeperError> {
        let (name, file) = match self.reuse()? {
            Some(free) => free,
            None => {
                let bytes = u64::from(self.settings.segment_bytes);
                let file = self.disk.create(names::SEGMENT_NEW, bytes)?;
                (names::SEGMENT_NEW.to_owned(), file)
            }
        };
        let generation = self.state.next_generation;
        let segment = put_header(
            file,
            &self.identity,
            generation,
            self.settings.segment_bytes,
        )?;
        self.disk.rename(&name, &names::segment(generation))?;
        self.disk.sync_dir()?;
        self.state.next_generation += 1;
        self.state.ahead += 1;
        Ok(segment)
    }

    /// A free segment, zeroed.
    fn reuse(&mut self) -> Result<Option<(String, D::File)>, KeeperError> {
        while let Some(generation) = self.state.free.pop() {
            let name = names::segment(generation);
            let file = self.disk.open(&name)?;
            if file.bytes()? != u64::from(self.settings.segment_bytes) {
                self.disk.remove(&name)?;
                continue;
            }
            let zeros = vec![0; ZEROS_BYTES.min(self.settings.segment_bytes as usize)];
            let mut offset = 0;
            let end = u64::from(self.settings.segment_bytes);
            while offset < end {
                let piece = zeros.len().min((end - offset) as usize);
                file.write_at(offset, &zeros[..piece])?;
                offset += piece as u64;
            }
            return Ok(Some((name, file)));
        }
        Ok(None)
    }
}

/// What segments hold.
fn bytes(sealed: &[Sealed]) -> u64 {
    sealed.iter().map(|sealed| u64::from(sealed.end.0)).sum()
}

/// Gives a file of zeros a segment's header, durably.
pub(super) fn put_header<F: DiskFile>(
    file: F,
    identity: &Identity,
    generation: u64,
    bytes: u32,
) -> Result<Segment<F>, DiskError> {
    let header = Header {
        kind: Kind::Segment,
        generation,
        bytes: u64::from(bytes),
    };
    debug_assert_eq!(header.encode(identity).len(), SECTOR_BYTES);
    file.write_at(0, &header.encode(identity))?;
    file.sync()?;
    Ok(Segment {
        file,
        generation,
        bytes,
        seal: Seal::new(identity.directory, generation),
    })
}
