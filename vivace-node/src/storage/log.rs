//! A plain append-only log: every record once, checksummed, group-committed.
//!
//! Directory: `identity` (text: format, cluster, node, incarnation), `lock` (held by the
//! process that writes) and `log`. Log
//! layout: frames of `length: u32 LE | crc32c of the payload: u32 LE | payload`,
//! the payload being an encoded [`Entry`]. Frames are replayed in order at start.
//! It is never compacted: it grows with every write until its owner makes a new one.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use vivace_core::codec::{self, MESSAGE_BYTES_MAX};
use vivace_core::record::Record;
use vivace_core::stored::ValueId;
use vivace_core::{Incarnation, Lsn, NodeId, Value};

use super::{Entry, OnDurable, Opened, Storage};

const FORMAT: &str = "vivace-log-2";
const HEADER_BYTES: usize = 8;

/// Why a log was not opened. What it holds was not changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory belongs to another node, cluster or format.
    #[error("{}: {found}; expected {expected}: point storage.directory elsewhere", path.display())]
    Foreign {
        /// The identity file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// A log without an identity, or an identity without its log.
    #[error(
        "{}: is missing beside its counterpart; a node that lost its state must not vote under \
         its old id", path.display()
    )]
    Incomplete {
        /// The missing file.
        path: PathBuf,
    },
    /// A frame in the middle is damaged: acknowledged state may be lost.
    #[error(
        "{}: damaged at byte {offset} with intact records after it; this node may have forgotten \
         what it acknowledged and must not vote: restore the file or replace the node",
        path.display()
    )]
    Damaged {
        /// The log.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// Another process has the log open.
    #[error("{}: is in use by another process: stop it first", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The node has started 65,535 times.
    #[error("{}: no incarnation is left; replace the node", path.display())]
    Exhausted {
        /// The identity file.
        path: PathBuf,
    },
}

/// The log of one node and its writing thread.
pub struct LogStorage {
    values: BTreeMap<ValueId, Value>,
    batch: Vec<u8>,
    last: Lsn,
    pending: Arc<AtomicU64>,
    /// None only while it is being dropped.
    batches: Option<mpsc::Sender<(Vec<u8>, Lsn)>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl LogStorage {
    /// Opens or makes the log, reads what it holds, and counts a new incarnation.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(
        directory: &Path,
        cluster: &str,
        node: NodeId,
        on_durable: OnDurable,
    ) -> Result<Opened, LogError> {
        fs::create_dir_all(directory).map_err(|source| at(directory, source))?;
        let lock = lock(directory)?;
        let identity_path = directory.join("identity");
        let log_path = directory.join("log");
        // A first start that ended early leaves an empty log and no identity.
        let log_holds_records = fs::metadata(&log_path).is_ok_and(|log| log.len() > 0);
        match (identity_path.exists(), log_path.exists()) {
            (true, false) => return Err(LogError::Incomplete { path: log_path }),
            (false, _) if log_holds_records => {
                return Err(LogError::Incomplete {
                    path: identity_path,
                });
            }
            (true, true) | (false, _) => {}
        }
        let earlier = read_identity(&identity_path, cluster, node)?;
        let (entries, end) = match earlier {
            Some(_) => replay(&log_path)?,
            None => (Vec::new(), 0),
        };
        let (records, values) = sort(entries);
        let life = earlier
            .unwrap_or(0)
            .checked_add(1)
            .ok_or_else(|| LogError::Exhausted {
                path: identity_path.clone(),
            })?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&log_path)
            .map_err(|source| at(&log_path, source))?;
        file.set_len(end)
            .and_then(|()| file.sync_all())
            .map_err(|source| at(&log_path, source))?;
        write_identity(directory, &identity_path, cluster, node, life)?;
        let storage = Self::start(file, end, values, log_path, lock, on_durable)?;
        Ok(Opened {
            storage: Box::new(storage),
            incarnation: Incarnation(life),
            records,
        })
    }

    fn start(
        mut file: File,
        end: u64,
        values: BTreeMap<ValueId, Value>,
        path: PathBuf,
        lock: File,
        on_durable: OnDurable,
    ) -> Result<Self, LogError> {
        file.seek(SeekFrom::Start(end))
            .map_err(|source| at(&path, source))?;
        let (batches, incoming) = mpsc::channel();
        let pending = Arc::new(AtomicU64::new(0));
        let written = pending.clone();
        let name = path.clone();
        let thread = thread::Builder::new()
            .name("vivace-log".into())
            .spawn(move || {
                // Held as long as anything may still be written.
                let _lock = lock;
                write_batches(&mut file, &path, &incoming, &written, &on_durable);
            })
            .map_err(|source| at(&name, source))?;
        Ok(Self {
            values,
            batch: Vec::new(),
            last: Lsn::default(),
            pending,
            batches: Some(batches),
            thread: Some(thread),
        })
    }
}

