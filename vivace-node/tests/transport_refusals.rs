//! Whom the transport refuses, at which point, and under which name. The other
//! side is a bare QUIC endpoint that says what it likes.

mod fixture;

use std::net::SocketAddr;
use std::time::Duration;

use fixture::rogue::{DIRECTORY_BYTES, Rogue, acceptor_and_rogue, hello_bytes, wait_refused};
use fixture::{Cluster, DAY, LOOPBACK, Node};
use vivace_core::agreement::Agreement;
use vivace_core::{ContainerId, Epoch, NodeId, SiteId};
use vivace_node::storage::identity::ClusterId;
use vivace_node::transport::TrafficClass::{Bulk, Priority};
use vivace_node::transport::identity::{ClusterName, DevelopmentCa, Identity, Role};
use vivace_node::transport::{BulkLane, RefusalCause};

const PRIORITY: u8 = 0;
const BULK: u8 = 1;

#[test]
fn a_clients_certificate_is_refused_on_both_peer_ports() {
    let (cluster, node, rogue) = acceptor_and_rogue(|c| c.client_role("backup"));
    let ports = [cluster.address(2).priority, cluster.address(2).bulk];
    for (count, (port, class)) in ports.into_iter().zip([PRIORITY, BULK]).enumerate() {
        // Even though its hello is a perfect node's.
        let connection = rogue.dial_and_say(port, &hello_bytes(1, class, |_| {}));
        let (cause, text) = rogue.refusal(&connection);
        assert_eq!(cause, RefusalCause::NotANode);
        assert!(text.contains("vivace://alpha/client/backup"), "{text}");
        wait_refused(&node, cause, count as u64 + 1);
    }
    assert!(!node.link(1, Priority).up && !node.link(1, Bulk).up);
}

#[test]
fn another_nodes_certificate_is_refused_by_the_acceptor() {
    let (cluster, node, rogue) = acceptor_and_rogue(|c| c.node_role(3));
    let connection = rogue.dial_and_say(
        cluster.address(2).priority,
        &hello_bytes(1, PRIORITY, |_| {}),
    );
    let (cause, text) = rogue.refusal(&connection);
    assert_eq!(cause, RefusalCause::WrongNode);
    assert!(
        text.contains("hello says node 1, the certificate node 3"),
        "{text}"
    );
    wait_refused(&node, cause, 1);
    assert!(!node.link(1, Priority).up && !node.link(3, Priority).up);
}

#[test]
fn another_nodes_certificate_is_refused_by_the_dialer() {
    let cluster = Cluster::new(3, LOOPBACK);
    // Node 3 answers where node 2 should.
    let at = cluster.address(2).priority;
    let rogue = Rogue::at(at, &cluster.identity(&cluster.node_role(3)), &cluster.name);
    let node = cluster.start(1, 1);
    let connection = rogue.run(async {
        let incoming = rogue.endpoint.accept().await.expect("dialed");
        incoming.await.expect("TLS passes")
    });
    let (cause, text) = rogue.refusal(&connection);
    assert_eq!(cause, RefusalCause::WrongNode);
    assert!(
        text.contains("dialed node 2, whose port has the certificate of node 3"),
        "{text}"
    );
    node.wait_status("counted", |s| s.refusals.contains_key(cause.name()));
    let error = node.link(2, Priority).last_error.expect("told");
    assert!(error.starts_with("refused: wrong_node"), "{error}");
}

