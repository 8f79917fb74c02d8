//! The port for clients, spoken to byte by byte.

use std::net::Ipv4Addr;
use std::time::Duration;

use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use tokio::time::timeout;
use vivace_core::client_protocol::framing::{self, Frames, SHARED_MESSAGE_BYTES_MAX};
use vivace_core::client_protocol::{
    ClientReply, ClientRequest, Failure, Request, Success, close_code,
};
use vivace_core::codec::{self, MESSAGE_BYTES_MAX};
use vivace_core::{KeyName, NodeId, Value};
use vivace_node::dev::DevCluster;
use vivace_node::transport::identity::{Identity, any_node_dns_name};

const PATIENCE: Duration = Duration::from_secs(10);

/// A client made of bare QUIC.
struct RawClient {
    /// Must outlive its connection.
    _endpoint: Endpoint,
    connection: Connection,
    /// What was read of the stream of small replies.
    replies: Option<(RecvStream, Frames)>,
}

impl RawClient {
    async fn connect(cluster: &DevCluster) -> Self {
        let credentials = cluster.client_credentials();
        let identity = Identity::from_pem(
            credentials.ca.as_bytes(),
            credentials.pair.certificate.as_bytes(),
            credentials.pair.key.as_bytes(),
        )
        .expect("the cluster made them");
        let node = cluster.node(NodeId(1)).expect("it runs");
        let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let connection = endpoint
            .connect_with(
                identity.client_port_client_config().expect("usable"),
                node.client_address(),
                &any_node_dns_name(&cluster.config().name),
            )
            .expect("dials")
            .await
            .expect("the node lets us in");
        Self {
            _endpoint: endpoint,
            connection,
            replies: None,
        }
    }

    /// The stream that requests share; the node lets us open one.
    async fn open_shared(&self) -> SendStream {
        let opened = timeout(PATIENCE, self.connection.open_uni()).await;
        opened.expect("in time").expect("the connection stands")
    }

    /// The next reply of the stream that replies share.
    async fn next_reply(&mut self) -> (u32, ClientReply) {
        let next = async {
            if self.replies.is_none() {
                let stream = self.connection.accept_uni().await.expect("it opens one");
                self.replies = Some((stream, Frames::new(SHARED_MESSAGE_BYTES_MAX)));
            }
            let (stream, frames) = self.replies.as_mut().expect("it was just made");
            loop {
                if let Some((number, reply)) =
                    frames.next_frame().expect("replies keep to the limit")
                {
                    let reply = codec::decode(&reply, MESSAGE_BYTES_MAX).expect("a reply");
                    return (number, reply);
                }
                let chunk = stream.read_chunk(usize::MAX, true).await;
                frames.push(&chunk.expect("it stands").expect("it goes on").bytes);
            }
        };
        timeout(PATIENCE, next).await.expect("in time")
    }
}

fn frame(number: u32, request: Request) -> Vec<u8> {
    let mut bytes = Vec::new();
    let request = ClientRequest {
        deadline_ms: 5000,
        request,
    };
    framing::put(number, &request, &mut bytes);
    bytes
}

fn write(key: &str, bytes: usize) -> Request {
    Request::Write {
        container: "kv".into(),
        key: KeyName::new(key).expect("a name"),
        value: Value::from(bytes::Bytes::from(vec![7; bytes])),
        durability: None,
    }
}

fn read(key: &str) -> Request {
    Request::Read {
        container: "kv".into(),
        key: KeyName::new(key).expect("a name"),
    }
}

