//! The priority class: small messages in QUIC DATAGRAM frames, unordered,
//! never sent again by QUIC; probes ride along.
//!
//! A datagram's first byte says what it is, integers are little-endian:
//! ```text
//! 0 | message
//! 1 | sequence: u64                                         ping
//! 2 | sequence: u64 | priority DSCP: u8 | bulk DSCP: u8     pong
//! ```
//! A pong's DSCPs are those that our packets arrived with at its sender,
//! [`DSCP_UNKNOWN`] where it can't tell.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use quinn::{Connection, IdleTimeout, TransportConfig, VarInt};

use super::counters::DropCause;
use super::event::{SendError, TrafficClass, TransportEvent};
use super::fixed_window::FixedWindow;
use super::limits::{Limits, PRIORITY_MESSAGE_BYTES_MAX, PRIORITY_MTU_BYTES};
use super::link::Link;
use super::lock::lock;
use super::refusal::{Ending, Refusal, RefusalCause};
use super::state::{Peer, Shared};
use super::token_bucket::TokenBucket;

const KIND_MESSAGE: u8 = 0;
const KIND_PING: u8 = 1;
const KIND_PONG: u8 = 2;

/// In a pong: the class is down, or its socket can't tell.
const DSCP_UNKNOWN: u8 = 0xff;

/// Probes remembered while unanswered; older ones are given up as lost.
const PROBES_IN_FLIGHT_MAX: usize = 16;

/// Bytes received and not yet taken by us; beyond, QUIC drops the oldest.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Datagram {
    Message(Bytes),
    Ping {
        sequence: u64,
    },
    /// With the DSCPs of the priority and the bulk class, where they are known.
    Pong {
        sequence: u64,
        dscps: [Option<u8>; 2],
    },
}

impl Datagram {
    /// Reads a whole datagram; a message shares its bytes.
    pub(super) fn decode(datagram: &Bytes) -> Result<Self, Refusal> {
        let malformed = || {
            let kind = datagram.first().copied();
            let detail = format!("a datagram of kind {kind:?} and {} bytes", datagram.len());
            Refusal::new(RefusalCause::MalformedDatagram, detail)
        };
        match datagram.split_first() {
            Some((&KIND_MESSAGE, _)) => Ok(Self::Message(datagram.slice(1..))),
            Some((&KIND_PING, body)) => {
                let sequence: &[u8; 8] = body.try_into().map_err(|_| malformed())?;
                let sequence = u64::from_le_bytes(*sequence);
                Ok(Self::Ping { sequence })
            }
            Some((&KIND_PONG, body)) => {
                let body: &[u8; 10] = body.try_into().map_err(|_| malformed())?;
                let [sequence @ .., priority, bulk] = *body;
                let known = |dscp| (dscp != DSCP_UNKNOWN).then_some(dscp);
                Ok(Self::Pong {
                    sequence: u64::from_le_bytes(sequence),
                    dscps: [known(priority), known(bulk)],
                })
            }
            Some(_) | None => Err(malformed()),
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(11);
        match self {
            Self::Message(message) => return encode_message(message),
            Self::Ping { sequence } => {
                bytes.put_u8(KIND_PING);
                bytes.put_u64_le(*sequence);
            }
            Self::Pong { sequence, dscps } => {
                bytes.put_u8(KIND_PONG);
                bytes.put_u64_le(*sequence);
                for dscp in dscps {
                    bytes.put_u8(dscp.unwrap_or(DSCP_UNKNOWN));
                }
            }
        }
        bytes.freeze()
    }
}

fn encode_message(message: &[u8]) -> Bytes {
    let mut datagram = BytesMut::with_capacity(1 + message.len());
    datagram.put_u8(KIND_MESSAGE);
    datagram.put_slice(message);
    datagram.freeze()
}

/// QUIC settings of the class's connections.
pub(super) fn transport_config(limits: &Limits) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .initial_mtu(PRIORITY_MTU_BYTES)
        .mtu_discovery_config(None)
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(Some(RECEIVE_BUFFER_BYTES))
        .datagram_send_buffer_size(limits.priority_queue_bytes_max)
        .congestion_controller_factory(Arc::new(FixedWindow::new(limits.priority_window_bytes)))
        .keep_alive_interval(Some(limits.probe_interval))
        .max_idle_timeout(IdleTimeout::try_from(limits.priority_idle_timeout).ok());
    config
}

/// Sends to one peer, from any thread.
pub(super) struct PrioritySender {
    queue_bytes_max: usize,
    state: Mutex<SenderState>,
}

