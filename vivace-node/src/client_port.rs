//! The port for clients: a request and its reply have a QUIC stream of their own, or share
//! one with others ([`framing`](vivace_core::client_protocol::framing)).

mod answer;
mod shared_stream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quinn::{Connection, Endpoint, VarInt};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use vivace_core::client_protocol::{
    ClientReply, ClientRequest, DEADLINE_MS_MAX, Failure, STOPPING_REASON, close_code,
};
use vivace_core::codec::{self, MESSAGE_BYTES_MAX};

pub use self::answer::Answer;
use crate::config::ClusterConfig;
use crate::event_loop::{EventLoop, Service};
use crate::runtime::Asked;
use crate::transport::identity::{ClientName, ClusterName, Identity, IdentityError, Role};
use crate::transport::lock::lock;
use crate::transport::reset::endpoint_config;

/// Connections of clients at one time; a further one is refused.
const CONNECTIONS_MAX: usize = 1024;

/// Requests under way on one connection on streams of their own; a client that has more waits.
/// The shared stream has a bound of its own.
const STREAMS_MAX: u32 = 1024;

/// How long a client may take to send one request.
const REQUEST_PATIENCE: Duration = Duration::from_secs(60);

/// Silence after which a client is gone.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the port was not opened.
#[derive(Debug, thiserror::Error)]
pub enum ClientPortError {
    /// The certificate can't be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The address can't be bound.
    #[error("{address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// No thread could be started.
    #[error("thread: {0}")]
    Thread(std::io::Error),
}

/// What the port refused since its start.
#[derive(Debug, Default)]
pub struct ClientRefusals {
    certificates: AtomicU64,
    requests: AtomicU64,
}

impl ClientRefusals {
    /// Connections whose certificate names no client of the cluster.
    pub fn certificates(&self) -> u64 {
        self.certificates.load(Ordering::Relaxed)
    }

    /// Streams and frames that held no request, or one out of bounds.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

/// The open port.
pub struct ClientPort {
    address: SocketAddr,
    /// Tells the service, once, that clients may connect.
    open: Mutex<Option<oneshot::Sender<()>>>,
    stop: watch::Sender<bool>,
    service: Service,
}

impl ClientPort {
    /// Binds the port, to be served on `event_loop`; clients get no answer before
    /// [`open`](Self::open).
    ///
    /// # Errors
    /// [`ClientPortError`]; nothing is left open.
    pub(crate) fn bind(
        event_loop: Arc<EventLoop>,
        address: SocketAddr,
        identity: &Identity,
        cluster: &ClusterConfig,
        asked: mpsc::Sender<Asked>,
        refusals: Arc<ClientRefusals>,
    ) -> Result<Self, ClientPortError> {
        let mut config = identity.client_port_server_config()?;
        let mut transport = quinn::TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(STREAMS_MAX.into())
            .max_concurrent_uni_streams(1_u32.into())
            .datagram_receive_buffer_size(None)
            .max_idle_timeout(Some(IDLE_TIMEOUT.try_into().expect("30 s fit a varint")));
        config.transport_config(Arc::new(transport));
        let bind = |source| ClientPortError::Bind { address, source };
        let socket = std::net::UdpSocket::bind(address).map_err(bind)?;
        let bound = socket.local_addr().map_err(bind)?;
        let endpoint = {
            // Its socket belongs to the loop's reactor.
            let _on_the_loop = event_loop.runtime().enter();
            let tokio = Arc::new(quinn::TokioRuntime);
            Endpoint::new(
                endpoint_config(identity, "client"),
                Some(config),
                socket,
                tokio,
            )
            .map_err(bind)?
        };
        let (stop, stopped) = watch::channel(false);
        let (open, may_open) = oneshot::channel();
        let cluster = cluster.name.clone();
        let service = Service::start(event_loop, async move {
            if may_open.await.is_ok() {
                accept(endpoint, cluster, asked, refusals, stopped).await;
            }
        });
        Ok(Self {
            address: bound,
            open: Mutex::new(Some(open)),
            stop,
            service,
        })
    }

    /// The bound address.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to answer clients.
    pub fn open(&self) {
        if let Some(open) = lock(&self.open).take() {
            let _ = open.send(());
        }
    }

