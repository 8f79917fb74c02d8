//! The WAN between sites: one link model that the simulator and every driver share.
//!
//! What a test proves about a [`Link`] is true of the link that an experiment
//! runs on, because both run the same lines.
//!
//! # The model
//!
//! A [`Link`] goes one way. It has a rate, a finite buffer, a propagation delay,
//! jitter, loss, and a set of DSCP values that it serves first:
//!
//! ```text
//!             loss, rate limit      buffer (bytes)          wire
//! enqueue ──▶ of the priority ──▶ ┌ priority FIFO ┐ ──▶ rate ──▶ delay + jitter ──▶ poll
//!             class               └ bulk FIFO     ┘
//!                                       ▲ cross traffic (Poisson), thrown away at the end
//! ```
//!
//! It is a discrete-event simulation in virtual time: every call carries `now`,
//! the time since an origin that the caller picks, and departures are chained
//! from one another, so *when* somebody polls never changes *what* happens.
//! Randomness is an argument too. There is no clock, thread or socket in it.
//!
//! A [`WanModel`] holds a [`Topology`]'s links and says which one a packet takes.
//!
//! # The driver
//!
//! With the feature `quinn`, `Wan` runs a model against the wall clock on a
//! thread of its own and hands out virtual UDP sockets that
//! `quinn::Endpoint::new_with_abstract_socket` takes. Nothing touches the kernel
//! and nothing needs root.
//!
//! # The program
//!
//! With the feature `tool`, [`topology_file`] reads a WAN from TOML and [`Network`]
//! joins links to paths. The program `netem` builds such a WAN from network
//! namespaces, so that any process can run over it.

mod buffer;
mod counters;
mod cross_traffic;
mod dscp;
#[cfg(feature = "tool")]
pub mod gateway;
#[cfg(feature = "quinn")]
mod in_process;
#[cfg(feature = "tool")]
mod ip_packet;
mod lateness;
mod link;
mod link_config;
#[cfg(feature = "tool")]
mod network;
mod remark;
mod token_bucket;
mod topology;
#[cfg(feature = "tool")]
pub mod topology_file;
mod wan_model;

pub use counters::{FlowCounters, LinkCounters, WaitSum};
pub use cross_traffic::{
    CROSS_FRACTION_MAX, CROSS_FRACTION_MIN, CROSS_PACKETS_PER_SECOND_MAX, CrossTraffic,
};
pub use dscp::DscpSet;
#[cfg(feature = "quinn")]
pub use in_process::{RECEIVE_BUFFER_BYTES, SocketError, StartError, Wan, WanSocket, WanStats};
#[cfg(feature = "tool")]
pub use ip_packet::IpHeader;
pub use lateness::{Lateness, LatenessHistogram};
pub use link::{Class, Delivery, Enqueued, Link, Packet};
pub use link_config::{
    DELAY_MAX, LinkConfig, LinkError, MTU_BYTES, MTU_BYTES_MAX, RATE_MAX_BITS_PER_SECOND,
    RATE_MIN_BITS_PER_SECOND, RateLimit,
};
#[cfg(feature = "tool")]
pub use network::{Arrived, LaneReport, Network, Paths, Waits};
pub use remark::Remark;
pub use topology::{SITES_MAX, Site, Topology, TopologyError};
pub use wan_model::{LinkReport, Sent, WanDelivery, WanError, WanModel};
