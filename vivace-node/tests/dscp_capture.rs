//! What is on the wire: every packet of the priority socket carries its DSCP,
//! handshake included, and none of the bulk socket's does. `getsockopt` would say
//! so even where it is not true; only a capture tells.
//!
//! Needs root and `ip`; without them it says so, loudly, and passes.

mod capture;
mod fixture;

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use capture::{A_V4, A_V6, B_V4, B_V6, Capture, Marks, Namespace, TwoNamespaces};
use fixture::{BULK_DSCP, Cluster, Node, PRIORITY_DSCP};
use vivace_core::NodeId;
use vivace_node::transport::TrafficClass::{Bulk, Priority};
use vivace_node::transport::{BulkLane, ClassSocket, SocketFactory};

const PRIORITY_PORT: u16 = 4_701;
const BULK_PORT: u16 = 4_702;
const VALUE_BYTES: usize = 3_000_000;
const PRIORITY_MESSAGES: usize = 200;

fn inside(namespace: Namespace, ip: IpAddr, port: u16, dscp: u8) -> SocketFactory {
    Box::new(move || {
        namespace.enter()?;
        ClassSocket::bind(SocketAddr::new(ip, port), dscp)
    })
}

fn start(cluster: &Cluster, node: u16, namespace: &Namespace, ip: IpAddr) -> Node {
    let priority = inside(namespace.clone(), ip, PRIORITY_PORT, PRIORITY_DSCP);
    let bulk = inside(namespace.clone(), ip, BULK_PORT, BULK_DSCP);
    cluster.start_on(node, 1, priority, bulk)
}

/// Traffic of every kind, both ways: handshakes, probes, messages, values, goodbyes.
fn exchange(namespaces: &TwoNamespaces, a: IpAddr, b: IpAddr) {
    let mut cluster = Cluster::new(2, fixture::LOOPBACK);
    for (address, ip) in cluster.addresses.iter_mut().zip([a, b]) {
        address.priority = SocketAddr::new(ip, PRIORITY_PORT);
        address.bulk = SocketAddr::new(ip, BULK_PORT);
    }
    let mut nodes = [
        start(&cluster, 1, &namespaces.a(), a),
        start(&cluster, 2, &namespaces.b(), b),
    ];
    nodes[0].wait_all_up(&[2]);
    nodes[1].wait_all_up(&[1]);
    for (from, to) in [(1_u16, 2_u16), (2, 1)] {
        let sender = &nodes[usize::from(from) - 1].transport;
        for _ in 0..PRIORITY_MESSAGES {
            let message = Bytes::from_static(&[1; 60]);
            sender.send_priority(NodeId(to), message).expect("up");
        }
        let value = Bytes::from(vec![2; VALUE_BYTES]);
        sender
            .send_bulk(NodeId(to), BulkLane::Propagate, value)
            .expect("up");
        let receiver = &mut nodes[usize::from(to) - 1];
        assert_eq!(receiver.wait_message(from, Bulk).len(), VALUE_BYTES);
        let all = PRIORITY_MESSAGES as u64;
        receiver.wait_status("all there", |s| {
            s.peers[0].priority.messages_received == all
        });
    }
    let seen = nodes[0].link(2, Priority).dscp_seen_here;
    assert_eq!(
        seen,
        Some(PRIORITY_DSCP),
        "the socket sees what the capture sees"
    );
}

#[test]
fn every_priority_packet_on_the_wire_is_marked_and_no_bulk_packet_is() {
    let namespaces = match TwoNamespaces::create() {
        Ok(namespaces) => namespaces,
        Err(why) => {
            eprintln!("\n*** SKIPPED, NOTHING WAS TESTED: no network namespaces: {why} ***\n");
            return;
        }
    };
    for (a, b) in [(A_V4, B_V4), (A_V6, B_V6)] {
        let captures = [namespaces.a(), namespaces.b()]
            .map(|namespace| Capture::start(&namespace).expect("root can capture"));
        exchange(&namespaces, a, b);
        for packets in captures.map(Capture::finish) {
            for ip in [a, b] {
                let priority = Marks::count(&packets, (ip, PRIORITY_PORT), PRIORITY_DSCP);
                let bulk = Marks::count(&packets, (ip, BULK_PORT), PRIORITY_DSCP);
                println!("from {ip}: priority {priority:?}; bulk {bulk:?}");
                assert!(
                    priority.packets >= 8 && priority.handshake_packets >= 1,
                    "{priority:?}"
                );
                assert!(bulk.packets > 20 && bulk.handshake_packets >= 1, "{bulk:?}");
                assert_eq!(priority.with_dscp, priority.packets, "every one is marked");
                assert_eq!(bulk.with_dscp, 0, "none is marked");
                assert_eq!(priority.with_ect0, priority.packets, "ECT(0) as QUIC sends");
                assert_eq!(bulk.with_ect0, bulk.packets, "ECT(0) as QUIC sends");
                assert_eq!((priority.fragments, bulk.fragments), (0, 0));
            }
        }
    }
}
