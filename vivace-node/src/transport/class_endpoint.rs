//! One class's QUIC endpoint, with settings of their own for peers of the same site.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{
    ClientConfig, ConnectError, Connecting, ConnectionError, Endpoint, Incoming, ServerConfig,
    TransportConfig,
};

use super::event::TrafficClass;
use super::identity::{Identity, IdentityError, any_node_dns_name};
use super::limits::SITE_PACKET_BYTES_MAX;
use super::state::{Peer, Shared};
use super::{accept, bulk, priority};

/// Connects to peers and is connected to by them. Clones share the endpoint.
#[derive(Clone)]
pub(super) struct ClassEndpoint {
    endpoint: Endpoint,
    class: TrafficClass,
    here: Settings,
    elsewhere: Settings,
}

/// QUIC's, of connections that we make and of those that we accept.
#[derive(Clone)]
pub(super) struct Settings {
    client: ClientConfig,
    server: Arc<ServerConfig>,
}

impl Settings {
    /// For peers of our own site, and for all others.
    pub(super) fn of(
        shared: &Shared,
        class: TrafficClass,
        identity: &Identity,
    ) -> Result<(Self, Self), IdentityError> {
        let limits = &shared.limits;
        let (here, elsewhere) = match class {
            TrafficClass::Priority => {
                let both = Arc::new(priority::transport_config(limits));
                (both.clone(), both)
            }
            TrafficClass::Bulk => (
                Arc::new(bulk::transport_config(limits, SITE_PACKET_BYTES_MAX)),
                Arc::new(bulk::transport_config(limits, limits.bulk_packet_bytes_max)),
            ),
        };
        // Copies, so that both know each other's tokens.
        let mut server = identity.peer_server_config()?;
        server.max_incoming(accept::HANDSHAKES_MAX);
        let client = identity.peer_client_config()?;
        let with = |quic: Arc<TransportConfig>| {
            let (mut server, mut client) = (server.clone(), client.clone());
            server.transport_config(quic.clone());
            client.transport_config(quic);
            Self {
                client,
                server: Arc::new(server),
            }
        };
        Ok((with(here), with(elsewhere)))
    }

    /// What an endpoint needs that accepts connections.
    pub(super) fn server(&self) -> ServerConfig {
        (*self.server).clone()
    }
}

impl ClassEndpoint {
    pub(super) fn new(
        endpoint: Endpoint,
        class: TrafficClass,
        (here, elsewhere): (Settings, Settings),
    ) -> Self {
        Self {
            endpoint,
            class,
            here,
            elsewhere,
        }
    }

    /// Whose endpoint it is.
    pub(super) fn class(&self) -> TrafficClass {
        self.class
    }

    /// The endpoint itself.
    pub(super) fn quic(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Begins to connect to a peer.
    pub(super) fn dial(&self, shared: &Shared, peer: &Peer) -> Result<Connecting, ConnectError> {
        // Any node's certificate passes TLS here; the hello then says whose it is,
        // and a wrong one gets a cause with a name.
        let name = any_node_dns_name(&shared.local.cluster);
        let client = self.settings(shared, peer).client.clone();
        self.endpoint
            .connect_with(client, peer.socket_address(self.class), &name)
    }

    /// Begins to let somebody connect, who is yet to prove to be a peer.
    pub(super) fn answer(
        &self,
        shared: &Shared,
        incoming: Incoming,
    ) -> Result<Connecting, ConnectionError> {
        let settings = match self.peer_at(shared, incoming.remote_address()) {
            Some(peer) => self.settings(shared, peer),
            None => &self.elsewhere,
        };
        incoming.accept_with(settings.server.clone())
    }

    fn peer_at<'a>(&self, shared: &'a Shared, address: SocketAddr) -> Option<&'a Arc<Peer>> {
        let mut peers = shared.book.values();
        peers.find(|peer| peer.socket_address(self.class) == address)
    }

    fn settings(&self, shared: &Shared, peer: &Peer) -> &Settings {
        match peer.address.site == shared.local.site {
            true => &self.here,
            false => &self.elsewhere,
        }
    }
}
