//! A journal, its disk, and what is known of both: plausible records, and what of them was
//! acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand::rngs::SmallRng;
use vivace_core::journal::{
    self, Batch, CommitError, Directory, Identity, KeeperError, OpenError, Opened, Recovery,
    Settings, Step, fold,
};
use vivace_core::message::{CopyTag, WriteId};
use vivace_core::record::Record;
use vivace_core::sim::{SimDisk, SimFile};
use vivace_core::stored::StoredValue;
use vivace_core::{ContainerId, Incarnation, Key, KeyName, Lsn, NodeId, Timestamp, WriterId};

pub const RW: ContainerId = ContainerId(1);
pub const RMW: ContainerId = ContainerId(2);
pub const LAN: ContainerId = ContainerId(3);

pub fn identity() -> Identity {
    Identity {
        cluster: "test".into(),
        node: NodeId(7),
        directory: Directory([9; 16]),
    }
}

/// So small that a few hundred records fill segments and make checkpoints.
pub fn settings() -> Settings {
    Settings {
        segment_bytes: 4096,
        segments_ahead: 2,
        checkpoint_after_bytes: 10_000,
        fold_bytes_max: 16 << 10,
    }
}

pub fn key(container: ContainerId, number: u64) -> Key {
    // Some are long enough for records that span sectors.
    let name = match number % 5 {
        0 => format!("{number:0>255}"),
        _ => format!("k{number}"),
    };
    Key {
        container,
        name: KeyName::new(name.into_bytes()).unwrap(),
    }
}

pub fn ts(time: u64) -> Timestamp {
    Timestamp {
        time,
        writer: WriterId::new(NodeId((time % 3) as u16), Incarnation(1)),
    }
}

fn value(rng: &mut SmallRng) -> StoredValue {
    match rng.random_range(0..4) {
        0 => StoredValue::Tombstone,
        length => StoredValue::Bytes(length << rng.random_range(0..20)),
    }
}

/// Makes records as a node would: each fits what came before.
#[derive(Clone, Default)]
pub struct Records {
    time: u64,
    copies: BTreeSet<(Key, Timestamp)>,
    unbound: BTreeSet<(Key, WriteId)>,
    writes: u64,
    newest: BTreeMap<Key, Timestamp>,
}

impl Records {
    fn pick<T: Clone>(rng: &mut SmallRng, from: &BTreeSet<T>) -> Option<T> {
        let index = rng.random_range(0..from.len().max(1));
        from.iter().nth(index).cloned()
    }

    /// A timestamp above or below those of the key so far.
    fn any_ts(&mut self, rng: &mut SmallRng, key: &Key) -> Timestamp {
        self.time += 1;
        let newest = self.newest.entry(key.clone()).or_default();
        let drawn = ts(self.time.saturating_sub(rng.random_range(0..20)));
        *newest = drawn.max(*newest);
        drawn
    }

    pub fn next(&mut self, rng: &mut SmallRng) -> Record {
        match rng.random_range(0..100) {
            // The disk lost a value, of which no record tells: its copy may come again.
            0..2 if !self.copies.is_empty() => {
                let lost = Self::pick(rng, &self.copies).expect("not empty");
                self.copies.remove(&lost);
                self.next(rng)
            }
            2..4 if !self.unbound.is_empty() => {
                let (key, write) = Self::pick(rng, &self.unbound).expect("not empty");
                Record::LocalCopy {
                    key,
                    tag: CopyTag::Unbound(write),
                    value: value(rng),
                }
            }
            0..6 => {
                self.time += 1;
                Record::ClockHighWater { time: self.time }
            }
            6..45 => self.local(rng),
            45..70 => {
                let key = key(RW, rng.random_range(0..30));
                let ts = self.any_ts(rng, &key);
                match rng.random_bool(0.5) {
                    true => Record::Known { key, ts },
                    false => Record::Complete {
                        key,
                        ts,
                        value: value(rng),
                    },
                }
            }
            70..92 => {
                let key = key(RMW, rng.random_range(0..10));
                let ts = self.any_ts(rng, &key);
                match rng.random_range(0..4) {
                    0 => Record::Promised { key, ts },
                    1 => Record::Accepted { key, ts },
                    2 => Record::Chosen { key, ts },
                    _ => Record::Version {
                        key,
                        ts,
                        value: value(rng),
                    },
                }
            }
            _ => {
                let key = key(LAN, rng.random_range(0..5));
                let ts = self.any_ts(rng, &key);
                match rng.random_bool(0.5) {
                    true => Record::Promised { key, ts },
                    false => Record::LanAccepted {
                        key,
                        ts,
                        value: value(rng),
                    },
                }
            }
        }
    }

