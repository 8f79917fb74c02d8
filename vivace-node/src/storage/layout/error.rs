//! Why a start is refused for the layout of its containers, and what there is to do.

use std::io;
use std::path::{Path, PathBuf};

use super::FORMAT;
use crate::storage::identity::DirectoryId;
use crate::storage::space::{is_forbidden, is_no_space};

/// What says that the configuration is right.
const ADOPT: &str = "`vivace-node adopt NODE.toml --layout-is-right`";

/// What is left to do where nothing tells any more how containers were laid out.
const OR_SAY: &str = "where there is no other, see to it that each container of the configuration \
    has the kind, replicas and local sets that it had when this node ran last, and say so: \
    `vivace-node adopt NODE.toml --layout-is-right`";

/// Why a data directory can't serve a configuration's containers. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A container is not what it was.
    #[error(
        "{}: {field}: this directory holds state of the container as it was, {remembered}, and \
         the configuration says {configured}: what others rely on would be forgotten; put the \
         configuration back as it was; to have the other, back up the running cluster and \
         restore it into a new one; where nothing was ever stored in it on any node, as after a \
         slip in a new container, say so on each: {ADOPT} (docs/operations.md, \"Changing a \
         container\")",
        path.display()
    )]
    Changed {
        /// The data directory.
        path: PathBuf,
        /// The field of the configuration.
        field: String,
        /// What the directory remembers.
        remembered: String,
        /// What the configuration says.
        configured: String,
    },
    /// The file is not what was written.
    #[error(
        "{}: is damaged ({what}): restore the file; {OR_SAY}",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        what: String,
    },
    /// A node has lived here, and the file is gone.
    #[error(
        "{}: is missing beside the rest of the node's state: restore it; {OR_SAY}",
        .0.display()
    )]
    Missing(PathBuf),
    /// Another directory's.
    #[error(
        "{}: belongs to data directory {found}, and this is {expected}: put it back where it \
         came from, and this directory's own here",
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

impl LayoutError {
    /// The process's exit code, by what there is to do.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Changed { .. } => 28,
            Self::Missing(_) => 11,
            Self::Foreign { .. } => 12,
            Self::Newer { .. } => 14,
            Self::Io { source, .. } if is_forbidden(source) => 16,
            Self::Io { source, .. } if is_no_space(source) => 20,
            Self::Damaged { .. } | Self::Io { .. } => 21,
        }
    }
}

fn what_to_do(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::IsADirectory => ": move it away, and put the file back",
        _ if is_forbidden(source) => ": mount it writable, or give this user the rights",
        _ => "",
    }
}

/// What failed at `path`.
pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> LayoutError {
    let path = path.to_owned();
    move |source| LayoutError::Io {
        path: path.clone(),
        source,
    }
}
