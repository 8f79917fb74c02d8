//! What can be wrong with a backup, and with what is to be done with it.

use std::io;
use std::path::PathBuf;

use crate::error::OperationError;

/// What is wrong with a directory as a backup. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is none.
    #[error("{path}: holds no backup: {why}")]
    None {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// A newer program wrote it.
    #[error(
        "{path}: format {format}, written by {program}; this program reads up to {known}: \
         use that one"
    )]
    Newer {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        format: u64,
        /// Who wrote it.
        program: String,
        /// What can be read.
        known: u64,
    },
    /// A file of it is not there.
    #[error("{path}: is missing; the manifest names it with {bytes} bytes")]
    Missing {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// A file ends too early.
    #[error("{path}: is cut short: {has} bytes of {bytes}")]
    CutShort {
        /// The file.
        path: PathBuf,
        /// Its length.
        has: u64,
        /// What it should be.
        bytes: u64,
    },
    /// A file is not what was written.
    #[error("{path}: was altered: {what}")]
    Altered {
        /// The file.
        path: PathBuf,
        /// How that shows.
        what: String,
    },
    /// Something lies there that the manifest does not name.
    #[error("{path}: does not belong to the backup; move it away")]
    Additional {
        /// What.
        path: PathBuf,
    },
    /// The operating system's.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why a backup was not made. What had been written of it is gone again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// The place is taken.
    #[error("{path}: {why}")]
    Exists {
        /// The directory.
        path: PathBuf,
        /// What to do.
        why: String,
    },
    /// A node did not list its objects.
    #[error("container {container}: {error}")]
    List {
        /// Of this container.
        container: String,
        /// Why not.
        error: OperationError,
    },
    /// An object could not be read.
    #[error("{object}: {error}")]
    Unreadable {
        /// Which.
        object: String,
        /// Why not.
        error: OperationError,
    },
    /// No status.
    #[error(transparent)]
    Status(#[from] OperationError),
    /// What was written is not what was to be.
    #[error("read back after writing: {0}")]
    NotWhole(BackupError),
    /// The operating system's.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why a restore ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The backup is none. Nothing was written.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The cluster can't take it. Nothing was written.
    #[error("container {container}: {why}")]
    NotReady {
        /// The container.
        container: String,
        /// What would be right.
        why: String,
    },
    /// No status. Nothing was written.
    #[error(transparent)]
    Status(#[from] OperationError),
    /// An object could not be written; others were, and stay.
    #[error("{object}: {error}; {objects} other objects were restored")]
    Unwritten {
        /// Which.
        object: String,
        /// Why not.
        error: OperationError,
        /// How many were written.
        objects: u64,
    },
}
