//! A whole cluster in one process, its sites joined by an emulated WAN: for
//! demonstrations, experiments, examples and tests. No root, no network: peers
//! talk real QUIC over virtual sockets, clients connect through loopback.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use netem::{LinkConfig, Site, Topology, Wan};
use vivace_core::NodeId;
use vivace_core::machine::Machines;

use crate::clock_source::ClockSource;
use crate::config::{ClusterConfig, ConfigError, StorageConfig};
use crate::init::Layout;
use crate::runtime::{NodeOptions, RunningNode, Sockets, StartError};
use crate::threads::{Scheduling, Threads};
use crate::transport::identity::{
    ClientName, DevelopmentCa, Identity, IdentityError, IssueError, NameError, PemPair, Role,
};
use crate::transport::{ClassSocket, Limits, SocketFactory};

/// How long certificates of a cluster that lives in memory are valid.
const VALID_FOR: Duration = Duration::from_secs(24 * 3600);

/// All nodes share one machine's clock; this bounds how differently they read it.
const SHARED_CLOCK_ERROR: Duration = Duration::from_micros(500);

/// Why a development cluster did not start; nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The configuration text is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The WAN can't be built.
    #[error("WAN: {0}")]
    Wan(#[from] netem::StartError),
    /// Certificates can't be made.
    #[error("certificates: {0}")]
    Issue(#[from] IssueError),
    /// Certificates can't be used.
    #[error("certificates: {0}")]
    Identity(#[from] IdentityError),
    /// A name can't be used in certificates.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A node did not start.
    #[error("node {}: {source}", node.0)]
    Node {
        /// Which.
        node: NodeId,
        /// Why.
        source: StartError,
    },
}

/// A client's credentials, PEM-encoded.
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    /// The cluster's CA.
    pub ca: String,
    /// The client's certificate and key.
    pub pair: PemPair,
}

/// A running cluster. Dropping it stops everything.
pub struct DevCluster {
    nodes: BTreeMap<NodeId, RunningNode>,
    config: ClusterConfig,
    wan: Wan,
    ca: DevelopmentCa,
    client: ClientCredentials,
    machines: Machines,
    limits: Limits,
}

impl DevCluster {
    /// Starts three sites of one node each, 40 ms apart, with the containers that
    /// `vivace-node init` lays out and the built-in state machines.
    ///
    /// # Errors
    /// [`DevError`].
    pub fn start() -> Result<Self, DevError> {
        let layout = Layout {
            cluster: "dev".into(),
            sites: 3,
            nodes_per_site: 1,
            base_port: 7000,
        };
        let link = LinkConfig {
            delay: Duration::from_millis(20),
            ..LinkConfig::default()
        };
        Self::with(
            &layout.cluster_file(),
            &Topology::mesh(3, &link),
            Machines::builtin(),
            rand::random(),
        )
    }

    /// Starts the cluster that a cluster file's text describes (its addresses are
    /// virtual, but for clients', which are replaced by free loopback ports), over
    /// `topology`, whose sites are the file's in order. `seed` fixes the WAN's draws
    /// (cross traffic, loss, jitter); what happens still depends on real time.
    ///
    /// # Errors
    /// [`DevError`].
    pub fn with(
        cluster_file: &str,
        topology: &Topology,
        machines: Machines,
        seed: u64,
    ) -> Result<Self, DevError> {
        Self::with_limits(cluster_file, topology, machines, seed, Limits::default())
    }

    /// As [`DevCluster::with`], with other bounds of the nodes' transports.
    ///
    /// # Errors
    /// [`DevError`].
    pub fn with_limits(
        cluster_file: &str,
        topology: &Topology,
        machines: Machines,
        seed: u64,
        limits: Limits,
    ) -> Result<Self, DevError> {
        let config = ClusterConfig::from_text(cluster_file, Path::new("cluster.toml"))?;
        let wan = Wan::start(topology, seed)?;
        let ca = DevelopmentCa::generate(&config.name, VALID_FOR)?;
        let role = Role::Client {
            cluster: config.name.clone(),
            name: ClientName::new("dev")?,
        };
        let pair = ca.issue(&role, VALID_FOR)?;
        let client = ClientCredentials {
            ca: ca.pem().certificate.clone(),
            pair,
        };
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            config,
            wan,
            ca,
            client,
            machines,
            limits,
        };
        let nodes: Vec<NodeId> = cluster.config.addresses.keys().copied().collect();
        for node in nodes {
            cluster.start_node(node)?;
        }
        Ok(cluster)
    }

    /// Starts a node that was stopped, or was never started. It remembers nothing.
    ///
    /// # Errors
    /// [`DevError`].
    pub fn start_node(&mut self, node: NodeId) -> Result<(), DevError> {
        let at = self.config.addresses[&node];
        let role = Role::Node {
            cluster: self.config.name.clone(),
            node,
            site: at.site,
        };
        let pair = self.ca.issue(&role, VALID_FOR)?;
        let identity = Identity::from_pem(
            self.ca.pem().certificate.as_bytes(),
            pair.certificate.as_bytes(),
            pair.key.as_bytes(),
        )?;
        let (priority, bulk) = (self.config.dscp_priority, self.config.dscp_bulk);
        let options = NodeOptions {
            node,
            cluster: self.config.clone(),
            identity,
            storage: StorageConfig::Memory,
            clock: ClockSource::Fixed {
                error: SHARED_CLOCK_ERROR,
            },
            machines: self.machines.clone(),
            sockets: Sockets::Made {
                priority: self.socket(Site(at.site.0), at.priority, priority),
                bulk: self.socket(Site(at.site.0), at.bulk, bulk),
            },
            client_address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            limits: self.limits.clone(),
            threads: Threads::Split,
            scheduling: Scheduling::Inherited,
        };
        let running =
            RunningNode::start(options).map_err(|source| DevError::Node { node, source })?;
        self.nodes.insert(node, running);
        Ok(())
    }

    fn socket(&self, site: Site, address: SocketAddr, dscp: u8) -> SocketFactory {
        let wan = self.wan.clone();
        Box::new(move || {
            let socket = wan
                .socket(site, address, dscp)
                .map_err(std::io::Error::other)?;
            let observer = socket.clone();
            Ok(ClassSocket {
                socket,
                dscp,
                observed: Arc::new(move |remote| observer.observed_dscp(remote)),
            })
        })
    }

    /// Stops a node as a crash would: its connections are cut, its memory is lost.
    pub fn stop_node(&mut self, node: NodeId) {
        let at = self.config.addresses[&node];
        // No goodbye: peers must notice by themselves.
        self.wan.crash(at.priority);
        self.wan.crash(at.bulk);
        self.nodes.remove(&node);
    }

    /// A running node.
    pub fn node(&self, node: NodeId) -> Option<&RunningNode> {
        self.nodes.get(&node)
    }

    /// The running nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &RunningNode)> {
        self.nodes.iter().map(|(&node, running)| (node, running))
    }

    /// The cluster's configuration.
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// The WAN between the sites.
    pub fn wan(&self) -> &Wan {
        &self.wan
    }

    /// What a client needs beside an address.
    pub fn client_credentials(&self) -> &ClientCredentials {
        &self.client
    }

    /// Writes a client file per site, and the credentials they name, into
    /// `directory`, which is made where it is missing.
    ///
    /// # Errors
    /// The operating system's; files written until then stay.
    pub fn write_client_files(&self, directory: &Path) -> std::io::Result<Vec<PathBuf>> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join("ca.pem"), &self.client.ca)?;
        std::fs::write(directory.join("client.pem"), &self.client.pair.certificate)?;
        write_secret(&directory.join("client.key"), &self.client.pair.key)?;
        let spec = self.config.cluster.spec();
        let mut files = Vec::new();
        for (site, name) in (0..).zip(&spec.sites) {
            let nodes: Vec<String> = self
                .nodes
                .iter()
                .filter(|(node, _)| self.config.addresses[*node].site.0 == site)
                .map(|(_, running)| format!("{:?}", running.client_address().to_string()))
                .collect();
            let text = format!(
                "cluster = {:?}\nnodes = [{}]\nca = \"ca.pem\"\ncertificate = \"client.pem\"\nkey = \"client.key\"\n",
                spec.name,
                nodes.join(", ")
            );
            let path = directory.join(format!("client-{name}.toml"));
            std::fs::write(&path, text)?;
            files.push(path);
        }
        Ok(files)
    }

    /// Waits until every running node is connected to every other in both classes.
    /// False where `patience` ended first.
    pub async fn wait_until_connected(&self, patience: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let mut connected = true;
            for running in self.nodes.values() {
                let status = running.status().await;
                let up = |status: &vivace_core::status::NodeStatus| {
                    let reachable = status
                        .peers
                        .iter()
                        .filter(|peer| self.nodes.contains_key(&NodeId(peer.node)));
                    reachable
                        .into_iter()
                        .all(|peer| peer.priority.up && peer.bulk.up)
                };
                connected &= status.as_ref().is_ok_and(up);
            }
            if connected {
                return true;
            }
            if tokio::time::Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}
