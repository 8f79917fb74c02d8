//! The threads that write and read values: one writes, in groups; one reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc as events;
use vivace_core::Lsn;
use vivace_core::stored::ValueId;

use super::engine::{Done, Loaded};
use super::space::{Room, Space};
use super::stop_process;
use super::tidying::{BEHIND_BYTES, Tidying};
use super::values::{ApplyError, Change, Saving, ValueStore};
use crate::threads::{Scheduling, Task};

/// Values written with one sync; more wait for the next.
const GROUP_BYTES_MAX: usize = 16 << 20;

/// Ids handed over at once while all are looked through.
const LISTED_IDS: usize = 1024;

/// Loads that wait for the reading thread; beyond it a message that needs one is not
/// sent, as if it were lost, and is asked for again.
pub const LOADS_MAX: usize = 1024;

/// Steps of tidying between two tries of a disk without space: a segment's worth.
const TIDY_STEPS_FULL: u32 = 256;

/// How often a disk without space is tried again, and the space of an idle one measured.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long after a look at a busy disk's space the next one may be: others write too.
const MEASURED_EVERY: Duration = Duration::from_millis(20);

/// And so many bytes of values written here make it due.
const MEASURED_EVERY_BYTES: usize = 256 << 10;

/// Changes that were handed over together.
pub struct ValueBatch {
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// The last position among them.
    pub through: Lsn,
}

impl ValueBatch {
    /// Bytes of values.
    pub fn bytes(&self) -> usize {
        let stores = self.changes.iter().map(|change| match change {
            Change::Store { value, .. } => value.len(),
            Change::Forget(_) => 0,
        });
        stores.sum()
    }
}

/// The threads. Dropped, the writing one has ended when what it was given is written, or
/// when there is no space for it; the reading one ends when nobody receives its findings.
pub struct ValueLane {
    batches: Option<mpsc::Sender<ValueBatch>>,
    loads: Option<mpsc::SyncSender<ValueId>>,
    is_stopping: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl ValueLane {
    /// Starts them.
    ///
    /// # Errors
    /// The operating system's, where it has no more threads.
    pub fn start(
        store: Arc<dyn ValueStore>,
        space: Option<Arc<Space>>,
        done: events::UnboundedSender<Done>,
        loaded: events::Sender<Loaded>,
        scheduling: Scheduling,
    ) -> std::io::Result<Self> {
        let (batches, incoming) = mpsc::channel();
        let (loads, asked) = mpsc::sync_channel(LOADS_MAX);
        let is_stopping = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            store: store.clone(),
            space,
            incoming,
            done,
            is_stopping: is_stopping.clone(),
        };
        let writer = scheduling.spawn(Task::Values, move || writer.run())?;
        scheduling.spawn(Task::Loads, move || read_values(&*store, &asked, &loaded))?;
        Ok(Self {
            batches: Some(batches),
            loads: Some(loads),
            is_stopping,
            writer: Some(writer),
        })
    }

    /// Hands changes over.
    pub fn write(&self, batch: ValueBatch) {
        if let Some(batches) = &self.batches {
            // The thread ends only after this, or with the process.
            let _ = batches.send(batch);
        }
    }

    /// Asks for a value; false where too many are being asked for.
    pub fn load(&self, id: &ValueId) -> bool {
        let loads = self.loads.as_ref();
        loads.is_some_and(|loads| loads.try_send(id.clone()).is_ok())
    }
}

impl Drop for ValueLane {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.batches = None;
        self.loads = None;
        if let Some(thread) = self.writer.take() {
            // A panic there was reported by its hook.
            let _ = thread.join();
        }
    }
}

struct Writer {
    store: Arc<dyn ValueStore>,
    space: Option<Arc<Space>>,
    incoming: mpsc::Receiver<ValueBatch>,
    done: events::UnboundedSender<Done>,
    is_stopping: Arc<AtomicBool>,
}

