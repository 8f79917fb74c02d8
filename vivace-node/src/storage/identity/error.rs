//! Why a data directory is refused, and what there is to do.

use std::io;
use std::path::{Path, PathBuf};

use vivace_core::journal::MarkTrouble;

use super::{DirectoryId, Owner};
use crate::storage::sealed_text::SealedTextError;
use crate::storage::space::{is_forbidden, is_no_space};

/// Neither under its old id nor, in the same replica sets, under a new one: a majority with
/// it may know nothing of what was acknowledged.
pub(super) const LOST_FOR_GOOD: &str = "where it is lost, this node must not start without it, under no \
    id: the other nodes go on, and their objects can be moved into a new cluster \
    (docs/operations.md, \"A node whose state is lost\")";

/// The process's exit code where the state is not the newest.
pub const EXIT_OUTDATED: u8 = 13;

/// Why a data directory is not this node's to use. It was not changed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no such directory.
    #[error(
        "{}: does not exist: mount it, or correct storage.directory; {LOST_FOR_GOOD} \
         (`vivace-node init` makes the directories of a new cluster)",
        .0.display()
    )]
    Missing(PathBuf),
    /// A directory without anything of a node's.
    #[error(
        "{}: is empty: mount or restore the node's data there; {LOST_FOR_GOOD}",
        .0.display()
    )]
    Emptied(PathBuf),
    /// A part of the node's state is not there.
    #[error(
        "{}: is missing beside the rest of the node's state: restore it; {LOST_FOR_GOOD}",
        .0.display()
    )]
    Incomplete(PathBuf),
    /// The node has already lived elsewhere.
    #[error(
        "{}: is new, but {} says that this node's state is in data directory {lived}: restore \
         that one; {LOST_FOR_GOOD}",
        path.display(), witness.display()
    )]
    Replaced {
        /// The directory.
        path: PathBuf,
        /// What remembers.
        witness: PathBuf,
        /// The directory that it remembers.
        lived: DirectoryId,
    },
    /// Another node of the same number, in a cluster of the same name, has lived in it.
    #[error(
        "{}: is another node's, of the same number and cluster's name, which has started {life} \
         times; {} says that this node's state is in data directory {lived}: point \
         storage.directory at that one",
        path.display(), witness.display()
    )]
    Another {
        /// The directory.
        path: PathBuf,
        /// How often it was started.
        life: u16,
        /// What remembers.
        witness: PathBuf,
        /// The directory that it remembers.
        lived: DirectoryId,
    },
    /// Not a data directory at all.
    #[error(
        "{}: holds files, but no data of a node: point storage.directory at this node's data",
        .0.display()
    )]
    NotData(PathBuf),
    /// Something else than a directory.
    #[error(
        "{}: is a file, and a data directory was expected: point storage.directory at this node's \
         data directory",
        .0.display()
    )]
    NotDirectory(PathBuf),
    /// Something else than a directory where a part of the node's state should be.
    #[error(
        "{}: is a file, where a directory of the node's state should be: put that back in its \
         place; {LOST_FOR_GOOD}",
        .0.display()
    )]
    PartNotDirectory(PathBuf),
    /// Another cluster's or node's.
    #[error(
        "{}: belongs to {found}, and this is {expected}: point storage.directory at this node's \
         own directory{}",
        path.display(), or_mend_the_id(found, expected)
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: Box<Owner>,
        /// Whose it should be.
        expected: Box<Owner>,
    },
    /// The witness of another node.
    #[error(
        "{}: is the witness of {found}, and this is {expected}: put it back where it came from, \
         and this node's own here",
        witness.display()
    )]
    ForeignWitness {
        /// The witness.
        witness: PathBuf,
        /// Whose it is.
        found: Box<Owner>,
        /// Whose it should be.
        expected: Box<Owner>,
    },
    /// A copy.
    #[error(
        "{}: is a copy of this node's data directory: start the node on the original; where that \
         is gone and this was copied from it after the node had stopped for the last time, say \
         so with `vivace-node adopt NODE.toml --original-is-gone`",
        .0.display()
    )]
    Copied(PathBuf),
    /// A copy of a journal in the place of the original, or over it.
    #[error(
        "{}: is a copy, put in the place of this node's journal or over it: it may have forgotten \
         what the node promised; use the newest state of both; where this was copied after the node had \
         stopped for the last time, say so with `vivace-node adopt NODE.toml --original-is-gone`",
        .0.display()
    )]
    CopiedJournal(PathBuf),
    /// What tells a copy of the journal, or one that lost its end, from the original.
    #[error(
        "{}: {trouble}, and without it nothing tells whether the journal beside it is this node's \
         newest, and whole: restore it; where it is lost, the disk is sound, and nobody put any \
         other file in the journal's place, say so with `vivace-node adopt NODE.toml \
         --original-is-gone`",
        mark.display()
    )]
    MarkUnsound {
        /// The mark.
        mark: PathBuf,
        /// What is wrong with it.
        trouble: MarkTrouble,
    },
    /// An older state of the same directory.
    #[error(
        "{}: holds this node's state of its start {life}, and {} says that it has started \
         {lives} times: it may have forgotten what it promised; use the newest state; {LOST_FOR_GOOD}; \
         only where another state was started in between, by mistake, and peers refused that one, \
         remove {1}",
        path.display(), witness.display()
    )]
    Outdated {
        /// The directory.
        path: PathBuf,
        /// What remembers.
        witness: PathBuf,
        /// The life that the directory knows.
        life: u16,
        /// The last one.
        lives: u16,
    },
    /// The journal and the rest are not of one time.
    #[error(
        "{}: is of this node's start {life}, and the identity beside it of start {lives}: one of \
         the two was put back from an earlier time, and the node may have forgotten what it \
         promised; use the newest state of both; {LOST_FOR_GOOD}",
        journal.display()
    )]
    OtherTime {
        /// The journal's directory.
        journal: PathBuf,
        /// The life that the journal knows.
        life: u16,
        /// The one that the identity knows.
        lives: u16,
    },
    /// Peers have met this node with another state, which this one does not follow.
    #[error(
        "{}: peers refused this state of the node (the file says which), for it may have forgotten \
         what the node promised: put the newest state, which has no such file, in the place of the \
         whole directory; {LOST_FOR_GOOD}; only where the peers had met a state that was put back by \
         mistake, remove this file, and from their data directories, while they are stopped, the \
         file `peers`",
        .0.display()
    )]
    PeersKnowMore(PathBuf),
    /// Written by code that was never released.
    #[error(
        "{}: is of format 1 of a development version, which this program does not read: start \
         anew, with `vivace-node init` in a new directory",
        .0.display()
    )]
    Development(PathBuf),
    /// The identity file or the witness is not what was written.
    #[error(transparent)]
    File(#[from] SealedTextError),
    /// A line of the identity file, the witness or the journal's life says nothing.
    #[error(
        "{}: line {line} should be {expected:?}: restore the file; {way_out}",
        path.display()
    )]
    Unreadable {
        /// The identity file, the witness, or the journal's.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What it should be.
        expected: String,
        /// What there is to do where the file is lost.
        way_out: &'static str,
    },
    /// This process has no right to read it, or to write to it.
    #[error("{}: can't be used ({reason}): mount it writable, or give this user the rights", path.display())]
    ReadOnly {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Another process uses it.
    #[error("{}: is in use by another process: stop it first", .0.display())]
    InUse(PathBuf),
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `init` found files.
    #[error("{}: holds files already", .0.display())]
    Taken(PathBuf),
    /// The node has started 65,535 times.
    #[error(
        "{}: this node has started 65,535 times, and no number is left for the next: move the \
         cluster's objects into a new one (docs/operations.md, \"A node whose state is lost\")",
        .0.display()
    )]
    Exhausted(PathBuf),
}

