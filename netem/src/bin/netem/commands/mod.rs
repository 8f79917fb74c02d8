//! One file per command, or per pair that shares everything.

pub mod change;
pub mod down;
pub mod exec;
pub mod flood;
pub mod ping;
pub mod status;
pub mod tc;
pub mod up;
pub mod watch;
