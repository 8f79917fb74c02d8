//! After a site is lost for good: which newest values went with it, and how an operator
//! lets their objects be read again.

use vivace_core::client_protocol::{ClientReply, Failure, LostKey, Request, Success};
use vivace_core::cluster::Kind;
use vivace_core::{ContainerId, Key, NodeId, Timestamp};

use crate::cluster::requests::{
    add, counted, failure, first_of, read, read_state, state, value, write, written,
};
use crate::cluster::{Simulation, layout};
use crate::{A, B, C, drop_if, is_write_remote, ms, priority, settle, three_sites};
use vivace_core::machine::builtin::Counter;
use vivace_core::message::PriorityBody;

fn find_lost(simulation: &mut Simulation) -> (Vec<LostKey>, Vec<u16>) {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = Request::FindLost {
            container: layout::CONTAINER.into(),
            after,
            limit: 2,
        };
        match simulation.ask(B, page).0 {
            Ok(Success::Lost {
                keys: more_keys,
                silent,
                more,
            }) => {
                keys.extend(more_keys);
                if more.is_none() {
                    return (keys, silent);
                }
                after = more;
            }
            other => panic!("a listing is expected, not {other:?}"),
        }
    }
}

fn accept_loss(key: &str, ts: Timestamp) -> Request {
    Request::AcceptLoss {
        container: layout::CONTAINER.into(),
        key: layout::key(key),
        ts,
    }
}

fn accept_losses(simulation: &mut Simulation, keys: &[LostKey]) -> Vec<ClientReply> {
    let accept = |lost: &LostKey| Request::AcceptLoss {
        container: layout::CONTAINER.into(),
        key: lost.key.clone(),
        ts: lost.ts,
    };
    keys.iter()
        .map(|lost| simulation.ask(B, accept(lost)).0)
        .collect()
}

fn of_container(key: &str) -> Key {
    Key {
        container: ContainerId(1),
        name: layout::key(key),
    }
}

fn one_later(ts: Timestamp) -> Timestamp {
    Timestamp {
        time: ts.time + 1,
        ..ts
    }
}

fn names(keys: &[LostKey]) -> Vec<&[u8]> {
    keys.iter().map(|lost| lost.key.as_bytes()).collect()
}

fn destroy_site_a(simulation: &mut Simulation) {
    for node in [0, 1, 2] {
        simulation.crash(NodeId(node));
    }
    simulation.script = None;
}

/// Of five objects, two had their newest value in the lost site only, and one of these
/// had an older one elsewhere.
#[test]
fn an_operator_finds_and_gives_up_what_went_with_a_site() {
    let mut simulation = three_sites(Kind::Rw);
    for key in ["a", "b", "c", "d"] {
        written(simulation.ask(A, write(key, "old")).0);
    }
    settle(&mut simulation);
    assert_eq!(find_lost(&mut simulation).0, []);
    drop_if(&mut simulation, |_, _, wire| is_write_remote(wire));
    let lost = written(simulation.ask(A, write("b", "new")).0);
    written(simulation.ask(A, write("e", "only")).0);
    // On its way, and not lost: site A holds it still.
    assert_eq!(find_lost(&mut simulation).0, []);
    destroy_site_a(&mut simulation);

    let (keys, silent) = find_lost(&mut simulation);
    assert_eq!(names(&keys), [b"b", b"e"]);
    assert_eq!(silent, [0, 1, 2]);
    assert_eq!((keys[0].ts, keys[0].site.as_str()), (lost, "site0"));
    assert!(keys[0].best.is_some() && keys[1].best.is_none(), "{keys:?}");
    let asked = simulation.request(B, read("b"), ms(3000));
    failure(simulation.await_reply(asked));

    // A version that nobody knows, and one that a newer one has replaced.
    for wrong in [one_later(lost), keys[0].best.expect("an older one is left")] {
        let refused = failure(simulation.ask(B, accept_loss("b", wrong)).0);
        assert!(matches!(refused, Failure::Conflict { .. }), "{refused}");
    }
    for restored in accept_losses(&mut simulation, &keys) {
        assert!(restored.is_ok(), "{restored:?}");
    }
    assert_eq!(value(simulation.ask(C, read("b")).0).unwrap(), b"old");
    assert_eq!(value(simulation.ask(C, read("e")).0), None);
    assert_eq!(find_lost(&mut simulation).0, []);

    // The site comes back: what was given up stays given up.
    for node in [0, 1, 2] {
        simulation.restart(NodeId(node));
    }
    settle(&mut simulation);
    for reader in [A, B] {
        assert_eq!(value(simulation.ask(reader, read("b")).0).unwrap(), b"old");
    }
    written(simulation.ask(A, write("b", "newer")).0);
    assert_eq!(value(simulation.ask(B, read("b")).0).unwrap(), b"newer");
}

