//! The transport's state for operators, ready to be serialized.

use std::collections::BTreeMap;

use serde::Serialize;

use super::event::TrafficClass;
use super::link::Link;
use super::metered_socket::header_bytes;
use super::state::{Peer, Shared};

/// Everything that [`Transport::status`](super::Transport::status) knows.
#[derive(Clone, Debug, Serialize)]
pub struct TransportStatus {
    /// The cluster's name.
    pub cluster: String,
    /// Our node.
    pub node: u16,
    /// Our site.
    pub site: u16,
    /// Our incarnation.
    pub incarnation: u16,
    /// Every peer of the address book, by node.
    pub peers: Vec<PeerStatus>,
    /// Connections that we refused or closed, by cause
    /// ([`RefusalCause::name`](super::RefusalCause::name)); causes that happened.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Connections that peers refused us or closed on us, by cause.
    pub refused_by_peers: BTreeMap<&'static str, u64>,
}

/// One peer.
#[derive(Clone, Debug, Serialize)]
pub struct PeerStatus {
    /// Its node.
    pub node: u16,
    /// Its site.
    pub site: u16,
    /// Its priority connection.
    pub priority: LinkStatus,
    /// Its bulk connection.
    pub bulk: LinkStatus,
}

/// One class's connection to one peer. Counts are since the start, over all its
/// connections; they count user messages alone.
#[derive(Clone, Debug, Serialize)]
pub struct LinkStatus {
    /// Whether a connection is up.
    pub up: bool,
    /// Milliseconds since it came up or went down (or since the start).
    pub since_ms: u64,
    /// The peer's incarnation, while up.
    pub incarnation: Option<u16>,
    /// Microseconds of the latest round trip, while up: of a probe through both
    /// applications (priority), or QUIC's smoothed estimate (bulk).
    pub rtt_us: Option<u64>,
    /// DSCP that our packets leave with.
    pub dscp_sent: Option<u8>,
    /// DSCP that our packets arrive with, as the peer reports; differs from
    /// `dscp_sent` where the network doesn't keep the mark. `None` until reported.
    pub dscp_seen_by_peer: Option<u8>,
    /// DSCP that the peer's packets arrive here with.
    pub dscp_seen_here: Option<u8>,
    /// Messages handed to QUIC; a priority message may still be lost on the way.
    pub messages_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Messages dropped on our side, by cause: `down`, `queue_full`,
    /// `too_large`, `connection_ended`, `event_queue_full`.
    pub drops: BTreeMap<&'static str, u64>,
    /// Bytes queued and not yet handed to QUIC (bulk) or to the network (priority).
    pub queue_bytes: usize,
    /// What left for the peer, with acknowledgments, handshakes and all headers from
    /// IP on, and how it had to wait; of priority alone.
    pub wire: Option<WireStatus>,
    /// How often the connection came up again after the first time.
    pub reconnects: u64,
    /// Packets that QUIC holds for lost, on the present connection.
    pub packets_lost: Option<u64>,
    /// Bytes of the largest IP packet that leaves for the peer now, headers included, while
    /// up: what the path was found to carry, of what both sides allow.
    pub packet_bytes: Option<u64>,
    /// Why the last connection, or attempt at one, ended.
    pub last_error: Option<String>,
}

/// Priority on its way to one peer, since the start.
#[derive(Clone, Debug, Serialize)]
pub struct WireStatus {
    /// Packets that left.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes per second that the class is held to on the peer's path.
    pub bytes_per_s_max: Option<u64>,
    /// Messages that waited longer than a millisecond before they left.
    pub messages_waited: u64,
    /// Microseconds that the one waited which waited longest, of the last 10 to 20 s.
    pub longest_wait_us: u64,
    /// Repeats that took the place of a message which still waited.
    pub messages_replaced: u64,
}

impl WireStatus {
    fn of(peer: &Peer) -> Self {
        let sender = &peer.priority_sender;
        let (packets, bytes) = sender.meter.sent();
        let (messages_waited, longest_wait) = sender.waits();
        Self {
            packets,
            bytes,
            bytes_per_s_max: sender.meter.budget().map(|b| b.rate_bytes_per_s()),
            messages_waited,
            longest_wait_us: u64::try_from(longest_wait.as_micros()).unwrap_or(u64::MAX),
            messages_replaced: peer.priority.counters.replaced(),
        }
    }
}

impl TransportStatus {
    pub(super) fn of(shared: &Shared) -> Self {
        Self {
            cluster: shared.local.cluster.to_string(),
            node: shared.local.node.0,
            site: shared.local.site.0,
            incarnation: shared.local.incarnation.0,
            peers: shared
                .book
                .values()
                .map(|peer| PeerStatus::of(peer))
                .collect(),
            refusals: shared.refused.counts(),
            refused_by_peers: shared.refused_by_peers.counts(),
        }
    }
}

impl PeerStatus {
    fn of(peer: &Peer) -> Self {
        Self {
            node: peer.address.node.0,
            site: peer.address.site.0,
            priority: LinkStatus {
                wire: Some(WireStatus::of(peer)),
                ..LinkStatus::of(&peer.priority, peer.priority_sender.queued_bytes())
            },
            bulk: LinkStatus::of(&peer.bulk, peer.bulk_queues.queued_bytes()),
        }
    }
}

impl LinkStatus {
    fn of(link: &Link, queue_bytes: usize) -> Self {
        let (messages_sent, bytes_sent) = link.counters.sent();
        let (messages_received, bytes_received) = link.counters.received();
        let dscp_seen_here = link.dscp_seen_here();
        link.with_record(|record| {
            let connection = record.up.as_ref().map(|(connection, _)| connection);
            let rtt = match link.class {
                TrafficClass::Priority => connection.and(record.rtt),
                TrafficClass::Bulk => connection.map(|c| c.rtt()),
            };
            Self {
                up: connection.is_some(),
                since_ms: u64::try_from(record.since.elapsed().as_millis()).unwrap_or(u64::MAX),
                incarnation: record.up.as_ref().map(|(_, incarnation)| incarnation.0),
                rtt_us: rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
                dscp_sent: link.dscp_sent(),
                dscp_seen_by_peer: connection.and(record.dscp_seen_by_peer),
                dscp_seen_here,
                messages_sent,
                bytes_sent,
                messages_received,
                bytes_received,
                drops: link.counters.drops(),
                queue_bytes,
                wire: None,
                reconnects: record.sessions.saturating_sub(1),
                packets_lost: connection.map(|c| c.stats().path.lost_packets),
                packet_bytes: connection.map(|c| {
                    u64::from(c.stats().path.current_mtu) + header_bytes(&c.remote_address())
                }),
                last_error: record.last_error.clone(),
            }
        })
    }
}
