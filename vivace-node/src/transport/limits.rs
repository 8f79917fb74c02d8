//! Every bound of the transport, with its unit, range, default and reason.

use std::time::Duration;

/// Largest user message of the priority class, in bytes.
///
/// One QUIC DATAGRAM frame in a packet of [`PRIORITY_MTU_BYTES`]: that packet's
/// short header, connection id, packet number, frame header and AEAD tag take up
/// to 42 bytes, our own framing 3; the rest is room for a later header.
pub const PRIORITY_MESSAGE_BYTES_MAX: usize = 1_120;

/// UDP payload of the priority class's packets, in bytes. QUIC's smallest
/// (RFC 9000 §14): a larger one would have to be probed for, and a probe that
/// is lost would look like congestion on exactly the class that must not wait.
pub const PRIORITY_MTU_BYTES: u16 = 1_200;

/// Headers of IPv6 and UDP, in bytes: the larger of the two families'.
const HEADER_BYTES: u16 = 40 + 8;

/// Largest IP packet of the bulk class within a site, in bytes, headers included: what switches
/// call jumbo frames. The path is probed for what it carries up to this. On fast links a
/// priority packet waits little for one of them, 72 µs at 1 Gbit/s.
pub(super) const SITE_PACKET_BYTES_MAX: u16 = 9_216;

/// UDP payload of an IP packet of at most so many bytes.
pub(super) const fn payload_bytes(packet_bytes: u16) -> u16 {
    packet_bytes.saturating_sub(HEADER_BYTES)
}

/// Bytes that a queued bulk frame is charged on top of its own, so that a flood
/// of empty frames is bounded too.
pub const BULK_FRAME_OVERHEAD_BYTES: usize = 64;

/// What an operator lets the priority class use: the contracted share of the links
/// between sites, with all headers from IP on. What exceeds it waits in the queue to
/// each peer, for a policer would drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriorityBound {
    /// Bytes per second. Range 1,000 to 4 GiB.
    pub bytes_per_s: u64,
    /// What may leave at once after a pause, in bytes. Range 1,300 (a full packet over
    /// IPv6) to 16 MiB, default 3,000: two full packets, which any policer lets pass.
    pub burst_bytes: u64,
    /// What the rate is of.
    pub scope: BoundScope,
}

/// What a [`PriorityBound`] is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BoundScope {
    /// Each path to another site has the rate: leased lines, pseudowires.
    #[default]
    Path,
    /// All paths to other sites have it together: a site's one access to a VPN.
    Uplink,
}

impl PriorityBound {
    /// The least that `bytes_per_s` may be: a node's probes and their answers take 400.
    pub const BYTES_PER_S_MIN: u64 = 1_000;

    /// The least that `burst_bytes` may be: a full packet.
    pub const BURST_BYTES_MIN: u64 = 1_300;

    /// So much on each path to another site.
    pub const fn new(bytes_per_s: u64) -> Self {
        Self {
            bytes_per_s,
            burst_bytes: 3_000,
            scope: BoundScope::Path,
        }
    }

    /// Checks every field against its range.
    ///
    /// # Errors
    /// The first field out of range.
    pub fn validate(&self) -> Result<(), LimitError> {
        in_range(
            "priority_bound.bytes_per_s",
            self.bytes_per_s,
            Self::BYTES_PER_S_MIN,
            u64::from(u32::MAX),
        )?;
        in_range(
            "priority_bound.burst_bytes",
            self.burst_bytes,
            Self::BURST_BYTES_MIN,
            16 << 20,
        )
    }
}

