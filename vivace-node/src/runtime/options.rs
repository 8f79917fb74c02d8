//! What a node is made of.

use std::net::SocketAddr;

use vivace_core::NodeId;
use vivace_core::agreement::Agreement;
use vivace_core::machine::Machines;

use crate::client_port::ClientPortError;
use crate::clock_source::ClockSource;
use crate::config::{ClusterConfig, NodeConfig, StorageConfig};
use crate::storage::OpenError;
use crate::threads::{NoRealtime, Scheduling, Threads};
use crate::transport::identity::Identity;
use crate::transport::{self, ClassSocket, Limits, PeerAddress, SocketFactory};

/// The sockets between nodes.
pub enum Sockets {
    /// Real UDP sockets at the configured addresses.
    Udp,
    /// Others, made on their threads: an emulated WAN's.
    Made {
        /// The priority class's.
        priority: SocketFactory,
        /// The bulk class's.
        bulk: SocketFactory,
    },
}

/// All that a node needs.
pub struct NodeOptions {
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
    /// What RMW objects can be; a program that embeds a node adds its own here.
    pub machines: Machines,
    /// The sockets between nodes.
    pub sockets: Sockets,
    /// Where clients connect; port 0 picks a free one.
    pub client_address: SocketAddr,
    /// Bounds and intervals of the transport.
    pub limits: Limits,
    /// Which threads its connections have.
    pub threads: Threads,
    /// How its threads are scheduled.
    pub scheduling: Scheduling,
}

impl NodeOptions {
    /// A node as its configuration file says, with the built-in state machines.
    pub fn from_config(config: NodeConfig) -> Self {
        let client_address = config.cluster.addresses[&config.node].client;
        Self {
            node: config.node,
            cluster: config.cluster,
            identity: config.identity,
            storage: config.storage,
            clock: config.clock,
            machines: Machines::builtin(),
            sockets: Sockets::Udp,
            client_address,
            limits: Limits {
                priority_bound: config.priority_bound,
                bulk_packet_bytes_max: config.bulk_packet_bytes_max,
                ..Limits::default()
            },
            threads: config.threads,
            scheduling: config.scheduling,
        }
    }
}

/// Why a node did not start; nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The node is not in the cluster.
    #[error(transparent)]
    Node(#[from] vivace_core::UnknownNode),
    /// Real-time scheduling was asked for and is not allowed.
    #[error(transparent)]
    Scheduling(#[from] NoRealtime),
    /// The storage can't be used.
    #[error("storage: {0}")]
    Storage(#[from] OpenError),
    /// The connections to peers can't be made.
    #[error("transport: {0}")]
    Transport(#[from] transport::StartError),
    /// The port for clients can't be opened.
    #[error("client port: {0}")]
    ClientPort(#[from] ClientPortError),
}

impl StartError {
    /// The process's exit code: docs/operations.md has the table.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Storage(error) => error.exit_code(),
            Self::Node(_) | Self::Scheduling(_) | Self::Transport(_) | Self::ClientPort(_) => 1,
        }
    }
}

pub(super) fn sockets(
    sockets: Sockets,
    cluster: &ClusterConfig,
    node: NodeId,
) -> (SocketFactory, SocketFactory) {
    match sockets {
        Sockets::Made { priority, bulk } => (priority, bulk),
        Sockets::Udp => {
            let at = cluster.addresses[&node];
            let (priority, bulk) = (cluster.dscp_priority, cluster.dscp_bulk);
            (
                Box::new(move || ClassSocket::bind(at.priority, priority)),
                Box::new(move || ClassSocket::bind(at.bulk, bulk)),
            )
        }
    }
}

pub(super) fn agreements(config: &ClusterConfig) -> Vec<(String, Agreement)> {
    let cluster = &config.cluster;
    let containers = cluster.spec().containers.iter();
    containers
        .map(|container| (container.name.clone(), Agreement::of(cluster, container)))
        .collect()
}

pub(super) fn peers(cluster: &ClusterConfig, me: NodeId) -> Vec<PeerAddress> {
    let others = cluster.addresses.iter().filter(|(node, _)| **node != me);
    others
        .map(|(&node, at)| PeerAddress {
            node,
            site: at.site,
            priority: at.priority,
            bulk: at.bulk,
        })
        .collect()
}
