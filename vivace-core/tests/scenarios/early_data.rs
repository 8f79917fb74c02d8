//! Reads that ask the replica in their site for timestamp and value at once. The reader is
//! node 4, which is no replica; B is the one in its site. A majority's timestamps take
//! 20 ms, what B says and sends takes 2.

use std::time::Duration;

use vivace_core::client_protocol::Success;
use vivace_core::cluster::Kind;
use vivace_core::machine::builtin::Counter;
use vivace_core::message::PriorityBody;
use vivace_core::{NodeId, codec};

use crate::cluster::requests::{add, counted, first_of, read, read_state, value, write, written};
use crate::cluster::script::{is_data, is_read_data};
use crate::cluster::{Fate, Occurrence, Simulation, Wire};
use crate::{
    A, B, C, drop_if, is_read_ts, is_write_remote, is_write_ts, ms, priority, settle, simulate,
    spec, switch, three_sites,
};

const READER: NodeId = NodeId(4);
const OF_USE: &str = "early: a value that came with its timestamp";
const AWAITED: &str = "early: a value awaited when its timestamp was known";
const OLDER: &str = "early: a value, but older than was wanted";

fn asks_both(wire: &Wire) -> bool {
    matches!(priority(wire), Some(PriorityBody::ReadTsAndData { .. }))
}

fn tells(wire: &Wire) -> bool {
    matches!(priority(wire), Some(PriorityBody::ReadTsAck { .. }))
}

/// "v" is everywhere.
fn everywhere() -> Simulation {
    let mut simulation = three_sites(Kind::Rw);
    written(simulation.ask(NodeId(1), write("k", "v")).0);
    settle(&mut simulation);
    simulation.sent = Some(Vec::new());
    simulation
}

/// "old" is everywhere, "new" at A and C; B has heard nothing of it.
fn with_b_behind() -> Simulation {
    let mut simulation = three_sites(Kind::Rw);
    written(simulation.ask(NodeId(1), write("k", "old")).0);
    settle(&mut simulation);
    drop_if(&mut simulation, |_, to, wire| {
        to == B && (is_write_ts(wire) || is_write_remote(wire))
    });
    written(simulation.ask(NodeId(1), write("k", "new")).0);
    simulation.run_for(ms(200));
    simulation.sent = Some(Vec::new());
    simulation
}

/// Messages sent since the beginning of the count.
fn sent(simulation: &Simulation, counts: impl Fn(NodeId, NodeId, &Wire) -> bool) -> usize {
    let sent = simulation.sent.as_ref().unwrap().iter();
    sent.filter(|(from, to, wire)| counts(*from, *to, wire))
        .count()
}

fn values_to_reader(simulation: &Simulation) -> usize {
    sent(simulation, |_, to, wire| to == READER && is_data(wire))
}

fn values_of_b(simulation: &Simulation) -> usize {
    sent(simulation, |from, _, wire| from == B && is_data(wire))
}

fn questions_for_values(simulation: &Simulation) -> usize {
    sent(simulation, |_, _, wire| is_read_data(wire))
}

/// Reads, and tells how long it took.
fn read_of(simulation: &mut Simulation, expected: &str) -> Duration {
    let (reply, took) = simulation.ask(READER, read("k"));
    assert_eq!(value(reply).unwrap(), expected.as_bytes());
    took
}

/// Nobody waits for anything any more, at whatever node.
fn assert_nothing_left(simulation: &mut Simulation) {
    simulation.script = None;
    settle(simulation);
    for node in simulation.alive() {
        assert_eq!(simulation.status(node).operations.in_flight, 0, "{node}");
    }
}

#[test]
fn one_value_comes_from_the_replica_in_the_site_and_nobody_is_asked_for_it() {
    let mut simulation = everywhere();
    assert_eq!(read_of(&mut simulation, "v"), ms(20));
    assert_eq!(sent(&simulation, |_, _, wire| asks_both(wire)), 1);
    assert_eq!(values_to_reader(&simulation), 1);
    assert_eq!(questions_for_values(&simulation), 0);
    assert_eq!(simulation.count(OF_USE), 1);
    assert_nothing_left(&mut simulation);
}

