//! The experiments of Vivace: each is one command that measures, writes its raw
//! results to disk, and then draws and prints from what it wrote.
//!
//! ```text
//! demo ─▶ two_sites (a cluster over an emulated WAN)
//!   │       ▲
//!   ├─▶ window (operations, one at a time, for a fixed time) ─▶ results (files)
//!   │                                                             │
//!   └──────────────────────── table, plot, verdict ◀──────────────┘
//! ```
//!
//! [`crash`] kills real node processes under load, and judges what clients saw.
//! [`results`] is the format that all experiments share.

pub mod catalog;
pub mod crash;
pub mod demo;
pub mod interrupt;
pub mod link_usage;
pub mod plot;
pub mod progress;
pub mod ranges;
pub mod results;
pub mod settling;
pub mod two_sites;
pub mod window;
pub mod workload;
