//! A crash left records without their values: the replica goes back to the version before,
//! which it has acknowledged, and whose value is still stored (seed 70014696).

use std::sync::Arc;
use std::time::Duration;

use vivace_core::clock::{ClockReading, Now};
use vivace_core::cluster::{Cluster, Kind};
use vivace_core::machine::Machines;
use vivace_core::record::Record;
use vivace_core::stored::{StoredValue, ValueId};
use vivace_core::{Incarnation, Key, Node, NodeId, Timestamp, WriterId};

use crate::cluster::layout;
use crate::{A, spec};

fn ts(time: u64) -> Timestamp {
    Timestamp {
        time,
        writer: WriterId::new(NodeId(3), Incarnation(1)),
    }
}

/// A replica that read these records, of whose values those at `stored` are there.
fn started(kind: Kind, records: &[Record], stored: &[u64]) -> Node {
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
    let stored: Vec<ValueId> = stored
        .iter()
        .map(|&time| ValueId::version(&key(kind), ts(time)))
        .collect();
    node.drop_unstored(&|id| stored.contains(id));
    node
}

fn key(kind: Kind) -> Key {
    Key {
        container: spec(kind, |_| {}).containers[0].id,
        name: layout::key("k"),
    }
}

const VALUE: StoredValue = StoredValue::Bytes(8);

#[test]
fn a_register_goes_back_to_its_newest_version_that_has_a_value() {
    let complete = |time| Record::Complete {
        key: key(Kind::Rw),
        ts: ts(time),
        value: VALUE,
    };
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

#[test]
fn a_machine_goes_back_to_its_newest_version_that_has_a_value() {
    let records: Vec<Record> = [10, 20, 30]
        .into_iter()
        .flat_map(|time| {
            let (key, ts) = (key(Kind::Rmw), ts(time));
            let version = Record::Version {
                key: key.clone(),
                ts,
                value: VALUE,
            };
            [version, Record::Chosen { key, ts }]
        })
        .collect();
    let node = started(Kind::Rmw, &records, &[10, 20]);
    let holding = node.holding(&key(Kind::Rmw));
    assert_eq!((holding.newest, holding.chosen), (ts(30), ts(30)));
    assert_eq!(holding.versions, [ts(20)]);

    let whole = started(Kind::Rmw, &records, &[10, 20, 30]);
    assert_eq!(whole.holding(&key(Kind::Rmw)).versions, [ts(30)]);
}
