//! RMW objects: state machines that carry out commands exactly once (Vivace Alg. 3).

use std::marker::PhantomData;
use std::time::Duration;

use tokio::time::Instant;
use vivace_core::client_protocol::{Request, Success};
use vivace_core::codec::{self, MESSAGE_BYTES_MAX};
use vivace_core::machine::StateMachine;
use vivace_core::{Blob, Durability};

use crate::client::{Object, unfitting};
use crate::dispatch::{Effect, Ended};
use crate::error::OperationError;
use crate::session::Session;

/// How often one command may find its session forgotten. More means that sessions
/// are forgotten as fast as they are made.
const SESSION_RENEWALS_MAX: u32 = 3;

/// An RMW object whose state machine is `M`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = vivace_node::dev::DevCluster::start()?;
/// # let directory = tempfile::tempdir()?;
/// # let client_file = cluster.write_client_files(directory.path())?.remove(0);
/// # let client = vivace_client::Client::connect(vivace_client::ClientConfig::from_file(client_file)?).await?;
/// use vivace_client::OperationError;
/// use vivace_client::machine::builtin::{Register, register};
///
/// let lock = client.container("objects").rmw::<Register>("printer");
/// let take = register::Command::CompareAndSwap {
///     expected: None,
///     new: Some(b"me".to_vec().into()),
/// };
/// match lock.execute(take).await {
///     Ok(()) => println!("the lock is ours"),
///     Err(OperationError::Conflict { reason }) => println!("somebody has it: {reason}"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(())
/// # }
/// ```
pub struct Rmw<M> {
    object: Object,
    machine: PhantomData<fn() -> M>,
}

impl<M> Clone for Rmw<M> {
    fn clone(&self) -> Self {
        Self {
            object: self.object.clone(),
            machine: PhantomData,
        }
    }
}

impl<M: StateMachine> Rmw<M> {
    pub(crate) fn new(object: Object) -> Self {
        Self {
            object,
            machine: PhantomData,
        }
    }

    /// Gives every operation by this handle this long: 1 ms to
    /// [`TIMEOUT_MAX`](crate::TIMEOUT_MAX).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.object.deadline = deadline;
        self
    }

    /// Has every command by this handle wait until its effect is durable at this level,
    /// whatever the container's is. Stronger levels wait for the value's way to other
    /// sites; where it does not get there by the deadline, the outcome is `Unknown`
    /// though the command has taken effect.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.object.durability = Some(durability);
        self
    }

    /// The state; none where no command has run yet.
    ///
    /// # Errors
    /// [`OperationError`], never `Conflict` or `Unknown`; `Invalid` where the object
    /// is another machine's.
    pub async fn read(&self) -> Result<Option<M>, OperationError> {
        let deadline = self.object.client.deadline(self.object.deadline)?;
        let (container, key) = self.object.name()?;
        let request = Request::ReadState {
            container,
            key,
            machine: M::NAME.to_owned(),
        };
        match self.object.client.read(request, deadline).await? {
            Success::State { state: Some(state) } => codec::decode(&state.0, MESSAGE_BYTES_MAX)
                .map(Some)
                .map_err(|error| {
                    let reason = format!("the stored state is no {:?}: {error}", M::NAME);
                    OperationError::invalid("machine", reason)
                }),
            Success::State { state: None } | Success::NotFound => Ok(None),
            other => Err(unfitting(Effect::Read, &other)),
        }
    }

    /// Has the object carry out `command`, at most once, and yields its output.
    ///
    /// # Errors
    /// [`OperationError`]. To ask again after `Unknown`, use [`Rmw::prepare`].
    pub async fn execute(&self, command: M::Command) -> Result<M::Output, OperationError> {
        self.prepare(command).run().await
    }

    /// A command that can be asked for again without taking effect twice.
    pub fn prepare(&self, command: M::Command) -> Prepared<M> {
        Prepared {
            object: self.object.clone(),
            command: codec::encode(&command).into(),
            session: None,
            is_open: false,
            machine: PhantomData,
        }
    }
}

