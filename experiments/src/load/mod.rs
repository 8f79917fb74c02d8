//! The load: a process on the client's host that measures operations when told to, by
//! lines of JSON on its standard input and output.
//!
//! ```text
//! driver (in the run) ──lines──▶ process ─▶ closed_loop ─▶ objects ─▶ Vivace's client, or etcd's gateway
//!                                        └▶ own_writes
//! ```

mod closed_loop;
mod driver;
mod echo;
mod etcd_gateway;
mod moments;
mod objects;
mod own_writes;
mod process;
mod protocol;
mod target;
mod twitter;

pub use driver::LoadProcess;
pub use echo::{
    CONNECT_PATIENCE, ECHO, EchoArguments, LAST_PATIENCE, PROBE, ProbeArguments, RoundTrip,
    parse_round_trips, run_echo, run_probe,
};
pub use moments::monotonic_ns;
pub use process::{LOAD, LoadArguments, run_load};
pub use protocol::{Answer, LoadConfig, Measure, Measured, Request, Sample, TargetConfig};
