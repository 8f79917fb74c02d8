//! What a writer's level of durability promises, and what it costs: δ = 1 ms,
//! d = 10 ms, D = 50 ms.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use vivace_core::client_protocol::{Failure, Request};
use vivace_core::cluster::Kind;
use vivace_core::message::PriorityBody;
use vivace_core::{Durability, Key, NodeId};

use crate::cluster::requests::{
    add, counted, failure, first_of, read, repeated, value, write, written,
};
use crate::cluster::{Simulation, layout};
use crate::{A, B, C, drop_if, is_write_remote, ms, priority, settle, simulate, spec, three_sites};

fn durable(mut request: Request, level: Durability) -> Request {
    match &mut request {
        Request::Write { durability, .. } | Request::Execute { durability, .. } => {
            *durability = Some(level);
        }
        other => panic!("{other:?} changes nothing"),
    }
    request
}

fn took(simulation: &mut Simulation, request: Request) -> Duration {
    // A value of the key that is still on its way goes first.
    settle(simulation);
    let (reply, took) = simulation.ask(A, request);
    reply.unwrap();
    took
}

/// Local: 2δ + 2d. Remote and majority: 2δ, the value's way (D), its acknowledgment (d).
#[test]
fn a_level_costs_the_values_way_and_no_more() {
    let mut simulation = three_sites(Kind::Rw);
    let write = |level| durable(write("k", "v"), level);
    assert_eq!(took(&mut simulation, write(Durability::Local)), ms(22));
    assert_eq!(took(&mut simulation, write(Durability::Remote)), ms(62));
    assert_eq!(took(&mut simulation, write(Durability::Majority)), ms(62));
}

/// The site burns down when the writer has just heard of success.
#[test]
fn a_value_outlives_its_site_where_its_writer_asked_for_that() {
    for level in [Durability::Remote, Durability::Majority] {
        let mut simulation = three_sites(Kind::Rw);
        written(simulation.ask(A, durable(write("k", "v"), level)).0);
        for node in [0, 1, 2] {
            simulation.crash(vivace_core::NodeId(node));
        }
        assert_eq!(value(simulation.ask(B, read("k")).0).unwrap(), b"v");
    }
}

#[test]
fn a_command_outlives_its_site_where_its_client_asked_for_that() {
    for level in [Durability::Remote, Durability::Majority] {
        let mut simulation = three_sites(Kind::Rmw);
        let ask = durable(add("k", first_of(1), 5), level);
        assert_eq!(counted(simulation.ask(A, ask).0), 5);
        for node in [0, 1, 2] {
            simulation.crash(vivace_core::NodeId(node));
        }
        assert_eq!(counted(simulation.ask(B, add("k", first_of(2), 1)).0), 6);
    }
}

/// No value leaves the site: the writer hears that the outcome is not what it asked
/// for, at its deadline, and readers have the value all the same.
#[test]
fn a_value_that_goes_nowhere_is_unknown_at_the_deadline() {
    let mut simulation = three_sites(Kind::Rw);
    drop_if(&mut simulation, |_, _, wire| is_write_remote(wire));
    let ask = durable(write("k", "v"), Durability::Remote);
    let asked = simulation.request(A, ask, ms(2000));
    match failure(simulation.await_reply(asked)) {
        Failure::Unknown { reason } => assert!(reason.contains("too few replicas"), "{reason}"),
        other => panic!("Unknown is expected, not {other}"),
    }
    assert_eq!(value(simulation.ask(B, read("k")).0).unwrap(), b"v");
}

/// Its first try was answered "unknown" for want of holders: the second try, which
/// changes nothing, waits for the holders too.
#[test]
fn a_repeated_command_waits_for_the_holders_as_the_first_did() {
    let mut simulation = three_sites(Kind::Rmw);
    drop_if(&mut simulation, |_, _, wire| is_write_remote(wire));
    let ask = |nth| durable(add("k", nth, 5), Durability::Remote);
    for nth in [first_of(1), repeated(first_of(1))] {
        let asked = simulation.request(A, ask(nth), ms(1000));
        let why = failure(simulation.await_reply(asked));
        assert!(matches!(why, Failure::Unknown { .. }), "{why}");
    }
    simulation.script = None;
    assert_eq!(counted(simulation.ask(A, ask(repeated(first_of(1)))).0), 5);
    settle(&mut simulation);
}

