//! Stores and a load on one machine, without a WAN: what a bench does, and what came of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::Percentiles;
use super::spec::Operation;

/// What is measured on stores of this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchWork {
    /// The stores; all run during the whole step, one is under load at a time.
    pub stores: Vec<BenchStore>,
    /// What they are loaded with, in order.
    pub loads: Vec<BenchLoad>,
    /// How often the whole is repeated.
    pub rounds: u32,
    /// How long each load is measured, in seconds.
    pub seconds: f64,
    /// And how long it runs before, in seconds.
    pub warm_up_seconds: f64,
    /// Objects that are written first, in stores that keep count; none for those of the
    /// clients alone.
    pub keys: Option<u32>,
}

impl BenchWork {
    /// Whether the command `vivace` makes a part of the load.
    pub fn needs_command(&self) -> bool {
        let is_open = |load: &BenchLoad| matches!(load, BenchLoad::Open { .. });
        self.loads.iter().any(is_open)
    }
}

/// A store on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "store", rename_all = "kebab-case")]
pub enum BenchStore {
    /// Nodes of Vivace.
    Vivace {
        /// Sites, with no delay between them.
        sites: u16,
        /// Nodes of each.
        nodes_per_site: u16,
    },
    /// Three members of etcd, in the clear.
    Etcd,
    /// The same under TLS: peers and clients show certificates, as Vivace's always do.
    EtcdTls,
}

impl BenchStore {
    /// Its name.
    pub fn id(self) -> &'static str {
        match self {
            Self::Vivace { .. } => "vivace",
            Self::Etcd => "etcd",
            Self::EtcdTls => "etcd-tls",
        }
    }
}

/// What a store is loaded with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "load", rename_all = "kebab-case")]
pub enum BenchLoad {
    /// Clients that each ask again when they have an answer.
    Closed {
        /// What.
        operation: Operation,
        /// How many clients.
        clients: usize,
        /// Which objects.
        objects: Objects,
        /// Their length.
        value_bytes: usize,
    },
    /// Operations at a fixed rate, by `vivace bench`: Vivace alone.
    Open {
        /// Reads, writes and commands, in percent.
        mix: String,
        /// Of what 64 clients of a closed loop reach, in percent.
        percent_of_peak: u32,
        /// The values' length.
        value_bytes: usize,
        /// Of the keys' distribution; none for a uniform one.
        skew: Option<f64>,
    },
}

/// Which objects clients work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objects {
    /// Each client has its own.
    OwnOfEach,
    /// All share one.
    One,
    /// Each operation draws one of those that were written first.
    Drawn,
}

impl BenchLoad {
    /// For people.
    pub fn words(&self) -> String {
        match self {
            Self::Closed {
                operation, objects, ..
            } => match objects {
                Objects::OwnOfEach => format!("{}, distinct keys", operation.id()),
                Objects::One => format!("{}, one hot key", operation.id()),
                Objects::Drawn => format!("{}, drawn keys", operation.id()),
            },
            Self::Open {
                mix,
                percent_of_peak,
                value_bytes,
                skew,
            } => {
                let keys = skew.map_or("uniform".to_owned(), |skew| format!("zipfian {skew}"));
                format!("{mix} at {percent_of_peak} %, {value_bytes} B, {keys}")
            }
        }
    }
}

/// One load of one store in one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchRow {
    /// Which store.
    pub store: BenchStore,
    /// What it was loaded with.
    pub load: BenchLoad,
    /// Which round, from 1.
    pub round: u32,
    /// Operations with a result, a second.
    pub per_second: f64,
    /// Latencies of all operations; of an open loop those of the most frequent kind.
    pub latency: Percentiles,
    /// Operations without a result, by cause.
    pub failures: BTreeMap<String, u64>,
    /// CPU of all the store's processes together, in µs per operation.
    pub store_cpu_us: f64,
    /// CPU of the load, in µs per operation.
    pub load_cpu_us: f64,
    /// Operations a second that were asked for, in an open loop.
    pub rate: Option<f64>,
}

/// What a bench found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BenchData {
    /// In the order of measuring.
    pub rows: Vec<BenchRow>,
    /// Resident memory of each node for each of the objects that were written first, in
    /// bytes; none where there were none.
    pub memory_bytes_per_key: Option<f64>,
    /// The machine's load average over a minute, at the begin and at the end.
    pub load_average: [f64; 2],
}

impl BenchData {
    /// The median over the rounds of what `of` says of a store under a load.
    pub fn median(
        &self,
        store: &str,
        load: &BenchLoad,
        of: impl Fn(&BenchRow) -> f64,
    ) -> Option<f64> {
        let is_its = |row: &&BenchRow| row.store.id() == store && row.load == *load;
        let mut all: Vec<f64> = self.rows.iter().filter(is_its).map(of).collect();
        all.sort_by(f64::total_cmp);
        (!all.is_empty()).then(|| all[all.len() / 2])
    }
}
