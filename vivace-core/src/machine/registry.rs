//! The state machines that a node can run, by name.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{Conflict, MACHINE_NAME_BYTES_MAX, StateMachine};
use crate::blob::Blob;
use crate::codec::{self, CodecError, MESSAGE_BYTES_MAX};

/// What an erased command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The encoded new state; may equal the old one.
    pub state: Blob,
    /// The encoded output.
    pub output: Blob,
}

/// Why a command was not applied. The state is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The command's condition does not hold.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The bytes are no command of this machine.
    #[error("command: {0}")]
    Command(CodecError),
    /// The stored bytes are no state of this machine.
    #[error("stored state: {0}")]
    State(CodecError),
}

trait ErasedMachine: Send + Sync {
    fn apply(&self, state: Option<&Blob>, command: &Blob) -> Result<Applied, ApplyError>;
}

struct Typed<M>(PhantomData<fn() -> M>);

impl<M: StateMachine> ErasedMachine for Typed<M> {
    fn apply(&self, state: Option<&Blob>, command: &Blob) -> Result<Applied, ApplyError> {
        let command: M::Command =
            codec::decode(&command.0, MESSAGE_BYTES_MAX).map_err(ApplyError::Command)?;
        let mut machine = match state {
            Some(state) => codec::decode(&state.0, MESSAGE_BYTES_MAX).map_err(ApplyError::State)?,
            None => M::default(),
        };
        let output = machine.apply(command)?;
        Ok(Applied {
            state: codec::encode(&machine).into(),
            output: codec::encode(&output).into(),
        })
    }
}

/// The state machines that a node can run, by name. Cloning shares them.
#[derive(Clone, Default)]
pub struct Machines(BTreeMap<&'static str, Arc<dyn ErasedMachine>>);

impl Machines {
    /// None at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds `M`, which a client then names by its [`StateMachine::NAME`].
    ///
    /// # Panics
    /// When the name is empty, too long, or taken: two layouts under one name
    /// would corrupt each other's objects.
    #[must_use]
    pub fn with<M: StateMachine>(mut self) -> Self {
        assert!(
            (1..=MACHINE_NAME_BYTES_MAX).contains(&M::NAME.len()),
            "state machine name {:?} must have 1 to {MACHINE_NAME_BYTES_MAX} bytes",
            M::NAME
        );
        let taken = self
            .0
            .insert(M::NAME, Arc::new(Typed::<M>(PhantomData)))
            .is_some();
        assert!(!taken, "state machine {:?} is registered twice", M::NAME);
        self
    }

    /// Whether a machine of this name is registered.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The registered names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.keys().copied()
    }

    /// Applies an encoded command to an encoded state (`None`: no command has run
    /// yet). `None` where no such machine is registered.
    ///
    /// # Errors
    /// [`ApplyError`]; the state is unchanged.
    pub fn apply(
        &self,
        name: &str,
        state: Option<&Blob>,
        command: &Blob,
    ) -> Option<Result<Applied, ApplyError>> {
        self.0
            .get(name)
            .map(|machine| machine.apply(state, command))
    }
}
