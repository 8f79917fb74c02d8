//! A node without a cluster: it speaks the client protocol and misbehaves on request.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, ServerConfig, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use tokio::time::sleep;
use vivace_client::client_protocol::framing::{Frames, SHARED_MESSAGE_BYTES_MAX};
use vivace_client::client_protocol::{CLIENT_ALPN, ClientReply, ClientRequest, Request, Success};
use vivace_core::codec::{self, MESSAGE_BYTES_MAX};

use crate::authority::{Authority, CLUSTER, Identity};
use crate::store::{Store, status};

/// What a node does with a whole request.
pub enum Action {
    Reply(ClientReply),
    ReplyAfter(Duration, ClientReply),
    /// Never answers.
    Silence,
    /// Closes the connection without an answer, now or later.
    HangUp,
    HangUpAfter(Duration),
    /// Answers with these bytes.
    Bytes(Vec<u8>),
}

/// How far a node lets a request in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Open,
    /// Knows of no shared streams, as nodes before these did not.
    NothingShared,
    /// The same; takes hellos, and stops every other request before its end.
    StopsRequests,
    /// The same; reads no request but a hello beyond its beginning for this long.
    ReadsLate(Duration),
    /// Takes hellos; then reads no further in the stream that requests share for this long, or,
    /// where told so, hangs up then.
    SharesLate {
        pause: Duration,
        hangs_up: bool,
    },
    /// Takes hellos; then stops the stream that requests share, once, and lets the connection
    /// stand.
    StopsSharing,
    /// Closes every connection with this code.
    Closes(u32),
}

type Behaviour = dyn Fn(&Request) -> Action + Send + Sync;

/// A running fake node. Hellos (`Status`) are answered whatever its behaviour.
pub struct FakeNode {
    pub address: SocketAddr,
    endpoint: Endpoint,
    served: Arc<Served>,
}

struct Served {
    behaviour: Arc<Behaviour>,
    port: Port,
    seen: Mutex<Vec<ClientRequest>>,
    /// Requests that ended before they were whole.
    halves: Mutex<u32>,
    /// Whether a stream that requests share was broken.
    has_stopped: AtomicBool,
}

impl FakeNode {
    pub fn start(
        authority: &Authority,
        behaviour: impl Fn(&Request) -> Action + Send + Sync + 'static,
    ) -> Self {
        let identity = authority.node(CLUSTER);
        Self::start_as(authority, &identity, Arc::new(behaviour), Port::Open)
    }

    /// A node that answers as `store` does.
    pub fn serving(authority: &Authority, store: &Store) -> Self {
        let store = store.clone();
        Self::start(authority, move |request| {
            Action::Reply(store.answer(request))
        })
    }

    /// A node that knows of no shared streams, and answers as `store` does.
    pub fn sharing_nothing(authority: &Authority, store: &Store) -> Self {
        let (identity, store) = (authority.node(CLUSTER), store.clone());
        let answer = move |request: &_| Action::Reply(store.answer(request));
        Self::start_as(authority, &identity, Arc::new(answer), Port::NothingShared)
    }

    /// A node that takes hellos, and stops every other request before its end.
    pub fn stopping_requests(authority: &Authority) -> Self {
        let identity = authority.node(CLUSTER);
        let silence = Arc::new(|_: &_| Action::Silence);
        Self::start_as(authority, &identity, silence, Port::StopsRequests)
    }

    /// A node that takes hellos, and reads no further in other requests for a while.
    pub fn reading_late(authority: &Authority, pause: Duration) -> Self {
        let identity = authority.node(CLUSTER);
        let silence = Arc::new(|_: &_| Action::Silence);
        Self::start_as(authority, &identity, silence, Port::ReadsLate(pause))
    }

