//! Delays that are drawn, for tests that count them exactly.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Bounds between which a duration is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// At least this.
    pub min: Duration,
    /// At most this.
    pub max: Duration,
}

impl Spread {
    /// No time at all.
    pub const ZERO: Self = Self::exactly(Duration::ZERO);

    /// Always the same.
    pub const fn exactly(duration: Duration) -> Self {
        Self {
            min: duration,
            max: duration,
        }
    }

    /// Between two numbers of milliseconds.
    pub const fn ms(min: u64, max: u64) -> Self {
        Self {
            min: Duration::from_millis(min),
            max: Duration::from_millis(max),
        }
    }

    /// One duration.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Duration {
        if self.min == self.max {
            self.min
        } else {
            rng.random_range(self.min..=self.max)
        }
    }
}

/// How long messages and disk writes take.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    /// δ: inside a site, both classes.
    pub local: Spread,
    /// d: priority, between sites.
    pub priority: Spread,
    /// D: bulk, between sites.
    pub bulk: Spread,
    /// From a record to its durability.
    pub disk: Spread,
}
