//! How a version of an RMW object follows from earlier ones, by commands.
//!
//! A small command may change a large object. Where a replica has the version that the
//! commands were applied to, they go there in the value's stead (Vivace §3.4.2,
//! "executing commands at replicas"). Differs from the paper: the coordinator applies
//! them too, and makes the value safe in its own site; so a replica that lacks the
//! version asks for the value and nobody waits for it.

use bincode::{Decode, Encode};

use crate::bounded::Bounded;
use crate::machine::Machines;
use crate::machine::object::{Command, Object};
use crate::timestamp::Timestamp;
use crate::value::{VALUE_BYTES_MAX, Value};

/// What a command takes beyond its machine's name and its own bytes: session, sequence,
/// flag, and two lengths.
const COMMAND_OVERHEAD_BYTES: usize =
    Timestamp::BYTES_MAX + u64::BYTES_MAX + bool::BYTES_MAX + 2 * u32::BYTES_MAX;

/// What a step takes beyond its commands.
const STEP_OVERHEAD_BYTES: usize = Timestamp::BYTES_MAX + u32::BYTES_MAX;

/// What a derivation takes beyond its steps.
const OVERHEAD_BYTES: usize = Timestamp::BYTES_MAX + 3 * u32::BYTES_MAX;

/// Steps of one derivation.
pub const STEPS_MAX: usize = 64;

/// A replica applies commands while everything else waits: bytes of the object times
/// commands, at most. A few milliseconds.
const WORK_BYTES_MAX: u64 = VALUE_BYTES_MAX as u64;

/// The versions from `base` to the last step's, and what the last one is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Derivation {
    /// What the first step's commands were applied to.
    pub base: Timestamp,
    /// One for each version, oldest first; at most 64.
    pub steps: Vec<DerivationStep>,
    /// The last version's value. A replica that gets another asks for the value.
    pub result: Fingerprint,
}

/// One version, and the commands that made it of the one before.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DerivationStep {
    /// The version.
    pub ts: Timestamp,
    /// What changed the object, in order; none where the version is the same again under
    /// a new timestamp.
    pub commands: Vec<Command>,
}

/// Tells values apart that should be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Fingerprint {
    /// Its length in bytes.
    bytes: u32,
    /// Its CRC-32C.
    crc32c: u32,
}

impl Fingerprint {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            bytes: u32::try_from(bytes.len()).expect("VALUE_BYTES_MAX is far below 4 GiB"),
            crc32c: crc32c::crc32c(bytes),
        }
    }
}

impl Derivation {
    /// One step: `commands` made `ts` of `base`.
    pub fn new(base: Timestamp, ts: Timestamp, commands: Vec<Command>, value: &[u8]) -> Self {
        Self {
            base,
            steps: vec![DerivationStep { ts, commands }],
            result: Fingerprint::of(value),
        }
    }

    /// The version that it leads to; zero where it leads nowhere.
    pub fn ts(&self) -> Timestamp {
        self.steps.last().map_or(Timestamp::ZERO, |step| step.ts)
    }

    /// The same, from further back: `earlier` leads to this one's base.
    #[must_use]
    pub fn after(&self, earlier: &Self) -> Self {
        let steps = earlier.steps.iter().chain(&self.steps).cloned();
        Self {
            base: earlier.base,
            steps: steps.collect(),
            result: self.result,
        }
    }

    fn commands(&self) -> impl Iterator<Item = &Command> {
        self.steps.iter().flat_map(|step| &step.commands)
    }

    /// About its length on the wire, in bytes, and never less.
    pub fn bytes(&self) -> usize {
        let commands = self.commands().map(|command| {
            COMMAND_OVERHEAD_BYTES + command.machine.len() + command.command.0.len()
        });
        OVERHEAD_BYTES + self.steps.len() * STEP_OVERHEAD_BYTES + commands.sum::<usize>()
    }

    /// Whether it takes at most half of the value's bytes, and its work is bounded.
    pub fn is_worth(&self, value_bytes: u64) -> bool {
        self.steps.len() <= STEPS_MAX
            && 2 * self.bytes() as u64 <= value_bytes
            && self.commands().count() as u64 * value_bytes <= WORK_BYTES_MAX
    }

    /// The versions that it can begin at, newest first: that leaves least to be done.
    pub fn origins(&self) -> impl Iterator<Item = Timestamp> {
        let between = self.steps.iter().rev().skip(1).map(|step| step.ts);
        between.chain([self.base])
    }

    /// The value at [`Derivation::ts`], made from the version `origin`; none where this
    /// node's machines make another value of it than its coordinator's did. Decodes and
    /// encodes the object once, and copies it for each command.
    pub fn follow(&self, machines: &Machines, origin: Timestamp, value: &Value) -> Option<Value> {
        let value = self.apply(machines, origin, value)?;
        let Value::Bytes(bytes) = &value else {
            return None;
        };
        (Fingerprint::of(&bytes.0) == self.result).then_some(value)
    }

    /// The same, whatever comes of it.
    pub fn apply(&self, machines: &Machines, origin: Timestamp, value: &Value) -> Option<Value> {
        let Value::Bytes(bytes) = value else {
            return None;
        };
        let mut object = Object::decode(bytes).ok()?;
        let steps = self.steps.iter().filter(|step| step.ts > origin);
        for command in steps.flat_map(|step| &step.commands) {
            // Each of them changed it at its coordinator.
            object = Object::apply(Some(&object), machines, command).0?;
        }
        Some(Value::Bytes(object.encode()))
    }
}
