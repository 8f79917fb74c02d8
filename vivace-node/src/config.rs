//! The files that describe a cluster and one of its nodes. `vivace-node init`
//! writes both with comments; docs/configuration.md lists every field.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use vivace_core::cluster::{
    Cluster, ClusterError, ClusterSpec, Container, Kind, TimestampSource, ValueCopies,
};
use vivace_core::{ContainerId, Durability, Epoch, NodeId, SiteId};

use crate::clock_source::ClockSource;
use crate::storage::DiskSettings;
use crate::transport::identity::{ClusterName, Identity, IdentityError};
use crate::transport::{BoundScope, DSCP_MAX, PriorityBound};

/// The longest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a configuration can't be used. Nothing was started or changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is too long to be a configuration.
    #[error("{}: has {bytes} bytes; a configuration has at most {FILE_BYTES_MAX}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// Not TOML, or a field is missing, unknown or of another type.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which field, and what was expected.
        source: Box<toml::de::Error>,
    },
    /// A field's value can't be used.
    #[error("{}: {field}: {reason}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The fields contradict each other.
    #[error("{}: {source}", path.display())]
    Cluster {
        /// The file.
        path: PathBuf,
        /// Which field, and what would be right.
        source: ClusterError,
    },
    /// The certificates or the key that a node file names can't be used.
    #[error("{}: ca, certificate, key: {source}", path.display())]
    Identity {
        /// The node file.
        path: PathBuf,
        /// Which of them, and what would be right.
        source: IdentityError,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterFile {
    name: String,
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

    fn check(file: ClusterFile) -> Result<Self, Wrong> {
        let name = ClusterName::new(&file.name).map_err(|error| field("name", error))?;
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
            cluster,
            addresses,
            dscp_priority: file.dscp.priority,
            dscp_bulk: file.dscp.bulk,
        })
    }
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFile {
    node: u16,
    cluster: PathBuf,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    storage: StorageFields,
    clock: NodeClock,
    #[serde(default)]
    priority: PriorityFields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PriorityFields {
    bytes_per_s: Option<u64>,
    burst_bytes: Option<u64>,
    scope: Option<ScopeField>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ScopeField {
    Path,
    Uplink,
}

impl PriorityFields {
    fn check(self) -> Result<Option<PriorityBound>, Wrong> {
        let Some(bytes_per_s) = self.bytes_per_s else {
            return match (self.burst_bytes, self.scope) {
                (None, None) => Ok(None),
                _ => Err(field(
                    "priority.bytes_per_s",
                    "is missing; burst_bytes and scope say nothing without it",
                )),
            };
        };
        let unset = PriorityBound::new(bytes_per_s);
        let bound = PriorityBound {
            bytes_per_s,
            burst_bytes: self.burst_bytes.unwrap_or(unset.burst_bytes),
            scope: match self.scope {
                None | Some(ScopeField::Path) => BoundScope::Path,
                Some(ScopeField::Uplink) => BoundScope::Uplink,
            },
        };
        match bound.validate() {
            Ok(()) => Ok(Some(bound)),
            Err(error) => Err(field(
                error.field.replace("priority_bound.", "priority."),
                format!("is {}; it must be {}", error.value, error.allowed),
            )),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
enum StorageFields {
    Memory {},
    Disk {
        directory: PathBuf,
        cache_bytes: Option<u64>,
        reserve_bytes: Option<u64>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "source", rename_all = "kebab-case")]
enum NodeClock {
    Kernel {},
    Fixed { error_us: u64 },
    Untrusted {},
}

/// Where a node keeps its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageConfig {
    /// In memory: gone when the process ends.
    Memory,
    /// In a data directory.
    Disk(DiskSettings),
}

/// One node, ready to run.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Which of the cluster's nodes it is.
    pub node: NodeId,
    /// The cluster.
    pub cluster: ClusterConfig,
    /// Its certificate and key.
    pub identity: Identity,
    /// Where its state goes.
    pub storage: StorageConfig,
    /// How far its clock is trusted.
    pub clock: ClockSource,
    /// What its priority class may use between sites.
    pub priority_bound: Option<PriorityBound>,
}

impl NodeConfig {
    /// Reads and checks a node file and all that it names. Paths in it count from
    /// the file's directory.
    ///
    /// # Errors
    /// [`ConfigError`] with the file and the first field that is wrong.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let file: NodeFile = read_toml(path)?;
        let base = path.parent().unwrap_or(Path::new(""));
        let cluster_path = base.join(&file.cluster);
        let cluster = ClusterConfig::from_file(&cluster_path)?;
        let node = NodeId(file.node);
        if !cluster.addresses.contains_key(&node) {
            let known: Vec<String> = cluster
                .addresses
                .keys()
                .map(|node| node.0.to_string())
                .collect();
            return Err(field(
                "node",
                format!(
                    "is {}; {} has {}",
                    file.node,
                    cluster_path.display(),
                    known.join(", ")
                ),
            )
            .in_file(path));
        }
        let identity = Identity::load(
            &base.join(&file.ca),
            &base.join(&file.certificate),
            &base.join(&file.key),
        )
        .map_err(|source| ConfigError::Identity {
            path: path.to_owned(),
            source,
        })?;
        let storage = match file.storage {
            StorageFields::Memory {} => StorageConfig::Memory,
            StorageFields::Disk {
                directory,
                cache_bytes,
                reserve_bytes,
            } => StorageConfig::Disk(DiskSettings {
                witness: Some(path.with_extension("witness")),
                cache_bytes: cache_bytes.unwrap_or(DiskSettings::CACHE_BYTES),
                reserve_bytes: reserve_bytes.unwrap_or(DiskSettings::RESERVE_BYTES),
                ..DiskSettings::at(base.join(directory))
            }),
        };
        let clock = match file.clock {
            NodeClock::Kernel {} => ClockSource::Kernel,
            NodeClock::Fixed { error_us } => ClockSource::Fixed {
                error: Duration::from_micros(error_us),
            },
            NodeClock::Untrusted {} => ClockSource::Untrusted,
        };
        let priority_bound = file.priority.check().map_err(|wrong| wrong.in_file(path))?;
        Ok(Self {
            node,
            cluster,
            identity,
            storage,
            clock,
            priority_bound,
        })
    }
}

fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(ConfigError::TooLong {
            path: path.to_owned(),
            bytes,
        });
    }
    parse(&read_bounded(path).map_err(unreadable)?, path)
}

/// Also of what has no length to look at first, such as a pipe.
fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(path)?;
    let bytes = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    match bytes as u64 > FILE_BYTES_MAX {
        true => Err(std::io::Error::other(format!(
            "goes on beyond {FILE_BYTES_MAX} bytes; a configuration has at most as many"
        ))),
        false => Ok(text),
    }
}

fn parse<T: serde::de::DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|source| ConfigError::Malformed {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// A wrong field, before the file's name is added.
enum Wrong {
    Field { field: String, reason: String },
    Cluster(ClusterError),
}

impl Wrong {
    fn in_file(self, path: &Path) -> ConfigError {
        let path = path.to_owned();
        match self {
            Self::Field { field, reason } => ConfigError::Field {
                path,
                field,
                reason,
            },
            Self::Cluster(source) => ConfigError::Cluster { path, source },
        }
    }
}

fn field(field: impl Into<String>, reason: impl ToString) -> Wrong {
    Wrong::Field {
        field: field.into(),
        reason: reason.to_string(),
    }
}
