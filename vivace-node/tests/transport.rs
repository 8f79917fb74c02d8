//! What the transport promises its owner, over real sockets on loopback.

mod fixture;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixture::impaired::{self, Path};
use fixture::{BULK_DSCP, Cluster, LOOPBACK, Node, PATIENCE, PRIORITY_DSCP, real};
use tokio::sync::mpsc;
use vivace_core::{Incarnation, NodeId, SiteId};
use vivace_node::Threads;
use vivace_node::transport::{
    BulkLane, Limits, PRIORITY_MESSAGE_BYTES_MAX, PeerAddress, SendError, SocketFactory,
    StartError, TrafficClass, Transport, TransportEvent,
};

use TrafficClass::{Bulk, Priority};

#[test]
fn messages_pass_both_ways_in_both_classes_between_three_nodes() {
    let cluster = Cluster::new(3, LOOPBACK);
    let mut nodes: Vec<Node> = (1..=3).map(|n| cluster.start(n, 1)).collect();
    nodes[0].wait_all_up(&[2, 3]);
    nodes[1].wait_all_up(&[1, 3]);
    nodes[2].wait_all_up(&[1, 2]);
    for from in 1..=3_u16 {
        for to in (1..=3_u16).filter(|to| *to != from) {
            let sender = &nodes[usize::from(from) - 1].transport;
            let text = |kind: &str| Bytes::from(format!("{kind} {from} to {to}"));
            let large = Bytes::from(vec![from as u8; 3_000_000]);
            let full_size = Bytes::from(vec![to as u8; PRIORITY_MESSAGE_BYTES_MAX]);
            sender
                .send_priority(NodeId(to), text("priority"))
                .expect("up");
            sender
                .send_priority(NodeId(to), full_size.clone())
                .expect("up");
            sender
                .send_bulk(NodeId(to), BulkLane::Propagate, large.clone())
                .expect("up");
            let receiver = &mut nodes[usize::from(to) - 1];
            assert_eq!(receiver.wait_message(from, Priority), text("priority"));
            assert_eq!(receiver.wait_message(from, Priority), full_size);
            assert_eq!(receiver.wait_message(from, Bulk), large);
            let sender = &nodes[usize::from(from) - 1].transport;
            sender
                .send_bulk(NodeId(to), BulkLane::Read, text("bulk"))
                .expect("up");
            sender
                .send_bulk(NodeId(to), BulkLane::Read, Bytes::new())
                .expect("up");
            let receiver = &mut nodes[usize::from(to) - 1];
            assert_eq!(receiver.wait_message(from, Bulk), text("bulk"));
            assert_eq!(receiver.wait_message(from, Bulk), Bytes::new());
        }
    }
    let link = nodes[0].link(2, Bulk);
    assert_eq!((link.messages_sent, link.messages_received), (3, 3));
    assert_eq!((link.queue_bytes, link.reconnects), (0, 0));
}

/// Once a long message has left, and none of it was lost, packets have up to `expected` bytes:
/// probes come to within 20 bytes of what is allowed, and IPv4 leaves 20 unused.
fn sends_in_packets(from: &mut Node, (to, receiver): (u16, &mut Node), expected: u64, case: &str) {
    let least = expected - 40;
    from.wait_status("the packets' size", |status| {
        status.peers[0].bulk.packet_bytes >= Some(least)
    });
    let lost_before = from.link(to, Bulk).packets_lost;
    let large = Bytes::from(vec![7; 3_000_000]);
    from.transport
        .send_bulk(NodeId(to), BulkLane::Propagate, large.clone())
        .expect("up");
    assert_eq!(receiver.wait_message(3 - to, Bulk), large);
    let link = from.link(to, Bulk);
    let packet_bytes = link.packet_bytes.expect("up");
    assert!(
        (least..=expected).contains(&packet_bytes),
        "{case}: {packet_bytes}"
    );
    assert_eq!(link.packets_lost, lost_before, "{case}");
}

#[test]
fn bulk_packets_grow_to_what_path_and_site_allow() {
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    for (ip, same_site, packet_bytes_max, expected) in [
        (LOOPBACK, true, 1_500, 9_216),
        (v6, true, 1_500, 9_216),
        (LOOPBACK, false, 1_500, 1_500),
        (v6, false, 1_500, 1_500),
        (LOOPBACK, false, 9_000, 9_000),
        (LOOPBACK, false, 1_280, 1_280),
    ] {
        let case = format!("{ip}, same site: {same_site}, {packet_bytes_max} bytes");
        let mut cluster = Cluster::new(2, ip);
        cluster.limits.bulk_packet_bytes_max = packet_bytes_max;
        if same_site {
            cluster.addresses[1].site = cluster.addresses[0].site;
        }
        let (mut one, mut two) = (cluster.start(1, 1), cluster.start(2, 1));
        one.wait_all_up(&[2]);
        two.wait_all_up(&[1]);
        // One dials, the other accepts.
        sends_in_packets(&mut one, (2, &mut two), expected, &case);
        sends_in_packets(&mut two, (1, &mut one), expected, &case);
        let priority = one.link(2, Priority).packet_bytes.expect("up");
        assert!(priority <= 1_248, "{case}: {priority}");
    }
}

