//! A whole cluster in virtual time (feature `sim`): one seed draws every delay, loss,
//! crash and request, so the same seed replays the same run.
//!
//! [`Simulation`] is the engine: hosts, disks and a network around unchanged
//! [`Node`](crate::Node)s. Scripted tests drive it by hand. [`swarm`] draws a whole
//! configuration from a seed, runs it, and judges it; [`history`] and the checkers
//! beside it judge what clients saw. [`delays`] counts messages in a row.

mod agenda;
pub mod delays;
mod disk;
mod errand;
pub mod exhaustive;
pub mod history;
mod host;
mod host_journal;
mod json;
mod links;
pub mod machine_checker;
mod network;
pub mod register_checker;
mod simulation;
mod step;
pub mod swarm;
mod trace;
mod wire;

pub use disk::{DiskFault, SimDisk, SimFile};
pub use errand::{Errand, Sieve};
pub use host::{Fuse, HostClock, LogTail};
pub use json::{HistoryReader, JsonError, read_json_lines, write_json_lines};
pub use links::{ClassPlan, LinkPlan};
pub use network::{Delays, Spread};
pub use simulation::{Occurrence, Simulation};
pub use trace::Trace;
pub use wire::{Fate, Script, Wire};