#[test]
fn a_containers_level_holds_for_writes_that_name_none() {
    let mut simulation = simulate(spec(Kind::Rw, |c| c.durability = Durability::Majority));
    assert_eq!(took(&mut simulation, write("k", "v")), ms(62));
    let local = durable(write("k", "w"), Durability::Local);
    assert_eq!(took(&mut simulation, local), ms(22));
}

#[test]
fn a_level_that_can_not_be_is_refused_by_name() {
    let mut simulation = three_sites(Kind::Abd);
    let ask = durable(write("k", "v"), Durability::Majority);
    match failure(simulation.ask(C, ask).0) {
        Failure::Invalid { field, reason } => {
            assert_eq!(field, "durability");
            assert!(
                reason.contains("abd stores every value at a majority"),
                "{reason}"
            );
        }
        other => panic!("Invalid is expected, not {other}"),
    }
    let one_site = spec(Kind::Rw, |container| {
        container.replicas = vec![A];
        container.durability = Durability::Remote;
    });
    let refused = vivace_core::cluster::Cluster::new(one_site).unwrap_err();
    assert!(refused.field.ends_with(".durability"), "{refused}");
}

/// Acknowledgments of W-REMOTE travel once, in the priority class. One that is lost held
/// newer values of its key back until the value was sent again, a minute later.
#[test]
fn a_lost_acknowledgment_holds_newer_values_back_for_a_moment() {
    let mut simulation = three_sites(Kind::Rw);
    written(
        simulation
            .ask(A, durable(write("k", "old"), Durability::Majority))
            .0,
    );
    settle(&mut simulation);
    drop_if(&mut simulation, |_, _, wire| {
        matches!(priority(wire), Some(PriorityBody::WriteRemoteAck { .. }))
    });
    written(simulation.ask(A, write("k", "v")).0);
    simulation.run_for(ms(100));
    simulation.script = None;
    let (reply, took) = simulation.ask(A, durable(write("k", "w"), Durability::Majority));
    written(reply);
    assert!(took <= ms(1500), "{took:?}");
}

/// Whoever carried a value crashed when a majority had it, and one of that majority too:
/// the replica that is left without it fetches it when a writer waits for that.
#[test]
fn a_replica_fetches_what_nobody_brings_any_more() {
    let spec = spec(Kind::Rmw, |container| {
        container.replicas = [0, 3, 6, 1, 4].map(NodeId).to_vec();
    });
    let mut simulation = simulate(spec);
    drop_if(&mut simulation, |_, to, wire| {
        is_write_remote(wire) && (to == B || to == C)
    });
    let first = durable(add("k", first_of(1), 5), Durability::Majority);
    counted(simulation.ask(A, first).0);
    simulation.run_for(ms(1000));
    simulation.crash(A);
    simulation.crash(NodeId(1));
    simulation.script = None;
    let again = durable(add("k", repeated(first_of(1)), 5), Durability::Majority);
    assert_eq!(counted(simulation.ask(C, again).0), 5);
}

/// A majority holds the value, one site is away, and whoever carried it there restarts:
/// the value arrives all the same when the site is back, though nobody asks for it. The
/// replicas that have it are asked, and sent nothing.
#[test]
fn a_restart_does_not_end_the_way_of_a_value_that_a_majority_holds() {
    for kind in [Kind::Rw, Kind::Rmw] {
        let mut simulation = three_sites(kind);
        drop_if(&mut simulation, |_, to, wire| {
            is_write_remote(wire) && to == C
        });
        let change = match kind {
            Kind::Rw => write("k", "v"),
            _ => add("k", first_of(1), 5),
        };
        simulation
            .ask(A, durable(change, Durability::Majority))
            .0
            .unwrap();
        simulation.run_for(ms(1000));
        simulation.crash(A);
        simulation.restart(A);
        simulation.run_for(ms(1000));
        let newest = |simulation: &Simulation, node| {
            let container = simulation.spec().containers[0].id;
            let name = layout::key("k");
            let holding = simulation.holding(node, &Key { container, name });
            holding.and_then(|holding| holding.versions.last().copied())
        };
        assert_eq!(newest(&simulation, C), None, "{kind:?}");

        let sent = Rc::new(Cell::new(0));
        let counted = sent.clone();
        drop_if(&mut simulation, move |_, to, wire| {
            let is_needless = is_write_remote(wire) && to != C;
            counted.set(counted.get() + u32::from(is_needless));
            false
        });
        settle(&mut simulation);
        let held = newest(&simulation, C);
        assert!(held.is_some(), "{kind:?}");
        assert_eq!(held, newest(&simulation, B), "{kind:?}");
        assert_eq!(sent.get(), 0, "{kind:?}");
    }
}
