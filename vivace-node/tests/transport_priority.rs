//! How priority messages share packets and keep to what the class may use.

mod fixture;

use std::time::{Duration, Instant};

use bytes::Bytes;
use fixture::impaired::{self, Path};
use fixture::{BULK_DSCP, Cluster, LOOPBACK, Node, PRIORITY_DSCP, real};
use vivace_core::NodeId;
use vivace_node::transport::TrafficClass::Priority;
use vivace_node::transport::{BoundScope, Flow, Haste, PriorityBound, PriorityMessage, WireStatus};

/// A cluster's first two nodes, so far apart.
fn two_nodes(cluster: &mut Cluster, path: &Path) -> (Node, Node) {
    cluster.limits.probe_interval = Duration::from_millis(50);
    let start = |n: u16| {
        let address = cluster.address(n);
        let priority = impaired::over(path.clone(), address.priority, PRIORITY_DSCP);
        cluster.start_on(n, 1, priority, real(address.bulk, BULK_DSCP))
    };
    let (mut first, mut second) = (start(1), start(2));
    first.wait_all_up(&[2]);
    second.wait_all_up(&[1]);
    first.wait_status("probed", |s| s.peers[0].priority.rtt_us.is_some());
    second.wait_status("probed", |s| s.peers[0].priority.rtt_us.is_some());
    (first, second)
}

fn far() -> Path {
    Path {
        delay: Duration::from_millis(20),
        ..Path::default()
    }
}

fn wire(node: &Node, peer: u16) -> WireStatus {
    node.link(peer, Priority).wire.expect("priority is metered")
}

/// As W-TS of different operations: 36 bytes, of which about eight differ.
fn message(n: u64) -> Bytes {
    let mut bytes = vec![7; 36];
    bytes[2..4].copy_from_slice(&(n as u16).to_le_bytes());
    bytes[20..28].copy_from_slice(&(n * 300_000).to_be_bytes());
    bytes.into()
}

/// Sends `count` messages, one every `pause`, and waits for the last.
fn send_at_intervals(first: &Node, second: &Node, count: u64, pause: Duration) {
    let before = second.link(1, Priority).messages_received;
    let started = Instant::now();
    for n in 0..count {
        let due = started + pause * n as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = first.transport.send_priority(NodeId(2), message(n));
        sent.expect("there is room");
    }
    second.wait_status("all there", |s| {
        s.peers[0].priority.messages_received == before + count
    });
}

#[test]
fn a_busy_path_gathers_messages_and_an_idle_one_does_not() {
    let mut cluster = Cluster::new(2, LOOPBACK);
    let (first, second) = two_nodes(&mut cluster, &far());
    let before = wire(&first, 2);
    send_at_intervals(&first, &second, 8_000, Duration::from_micros(100));
    let after = wire(&first, 2);
    let packets = after.packets - before.packets;
    let bytes = (after.bytes - before.bytes) / 8_000;
    println!("8,000 messages: {packets} packets, {bytes} bytes each");
    // Alone in a packet, one takes 36 bytes and some 60 of headers.
    assert!(packets < 8_000 / 3, "{packets} packets for 8,000 messages");
    assert!(bytes < 50, "{bytes} bytes for a message of 36");

    let before = wire(&first, 2);
    send_at_intervals(&first, &second, 50, Duration::from_millis(5));
    let packets = wire(&first, 2).packets - before.packets;
    assert!(
        packets >= 45,
        "{packets} packets: a message waited for the next"
    );
}

#[test]
fn what_nobody_waits_for_shares_packets_on_a_short_path_too() {
    let mut cluster = Cluster::new(2, LOOPBACK);
    let (first, second) = two_nodes(&mut cluster, &Path::default());
    let before = wire(&first, 2).packets;
    for n in 0..1_000 {
        let message = PriorityMessage {
            haste: Haste::Later,
            ..message(n).into()
        };
        let sent = first.transport.send_priority(NodeId(2), message);
        sent.expect("there is room");
        std::thread::sleep(Duration::from_micros(400));
    }
    second.wait_status("all there", |s| {
        s.peers[0].priority.messages_received >= 1_000
    });
    let packets = wire(&first, 2).packets - before;
    assert!(packets < 600, "{packets} packets for 1,000 messages");
    // Company is no bound that they wait for.
    let waited = wire(&first, 2).messages_waited;
    assert!(waited < 200, "{waited} messages are said to have waited");
}

