//! Direct writes: one site whose three nodes are the replicas and the local set.

use std::time::Duration;

use vivace_core::client_protocol::{Failure, Request, Success};
use vivace_core::cluster::{ClusterSpec, Container, Kind, TimestampSource};
use vivace_core::machine::builtin::Counter;
use vivace_core::message::{BulkBody, BulkMessage, PriorityBody, RpcId};
use vivace_core::sim::{LogTail, Spread, Wire};
use vivace_core::{Class, Event, NodeId, Timestamp, Value, WriterId, codec};

use crate::alone::{Alone, Sent, key};
use crate::cluster::requests::{Nth, add, read, read_state, write};
use crate::cluster::{Simulation, layout};
use crate::{bulk, drop_if, is_write_local, is_write_remote, is_write_ts, ms, settle, simulate};

const ZERO: NodeId = NodeId(0);
const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

/// `nodes` in one site, of which the first three are the replicas and the local set.
fn one_site(nodes: u16, change: impl FnOnce(&mut Container)) -> ClusterSpec {
    one_site_of(Kind::Rw, nodes, change)
}

fn one_site_of(kind: Kind, nodes: u16, change: impl FnOnce(&mut Container)) -> ClusterSpec {
    let mut container = layout::container(kind, &[0, 1, 2], &[&[0, 1, 2]]);
    change(&mut container);
    let mut spec = layout::sites(&[nodes]);
    spec.containers = vec![container];
    spec
}

/// What travels for one operation at `coordinator`, and how long that waits.
fn sent_for(
    simulation: &mut Simulation,
    coordinator: NodeId,
    request: Request,
) -> (Vec<Wire>, Duration) {
    simulation.sent = Some(Vec::new());
    let (reply, took) = simulation.ask(coordinator, request);
    assert!(reply.is_ok(), "{reply:?}");
    settle(simulation);
    let sent = simulation.sent.take().expect("just asked for");
    let wires = sent.into_iter().filter(|(from, to, _)| from != to);
    (wires.map(|(_, _, wire)| wire).collect(), took)
}

fn is_remote_ack(wire: &Wire) -> bool {
    matches!(wire, Wire::Priority(message)
        if matches!(message.body, PriorityBody::WriteRemoteAck { .. }))
}

fn value_of(simulation: &mut Simulation, coordinator: NodeId) -> Option<Vec<u8>> {
    match simulation.ask(coordinator, read("k")).0 {
        Ok(Success::Value { value, .. }) => Some(value.0.to_vec()),
        Ok(Success::NotFound) => None,
        other => panic!("a read is answered, not {other:?}"),
    }
}

#[test]
fn a_write_is_one_round_of_four_messages() {
    let mut simulation = simulate(one_site(3, |_| {}));
    let (sent, took) = sent_for(&mut simulation, ZERO, write("k", "a"));
    assert!((ms(2)..ms(3)).contains(&took), "{took:?}");
    assert_eq!(sent.iter().filter(|wire| is_write_remote(wire)).count(), 2);
    assert_eq!(sent.iter().filter(|wire| is_remote_ack(wire)).count(), 2);
    assert_eq!(sent.len(), 4, "{sent:?}");
    let (sent, took) = sent_for(&mut simulation, ONE, read("k"));
    assert!((ms(2)..ms(3)).contains(&took), "{took:?}");
    assert!(
        !sent.iter().any(is_write_remote),
        "nothing to store: {sent:?}"
    );
    assert_eq!(value_of(&mut simulation, TWO).as_deref(), Some(&b"a"[..]));
}

fn is_read_ts(wire: &Wire) -> bool {
    matches!(wire, Wire::Priority(message) if matches!(message.body, PriorityBody::ReadTs { .. }))
}

