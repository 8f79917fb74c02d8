//! The cluster's configuration as the protocol sees it: sites, nodes, containers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::client_protocol::CONTAINER_NAME_BYTES_MAX;
use crate::durability::Durability;
use crate::identity::{ContainerId, Epoch, NodeId, SiteId};
use crate::value::VALUE_BYTES_MAX;

/// The largest E: operations wait for it, so a larger one is a mistake of units.
pub const CLOCK_ERROR_MAX: Duration = Duration::from_secs(10);

/// The largest slack: what a broken clock may run ahead before it is refused.
pub const CLOCK_SLACK_MAX: Duration = Duration::from_secs(3600);

/// The most containers: nodes tell each other of all of them as they connect.
pub const CONTAINERS_MAX: usize = 1024;

/// Which algorithm a container's objects run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Vivace's algorithm for RW objects (Alg. 1, mended).
    Rw,
    /// Vivace's algorithm for RMW objects (Alg. 3, mended).
    Rmw,
    /// ABD: RW objects with the values in the messages, all in the bulk class.
    Abd,
    /// Alg. 2: RMW objects with the values in the messages, all in the bulk class.
    LanRmw,
}

impl Kind {
    /// The name in configuration files and in `status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rw => "rw",
            Self::Rmw => "rmw",
            Self::Abd => "abd",
            Self::LanRmw => "lan-rmw",
        }
    }

    /// Whether values go out through local sets.
    pub fn uses_local_sets(self) -> bool {
        matches!(self, Self::Rw | Self::Rmw)
    }

    /// Whether objects are read and written, rather than commanded.
    pub fn is_read_write(self) -> bool {
        matches!(self, Self::Rw | Self::Abd)
    }
}

/// Where a container's timestamps come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampSource {
    /// A node's own clock where its error is known and within the cluster's
    /// bound, else a query; every completing operation waits the error out.
    Clock,
    /// A query to a majority, always: one priority round trip more for a write,
    /// no clock is trusted and nothing waits.
    Query,
}

/// How many copies of a value cross the links between sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueCopies {
    /// One per remote site that has replicas: one member of the local set sends it, its
    /// receiver hands it on there.
    OnePerSite,
    /// The paper's m × n: each member of the local set sends one to each replica. For
    /// comparison; nothing is safer for it.
    MemberByReplica,
}

/// Objects that share a kind, a replica set and local sets (Vivace §3.1).
#[derive(Clone, Debug)]
pub struct Container {
    /// Part of every key.
    pub id: ContainerId,
    /// What clients call it.
    pub name: String,
    /// Its objects' algorithm.
    pub kind: Kind,
    /// Version of the sets below.
    pub epoch: Epoch,
    /// The nodes that store its objects (n).
    pub replicas: Vec<NodeId>,
    /// Per site, the nodes that hold values on their way out (m).
    pub local_sets: BTreeMap<SiteId, Vec<NodeId>>,
    /// Where timestamps come from.
    pub timestamps: TimestampSource,
    /// Whether reads leave out or overlap the write-back where they may (§3.4.1).
    pub write_back_skip: bool,
    /// Whether a coordinator whose round wrote an RMW object's newest version leaves out
    /// the first round trip of the next: replicas promised it as they accepted.
    pub promise_skip: bool,
    /// Whether RMW commands go to other sites in their values' stead where they are
    /// smaller (§3.4.2).
    pub commands_at_replicas: bool,
    /// Whether a read asks a replica in its own site for timestamp and value at once.
    pub early_data: bool,
    /// Whether a write goes to all replicas at once, value and timestamp together, where
    /// the container's layout allows it ([`Cluster::is_one_place`]).
    pub direct_writes: bool,
    /// How many copies of a value cross a link.
    pub copies: ValueCopies,
    /// Where a new value is durable before its writer hears of success, unless the
    /// writer asks for another level. Of no meaning for the baselines, whose values
    /// are at a majority always.
    pub durability: Durability,
}

impl Container {
    /// The local set of `site`; empty where it has none.
    pub fn local_set(&self, site: SiteId) -> &[NodeId] {
        self.local_sets.get(&site).map_or(&[], Vec::as_slice)
    }
}