#[test]
fn acknowledgments_of_packets_are_few() {
    let mut cluster = Cluster::new(2, LOOPBACK);
    let (first, second) = two_nodes(&mut cluster, &far());
    let (sent, answered) = (wire(&first, 2).packets, wire(&second, 1).packets);
    send_at_intervals(&first, &second, 1_500, Duration::from_millis(1));
    let sent = wire(&first, 2).packets - sent;
    let answered = wire(&second, 1).packets - answered;
    println!("{sent} packets, {answered} in answer");
    // 1.5 s: 60 probes and their answers, an acknowledgment every 40 ms.
    assert!(
        answered < sent / 5,
        "{answered} packets in answer to {sent}"
    );
}

fn of_container(container: u32, n: u64) -> PriorityMessage {
    PriorityMessage {
        flow: Flow::Requests(container),
        ..message(n).into()
    }
}

fn bound(bytes_per_s: u64) -> Option<PriorityBound> {
    Some(PriorityBound::new(bytes_per_s))
}

#[test]
fn what_exceeds_the_bound_waits_and_nothing_is_lost() {
    const BYTES_PER_S: u64 = 50_000;
    let mut cluster = Cluster::new(2, LOOPBACK);
    cluster.limits.priority_bound = bound(BYTES_PER_S);
    let (first, second) = two_nodes(&mut cluster, &far());
    let (before, started) = (wire(&first, 2), Instant::now());
    for n in 0..900_u64 {
        // Unlike each other, so that they take what they are long.
        let text = n
            .to_le_bytes()
            .map(|b| b.wrapping_mul(31).wrapping_add(n as u8));
        let bytes: Vec<u8> = (0..9)
            .flat_map(|i: u8| text.map(|b| b.wrapping_add(i ^ b)))
            .collect();
        let sent = first.transport.send_priority(NodeId(2), Bytes::from(bytes));
        sent.expect("there is room");
    }
    assert!(first.link(2, Priority).queue_bytes > 50_000);
    second.wait_status("all there", |s| {
        s.peers[0].priority.messages_received == 900
    });
    let bytes = wire(&first, 2).bytes - before.bytes;
    let allowed = 3_000 + (BYTES_PER_S as f64 * started.elapsed().as_secs_f64()) as u64;
    println!("{bytes} bytes in {:?}", started.elapsed());
    assert!(bytes <= allowed, "{bytes} bytes, {allowed} allowed");
    assert!(
        bytes * 10 > allowed * 7,
        "{bytes} bytes where {allowed} could be"
    );
    let wire = wire(&first, 2);
    assert_eq!(wire.bytes_per_s_max, Some(BYTES_PER_S));
    assert!(
        wire.messages_waited > 800 && wire.longest_wait_us > 500_000,
        "{wire:?}"
    );
    assert_eq!(first.link(2, Priority).drops.values().sum::<u64>(), 0);
}

#[test]
fn near_the_bound_datagrams_are_fuller_and_a_burst_finds_room() {
    const STEADY: u64 = 1_500;
    const BURST: u64 = 100;
    let mut cluster = Cluster::new(2, LOOPBACK);
    cluster.limits.priority_bound = Some(PriorityBound {
        burst_bytes: 20_000,
        ..PriorityBound::new(40_000)
    });
    let (first, second) = two_nodes(&mut cluster, &far());
    let before = wire(&first, 2);
    // In packets as full as on a path without a bound these take twice what it allows.
    send_at_intervals(&first, &second, STEADY, Duration::from_millis(1));
    let after = wire(&first, 2);
    let each = STEADY as f64 / (after.packets - before.packets) as f64;
    let received = second.link(1, Priority).messages_received;
    let started = Instant::now();
    for n in 0..BURST {
        let unlike: Vec<u8> = (0..72_u64).map(|i| (n * i * 31 + i) as u8).collect();
        let sent = first
            .transport
            .send_priority(NodeId(2), Bytes::from(unlike));
        sent.expect("there is room");
    }
    second.wait_status("all there", |s| {
        s.peers[0].priority.messages_received >= received + BURST
    });
    let took = started.elapsed();
    println!("{each:.1} messages a packet, then {BURST} at once in {took:?}");
    assert!(each > 1.8, "{each:.1} messages a packet");
    // At the bound's rate they would take 180 ms more than the path.
    assert!(took < Duration::from_millis(120), "{took:?}");
}