    fn local(&mut self, rng: &mut SmallRng) -> Record {
        let kind = rng.random_range(0..10);
        if kind < 3
            && let Some((key, ts)) = Self::pick(rng, &self.copies)
        {
            self.copies.remove(&(key.clone(), ts));
            return Record::LocalDropped { key, ts };
        }
        if kind < 6
            && let Some((key, write)) = Self::pick(rng, &self.unbound)
        {
            self.unbound.remove(&(key.clone(), write));
            if kind == 5 {
                return Record::LocalGivenUp { key, write };
            }
            // Sometimes of a version that a sibling has brought already.
            let brought = self.copies.iter().find(|(held, _)| *held == key);
            let ts = match brought {
                Some((_, ts)) if kind == 4 => *ts,
                _ => self.any_ts(rng, &key),
            };
            self.copies.insert((key.clone(), ts));
            return Record::LocalBound { key, write, ts };
        }
        let key = key(RW, rng.random_range(0..30));
        self.writes += 1;
        let write = WriteId {
            node: NodeId(rng.random_range(0..3)),
            incarnation: Incarnation(1),
            number: self.writes,
        };
        if kind == 6 {
            return Record::LocalAborted { key, write };
        }
        let tag = match rng.random_bool(0.5) {
            true => {
                self.unbound.insert((key.clone(), write));
                CopyTag::Unbound(write)
            }
            false => {
                let ts = self.any_ts(rng, &key);
                if !self.copies.insert((key.clone(), ts)) {
                    return Record::Known { key, ts };
                }
                CopyTag::Bound(ts)
            }
        };
        Record::LocalCopy {
            key,
            tag,
            value: value(rng),
        }
    }
}

/// A journal that runs.
pub struct Life {
    pub disk: SimDisk,
    pub journal: Opened<SimDisk>,
    /// Taken and not yet committed.
    pub batch: Option<Batch<SimFile>>,
    /// All records that were ever appended and may come back.
    pub appended: Vec<Record>,
    /// How many of them were acknowledged.
    pub acknowledged: usize,
    pub records: Records,
}

/// Why a life ended.
#[derive(Debug)]
#[allow(dead_code, reason = "told where a test fails")]
pub enum End {
    Commit(CommitError),
    Keeper(KeeperError),
}

impl Life {
    pub fn new(disk: SimDisk) -> Result<Self, OpenError> {
        let journal = journal::create(disk.clone(), identity(), settings())?;
        Ok(Self {
            disk,
            journal,
            batch: None,
            appended: Vec::new(),
            acknowledged: 0,
            records: Records::default(),
        })
    }

    /// Appends as many records as there is room for.
    pub fn append(&mut self, rng: &mut SmallRng, count: usize) {
        for _ in 0..count {
            let before = self.records.clone();
            let record = self.records.next(rng);
            let lsn = Lsn(self.appended.len() as u64 + 1);
            if self.journal.appender.append(lsn, &record).is_err() {
                self.records = before;
                return;
            }
            self.appended.push(record);
        }
    }

    /// Takes what waits; merges it with what was taken before.
    pub fn take(&mut self) {
        match (&mut self.batch, self.journal.appender.take_batch()) {
            (Some(batch), Some(later)) => batch.merge(later),
            (batch, later) => *batch = batch.take().or(later),
        }
    }

    pub fn commit(&mut self) -> Result<(), End> {
        let Some(batch) = self.batch.take() else {
            return Ok(());
        };
        let done = self.journal.committer.commit(batch).map_err(End::Commit)?;
        self.acknowledged = self.journal.on_committed(done).0 as usize;
        Ok(())
    }

    /// True where something was done.
    pub fn keep(&mut self) -> Result<bool, End> {
        match self.journal.keeper.step().map_err(End::Keeper)? {
            Step::Idle | Step::Unsettled | Step::NoSpace(_) => return Ok(false),
            Step::Worked | Step::Checkpointed { .. } => {}
            Step::Prepared(segment) => self.journal.appender.add_segment(segment),
        }
        Ok(true)
    }

    /// Appends, commits and keeps for a while.
    pub fn work(&mut self, rng: &mut SmallRng, rounds: usize) -> Result<(), End> {
        for _ in 0..rounds {
            match rng.random_range(0..10) {
                0..5 => {
                    let count = rng.random_range(1..10);
                    self.append(rng, count);
                }
                5..7 => self.take(),
                7..9 => {
                    self.take();
                    self.commit()?;
                }
                _ => {
                    for _ in 0..rng.random_range(1..6) {
                        self.keep()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Starts again on what the disk holds.
    pub fn restart(self) -> Result<Self, OpenError> {
        let (recovered, journal) = recover(&self.disk)?;
        let came_back = fold(recovered);
        let length = (self.acknowledged..=self.appended.len())
            .find(|&length| fold(self.appended[..length].to_vec()) == came_back)
            .expect("all acknowledged records come back, and a prefix of the others");
        let mut appended = self.appended;
        appended.truncate(length);
        Ok(Self {
            disk: self.disk,
            journal,
            batch: None,
            acknowledged: length,
            appended,
            // Of what was lost, some may be dropped or bound a second time: fine.
            records: self.records,
        })
    }
}

pub fn recover(disk: &SimDisk) -> Result<(Vec<Record>, Opened<SimDisk>), OpenError> {
    let mut recovery = Recovery::open(disk.clone(), identity(), settings())?;
    let mut records = Vec::new();
    while let Some(record) = recovery.next_record()? {
        let (read, total) = recovery.progress();
        assert!(read <= total);
        records.push(record);
    }
    Ok((records, recovery.finish()?))
}
