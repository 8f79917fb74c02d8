//! Direct writes whose values a crash left ahead of their records: a start takes their word.

use std::sync::Arc;
use std::time::Duration;

use vivace_core::clock::{ClockReading, Now};
use vivace_core::cluster::{Cluster, Kind};
use vivace_core::machine::Machines;
use vivace_core::record::Record;
use vivace_core::stored::{StoredValue, ValueId};
use vivace_core::{Action, Event, Incarnation, Key, Node, NodeId, Timestamp, WriterId};

use crate::cluster::layout;
use crate::{A, spec};

const VALUE: StoredValue = StoredValue::Bytes(8);

fn ts(time: u64) -> Timestamp {
    by(NodeId(3), time)
}

fn by(node: NodeId, time: u64) -> Timestamp {
    let writer = WriterId::new(node, Incarnation(1));
    Timestamp { time, writer }
}

fn key(kind: Kind) -> Key {
    Key {
        container: spec(kind, |_| {}).containers[0].id,
        name: layout::key("k"),
    }
}

/// A replica that read these records and found values of these versions, which are records of
/// themselves; with what it asks to be made durable at once.
fn started(kind: Kind, records: &[Record], told: &[Timestamp]) -> (Node, Vec<Record>) {
    let cluster = Arc::new(Cluster::new(spec(kind, |_| {})).unwrap());
    let now = Now {
        monotonic: Duration::ZERO,
        clock: ClockReading {
            time_ns: 1_000_000_000,
            error_ns: Some(0),
        },
    };
    let machines = Machines::builtin();
    let mut node = Node::new(A, Incarnation(2), cluster, machines, now, 0).unwrap();
    for record in records {
        node.recover(record.clone());
    }
    let id = |ts: &Timestamp| ValueId::version(&key(kind), *ts);
    node.recover_stored(told.iter().map(|ts| (id(ts), 8)));
    assert_eq!(node.drop_unstored(&|_| true), 0);
    let actions = node.handle(now, Event::Tick).into_iter();
    let persisted = actions.filter_map(|action| match action {
        Action::Persist { record, .. } => Some(record),
        _ => None,
    });
    (node, persisted.collect())
}

fn complete(time: u64) -> Record {
    Record::Complete {
        key: key(Kind::Rw),
        ts: ts(time),
        value: VALUE,
    }
}

#[test]
fn the_newest_of_a_register_is_complete_and_the_journal_hears_of_it() {
    let (node, persisted) = started(Kind::Rw, &[complete(10)], &[ts(30), ts(5), ts(20)]);
    let holding = node.holding(&key(Kind::Rw));
    assert_eq!((holding.newest, holding.versions), (ts(30), vec![ts(30)]));
    assert_eq!(persisted, [complete(20), complete(30)]);
    let (again, persisted) = started(Kind::Rw, &[complete(30)], &[ts(30), ts(5), ts(20)]);
    assert_eq!(again.holding(&key(Kind::Rw)).versions, [ts(30)]);
    assert_eq!(persisted, [], "it knew");
}

#[test]
fn its_writer_looks_after_it_again() {
    let mine = by(A, 30);
    let (node, persisted) = started(Kind::Rw, &[], &[mine]);
    assert_eq!(node.status().held, 1);
    let copy = |record: &Record| matches!(record, Record::LocalCopy { .. });
    assert_eq!(persisted.iter().filter(|record| copy(record)).count(), 1);
    let (again, _) = started(Kind::Rw, &persisted, &[mine]);
    assert_eq!(again.status().held, 1);
    let (other, _) = started(Kind::Rw, &[], &[ts(30)]);
    assert_eq!(other.status().held, 0, "another node's");
}

#[test]
fn a_machines_versions_are_accepted_in_their_order_in_whichever_they_come() {
    for told in [[ts(10), ts(20)], [ts(20), ts(10)]] {
        let (node, persisted) = started(Kind::Rmw, &[], &told);
        let holding = node.holding(&key(Kind::Rmw));
        assert_eq!(holding.newest, ts(20));
        assert_eq!(holding.versions, [ts(10), ts(20)], "either may be chosen");
        assert_eq!(holding.chosen, Timestamp::ZERO);
        let (again, persisted) = started(Kind::Rmw, &persisted, &told);
        assert_eq!(again.holding(&key(Kind::Rmw)), holding);
        assert_eq!(persisted, []);
    }
}

/// The replica had promised to refuse it before it was stored, and did.
#[test]
fn what_a_promise_came_before_is_not_accepted() {
    let promised = Record::Promised {
        key: key(Kind::Rmw),
        ts: ts(15),
    };
    let (node, persisted) = started(Kind::Rmw, &[promised], &[ts(10)]);
    assert_eq!(node.holding(&key(Kind::Rmw)).newest, Timestamp::ZERO);
    assert_eq!(node.holding(&key(Kind::Rmw)).versions, []);
    assert_eq!(persisted, []);
}
