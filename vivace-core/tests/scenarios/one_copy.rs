//! One copy of a value crosses to a site, and all its replicas get it from there. Two
//! replicas in A's site, two in B's (B and `BEHIND`, to which B hands on), one in C's.

use vivace_core::cluster::Kind;
use vivace_core::{ContainerId, Key, NodeId};

use crate::cluster::requests::{write, written};
use crate::cluster::{Simulation, Spread, layout};
use crate::{A, B, bulk, drop_if, is_write_remote, ms, settle, simulate, spec, switch};

const BEHIND: NodeId = NodeId(4);

fn two_replicas_per_site() -> Simulation {
    let mut simulation = simulate(spec(Kind::Rw, |container| {
        container.replicas = [0, 1, 3, 4, 6].map(NodeId).into();
    }));
    simulation.sent = Some(Vec::new());
    simulation
}

fn copies(simulation: &Simulation, from: NodeId, to: NodeId) -> usize {
    let sent = simulation.sent.as_ref().unwrap().iter();
    sent.filter(|sent| sent.0 == from && sent.1 == to && is_write_remote(&sent.2))
        .count()
}

/// Writes of one key, each before the one before it is on the other side.
fn write_faster_than_values_travel(simulation: &mut Simulation, writes: u16) {
    for number in 0..writes {
        let request = write("k", number.to_be_bytes());
        simulation.request(A, request, ms(60_000));
        simulation.run_for(ms(20));
    }
}

#[test]
fn a_newer_value_waits_until_the_whole_site_has_the_older_one() {
    let mut simulation = two_replicas_per_site();
    write_faster_than_values_travel(&mut simulation, 50);
    settle(&mut simulation);
    let to_site = copies(&simulation, A, B);
    assert!(to_site > 10, "{to_site}");
    assert_eq!(copies(&simulation, A, BEHIND), 0);
    assert_eq!(copies(&simulation, B, BEHIND), to_site);
}

/// The other order: what B has stored is acknowledged late.
#[test]
fn a_newer_value_waits_for_the_one_that_hands_on_as_well() {
    let mut simulation = two_replicas_per_site();
    simulation.delays.disk = Spread {
        min: ms(0),
        max: ms(10),
    };
    write_faster_than_values_travel(&mut simulation, 50);
    settle(&mut simulation);
    assert_eq!(copies(&simulation, A, BEHIND), 0);
}

/// A replica that gets nothing through its site's other one keeps that one waiting for the
/// first value, not for each.
#[test]
fn a_broken_hop_does_not_keep_the_rest_of_its_site_from_newer_values() {
    let mut simulation = two_replicas_per_site();
    let is_broken = switch(true);
    let broken = is_broken.clone();
    drop_if(&mut simulation, move |from, to, wire| {
        broken.get() && bulk(wire).is_some() && (from, to) == (B, BEHIND)
    });
    write_faster_than_values_travel(&mut simulation, 50);
    simulation.run_for(ms(1_000));
    let to_b = copies(&simulation, A, B);
    assert!(to_b > 5, "{to_b}");
    is_broken.set(false);
    settle(&mut simulation);
}

/// Four keys are written all the time, and three of their values fill what may be on the way.
/// A fifth has its turn nevertheless.
#[test]
fn hot_keys_do_not_keep_a_cold_one_from_its_turn() {
    let mut simulation = simulate(spec(Kind::Rw, |_| {}));
    let large = |number: u8| vec![number; 1 << 20];
    for number in 0..60 {
        for key in ["a", "b", "c", "d"] {
            simulation.request(A, write(key, large(number)), ms(60_000));
        }
        if number == 30 {
            written(simulation.ask(A, write("cold", large(0))).0);
        }
        simulation.run_for(ms(20));
    }
    // Each of the four has set out anew since; so has it.
    let key = Key {
        container: ContainerId(1),
        name: layout::key("cold"),
    };
    let holding = simulation.holding(B, &key).unwrap();
    assert_eq!(holding.versions.len(), 1, "{holding:?}");
    settle(&mut simulation);
}

/// The same of many keys at once, more than are asked after at a time: no key waits for its
/// question's turn.
#[test]
fn a_broken_hop_delays_none_of_many_keys_for_long() {
    let mut simulation = two_replicas_per_site();
    drop_if(&mut simulation, move |from, to, wire| {
        bulk(wire).is_some() && (from, to) == (B, BEHIND)
    });
    let keys = || (0..1_500_u16).map(|number| format!("k{number}"));
    for round in [b"older", b"newer"] {
        for key in keys() {
            simulation.request(A, write(&key, *round), ms(60_000));
        }
        simulation.run_for(ms(150));
    }
    simulation.run_for(ms(1_000));
    let behind = keys().filter(|key| {
        let key = Key {
            container: ContainerId(1),
            name: layout::key(key),
        };
        let newest = |node| {
            simulation
                .holding(node, &key)
                .unwrap()
                .versions
                .last()
                .copied()
        };
        newest(B) != newest(A)
    });
    assert_eq!(behind.count(), 0);
}
