//! Values in files that are only ever appended to.
//!
//! Directory: segments `NNNNNNNN.values` (hexadecimal, ascending), of about
//! [`SEGMENT_BYTES`] each: a header of [`SEGMENT_HEADER_BYTES`], then frames
//! ([`super::frame`]); beside each full one its list `NNNNNNNN.ids`
//! ([`super::listing`]). The last segment is written to. Full ones of which half is no
//! longer needed are copied to the end, and their files kept for later segments
//! (`NNNNNNNN.spare`) or removed (`NNNNNNNN.gone`; [`super::compaction`]).

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use vivace_core::stored::ValueId;

use super::compaction::{Leaving, Victim};
use super::frame::{self, Seal};
use super::index::{Index, Place};
use super::listing::{Entry, LISTING_BYTES_MAX, Listing};
use super::recovery::Found;
use super::segment;
use super::{ApplyError, Change, Lookup, Part, Saving, Usage, ValueStore, recovery};
use crate::storage::identity::DirectoryId;

/// A segment takes no more groups beyond this. Larger ones are rarer to change over;
/// smaller ones give space back in smaller steps, and a start reads the last one whole.
pub(super) const SEGMENT_BYTES: u64 = 64 << 20;

/// Zeros written behind a short group. A sync that makes a file longer has the file system
/// commit the length too; the groups that follow are written over the zeros. Measured on
/// ext4: a group of 1.1 KB takes 85 µs, not 134, and 5.9 bytes of the device per byte, not
/// 8.4; one of 9 KB 92 µs, not 153, and 2.5 bytes, not 1.9.
const ZEROS_BYTES: usize = 128 << 10;

/// Longer groups do without: there the zeros' bytes cost more than they save.
const SHORT_GROUP_BYTES: usize = 16 << 10;

/// Room for a group's frames beyond this is given back when they are written.
const GROUP_BYTES_KEPT: usize = 1 << 20;

/// Segments kept open for reading.
const OPEN_FILES_MAX: usize = 128;

/// Why a directory of values was not opened. It was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Values of another data directory.
    #[error(
        "{}: belongs to data directory {found}, and this is {expected}: put it back where it \
         came from; without its values this node fetches them from the other replicas",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: DirectoryId,
        /// Whose it should be.
        expected: DirectoryId,
    },
    /// Written by later code.
    #[error(
        "{}: is of format {found}, and this program reads up to {}: run the newer program",
        path.display(), super::segment::FORMAT
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format that it names.
        found: u32,
    },
}

/// What opening found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Values.
    pub values: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Places at which frames are damaged; their values are missing.
    pub damaged: u64,
    /// Bytes of an unfinished last write, cut off.
    pub cut_bytes: u64,
}

/// Values on the disk.
pub struct ValueLog {
    pub(super) home: PathBuf,
    pub(super) directory: DirectoryId,
    pub(super) segment_bytes: u64,
    pub(super) shared: Mutex<Shared>,
    pub(super) writer: Mutex<Writer>,
}

/// What readers and the writer share.
pub(super) struct Shared {
    pub index: Index,
    files: BTreeMap<u32, Arc<File>>,
}

/// The end of the log.
pub(super) struct Writer {
    pub segment: u32,
    pub file: Arc<File>,
    pub end: u64,
    /// Up to here there are bytes to write over: zeros, or an earlier segment's.
    pub laid_end: u64,
    pub listing: Listing,
    /// Frames copied behind the last sync.
    pub is_unsynced: bool,
    pub victim: Option<Victim>,
    pub leaving: Option<Leaving>,
    /// Files to use again.
    pub spares: Vec<PathBuf>,
    /// Room for a group's frames, kept for the next one.
    pub frames: Vec<u8>,
}

impl ValueLog {
    /// Opens the values in `home`, or makes it. `progress` hears bytes done and bytes in
    /// all.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        home: &Path,
        directory: DirectoryId,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(Self, Recovered), OpenError> {
        Self::with_segments(home, directory, SEGMENT_BYTES, progress)
    }

    /// As [`ValueLog::open`], with segments of `segment_bytes`.
    pub(super) fn with_segments(
        home: &Path,
        directory: DirectoryId,
        segment_bytes: u64,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(Self, Recovered), OpenError> {
        Self::of_segments(recovery::read(home, directory, progress)?, segment_bytes)
    }

    /// Reads what is in `home`, which may be missing; nothing is changed. `progress` hears
    /// bytes done and bytes in all.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn look(
        home: &Path,
        directory: DirectoryId,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Found, OpenError> {
        recovery::read(home, directory, progress)
    }

    /// Opens what was read: cuts off an unfinished last write, or makes the directory.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn of(found: Found) -> Result<(Self, Recovered), OpenError> {
        Self::of_segments(found, SEGMENT_BYTES)
    }

