//! What a replica holds of one object, for the simulator's judges (feature `sim`).

use super::Node;
use crate::cluster::Kind;
use crate::key::Key;
use crate::timestamp::Timestamp;

/// One object at one replica. An RW object has one complete version at most, and
/// nothing of it is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// The newest timestamp known (RW) or accepted (RMW).
    pub newest: Timestamp,
    /// The newest version known to be chosen (RMW).
    pub chosen: Timestamp,
    /// The versions whose values it has, oldest first.
    pub versions: Vec<Timestamp>,
}

impl Node {
    /// How much is remembered of operations that are under way here: nothing where none is.
    pub fn leftovers(&self) -> usize {
        self.coordinator.leftovers() + self.local.takeovers() + self.arrivals.count()
    }

    /// What this node's replica holds of `key`; nothing where the object has no replica here.
    pub fn holding(&self, key: &Key) -> Holding {
        let held = match self.kind_of(key) {
            Some(Kind::Rw | Kind::Abd) => self.rw.holding(key),
            Some(Kind::Rmw) => self.rmw.holding(key),
            Some(Kind::LanRmw) | None => None,
        };
        held.unwrap_or_default()
    }
}
