//! Backups of a running cluster, and restoring them into another.
//!
//! A backup holds, per object, a version that was complete at some moment after the
//! backup's start: all that was acknowledged before it, and of later changes some. It is
//! no snapshot across objects. Deleted objects are left out.
//!
//! It is a directory of files that [`check`] verifies byte by byte; docs/formats.md
//! describes them. A directory that is there is whole: it is written under another name,
//! read back, and renamed.

mod check;
mod error;
mod manifest;
mod object_file;
mod requests;
mod restore;
mod take;

use std::time::Duration;

use vivace_core::Durability;

pub use check::{Largest, Whole, check};
pub use error::{BackupError, RestoreError, TakeError};
pub use manifest::{ContainerManifest, FileManifest, Manifest};
pub use restore::restore;
pub use take::take;

/// How a backup or a restore goes about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes of values per second at most; as fast as the nodes answer where none.
    pub bytes_per_s: Option<u64>,
    /// How long one object may fail (`Busy`, `Unavailable`) before the whole does.
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            bytes_per_s: None,
            patience: Duration::from_secs(30),
        }
    }
}

/// What a restore may do beyond that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    /// How fast.
    pub pace: Pace,
    /// Where each value must be durable before the next takes its place in the queue;
    /// the container's level where none.
    pub durability: Option<Durability>,
    /// Goes on with a restore that was broken off: RW objects that exist are overwritten.
    pub again: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Objects done.
    pub objects: u64,
    /// Of about so many.
    pub objects_expected: u64,
    /// Bytes of values done.
    pub bytes: u64,
}

/// When `bytes` may be done at this pace, from the beginning.
fn due(pace: &Pace, bytes: u64) -> Duration {
    match pace.bytes_per_s {
        Some(rate) => Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64),
        None => Duration::ZERO,
    }
}
