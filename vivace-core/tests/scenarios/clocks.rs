//! One node's clock is wrong by far more than it claims. Whatever becomes of its own
//! operations, it puts no object, and no other node's clock, out of anyone's reach.

use vivace_core::client_protocol::Failure;
use vivace_core::cluster::Kind;
use vivace_core::{NodeId, SiteId};

use crate::cluster::requests::{add, counted, failure, first_of, read, value, write, written};
use crate::cluster::{HostClock, Simulation};
use crate::{A, B, C, ms, settle, simulate, spec, three_sites};

/// A's clock runs an hour ahead, and claims to be exact.
fn break_clock(simulation: &mut Simulation) {
    let clock = HostClock {
        skew_ns: 3_600_000_000_000,
        error_ns: Some(0),
    };
    simulation.set_clock(A, clock);
}

/// A promises itself a round an hour ahead, and says so to all who ask for theirs.
#[test]
fn a_promise_an_hour_ahead_moves_no_other_coordinator() {
    for kind in [Kind::Rmw, Kind::LanRmw] {
        let mut simulation = three_sites(kind);
        break_clock(&mut simulation);
        let asked = simulation.request(A, add("k", first_of(1), 1), ms(2000));
        failure(simulation.await_reply(asked));
        // The second command comes too late for the first one's round.
        let first = simulation.request(B, add("k", first_of(2), 1), ms(5000));
        simulation.run_for(ms(if kind == Kind::Rmw { 30 } else { 110 }));
        let second = simulation.request(B, add("k", first_of(3), 1), ms(5000));
        assert_eq!(counted(simulation.await_reply(first)), 1, "{kind:?}");
        assert_eq!(counted(simulation.await_reply(second)), 2, "{kind:?}");
        let asked = simulation.request(B, add("other", first_of(1), 1), ms(5000));
        assert_eq!(counted(simulation.await_reply(asked)), 1, "{kind:?}");
    }
}

/// A alone is its site's local set, so its write gets as far as A's own replica.
#[test]
fn a_timestamp_an_hour_ahead_at_one_replica_stops_no_reader() {
    for kind in [Kind::Rw, Kind::Abd] {
        let mut simulation = simulate(spec(kind, |container| {
            for (site, node) in [(0, A), (1, B), (2, C)] {
                container.local_sets.insert(SiteId(site), vec![node]);
            }
        }));
        written(simulation.ask(B, write("k", "before")).0);
        settle(&mut simulation);
        break_clock(&mut simulation);
        let asked = simulation.request(A, write("k", "ahead"), ms(2000));
        let heard = failure(simulation.await_reply(asked));
        assert!(matches!(heard, Failure::Unknown { .. }), "{heard}");
        for reader in [B, C, NodeId(4)] {
            let asked = simulation.request(reader, read("k"), ms(5000));
            assert_eq!(
                value(simulation.await_reply(asked)).unwrap(),
                b"before",
                "{kind:?}"
            );
        }
        written(simulation.ask(C, write("k", "after")).0);
        assert_eq!(value(simulation.ask(B, read("k")).0).unwrap(), b"after");
    }
}
