//! What a node tells an operator about itself.

use bincode::{Decode, Encode};
use serde::Serialize;

/// A node's view of itself and of its peers at one moment. Counters run from the
/// node's start.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct NodeStatus {
    /// The cluster's name.
    pub cluster: String,
    /// This node's number.
    pub node: u16,
    /// Its site's name.
    pub site: String,
    /// How often it has started.
    pub incarnation: u16,
    /// Seconds since its start.
    pub uptime_s: u64,
    /// `memory` or `disk`: where its state is kept.
    pub storage: String,
    /// The largest value that it takes, in bytes.
    pub value_bytes_max: u64,
    /// Its clock.
    pub clock: ClockStatus,
    /// The other nodes, by number.
    pub peers: Vec<PeerStatus>,
    /// The containers it serves.
    pub containers: Vec<ContainerStatus>,
    /// Operations that it coordinates or has coordinated.
    pub operations: OperationCounts,
    /// Values on their way to replicas.
    pub backlog: BacklogStatus,
    /// Messages and requests that it refused or dropped, by cause; causes that
    /// did not occur are left out.
    pub refusals: Vec<(String, u64)>,
    /// What needs an operator's attention, in plain words.
    pub warnings: Vec<String>,
}

/// A node's clock, as far as the protocol trusts it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct ClockStatus {
    /// `clock` or `query`: where timestamps of new writes come from now.
    pub mode: String,
    /// ε, the clock's error bound in microseconds; none where it is unsynchronized.
    pub error_us: Option<u64>,
    /// E, the bound that the cluster allows a clock-mode node, in microseconds.
    pub error_max_us: u64,
    /// How often the node changed between the modes.
    pub mode_changes: u64,
}

/// One peer as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct PeerStatus {
    /// The peer's number.
    pub node: u16,
    /// Its site's name.
    pub site: String,
    /// The priority connection.
    pub priority: LinkStatus,
    /// The bulk connection.
    pub bulk: LinkStatus,
}

/// One connection to a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct LinkStatus {
    /// Whether both sides have said hello and the connection stands.
    pub up: bool,
    /// Smoothed round-trip time in microseconds.
    pub rtt_us: Option<u64>,
    /// The DSCP that this node puts on what it sends.
    pub dscp_sent: u8,
    /// The DSCP that arrived at the peer, as the peer reports it.
    pub dscp_seen_by_peer: Option<u8>,
    /// The DSCP of what arrived here from the peer.
    pub dscp_seen_here: Option<u8>,
    /// Messages sent and received.
    pub messages_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Bytes of messages sent.
    pub bytes_sent: u64,
    /// Bytes of messages received.
    pub bytes_received: u64,
    /// Messages that found no room or no connection.
    pub dropped: u64,
    /// Bytes waiting to be sent.
    pub queue_bytes: u64,
    /// How often the connection was made anew.
    pub reconnects: u64,
    /// Why it is down, or was last.
    pub last_error: Option<String>,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct ContainerStatus {
    /// Its name.
    pub name: String,
    /// Its algorithm: `rw`, `rmw`, `abd` or `lan-rmw`.
    pub kind: String,
    /// The configuration's epoch.
    pub epoch: u32,
    /// Its replicas.
    pub replicas: Vec<u16>,
    /// This site's local set.
    pub local_set: Vec<u16>,
    /// Objects that this node stores of it.
    pub objects: u64,
}

/// Client operations at one coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct OperationCounts {
    /// Under way now.
    pub in_flight: u64,
    /// Ended with a result (`Conflict` and `NotFound` are results).
    pub succeeded: u64,
    /// Ended `Busy`.
    pub busy: u64,
    /// Ended `Unavailable`.
    pub unavailable: u64,
    /// Ended `Unknown`.
    pub unknown: u64,
    /// Refused as invalid.
    pub invalid: u64,
}

/// Values on their way from this node to replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct BacklogStatus {
    /// Bytes of values that some replica lacks, each counted once.
    pub bytes: u64,
    /// At this many for one site, writes hear `Busy`.
    pub bytes_max: u64,
    /// How many values.
    pub values: u64,
    /// Milliseconds that the oldest has waited, since the node's start at most.
    pub oldest_ms: u64,
    /// The sites that something waits for, or lately drained to.
    pub sites: Vec<SiteBacklogStatus>,
}

/// Values on their way from this node to one site.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct SiteBacklogStatus {
    /// Its name.
    pub site: String,
    /// Bytes of values that some replica there lacks; at `bytes_max`, writes that would
    /// add to them hear `Busy`.
    pub bytes: u64,
    /// How many values.
    pub values: u64,
    /// Milliseconds that the oldest has waited, since the node's start at most.
    pub oldest_ms: u64,
    /// Bytes that arrived there a second, over the last 5 to 10 seconds.
    pub drain_bytes_per_s: u64,
}