#[test]
fn a_replica_asks_nobody_for_both() {
    for coordinator in [A, B] {
        let mut simulation = everywhere();
        assert_eq!(
            value(simulation.ask(coordinator, read("k")).0).unwrap(),
            b"v"
        );
        assert_eq!(sent(&simulation, |_, _, wire| asks_both(wire)), 0);
        assert_eq!(sent(&simulation, |_, _, wire| is_data(wire)), 0);
    }
}

#[test]
fn timestamps_come_first_where_the_container_says_so() {
    let mut simulation = simulate(spec(Kind::Rw, |container| container.early_data = false));
    written(simulation.ask(NodeId(1), write("k", "v")).0);
    settle(&mut simulation);
    simulation.sent = Some(Vec::new());
    assert_eq!(read_of(&mut simulation, "v"), ms(22));
    assert_eq!(sent(&simulation, |_, _, wire| asks_both(wire)), 0);
    assert_eq!(values_to_reader(&simulation), 1);
}

#[test]
fn a_key_never_written_sends_no_value() {
    let mut simulation = three_sites(Kind::Rw);
    simulation.sent = Some(Vec::new());
    let (reply, took) = simulation.ask(READER, read("k"));
    assert_eq!((value(reply), took), (None, ms(20)));
    assert_eq!(values_to_reader(&simulation), 0);
    assert_nothing_left(&mut simulation);
}

#[test]
fn a_version_older_than_the_newest_timestamp_is_let_go() {
    let mut simulation = with_b_behind();
    read_of(&mut simulation, "new");
    assert_eq!(simulation.count(OLDER), 1);
    assert_eq!(simulation.count(OF_USE), 0);
    assert_eq!(values_of_b(&simulation), 1);
    let asked = sent(&simulation, |_, to, wire| to == B && is_read_data(wire));
    assert_eq!(asked, 0, "others have it");
    assert_nothing_left(&mut simulation);
}

/// B knows the timestamp, and the value is on its way there: it sends nothing older.
#[test]
fn a_replica_without_the_newest_value_sends_none() {
    let mut simulation = three_sites(Kind::Rw);
    written(simulation.ask(NodeId(1), write("k", "old")).0);
    settle(&mut simulation);
    drop_if(&mut simulation, |_, to, wire| {
        to == B && is_write_remote(wire)
    });
    written(simulation.ask(NodeId(1), write("k", "new")).0);
    simulation.run_for(ms(200));
    simulation.sent = Some(Vec::new());
    read_of(&mut simulation, "new");
    assert_eq!(values_of_b(&simulation), 0);
    assert_nothing_left(&mut simulation);
}

/// "old" is everywhere; "new" is announced to B alone, which has it. What B tells the
/// reader is lost, what it sends comes: newer than a majority's newest. It is announced to
/// a majority before the reader returns it.
#[test]
fn a_version_newer_than_the_newest_timestamp_is_written_back() {
    let mut simulation = three_sites(Kind::Rw);
    written(simulation.ask(NodeId(1), write("k", "old")).0);
    settle(&mut simulation);
    drop_if(&mut simulation, |from, to, wire| {
        to != B && (is_write_remote(wire) || from == NodeId(5) && is_write_ts(wire))
            || from == B && to == READER && tells(wire)
            || from == NodeId(7) && to == B && is_read_ts(wire)
    });
    simulation.request(NodeId(5), write("k", "new"), ms(60_000));
    simulation.run_for(ms(100));
    simulation.sent = Some(Vec::new());
    assert_eq!(read_of(&mut simulation, "new"), ms(40));
    let told = sent(&simulation, |from, to, wire| {
        from == READER && [A, C].contains(&to) && is_write_ts(wire)
    });
    assert_eq!(told, 2);
    assert_eq!(questions_for_values(&simulation), 0);
    // A reader that hears A and C finds it.
    let (reply, _) = simulation.ask(NodeId(7), read("k"));
    assert_eq!(value(reply).unwrap(), b"new");
    assert_nothing_left(&mut simulation);
}

