//! Opening a node's storage at its start: whose it is, what it promised, what it stored.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vivace_core::cluster::Kind;
use vivace_core::journal::{self, CheckpointError, HeaderError, Recovery};
use vivace_core::record::Record;
use vivace_core::{ContainerId, Incarnation};

use super::engine::{Engine, Reports};
use super::identity::{
    Attestation, DataDirectory, DirectoryId, IdentityError, Owner, StateHistory,
};
use super::journal_disk::JournalDisk;
use super::layout::{self, Layout, LayoutError, PreparedLayout};
use super::peer_states::PeerStates;
use super::progress::Progress;
use super::sealed_text::SealedTextError;
use super::space::{Room, Space, is_forbidden, is_no_space};
use super::values::{self, MemoryStore, ValueLog};
use crate::threads::Scheduling;

/// The exit code of a start that finds no space.
const EXIT_FULL: u8 = 20;

/// The exit code of a start without the rights that it needs.
const EXIT_FORBIDDEN: u8 = 16;

/// What a new directory takes beside the journal's first segment.
const FIRST_START_BYTES: u64 = 1 << 20;

pub(super) const JOURNAL: &str = "journal";
const VALUES: &str = "values";

/// What must be in a data directory in which a node has lived.
pub const PARTS: [&str; 1] = [JOURNAL];

/// Where and how a node keeps its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// The data directory, which [`DataDirectory::make`] has made.
    pub directory: PathBuf,
    /// A file elsewhere that remembers the directory and its lives, where there is one.
    pub witness: Option<PathBuf>,
    /// Memory for values that were stored or read lately.
    pub cache_bytes: u64,
    /// Space of the file system that is kept free.
    pub reserve_bytes: u64,
}

impl DiskSettings {
    /// The default of `cache_bytes`: 50,000 values of 1 KB, and little beside what a
    /// million keys take.
    pub const CACHE_BYTES: u64 = 64 << 20;

    /// The default of `reserve_bytes`: twice what may be on its way to the disk, and the
    /// segments and checkpoints being written.
    pub const RESERVE_BYTES: u64 = 512 << 20;

    /// The defaults, in `directory`.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            witness: None,
            cache_bytes: Self::CACHE_BYTES,
            reserve_bytes: Self::RESERVE_BYTES,
        }
    }
}

/// Why a storage was not opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory is not this node's to use.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The directory holds state of other containers than the configuration has.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// What the node knew of its peers can't be read.
    #[error(transparent)]
    PeerStates(SealedTextError),
    /// The journal is not what this node wrote.
    #[error("{}: {source}", path.display())]
    Journal {
        /// The journal's directory.
        path: PathBuf,
        /// Why.
        source: journal::OpenError,
    },
    /// The values can't be opened.
    #[error("{source}{}", or_without(source, path))]
    Values {
        /// The values' directory.
        path: PathBuf,
        /// Why.
        source: values::OpenError,
    },
    /// There is no space for what a start writes.
    #[error("the disk is full: {why}: free some space, and start again")]
    Full {
        /// What found none.
        why: String,
    },
    /// No thread could be started.
    #[error("threads: {0}")]
    Threads(#[from] std::io::Error),
}

impl OpenError {
    /// The process's exit code, by what there is to do.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Identity(error) => error.exit_code(),
            Self::Layout(error) => error.exit_code(),
            Self::PeerStates(error) => error.exit_code(),
            Self::Journal { source, .. } => journal_exit_code(source),
            Self::Values { source, .. } => match source {
                values::OpenError::Newer { .. } => 14,
                values::OpenError::Io { source, .. } if is_forbidden(source) => EXIT_FORBIDDEN,
                values::OpenError::Foreign { .. } | values::OpenError::Io { .. } => 19,
            },
            Self::Full { .. } => EXIT_FULL,
            Self::Threads(_) => 21,
        }
    }

    /// Whatever found no space: there is one thing to do about it.
    fn or_full(self) -> Self {
        let why = match &self {
            Self::Identity(error) if error.exit_code() == EXIT_FULL => error.to_string(),
            Self::Layout(error) if error.exit_code() == EXIT_FULL => error.to_string(),
            Self::Journal { source, .. } if journal_exit_code(source) == EXIT_FULL => {
                source.to_string()
            }
            Self::Values {
                source: source @ values::OpenError::Io { source: cause, .. },
                ..
            } if is_no_space(cause) => source.to_string(),
            _ => return self,
        };
        Self::Full { why }
    }
}

