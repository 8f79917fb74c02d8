//! One node of the site: its connection, and when to try again without one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::{ConnectionError, Endpoint, VarInt};
use tokio::time::{Instant, timeout};
use vivace_core::client_protocol::{Request, close_code};

use crate::link::{ExchangeError, Link};

/// How long a connection may take to be made, hello included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause after a first failed connection; it doubles with every other one.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);

/// The longest pause between two tries to reach a node.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

// TLS alerts (RFC 8446 §6.2) as QUIC error codes (RFC 9001 §4.8).
const ALERT_BAD_CERTIFICATE: u64 = 0x100 + 42;
const ALERT_CERTIFICATE_EXPIRED: u64 = 0x100 + 45;
const ALERT_UNKNOWN_CA: u64 = 0x100 + 48;
/// An authority of the same name, with another key.
const ALERT_DECRYPT_ERROR: u64 = 0x100 + 51;
const ALERT_NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;

/// Why a node can't be talked to. No request was sent to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// Nothing came back.
    #[error(
        "no answer within {waited:?}; check that the node runs and that this is its client port (UDP)"
    )]
    NoAnswer {
        /// How long was waited.
        waited: Duration,
    },
    /// Another authority signed the node's certificate.
    #[error("its certificate is not signed by our authority; check `ca`")]
    OtherAuthority,
    /// The node's certificate is for another name.
    #[error("its certificate is not for cluster {cluster:?}; check `cluster`: {reason}")]
    OtherCluster {
        /// The cluster that was expected.
        cluster: String,
        /// What TLS says.
        reason: String,
    },
    /// The node's certificate is not valid now.
    #[error("its certificate is not valid at this time; renew it, or check this machine's clock")]
    Expired,
    /// The node does not accept our certificate.
    #[error("it refuses our certificate; check `certificate`: {reason}")]
    CertificateRefused {
        /// What the node says.
        reason: String,
    },
    /// The port speaks another protocol, or another version of it.
    #[error("it does not speak vivace-client/1; check that this is its client port")]
    OtherProtocol,
    /// The node said that it is shutting down.
    #[error("it is shutting down")]
    Leaving,
    /// The connection broke, or was refused.
    #[error("{reason}")]
    Broken {
        /// What QUIC says.
        reason: String,
    },
}

/// One node, and what is known of it.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    cluster: String,
    server_name: String,
    endpoint: Endpoint,
    value_bytes_max: usize,
    reach: Mutex<Reach>,
    /// Held while a connection is made, so that one is made at a time.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Reach {
    link: Option<Arc<Link>>,
    failures: u32,
    retry_at: Option<Instant>,
    error: Option<NodeError>,
}