/// Everything that all nodes of a cluster must agree on.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// The cluster's name; certificates carry it.
    pub name: String,
    /// The sites' names; a [`SiteId`] is an index into it.
    pub sites: Vec<String>,
    /// Where each node is.
    pub nodes: BTreeMap<NodeId, SiteId>,
    /// The containers.
    pub containers: Vec<Container>,
    /// E: the bound on every clock-mode node's clock error.
    pub clock_error_max: Duration,
    /// How much further ahead than 2 E a timestamp may be before it is refused.
    pub clock_slack: Duration,
    /// The longest value, in bytes; at most [`VALUE_BYTES_MAX`].
    pub value_bytes_max: usize,
    /// At this many bytes of values on their way out, a node's writes hear `Busy`.
    pub backlog_bytes_max: u64,
}

/// A configuration that can't work, by field. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct ClusterError {
    /// The field at fault.
    pub field: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

fn wrong(field: impl Into<String>, reason: impl Into<String>) -> ClusterError {
    ClusterError {
        field: field.into(),
        reason: reason.into(),
    }
}

/// A checked [`ClusterSpec`].
#[derive(Clone, Debug)]
pub struct Cluster {
    spec: ClusterSpec,
    /// Shared: whoever serves a message holds its container.
    by_id: BTreeMap<ContainerId, Arc<Container>>,
    by_name: BTreeMap<String, ContainerId>,
    warnings: Vec<String>,
}

impl Cluster {
    /// Checks the specification.
    ///
    /// # Errors
    /// [`ClusterError`] with the first field that is wrong.
    pub fn new(spec: ClusterSpec) -> Result<Self, ClusterError> {
        if spec.nodes.is_empty() {
            return Err(wrong("nodes", "there are none; a cluster has at least one"));
        }
        if spec.value_bytes_max == 0 || spec.value_bytes_max > VALUE_BYTES_MAX {
            return Err(wrong(
                "value_bytes_max",
                format!(
                    "is {}; it must be 1 to {VALUE_BYTES_MAX}",
                    spec.value_bytes_max
                ),
            ));
        }
        for (field, bound, max) in [
            ("clock.error_max_us", spec.clock_error_max, CLOCK_ERROR_MAX),
            ("clock.slack_ms", spec.clock_slack, CLOCK_SLACK_MAX),
        ] {
            if bound > max {
                let reason = format!("is {bound:?}; it must be at most {max:?}");
                return Err(wrong(field, reason));
            }
        }
        if spec.backlog_bytes_max < spec.value_bytes_max as u64 {
            let reason = format!(
                "is {}; it must hold at least one value of value_bytes_max ({}), or no write is taken",
                spec.backlog_bytes_max, spec.value_bytes_max
            );
            return Err(wrong("backlog_bytes_max", reason));
        }
        for (node, site) in &spec.nodes {
            if usize::from(site.0) >= spec.sites.len() {
                return Err(wrong(
                    "nodes",
                    format!("{node} is in {site}, which is not listed"),
                ));
            }
        }
        if spec.containers.len() > CONTAINERS_MAX {
            let reason = format!(
                "are {}; a cluster has at most {CONTAINERS_MAX}",
                spec.containers.len()
            );
            return Err(wrong("containers", reason));
        }
        let mut cluster = Self {
            by_id: BTreeMap::new(),
            by_name: BTreeMap::new(),
            warnings: Vec::new(),
            spec,
        };
        for index in 0..cluster.spec.containers.len() {
            let container = Arc::new(cluster.spec.containers[index].clone());
            cluster.check_container(&container)?;
            let replaced = cluster.by_id.insert(container.id, container.clone());
            if replaced.is_some() {
                return Err(wrong(
                    "containers",
                    format!("id {} is used twice", container.id.0),
                ));
            }
            if cluster
                .by_name
                .insert(container.name.clone(), container.id)
                .is_some()
            {
                return Err(wrong(
                    "containers",
                    format!("name {:?} is used twice", container.name),
                ));
            }
        }
        Ok(cluster)
    }

