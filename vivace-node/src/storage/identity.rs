//! Whose a data directory is: one node's of one cluster, in one place.
//!
//! A node votes on what it promised earlier, so a wrong, copied, emptied or outdated
//! directory under its id would break promises that others rely on. Three things tell:
//! the file `identity` in the directory (text, six lines: format, cluster, node,
//! directory, life, birth), the directory's own time of birth, which a copy does not share, and
//! a witness beside the node's configuration that remembers directory and life.
//!
//! `vivace-node init` makes the directory; a start never does.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use nix::unistd::{AccessFlags, access};
use vivace_core::{Incarnation, NodeId};

use super::space::is_no_space;

/// The format of data directories that this code writes, and the newest that it reads.
pub const FORMAT: u32 = 2;

const IDENTITY: &str = "identity";

/// One data directory, drawn by lot when it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectoryId(pub [u8; 16]);

impl fmt::Display for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl DirectoryId {
    fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok()?;
        is_hex.then(|| Self(number.to_be_bytes()))
    }
}

/// Why a data directory is not this node's to use. It was not changed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no such directory.
    #[error(
        "{}: does not exist: mount it, or correct storage.directory; where the disk is lost, \
         replace this node by one with a new id, for a node without its state must not vote \
         under its old one (`vivace-node init` makes the directories of a new cluster)",
        .0.display()
    )]
    Missing(PathBuf),
    /// A directory without anything of a node's.
    #[error(
        "{}: is empty: mount or restore the node's data there; where it is lost, replace this \
         node by one with a new id, for a node without its state must not vote under its old one",
        .0.display()
    )]
    Emptied(PathBuf),
    /// A part of the node's state is not there.
    #[error(
        "{}: is missing beside the rest of the node's state: restore it; where it is lost, \
         replace this node by one with a new id, for a node without its state must not vote \
         under its old one",
        .0.display()
    )]
    Incomplete(PathBuf),
    /// The node has already lived elsewhere.
    #[error(
        "{}: is new, but {} says that this node's state is in data directory {lived}: restore \
         that one; where it is lost, replace this node by one with a new id",
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
    /// Another cluster's or node's.
    #[error(
        "{}: belongs to {found}, and this is {expected}: point storage.directory at this node's \
         own directory",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// A copy.
    #[error(
        "{}: is a copy of this node's data directory: start the node on the original; where that \
         is gone and this was copied from it after the node had stopped for the last time, say \
         so with `vivace-node adopt NODE.toml --original-is-gone`",
        .0.display()
    )]
    Copied(PathBuf),
    /// An older state of the same directory.
    #[error(
        "{}: holds this node's state of its start {life}, and {} says that it has started \
         {lives} times: it may have forgotten what it promised; use the newest state, or replace \
         this node by one with a new id",
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
    /// Written by later code.
    #[error(
        "{}: is of format {found}, and this program reads up to {FORMAT}: run the newer program",
        path.display()
    )]
    Newer {
        /// The identity file.
        path: PathBuf,
        /// The format that it names.
        found: u32,
    },
    /// Written by code that was never released.
    #[error(
        "{}: is of format 1 of a development version, which this program does not read: start \
         anew, with `vivace-node init` in a new directory",
        .0.display()
    )]
    Development(PathBuf),
    /// The identity file is damaged.
    #[error("{}: line {line} should be {expected:?}: restore the file", path.display())]
    Unreadable {
        /// The identity file, or the witness.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What it should be.
        expected: String,
    },
    /// It can be read, but not written.
    #[error("{}: can't be written to ({reason}): mount it writable, or give this user the right", path.display())]
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
        "{}: this node has started 65,535 times, and no number is left for the next: replace it \
         by one with a new id",
        .0.display()
    )]
    Exhausted(PathBuf),
}

impl IdentityError {
    /// The process's exit code, by what there is to do.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Missing(_) => 10,
            Self::Emptied(_) | Self::Incomplete(_) | Self::Replaced { .. } => 11,
            Self::NotData(_) | Self::Foreign { .. } | Self::Another { .. } => 12,
            Self::Copied(_) | Self::Outdated { .. } => 13,
            Self::Newer { .. } => 14,
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

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    cluster: String,
    node: NodeId,
    directory: DirectoryId,
    life: u16,
    /// The directory's time of birth in nanoseconds since 1970, since the first start
    /// and where the file system knows it.
    born: Option<u128>,
}

impl Identity {
    fn encode(&self) -> String {
        let born = match self.born {
            Some(born) => born.to_string(),
            None => "unknown".into(),
        };
        format!(
            "vivace-data {FORMAT}\ncluster {}\nnode {}\ndirectory {}\nlife {}\nborn {born}\n",
            self.cluster, self.node.0, self.directory, self.life
        )
    }

