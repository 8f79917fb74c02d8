//! A counter that never wraps around.

use bincode::{Decode, Encode};

use crate::machine::{Conflict, StateMachine};

/// A signed 64-bit number, 0 at first.
///
/// Layout: a variable-length zigzag integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Counter(i64);

/// What a [`Counter`] does. Each puts out the new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Adds; negative numbers subtract. An overflow is a conflict.
    Add(i64),
    /// Adds where the result stays from `min` to `max`, both included: seats,
    /// stock and quotas. A conflict names the value that was found.
    AddWithin {
        /// What to add.
        amount: i64,
        /// The smallest result allowed.
        min: i64,
        /// The largest result allowed.
        max: i64,
    },
    /// Becomes this number.
    Set(i64),
}

impl Counter {
    /// The number.
    pub fn value(self) -> i64 {
        self.0
    }

    fn plus(self, amount: i64) -> Result<i64, Conflict> {
        self.0
            .checked_add(amount)
            .ok_or_else(|| Conflict(format!("{} + {amount} overflows 64 bits", self.0)))
    }
}

impl StateMachine for Counter {
    const NAME: &'static str = "counter";
    type Command = Command;
    type Output = i64;

    fn apply(&mut self, command: Command) -> Result<i64, Conflict> {
        self.0 = match command {
            Command::Add(amount) => self.plus(amount)?,
            Command::AddWithin { amount, min, max } => {
                let sum = self.plus(amount)?;
                if !(min..=max).contains(&sum) {
                    return Err(Conflict(format!(
                        "the counter is {}; adding {amount} would leave {min} to {max}",
                        self.0
                    )));
                }
                sum
            }
            Command::Set(value) => value,
        };
        Ok(self.0)
    }
}
