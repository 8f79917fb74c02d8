//! How late packets arrived: a histogram of fixed size.

use std::time::Duration;

/// Each power of two of microseconds has this many buckets, so a quantile is read
/// with an error below 1/16.
const STEPS: usize = 16;

/// Exact below [`STEPS`] µs, then up to 2^32 µs (71 minutes); beyond that the last
/// bucket takes all.
const BUCKETS: usize = STEPS * 29;

/// Lateness of deliveries: from the moment a packet was due to the moment it lay in
/// its socket's queue. The receiving task's own scheduling comes on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "tool", derive(serde::Serialize, serde::Deserialize))]
pub struct Lateness {
    /// Deliveries.
    pub count: u64,
    /// Median, in µs, rounded up by at most 1/16.
    pub p50_us: u64,
    /// 99th percentile, in µs, rounded up by at most 1/16.
    pub p99_us: u64,
    /// 99.9th percentile, in µs, rounded up by at most 1/16.
    pub p999_us: u64,
    /// Largest, in µs, exact.
    pub max_us: u64,
}

/// Counts lateness in buckets whose width is at most 1/16 of their value.
pub struct LatenessHistogram {
    buckets: [u64; BUCKETS],
    count: u64,
    max_us: u64,
}

impl Default for LatenessHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl LatenessHistogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self {
            buckets: [0; BUCKETS],
            count: 0,
            max_us: 0,
        }
    }

    /// Counts one delivery.
    pub fn record(&mut self, lateness: Duration) {
        let us = u64::try_from(lateness.as_micros()).unwrap_or(u64::MAX);
        self.buckets[Self::bucket(us)] += 1;
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// The figures so far.
    pub fn summary(&self) -> Lateness {
        Lateness {
            count: self.count,
            p50_us: self.per_mille(500),
            p99_us: self.per_mille(990),
            p999_us: self.per_mille(999),
            max_us: self.max_us,
        }
    }

    /// The largest value of the bucket that holds that thousandth of all.
    fn per_mille(&self, per_mille: u64) -> u64 {
        let rank = (self.count * per_mille).div_ceil(1000);
        let mut seen = 0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            seen += count;
            if count > 0 && seen >= rank {
                return Self::largest(bucket).min(self.max_us);
            }
        }
        0
    }

    fn bucket(us: u64) -> usize {
        if us < STEPS as u64 {
            return us as usize;
        }
        let exponent = us.ilog2() - STEPS.ilog2();
        let step = (us >> exponent) as usize - STEPS;
        (STEPS * (exponent as usize + 1) + step).min(BUCKETS - 1)
    }

    fn largest(bucket: usize) -> u64 {
        if bucket < STEPS {
            return bucket as u64;
        }
        let exponent = bucket / STEPS - 1;
        let step = bucket % STEPS + STEPS;
        (((step + 1) as u64) << exponent) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_own_bounds_and_the_next_begins_after_it() {
        for bucket in 0..BUCKETS - 1 {
            let largest = LatenessHistogram::largest(bucket);
            assert_eq!(LatenessHistogram::bucket(largest), bucket);
            assert_eq!(LatenessHistogram::bucket(largest + 1), bucket + 1);
        }
    }

    #[test]
    fn percentiles_are_within_a_sixteenth_above() {
        let mut histogram = LatenessHistogram::new();
        for us in 1..=10_000 {
            histogram.record(Duration::from_micros(us));
        }
        let summary = histogram.summary();
        assert_eq!((summary.count, summary.max_us), (10_000, 10_000));
        assert!((5_000..=5_000 + 5_000 / 16).contains(&summary.p50_us));
        assert!((9_900..=10_000).contains(&summary.p99_us));
        assert!((9_990..=10_000).contains(&summary.p999_us));
    }

    #[test]
    fn a_value_beyond_the_range_counts_in_the_last_bucket() {
        let mut histogram = LatenessHistogram::new();
        histogram.record(Duration::from_secs(1 << 40));
        assert_eq!(histogram.summary().max_us, (1 << 40) * 1_000_000);
    }
}