    fn read(path: &Path) -> Result<Option<Self>, IdentityError> {
        let text = match fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(at(path)(source)),
        };
        if text.starts_with("vivace-log-1 ") {
            let directory = path.parent().unwrap_or(path);
            return Err(IdentityError::Development(directory.to_owned()));
        }
        let mut fields = Fields {
            path,
            lines: text.lines(),
            line: 0,
        };
        let format = fields.next("vivace-data", "2", |text| text.parse::<u32>().ok())?;
        if format > FORMAT {
            let path = path.to_owned();
            return Err(IdentityError::Newer {
                path,
                found: format,
            });
        }
        let identity = Self {
            cluster: fields.next("cluster", "NAME", |text| Some(text.to_owned()))?,
            node: fields.next("node", "1", |text| text.parse().ok().map(NodeId))?,
            directory: fields.next("directory", "32 HEX DIGITS", DirectoryId::parse)?,
            life: fields.next("life", "1", |text| text.parse().ok())?,
            born: fields.next("born", "NANOSECONDS", |text| match text {
                "unknown" => Some(None),
                _ => text.parse().ok().map(Some),
            })?,
        };
        fields.end()?;
        Ok(Some(identity))
    }
}

/// Lines of a name and a value.
struct Fields<'t> {
    path: &'t Path,
    lines: std::str::Lines<'t>,
    line: usize,
}

impl Fields<'_> {
    fn next<T>(
        &mut self,
        name: &str,
        example: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, IdentityError> {
        self.line += 1;
        let value = self.lines.next().and_then(|line| line.strip_prefix(name));
        let value = value.and_then(|value| value.strip_prefix(' '));
        value
            .and_then(parse)
            .ok_or_else(|| IdentityError::Unreadable {
                path: self.path.to_owned(),
                line: self.line,
                expected: format!("{name} {example}"),
            })
    }

    fn end(mut self) -> Result<(), IdentityError> {
        match self.lines.next() {
            None => Ok(()),
            Some(_) => Err(IdentityError::Unreadable {
                path: self.path.to_owned(),
                line: self.line + 1,
                expected: "the end".to_owned(),
            }),
        }
    }
}

/// A data directory that is this node's, and nobody else's while this lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    identity: Identity,
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
    pub fn make(path: &Path, cluster: &str, node: NodeId) -> Result<(), IdentityError> {
        fs::create_dir_all(path).map_err(at(path))?;
        if fs::read_dir(path).map_err(at(path))?.next().is_some() {
            return Err(IdentityError::Taken(path.to_owned()));
        }
        let identity = Identity {
            cluster: cluster.to_owned(),
            node,
            directory: DirectoryId(rand::random()),
            life: 0,
            born: None,
        };
        replace_file(&path.join(IDENTITY), &identity.encode())
    }

    /// Checks that the directory is this node's, whole and newest as far as can be told,
    /// and takes it for this process. `parts` must be there once the node has lived.
    /// Nothing is changed.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn claim(
        path: &Path,
        cluster: &str,
        node: NodeId,
        parts: &[&str],
        witness: Option<&Path>,
    ) -> Result<Self, IdentityError> {
        let (identity, lock) = Self::owned(path, cluster, node, parts)?;
        if identity
            .born
            .is_some_and(|born| birth(path).is_some_and(|now| now != born))
        {
            return Err(IdentityError::Copied(path.to_owned()));
        }
        if let Some(witness) = witness {
            identity.check_witness(path, witness)?;
        }
        access(path, AccessFlags::W_OK).map_err(|errno| IdentityError::ReadOnly {
            path: path.to_owned(),
            reason: errno.desc().to_lowercase(),
        })?;
        Ok(Self {
            path: path.to_owned(),
            identity,
            witness: witness.map(Path::to_owned),
            _lock: lock,
        })
    }

    /// Says that a copied directory is the node's from now on.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn adopt(
        path: &Path,
        cluster: &str,
        node: NodeId,
        parts: &[&str],
        witness: Option<&Path>,
    ) -> Result<(), IdentityError> {
        let (mut identity, _lock) = Self::owned(path, cluster, node, parts)?;
        if let Some(witness) = witness {
            identity.check_witness(path, witness)?;
        }
        identity.born = birth(path);
        replace_file(&path.join(IDENTITY), &identity.encode())
    }

    fn owned(
        path: &Path,
        cluster: &str,
        node: NodeId,
        parts: &[&str],
    ) -> Result<(Identity, File), IdentityError> {
        let directory = File::open(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => IdentityError::Missing(path.to_owned()),
            _ => at(path)(source),
        })?;
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
        if (identity.cluster.as_str(), identity.node) != (cluster, node) {
            return Err(IdentityError::Foreign {
                path: path.to_owned(),
                found: format!("{} of cluster {:?}", identity.node, identity.cluster),
                expected: format!("{node} of cluster {cluster:?}"),
            });
        }
        let missing = parts
            .iter()
            .map(|part| path.join(part))
            .find(|part| !part.exists());
        if let Some(missing) = missing.filter(|_| identity.life > 0) {
            return Err(IdentityError::Incomplete(missing));
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

    /// Counts another life of the node, durably, before it says a word to anyone.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn begin_life(&mut self) -> Result<Incarnation, IdentityError> {
        let Incarnation(life) = self.next_life()?;
        let mut identity = self.identity.clone();
        identity.life = life;
        if identity.born.is_none() {
            identity.born = birth(&self.path);
        }
        replace_file(&self.path.join(IDENTITY), &identity.encode())?;
        self.identity = identity;
        if let Some(witness) = &self.witness {
            let text = format!("directory {}\nlife {life}\n", self.identity.directory);
            // It guards against a second mistake, and may stand on a read-only disk.
            if let Err(error) = replace_file(witness, &text) {
                tracing::warn!(
                    "{error}: an emptied or outdated data directory may go unnoticed at a \
                     later start"
                );
            }
        }
        Ok(Incarnation(life))
    }
}

