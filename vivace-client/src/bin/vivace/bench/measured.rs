//! What was measured: latencies of what succeeded, counts of what did not.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};
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
    /// Of those of the open loop, the part before they were begun.
    wait_us: Histogram<u64>,
    failures: BTreeMap<&'static str, u64>,
}

impl Default for Kind {
    fn default() -> Self {
        // An operation may wait as long as it may then take.
        let max_us = 2 * TIMEOUT_MAX.as_micros() as u64;
        let histogram: Histogram<u64> = Histogram::new_with_max(max_us, 3)
            .expect("three digits up to twenty minutes are within a histogram's range");
        Self {
            latency_us: histogram.clone(),
            wait_us: histogram,
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
    /// Nothing yet, of these kinds.
    pub fn of(operations: impl Iterator<Item = Operation>) -> Self {
        Self {
            kinds: operations.map(|kind| (kind, Kind::default())).collect(),
            seconds: 0.0,
        }
    }

    /// Counts an operation with a result: how long it waited for its begin, and how long it
    /// took with that.
    pub fn succeeded(&mut self, operation: Operation, wait: Duration, latency: Duration) {
        let us = |duration: Duration| (duration.as_micros() as u64).max(1);
        let kind = self.kinds.entry(operation).or_default();
        kind.latency_us.saturating_record(us(latency));
        kind.wait_us.saturating_record(us(wait));
    }

    /// Counts an operation without one.
    pub fn failed(&mut self, operation: Operation, outcome: &'static str) {
        let kind = self.kinds.entry(operation).or_default();
        *kind.failures.entry(outcome).or_default() += 1;
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

    /// Writes each kind's latencies as a file of its own.
    pub fn write_hdr(&self, directory: &Path) -> io::Result<()> {
        for (operation, kind) in &self.kinds {
            let mut bytes = Vec::new();
            V2Serializer::new()
                .serialize(&kind.latency_us, &mut bytes)
                .map_err(io::Error::other)?;
            let name = format!("{}.hdr", operation.name());
            std::fs::write(directory.join(name), bytes)?;
        }
        Ok(())
    }

    /// Operations with a result, a second, of all kinds.
    fn per_second_of_all(&self) -> f64 {
        self.kinds.values().map(|kind| self.per_second(kind)).sum()
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
        let all = self.per_second_of_all();
        table + &format!("{all:.1} per s of all kinds, in {:.1} s\n", self.seconds)
    }

    /// The same for programs.
    pub fn json(&self, asked: &BenchArguments) -> Value {
        let kinds: serde_json::Map<_, _> = self
            .kinds
            .iter()
            .map(|(operation, kind)| {
                let mut report = json!({
                    "n": kind.latency_us.len(),
                    "per_s": self.per_second(kind),
                    "latency_ms": points_ms(&kind.latency_us),
                    "failures": kind.failures,
                });
                if asked.rate.is_some() {
                    report["wait_ms"] = points_ms(&kind.wait_us);
                }
                (operation.name().to_owned(), report)
            })
            .collect();
        json!({
            "clients": asked.clients(),
            "rate": asked.rate,
            "arrivals": asked.rate.map(|_| asked.arrivals.name()),
            "keys": asked.keys,
            "skew": asked.skew(),
            "value_bytes": asked.value_bytes,
            "warm_up_seconds": asked.warm_up.as_secs_f64(),
            "seconds": self.seconds,
            "per_s": self.per_second_of_all(),
            "operations": kinds,
        })
    }
}

/// A distribution's points in ms; none of an empty one.
fn points_ms(distribution: &Histogram<u64>) -> Value {
    points(distribution)
        .filter(|_| !distribution.is_empty())
        .map(|(name, us)| (name.to_owned(), json!(us as f64 / 1000.0)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn points(latency: &Histogram<u64>) -> impl Iterator<Item = (&'static str, u64)> + '_ {
    let quantiles = QUANTILES.map(|(name, quantile)| (name, latency.value_at_quantile(quantile)));
    [("min", latency.min())]
        .into_iter()
        .chain(quantiles)
        .chain([("max", latency.max())])
}
