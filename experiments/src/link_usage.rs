//! What crossed the links between sites during one row, and how true the emulation was.

use netem::{FlowCounters, Lateness, LinkReport, WanStats};
use serde::{Deserialize, Serialize};

/// Deliveries later than this at the 99th percentile spoil a row, in µs: a host
/// without load stays a factor of ten below.
const SPOILT_P99_US: u64 = 2_000;

/// One delivery later than this spoils a row, in µs: it alone moves a 99th percentile
/// of 100 operations.
const SPOILT_MAX_US: u64 = 10_000;

/// One direction of a link between sites during a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkUsage {
    /// Where it begins: a site's number.
    pub from: u16,
    /// Where it ends.
    pub to: u16,
    /// The priority class: timestamps and acknowledgments.
    pub priority: FlowUsage,
    /// The bulk class: values.
    pub bulk: FlowUsage,
    /// Other people's packets.
    pub cross: FlowUsage,
    /// The priority class's part of all bytes that left the transmitter, 0 to 1.
    pub priority_share: f64,
    /// The priority class's part of the bytes that are the cluster's own, 0 to 1.
    pub priority_share_of_own: f64,
    /// Bytes that waited when the row began, all flows together.
    pub queue_bytes_at_start: u64,
    /// Bytes that waited when the row ended.
    pub queue_bytes_at_end: u64,
}

/// One flow of a link during a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowUsage {
    /// Packets given to the link.
    pub offered_packets: u64,
    /// Bytes given to the link.
    pub offered_bytes: u64,
    /// Bytes that left the transmitter.
    pub sent_bytes: u64,
    /// Packets dropped for any cause.
    pub dropped_packets: u64,
}

impl FlowUsage {
    fn between(before: &FlowCounters, after: &FlowCounters) -> Self {
        Self {
            offered_packets: after.offered_packets - before.offered_packets,
            offered_bytes: after.offered_bytes - before.offered_bytes,
            sent_bytes: after.sent_bytes - before.sent_bytes,
            dropped_packets: after.dropped_packets() - before.dropped_packets(),
        }
    }
}

/// What crossed each link between sites from `before` to `after`.
pub fn between(before: &WanStats, after: &WanStats) -> Vec<LinkUsage> {
    let pairs = before.links.iter().zip(&after.links);
    pairs
        .filter(|(before, _)| before.from != before.to)
        .map(|(before, after)| usage(before, after))
        .collect()
}

fn usage(before: &LinkReport, after: &LinkReport) -> LinkUsage {
    let (old, new) = (&before.counters, &after.counters);
    let priority = FlowUsage::between(&old.priority, &new.priority);
    let bulk = FlowUsage::between(&old.bulk, &new.bulk);
    let cross = FlowUsage::between(&old.cross, &new.cross);
    let own = priority.sent_bytes + bulk.sent_bytes;
    let share = |of: u64| {
        if of == 0 {
            0.0
        } else {
            priority.sent_bytes as f64 / of as f64
        }
    };
    LinkUsage {
        from: before.from.0,
        to: before.to.0,
        priority,
        bulk,
        cross,
        priority_share: share(own + cross.sent_bytes),
        priority_share_of_own: share(own),
        queue_bytes_at_start: old.queue_bytes(),
        queue_bytes_at_end: new.queue_bytes(),
    }
}

/// How late the emulated WAN handed packets over during a row, in µs. That is the
/// machine's doing, not the link's: where it is large, the row tells little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryLateness {
    /// Deliveries.
    pub deliveries: u64,
    /// Median.
    pub p50_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// Largest.
    pub max_us: u64,
    /// Whether the row is spoilt: 99th percentile above 2 ms, or one above 10 ms.
    pub spoilt: bool,
}

impl From<Lateness> for DeliveryLateness {
    fn from(lateness: Lateness) -> Self {
        Self {
            deliveries: lateness.count,
            p50_us: lateness.p50_us,
            p99_us: lateness.p99_us,
            max_us: lateness.max_us,
            spoilt: lateness.p99_us > SPOILT_P99_US || lateness.max_us > SPOILT_MAX_US,
        }
    }
}
