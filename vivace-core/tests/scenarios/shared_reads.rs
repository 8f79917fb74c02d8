//! Reads of one object at one node share rounds, and none is staler for it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use vivace_core::RequestId;
use vivace_core::cluster::Kind;
use vivace_core::machine::builtin::Counter;

use crate::cluster::requests::{add, first_of, read, read_state, value, write};
use crate::cluster::{Delays, Occurrence, Simulation, Spread};
use crate::{A, B, DELAYS, drop_if, is_read_ts, ms, settle, spec, three_sites};

/// Counts R-TS messages from A to B.
fn count_questions(simulation: &mut Simulation) -> Rc<Cell<u32>> {
    let questions = Rc::new(Cell::new(0));
    let counted = questions.clone();
    drop_if(simulation, move |from, to, wire| {
        let asks = from == A && to == B && is_read_ts(wire);
        counted.set(counted.get() + u32::from(asks));
        false
    });
    questions
}

fn written(kind: Kind) -> Simulation {
    let mut simulation = three_sites(kind);
    let change = match kind {
        Kind::Rw => write("k", "v"),
        _ => add("k", first_of(1), 5),
    };
    simulation.ask(A, change).0.unwrap();
    settle(&mut simulation);
    simulation
}

/// Takes the answers that come until then; tells how long the slowest took.
fn hear(
    simulation: &mut Simulation,
    until: Duration,
    asked: &mut BTreeMap<RequestId, Duration>,
) -> Duration {
    let mut slowest = Duration::ZERO;
    while let Some(occurrence) = simulation.next(until) {
        if let Occurrence::Reply { request, reply } = occurrence {
            reply.unwrap();
            let at = asked.remove(&request).unwrap();
            slowest = slowest.max(simulation.now - at);
        }
    }
    slowest
}

/// A hundred clients ask within half a round trip (20 ms): rounds begin 1/16 of it apart,
/// so there are at most nine, and nobody waits longer than that beyond a round trip.
#[test]
fn a_crowd_of_readers_shares_a_few_rounds() {
    for kind in [Kind::Rw, Kind::Rmw] {
        let mut simulation = written(kind);
        let questions = count_questions(&mut simulation);
        let mut asked = BTreeMap::new();
        let mut slowest = Duration::ZERO;
        for _ in 0..100 {
            let ask = match kind {
                Kind::Rw => read("k"),
                _ => read_state::<Counter>("k"),
            };
            let request = simulation.request(A, ask, ms(5000));
            asked.insert(request, simulation.now);
            let until = simulation.now + Duration::from_micros(100);
            slowest = slowest.max(hear(&mut simulation, until, &mut asked));
        }
        let until = simulation.now + ms(100);
        slowest = slowest.max(hear(&mut simulation, until, &mut asked));
        assert!(asked.is_empty(), "{kind:?}: {} hear nothing", asked.len());
        assert!(
            (2..=9).contains(&questions.get()),
            "{kind:?}: {questions:?}"
        );
        assert!(slowest <= ms(22), "{kind:?}: {slowest:?}");
    }
}

/// The first of a crowd gives up early. Who can wait longer asks anew.
#[test]
fn a_patient_reader_shares_no_round_with_an_impatient_one() {
    let mut simulation = written(Kind::Rw);
    drop_if(&mut simulation, |_, to, wire| to != A && is_read_ts(wire));
    let early = simulation.request(A, read("k"), ms(300));
    let gathers = simulation.request(A, read("k"), ms(300));
    let patient = simulation.request(A, read("k"), ms(5000));
    for impatient in [early, gathers] {
        simulation.await_reply(impatient).unwrap_err();
    }
    simulation.script = None;
    assert_eq!(value(simulation.await_reply(patient)).unwrap(), b"v");
}

/// While a round of 40 s is under way, the next would begin after the reader's deadline
/// (seed 173).
#[test]
fn a_reader_that_gathers_others_hears_by_its_deadline() {
    let far = Delays {
        priority: Spread::exactly(ms(20_000)),
        ..DELAYS
    };
    let mut simulation = Simulation::new(0, spec(Kind::Rw, |_| {}), far);
    simulation.ask(A, write("k", "v")).0.unwrap();
    let began = simulation.now;
    let first = simulation.request(A, read("k"), ms(60_000));
    let hasty = simulation.request(A, read("k"), ms(10));
    simulation.await_reply(hasty).unwrap_err();
    assert_eq!(simulation.now - began, ms(10));
    simulation.await_reply(first).unwrap();
}