#[test]
fn a_read_asks_a_majority_and_each_other_replica_in_turn() {
    for kind in [Kind::Rw, Kind::Rmw] {
        let mut simulation = simulate(one_site_of(kind, 3, |_| {}));
        let (change, look) = match kind {
            Kind::Rmw => (add("k", nth(1), 1), read_state::<Counter>("k")),
            _ => (write("k", "a"), read("k")),
        };
        sent_for(&mut simulation, ZERO, change);
        simulation.sent = Some(Vec::new());
        for _ in 0..3 {
            let (reply, took) = simulation.ask(ZERO, look.clone());
            assert!(reply.is_ok(), "{reply:?}");
            assert!((ms(2)..ms(3)).contains(&took), "{took:?}");
        }
        let sent = simulation.sent.take().expect("just asked for");
        let asked = |node| {
            let to = |(from, to, wire): &&(NodeId, NodeId, Wire)| {
                (*from, *to) == (ZERO, node) && is_read_ts(wire)
            };
            sent.iter().filter(to).count()
        };
        assert_eq!(asked(ONE) + asked(TWO), 3, "{kind:?}: {sent:?}");
        assert!(asked(ONE) >= 1 && asked(TWO) >= 1, "{kind:?}: {sent:?}");
    }
}

/// The peer's connection stands, as one of a process that died does for a while.
#[test]
fn a_silent_replica_keeps_reads_waiting_once_a_second() {
    let mut simulation = simulate(one_site(3, |_| {}));
    sent_for(&mut simulation, ZERO, write("k", "a"));
    drop_if(&mut simulation, |_, to, _| to == ONE);
    let reads = |simulation: &mut Simulation| -> Vec<Duration> {
        let read_once = |_| {
            let (reply, took) = simulation.ask(ZERO, read("k"));
            assert!(reply.is_ok(), "{reply:?}");
            took
        };
        (0..100).map(read_once).collect()
    };
    let took = reads(&mut simulation);
    let waited = took.iter().filter(|took| **took > ms(3)).count();
    assert_eq!(waited, 1, "{took:?}");
    assert!(took.iter().all(|took| *took < ms(20)), "{took:?}");
    simulation.run_for(ms(1_500));
    let took = reads(&mut simulation);
    assert_eq!(
        took.iter().filter(|took| **took > ms(3)).count(),
        1,
        "{took:?}"
    );
}

/// What it left at a minority might be newer than a later write by query.
#[test]
fn a_write_by_query_goes_through_the_local_set() {
    let by_query = |container: &mut Container| container.timestamps = TimestampSource::Query;
    let mut simulation = simulate(one_site(3, by_query));
    let (sent, _) = sent_for(&mut simulation, ZERO, write("k", "a"));
    assert!(sent.iter().any(is_write_local) && sent.iter().any(is_write_ts));
}

#[test]
fn a_container_can_do_without() {
    let mut simulation = simulate(one_site(3, |container| container.direct_writes = false));
    let (sent, took) = sent_for(&mut simulation, ZERO, write("k", "a"));
    assert!((ms(4)..ms(5)).contains(&took), "{took:?}");
    assert!(sent.iter().any(is_write_local) && sent.iter().any(is_write_ts));
    assert_eq!(sent.len(), 14, "{sent:?}");
    let without = |container: &mut Container| container.direct_writes = false;
    let mut simulation = simulate(one_site_of(Kind::Rmw, 3, without));
    sent_for(&mut simulation, ZERO, add("k", nth(1), 1));
    let (sent, _) = sent_for(&mut simulation, ZERO, add("k", nth(2), 1));
    assert_eq!(sent.len(), 16, "{sent:?}");
}

fn nth(sequence: u64) -> Nth {
    Nth {
        session: 1,
        sequence,
        repeated: false,
    }
}

fn count(simulation: &mut Simulation, coordinator: NodeId) -> i64 {
    match simulation.ask(coordinator, read_state::<Counter>("k")).0 {
        Ok(Success::State { state: Some(state) }) => {
            codec::decode(&state.0, state.0.len()).expect("it is a counter's")
        }
        other => panic!("a read is answered, not {other:?}"),
    }
}

/// OW-TS comes with the value; what is left to say is COMMIT.
#[test]
fn a_command_is_one_round_of_six_messages() {
    let mut simulation = simulate(one_site_of(Kind::Rmw, 3, |_| {}));
    sent_for(&mut simulation, ZERO, add("k", nth(1), 1));
    let (sent, took) = sent_for(&mut simulation, ZERO, add("k", nth(2), 1));
    assert_eq!(took, ms(2));
    assert_eq!(sent.iter().filter(|wire| is_write_remote(wire)).count(), 2);
    assert_eq!(sent.iter().filter(|wire| is_remote_ack(wire)).count(), 2);
    assert_eq!(sent.len(), 6, "{sent:?}");
    assert_eq!(count(&mut simulation, ONE), 2);
}

