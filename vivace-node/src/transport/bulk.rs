//! The bulk class: one long-lived unidirectional stream per lane and direction,
//! each with one writer that drains a bounded queue.
//!
//! A stream begins with its lane (u8: 0 read, 1 propagate, 2 repair); then frames, each
//! its length (u32, little-endian) and that many bytes. It ends only with the
//! connection.

use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use quinn::{
    Connection, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, SendStream, TransportConfig,
    VarInt,
};
use tokio::io::AsyncRead;
use tokio::sync::watch;
use vivace_core::Incarnation;

use super::counters::DropCause;
use super::event::{BulkLane, SendError, TrafficClass, TransportEvent};
use super::lane_queue::{LaneQueue, QueueRefusal};
use super::lane_turns::{LANES, LaneTurns};
use super::limits::{Limits, SITE_PACKET_BYTES_MAX, payload_bytes};
use super::lock::lock;
use super::peer_stream::{CutShort, read_exact};
use super::pipe_window::PipeWindows;
use super::refusal::{Ending, OrderlyEnd, Refusal, RefusalCause};
use super::state::{Peer, Shared};

/// A PING per so many idle timeouts: several may be lost on a full link.
const KEEP_ALIVES_PER_TIMEOUT: u32 = 6;

/// QUIC settings of the class's connections; IP packets have up to `packet_bytes_max`.
pub(super) fn transport_config(limits: &Limits, packet_bytes_max: u16) -> TransportConfig {
    let lane_window = limits.bulk_window_bytes;
    // A window for each lane.
    let connection_window = u64::from(lane_window) * LANES as u64;
    let receive_window = VarInt::from_u64(connection_window).unwrap_or(VarInt::MAX);
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(payload_bytes(packet_bytes_max));
    let mut config = TransportConfig::default();
    config
        .mtu_discovery_config(Some(discovery))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(LANES as u32))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(lane_window))
        .receive_window(receive_window)
        .send_window(connection_window)
        .congestion_controller_factory(Arc::new(PipeWindows))
        .keep_alive_interval(Some(limits.bulk_idle_timeout / KEEP_ALIVES_PER_TIMEOUT))
        .max_idle_timeout(IdleTimeout::try_from(limits.bulk_idle_timeout).ok());
    config
}

/// Lets peers send the largest packets that any may: QUIC's default takes Ethernet's.
pub(super) fn take_large_packets(config: &mut EndpointConfig) {
    config
        .max_udp_payload_size(payload_bytes(SITE_PACKET_BYTES_MAX))
        .expect("it is above QUIC's least, 1,200 bytes");
}

/// Queues to one peer, one per lane.
pub(super) struct BulkQueues {
    frame_bytes_max: usize,
    lanes: [Arc<LaneQueue>; LANES],
}

impl BulkQueues {
    pub(super) fn new(limits: &Limits) -> Self {
        let queue = |_| Arc::new(LaneQueue::new(limits.bulk_queue_bytes_max));
        let lanes = BulkLane::ALL.map(queue);
        Self {
            frame_bytes_max: limits.bulk_frame_bytes_max,
            lanes,
        }
    }

    /// Bytes queued on all lanes, with their overhead.
    pub(super) fn queued_bytes(&self) -> usize {
        self.lanes.iter().map(|queue| queue.charged_bytes()).sum()
    }

    fn lane(&self, lane: BulkLane) -> &Arc<LaneQueue> {
        &self.lanes[lane as usize]
    }
}

/// Queues one frame to `peer`.
pub(super) fn send(peer: &Peer, lane: BulkLane, frame: Bytes) -> Result<(), SendError> {
    let (cause, error) = if frame.len() > peer.bulk_queues.frame_bytes_max {
        (DropCause::TooLarge, SendError::TooLarge)
    } else {
        match peer.bulk_queues.lane(lane).push(frame) {
            Ok(()) => return Ok(()),
            Err(QueueRefusal::Closed) => (DropCause::Down, SendError::Down),
            Err(QueueRefusal::Full) => (DropCause::QueueFull, SendError::Full),
        }
    };
    peer.bulk.counters.on_dropped(cause, 1);
    Err(error)
}