/// The value that B sends takes longer than timestamps: it is not asked for again.
#[test]
fn a_value_on_its_way_is_waited_for() {
    let mut simulation = everywhere();
    simulation.script = Some(Box::new(|from, _, wire| match from == B && is_data(wire) {
        true => Fate::Late(ms(28)),
        false => Fate::Deliver,
    }));
    assert_eq!(read_of(&mut simulation, "v"), ms(30));
    assert_eq!(simulation.count(AWAITED), 1);
    assert_eq!(questions_for_values(&simulation), 0);
    assert_eq!(values_to_reader(&simulation), 1);
    assert_nothing_left(&mut simulation);
}

/// The value that B sends is lost: when it had the time of an answer, B is asked for it.
#[test]
fn a_value_that_does_not_come_is_asked_for() {
    let mut simulation = everywhere();
    let lossy = switch(true);
    let is_lossy = lossy.clone();
    drop_if(&mut simulation, move |_, _, wire| {
        is_data(wire) && is_lossy.replace(false)
    });
    let took = read_of(&mut simulation, "v");
    assert!(!lossy.get());
    assert!(took > ms(30) && took < ms(40), "{took:?}");
    let asked = sent(&simulation, |_, to, wire| to == B && is_read_data(wire));
    assert_eq!((asked, questions_for_values(&simulation)), (1, 1));
    assert_nothing_left(&mut simulation);
}

/// B's site carries no values: another site's replica is asked after B.
#[test]
fn a_value_that_never_comes_is_asked_of_the_next() {
    let mut simulation = everywhere();
    drop_if(&mut simulation, |from, _, wire| from == B && is_data(wire));
    let took = read_of(&mut simulation, "v");
    assert!(took < ms(120), "{took:?}");
    assert_nothing_left(&mut simulation);
}

/// The question for both is lost. R-TS is repeated alone, and what it answers does not
/// tell that a value comes: it is asked for as soon as its timestamp is known.
#[test]
fn a_lost_question_is_repeated_for_the_timestamp_alone() {
    let mut simulation = everywhere();
    drop_if(&mut simulation, |_, _, wire| asks_both(wire));
    assert_eq!(read_of(&mut simulation, "v"), ms(22));
    assert_eq!(sent(&simulation, |_, _, wire| asks_both(wire)), 1);
    assert_eq!(
        sent(&simulation, |_, to, wire| to == B && is_read_ts(wire)),
        2
    );
    assert_eq!(values_to_reader(&simulation), 1);
    assert_nothing_left(&mut simulation);
}

/// What B tells is lost, again and again; the value is sent once.
#[test]
fn a_repeated_question_sends_no_value_again() {
    let mut simulation = everywhere();
    drop_if(&mut simulation, |from, to, wire| {
        // A is far behind, so that B is asked several times.
        from == B && tells(wire) || to == READER && from == A && tells(wire)
    });
    let asked = simulation.request(READER, read("k"), ms(1000));
    simulation.run_for(ms(500));
    assert!(sent(&simulation, |_, to, wire| to == B && is_read_ts(wire)) > 3);
    assert_eq!(values_to_reader(&simulation), 1);
    simulation.script = None;
    assert_eq!(value(simulation.await_reply(asked)).unwrap(), b"v");
    assert_eq!(values_to_reader(&simulation), 1);
    assert_nothing_left(&mut simulation);
}

/// B crashes at any moment of the read, and comes back at any moment, or not.
#[test]
fn a_read_ends_when_the_replica_in_its_site_crashes() {
    for crash_us in (0..24_000).step_by(500) {
        for back_ms in [None, Some(0), Some(5), Some(15), Some(40)] {
            let mut simulation = everywhere();
            let asked = simulation.request(READER, read("k"), ms(5000));
            let began = simulation.now;
            simulation.run_for(Duration::from_micros(crash_us));
            if simulation.outstanding() == 0 {
                continue;
            }
            simulation.crash(B);
            if let Some(back_ms) = back_ms {
                simulation.run_for(ms(back_ms));
                simulation.restart(B);
            }
            if simulation.outstanding() > 0 {
                let reply = simulation.await_reply(asked);
                assert_eq!(value(reply).unwrap(), b"v", "{crash_us} {back_ms:?}");
                let took = simulation.now - began;
                assert!(took < ms(150), "{took:?}: {crash_us} {back_ms:?}");
            }
            assert_nothing_left(&mut simulation);
        }
    }
}

