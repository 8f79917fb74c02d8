//! Sessions: a command takes effect at most once, however often and wherever it is
//! sent (RMW mend 3).

use vivace_core::client_protocol::{Failure, Request, Success};
use vivace_core::cluster::Kind;
use vivace_core::machine::builtin::{Counter, Register, counter, register};
use vivace_core::{Blob, NodeId};

use crate::cluster::Occurrence;
use crate::cluster::requests::{
    Nth, add, counted, execute, failure, first_of, read_state, repeated, set, state,
};
use crate::{A, B, C, drop_if, ms, three_sites};

const BOTH: [Kind; 2] = [Kind::Rmw, Kind::LanRmw];

/// As many sessions as an object remembers.
const SESSIONS_MAX: u64 = 256;

/// Sessions of a node whose clock is far ahead of the others'.
const YOUNG: u64 = 3_000_000_000_000_000_000;

#[test]
fn a_command_repeated_anywhere_yields_its_first_result() {
    for kind in BOTH {
        let mut simulation = three_sites(kind);
        let nth = first_of(1);
        assert_eq!(counted(simulation.ask(A, add("k", nth, 5)).0), 5);
        assert_eq!(counted(simulation.ask(B, add("k", first_of(2), 1)).0), 6);
        for coordinator in [A, B, C] {
            let again = add("k", repeated(nth), 5);
            assert_eq!(counted(simulation.ask(coordinator, again).0), 5, "{kind:?}");
        }
        assert_eq!(counted(simulation.ask(B, add("k", first_of(3), 0)).0), 6);
    }
}

#[test]
fn two_tries_at_once_through_two_coordinators_take_effect_once() {
    for kind in BOTH {
        let mut simulation = three_sites(kind);
        let nth = first_of(1);
        simulation.request(A, add("k", nth, 5), ms(60_000));
        simulation.request(B, add("k", repeated(nth), 5), ms(60_000));
        let mut heard = 0;
        while heard < 2 {
            match simulation.next(simulation.now + ms(60_000)) {
                Some(Occurrence::Reply { reply, .. }) => {
                    assert_eq!(counted(reply), 5, "{kind:?}");
                    heard += 1;
                }
                other => panic!("both tries end: {other:?}"),
            }
        }
        assert_eq!(counted(simulation.ask(C, add("k", first_of(2), 0)).0), 5);
    }
}

/// The first try may yet run; were the repeated one's result not kept, it could take
/// effect after the client heard that it had not.
#[test]
fn a_repeated_command_that_changes_nothing_is_remembered() {
    for kind in BOTH {
        let mut simulation = three_sites(kind);
        let nth = first_of(1);
        let swap = register::Command::CompareAndSwap {
            expected: None,
            new: Some(Blob::from(b"mine".to_vec())),
        };
        simulation
            .ask(A, set("k", first_of(9), b"theirs"))
            .0
            .unwrap();
        let heard = simulation
            .ask(B, execute::<Register>("k", repeated(nth), &swap))
            .0;
        assert!(matches!(failure(heard), Failure::Conflict { .. }));
        let delete = execute::<Register>("k", first_of(10), &register::Command::Delete);
        simulation.ask(A, delete).0.unwrap();
        // Here comes the first try, late.
        let heard = simulation.ask(C, execute::<Register>("k", nth, &swap)).0;
        assert!(
            matches!(failure(heard), Failure::Conflict { .. }),
            "{kind:?}"
        );
        let register: Register = state(simulation.ask(A, read_state::<Register>("k")).0).unwrap();
        assert_eq!(register.value(), None);
    }
}

#[test]
fn a_number_behind_its_session_is_refused() {
    let mut simulation = three_sites(Kind::Rmw);
    let second = Nth {
        session: 1,
        sequence: 2,
        repeated: false,
    };
    assert_eq!(counted(simulation.ask(A, add("k", second, 5)).0), 5);
    let heard = failure(simulation.ask(B, add("k", first_of(1), 5)).0);
    assert!(
        matches!(&heard, Failure::Invalid { field, .. } if field == "sequence"),
        "{heard}"
    );
    assert_eq!(counted(simulation.ask(C, add("k", first_of(2), 0)).0), 5);
}