/// Lets sends through (`true`), or drops and counts what is queued.
pub(super) fn attach(peer: &Peer, is_up: bool) {
    for queue in &peer.bulk_queues.lanes {
        if is_up {
            queue.open();
        } else {
            peer.bulk
                .counters
                .on_dropped(DropCause::ConnectionEnded, queue.close());
        }
    }
}

/// Writes and reads the lanes until the connection ends, or the peer turns out
/// to have restarted since.
pub(super) async fn run(
    shared: &Shared,
    peer: &Peer,
    connection: &Connection,
    incarnation: Incarnation,
) -> Ending {
    let lanes_seen = LanesSeen::default();
    let turns = LaneTurns::new();
    let writer = |lane| write_lane(peer, connection, lane, &turns);
    let reader = || read_lane(shared, peer, connection, &lanes_seen);
    let ending = tokio::select! {
        ending = writer(BulkLane::Read) => ending,
        ending = writer(BulkLane::Propagate) => ending,
        ending = writer(BulkLane::Repair) => ending,
        ending = reader() => ending,
        ending = reader() => ending,
        ending = reader() => ending,
        never = turns.run() => match never {},
        ending = restart_of_peer(peer, connection, incarnation) => ending,
        error = connection.closed() => error.into(),
    };
    match &ending {
        Ending::Refused(refusal) => refusal.close(connection),
        Ending::RefusedByPeer(_) | Ending::Lost(_) => {
            // Without effect where the connection is closed already.
            let end = OrderlyEnd::SessionEnded;
            connection.close(end.code(), end.reason().as_bytes());
        }
    }
    ending
}

/// Closes the connection when the priority connection speaks for another life
/// of the peer.
/// Only changes count: what it said before may be older than this connection.
async fn restart_of_peer(peer: &Peer, connection: &Connection, incarnation: Incarnation) -> Ending {
    let mut life = peer.priority_life.subscribe();
    loop {
        // The sender lives as long as the peer, which we borrow.
        let _ = life.changed().await;
        let now = *life.borrow_and_update();
        if now.is_some_and(|life| life != incarnation) {
            let end = OrderlyEnd::PeerRestarted;
            connection.close(end.code(), end.reason().as_bytes());
            return Ending::Lost(end.reason().into());
        }
    }
}

async fn write_lane(
    peer: &Peer,
    connection: &Connection,
    lane: BulkLane,
    turns: &LaneTurns,
) -> Ending {
    let queue = peer.bulk_queues.lane(lane);
    let written = async {
        let stream = connection.open_uni().await.map_err(Ending::from)?;
        let mut writer = LaneWriter {
            stream,
            lane,
            urgencies: turns.urgencies(),
        };
        writer.set_urgency()?;
        let lane_number = Bytes::copy_from_slice(&[lane as u8]);
        writer.write(&mut [lane_number]).await?;
        loop {
            let frame = writer.next_of(queue).await?;
            let frame_bytes = frame.len();
            turns.on_used(lane);
            // The limit is below 4 GiB, so the length fits.
            let length = Bytes::copy_from_slice(&(frame_bytes as u32).to_le_bytes());
            writer.write(&mut [length, frame]).await?;
            queue.written(frame_bytes);
            peer.bulk.counters.on_sent(frame_bytes);
        }
    };
    let outcome: Result<std::convert::Infallible, Ending> = written.await;
    match outcome {
        Ok(never) => match never {},
        Err(ending) => ending,
    }
}

/// A lane's stream, which takes its turn also while a frame waits for room.
struct LaneWriter {
    stream: SendStream,
    lane: BulkLane,
    urgencies: watch::Receiver<[i32; LANES]>,
}

impl LaneWriter {
    fn set_urgency(&mut self) -> Result<(), Ending> {
        let urgency = self.urgencies.borrow_and_update()[self.lane as usize];
        let set = self.stream.set_priority(urgency);
        set.map_err(|e| Ending::Lost(e.to_string()))
    }

