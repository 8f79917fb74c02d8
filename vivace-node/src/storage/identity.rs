//! Whose a data directory is: one node's of one cluster, in one place.
//!
//! A node votes on what it promised earlier, so a wrong, copied, emptied or outdated
//! directory under its id would break promises that others rely on. Three things tell:
//! the file `identity` in the directory (text, sealed with a checksum: format, directory, cluster
//! and its id, node, life, starts, births), the times of birth of the directory and of a file
//! of its journal, which a copy does not share, and a witness beside the node's configuration
//! that remembers directory and life. What none of them tells, peers do that have met the node
//! ([`peer_states`](super::peer_states)): then the file `outdated` keeps the directory from a
//! further start.
//!
//! `vivace-node init` makes the directory; a start never does.

mod error;
mod identity_file;
mod journal_life;
mod owner;
mod starts;
#[cfg(test)]
mod tests;
mod witness;

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use nix::unistd::{AccessFlags, access};
use vivace_core::Incarnation;

use self::error::at;
pub use self::error::{EXIT_OUTDATED, IdentityError};
use self::identity_file::Identity;
use self::journal_life::{JournalBirth, JournalLife};
pub use self::owner::{ClusterId, Owner};
pub use self::starts::{MetState, StartId, StateHistory, Succession, TOLD_MAX};
use self::witness::Witness;
use super::replacement::Replacement;

/// The format of data directories that this code writes, and the newest that it reads.
pub const FORMAT: u32 = 5;

const IDENTITY: &str = "identity";

/// Why peers refused this state, in words; a start never removes it.
const OUTDATED: &str = "outdated";

/// One data directory, drawn by lot when it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectoryId(pub [u8; 16]);

impl fmt::Display for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        owner::write_hex(self.0, f)
    }
}

impl DirectoryId {
    pub(super) fn parse(text: &str) -> Option<Self> {
        owner::parse_hex(text).map(Self)
    }
}

/// What an operator says of a data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attestation {
    /// It is the node's newest state, though it is a copy or nothing tells so.
    pub original_is_gone: bool,
    /// It is of the cluster whose id the cluster's file has, whichever it remembers.
    pub id_is_right: bool,
}

/// A data directory that is this node's, and nobody else's while this lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    identity: Identity,
    /// What tells the next start from all others.
    next_start: StartId,
    witness: Option<PathBuf>,
    /// Held as long as anything may be written. The kernel lets it go with the process,
    /// however that ends.
    _lock: File,
}

impl DataDirectory {
    /// Makes a node's data directory, durably, and that of its parents which are missing.
    /// For a node that has never been.
    ///
    /// # Errors
    /// [`IdentityError`]; a directory with files is not touched.
    pub fn make(path: &Path, owner: &Owner) -> Result<(), IdentityError> {
        fs::create_dir_all(path).map_err(at(path))?;
        if fs::read_dir(path).map_err(at(path))?.next().is_some() {
            return Err(IdentityError::Taken(path.to_owned()));
        }
        let identity = Identity {
            owner: owner.clone(),
            directory: DirectoryId(rand::random()),
            life: 0,
            starts: Vec::new(),
            born: None,
            journal_born: JournalBirth::Unknown,
            is_from_earlier: false,
        };
        prepare(&path.join(IDENTITY), &identity)?
            .put()
            .map_err(at(path))
    }