/// A command with its place in a session: however often it runs, it takes effect
/// at most once.
///
/// ```
/// # use vivace_client::OperationError;
/// # use vivace_client::machine::builtin::{Counter, counter};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = vivace_node::dev::DevCluster::start()?;
/// # let directory = tempfile::tempdir()?;
/// # let client_file = cluster.write_client_files(directory.path())?.remove(0);
/// # let client = vivace_client::Client::connect(vivace_client::ClientConfig::from_file(client_file)?).await?;
/// # let visits = client.container("objects").rmw::<Counter>("visits");
/// let mut add = visits.prepare(counter::Command::Add(1));
/// let total = loop {
///     match add.run().await {
///         Err(OperationError::Unknown { .. }) => continue, // not counted twice
///         settled => break settled?,
///     }
/// };
/// # assert_eq!(total, 1);
/// # Ok(())
/// # }
/// ```
pub struct Prepared<M> {
    object: Object,
    command: Blob,
    session: Option<Session>,
    /// Whether some attempt may have taken effect, or may yet.
    is_open: bool,
    machine: PhantomData<fn() -> M>,
}

impl<M: StateMachine> Prepared<M> {
    /// Has the command carried out, or hears what became of it.
    ///
    /// Each call has the handle's deadline to itself. Dropping the future leaves the
    /// outcome open, as [`OperationError::Unknown`] does.
    ///
    /// # Errors
    /// [`OperationError`]; after `Unknown` another call is safe.
    pub async fn run(&mut self) -> Result<M::Output, OperationError> {
        let deadline = self.object.client.deadline(self.object.deadline)?;
        if self.command.0.len() > self.object.client.value_bytes_max() {
            return Err(OperationError::invalid(
                "command",
                format!(
                    "has {} bytes; the limit is {}",
                    self.command.0.len(),
                    self.object.client.value_bytes_max()
                ),
            ));
        }
        for _ in 0..=SESSION_RENEWALS_MAX {
            match self.run_in_session(deadline).await {
                Ok(output) => return Ok(output),
                Err(Ended::SessionForgotten) => self.session = None,
                Err(Ended::Failed(error)) => return Err(error),
            }
        }
        Err(OperationError::Busy {
            reason: "sessions are forgotten faster than they can be used".to_owned(),
        })
    }

    async fn run_in_session(&mut self, deadline: Instant) -> Result<M::Output, Ended> {
        let (container, key) = self.object.name().map_err(Ended::Failed)?;
        let session = self.session(deadline).await.map_err(Ended::Failed)?;
        let request = Request::Execute {
            container,
            key,
            machine: M::NAME.to_owned(),
            session: session.id,
            sequence: session.sequence,
            repeated: self.is_open,
            command: self.command.clone(),
            durability: self.object.durability,
        };
        let effect = Effect::Command {
            repeated: self.is_open,
        };
        // Set before the first await: a future dropped from here on leaves it open.
        self.is_open = true;
        let end = self.object.client.perform(request, deadline, effect).await;
        let output = match end {
            Ok(Success::Executed { output }) => output,
            Ok(other) => return Err(Ended::Failed(unfitting(effect, &other))),
            Err(Ended::Failed(error)) => {
                self.is_open = !error.surely_not_applied();
                return Err(Ended::Failed(error));
            }
            Err(Ended::SessionForgotten) => {
                self.is_open = false;
                return Err(Ended::SessionForgotten);
            }
        };
        self.is_open = false;
        codec::decode(&output.0, MESSAGE_BYTES_MAX).map_err(|error| {
            let reason = format!("it was carried out, but its output is unreadable: {error}");
            Ended::Failed(OperationError::Unknown { reason })
        })
    }

    /// The session held since an earlier run, an idle one, or a new one.
    async fn session(&mut self, deadline: Instant) -> Result<Session, OperationError> {
        if let Some(session) = self.session {
            return Ok(session);
        }
        let client = &self.object.client;
        let session = match client.sessions().take() {
            Some(session) => session,
            None => match client.read(Request::OpenSession, deadline).await? {
                Success::Session(id) => Session::new(id),
                other => return Err(unfitting(Effect::Read, &other)),
            },
        };
        self.session = Some(session);
        Ok(session)
    }
}

impl<M> Drop for Prepared<M> {
    fn drop(&mut self) {
        // A session whose last command may still be under way is not used again.
        if let Some(session) = self.session.take()
            && !self.is_open
        {
            self.object.client.sessions().put_back(session);
        }
    }
}