#[tokio::test]
async fn requests_that_share_a_stream_each_hear_their_own_reply() {
    let cluster = DevCluster::start().expect("starts");
    let mut client = RawClient::connect(&cluster).await;
    let mut shared = client.open_shared().await;
    let numbers: Vec<u32> = (0..100).map(|n| n * 7).collect();
    for &n in &numbers {
        let bytes = frame(n, write(&format!("k{n}"), n as usize));
        // Cut where it comes, so that frames lie across packets.
        for piece in bytes.chunks(50) {
            shared.write_all(piece).await.expect("it is taken");
        }
    }
    let mut heard = Vec::new();
    for _ in &numbers {
        let (number, reply) = client.next_reply().await;
        assert!(matches!(reply, Ok(Success::Written { .. })), "{reply:?}");
        heard.push(number);
    }
    heard.sort_unstable();
    assert_eq!(heard, numbers);
    for &n in &numbers {
        shared
            .write_all(&frame(n, read(&format!("k{n}"))))
            .await
            .expect("it is taken");
        match client.next_reply().await {
            (number, Ok(Success::Value { value, .. })) => {
                assert_eq!((number, value.0.len()), (n, n as usize));
            }
            other => panic!("no value: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_large_reply_has_a_stream_of_its_own() {
    let cluster = DevCluster::start().expect("starts");
    let mut client = RawClient::connect(&cluster).await;
    let mut shared = client.open_shared().await;
    let (mut send, mut receive) = client.connection.open_bi().await.expect("it may");
    let request = ClientRequest {
        deadline_ms: 5000,
        request: write("large", 100_000),
    };
    send.write_all(&codec::encode(&request))
        .await
        .expect("taken");
    send.finish().expect("it stands");
    let reply = receive.read_to_end(1000).await.expect("a reply");
    let reply: ClientReply = codec::decode(&reply, 1000).expect("a reply");
    assert!(matches!(reply, Ok(Success::Written { .. })), "{reply:?}");

    shared
        .write_all(&frame(3, read("nothing")))
        .await
        .expect("it is taken");
    assert_eq!(client.next_reply().await, (3, Ok(Success::NotFound)));
    shared
        .write_all(&frame(5, read("large")))
        .await
        .expect("it is taken");
    let alone = timeout(PATIENCE, client.connection.accept_uni()).await;
    let mut alone = alone.expect("in time").expect("it opens one");
    let mut frames = Frames::new(MESSAGE_BYTES_MAX);
    frames.push(&alone.read_to_end(MESSAGE_BYTES_MAX).await.expect("whole"));
    let (number, reply) = frames.next_frame().expect("in bounds").expect("whole");
    let reply: ClientReply = codec::decode(&reply, MESSAGE_BYTES_MAX).expect("a reply");
    assert_eq!(number, 5);
    assert!(
        matches!(&reply, Ok(Success::Value { value, .. }) if value.0.len() == 100_000),
        "{reply:?}"
    );
    assert!(!frames.is_amid());
}

#[tokio::test]
async fn a_frame_that_is_no_request_is_refused_and_the_next_one_served() {
    let cluster = DevCluster::start().expect("starts");
    let mut client = RawClient::connect(&cluster).await;
    let mut shared = client.open_shared().await;
    let mut bytes = vec![1, 0, 0, 0, 3, 0, 0, 0, 255, 255, 255];
    bytes.extend([2, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(frame(3, read("k")));
    shared.write_all(&bytes).await.expect("it is taken");
    for refused in [1, 2] {
        match client.next_reply().await {
            (number, Err(Failure::Invalid { field, .. })) => {
                assert_eq!((number, field.as_str()), (refused, "request"));
            }
            other => panic!("not refused: {other:?}"),
        }
    }
    assert_eq!(client.next_reply().await, (3, Ok(Success::NotFound)));
    let status = cluster.node(NodeId(1)).expect("it runs").status().await;
    let refusals = status.expect("it answers").refusals;
    let counted = refusals.iter().find(|(cause, _)| cause.contains("request"));
    assert_eq!(counted.map(|(_, n)| *n), Some(2), "{refusals:?}");
}

#[tokio::test]
async fn a_frame_that_claims_too_much_ends_the_connection_and_no_other() {
    let cluster = DevCluster::start().expect("starts");
    let client = RawClient::connect(&cluster).await;
    let mut other = RawClient::connect(&cluster).await;
    let mut shared = client.open_shared().await;
    let claimed = SHARED_MESSAGE_BYTES_MAX as u32 + 1;
    let mut bytes = 9_u32.to_le_bytes().to_vec();
    bytes.extend(claimed.to_le_bytes());
    shared.write_all(&bytes).await.expect("it is taken");
    let closed = timeout(PATIENCE, client.connection.closed())
        .await
        .expect("in time");
    match closed {
        quinn::ConnectionError::ApplicationClosed(close) => {
            assert_eq!(
                close.error_code,
                VarInt::from_u32(close_code::FRAME_TOO_LONG)
            );
            let reason = String::from_utf8_lossy(&close.reason).into_owned();
            assert!(
                reason.contains("16385 bytes; the limit is 16384"),
                "{reason}"
            );
        }
        other => panic!("not closed by the node: {other:?}"),
    }
    let mut shared = other.open_shared().await;
    shared
        .write_all(&frame(1, read("k")))
        .await
        .expect("it is taken");
    assert_eq!(other.next_reply().await, (1, Ok(Success::NotFound)));
}

#[tokio::test]
async fn a_second_shared_stream_is_not_read_so_that_one_bound_holds_for_a_connection() {
    let cluster = DevCluster::start().expect("starts");
    let mut client = RawClient::connect(&cluster).await;
    let mut first = client.open_shared().await;
    first
        .write_all(&frame(1, read("k")))
        .await
        .expect("it is taken");
    assert_eq!(client.next_reply().await, (1, Ok(Success::NotFound)));
    first.finish().expect("it stands");
    // The node may let us open another; what is in it waits for ever. Its reply would come in
    // another stream of the node's.
    if let Ok(second) = timeout(Duration::from_millis(500), client.connection.open_uni()).await {
        let mut second = second.expect("the connection stands");
        let request = frame(2, read("k"));
        second.write_all(&request).await.expect("it is taken");
    }
    let replies = timeout(Duration::from_secs(1), client.connection.accept_uni()).await;
    assert!(replies.is_err(), "the node serves a second one");
    assert!(client.connection.close_reason().is_none());
}

#[tokio::test]
async fn a_stopping_node_closes_rather_than_leave_requests_unanswered() {
    let cluster = DevCluster::start().expect("starts");
    let mut client = RawClient::connect(&cluster).await;
    let mut shared = client.open_shared().await;
    shared
        .write_all(&frame(1, read("k")))
        .await
        .expect("it is taken");
    // A node that stops in the middle of a handshake can't give its code (RFC 9000, 10.2.3).
    assert_eq!(client.next_reply().await, (1, Ok(Success::NotFound)));
    shared
        .write_all(&frame(2, read("k")))
        .await
        .expect("it is taken");
    let closed = tokio::spawn({
        let connection = client.connection.clone();
        async move { timeout(PATIENCE, connection.closed()).await }
    });
    tokio::task::spawn_blocking(move || drop(cluster))
        .await
        .expect("stops");
    let closed = closed.await.expect("no panic").expect("in time");
    assert!(
        matches!(&closed, quinn::ConnectionError::ApplicationClosed(close)
            if close.error_code == VarInt::from_u32(close_code::STOPPING)),
        "{closed:?}"
    );
}
