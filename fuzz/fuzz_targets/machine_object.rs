//! Stored RMW objects: a machine's state and the sessions that changed it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_core::client_protocol::SessionId;
use vivace_core::codec;
use vivace_core::machine::builtin::{Counter, counter};
use vivace_core::machine::object::{Command, Object};
use vivace_core::machine::{Machines, StateMachine};
use vivace_core::{Blob, Timestamp};

fuzz_target!(|bytes: &[u8]| {
    let Ok(object) = Object::decode(&Blob::from(bytes.to_vec())) else {
        return;
    };
    assert_eq!(object.encode().0.len(), object.bytes());
    assert_eq!(
        Object::decode(&object.encode()).as_ref().ok(),
        Some(&object)
    );
    let command = Command {
        machine: Counter::NAME.into(),
        session: SessionId(Timestamp::MAX),
        sequence: 1,
        repeated: true,
        command: codec::encode(&counter::Command::Add(1)).into(),
    };
    let machines = Machines::builtin();
    let (changed, first) = Object::apply(Some(&object), &machines, &command);
    let Some(changed) = changed else {
        return;
    };
    let stored = Object::decode(&changed.encode()).expect("what was changed can be stored");
    assert_eq!(stored, changed);
    let (again, second) = Object::apply(Some(&stored), &machines, &command);
    assert_eq!(
        (again, second),
        (None, first),
        "a command takes effect once"
    );
});