    fn of_segments(found: Found, segment_bytes: u64) -> Result<(Self, Recovered), OpenError> {
        let (home, directory) = (found.home().to_owned(), found.directory());
        let (index, writer, recovered) = found.finish()?;
        let log = Self {
            home,
            directory,
            segment_bytes,
            shared: Mutex::new(Shared {
                index,
                files: BTreeMap::from([(writer.segment, writer.file.clone())]),
            }),
            writer: Mutex::new(writer),
        };
        Ok((log, recovered))
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, Shared> {
        // Only counters could be half changed, and only by a panic in std's maps.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        // What a panic left unindexed counts as missing.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn values_path(&self, segment: u32) -> PathBuf {
        segment::values_path(&self.home, segment)
    }

    pub(super) fn failed(&self, segment: u32, what: &str, error: &io::Error) -> ApplyError {
        let text = format!("{}: {what}: {error}", self.values_path(segment).display());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ApplyError::NoSpace(text),
            _ => ApplyError::Fatal(text),
        }
    }

    /// Writes `frames` at the end.
    pub(super) fn append(&self, writer: &mut Writer, frames: &[u8]) -> Result<(), ApplyError> {
        let end = writer.end + frames.len() as u64;
        if end > writer.laid_end && frames.len() <= SHORT_GROUP_BYTES {
            let zeros = [frames, &vec![0; ZEROS_BYTES]].concat();
            // Where there is no space for them, there may be for the frames.
            if writer.file.write_all_at(&zeros, writer.end).is_ok() {
                writer.laid_end = end + ZEROS_BYTES as u64;
                writer.end = end;
                return Ok(());
            }
        }
        let written = writer.file.write_all_at(frames, writer.end);
        if let Err(error) = written {
            // What was written of it is written over; the space is for others until then.
            writer.cut_rest();
            return Err(self.failed(writer.segment, "can't write", &error));
        }
        writer.end = end;
        Ok(())
    }

    pub(super) fn sync(&self, writer: &mut Writer) -> Result<(), ApplyError> {
        writer.file.sync_data().map_err(|error| {
            // Even for want of space: whether the pages are still there is unknown.
            let path = self.values_path(writer.segment);
            ApplyError::Fatal(format!("{}: can't sync: {error}", path.display()))
        })?;
        writer.is_unsynced = false;
        Ok(())
    }

    /// Goes on in a new segment where this one is full.
    pub(super) fn turn_over(&self, writer: &mut Writer) -> Result<(), ApplyError> {
        if writer.end < self.segment_bytes && writer.listing.bytes() < LISTING_BYTES_MAX {
            return Ok(());
        }
        if writer.is_unsynced {
            self.sync(writer)?;
        }
        writer.cut_rest();
        let next = writer.segment + 1;
        let (file, laid_end) = self.next_segment(writer, next)?;
        // Only a hint: without it the next start reads the segment.
        let listing = writer.listing.encode(writer.segment, self.directory);
        let path = segment::listing_path(&self.home, writer.segment);
        if let Err(error) = fs::write(&path, listing) {
            tracing::warn!("{}: {error}: the next start takes longer", path.display());
            let _ = fs::remove_file(&path);
        }
        let mut shared = self.shared();
        shared.keep_open(next, file.clone());
        shared.index.set_bytes(next, segment::SEGMENT_HEADER_BYTES);
        drop(shared);
        writer.segment = next;
        writer.file = file;
        writer.end = segment::SEGMENT_HEADER_BYTES;
        writer.laid_end = laid_end;
        writer.listing = Listing::default();
        Ok(())
    }

    /// The file of the segment `next`, and up to where there are bytes to write over.
    fn next_segment(&self, writer: &mut Writer, next: u32) -> Result<(Arc<File>, u64), ApplyError> {
        if let Some(spare) = writer.spares.pop() {
            match segment::reuse(&self.home, next, self.directory, &spare) {
                Ok((file, bytes)) => return Ok((Arc::new(file), bytes)),
                Err(error) => tracing::warn!("{}: {error}: not used again", spare.display()),
            }
        }
        match segment::make(&self.home, next, self.directory) {
            Ok(file) => Ok((Arc::new(file), 0)),
            Err(error) => Err(self.failed(next, "can't make it", &error)),
        }
    }

    /// The frame at `place`.
    pub(super) fn read(&self, place: Place) -> io::Result<Bytes> {
        let open = self.shared().files.get(&place.segment).cloned();
        let file = match open {
            Some(file) => file,
            None => {
                let path = self.values_path(place.segment);
                let file = Arc::new(OpenOptions::new().read(true).open(path)?);
                self.shared().keep_open(place.segment, file.clone());
                file
            }
        };
        let mut frame = vec![0; place.bytes as usize];
        file.read_exact_at(&mut frame, u64::from(place.offset))?;
        Ok(frame.into())
    }