impl Storage for LogStorage {
    fn append(&mut self, lsn: Lsn, entry: Entry) {
        let payload = codec::encode(&entry);
        self.batch
            .extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.batch
            .extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
        self.batch.extend_from_slice(&payload);
        self.last = lsn;
        if let Entry::Value(id, value) = entry {
            self.values.insert(id, value);
        }
    }

    fn forget(&mut self, id: ValueId) {
        self.values.remove(&id);
        self.append(self.last, Entry::Forget(id));
    }

    fn load(&self, id: &ValueId) -> Option<Value> {
        self.values.get(id).cloned()
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        self.pending
            .fetch_add(batch.len() as u64, Ordering::Relaxed);
        if let Some(batches) = &self.batches {
            // The thread ends only after this, or with the process.
            let _ = batches.send((batch, self.last));
        }
    }

    fn pending_bytes(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    fn name(&self) -> &'static str {
        "log"
    }
}

impl Drop for LogStorage {
    /// Waits until all that was flushed is written and the directory is free.
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by its hook.
            let _ = thread.join();
        }
    }
}

/// Writes what has gathered, syncs once, reports; until the node is dropped.
fn write_batches(
    file: &mut File,
    path: &Path,
    incoming: &mpsc::Receiver<(Vec<u8>, Lsn)>,
    pending: &AtomicU64,
    on_durable: &OnDurable,
) {
    while let Ok((mut bytes, mut last)) = incoming.recv() {
        for (more, lsn) in incoming.try_iter() {
            bytes.extend_from_slice(&more);
            last = lsn;
        }
        if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_data()) {
            // After a failed sync nobody knows what is on the disk, and a second sync
            // may lie: only a restart that reads it can tell.
            tracing::error!(
                "{}: {error}: stopping, for nothing more can be promised",
                path.display()
            );
            std::process::exit(EXIT_STORAGE);
        }
        pending.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
        on_durable(last);
    }
}

/// The process's exit code after a failed write or sync.
pub const EXIT_STORAGE: i32 = 74;

fn at(path: &Path, source: io::Error) -> LogError {
    LogError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Takes the directory for this process. The kernel gives it back when the process
/// ends, however it ends.
fn lock(directory: &Path) -> Result<File, LogError> {
    let path = directory.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| at(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(LogError::InUse { path }),
        Err(fs::TryLockError::Error(source)) => Err(at(&path, source)),
    }
}

/// The incarnation that `path` records; none where there is no file.
fn read_identity(path: &Path, cluster: &str, node: NodeId) -> Result<Option<u16>, LogError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(at(path, source)),
    };
    let expected = format!("{FORMAT} cluster {cluster} node {}", node.0);
    let foreign = || LogError::Foreign {
        path: path.to_owned(),
        found: format!("holds {:?}", text.trim()),
        expected: expected.clone(),
    };
    let (owner, life) = text
        .trim()
        .rsplit_once(" incarnation ")
        .ok_or_else(foreign)?;
    if owner != expected {
        return Err(foreign());
    }
    life.parse().map(Some).map_err(|_| foreign())
}

fn write_identity(
    directory: &Path,
    path: &Path,
    cluster: &str,
    node: NodeId,
    life: u16,
) -> Result<(), LogError> {
    let new = directory.join("identity.new");
    let text = format!(
        "{FORMAT} cluster {cluster} node {} incarnation {life}\n",
        node.0
    );
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|source| at(path, source))
}

fn sort(entries: Vec<Entry>) -> (Vec<Record>, BTreeMap<ValueId, Value>) {
    let (mut records, mut values) = (Vec::new(), BTreeMap::new());
    for entry in entries {
        match entry {
            Entry::Record(record) => records.push(record),
            Entry::Value(id, value) => drop(values.insert(id, value)),
            Entry::Forget(id) => drop(values.remove(&id)),
        }
    }
    (records, values)
}

/// The entries of a log and where its intact part ends. A torn tail is left out.
fn replay(path: &Path) -> Result<(Vec<Entry>, u64), LogError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(|source| at(path, source))?;
    let mut records = Vec::new();
    let mut offset = 0;
    while let Some((record, next)) = frame_at(&bytes, offset) {
        records.push(record);
        offset = next;
    }
    // What an unfinished write left behind holds no intact frame: it was one write,
    // and its records were never acknowledged.
    let intact_later = (offset + 1..bytes.len()).any(|start| frame_at(&bytes, start).is_some());
    if intact_later {
        return Err(LogError::Damaged {
            path: path.to_owned(),
            offset: offset as u64,
        });
    }
    Ok((records, offset as u64))
}