impl IdentityError {
    /// The process's exit code, by what there is to do.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Missing(_) => 10,
            Self::Emptied(_)
            | Self::Incomplete(_)
            | Self::MarkUnsound { .. }
            | Self::PartNotDirectory(_)
            | Self::Replaced { .. } => 11,
            Self::NotData(_)
            | Self::NotDirectory(_)
            | Self::Foreign { .. }
            | Self::ForeignWitness { .. }
            | Self::Another { .. } => 12,
            Self::Copied(_)
            | Self::CopiedJournal(_)
            | Self::Outdated { .. }
            | Self::OtherTime { .. }
            | Self::PeersKnowMore(_) => EXIT_OUTDATED,
            Self::File(error) => error.exit_code(),
            Self::Development(_) => 15,
            Self::ReadOnly { .. } => 16,
            Self::InUse(_) => 17,
            Self::Io { source, .. } if is_no_space(source) => 20,
            Self::Unreadable { .. } | Self::Io { .. } => 21,
            Self::Taken(_) => 1,
            Self::Exhausted(_) => 22,
        }
    }
}

/// A cluster's file that has lost its id, or has another by mistake, looks like another cluster's.
fn or_mend_the_id(found: &Owner, expected: &Owner) -> String {
    match found.cluster_id {
        Some(id) if found.is_named_as(expected) => format!(
            "; where it is that one, put `id = \"{id}\"` into the cluster's file; only where the \
             directory took over a wrong id from that file, say so with `vivace-node adopt \
             NODE.toml --id-is-right`"
        ),
        _ => String::new(),
    }
}

/// What failed at `path`.
pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> IdentityError {
    let path = path.to_owned();
    move |source| match is_forbidden(&source) {
        true => IdentityError::ReadOnly {
            path: path.clone(),
            reason: source.to_string(),
        },
        false => IdentityError::Io {
            path: path.clone(),
            source,
        },
    }
}
