//! The storage of a running node, as the protocol core's thread sees it.
//!
//! ```text
//! vivace-priority   Engine: gathers records and values, knows what is on its way
//!   records -> vivace-journal   one write and one sync for all that waits
//!              vivace-keeper    prepares segments, writes checkpoints
//!   values  -> vivace-values    one write and one sync for all that waits; tidies up
//!   loads   -> vivace-loads     cold values; hot ones are in memory
//! ```
//!
//! While one sync runs, the next group gathers. Records and values share one sequence of
//! positions, and a position is durable when all up to it are, on both ways.

#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use vivace_core::journal::{Room as JournalRoom, Segment};
use vivace_core::record::Record;
use vivace_core::stored::ValueId;
use vivace_core::{Lsn, Value};

use super::cache::ValueCache;
use super::identity::{DataDirectory, EXIT_OUTDATED};
use super::journal_disk::JournalFile;
use super::journal_lane::{Handed, JournalLane};
use super::space::{Room, Space};
use super::value_lane::{LOADS_MAX, ValueBatch, ValueLane, list_values};
use super::values::{Change, Lookup, Usage, ValueStore};
use super::watermark::Watermark;
use crate::threads::Scheduling;

/// Bytes on their way to the disk beyond which clients hear `Busy`.
const PENDING_BYTES_BUSY: u64 = 64 << 20;

/// Bytes on their way to the disk beyond which peers' values are dropped; they send
/// them again.
const PENDING_BYTES_MAX: u64 = 2 * PENDING_BYTES_BUSY;

/// What is left of the journal's last segment for peers' records, while the disk gives no
/// next one; before that clients hear `Busy`. Half a segment.
const DRAIN_BYTES_MIN: u64 = 8 << 20;

/// Messages that wait for values being loaded; beyond it one is not sent, as if it were
/// lost, and is asked for again.
const WAITERS_MAX: usize = 16 * LOADS_MAX;

/// Loaded values that wait for the core.
const LOADED_MAX: usize = 16;

const JOURNAL: usize = 0;
const VALUES: usize = 1;

/// What a writing thread has finished.
pub enum Done {
    /// So many more batches of the journal are durable, and with them all up to a position.
    Journal { through: Lsn, batches: usize },
    /// Values are durable up to here.
    Values(Lsn),
    /// The journal has another segment.
    Segment(Segment<JournalFile>),
}

/// What a reading thread has found.
pub enum Loaded {
    /// A value that was asked for, or why not.
    Value(ValueId, Lookup),
    /// Some of the ids that are stored.
    Ids(Vec<ValueId>),
    /// There are no more.
    AllIds,
}

/// What an [`Engine`]'s threads report; to be received by the thread that owns it.
pub struct Reports {
    done: mpsc::UnboundedReceiver<Done>,
    loaded: mpsc::Receiver<Loaded>,
}

/// One of them, for [`Engine::take_in`].
pub struct Report(Kind);

enum Kind {
    Done(Done),
    Loaded(Loaded),
}

impl Reports {
    /// The next report; none where the engine is gone. Can be cancelled.
    pub async fn next(&mut self) -> Option<Report> {
        tokio::select! {
            biased;
            Some(done) = self.done.recv() => Some(Report(Kind::Done(done))),
            Some(loaded) = self.loaded.recv() => Some(Report(Kind::Loaded(loaded))),
            else => None,
        }
    }

    /// The next report, where one is there.
    pub fn try_next(&mut self) -> Option<Report> {
        let done = self.done.try_recv().map(Kind::Done);
        let next = done.or_else(|_| self.loaded.try_recv().map(Kind::Loaded));
        next.ok().map(Report)
    }
}

/// What became of a question for a value, which carries the asker's `T`.
#[derive(Debug, PartialEq, Eq)]
pub enum Load<T> {
    /// It was in memory.
    Now(T, Value),
    /// A report will bring it.
    Later,
    /// Too many are being loaded.
    Refused(T),
}

/// What a report means to the core.
#[derive(Debug, PartialEq, Eq)]
pub enum News<T> {
    /// Nothing.
    None,
    /// A value is loaded, for these.
    Loaded(Vec<T>, Value),
    /// A value is not there, or damaged, as is told; these asked for it.
    NotLoaded(ValueId, String, Vec<T>),
    /// These ids are stored: what nobody needs is to be forgotten.
    Stored(Vec<ValueId>),
    /// All that was stored at the start has been named.
    AllStored,
}

/// Counts for `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Values that were there and failed a check.
    pub damaged: u64,
    /// Values that were read from the disk.
    pub loaded: u64,
    /// Messages that were not sent, because too many values were being loaded.
    pub loads_refused: u64,
}

