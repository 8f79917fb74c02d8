//! The client's side of the trust between client and nodes.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{IdleTimeout, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::client::Resumption;
use vivace_core::client_protocol::CLIENT_ALPN;

use crate::client::OPERATIONS_IN_FLIGHT_MAX;
use crate::config::{ClientConfig, ConfigError};

/// A node of the same site that is silent for this long is taken for dead.
const SILENCE_MS_MAX: u32 = 5_000;

/// How often an idle connection proves that it stands; several fit into
/// [`SILENCE_MS_MAX`], so that no single loss ends it.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// TLS 1.3 with certificates on both sides, the client protocol's name, no 0-RTT.
pub(crate) fn quic_config(config: &ClientConfig) -> Result<quinn::ClientConfig, ConfigError> {
    let mut roots = RootCertStore::empty();
    for authority in &config.authorities {
        roots.add(authority.clone()).map_err(|error| {
            ConfigError::new("ca", format!("is no authority's certificate: {error}"))
        })?;
    }
    if roots.is_empty() {
        return Err(ConfigError::new("ca", "holds no certificate"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| ConfigError::new("ca", error.to_string()))?
        .with_root_certificates(roots)
        .with_client_auth_cert(config.certificates.clone(), config.key.clone_key())
        .map_err(|error| {
            let reason = format!("certificate and key do not belong together: {error}");
            ConfigError::new("certificate", reason)
        })?;
    tls.alpn_protocols = vec![CLIENT_ALPN.to_vec()];
    // A resumed handshake skips the certificates, and a restarted node would have to
    // trust what it no longer knows.
    tls.resumption = Resumption::disabled();
    let crypto = QuicClientConfig::try_from(tls)
        .map_err(|error| ConfigError::new("certificate", error.to_string()))?;

    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(SILENCE_MS_MAX))))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        // One of small replies, and one for each larger one.
        .max_concurrent_uni_streams(VarInt::from_u32(1 + OPERATIONS_IN_FLIGHT_MAX as u32));
    let mut quic = quinn::ClientConfig::new(Arc::new(crypto));
    quic.transport_config(Arc::new(transport));
    Ok(quic)
}
