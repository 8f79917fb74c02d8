//! What a backup reads, and what it is restored to.

use vivace_core::client_protocol::{Failure, ListedKey, Request, Success};
use vivace_core::cluster::Kind;
use vivace_core::machine::builtin::Counter;
use vivace_core::message::PriorityBody;
use vivace_core::{Blob, Durability, Timestamp, Value};

use crate::cluster::requests::{
    Nth, add, counted, failure, first_of, read_state, repeated, state, write, written,
};
use crate::cluster::{Simulation, layout};
use crate::{A, B, C, drop_if, is_accept, is_write_remote, ms, priority, settle, three_sites};

fn list(simulation: &mut Simulation) -> Vec<ListedKey> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = Request::ListObjects {
            container: layout::CONTAINER.into(),
            after,
            limit: 2,
        };
        match simulation.ask(B, page).0 {
            Ok(Success::Objects { keys: page, more }) => {
                keys.extend(page);
                if more.is_none() {
                    return keys;
                }
                after = more;
            }
            other => panic!("a listing is expected, not {other:?}"),
        }
    }
}

fn copy(simulation: &mut Simulation, listed: &ListedKey) -> Value {
    let copy = Request::CopyObject {
        container: layout::CONTAINER.into(),
        key: listed.key.clone(),
        at_least: listed.ts,
    };
    match simulation.ask(B, copy).0 {
        Ok(Success::Copied { value }) => value,
        other => panic!("a copy is expected, not {other:?}"),
    }
}

fn bytes(value: Value) -> Blob {
    match value {
        Value::Bytes(blob) => blob,
        Value::Tombstone => panic!("it is gone"),
    }
}

fn restore(key: &str, object: &Blob) -> Request {
    Request::RestoreObject {
        container: layout::CONTAINER.into(),
        key: layout::key(key),
        object: object.clone(),
        durability: Some(Durability::Majority),
    }
}

/// B makes the backup and has heard of nothing: its connections lost all that told it.
#[test]
fn what_was_acknowledged_is_copied_wherever_it_is() {
    let mut simulation = three_sites(Kind::Rw);
    drop_if(&mut simulation, |_, to, wire| {
        let tells = matches!(priority(wire), Some(PriorityBody::WriteTs { .. }));
        to == B && (tells || is_write_remote(wire))
    });
    let mut times = Vec::new();
    for key in ["a", "b", "c", "d", "e"] {
        times.push(written(simulation.ask(A, write(key, key)).0));
    }
    let keys = list(&mut simulation);
    let names: Vec<&[u8]> = keys.iter().map(|listed| listed.key.as_bytes()).collect();
    assert_eq!(names, [b"a", b"b", b"c", b"d", b"e"]);
    for (listed, written) in keys.iter().zip(times) {
        assert!(listed.ts >= written, "{listed:?}");
        let value = bytes(copy(&mut simulation, listed));
        assert_eq!(&value.0[..], listed.key.as_bytes());
    }
}

/// A newer write has begun since the listing and its value is at B already.
#[test]
fn a_copy_is_the_listed_version_or_a_newer_one() {
    let mut simulation = three_sites(Kind::Rw);
    written(simulation.ask(A, write("k", "old")).0);
    let listed = list(&mut simulation).remove(0);
    written(simulation.ask(C, write("k", "new")).0);
    settle(&mut simulation);
    assert_eq!(&bytes(copy(&mut simulation, &listed)).0[..], b"new");
    let mut delete = write("k", "");
    if let Request::Write { value, .. } = &mut delete {
        *value = Value::Tombstone;
    }
    written(simulation.ask(A, delete).0);
    settle(&mut simulation);
    assert_eq!(copy(&mut simulation, &listed), Value::Tombstone);
}

/// A version that nobody chose yet is no state of the object: the copy completes it first.
#[test]
fn a_copied_state_is_a_chosen_one() {
    let mut simulation = three_sites(Kind::Rmw);
    assert_eq!(counted(simulation.ask(A, add("k", first_of(1), 5)).0), 5);
    settle(&mut simulation);
    // Of A's next round only A itself hears.
    drop_if(&mut simulation, |from, to, wire| {
        from == A && to != A && is_accept(wire)
    });
    let asked = simulation.request(A, add("k", first_of(2), 1), ms(1000));
    failure(simulation.await_reply(asked));
    simulation.script = None;
    let listed = list(&mut simulation).remove(0);
    let object = bytes(copy(&mut simulation, &listed));
    let now = state::<Counter>(simulation.ask(C, read_state::<Counter>("k")).0);

    let mut anew = three_sites(Kind::Rmw);
    assert_eq!(anew.ask(A, restore("k", &object)).0, Ok(Success::Restored));
    let restored = state::<Counter>(anew.ask(C, read_state::<Counter>("k")).0);
    assert_eq!(restored, now);
}

/// Of one session's two commands the second is asked for again in the new cluster.
#[test]
fn a_restored_object_remembers_its_sessions() {
    let second = Nth {
        session: 1,
        sequence: 2,
        repeated: false,
    };
    let mut simulation = three_sites(Kind::Rmw);
    assert_eq!(counted(simulation.ask(A, add("k", first_of(1), 5)).0), 5);
    assert_eq!(counted(simulation.ask(A, add("k", second, 2)).0), 7);
    let listed = list(&mut simulation).remove(0);
    let object = bytes(copy(&mut simulation, &listed));

    let mut anew = three_sites(Kind::Rmw);
    assert_eq!(anew.ask(C, restore("k", &object)).0, Ok(Success::Restored));
    // A restore that was broken off is done again.
    assert_eq!(anew.ask(A, restore("k", &object)).0, Ok(Success::Restored));
    assert_eq!(counted(anew.ask(B, add("k", repeated(second), 2)).0), 7);
    assert_eq!(counted(anew.ask(B, add("k", first_of(2), 1)).0), 8);
    let refused = failure(anew.ask(A, restore("k", &object)).0);
    assert!(matches!(refused, Failure::Conflict { .. }), "{refused}");
    let now = state::<Counter>(anew.ask(A, read_state::<Counter>("k")).0);
    assert_eq!(now.map(Counter::value), Some(8));
}

#[test]
fn what_is_no_object_is_not_restored() {
    let mut simulation = three_sites(Kind::Rmw);
    let refused = failure(simulation.ask(A, restore("k", &Blob::from(vec![9]))).0);
    assert!(
        matches!(&refused, Failure::Invalid { field, .. } if field == "object"),
        "{refused}"
    );
    assert!(list(&mut simulation).is_empty());
    for kind in [Kind::Rw, Kind::Abd, Kind::LanRmw] {
        let mut simulation = three_sites(kind);
        let refused = failure(simulation.ask(A, restore("k", &Blob::from(vec![9]))).0);
        assert!(matches!(refused, Failure::Invalid { .. }), "{refused}");
    }
}

/// Measurements are not backed up, and say so.
#[test]
fn the_baselines_have_no_backup() {
    for kind in [Kind::Abd, Kind::LanRmw] {
        let mut simulation = three_sites(kind);
        for request in [
            Request::ListObjects {
                container: layout::CONTAINER.into(),
                after: None,
                limit: 2,
            },
            Request::CopyObject {
                container: layout::CONTAINER.into(),
                key: layout::key("k"),
                at_least: Timestamp::ZERO,
            },
        ] {
            let refused = failure(simulation.ask(A, request).0);
            assert!(matches!(refused, Failure::Invalid { .. }), "{refused}");
        }
    }
}
