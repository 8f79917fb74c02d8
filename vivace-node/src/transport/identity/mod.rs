//! Who a node is and whom it believes: certificates, roles and TLS settings.
//!
//! Every connection is TLS 1.3 with certificates on both sides. A certificate's
//! role is a URI in its alternative names ([`Role`]); TLS checks that it leads to
//! the cluster's CA, the hello that it fits the address book.

mod issue;
mod role;
mod tls;

pub use issue::{DevelopmentCa, IssueError, PemPair};
pub use role::{
    ClientName, ClusterName, LABEL_BYTES_MAX, NameError, Role, RoleError, any_node_dns_name,
};
pub use tls::{CLIENT_ALPN, Identity, IdentityError, PEER_ALPN};
