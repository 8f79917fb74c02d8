//! What was measured: latencies of what succeeded, counts of what did not.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use vivace_client::{OperationError, TIMEOUT_MAX};

use super::arguments::{BenchArguments, Operation};

/// The quantiles of a report.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Measurements of any number of clients.
#[derive(Default)]
pub struct Measured {
    kinds: BTreeMap<Operation, Kind>,
    seconds: f64,
}

/// Latencies in microseconds, three digits exact, up to the longest deadline.
struct Kind {
    latency_us: Histogram<u64>,
    failures: BTreeMap<&'static str, u64>,
}

impl Default for Kind {
    fn default() -> Self {
        let max_us = TIMEOUT_MAX.as_micros() as u64;
        Self {
            latency_us: Histogram::new_with_max(max_us, 3)
                .expect("three digits up to ten minutes are within a histogram's range"),
            failures: BTreeMap::new(),
        }
    }
}

/// An outcome's name in reports and histories.
pub fn outcome_name(error: &OperationError) -> &'static str {
    match error {
        OperationError::Conflict { .. } => "conflict",
        OperationError::Busy { .. } => "busy",
        OperationError::Unavailable { .. } => "unavailable",
        OperationError::Invalid { .. } => "invalid",
        _ => "unknown",
    }
}

impl Measured {
    /// Counts an operation with a result.
    pub fn succeeded(&mut self, operation: Operation, latency: Duration) {
        let latency_us = latency.as_micros() as u64;
        let kind = self.kinds.entry(operation).or_default();
        kind.latency_us.saturating_record(latency_us.max(1));
    }

    /// Counts an operation without one.
    pub fn failed(&mut self, operation: Operation, outcome: &'static str) {
        let kind = self.kinds.entry(operation).or_default();
        *kind.failures.entry(outcome).or_default() += 1;
    }

    /// Adds another client's measurements.
    pub fn add(&mut self, other: Self) {
        for (operation, theirs) in other.kinds {
            let ours = self.kinds.entry(operation).or_default();
            ours.latency_us
                .add(theirs.latency_us)
                .expect("all histograms have the same range");
            for (outcome, count) in theirs.failures {
                *ours.failures.entry(outcome).or_default() += count;
            }
        }
    }

    /// Whether any operation had a result: a run without one measured nothing.
    pub fn any_succeeded(&self) -> bool {
        self.kinds.values().any(|kind| !kind.latency_us.is_empty())
    }

    /// Says how long operations were begun.
    pub fn took(&mut self, duration: Duration) {
        self.seconds = duration.as_secs_f64();
    }

    fn per_second(&self, kind: &Kind) -> f64 {
        kind.latency_us.len() as f64 / self.seconds.max(f64::EPSILON)
    }

    /// A table for people; latencies in milliseconds.
    pub fn table(&self) -> String {
        let mut table = format!(
            "{:<9}{:>9}{:>10}{:>11}{:>11}{:>11}{:>11}{:>11}{:>11}  failures\n",
            "ms", "n", "per s", "min", "p50", "p90", "p99", "p99.9", "max"
        );
        for (operation, kind) in &self.kinds {
            let latency = &kind.latency_us;
            let mut line = format!(
                "{:<9}{:>9}{:>10.1}",
                operation.name(),
                latency.len(),
                self.per_second(kind)
            );
            for (_, us) in points(latency) {
                line += &match latency.is_empty() {
                    true => format!("{:>11}", "-"),
                    false => format!("{:>11.3}", us as f64 / 1000.0),
                };
            }
            let failures: Vec<_> = kind
                .failures
                .iter()
                .map(|(outcome, count)| format!("{count} {outcome}"))
                .collect();
            let failures = match failures.is_empty() {
                true => "none".to_owned(),
                false => failures.join(", "),
            };
            table += &format!("{line}  {failures}\n");
        }
        table + &format!("began operations for {:.1} s\n", self.seconds)
    }

    /// The same for programs.
    pub fn json(&self, asked: &BenchArguments) -> Value {
        let kinds: serde_json::Map<_, _> = self
            .kinds
            .iter()
            .map(|(operation, kind)| {
                let latency: serde_json::Map<_, _> = points(&kind.latency_us)
                    .filter(|_| !kind.latency_us.is_empty())
                    .map(|(name, us)| (name.to_owned(), json!(us as f64 / 1000.0)))
                    .collect();
                let report = json!({
                    "n": kind.latency_us.len(),
                    "per_s": self.per_second(kind),
                    "latency_ms": latency,
                    "failures": kind.failures,
                });
                (operation.name().to_owned(), report)
            })
            .collect();
        json!({
            "clients": asked.clients,
            "keys": asked.keys,
            "value_bytes": asked.value_bytes,
            "seconds": self.seconds,
            "operations": kinds,
        })
    }
}

fn points(latency: &Histogram<u64>) -> impl Iterator<Item = (&'static str, u64)> + '_ {
    let quantiles = QUANTILES.map(|(name, quantile)| (name, latency.value_at_quantile(quantile)));
    [("min", latency.min())]
        .into_iter()
        .chain(quantiles)
        .chain([("max", latency.max())])
}