impl Identity {
    fn check_witness(&self, path: &Path, witness: &Path) -> Result<(), IdentityError> {
        let text = match fs::read_to_string(witness) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(at(witness)(source)),
        };
        let mut fields = Fields {
            path: witness,
            lines: text.lines(),
            line: 0,
        };
        let lived = fields.next("directory", "32 HEX DIGITS", DirectoryId::parse)?;
        let lives: u16 = fields.next("life", "1", |text| text.parse().ok())?;
        fields.end()?;
        let (path, witness) = (path.to_owned(), witness.to_owned());
        if lived != self.directory && self.life > 0 {
            return Err(IdentityError::Another {
                path,
                life: self.life,
                witness,
                lived,
            });
        }
        if lived != self.directory {
            return Err(IdentityError::Replaced {
                path,
                witness,
                lived,
            });
        }
        if lives > self.life {
            return Err(IdentityError::Outdated {
                path,
                witness,
                life: self.life,
                lives,
            });
        }
        Ok(())
    }
}

/// When the directory was made, where its file system knows.
fn birth(path: &Path) -> Option<u128> {
    let born = fs::metadata(path).ok()?.created().ok()?;
    Some(born.duration_since(UNIX_EPOCH).ok()?.as_nanos())
}

fn at(path: &Path) -> impl Fn(io::Error) -> IdentityError {
    let path = path.to_owned();
    move |source| match source.kind() {
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => IdentityError::ReadOnly {
            path: path.clone(),
            reason: source.to_string(),
        },
        _ => IdentityError::Io {
            path: path.clone(),
            source,
        },
    }
}

