//! Files and their names: what is there now, and what a crash would leave.

use std::collections::BTreeMap;
use std::ops::Range;

use rand::{Rng, RngExt};

use crate::sim::host::LogTail;

const SECTOR: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(u64);

#[derive(Default)]
struct Contents {
    /// As they are now.
    now: Vec<u8>,
    /// As they were when they were last synced.
    synced: Vec<u8>,
    /// The sectors written since, each once.
    written: Vec<usize>,
    /// Whether a sector is one of them.
    is_written: Vec<bool>,
}

/// A change of names.
enum Change {
    Set(String, FileId),
    Remove(String),
}

#[derive(Default)]
pub struct Files {
    contents: BTreeMap<FileId, Contents>,
    names: BTreeMap<String, FileId>,
    synced_names: BTreeMap<String, FileId>,
    /// Since names were last synced. A rename is one of them.
    changes: Vec<Vec<Change>>,
    created: u64,
}

impl Files {
    pub fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    pub fn id(&self, name: &str) -> Option<FileId> {
        self.names.get(name).copied()
    }

    pub fn used(&self) -> u64 {
        let files = self.names.values().map(|id| self.bytes(*id));
        files.sum()
    }

    pub fn bytes(&self, id: FileId) -> u64 {
        self.contents.get(&id).map_or(0, |c| c.now.len() as u64)
    }

    fn change(&mut self, changes: Vec<Change>) {
        for change in &changes {
            apply(&mut self.names, change);
        }
        self.changes.push(changes);
    }

    pub fn create(&mut self, name: &str, bytes: u64) {
        self.created += 1;
        let id = FileId(self.created);
        let contents = Contents {
            now: vec![0; bytes as usize],
            ..Contents::default()
        };
        self.contents.insert(id, contents);
        self.change(vec![Change::Set(name.to_owned(), id)]);
    }

    pub fn rename(&mut self, from: &str, to: &str) -> Option<()> {
        let id = self.id(from)?;
        let removal = Change::Remove(from.to_owned());
        self.change(vec![removal, Change::Set(to.to_owned(), id)]);
        Some(())
    }

    pub fn remove(&mut self, name: &str) -> Option<()> {
        self.id(name)?;
        self.change(vec![Change::Remove(name.to_owned())]);
        Some(())
    }

    pub fn sync_names(&mut self) {
        self.changes.clear();
        self.synced_names = self.names.clone();
        self.forget_unnamed();
    }

    fn forget_unnamed(&mut self) {
        let (now, synced) = (&self.names, &self.synced_names);
        self.contents.retain(|id, _| {
            let mut named = now.values().chain(synced.values());
            named.any(|held| held == id)
        });
    }

    pub fn read(&self, id: FileId, offset: u64, into: &mut [u8]) -> Option<()> {
        let offset = usize::try_from(offset).ok()?;
        let from = self.contents.get(&id)?.now.get(offset..)?;
        into.copy_from_slice(from.get(..into.len())?);
        Some(())
    }

    pub fn write(&mut self, id: FileId, offset: u64, bytes: &[u8]) {
        let Some(contents) = self.contents.get_mut(&id) else {
            return;
        };
        let offset = offset as usize;
        let end = offset + bytes.len();
        if contents.now.len() < end {
            contents.now.resize(end, 0);
        }
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            contents.note_written(sector);
        }
        contents.now[offset..end].copy_from_slice(bytes);
    }

    pub fn misdirect(&mut self, id: FileId, offset: u64, bytes: &[u8], sectors: u32) {
        let length = self.bytes(id);
        let places = (length.saturating_sub(bytes.len() as u64) / SECTOR as u64).max(1);
        let place = (offset / SECTOR as u64 + u64::from(sectors)) % places;
        self.write(id, place * SECTOR as u64, bytes);
    }

    pub fn sync(&mut self, id: FileId) {
        if let Some(contents) = self.contents.get_mut(&id) {
            contents.sync();
        }
    }

    pub fn crash(&mut self, tail: LogTail, rng: &mut impl Rng) {
        let kept = match tail {
            LogTail::Lost => 0,
            LogTail::Torn => rng.random_range(0..=self.changes.len()),
            LogTail::Kept => self.changes.len(),
        };
        for change in self.changes.drain(..).take(kept).flatten() {
            apply(&mut self.synced_names, &change);
        }
        self.names = self.synced_names.clone();
        self.forget_unnamed();
        for contents in self.contents.values_mut() {
            contents.crash(tail, rng);
        }
    }

    pub fn flip(&mut self, name: &str, offset: u64, bit: u8) {
        let id = self.id(name).expect("the file is there");
        let contents = self.contents.get_mut(&id).expect("it is named");
        contents.flip(offset as usize, bit);
    }

    pub fn put(&mut self, name: &str, bytes: Vec<u8>) {
        self.create(name, 0);
        let id = self.id(name).expect("just made");
        self.write(id, 0, &bytes);
        self.sync(id);
        self.sync_names();
    }

    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        Some(self.contents.get(&self.id(name)?)?.now.clone())
    }
}

impl Contents {
    fn note_written(&mut self, sector: usize) {
        if self.is_written.len() <= sector {
            self.is_written.resize(sector + 1, false);
        }
        if !std::mem::replace(&mut self.is_written[sector], true) {
            self.written.push(sector);
        }
    }

    fn sector(&self, sector: usize) -> Range<usize> {
        let from = (sector * SECTOR).min(self.now.len());
        from..(from + SECTOR).min(self.now.len())
    }

    fn sync(&mut self) {
        self.synced.resize(self.now.len(), 0);
        for sector in std::mem::take(&mut self.written) {
            let range = self.sector(sector);
            self.synced[range.clone()].copy_from_slice(&self.now[range]);
            self.is_written[sector] = false;
        }
    }

    /// A bit changes on the medium; where a write is on its way there, only of that.
    fn flip(&mut self, offset: usize, bit: u8) {
        let mask = 1 << (bit % 8);
        self.now[offset] ^= mask;
        let is_written = self.is_written.get(offset / SECTOR) == Some(&true);
        if let Some(byte) = self.synced.get_mut(offset).filter(|_| !is_written) {
            *byte ^= mask;
        }
    }

    fn crash(&mut self, tail: LogTail, rng: &mut impl Rng) {
        let mut written = std::mem::take(&mut self.written);
        written.sort_unstable();
        for &sector in &written {
            let is_kept = match tail {
                LogTail::Lost => false,
                LogTail::Torn => rng.random_bool(0.5),
                LogTail::Kept => true,
            };
            if !is_kept {
                let range = self.sector(sector);
                let old = self.synced.get(range.start.min(self.synced.len())..);
                let old = old.unwrap_or_default();
                let known = old.len().min(range.len());
                let (before, grown) = self.now[range].split_at_mut(known);
                before.copy_from_slice(&old[..known]);
                grown.fill(0);
            }
        }
        if tail == LogTail::Lost {
            self.now.truncate(self.synced.len());
        }
        // What a crash left is on the disk.
        self.written = written;
        self.sync();
    }
}

fn apply(names: &mut BTreeMap<String, FileId>, change: &Change) {
    match change {
        Change::Set(name, id) => {
            names.insert(name.clone(), *id);
        }
        Change::Remove(name) => {
            names.remove(name);
        }
    }
}
