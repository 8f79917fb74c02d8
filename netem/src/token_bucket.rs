//! The policer of the priority class.

use std::time::Duration;

use crate::RateLimit;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// A token bucket in whole numbers, so that its rate is exact however often it is asked.
pub(crate) struct TokenBucket {
    limit: RateLimit,
    /// Bits × 10⁹: one nanosecond adds `rate_bits_per_second` of these.
    tokens: u128,
    filled_at: Duration,
}

impl TokenBucket {
    /// A bucket that is full at `now`.
    pub(crate) fn new(limit: RateLimit, now: Duration) -> Self {
        Self {
            limit,
            tokens: Self::cost(limit.burst_bytes),
            filled_at: now,
        }
    }

    /// Takes `bytes` worth of tokens if there are as many.
    pub(crate) fn admits(&mut self, now: Duration, bytes: u32) -> bool {
        let elapsed = now.saturating_sub(self.filled_at).as_nanos();
        let gained = elapsed.saturating_mul(u128::from(self.limit.rate_bits_per_second));
        let full = Self::cost(self.limit.burst_bytes);
        self.tokens = self.tokens.saturating_add(gained).min(full);
        self.filled_at = now;
        match self.tokens.checked_sub(Self::cost(bytes)) {
            Some(rest) => {
                self.tokens = rest;
                true
            }
            None => false,
        }
    }

    fn cost(bytes: u32) -> u128 {
        u128::from(bytes) * 8 * NANOS_PER_SECOND
    }
}
