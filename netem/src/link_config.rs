//! What a link is made of, and which values are refused.

use std::time::Duration;

use thiserror::Error;

use crate::DscpSet;

/// Bytes of a full-sized IP packet where nothing else is said, and of cross traffic's.
pub const MTU_BYTES: u32 = 1500;

/// The largest MTU that a WAN may have, in bytes: what switches call jumbo frames.
pub const MTU_BYTES_MAX: u32 = 9216;

/// Slowest rate a link may have, in bits per second: below it a full-sized
/// packet takes longer than 12 s and a run tells nothing.
pub const RATE_MIN_BITS_PER_SECOND: u64 = 1_000;

/// Fastest rate a link may have, in bits per second (1 Tbit/s): above it a
/// transmission time rounds to whole nanoseconds too coarsely.
pub const RATE_MAX_BITS_PER_SECOND: u64 = 1_000_000_000_000;

/// Longest delay, and longest jitter, that a link may have.
pub const DELAY_MAX: Duration = Duration::from_secs(3600);

/// One directed link. `Default` is the WAN that most experiments start from:
/// 20 Mbit/s, 50 ms one way, 100 ms of buffer, DSCP 46 first.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// Rate in bits per second of IP packets, [`RATE_MIN_BITS_PER_SECOND`] to
    /// [`RATE_MAX_BITS_PER_SECOND`]. Default 20,000,000.
    pub rate_bits_per_second: u64,
    /// Bytes that may wait for the transmitter, both classes together; the packet
    /// being transmitted is not among them. At least `mtu_bytes`. Default
    /// 250,000: 100 ms at the default rate, a usual depth for a router.
    pub buffer_bytes: u64,
    /// Propagation delay, one way; at most [`DELAY_MAX`]. Default 50 ms.
    pub delay: Duration,
    /// Each packet is late by a further uniform draw from zero to this; at most
    /// [`DELAY_MAX`]. It never reorders packets of one class: a packet that would
    /// overtake arrives together with the one before it. Default zero.
    pub jitter: Duration,
    /// Chance that a packet is lost, 0 to 1, independent of load. It is lost before
    /// the buffer and takes none of the rate. Default 0.
    pub loss: f64,
    /// DSCP values that are served first. Empty: no classes, everything is bulk.
    /// Default 46.
    pub priority_dscps: DscpSet,
    /// Bound on the priority class, as a carrier sells it: what exceeds it is
    /// dropped. Default none.
    pub priority_limit: Option<RateLimit>,
    /// Bytes of a full-sized IP packet, [`MTU_BYTES`] to [`MTU_BYTES_MAX`]: what tail drop
    /// counts with. Default [`MTU_BYTES`].
    pub mtu_bytes: u32,
}

/// A token bucket's two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Long-term rate in bits per second, 1 to [`RATE_MAX_BITS_PER_SECOND`].
    pub rate_bits_per_second: u64,
    /// Bytes that may pass at once after a silence; at least the link's `mtu_bytes`, or
    /// a full-sized packet never passes.
    pub burst_bytes: u32,
}