impl Writer {
    fn run(self) {
        let mut tidying = Tidying::begin(Instant::now());
        let (mut measured, mut written) = (Instant::now(), 0);
        loop {
            let patience = tidying.patience(Instant::now());
            let wait = patience.map_or(PATIENCE, |patience| patience.min(PATIENCE));
            match self.incoming.recv_timeout(wait) {
                Ok(first) => {
                    let Some(bytes) = self.write(first) else {
                        return;
                    };
                    written += bytes;
                    let now = Instant::now();
                    tidying.on_written(now);
                    if tidying.is_overdue(now) {
                        self.tidy_in_time(&mut tidying);
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) if patience.is_some() => {
                    self.tidy_in_time(&mut tidying);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            let is_due = written >= MEASURED_EVERY_BYTES || measured.elapsed() >= MEASURED_EVERY;
            if let Some(space) = self.space.as_ref().filter(|_| is_due) {
                space.measure();
                (measured, written) = (Instant::now(), 0);
            }
        }
    }

    fn tidy_in_time(&self, tidying: &mut Tidying) {
        let begun = Instant::now();
        let space = self.space.as_ref();
        let is_scarce = space.is_some_and(|space| space.room(BEHIND_BYTES) < Room::Ample);
        let saving = tidying.saving(begun, is_scarce);
        let left = self.tidy(saving).then(|| self.store.usage());
        tidying.on_step(begun, Instant::now(), left, is_scarce);
    }

    /// Writes what has gathered; how many bytes that were, or none where it can't and the node
    /// is stopping.
    fn write(&self, mut batch: ValueBatch) -> Option<usize> {
        let mut bytes = batch.bytes();
        while bytes < GROUP_BYTES_MAX
            && let Ok(more) = self.incoming.try_recv()
        {
            bytes += more.bytes();
            batch.changes.extend(more.changes);
            batch.through = batch.through.max(more.through);
        }
        let mut is_known = false;
        loop {
            match self.store.apply(&batch.changes) {
                Ok(()) => break,
                Err(ApplyError::NoSpace(why)) => {
                    if !is_known {
                        tracing::error!("{why}: waiting for space; writes are refused");
                        is_known = true;
                    }
                    if self.is_stopping.load(Ordering::Relaxed) {
                        return None;
                    }
                    // Removing what nobody needs may make some; a segment's worth, and the
                    // batch tries again.
                    let _ = (0..TIDY_STEPS_FULL).all(|_| self.tidy(Saving::All));
                    std::thread::sleep(PATIENCE);
                    if let Some(space) = &self.space {
                        space.measure();
                    }
                }
                Err(ApplyError::Fatal(why)) => stop_process(&why),
            }
        }
        if is_known {
            tracing::info!("there is space again; writes go on");
        }
        // The core is gone only when the node is stopping.
        let _ = self.done.send(Done::Values(batch.through));
        Some(bytes)
    }

    fn tidy(&self, saving: Saving) -> bool {
        match self.store.tidy(saving) {
            Ok(has_more) => has_more,
            Err(ApplyError::NoSpace(_)) => false,
            Err(ApplyError::Fatal(why)) => stop_process(&why),
        }
    }
}

fn read_values(
    store: &dyn ValueStore,
    asked: &mpsc::Receiver<ValueId>,
    loaded: &events::Sender<Loaded>,
) {
    while let Ok(id) = asked.recv() {
        let found = store.get(&id);
        if loaded.blocking_send(Loaded::Value(id, found)).is_err() {
            return;
        }
    }
}

/// Hands over the ids of all values, part by part, in a thread that ends by itself.
///
/// # Errors
/// The operating system's, where it has no more threads.
pub fn list_values(
    store: Arc<dyn ValueStore>,
    loaded: events::Sender<Loaded>,
    scheduling: Scheduling,
) -> std::io::Result<()> {
    let list = move || {
        for part in store.parts() {
            for ids in store.ids(part).chunks(LISTED_IDS) {
                if loaded.blocking_send(Loaded::Ids(ids.to_vec())).is_err() {
                    return;
                }
            }
        }
        let _ = loaded.blocking_send(Loaded::AllIds);
    };
    scheduling.spawn(Task::Scan, list).map(|_| ())
}
