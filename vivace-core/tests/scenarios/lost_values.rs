//! Disks that lose values: what is known and not here is fetched, and nothing older is
//! taken for it (DESIGN §6: a value is the protocol's to restore, a timestamp is not).

use vivace_core::cluster::Kind;
use vivace_core::message::PriorityBody;
use vivace_core::record::Record;
use vivace_core::stored::ValueId;
use vivace_core::{Class, NodeId};

use crate::cluster::Simulation;
use crate::cluster::requests::{add, counted, failure, first_of, read, value, write, written};
use crate::{
    A, B, C, drop_if, is_write_remote, is_write_ts, ms, priority, settle, simulate, spec,
    three_sites,
};

const LOST: &str = "lost: a value, by the disk";

/// The newest version that `node` has a record of.
fn newest(simulation: &Simulation, node: NodeId) -> ValueId {
    let mut versions = simulation
        .log(node)
        .iter()
        .filter_map(|record| match record {
            Record::Complete { key, ts, .. }
            | Record::Version { key, ts, .. }
            | Record::LanAccepted { key, ts, .. } => Some(ValueId::version(key, *ts)),
            _ => None,
        });
    versions.next_back().expect("the node has a version")
}

fn has_newest(simulation: &Simulation, node: NodeId) -> bool {
    simulation.stored(node, &newest(simulation, node)).is_some()
}

#[test]
fn a_lost_value_is_fetched_from_another_replica() {
    let mut simulation = three_sites(Kind::Rw);
    written(simulation.ask(A, write("k", "old")).0);
    written(simulation.ask(A, write("k", "new")).0);
    settle(&mut simulation);
    simulation.lose_values(B, 1.0);
    assert!(!has_newest(&simulation, B));
    assert_eq!(value(simulation.ask(B, read("k")).0).unwrap(), b"new");
    settle(&mut simulation);
    assert!(has_newest(&simulation, B), "B has it again");
    assert_eq!(simulation.count(LOST), 1);
}

/// Two of three lost it, the third is away: the reader hears that it is not to be had
/// now, and nothing older; then the third comes back.
#[test]
fn a_value_lost_by_a_majority_is_known_and_not_invented() {
    let mut simulation = three_sites(Kind::Rw);
    written(simulation.ask(A, write("k", "v")).0);
    settle(&mut simulation);
    for node in [B, C] {
        simulation.lose_values(node, 1.0);
    }
    simulation.crash(A);
    let asked = simulation.request(B, read("k"), ms(3000));
    failure(simulation.await_reply(asked));
    simulation.restart(A);
    assert_eq!(value(simulation.ask(B, read("k")).0).unwrap(), b"v");
    settle(&mut simulation);
    assert!(has_newest(&simulation, B) && has_newest(&simulation, C));
}

/// The local set's copy is gone before any replica elsewhere had it: a sibling's goes
/// in its place.
#[test]
fn a_lost_local_copy_leaves_the_carrying_to_a_sibling() {
    let mut simulation = three_sites(Kind::Rw);
    let remote = |a: NodeId, b: NodeId| (a.0 < 3) != (b.0 < 3);
    let nodes: Vec<NodeId> = (0..9).map(NodeId).collect();
    for &a in &nodes {
        for &b in nodes.iter().filter(|&&b| remote(a, b)) {
            simulation.cut(a, b, Class::Bulk);
        }
    }
    written(simulation.ask(NodeId(1), write("k", "v")).0);
    simulation.run_for(ms(100));
    simulation.lose_values(NodeId(1), 1.0);
    simulation.rejoin();
    simulation.run_for(ms(10_000));
    settle(&mut simulation);
    assert!(has_newest(&simulation, B) && has_newest(&simulation, C));
    assert_eq!(value(simulation.ask(C, read("k")).0).unwrap(), b"v");
}

#[test]
fn a_lost_version_of_a_counter_is_fetched() {
    let mut simulation = three_sites(Kind::Rmw);
    assert_eq!(counted(simulation.ask(A, add("k", first_of(1), 5)).0), 5);
    settle(&mut simulation);
    simulation.lose_values(B, 1.0);
    assert_eq!(counted(simulation.ask(B, add("k", first_of(2), 1)).0), 6);
    settle(&mut simulation);
    assert!(has_newest(&simulation, B));
}