    fn check_container(&mut self, container: &Container) -> Result<(), ClusterError> {
        let field = |name: &str| format!("containers.{}.{name}", container.name);
        if !(1..=CONTAINER_NAME_BYTES_MAX).contains(&container.name.len())
            || container.name.contains('/')
        {
            return Err(wrong(
                "containers.name",
                format!(
                    "{:?} must have 1 to {CONTAINER_NAME_BYTES_MAX} bytes and no '/'",
                    container.name
                ),
            ));
        }
        self.check_members(&container.replicas, &field("replicas"))?;
        if container.replicas.len().is_multiple_of(2) {
            self.warnings.push(format!(
                "{}: {} replicas tolerate no more crashes than {}; use an odd number",
                field("replicas"),
                container.replicas.len(),
                container.replicas.len() - 1
            ));
        }
        self.check_durability(container, container.durability)
            .map_err(|reason| wrong(field("durability"), reason))?;
        if !container.kind.uses_local_sets() {
            return Ok(());
        }
        let sites: BTreeSet<SiteId> = self.spec.nodes.values().copied().collect();
        for site in sites {
            let set = container.local_set(site);
            let name = &self.spec.sites[usize::from(site.0)];
            let field = field(&format!("local_sets.{name}"));
            self.check_members(set, &field)?;
            for node in set {
                if self.spec.nodes[node] != site {
                    return Err(wrong(
                        field,
                        format!("{node} is in another site; a local set's members are in its own"),
                    ));
                }
            }
            if set.len() == 2 {
                self.warnings.push(format!(
                    "{field}: 2 members tolerate no crash; use 3, or 1 if none need be tolerated"
                ));
            }
        }
        Ok(())
    }

    /// Whether writes to `container` can have this durability.
    ///
    /// # Errors
    /// Why not, and what would be right.
    pub fn check_durability(
        &self,
        container: &Container,
        durability: Durability,
    ) -> Result<(), String> {
        if durability == Durability::Local {
            return Ok(());
        }
        if !container.kind.uses_local_sets() {
            return Err(format!(
                "is {durability}, but {} stores every value at a majority anyway; leave it out",
                container.kind.name()
            ));
        }
        let sites: BTreeSet<Option<SiteId>> = container
            .replicas
            .iter()
            .map(|&node| self.site_of(node))
            .collect();
        if durability == Durability::Remote && sites.len() < 2 {
            return Err(
                "is remote, but all replicas are in one site; use local or majority".into(),
            );
        }
        Ok(())
    }

    fn check_members(&self, members: &[NodeId], field: &str) -> Result<(), ClusterError> {
        if members.is_empty() {
            return Err(wrong(field, "is empty; it needs at least one node"));
        }
        let mut seen = BTreeSet::new();
        for node in members {
            if !self.spec.nodes.contains_key(node) {
                return Err(wrong(field, format!("names {node}, which is not in nodes")));
            }
            if !seen.insert(node) {
                return Err(wrong(field, format!("names {node} twice")));
            }
        }
        Ok(())
    }

    /// What works, but not as its author may think.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether the members of the one local set are the replicas: a majority that holds a
    /// value is then a majority that knows its timestamp, so one round may store both, as in
    /// ABD (RW) or Alg. 2 (RMW), and whoever reads an RW object stores both where it can't
    /// tell that a majority has them, whether or not writes are direct at this node. In
    /// several sites, values would have to be waited for across links.
    pub fn is_one_place(&self, container: &Container) -> bool {
        let mut sets = container.local_sets.values();
        let (Some(set), None) = (sets.next(), sets.next()) else {
            return false;
        };
        container.kind.uses_local_sets()
            && set.len() == container.replicas.len()
            && set.iter().all(|node| container.replicas.contains(node))
    }

    /// The specification that was checked.
    pub fn spec(&self) -> &ClusterSpec {
        &self.spec
    }

    /// The container of this id.
    pub fn container(&self, id: ContainerId) -> Option<&Arc<Container>> {
        self.by_id.get(&id)
    }

    /// The container of this name.
    pub fn container_named(&self, name: &str) -> Option<&Arc<Container>> {
        self.container(*self.by_name.get(name)?)
    }

    /// Where a node is.
    pub fn site_of(&self, node: NodeId) -> Option<SiteId> {
        self.spec.nodes.get(&node).copied()
    }
}
