//! Clusters to test on.

use std::collections::BTreeMap;
use std::time::Duration;

use vivace_core::cluster::{ClusterSpec, Container, Kind, TimestampSource, ValueCopies};
use vivace_core::{ContainerId, Durability, Epoch, KeyName, NodeId, SiteId};

/// The container of all tests that need only one.
pub const CONTAINER: &str = "objects";

/// A cluster with `nodes_per_site[i]` nodes in site i, numbered through, and no
/// container; E is 2 ms.
pub fn sites(nodes_per_site: &[u16]) -> ClusterSpec {
    let mut nodes = BTreeMap::new();
    for (site, &count) in nodes_per_site.iter().enumerate() {
        for _ in 0..count {
            nodes.insert(NodeId(nodes.len() as u16), SiteId(site as u16));
        }
    }
    ClusterSpec {
        name: "test".into(),
        sites: (0..nodes_per_site.len())
            .map(|site| format!("site{site}"))
            .collect(),
        nodes,
        containers: Vec::new(),
        clock_error_max: Duration::from_millis(2),
        clock_slack: Duration::from_millis(100),
        value_bytes_max: 1 << 20,
        backlog_bytes_max: 64 << 20,
    }
}

/// [`CONTAINER`] on these replicas and local sets (by site, in order).
pub fn container(kind: Kind, replicas: &[u16], local_sets: &[&[u16]]) -> Container {
    let nodes = |numbers: &[u16]| numbers.iter().map(|&number| NodeId(number)).collect();
    Container {
        id: ContainerId(1),
        name: CONTAINER.into(),
        kind,
        epoch: Epoch(1),
        replicas: nodes(replicas),
        local_sets: local_sets
            .iter()
            .enumerate()
            .map(|(site, set)| (SiteId(site as u16), nodes(set)))
            .collect(),
        timestamps: TimestampSource::Clock,
        write_back_skip: true,
        promise_skip: true,
        commands_at_replicas: true,
        early_data: true,
        direct_writes: true,
        copies: ValueCopies::OnePerSite,
        durability: Durability::Local,
    }
}

pub fn key(name: &str) -> KeyName {
    KeyName::new(name.as_bytes()).expect("the test's key is valid")
}
