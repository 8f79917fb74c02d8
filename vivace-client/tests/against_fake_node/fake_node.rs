//! A node without a cluster: it speaks the client protocol and misbehaves on request.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, ServerConfig, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use vivace_client::client_protocol::{
    CLIENT_ALPN, ClientReply, ClientRequest, Failure, Request, SessionId, Success,
};
use vivace_client::machine::{ApplyError, Machines};
use vivace_client::status::{
    BacklogStatus, ClockStatus, ContainerStatus, LinkStatus, NodeStatus, OperationCounts,
    PeerStatus,
};
use vivace_client::{Blob, Timestamp};
use vivace_core::Value;
use vivace_core::codec::{self, MESSAGE_BYTES_MAX};

use crate::authority::{Authority, CLUSTER, Identity};

/// What a node does with a whole request.
pub enum Action {
    Reply(ClientReply),
    ReplyAfter(Duration, ClientReply),
    /// Never answers.
    Silence,
    /// Closes the connection without an answer.
    HangUp,
    /// Answers with these bytes.
    Bytes(Vec<u8>),
}

/// How far a node lets a request in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Open,
    /// Takes hellos, and stops every other request before its end.
    StopsRequests,
    /// Closes every connection with this code.
    Closes(u32),
}

type Behaviour = dyn Fn(&Request) -> Action + Send + Sync;

/// What a whole fake cluster knows.
#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    time: u64,
    values: BTreeMap<Vec<u8>, (Timestamp, Value)>,
    states: BTreeMap<Vec<u8>, Blob>,
    results: BTreeMap<(Vec<u8>, SessionId), (u64, ClientReply)>,
    executions: u64,
}

impl Contents {
    fn tick(&mut self) -> Timestamp {
        self.time += 1;
        Timestamp {
            time: self.time,
            ..Timestamp::ZERO
        }
    }

    fn execute(&mut self, key: &[u8], machine: &str, command: &Blob) -> ClientReply {
        let applied = Machines::builtin()
            .apply(machine, self.states.get(key), command)
            .ok_or_else(|| Failure::Invalid {
                field: "machine".into(),
                reason: "is not known".into(),
            })?;
        match applied {
            Ok(applied) => {
                self.executions += 1;
                self.states.insert(key.to_vec(), applied.state);
                Ok(Success::Executed {
                    output: applied.output,
                })
            }
            Err(ApplyError::Conflict(conflict)) => Err(Failure::Conflict { reason: conflict.0 }),
            Err(error) => Err(Failure::Invalid {
                field: "command".into(),
                reason: error.to_string(),
            }),
        }
    }
}

impl Store {
    /// How many commands took effect.
    pub fn executions(&self) -> u64 {
        self.0.lock().expect("no test panics in it").executions
    }

    /// Answers as a well-behaved cluster does.
    pub fn answer(&self, request: &Request) -> ClientReply {
        let object = object(request);
        let mut contents = self.0.lock().expect("no test panics in it");
        match request {
            Request::Read { .. } => Ok(match contents.values.get(&object) {
                Some((ts, Value::Bytes(value))) => Success::Value {
                    ts: *ts,
                    value: value.clone(),
                },
                Some((_, Value::Tombstone)) | None => Success::NotFound,
            }),
            Request::Write { value, .. } => {
                let ts = contents.tick();
                let written = (ts, value.clone());
                contents.values.insert(object, written);
                Ok(Success::Written { ts })
            }
            Request::Execute {
                machine,
                session,
                sequence,
                command,
                ..
            } => {
                let place = (object.clone(), *session);
                if let Some((last, result)) = contents.results.get(&place)
                    && last == sequence
                {
                    return result.clone();
                }
                let result = contents.execute(&object, machine, command);
                contents.results.insert(place, (*sequence, result.clone()));
                result
            }
            Request::ReadState { .. } => Ok(Success::State {
                state: contents.states.get(&object).cloned(),
            }),
            Request::OpenSession => Ok(Success::Session(SessionId(contents.tick()))),
            Request::Status => Ok(Success::Status(Box::new(status()))),
        }
    }
}

/// The object's container and key; nothing where the request is for none.
fn object(request: &Request) -> Vec<u8> {
    match request {
        Request::Read { container, key }
        | Request::Write { container, key, .. }
        | Request::Execute { container, key, .. }
        | Request::ReadState { container, key, .. } => {
            [container.as_bytes(), b"/", key.as_bytes()].concat()
        }
        Request::OpenSession | Request::Status => Vec::new(),
    }
}

pub fn status() -> NodeStatus {
    NodeStatus {
        cluster: CLUSTER.into(),
        node: 1,
        site: "here".into(),
        incarnation: 3,
        uptime_s: 61,
        storage: "memory".into(),
        clock: ClockStatus {
            mode: "query".into(),
            error_us: None,
            error_max_us: 10_000,
            mode_changes: 0,
        },
        peers: vec![PeerStatus {
            node: 2,
            site: "there".into(),
            priority: link(46, Some(0)),
            bulk: link(0, Some(0)),
        }],
        containers: ["rw", "rmw"].map(container).to_vec(),
        operations: OperationCounts::default(),
        backlog: BacklogStatus::default(),
        refusals: Vec::new(),
        warnings: Vec::new(),
    }
}