/// Each kind of damage has its own: what is lost, and so what there is to do, differs.
fn journal_exit_code(error: &journal::OpenError) -> u8 {
    match error {
        journal::OpenError::Disk(error) if error.is_no_space() => EXIT_FULL,
        journal::OpenError::Disk(error) if error.is_forbidden() => EXIT_FORBIDDEN,
        journal::OpenError::Disk(_) => 21,
        journal::OpenError::Missing | journal::OpenError::MissingSegment { .. } => 11,
        journal::OpenError::Exists { .. } => 13,
        journal::OpenError::Header { source, .. } => match source {
            HeaderError::Foreign { .. } => 12,
            HeaderError::Newer { .. } => 14,
            HeaderError::Damaged | HeaderError::Misnamed => 23,
        },
        journal::OpenError::WrongLength { .. } => 23,
        journal::OpenError::Damaged { .. } => 18,
        journal::OpenError::LastDamaged { .. } => 24,
        journal::OpenError::AcknowledgedLost { .. } => 25,
        journal::OpenError::Checkpoint { source, .. } => match source {
            CheckpointError::Malformed { .. } => 27,
            CheckpointError::Damaged { .. }
            | CheckpointError::Disk(_)
            | CheckpointError::Header(_) => 26,
        },
        journal::OpenError::Malformed { .. } => 27,
    }
}

/// What else there is to do where values can't be opened.
fn or_without(error: &values::OpenError, path: &Path) -> String {
    match error {
        values::OpenError::Io { source, .. } if is_forbidden(source) => {
            ": mount it writable, or give this user the rights".into()
        }
        values::OpenError::Newer { .. } => String::new(),
        _ => format!(
            "; or move {} away: this node fetches from the other replicas what they have, and \
             what had not left it yet is lost (vivace admin lost tells which)",
            path.display()
        ),
    }
}

/// A storage that is ready.
pub struct Opened<T> {
    /// The storage.
    pub engine: Engine<T>,
    /// What its threads report.
    pub reports: Reports,
}

/// A data directory that is this node's, before anything in it is read.
pub struct Claimed {
    directory: DataDirectory,
    settings: DiskSettings,
    owner: journal::Identity,
    layout: Layout,
    /// Whether the directory remembers `layout` already.
    is_remembered: bool,
}

impl Claimed {
    /// Checks whose the directory is, and that it holds no state of other containers than
    /// `layout` has, and takes it for this process.
    ///
    /// # Errors
    /// [`OpenError::Identity`], [`OpenError::Layout`]; nothing was changed.
    pub fn claim(
        settings: &DiskSettings,
        owner: &Owner,
        layout: Layout,
    ) -> Result<Self, OpenError> {
        let directory = claim_directory(settings, owner)?;
        let path = directory.path();
        let remembered = Layout::remembered(path, directory.id()).map_err(LayoutError::from)?;
        match &remembered {
            Some(remembered) => remembered.check(path, &layout)?,
            None if directory.is_new() => {}
            None => return Err(LayoutError::Missing(path.join(layout::FILE)).into()),
        }
        let is_remembered = remembered.as_ref() == Some(&layout);
        Ok(Self::of(directory, settings, owner, layout, is_remembered))
    }

    fn of(
        directory: DataDirectory,
        settings: &DiskSettings,
        owner: &Owner,
        layout: Layout,
        is_remembered: bool,
    ) -> Self {
        let owner = journal::Identity {
            cluster: owner.cluster.clone(),
            node: owner.node,
            directory: journal::Directory(directory.id().0),
        };
        Self {
            directory,
            settings: settings.clone(),
            owner,
            layout,
            is_remembered,
        }
    }

    /// The directory, and all known starts behind its state; the one of [`Claimed::open`] is
    /// the last.
    pub fn history(&self) -> StateHistory {
        self.directory.history()
    }

    /// What the node knew of its peers' states when it ran last.
    ///
    /// # Errors
    /// [`OpenError::PeerStates`]; nothing was changed.
    pub fn peer_states(&self) -> Result<PeerStates, OpenError> {
        let directory = &self.directory;
        PeerStates::read(directory.path(), directory.id()).map_err(OpenError::PeerStates)
    }

    /// The life that [`Claimed::open`] begins.
    ///
    /// # Errors
    /// [`OpenError::Identity`] where no number is left.
    pub fn incarnation(&self) -> Result<Incarnation, OpenError> {
        Ok(self.directory.next_life()?)
    }

    /// Hands what the node promised in earlier lives to `recover`, in order, and begins
    /// its next life, with threads scheduled as is said.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed, unless a disk failed that had taken what is new: then
    /// what a crash had left unfinished may be gone.
    pub fn open<T>(
        self,
        scheduling: Scheduling,
        recover: &mut dyn FnMut(Record),
    ) -> Result<Opened<T>, OpenError> {
        self.open_or_fail(scheduling, recover)
            .map_err(OpenError::or_full)
    }

