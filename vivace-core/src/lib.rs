//! The Vivace replication protocols as pure state machines: events and the
//! current time go in, actions come out. No clock, socket, thread, file or
//! random number is read here, so one seed replays a whole cluster.

mod blob;
mod bounded;
pub mod client_protocol;
pub mod codec;
mod identity;
mod key;
pub mod machine;
pub mod message;
pub mod status;
mod timestamp;
mod value;

pub use blob::Blob;
pub use bounded::Bounded;
pub use identity::{ContainerId, Epoch, Incarnation, NodeId, SiteId};
pub use key::{KEY_NAME_BYTES_MAX, Key, KeyError, KeyName};
pub use timestamp::{Timestamp, WriterId};
pub use value::{VALUE_BYTES_MAX, Value};
