//! What mutants find where a node is asked for a value.

use super::Node;
use crate::cluster::Container;
use crate::identity::NodeId;
use crate::key::Key;
use crate::local_set::Found;
use crate::timestamp::Timestamp;
use crate::vivace_rmw::Derivation;

impl Node {
    /// Any local copy answers R-DATA, whoever else holds it.
    pub(super) fn find_unsafe(&self, key: &Key, at_least: Timestamp) -> Option<Found> {
        self.rw
            .find(key, at_least)
            .map(Found::version)
            .or_else(|| self.local.find_newest(key, at_least))
    }

    /// Commands are applied to the newest version, whichever they were for.
    pub(super) fn derive_from_newest(
        &mut self,
        container: &Container,
        key: &Key,
        propagator: NodeId,
        mut derivation: Derivation,
    ) {
        if let Some((newest, ..)) = self.rmw.find_newest(key) {
            derivation.base = newest;
            self.derive(container, key, propagator, derivation);
        }
    }

    /// A version that the replica has not accepted does not answer OR-DATA.
    pub(super) fn find_accepted(
        &self,
        key: &Key,
        at_least: Timestamp,
        below: Timestamp,
    ) -> Option<Found> {
        self.rmw
            .find_accepted(key, at_least, below)
            .map(Found::version)
            .or_else(|| self.local.find_rmw(key, at_least, below))
    }
}
