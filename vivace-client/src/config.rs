//! How a client finds and trusts its cluster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use vivace_core::VALUE_BYTES_MAX;
use vivace_core::client_protocol::DEADLINE_MS_MAX;

/// An operation's deadline where nothing else is said.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// The longest deadline; a node holds nothing for longer.
pub const TIMEOUT_MAX: Duration = Duration::from_millis(DEADLINE_MS_MAX as u64);

/// The most nodes that a client knows. A site has a few.
pub const NODES_MAX: usize = 64;

/// How a client finds and trusts its cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The cluster's name. The nodes' certificates must be for
    /// `node.CLUSTER.vivace`, so that no other cluster's node is taken for one.
    pub cluster: String,
    /// The client ports (UDP) of this site's nodes, the preferred one first; 1 to
    /// [`NODES_MAX`].
    pub nodes: Vec<SocketAddr>,
    /// The authorities that sign the nodes' certificates; at least one.
    pub authorities: Vec<CertificateDer<'static>>,
    /// This client's certificate, then those between it and the authority.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The private key of the first certificate.
    pub key: Arc<PrivateKeyDer<'static>>,
    /// An operation's deadline unless it sets its own: 1 ms to [`TIMEOUT_MAX`],
    /// [`TIMEOUT_DEFAULT`] at first. Longer survives longer failovers.
    pub timeout: Duration,
    /// The longest value to write or to take in, in bytes: up to, and at first,
    /// [`VALUE_BYTES_MAX`]. It bounds the memory that one answer takes.
    pub value_bytes_max: usize,
}

/// A field of the configuration that can't be used. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct ConfigError {
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl ConfigError {
    pub(crate) fn new(field: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { field, reason }
    }
}

impl ClientConfig {
    /// A configuration with the default limits.
    pub fn new(
        cluster: impl Into<String>,
        nodes: impl Into<Vec<SocketAddr>>,
        authority: CertificateDer<'static>,
        certificates: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        Self {
            cluster: cluster.into(),
            nodes: nodes.into(),
            authorities: vec![authority],
            certificates,
            key: Arc::new(key),
            timeout: TIMEOUT_DEFAULT,
            value_bytes_max: VALUE_BYTES_MAX,
        }
    }

    /// Sets [`ClientConfig::timeout`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`ClientConfig::value_bytes_max`].
    #[must_use]
    pub fn value_bytes_max(mut self, bytes: usize) -> Self {
        self.value_bytes_max = bytes;
        self
    }

    /// Checks every field that can be judged alone.
    ///
    /// # Errors
    /// [`ConfigError`] with the first field at fault.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !is_cluster_name(&self.cluster) {
            return Err(ConfigError::new(
                "cluster",
                format!(
                    "{:?} is no cluster name: 1 to 63 of a-z, 0-9 and '-', with no '-' at \
                     either end",
                    self.cluster
                ),
            ));
        }
        if !(1..=NODES_MAX).contains(&self.nodes.len()) {
            return Err(ConfigError::new(
                "nodes",
                format!(
                    "has {} addresses; give the client addresses of 1 to {NODES_MAX} nodes of this site",
                    self.nodes.len()
                ),
            ));
        }
        for (i, node) in self.nodes.iter().enumerate() {
            if node.port() == 0 {
                return Err(ConfigError::new("nodes", format!("{node} has no port")));
            }
            if self.nodes[..i].contains(node) {
                return Err(ConfigError::new("nodes", format!("{node} is named twice")));
            }
        }
        check_timeout("timeout", self.timeout)?;
        if !(1..=VALUE_BYTES_MAX).contains(&self.value_bytes_max) {
            return Err(ConfigError::new(
                "value_bytes_max",
                format!(
                    "{} is out of range: 1 to {VALUE_BYTES_MAX}",
                    self.value_bytes_max
                ),
            ));
        }
        Ok(())
    }

    /// The name that every node's certificate bears.
    pub(crate) fn server_name(&self) -> String {
        format!("node.{}.vivace", self.cluster)
    }
}

/// Whether nodes can have certificates for a cluster of this name: a DNS label.
fn is_cluster_name(name: &str) -> bool {
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len())
        && name.chars().all(label)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Checks that a deadline is one that nodes accept.
pub(crate) fn check_timeout(field: &'static str, timeout: Duration) -> Result<(), ConfigError> {
    if (Duration::from_millis(1)..=TIMEOUT_MAX).contains(&timeout) {
        return Ok(());
    }
    Err(ConfigError::new(
        field,
        format!("{timeout:?} is out of range: 1ms to {TIMEOUT_MAX:?}"),
    ))
}
