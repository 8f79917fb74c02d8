//! The simulator of `vivace_core::sim`, and clusters, requests and schedules for it.

#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_macros
)]

pub use vivace_core::sim::{
    Delays, Fate, HostClock, Occurrence, Script, Simulation, Spread, Trace, Wire,
};

pub mod layout;
pub mod requests;
pub mod script;

/// What clients saw, and the judges of it.
pub mod history {
    pub use vivace_core::sim::history::*;
    pub use vivace_core::sim::machine_checker::check_machine;
    pub use vivace_core::sim::register_checker::check_register;
}
