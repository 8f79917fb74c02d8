//! Making a backup.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use vivace_core::client_protocol::ListedKey;
use vivace_core::{KeyName, Value};

use super::check::check;
use super::error::TakeError;
use super::manifest::{ContainerManifest, FORMAT, FileManifest, INCOMPLETE, MANIFEST, Manifest};
use super::object_file::{Saved, Writer};
use super::{Pace, Progress, due};
use crate::client::{Client, Container};
use crate::error::OperationError;

/// Objects that are being copied at once: at 8 MiB each, what a backup holds in memory.
const COPIES_IN_FLIGHT_MAX: usize = 8;

/// A file is closed when it is this long.
const FILE_BYTES: u64 = 64 << 20;

/// The pause before an object is asked for again; it doubles.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The longest such pause.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Makes a backup of all containers of kinds `rw` and `rmw` into `directory`, which must
/// not exist. While it is made it is called `directory` with `.incomplete` behind it;
/// where this future is dropped, that is removed.
///
/// Objects whose newest value is nowhere to be had fail the backup, unless
/// `leave_out_unreadable`. Costs the service: the objects' names from every replica, their
/// values from the node that is asked, mostly from its disk, at most 8 at a time.
///
/// # Errors
/// [`TakeError`]; nothing is left behind.
pub async fn take(
    client: &Client,
    directory: &Path,
    pace: &Pace,
    leave_out_unreadable: bool,
    mut progress: impl FnMut(Progress),
) -> Result<Manifest, TakeError> {
    let began = now();
    let status = client.status().await?;
    let place = Place::make(directory)?;
    let (kept, left_out): (Vec<_>, Vec<_>) = status
        .containers
        .iter()
        .partition(|container| ["rw", "rmw"].contains(&container.kind.as_str()));
    let mut take = Take {
        place: &place,
        pace,
        leave_out_unreadable,
        start: Instant::now(),
        done: Progress {
            objects_expected: kept.iter().map(|container| container.objects).sum(),
            ..Progress::default()
        },
        progress: &mut progress,
    };
    let mut containers = Vec::new();
    for (index, container) in kept.into_iter().enumerate() {
        let from = client.container(&container.name);
        let files = Files::new(index + 1);
        containers.push(take.container(&from, &container.kind, files).await?);
    }
    let manifest = Manifest {
        format: FORMAT,
        program: concat!("vivace ", env!("CARGO_PKG_VERSION")).to_owned(),
        cluster: status.cluster,
        node: status.node,
        site: status.site,
        began,
        ended: now(),
        containers,
        containers_left_out: left_out.into_iter().map(|c| c.name.clone()).collect(),
    };
    place.finish(directory, &manifest).await?;
    Ok(manifest)
}

fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    now.format(&Rfc3339).expect("this year has four digits")
}

/// The directory while it is being made; dropped unfinished, it is removed.
struct Place {
    path: PathBuf,
}

impl Place {
    fn make(directory: &Path) -> Result<Self, TakeError> {
        let exists = |path: &Path, why: &str| TakeError::Exists {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        if directory.symlink_metadata().is_ok() {
            return Err(exists(
                directory,
                "exists; a backup is made in a new directory",
            ));
        }
        let Some(name) = directory.file_name() else {
            return Err(exists(directory, "is no name for a new directory"));
        };
        let mut incomplete = name.to_owned();
        incomplete.push(INCOMPLETE);
        let path = directory.with_file_name(incomplete);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self { path }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists(
                &path,
                "a backup is being made there, or was broken off; in that case remove it",
            )),
            Err(source) => Err(TakeError::Io { path, source }),
        }
    }

    async fn finish(self, directory: &Path, manifest: &Manifest) -> Result<(), TakeError> {
        let path = self.path.join(MANIFEST);
        write_durably(&path, &manifest.seal()).map_err(|source| TakeError::Io { path, source })?;
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| TakeError::Io { path, source }
        };
        sync_directory(&self.path).map_err(io(&self.path))?;
        read_back(&self.path).await?;
        // Not over an empty directory that appeared meanwhile, which rename would replace.
        if directory.symlink_metadata().is_ok() {
            let (path, why) = (directory.to_owned(), "appeared in the meantime".into());
            return Err(TakeError::Exists { path, why });
        }
        fs::rename(&self.path, directory).map_err(io(directory))?;
        let parent = match directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        sync_directory(parent).map_err(io(parent))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // After the rename there is nothing under this name.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Reads all of it in another thread, which ends soon where nobody waits for it any more.
async fn read_back(path: &Path) -> Result<(), TakeError> {
    let (path, awaited) = (path.to_owned(), Arc::new(()));
    let alive = Arc::downgrade(&awaited);
    let read = tokio::task::spawn_blocking(move || check(&path, |_| alive.strong_count() > 0));
    let checked = read.await.expect("it does not panic");
    drop(awaited);
    checked.map(drop).map_err(TakeError::NotWhole)
}