#[test]
fn at_the_bound_a_container_that_floods_delays_itself_alone() {
    let mut cluster = Cluster::new(2, LOOPBACK);
    cluster.limits.priority_bound = bound(20_000);
    let (first, mut second) = two_nodes(&mut cluster, &far());
    let sent = |container, n| {
        first
            .transport
            .send_priority(NodeId(2), of_container(container, n))
    };
    for n in 0..1_200 {
        sent(1, n * 7_777).expect("there is room");
    }
    let asked = Instant::now();
    sent(2, 0xffff_0000).expect("there is room");
    let other = message(0xffff_0000);
    second.wait_for("the other container's message", |event| {
        matches!(event, vivace_node::transport::TransportEvent::Received { bytes, .. } if *bytes == other)
    });
    let waited = asked.elapsed();
    let queued = first.link(2, Priority).queue_bytes;
    println!("{waited:?}; {queued} bytes of the flood still wait");
    assert!(queued > 0, "the flood is over: this proves nothing");
    assert!(waited < Duration::from_millis(300), "{waited:?}");
}

#[test]
fn a_repeat_replaces_what_still_waits() {
    let mut cluster = Cluster::new(2, LOOPBACK);
    cluster.limits.priority_bound = bound(1_500);
    let (first, second) = two_nodes(&mut cluster, &far());
    for round in 0..20_u64 {
        for call in 0..100 {
            let message = PriorityMessage {
                identity: Some(call),
                ..of_container(1, round * 1_000 + call)
            };
            first
                .transport
                .send_priority(NodeId(2), message)
                .expect("there is room");
        }
    }
    let wire = wire(&first, 2);
    assert!(wire.messages_replaced > 1_700, "{wire:?}");
    assert!(first.link(2, Priority).queue_bytes < 120 * 100);
    second.wait_status("begun", |s| s.peers[0].priority.messages_received > 0);
}

#[test]
fn an_uplinks_bound_is_shared_by_its_paths_and_fairly() {
    const BYTES_PER_S: u64 = 40_000;
    let mut cluster = Cluster::new(3, LOOPBACK);
    cluster.limits.priority_bound = Some(PriorityBound {
        scope: BoundScope::Uplink,
        ..PriorityBound::new(BYTES_PER_S)
    });
    let mut first = cluster.start(1, 1);
    let (second, third) = (cluster.start(2, 1), cluster.start(3, 1));
    first.wait_all_up(&[2, 3]);
    let sent_bytes = || [2, 3].map(|peer| wire(&first, peer).bytes);
    let (before, started) = (sent_bytes(), Instant::now());
    while started.elapsed() < Duration::from_secs(2) {
        // To node 2 more than there is room for, to node 3 a little all the time.
        for n in 0..20 {
            let _ = first.transport.send_priority(NodeId(2), message(n * 7_777));
        }
        let _ = first.transport.send_priority(NodeId(3), message(1));
        std::thread::sleep(Duration::from_millis(2));
    }
    let (after, elapsed) = (sent_bytes(), started.elapsed().as_secs_f64());
    let [to_second, to_third] = [after[0] - before[0], after[1] - before[1]];
    let allowed = 3_000 + (BYTES_PER_S as f64 * elapsed) as u64;
    println!("{to_second} and {to_third} bytes of {allowed}");
    assert!(to_second + to_third <= allowed);
    assert!(to_second > allowed / 4 && to_third > allowed / 20);
    drop((second, third));
}
