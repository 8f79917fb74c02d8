//! Giving space back: what is still needed of a segment moves to the end of the log,
//! then its file is kept for a later one, or goes, piece by piece.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::frame::{self, Seal};
use super::index::{Filled, Place};
use super::listing::Listing;
use super::segment;
use super::value_log::{ValueLog, Writer};
use super::{ApplyError, DEAD_BYTES, Saving, Usage, recovery};

/// Bytes moved in one step: a millisecond of a disk, between two groups.
const STEP_BYTES: usize = 256 << 10;

/// Entries looked at in one step, needed or not: a millisecond where each is read and moved.
/// A segment of short values has a hundred thousand, and writes would wait for all.
const STEP_ENTRIES: usize = 512;

/// Bytes given back in one step, 0.3 to 0.7 ms: to remove a file of 64 MiB at once takes the
/// kernel 9 to 13, and writes would wait.
const GIVEN_BACK_BYTES: u64 = 2 << 20;

/// Files kept for later segments. To write over what a file has is half of a sync: its length
/// and where it stands on the disk are known. Measured on ext4, 16 KB each: 140 µs instead of
/// 260, medians of 600.
const SPARES_MAX: usize = 2;

/// A file of which nothing is needed any more.
pub(super) struct Leaving {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Leaving {
    /// Puts a segment's file out of the next start's sight.
    fn begin(segment: &Path) -> io::Result<Self> {
        let path = segment::leaving_path(segment);
        fs::rename(segment, &path)?;
        let file = OpenOptions::new().write(true).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes })
    }

    /// Gives the last piece back; whether more are left.
    fn step(&mut self) -> io::Result<bool> {
        self.bytes = self.bytes.saturating_sub(GIVEN_BACK_BYTES);
        if self.bytes > 0 {
            self.file.set_len(self.bytes)?;
            return Ok(true);
        }
        fs::remove_file(&self.path).map(|()| false)
    }
}

/// A segment on its way out.
pub(super) struct Victim {
    segment: u32,
    listing: Listing,
    /// How much of it was looked at, in bytes.
    seen: usize,
}

/// At half of a segment dead, a byte of space costs a byte of copying.
fn is_worth_it(filled: Filled) -> bool {
    filled.live * 2 <= filled.bytes
}

/// Whether so much is dead that it goes even if that costs work.
pub(super) fn is_too_much(usage: Usage) -> bool {
    usage.dead_bytes > usage.needed_bytes().max(DEAD_BYTES)
}

impl ValueLog {
    /// One step; whether another is worth it.
    pub(super) fn compact(&self, saving: Saving) -> Result<bool, ApplyError> {
        if self.give_back(saving) {
            return Ok(true);
        }
        let taken = self.writer().victim.take();
        let Some(mut victim) = taken.or_else(|| self.next_victim(saving)) else {
            return Ok(false);
        };
        let mut writer = self.writer();
        let outcome = self.move_some(&mut writer, &mut victim);
        if outcome.is_ok() && victim.seen == victim.listing.bytes() {
            self.remove(&mut writer, victim.segment, saving)?;
        } else {
            writer.victim = Some(victim);
        }
        outcome.map(|()| true)
    }

    /// A step of what is leaving, if anything is.
    fn give_back(&self, saving: Saving) -> bool {
        let mut writer = self.writer();
        if writer.leaving.is_none()
            && saving == Saving::All
            && let Some(spare) = writer.spares.pop()
        {
            begin_leaving(&mut writer, &spare);
        }
        let Some(leaving) = &mut writer.leaving else {
            return false;
        };
        match leaving.step() {
            Ok(true) => {}
            Ok(false) => writer.leaving = None,
            Err(error) => {
                // The next start removes it.
                tracing::warn!("{}: {error}", leaving.path.display());
                writer.leaving = None;
            }
        }
        true
    }