    /// Key, place, and whether it is a record, of every frame of `segment`, needed or not.
    fn entries(&self, segment: u32) -> Vec<(Vec<u8>, Place, bool)> {
        let owned = |entry: Entry<'_>| (entry.key.to_owned(), entry.place, entry.is_record);
        {
            let writer = self.writer();
            if writer.segment == segment {
                return writer.listing.iter(segment).map(owned).collect();
            }
        }
        let listing = recovery::listing_of(&self.home, segment, self.directory);
        listing.iter(segment).map(owned).collect()
    }
}

impl Writer {
    /// Gives back what is behind the end. Left there, it does no harm.
    fn cut_rest(&mut self) {
        let _ = self.file.set_len(self.end);
        self.laid_end = 0;
    }
}

impl Shared {
    fn keep_open(&mut self, segment: u32, file: Arc<File>) {
        if self.files.len() >= OPEN_FILES_MAX {
            self.files.pop_first();
        }
        self.files.insert(segment, file);
    }

    pub fn close(&mut self, segment: u32) {
        self.files.remove(&segment);
    }
}

impl ValueStore for ValueLog {
    fn apply(&self, changes: &[Change]) -> Result<(), ApplyError> {
        let mut writer = self.writer();
        // Where it fails, the next group makes room anew.
        let mut frames = std::mem::take(&mut writer.frames);
        let mut placed = Vec::new();
        let stores = changes.iter().filter_map(|change| match change {
            Change::Store {
                id,
                value,
                is_record,
            } => Some((id, value, *is_record)),
            Change::Forget(_) => None,
        });
        let mut stores = stores.peekable();
        if stores.peek().is_some() {
            self.turn_over(&mut writer)?;
            let seal = Seal::Segment(writer.segment);
            for (id, value, is_record) in stores {
                let (at, key) = (frames.len(), frame::key(id));
                let bytes = frame::write(&mut frames, seal, &key, value, is_record) as u32;
                let offset = writer.end + at as u64;
                placed.push((frame::key_range(at, &key), offset, bytes, is_record));
            }
            self.append(&mut writer, &frames)?;
            self.sync(&mut writer)?;
        }
        let mut placed = placed.into_iter();
        let mut shared = self.shared();
        for change in changes {
            match change {
                Change::Store { .. } => {
                    let (key, offset, bytes, is_record) =
                        placed.next().expect("one for each store");
                    let key = &frames[key];
                    let place = Place {
                        segment: writer.segment,
                        offset: u32::try_from(offset).expect("a segment is far below 4 GiB"),
                        bytes,
                    };
                    shared.index.insert(key, place);
                    writer.listing.push(key, place, is_record);
                }
                Change::Forget(id) => shared.index.remove(&frame::key(id)),
            }
        }
        shared.index.set_bytes(writer.segment, writer.end);
        drop(shared);
        frames.clear();
        frames.shrink_to(GROUP_BYTES_KEPT);
        writer.frames = frames;
        Ok(())
    }

    fn tidy(&self, saving: Saving) -> Result<bool, ApplyError> {
        self.compact(saving)
    }

    fn get(&self, id: &ValueId) -> Lookup {
        let key = frame::key(id);
        loop {
            let Some(place) = self.shared().index.get(&key) else {
                return Lookup::Missing;
            };
            let at = || {
                let path = self.values_path(place.segment);
                format!("{} at byte {}", path.display(), place.offset)
            };
            match self.read(place) {
                Ok(bytes) => {
                    match frame::value(&key, &bytes, place.segment) {
                        Ok(value) => return Lookup::Found(value),
                        // It was moved, and its segment's file used again, in between.
                        Err(_) if self.shared().index.get(&key) != Some(place) => {}
                        Err(what) => return Lookup::Damaged(format!("{}: {what}", at())),
                    }
                }
                // It was moved, and its segment removed, in between.
                Err(_) if self.shared().index.get(&key) != Some(place) => {}
                Err(error) => return Lookup::Damaged(format!("{}: {error}", at())),
            }
        }
    }

    fn contains(&self, id: &ValueId) -> bool {
        self.shared().index.get(&frame::key(id)).is_some()
    }

    fn parts(&self) -> Vec<Part> {
        let shared = self.shared();
        let segments = shared.index.segments();
        segments.map(|(segment, _)| Part(segment)).collect()
    }

    fn ids(&self, part: Part) -> Vec<ValueId> {
        let entries = self.entries(part.0);
        let shared = self.shared();
        entries
            .into_iter()
            .filter(|(key, place, _)| shared.index.get(key) == Some(*place))
            .filter_map(|(key, ..)| frame::id(&key))
            .collect()
    }

    fn records(&self, part: Part) -> Vec<(ValueId, u32)> {
        let entries = self.entries(part.0);
        let shared = self.shared();
        let records = entries
            .into_iter()
            .filter(|(key, _, is_record)| *is_record && shared.index.get(key).is_some());
        let named = records.map(|(key, place, _)| {
            let bytes = frame::value_bytes(&key, place.bytes);
            frame::id(&key).map(|id| (id, bytes))
        });
        named.flatten().collect()
    }

    fn usage(&self) -> Usage {
        self.shared().index.usage()
    }
}
