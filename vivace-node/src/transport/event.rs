//! What the transport tells its owner, and what it answers to a send.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use vivace_core::{Incarnation, NodeId};

/// The two classes of traffic between nodes. Each has its own
/// socket, connection, thread and DSCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrafficClass {
    /// Timestamps, acknowledgements, probes, gossip: small, idempotent, unordered.
    Priority,
    /// Values, data requests' answers, repair: reliable, ordered per lane.
    Bulk,
}

impl TrafficClass {
    /// The class's name in logs, thread names and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::Bulk => "bulk",
        }
    }
}

/// What shares a priority queue's room and turns: where the class is held to a rate,
/// flows get equal parts, and the answers to all containers' requests as much as all
/// requests together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flow {
    /// Messages that name no container: acknowledgments, probes.
    Answers,
    /// Messages of one container.
    Requests(u32),
}

/// How long a priority message may wait for company, from the shortest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Haste {
    /// Somebody waits for it: not at all where the path is idle.
    Awaited,
    /// Nobody does yet: a 64th of the round trip, 0.5 ms at most.
    Soon,
    /// Nobody will: 2 ms.
    Later,
}

/// A priority message to be sent, and how it may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriorityMessage {
    /// The message, at most
    /// [`PRIORITY_MESSAGE_BYTES_MAX`](super::PRIORITY_MESSAGE_BYTES_MAX) bytes.
    pub bytes: Bytes,
    /// Whose turn it takes.
    pub flow: Flow,
    /// A message with the same number is a repeat: it takes the place of one that
    /// still waits.
    pub identity: Option<u64>,
    /// How long it may wait for others to share a packet with.
    pub haste: Haste,
}

impl From<Bytes> for PriorityMessage {
    /// A message of its own, in no container's turn.
    fn from(bytes: Bytes) -> Self {
        Self {
            bytes,
            flow: Flow::Answers,
            identity: None,
            haste: Haste::Awaited,
        }
    }
}

/// The streams of a bulk connection. A lane keeps its order; lanes don't wait
/// for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BulkLane {
    /// Values that a reader is waiting for; sent before everything else.
    Read,
    /// Background copies of new values.
    Propagate,
    /// Values that a replica lacks and nobody waits for; behind the others.
    Repair,
}

impl BulkLane {
    /// All lanes, the more urgent first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Propagate, Self::Repair];
}

/// What the transport reports to its owner.
///
/// For one node and class, `PeerUp` and `PeerDown` alternate and are never
/// dropped, and no `Received` comes before its `PeerUp` or after its `PeerDown`.
/// Between the two classes there is no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportEvent {
    /// A message arrived whole from a peer whose identity was checked.
    Received {
        /// The node that sent it.
        from: NodeId,
        /// The class that carried it.
        class: TrafficClass,
        /// The message, without the transport's framing.
        bytes: Bytes,
    },
    /// Both sides accepted each other's hello; sends can succeed from now on.
    PeerUp {
        /// The peer.
        node: NodeId,
        /// The class whose connection came up.
        class: TrafficClass,
        /// Which life of the peer this is; a change means that it restarted.
        incarnation: Incarnation,
    },
    /// The connection is gone. What was queued, and bulk that the peer had not
    /// yet received, is lost: whoever still needs it sends it again.
    PeerDown {
        /// The peer.
        node: NodeId,
        /// The class whose connection went down.
        class: TrafficClass,
    },
    /// A peer has met this node with a state that the present one does not follow.
    StateRefused {
        /// Who, and what exactly it says.
        why: String,
    },
    /// A probe came back over the priority connection.
    Rtt {
        /// The peer.
        node: NodeId,
        /// From our probe's send to its answer's arrival, both in the application.
        rtt: Duration,
    },
}

/// Why a message was not taken. In every case it surely was not sent, and the
/// refusal was counted under its cause in the peer's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No connection of that class to the peer is up; `PeerUp` says when one is.
    #[error("no connection of this class to the peer is up")]
    Down,
    /// The queue to this peer is full; retry later, with back-off.
    #[error("the queue to the peer is full")]
    Full,
    /// Larger than [`PRIORITY_MESSAGE_BYTES_MAX`](super::PRIORITY_MESSAGE_BYTES_MAX)
    /// or [`Limits::bulk_frame_bytes_max`](super::Limits::bulk_frame_bytes_max); a retry can't help.
    #[error("the message is larger than its class allows")]
    TooLarge,
    /// The node is not in the address book (oneself never is); a retry can't help.
    #[error("the node is not in the address book")]
    Unknown,
}
