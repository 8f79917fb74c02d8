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
//! `experiments run` measures over a WAN of network namespaces:
//!
//! ```text
//! catalog ─▶ figures (steps) ─▶ run ─▶ wan (netem), store (processes), load (a client process)
//!               │                └─▶ step (records on disk) ─┐
//!               └──────────── report, plot ◀─────────────────┘
//! ```
//!
//! [`crash`] kills real node processes under load, and judges what clients saw.
//! [`results`] is the format that all experiments share.

pub mod catalog;
pub mod crash;
pub mod demo;
pub mod figures;
pub mod interrupt;
pub mod link_usage;
pub mod load;
pub mod plot;
pub mod progress;
pub mod ranges;
pub mod report;
pub mod results;
pub mod run;
pub mod settling;
pub mod step;
pub mod store;
pub mod two_sites;
pub mod wan;
pub mod window;
pub mod workload;
