//! Latencies, kept as a histogram.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};

/// The longest latency that is told from longer ones.
pub const LATENCY_MAX: Duration = Duration::from_secs(600);

/// Three digits: at 100 ms, 64 µs.
const SIGNIFICANT_DIGITS: u8 = 3;

/// The percentiles of the CSV file, beside every latency that was recorded.
const PERCENTILES: [f64; 12] = [
    0.0, 1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0,
];

/// Bytes that are no histogram, or a histogram that can't be written.
#[derive(Debug, thiserror::Error)]
#[error("histogram: {0}")]
pub struct LatenciesError(String);

/// Latencies of one row: from 1 µs to [`LATENCY_MAX`], three digits exact.
#[derive(Clone, Debug, PartialEq)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let max_us = LATENCY_MAX.as_micros() as u64;
        Self(
            Histogram::new_with_max(max_us, SIGNIFICANT_DIGITS)
                .expect("ten minutes at three digits are within a histogram's range"),
        )
    }
}

impl Latencies {
    /// Adds one; what is beyond [`LATENCY_MAX`] counts as that.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(us.max(1));
    }

    /// Adds all of another's.
    pub fn add(&mut self, other: &Self) {
        // Both have the same range and digits.
        let added = self.0.add(&other.0);
        debug_assert!(added.is_ok(), "{added:?}");
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The latency in ms that `percentile` percent (0 to 100) don't exceed: the
    /// ⌈n · percentile / 100⌉th smallest. `None` where nothing was recorded.
    pub fn percentile_ms(&self, percentile: f64) -> Option<f64> {
        if self.is_empty() {
            return None;
        }
        // The histogram's extremes stand for a bucket; the ends of the scale are
        // asked for by name so that nothing lies outside of them.
        let us = match percentile {
            p if p <= 0.0 => self.0.min(),
            p if p >= 100.0 => self.0.max(),
            p => self
                .0
                .value_at_quantile(p / 100.0)
                .clamp(self.0.min(), self.0.max()),
        };
        Some(us as f64 / 1000.0)
    }

    /// The distribution as steps, ascending: (latency in ms, the fraction of all
    /// that don't exceed it, above 0 to 1).
    pub fn steps(&self) -> Vec<(f64, f64)> {
        let mut seen = 0;
        let step = |value: hdrhistogram::iterators::IterationValue<u64>| {
            seen += value.count_since_last_iteration();
            (
                value.value_iterated_to() as f64 / 1000.0,
                seen as f64 / self.0.len() as f64,
            )
        };
        self.0.iter_recorded().map(step).collect()
    }

    /// The percentiles as CSV with a heading: `percentile,latency_ms`.
    pub fn csv(&self) -> String {
        let mut csv = "percentile,latency_ms\n".to_owned();
        for percentile in PERCENTILES {
            if let Some(ms) = self.percentile_ms(percentile) {
                // A String takes whatever is written to it.
                let _ = writeln!(csv, "{percentile},{ms:.3}");
            }
        }
        csv
    }

    /// The histogram in HdrHistogram's V2 format, values in µs.
    ///
    /// # Errors
    /// [`LatenciesError`]; not for histograms that [`Latencies::record`] made.
    pub fn to_hdr(&self) -> Result<Vec<u8>, LatenciesError> {
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(&self.0, &mut bytes)
            .map_err(|error| LatenciesError(error.to_string()))?;
        Ok(bytes)
    }

    /// Reads what [`Latencies::to_hdr`] wrote.
    ///
    /// # Errors
    /// [`LatenciesError`] where the bytes are no such histogram.
    pub fn from_hdr(mut bytes: &[u8]) -> Result<Self, LatenciesError> {
        let histogram = Deserializer::new()
            .deserialize(&mut bytes)
            .map_err(|error| LatenciesError(error.to_string()))?;
        Ok(Self(histogram))
    }
}