#[test]
fn a_command_that_went_with_a_site_is_given_up() {
    let mut simulation = three_sites(Kind::Rmw);
    assert_eq!(counted(simulation.ask(A, add("k", first_of(1), 5)).0), 5);
    settle(&mut simulation);
    drop_if(&mut simulation, |_, _, wire| is_write_remote(wire));
    assert_eq!(counted(simulation.ask(A, add("k", first_of(2), 1)).0), 6);
    assert_eq!(counted(simulation.ask(A, add("new", first_of(3), 1)).0), 1);
    destroy_site_a(&mut simulation);

    let (keys, _) = find_lost(&mut simulation);
    assert_eq!(names(&keys), [&b"k"[..], b"new"]);
    let asked = simulation.request(B, add("k", first_of(4), 1), ms(3000));
    failure(simulation.await_reply(asked));
    let wrong = accept_loss("k", one_later(keys[0].ts));
    let refused = failure(simulation.ask(B, wrong).0);
    assert!(matches!(refused, Failure::Conflict { .. }), "{refused}");
    let restored = accept_losses(&mut simulation, &keys);
    assert_eq!(
        restored,
        [Ok(Success::LossAccepted), Ok(Success::LossAccepted)]
    );
    assert_eq!(counted(simulation.ask(C, add("k", first_of(5), 1)).0), 6);
    let nothing = state::<Counter>(simulation.ask(C, read_state::<Counter>("new")).0);
    assert!(nothing.is_none());
    assert_eq!(counted(simulation.ask(C, add("new", first_of(6), 1)).0), 1);
    for node in [0, 1, 2] {
        simulation.restart(NodeId(node));
    }
    settle(&mut simulation);
    assert_eq!(counted(simulation.ask(A, add("k", first_of(7), 1)).0), 7);
}

/// The chosen version went with its site. A coordinator elsewhere had built on it and
/// never got its own version accepted: that one has both commands, and a read goes on
/// from there instead of waiting for the lost one for ever.
#[test]
fn a_read_goes_on_from_what_was_built_on_a_lost_version() {
    let mut simulation = three_sites(Kind::Rmw);
    let from_a = |from: NodeId| from.0 < 3;
    drop_if(&mut simulation, move |from, _, wire| {
        from_a(from) && is_write_remote(wire)
            || matches!(priority(wire), Some(PriorityBody::OrderedWriteTs { .. })) && !from_a(from)
    });
    assert_eq!(counted(simulation.ask(A, add("k", first_of(1), 5)).0), 5);
    let asked = simulation.request(NodeId(4), add("k", first_of(2), 1), ms(1000));
    let unknown = failure(simulation.await_reply(asked));
    assert!(matches!(unknown, Failure::Unknown { .. }), "{unknown}");
    // The local set of site B carries what its coordinator left.
    simulation.run_for(ms(10_000));
    destroy_site_a(&mut simulation);
    let read = simulation.ask(C, read_state::<Counter>("k")).0;
    assert_eq!(state::<Counter>(read).map(Counter::value), Some(6));
}

#[test]
fn what_can_be_had_is_not_given_up() {
    for kind in [Kind::Rw, Kind::Rmw] {
        let mut simulation = three_sites(kind);
        if kind == Kind::Rw {
            written(simulation.ask(A, write("k", "v")).0);
        } else {
            counted(simulation.ask(A, add("k", first_of(1), 1)).0);
        }
        let holdings = simulation.nodes().into_iter();
        let holdings = holdings.filter_map(|node| simulation.holding(node, &of_container("k")));
        let newest = holdings
            .map(|held| held.newest)
            .max()
            .expect("there are nodes");
        assert!(newest > Timestamp::ZERO);
        let refused = failure(simulation.ask(B, accept_loss("k", newest)).0);
        assert!(matches!(refused, Failure::Conflict { .. }), "{refused}");
    }
    let mut simulation = three_sites(Kind::Abd);
    let refused = failure(simulation.ask(B, accept_loss("k", Timestamp::ZERO)).0);
    assert!(matches!(refused, Failure::Invalid { .. }), "{refused}");
}