fn write_durably(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A container's files.
struct Files {
    container: usize,
    done: Vec<FileManifest>,
    open: Option<Writer>,
}

impl Files {
    fn new(container: usize) -> Self {
        Self {
            container,
            done: Vec::new(),
            open: None,
        }
    }

    fn add(&mut self, directory: &Path, object: &Saved) -> Result<(), TakeError> {
        let mut writer = match self.open.take() {
            Some(writer) => writer,
            None => {
                let number = self.done.len() + 1;
                let name = format!("container-{}-{number:05}.objects", self.container);
                let path = directory.join(&name);
                Writer::create(directory, name).map_err(|source| TakeError::Io { path, source })?
            }
        };
        let path = writer.path().to_owned();
        let io = |source| TakeError::Io { path, source };
        let added = writer.add(object);
        match added {
            Ok(()) if writer.bytes() < FILE_BYTES => self.open = Some(writer),
            Ok(()) => self.done.push(writer.finish().map_err(io)?),
            Err(source) => return Err(io(source)),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<FileManifest>, TakeError> {
        if let Some(writer) = self.open.take() {
            let path = writer.path().to_owned();
            let io = |source| TakeError::Io { path, source };
            self.done.push(writer.finish().map_err(io)?);
        }
        Ok(self.done)
    }
}

/// A backup under way.
struct Take<'a, P> {
    place: &'a Place,
    pace: &'a Pace,
    leave_out_unreadable: bool,
    start: Instant,
    done: Progress,
    progress: &'a mut P,
}

/// What became of one object.
type Copied = (KeyName, Result<Value, OperationError>);

impl<P: FnMut(Progress)> Take<'_, P> {
    async fn container(
        &mut self,
        from: &Container,
        kind: &str,
        mut files: Files,
    ) -> Result<ContainerManifest, TakeError> {
        let mut manifest = ContainerManifest {
            name: from.name().to_owned(),
            kind: kind.to_owned(),
            objects: 0,
            bytes: 0,
            deleted: 0,
            unreadable: 0,
            files: Vec::new(),
        };
        let mut copies = JoinSet::new();
        let mut after = None;
        loop {
            let (keys, more) = self.list(from, after).await?;
            for listed in keys {
                while copies.len() >= COPIES_IN_FLIGHT_MAX {
                    self.take_in(&mut copies, &mut files, &mut manifest).await?;
                }
                copies.spawn(copy(from.clone(), listed, self.pace.patience));
            }
            match more {
                Some(more) => after = Some(more),
                None => break,
            }
        }
        while !copies.is_empty() {
            self.take_in(&mut copies, &mut files, &mut manifest).await?;
        }
        manifest.files = files.finish()?;
        Ok(manifest)
    }

    async fn list(
        &self,
        from: &Container,
        after: Option<KeyName>,
    ) -> Result<(Vec<ListedKey>, Option<KeyName>), TakeError> {
        let page = again_until(self.pace.patience, || from.list(after.clone())).await;
        page.map_err(|error| TakeError::List {
            container: from.name().to_owned(),
            error,
        })
    }

    async fn take_in(
        &mut self,
        copies: &mut JoinSet<Copied>,
        files: &mut Files,
        manifest: &mut ContainerManifest,
    ) -> Result<(), TakeError> {
        let Some(copied) = copies.join_next().await else {
            return Ok(());
        };
        let (key, value) = copied.expect("a copy neither panics nor is aborted");
        self.done.objects += 1;
        match value {
            Ok(Value::Bytes(value)) => {
                let value = value.0;
                manifest.objects += 1;
                manifest.bytes += value.len() as u64;
                self.done.bytes += value.len() as u64;
                files.add(&self.place.path, &Saved { key, value })?;
            }
            Ok(Value::Tombstone) => manifest.deleted += 1,
            Err(OperationError::Unavailable { .. }) if self.leave_out_unreadable => {
                manifest.unreadable += 1;
            }
            Err(error) => {
                let object = format!("{}/{}", manifest.name, key.as_bytes().escape_ascii());
                return Err(TakeError::Unreadable { object, error });
            }
        }
        (self.progress)(self.done);
        sleep_until(self.start + due(self.pace, self.done.bytes)).await;
        Ok(())
    }
}

async fn copy(from: Container, listed: ListedKey, patience: Duration) -> Copied {
    let ListedKey { key, ts } = listed;
    let value = again_until(patience, || from.copy(key.clone(), ts)).await;
    (key, value)
}

/// Does something that changes nothing until it succeeds, can't, or `patience` is over.
async fn again_until<T, F: Future<Output = Result<T, OperationError>>>(
    patience: Duration,
    attempt: impl Fn() -> F,
) -> Result<T, OperationError> {
    let end = Instant::now() + patience;
    let mut pause = RETRY_PAUSE;
    loop {
        match attempt().await {
            Err(error) if error.is_retryable() && Instant::now() < end => {
                sleep(pause).await;
                pause = (pause * 2).min(RETRY_PAUSE_MAX);
            }
            ended => return ended,
        }
    }
}
