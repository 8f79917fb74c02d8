//! Restoring a backup into another cluster, by its own ordinary operations.

use std::path::Path;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use vivace_core::{Blob, Durability};

use super::check::Whole;
use super::error::RestoreError;
use super::manifest::ContainerManifest;
use super::object_file::{Reader, Saved};
use super::{Progress, RestoreOptions, due};
use crate::client::{Client, Container};
use crate::error::OperationError;

/// Objects that are being written at once.
const WRITES_IN_FLIGHT_MAX: usize = 64;

/// Bytes of them; one alone may be larger.
const WRITES_BYTES_MAX: u64 = 32 << 20;

/// The pause before an object is written again; it doubles.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The longest such pause.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Writes all objects of a backup that [`check`](super::check()) has found `whole` into a
/// cluster that has containers of the same names and kinds without objects, and takes values
/// as large as its largest.
///
/// RW objects get new timestamps, in the new cluster's own order. RMW objects keep the
/// memory of their sessions: a command that the backup has in it is not executed again.
///
/// # Errors
/// [`RestoreError`].
pub async fn restore(
    client: &Client,
    directory: &Path,
    whole: &Whole,
    options: &RestoreOptions,
    progress: impl FnMut(Progress),
) -> Result<Progress, RestoreError> {
    let manifest = &whole.manifest;
    be_sure_it_fits(client, whole, options.again).await?;
    let mut restore = Restore {
        options,
        start: Instant::now(),
        writes: JoinSet::new(),
        bytes_in_flight: 0,
        done: Progress {
            objects_expected: manifest.objects(),
            ..Progress::default()
        },
        progress,
    };
    for container in &manifest.containers {
        let into = client.container(&container.name);
        let kind = Kind::of(container)?;
        for file in &container.files {
            let mut reader = Reader::open(directory.join(&file.name))?;
            while let Some(object) = reader.next()? {
                restore.add(&into, kind, object).await?;
            }
        }
    }
    restore.finish().await
}

#[derive(Clone, Copy)]
enum Kind {
    Rw,
    Rmw,
}

impl Kind {
    fn of(container: &ContainerManifest) -> Result<Self, RestoreError> {
        match container.kind.as_str() {
            "rw" => Ok(Self::Rw),
            "rmw" => Ok(Self::Rmw),
            other => Err(RestoreError::NotReady {
                container: container.name.clone(),
                why: format!("the backup has it as of kind {other}; rw and rmw can be restored"),
            }),
        }
    }
}

async fn be_sure_it_fits(client: &Client, whole: &Whole, again: bool) -> Result<(), RestoreError> {
    let status = client.status().await?;
    if let Some(largest) = &whole.largest
        && largest.bytes > status.value_bytes_max
    {
        return Err(RestoreError::NotReady {
            container: largest.container.clone(),
            why: format!(
                "object {} has {} bytes, and cluster {:?} takes values of at most {}: give it a \
                 larger limits.value_bytes_max",
                largest.key.as_bytes().escape_ascii(),
                largest.bytes,
                status.cluster,
                status.value_bytes_max
            ),
        });
    }
    for container in whole.manifest.containers.iter().filter(|c| c.objects > 0) {
        Kind::of(container)?;
        let not_ready = |why: String| RestoreError::NotReady {
            container: container.name.clone(),
            why,
        };
        let here = status.containers.iter().find(|c| c.name == container.name);
        let Some(here) = here else {
            let why = format!("cluster {:?} has none of this name", status.cluster);
            return Err(not_ready(why));
        };
        if here.kind != container.kind {
            let why = format!("is of kind {} here, and was {}", here.kind, container.kind);
            return Err(not_ready(why));
        }
        let (objects, _) = client.container(&container.name).list(None).await?;
        if let Some(first) = objects.first()
            && !again
        {
            let why = format!(
                "holds objects already ({}, for one); restore into a new cluster, or say \
                 --again to go on with a restore that was broken off",
                first.key.as_bytes().escape_ascii()
            );
            return Err(not_ready(why));
        }
    }
    Ok(())
}

/// What became of one object: its name for messages, and the bytes of its value.
type Written = (String, u64, Result<(), OperationError>);

struct Restore<'a, P> {
    options: &'a RestoreOptions,
    start: Instant,
    writes: JoinSet<Written>,
    bytes_in_flight: u64,
    done: Progress,
    progress: P,
}

impl<P: FnMut(Progress)> Restore<'_, P> {
    async fn add(
        &mut self,
        into: &Container,
        kind: Kind,
        object: Saved,
    ) -> Result<(), RestoreError> {
        let bytes = object.value.len() as u64;
        while self.writes.len() >= WRITES_IN_FLIGHT_MAX
            || (!self.writes.is_empty() && self.bytes_in_flight + bytes > WRITES_BYTES_MAX)
        {
            self.take_in().await?;
        }
        sleep_until(self.start + due(&self.options.pace, self.done.bytes)).await;
        self.bytes_in_flight += bytes;
        let (durability, patience) = (self.options.durability, self.options.pace.patience);
        self.writes
            .spawn(write(into.clone(), kind, object, durability, patience));
        Ok(())
    }

    async fn take_in(&mut self) -> Result<(), RestoreError> {
        let Some(written) = self.writes.join_next().await else {
            return Ok(());
        };
        let (object, ended) = self.count(written);
        let Err(error) = ended else {
            (self.progress)(self.done);
            return Ok(());
        };
        // Others are on their way: they are restored too, or not, and it is told how many.
        while let Some(written) = self.writes.join_next().await {
            drop(self.count(written));
        }
        Err(RestoreError::Unwritten {
            object,
            error,
            objects: self.done.objects,
        })
    }

    fn count(
        &mut self,
        written: Result<Written, JoinError>,
    ) -> (String, Result<(), OperationError>) {
        let (object, bytes, ended) = written.expect("a write neither panics nor is aborted");
        self.bytes_in_flight -= bytes;
        if ended.is_ok() {
            self.done.objects += 1;
            self.done.bytes += bytes;
        }
        (object, ended)
    }

    async fn finish(mut self) -> Result<Progress, RestoreError> {
        while !self.writes.is_empty() {
            self.take_in().await?;
        }
        Ok(self.done)
    }
}

/// The same value again does no harm, so what may have been written is, until it surely was.
async fn write(
    into: Container,
    kind: Kind,
    object: Saved,
    durability: Option<Durability>,
    patience: Duration,
) -> Written {
    let name = format!("{}/{}", into.name(), object.key.as_bytes().escape_ascii());
    let bytes = object.value.len() as u64;
    let end = Instant::now() + patience;
    let mut pause = RETRY_PAUSE;
    loop {
        let (key, value) = (object.key.clone(), Blob(object.value.clone()));
        let ended = match kind {
            Kind::Rw => into.put_value(key, value, durability).await,
            Kind::Rmw => into.put_object(key, value, durability).await,
        };
        let may_go_on = |error: &OperationError| {
            let is_open = matches!(error, OperationError::Unknown { .. });
            (is_open || error.is_retryable()) && Instant::now() < end
        };
        if !ended.as_ref().is_err_and(may_go_on) {
            return (name, bytes, ended);
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    }
}
