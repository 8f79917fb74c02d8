//! The cluster's file: what all of its nodes share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use vivace_core::cluster::{Cluster, ClusterSpec, Container, Kind, TimestampSource, ValueCopies};
use vivace_core::{ContainerId, Durability, Epoch, NodeId, SiteId};

use super::{ConfigError, Wrong, field, parse, read_toml};
use crate::storage::identity::{ClusterId, Owner};
use crate::transport::DSCP_MAX;
use crate::transport::identity::ClusterName;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterFile {
    name: String,
    #[serde(default)]
    id: Option<String>,
    sites: Vec<String>,
    clock: ClusterClock,
    #[serde(default)]
    limits: LimitFields,
    #[serde(default)]
    dscp: DscpFields,
    nodes: Vec<NodeFields>,
    containers: Vec<ContainerFields>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterClock {
    error_max_us: u64,
    slack_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitFields {
    value_bytes_max: usize,
    backlog_bytes_max: u64,
}

impl Default for LimitFields {
    fn default() -> Self {
        Self {
            value_bytes_max: 1 << 20,
            backlog_bytes_max: 256 << 20,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DscpFields {
    priority: u8,
    bulk: u8,
}

impl Default for DscpFields {
    fn default() -> Self {
        Self {
            priority: 46,
            bulk: 0,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFields {
    id: u16,
    site: String,
    priority: SocketAddr,
    bulk: SocketAddr,
    client: SocketAddr,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContainerFields {
    id: u32,
    name: String,
    kind: KindField,
    epoch: u32,
    replicas: Vec<u16>,
    #[serde(default)]
    local_sets: BTreeMap<String, Vec<u16>>,
    #[serde(default)]
    timestamps: TimestampsField,
    #[serde(default = "yes")]
    write_back_skip: bool,
    #[serde(default = "yes")]
    promise_skip: bool,
    #[serde(default = "yes")]
    commands_at_replicas: bool,
    #[serde(default = "yes")]
    early_data: bool,
    #[serde(default = "yes")]
    direct_writes: bool,
    #[serde(default)]
    copies: CopiesField,
    #[serde(default)]
    durability: DurabilityField,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CopiesField {
    #[default]
    OnePerSite,
    MemberByReplica,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KindField {
    Rw,
    Rmw,
    Abd,
    LanRmw,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TimestampsField {
    #[default]
    Clock,
    Query,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DurabilityField {
    #[default]
    Local,
    Remote,
    Majority,
}

/// Where a node can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeAddresses {
    /// Its site.
    pub site: SiteId,
    /// Peers' priority connections.
    pub priority: SocketAddr,
    /// Peers' bulk connections.
    pub bulk: SocketAddr,
    /// Clients.
    pub client: SocketAddr,
}

/// A cluster: what the protocol must know, and where its nodes are.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The cluster's name, as certificates carry it.
    pub name: ClusterName,
    /// Which cluster of this name, as data directories remember it; none where the file has
    /// none.
    pub id: Option<ClusterId>,
    /// The checked specification.
    pub cluster: Arc<Cluster>,
    /// The nodes' addresses.
    pub addresses: BTreeMap<NodeId, NodeAddresses>,
    /// The DSCP of the priority class, 0 to 63.
    pub dscp_priority: u8,
    /// The DSCP of the bulk class, 0 to 63.
    pub dscp_bulk: u8,
}

impl ClusterConfig {
    /// Reads and checks a cluster file.
    ///
    /// # Errors
    /// [`ConfigError`] with the file and the first field that is wrong.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let file: ClusterFile = read_toml(path)?;
        Self::check(file).map_err(|wrong| wrong.in_file(path))
    }

    /// Reads and checks a cluster file's text; `path` names it in errors.
    ///
    /// # Errors
    /// As [`ClusterConfig::from_file`].
    pub fn from_text(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file = parse(text, path)?;
        Self::check(file).map_err(|wrong| wrong.in_file(path))
    }

    /// Whose `node`'s data directory should be.
    pub fn owner(&self, node: NodeId) -> Owner {
        Owner {
            cluster: self.name.as_str().to_owned(),
            cluster_id: self.id,
            node,
        }
    }

    fn check(file: ClusterFile) -> Result<Self, Wrong> {
        let name = ClusterName::new(&file.name).map_err(|error| field("name", error))?;
        let id = file.id.as_deref().map(cluster_id).transpose()?;
        for (name, dscp) in [
            ("dscp.priority", file.dscp.priority),
            ("dscp.bulk", file.dscp.bulk),
        ] {
            if dscp > DSCP_MAX {
                return Err(field(name, format!("is {dscp}; a DSCP is 0 to {DSCP_MAX}")));
            }
        }
        let sites = site_numbers(&file.sites)?;
        let addresses = addresses(&file.nodes, &sites)?;
        let containers = file
            .containers
            .into_iter()
            .map(|container| check_container(container, &sites))
            .collect::<Result<_, _>>()?;
        let spec = ClusterSpec {
            name: file.name,
            sites: file.sites,
            nodes: addresses
                .iter()
                .map(|(&node, at)| (node, at.site))
                .collect(),
            containers,
            clock_error_max: Duration::from_micros(file.clock.error_max_us),
            clock_slack: Duration::from_millis(file.clock.slack_ms),
            value_bytes_max: file.limits.value_bytes_max,
            backlog_bytes_max: file.limits.backlog_bytes_max,
        };
        let cluster = Arc::new(Cluster::new(spec).map_err(Wrong::Cluster)?);
        Ok(Self {
            name,
            id,
            cluster,
            addresses,
            dscp_priority: file.dscp.priority,
            dscp_bulk: file.dscp.bulk,
        })
    }
}

fn cluster_id(text: &str) -> Result<ClusterId, Wrong> {
    let wrong =
        || format!("is {text:?}; an id has 32 hex digits, as `vivace-node init` draws them");
    ClusterId::parse(text).ok_or_else(|| field("id", wrong()))
}

fn site_numbers(names: &[String]) -> Result<BTreeMap<String, SiteId>, Wrong> {
    let mut sites = BTreeMap::new();
    for (number, name) in names.iter().enumerate() {
        let Ok(number) = u16::try_from(number) else {
            return Err(field("sites", "names more than 65,536"));
        };
        if name.is_empty() {
            return Err(field("sites", "has an empty name; name every site"));
        }
        if sites.insert(name.clone(), SiteId(number)).is_some() {
            return Err(field("sites", format!("names {name:?} twice")));
        }
    }
    Ok(sites)
}

fn site_number(
    sites: &BTreeMap<String, SiteId>,
    name: &str,
    at: impl Into<String>,
) -> Result<SiteId, Wrong> {
    sites.get(name).copied().ok_or_else(|| {
        let known: Vec<&str> = sites.keys().map(String::as_str).collect();
        field(
            at,
            format!("names site {name:?}; sites has {}", known.join(", ")),
        )
    })
}

fn addresses(
    nodes: &[NodeFields],
    sites: &BTreeMap<String, SiteId>,
) -> Result<BTreeMap<NodeId, NodeAddresses>, Wrong> {
    let mut addresses = BTreeMap::new();
    let mut taken = BTreeMap::new();
    for node in nodes {
        let at = |name: &str| format!("nodes (id {}).{name}", node.id);
        let site = site_number(sites, &node.site, at("site"))?;
        for (name, address) in [
            ("priority", node.priority),
            ("bulk", node.bulk),
            ("client", node.client),
        ] {
            if address.port() == 0 {
                return Err(field(at(name), "has port 0; peers need a fixed port"));
            }
            if let Some(other) = taken.insert(address, at(name)) {
                return Err(field(at(name), format!("is {address}, as is {other}")));
            }
        }
        let at = NodeAddresses {
            site,
            priority: node.priority,
            bulk: node.bulk,
            client: node.client,
        };
        if addresses.insert(NodeId(node.id), at).is_some() {
            return Err(field("nodes", format!("has id {} twice", node.id)));
        }
    }
    Ok(addresses)
}

fn check_container(
    container: ContainerFields,
    sites: &BTreeMap<String, SiteId>,
) -> Result<Container, Wrong> {
    let mut local_sets = BTreeMap::new();
    for (name, nodes) in container.local_sets {
        let at = format!("containers ({}).local_sets", container.name);
        let site = site_number(sites, &name, at)?;
        local_sets.insert(site, nodes.into_iter().map(NodeId).collect());
    }
    Ok(Container {
        id: ContainerId(container.id),
        name: container.name,
        kind: match container.kind {
            KindField::Rw => Kind::Rw,
            KindField::Rmw => Kind::Rmw,
            KindField::Abd => Kind::Abd,
            KindField::LanRmw => Kind::LanRmw,
        },
        epoch: Epoch(container.epoch),
        replicas: container.replicas.into_iter().map(NodeId).collect(),
        local_sets,
        timestamps: match container.timestamps {
            TimestampsField::Clock => TimestampSource::Clock,
            TimestampsField::Query => TimestampSource::Query,
        },
        write_back_skip: container.write_back_skip,
        promise_skip: container.promise_skip,
        commands_at_replicas: container.commands_at_replicas,
        early_data: container.early_data,
        direct_writes: container.direct_writes,
        copies: match container.copies {
            CopiesField::OnePerSite => ValueCopies::OnePerSite,
            CopiesField::MemberByReplica => ValueCopies::MemberByReplica,
        },
        durability: match container.durability {
            DurabilityField::Local => Durability::Local,
            DurabilityField::Remote => Durability::Remote,
            DurabilityField::Majority => Durability::Majority,
        },
    })
}