    /// A node that takes hellos, and reads no further in what requests share for a while, at
    /// whose end it goes on or hangs up.
    pub fn sharing_late(authority: &Authority, pause: Duration, hangs_up: bool) -> Self {
        let identity = authority.node(CLUSTER);
        let silence = Arc::new(|_: &_| Action::Silence);
        let port = Port::SharesLate { pause, hangs_up };
        Self::start_as(authority, &identity, silence, port)
    }

    /// A node that answers as `store` does, and breaks the first stream that requests share.
    pub fn breaking_the_shared_stream(authority: &Authority, store: &Store) -> Self {
        let (identity, store) = (authority.node(CLUSTER), store.clone());
        let answer = move |request: &_| Action::Reply(store.answer(request));
        Self::start_as(authority, &identity, Arc::new(answer), Port::StopsSharing)
    }

    /// A node that closes every connection with this code.
    pub fn closing(authority: &Authority, code: u32) -> Self {
        let identity = authority.node(CLUSTER);
        let silence = Arc::new(|_: &_| Action::Silence);
        Self::start_as(authority, &identity, silence, Port::Closes(code))
    }

    pub fn start_as(
        authority: &Authority,
        identity: &Identity,
        behaviour: Arc<Behaviour>,
        port: Port,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(authority.certificate())
            .expect("an authority is one");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .expect("the authority can verify");
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring speaks TLS 1.3")
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![identity.certificate.clone()], identity.key())
            .expect("certificate and key fit");
        tls.alpn_protocols = vec![CLIENT_ALPN.to_vec()];
        let crypto = QuicServerConfig::try_from(tls).expect("the cipher suites fit QUIC");
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        let mut transport = TransportConfig::default();
        if matches!(
            port,
            Port::StopsRequests | Port::ReadsLate(_) | Port::SharesLate { .. }
        ) {
            transport.stream_receive_window(VarInt::from_u32(1024));
        }
        if !matches!(
            port,
            Port::Open | Port::SharesLate { .. } | Port::StopsSharing | Port::Closes(_)
        ) {
            transport.max_concurrent_uni_streams(VarInt::from_u32(0));
        }
        config.transport_config(Arc::new(transport));
        let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())
            .expect("a loopback port is free");
        let node = Self {
            address: endpoint.local_addr().expect("it is bound"),
            endpoint: endpoint.clone(),
            served: Arc::new(Served {
                behaviour,
                port,
                seen: Mutex::default(),
                halves: Mutex::default(),
                has_stopped: AtomicBool::default(),
            }),
        };
        let served = node.served.clone();
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let served = served.clone();
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        serve(connection, served).await;
                    }
                });
            }
        });
        node
    }

    /// The operations that arrived whole, hellos left out.
    pub fn seen(&self) -> Vec<ClientRequest> {
        self.served
            .seen
            .lock()
            .expect("no test panics in it")
            .clone()
    }

    /// How many requests ended, and not by a reset, before they were whole.
    pub fn halves(&self) -> u32 {
        *self.served.halves.lock().expect("no test panics in it")
    }

    /// Ends the node; its connections are closed, and new ones get no answer.
    pub async fn stop(self) {
        self.endpoint.close(VarInt::from_u32(0), b"stopped");
        self.endpoint.wait_idle().await;
    }
}

async fn serve(connection: Connection, served: Arc<Served>) {
    if let Port::Closes(code) = served.port {
        connection.close(VarInt::from_u32(code), b"as the test wants it");
    }
    tokio::spawn(serve_shared(connection.clone(), served.clone()));
    while let Ok((send, receive)) = connection.accept_bi().await {
        let (connection, served) = (connection.clone(), served.clone());
        tokio::spawn(async move { served.serve(connection, send, receive).await });
    }
}

