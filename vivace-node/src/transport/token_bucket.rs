//! A rate with a burst: what the operator lets the priority class use.

use std::time::{Duration, Instant};

const NANOS_PER_S: u128 = 1_000_000_000;

/// Counts in billionths of a byte, so that no rate loses to rounding.
#[derive(Clone, Debug)]
pub(super) struct TokenBucket {
    rate_bytes_per_s: u64,
    burst: u128,
    tokens: u128,
    filled_at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(super) fn new(rate_bytes_per_s: u64, burst_bytes: u64, now: Instant) -> Self {
        let burst = u128::from(burst_bytes) * NANOS_PER_S;
        Self {
            rate_bytes_per_s,
            burst,
            tokens: burst,
            filled_at: now,
        }
    }

    /// Takes tokens for `bytes`, or none and answers false.
    pub(super) fn take(&mut self, bytes: u64, now: Instant) -> bool {
        let elapsed: Duration = now.saturating_duration_since(self.filled_at);
        let gained = elapsed
            .as_nanos()
            .saturating_mul(u128::from(self.rate_bytes_per_s));
        self.tokens = self.tokens.saturating_add(gained).min(self.burst);
        self.filled_at = self.filled_at.max(now);
        match self.tokens.checked_sub(u128::from(bytes) * NANOS_PER_S) {
            Some(rest) => {
                self.tokens = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_any_time_no_more_than_burst_and_rate_passes() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10_000, 2_000, start);
        let mut passed = 0;
        for ms in 0..5_000 {
            if bucket.take(100, start + Duration::from_millis(ms)) {
                passed += 100;
            }
        }
        assert_eq!(passed, 2_000 + 49_900);
        assert!(!bucket.take(100, start), "an earlier time brings nothing");
        let long_after = start + Duration::from_secs(3_600);
        assert!(
            bucket.take(2_000, long_after) && !bucket.take(1, long_after),
            "idle saves no more than the burst"
        );
    }
}
