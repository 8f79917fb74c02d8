//! `experiments run`: measures the steps of experiments that are not on disk yet.

mod arguments;
mod bench_step;
mod cpu;
mod delays;
mod lateness;
mod measure;
mod messages;
mod open_loop;
mod request;
mod revision;
mod round_trips;
mod runner;
mod store_step;
mod tools;

pub use arguments::{ReportArguments, RunArguments, SINGLE};
pub use measure::planned;
pub use request::{RequestError, named};
pub use round_trips::read as read_round_trips;
pub use runner::{Ended, command};
pub use tools::{Need, Tools};