/// Serves the requests that share a stream, each reply when it is ready.
async fn serve_shared(connection: Connection, served: Arc<Served>) -> Option<()> {
    let mut receive = connection.accept_uni().await.ok()?;
    let send = Arc::new(tokio::sync::Mutex::new(connection.open_uni().await.ok()?));
    let mut frames = Frames::new(SHARED_MESSAGE_BYTES_MAX);
    for n in 0.. {
        let is_due = served.port == Port::StopsSharing && n == 1;
        if is_due && !served.has_stopped.swap(true, Ordering::SeqCst) {
            let _ = receive.stop(VarInt::from_u32(7));
            return std::future::pending().await;
        }
        if let Port::SharesLate { pause, hangs_up } = served.port
            && n == 1
        {
            sleep(pause).await;
            if hangs_up {
                connection.close(VarInt::from_u32(0), b"hung up");
            }
        }
        let chunk = receive.read_chunk(usize::MAX, true).await.ok()??;
        frames.push(&chunk.bytes);
        while let Some((number, request)) = frames.next_frame().ok()? {
            let (connection, served, send) = (connection.clone(), served.clone(), send.clone());
            tokio::spawn(async move {
                let reply = served.answer(&request, &connection).await?;
                let mut frame = number.to_le_bytes().to_vec();
                frame.extend(u32::try_from(reply.len()).ok()?.to_le_bytes());
                frame.extend(&reply);
                if reply.len() <= SHARED_MESSAGE_BYTES_MAX {
                    return send.lock().await.write_all(&frame).await.ok();
                }
                let mut alone = connection.open_uni().await.ok()?;
                alone.write_all(&frame).await.ok()?;
                alone.finish().ok()
            });
        }
    }
    None
}

impl Served {
    async fn serve(
        &self,
        connection: Connection,
        mut send: SendStream,
        mut receive: RecvStream,
    ) -> Option<()> {
        let mut request = vec![0; 64];
        let read = receive.read(&mut request).await.ok()??;
        request.truncate(read);
        let is_hello = codec::decode::<ClientRequest>(&request, 64)
            .is_ok_and(|request| request.request == Request::Status);
        match self.port {
            Port::StopsRequests if !is_hello => return receive.stop(VarInt::from_u32(7)).ok(),
            Port::ReadsLate(pause) if !is_hello => sleep(pause).await,
            Port::Open
            | Port::NothingShared
            | Port::StopsRequests
            | Port::ReadsLate(_)
            | Port::SharesLate { .. }
            | Port::StopsSharing
            | Port::Closes(_) => {}
        }
        request.extend(receive.read_to_end(MESSAGE_BYTES_MAX).await.ok()?);
        let reply = self.answer(&request, &connection).await?;
        send.write_all(&reply).await.ok()?;
        send.finish().ok()
    }

    async fn answer(&self, request: &[u8], connection: &Connection) -> Option<Vec<u8>> {
        let Ok(request) = codec::decode::<ClientRequest>(request, MESSAGE_BYTES_MAX) else {
            *self.halves.lock().expect("no test panics in it") += 1;
            return None;
        };
        if request.request == Request::Status {
            let status = Box::new(status());
            return Some(codec::encode::<ClientReply>(&Ok(Success::Status(status))));
        }
        self.reply(request, connection).await
    }

    async fn reply(&self, request: ClientRequest, connection: &Connection) -> Option<Vec<u8>> {
        let action = (self.behaviour)(&request.request);
        self.seen
            .lock()
            .expect("no test panics in it")
            .push(request);
        let pause = match &action {
            Action::ReplyAfter(pause, _) | Action::HangUpAfter(pause) => *pause,
            Action::Silence => std::future::pending().await,
            Action::Reply(_) | Action::HangUp | Action::Bytes(_) => Duration::ZERO,
        };
        sleep(pause).await;
        match action {
            Action::Reply(reply) | Action::ReplyAfter(_, reply) => Some(codec::encode(&reply)),
            Action::Bytes(bytes) => Some(bytes),
            Action::HangUp | Action::HangUpAfter(_) | Action::Silence => {
                connection.close(VarInt::from_u32(0), b"hung up");
                None
            }
        }
    }
}
