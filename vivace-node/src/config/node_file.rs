//! A node's file: who it is, where its state goes, how far its clock is trusted.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use vivace_core::NodeId;

use super::{ClusterConfig, ConfigError, Wrong, field, read_toml};
use crate::clock_source::ClockSource;
use crate::storage::DiskSettings;
use crate::threads::{Scheduling, Threads};
use crate::transport::identity::Identity;
use crate::transport::{BoundScope, Limits, PriorityBound};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFile {
    node: u16,
    cluster: PathBuf,
    #[serde(default)]
    realtime: bool,
    #[serde(default)]
    threads: ThreadsField,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    storage: StorageFields,
    clock: NodeClock,
    #[serde(default)]
    priority: PriorityFields,
    #[serde(default)]
    bulk: BulkFields,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "toml::Value")]
enum ThreadsField {
    #[default]
    Auto,
    Split,
    Shared,
}

/// By hand, for a number is a likely mistake here, and would hear of strings and tables.
impl TryFrom<toml::Value> for ThreadsField {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        match value.as_str() {
            Some("auto") => Ok(Self::Auto),
            Some("split") => Ok(Self::Split),
            Some("shared") => Ok(Self::Shared),
            _ => Err(format!(
                "threads is {value}; it must be \"auto\", \"split\" or \"shared\""
            )),
        }
    }
}

impl ThreadsField {
    /// For `node`, beside those that have their addresses on its machine.
    fn of(self, node: NodeId, cluster: &ClusterConfig) -> Threads {
        match self {
            Self::Split => Threads::Split,
            Self::Shared => Threads::Shared,
            Self::Auto => {
                let machine = cluster.addresses[&node].priority.ip();
                let addresses = cluster.addresses.values();
                let nodes = addresses.filter(|at| at.priority.ip() == machine).count();
                // Unknown where the system does not say: as if there were enough.
                let processors = thread::available_parallelism().map_or(usize::MAX, usize::from);
                Threads::for_machine(nodes, processors)
            }
        }
    }
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

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BulkFields {
    packet_bytes_max: Option<u32>,
}

impl BulkFields {
    fn check(self) -> Result<u16, Wrong> {
        let unset = Limits::default();
        let Some(bytes) = self.packet_bytes_max else {
            return Ok(unset.bulk_packet_bytes_max);
        };
        let limits = Limits {
            // What has no room in the field is out of range all the same.
            bulk_packet_bytes_max: u16::try_from(bytes).unwrap_or(u16::MAX),
            ..unset
        };
        match limits.validate() {
            Ok(()) => Ok(limits.bulk_packet_bytes_max),
            Err(error) => Err(field(
                "bulk.packet_bytes_max",
                format!("is {bytes}; it must be {}", error.allowed),
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
    /// Largest IP packet of its bulk class, in bytes.
    pub bulk_packet_bytes_max: u16,
    /// Which threads its connections have.
    pub threads: Threads,
    /// How its threads are scheduled.
    pub scheduling: Scheduling,
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
            StorageFields::Memory {} => {
                refuse_to_forget(path)?;
                StorageConfig::Memory
            }
            StorageFields::Disk {
                directory,
                cache_bytes,
                reserve_bytes,
            } => StorageConfig::Disk(DiskSettings {
                witness: Some(witness_of(path)),
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
        if file.realtime && matches!(file.threads, ThreadsField::Shared) {
            return Err(field(
                "threads",
                "is \"shared\"; with realtime = true it must be \"auto\" or \"split\", or values and \
                 strangers' handshakes would run ahead of all else",
            )
            .in_file(path));
        }
        let threads = file.threads.of(node, &cluster);
        let priority_bound = file.priority.check().map_err(|wrong| wrong.in_file(path))?;
        let bulk_packet_bytes_max = file.bulk.check().map_err(|wrong| wrong.in_file(path))?;
        Ok(Self {
            node,
            cluster,
            identity,
            storage,
            clock,
            priority_bound,
            bulk_packet_bytes_max,
            threads,
            scheduling: match file.realtime {
                true => Scheduling::Realtime,
                false => Scheduling::Inherited,
            },
        })
    }
}

/// What remembers, beside a node's file, how often it has started with a data directory.
fn witness_of(path: &Path) -> PathBuf {
    path.with_extension("witness")
}

/// A node that has acknowledged on disk must not vote with an empty memory.
fn refuse_to_forget(path: &Path) -> Result<(), ConfigError> {
    let witness = witness_of(path);
    if !witness.exists() {
        return Ok(());
    }
    Err(ConfigError::Field {
        path: path.to_owned(),
        field: "storage.kind".into(),
        reason: format!(
            "is \"memory\", and {} says that this node has kept its state on disk: it may have \
             acknowledged what it would not remember; put \"disk\" and its directory back, or lay \
             out a new cluster (vivace-node init)",
            witness.display()
        ),
    })
}