/// A value on its way to the disk.
struct InFlight {
    lsn: Lsn,
    value: Value,
    is_record: bool,
}

/// What is kept of values, which writers name: under hashes that nobody outside this process
/// can choose.
type ById<T> = HashMap<ValueId, T, foldhash::fast::RandomState>;

/// An id to be forgotten when what was added before is durable.
struct Forget {
    /// The last position before it.
    after: Lsn,
    /// The records before it.
    records: u64,
    number: u64,
    id: ValueId,
}

/// Records and values of a running node.
pub struct Engine<T> {
    journal: Option<JournalLane>,
    lane: ValueLane,
    store: Arc<dyn ValueStore>,
    space: Option<Arc<Space>>,
    loaded: mpsc::Sender<Loaded>,
    scheduling: Scheduling,
    mark: Watermark<2>,
    last: Lsn,
    gathered: Vec<Change>,
    /// The first and last position among `gathered`.
    gathered_at: Option<(Lsn, Lsn)>,
    /// On their way to the journal.
    journal_batches: VecDeque<Handed>,
    /// So many records are durable.
    recorded: u64,
    /// Values on their way to the disk.
    in_flight: ById<InFlight>,
    in_flight_order: VecDeque<(Lsn, ValueId, u64)>,
    pending_bytes: u64,
    /// Ids to be forgotten, numbered, in order.
    forgets: VecDeque<Forget>,
    forgets_made: u64,
    /// The number of the last for each id that was not stored again since.
    forgotten: ById<u64>,
    cache: ValueCache,
    /// See [`Engine::expect_sends`].
    sends_expected: bool,
    loading: ById<Vec<T>>,
    waiters: usize,
    counts: Counts,
    /// Last, so that it is let go when the threads have ended.
    directory: Option<DataDirectory>,
}

impl<T> Engine<T> {
    /// Starts the threads: with a journal, or without, where records need not last.
    ///
    /// # Errors
    /// The operating system's, where it has no more threads.
    pub fn start(
        journal: Option<super::OpenJournal>,
        store: Arc<dyn ValueStore>,
        space: Option<Arc<Space>>,
        cache_bytes: u64,
        scheduling: Scheduling,
    ) -> std::io::Result<(Self, Reports)> {
        let (done_sender, done) = mpsc::unbounded_channel();
        let (loaded_sender, loaded) = mpsc::channel(LOADED_MAX);
        let journal = journal
            .map(|opened| JournalLane::start(opened, done_sender.clone(), scheduling))
            .transpose()?;
        let lane = ValueLane::start(
            store.clone(),
            space.clone(),
            done_sender,
            loaded_sender.clone(),
            scheduling,
        )?;
        let engine = Self {
            journal,
            lane,
            store,
            space,
            loaded: loaded_sender,
            scheduling,
            mark: Watermark::default(),
            last: Lsn::default(),
            gathered: Vec::new(),
            gathered_at: None,
            journal_batches: VecDeque::new(),
            recorded: 0,
            in_flight: ById::default(),
            in_flight_order: VecDeque::new(),
            pending_bytes: 0,
            forgets: VecDeque::new(),
            forgets_made: 0,
            forgotten: ById::default(),
            cache: ValueCache::new(cache_bytes),
            sends_expected: true,
            loading: ById::default(),
            waiters: 0,
            counts: Counts::default(),
            directory: None,
        };
        Ok((engine, Reports { done, loaded }))
    }

    /// Keeps the directory for this process as long as the engine runs.
    pub fn hold(&mut self, directory: DataDirectory) {
        self.directory = Some(directory);
    }

    /// Ends the process: a peer knows that this node may have forgotten what it promised. The
    /// directory is kept from a further start, for another peer may not know.
    pub fn stop_outdated(&self, why: &str) -> ! {
        let marked = self.directory.as_ref().map(|of| of.mark_outdated(why));
        if let Some(Err(error)) = marked {
            tracing::error!("{error}: a further start is not kept from this state");
        }
        tracing::error!("{why}: stopping, for this state is not this node's newest");
        std::process::exit(i32::from(EXIT_OUTDATED))
    }

    /// Adds a record behind all earlier records and values. Nothing is promised before
    /// [`Engine::flush`].
    pub fn persist(&mut self, lsn: Lsn, record: Record) {
        self.last = lsn;
        if let Some(journal) = &mut self.journal {
            journal.append(lsn, record);
        }
    }

    /// Adds a record behind all earlier ones, which nobody waits for: it is written with the
    /// next one, or by [`Engine::flush_by`].
    pub fn persist_later(&mut self, record: Record) {
        if let Some(journal) = &mut self.journal {
            journal.append_later(record);
        }
    }

