//! One machine: a clock, a disk that outlives its node, and perhaps a running node.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::errand::Errand;
use super::host_journal::{Ended, HostJournal};
use crate::record::Record;
use crate::stored::ValueId;
use crate::{Event, Lsn, Node, NodeId, Value};

/// A clock: true time, shifted; and the error bound that it claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostClock {
    /// Nanoseconds ahead of true time.
    pub skew_ns: i64,
    /// What it believes to be its bound; none where it is unsynchronized.
    pub error_ns: Option<u64>,
}

/// What a crash leaves of the records that were not yet durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTail {
    /// None of them.
    Lost,
    /// Of a drawn number, from the oldest on, what the disk had written when it stopped,
    /// sector by sector.
    Torn,
    /// All: only the news of their durability was lost.
    Kept,
}

/// What is on its way to the disk.
#[derive(Debug)]
pub(super) enum Entry {
    Record(Record),
    /// With whether it is a record of itself.
    Value(ValueId, Value, bool),
    Forget(ValueId),
}

/// When a node dies of what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fuse {
    /// Only messages of this kind count, where there is one.
    pub errand: Option<Errand>,
    /// How many it still sends.
    pub left: u32,
}

pub(super) struct Host {
    pub node: Option<Node>,
    pub life: u16,
    pub journal: HostJournal,
    /// The durable records, folded at every start.
    pub log: Vec<Record>,
    /// Why the node can't start any more.
    pub refusal: Option<String>,
    /// Durable values.
    pub values: BTreeMap<ValueId, Value>,
    /// Which of them are records of themselves.
    records: BTreeSet<ValueId>,
    pub unflushed: VecDeque<(Lsn, Entry)>,
    /// What is to be on its way behind all that, when it costs nothing.
    later: VecDeque<Entry>,
    /// The last position that it was given.
    last: Lsn,
    /// Values of `unflushed`, which can be loaded all the same.
    pub fresh: BTreeMap<ValueId, Value>,
    /// Its disk has no space: no value becomes durable, and no segment is made.
    pub is_full: bool,
    pub flushed_at: Duration,
    pub tick_at: Option<Duration>,
    pub clock: HostClock,
    /// It does nothing before this moment.
    pub paused_until: Duration,
    /// What happened to it meanwhile, in order.
    pub deferred: VecDeque<Event>,
    /// It dies after some further sends.
    pub fuse: Option<Fuse>,
    /// It has done its last and crashes within this instant.
    pub is_dying: bool,
}

impl Host {
    /// A machine with an empty disk, on which nothing runs.
    pub fn new(node: NodeId, clock: HostClock, seed: u64) -> Self {
        Self {
            node: None,
            life: 0,
            journal: HostJournal::new(node, seed),
            log: Vec::new(),
            refusal: None,
            values: BTreeMap::new(),
            records: BTreeSet::new(),
            unflushed: VecDeque::new(),
            later: VecDeque::new(),
            last: Lsn::default(),
            fresh: BTreeMap::new(),
            is_full: false,
            flushed_at: Duration::ZERO,
            tick_at: None,
            clock,
            paused_until: Duration::ZERO,
            deferred: VecDeque::new(),
            fuse: None,
            is_dying: false,
        }
    }

    /// A record of the node, behind all earlier ones.
    pub fn persist(&mut self, lsn: Lsn, record: Record) -> Result<(), Ended> {
        self.send_later()?;
        let appended = self.journal.append(lsn, &record);
        self.queue(lsn, Entry::Record(record));
        appended
    }

    /// A record that may come later; true where it is the first to wait.
    pub fn persist_later(&mut self, record: Record) -> bool {
        self.later.push_back(Entry::Record(record));
        self.later.len() == 1
    }

    /// Whether something waits for the next record.
    pub fn has_later(&self) -> bool {
        !self.later.is_empty()
    }

    /// What could wait is on its way.
    pub fn send_later(&mut self) -> Result<(), Ended> {
        let mut sent = Ok(());
        for entry in std::mem::take(&mut self.later) {
            if let (Entry::Record(record), Ok(())) = (&entry, &sent) {
                sent = self.journal.append(self.last, record);
            }
            self.queue(self.last, entry);
        }
        sent
    }

    /// Takes an entry on its way to the disk.
    pub fn queue(&mut self, lsn: Lsn, entry: Entry) {
        self.last = lsn;
        match &entry {
            Entry::Value(id, value, _) => drop(self.fresh.insert(id.clone(), value.clone())),
            Entry::Forget(id) => drop(self.fresh.remove(id)),
            Entry::Record(_) => {}
        }
        self.unflushed.push_back((lsn, entry));
    }

