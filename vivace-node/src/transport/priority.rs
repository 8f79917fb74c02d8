//! The priority class: small messages in QUIC DATAGRAM frames ([`batch`](super::batch)
//! has their layout), unordered, never sent again by QUIC; probes ride along.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{AckFrequencyConfig, Connection, IdleTimeout, TransportConfig, VarInt};

use super::batch::{DSCP_UNKNOWN, Entries, Entry, original_of};
use super::counters::DropCause;
use super::event::{TrafficClass, TransportEvent};
use super::fixed_window::FixedWindow;
use super::limits::{Limits, PRIORITY_MTU_BYTES};
use super::refusal::{Ending, Refusal, RefusalCause};
use super::state::{Peer, Shared};

/// Probes remembered while unanswered; older ones are given up as lost.
const PROBES_IN_FLIGHT_MAX: usize = 16;

/// Bytes received and not yet taken by us; beyond, QUIC drops the oldest.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// Bytes handed to QUIC and not yet in a packet. Little: what waits here has left the
/// queue that is fair and that repeats find.
const SEND_BUFFER_BYTES: usize = 16 << 10;

/// Packets that a peer may get before it must acknowledge, and how long it may take
/// (QUIC cuts that to a round trip, or to 25 ms where that is more). Datagrams are not
/// sent again and the window doesn't move, so that acknowledgments only free it and
/// tell the loss; by default every second packet is answered by one of 70 bytes, a
/// quarter of the class's whole.
const ACK_EVERY_PACKETS: u32 = 32;
const ACK_DELAY_MAX: Duration = Duration::from_millis(100);

/// Datagrams that a copy of is recognized.
const DATAGRAMS_REMEMBERED: usize = 256;

/// QUIC settings of the class's connections.
pub(super) fn transport_config(limits: &Limits) -> TransportConfig {
    let mut acknowledgments = AckFrequencyConfig::default();
    acknowledgments
        .ack_eliciting_threshold(VarInt::from_u32(ACK_EVERY_PACKETS))
        .max_ack_delay(Some(ACK_DELAY_MAX))
        // A gap is no reason to hurry: nothing is sent again.
        .reordering_threshold(VarInt::from_u32(0));
    let mut config = TransportConfig::default();
    config
        .initial_mtu(PRIORITY_MTU_BYTES)
        .mtu_discovery_config(None)
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(Some(RECEIVE_BUFFER_BYTES))
        .datagram_send_buffer_size(SEND_BUFFER_BYTES)
        .congestion_controller_factory(Arc::new(FixedWindow::new(limits.priority_window_bytes)))
        .ack_frequency_config(Some(acknowledgments))
        .keep_alive_interval(Some(limits.probe_interval))
        .max_idle_timeout(IdleTimeout::try_from(limits.priority_idle_timeout).ok());
    config
}

/// Receives and probes until the connection ends.
pub(super) async fn run(shared: &Shared, peer: &Peer, connection: &Connection) -> Ending {
    let mut session = Session {
        shared,
        peer,
        next_sequence: 0,
        in_flight: VecDeque::new(),
        hasher: RandomState::new(),
        lately: VecDeque::new(),
    };
    let mut probe = tokio::time::interval(shared.limits.probe_interval);
    probe.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            datagram = connection.read_datagram() => {
                let datagram = match datagram {
                    Ok(datagram) => datagram,
                    Err(error) => return error.into(),
                };
                if let Err(refusal) = session.on_datagram(datagram) {
                    refusal.close(connection);
                    return refusal.into();
                }
            }
            _ = probe.tick() => session.send_ping(),
        }
    }
}

/// Lets sends through to `connection`, or to none.
pub(super) fn attach(peer: &Peer, connection: Option<&Connection>) {
    let lost = peer.priority_sender.attach(connection.cloned());
    peer.priority
        .counters
        .on_dropped(DropCause::ConnectionEnded, lost);
}

struct Session<'a> {
    shared: &'a Shared,
    peer: &'a Peer,
    next_sequence: u64,
    in_flight: VecDeque<(u64, Instant)>,
    hasher: RandomState,
    /// Hashes of the datagrams that came lately.
    lately: VecDeque<u64>,
}

impl Session<'_> {
    fn on_datagram(&mut self, datagram: Bytes) -> Result<(), Refusal> {
        let (datagram, is_copy) = match original_of(&datagram) {
            Some(original) => (original, true),
            None => (datagram, false),
        };
        let hash = self.hasher.hash_one(&datagram);
        if is_copy && self.lately.contains(&hash) {
            return Ok(());
        }
        if self.lately.len() == DATAGRAMS_REMEMBERED {
            self.lately.pop_front();
        }
        self.lately.push_back(hash);
        let bytes = datagram.len();
        if bytes == 0 {
            let detail = "an empty datagram";
            return Err(Refusal::new(RefusalCause::MalformedDatagram, detail));
        }
        for entry in Entries::of(datagram) {
            match entry {
                Ok(Entry::Message(message)) => self.on_message(message),
                Ok(Entry::Ping { sequence }) => self.on_ping(sequence),
                Ok(Entry::Pong {
                    sequence,
                    priority_dscp,
                    bulk_dscp,
                }) => self.on_pong(sequence, priority_dscp, bulk_dscp),
                Err(malformed) => {
                    let number = malformed.entry;
                    let detail = format!("entry {number} of a datagram of {bytes} bytes");
                    return Err(Refusal::new(RefusalCause::MalformedDatagram, detail));
                }
            }
        }
        Ok(())
    }

    fn on_message(&self, message: Bytes) {
        let counters = &self.peer.priority.counters;
        counters.on_received(message.len());
        let from = self.peer.address.node;
        let class = TrafficClass::Priority;
        let event = TransportEvent::Received {
            from,
            class,
            bytes: message,
        };
        if !self.shared.events.priority(event) {
            counters.on_dropped(DropCause::EventQueueFull, 1);
        }
    }

    fn send_ping(&mut self) {
        if self.in_flight.len() == PROBES_IN_FLIGHT_MAX {
            self.in_flight.pop_front();
        }
        self.in_flight
            .push_back((self.next_sequence, Instant::now()));
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.peer
            .priority_sender
            .send_probe(Entry::Ping { sequence });
    }

    fn on_ping(&self, sequence: u64) {
        let [priority_dscp, bulk_dscp] = [&self.peer.priority, &self.peer.bulk]
            .map(|link| link.dscp_seen_here().unwrap_or(DSCP_UNKNOWN));
        self.peer.priority_sender.send_probe(Entry::Pong {
            sequence,
            priority_dscp,
            bulk_dscp,
        });
    }

    fn on_pong(&mut self, sequence: u64, priority_dscp: u8, bulk_dscp: u8) {
        let known = |dscp| (dscp != DSCP_UNKNOWN).then_some(dscp);
        self.peer
            .priority
            .on_dscp_seen_by_peer(known(priority_dscp));
        self.peer.bulk.on_dscp_seen_by_peer(known(bulk_dscp));
        // A pong that answers nothing: its ping was given up as lost.
        let Some(at) = self.in_flight.iter().position(|(s, _)| *s == sequence) else {
            return;
        };
        let Some((_, sent)) = self.in_flight.remove(at) else {
            return;
        };
        let rtt = sent.elapsed();
        self.peer.priority.on_rtt(rtt);
        self.peer.priority_sender.on_rtt(rtt);
        let event = TransportEvent::Rtt {
            node: self.peer.address.node,
            rtt,
        };
        if !self.shared.events.priority(event) {
            self.peer
                .priority
                .counters
                .on_dropped(DropCause::EventQueueFull, 1);
        }
    }
}
