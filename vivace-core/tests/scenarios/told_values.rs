//! Direct writes whose values a crash left ahead of their records: a start takes their word.

use vivace_core::cluster::Kind;
use vivace_core::record::Record;
use vivace_core::stored::ValueId;
use vivace_core::{Incarnation, Node, Timestamp, WriterId};

use crate::A;
use crate::torn_values::{complete, key, persisted, restarting, ts};

/// A replica that read these records and found values of these versions, which are records of
/// themselves; with what it asks to be made durable at once.
fn started(kind: Kind, records: &[Record], told: &[Timestamp]) -> (Node, Vec<Record>) {
    let mut node = restarting(kind, records);
    let id = |ts: &Timestamp| ValueId::version(&key(kind), *ts);
    node.recover_stored(told.iter().map(|ts| (id(ts), 8)));
    assert_eq!(node.drop_unstored(&|_| true), 0);
    let persisted = persisted(&mut node);
    (node, persisted)
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
    let writer = WriterId::new(A, Incarnation(1));
    let mine = Timestamp { writer, ..ts(30) };
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