    fn next_victim(&self, saving: Saving) -> Option<Victim> {
        let active = self.writer().segment;
        let (segment, filled) = {
            let shared = self.shared();
            let moves = saving != Saving::Work || is_too_much(shared.index.usage());
            let goes = |filled: Filled| filled.live == 0 || moves && is_worth_it(filled);
            let segments = shared.index.segments();
            segments
                .filter(|&(segment, filled)| segment != active && goes(filled))
                .min_by_key(|&(_, filled)| filled.live)?
        };
        let listing = match filled.live {
            0 => Listing::default(),
            _ => recovery::listing_of(&self.home, segment, self.directory),
        };
        Some(Victim {
            segment,
            listing,
            seen: 0,
        })
    }

    fn move_some(&self, writer: &mut Writer, victim: &mut Victim) -> Result<(), ApplyError> {
        let mut frames = Vec::new();
        let mut moved = Vec::new();
        let mut entries = victim.listing.iter_from(victim.seen, victim.segment);
        for entry in entries.by_ref().take(STEP_ENTRIES) {
            let (key, place) = (entry.key, entry.place);
            if self.shared().index.get(key) != Some(place) {
                continue;
            }
            match self.read(place) {
                Ok(bytes) if frame::value(key, &bytes, place.segment).is_ok() => {
                    moved.push((entry, frames.len() as u64));
                    frames.extend_from_slice(&bytes);
                }
                Ok(_) | Err(_) => {
                    // A damaged value counts as missing; the other replicas have it.
                    let path = self.values_path(place.segment);
                    let at = place.offset;
                    tracing::warn!("{} at byte {at}: a damaged value is gone", path.display());
                    self.shared().index.remove(key);
                }
            }
            if frames.len() >= STEP_BYTES {
                break;
            }
        }
        let seen = victim.listing.bytes() - entries.rest_bytes();
        if !frames.is_empty() {
            self.turn_over(writer)?;
            let start = writer.end;
            let seal = Seal::Segment(writer.segment);
            for (entry, offset) in &moved {
                frame::reseal(&mut frames[*offset as usize..], entry.key, seal);
            }
            self.append(writer, &frames)?;
            writer.is_unsynced = true;
            let mut shared = self.shared();
            for (entry, offset) in moved {
                let place = Place {
                    segment: writer.segment,
                    offset: u32::try_from(start + offset).expect("a segment is far below 4 GiB"),
                    bytes: entry.place.bytes,
                };
                shared.index.insert(entry.key, place);
                writer.listing.push(entry.key, place, entry.is_record);
            }
            shared.index.set_bytes(writer.segment, writer.end);
        }
        victim.seen = seen;
        Ok(())
    }

    /// Keeps the file of a segment of which nothing is needed for a later one, or begins to
    /// remove it.
    fn remove(&self, writer: &mut Writer, segment: u32, saving: Saving) -> Result<(), ApplyError> {
        // What was moved out of it must be durable first.
        if writer.is_unsynced {
            self.sync(writer)?;
        }
        let mut shared = self.shared();
        shared.close(segment);
        shared.index.remove_segment(segment);
        drop(shared);
        let path = self.values_path(segment);
        let is_kept = saving != Saving::All && writer.spares.len() < SPARES_MAX;
        if !is_kept || !self.keep(writer, &path) {
            begin_leaving(writer, &path);
        }
        let path = segment::listing_path(&self.home, segment);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("{}: {error}", path.display());
        }
        Ok(())
    }

    /// Keeps a segment's file for a later one; false where it is not worth it, or can't be done.
    fn keep(&self, writer: &mut Writer, segment: &Path) -> bool {
        let bytes = fs::metadata(segment).map_or(0, |metadata| metadata.len());
        if bytes < self.segment_bytes / 2 {
            return false;
        }
        let spare = segment::spare_path(segment);
        let renamed = fs::rename(segment, &spare)
            // Before anything else is written there: it must never come back as what it was.
            .and_then(|()| File::open(&self.home)?.sync_all());
        match renamed {
            Ok(()) => writer.spares.push(spare),
            Err(ref error) => tracing::warn!("{}: {error}", segment.display()),
        }
        renamed.is_ok()
    }
}

/// A file that can't begin to leave is read again, or removed, at the next start.
fn begin_leaving(writer: &mut Writer, path: &Path) {
    match Leaving::begin(path) {
        Ok(leaving) => writer.leaving = Some(leaving),
        Err(error) => tracing::warn!("{}: {error}", path.display()),
    }
}
