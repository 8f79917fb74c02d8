//! What the simulator's judges see.

use super::Replica;
use crate::key::Key;
use crate::node::Holding;
use crate::timestamp::Timestamp;

impl Replica {
    /// What is held of `key`.
    pub fn holding(&self, key: &Key) -> Option<Holding> {
        let object = self.objects.get(key)?;
        Some(Holding {
            newest: object.known,
            chosen: Timestamp::ZERO,
            versions: object.complete.iter().map(|(ts, _)| *ts).collect(),
        })
    }
}