    /// When to call [`Engine::flush`] at the latest.
    pub fn flush_by(&self) -> Option<Instant> {
        self.journal.as_ref().and_then(JournalLane::flush_by)
    }

    /// Adds a value behind all earlier records and values, perhaps as a record of itself; it
    /// can be loaded at once.
    pub fn store(&mut self, lsn: Lsn, id: ValueId, value: Value, is_record: bool) {
        self.last = lsn;
        self.forgotten.remove(&id);
        // One that is a record of itself went to all replicas at once.
        match is_record && !self.sends_expected {
            true => self.cache.renew(&id, &value),
            false => self.cache.insert(&id, &value),
        }
        let bytes = value.len() as u64;
        self.pending_bytes += bytes;
        self.in_flight_order.push_back((lsn, id.clone(), bytes));
        let flying = InFlight {
            lsn,
            value: value.clone(),
            is_record,
        };
        let is_record = match self.in_flight.entry(id.clone()) {
            Entry::Vacant(place) => place.insert(flying).is_record,
            Entry::Occupied(mut place) => {
                // Once more: it stays what it is on its way to be.
                let is_record = is_record || place.get().is_record;
                place.insert(InFlight {
                    is_record,
                    ..flying
                });
                is_record
            }
        };
        self.gathered.push(Change::Store {
            id,
            value,
            is_record,
        });
        let first = self.gathered_at.map_or(lsn, |(first, _)| first);
        self.gathered_at = Some((first, lsn));
    }

    /// Forgets a value once all that was added until now is durable.
    pub fn forget(&mut self, id: ValueId) {
        self.cache.remove(&id);
        self.forgets_made += 1;
        self.forgotten.insert(id.clone(), self.forgets_made);
        self.forgets.push_back(Forget {
            after: self.last,
            records: self.journal.as_ref().map_or(0, JournalLane::records),
            number: self.forgets_made,
            id,
        });
    }

    /// Whether all that is written may soon have to be sent, and is kept in memory for that: some
    /// peer is away, and will lack it. So it is at the start.
    pub fn expect_sends(&mut self, expected: bool) {
        self.sends_expected = expected;
    }

    /// Asks for a value.
    pub fn load(&mut self, id: &ValueId, asker: T) -> Load<T> {
        if let Some(flying) = self.in_flight.get(id) {
            // It counts as read, though its write may have left it out.
            self.cache.insert(id, &flying.value);
            return Load::Now(asker, flying.value.clone());
        }
        if let Some(value) = self.cache.get(id) {
            return Load::Now(asker, value);
        }
        let is_asked_for = self.loading.contains_key(id);
        if self.waiters >= WAITERS_MAX || (!is_asked_for && !self.lane.load(id)) {
            self.counts.loads_refused += 1;
            return Load::Refused(asker);
        }
        self.waiters += 1;
        self.loading.entry(id.clone()).or_default().push(asker);
        Load::Later
    }

    /// Begins to make all that was added durable. Doesn't block.
    pub fn flush(&mut self) {
        self.take_due_forgets();
        if let Some(handed) = self.journal.as_mut().and_then(JournalLane::flush) {
            if let Some((first, last)) = handed.positions {
                self.mark.hand(JOURNAL, first, last);
            }
            self.pending_bytes += handed.bytes;
            self.journal_batches.push_back(handed);
        }
        if !self.gathered.is_empty() {
            let through = match self.gathered_at.take() {
                Some((first, last)) => {
                    // Without a journal nothing outlives the process, so nothing waits.
                    if self.journal.is_some() {
                        self.mark.hand(VALUES, first, last);
                    }
                    last
                }
                None => Lsn::default(),
            };
            let changes = std::mem::take(&mut self.gathered);
            self.lane.write(ValueBatch { changes, through });
        }
        let held = self.journal.as_ref().and_then(JournalLane::first_held);
        let handed = held.map_or(self.last, |first| Lsn(first.0 - 1));
        self.mark.all_handed(handed);
    }

    fn take_due_forgets(&mut self) {
        let durable = self.mark.durable();
        let recorded = self.recorded;
        let is_due = |forget: &mut Forget| forget.after <= durable && forget.records <= recorded;
        while let Some(Forget { number, id, .. }) = self.forgets.pop_front_if(is_due) {
            // Unless it was stored again, or forgotten again, since.
            if let Entry::Occupied(forgotten) = self.forgotten.entry(id)
                && *forgotten.get() == number
            {
                let (id, _) = forgotten.remove_entry();
                self.gathered.push(Change::Forget(id));
            }
        }
    }

