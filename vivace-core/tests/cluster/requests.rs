//! What clients ask, and what they hear, in short.

use bytes::Bytes;
use vivace_core::client_protocol::{ClientReply, Failure, Request, SessionId, Success};
use vivace_core::machine::StateMachine;
use vivace_core::machine::builtin::{Counter, Register, counter, register};
use vivace_core::{Blob, Timestamp, Value, codec};

use super::layout;

pub fn write(key: &str, value: impl Into<Vec<u8>>) -> Request {
    Request::Write {
        container: layout::CONTAINER.into(),
        key: layout::key(key),
        value: Value::from(Bytes::from(value.into())),
        durability: None,
    }
}

pub fn read(key: &str) -> Request {
    Request::Read {
        container: layout::CONTAINER.into(),
        key: layout::key(key),
    }
}

/// A session that no node made; larger numbers are younger.
pub fn session(number: u64) -> SessionId {
    SessionId(Timestamp {
        time: number,
        ..Timestamp::ZERO
    })
}

/// One command of a session.
#[derive(Clone, Copy, Debug)]
pub struct Nth {
    pub session: u64,
    pub sequence: u64,
    pub repeated: bool,
}

/// The first command of a session of its own.
pub fn first_of(session: u64) -> Nth {
    Nth {
        session,
        sequence: 1,
        repeated: false,
    }
}

pub fn repeated(nth: Nth) -> Nth {
    Nth {
        repeated: true,
        ..nth
    }
}

pub fn execute<M: StateMachine>(key: &str, nth: Nth, command: &M::Command) -> Request {
    Request::Execute {
        container: layout::CONTAINER.into(),
        key: layout::key(key),
        machine: M::NAME.into(),
        session: session(nth.session),
        sequence: nth.sequence,
        repeated: nth.repeated,
        command: codec::encode(command).into(),
        durability: None,
    }
}

pub fn add(key: &str, nth: Nth, amount: i64) -> Request {
    execute::<Counter>(key, nth, &counter::Command::Add(amount))
}

pub fn set(key: &str, nth: Nth, value: &[u8]) -> Request {
    let value = Blob::from(value.to_vec());
    execute::<Register>(key, nth, &register::Command::Set(value))
}

pub fn read_state<M: StateMachine>(key: &str) -> Request {
    Request::ReadState {
        container: layout::CONTAINER.into(),
        key: layout::key(key),
        machine: M::NAME.into(),
    }
}

/// The bytes that a read found; none where it found none.
#[track_caller]
pub fn value(reply: ClientReply) -> Option<Vec<u8>> {
    match reply {
        Ok(Success::Value { value, .. }) => Some(value.0.to_vec()),
        Ok(Success::NotFound) => None,
        other => panic!("a value is expected, not {other:?}"),
    }
}

#[track_caller]
pub fn written(reply: ClientReply) -> Timestamp {
    match reply {
        Ok(Success::Written { ts }) => ts,
        other => panic!("a write's end is expected, not {other:?}"),
    }
}

/// What a counter's command put out.
#[track_caller]
pub fn counted(reply: ClientReply) -> i64 {
    match reply {
        Ok(Success::Executed { output }) => {
            codec::decode(&output.0, output.0.len()).expect("a counter puts out a number")
        }
        other => panic!("a result is expected, not {other:?}"),
    }
}

/// The state that a read-only command found.
#[track_caller]
pub fn state<M: StateMachine>(reply: ClientReply) -> Option<M> {
    match reply {
        Ok(Success::State { state }) => state.map(|state| {
            codec::decode(&state.0, state.0.len()).expect("the state is this machine's")
        }),
        other => panic!("a state is expected, not {other:?}"),
    }
}

#[track_caller]
pub fn failure(reply: ClientReply) -> Failure {
    match reply {
        Err(failure) => failure,
        Ok(success) => panic!("a failure is expected, not {success:?}"),
    }
}
