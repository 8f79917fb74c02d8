//! Who a certificate speaks for, written as a URI in its subject alternative names.

use std::fmt;

use vivace_core::{NodeId, SiteId};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

const SCHEME: &str = "vivace://";

/// Longest DNS label (RFC 1035 §2.3.4), in bytes.
pub const LABEL_BYTES_MAX: usize = 63;

/// A cluster's name: a lower-case DNS label, so that it can be part of a
/// certificate's DNS names. 1 to 63 of `a-z`, `0-9` and inner hyphens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(String);

/// A client's name: a label as [`ClusterName`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientName(String);

/// Not a DNS label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {what} {value:?} is not a DNS label: use 1 to 63 of a-z, 0-9 and hyphens, \
     with no hyphen at either end"
)]
pub struct NameError {
    /// "cluster name" or "client name".
    pub what: &'static str,
    /// What was given.
    pub value: String,
}

impl ClusterName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// If it is not a lower-case DNS label.
    pub fn new(name: &str) -> Result<Self, NameError> {
        checked_label("cluster name", name).map(Self)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ClientName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// If it is not a lower-case DNS label.
    pub fn new(name: &str) -> Result<Self, NameError> {
        checked_label("client name", name).map(Self)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn checked_label(what: &'static str, value: &str) -> Result<String, NameError> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = !value.is_empty()
        && value.len() <= LABEL_BYTES_MAX
        && value.bytes().all(inner)
        && !value.starts_with('-')
        && !value.ends_with('-');
    if is_label {
        Ok(value.to_owned())
    } else {
        Err(NameError {
            what,
            value: value.to_owned(),
        })
    }
}

/// Whom a certificate speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A node: `vivace://CLUSTER/node/3/site/0`.
    Node {
        /// Its cluster.
        cluster: ClusterName,
        /// Its number.
        node: NodeId,
        /// The site that it stands in.
        site: SiteId,
    },
    /// A client: `vivace://CLUSTER/client/NAME`. It never speaks the peer protocol.
    Client {
        /// The cluster that it may talk to.
        cluster: ClusterName,
        /// Its name in logs and quotas.
        name: ClientName,
    },
}

/// A certificate, or its URI, that says nobody's role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// Not an X.509 certificate.
    #[error("the certificate can't be parsed: {0}")]
    Certificate(String),
    /// No `vivace://` URI among the subject alternative names, or several.
    #[error("the certificate has {found} vivace:// URIs among its alternative names; it needs 1")]
    UriCount {
        /// How many there are.
        found: usize,
    },
    /// The URI has another form.
    #[error(
        "the role {uri:?} is neither vivace://CLUSTER/node/NUMBER/site/NUMBER \
         nor vivace://CLUSTER/client/NAME"
    )]
    Uri {
        /// The URI found.
        uri: String,
    },
    /// The URI's cluster or client name is not a label.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Role {
    /// The cluster that the certificate belongs to.
    pub fn cluster(&self) -> &ClusterName {
        match self {
            Self::Node { cluster, .. } | Self::Client { cluster, .. } => cluster,
        }
    }

    /// The role as a URI.
    pub fn to_uri(&self) -> String {
        match self {
            Self::Node {
                cluster,
                node,
                site,
            } => {
                format!("{SCHEME}{cluster}/node/{}/site/{}", node.0, site.0)
            }
            Self::Client { cluster, name } => format!("{SCHEME}{cluster}/client/{name}"),
        }
    }

    /// Reads a role's URI; only the exact form that [`to_uri`](Self::to_uri) writes.
    ///
    /// # Errors
    /// [`RoleError::Uri`] or [`RoleError::Name`].
    pub fn parse_uri(uri: &str) -> Result<Self, RoleError> {
        let malformed = || RoleError::Uri {
            uri: uri.to_owned(),
        };
        let path = uri.strip_prefix(SCHEME).ok_or_else(malformed)?;
        let number = |text: &str| text.parse::<u16>().map_err(|_| malformed());
        let role = match path.split('/').collect::<Vec<_>>()[..] {
            [cluster, "node", node, "site", site] => Self::Node {
                cluster: ClusterName::new(cluster)?,
                node: NodeId(number(node)?),
                site: SiteId(number(site)?),
            },
            [cluster, "client", name] => Self::Client {
                cluster: ClusterName::new(cluster)?,
                name: ClientName::new(name)?,
            },
            _ => return Err(malformed()),
        };
        // `parse` also takes "+3" and "03": one role, one spelling.
        if role.to_uri() == uri {
            Ok(role)
        } else {
            Err(malformed())
        }
    }

    /// Reads the role from a certificate (DER). Says nothing about its signature:
    /// that is TLS's part.
    ///
    /// # Errors
    /// [`RoleError`], by what is missing.
    pub fn from_certificate(der: &[u8]) -> Result<Self, RoleError> {
        let unreadable = |error: String| RoleError::Certificate(error);
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|e| unreadable(e.to_string()))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|e| unreadable(e.to_string()))?;
        let names = names.map(|extension| &extension.value.general_names);
        let uris: Vec<&str> = names
            .into_iter()
            .flatten()
            .filter_map(|name| match name {
                GeneralName::URI(uri) if uri.starts_with(SCHEME) => Some(*uri),
                _ => None,
            })
            .collect();
        match uris[..] {
            [uri] => Self::parse_uri(uri),
            _ => Err(RoleError::UriCount { found: uris.len() }),
        }
    }

    /// Reads the role of a connection's other end from the certificate that TLS
    /// has checked.
    ///
    /// # Errors
    /// As [`from_certificate`](Self::from_certificate); `UriCount { found: 0 }`
    /// also if there is no certificate.
    pub fn of_peer(connection: &quinn::Connection) -> Result<Self, RoleError> {
        type Chain = Vec<rustls_pki_types::CertificateDer<'static>>;
        let chain = connection
            .peer_identity()
            .and_then(|any| any.downcast::<Chain>().ok());
        let leaf = chain.as_ref().and_then(|chain| chain.first());
        Self::from_certificate(leaf.ok_or(RoleError::UriCount { found: 0 })?)
    }

    /// DNS names of the role's certificate: a node's own, and the one that stands
    /// for any node of the cluster; a client has none, so nobody can mistake it
    /// for a server.
    pub(super) fn dns_names(&self) -> Vec<String> {
        match self {
            Self::Node { cluster, node, .. } => {
                vec![
                    format!("node-{}.{cluster}.vivace", node.0),
                    any_node_dns_name(cluster),
                ]
            }
            Self::Client { .. } => Vec::new(),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_uri())
    }
}

