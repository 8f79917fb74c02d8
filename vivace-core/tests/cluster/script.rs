//! The three sites that most scenarios play in, and what they do to messages.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use vivace_core::NodeId;
use vivace_core::cluster::{ClusterSpec, Container, Kind};
use vivace_core::message::{BulkBody, PriorityBody};

use super::{Delays, Fate, Simulation, Spread, Wire, layout};

/// The replicas; each is the first of its site's three nodes, which are its local set.
pub const A: NodeId = NodeId(0);
pub const B: NodeId = NodeId(3);
pub const C: NodeId = NodeId(6);

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn spec(kind: Kind, change: impl FnOnce(&mut Container)) -> ClusterSpec {
    let sets: [&[u16]; 3] = [&[0, 1, 2], &[3, 4, 5], &[6, 7, 8]];
    let mut container = layout::container(kind, &[0, 3, 6], &sets);
    change(&mut container);
    let mut spec = layout::sites(&[3, 3, 3]);
    spec.containers = vec![container];
    spec
}

/// δ = 1 ms, d = 10 ms, D = 50 ms, an instant disk.
pub const DELAYS: Delays = Delays {
    local: Spread::exactly(Duration::from_millis(1)),
    priority: Spread::exactly(Duration::from_millis(10)),
    bulk: Spread::exactly(Duration::from_millis(50)),
    disk: Spread::ZERO,
};

/// Drops every message that `drops` says, and delivers the others.
pub fn drop_if(
    simulation: &mut Simulation,
    drops: impl Fn(NodeId, NodeId, &Wire) -> bool + 'static,
) {
    simulation.script = Some(Box::new(move |from, to, wire| {
        if drops(from, to, wire) {
            Fate::Drop
        } else {
            Fate::Deliver
        }
    }));
}

/// A switch that a script reads and a test turns.
pub fn switch(on: bool) -> Rc<Cell<bool>> {
    Rc::new(Cell::new(on))
}

pub fn priority(wire: &Wire) -> Option<&PriorityBody> {
    match wire {
        Wire::Priority(message) => Some(&message.body),
        Wire::Bulk(_) => None,
    }
}

pub fn bulk(wire: &Wire) -> Option<&BulkBody> {
    match wire {
        Wire::Bulk(message) => Some(&message.body),
        Wire::Priority(_) => None,
    }
}

pub fn is_write_remote(wire: &Wire) -> bool {
    matches!(bulk(wire), Some(BulkBody::WriteRemote { .. }))
}

pub fn is_apply_remote(wire: &Wire) -> bool {
    matches!(bulk(wire), Some(BulkBody::ApplyRemote { .. }))
}

pub fn is_write_local(wire: &Wire) -> bool {
    matches!(bulk(wire), Some(BulkBody::WriteLocal { .. }))
}

pub fn is_write_ts(wire: &Wire) -> bool {
    matches!(priority(wire), Some(PriorityBody::WriteTs { .. }))
}

/// R-TS, alone or with R-DATA.
pub fn is_read_ts(wire: &Wire) -> bool {
    matches!(
        priority(wire),
        Some(PriorityBody::ReadTs { .. } | PriorityBody::ReadTsAndData { .. })
    )
}

/// The answer to R-DATA or OR-DATA.
pub fn is_data(wire: &Wire) -> bool {
    matches!(bulk(wire), Some(BulkBody::Data { .. }))
}

/// R-DATA or OR-DATA.
pub fn is_read_data(wire: &Wire) -> bool {
    matches!(
        priority(wire),
        Some(PriorityBody::ReadData { .. } | PriorityBody::OrderedReadData { .. })
    )
}

/// OR-TS.
pub fn is_promise(wire: &Wire) -> bool {
    matches!(priority(wire), Some(PriorityBody::OrderedReadTs { .. }))
}

/// OW-TS.
pub fn is_accept(wire: &Wire) -> bool {
    matches!(priority(wire), Some(PriorityBody::OrderedWriteTs { .. }))
}
