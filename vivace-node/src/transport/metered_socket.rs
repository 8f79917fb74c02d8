//! Counts what leaves through a class's socket, per destination and with the headers
//! of IP and UDP, and charges it to the path's budget.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use quinn::{AsyncUdpSocket, UdpPoller};
use quinn_udp::{RecvMeta, Transmit};

use super::budget::Budget;
use super::connection_ids::CONNECTION_ID_BYTES;

/// IP (without options) and UDP.
pub(super) const fn header_bytes(to: &SocketAddr) -> u64 {
    match to {
        SocketAddr::V4(_) => 20 + 8,
        SocketAddr::V6(_) => 40 + 8,
    }
}

/// Bytes on the wire of a QUIC packet that holds one DATAGRAM frame of `bytes`: the
/// frame's type and length, a short header with its connection id and packet number,
/// the AEAD's tag, UDP and IP.
pub(super) const fn wire_bytes(to: &SocketAddr, bytes: usize) -> u64 {
    const QUIC: u64 = 3 + 1 + CONNECTION_ID_BYTES as u64 + 2 + 16;
    bytes as u64 + QUIC + header_bytes(to)
}

/// What left for one destination since the start.
#[derive(Debug, Default)]
pub(super) struct Meter {
    packets: AtomicU64,
    wire_bytes: AtomicU64,
    budget: Option<Arc<Budget>>,
}

impl Meter {
    pub(super) fn new(budget: Option<Arc<Budget>>) -> Self {
        Self {
            budget,
            ..Self::default()
        }
    }

    pub(super) fn budget(&self) -> Option<&Arc<Budget>> {
        self.budget.as_ref()
    }

    /// Packets, and their bytes with headers.
    pub(super) fn sent(&self) -> (u64, u64) {
        (
            self.packets.load(Ordering::Relaxed),
            self.wire_bytes.load(Ordering::Relaxed),
        )
    }

    fn on_sent(&self, transmit: &Transmit<'_>) {
        let bytes = transmit.contents.len();
        let segment_bytes = transmit.segment_size.unwrap_or(bytes).max(1);
        let packets = bytes.div_ceil(segment_bytes) as u64;
        let wire_bytes = bytes as u64 + packets * header_bytes(&transmit.destination);
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.wire_bytes.fetch_add(wire_bytes, Ordering::Relaxed);
        if let Some(budget) = &self.budget {
            budget.on_sent(wire_bytes, Instant::now());
        }
    }
}

/// Meters by destination; what goes elsewhere (to strangers) is not counted.
pub(super) type Meters = HashMap<SocketAddr, Arc<Meter>>;

/// A socket that counts.
pub(super) struct MeteredSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    meters: Meters,
}

impl MeteredSocket {
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>, meters: Meters) -> Arc<Self> {
        Arc::new(Self { inner, meters })
    }
}

impl AsyncUdpSocket for MeteredSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)?;
        if let Some(meter) = self.meters.get(&transmit.destination) {
            meter.on_sent(transmit);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl fmt::Debug for MeteredSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeteredSocket")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