    /// Checks that the directory is this node's, whole and newest as far as can be told,
    /// and takes it for this process. `parts` must be there once the node has lived.
    /// Nothing is changed.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn claim(
        path: &Path,
        owner: &Owner,
        parts: &[&str],
        witness: Option<&Path>,
    ) -> Result<Self, IdentityError> {
        Self::attest(path, owner, parts, witness, Attestation::default())
    }

    /// [`DataDirectory::claim`] where the operator's word stands for what nothing in the
    /// directory can tell: from [`DataDirectory::adopt`] on.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn attest(
        path: &Path,
        owner: &Owner,
        parts: &[&str],
        witness: Option<&Path>,
        attested: Attestation,
    ) -> Result<Self, IdentityError> {
        let mut expected = owner.clone();
        if attested.id_is_right {
            open_directory(path)?;
            let remembered = Identity::read(&path.join(IDENTITY))?;
            expected.cluster_id = remembered.and_then(|identity| identity.owner.cluster_id);
        }
        let (mut identity, lock) = Self::owned(path, &expected, parts)?;
        if attested.original_is_gone {
            identity.born = birth(path);
            identity.journal_born = JournalBirth::Adopted;
        }
        if !is_original(identity.born, birth(path)) {
            return Err(IdentityError::Copied(path.to_owned()));
        }
        if let Some(witness) = witness {
            Witness::check(witness, &identity, owner, path)?;
        }
        identity.owner.cluster_id = owner.cluster_id;
        access(path, AccessFlags::W_OK).map_err(|errno| IdentityError::ReadOnly {
            path: path.to_owned(),
            reason: errno.desc().to_lowercase(),
        })?;
        Ok(Self {
            path: path.to_owned(),
            identity,
            next_start: StartId(rand::random()),
            witness: witness.map(Path::to_owned),
            _lock: lock,
        })
    }

    /// Takes the operator's word, from now on. Who knew of no cluster's id takes over the first
    /// that it is started with, and needs nobody's.
    ///
    /// # Errors
    /// [`IdentityError`]; nothing was changed.
    pub fn adopt(&self) -> Result<(), IdentityError> {
        let is_said = self.identity.journal_born == JournalBirth::Adopted;
        if self.identity.is_from_earlier && !is_said {
            return Ok(());
        }
        let written = prepare(&self.path.join(IDENTITY), &self.identity)?;
        written.put().map_err(at(&self.path))
    }

    fn owned(
        path: &Path,
        owner: &Owner,
        parts: &[&str],
    ) -> Result<(Identity, File), IdentityError> {
        let directory = open_directory(path)?;
        let file = path.join(IDENTITY);
        let Some(identity) = Identity::read(&file)? else {
            if parts.iter().any(|part| path.join(part).exists()) {
                return Err(IdentityError::Incomplete(file));
            }
            let mut entries = fs::read_dir(path).map_err(at(path))?;
            // What mkfs leaves in the root of a new file system.
            let has_files =
                entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "lost+found"));
            return Err(match has_files {
                true => IdentityError::NotData(path.to_owned()),
                false => IdentityError::Emptied(path.to_owned()),
            });
        };
        if !identity.owner.is(owner) {
            return Err(IdentityError::Foreign {
                path: path.to_owned(),
                found: Box::new(identity.owner),
                expected: Box::new(owner.clone()),
            });
        }
        let outdated = path.join(OUTDATED);
        // Also a link to nothing.
        if fs::symlink_metadata(&outdated).is_ok() {
            return Err(IdentityError::PeersKnowMore(outdated));
        }
        let missing = parts
            .iter()
            .map(|part| path.join(part))
            .find(|part| !part.exists());
        if let Some(missing) = missing.filter(|_| identity.life > 0) {
            return Err(IdentityError::Incomplete(missing));
        }
        let mut parts = parts.iter().map(|part| path.join(part));
        if let Some(part) = parts.find(|part| part.exists() && !part.is_dir()) {
            return Err(IdentityError::PartNotDirectory(part));
        }
        match directory.try_lock() {
            Ok(()) => Ok((identity, directory)),
            Err(fs::TryLockError::WouldBlock) => Err(IdentityError::InUse(path.to_owned())),
            Err(fs::TryLockError::Error(source)) => Err(at(path)(source)),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory with the starts behind its state, the next one among them.
    pub fn history(&self) -> StateHistory {
        let mut starts = self.identity.starts.clone();
        if starts.last() != Some(&self.next_start) {
            starts.push(self.next_start);
        }
        StateHistory {
            directory: self.identity.directory,
            starts,
        }
    }

    /// Keeps the directory from a further start: a peer has met the node with a state that
    /// this one does not follow.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    pub fn mark_outdated(&self, why: &str) -> Result<(), IdentityError> {
        let path = self.path.join(OUTDATED);
        let written = Replacement::prepare(&path, &format!("{why}\n")).and_then(Replacement::put);
        written.map_err(at(&path))
    }

    /// Its id.
    pub fn id(&self) -> DirectoryId {
        self.identity.directory
    }

    /// Whether no node has ever lived in it.
    pub fn is_new(&self) -> bool {
        self.identity.life == 0
    }

    /// The number of the next life.
    ///
    /// # Errors
    /// [`IdentityError::Exhausted`].
    pub fn next_life(&self) -> Result<Incarnation, IdentityError> {
        let exhausted = || IdentityError::Exhausted(self.path.clone());
        let next = self.identity.life.checked_add(1);
        next.map(Incarnation).ok_or_else(exhausted)
    }

    /// Writes down the next life, for the journal too where there is one yet, so that nothing
    /// but [`DataDirectory::begin`] is left to do. Nothing is changed until then.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn prepare_life(&self) -> Result<NextLife, IdentityError> {
        let Incarnation(life) = self.next_life()?;
        let mut identity = self.identity.clone();
        identity.life = life;
        identity.starts = self.history().starts;
        if identity.born.is_none() {
            identity.born = birth(&self.path);
        }
        let journal = JournalLife::prepare(&self.path, life)?;
        identity.journal_born = JournalBirth::of(&self.path);
        identity.is_from_earlier = false;
        let file = prepare(&self.path.join(IDENTITY), &identity)?;
        Ok(NextLife {
            identity,
            file,
            journal,
            has_mark: journal_life::has_mark(&self.path),
        })
    }

    /// [`DataDirectory::begin`] a life that was not prepared before.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn begin_life(&mut self) -> Result<Incarnation, IdentityError> {
        let next = self.prepare_life()?;
        self.begin(next)
    }

    /// Counts another life of the node, durably, before it says a word to anyone: first in
    /// the journal.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn begin(&mut self, next: NextLife) -> Result<Incarnation, IdentityError> {
        next.journal.map_or(Ok(()), JournalLife::put)?;
        next.file.put().map_err(at(&self.path))?;
        self.identity = next.identity;
        if self.identity.born.is_none() {
            tracing::warn!(
                "{}: this file system keeps no times of birth: an older copy of this directory, put \
                 in its place, can be known by the witness and by peers alone",
                self.path.display()
            );
        }
        let life = self.identity.life;
        if let Some(witness) = &self.witness {
            let text = Witness::of(&self.identity).encode();
            let written = Replacement::prepare(witness, &text).and_then(Replacement::put);
            // It guards against a second mistake, and may stand on a read-only disk.
            if let Err(error) = written {
                tracing::warn!(
                    "{}: {error}: an emptied or outdated data directory may go unnoticed at a \
                     later start",
                    witness.display()
                );
            }
        }
        Ok(Incarnation(life))
    }
}