    /// Closes all connections; the port is free when the loop has ended.
    pub fn shutdown(&self) {
        drop(lock(&self.open).take());
        self.stop.send_replace(true);
        self.service.join();
    }
}

impl Drop for ClientPort {
    fn drop(&mut self) {
        self.shutdown();
    }
}

async fn accept(
    endpoint: Endpoint,
    cluster: ClusterName,
    asked: mpsc::Sender<Asked>,
    refusals: Arc<ClientRefusals>,
    mut stopped: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                let (cluster, asked, room) = (cluster.clone(), asked.clone(), room.clone());
                let refusals = refusals.clone();
                tokio::spawn(async move {
                    let Ok(connection) = incoming.await else { return };
                    let Ok(_place) = room.try_acquire() else {
                        connection.close(close_code::FULL.into(), b"this node has too many clients");
                        return;
                    };
                    serve(connection, &cluster, &asked, refusals).await;
                });
            }
        }
    }
    endpoint.close(
        VarInt::from_u32(close_code::STOPPING),
        STOPPING_REASON.as_bytes(),
    );
    let _ = tokio::time::timeout(Duration::from_millis(300), endpoint.wait_idle()).await;
}

async fn serve(
    connection: Connection,
    cluster: &ClusterName,
    asked: &mpsc::Sender<Asked>,
    refusals: Arc<ClientRefusals>,
) {
    let address = connection.remote_address();
    let client: Arc<str> = match client_name(&connection, cluster) {
        Ok(name) => format!("client {name} at {address}").into(),
        Err(reason) => {
            refusals.certificates.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("refused a client at {address}: {reason}");
            connection.close(close_code::REFUSED.into(), reason.as_bytes());
            return;
        }
    };
    let requests = Requests {
        asked: asked.clone(),
        refusals,
        client,
    };
    let (sharing, shared) = (connection.clone(), requests.clone());
    tokio::spawn(async move {
        // One in a connection's life: its bound is the connection's.
        if let Ok(stream) = sharing.accept_uni().await {
            shared_stream::serve(sharing, stream, shared).await;
        }
    });
    while let Ok((send, receive)) = connection.accept_bi().await {
        let requests = requests.clone();
        tokio::spawn(async move {
            // A client that broke its stream off hears nothing.
            let _ = answer_alone(send, receive, &requests).await;
        });
    }
}

fn client_name(connection: &Connection, cluster: &ClusterName) -> Result<ClientName, String> {
    match Role::of_peer(connection) {
        Ok(Role::Client {
            cluster: theirs,
            name,
        }) if theirs == *cluster => Ok(name),
        Ok(other) => Err(format!(
            "this port is for clients of cluster {:?}; the certificate is for {other}",
            cluster.as_str()
        )),
        Err(error) => Err(format!("the certificate names no client: {error}")),
    }
}

/// The way to the core for one connection's requests.
#[derive(Clone)]
struct Requests {
    asked: mpsc::Sender<Asked>,
    refusals: Arc<ClientRefusals>,
    /// Who asks, as logs name it.
    client: Arc<str>,
}

impl Requests {
    /// Hands a request to the core, or has it answered that there is no room.
    fn hand_over(&self, request: ClientRequest, answer: Answer) {
        let patience = Duration::from_millis(u64::from(request.deadline_ms));
        let asked = Asked {
            request: request.request,
            client: self.client.clone(),
            deadline: Instant::now() + patience,
            answer,
        };
        let (refused, failure) = match self.asked.try_send(asked) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(asked)) => {
                let reason = "this node has too many requests".into();
                (asked, Failure::Busy { reason })
            }
            Err(mpsc::error::TrySendError::Closed(asked)) => {
                let reason = STOPPING_REASON.into();
                (asked, Failure::Unavailable { reason })
            }
        };
        refused.answer.give(Err(failure));
    }
}

/// Answers the one request of a stream.
async fn answer_alone(
    mut send: quinn::SendStream,
    mut receive: quinn::RecvStream,
    requests: &Requests,
) -> anyhow::Result<()> {
    let whole = receive.read_to_end(MESSAGE_BYTES_MAX);
    let bytes = tokio::time::timeout(REQUEST_PATIENCE, whole).await??;
    let reply: ClientReply = match read_request(&bytes) {
        Ok(request) => {
            let (answer, heard) = Answer::once(&request.request);
            requests.hand_over(request, answer);
            // Whatever becomes of it, it gives an answer.
            heard.await?
        }
        Err(failure) => {
            requests.refusals.count_request();
            Err(failure)
        }
    };
    send.write_all(&codec::encode(&reply)).await?;
    send.finish()?;
    Ok(())
}

/// One request within its bounds.
fn read_request(bytes: &[u8]) -> Result<ClientRequest, Failure> {
    let invalid = |field: &str, reason: String| Failure::Invalid {
        field: field.into(),
        reason,
    };
    let request: ClientRequest =
        codec::decode(bytes, MESSAGE_BYTES_MAX).map_err(|e| invalid("request", e.to_string()))?;
    if !(1..=DEADLINE_MS_MAX).contains(&request.deadline_ms) {
        let reason = format!(
            "is {}; it must be 1 to {DEADLINE_MS_MAX}",
            request.deadline_ms
        );
        return Err(invalid("deadline_ms", reason));
    }
    Ok(request)
}