/// Why a link's configuration is refused; nothing was changed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum LinkError {
    /// `rate_bits_per_second` is out of range.
    #[error(
        "rate_bits_per_second must be {RATE_MIN_BITS_PER_SECOND} to {RATE_MAX_BITS_PER_SECOND}, not {0}"
    )]
    Rate(u64),
    /// `buffer_bytes` has no room for a full-sized packet.
    #[error("buffer_bytes must be at least {mtu_bytes}, not {buffer_bytes}")]
    Buffer {
        /// What it was set to.
        buffer_bytes: u64,
        /// The link's MTU.
        mtu_bytes: u32,
    },
    /// `delay` is too long.
    #[error("delay must be at most {DELAY_MAX:?}, not {0:?}")]
    Delay(Duration),
    /// `jitter` is too long.
    #[error("jitter must be at most {DELAY_MAX:?}, not {0:?}")]
    Jitter(Duration),
    /// `loss` is no probability.
    #[error("loss must be 0 to 1, not {0}")]
    Loss(f64),
    /// `priority_limit` without a class that it could limit.
    #[error("priority_limit is set but priority_dscps is empty")]
    LimitWithoutClass,
    /// `priority_limit.rate_bits_per_second` is out of range.
    #[error("priority_limit.rate_bits_per_second must be 1 to {RATE_MAX_BITS_PER_SECOND}, not {0}")]
    LimitRate(u64),
    /// `priority_limit.burst_bytes` has no room for a full-sized packet.
    #[error("priority_limit.burst_bytes must be at least {mtu_bytes}, not {burst_bytes}")]
    LimitBurst {
        /// What it was set to.
        burst_bytes: u32,
        /// The link's MTU.
        mtu_bytes: u32,
    },
    /// `mtu_bytes` is out of range.
    #[error("mtu_bytes must be {MTU_BYTES} to {MTU_BYTES_MAX}, not {0}")]
    Mtu(u32),
    /// The fraction of a link's rate that cross traffic offers is out of range.
    #[error("cross traffic's fraction must be 0 or {min} to {max}, not {0}",
        min = crate::CROSS_FRACTION_MIN, max = crate::CROSS_FRACTION_MAX)]
    CrossFraction(f64),
    /// More cross traffic than a network makes in real time.
    #[error(
        "cross traffic must be at most {max} packets of {MTU_BYTES} bytes a second on all links \
         together, not {packets_per_second:.0}: here at most {percent_max}% of \
         {rate_bits_per_second} bit/s is left; take a lower load or a lower rate",
        max = crate::CROSS_PACKETS_PER_SECOND_MAX
    )]
    CrossPackets {
        /// What all links would be offered.
        packets_per_second: f64,
        /// What would be right, with what the other links are offered.
        percent_max: f64,
        /// The link's rate.
        rate_bits_per_second: u64,
    },
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            rate_bits_per_second: 20_000_000,
            buffer_bytes: 250_000,
            delay: Duration::from_millis(50),
            jitter: Duration::ZERO,
            loss: 0.0,
            priority_dscps: DscpSet::EXPEDITED,
            priority_limit: None,
            mtu_bytes: MTU_BYTES,
        }
    }
}

impl LinkConfig {
    /// A link inside a site: 10 Gbit/s, 0.1 ms one way, 4 MB of buffer, no classes.
    pub fn local() -> Self {
        Self {
            rate_bits_per_second: 10_000_000_000,
            buffer_bytes: 4_000_000,
            delay: Duration::from_micros(100),
            priority_dscps: DscpSet::EMPTY,
            ..Self::default()
        }
    }

    /// Whether every field is in its range.
    ///
    /// # Errors
    /// The first field, in the struct's order, that is not.
    pub fn check(&self) -> Result<(), LinkError> {
        Self::check_rate(self.rate_bits_per_second)?;
        if self.buffer_bytes < u64::from(self.mtu_bytes) {
            return Err(LinkError::Buffer {
                buffer_bytes: self.buffer_bytes,
                mtu_bytes: self.mtu_bytes,
            });
        }
        if self.delay > DELAY_MAX {
            return Err(LinkError::Delay(self.delay));
        }
        if self.jitter > DELAY_MAX {
            return Err(LinkError::Jitter(self.jitter));
        }
        Self::check_loss(self.loss)?;
        match self.priority_limit {
            Some(_) if self.priority_dscps.is_empty() => return Err(LinkError::LimitWithoutClass),
            Some(limit) => limit.check(self.mtu_bytes)?,
            None => {}
        }
        match self.mtu_bytes {
            MTU_BYTES..=MTU_BYTES_MAX => Ok(()),
            other => Err(LinkError::Mtu(other)),
        }
    }

    pub(crate) fn check_rate(rate: u64) -> Result<(), LinkError> {
        if !(RATE_MIN_BITS_PER_SECOND..=RATE_MAX_BITS_PER_SECOND).contains(&rate) {
            return Err(LinkError::Rate(rate));
        }
        Ok(())
    }

    pub(crate) fn check_loss(loss: f64) -> Result<(), LinkError> {
        // Written so that NaN is refused.
        if !(0.0..=1.0).contains(&loss) {
            return Err(LinkError::Loss(loss));
        }
        Ok(())
    }

    /// Time that `bytes` occupy the transmitter, rounded up to a nanosecond: a link
    /// is never faster than its rate, and slower by less than 1 ns per packet.
    pub fn transmission_time(&self, bytes: u32) -> Duration {
        let nanos =
            (u128::from(bytes) * 8 * 1_000_000_000).div_ceil(u128::from(self.rate_bits_per_second));
        // A checked rate keeps this far below 2^64; an unchecked one saturates.
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl RateLimit {
    fn check(&self, mtu_bytes: u32) -> Result<(), LinkError> {
        if !(1..=RATE_MAX_BITS_PER_SECOND).contains(&self.rate_bits_per_second) {
            return Err(LinkError::LimitRate(self.rate_bits_per_second));
        }
        if self.burst_bytes < mtu_bytes {
            return Err(LinkError::LimitBurst {
                burst_bytes: self.burst_bytes,
                mtu_bytes,
            });
        }
        Ok(())
    }
}
