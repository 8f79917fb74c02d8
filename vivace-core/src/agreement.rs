//! What all nodes must agree on about a container, or its promise is void.

use std::fmt::Write;

use crate::cluster::{Cluster, Container, TimestampSource};
use crate::identity::{ContainerId, Epoch, NodeId};

/// What a node makes of one container, as a checksum: equal where two nodes count the same
/// majorities, keep the same promises, and trust clocks equally far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The container.
    pub container: ContainerId,
    /// Nodes of different epochs refuse each other's messages, and may disagree.
    pub epoch: Epoch,
    /// CRC-32C of the container's name, kind, replicas, local sets and source of timestamps;
    /// where clocks count, of their bounds too; and of whether all is in one place, where
    /// earlier versions read otherwise.
    pub checksum: u32,
}

impl Agreement {
    /// What is told of where two nodes disagree.
    pub const FIELDS: &str = "name, kind, replicas, local_sets, timestamps, or the clock's bounds";

    /// What `cluster` says of `container`. The order in which sites and nodes are listed
    /// makes no difference.
    pub fn of(cluster: &Cluster, container: &Container) -> Self {
        let spec = cluster.spec();
        let (name, kind) = (&container.name, container.kind.name());
        let mut text = format!("{name:?} {kind} {:?}", container.timestamps);
        append(&mut text, "replicas", &container.replicas);
        if container.kind.uses_local_sets() {
            let mut sets: Vec<(&String, &Vec<NodeId>)> = container
                .local_sets
                .iter()
                .filter_map(|(site, set)| Some((spec.sites.get(usize::from(site.0))?, set)))
                .collect();
            sets.sort_unstable();
            for (site, set) in sets {
                append(&mut text, site, set);
            }
        }
        if container.timestamps == TimestampSource::Clock {
            let (error, slack) = (spec.clock_error_max, spec.clock_slack);
            write!(text, " {error:?} {slack:?}").expect("a string takes all");
        }
        if cluster.is_one_place(container) {
            text += " direct";
        }
        Self {
            container: container.id,
            epoch: container.epoch,
            checksum: crc32c::crc32c(text.as_bytes()),
        }
    }

    /// Whether both may serve the container together.
    pub fn allows(&self, other: &Self) -> bool {
        self.container != other.container
            || self.epoch != other.epoch
            || self.checksum == other.checksum
    }
}

fn append(text: &mut String, name: &str, nodes: &[NodeId]) {
    let mut nodes = nodes.to_vec();
    nodes.sort_unstable();
    write!(text, " {name:?} {nodes:?}").expect("a string takes all");
}
