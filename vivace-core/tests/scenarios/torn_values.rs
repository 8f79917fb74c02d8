//! A crash left records without their values: the replica goes back to the version before,
//! which it has acknowledged, and whose value is still stored (seed 70014696).

use std::sync::Arc;
use std::time::Duration;

use vivace_core::clock::{ClockReading, Now};
use vivace_core::cluster::{Cluster, Kind};
use vivace_core::journal::fold;
use vivace_core::machine::Machines;
use vivace_core::record::Record;
use vivace_core::stored::{StoredValue, ValueId};
use vivace_core::{Action, Event, Incarnation, Key, Node, NodeId, Timestamp, WriterId};

use crate::cluster::layout;
use crate::{A, spec};

pub fn ts(time: u64) -> Timestamp {
    Timestamp {
        time,
        writer: WriterId::new(NodeId(3), Incarnation(1)),
    }
}

/// A replica that read these records, of whose values those at `stored` are there.
fn started(kind: Kind, records: &[Record], stored: &[u64]) -> Node {
    started_and_persisted(kind, records, stored).0
}

/// The same, with what it asks to be made durable at once.
fn started_and_persisted(kind: Kind, records: &[Record], stored: &[u64]) -> (Node, Vec<Record>) {
    let mut node = restarting(kind, records);
    let stored: Vec<ValueId> = stored
        .iter()
        .map(|&time| ValueId::version(&key(kind), ts(time)))
        .collect();
    node.drop_unstored(&|id| stored.contains(id));
    let persisted = persisted(&mut node);
    (node, persisted)
}

const NOW: Now = Now {
    monotonic: Duration::ZERO,
    clock: ClockReading {
        time_ns: 1_000_000_000,
        error_ns: Some(0),
    },
};

/// A replica that has read these records, and does not know yet what is stored.
pub fn restarting(kind: Kind, records: &[Record]) -> Node {
    let cluster = Arc::new(Cluster::new(spec(kind, |_| {})).unwrap());
    let machines = Machines::builtin();
    let mut node = Node::new(A, Incarnation(2), cluster, machines, NOW, 0).unwrap();
    for record in records {
        node.recover(record.clone());
    }
    node
}

/// What it asks to be made durable as soon as it runs.
pub fn persisted(node: &mut Node) -> Vec<Record> {
    let actions = node.handle(NOW, Event::Tick).into_iter();
    let persisted = actions.filter_map(|action| match action {
        Action::Persist { record, .. } => Some(record),
        _ => None,
    });
    persisted.collect()
}

pub fn key(kind: Kind) -> Key {
    Key {
        container: spec(kind, |_| {}).containers[0].id,
        name: layout::key("k"),
    }
}

pub const VALUE: StoredValue = StoredValue::Bytes(8);

pub fn complete(time: u64) -> Record {
    Record::Complete {
        key: key(Kind::Rw),
        ts: ts(time),
        value: VALUE,
    }
}

#[test]
fn a_register_goes_back_to_its_newest_version_that_has_a_value() {
    let records = [10, 20, 30, 40].map(complete);
    let node = started(Kind::Rw, &records, &[10, 20]);
    let holding = node.holding(&key(Kind::Rw));
    assert_eq!(holding.newest, ts(40), "it knows of the newest");
    assert_eq!(holding.versions, [ts(20)]);
    assert!(node.refers_to(&ValueId::version(&key(Kind::Rw), ts(20))));

    let whole = started(Kind::Rw, &records, &[10, 20, 30, 40]);
    assert_eq!(whole.holding(&key(Kind::Rw)).versions, [ts(40)]);
    let empty = started(Kind::Rw, &records, &[]);
    assert_eq!(empty.holding(&key(Kind::Rw)).versions, []);
}

/// The version that it went back to is still its own after the next restart, also where a
/// checkpoint came between, wherever it began.
fn stays_at(kind: Kind, records: &[Record], stored: &[u64], version: u64) {
    let (_, persisted) = started_and_persisted(kind, records, stored);
    let all: Vec<Record> = records.iter().cloned().chain(persisted).collect();
    for covered in 0..=all.len() {
        let (early, late) = all.split_at(covered);
        let read: Vec<Record> = fold(early.to_vec())
            .into_iter()
            .chain(late.iter().cloned())
            .collect();
        for records in [fold(read.clone()), read] {
            let node = started(kind, &records, stored);
            let holding = node.holding(&key(kind));
            assert_eq!(holding.versions, [ts(version)], "covered {covered}");
            assert!(holding.newest > ts(version), "covered {covered}: it forgot");
        }
    }
}

#[test]
fn a_register_that_went_back_stays_there() {
    stays_at(Kind::Rw, &[10, 20, 30, 40].map(complete), &[10, 20], 20);
    stays_at(Kind::Rw, &[10, 40].map(complete), &[10], 10);
}

/// What a replica persists that hears of these versions of a machine, one by one.
fn chosen(times: &[u64]) -> Vec<Record> {
    let of = |&time: &u64| {
        let (key, ts) = (key(Kind::Rmw), ts(time));
        let version = Record::Version {
            key: key.clone(),
            ts,
            value: VALUE,
        };
        [version, Record::Chosen { key, ts }]
    };
    times.iter().flat_map(of).collect()
}

/// An object that changes often has thousands of versions since the last checkpoint.
#[test]
fn no_more_is_written_than_what_was_torn() {
    let times: Vec<u64> = (1..=500).collect();
    for kind in [Kind::Rw, Kind::Rmw] {
        let records: Vec<Record> = match kind {
            Kind::Rmw => chosen(&times),
            _ => times.iter().map(|&time| complete(time)).collect(),
        };
        let (_, persisted) = started_and_persisted(kind, &records, &[498]);
        assert_eq!(persisted.len(), 3, "500 and 499 are lost, 498 is back");
    }
}

#[test]
fn a_machine_that_went_back_stays_there() {
    stays_at(Kind::Rmw, &chosen(&[10, 20, 30]), &[10, 20], 20);
    stays_at(Kind::Rmw, &chosen(&[10, 30]), &[10], 10);
}

#[test]
fn a_machine_goes_back_to_its_newest_version_that_has_a_value() {
    let records = chosen(&[10, 20, 30]);
    let node = started(Kind::Rmw, &records, &[10, 20]);
    let holding = node.holding(&key(Kind::Rmw));
    assert_eq!((holding.newest, holding.chosen), (ts(30), ts(30)));
    assert_eq!(holding.versions, [ts(20)]);

    let whole = started(Kind::Rmw, &records, &[10, 20, 30]);
    assert_eq!(whole.holding(&key(Kind::Rmw)).versions, [ts(30)]);
}
