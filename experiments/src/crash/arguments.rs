//! The command's flags.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::ranges::within;
use crate::results::{Link, Machine, Settings};

/// Where nodes keep their state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Storage {
    /// A data directory each.
    Disk,
    /// Nothing survives: losses must be found.
    Memory,
}

/// How many kills, of which nodes, under which load.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    experiments crash                               300 kills of 3 nodes, about 7 minutes\n  \
    experiments crash --kills 20 --out results/try  in a hurry\n  \
    experiments crash --one-site                    all nodes in one site\n  \
    experiments crash --storage memory --kills 20   shows that losses are found; exits with 1\n  \
    experiments crash --small-disk 512              on a disk that fills up, as root\n  \
    experiments crash --node target/release/vivace-node\n\n\
    Each node is a process with a data directory under --out. Clients of every site read and \
    write registers with unique values and carry out commands on counters and lists, while nodes \
    are killed (SIGKILL) and started again: one at a time mostly, some while they start, now \
    and then all at once. Afterwards every key is read, and every key's history must have an \
    order that explains it. Page caches survive a killed process: this finds what a node \
    acknowledges before it writes, not what it writes without a sync.\n\n\
    Exit codes: 0 nothing was lost and every node started again, 1 something was (history.jsonl, \
    the logs and the data directories are kept), 2 usage, 130 interrupted.")]
pub struct CrashArguments {
    /// Kills, 1 to 100000; one of all nodes at once counts for each.
    #[arg(long, default_value_t = 300, value_parser = within(1_u32, 100_000, ""))]
    pub kills: u32,
    /// Nodes, one in each site, 1 to 9.
    #[arg(long, default_value_t = 3, value_parser = within(1_u16, 9, ""))]
    pub nodes: u16,
    /// All nodes in one site: writes are direct.
    #[arg(long)]
    pub one_site: bool,
    /// Clients, 1 to 64, spread over the nodes; each does one thing at a time.
    #[arg(long, default_value_t = 6, value_parser = within(1_u32, 64, ""))]
    pub clients: u32,
    /// When a client gives an operation up, 100 to 10000 ms.
    #[arg(long, default_value_t = 1000, value_parser = within(100_u64, 10_000, "ms"))]
    pub deadline_ms: u64,
    /// Every so many rounds all nodes are killed at once, 0 to 100000; 0 is never.
    #[arg(long, default_value_t = 10, value_parser = within(0_u32, 100_000, "rounds"))]
    pub all_every: u32,
    /// Where nodes keep their state.
    #[arg(long, value_enum, default_value = "disk")]
    pub storage: Storage,
    /// Keeps all nodes' data on an ext4 file system of so many MiB, 384 to 65536, that fills
    /// up and gets space again while nodes are killed; needs root.
    #[arg(long, value_name = "MIB", conflicts_with = "storage",
          value_parser = within(384_u64, 65_536, "MiB"))]
    pub small_disk: Option<u64>,
    /// The `vivace-node` to run [default: the same code within this program].
    #[arg(long, value_name = "FILE")]
    pub node: Option<PathBuf>,
    /// Seed of who is killed when, and of what clients ask.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where results go: a new or empty directory [default: results/crash-TIME, UTC].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

impl CrashArguments {
    /// When a client gives an operation up.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }

    /// All of it, for the record; `started` is when the run began (RFC 3339).
    pub fn settings(&self, started: &str) -> Settings {
        Settings {
            experiment: super::NAME.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: started.to_owned(),
            seconds: None,
            complete: false,
            incomplete_because: None,
            machine: Machine::this(),
            link: Link {
                rtt_ms: 0.0,
                rate_bits_per_second: 0,
                buffer_bytes: 0,
                priority_dscps: Vec::new(),
                load: 0.0,
                driver: "loopback, not limited".to_owned(),
            },
            seed: self.seed,
            parameters: json!({
                "kills": self.kills,
                "nodes": self.nodes,
                "one_site": self.one_site,
                "clients": self.clients,
                "deadline_ms": self.deadline_ms,
                "all_every": self.all_every,
                "small_disk_mib": self.small_disk,
                "storage": format!("{:?}", self.storage).to_lowercase(),
                "node": self.node,
                "seed_of": "who is killed after which pause, and what clients ask; real time decides the rest",
            }),
        }
    }
}
