//! How much room the file system has, so that writes are refused before it is full.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::statvfs::statvfs;

/// The free space of the file system that a directory is on, as last measured.
#[derive(Debug)]
pub struct Space {
    path: PathBuf,
    reserve: u64,
    free: AtomicU64,
    /// The log has been told that it is scarce.
    is_told: AtomicBool,
}

/// What the space that is left allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Less than half of the reserve: nothing new comes in.
    None,
    /// Less than the reserve: what is under way ends, nothing begins.
    Scarce,
    /// More.
    Ample,
}

impl Space {
    /// Watches the file system of `path`, of which `reserve` bytes are kept free.
    pub fn watch(path: &Path, reserve: u64) -> Self {
        let space = Self {
            path: path.to_owned(),
            reserve,
            free: AtomicU64::new(u64::MAX),
            is_told: AtomicBool::new(false),
        };
        space.measure();
        space
    }

    /// Looks, and logs where that turns what is allowed. Blocks no longer than the file system
    /// takes to answer.
    pub fn measure(&self) {
        // What can't be asked may still be written to: that will tell.
        let free = statvfs(&self.path).map_or(u64::MAX, |found| {
            found
                .blocks_available()
                .saturating_mul(found.fragment_size())
        });
        self.free.store(free, Ordering::Relaxed);
        self.tell(free);
    }

    /// Said to be over only well above the reserve, so that the log is not filled at its edge.
    fn tell(&self, free: u64) {
        let is_told = self.is_told.load(Ordering::Relaxed);
        if !is_told && free < self.reserve {
            tracing::error!("{}", self.reason());
        } else if is_told && free >= self.reserve.saturating_add(self.reserve / 8) {
            let free = free >> 20;
            tracing::info!("{}: {free} MiB are free again", self.path.display());
        } else {
            return;
        }
        self.is_told.store(!is_told, Ordering::Relaxed);
    }

    /// What is left allows this, when `pending` more bytes are on their way.
    pub fn room(&self, pending: u64) -> Room {
        let free = self.free.load(Ordering::Relaxed).saturating_sub(pending);
        if free < self.reserve / 2 {
            Room::None
        } else if free < self.reserve {
            Room::Scarce
        } else {
            Room::Ample
        }
    }

    /// Why writes are refused.
    pub fn reason(&self) -> String {
        format!(
            "the disk is full: {} MiB are free at {}, and storage.reserve_bytes keeps {} MiB; \
             free some space, and writes go on by themselves",
            self.free.load(Ordering::Relaxed) >> 20,
            self.path.display(),
            self.reserve >> 20
        )
    }
}

/// Whether an operation failed for want of space.
pub fn is_no_space(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Whether an operation failed for want of rights, or because the file system is read-only.
pub fn is_forbidden(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_decides() {
        let here = std::env::temp_dir();
        assert_eq!(Space::watch(&here, 0).room(0), Room::Ample);
        assert_eq!(Space::watch(&here, u64::MAX / 4).room(0), Room::None);
        let space = Space::watch(&here, 1000);
        space.free.store(1500, Ordering::Relaxed);
        let rooms = [0, 500, 501, 1001].map(|pending| space.room(pending));
        assert_eq!(rooms, [Room::Ample, Room::Ample, Room::Scarce, Room::None]);
        assert!(space.reason().contains("storage.reserve_bytes"));
        // Told at once, and as over not before an eighth more is free.
        let told = [999, 1000, 1124, 1125, 1000].map(|free| {
            space.tell(free);
            space.is_told.load(Ordering::Relaxed)
        });
        assert_eq!(told, [true, true, true, false, false]);
    }
}