/// The rogue trusts our CA, as anyone can; its own certificate is from another:
/// of another name, or of ours (a CA that was made anew).
#[test]
fn a_certificate_of_another_clusters_ca_is_refused_by_the_acceptor() {
    // TLS alerts unknown_ca and decrypt_error.
    for (ca_name, alert) in [("beta", 48), ("alpha", 51)] {
        let cluster = Cluster::new(2, LOOPBACK);
        let node = cluster.start(2, 1);
        let name = ClusterName::new(ca_name).expect("a label");
        let other_ca = DevelopmentCa::generate(&name, DAY).expect("a CA");
        let role = Role::Node {
            cluster: name,
            node: NodeId(1),
            site: SiteId(1),
        };
        let rogue = Rogue::new(&cluster.identity_from(&role, &other_ca), &cluster.name);
        // `connect` is Ok on the dialer's side: TLS 1.3 lets it finish first.
        let connection = rogue.dial(cluster.address(2).priority);
        match rogue.run(connection.closed()) {
            quinn::ConnectionError::ConnectionClosed(close) => {
                assert_eq!(u64::from(close.error_code), 0x100 + alert);
            }
            other => panic!("closed otherwise: {other:?}"),
        }
        wait_refused(&node, RefusalCause::UntrustedCertificate, 1);
        assert!(!node.link(1, Priority).up);
    }
}

#[test]
fn a_certificate_of_another_clusters_ca_is_refused_by_the_dialer() {
    let cluster = Cluster::new(2, LOOPBACK);
    let other_ca = DevelopmentCa::generate(&cluster.name, DAY).expect("a CA");
    let identity = cluster.identity_from(&cluster.node_role(2), &other_ca);
    let rogue = Rogue::at(cluster.address(2).bulk, &identity, &cluster.name);
    let node = cluster.start(1, 1);
    let accepted = rogue.run(async { rogue.endpoint.accept().await.expect("dialed").await });
    assert!(accepted.is_err());
    let cause = RefusalCause::UntrustedCertificate;
    node.wait_status("refused", |s| s.refusals.contains_key(cause.name()));
    let error = node.link(2, Bulk).last_error.expect("told");
    assert!(
        error.starts_with("refused: untrusted_certificate"),
        "{error}"
    );
}

#[test]
fn two_clusters_of_one_name_and_two_cas_never_come_up() {
    let (cluster, mut other) = (Cluster::new(2, LOOPBACK), Cluster::new(2, LOOPBACK));
    other.addresses = cluster.addresses.clone();
    let (first, second) = (cluster.start(1, 1), other.start(2, 1));
    let cause = RefusalCause::UntrustedCertificate.name();
    first.wait_status("refused", |s| s.refusals.contains_key(cause));
    second.wait_status("told so", |s| s.refused_by_peers.contains_key(cause));
    assert!(!first.link(2, Priority).up && !second.link(1, Priority).up);
}

/// An operator's CA may serve several clusters: trust alone doesn't tell them apart.
#[test]
fn a_certificate_of_another_cluster_from_the_same_ca_is_refused() {
    let cluster = Cluster::new(2, LOOPBACK);
    let node = cluster.start(2, 1);
    let ca = cluster.ca.pem();
    let mut issuer = rcgen::CertificateParams::default();
    issuer.distinguished_name = rcgen::DistinguishedName::new();
    issuer
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Vivace alpha development CA");
    let ca_key = rcgen::KeyPair::from_pem(&ca.key).expect("a key");
    let issuer = rcgen::Issuer::new(issuer, ca_key);
    let mut params = rcgen::CertificateParams::new(["node.beta.vivace".into()]).expect("names");
    let uri = "vivace://beta/node/1/site/1".try_into().expect("ASCII");
    params.subject_alt_names.push(rcgen::SanType::URI(uri));
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("signed").pem();
    let key = key.serialize_pem();
    let identity = Identity::from_pem(
        ca.certificate.as_bytes(),
        certificate.as_bytes(),
        key.as_bytes(),
    )
    .expect("usable");
    let rogue = Rogue::new(&identity, &cluster.name);
    let to = cluster.address(2).priority;
    let connection = rogue.dial_and_say(to, &hello_bytes(1, PRIORITY, |_| {}));
    assert_eq!(rogue.refusal(&connection).0, RefusalCause::WrongCluster);
    wait_refused(&node, RefusalCause::WrongCluster, 1);
}

