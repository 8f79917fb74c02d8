//! The client, and the containers that it reaches.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Endpoint, VarInt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use vivace_core::client_protocol::{CONTAINER_NAME_BYTES_MAX, Request, Success};
use vivace_core::machine::StateMachine;
use vivace_core::status::NodeStatus;
use vivace_core::{Durability, KeyName, VALUE_BYTES_MAX};

use crate::config::{ClientConfig, check_timeout};
use crate::connect::{self, ConnectError};
use crate::dispatch::{self, Effect, Ended};
use crate::error::OperationError;
use crate::link::ExchangeError;
use crate::node::Node;
use crate::nodes::Nodes;
use crate::rmw::Rmw;
use crate::rw::Rw;
use crate::session::Sessions;

/// The most operations of one client that are under way at once; further ones wait
/// for their turn, and hear [`OperationError::Busy`] where it does not come in time.
pub const OPERATIONS_IN_FLIGHT_MAX: usize = 1024;

/// How long [`Client::close`] waits for the nodes to hear of it.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// A client of one cluster, by way of its own site's nodes. Cloning is cheap and
/// shares connections and sessions.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    endpoint: Endpoint,
    nodes: Nodes,
    sessions: Sessions,
    turns: Semaphore,
    timeout: Duration,
    value_bytes_max: usize,
}

impl Client {
    /// Connects to one of the configured nodes; later ones are connected as needed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = vivace_node::dev::DevCluster::start()?;
    /// # let directory = tempfile::tempdir()?;
    /// # let client_file = cluster.write_client_files(directory.path())?.remove(0);
    /// use vivace_client::{Client, ClientConfig};
    ///
    /// let client = Client::connect(ClientConfig::from_file(client_file)?).await?;
    /// println!("connected to site {}", client.status().await?.site);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`] by [`ClientConfig::timeout`] at the latest.
    ///
    /// # Panics
    /// Outside of a Tokio runtime with time and I/O enabled.
    pub async fn connect(config: ClientConfig) -> Result<Self, ConnectError> {
        let (endpoint, nodes) = connect::connect(&config).await?;
        Ok(Self(Arc::new(Shared {
            endpoint,
            nodes,
            sessions: Sessions::default(),
            turns: Semaphore::new(OPERATIONS_IN_FLIGHT_MAX),
            timeout: config.timeout,
            value_bytes_max: config.value_bytes_max.min(VALUE_BYTES_MAX),
        })))
    }

    /// The container of this name; whether it exists shows with the first operation.
    pub fn container(&self, name: impl Into<String>) -> Container {
        Container {
            client: self.clone(),
            name: name.into(),
            deadline: self.0.timeout,
        }
    }

    /// What one node, the best to reach, says of itself and its peers.
    ///
    /// # Errors
    /// [`OperationError::Unavailable`] where no node answers in time.
    pub async fn status(&self) -> Result<NodeStatus, OperationError> {
        let deadline = self.deadline(self.0.timeout)?;
        match self.read(Request::Status, deadline).await? {
            Success::Status(status) => Ok(*status),
            other => Err(unfitting(Effect::Read, &other)),
        }
    }

    /// What each configured node says of itself, in the configuration's order, by
    /// [`ClientConfig::timeout`] at the latest.
    pub async fn statuses(&self) -> Vec<(SocketAddr, Result<NodeStatus, OperationError>)> {
        let deadline = Instant::now() + self.0.timeout;
        let asked: Vec<_> = self
            .0
            .nodes
            .all()
            .iter()
            .cloned()
            .map(|node| {
                let address = node.address;
                (
                    address,
                    tokio::spawn(async move { status_of(&node, deadline).await }),
                )
            })
            .collect();
        let mut statuses = Vec::new();
        for (address, status) in asked {
            let broken =
                |error: tokio::task::JoinError| OperationError::unavailable(error.to_string());
            statuses.push((address, status.await.map_err(broken).flatten()));
        }
        statuses
    }

