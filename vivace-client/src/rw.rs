//! RW objects: values that are read and written as a whole (Vivace Alg. 1).

use std::time::Duration;

use bytes::Bytes;
use vivace_core::client_protocol::{Request, Success};
use vivace_core::{Durability, Timestamp, Value};

use crate::client::{Object, unfitting};
use crate::dispatch::{Effect, Ended};
use crate::error::OperationError;

/// A value and its place in its object's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// When it was written.
    pub ts: Timestamp,
    /// What was written.
    pub value: Bytes,
}

/// An RW object. Cloning is cheap.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = vivace_node::dev::DevCluster::start()?;
/// # let directory = tempfile::tempdir()?;
/// # let client_file = cluster.write_client_files(directory.path())?.remove(0);
/// # let client = vivace_client::Client::connect(vivace_client::ClientConfig::from_file(client_file)?).await?;
/// use std::time::Duration;
///
/// let bob = client.container("kv").rw("bob");
/// bob.write("hello").await?;
/// match bob.clone().deadline(Duration::from_millis(800)).read().await? {
///     Some(profile) => println!("{:?}, written at {}", profile.value, profile.ts),
///     None => println!("never written, or deleted"),
/// }
/// bob.delete().await?;
/// assert_eq!(bob.read().await?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Rw(Object);

impl Rw {
    pub(crate) fn new(object: Object) -> Self {
        Self(object)
    }

    /// Gives every operation by this handle this long: 1 ms to
    /// [`TIMEOUT_MAX`](crate::TIMEOUT_MAX).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.0.deadline = deadline;
        self
    }

    /// Has every write by this handle wait until its value is durable at this level,
    /// whatever the container's is. Stronger levels wait for the value's way to other
    /// sites; where it does not get there by the deadline, the outcome is `Unknown`
    /// though the write has taken effect.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.0.durability = Some(durability);
        self
    }

    /// The newest value; none where the object was never written, or is deleted.
    ///
    /// # Errors
    /// [`OperationError`], never `Conflict` or `Unknown`.
    pub async fn read(&self) -> Result<Option<Versioned>, OperationError> {
        let deadline = self.0.client.deadline(self.0.deadline)?;
        let (container, key) = self.0.name()?;
        let request = Request::Read { container, key };
        match self.0.client.read(request, deadline).await? {
            Success::Value { ts, value } => Ok(Some(Versioned { ts, value: value.0 })),
            Success::NotFound => Ok(None),
            other => Err(unfitting(Effect::Read, &other)),
        }
    }

    /// Replaces the value; puts out the new version's timestamp.
    ///
    /// # Errors
    /// [`OperationError`], never `Conflict`. A write is never tried again under a
    /// second timestamp, so a node that fails half way leaves it `Unknown`.
    pub async fn write(&self, value: impl Into<Bytes>) -> Result<Timestamp, OperationError> {
        let value = value.into();
        let bytes_max = self.0.client.value_bytes_max();
        if value.len() > bytes_max {
            return Err(OperationError::invalid(
                "value",
                format!("has {} bytes; the limit is {bytes_max}", value.len()),
            ));
        }
        self.replace(Value::from(value)).await
    }

    /// Deletes the object, or what is left of it; puts out the deletion's timestamp.
    ///
    /// # Errors
    /// As [`Rw::write`].
    pub async fn delete(&self) -> Result<Timestamp, OperationError> {
        self.replace(Value::Tombstone).await
    }

    async fn replace(&self, value: Value) -> Result<Timestamp, OperationError> {
        let deadline = self.0.client.deadline(self.0.deadline)?;
        let (container, key) = self.0.name()?;
        let request = Request::Write {
            container,
            key,
            value,
            durability: self.0.durability,
        };
        match self
            .0
            .client
            .perform(request, deadline, Effect::Write)
            .await
        {
            Ok(Success::Written { ts }) => Ok(ts),
            Ok(other) => Err(unfitting(Effect::Write, &other)),
            Err(Ended::Failed(error)) => Err(error),
            Err(Ended::SessionForgotten) => Err(OperationError::unknown("an answer out of place")),
        }
    }
}