    /// The queue's next frame; QUIC may still hold earlier ones meanwhile.
    async fn next_of(&mut self, queue: &LaneQueue) -> Result<Bytes, Ending> {
        loop {
            tokio::select! {
                biased;
                Ok(()) = self.urgencies.changed() => self.set_urgency()?,
                frame = queue.next() => return Ok(frame),
            }
        }
    }

    async fn write(&mut self, mut chunks: &mut [Bytes]) -> Result<(), Ending> {
        while !chunks.is_empty() {
            // A write that is given up has written nothing.
            tokio::select! {
                biased;
                Ok(()) = self.urgencies.changed() => self.set_urgency()?,
                written = self.stream.write_chunks(chunks) => {
                    let written = written.map_err(write_ending)?;
                    chunks = &mut chunks[written.chunks..];
                }
            }
        }
        Ok(())
    }
}

/// Accepts one of the peer's streams and reads its frames.
async fn read_lane(
    shared: &Shared,
    peer: &Peer,
    connection: &Connection,
    lanes_seen: &LanesSeen,
) -> Ending {
    let frames = async {
        let mut stream = connection.accept_uni().await.map_err(Ending::from)?;
        lanes_seen.read_lane(&mut stream).await?;
        loop {
            let bytes = read_frame(&mut stream, shared.limits.bulk_frame_bytes_max).await?;
            peer.bulk.counters.on_received(bytes.len());
            let (from, class) = (peer.address.node, TrafficClass::Bulk);
            shared
                .events
                .bulk(TransportEvent::Received { from, class, bytes })
                .await;
        }
    };
    let outcome: Result<std::convert::Infallible, Ending> = frames.await;
    match outcome {
        Ok(never) => match never {},
        Err(ending) => ending,
    }
}

/// The lanes that the peer has opened; each has one stream.
#[derive(Default)]
pub(super) struct LanesSeen(Mutex<[bool; LANES]>);

impl LanesSeen {
    /// Reads the lane that begins a stream.
    pub(super) async fn read_lane(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<(), Ending> {
        let mut lane = [0];
        read_exact(stream, &mut lane).await.map_err(cut_short)?;
        let detail = format!("lane {}", lane[0]);
        match lock(&self.0).get_mut(usize::from(lane[0])) {
            None => Err(Refusal::new(RefusalCause::UnknownLane, detail).into()),
            Some(true) => Err(Refusal::new(RefusalCause::DuplicateLane, detail).into()),
            Some(seen) => {
                *seen = true;
                Ok(())
            }
        }
    }
}

/// Reads the next frame; one beyond the limit is refused before memory is taken for it.
pub(super) async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    frame_bytes_max: usize,
) -> Result<Bytes, Ending> {
    let mut length = [0; 4];
    read_exact(stream, &mut length).await.map_err(cut_short)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > frame_bytes_max {
        let detail = format!("a frame of {length} bytes; at most {frame_bytes_max}");
        return Err(Refusal::new(RefusalCause::FrameTooLarge, detail).into());
    }
    let mut frame = BytesMut::zeroed(length);
    read_exact(stream, &mut frame).await.map_err(cut_short)?;
    Ok(frame.freeze())
}

fn cut_short(how: CutShort) -> Ending {
    let truncated = |detail: &str| Refusal::new(RefusalCause::TruncatedFrame, detail).into();
    match how {
        CutShort::Finished => truncated("the stream ended"),
        CutShort::Reset => truncated("the stream was reset"),
        CutShort::Ended(ending) => ending,
    }
}

fn write_ending(error: quinn::WriteError) -> Ending {
    match error {
        quinn::WriteError::ConnectionLost(error) => error.into(),
        quinn::WriteError::Stopped(_) => {
            Refusal::new(RefusalCause::StoppedLane, "the stream was stopped").into()
        }
        error => Ending::Lost(error.to_string()),
    }
}