/// A life that is written down and has not begun.
#[derive(Debug)]
pub struct NextLife {
    identity: Identity,
    file: Replacement,
    journal: Option<JournalLife>,
    has_mark: bool,
}

impl NextLife {
    /// Whether the journal is to know of it, and its birth was asked for: not of a journal, or a
    /// mark of it, that is made only now.
    pub fn knows_journal(&self) -> bool {
        self.journal.is_some() && self.has_mark
    }
}

fn open_directory(path: &Path) -> Result<File, IdentityError> {
    let directory = File::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => IdentityError::Missing(path.to_owned()),
        _ => at(path)(source),
    })?;
    match directory.metadata().map_err(at(path))?.is_dir() {
        true => Ok(directory),
        false => Err(IdentityError::NotDirectory(path.to_owned())),
    }
}

fn prepare(path: &Path, identity: &Identity) -> Result<Replacement, IdentityError> {
    Replacement::prepare(path, &identity.encode()).map_err(at(path))
}

/// Whether what was `born` then, as far as was known, is what is `born_now`. Where the file system
/// tells no births, it is another one than that which did.
fn is_original(born: Option<u128>, born_now: Option<u128>) -> bool {
    born.is_none() || born == born_now
}

/// When a directory or file was made, where its file system knows.
fn birth(path: &Path) -> Option<u128> {
    born(&fs::metadata(path).ok()?)
}

fn born(file: &Metadata) -> Option<u128> {
    let born = file.created().ok()?;
    Some(born.duration_since(UNIX_EPOCH).ok()?.as_nanos())
}
