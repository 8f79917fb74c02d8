//! One class's socket and endpoint, and the loop that they are served on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::time::Duration;

use quinn::{AsyncUdpSocket, Endpoint, TokioRuntime};

use super::class_endpoint::{ClassEndpoint, Settings};
use super::event::TrafficClass;
use super::identity::{Identity, IdentityError};
use super::link::Marking;
use super::metered_socket::{MeteredSocket, Meters};
use super::precise_timer::PreciseTimer;
use super::refusal::OrderlyEnd;
use super::reset::endpoint_config;
use super::socket::ClassSocket;
use super::state::{Peer, Shared};
use super::{accept, bulk, dial, pacer};
use crate::event_loop::{EventLoop, Service};

/// Makes a class's socket, on the class's loop, for a socket belongs to the reactor that it
/// is made in.
pub type SocketFactory = Box<dyn FnOnce() -> io::Result<ClassSocket> + Send>;

/// How long a closing endpoint may take to say goodbye to its peers.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(300);

/// Why a class could not be served; what it had bound is released.
#[derive(Debug, thiserror::Error)]
pub enum ThreadError {
    /// The thread or its runtime could not be made.
    #[error("can't start the thread: {0}")]
    Thread(#[source] io::Error),
    /// The socket factory failed.
    #[error("can't open the socket: {0}")]
    Socket(#[source] io::Error),
    /// The timer of what waits could not be made.
    #[error("can't make a timer: {0}")]
    Timer(#[source] io::Error),
    /// The endpoint could not be made.
    #[error("can't make the QUIC endpoint: {0}")]
    Endpoint(#[source] io::Error),
    /// A peer's address is of the other IP version than the socket's.
    #[error("{peer} is of another IP version than our {local}; use one version per class")]
    AddressFamily {
        /// Our address.
        local: SocketAddr,
        /// The peer's.
        peer: SocketAddr,
    },
    /// TLS refused the identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It ended before it was ready.
    #[error("the thread ended before it was ready")]
    Vanished,
}

pub(super) struct ClassService {
    pub(super) service: Service,
    pub(super) local_addr: SocketAddr,
}

impl ClassService {
    pub(super) fn start(
        on: Arc<EventLoop>,
        shared: Arc<Shared>,
        class: TrafficClass,
        identity: Identity,
        socket: SocketFactory,
    ) -> Result<Self, ThreadError> {
        let (ready, is_ready) = mpsc::sync_channel(1);
        let service = Service::start(on, async move {
            serve(&shared, class, &identity, socket, &ready).await;
        });
        match is_ready.recv().unwrap_or(Err(ThreadError::Vanished)) {
            Ok(local_addr) => Ok(Self {
                service,
                local_addr,
            }),
            Err(error) => {
                // It is about to end, and what it had bound goes with it.
                service.join();
                Err(error)
            }
        }
    }

    /// Waits for the service to end, unless the caller runs on its loop. Call after
    /// `Shared::shutdown` was set.
    pub(super) fn join(&self) {
        self.service.join();
    }
}

type ReadySender = SyncSender<Result<SocketAddr, ThreadError>>;

async fn serve(
    shared: &Arc<Shared>,
    class: TrafficClass,
    identity: &Identity,
    socket: SocketFactory,
    ready: &ReadySender,
) {
    let mut shutdown = shared.shutdown.subscribe();
    let opened = open(shared, class, identity, socket).and_then(|(endpoint, local_addr)| {
        if class == TrafficClass::Priority {
            let timer = PreciseTimer::new().map_err(ThreadError::Timer)?;
            tokio::spawn(pacer::run(shared.clone(), timer));
        }
        Ok((endpoint, local_addr))
    });
    let endpoint = match opened {
        Ok((endpoint, local_addr)) => {
            // The receiver waits for exactly one answer.
            let _ = ready.send(Ok(local_addr));
            endpoint
        }
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let mut open = shared.is_open.subscribe();
    // Neither wait fails: `shared` holds both senders.
    let is_open = tokio::select! {
        _ = shutdown.wait_for(|&down| down) => false,
        _ = open.wait_for(|&open| open) => true,
    };
    if is_open {
        connect(shared, &endpoint);
        let _ = shutdown.wait_for(|&down| down).await;
    }
    let end = OrderlyEnd::ShuttingDown;
    let quic = endpoint.quic();
    quic.close(end.code(), end.reason().as_bytes());
    // The goodbyes are a courtesy: without one, a peer's timeout ends the connection.
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, quic.wait_idle()).await;
}

fn connect(shared: &Arc<Shared>, endpoint: &ClassEndpoint) {
    tokio::spawn(accept::run(shared.clone(), endpoint.clone()));
    let peers = shared.book.values();
    for peer in peers.filter(|peer| peer.address.node > shared.local.node) {
        let (shared, peer) = (shared.clone(), Arc::clone(peer));
        tokio::spawn(dial::keep_connected(shared, peer, endpoint.clone()));
    }
}

fn priority_meters(shared: &Shared) -> Meters {
    let peers = shared.book.values();
    peers
        .map(|peer| (peer.address.priority, peer.priority_sender.meter.clone()))
        .collect()
}

fn open(
    shared: &Shared,
    class: TrafficClass,
    identity: &Identity,
    socket: SocketFactory,
) -> Result<(ClassEndpoint, SocketAddr), ThreadError> {
    let (here, elsewhere) = Settings::of(shared, class, identity)?;
    let ClassSocket {
        socket,
        dscp,
        observed,
    } = socket().map_err(ThreadError::Socket)?;
    let local = socket.local_addr().map_err(ThreadError::Socket)?;
    let peers = || shared.book.values();
    let other_family = |peer: &Arc<Peer>| peer.socket_address(class).is_ipv4() != local.is_ipv4();
    if let Some(peer) = peers().find(|peer| other_family(peer)) {
        return Err(ThreadError::AddressFamily {
            local,
            peer: peer.socket_address(class),
        });
    }
    for peer in peers() {
        peer.link(class).set_marking(Marking {
            dscp,
            observed: observed.clone(),
        });
    }
    let port = match class {
        TrafficClass::Priority => "priority",
        TrafficClass::Bulk => "bulk",
    };
    let socket: Arc<dyn AsyncUdpSocket> = match class {
        TrafficClass::Priority => MeteredSocket::new(socket, priority_meters(shared)),
        TrafficClass::Bulk => socket,
    };
    let mut config = endpoint_config(identity, port);
    if class == TrafficClass::Bulk {
        bulk::take_large_packets(&mut config);
    }
    let server = Some(elsewhere.server());
    let endpoint =
        Endpoint::new_with_abstract_socket(config, server, socket, Arc::new(TokioRuntime))
            .map_err(ThreadError::Endpoint)?;
    Ok((
        ClassEndpoint::new(endpoint, class, (here, elsewhere)),
        local,
    ))
}
