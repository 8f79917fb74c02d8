//! The load: a process on the client's host that measures operations when told to, by
//! lines of JSON on its standard input and output.
//!
//! ```text
//! driver (in the run) ──lines──▶ process ─▶ closed_loop ─▶ objects ─▶ Vivace's client, or etcd's gateway
//!                                        └▶ own_writes
//! ```

pub(crate) mod closed_loop;
mod drawn;
mod driver;
mod echo;
mod etcd_gateway;
mod etcd_kv;
mod etcd_messages;
mod moments;
pub(crate) mod objects;
mod own_writes;
mod process;
mod protocol;
mod target;
mod twitter;

pub(crate) use drawn::Drawn;
pub use driver::LoadProcess;
pub use echo::{
    CONNECT_PATIENCE, ECHO, EchoArguments, LAST_PATIENCE, PROBE, ProbeArguments, RoundTrip,
    parse_round_trips, run_echo, run_probe,
};
pub(crate) use etcd_gateway::Gateway;
pub(crate) use etcd_kv::{EtcdKey, EtcdKv};
pub use moments::monotonic_ns;
pub use process::{LOAD, LoadArguments, run_load};
pub use protocol::{Answer, LoadConfig, Measure, Measured, Request, Sample, TargetConfig};
