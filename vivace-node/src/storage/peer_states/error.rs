//! Why what a node knew of its peers can't be read.

use std::io;
use std::path::PathBuf;

use super::FORMAT;
use crate::storage::identity::DirectoryId;
use crate::storage::space::is_forbidden;

/// What the file guards against, where it is given up.
const WITHOUT: &str = "where it is lost, remove the file: until this node has met a peer again, \
    it can't tell one whose state was put back or emptied meanwhile";

/// Why a data directory's memory of peers can't be read. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PeerStatesError {
    /// The file is not what was written.
    #[error("{}: is damaged ({what}): restore the file; {WITHOUT}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        what: String,
    },
    /// Another directory's.
    #[error(
        "{}: belongs to data directory {found}, and this is {expected}: put it back where it \
         came from, and this directory's own here; {WITHOUT}",
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
        "{}: is of format {found}, and this program reads up to {FORMAT}: run the newer program",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format that it names.
        found: u32,
    },
    /// The operating system refused.
    #[error("{}: {source}{}", path.display(), what_to_do(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl PeerStatesError {
    /// The process's exit code, by what there is to do.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Foreign { .. } => 12,
            Self::Newer { .. } => 14,
            Self::Io { source, .. } if is_forbidden(source) => 16,
            Self::Damaged { .. } | Self::Io { .. } => 21,
        }
    }
}

fn what_to_do(source: &io::Error) -> &'static str {
    match is_forbidden(source) {
        true => ": mount it writable, or give this user the rights",
        false => "",
    }
}
