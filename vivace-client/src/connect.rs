//! Becoming a client: the first connection.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use quinn::Endpoint;
use vivace_core::VALUE_BYTES_MAX;

use crate::config::{ClientConfig, ConfigError};
use crate::node::{Node, NodeError};
use crate::nodes::Nodes;
use crate::tls;

/// Why there is no client. Nothing was sent that has an effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A field of the configuration can't be used.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// No UDP socket could be opened.
    #[error("can't open a UDP socket: {0}")]
    Socket(#[from] std::io::Error),
    /// No node serves us; safe to try again.
    #[error("no node of this site serves us: {}", Causes(.0))]
    NoNode(
        /// Each node's address and cause, in the configuration's order.
        Vec<(SocketAddr, NodeError)>,
    ),
}

struct Causes<'a>(&'a [(SocketAddr, NodeError)]);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (address, error)) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {error}")?;
        }
        Ok(())
    }
}

/// Opens the socket and connects to one node.
pub(crate) async fn connect(config: &ClientConfig) -> Result<(Endpoint, Nodes), ConnectError> {
    config.check()?;
    let quic = tls::quic_config(config)?;
    let any = match config.nodes.iter().all(SocketAddr::is_ipv4) {
        true => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        false => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let mut endpoint = Endpoint::client(any)?;
    endpoint.set_default_client_config(quic);
    let node = |&address: &SocketAddr| {
        let cluster = config.cluster.clone();
        let value_bytes_max = config.value_bytes_max.min(VALUE_BYTES_MAX);
        let (name, endpoint) = (config.server_name(), endpoint.clone());
        Node::new(address, cluster, name, endpoint, value_bytes_max)
    };
    let nodes = Nodes::new(config.nodes.iter().map(node).collect());
    nodes
        .connect_any(config.timeout)
        .await
        .map_err(ConnectError::NoNode)?;
    Ok((endpoint, nodes))
}
