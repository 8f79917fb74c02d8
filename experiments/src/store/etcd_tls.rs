//! Certificates for an etcd that is as closed as Vivace always is: TLS on every connection,
//! and both ends show who they are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// Where etcd's manual has them: a CA, and one certificate for members and clients, which is
/// for 127.0.0.1 (ECDSA P-256, as Vivace's).
pub struct EtcdCertificates {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl EtcdCertificates {
    /// Makes them, in `directory`.
    ///
    /// # Errors
    /// They can't be made or written.
    pub fn generate(directory: &Path) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca_key = KeyPair::generate()?;
        let ca = params.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(params, ca_key);

        let mut params = CertificateParams::new(["127.0.0.1".to_owned()])?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?.pem();

        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| path.display().to_string())?;
            anyhow::Ok(path)
        };
        Ok(Self {
            ca: write("etcd-ca.pem", &ca)?,
            certificate: write("etcd.pem", &certificate)?,
            key: write("etcd.key", &key.serialize_pem())?,
        })
    }

    /// What a member is started with: for its clients, and for its peers.
    pub fn arguments(&self) -> Vec<String> {
        let with = |option: &str, path: &Path| format!("--{option}={}", path.display());
        ["", "peer-"]
            .into_iter()
            .flat_map(|whose| {
                let of = |option: &str| format!("{whose}{option}");
                [
                    with(&of("trusted-ca-file"), &self.ca),
                    with(&of("cert-file"), &self.certificate),
                    with(&of("key-file"), &self.key),
                    format!("--{}", of("client-cert-auth")),
                ]
            })
            .collect()
    }

    /// What a client connects with.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn client(&self) -> anyhow::Result<ClientTlsConfig> {
        let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
        let identity = Identity::from_pem(read(&self.certificate)?, read(&self.key)?);
        Ok(ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(&self.ca)?))
            .identity(identity))
    }
}
