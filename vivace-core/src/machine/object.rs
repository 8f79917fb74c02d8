//! The value of an RMW object: a machine's state and the sessions that changed it.
//!
//! The session table is part of the value (PROTOCOL, RMW mend 3): whoever builds on
//! a version knows which commands it contains, so none is applied twice.

use bincode::{Decode, Encode};

use super::registry::{ApplyError, Machines};
use super::sessions::{Session, Sessions};
use crate::blob::Blob;
use crate::client_protocol::{Failure, SessionId, Success};
use crate::codec::{self, CodecError};

/// Sessions that an object remembers. With one more, the one that was silent for
/// longest is forgotten, and all that are no younger than it are refused unless
/// they are in the table: a command is lost to its client rather than run twice.
pub const SESSIONS_MAX: usize = 256;

/// An RMW object's contents: on the disk all but the sessions, then those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    front: Front,
    sessions: Sessions,
}

/// All but the sessions.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Front {
    machine: String,
    /// None where no command has changed it yet.
    state: Option<Blob>,
    /// The youngest session ever forgotten.
    horizon: Option<SessionId>,
}

/// One command as its client numbered it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Command {
    /// The state machine's name.
    pub machine: String,
    /// The session.
    pub session: SessionId,
    /// The number within it.
    pub sequence: u64,
    /// Whether another try of it may be under way.
    pub repeated: bool,
    /// The encoded command.
    pub command: Blob,
}

impl Object {
    /// Reads a stored object.
    ///
    /// # Errors
    /// [`CodecError`] where the bytes are none.
    pub fn decode(bytes: &Blob) -> Result<Self, CodecError> {
        let (front, read) = codec::decode_front(&bytes.0)?;
        let sessions = Sessions::decode(&bytes.0.slice(read..))?;
        Ok(Self { front, sessions })
    }

    /// The bytes to store.
    pub fn encode(&self) -> Blob {
        let mut bytes = Vec::with_capacity(self.bytes());
        codec::encode_into(&self.front, &mut bytes);
        self.sessions.encode_into(&mut bytes);
        bytes.into()
    }

    /// The number of bytes to store.
    pub fn bytes(&self) -> usize {
        codec::encoded_bytes(&self.front) + self.sessions.bytes()
    }

    /// The state, for a reader who knows which machine it is.
    ///
    /// # Errors
    /// [`Failure::Invalid`] where it is another.
    pub fn state(&self, machine: &str) -> Result<Option<Blob>, Failure> {
        self.expect_machine(machine)?;
        Ok(self.front.state.clone())
    }

    /// The name of the state machine that it is.
    pub fn machine(&self) -> &str {
        &self.front.machine
    }

    /// The youngest session that was ever forgotten.
    pub fn horizon(&self) -> Option<SessionId> {
        self.front.horizon
    }

    fn expect_machine(&self, machine: &str) -> Result<(), Failure> {
        if self.front.machine == machine {
            return Ok(());
        }
        Err(Failure::Invalid {
            field: "machine".into(),
            reason: format!(
                "the object is a {:?}, not a {machine:?}",
                self.front.machine
            ),
        })
    }

    /// Applies a command at most once. Returns the object after it, where it
    /// changed, and the client's answer.
    pub fn apply(
        object: Option<&Self>,
        machines: &Machines,
        command: &Command,
    ) -> (Option<Self>, Result<Success, Failure>) {
        let answer = |result: Result<Blob, String>| match result {
            Ok(output) => Ok(Success::Executed { output }),
            Err(reason) => Err(Failure::Conflict { reason }),
        };
        match Self::try_apply(object, machines, command) {
            Ok((changed, result)) => (changed, answer(result)),
            Err(failure) => (None, Err(failure)),
        }
    }

    fn try_apply(
        object: Option<&Self>,
        machines: &Machines,
        command: &Command,
    ) -> Result<(Option<Self>, Result<Blob, String>), Failure> {
        if let Some(object) = object {
            object.expect_machine(&command.machine)?;
            if let Some(result) = object.earlier_result(command)? {
                return Ok((None, result));
            }
        }
        let old = object.and_then(|object| object.front.state.as_ref());
        let applied = machines
            .apply(&command.machine, old, &command.command)
            .ok_or_else(|| invalid("machine", "is not registered at this node"))?;
        let (new, result) = match applied {
            Ok(applied) => (Some(applied.state), Ok(applied.output)),
            Err(ApplyError::Conflict(conflict)) => (old.cloned(), Err(conflict.0)),
            Err(ApplyError::Command(error)) => return Err(invalid("command", error)),
            Err(ApplyError::State(error)) => return Err(invalid("machine", error)),
        };
        // A command that changed nothing and was sent once needs no memory.
        if new.as_ref() == old && !command.repeated {
            return Ok((None, result));
        }
        let session = Session {
            id: command.session,
            sequence: command.sequence,
            result: result
                .as_ref()
                .map(|output| &output.0[..])
                .map_err(|reason| &reason[..]),
        };
        let none = Sessions::default();
        let sessions = object.map_or(&none, |object| &object.sessions);
        let (sessions, forgotten) = sessions.with(session, SESSIONS_MAX);
        let front = Front {
            machine: command.machine.clone(),
            state: new,
            horizon: object.and_then(Self::horizon).max(forgotten),
        };
        Ok((Some(Self { front, sessions }), result))
    }

    /// The result of this very command, where it has run before.
    fn earlier_result(&self, command: &Command) -> Result<Option<Result<Blob, String>>, Failure> {
        match self.sessions.get(command.session) {
            Some(session) if session.sequence == command.sequence => {
                let output = session.result.map(|output| Blob::from(output.to_vec()));
                Ok(Some(output.map_err(str::to_owned)))
            }
            Some(session) if session.sequence > command.sequence => Err(invalid(
                "sequence",
                format!(
                    "{} is behind {}, which this session has executed",
                    command.sequence, session.sequence
                ),
            )),
            Some(_) => Ok(None),
            None if self
                .front
                .horizon
                .is_some_and(|horizon| command.session <= horizon) =>
            {
                Err(Failure::SessionForgotten)
            }
            None => Ok(None),
        }
    }

    /// The object without its sessions' commands, for a mutant.
    #[cfg(feature = "sim")]
    pub fn forget_commands(mut self) -> Self {
        self.sessions = Sessions::default();
        self
    }
}

fn invalid(field: &str, reason: impl ToString) -> Failure {
    Failure::Invalid {
        field: field.into(),
        reason: reason.to_string(),
    }
}
