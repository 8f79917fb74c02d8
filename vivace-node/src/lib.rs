//! A Vivace node: two classes of QUIC connections to its peers, the protocol core
//! of [`vivace_core`] between them, a storage, and a port for clients.
//!
//! [`RunningNode::start`] embeds a node in a program, which may bring its own state
//! machines; the `vivace-node` command runs one from a configuration file.
//! [`dev::DevCluster`] runs a whole cluster in one process over an emulated WAN.

mod client_port;
mod clock_source;
pub mod config;
pub mod dev;
pub mod init;
mod kernel_clock;
mod runtime;
pub mod storage;
pub mod transport;

pub use client_port::ClientPortError;
pub use clock_source::ClockSource;
pub use runtime::{Asked, NodeOptions, REQUESTS_MAX, RunningNode, Sockets, StartError};
