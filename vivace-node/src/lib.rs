//! A Vivace node: two classes of QUIC connections to its peers, the protocol core
//! of [`vivace_core`] between them, a storage, and a port for clients.
//!
//! [`RunningNode::start`] embeds a node in a program, which may bring its own state
//! machines; the `vivace-node` command runs one from a configuration file.
//! [`dev::DevCluster`] runs a whole cluster in one process over an emulated WAN.
//!
//! A state machine of one's own, here in a whole cluster:
//!
//! ```
//! use bincode::{Decode, Encode};
//! use netem::{LinkConfig, Topology};
//! use vivace_core::machine::{Conflict, Machines, StateMachine};
//! use vivace_node::dev::DevCluster;
//! use vivace_node::init::Layout;
//!
//! /// Seats of one flight: nobody sells the same seat twice.
//! #[derive(Default, Encode, Decode)]
//! struct Seats {
//!     sold: std::collections::BTreeMap<u16, String>,
//! }
//!
//! #[derive(Encode, Decode)]
//! enum Command {
//!     Sell { seat: u16, to: String },
//! }
//!
//! impl StateMachine for Seats {
//!     const NAME: &'static str = "seats/1";
//!     type Command = Command;
//!     /// Seats sold so far.
//!     type Output = u64;
//!
//!     fn apply(&mut self, command: Command) -> Result<u64, Conflict> {
//!         let Command::Sell { seat, to } = command;
//!         if let Some(owner) = self.sold.get(&seat) {
//!             return Err(Conflict(format!("seat {seat} is {owner}'s")));
//!         }
//!         self.sold.insert(seat, to);
//!         Ok(self.sold.len() as u64)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let layout = Layout { cluster: "dev".into(), sites: 3, nodes_per_site: 1, base_port: 7000 };
//! let wan = Topology::mesh(3, &LinkConfig::default());
//! let machines = Machines::builtin().with::<Seats>();
//! let cluster = DevCluster::with(&layout.cluster_file(), &wan, machines, 1)?;
//! # let directory = tempfile::tempdir()?;
//! # let client_file = cluster.write_client_files(directory.path())?.remove(0);
//! # let config = vivace_client::ClientConfig::from_file(client_file)?;
//!
//! let client = vivace_client::Client::connect(config).await?;
//! let flight = client.container("objects").rmw::<Seats>("LH 400, 20 November");
//! let sale = |to: &str| Command::Sell { seat: 12, to: to.into() };
//! assert_eq!(flight.execute(sale("Ada")).await, Ok(1));
//! assert!(flight.execute(sale("Grace")).await.is_err());
//! # Ok(())
//! # }
//! ```

mod client_port;
mod clock_source;
pub mod config;
pub mod dev;
mod event_loop;
mod huge_pages;
pub mod init;
mod kernel_clock;
mod runtime;
pub mod storage;
mod threads;
pub mod transport;
mod unspun;
mod urgency;

pub use client_port::ClientPortError;
pub use clock_source::ClockSource;
pub use huge_pages::avoid_huge_pages;
pub use runtime::{Asked, NodeOptions, REQUESTS_MAX, RunningNode, Sockets, StartError};
pub use threads::{NoRealtime, Scheduling, Threads};
