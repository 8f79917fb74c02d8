//! The client of Vivace, a key-value store that spans sites and keeps its latency
//! when the links between them are full.
//!
//! A [`Client`] talks to the nodes of its own site. Objects live in containers;
//! the container's kind decides which handle an object needs:
//!
//! - [`Rw`]: a value that is read, written and deleted as a whole;
//! - [`Rmw`]: a [state machine](machine::StateMachine), such as a
//!   [counter](machine::builtin::Counter), that carries out commands exactly once.
//!
//! ```
//! use vivace_client::machine::builtin::{Counter, counter};
//! use vivace_client::{Client, ClientConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = vivace_node::dev::DevCluster::start()?;
//! # let directory = tempfile::tempdir()?;
//! # let client_file = cluster.write_client_files(directory.path())?.remove(0);
//! let client = Client::connect(ClientConfig::from_file(client_file)?).await?;
//!
//! let alice = client.container("kv").rw("alice");
//! alice.write("likes long links").await?;
//! let profile = alice.read().await?.expect("it was just written");
//! assert_eq!(profile.value, "likes long links");
//!
//! let visits = client.container("objects").rmw::<Counter>("visits");
//! let total = visits.execute(counter::Command::Add(1)).await?;
//! assert_eq!(total, 1);
//! # client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Every operation ends by its deadline with a result or an [`OperationError`]
//! that says whether it may have taken effect. A node that fails, leaves or stays
//! silent is replaced by another one of the site within the same deadline, as far
//! as that is safe: reads always, commands under their session's exactly-once
//! promise, writes only where no node can have begun them.

pub mod backup;
mod client;
mod config;
mod config_file;
mod connect;
mod dispatch;
mod error;
mod link;
mod loss;
mod node;
mod nodes;
mod rmw;
mod rw;
mod session;
mod shared_stream;
mod tls;

pub use client::{Client, Container, OPERATIONS_IN_FLIGHT_MAX};
pub use config::{ClientConfig, ConfigError, NODES_MAX, TIMEOUT_DEFAULT, TIMEOUT_MAX};
pub use config_file::{ConfigFileError, FILE_BYTES_MAX};
pub use connect::ConnectError;
pub use error::OperationError;
pub use loss::Losses;
pub use node::NodeError;
pub use rmw::{Prepared, Rmw};
pub use rw::{Rw, Versioned};

pub use vivace_core::{
    Blob, Durability, KEY_NAME_BYTES_MAX, KeyName, Timestamp, VALUE_BYTES_MAX, client_protocol,
    machine, status,
};