#[test]
fn a_hello_of_another_cluster_is_refused() {
    let cluster = Cluster::new(2, LOOPBACK);
    let node = cluster.start(2, 1);
    let rogue = Rogue::new(&cluster.identity(&cluster.node_role(1)), &cluster.name);
    let port = cluster.address(2).priority;
    let hello = hello_bytes(1, PRIORITY, |body| {
        body.truncate(13);
        body.extend(b"beta");
    });
    let connection = rogue.dial_and_say(port, &hello);
    assert_eq!(rogue.refusal(&connection).0, RefusalCause::WrongCluster);
    wait_refused(&node, RefusalCause::WrongCluster, 1);
}

#[test]
fn a_client_of_the_client_port_protocol_finds_no_common_protocol() {
    let (cluster, node, rogue) = acceptor_and_rogue(|c| c.client_role("backup"));
    let identity = cluster.identity(&cluster.client_role("backup"));
    let config = identity.client_port_client_config().expect("usable");
    let to = cluster.address(2).priority;
    let name = vivace_node::transport::identity::any_node_dns_name(&cluster.name);
    let outcome = rogue.run(async {
        rogue
            .endpoint
            .connect_with(config, to, &name)
            .expect("dials")
            .await
    });
    assert!(outcome.is_err());
    wait_refused(&node, RefusalCause::NoCommonProtocol, 1);
}

/// Each spoilt hello with the name of what is wrong with it.
#[test]
fn a_hello_that_does_not_fit_is_refused_by_name() {
    type Edit = fn(&mut Vec<u8>);
    let cases: [(Edit, RefusalCause); 8] = [
        (|b| b[4] = 1, RefusalCause::WrongVersion),
        (|b| b[6] = BULK, RefusalCause::WrongClass),
        (|b| b[6] = 9, RefusalCause::MalformedHello),
        (|b| b[0] = b'X', RefusalCause::MalformedHello),
        (|b| b[7] = 3, RefusalCause::WrongNode),
        (|b| b[9] = 7, RefusalCause::WrongSite),
        (|b| b.truncate(12), RefusalCause::MalformedHello),
        (|b| b.extend([b'a'; 200]), RefusalCause::MalformedHello),
    ];
    for (edit, expected) in cases {
        let (cluster, node, rogue) = acceptor_and_rogue(|c| c.node_role(1));
        let hello = hello_bytes(1, PRIORITY, edit);
        let connection = rogue.dial_and_say(cluster.address(2).priority, &hello);
        assert_eq!(rogue.refusal(&connection).0, expected);
        wait_refused(&node, expected, 1);
        assert!(!node.link(1, Priority).up);
    }
}

#[test]
fn a_hello_that_ends_early_or_goes_on_is_refused() {
    let (cluster, node, rogue) = acceptor_and_rogue(|c| c.node_role(1));
    let port = cluster.address(2).priority;
    let hello = hello_bytes(1, PRIORITY, |_| {});
    let cut = rogue.dial_and_say(port, &hello[..hello.len() - 1]);
    let (cause, text) = rogue.refusal(&cut);
    assert_eq!(
        (cause, text.as_str()),
        (RefusalCause::MalformedHello, "the hello is cut off")
    );
    let longer = rogue.dial_and_say(port, &[&hello[..], b"more"].concat());
    let (cause, text) = rogue.refusal(&longer);
    assert_eq!(
        (cause, text.as_str()),
        (RefusalCause::MalformedHello, "bytes after the hello")
    );
    wait_refused(&node, cause, 2);
}

/// Starts a node that knows one container, `id`, and makes of it what `checksum` says.
fn start_knowing(cluster: &Cluster, node: u16, id: u32, epoch: u32, checksum: u32) -> Node {
    let mut config = cluster.config(node, 1);
    let agreed = Agreement {
        container: ContainerId(id),
        epoch: Epoch(epoch),
        checksum,
    };
    config.containers = vec![("kv".into(), agreed)];
    cluster.start_with(config)
}

