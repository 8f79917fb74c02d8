//! One row of results: what was measured, and in what circumstances.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::latencies::Latencies;
use crate::link_usage::{DeliveryLateness, LinkUsage};

/// Which row: the experiment, and what was measured in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowName {
    /// The experiment's name, as on the command line.
    pub experiment: String,
    /// The system, such as `abd`.
    pub system: String,
    /// The operation, such as `read`.
    pub operation: String,
    /// The network's condition, such as `idle`.
    pub condition: String,
}

impl RowName {
    /// The name of the row's files, without an ending.
    pub fn file_stem(&self) -> String {
        format!("{}-{}-{}", self.system, self.operation, self.condition)
    }
}

impl fmt::Display for RowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.system, self.operation, self.condition)
    }
}

/// A row of `summary.json`. Latencies are in ms, three digits exact; they are of all
/// `n` operations, a failed one with the time until it failed, and zero where `n` is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SummaryRow {
    /// Which row.
    #[serde(flatten)]
    pub name: RowName,
    /// Operations, failed ones too.
    pub n: u64,
    /// Operations without a result.
    pub failed: u64,
    /// The shortest.
    pub min_ms: f64,
    /// Half of all don't exceed it.
    pub p50_ms: f64,
    /// 90 of 100 don't exceed it.
    pub p90_ms: f64,
    /// 99 of 100 don't exceed it; the largest of all where there are fewer than 100.
    pub p99_ms: f64,
    /// 999 of 1000 don't exceed it; the largest of all where there are fewer.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl SummaryRow {
    /// Sums up a row's latencies.
    pub fn new(name: RowName, failed: u64, latencies: &Latencies) -> Self {
        let percentile = |p| latencies.percentile_ms(p).unwrap_or(0.0);
        Self {
            name,
            n: latencies.len(),
            failed,
            min_ms: percentile(0.0),
            p50_ms: percentile(50.0),
            p90_ms: percentile(90.0),
            p99_ms: percentile(99.0),
            p999_ms: percentile(99.9),
            max_ms: percentile(100.0),
        }
    }
}

/// Operations before a row's first, which are not in its figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmUp {
    /// How many.
    pub n: u64,
    /// How many of them had no result.
    pub failed: u64,
}

/// A row of `windows.json`: in what circumstances a row was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowRow {
    /// Which row.
    #[serde(flatten)]
    pub name: RowName,
    /// Whether it was measured for its full time.
    pub complete: bool,
    /// How long, in seconds; the operation begun last runs to its end.
    pub seconds: f64,
    /// Failures by cause.
    pub failures: BTreeMap<String, u64>,
    /// What went before.
    pub warm_up: WarmUp,
    /// Milliseconds waited for earlier rows' values to reach their replicas.
    pub settled_after_ms: u64,
    /// Whether they all had when the row began.
    pub settled: bool,
    /// The links between sites during the row.
    pub links: Vec<LinkUsage>,
    /// How late the emulated WAN was.
    pub lateness: DeliveryLateness,
}
