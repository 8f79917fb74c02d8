//! Folding the earlier checkpoint and sealed segments into a new checkpoint, a step at a
//! time, in bounded memory.
//!
//! A pass reads all the segments and keeps the smallest groups that fit into memory;
//! it then merges them with the earlier checkpoint, which is sorted, into the new one.
//! The next pass goes on with the groups behind.

use std::collections::BTreeMap;

use super::checkpoint::{CheckpointError, Reader, Writer};
use super::committer::Sealed;
use super::disk::{Disk, DiskFile};
use super::fold::{Group, GroupFold, group_in_checkpoint, groups};
use super::recovery::read_sealed;
use super::{Identity, KeeperError, Settings, names};
use crate::record::Record;

/// About what one record costs in memory beside its encoding, while it is folded.
const RECORD_OVERHEAD_BYTES: usize = 256;

/// Groups merged in one step.
const GROUPS_A_STEP: usize = 512;

pub(super) struct Folding<D: Disk> {
    through: u64,
    segments: Vec<Sealed>,
    base: Option<Base<D::File>>,
    writer: Writer<D::File>,
    phase: Phase,
    /// Groups below were merged in earlier passes.
    from: Option<Group>,
    /// Groups from here on wait for a later pass.
    upto: Option<Group>,
    gathered: BTreeMap<Group, GroupFold>,
    gathered_records: usize,
    buffer: Vec<u8>,
}

enum Phase {
    /// The segment to be read next.
    Gather(usize),
    Merge,
}

/// The earlier checkpoint, with its next record.
struct Base<F> {
    reader: Reader<F>,
    next: Option<Record>,
}

impl<F: DiskFile> Base<F> {
    fn group(&self) -> Option<Group> {
        self.next.as_ref().map(group_in_checkpoint)
    }

    fn take(&mut self) -> Result<Option<Record>, CheckpointError> {
        let next = self.reader.next()?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

impl<D: Disk> Folding<D> {
    /// Of the checkpoint up to `covered` (none where that is 0) and the segments behind it.
    pub fn begin(
        disk: &D,
        identity: &Identity,
        covered: u64,
        segments: Vec<Sealed>,
    ) -> Result<Self, KeeperError> {
        let through = segments.last().map_or(covered, |last| last.generation);
        let base = match covered {
            0 => None,
            covered => Some(Self::open_base(disk, identity, covered)?),
        };
        let file = disk.create(names::CHECKPOINT_NEW, 0)?;
        Ok(Self {
            through,
            segments,
            base,
            writer: Writer::begin(file, identity, through)?,
            phase: Phase::Gather(0),
            from: None,
            upto: None,
            gathered: BTreeMap::new(),
            gathered_records: 0,
            buffer: Vec::new(),
        })
    }

    fn open_base(
        disk: &D,
        identity: &Identity,
        covered: u64,
    ) -> Result<Base<D::File>, KeeperError> {
        let name = names::checkpoint(covered);
        let open = || -> Result<_, CheckpointError> {
            let mut reader = Reader::open(disk.open(&name)?, identity, covered)?;
            let next = reader.next()?;
            Ok(Base { reader, next })
        };
        open().map_err(|source| KeeperError::checkpoint(&name, source))
    }

    /// The last segment that is folded in.
    pub fn through(&self) -> u64 {
        self.through
    }

    /// Reads a segment, or merges some groups; true when nothing is left to do.
    pub fn step(
        &mut self,
        disk: &D,
        identity: &Identity,
        settings: &Settings,
    ) -> Result<bool, KeeperError> {
        match self.phase {
            Phase::Gather(index) => {
                match self.segments.get(index).copied() {
                    Some(sealed) => {
                        self.gather(disk, identity, sealed, settings.fold_bytes_max)?;
                        self.phase = Phase::Gather(index + 1);
                    }
                    None => self.phase = Phase::Merge,
                }
                Ok(false)
            }
            Phase::Merge => {
                for _ in 0..GROUPS_A_STEP {
                    if !self.merge_group()? {
                        return Ok(self.end_pass());
                    }
                }
                Ok(false)
            }
        }
    }

    /// Begins the next pass, if one is needed.
    fn end_pass(&mut self) -> bool {
        self.from = self.upto.take();
        self.phase = Phase::Gather(0);
        self.from.is_none()
    }

    fn gather(
        &mut self,
        disk: &D,
        identity: &Identity,
        sealed: Sealed,
        bytes_max: usize,
    ) -> Result<(), KeeperError> {
        let buffer = std::mem::take(&mut self.buffer);
        let records_max = bytes_max / RECORD_OVERHEAD_BYTES;
        self.buffer = read_sealed(disk, identity, sealed, buffer, |record| {
            self.absorb(record, records_max);
        })
        .map_err(|source| KeeperError::Segment(Box::new(source)))?;
        Ok(())
    }

    fn absorb(&mut self, record: Record, records_max: usize) {
        let (group, also) = groups(&record);
        if let Some(also) = also {
            self.absorb_in(also, record.clone(), records_max);
        }
        self.absorb_in(group, record, records_max);
    }

    fn absorb_in(&mut self, group: Group, record: Record, records_max: usize) {
        let done = self.from.as_ref().is_some_and(|from| group < *from);
        let later = self.upto.as_ref().is_some_and(|upto| group >= *upto);
        if done || later {
            return;
        }
        match self.gathered.get_mut(&group) {
            Some(fold) => {
                self.gathered_records -= fold.records();
                fold.absorb(record);
                self.gathered_records += fold.records();
            }
            None => {
                let mut fold = GroupFold::new(&group);
                fold.absorb(record);
                self.gathered_records += fold.records();
                self.gathered.insert(group, fold);
            }
        }
        while self.gathered_records > records_max && self.gathered.len() > 1 {
            let (group, fold) = self.gathered.pop_last().expect("it holds two or more");
            self.gathered_records -= fold.records();
            self.upto = Some(group);
        }
    }

    /// Writes the smallest group that is left of this pass; false where none is.
    fn merge_group(&mut self) -> Result<bool, KeeperError> {
        let held = self.gathered.first_key_value().map(|(group, _)| group);
        let earlier = self.base.as_ref().and_then(Base::group);
        let earlier = earlier.filter(|group| self.upto.as_ref().is_none_or(|upto| group < upto));
        let group = match (held, earlier) {
            (Some(held), Some(earlier)) => held.min(&earlier).clone(),
            (Some(held), None) => held.clone(),
            (None, Some(earlier)) => earlier,
            (None, None) => return Ok(false),
        };
        let mut fold = GroupFold::new(&group);
        if let Some(base) = &mut self.base {
            while base.group().as_ref() == Some(&group) {
                let record = base
                    .take()
                    .map_err(|source| KeeperError::checkpoint("the earlier checkpoint", source))?;
                fold.absorb(record.expect("just seen"));
            }
        }
        if let Some(newer) = self.gathered.remove(&group) {
            self.gathered_records -= newer.records();
            for record in newer.into_partial() {
                fold.absorb(record);
            }
        }
        for record in fold.finish() {
            self.writer.push(&record)?;
        }
        Ok(true)
    }

    /// Makes the new checkpoint durable under its name; returns its length.
    pub fn finish(self, disk: &D) -> Result<u64, KeeperError> {
        let bytes = self.writer.finish()?;
        disk.rename(names::CHECKPOINT_NEW, &names::checkpoint(self.through))?;
        disk.sync_dir()?;
        Ok(bytes)
    }
}
