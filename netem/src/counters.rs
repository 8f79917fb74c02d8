//! What a link counts.

use std::time::Duration;

/// One flow of a link: the priority class, the bulk class, or cross traffic.
///
/// Conserved at every moment: what was offered has been delivered or dropped, or
/// is queued or in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "tool", derive(serde::Serialize, serde::Deserialize))]
pub struct FlowCounters {
    /// Packets given to the link.
    pub offered_packets: u64,
    /// Bytes given to the link.
    pub offered_bytes: u64,
    /// Packets that left the transmitter whole.
    pub sent_packets: u64,
    /// Bytes that left the transmitter whole.
    pub sent_bytes: u64,
    /// Packets handed out at the far end (cross traffic: thrown away there).
    pub delivered_packets: u64,
    /// Packets that found the buffer full.
    pub dropped_tail: u64,
    /// Packets pushed out of the buffer by a priority packet.
    pub dropped_evicted: u64,
    /// Packets that random loss took.
    pub dropped_loss: u64,
    /// Packets offered to, waiting at or half way into a link that was down.
    pub dropped_down: u64,
    /// Packets above the priority class's rate limit.
    pub dropped_limited: u64,
    /// Packets that wait now.
    pub queue_packets: u64,
    /// Bytes that wait now.
    pub queue_bytes: u64,
    /// Most bytes that ever waited at once.
    pub queue_bytes_max: u64,
    /// Packets being transmitted or propagating now.
    pub in_flight_packets: u64,
}

impl FlowCounters {
    /// Packets dropped for any cause.
    pub fn dropped_packets(&self) -> u64 {
        self.dropped_tail
            + self.dropped_evicted
            + self.dropped_loss
            + self.dropped_down
            + self.dropped_limited
    }

    pub(crate) fn queued(&mut self, bytes: u32) {
        self.queue_packets += 1;
        self.queue_bytes += u64::from(bytes);
        self.queue_bytes_max = self.queue_bytes_max.max(self.queue_bytes);
    }

    pub(crate) fn unqueued(&mut self, bytes: u32) {
        self.queue_packets -= 1;
        self.queue_bytes -= u64::from(bytes);
    }
}

/// How long packets took from the entrance of a link to its wire: waiting and being
/// transmitted, without propagation. Sums, so that any two moments give a mean between
/// them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitSum {
    /// Packets that made it.
    pub packets: u64,
    /// What they took, all together.
    pub total: Duration,
}

impl WaitSum {
    pub(crate) fn add(&mut self, entered: Duration, departed: Duration) {
        self.packets += 1;
        self.total += departed.saturating_sub(entered);
    }
}

/// A link's counters, by flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Packets whose DSCP the link serves first.
    pub priority: FlowCounters,
    /// All other packets that somebody sent.
    pub bulk: FlowCounters,
    /// Background load; shares the bulk class's queue but is counted apart.
    pub cross: FlowCounters,
    /// How long cross traffic took to leave the transmitter. Of other packets their
    /// senders know when they entered.
    pub cross_waits: WaitSum,
    /// Most bytes that ever waited at once, all flows together.
    pub queue_bytes_max: u64,
}

impl LinkCounters {
    /// Bytes that wait now, all flows together.
    pub fn queue_bytes(&self) -> u64 {
        self.priority.queue_bytes + self.bulk.queue_bytes + self.cross.queue_bytes
    }
}
