//! Judging what clients saw (feature `linearizability`): is there one order of all
//! operations that explains every answer?
//!
//! [`history`] holds operations with their intervals, from a simulation or, as JSON
//! lines, from real clusters; the checkers beside it look for the order.

mod bits;
pub mod history;
mod json;
pub mod machine_checker;
pub mod register_checker;
mod strict_json;

pub use json::{HistoryReader, JsonError, read_json_lines, write_json_lines};
