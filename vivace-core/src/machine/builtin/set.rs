//! A set of byte strings.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};

use super::check_room;
use crate::machine::{Conflict, StateMachine};

/// The longest member, in bytes.
pub const MEMBER_BYTES_MAX: usize = 1024;

/// Members without order or repetition: followers, seats, participants.
///
/// Layout: the number of members, then each as its length and bytes, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Set(BTreeSet<Vec<u8>>);

/// What a [`Set`] does. Each puts out whether the set changed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Adds a member.
    Add(Vec<u8>),
    /// Adds a member where at most `max` are in the set afterwards; a conflict
    /// otherwise. One that is in already stays.
    AddWithin {
        /// The new member.
        member: Vec<u8>,
        /// The most members allowed.
        max: u32,
    },
    /// Removes a member.
    Remove(Vec<u8>),
    /// Removes every member.
    Clear,
}

impl Set {
    /// The members, sorted by their bytes.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.0.iter().map(Vec::as_slice)
    }

    /// Whether `member` is in the set.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.0.contains(member)
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, member: Vec<u8>, max: usize) -> Result<bool, Conflict> {
        if member.len() > MEMBER_BYTES_MAX {
            return Err(Conflict(format!(
                "the member has {} bytes; the limit is {MEMBER_BYTES_MAX}",
                member.len()
            )));
        }
        if self.0.contains(&member) {
            return Ok(false);
        }
        if self.0.len() >= max {
            return Err(Conflict(format!(
                "the set has {} members; the command allows {max}",
                self.0.len()
            )));
        }
        let bytes: usize = self.0.iter().map(Vec::len).sum();
        check_room("set", self.0.len() + 1, bytes + member.len())?;
        Ok(self.0.insert(member))
    }
}

impl StateMachine for Set {
    const NAME: &'static str = "set";
    type Command = Command;
    type Output = bool;

    fn apply(&mut self, command: Command) -> Result<bool, Conflict> {
        match command {
            Command::Add(member) => self.add(member, usize::MAX),
            Command::AddWithin { member, max } => self.add(member, max as usize),
            Command::Remove(member) => Ok(self.0.remove(&member)),
            Command::Clear => Ok(!std::mem::take(&mut self.0).is_empty()),
        }
    }
}
