//! A certificate authority for development and tests. In production an
//! operator's own CA issues the same kind of certificate.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use super::role::{ClusterName, Role};

/// Certificates are valid from this long before they were issued: nodes' clocks
/// may be behind, most of all on the first day.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub struct PemPair {
    /// The certificate.
    pub certificate: String,
    /// Its private key (PKCS #8). Keep it readable by its owner alone.
    pub key: String,
}

impl std::fmt::Debug for PemPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PemPair")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// A certificate could not be made; nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The CA's key is not a PEM private key of a supported kind.
    #[error("the CA's private key can't be used: {0}; it must be PKCS #8 in PEM")]
    CaKey(#[source] rcgen::Error),
    /// The role belongs to another cluster than the CA.
    #[error("the CA is for cluster {ca}, the role {role} for another")]
    OtherCluster {
        /// The CA's cluster.
        ca: ClusterName,
        /// The role asked for.
        role: Role,
    },
    /// The certificate could not be encoded or signed.
    #[error("the certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// One cluster's development CA. Its key signs anything: not for production.
pub struct DevelopmentCa {
    cluster: ClusterName,
    pem: PemPair,
    issuer: Issuer<'static, KeyPair>,
}

impl DevelopmentCa {
    /// Makes a new CA with a fresh key, valid for `valid_for`.
    ///
    /// # Errors
    /// If the certificate can't be made.
    pub fn generate(cluster: &ClusterName, valid_for: Duration) -> Result<Self, IssueError> {
        let key = KeyPair::generate()?;
        let mut params = ca_params(cluster);
        set_validity(&mut params, valid_for);
        let certificate = params.self_signed(&key)?.pem();
        let pem = PemPair {
            certificate,
            key: key.serialize_pem(),
        };
        Ok(Self {
            cluster: cluster.clone(),
            pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// Takes up a CA that [`generate`](Self::generate) made for the same cluster.
    ///
    /// # Errors
    /// [`IssueError::CaKey`].
    pub fn from_pem(cluster: &ClusterName, pem: PemPair) -> Result<Self, IssueError> {
        let key = KeyPair::from_pem(&pem.key).map_err(IssueError::CaKey)?;
        let issuer = Issuer::new(ca_params(cluster), key);
        Ok(Self {
            cluster: cluster.clone(),
            pem,
            issuer,
        })
    }

    /// The CA's own certificate and key.
    pub fn pem(&self) -> &PemPair {
        &self.pem
    }

    /// Issues a certificate, with a fresh key, that speaks for `role`.
    ///
    /// # Errors
    /// [`IssueError::OtherCluster`], or if the certificate can't be made.
    pub fn issue(&self, role: &Role, valid_for: Duration) -> Result<PemPair, IssueError> {
        if *role.cluster() != self.cluster {
            return Err(IssueError::OtherCluster {
                ca: self.cluster.clone(),
                role: role.clone(),
            });
        }
        let mut params = CertificateParams::new(role.dns_names())?;
        params
            .subject_alt_names
            .push(SanType::URI(role.to_uri().try_into()?));
        params.distinguished_name = named(match role {
            Role::Node { node, .. } => format!("Vivace {} node {}", self.cluster, node.0),
            Role::Client { name, .. } => format!("Vivace {} client {name}", self.cluster),
        });
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if let Role::Node { .. } = role {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, valid_for);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(PemPair {
            certificate,
            key: key.serialize_pem(),
        })
    }
}

/// The same for every CA of a cluster, so that a CA can be taken up from its key.
fn ca_params(cluster: &ClusterName) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(format!("Vivace {cluster} development CA"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(common_name: String) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn set_validity(params: &mut CertificateParams, valid_for: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + valid_for).into();
}
