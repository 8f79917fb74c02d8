//! A host's records: the journal that real nodes run, over a simulated disk.

use std::collections::VecDeque;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::disk::{SimDisk, SimFile};
use super::host::LogTail;
use crate::journal::{
    self, Batch, CommitError, Directory, Disk, Identity, KeeperError, OpenError, Opened, Recovery,
    Room, Settings, Step,
};
use crate::record::Record;
use crate::{Lsn, NodeId};

/// So small that an ordinary run fills segments, folds them and uses them again.
const SETTINGS: Settings = Settings {
    segment_bytes: 16 << 10,
    segments_ahead: 2,
    checkpoint_after_bytes: 48 << 10,
    fold_bytes_max: 128 << 10,
};

const SECTOR_BYTES: usize = 512;

/// A crash cuts the last commit short after up to so many of its disk operations, or of
/// the keeper's that follow.
const LAST_OPERATIONS_MAX: u64 = 6;

/// Why a node's process ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Keeper(#[from] KeeperError),
}

pub(super) struct HostJournal {
    pub disk: SimDisk,
    identity: Identity,
    /// The disk as it was before it was damaged.
    backup: Option<SimDisk>,
    /// None while the host is down.
    open: Option<Opened<SimDisk>>,
    /// For which no segment has room, on a full disk.
    held: VecDeque<(Lsn, Record)>,
    /// On their way to the disk.
    batches: VecDeque<Batch<SimFile>>,
    /// Of its own, so that what a disk keeps changes nothing else.
    rng: ChaCha8Rng,
}

impl HostJournal {
    pub fn new(node: NodeId, seed: u64) -> Self {
        Self {
            disk: SimDisk::default(),
            identity: Identity {
                cluster: "simulated".into(),
                node,
                directory: Directory([node.0 as u8; 16]),
            },
            backup: None,
            open: None,
            held: VecDeque::new(),
            batches: VecDeque::new(),
            rng: ChaCha8Rng::seed_from_u64(seed.rotate_left(32) ^ u64::from(node.0)),
        }
    }

    /// Makes the journal, or reads what it holds.
    pub fn start(&mut self) -> Result<Vec<Record>, OpenError> {
        let (disk, identity) = (self.disk.clone(), self.identity.clone());
        let mut records = Vec::new();
        self.open = Some(if self.disk.used() == 0 {
            journal::create(disk, identity, SETTINGS)?
        } else {
            let mut recovery = Recovery::open(disk, identity, SETTINGS)?;
            while let Some(record) = recovery.next_record()? {
                records.push(record);
            }
            recovery.finish()?
        });
        Ok(records)
    }

    pub fn append(&mut self, lsn: Lsn, record: &Record) -> Result<(), Ended> {
        if !self.held.is_empty() {
            self.held.push_back((lsn, record.clone()));
            return Ok(());
        }
        let open = self.open.as_mut().expect("the node runs");
        if open.appender.append(lsn, record).is_ok() {
            return Ok(());
        }
        // Its segments are full of what is on its way: that arrives now, unannounced.
        self.send_off();
        self.write(Lsn(u64::MAX), None)?;
        let open = self.open.as_mut().expect("the node runs");
        while open.appender.room() < Room::Ample && keep(open)? {}
        if open.appender.append(lsn, record).is_err() {
            self.held.push_back((lsn, record.clone()));
        }
        Ok(())
    }

    /// The first record that found no room.
    pub fn first_held(&self) -> Option<Lsn> {
        self.held.front().map(|(lsn, _)| *lsn)
    }

    /// The disk is full from now on, or has space again.
    pub fn set_full(&mut self, is_full: bool) -> Result<(), Ended> {
        let used = self.disk.used();
        self.disk.set_capacity(is_full.then_some(used));
        if !is_full {
            for (lsn, record) in std::mem::take(&mut self.held) {
                self.append(lsn, &record)?;
            }
        }
        Ok(())
    }

    /// All that was appended so far is on its way.
    pub fn send_off(&mut self) {
        if let Some(open) = &mut self.open {
            self.batches.extend(open.appender.take_batch());
        }
    }

    /// What is on its way, up to here.
    fn arriving(&mut self, through: Lsn) -> Option<Batch<SimFile>> {
        let mut arriving: Option<Batch<SimFile>> = None;
        while let Some(batch) = self.batches.pop_front_if(|b| b.through() <= through) {
            match &mut arriving {
                Some(arriving) => arriving.merge(batch),
                None => arriving = Some(batch),
            }
        }
        arriving
    }

    /// Everything up to `through` becomes durable, values too, and the keeper does a little.
    pub fn commit(&mut self, through: Lsn) -> Result<(), Ended> {
        self.write(through, Some(through))
    }

    fn write(&mut self, through: Lsn, with_values: Option<Lsn>) -> Result<(), Ended> {
        let arriving = self.arriving(through);
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let settled = with_values.and_then(|durable| open.appender.settled(durable));
        open.keeper.settle(settled);
        if let Some(batch) = arriving {
            for sealed in open.committer.commit(batch)?.sealed {
                open.keeper.on_sealed(sealed);
            }
            keep(open)?;
        }
        Ok(())
    }

    /// Undoes the damage; false where nobody has a copy.
    pub fn restore(&mut self) -> bool {
        match self.backup.take() {
            Some(backup) => self.disk = backup,
            None => return false,
        }
        true
    }

    /// Flips a bit in one of the sectors that are not zero; says which.
    pub fn damage(&mut self, place: u64) -> String {
        self.backup.get_or_insert_with(|| self.disk.duplicate());
        let names = self.disk.list().expect("the disk works");
        let mut written = Vec::new();
        for name in names {
            let contents = self.disk.contents(&name).expect("it is listed");
            let sectors = contents.chunks(SECTOR_BYTES).enumerate();
            let used = sectors.filter(|(_, sector)| sector.iter().any(|&byte| byte != 0));
            written.extend(used.map(|(index, sector)| (name.clone(), index, sector.len())));
        }
        let (name, index, length) = &written[place as usize % written.len()];
        let offset = index * SECTOR_BYTES + (place >> 32) as usize % length;
        self.disk.flip(name, offset as u64, (place >> 60) as u8);
        format!("a bit of byte {offset} of {name}")
    }

    /// The host crashes while what is on its way up to `through` is being written.
    pub fn crash(&mut self, tail: LogTail, through: Lsn) {
        if tail == LogTail::Torn {
            let operations = self.rng.random_range(0..LAST_OPERATIONS_MAX);
            self.disk.crash_after(operations);
        }
        // How far it came, only the next start will tell.
        if tail != LogTail::Lost && self.write(through, None).is_ok() {
            let _ = self.open.as_mut().map(keep);
        }
        self.open = None;
        self.held.clear();
        self.batches.clear();
        self.disk.crash(tail, &mut self.rng);
    }
}

/// A step of the keeper; where it has none to do, nothing. False where it has no space.
fn keep(open: &mut Opened<SimDisk>) -> Result<bool, KeeperError> {
    match open.keeper.step()? {
        Step::Prepared(segment) => open.appender.add_segment(segment),
        Step::NoSpace(_) => return Ok(false),
        Step::Idle | Step::Unsettled | Step::Worked | Step::Checkpointed { .. } => {}
    }
    Ok(true)
}