#[test]
fn probes_measure_the_round_trip() {
    let mut cluster = Cluster::new(2, LOOPBACK);
    cluster.limits.probe_interval = Duration::from_millis(20);
    let (one, two) = (cluster.address(1).clone(), cluster.address(2).clone());
    let path = Path {
        delay: Duration::from_millis(15),
        ..Path::default()
    };
    let late = impaired::over(path, one.priority, PRIORITY_DSCP);
    let mut first = cluster.start_on(1, 1, late, real(one.bulk, BULK_DSCP));
    let _second = cluster.start_on(
        2,
        1,
        real(two.priority, PRIORITY_DSCP),
        real(two.bulk, BULK_DSCP),
    );
    let event = first.wait_for("Rtt", |event| matches!(event, TransportEvent::Rtt { .. }));
    let TransportEvent::Rtt { node, rtt } = event else {
        unreachable!()
    };
    assert_eq!(node, NodeId(2));
    assert!(
        rtt >= Duration::from_millis(15) && rtt < Duration::from_millis(200),
        "{rtt:?}"
    );
    assert!(first.link(2, Priority).rtt_us >= Some(15_000));
}

#[test]
fn a_peer_that_restarts_comes_up_again_with_its_new_incarnation() {
    let cluster = Cluster::new(2, LOOPBACK);
    for restarted in [1, 2] {
        let stays = 3 - restarted;
        let mut node = cluster.start(stays, 1);
        let old = cluster.start(restarted, 5);
        node.wait_all_up(&[restarted]);
        drop(old);
        node.wait_down(restarted, Priority);
        let mut new = cluster.start(restarted, 6);
        assert_eq!(node.wait_up(restarted, Priority), Incarnation(6));
        new.wait_all_up(&[stays]);
        node.wait_status("up in both classes", |s| {
            s.peers[0].priority.up && s.peers[0].bulk.up
        });
        assert_eq!(node.link(restarted, Bulk).incarnation, Some(6));
        assert_eq!(node.link(restarted, Bulk).reconnects, 1);
        let message = Bytes::from_static(b"after");
        new.transport
            .send_bulk(NodeId(stays), BulkLane::Read, message.clone())
            .expect("up");
        assert_eq!(node.wait_message(restarted, Bulk), message);
    }
}

/// A dead process says no goodbye. Bulk's own timeout is 30 s; priority notices
/// in 3 s, and bulk must follow it instead of waiting for its own.
#[test]
fn bulk_follows_a_restart_that_priority_noticed() {
    let mut cluster = Cluster::new(2, LOOPBACK);
    cluster.limits.probe_interval = Duration::from_millis(50);
    cluster.limits.priority_idle_timeout = Duration::from_millis(400);
    let mut node = cluster.start(1, 1);
    let path = Path::default();
    let address = cluster.address(2).clone();
    let dying = cluster.start_on(
        2,
        5,
        impaired::over(path.clone(), address.priority, PRIORITY_DSCP),
        impaired::over(path.clone(), address.bulk, BULK_DSCP),
    );
    node.wait_all_up(&[2]);
    path.cut.store(true, Ordering::Relaxed);
    drop(dying);
    let died = Instant::now();
    let _new = cluster.start(2, 6);
    node.wait_status("up with the new life", |s| {
        s.peers[0].bulk.incarnation == Some(6)
    });
    assert!(
        died.elapsed() < Duration::from_secs(10),
        "{:?}",
        died.elapsed()
    );
}

#[test]
fn a_path_that_was_cut_heals_without_a_new_incarnation() {
    let mut cluster = Cluster::new(2, LOOPBACK);
    cluster.limits.probe_interval = Duration::from_millis(50);
    cluster.limits.priority_idle_timeout = Duration::from_millis(400);
    let path = Path::default();
    let address = cluster.address(2).clone();
    let mut node = cluster.start(1, 1);
    let _other = cluster.start_on(
        2,
        5,
        impaired::over(path.clone(), address.priority, PRIORITY_DSCP),
        real(address.bulk, BULK_DSCP),
    );
    node.wait_all_up(&[2]);
    path.cut.store(true, Ordering::Relaxed);
    node.wait_down(2, Priority);
    let refused = node
        .transport
        .send_priority(NodeId(2), Bytes::from_static(b"x"));
    assert_eq!(refused, Err(SendError::Down));
    path.cut.store(false, Ordering::Relaxed);
    assert_eq!(node.wait_up(2, Priority), Incarnation(5));
    let link = node.link(2, Priority);
    assert_eq!((link.reconnects, link.drops["down"]), (1, 1));
    assert!(link.last_error.is_some());
    assert!(node.link(2, Bulk).up, "bulk had no reason to go");
}