/// What its coordinator alone accepted was not chosen: others build on what they have.
#[test]
fn a_lone_version_holds_nobody_up() {
    let mut simulation = simulate(one_site_of(Kind::Rmw, 3, |_| {}));
    sent_for(&mut simulation, ZERO, add("k", nth(1), 1));
    drop_if(&mut simulation, |from, _, wire| {
        from == ZERO && (is_write_remote(wire) || matches!(bulk(wire), Some(BulkBody::Data { .. })))
    });
    simulation.request(ZERO, add("k", nth(2), 10), ms(60_000));
    simulation.run_for(ms(10));
    let other = Nth {
        session: 2,
        ..nth(1)
    };
    let asked = simulation.request(ONE, add("k", other, 100), ms(60_000));
    simulation.run_for(ms(10));
    simulation.crash(ZERO);
    let reply = simulation.await_reply(asked);
    assert!(reply.is_ok(), "{reply:?}");
    assert_eq!(count(&mut simulation, TWO), 101);
}

/// A version that one replica accepted, whose coordinator died before it had it itself, is lost
/// by that replica's disk: it can't have been chosen, so others go on without it.
#[test]
fn a_lone_version_that_the_disk_lost_holds_nobody_up() {
    let one_first = |container: &mut Container| container.replicas = vec![ONE, ZERO, TWO];
    let mut simulation = simulate(one_site_of(Kind::Rmw, 3, one_first));
    sent_for(&mut simulation, ZERO, add("k", nth(1), 1));
    drop_if(&mut simulation, |from, to, wire| {
        from == ZERO && (is_write_remote(wire) && to != ONE)
    });
    simulation.delays.disk = Spread::exactly(ms(50));
    simulation.request(ZERO, add("k", nth(2), 10), ms(60_000));
    simulation.run_for(ms(10));
    simulation.crash_with(ZERO, LogTail::Lost);
    simulation.run_for(ms(500));
    simulation.delays.disk = Spread::ZERO;
    simulation.restart(ZERO);
    simulation.script = None;
    simulation.crash(ONE);
    simulation.lose_values(ONE, 1.0);
    simulation.restart(ONE);
    simulation.run_for(ms(100));
    let other = Nth {
        session: 2,
        ..nth(1)
    };
    let (reply, _) = simulation.ask(TWO, add("k", other, 100));
    assert!(reply.is_ok(), "{reply:?}");
    assert!(simulation.count("rechecked: promises whose base does not come") > 0);
    assert_eq!(count(&mut simulation, TWO), 101);
}

/// A replica that has promised to refuse a round keeps nothing of it, and says what it promised.
#[test]
fn a_replica_refuses_what_it_promised_to_refuse() {
    let mut alone = Alone::on(ZERO, one_site_of(Kind::Rmw, 3, |_| {}));
    alone.priority(
        TWO,
        PriorityBody::OrderedReadTs {
            key: key(),
            ots: ts(9),
        },
    );
    alone.flush();
    let refused = PriorityBody::OrderedWriteTsAck {
        accepted: false,
        promised: ts(9),
    };
    let refused = [Sent::Priority(ONE, refused)];
    assert_eq!(alone.bulk(ONE, remote("k", 5)), refused);
    let late = PriorityBody::OrderedReadTs {
        key: key(),
        ots: ts(20),
    };
    assert_eq!(alone.bulk(ONE, remote("k", 12)), [], "it is stored first");
    alone.priority(TWO, late);
    let refused = PriorityBody::OrderedWriteTsAck {
        accepted: false,
        promised: ts(20),
    };
    let answers = alone.flush();
    assert_eq!(answers.len(), 2, "the promise, and a refusal: {answers:?}");
    assert!(answers.contains(&Sent::Priority(ONE, refused)));
}