    fn open_or_fail<T>(
        mut self,
        scheduling: Scheduling,
        recover: &mut dyn FnMut(Record),
    ) -> Result<Opened<T>, OpenError> {
        self.check_space()?;
        let read = match self.directory.is_new() {
            true => None,
            false => Some(self.read_journal(recover)?),
        };
        let values = read_values(&self.directory.path().join(VALUES), self.directory.id())?;
        let layout = match self.is_remembered {
            true => None,
            false => Some(
                self.layout
                    .prepare(&self.directory)
                    .map_err(LayoutError::from)?,
            ),
        };
        let mut life = self.directory.prepare_life()?;
        // All has been read, and what takes space is written: from here on things change.
        // A journal that a new directory must not hold comes first, for it refuses.
        let journal = match read {
            Some(read) => read.finish(),
            None => JournalDisk::open(self.journal())
                .map_err(journal::OpenError::from)
                .and_then(|disk| {
                    journal::create(disk, self.owner.clone(), journal::Settings::default())
                }),
        };
        let journal = journal.map_err(|source| self.journal_failed(source))?;
        tell(&journal, &self.journal());
        let values = finish_values(values)?;
        // Before the node can do anything for a container that is new.
        layout
            .map_or(Ok(()), PreparedLayout::put)
            .map_err(LayoutError::from)?;
        if !life.knows_journal() {
            drop(life);
            life = self.directory.prepare_life()?;
        }
        self.directory.begin(life)?;
        let reserve = self.settings.reserve_bytes;
        let space = Arc::new(Space::watch(self.directory.path(), reserve));
        let cache_bytes = self.settings.cache_bytes;
        let (mut engine, reports) = Engine::start(
            Some(journal),
            Arc::new(values),
            Some(space),
            cache_bytes,
            scheduling,
        )?;
        engine.hold(self.directory);
        Ok(Opened { engine, reports })
    }

    /// A first start that breaks off half-way would leave a journal behind.
    fn check_space(&self) -> Result<(), OpenError> {
        let path = self.directory.path();
        let needed = u64::from(journal::Settings::default().segment_bytes) + FIRST_START_BYTES;
        match Space::watch(path, needed).room(0) {
            Room::None | Room::Scarce if self.directory.is_new() => Err(OpenError::Full {
                why: format!(
                    "{}: a first start takes {} MiB",
                    path.display(),
                    needed >> 20
                ),
            }),
            Room::None | Room::Scarce | Room::Ample => Ok(()),
        }
    }

    fn journal(&self) -> PathBuf {
        self.directory.path().join(JOURNAL)
    }

    fn journal_failed(&self, source: journal::OpenError) -> OpenError {
        OpenError::Journal {
            path: self.journal(),
            source,
        }
    }

    fn read_journal(
        &self,
        recover: &mut dyn FnMut(Record),
    ) -> Result<Recovery<JournalDisk>, OpenError> {
        let mut read = || -> Result<_, journal::OpenError> {
            let disk = JournalDisk::open(self.journal())?;
            let progress = Progress::of("the journal");
            let settings = journal::Settings::default();
            let mut recovery = Recovery::open(disk, self.owner.clone(), settings)?;
            let mut records = 0_u64;
            while let Some(record) = recovery.next_record()? {
                recover(record);
                records += 1;
                if records.is_multiple_of(4096) {
                    let (done, total) = recovery.progress();
                    progress.show(done, total);
                }
            }
            tracing::info!("recovered {records} records in {:.1?}", progress.elapsed());
            Ok(recovery)
        };
        let recovery = read().map_err(|source| self.journal_failed(source))?;
        let trouble = recovery.mark_trouble();
        let trouble = trouble.map_err(|source| self.journal_failed(source))?;
        self.directory.check_journal(trouble)?;
        Ok(recovery)
    }
}

fn claim_directory(settings: &DiskSettings, owner: &Owner) -> Result<DataDirectory, IdentityError> {
    let (path, witness) = (&settings.directory, settings.witness.as_deref());
    DataDirectory::claim(path, owner, &PARTS, witness)
}

