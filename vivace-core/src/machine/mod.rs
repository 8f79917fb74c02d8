//! State machines: what an RMW object is (Vivace §2).

use bincode::{Decode, Encode};

pub mod builtin;
pub mod object;
mod registry;
mod sessions;

pub use registry::{Applied, ApplyError, Machines};

/// The longest state-machine name, in bytes.
pub const MACHINE_NAME_BYTES_MAX: usize = 64;

/// A command whose condition does not hold. The state is unchanged, and the client
/// hears [`Failure::Conflict`](crate::client_protocol::Failure::Conflict).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Conflict(pub String);

/// The behaviour of one kind of RMW object.
///
/// `apply` must be deterministic: it may look at the state and the command and at
/// nothing else. It runs at whichever node coordinates the command.
pub trait StateMachine: Default + Encode + Decode<()> + 'static {
    /// Names the machine on the wire and in the stored state; never reuse one for
    /// another layout. 1 to [`MACHINE_NAME_BYTES_MAX`] bytes.
    const NAME: &'static str;

    /// What a client asks for.
    type Command: Encode + Decode<()>;

    /// What it hears.
    type Output: Encode + Decode<()>;

    /// Carries out one command.
    ///
    /// # Errors
    /// [`Conflict`] when the command's condition does not hold; whatever was done
    /// to `self` until then is dropped.
    fn apply(&mut self, command: Self::Command) -> Result<Self::Output, Conflict>;
}