/// An object remembers so many sessions; an older one is refused, not run again.
#[test]
fn a_forgotten_session_is_refused_rather_than_run_twice() {
    for kind in BOTH {
        let mut simulation = three_sites(kind);
        let nth = first_of(YOUNG + 1);
        assert_eq!(counted(simulation.ask(A, add("k", nth, 1)).0), 1);
        for other in 2..=SESSIONS_MAX {
            counted(simulation.ask(A, add("k", first_of(YOUNG + other), 1)).0);
        }
        // One more, and the first is forgotten.
        assert_eq!(
            counted(simulation.ask(B, add("k", repeated(nth), 1)).0),
            1,
            "still known"
        );
        counted(
            simulation
                .ask(A, add("k", first_of(YOUNG + SESSIONS_MAX + 1), 1))
                .0,
        );
        let heard = failure(simulation.ask(B, add("k", repeated(nth), 1)).0);
        assert_eq!(heard, Failure::SessionForgotten, "{kind:?}");
        let total = SESSIONS_MAX as i64 + 1;
        let counter: Counter = state(simulation.ask(C, read_state::<Counter>("k")).0).unwrap();
        assert_eq!(counter.value(), total);
        // A session opened where one was refused is young enough, whatever its clock says.
        let opened = match simulation.ask(B, Request::OpenSession).0 {
            Ok(Success::Session(session)) => session,
            other => panic!("{other:?}"),
        };
        let mut request = add("k", nth, 1);
        if let Request::Execute { session, .. } = &mut request {
            *session = opened;
        }
        assert_eq!(counted(simulation.ask(B, request).0), total + 1);
    }
}

#[test]
fn sessions_of_one_node_are_unique_and_grow_over_restarts() {
    let mut simulation = three_sites(Kind::Rmw);
    let mut last = None;
    for round in 0..6 {
        match simulation.ask(A, Request::OpenSession).0 {
            Ok(Success::Session(session)) => {
                assert!(last.is_none_or(|last| last < session));
                last = Some(session);
            }
            other => panic!("{other:?}"),
        }
        if round == 2 {
            simulation.crash(A);
            simulation.run_for(ms(1));
            simulation.restart(A);
        }
    }
}

/// RMW 5: the coordinator dies when one replica has accepted; the client tries again
/// elsewhere, and the next round finds the first try in the version that it completes.
#[test]
fn a_retry_after_a_crash_takes_effect_once() {
    for dropped_accepts in [[A, B], [B, C], [A, C]] {
        let mut simulation = three_sites(Kind::Rmw);
        let one = NodeId(1);
        let nth = first_of(1);
        drop_if(&mut simulation, move |from, to, wire| {
            from == one && dropped_accepts.contains(&to) && crate::is_accept(wire)
        });
        simulation.request(one, add("k", nth, 5), ms(60_000));
        simulation.run_for(ms(200));
        simulation.crash(one);
        simulation.script = None;
        let again = simulation.ask(B, add("k", repeated(nth), 5)).0;
        assert_eq!(counted(again), 5);
        assert_eq!(counted(simulation.ask(C, add("k", first_of(2), 0)).0), 5);
    }
}

/// A crowd on one counter: every command counts once.
#[test]
fn a_crowd_of_commands_on_one_object_counts_each_once() {
    for kind in BOTH {
        let mut simulation = three_sites(kind);
        let mut asked = 0;
        for session in 0..60_u64 {
            let coordinator = NodeId((session % 9) as u16);
            let command = counter::Command::Add(1);
            let request = execute::<Counter>("k", first_of(session + 1), &command);
            simulation.request(coordinator, request, ms(60_000));
            asked += 1;
        }
        let mut outputs = Vec::new();
        while outputs.len() < asked {
            match simulation.next(simulation.now + ms(60_000)) {
                Some(Occurrence::Reply { reply, .. }) => outputs.push(counted(reply)),
                other => panic!("all commands end: {other:?}"),
            }
        }
        outputs.sort_unstable();
        assert_eq!(outputs, (1..=60).collect::<Vec<i64>>(), "{kind:?}");
    }
}