    /// Up to where all is durable, once, when that has risen.
    pub fn durable(&mut self) -> Option<Lsn> {
        let durable = self.mark.risen()?;
        if let Some(journal) = &self.journal {
            journal.settle(durable);
        }
        Some(durable)
    }

    /// Takes in what a thread reports.
    pub fn take_in(&mut self, report: Report) -> News<T> {
        match report.0 {
            Kind::Done(done) => {
                self.on_done(done);
                News::None
            }
            Kind::Loaded(Loaded::Value(id, found)) => self.on_loaded(id, found),
            Kind::Loaded(Loaded::Ids(ids)) => News::Stored(ids),
            Kind::Loaded(Loaded::AllIds) => News::AllStored,
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Journal { through, batches } => {
                self.mark.done(JOURNAL, through);
                for handed in self.journal_batches.drain(..batches) {
                    self.pending_bytes -= handed.bytes;
                    self.recorded = handed.records;
                }
            }
            Done::Values(through) => {
                self.mark.done(VALUES, through);
                while let Some((at, ..)) = self.in_flight_order.front()
                    && *at <= through
                {
                    let (at, id, bytes) =
                        self.in_flight_order.pop_front().expect("there is a first");
                    self.pending_bytes -= bytes;
                    // Unless it was stored once more since.
                    if let Entry::Occupied(flying) = self.in_flight.entry(id)
                        && flying.get().lsn == at
                    {
                        flying.remove();
                    }
                }
            }
            Done::Segment(segment) => {
                if let Some(journal) = &mut self.journal {
                    journal.add_segment(segment);
                }
            }
        }
    }

    fn on_loaded(&mut self, id: ValueId, found: Lookup) -> News<T> {
        let askers = self.loading.remove(&id).unwrap_or_default();
        self.waiters -= askers.len();
        // Stored since it was asked for, or again.
        if let Some(flying) = self.in_flight.get(&id) {
            return News::Loaded(askers, flying.value.clone());
        }
        match found {
            Lookup::Found(value) => {
                self.counts.loaded += 1;
                if !self.forgotten.contains_key(&id) {
                    self.cache.insert(&id, &value);
                }
                News::Loaded(askers, value)
            }
            Lookup::Missing => News::NotLoaded(id, "is not stored".into(), askers),
            Lookup::Damaged(what) => {
                self.counts.damaged += 1;
                News::NotLoaded(id, what, askers)
            }
        }
    }

    /// Names all that is stored, in the background, as [`News::Stored`].
    ///
    /// # Errors
    /// The operating system's, where it has no more threads.
    pub fn list(&self) -> std::io::Result<()> {
        list_values(self.store.clone(), self.loaded.clone(), self.scheduling)
    }

    /// Whether a value is stored, or on its way, as far as is known without reading it.
    pub fn contains(&self, id: &ValueId) -> bool {
        self.in_flight.contains_key(id) || self.store.contains(id)
    }

    /// The stored values that are records of themselves, with their bytes. Blocks now and then.
    pub fn records(&self) -> impl Iterator<Item = (ValueId, u32)> {
        let parts = self.store.parts().into_iter();
        parts.flat_map(|part| self.store.records(part))
    }

    /// Why no client's operation should begin now.
    pub fn why_behind(&self) -> Option<String> {
        (self.pending_bytes > PENDING_BYTES_BUSY).then(|| "the disk is behind".to_owned())
    }

    /// Why nothing that takes space should begin now.
    pub fn why_full(&self) -> Option<String> {
        let space = self.space.as_ref()?;
        if space.room(self.pending_bytes) != Room::Ample {
            return Some(space.reason());
        }
        let journal = self.journal.as_ref()?;
        // After a start the next segment takes the disk a while: this one has room enough.
        let is_short =
            journal.room() != JournalRoom::Ample && journal.room_bytes() < DRAIN_BYTES_MIN;
        is_short.then(|| "the journal waits for the disk to make room for its next segment".into())
    }

    /// Whether peers' values are to be dropped.
    pub fn takes_no_values(&self) -> bool {
        let pending = self.pending_bytes;
        let has_no_space = |space: &Arc<Space>| space.room(pending) == Room::None;
        let is_full = |journal: &JournalLane| journal.room() == JournalRoom::Full;
        pending > PENDING_BYTES_MAX
            || self.space.as_ref().is_some_and(has_no_space)
            || self.journal.as_ref().is_some_and(is_full)
    }

    /// What the values take.
    pub fn usage(&self) -> Usage {
        self.store.usage()
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// `disk` or `memory`.
    pub fn name(&self) -> &'static str {
        match self.journal {
            Some(_) => "disk",
            None => "memory",
        }
    }
}
