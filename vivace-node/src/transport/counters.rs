//! What one link sent, received and dropped since the start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a message was dropped on our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DropCause {
    /// A send while no connection was up.
    Down,
    /// A send while the queue was full.
    QueueFull,
    /// A send of a message larger than the class allows.
    TooLarge,
    /// What was queued, or bulk half written, when the connection ended.
    ConnectionEnded,
    /// A received priority message while the owner's event queue was full.
    EventQueueFull,
}

impl DropCause {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Down, "down"),
        (Self::QueueFull, "queue_full"),
        (Self::TooLarge, "too_large"),
        (Self::ConnectionEnded, "connection_ended"),
        (Self::EventQueueFull, "event_queue_full"),
    ];
}

#[derive(Default)]
struct Flow {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Flow {
    fn add(&self, messages: u64, bytes: usize) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn get(&self) -> (u64, u64) {
        (
            self.messages.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }
}

/// Counts of user messages (not probes or hellos), of their own bytes alone.
#[derive(Default)]
pub(super) struct Counters {
    sent: Flow,
    received: Flow,
    replaced: AtomicU64,
    dropped: [AtomicU64; DropCause::ALL.len()],
}

impl Counters {
    pub(super) fn on_sent(&self, bytes: usize) {
        self.sent.add(1, bytes);
    }

    pub(super) fn on_sent_together(&self, messages: u64, bytes: usize) {
        self.sent.add(messages, bytes);
    }

    /// A repeat took the place of a message that still waited.
    pub(super) fn on_replaced(&self) {
        self.replaced.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn on_received(&self, bytes: usize) {
        self.received.add(1, bytes);
    }

    pub(super) fn on_dropped(&self, cause: DropCause, messages: u64) {
        self.dropped[cause as usize].fetch_add(messages, Ordering::Relaxed);
    }

    /// Messages and bytes that were handed to QUIC.
    pub(super) fn sent(&self) -> (u64, u64) {
        self.sent.get()
    }

    /// Messages and bytes that arrived.
    pub(super) fn received(&self) -> (u64, u64) {
        self.received.get()
    }

    /// Messages that a repeat replaced while they waited.
    pub(super) fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed)
    }

    /// Drops by cause, all causes.
    pub(super) fn drops(&self) -> BTreeMap<&'static str, u64> {
        let count = |cause: DropCause| self.dropped[cause as usize].load(Ordering::Relaxed);
        DropCause::ALL
            .into_iter()
            .map(|(cause, name)| (name, count(cause)))
            .collect()
    }
}
