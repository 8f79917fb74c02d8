//! A whole cluster in virtual time (feature `sim`): one seed draws every delay, loss,
//! crash and request, so the same seed replays the same run.
//!
//! [`Simulation`] is the engine: hosts, disks and a network around unchanged
//! [`Node`](crate::Node)s. Scripted tests drive it by hand. [`swarm`] draws a whole
//! configuration from a seed, runs it, and judges it; [`history`] and the checkers
//! beside it, of [`linearizability`](crate::linearizability), judge what clients saw. [`delays`] counts messages in a row.

mod agenda;
mod carriage;
pub mod delays;
mod disk;
mod errand;
pub mod exhaustive;
mod faults;
mod host;
mod host_journal;
mod links;
mod network;
mod places;
mod simulation;
mod step;
pub mod swarm;
mod trace;
mod wire;

pub use crate::linearizability::{
    HistoryReader, JsonError, history, machine_checker, read_json_lines, register_checker,
    write_json_lines,
};
pub use disk::{DiskFault, SimDisk, SimFile};
pub use errand::{Errand, Sieve};
pub use host::{Fuse, HostClock, LogTail};
pub use links::{ClassPlan, LinkPlan};
pub use network::{Delays, Spread};
pub use simulation::{Occurrence, Simulation};
pub use trace::Trace;
pub use wire::{Fate, Script, Wire};