/// Takes the operator's word for a directory: what is `attested`, and that it shall remember
/// `layout` from now on, where there is one, whatever it remembered. Where a container was another,
/// the journal must know nothing of it; that nobody else does either is for the operator to know.
///
/// # Errors
/// [`OpenError`]; nothing was changed, but where a write fails that comes after another.
pub fn adopt(
    settings: &DiskSettings,
    owner: &Owner,
    attested: Attestation,
    layout: Option<Layout>,
) -> Result<(), OpenError> {
    let (path, witness) = (&settings.directory, settings.witness.as_deref());
    let directory = DataDirectory::attest(path, owner, &PARTS, witness, attested)?;
    let Some(layout) = layout else {
        return Ok(directory.adopt()?);
    };
    let claimed = check_layout(settings, owner, directory, layout)?;
    if attested != Attestation::default() {
        claimed.directory.adopt()?;
    }
    let prepared = claimed.layout.prepare(&claimed.directory);
    let put = prepared.and_then(PreparedLayout::put);
    Ok(put.map_err(LayoutError::from)?)
}

fn check_layout(
    settings: &DiskSettings,
    owner: &Owner,
    directory: DataDirectory,
    layout: Layout,
) -> Result<Claimed, OpenError> {
    let path = settings.directory.as_path();
    let remembered = match Layout::remembered(path, directory.id()) {
        Err(SealedTextError::Damaged { .. }) => None,
        remembered => remembered.map_err(LayoutError::from)?,
    };
    let claimed = Claimed::of(directory, settings, owner, layout, false);
    let mut containers: BTreeMap<ContainerId, Vec<Kind>> = BTreeMap::new();
    if !claimed.directory.is_new() {
        claimed.read_journal(&mut |record| {
            let Some(key) = record.key() else { return };
            let kinds = containers.entry(key.container);
            let kinds = kinds.or_insert_with(|| record.kinds().to_vec());
            kinds.retain(|kind| record.kinds().contains(kind));
        })?;
    }
    for (id, kinds) in containers {
        let check = |remembered: &Layout| remembered.check_one(id, path, &claimed.layout);
        remembered.as_ref().map_or(Ok(()), check)?;
        claimed.layout.check_known(id, &kinds, path)?;
    }
    Ok(claimed)
}

fn tell(opened: &journal::Opened<JournalDisk>, journal: &Path) {
    if let Some(trouble) = opened.mark_trouble {
        tracing::warn!(
            "{} {trouble}: nothing tells whether the disk has lost what was acknowledged last; \
             if anybody changed files here, or the disk is not sound, this node may have \
             forgotten a promise",
            journal.join("mark").display()
        );
    }
    let Some(torn) = &opened.torn else { return };
    let file = journal.join(&torn.file);
    let (bytes, offset) = (torn.bytes, torn.offset);
    let whose = match opened.mark_trouble {
        None => "a crash interrupted and nobody was told of",
        Some(_) => "is not complete",
    };
    tracing::info!(
        "{}: cut off {bytes} bytes from byte {offset} on, of a write that {whose}",
        file.display()
    );
}

fn read_values(path: &Path, directory: DirectoryId) -> Result<values::Found, OpenError> {
    let progress = Progress::of("the list of values");
    let found = ValueLog::look(path, directory, &|done, total| progress.show(done, total));
    let found = found.map_err(|source| not_opened(path, source))?;
    let (values, mib) = (found.recovered().values, found.recovered().bytes >> 20);
    tracing::info!(
        "found {values} values, {mib} MiB, in {:.1?}",
        progress.elapsed()
    );
    Ok(found)
}

fn finish_values(found: values::Found) -> Result<ValueLog, OpenError> {
    let path = found.home().to_owned();
    let (log, found) = ValueLog::of(found).map_err(|source| not_opened(&path, source))?;
    if found.cut_bytes > 0 {
        tracing::info!(
            "{}: cut off {} bytes behind the last whole value: a write that a crash interrupted, \
             or damage; what is missing for it is fetched from the other replicas",
            path.display(),
            found.cut_bytes
        );
    }
    if found.damaged > 0 {
        tracing::warn!(
            "{}: damaged in {} places; what is missing for it is fetched from the other replicas \
             (the places are met at each start until their file is compacted)",
            path.display(),
            found.damaged
        );
    }
    Ok(log)
}

fn not_opened(path: &Path, source: values::OpenError) -> OpenError {
    OpenError::Values {
        path: path.to_owned(),
        source,
    }
}

/// A storage that forgets all when the process ends.
///
/// # Errors
/// [`OpenError::Threads`].
pub fn open_memory<T>(scheduling: Scheduling) -> Result<Opened<T>, OpenError> {
    // The cache shares the values' bytes, and saves a thread's turn.
    let (store, cache_bytes) = (Arc::new(MemoryStore::default()), DiskSettings::CACHE_BYTES);
    let (engine, reports) = Engine::start(None, store, None, cache_bytes, scheduling)?;
    Ok(Opened { engine, reports })
}
