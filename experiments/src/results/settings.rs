//! What a run depended on.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `settings.json`: everything that a run depended on, and whether it came to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The experiment's name, as on the command line.
    pub experiment: String,
    /// The version of Vivace.
    pub version: String,
    /// When it began: RFC 3339, UTC.
    pub started: String,
    /// How long it took, in seconds; none while it runs.
    pub seconds: Option<f64>,
    /// Whether every row was measured for its full time.
    pub complete: bool,
    /// Why not.
    pub incomplete_because: Option<String>,
    /// The machine.
    pub machine: Machine,
    /// The link between the sites, both ways alike.
    pub link: Link,
    /// The seed of what is random in the run; the experiment's own settings say what that is.
    pub seed: u64,
    /// The experiment's own settings.
    pub parameters: Value,
}

/// The machine that ran it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Hardware threads that the process may use.
    pub cores: usize,
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub architecture: String,
    /// `release` or `debug`: how the program was built.
    pub build: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            os: std::env::consts::OS.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            build: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            }
            .to_owned(),
        }
    }
}

/// The link between two sites, both ways alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Round trip in ms without load.
    pub rtt_ms: f64,
    /// Rate each way in bits per second.
    pub rate_bits_per_second: u64,
    /// Buffer each way in bytes; what finds it full is dropped.
    pub buffer_bytes: u64,
    /// DSCP values that are served first.
    pub priority_dscps: Vec<u8>,
    /// What cross traffic offers each way while the link is congested, as a multiple
    /// of the rate.
    pub load: f64,
    /// Where the link is: how it was emulated.
    pub driver: String,
}

impl Link {
    /// The link in one line, for a chart's caption.
    pub fn caption(&self) -> String {
        format!(
            "{} ms round trip, {} Mbit/s each way, {} KiB drop-tail buffer, DSCP {} served first; \
             congested: cross traffic offers {:.0} % of the rate both ways",
            self.rtt_ms,
            self.rate_bits_per_second as f64 / 1e6,
            self.buffer_bytes / 1024,
            self.priority_dscps
                .iter()
                .map(u8::to_string)
                .collect::<Vec<_>>()
                .join(", "),
            self.load * 100.0
        )
    }
}
