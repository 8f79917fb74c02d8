//! Commands and states of the built-in machines: the first byte chooses the machine, the
//! second says how long the state is; the command follows it.

#![no_main]

use std::fmt::Debug;

use bincode::{Decode, Encode};
use libfuzzer_sys::fuzz_target;
use vivace_core::Blob;
use vivace_core::codec::{self, MESSAGE_BYTES_MAX};
use vivace_core::machine::builtin::{Counter, List, Map, Register, Set};
use vivace_core::machine::{Machines, StateMachine};
use vivace_fuzz::round_trip;

fn try_machine<M>(state: &[u8], command: &[u8])
where
    M: StateMachine + PartialEq + Debug,
    M::Command: PartialEq + Debug,
    M::Output: PartialEq + Debug,
{
    let has_command = round_trip::<M::Command>(command, MESSAGE_BYTES_MAX).is_some();
    let has_state = round_trip::<M>(state, MESSAGE_BYTES_MAX).is_some();
    let old = (!state.is_empty()).then(|| Blob::from(state.to_vec()));
    let apply = || {
        let command = Blob::from(command.to_vec());
        Machines::builtin()
            .apply(M::NAME, old.as_ref(), &command)
            .expect("it is built in")
    };
    let Ok(applied) = apply() else {
        return;
    };
    assert!(has_command, "no command was applied");
    assert!(has_state || old.is_none(), "it was applied to no state");
    assert_eq!(
        apply().ok().as_ref(),
        Some(&applied),
        "equal commands do the same"
    );
    decoded::<M>(&applied.state);
    decoded::<M::Output>(&applied.output);
}

fn decoded<T: Encode + Decode<()> + PartialEq + Debug>(bytes: &Blob) {
    let whole = round_trip::<T>(&bytes.0, MESSAGE_BYTES_MAX);
    let whole = whole.expect("what a command leaves behind can be read");
    assert_eq!(codec::encode(&whole), bytes.0, "in one form only");
}

fuzz_target!(|bytes: &[u8]| {
    let &[machine, length, ref rest @ ..] = bytes else {
        return;
    };
    let (state, command) = rest.split_at(usize::from(length).min(rest.len()));
    match machine % 5 {
        0 => try_machine::<Counter>(state, command),
        1 => try_machine::<List>(state, command),
        2 => try_machine::<Map>(state, command),
        3 => try_machine::<Register>(state, command),
        _ => try_machine::<Set>(state, command),
    }
});