/// Bounds and intervals of a [`Transport`](super::Transport). `Default` suits
/// WAN links from 10 Mbit/s and round trips up to 300 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Priority bytes in flight to one peer, unacknowledged. Range 12,000 to
    /// 64 MiB, default 256 KiB: 50 Mbit/s at 40 ms, far above what timestamps
    /// need, and it doesn't shrink at loss (a fixed window).
    pub priority_window_bytes: u64,
    /// Priority bytes queued to one peer behind that window. Range 8 KiB to
    /// 16 MiB, default 128 KiB. Larger only makes messages older.
    pub priority_queue_bytes_max: usize,
    /// What the priority class may use between sites; default no bound.
    pub priority_bound: Option<PriorityBound>,
    /// Largest IP packet of the bulk class that leaves for another site, in bytes, headers
    /// included. Range 1,280 to 9,216, default 1,500. The path is probed for what it carries
    /// up to this; nothing is lost where it carries less. A priority packet waits for one of
    /// them on a full link. Within a site it is 9,216.
    pub bulk_packet_bytes_max: u16,
    /// Largest bulk frame, in bytes. Range 1 to 1 GiB, default 16 MiB.
    pub bulk_frame_bytes_max: usize,
    /// Bytes queued to one peer on one lane. At least one frame of the largest
    /// size, default 64 MiB: a second at 500 Mbit/s.
    pub bulk_queue_bytes_max: usize,
    /// Bytes of one lane in flight, and what a receiver buffers. Range 64 KiB to
    /// 1 GiB, default 16 MiB: 1 Gbit/s at 130 ms.
    pub bulk_window_bytes: u32,
    /// Between two probes of a peer. Range 10 ms to 60 s, default 500 ms.
    pub probe_interval: Duration,
    /// Silence after which a priority connection is dead. Range 100 ms to 180 s
    /// and at least 3 probes, default 3 s.
    pub priority_idle_timeout: Duration,
    /// Silence after which a bulk connection is dead. Range 1 s to 600 s, default
    /// 30 s: on a full link a bulk packet may be late without its peer being gone.
    pub bulk_idle_timeout: Duration,
    /// What the TLS handshake may take, and then the hello again. Range 100 ms to
    /// 60 s, default 5 s: several retransmissions on a full link.
    pub handshake_timeout: Duration,
    /// First pause before a dial is tried again; doubles, with jitter. Range 1 ms
    /// to `reconnect_max`, default 50 ms.
    pub reconnect_min: Duration,
    /// Longest pause before a dial is tried again. Up to 60 s, default 2 s.
    pub reconnect_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            priority_window_bytes: 256 << 10,
            priority_queue_bytes_max: 128 << 10,
            priority_bound: None,
            bulk_packet_bytes_max: 1_500,
            bulk_frame_bytes_max: 16 << 20,
            bulk_queue_bytes_max: 64 << 20,
            bulk_window_bytes: 16 << 20,
            probe_interval: Duration::from_millis(500),
            priority_idle_timeout: Duration::from_secs(3),
            bulk_idle_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(5),
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(2),
        }
    }
}

/// A limit outside its range; nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} = {value} is out of range: it must be {allowed}")]
pub struct LimitError {
    /// The field of [`Limits`].
    pub field: &'static str,
    /// What it was set to.
    pub value: String,
    /// What would be right.
    pub allowed: String,
}

impl Limits {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// The first field out of range.
    pub fn validate(&self) -> Result<(), LimitError> {
        self.validate_sizes()?;
        self.validate_times()
    }

    fn validate_sizes(&self) -> Result<(), LimitError> {
        in_range(
            "priority_window_bytes",
            self.priority_window_bytes,
            12_000,
            64 << 20,
        )?;
        in_range(
            "priority_queue_bytes_max",
            self.priority_queue_bytes_max,
            8 << 10,
            16 << 20,
        )?;
        if let Some(bound) = &self.priority_bound {
            bound.validate()?;
        }
        in_range(
            "bulk_packet_bytes_max",
            self.bulk_packet_bytes_max,
            1_280,
            SITE_PACKET_BYTES_MAX,
        )?;
        in_range(
            "bulk_frame_bytes_max",
            self.bulk_frame_bytes_max,
            1,
            1 << 30,
        )?;
        let frame = self.bulk_frame_bytes_max + BULK_FRAME_OVERHEAD_BYTES;
        in_range(
            "bulk_queue_bytes_max",
            self.bulk_queue_bytes_max,
            frame,
            usize::MAX,
        )?;
        in_range(
            "bulk_window_bytes",
            self.bulk_window_bytes,
            64 << 10,
            1 << 30,
        )
    }

    fn validate_times(&self) -> Result<(), LimitError> {
        const MS: Duration = Duration::from_millis(1);
        const MINUTE: Duration = Duration::from_secs(60);
        in_range("probe_interval", self.probe_interval, 10 * MS, MINUTE)?;
        let idle_min = (100 * MS).max(3 * self.probe_interval);
        in_range(
            "priority_idle_timeout",
            self.priority_idle_timeout,
            idle_min,
            3 * MINUTE,
        )?;
        in_range(
            "bulk_idle_timeout",
            self.bulk_idle_timeout,
            1_000 * MS,
            10 * MINUTE,
        )?;
        in_range(
            "handshake_timeout",
            self.handshake_timeout,
            100 * MS,
            MINUTE,
        )?;
        in_range("reconnect_max", self.reconnect_max, MS, MINUTE)?;
        in_range("reconnect_min", self.reconnect_min, MS, self.reconnect_max)
    }
}

fn in_range<T>(field: &'static str, value: T, min: T, max: T) -> Result<(), LimitError>
where
    T: PartialOrd + std::fmt::Debug,
{
    if min <= value && value <= max {
        return Ok(());
    }
    Err(LimitError {
        field,
        value: format!("{value:?}"),
        allowed: format!("from {min:?} to {max:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_out_of_range_is_refused_with_its_name() {
        Limits::default()
            .validate()
            .expect("the defaults are in range");
        let limits = Limits {
            bulk_queue_bytes_max: 100,
            ..Limits::default()
        };
        assert_eq!(
            limits.validate().expect_err("too small").field,
            "bulk_queue_bytes_max"
        );
        let limits = Limits {
            reconnect_min: Duration::from_secs(3),
            ..Limits::default()
        };
        assert_eq!(
            limits.validate().expect_err("above the maximum").field,
            "reconnect_min"
        );
    }
}