/// Their majorities need not meet, so neither may count the other's answers.
#[test]
fn nodes_that_disagree_about_a_container_refuse_each_other_and_name_it() {
    let cluster = Cluster::new(2, LOOPBACK);
    let dialer = start_knowing(&cluster, 1, 7, 1, 0xaaaa);
    let acceptor = start_knowing(&cluster, 2, 7, 1, 0xbbbb);
    let name = RefusalCause::OtherLayout.name();
    acceptor.wait_status("a refusal", |s| s.refusals.contains_key(name));
    dialer.wait_status("it to hear of it", |s| {
        s.refused_by_peers.contains_key(name)
    });
    for class in [Priority, Bulk] {
        assert!(!dialer.link(2, class).up && !acceptor.link(1, class).up);
    }
    let rogue = Rogue::new(&cluster.identity(&cluster.node_role(1)), &cluster.name);
    let mut hello = hello_bytes(1, PRIORITY, |_| {});
    hello.truncate(hello.len() - 2);
    hello.extend(b"\x01\0\x07\0\0\0\x01\0\0\0\xaa\xaa\0\0");
    let connection = rogue.dial_and_say(cluster.address(2).priority, &hello);
    let (cause, text) = rogue.refusal(&connection);
    assert_eq!(cause, RefusalCause::OtherLayout);
    for part in [
        "\"kv\", epoch 1",
        "node 2 and node 1",
        "replicas, local_sets",
        "equal",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn nodes_may_know_other_containers_and_other_epochs() {
    for (id, epoch) in [(8, 1), (7, 2)] {
        let cluster = Cluster::new(2, LOOPBACK);
        let one = start_knowing(&cluster, 1, 7, 1, 0xaaaa);
        let two = start_knowing(&cluster, 2, id, epoch, 0xbbbb);
        for (node, other) in [(&one, 2), (&two, 1)] {
            for class in [Priority, Bulk] {
                node.wait_status("a link", |_| node.link(other, class).up);
            }
        }
    }
}

#[test]
fn nodes_whose_files_have_other_ids_refuse_each_other() {
    let cluster = Cluster::new(2, LOOPBACK);
    let start = |node: u16, id: Option<u8>| {
        let mut config = cluster.config(node, 1);
        config.cluster_id = id.map(|id| ClusterId([id; 16]));
        cluster.start_with(config)
    };
    let two = start(2, Some(0xc2));
    let one = start(1, Some(0xc1));
    one.wait_status("refused", |_| one.link(2, Priority).last_error.is_some());
    let error = one.link(2, Priority).last_error.expect("it was refused");
    assert!(error.contains("c2c2") && error.contains("c1c1"), "{error}");
    drop(one);
    // A file that says nothing contradicts nobody.
    let one = start(1, None);
    one.wait_status("up", |_| one.link(2, Priority).up);
    drop(two);
}

#[test]
fn a_hellos_starts_are_read_with_care() {
    let zeros = [0; DIRECTORY_BYTES];
    let some = [0xd1; DIRECTORY_BYTES];
    for (directory, count, expected) in [
        (zeros, 1, "a hello of 1 starts of data directory 00"),
        (some, 0, "a hello of 0 starts of data directory d1"),
        (some, 65, "1 to 64 of one"),
        (some, 2, "the hello is cut off"),
    ] {
        let (cluster, node, rogue) = acceptor_and_rogue(|c| c.node_role(1));
        let mut hello = hello_bytes(1, PRIORITY, |_| {});
        hello.truncate(hello.len() - DIRECTORY_BYTES - 4);
        hello.extend(directory);
        hello.push(count);
        hello.extend([7; 8]);
        let connection = rogue.dial_and_say(cluster.address(2).priority, &hello);
        let (cause, text) = rogue.refusal(&connection);
        assert_eq!(cause, RefusalCause::MalformedHello, "{text}");
        assert!(text.contains(expected), "{text}");
        wait_refused(&node, RefusalCause::MalformedHello, 1);
    }
}

#[test]
fn a_hellos_list_of_containers_is_read_with_care() {
    let entry = |id: u8| [id, 0, 0, 0, 1, 0, 0, 0, 5, 5, 5, 5];
    let twice = [&[2, 0][..], &entry(7), &entry(7)].concat();
    let cut = [&[2, 0][..], &entry(7)].concat();
    for (list, expected) in [
        (twice, "the hello's containers are in no order"),
        (cut, "the hello is cut off"),
        (vec![1, 4], "a hello of 1025 containers; at most 1024"),
    ] {
        let (cluster, node, rogue) = acceptor_and_rogue(|c| c.node_role(1));
        let mut hello = hello_bytes(1, PRIORITY, |_| {});
        hello.truncate(hello.len() - 2);
        hello.extend(list);
        let connection = rogue.dial_and_say(cluster.address(2).priority, &hello);
        let (cause, text) = rogue.refusal(&connection);
        let found = (cause, text.as_str());
        assert_eq!(found, (RefusalCause::MalformedHello, expected));
        wait_refused(&node, cause, 1);
    }
}

#[test]
fn a_node_that_never_says_hello_is_refused_in_time() {
    let mut cluster = Cluster::new(2, LOOPBACK);
    cluster.limits.handshake_timeout = Duration::from_millis(300);
    let node = cluster.start(2, 1);
    let rogue = Rogue::new(&cluster.identity(&cluster.node_role(1)), &cluster.name);
    let connection = rogue.dial(cluster.address(2).bulk);
    assert_eq!(rogue.refusal(&connection).0, RefusalCause::HelloTimedOut);
    wait_refused(&node, RefusalCause::HelloTimedOut, 1);
}

#[test]
fn the_higher_node_may_not_dial() {
    let (cluster, node, rogue) = acceptor_and_rogue(|c| c.node_role(3));
    let hello = hello_bytes(3, PRIORITY, |_| {});
    let connection = rogue.dial_and_say(cluster.address(2).priority, &hello);
    assert_eq!(rogue.refusal(&connection).0, RefusalCause::WrongDirection);
    wait_refused(&node, RefusalCause::WrongDirection, 1);
}

#[test]
fn a_node_outside_the_address_book_is_refused() {
    let (cluster, node, rogue) = acceptor_and_rogue(|c| c.node_role(9));
    let hello = hello_bytes(9, PRIORITY, |_| {});
    let connection = rogue.dial_and_say(cluster.address(2).priority, &hello);
    assert_eq!(rogue.refusal(&connection).0, RefusalCause::UnknownNode);
    wait_refused(&node, RefusalCause::UnknownNode, 1);
}

/// An accepted node 1 on node 2's port of `class`.
fn accepted(class: u8) -> (Node, Rogue, quinn::Connection) {
    let (cluster, mut node, rogue) = acceptor_and_rogue(|c| c.node_role(1));
    let address = cluster.address(2);
    let (port, up): (SocketAddr, _) = match class {
        PRIORITY => (address.priority, Priority),
        _ => (address.bulk, Bulk),
    };
    let connection = rogue.dial_and_greet(port, 1, class);
    node.wait_up(1, up);
    (node, rogue, connection)
}

#[test]
fn a_datagram_that_is_no_message_and_no_probe_ends_the_connection() {
    let malformed: [&[u8]; 8] = [
        b"",
        // A ping and a pong that are cut off, an entry of no kind, a copy of nothing.
        b"\x00short",
        b"\x01short",
        b"\x03",
        b"\x02",
        // A message that is cut off, one like an earlier that isn't there, one too long.
        b"\x1acut off",
        b"\x0f\x00",
        b"\xff\xff\x7f",
    ];
    for datagram in malformed {
        let (mut node, rogue, connection) = accepted(PRIORITY);
        connection
            .send_datagram(datagram.to_vec().into())
            .expect("sent");
        assert_eq!(
            rogue.refusal(&connection).0,
            RefusalCause::MalformedDatagram
        );
        node.wait_down(1, Priority);
        wait_refused(&node, RefusalCause::MalformedDatagram, 1);
    }
}

#[test]
fn a_pong_to_no_ping_is_ignored() {
    let (mut node, rogue, connection) = accepted(PRIORITY);
    let pong = [&[1][..], &u64::MAX.to_le_bytes(), &[46, 0]].concat();
    connection.send_datagram(pong.into()).expect("sent");
    connection
        .send_datagram(b"\x0ehello".to_vec().into())
        .expect("sent");
    assert_eq!(&node.wait_message(1, Priority)[..], b"hello");
    assert_eq!(node.link(1, Priority).dscp_seen_by_peer, Some(46));
    assert_eq!(node.link(1, Priority).rtt_us, None);
    drop(rogue);
}

#[test]
fn a_bulk_stream_that_breaks_the_framing_ends_the_connection() {
    let over_the_limit = ((16 << 20) + 1_u32).to_le_bytes();
    let cases: [(Vec<u8>, RefusalCause); 6] = [
        (
            [&[0][..], &over_the_limit].concat(),
            RefusalCause::FrameTooLarge,
        ),
        (vec![0, 0xff, 0xff, 0xff, 0xff], RefusalCause::FrameTooLarge),
        (vec![7], RefusalCause::UnknownLane),
        (vec![0, 10, 0, 0, 0, 1, 2, 3], RefusalCause::TruncatedFrame),
        (vec![1, 10, 0], RefusalCause::TruncatedFrame),
        (vec![], RefusalCause::TruncatedFrame),
    ];
    for (bytes, expected) in cases {
        let (mut node, rogue, connection) = accepted(BULK);
        rogue.run(async {
            let mut stream = connection.open_uni().await.expect("opens");
            let _ = stream.write_all(&bytes).await;
            let _ = stream.finish();
        });
        assert_eq!(rogue.refusal(&connection).0, expected, "{bytes:?}");
        node.wait_down(1, Bulk);
        wait_refused(&node, expected, 1);
    }
}

#[test]
fn a_second_stream_for_a_lane_ends_the_connection() {
    let (mut node, rogue, connection) = accepted(BULK);
    let mut streams = Vec::new();
    rogue.run(async {
        for _ in 0..2 {
            let mut stream = connection.open_uni().await.expect("opens");
            stream.write_all(&[1, 1, 0, 0, 0, 42]).await.expect("sent");
            streams.push(stream);
        }
    });
    assert_eq!(&node.wait_message(1, Bulk)[..], [42]);
    assert_eq!(rogue.refusal(&connection).0, RefusalCause::DuplicateLane);
    wait_refused(&node, RefusalCause::DuplicateLane, 1);
}

#[test]
fn a_peer_that_stops_reading_a_lane_ends_the_connection() {
    let (mut node, rogue, connection) = accepted(BULK);
    rogue.run(async {
        let mut stream = connection.accept_uni().await.expect("opened");
        stream.stop(0_u8.into()).expect("open");
    });
    // Whichever lane it was, its writer hears of it when it writes again.
    let frame = bytes::Bytes::from_static(&[1; 100]);
    let deadline = std::time::Instant::now() + fixture::PATIENCE;
    let send = |lane| node.transport.send_bulk(NodeId(1), lane, frame.clone());
    while BulkLane::ALL.into_iter().all(|lane| send(lane).is_ok()) {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(rogue.refusal(&connection).0, RefusalCause::StoppedLane);
    node.wait_down(1, Bulk);
    wait_refused(&node, RefusalCause::StoppedLane, 1);
}

#[test]
fn a_new_connection_of_the_same_node_replaces_the_old_one() {
    let (cluster, mut node, rogue) = acceptor_and_rogue(|c| c.node_role(1));
    let port = cluster.address(2).priority;
    let old = rogue.dial_and_greet(port, 1, PRIORITY);
    node.wait_up(1, Priority);
    let new = rogue.dial_and_greet(port, 1, PRIORITY);
    node.wait_down(1, Priority);
    node.wait_up(1, Priority);
    rogue.run(old.closed());
    assert_eq!(new.close_reason(), None);
    new.send_datagram(b"\x0ehello".to_vec().into())
        .expect("sent");
    assert_eq!(&node.wait_message(1, Priority)[..], b"hello");
    assert!(node.transport.status().refusals.is_empty());
}