    /// Removes a value, once all that is on its way has arrived.
    pub fn forget(&mut self, id: ValueId) {
        if !self.later.is_empty() {
            return self.later.push_back(Entry::Forget(id));
        }
        match self.unflushed.back() {
            Some(&(last, _)) => self.queue(last, Entry::Forget(id)),
            None => drop(self.values.remove(&id)),
        }
    }

    /// What is not durable yet, oldest first.
    pub fn on_their_way(&self) -> impl Iterator<Item = &Entry> {
        let sent = self.unflushed.iter().map(|(_, entry)| entry);
        sent.chain(&self.later)
    }

    /// Whether a value is about to be removed.
    pub fn is_forgetting(&self, id: &ValueId) -> bool {
        let mut entries = self.on_their_way();
        entries.any(|entry| matches!(entry, Entry::Forget(forgotten) if forgotten == id))
    }

    /// How far what is on its way can arrive: a value needs space, a record a segment.
    pub fn can_arrive(&self, through: Lsn) -> Lsn {
        let mut entries = self.unflushed.iter();
        let value = entries.find(|(_, entry)| self.is_full && matches!(entry, Entry::Value(..)));
        let held = value.map(|&(lsn, _)| lsn).into_iter();
        let first = held.chain(self.journal.first_held()).min();
        first.map_or(through, |first| through.min(Lsn(first.0.saturating_sub(1))))
    }

    /// The oldest entry on its way has arrived.
    pub fn flush_one(&mut self) {
        let Some((_, entry)) = self.unflushed.pop_front() else {
            return;
        };
        match entry {
            Entry::Record(record) => self.log.push(record),
            Entry::Value(id, value, is_record) => {
                // After a removal, the same value may be on its way once more.
                let is_stored_again = self
                    .unflushed
                    .iter()
                    .any(|(_, later)| matches!(later, Entry::Value(other, ..) if *other == id));
                if !is_stored_again {
                    self.fresh.remove(&id);
                }
                self.keep(id, value, is_record);
            }
            Entry::Forget(id) => drop(self.values.remove(&id)),
        }
    }

    fn keep(&mut self, id: ValueId, value: Value, is_record: bool) {
        if is_record {
            self.records.insert(id.clone());
        }
        self.values.insert(id, value);
    }

    /// The durable values that are records of themselves, and their bytes.
    pub fn recorded(&self) -> impl Iterator<Item = (ValueId, u32)> {
        recorded(&self.values, &self.records)
    }

    /// The machine crashes. Of what is on its way, the oldest `kept` entries were being
    /// written: their values are stored, their records are what the journal makes of
    /// `tail`, and what they let be forgotten is still there.
    pub fn crash(&mut self, tail: LogTail, kept: usize) {
        self.journal.send_off();
        let through = match kept {
            0 => Lsn(0),
            kept => self.unflushed[kept - 1].0,
        };
        let mut kept_values = Vec::new();
        for (lsn, entry) in self.unflushed.drain(..) {
            match entry {
                Entry::Value(id, value, is_record) if lsn <= through && !self.is_full => {
                    kept_values.push((id, value, is_record));
                }
                Entry::Record(record) if lsn <= through && tail == LogTail::Kept => {
                    self.log.push(record);
                }
                Entry::Value(..) | Entry::Record(_) | Entry::Forget(_) => {}
            }
        }
        for (id, value, is_record) in kept_values {
            self.keep(id, value, is_record);
        }
        self.journal.crash(tail, through);
        self.later.clear();
        self.last = Lsn::default();
        self.fresh.clear();
        self.node = None;
        self.tick_at = None;
        self.fuse = None;
        self.is_dying = false;
        self.paused_until = Duration::ZERO;
        self.deferred.clear();
    }

    /// A value, durable or not.
    pub fn load(&self, id: &ValueId) -> Option<Value> {
        self.fresh.get(id).or_else(|| self.values.get(id)).cloned()
    }
}

/// Those of `values` that `records` names, and their bytes.
pub(super) fn recorded<'v>(
    values: &'v BTreeMap<ValueId, Value>,
    records: &'v BTreeSet<ValueId>,
) -> impl Iterator<Item = (ValueId, u32)> + use<'v> {
    let of = |id: &ValueId| Some((id.clone(), values.get(id)?.len() as u32));
    records.iter().filter_map(of)
}