struct SenderState {
    connection: Option<Connection>,
    bucket: Option<TokenBucket>,
}

impl PrioritySender {
    pub(super) fn new(limits: &Limits) -> Self {
        let bucket = limits
            .priority_rate_bytes_per_s
            .map(|rate| TokenBucket::new(rate, limits.priority_burst_bytes, Instant::now()));
        let state = Mutex::new(SenderState {
            connection: None,
            bucket,
        });
        Self {
            queue_bytes_max: limits.priority_queue_bytes_max,
            state,
        }
    }

    fn attach(&self, connection: Option<Connection>) {
        lock(&self.state).connection = connection;
    }

    /// Bytes that wait for the window, with their bookkeeping.
    pub(super) fn queued_bytes(&self) -> usize {
        let state = lock(&self.state);
        let free = state
            .connection
            .as_ref()
            .map(Connection::datagram_send_buffer_space);
        free.map_or(0, |free| self.queue_bytes_max.saturating_sub(free))
    }

    /// Queues one user message.
    pub(super) fn send(&self, link: &Link, message: &[u8]) -> Result<(), SendError> {
        let refuse = |cause, error| {
            link.counters.on_dropped(cause, 1);
            Err(error)
        };
        if message.len() > PRIORITY_MESSAGE_BYTES_MAX {
            return refuse(DropCause::TooLarge, SendError::TooLarge);
        }
        let datagram = encode_message(message);
        // Held from the look at the free space to the send: `send_datagram` makes
        // room by dropping the oldest, silently.
        let mut state = lock(&self.state);
        let SenderState { connection, bucket } = &mut *state;
        let Some(connection) = connection else {
            return refuse(DropCause::Down, SendError::Down);
        };
        if connection.datagram_send_buffer_space() < datagram.len() {
            return refuse(DropCause::QueueFull, SendError::Full);
        }
        if bucket
            .as_mut()
            .is_some_and(|b| !b.take(datagram.len() as u64, Instant::now()))
        {
            return refuse(DropCause::OverRate, SendError::Full);
        }
        match connection.send_datagram(datagram) {
            Ok(()) => {
                link.counters.on_sent(message.len());
                Ok(())
            }
            Err(quinn::SendDatagramError::TooLarge) => {
                refuse(DropCause::TooLarge, SendError::TooLarge)
            }
            Err(_) => refuse(DropCause::Down, SendError::Down),
        }
    }

    /// Queues a probe or its answer; one that finds no room is a lost probe.
    fn send_probe(&self, datagram: Bytes) {
        let state = lock(&self.state);
        if let Some(connection) = &state.connection
            && connection.datagram_send_buffer_space() >= datagram.len()
        {
            let _ = connection.send_datagram(datagram);
        }
    }
}

/// Receives and probes until the connection ends.
pub(super) async fn run(shared: &Shared, peer: &Peer, connection: &Connection) -> Ending {
    let mut session = Session {
        shared,
        peer,
        next_sequence: 0,
        in_flight: VecDeque::new(),
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
    peer.priority_sender.attach(connection.cloned());
}

struct Session<'a> {
    shared: &'a Shared,
    peer: &'a Peer,
    next_sequence: u64,
    in_flight: VecDeque<(u64, Instant)>,
}

impl Session<'_> {
    fn on_datagram(&mut self, datagram: Bytes) -> Result<(), Refusal> {
        match Datagram::decode(&datagram)? {
            Datagram::Message(message) => self.on_message(message),
            Datagram::Ping { sequence } => self.on_ping(sequence),
            Datagram::Pong { sequence, dscps } => self.on_pong(sequence, dscps),
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
        let ping = Datagram::Ping { sequence };
        self.peer.priority_sender.send_probe(ping.encode());
    }

    fn on_ping(&self, sequence: u64) {
        let links = [&self.peer.priority, &self.peer.bulk];
        let dscps = links.map(|link| link.dscp_seen_here());
        let pong = Datagram::Pong { sequence, dscps };
        self.peer.priority_sender.send_probe(pong.encode());
    }

    fn on_pong(&mut self, sequence: u64, [priority, bulk]: [Option<u8>; 2]) {
        self.peer.priority.on_dscp_seen_by_peer(priority);
        self.peer.bulk.on_dscp_seen_by_peer(bulk);
        // A pong that answers nothing: its ping was given up as lost.
        let Some(at) = self.in_flight.iter().position(|(s, _)| *s == sequence) else {
            return;
        };
        let Some((_, sent)) = self.in_flight.remove(at) else {
            return;
        };
        let rtt = sent.elapsed();
        self.peer.priority.on_rtt(rtt);
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
