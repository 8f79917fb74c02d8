//! Background load: other people's packets on a link.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{LinkError, MTU_BYTES};

/// Least load, as a fraction of the link's rate, that is not "none".
pub const CROSS_FRACTION_MIN: f64 = 0.001;

/// Greatest load, as a fraction of the link's rate.
pub const CROSS_FRACTION_MAX: f64 = 100.0;

/// Most cross traffic that a [`Network`](crate::Network) takes, in packets a second, all
/// links together: 12 Gbit/s. The router makes each of them in real time, ahead of all
/// else; so many take a tenth of a processor, and a hundred times as many never end.
pub const CROSS_PACKETS_PER_SECOND_MAX: f64 = 1_000_000.0;

/// A Poisson source of full-sized bulk packets.
///
/// Poisson and not constant rate, which locks in phase with a probe's period and
/// makes it see 83 % loss or none instead of the 15 % that there is.
///
/// The gaps are drawn from a generator of its own, so the load on one link is the
/// same whatever else is sent, and however often anybody looks.
pub struct CrossTraffic {
    fraction: f64,
    rng: ChaCha8Rng,
    /// When the next packet arrives; before [`start`](Self::start), the first gap's start.
    next: Duration,
}

impl CrossTraffic {
    /// A source that offers `fraction` of the link's rate, also beyond 1.
    ///
    /// # Errors
    /// [`LinkError::CrossFraction`] outside [`CROSS_FRACTION_MIN`] to
    /// [`CROSS_FRACTION_MAX`].
    pub fn new(fraction: f64, seed: u64) -> Result<Self, LinkError> {
        if !(CROSS_FRACTION_MIN..=CROSS_FRACTION_MAX).contains(&fraction) {
            return Err(LinkError::CrossFraction(fraction));
        }
        Ok(Self {
            fraction,
            rng: ChaCha8Rng::seed_from_u64(seed),
            next: Duration::ZERO,
        })
    }

    /// Draws the first arrival after `now`; also after a change of rate, which a
    /// memoryless source may do at any moment.
    pub(crate) fn start(&mut self, now: Duration, rate_bits_per_second: u64) {
        self.next = now;
        self.advance(rate_bits_per_second);
    }

    /// When the next packet arrives.
    pub(crate) fn next(&self) -> Duration {
        self.next
    }

    /// Takes the packet that is due and draws the one after it.
    pub(crate) fn advance(&mut self, rate_bits_per_second: u64) {
        let packets_per_second = packets_per_second(rate_bits_per_second, self.fraction);
        // 1 - u is in (0, 1], so the logarithm is finite.
        let unit_gap = -(1.0 - self.rng.random::<f64>()).ln();
        self.next += Duration::from_secs_f64(unit_gap / packets_per_second);
    }
}

/// What `fraction` of a rate comes to.
pub(crate) fn packets_per_second(rate_bits_per_second: u64, fraction: f64) -> f64 {
    rate_bits_per_second as f64 * fraction / f64::from(MTU_BYTES * 8)
}
