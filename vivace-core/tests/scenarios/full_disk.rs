//! A disk that fills up, and has space again.

use vivace_core::NodeId;
use vivace_core::client_protocol::Failure;
use vivace_core::cluster::Kind;

use crate::cluster::Simulation;
use crate::cluster::requests::{add, counted, failure, first_of, read, value, write, written};
use crate::{A, B, C, ms, settle, three_sites};

/// Bytes on their way to replicas.
fn backlog(simulation: &Simulation) -> u64 {
    let alive = simulation.alive().into_iter();
    alive
        .map(|node| simulation.status(node).backlog.bytes)
        .sum()
}

/// Clients hear `Busy` there; reads go on, and so does everything elsewhere. A value that
/// B had no space for comes again within seconds of space, not after a minute.
#[test]
fn a_full_disk_takes_no_writes_and_recovers_by_itself() {
    let mut simulation = three_sites(Kind::Rw);
    written(simulation.ask(A, write("k", "old")).0);
    settle(&mut simulation);
    simulation.set_disk_full(B, true);
    let refused = failure(simulation.ask(B, write("k", "x")).0);
    assert!(matches!(refused, Failure::Busy { .. }), "{refused}");
    assert_eq!(value(simulation.ask(B, read("k")).0).unwrap(), b"old");
    written(simulation.ask(A, write("k", "new")).0);
    for reader in [A, B, C] {
        assert_eq!(value(simulation.ask(reader, read("k")).0).unwrap(), b"new");
    }
    simulation.run_for(ms(10_000));
    assert!(backlog(&simulation) > 0, "B has room for nothing");
    assert!(simulation.count("dropped: a value, for the disk is full") > 0);

    simulation.set_disk_full(B, false);
    simulation.run_for(ms(6_000));
    assert_eq!(backlog(&simulation), 0, "the value came again");
    written(simulation.ask(B, write("k", "newer")).0);
    assert_eq!(value(simulation.ask(A, read("k")).0).unwrap(), b"newer");
}

/// Every disk fills up while writes are under way, and every node crashes then.
#[test]
fn what_was_acknowledged_before_a_full_disk_is_there_after_it() {
    for kind in [Kind::Rw, Kind::Rmw] {
        let mut simulation = three_sites(kind);
        match kind {
            Kind::Rw => drop(written(simulation.ask(A, write("k", "v")).0)),
            _ => assert_eq!(counted(simulation.ask(A, add("k", first_of(1), 5)).0), 5),
        }
        let nodes: Vec<NodeId> = simulation.nodes();
        let under_way = match kind {
            Kind::Rw => write("k", "later"),
            _ => add("k", first_of(2), 1),
        };
        simulation.request(A, under_way, ms(2_000));
        simulation.run_for(ms(1));
        for &node in &nodes {
            simulation.set_disk_full(node, true);
        }
        simulation.run_for(ms(3_000));
        for &node in &nodes {
            simulation.crash(node);
            simulation.set_disk_full(node, false);
        }
        for &node in &nodes {
            simulation.restart(node);
        }
        settle(&mut simulation);
        match kind {
            Kind::Rw => {
                let found = value(simulation.ask(B, read("k")).0).unwrap();
                assert!(found == b"v" || found == b"later", "{found:?}");
            }
            _ => {
                let sum = counted(simulation.ask(B, add("k", first_of(3), 10)).0);
                assert!(sum == 15 || sum == 16, "{sum}");
            }
        }
    }
}
