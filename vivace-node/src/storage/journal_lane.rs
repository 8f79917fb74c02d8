//! The threads that keep the journal: one commits, in groups; one prepares segments and
//! writes checkpoints.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc as events;
use vivace_core::Lsn;
use vivace_core::journal::{
    Appender, Batch, Committer, Keeper, NoRoom, Opened, Room, Sealed, Segment, Step,
};
use vivace_core::record::Record;

use super::engine::Done;
use super::journal_disk::{JournalDisk, JournalFile};
use super::stop_process;
use crate::threads::{Scheduling, Task};

/// How often a disk without space, and a checkpoint that must wait, are tried again.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long a record that nobody waits for waits for one that somebody does: a sync saved
/// counts for more than its few bytes, which only a crash can lose.
const LATER_MAX: Duration = Duration::from_millis(20);

/// Bytes of such records that are written without another's company.
const LATER_BYTES_MAX: usize = 64 << 10;

/// Up to where checkpoints may go; 0 while that is nowhere.
#[derive(Debug, Default)]
struct Settled(AtomicU64);

impl Settled {
    fn get(&self) -> Option<Lsn> {
        let through = self.0.load(Ordering::Relaxed);
        (through > 0).then_some(Lsn(through))
    }
}

/// What was handed to the disk together.
pub struct Handed {
    /// The first and last position; none where nobody waits for what it holds.
    pub positions: Option<(Lsn, Lsn)>,
    /// Its length.
    pub bytes: u64,
    /// With it, so many records were handed over.
    pub records: u64,
}

/// The journal of a running node. Dropped, it ends when all it was given is durable.
pub struct JournalLane {
    appender: Appender<JournalFile>,
    /// Records for which no segment has room yet; those without a position can wait.
    overflow: VecDeque<(Option<Lsn>, Record)>,
    /// The first position of the next batch; none where nobody waits for it.
    first: Option<Lsn>,
    /// The last position that was given.
    last: Lsn,
    /// Since when a record waits that nobody waits for.
    later_since: Option<Instant>,
    /// Records so far, with those in `overflow`.
    records: u64,
    batches: Option<mpsc::Sender<Batch<JournalFile>>>,
    settled: Arc<Settled>,
    threads: Vec<JoinHandle<()>>,
}

impl JournalLane {
    /// Starts the threads of an open journal.
    ///
    /// # Errors
    /// The operating system's, where it has no more threads.
    pub fn start(
        opened: Opened<JournalDisk>,
        done: events::UnboundedSender<Done>,
        scheduling: Scheduling,
    ) -> std::io::Result<Self> {
        let (batches, incoming) = mpsc::channel();
        let settled = Arc::new(Settled::default());
        let known = settled.clone();
        let (sealed, kept) = mpsc::channel();
        let Opened {
            appender,
            committer,
            keeper,
            ..
        } = opened;
        let prepared = done.clone();
        let commit = move || commit_batches(committer, &incoming, &done, &sealed);
        let keep = move || keep_journal(keeper, &kept, &prepared, &known);
        Ok(Self {
            appender,
            overflow: VecDeque::new(),
            first: None,
            last: Lsn::default(),
            later_since: None,
            records: 0,
            batches: Some(batches),
            settled,
            threads: vec![
                scheduling.spawn(Task::Journal, commit)?,
                scheduling.spawn(Task::Keeper, keep)?,
            ],
        })
    }

    /// Adds a record behind all earlier ones.
    pub fn append(&mut self, lsn: Lsn, record: Record) {
        self.push(Some(lsn), record);
    }

    /// Adds a record behind all earlier ones, which nobody waits for.
    pub fn append_later(&mut self, record: Record) {
        self.later_since.get_or_insert_with(Instant::now);
        self.push(None, record);
    }

    fn push(&mut self, lsn: Option<Lsn>, record: Record) {
        self.records += 1;
        self.overflow.push_back((lsn, record));
        self.take_in();
    }

    /// How many records it was given.
    pub fn records(&self) -> u64 {
        self.records
    }

    fn take_in(&mut self) {
        while let Some((lsn, record)) = self.overflow.front() {
            let lsn = *lsn;
            match self.appender.append(lsn.unwrap_or(self.last), record) {
                Ok(()) => {
                    self.overflow.pop_front();
                    self.first = self.first.or(lsn);
                    self.last = lsn.unwrap_or(self.last);
                }
                Err(NoRoom) => return,
            }
        }
    }