#[test]
fn the_observed_dscp_is_the_configured_one_for_ipv4_and_ipv6() {
    for ip in [LOOPBACK, IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let mut cluster = Cluster::new(2, ip);
        cluster.limits.probe_interval = Duration::from_millis(20);
        let mut nodes = [cluster.start(1, 1), cluster.start(2, 1)];
        nodes[0].wait_all_up(&[2]);
        nodes[1].wait_all_up(&[1]);
        for node in &nodes {
            node.wait_status("told what arrives", |status| {
                let peer = &status.peers[0];
                peer.priority.dscp_seen_by_peer.is_some() && peer.bulk.dscp_seen_by_peer.is_some()
            });
            let peer = node.transport.status().peers.remove(0);
            for (link, dscp) in [(peer.priority, PRIORITY_DSCP), (peer.bulk, BULK_DSCP)] {
                let seen = [link.dscp_sent, link.dscp_seen_by_peer, link.dscp_seen_here];
                assert_eq!(seen, [Some(dscp); 3], "{ip}");
            }
        }
    }
}

#[test]
fn a_mark_that_the_network_erases_is_reported_to_its_sender() {
    let mut cluster = Cluster::new(2, LOOPBACK);
    cluster.limits.probe_interval = Duration::from_millis(20);
    let node = cluster.start(1, 1);
    let address = cluster.address(2).clone();
    // Says 46 and sends 0, as behind a router that bleaches.
    let bleached = Box::new(move || {
        let mut socket = vivace_node::transport::ClassSocket::bind(address.priority, 0)?;
        socket.dscp = PRIORITY_DSCP;
        Ok(socket)
    });
    let other = cluster.start_on(2, 1, bleached, real(address.bulk, BULK_DSCP));
    other.wait_status("told", |s| s.peers[0].priority.dscp_seen_by_peer == Some(0));
    assert_eq!(other.link(1, Priority).dscp_sent, Some(PRIORITY_DSCP));
    assert_eq!(node.link(2, Priority).dscp_seen_here, Some(0));
}

#[test]
fn a_send_that_can_never_work_says_so() {
    let cluster = Cluster::new(2, LOOPBACK);
    let (mut first, _second) = (cluster.start(1, 1), cluster.start(2, 1));
    first.wait_all_up(&[2]);
    let transport = &first.transport;
    let too_large = Bytes::from(vec![0; PRIORITY_MESSAGE_BYTES_MAX + 1]);
    assert_eq!(
        transport.send_priority(NodeId(2), too_large),
        Err(SendError::TooLarge)
    );
    let too_large = Bytes::from(vec![0; Limits::default().bulk_frame_bytes_max + 1]);
    let lane = BulkLane::Read;
    assert_eq!(
        transport.send_bulk(NodeId(2), lane, too_large),
        Err(SendError::TooLarge)
    );
    for nobody in [NodeId(1), NodeId(9)] {
        let message = Bytes::from_static(b"x");
        assert_eq!(
            transport.send_priority(nobody, message.clone()),
            Err(SendError::Unknown)
        );
        assert_eq!(
            transport.send_bulk(nobody, lane, message),
            Err(SendError::Unknown)
        );
    }
}

