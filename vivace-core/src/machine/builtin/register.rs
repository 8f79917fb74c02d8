//! A register: one value, or none, that changes by compare-and-swap.

use bincode::{Decode, Encode};

use super::check_room;
use super::preview::preview;
use crate::blob::Blob;
use crate::machine::{Conflict, StateMachine};

/// One value, or none. Locks, leases and configuration switches are registers.
///
/// Layout: `0`, or `1` and the value as a [`Blob`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Register(Option<Blob>);

/// What a [`Register`] does. Nothing is put out: what holds afterwards is known
/// from the command.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Holds this value from now on.
    Set(Blob),
    /// Goes from `expected` to `new`; `None` stands for "no value" in both. A
    /// conflict names what was found instead.
    CompareAndSwap {
        /// What must be there now.
        expected: Option<Blob>,
        /// What is there afterwards.
        new: Option<Blob>,
    },
    /// Holds no value from now on.
    Delete,
}

impl Register {
    /// The value, where there is one.
    pub fn value(&self) -> Option<&Blob> {
        self.0.as_ref()
    }

    fn replace(&mut self, new: Option<Blob>) -> Result<(), Conflict> {
        check_room("register", 1, new.as_ref().map_or(0, |value| value.0.len()))?;
        self.0 = new;
        Ok(())
    }
}

impl StateMachine for Register {
    const NAME: &'static str = "register";
    type Command = Command;
    type Output = ();

    fn apply(&mut self, command: Command) -> Result<(), Conflict> {
        match command {
            Command::Set(value) => self.replace(Some(value)),
            Command::CompareAndSwap { expected, new } if self.0 == expected => self.replace(new),
            Command::CompareAndSwap { expected, .. } => Err(Conflict(format!(
                "expected {}, found {}",
                preview(expected.as_ref().map(|value| &value.0[..])),
                preview(self.0.as_ref().map(|value| &value.0[..])),
            ))),
            Command::Delete => self.replace(None),
        }
    }
}