impl Node {
    pub(crate) fn new(
        address: SocketAddr,
        cluster: String,
        server_name: String,
        endpoint: Endpoint,
        value_bytes_max: usize,
    ) -> Self {
        Self {
            address,
            cluster,
            server_name,
            endpoint,
            value_bytes_max,
            reach: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    fn reach(&self) -> MutexGuard<'_, Reach> {
        // Nothing that holds the lock can panic half way.
        self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, where it stands.
    pub(crate) fn live(&self) -> Option<Arc<Link>> {
        self.reach()
            .link
            .clone()
            .filter(|link| link.close_reason().is_none())
    }

    /// When it may be tried again, where it is known to be down.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.reach().retry_at.filter(|&at| at > Instant::now())
    }

    /// Why it was last not to be reached.
    pub(crate) fn error(&self) -> Option<NodeError> {
        self.reach().error.clone()
    }

    /// Whether somebody is making a connection now.
    pub(crate) fn is_connecting(&self) -> bool {
        self.connecting.try_lock().is_err()
    }

    /// The standing connection, or a new one; fails at once while the node is known
    /// to be down.
    pub(crate) async fn connect(&self) -> Result<Arc<Link>, NodeError> {
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(link) = self.live() {
            return Ok(link);
        }
        if self.retry_at().is_some()
            && let Some(error) = self.error()
        {
            return Err(error);
        }
        let made = timeout(CONNECT_TIMEOUT, self.say_hello())
            .await
            .unwrap_or(Err(NodeError::NoAnswer {
                waited: CONNECT_TIMEOUT,
            }));
        match &made {
            Ok(link) => {
                tracing::debug!(node = %self.address, "connected");
                *self.reach() = Reach {
                    link: Some(link.clone()),
                    ..Reach::default()
                };
            }
            Err(error) => {
                let doubled = RETRY_PAUSE_MIN * 2u32.pow(self.reach().failures.min(10));
                self.set_down(error.clone(), doubled.min(RETRY_PAUSE_MAX));
            }
        }
        made
    }

    /// Has the node tried last for a while: it said that it is shutting down.
    pub(crate) fn set_leaving(&self) {
        self.set_down(NodeError::Leaving, RETRY_PAUSE_MAX);
    }

    /// Has the node tried last for a while: it left a request unanswered that another
    /// node carried out. A killed node's connection looks alive until it times out.
    pub(crate) fn set_silent(&self, waited: Duration) {
        self.set_down(NodeError::NoAnswer { waited }, RETRY_PAUSE_MAX);
    }

    fn set_down(&self, error: NodeError, pause: Duration) {
        // Jitter keeps the clients of a restarted node from coming back in step.
        let pause = pause.mul_f64(rand::random_range(0.5..=1.0));
        tracing::debug!(node = %self.address, %error, ?pause, "down");
        let mut reach = self.reach();
        *reach = Reach {
            link: None,
            failures: reach.failures.saturating_add(1),
            retry_at: Some(Instant::now() + pause),
            error: Some(error),
        };
    }

    async fn say_hello(&self) -> Result<Arc<Link>, NodeError> {
        let connection = self
            .endpoint
            .connect(self.address, &self.server_name)
            .map_err(|error| NodeError::Broken {
                reason: error.to_string(),
            })?
            .await
            .map_err(|error| self.explain(&error))?;
        // A TLS 1.3 client is connected before the node has judged its certificate;
        // only an answer shows that the node serves us. Any answer does.
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let link = Arc::new(Link::new(connection, self.value_bytes_max));
        match link.exchange(&Request::Status, deadline).await {
            Ok(_) => Ok(link),
            Err(ExchangeError::NotSent(reason) | ExchangeError::NoReply(reason)) => {
                Err(match link.close_reason() {
                    Some(error) => self.explain(&error),
                    None => NodeError::Broken { reason },
                })
            }
        }
    }

    fn explain(&self, error: &ConnectionError) -> NodeError {
        let reason = error.to_string();
        match error {
            ConnectionError::TransportError(error) => match u64::from(error.code) {
                ALERT_UNKNOWN_CA | ALERT_DECRYPT_ERROR => NodeError::OtherAuthority,
                ALERT_CERTIFICATE_EXPIRED => NodeError::Expired,
                ALERT_NO_APPLICATION_PROTOCOL => NodeError::OtherProtocol,
                ALERT_BAD_CERTIFICATE => NodeError::OtherCluster {
                    cluster: self.cluster.clone(),
                    reason: error.reason.clone(),
                },
                _ => NodeError::Broken { reason },
            },
            ConnectionError::ConnectionClosed(close) => match u64::from(close.error_code) {
                ALERT_NO_APPLICATION_PROTOCOL => NodeError::OtherProtocol,
                0x100..0x200 => NodeError::CertificateRefused { reason },
                _ => NodeError::Broken { reason },
            },
            ConnectionError::TimedOut => NodeError::NoAnswer {
                waited: CONNECT_TIMEOUT,
            },
            ConnectionError::VersionMismatch => NodeError::OtherProtocol,
            ConnectionError::ApplicationClosed(close) => {
                if close.error_code == VarInt::from_u32(close_code::REFUSED) {
                    NodeError::CertificateRefused { reason }
                } else if close.error_code == VarInt::from_u32(close_code::STOPPING) {
                    NodeError::Leaving
                } else {
                    NodeError::Broken { reason }
                }
            }
            ConnectionError::Reset
            | ConnectionError::LocallyClosed
            | ConnectionError::CidsExhausted => NodeError::Broken { reason },
        }
    }
}