#[test]
fn shutdown_twice_or_from_the_priority_thread_ends_and_frees_the_ports() {
    let cluster = Cluster::new(2, LOOPBACK);
    let mut first = cluster.start(1, 1);
    let mut second = cluster.start(2, 1);
    first.wait_all_up(&[2]);
    second.wait_all_up(&[1]);
    let started = Instant::now();
    first.transport.shutdown();
    first.transport.shutdown();
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    second.wait_down(1, Priority);

    let handle = second.transport.priority_handle();
    let (done, is_done) = std_mpsc::channel();
    let transport = Arc::new(second.transport);
    let moved = transport.clone();
    handle.spawn(async move {
        moved.shutdown();
        drop(moved);
        done.send(()).expect("the test waits");
    });
    is_done.recv_timeout(PATIENCE).expect("it doesn't hang");
    drop(transport);
    // The priority thread ends after its own task; then the port is free.
    let deadline = Instant::now() + PATIENCE;
    while std::net::UdpSocket::bind(cluster.address(2).priority).is_err() {
        assert!(Instant::now() < deadline, "the port is still taken");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn one_thread_carries_both_classes_where_they_share_it() {
    let cluster = Cluster::new(2, LOOPBACK);
    let (ran, on) = std_mpsc::channel();
    let start = |node: u16| {
        let mut config = cluster.config(node, 1);
        config.threads = Threads::Shared;
        let socket = |address, dscp| -> SocketFactory {
            let (ran, make) = (ran.clone(), real(address, dscp));
            Box::new(move || {
                ran.send(std::thread::current().id())
                    .expect("the test waits");
                make()
            })
        };
        let at = cluster.address(node);
        let (priority, bulk) = (
            socket(at.priority, PRIORITY_DSCP),
            socket(at.bulk, BULK_DSCP),
        );
        Node::start(config, priority, bulk, 1024)
    };
    let (mut first, mut second) = (start(1), start(2));
    let threads: Vec<_> = on.try_iter().collect();
    assert_eq!(threads.len(), 4);
    assert!(threads[0] == threads[1] && threads[2] == threads[3]);
    first.wait_all_up(&[2]);
    second.wait_all_up(&[1]);
    let message = Bytes::from_static(b"a timestamp");
    let sent = first.transport.send_priority(NodeId(2), message.clone());
    sent.expect("there is room");
    assert_eq!(second.wait_message(1, Priority), message);
    let value = Bytes::from(vec![7; 1 << 20]);
    let sent = first
        .transport
        .send_bulk(NodeId(2), BulkLane::Propagate, value.clone());
    sent.expect("there is room");
    assert_eq!(second.wait_message(1, Bulk), value);
    drop(first);
    for address in [cluster.address(1).priority, cluster.address(1).bulk] {
        std::net::UdpSocket::bind(address).expect("the ports are free");
    }
    let mut up = vec![Priority, Bulk];
    second.wait_for("PeerDown of both classes", |event| {
        if let TransportEvent::PeerDown { class, .. } = event {
            up.retain(|known| known != class);
        }
        up.is_empty()
    });
}

#[test]
fn a_task_of_the_owner_runs_on_the_priority_thread() {
    let cluster = Cluster::new(1, LOOPBACK);
    let node = cluster.start(1, 1);
    let (name, got_name) = std_mpsc::channel();
    node.transport.priority_handle().spawn(async move {
        name.send(std::thread::current().name().map(str::to_owned))
            .expect("the test waits");
    });
    let name = got_name.recv_timeout(PATIENCE).expect("it ran");
    assert_eq!(name.as_deref(), Some("vivace-priority"));
}

#[test]
fn a_start_that_fails_half_way_leaves_no_port_bound() {
    let cluster = Cluster::new(2, LOOPBACK);
    let at = cluster.address(1);
    let taken = std::net::UdpSocket::bind(at.bulk).expect("free until now");
    for threads in [Threads::Split, Threads::Shared] {
        let mut config = cluster.config(1, 1);
        config.threads = threads;
        let (events, _receiver) = mpsc::channel(16);
        let (priority, bulk) = (real(at.priority, 46), real(at.bulk, 0));
        let failed = Transport::bind(config, priority, bulk, events);
        let error = failed.map(drop).expect_err("bulk's port is taken");
        assert!(
            matches!(error, StartError::Thread { class: Bulk, .. }),
            "{error}"
        );
        std::net::UdpSocket::bind(at.priority).expect("priority's port is free again");
    }
    drop(taken);
}

#[test]
fn a_configuration_that_contradicts_itself_is_refused_at_start() {
    let cluster = Cluster::new(2, LOOPBACK);
    let start = |change: &dyn Fn(&mut vivace_node::transport::TransportConfig)| {
        let mut config = cluster.config(1, 1);
        change(&mut config);
        let free = std::net::SocketAddr::new(LOOPBACK, 0);
        let (events, _receiver) = mpsc::channel(16);
        let transport = Transport::bind(config, real(free, 46), real(free, 0), events);
        transport.map(drop).expect_err("contradictory")
    };
    assert!(matches!(
        start(&|c| c.site = SiteId(7)),
        StartError::Identity { .. }
    ));
    assert!(matches!(
        start(&|c| c.me = NodeId(3)),
        StartError::Identity { .. }
    ));
    let myself = PeerAddress {
        node: NodeId(1),
        ..cluster.address(2).clone()
    };
    assert!(matches!(
        start(&|c| c.peers.push(myself.clone())),
        StartError::PeerIsSelf(_)
    ));
    let twice = cluster.address(2).clone();
    assert!(matches!(
        start(&|c| c.peers.push(twice.clone())),
        StartError::PeerTwice(_)
    ));
    let error = start(&|c| c.limits.priority_window_bytes = 1).to_string();
    assert!(
        error.contains("priority_window_bytes = 1 is out of range"),
        "{error}"
    );
    let v6 = (Ipv6Addr::LOCALHOST, 9).into();
    let error = start(&|c| c.peers[0].bulk = v6).to_string();
    assert!(
        error.starts_with("bulk: [::1]:9 is of another IP version"),
        "{error}"
    );
}
