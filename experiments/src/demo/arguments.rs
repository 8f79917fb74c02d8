//! The demo's flags.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::plan::{Only, Row};
use crate::ranges::within;
use crate::results::{Link, Machine, Settings};
use crate::two_sites::PRIORITY_DSCP;
use crate::workload::{MACHINE_IN_WORDS, OBJECT_BYTES_MAX, OBJECT_BYTES_MIN};

/// When the client gives an operation up. Generous: on a full link the prior
/// algorithms take seconds, and shall be seen to.
pub const OPERATION_DEADLINE: Duration = Duration::from_secs(30);

/// Operations before each row that are not in its figures.
pub const WARM_UP_OPERATIONS: u64 = 3;

/// What to measure, and on which link.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    experiments demo                                the paper's set-up, 2.5 minutes\n  \
    experiments demo --out results/first            where the results go\n  \
    experiments demo --rtt-ms 40 --rate-mbit 100    another link\n  \
    experiments demo --only rw/write --only abd/write --seconds 30\n\n\
    Five nodes in two sites run in this process; the link between the sites is emulated and \
    gives packets with DSCP 46 strict priority. Each row is one operation at a time for --seconds, \
    first with the link to itself, then while other traffic offers --load times the link's rate, \
    both ways.")]
pub struct DemoArguments {
    /// How long each row is measured, 0.5 to 120 s; there are 12 rows.
    #[arg(long, default_value_t = 10.5, value_parser = within(0.5, 120.0, "s"))]
    pub seconds: f64,
    /// Size of the object, 64 B to 1 MiB.
    #[arg(long, default_value_t = 1024, value_parser = within(OBJECT_BYTES_MIN, OBJECT_BYTES_MAX, "bytes"))]
    pub payload_bytes: usize,
    /// The link's round trip without load, 1 to 1000 ms.
    #[arg(long, default_value_t = 100.0, value_parser = within(1.0, 1000.0, "ms"))]
    pub rtt_ms: f64,
    /// The link's rate each way, 0.5 to 1000 Mbit/s.
    #[arg(long, default_value_t = 20.0, value_parser = within(0.5, 1000.0, "Mbit/s"))]
    pub rate_mbit: f64,
    /// The link's drop-tail buffer each way, 2 to 65536 KB of 1024 bytes.
    #[arg(long, default_value_t = 256, value_parser = within(2_u64, 65_536, "KB"))]
    pub buffer_kb: u64,
    /// What other traffic offers while the link is congested, 0.01 to 10 times its rate.
    #[arg(long, default_value_t = 1.2, value_parser = within(0.01, 10.0, "times the link's rate"))]
    pub load: f64,
    /// Seed of the objects' contents and of the cross traffic.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where results go: a new or empty directory [default: results/demo-TIME, UTC].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Measure these rows alone, such as rw/write; may be given more than once.
    #[arg(long, value_name = "SYSTEM/OPERATION")]
    pub only: Vec<Only>,
    /// Measure reads of RMW objects too: 4 rows more.
    #[arg(long)]
    pub rmw_reads: bool,
}

impl DemoArguments {
    /// How long each row is measured.
    pub fn window(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// The link.
    pub fn link(&self) -> Link {
        Link {
            rtt_ms: self.rtt_ms,
            rate_bits_per_second: (self.rate_mbit * 1e6).round() as u64,
            buffer_bytes: self.buffer_kb * 1024,
            priority_dscps: vec![PRIORITY_DSCP],
            load: self.load,
            driver: "emulated in this process; strict priority by DSCP; Poisson cross traffic of \
                     1500-byte packets"
                .to_owned(),
        }
    }

    /// How long a buffer may take to fill, with some patience: three times what the
    /// load's excess over the rate needs, and a second where it has none.
    pub fn fill_patience(&self) -> Duration {
        let link = self.link();
        let excess_bits_per_second = (link.load - 1.0) * link.rate_bits_per_second as f64;
        let seconds = link.buffer_bytes as f64 * 8.0 / excess_bits_per_second;
        let patience = if excess_bits_per_second > 0.0 {
            3.0 * seconds
        } else {
            1.0
        };
        Duration::from_secs_f64(patience.clamp(1.0, 10.0))
    }

    /// All of it, for the record; `started` is when the run began (RFC 3339).
    pub fn settings(&self, rows: &[Row], started: &str) -> Settings {
        Settings {
            experiment: super::NAME.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: started.to_owned(),
            seconds: None,
            complete: false,
            incomplete_because: None,
            machine: Machine::this(),
            link: self.link(),
            seed: self.seed,
            parameters: self.parameters(rows),
        }
    }

    fn parameters(&self, rows: &[Row]) -> Value {
        json!({
            "source": "Vivace (USENIX ATC 2012), Fig. 5 to 7",
            "seconds_per_row": self.seconds,
            "payload_bytes": self.payload_bytes,
            "operations_at_once": 1,
            "operation_deadline_s": OPERATION_DEADLINE.as_secs_f64(),
            "warm_up_operations": WARM_UP_OPERATIONS,
            "state_machine": MACHINE_IN_WORDS,
            "write_back_skip": true,
            "storage": "memory",
            "sites": {"a": [1, 4, 5], "b": [2, 3]},
            "replicas": [1, 2, 3],
            "local_sets": {"a": [1, 4, 5], "b": [2, 3]},
            "client": "beside node 1, through loopback",
            "seed_of": "the objects' contents and the cross traffic's draws; real time decides the rest",
            "rows": rows.iter().map(|row| row.name().to_string()).collect::<Vec<_>>(),
        })
    }
}
