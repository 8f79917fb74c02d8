//! A certificate authority for one test.

use std::net::SocketAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use vivace_client::ClientConfig;

pub const CLUSTER: &str = "test";

/// An authority that nodes and clients trust.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub certificate_pem: String,
    key: KeyPair,
}

impl Identity {
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

impl Authority {
    pub fn new() -> Self {
        Self::named("an authority")
    }

    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key is made");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority signs itself"))
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub fn certificate_pem(&self) -> String {
        self.0.pem()
    }

    fn sign(&self, name: String, usage: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::new(vec![name]).expect("the name is a DNS name");
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key is made");
        let certificate = params
            .signed_by(&key, &self.0)
            .expect("an authority signs others");
        Identity {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key,
        }
    }

    pub fn node(&self, cluster: &str) -> Identity {
        self.sign(
            format!("node.{cluster}.vivace"),
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    pub fn client(&self) -> Identity {
        self.sign(
            format!("client.{CLUSTER}.vivace"),
            ExtendedKeyUsagePurpose::ClientAuth,
        )
    }

    /// A configuration for nodes of this authority.
    pub fn config(&self, nodes: &[SocketAddr]) -> ClientConfig {
        let client = self.client();
        let key = client.key();
        let certificates = vec![client.certificate];
        ClientConfig::new(CLUSTER, nodes, self.certificate(), certificates, key)
    }
}