/// The disk of B has lost the value that it says it sends.
#[test]
fn a_value_that_the_disk_lost_is_had_elsewhere() {
    let mut simulation = everywhere();
    simulation.lose_values(B, 1.0);
    let took = read_of(&mut simulation, "v");
    assert!(took < ms(200), "{took:?}");
    assert_nothing_left(&mut simulation);
}

/// Asks so many times, 0.1 ms apart, and hears all answers.
fn crowd(simulation: &mut Simulation, readers: usize, expected: &str) {
    let mut heard = 0;
    for asked in 1..=readers {
        simulation.request(READER, read("k"), ms(5000));
        let patience = match asked == readers {
            true => ms(200),
            false => Duration::from_micros(100),
        };
        let until = simulation.now + patience;
        while let Some(occurrence) = simulation.next(until) {
            if let Occurrence::Reply { reply, .. } = occurrence {
                assert_eq!(value(reply).unwrap(), expected.as_bytes());
                heard += 1;
            }
        }
    }
    assert_eq!(heard, readers);
}

/// Rounds of a crowd get a value each, as they do when they ask for timestamps first.
#[test]
fn a_crowd_of_readers_gets_a_value_for_each_round() {
    let mut simulation = everywhere();
    crowd(&mut simulation, 100, "v");
    let rounds = sent(&simulation, |_, to, wire| to == A && is_read_ts(wire));
    assert!((2..=9).contains(&rounds), "{rounds}");
    assert_eq!(values_to_reader(&simulation), rounds);
    assert_nothing_left(&mut simulation);
}

/// Only the first round of a crowd asks in vain.
#[test]
fn a_crowd_gets_one_value_in_vain_of_a_replica_that_is_behind() {
    let mut simulation = with_b_behind();
    crowd(&mut simulation, 100, "new");
    let rounds = sent(&simulation, |_, to, wire| to == A && is_read_ts(wire));
    assert!((2..=9).contains(&rounds), "{rounds}");
    assert_eq!(values_of_b(&simulation), 1);
    assert_nothing_left(&mut simulation);
}

/// Once a round has found that B is not behind, the others ask for both.
#[test]
fn a_steady_crowd_asks_for_both() {
    let mut simulation = everywhere();
    crowd(&mut simulation, 1000, "v");
    let rounds = sent(&simulation, |_, to, wire| to == A && is_read_ts(wire));
    let both = sent(&simulation, |_, _, wire| asks_both(wire));
    // All but those of the first 20 ms.
    assert!(rounds > 70 && rounds - both <= 16, "{both} of {rounds}");
    assert_eq!(values_to_reader(&simulation), rounds);
}

fn count_of(simulation: &mut Simulation) -> (i64, Duration) {
    let (reply, took) = simulation.ask(READER, read_state::<Counter>("k"));
    match reply {
        Ok(Success::State { state: Some(state) }) => {
            let bytes = &state.0;
            (codec::decode(bytes, bytes.len()).unwrap(), took)
        }
        other => panic!("a state is expected, not {other:?}"),
    }
}

#[test]
fn a_read_only_command_asks_for_both() {
    let mut simulation = three_sites(Kind::Rmw);
    assert_eq!(
        counted(simulation.ask(NodeId(1), add("k", first_of(1), 5)).0),
        5
    );
    settle(&mut simulation);
    simulation.sent = Some(Vec::new());
    assert_eq!(count_of(&mut simulation), (5, ms(20)));
    assert_eq!(values_to_reader(&simulation), 1);
    // What is on its way is waited for.
    simulation.script = Some(Box::new(|from, _, wire| match from == B && is_data(wire) {
        true => Fate::Late(ms(28)),
        false => Fate::Deliver,
    }));
    assert_eq!(count_of(&mut simulation), (5, ms(30)));
    assert_eq!(questions_for_values(&simulation), 0);
    // B hears nothing of the next.
    drop_if(&mut simulation, |from, to, wire| {
        to == B && from != B && from != READER && !is_read_ts(wire)
    });
    assert_eq!(
        counted(simulation.ask(NodeId(1), add("k", first_of(2), 1)).0),
        6
    );
    simulation.run_for(ms(200));
    assert_eq!(count_of(&mut simulation).0, 6);
    assert_eq!(simulation.count(OLDER), 1);
    assert_nothing_left(&mut simulation);
}
