//! The Vivace replication protocols as pure state machines: events and the
//! current time go in, actions come out. No clock, socket, thread, file or
//! random number is read here, so one seed replays a whole cluster.
//!
//! [`Node`] is the door: [`Node::handle`] takes an [`Event`] and returns [`Action`]s.

#[macro_use]
mod mutated;

mod abd;
pub mod agreement;
mod backlog;
mod batch;
mod blob;
mod bounded;
mod call;
pub mod client_protocol;
pub mod clock;
pub mod cluster;
pub mod codec;
mod commit_wait;
mod coordinator;
mod copy;
mod data_waiters;
mod direct;
mod durability;
mod env;
mod event;
mod fetch;
mod forgetful;
#[cfg(feature = "history")]
mod history_line;
mod holders;
mod identity;
pub mod journal;
mod key;
mod lan_rmw;
#[cfg(feature = "linearizability")]
pub mod linearizability;
mod listing;
mod local_set;
mod lost;
pub mod machine;
pub mod message;
#[cfg(feature = "sim")]
mod mutant;
mod node;
mod objects;
mod operation;
mod outbox;
mod propagation;
mod query;
pub mod quorum;
pub mod record;
mod repair;
mod round;
mod row;
#[cfg(feature = "sim")]
pub mod sim;
pub mod status;
pub mod stored;
mod superseded;
#[cfg(feature = "linearizability")]
mod table;
mod timestamp;
mod value;
mod vivace_rmw;
mod vivace_rw;

pub use blob::Blob;
pub use bounded::Bounded;
pub use durability::{Durability, UnknownDurability};
pub use event::{Action, Class, Event, RequestId};
#[cfg(feature = "history")]
pub use history_line::HistoryLine;
pub use identity::{ContainerId, Epoch, Incarnation, NodeId, SiteId};
pub use key::{KEY_NAME_BYTES_MAX, Key, KeyError, KeyName};
#[cfg(feature = "sim")]
pub use mutant::{Mutant, Mutants, UnknownMutant};
pub use node::{Node, ProtocolStatus, UnknownNode};
pub use outbox::Lsn;
pub use timestamp::{Timestamp, WriterId};
pub use value::{VALUE_BYTES_MAX, Value};
pub use vivace_rmw::{Derivation, DerivationStep, Fingerprint};
