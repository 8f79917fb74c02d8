//! A node's state as text, for an explorer that asks whether it was here before.

use std::fmt::{self, Write};

use super::Node;

impl Node {
    /// Writes all that decides what this node will do: not its counters, nor the moment
    /// of its last event.
    pub(crate) fn write_state(&self, out: &mut impl Write) -> fmt::Result {
        let Self {
            env,
            rw,
            rmw,
            lan,
            local,
            waiters,
            repairs,
            deriving,
            arrivals,
            coordinator,
        } = self;
        env.write_state(out)?;
        write!(
            out,
            "{rw:?}{rmw:?}{lan:?}{local:?}{waiters:?}{repairs:?}{deriving:?}{arrivals:?}{coordinator:?}"
        )
    }
}
