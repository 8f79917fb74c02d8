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

mod buffer;
mod counters;
mod cross_traffic;
mod dscp;
#[cfg(feature = "quinn")]
mod in_process;
mod link;
mod link_config;
mod token_bucket;
mod topology;
mod wan_model;

pub use counters::{FlowCounters, LinkCounters};
pub use cross_traffic::{CROSS_FRACTION_MAX, CROSS_FRACTION_MIN, CrossTraffic};
pub use dscp::DscpSet;
#[cfg(feature = "quinn")]
pub use in_process::{
    Lateness, RECEIVE_BUFFER_BYTES, SocketError, StartError, Wan, WanSocket, WanStats,
};
pub use link::{Class, Delivery, Enqueued, Link, Packet};
pub use link_config::{
    DELAY_MAX, LinkConfig, LinkError, MTU_BYTES, RATE_MAX_BITS_PER_SECOND,
    RATE_MIN_BITS_PER_SECOND, RateLimit,
};
pub use topology::{SITES_MAX, Site, Topology, TopologyError};
pub use wan_model::{LinkReport, Sent, WanDelivery, WanError, WanModel};