    /// Takes the next segment.
    pub fn add_segment(&mut self, segment: Segment<JournalFile>) {
        self.appender.add_segment(segment);
        self.take_in();
    }

    /// When to ask for [`JournalLane::flush`] at the latest.
    pub fn flush_by(&self) -> Option<Instant> {
        self.later_since.map(|since| since + LATER_MAX)
    }

    /// Hands over what was appended, where somebody waits for it or it has waited long enough.
    pub fn flush(&mut self) -> Option<Handed> {
        let is_due = self.first.is_some()
            || self.appender.pending_bytes() > LATER_BYTES_MAX
            || self.flush_by().is_some_and(|by| by <= Instant::now());
        is_due.then(|| self.hand_over()).flatten()
    }

    fn hand_over(&mut self) -> Option<Handed> {
        self.later_since = (!self.overflow.is_empty()).then(Instant::now);
        let batch = self.appender.take_batch()?;
        let bytes = batch.bytes() as u64;
        if let Some(batches) = &self.batches {
            // The thread ends only after this, or with the process.
            let _ = batches.send(batch);
        }
        let positions = self.first.take().map(|first| (first, self.last));
        let records = self.records - self.overflow.len() as u64;
        Some(Handed {
            positions,
            bytes,
            records,
        })
    }

    /// All up to here is durable, the values too: checkpoints may cover it.
    pub fn settle(&self, durable: Lsn) {
        if let Some(through) = self.appender.settled(durable) {
            self.settled.0.store(through.0, Ordering::Relaxed);
        }
    }

    /// The first position for whose record there was no room yet.
    pub fn first_held(&self) -> Option<Lsn> {
        self.overflow.iter().find_map(|(lsn, _)| *lsn)
    }

    /// How much more it takes.
    pub fn room(&self) -> Room {
        match self.overflow.is_empty() {
            true => self.appender.room(),
            false => Room::Full,
        }
    }

    /// Bytes of records that it takes without another segment.
    pub fn room_bytes(&self) -> u64 {
        self.appender.room_bytes()
    }
}

impl Drop for JournalLane {
    fn drop(&mut self) {
        let _ = self.hand_over();
        self.batches = None;
        for thread in self.threads.drain(..) {
            // A panic there was reported by its hook.
            let _ = thread.join();
        }
    }
}

fn commit_batches(
    mut committer: Committer<JournalFile>,
    incoming: &mpsc::Receiver<Batch<JournalFile>>,
    done: &events::UnboundedSender<Done>,
    sealed: &mpsc::Sender<Sealed>,
) {
    while let Ok(mut batch) = incoming.recv() {
        let mut batches = 1;
        for more in incoming.try_iter() {
            batch.merge(more);
            batches += 1;
        }
        match committer.commit(batch) {
            Ok(committed) => {
                for segment in committed.sealed {
                    let _ = sealed.send(segment);
                }
                // The core is gone only when the node is stopping.
                let through = committed.through;
                let _ = done.send(Done::Journal { through, batches });
            }
            Err(error) => stop_process(&error),
        }
    }
}

fn keep_journal(
    mut keeper: Keeper<JournalDisk>,
    sealed: &mpsc::Receiver<Sealed>,
    prepared: &events::UnboundedSender<Done>,
    settled: &Settled,
) {
    let mut is_known = false;
    loop {
        keeper.settle(settled.get());
        for segment in sealed.try_iter() {
            keeper.on_sealed(segment);
        }
        let (waits, waits_for_space) = match keeper.step() {
            Ok(Step::Worked | Step::Checkpointed { .. }) => continue,
            Ok(Step::Prepared(segment)) => {
                let _ = prepared.send(Done::Segment(segment));
                continue;
            }
            Ok(Step::Idle) => (false, false),
            Ok(Step::Unsettled) => (true, false),
            Ok(Step::NoSpace(why)) => {
                if !is_known {
                    tracing::error!("{why}: waiting for space; writes will be refused");
                }
                (true, true)
            }
            Err(error) => stop_process(&error),
        };
        is_known = waits_for_space;
        let next = match waits {
            true => sealed.recv_timeout(PATIENCE),
            false => sealed
                .recv()
                .map_err(|_| mpsc::RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(segment) => keeper.on_sealed(segment),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}
