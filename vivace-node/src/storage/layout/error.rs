//! Why a start is refused for the layout of its containers, and what there is to do.

use std::path::PathBuf;

use crate::storage::sealed_text::SealedTextError;

/// What says that the configuration is right.
const ADOPT: &str = "`vivace-node adopt NODE.toml --layout-is-right`";

/// What is left to do where nothing tells any more how containers were laid out.
pub(super) const OR_SAY: &str = "where there is no other, see to it that each container of the configuration \
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
    /// A node has lived here, and the file is gone.
    #[error(
        "{}: is missing beside the rest of the node's state: restore it; {OR_SAY}",
        .0.display()
    )]
    Missing(PathBuf),
    /// The file is not this directory's, or can't be read or written.
    #[error(transparent)]
    File(#[from] SealedTextError),
}

impl LayoutError {
    /// The process's exit code, by what there is to do.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Changed { .. } => 28,
            Self::Missing(_) => 11,
            Self::File(error) => error.exit_code(),
        }
    }
}
