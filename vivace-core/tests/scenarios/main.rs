//! Schedules that break the published protocol, and what the mended one makes of
//! them (ARCHITECTURE.md's tables of mends), one test per property.
//!
//! Unless said otherwise there are three sites of three nodes each; the first of each
//! site is a replica (A = 0, B = 3, C = 6) and all three are its local set.

#![allow(clippy::unwrap_used, clippy::disallowed_macros)]

#[path = "../cluster/mod.rs"]
mod cluster;

mod alone;
mod clocks;
mod limits;
mod lost_values;
mod refusals;
mod rmw;
mod rw;
mod sessions;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use cluster::{Delays, Fate, Simulation, Spread, Wire, layout};
use vivace_core::NodeId;
use vivace_core::cluster::{ClusterSpec, Container, Kind};
use vivace_core::message::{BulkBody, PriorityBody};

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(3);
const C: NodeId = NodeId(6);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn spec(kind: Kind, change: impl FnOnce(&mut Container)) -> ClusterSpec {
    let sets: [&[u16]; 3] = [&[0, 1, 2], &[3, 4, 5], &[6, 7, 8]];
    let mut container = layout::container(kind, &[0, 3, 6], &sets);
    change(&mut container);
    let mut spec = layout::sites(&[3, 3, 3]);
    spec.containers = vec![container];
    spec
}

/// δ = 1 ms, d = 10 ms, D = 50 ms, an instant disk.
fn simulate(spec: ClusterSpec) -> Simulation {
    let exactly = |duration| Spread::exactly(ms(duration));
    let delays = Delays {
        local: exactly(1),
        priority: exactly(10),
        bulk: exactly(50),
        disk: Spread::ZERO,
    };
    Simulation::new(0, spec, delays)
}

fn three_sites(kind: Kind) -> Simulation {
    simulate(spec(kind, |_| {}))
}

/// Drops every message that `drops` says, and delivers the others.
fn drop_if(simulation: &mut Simulation, drops: impl Fn(NodeId, NodeId, &Wire) -> bool + 'static) {
    simulation.script = Some(Box::new(move |from, to, wire| {
        if drops(from, to, wire) {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    }));
}

/// A switch that a script reads and a test turns.
fn switch(on: bool) -> Rc<Cell<bool>> {
    Rc::new(Cell::new(on))
}

fn priority(wire: &Wire) -> Option<&PriorityBody> {
    match wire {
        Wire::Priority(message) => Some(&message.body),
        Wire::Bulk(_) => None,
    }
}

fn bulk(wire: &Wire) -> Option<&BulkBody> {
    match wire {
        Wire::Bulk(message) => Some(&message.body),
        Wire::Priority(_) => None,
    }
}

fn is_write_remote(wire: &Wire) -> bool {
    matches!(bulk(wire), Some(BulkBody::WriteRemote { .. }))
}

fn is_write_local(wire: &Wire) -> bool {
    matches!(bulk(wire), Some(BulkBody::WriteLocal { .. }))
}

fn is_write_ts(wire: &Wire) -> bool {
    matches!(priority(wire), Some(PriorityBody::WriteTs { .. }))
}

fn is_read_ts(wire: &Wire) -> bool {
    matches!(priority(wire), Some(PriorityBody::ReadTs { .. }))
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
