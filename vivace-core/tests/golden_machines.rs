//! What RMW objects and their commands look like on the wire and on the disk, spelt out.
//! Their bytes stay with users' data: a change here would misread it.

#![allow(clippy::unwrap_used)]

mod corpus;

use std::fmt::Debug;

use bincode::{Decode, Encode};
use vivace_core::client_protocol::SessionId;
use vivace_core::codec;
use vivace_core::machine::builtin::{
    Counter, List, Map, Register, Set, counter, list, map, register, set,
};
use vivace_core::machine::object::{Command, Object};
use vivace_core::machine::{Machines, StateMachine};
use vivace_core::{Blob, Incarnation, NodeId, Timestamp, WriterId};

/// The fuzzer numbers the machines so.
const COUNTER: u8 = 0;
const LIST: u8 = 1;
const MAP: u8 = 2;
const REGISTER: u8 = 3;
const SET: u8 = 4;

fn blob(bytes: &[u8]) -> Blob {
    Blob::from(bytes.to_vec())
}

/// The command is these bytes, and it takes a new machine to the state of those.
fn golden<M>(machine: u8, command: M::Command, command_bytes: &[u8], state_bytes: &[u8])
where
    M: StateMachine + PartialEq + Debug,
    M::Command: PartialEq + Debug + Encode + Decode<()>,
{
    assert_eq!(codec::encode(&command), command_bytes, "{command:?}");
    let read: M::Command = codec::decode(command_bytes, command_bytes.len()).unwrap();
    assert_eq!(read, command);
    let mut state = M::default();
    // A conflict leaves it as it was.
    if state.apply(read).is_err() {
        state = M::default();
    }
    assert_eq!(codec::encode(&state), state_bytes, "{state:?}");
    assert_eq!(
        codec::decode::<M>(state_bytes, state_bytes.len()).unwrap(),
        state
    );
    let length = u8::try_from(state_bytes.len()).unwrap();
    corpus::seed(
        "machine_command",
        &[&[machine, length][..], state_bytes, command_bytes].concat(),
    );
    corpus::seed(
        "machine_command",
        &[&[machine, 0][..], command_bytes].concat(),
    );
}

#[test]
fn counters() {
    golden::<Counter>(COUNTER, counter::Command::Add(-3), &[0, 5], &[5]);
    let within = counter::Command::AddWithin {
        amount: 1,
        min: 0,
        max: 300,
    };
    golden::<Counter>(COUNTER, within, &[1, 2, 0, 251, 88, 2], &[2]);
    golden::<Counter>(COUNTER, counter::Command::Set(7), &[2, 14], &[14]);
}

#[test]
fn lists() {
    golden::<List>(
        LIST,
        list::Command::Push(blob(b"ab")),
        b"\0\x02ab",
        b"\x01\x02ab",
    );
    let trimmed = list::Command::PushTrimmed {
        item: blob(b"ab"),
        max: 9,
    };
    golden::<List>(LIST, trimmed, b"\x01\x02ab\x09", b"\x01\x02ab");
    golden::<List>(LIST, list::Command::PopFront, &[2], &[0]);
    golden::<List>(LIST, list::Command::TrimTo(2), &[3, 2], &[0]);
}

#[test]
fn maps() {
    let field = || "f".to_owned();
    let put = map::Command::Put {
        field: field(),
        value: blob(b"ab"),
    };
    golden::<Map>(MAP, put, b"\0\x01f\x02ab", b"\x01\x01f\x02ab");
    let absent = map::Command::PutIfAbsent {
        field: field(),
        value: blob(b"ab"),
    };
    golden::<Map>(MAP, absent, b"\x01\x01f\x02ab", b"\x01\x01f\x02ab");
    let swap = map::Command::CompareAndSwap {
        field: field(),
        expected: None,
        new: Some(blob(b"ab")),
    };
    golden::<Map>(MAP, swap, b"\x02\x01f\0\x01\x02ab", b"\x01\x01f\x02ab");
    golden::<Map>(
        MAP,
        map::Command::Remove { field: field() },
        b"\x03\x01f",
        &[0],
    );
}

#[test]
fn registers() {
    golden::<Register>(
        REGISTER,
        register::Command::Set(blob(b"ab")),
        b"\0\x02ab",
        b"\x01\x02ab",
    );
    let swap = register::Command::CompareAndSwap {
        expected: Some(blob(b"a")),
        new: None,
    };
    golden::<Register>(REGISTER, swap, b"\x01\x01\x01a\0", &[0]);
    golden::<Register>(REGISTER, register::Command::Delete, &[2], &[0]);
}

#[test]
fn sets() {
    golden::<Set>(
        SET,
        set::Command::Add(b"ab".to_vec()),
        b"\0\x02ab",
        b"\x01\x02ab",
    );
    let within = set::Command::AddWithin {
        member: b"ab".to_vec(),
        max: 2,
    };
    golden::<Set>(SET, within, b"\x01\x02ab\x02", b"\x01\x02ab");
    golden::<Set>(
        SET,
        set::Command::Remove(b"ab".to_vec()),
        b"\x02\x02ab",
        &[0],
    );
    golden::<Set>(SET, set::Command::Clear, &[3], &[0]);
}

/// A machine's name, its state, the horizon, and its sessions' last commands.
#[test]
fn objects() {
    let session = SessionId(Timestamp {
        time: 300,
        writer: WriterId::new(NodeId(2), Incarnation(1)),
    });
    let command = |sequence, command| Command {
        machine: Counter::NAME.into(),
        session,
        sequence,
        repeated: true,
        command: codec::encode(&command).into(),
    };
    let machines = Machines::builtin();
    let add = command(1, counter::Command::Add(3));
    let (object, _) = Object::apply(None, &machines, &add);
    let object = object.unwrap();
    let beginning = b"\x07counter\x01\x01\x06\0\x01";
    let session_bytes = [0, 0, 0, 0, 0, 0, 1, 44, 0, 2, 0, 1];
    let bytes = [&beginning[..], &session_bytes, &[1, 0, 1, 6]].concat();
    assert_eq!(object.encode(), blob(&bytes));
    assert_eq!(Object::decode(&blob(&bytes)).unwrap(), object);
    corpus::seed("machine_object", &bytes);

    let most = counter::Command::Add(i64::MAX);
    let (object, _) = Object::apply(Some(&object), &machines, &command(2, most));
    let reason = b"3 + 9223372036854775807 overflows 64 bits";
    let result = [&[2, 1, reason.len() as u8][..], reason].concat();
    let bytes = [&beginning[..], &session_bytes, &result].concat();
    assert_eq!(object.unwrap().encode(), blob(&bytes));
    corpus::seed("machine_object", &bytes);
}
