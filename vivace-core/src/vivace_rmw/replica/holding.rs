//! What the simulator's judges see.

use super::Replica;
use crate::key::Key;
use crate::node::Holding;

impl Replica {
    /// What is held of `key`.
    pub fn holding(&self, key: &Key) -> Option<Holding> {
        let object = self.objects.get(key)?;
        Some(Holding {
            newest: object.accepted,
            chosen: object.chosen,
            versions: object.versions.timestamps().collect(),
        })
    }
}