fn frame_at(bytes: &[u8], offset: usize) -> Option<(Entry, usize)> {
    let header = bytes.get(offset..offset + HEADER_BYTES)?;
    let (length, crc) = header.split_at(4);
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let crc = u32::from_le_bytes(crc.try_into().ok()?);
    let start = offset + HEADER_BYTES;
    let payload = bytes.get(start..start.checked_add(length)?)?;
    if length == 0 || crc32c::crc32c(payload) != crc {
        return None;
    }
    let record = codec::decode(payload, MESSAGE_BYTES_MAX).ok()?;
    Some((record, start + length))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as channel;

    use super::*;

    fn record(time: u64) -> Record {
        Record::ClockHighWater { time }
    }

    fn open(directory: &Path) -> Result<(Opened, channel::Receiver<Lsn>), LogError> {
        let (sender, durable) = channel::channel();
        let on_durable = Box::new(move |lsn| {
            let _ = sender.send(lsn);
        });
        LogStorage::open(directory, "test", NodeId(1), on_durable).map(|opened| (opened, durable))
    }

    fn write(directory: &Path, times: std::ops::RangeInclusive<u64>) {
        let (mut opened, durable) = open(directory).expect("opens");
        let count = times.clone().count() as u64;
        for (lsn, time) in (1..).zip(times) {
            opened.storage.append(Lsn(lsn), Entry::Record(record(time)));
        }
        opened.storage.flush();
        let last = durable.recv().expect("the log thread reports");
        assert_eq!(last, Lsn(count));
    }

    #[test]
    fn records_survive_a_restart_in_order_under_a_new_incarnation() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        write(directory.path(), 1..=3);
        write(directory.path(), 4..=5);
        let (opened, _durable) = open(directory.path()).expect("opens");
        assert_eq!(opened.incarnation, Incarnation(3));
        assert_eq!(opened.records, (1..=5).map(record).collect::<Vec<_>>());
    }

    #[test]
    fn torn_tail_is_cut_and_the_log_goes_on_behind_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        write(directory.path(), 1..=3);
        let path = directory.path().join("log");
        let length = fs::metadata(&path).expect("metadata").len();
        let file = OpenOptions::new().write(true).open(&path).expect("opens");
        file.set_len(length - 1).expect("truncates");
        write(directory.path(), 4..=4);
        let (opened, _durable) = open(directory.path()).expect("opens");
        assert_eq!(opened.records, [1, 2, 4].map(record));
    }

    #[test]
    fn damage_in_the_middle_is_refused_with_its_offset() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        write(directory.path(), 1..=3);
        let path = directory.path().join("log");
        let mut bytes = fs::read(&path).expect("reads");
        let frame = bytes.len() / 3;
        bytes[frame + HEADER_BYTES] ^= 1;
        fs::write(&path, &bytes).expect("writes");
        match open(directory.path()).map(|_| ()) {
            Err(LogError::Damaged { offset, .. }) => assert_eq!(offset, frame as u64),
            other => panic!("expected damage, got {other:?}"),
        }
    }

    #[test]
    fn a_log_in_use_is_refused_and_unharmed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        write(directory.path(), 1..=2);
        let (mut opened, durable) = open(directory.path()).expect("opens");
        for _ in 0..3 {
            let second = open(directory.path()).map(|_| ());
            assert!(matches!(second, Err(LogError::InUse { .. })), "{second:?}");
        }
        opened.storage.append(Lsn(1), Entry::Record(record(3)));
        opened.storage.flush();
        durable.recv().expect("the log thread reports");
        drop(opened);
        drop(durable);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let (opened, _durable) = loop {
            match open(directory.path()) {
                Ok(opened) => break opened,
                // The writing thread of the first is about to end.
                Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
            }
        };
        assert_eq!(opened.records, [1, 2, 3].map(record));
        assert_eq!(
            opened.incarnation,
            Incarnation(3),
            "a refused start uses none up"
        );
    }

    #[test]
    fn foreign_and_incomplete_directories_are_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        write(directory.path(), 1..=1);
        let refused = LogStorage::open(directory.path(), "test", NodeId(2), Box::new(|_| ()));
        assert!(matches!(refused.map(|_| ()), Err(LogError::Foreign { .. })));
        fs::remove_file(directory.path().join("log")).expect("removes");
        assert!(matches!(
            open(directory.path()).map(|_| ()),
            Err(LogError::Incomplete { .. })
        ));
    }
}
