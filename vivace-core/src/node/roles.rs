//! Which requests this node may serve at all.

use std::sync::Arc;

use super::Node;
use crate::cluster::{Container, Kind};
use crate::identity::{ContainerId, NodeId};
use crate::key::Key;
use crate::message::Refusal;
use crate::timestamp::Timestamp;

impl Node {
    /// The container, where this node may serve the request at all.
    pub(super) fn container_for(
        &mut self,
        key: &Key,
        epoch: crate::identity::Epoch,
    ) -> Result<Arc<Container>, Refusal> {
        self.container_of(key.container, epoch)
    }

    /// The container of this id, where this node serves `epoch` of it.
    pub(super) fn container_of(
        &mut self,
        id: ContainerId,
        epoch: crate::identity::Epoch,
    ) -> Result<Arc<Container>, Refusal> {
        let Some(container) = self.env.cluster.container(id) else {
            self.env.counters.count("refused: unknown container");
            return Err(Refusal::UnknownContainer {});
        };
        if container.epoch != epoch {
            let current = container.epoch;
            self.env.counters.count("refused: another epoch");
            return Err(Refusal::WrongEpoch { current });
        }
        Ok(container.clone())
    }

    pub(super) fn as_replica(
        &mut self,
        container: &Container,
        kinds: &[Kind],
    ) -> Result<(), Refusal> {
        if !kinds.contains(&container.kind) {
            self.env
                .counters
                .count("refused: message of another algorithm");
            return Err(Refusal::WrongKind {});
        }
        if !container.replicas.contains(&self.env.me) {
            self.env.counters.count("refused: not a replica");
            return Err(Refusal::NotAMember {});
        }
        Ok(())
    }

    pub(super) fn as_local(&mut self, container: &Container, from: NodeId) -> Result<(), Refusal> {
        if !container.kind.uses_local_sets() {
            self.env
                .counters
                .count("refused: message of another algorithm");
            return Err(Refusal::WrongKind {});
        }
        if !container.local_set(self.env.site).contains(&self.env.me) || !self.env.is_local(from) {
            self.env.counters.count("refused: not in the local set");
            return Err(Refusal::NotAMember {});
        }
        Ok(())
    }

    pub(super) fn refuse_future(
        &mut self,
        container: &Container,
        ts: Timestamp,
    ) -> Result<(), Refusal> {
        self.env.refuse_future(container, ts).map_or(Ok(()), Err)
    }
}
