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
    /// where clocks count, of their bounds too.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::cluster::{ClusterSpec, Kind, ValueCopies};
    use crate::durability::Durability;
    use crate::identity::SiteId;

    const FOUR: [u16; 4] = [1, 2, 3, 4];

    /// Two sites of two nodes.
    fn spec() -> ClusterSpec {
        let site = |node: u16| SiteId(u16::from(node > 2));
        let container = Container {
            id: ContainerId(1),
            name: "kv".into(),
            kind: Kind::Rw,
            epoch: Epoch(1),
            replicas: [1, 2, 3].map(NodeId).to_vec(),
            local_sets: BTreeMap::from([
                (SiteId(0), [1, 2].map(NodeId).to_vec()),
                (SiteId(1), [3, 4].map(NodeId).to_vec()),
            ]),
            timestamps: TimestampSource::Clock,
            write_back_skip: true,
            promise_skip: true,
            commands_at_replicas: true,
            early_data: true,
            copies: ValueCopies::OnePerSite,
            durability: Durability::Local,
        };
        ClusterSpec {
            name: "alpha".into(),
            sites: vec!["east".into(), "west".into()],
            nodes: FOUR.map(|node| (NodeId(node), site(node))).into(),
            containers: vec![container],
            clock_error_max: Duration::from_millis(5),
            clock_slack: Duration::from_millis(100),
            value_bytes_max: 1 << 10,
            backlog_bytes_max: 1 << 20,
        }
    }

    fn agreement(edit: impl FnOnce(&mut ClusterSpec)) -> Agreement {
        let mut spec = spec();
        edit(&mut spec);
        let cluster = Cluster::new(spec).expect("it can be");
        Agreement::of(&cluster, &cluster.spec().containers[0])
    }

    #[test]
    fn what_majorities_and_promises_rest_on_must_be_equal() {
        let here = agreement(|_| {});
        type Edit = fn(&mut ClusterSpec);
        let edits: [Edit; 6] = [
            |spec| spec.containers[0].name = "kw".into(),
            |spec| spec.containers[0].kind = Kind::Rmw,
            |spec| spec.containers[0].replicas[2] = NodeId(4),
            |spec| {
                drop(
                    spec.containers[0]
                        .local_sets
                        .insert(SiteId(0), vec![NodeId(1)]),
                )
            },
            |spec| spec.containers[0].timestamps = TimestampSource::Query,
            |spec| spec.clock_error_max = Duration::from_millis(6),
        ];
        for (number, edit) in edits.into_iter().enumerate() {
            assert!(!here.allows(&agreement(edit)), "edit {number}");
        }
    }

    #[test]
    fn what_each_node_decides_alone_may_differ() {
        let here = agreement(|_| {});
        type Edit = fn(&mut ClusterSpec);
        let edits: [Edit; 7] = [
            |spec| spec.containers[0].replicas.reverse(),
            // Replicas promise whether or not coordinators make use of it.
            |spec| spec.containers[0].promise_skip = false,
            |spec| spec.containers[0].early_data = false,
            |spec| spec.backlog_bytes_max = 1 << 30,
            |spec| spec.containers[0].id = ContainerId(2),
            |spec| {
                spec.containers[0].epoch = Epoch(2);
                spec.containers[0].kind = Kind::Rmw;
            },
            |spec| {
                let container = &mut spec.containers[0];
                container.timestamps = TimestampSource::Query;
                container.epoch = Epoch(3);
            },
        ];
        for (number, edit) in edits.into_iter().enumerate() {
            assert!(here.allows(&agreement(edit)), "edit {number}");
        }
    }
}