    /// Tells the nodes that this client and its clones are done. Operations that are
    /// under way end with an error. Dropping the last clone does the same, but
    /// nothing waits there for the nodes to hear of it.
    pub async fn close(&self) {
        self.0.endpoint.close(VarInt::from_u32(0), b"done");
        // The nodes notice by themselves later where this does not reach them.
        let _ = timeout(CLOSE_TIMEOUT, self.0.endpoint.wait_idle()).await;
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    pub(crate) fn value_bytes_max(&self) -> usize {
        self.0.value_bytes_max
    }

    /// When an operation that begins now and may take `duration` has to end.
    pub(crate) fn deadline(&self, duration: Duration) -> Result<Instant, OperationError> {
        check_timeout("deadline", duration)
            .map_err(|error| OperationError::invalid(error.field, error.reason))?;
        Ok(Instant::now() + duration)
    }

    /// Has a node carry out something that changes nothing.
    pub(crate) async fn read(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<Success, OperationError> {
        self.perform(request, deadline, Effect::Read)
            .await
            .map_err(|ended| match ended {
                // What changes nothing can be in no doubt.
                Ended::Failed(
                    OperationError::Unknown { reason } | OperationError::Conflict { reason },
                ) => OperationError::Unavailable { reason },
                Ended::Failed(error) => error,
                Ended::SessionForgotten => OperationError::unavailable("an answer out of place"),
            })
    }

    /// Has a node carry out `request`, once this client has a turn for it.
    pub(crate) async fn perform(
        &self,
        request: Request,
        deadline: Instant,
        effect: Effect,
    ) -> Result<Success, Ended> {
        let turn = match self.0.turns.try_acquire() {
            Ok(turn) => turn,
            Err(_) => match timeout_at(deadline, self.0.turns.acquire()).await {
                Ok(Ok(turn)) => turn,
                Ok(Err(_)) | Err(_) => return Err(Ended::Failed(effect.without_turn())),
            },
        };
        let ended = dispatch::dispatch(&self.0.nodes, request, deadline, effect).await;
        drop(turn);
        ended
    }
}

/// A container's objects, as one client sees them. Cloning is cheap.
#[derive(Clone)]
pub struct Container {
    client: Client,
    name: String,
    deadline: Duration,
}

impl Container {
    /// Gives every operation on the objects taken from here this long: 1 ms to
    /// [`TIMEOUT_MAX`](crate::TIMEOUT_MAX).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The RW object of this name.
    pub fn rw(&self, key: impl Into<Bytes>) -> Rw {
        Rw::new(self.object(key.into()))
    }

    /// The RMW object of this name, a state machine of type `M`.
    pub fn rmw<M: StateMachine>(&self, key: impl Into<Bytes>) -> Rmw<M> {
        Rmw::new(self.object(key.into()))
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How long each operation may take.
    pub(crate) fn patience(&self) -> Duration {
        self.deadline
    }

    fn object(&self, key: Bytes) -> Object {
        Object {
            client: self.client.clone(),
            container: self.name.clone(),
            key,
            deadline: self.deadline,
            durability: None,
        }
    }
}

/// What both kinds of handle are made of. The names are checked when they are used.
#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) client: Client,
    container: String,
    key: Bytes,
    pub(crate) deadline: Duration,
    pub(crate) durability: Option<Durability>,
}

impl Object {
    /// The container's and the object's names, checked.
    pub(crate) fn name(&self) -> Result<(String, KeyName), OperationError> {
        let bytes = self.container.len();
        if !(1..=CONTAINER_NAME_BYTES_MAX).contains(&bytes) {
            return Err(OperationError::invalid(
                "container",
                format!("has {bytes} bytes; a name has 1 to {CONTAINER_NAME_BYTES_MAX}"),
            ));
        }
        let key = KeyName::new(self.key.clone()).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.strip_prefix("key: ").unwrap_or(&reason);
            OperationError::invalid("key", reason)
        })?;
        Ok((self.container.clone(), key))
    }
}

async fn status_of(node: &Node, deadline: Instant) -> Result<NodeStatus, OperationError> {
    let link = timeout_at(deadline, node.connect())
        .await
        .map_err(|_| OperationError::unavailable("no connection by the deadline"))?
        .map_err(|error| OperationError::unavailable(error.to_string()))?;
    match link.exchange(&Request::Status, deadline).await {
        Ok(Ok(Success::Status(status))) => Ok(*status),
        Ok(Ok(other)) => Err(unfitting(Effect::Read, &other)),
        Ok(Err(failure)) => Err(failure.into()),
        Err(ExchangeError::NotSent(reason) | ExchangeError::NoReply(reason)) => {
            Err(OperationError::unavailable(reason))
        }
    }
}

/// A node answered with what fits another request.
pub(crate) fn unfitting(effect: Effect, success: &Success) -> OperationError {
    let reason = format!("the node's answer fits another request: {success:?}");
    match effect {
        Effect::Read => OperationError::unavailable(reason),
        Effect::Write | Effect::Command { .. } => OperationError::unknown(reason),
    }
}
