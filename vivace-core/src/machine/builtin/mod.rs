//! The state machines that every node knows: small shared objects that services
//! keep asking for. Anything else is an own [`StateMachine`](super::StateMachine).
//!
//! All collections are ordered, so that equal states have equal encodings.
//! A command that would break a bound is refused with a [`Conflict`], like one
//! whose condition does not hold: the state is unchanged.

use super::{Conflict, Machines};
use crate::value::VALUE_BYTES_MAX;

pub mod counter;
pub mod list;
pub mod map;
mod preview;
pub mod register;
pub mod set;

pub use counter::Counter;
pub use list::List;
pub use map::Map;
pub use register::Register;
pub use set::Set;

/// The most bytes of data that one built-in object holds (4 MiB). The rest of the
/// longest value is left to the session table, which is stored beside the state.
pub const STATE_BYTES_MAX: usize = VALUE_BYTES_MAX / 2;

/// The most items, members or fields that one built-in object holds. Every command
/// reads and writes the whole object, so a larger one belongs into several keys.
pub const ENTRIES_MAX: usize = 65_536;

impl Machines {
    /// [`Register`], [`Counter`], [`List`], [`Set`] and [`Map`].
    pub fn builtin() -> Self {
        Self::none()
            .with::<Register>()
            .with::<Counter>()
            .with::<List>()
            .with::<Set>()
            .with::<Map>()
    }
}

/// Refuses what would grow an object past [`STATE_BYTES_MAX`] or [`ENTRIES_MAX`].
fn check_room(what: &str, entries: usize, bytes: usize) -> Result<(), Conflict> {
    if entries > ENTRIES_MAX {
        return Err(Conflict(format!(
            "the {what} would have {entries} entries; the limit is {ENTRIES_MAX}"
        )));
    }
    if bytes > STATE_BYTES_MAX {
        return Err(Conflict(format!(
            "the {what} would hold {bytes} bytes; the limit is {STATE_BYTES_MAX}"
        )));
    }
    Ok(())
}
