//! TLS settings from PEM files: TLS 1.3 only, certificates on both sides, no
//! 0-RTT and no resumption, so that every connection verifies the other side anew.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::role::{Role, RoleError};

/// The longest PEM file, in bytes.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// ALPN of connections between nodes.
pub const PEER_ALPN: &[u8] = b"vivace-peer/1";
/// ALPN of connections from clients.
pub const CLIENT_ALPN: &[u8] = b"vivace-client/1";

/// A certificate with its private key, and the CA that the other side must have.
#[derive(Clone)]
pub struct Identity {
    role: Role,
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    roots: Arc<RootCertStore>,
}

/// Why an identity can't be used; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file can't be read.
    #[error("{field}: can't read {path}: {source}")]
    Read {
        /// Which file: "CA certificate", "certificate" or "private key".
        field: &'static str,
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file's text is not the PEM that it should be.
    #[error("{field}: {problem}; it must be {expected}")]
    Pem {
        /// Which text.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The CA's certificate can't anchor trust.
    #[error("CA certificate: {0}; it must be a CA's X.509 certificate")]
    Ca(#[source] rustls::Error),
    /// The certificate says nobody's role.
    #[error("certificate: {0}")]
    Role(#[from] RoleError),
    /// TLS refuses the certificate with this key.
    #[error("certificate and private key: {0}; the key must be the certificate's")]
    Tls(#[source] rustls::Error),
    /// The client verifier can't be built from the CA's certificate.
    #[error("CA certificate: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The crypto provider lacks QUIC's first cipher suite.
    #[error(transparent)]
    Cipher(#[from] NoInitialCipherSuite),
}

impl Identity {
    /// Reads PEM texts: the CA's certificate(s), our certificate (chain, leaf
    /// first) and its private key.
    ///
    /// # Errors
    /// [`IdentityError`], naming the text and what would be right.
    pub fn from_pem(ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates("CA certificate", ca)? {
            roots.add(authority).map_err(IdentityError::Ca)?;
        }
        let chain = certificates("certificate", certificate)?;
        let role = chain
            .first()
            .map_or(Err(RoleError::UriCount { found: 0 }), |leaf| {
                Role::from_certificate(leaf)
            })?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| IdentityError::Pem {
            field: "private key",
            problem: error.to_string(),
            expected: "one PEM block BEGIN PRIVATE KEY",
        })?;
        let identity = Self {
            role,
            chain,
            key: Arc::new(key),
            roots: Arc::new(roots),
        };
        // A key that isn't the certificate's is found now, not at the first connection.
        identity.server_tls(PEER_ALPN)?;
        Ok(identity)
    }

    /// Reads PEM files; see [`from_pem`](Self::from_pem).
    ///
    /// # Errors
    /// [`IdentityError`], naming the file.
    pub fn load(ca: &Path, certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        Self::from_pem(
            &read("CA certificate", ca)?,
            &read("certificate", certificate)?,
            &read("private key", key)?,
        )
    }

    /// Whom the certificate speaks for.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// For the sockets between nodes, accepting side.
    ///
    /// # Errors
    /// [`IdentityError`] where rustls refuses the settings.
    pub fn peer_server_config(&self) -> Result<quinn::ServerConfig, IdentityError> {
        self.server_config(PEER_ALPN)
    }

    /// The private key's bytes, for keys that are derived from it.
    pub(crate) fn private_key(&self) -> &[u8] {
        self.key.secret_der()
    }

    /// For the sockets between nodes, dialing side.
    ///
    /// # Errors
    /// [`IdentityError`] where rustls refuses the settings.
    pub fn peer_client_config(&self) -> Result<quinn::ClientConfig, IdentityError> {
        self.client_config(PEER_ALPN)
    }

    /// For the port that clients connect to. A node's certificate is accepted
    /// there too (for operators' tools on a node): look at the peer's [`Role`].
    ///
    /// # Errors
    /// [`IdentityError`] where rustls refuses the settings.
    pub fn client_port_server_config(&self) -> Result<quinn::ServerConfig, IdentityError> {
        self.server_config(CLIENT_ALPN)
    }

    /// For a client of that port; connect with
    /// [`any_node_dns_name`](super::any_node_dns_name).
    ///
    /// # Errors
    /// [`IdentityError`] where rustls refuses the settings.
    pub fn client_port_client_config(&self) -> Result<quinn::ClientConfig, IdentityError> {
        self.client_config(CLIENT_ALPN)
    }

    fn server_config(&self, alpn: &[u8]) -> Result<quinn::ServerConfig, IdentityError> {
        let crypto = QuicServerConfig::try_from(self.server_tls(alpn)?)?;
        Ok(quinn::ServerConfig::with_crypto(Arc::new(crypto)))
    }

    fn server_tls(&self, alpn: &[u8]) -> Result<rustls::ServerConfig, IdentityError> {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider()).build()?;
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(IdentityError::Tls)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(IdentityError::Tls)?;
        tls.alpn_protocols = vec![alpn.to_vec()];
        tls.send_tls13_tickets = 0;
        tls.max_early_data_size = 0;
        Ok(tls)
    }

    fn client_config(&self, alpn: &[u8]) -> Result<quinn::ClientConfig, IdentityError> {
        let mut tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(IdentityError::Tls)?
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(IdentityError::Tls)?;
        tls.alpn_protocols = vec![alpn.to_vec()];
        tls.resumption = Resumption::disabled();
        tls.enable_early_data = false;
        Ok(quinn::ClientConfig::new(Arc::new(
            QuicClientConfig::try_from(tls)?,
        )))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// Named explicitly: rustls's process-wide default depends on who came first.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, IdentityError> {
    let bounded = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = fs::File::open(path)?;
        let read = file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        match read as u64 > PEM_BYTES_MAX {
            true => Err(io::Error::other(format!(
                "it has more than {PEM_BYTES_MAX} bytes"
            ))),
            false => Ok(bytes),
        }
    };
    bounded().map_err(|source| IdentityError::Read {
        field,
        path: path.to_owned(),
        source,
    })
}

fn certificates(
    field: &'static str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let expected = "one or more PEM blocks BEGIN CERTIFICATE";
    let problem = |problem: String| IdentityError::Pem {
        field,
        problem,
        expected,
    };
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| problem(error.to_string()))?;
    if found.is_empty() {
        Err(problem("no certificate found".into()))
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vivace_core::{NodeId, SiteId};

    use super::super::{ClusterName, DevelopmentCa};
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn ca_and_node() -> (DevelopmentCa, super::super::PemPair, Role) {
        let cluster = ClusterName::new("alpha").expect("a label");
        let ca = DevelopmentCa::generate(&cluster, DAY).expect("a CA");
        let role = Role::Node {
            cluster,
            node: NodeId(3),
            site: SiteId(1),
        };
        let node = ca.issue(&role, DAY).expect("a certificate");
        (ca, node, role)
    }

    #[test]
    fn an_issued_certificate_speaks_for_its_role() {
        let (ca, node, role) = ca_and_node();
        let identity = Identity::from_pem(
            ca.pem().certificate.as_bytes(),
            node.certificate.as_bytes(),
            node.key.as_bytes(),
        );
        assert_eq!(*identity.expect("usable").role(), role);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (ca, node, role) = ca_and_node();
        let other = ca.issue(&role, DAY).expect("a certificate");
        let error = Identity::from_pem(
            ca.pem().certificate.as_bytes(),
            node.certificate.as_bytes(),
            other.key.as_bytes(),
        );
        assert!(matches!(error, Err(IdentityError::Tls(_))), "{error:?}");
    }

    #[test]
    fn errors_name_the_text_and_what_would_be_right() {
        let (ca, node, _) = ca_and_node();
        let error = Identity::from_pem(b"", node.certificate.as_bytes(), node.key.as_bytes());
        let text = error.expect_err("no CA").to_string();
        assert!(
            text.starts_with("CA certificate: no certificate found; it must be"),
            "{text}"
        );
        let ca = ca.pem().certificate.as_bytes();
        let text = Identity::from_pem(ca, node.certificate.as_bytes(), b"no key")
            .expect_err("no key")
            .to_string();
        assert!(text.starts_with("private key: "), "{text}");
        // A CA's certificate has no role: using it as a node's is an easy mistake.
        let text = Identity::from_pem(ca, ca, node.key.as_bytes())
            .expect_err("no role")
            .to_string();
        assert!(text.contains("0 vivace:// URIs"), "{text}");
    }

    /// A file without a length was read until memory was full.
    #[cfg(unix)]
    #[test]
    fn a_file_without_end_is_refused() {
        let endless = Path::new("/dev/zero");
        let error = Identity::load(endless, endless, endless).expect_err("it has no end");
        let text = error.to_string();
        assert!(
            text.starts_with("CA certificate: can't read /dev/zero: it has more than"),
            "{text}"
        );
    }
}
