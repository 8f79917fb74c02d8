//! Schedules that break the published protocol, and what the mended one makes of
//! them (ARCHITECTURE.md's tables of mends), one test per property.
//!
//! Unless said otherwise there are three sites of three nodes each; the first of each
//! site is a replica (A = 0, B = 3, C = 6) and all three are its local set.

#![allow(clippy::unwrap_used, clippy::disallowed_macros)]

#[path = "../cluster/mod.rs"]
mod cluster;

mod alone;
mod backup;
mod clocks;
mod commands;
mod direct;
mod durability;
mod early_data;
mod full_disk;
mod journals;
mod limits;
mod lost_site;
mod lost_values;
mod one_copy;
mod refusals;
mod rmw;
mod rw;
mod sessions;
mod shared_reads;
mod told_values;
mod torn_values;

use cluster::Simulation;
use cluster::script::{
    A, B, C, DELAYS, bulk, drop_if, is_accept, is_apply_remote, is_promise, is_read_ts,
    is_write_local, is_write_remote, is_write_ts, ms, priority, spec, switch,
};
use vivace_core::cluster::{ClusterSpec, Kind};

fn simulate(spec: ClusterSpec) -> Simulation {
    Simulation::new(0, spec, DELAYS)
}

fn three_sites(kind: Kind) -> Simulation {
    simulate(spec(kind, |_| {}))
}

fn settle(simulation: &mut Simulation) {
    for _ in 0..200 {
        if simulation.is_settled() {
            return;
        }
        simulation.run_for(ms(1000));
    }
    for node in simulation.alive() {
        let status = simulation.status(node);
        eprintln!(
            "{node}: held {}, {:?}, {:?}",
            status.held, status.backlog, status.operations
        );
    }
    panic!("something is left over");
}