/// Replicas elsewhere, or a local set that is not all of them: values would be waited for.
#[test]
fn other_layouts_write_through_the_local_set() {
    let mut part = one_site(3, |_| {});
    part.containers[0]
        .local_sets
        .insert(vivace_core::SiteId(0), vec![ZERO]);
    let (sent, _) = sent_for(&mut simulate(part), ZERO, write("k", "a"));
    assert!(sent.iter().any(is_write_ts));
    let mut far = layout::sites(&[2, 1]);
    far.containers = vec![layout::container(Kind::Rw, &[0, 1, 2], &[&[0, 1], &[2]])];
    let (sent, _) = sent_for(&mut simulate(far), ZERO, write("k", "a"));
    assert!(sent.iter().any(is_write_ts));
}

/// A node that is no replica stores local copies, which readers count as stored.
#[test]
fn a_coordinator_that_is_no_replica_writes_through_the_local_set() {
    let mut simulation = simulate(one_site(4, |_| {}));
    drop_if(&mut simulation, |_, _, wire| is_write_remote(wire));
    let (written, _) = simulation.ask(NodeId(3), write("k", "a"));
    assert!(written.is_ok(), "{written:?}");
    simulation.crash(ZERO);
    assert_eq!(value_of(&mut simulation, ONE).as_deref(), Some(&b"a"[..]));
    simulation.script = None;
    assert_eq!(
        value_of(&mut simulation, NodeId(3)).as_deref(),
        Some(&b"a"[..])
    );
    simulation.restart(ZERO);
    settle(&mut simulation);
}

/// The coordinator dies when two of three have the value: in its next life it sees to it
/// that the third has it too.
#[test]
fn a_restarted_coordinator_carries_on() {
    let mut simulation = simulate(one_site(3, |_| {}));
    simulation.cut(ZERO, TWO, Class::Bulk);
    let (written, _) = simulation.ask(ZERO, write("k", "a"));
    assert!(written.is_ok(), "{written:?}");
    simulation.crash(ZERO);
    assert!(
        simulation
            .holding(TWO, &key())
            .is_none_or(|held| held.versions.is_empty())
    );
    simulation.restart(ZERO);
    simulation.join(ZERO, TWO, Class::Bulk);
    settle(&mut simulation);
    let held = simulation.holding(TWO, &key()).expect("it is a replica");
    assert_eq!(held.versions.len(), 1);
}

/// A replica that is away has the value when it is back, without a reader's help.
#[test]
fn a_replica_that_was_away_is_caught_up() {
    let mut simulation = simulate(one_site(3, |_| {}));
    simulation.crash(TWO);
    for value in ["a", "b"] {
        assert!(simulation.ask(ZERO, write("k", value)).0.is_ok());
    }
    simulation.restart(TWO);
    settle(&mut simulation);
    simulation.crash(ZERO);
    assert_eq!(value_of(&mut simulation, TWO).as_deref(), Some(&b"b"[..]));
}

/// A replica that answers nobody, and whose connections stand: of an object that changes all
/// the time, it is owed the newest version, and not all of them.
#[test]
fn a_silent_replica_is_owed_the_newest_version_alone() {
    let mut simulation = simulate(one_site(3, |_| {}));
    for other in [ZERO, ONE] {
        simulation.block(other, TWO);
        simulation.block(TWO, other);
    }
    for number in 0..100 {
        let value = format!("value {number}");
        assert!(simulation.ask(ZERO, write("k", value)).0.is_ok());
    }
    assert!(
        simulation.status(ZERO).backlog.values <= 2,
        "{:?}",
        simulation.status(ZERO).backlog
    );
    for other in [ZERO, ONE] {
        simulation.unblock(other, TWO);
        simulation.unblock(TWO, other);
    }
    settle(&mut simulation);
    let held = simulation.holding(TWO, &key()).expect("it is a replica");
    assert_eq!(held.versions.len(), 1);
}

/// What one node alone holds of another's direct write is stored before it is returned, also
/// where the reader's own writes go through the local set.
#[test]
fn nodes_may_differ_in_whether_they_write_directly() {
    let mut simulation = simulate(one_site(3, |container| container.direct_writes = false));
    // Then it is node 0's turn to be asked.
    assert_eq!(value_of(&mut simulation, ONE), None);
    assert_eq!(value_of(&mut simulation, ONE), None);
    let message = BulkMessage {
        rpc: RpcId::NONE,
        epoch: vivace_core::Epoch(1),
        body: remote("k", 5),
    };
    simulation.inject(ZERO, Event::Bulk { from: ONE, message });
    simulation.run_for(ms(10));
    assert_eq!(value_of(&mut simulation, ONE).as_deref(), Some(&b"a"[..]));
    simulation.crash(ZERO);
    assert_eq!(value_of(&mut simulation, TWO).as_deref(), Some(&b"a"[..]));
}

