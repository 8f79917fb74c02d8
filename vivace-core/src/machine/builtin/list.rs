//! A list that grows at its end and is trimmed at its front.

use std::collections::VecDeque;

use bincode::{Decode, Encode};

use super::{ENTRIES_MAX, STATE_BYTES_MAX, check_room};
use crate::blob::Blob;
use crate::machine::object::SESSIONS_MAX;
use crate::machine::{Conflict, StateMachine};
use crate::value::VALUE_BYTES_MAX;

/// The longest item, in bytes (8 KiB). A popped item stays in the session table for
/// a client that asks again, and a full list must leave room for that in the value.
pub const ITEM_BYTES_MAX: usize = 8 << 10;

const FRAMING_BYTES_MAX: usize = 64;

const _: () = assert!(
    STATE_BYTES_MAX
        + ENTRIES_MAX * size_of::<u32>()
        + SESSIONS_MAX * (ITEM_BYTES_MAX + FRAMING_BYTES_MAX)
        <= VALUE_BYTES_MAX,
    "a full list and a full session table fit into one value"
);

/// Items in the order of their arrival: timelines, logs, queues.
///
/// Layout: the number of items, then each as a [`Blob`], oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct List(VecDeque<Blob>);

/// What a [`List`] does.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Appends an item; a full list is a conflict. Puts out the length.
    Push(Blob),
    /// Appends an item, then drops the oldest ones beyond `max`. Puts out the length.
    PushTrimmed {
        /// The new item.
        item: Blob,
        /// The most items to keep.
        max: u32,
    },
    /// Takes the oldest item away. Puts it out.
    PopFront,
    /// Drops the oldest items beyond this many. Puts out the length.
    TrimTo(u32),
}

/// What a [`List`] puts out.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Output {
    /// How many items there are now.
    Length(u64),
    /// The item that was taken; none where the list was empty.
    Popped(Option<Blob>),
}

impl List {
    /// The items, oldest first.
    pub fn items(&self) -> impl DoubleEndedIterator<Item = &Blob> + ExactSizeIterator {
        self.0.iter()
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, item: Blob, max: usize) -> Result<(), Conflict> {
        if item.0.len() > ITEM_BYTES_MAX {
            return Err(Conflict(format!(
                "the item has {} bytes; the limit is {ITEM_BYTES_MAX}",
                item.0.len()
            )));
        }
        let entries = (self.0.len() + 1).min(max);
        let bytes = self.0.iter().chain([&item]).rev().take(max);
        check_room("list", entries, bytes.map(|item| item.0.len()).sum())?;
        self.0.push_back(item);
        self.trim_to(max);
        Ok(())
    }

    fn trim_to(&mut self, max: usize) {
        let excess = self.0.len().saturating_sub(max);
        self.0.drain(..excess);
    }

    fn length(&self) -> Output {
        Output::Length(self.0.len() as u64)
    }
}

impl StateMachine for List {
    const NAME: &'static str = "list";
    type Command = Command;
    type Output = Output;

    fn apply(&mut self, command: Command) -> Result<Output, Conflict> {
        match command {
            Command::Push(item) => self.push(item, usize::MAX)?,
            Command::PushTrimmed { item, max } => self.push(item, max as usize)?,
            Command::PopFront => return Ok(Output::Popped(self.0.pop_front())),
            Command::TrimTo(max) => self.trim_to(max as usize),
        }
        Ok(self.length())
    }
}