/// The DNS name that every node's certificate carries: what a client verifies,
/// for it may talk to any node, and what peers verify before the role.
pub fn any_node_dns_name(cluster: &ClusterName) -> String {
    format!("node.{cluster}.vivace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_survives_the_trip_through_its_uri() {
        for uri in ["vivace://alpha/node/3/site/0", "vivace://a-1/client/backup"] {
            assert_eq!(Role::parse_uri(uri).expect("well-formed").to_uri(), uri);
        }
    }

    #[test]
    fn a_uri_of_any_other_form_is_refused() {
        for uri in [
            "vivace://alpha/node/3",
            "vivace://alpha/node/03/site/0",
            "vivace://alpha/node/+3/site/0",
            "vivace://alpha/node/70000/site/0",
            "vivace://alpha/node/3/site/0/",
            "vivace://Alpha/node/3/site/0",
            "vivace://al.pha/client/x",
            "vivace:///client/x",
            "vivace://alpha/client/",
            "https://alpha/client/x",
        ] {
            assert!(Role::parse_uri(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn a_cluster_name_must_be_a_dns_label() {
        for name in ["", "-a", "a-", "A", "a.b", "a b", "ü", &"a".repeat(64)] {
            assert!(ClusterName::new(name).is_err(), "{name:?}");
        }
        assert!(ClusterName::new(&"a".repeat(63)).is_ok());
    }

    #[test]
    fn bytes_that_are_no_certificate_are_an_error() {
        assert!(matches!(
            Role::from_certificate(b"\x30\x03abc"),
            Err(RoleError::Certificate(_))
        ));
    }
}