/// Whoever told of a timestamp was the only one to have its value, and died before it sent it: a
/// read that waited for that one alone would hang although a majority is up.
#[test]
fn a_read_whose_only_holder_dies_starts_over() {
    let mut simulation = simulate(one_site(3, |_| {}));
    assert!(simulation.ask(ONE, write("k", "old")).0.is_ok());
    settle(&mut simulation);
    // Then it is node 0's turn to be asked.
    assert_eq!(value_of(&mut simulation, TWO).as_deref(), Some(&b"old"[..]));
    drop_if(&mut simulation, |from, _, wire| {
        from == ZERO && (is_write_remote(wire) || matches!(bulk(wire), Some(BulkBody::Data { .. })))
    });
    simulation.request(ZERO, write("k", "new"), ms(60_000));
    simulation.run_for(ms(10));
    let asked = simulation.request(TWO, read("k"), ms(60_000));
    simulation.run_for(ms(10));
    simulation.crash(ZERO);
    match simulation.await_reply(asked) {
        Ok(Success::Value { value, .. }) => assert_eq!(&value.0[..], b"old"),
        other => panic!("a read is answered, not {other:?}"),
    }
    assert!(simulation.count("restarted: a read whose value nobody sent") > 0);
}

/// Replicas whose disks lost the value count as silent, and the failure says what is wrong.
#[test]
fn a_majority_that_lost_the_value_answers_nobody() {
    let mut simulation = simulate(one_site(3, |_| {}));
    assert!(simulation.ask(ZERO, write("k", "a")).0.is_ok());
    settle(&mut simulation);
    for node in [ZERO, ONE] {
        simulation.crash(node);
        simulation.lose_values(node, 1.0);
    }
    simulation.crash(TWO);
    simulation.restart(ZERO);
    simulation.restart(ONE);
    match simulation.ask(ONE, read("k")).0 {
        Err(Failure::Unavailable { reason }) => assert!(reason.contains("lack"), "{reason}"),
        other => panic!("nobody has the value: {other:?}"),
    }
    simulation.restart(TWO);
    assert_eq!(value_of(&mut simulation, ONE).as_deref(), Some(&b"a"[..]));
}

fn ts(time: u64) -> Timestamp {
    Timestamp {
        time,
        writer: WriterId::new(ONE, vivace_core::Incarnation(1)),
    }
}

fn remote(name: &str, time: u64) -> BulkBody {
    BulkBody::WriteRemote {
        key: vivace_core::Key {
            name: layout::key(name),
            ..key()
        },
        ts: ts(time),
        propagator: ONE,
        relay: Vec::new(),
        value: Value::Bytes(b"a".to_vec().into()),
    }
}

/// First the value, then the record that tells of it, then the acknowledgment; and nobody
/// hears of it before.
#[test]
fn a_replica_learns_of_a_value_when_it_is_stored() {
    let mut alone = Alone::on(ZERO, one_site(3, |_| {}));
    assert_eq!(alone.bulk(ONE, remote("k", 5)), []);
    assert_eq!(alone.bulk(ONE, remote("k", 5)), [], "it comes twice");
    assert_eq!(alone.known(), Timestamp::ZERO);
    let acknowledged = alone.flush();
    let ack = PriorityBody::WriteRemoteAck {
        key: key(),
        ts: ts(5),
    };
    assert_eq!(acknowledged, [Sent::Priority(ONE, ack)]);
    assert_eq!(alone.known(), ts(5));
}

#[test]
fn values_that_wait_for_the_disk_are_bounded() {
    let mut alone = Alone::on(ZERO, one_site(3, |_| {}));
    for number in 0..=65_536 {
        alone.bulk(ONE, remote(&format!("k{number}"), 5));
    }
    let cause = "dropped: a value, because the disk is behind";
    assert_eq!(alone.counted(cause), 1);
}