/// Puts a file in the place of an earlier one: after a crash, one of the two is there.
fn replace_file(path: &Path, text: &str) -> Result<(), IdentityError> {
    let new = path.with_extension("new");
    let directory = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(directory)?.sync_all()
    };
    let written = write();
    if written.is_err() {
        // What is left of it is of no use, and a refused start leaves nothing.
        let _ = fs::remove_file(&new);
    }
    written.map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);
    const PARTS: [&str; 1] = ["journal"];

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            let home = Self(tempfile::tempdir().expect("a temporary directory"));
            DataDirectory::make(&home.data(), "test", NODE).expect("makes it");
            home
        }

        fn data(&self) -> PathBuf {
            self.0.path().join("data")
        }

        fn witness(&self) -> PathBuf {
            self.0.path().join("witness")
        }

        fn claim(&self) -> Result<DataDirectory, IdentityError> {
            DataDirectory::claim(&self.data(), "test", NODE, &PARTS, Some(&self.witness()))
        }

        fn live(&self) -> u16 {
            let mut claimed = self.claim().expect("is the node's");
            fs::create_dir_all(self.data().join("journal")).expect("makes it");
            claimed.begin_life().expect("begins").0
        }

        /// The code of a refusal, which changes nothing.
        fn refused(&self) -> u8 {
            let before = contents(self.0.path());
            let error = self.claim().expect_err("is refused");
            assert_eq!(contents(self.0.path()), before, "{error}");
            error.exit_code()
        }
    }

    fn contents(path: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(path).expect("lists") {
            let path = entry.expect("an entry").path();
            found.push((path.clone(), fs::read(&path).ok()));
            if path.is_dir() {
                found.extend(contents(&path));
            }
        }
        found.sort();
        found
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("makes it");
        for entry in fs::read_dir(from).expect("lists") {
            let path = entry.expect("an entry").path();
            let to = to.join(path.file_name().expect("a name"));
            match path.is_dir() {
                true => copy(&path, &to),
                false => drop(fs::copy(&path, &to).expect("copies")),
            }
        }
    }

    #[test]
    fn every_start_is_another_life() {
        let home = Home::new();
        assert_eq!((home.live(), home.live(), home.live()), (1, 2, 3));
    }

    #[test]
    fn missing_emptied_and_half_emptied_directories_are_refused() {
        let home = Home::new();
        home.live();
        fs::remove_dir(home.data().join("journal")).expect("removes");
        assert_eq!(home.refused(), 11);
        fs::create_dir(home.data().join("journal")).expect("makes it");
        fs::remove_file(home.data().join(IDENTITY)).expect("removes");
        assert_eq!(home.refused(), 11);
        fs::remove_dir(home.data().join("journal")).expect("removes");
        assert_eq!(home.refused(), 11);
        fs::remove_dir(home.data()).expect("removes");
        assert_eq!(home.refused(), 10);
    }

    #[test]
    fn a_directory_made_anew_for_a_node_that_has_lived_is_refused() {
        let home = Home::new();
        home.live();
        fs::remove_dir_all(home.data()).expect("removes");
        DataDirectory::make(&home.data(), "test", NODE).expect("makes it");
        assert_eq!(home.refused(), 11);
    }

    #[test]
    fn another_nodes_and_another_clusters_directories_are_refused() {
        let home = Home::new();
        let claim = |cluster: &str, node| {
            DataDirectory::claim(&home.data(), cluster, node, &PARTS, None).map(|_| ())
        };
        let wrong = claim("test", NodeId(2)).expect_err("is node 1's");
        assert_eq!(wrong.exit_code(), 12);
        let wrong = claim("other", NODE).expect_err("is cluster test's");
        assert_eq!(wrong.exit_code(), 12);
        assert!(wrong.to_string().contains("\"test\""), "{wrong}");
        claim("test", NODE).expect("is its own");
    }

    #[test]
    fn a_directory_of_other_files_is_refused() {
        let home = Home::new();
        fs::remove_file(home.data().join(IDENTITY)).expect("removes");
        fs::write(home.data().join("letter.txt"), "dear all").expect("writes");
        assert_eq!(home.refused(), 12);
    }

    #[test]
    fn a_copy_is_refused_until_it_is_adopted() {
        let home = Home::new();
        home.live();
        let away = home.0.path().join("away");
        fs::rename(home.data(), &away).expect("moves");
        assert!(birth(&away).is_some(), "this file system knows no births");
        copy(&away, &home.data());
        assert_eq!(home.refused(), 13);
        let (data, witness) = (home.data(), home.witness());
        DataDirectory::adopt(&data, "test", NODE, &PARTS, Some(&witness)).expect("adopts");
        assert_eq!(home.live(), 2);
    }

    #[test]
    fn an_older_state_is_refused() {
        let home = Home::new();
        home.live();
        let identity = fs::read(home.data().join(IDENTITY)).expect("reads");
        home.live();
        fs::write(home.data().join(IDENTITY), identity).expect("writes");
        assert_eq!(home.refused(), 13);
    }

    #[test]
    fn newer_older_and_damaged_formats_are_refused() {
        let home = Home::new();
        let path = home.data().join(IDENTITY);
        let text = fs::read_to_string(&path).expect("reads");
        let with = |text: &str| fs::write(&path, text).expect("writes");
        with(&text.replace("vivace-data 2", "vivace-data 3"));
        assert_eq!(home.refused(), 14);
        with("vivace-log-1 cluster test node 1 incarnation 4\n");
        assert_eq!(home.refused(), 15);
        with(&text.replace("node 1", "node one"));
        let error = home.claim().expect_err("is damaged");
        assert_eq!(error.exit_code(), 21);
        assert!(error.to_string().contains("line 3"), "{error}");
        // Nothing is behind the six lines that anyone would have meant.
        with(&format!("{text}life 9\n"));
        let error = home.claim().expect_err("is damaged");
        assert_eq!(error.exit_code(), 21);
        assert!(error.to_string().contains("line 7"), "{error}");
        with(&text);
        assert_eq!(home.live(), 1);
    }

    #[test]
    fn a_directory_in_use_is_refused() {
        let home = Home::new();
        let claimed = home.claim().expect("is the node's");
        assert_eq!(home.refused(), 17);
        drop(claimed);
        home.live();
    }

    #[test]
    fn make_touches_no_directory_with_files() {
        let home = Home::new();
        let before = contents(home.0.path());
        let again = DataDirectory::make(&home.data(), "test", NODE);
        assert!(matches!(again, Err(IdentityError::Taken(_))));
        assert_eq!(contents(home.0.path()), before);
    }
}