/// A crash left the record of a local copy and not its value; nobody had heard of the
/// write. Fetching the value announced its timestamp, and nobody could name its value.
#[test]
fn a_local_copy_without_its_value_is_not_announced() {
    const ONE: NodeId = NodeId(1);
    let spec = spec(Kind::Rw, |container| {
        container
            .local_sets
            .insert(vivace_core::SiteId(0), vec![ONE]);
    });
    let mut simulation = simulate(spec);
    drop_if(&mut simulation, |from, _, wire| {
        from == ONE && (is_write_ts(wire) || is_write_remote(wire))
    });
    let asked = simulation.request(ONE, write("k", "v"), ms(500));
    failure(simulation.await_reply(asked));
    simulation.crash(ONE);
    simulation.lose_values(ONE, 1.0);
    simulation.script = None;
    simulation.restart(ONE);
    simulation.run_for(ms(20_000));
    assert_eq!(value(simulation.ask(B, read("k")).0), None);
}

/// A crash left the record of a copy and not its value. The coordinator sends the value
/// once more, and that one is kept: it was acknowledged for its record's sake, and lost.
#[test]
fn a_value_that_comes_again_after_a_torn_crash_is_kept() {
    const ONE: NodeId = NodeId(1);
    let spec = spec(Kind::Rw, |container| {
        container
            .local_sets
            .insert(vivace_core::SiteId(0), vec![ONE]);
    });
    let mut simulation = simulate(spec);
    drop_if(&mut simulation, |from, _, wire| {
        from == ONE && matches!(priority(wire), Some(PriorityBody::WriteLocalAck {}))
    });
    let asked = simulation.request(A, write("k", "v"), ms(9000));
    simulation.run_for(ms(5));
    simulation.crash(ONE);
    simulation.lose_values(ONE, 1.0);
    simulation.script = None;
    simulation.restart(ONE);
    written(simulation.await_reply(asked));
    assert_eq!(value(simulation.ask(B, read("k")).0).unwrap(), b"v");
    settle(&mut simulation);
}

/// A replica that comes back without its values fetches them all, unasked.
#[test]
fn a_replica_without_its_values_fills_up_again() {
    for kind in [Kind::Rw, Kind::Rmw] {
        let mut simulation = three_sites(kind);
        let keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
        for (n, key) in (1..).zip(&keys) {
            if kind == Kind::Rw {
                written(simulation.ask(A, write(key, "v")).0);
            } else {
                counted(simulation.ask(A, add(key, first_of(n), 1)).0);
            }
        }
        settle(&mut simulation);
        simulation.crash(B);
        simulation.lose_values(B, 1.0);
        simulation.restart(B);
        simulation.run_for(ms(10_000));
        settle(&mut simulation);
        let lost = simulation.count("lost: a value whose record outlived it");
        assert_eq!(lost, 100);
        let repaired = simulation.count("repaired: a value that the disk lost has come");
        assert_eq!(repaired, 100);
        assert!(has_newest(&simulation, B), "{kind:?}");
    }
}

/// A baseline's replicas that lost their values refuse to answer, for "never written"
/// would be a lie; one of three does no harm, and a register can be written again.
#[test]
fn a_baselines_replica_that_lost_its_value_does_not_vote() {
    for kind in [Kind::Abd, Kind::LanRmw] {
        let mut simulation = three_sites(kind);
        let is_register = kind == Kind::Abd;
        if is_register {
            written(simulation.ask(A, write("k", "v")).0);
        } else {
            counted(simulation.ask(A, add("k", first_of(1), 5)).0);
        }
        settle(&mut simulation);
        simulation.lose_values(B, 1.0);
        if is_register {
            assert_eq!(value(simulation.ask(B, read("k")).0).unwrap(), b"v");
        } else {
            assert_eq!(counted(simulation.ask(B, add("k", first_of(2), 1)).0), 6);
        }
        for node in [B, C] {
            simulation.lose_values(node, 1.0);
        }
        let request = match is_register {
            true => read("k"),
            false => add("k", first_of(3), 1),
        };
        simulation.crash(A);
        let asked = simulation.request(B, request, ms(3000));
        let why = failure(simulation.await_reply(asked)).to_string();
        assert!(why.contains("lost the value"), "{why}");
        if is_register {
            written(simulation.ask(B, write("k", "w")).0);
            assert_eq!(value(simulation.ask(C, read("k")).0).unwrap(), b"w");
        }
    }
}

/// Overwriting, dropping local copies and forgetting go together: nothing is stored
/// that nobody needs.
#[test]
fn overwritten_values_are_forgotten_everywhere() {
    for kind in [Kind::Rw, Kind::Rmw, Kind::Abd, Kind::LanRmw] {
        let mut simulation = three_sites(kind);
        for n in 1..=4 {
            if kind.is_read_write() {
                written(simulation.ask(A, write("k", vec![n; 10])).0);
            } else {
                counted(simulation.ask(A, add("k", first_of(u64::from(n)), 1)).0);
            }
        }
        settle(&mut simulation);
        simulation.run_for(ms(1000));
        for node in simulation.alive() {
            assert_eq!(simulation.orphan(node), None, "{kind:?} at {node}");
        }
    }
}
