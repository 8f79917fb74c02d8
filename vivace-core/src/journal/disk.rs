//! What the journal asks of a disk: one directory of files with flat names.
//!
//! The real node implements this over the file system, the simulator over memory with
//! faults. Handles are cheap to clone and may be used from several threads at once where
//! the implementation allows: the journal never writes one place from two.

use std::fmt;

/// A directory.
pub trait Disk: Clone {
    /// An open file.
    type File: DiskFile;

    /// The names in the directory, in any order.
    ///
    /// # Errors
    /// [`DiskError`].
    fn list(&self) -> Result<Vec<String>, DiskError>;

    /// Makes a file of `bytes` zeros, in place of any of that name. The room is taken and
    /// the zeros are written, so that later a sync of data written over them needs to
    /// change nothing else. Not durable before a sync of the file and of the directory.
    ///
    /// # Errors
    /// [`DiskError`]; where there is no room, nothing of the file is left.
    fn create(&self, name: &str, bytes: u64) -> Result<Self::File, DiskError>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// [`DiskError`].
    fn open(&self, name: &str) -> Result<Self::File, DiskError>;

    /// Gives a file another name, in place of any file that has it. Durable after
    /// [`Disk::sync_dir`]; one of the two names is there in any case.
    ///
    /// # Errors
    /// [`DiskError`].
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// [`DiskError`].
    fn remove(&self, name: &str) -> Result<(), DiskError>;

    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// [`DiskError`]; final.
    fn sync_dir(&self) -> Result<(), DiskError>;
}

/// An open file.
pub trait DiskFile: Clone {
    /// Its length in bytes.
    ///
    /// # Errors
    /// [`DiskError`].
    fn bytes(&self) -> Result<u64, DiskError>;

    /// Fills `into` from `offset` on.
    ///
    /// # Errors
    /// [`DiskError`], also where the file ends before.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), DiskError>;

    /// Writes all of `bytes`; beyond the file's end it grows. After an error, and after a
    /// crash before the next sync, each 512-byte sector holds what it did or what was
    /// written.
    ///
    /// # Errors
    /// [`DiskError`].
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes all that was written durable, with the length where it changed.
    ///
    /// # Errors
    /// [`DiskError`]; final: nobody knows what is on the disk, and a second sync may lie.
    fn sync(&self) -> Result<(), DiskError>;
}

/// Why a disk did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {operation}: {cause}")]
pub struct DiskError {
    /// The file, as its disk names it.
    pub file: String,
    /// What was tried.
    pub operation: Operation,
    /// Why it failed.
    pub cause: Cause,
}

impl DiskError {
    /// Whether it may pass when space is made.
    pub fn is_no_space(&self) -> bool {
        self.cause == Cause::NoSpace
    }

    /// Whether rights are wanting.
    pub fn is_forbidden(&self) -> bool {
        matches!(self.cause, Cause::Forbidden(_))
    }
}

/// What was asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`Disk::list`].
    List,
    /// [`Disk::create`].
    Create,
    /// [`Disk::open`], [`DiskFile::bytes`].
    Open,
    /// [`Disk::rename`].
    Rename,
    /// [`Disk::remove`].
    Remove,
    /// [`DiskFile::read_at`].
    Read,
    /// [`DiskFile::write_at`].
    Write,
    /// [`DiskFile::sync`], [`Disk::sync_dir`].
    Sync,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "can't list it",
            Self::Create => "can't create it",
            Self::Open => "can't open it",
            Self::Rename => "can't rename it",
            Self::Remove => "can't remove it",
            Self::Read => "can't read it",
            Self::Write => "can't write to it",
            Self::Sync => "can't sync it",
        })
    }
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// No space, or no quota, is left.
    #[error("no space is left on the device")]
    NoSpace,
    /// There is no such file.
    #[error("there is no such file")]
    NotFound,
    /// Rights are wanting, or the file system is read-only, as the operating system says it.
    #[error("{0}: mount it writable, or give this user the rights")]
    Forbidden(String),
    /// All else, as the operating system says it.
    #[error("{0}")]
    Io(String),
}