fn link(dscp_sent: u8, dscp_seen: Option<u8>) -> LinkStatus {
    LinkStatus {
        up: true,
        rtt_us: Some(93_000),
        dscp_sent,
        dscp_seen_by_peer: dscp_seen,
        dscp_seen_here: Some(dscp_sent),
        messages_sent: 0,
        messages_received: 0,
        bytes_sent: 0,
        bytes_received: 0,
        dropped: 0,
        queue_bytes: 0,
        reconnects: 0,
        last_error: None,
    }
}

fn container(kind: &str) -> ContainerStatus {
    ContainerStatus {
        name: format!("some-{kind}"),
        kind: kind.into(),
        epoch: 0,
        replicas: vec![1, 2, 3],
        local_set: vec![1],
        objects: 0,
    }
}

/// A running fake node. Hellos (`Status`) are answered whatever its behaviour.
pub struct FakeNode {
    pub address: SocketAddr,
    endpoint: Endpoint,
    seen: Arc<Mutex<Vec<ClientRequest>>>,
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

    /// A node that takes hellos, and stops every other request before its end.
    pub fn stopping_requests(authority: &Authority) -> Self {
        let identity = authority.node(CLUSTER);
        let silence = Arc::new(|_: &_| Action::Silence);
        Self::start_as(authority, &identity, silence, Port::StopsRequests)
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
        if port == Port::StopsRequests {
            transport.stream_receive_window(VarInt::from_u32(1024));
        }
        config.transport_config(Arc::new(transport));
        let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())
            .expect("a loopback port is free");
        let node = Self {
            address: endpoint.local_addr().expect("it is bound"),
            endpoint: endpoint.clone(),
            seen: Arc::default(),
        };
        let seen = node.seen.clone();
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let (seen, behaviour) = (seen.clone(), behaviour.clone());
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        serve(connection, seen, behaviour, port).await;
                    }
                });
            }
        });
        node
    }

    /// The operations that arrived whole, hellos left out.
    pub fn seen(&self) -> Vec<ClientRequest> {
        self.seen.lock().expect("no test panics in it").clone()
    }

    /// Ends the node; its connections are closed, and new ones get no answer.
    pub async fn stop(self) {
        self.endpoint.close(VarInt::from_u32(0), b"stopped");
        self.endpoint.wait_idle().await;
    }
}

async fn serve(
    connection: Connection,
    seen: Arc<Mutex<Vec<ClientRequest>>>,
    behaviour: Arc<Behaviour>,
    port: Port,
) {
    if let Port::Closes(code) = port {
        connection.close(VarInt::from_u32(code), b"as the test wants it");
    }
    while let Ok((send, receive)) = connection.accept_bi().await {
        let (connection, seen, behaviour) = (connection.clone(), seen.clone(), behaviour.clone());
        tokio::spawn(
            async move { serve_one(connection, send, receive, seen, behaviour, port).await },
        );
    }
}

async fn serve_one(
    connection: Connection,
    mut send: SendStream,
    mut receive: RecvStream,
    seen: Arc<Mutex<Vec<ClientRequest>>>,
    behaviour: Arc<Behaviour>,
    port: Port,
) -> Option<()> {
    if port == Port::StopsRequests {
        let mut beginning = [0; 64];
        let read = receive.read(&mut beginning).await.ok()??;
        if codec::decode::<ClientRequest>(&beginning[..read], 64).is_err() {
            receive.stop(VarInt::from_u32(7)).ok()?;
            return None;
        }
        let hello: ClientReply = Ok(Success::Status(Box::new(status())));
        send.write_all(&codec::encode(&hello)).await.ok()?;
        return send.finish().ok();
    }
    let request = receive.read_to_end(MESSAGE_BYTES_MAX).await.ok()?;
    let request: ClientRequest =
        codec::decode(&request, MESSAGE_BYTES_MAX).expect("a whole request is well-formed");
    let reply = if request.request == Request::Status {
        codec::encode::<ClientReply>(&Ok(Success::Status(Box::new(status()))))
    } else {
        let action = behaviour(&request.request);
        seen.lock().expect("no test panics in it").push(request);
        match action {
            Action::Reply(reply) => codec::encode(&reply),
            Action::ReplyAfter(pause, reply) => {
                tokio::time::sleep(pause).await;
                codec::encode(&reply)
            }
            Action::Silence => std::future::pending().await,
            Action::HangUp => {
                connection.close(VarInt::from_u32(0), b"hung up");
                return None;
            }
            Action::Bytes(bytes) => bytes,
        }
    };
    send.write_all(&reply).await.ok()?;
    send.finish().ok()
}
