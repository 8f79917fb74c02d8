//! Queues, rates and bad paths: what is taken arrives, what is not is refused, and
//! bulk never stands in priority's way.

mod fixture;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixture::impaired::{self, Path};
use fixture::{BULK_DSCP, Cluster, LOOPBACK, Node, PRIORITY_DSCP, real};
use vivace_core::NodeId;
use vivace_node::transport::TrafficClass::{Bulk, Priority};
use vivace_node::transport::{BulkLane, SendError, TransportEvent};

#[test]
fn a_full_priority_queue_refuses_and_recovers_and_loses_nothing_it_took() {
    let mut cluster = Cluster::new(2, LOOPBACK);
    cluster.limits.priority_window_bytes = 12_000;
    cluster.limits.priority_queue_bytes_max = 8 << 10;
    let (mut first, mut second) = (cluster.start(1, 1), cluster.start(2, 1));
    first.wait_all_up(&[2]);
    second.wait_all_up(&[1]);
    let message = Bytes::from(vec![7; 1_000]);
    let outcomes: Vec<_> = (0..1_000)
        .map(|_| first.transport.send_priority(NodeId(2), message.clone()))
        .collect();
    let taken = outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
    let full = outcomes
        .iter()
        .filter(|o| **o == Err(SendError::Full))
        .count() as u64;
    assert_eq!(taken + full, 1_000);
    assert!(full > 0);
    assert_eq!(first.link(2, Priority).drops["queue_full"], full);
    second.wait_status("all there", |s| {
        s.peers[0].priority.messages_received == taken
    });
    assert_eq!(first.link(2, Priority).messages_sent, taken);
    first
        .transport
        .send_priority(NodeId(2), message)
        .expect("there is room again");
}

#[test]
fn a_full_bulk_queue_refuses_and_what_it_took_arrives_in_order() {
    let mut cluster = Cluster::new(2, LOOPBACK);
    cluster.limits.bulk_frame_bytes_max = 100_000;
    cluster.limits.bulk_queue_bytes_max = 400_000;
    cluster.limits.bulk_window_bytes = 64 << 10;
    let (mut first, mut second) = (cluster.start(1, 1), cluster.start(2, 1));
    first.wait_all_up(&[2]);
    let mut taken = 0_u32;
    let full = loop {
        let mut frame = vec![0; 90_000];
        frame[..4].copy_from_slice(&taken.to_le_bytes());
        match first
            .transport
            .send_bulk(NodeId(2), BulkLane::Propagate, frame.into())
        {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 10_000, "the queue never fills");
    };
    assert_eq!(full, SendError::Full);
    assert!(first.link(2, Bulk).queue_bytes <= 400_000);
    for expected in 0..taken {
        let frame = second.wait_message(1, Bulk);
        assert_eq!(frame[..4], expected.to_le_bytes());
    }
    first.wait_status("drained", |s| s.peers[0].bulk.queue_bytes == 0);
}

#[test]
fn bulk_that_is_queued_when_the_peer_dies_is_dropped_and_counted() {
    let mut cluster = Cluster::new(2, LOOPBACK);
    cluster.limits.bulk_window_bytes = 64 << 10;
    cluster.limits.bulk_idle_timeout = Duration::from_secs(1);
    let path = Path::default();
    let address = cluster.address(2).clone();
    let mut first = cluster.start(1, 1);
    let _second = cluster.start_on(
        2,
        1,
        real(address.priority, PRIORITY_DSCP),
        impaired::over(path.clone(), address.bulk, BULK_DSCP),
    );
    first.wait_all_up(&[2]);
    path.cut.store(true, Ordering::Relaxed);
    for _ in 0..10 {
        let frame = Bytes::from(vec![0; 50_000]);
        first
            .transport
            .send_bulk(NodeId(2), BulkLane::Propagate, frame)
            .expect("room");
    }
    first.wait_down(2, Bulk);
    let link = first.link(2, Bulk);
    assert_eq!(link.drops["connection_ended"] + link.messages_sent, 10);
    assert!(link.drops["connection_ended"] >= 7, "{link:#?}");
    assert_eq!(link.queue_bytes, 0);
}

/// The last queue that both classes share is the owner's.
#[test]
fn an_owner_that_is_slow_with_bulk_still_hears_priority() {
    let cluster = Cluster::new(2, LOOPBACK);
    let mut first = cluster.start(1, 1);
    let address = cluster.address(2);
    let sockets = (
        real(address.priority, PRIORITY_DSCP),
        real(address.bulk, BULK_DSCP),
    );
    let mut second = Node::start(cluster.config(2, 1), sockets.0, sockets.1, 64);
    first.wait_all_up(&[2]);
    second.wait_all_up(&[1]);
    for _ in 0..500 {
        let value = Bytes::from_static(&[1; 1_000]);
        first
            .transport
            .send_bulk(NodeId(2), BulkLane::Propagate, value)
            .expect("room");
    }
    // Nobody drains: bulk stops at half of the queue.
    second.wait_status("held back", |s| s.peers[0].bulk.messages_received >= 32);
    std::thread::sleep(Duration::from_millis(50));
    for _ in 0..20 {
        first
            .transport
            .send_priority(NodeId(2), Bytes::from_static(b"ts"))
            .expect("up");
    }
    second.wait_status("arrived", |s| s.peers[0].priority.messages_received == 20);
    assert_eq!(second.link(1, Priority).drops["event_queue_full"], 0);
    assert!(second.link(1, Bulk).messages_received < 40);
    for _ in 0..500 {
        second.wait_message(1, Bulk);
    }
}

/// Mbit/s of 6 MB of values over `path`, and the largest round trip that bulk's
/// QUIC saw in the second half.
fn throughput(path: Path) -> (f64, Duration) {
    const FRAMES: u32 = 60;
    const FRAME_BYTES: u32 = 100_000;
    let mut cluster = Cluster::new(2, LOOPBACK);
    cluster.limits.probe_interval = Duration::from_millis(50);
    let start = |n: u16| {
        let address = cluster.address(n);
        let priority = impaired::over(
            Path {
                delay: path.delay,
                ..Path::default()
            },
            address.priority,
            PRIORITY_DSCP,
        );
        cluster.start_on(
            n,
            1,
            priority,
            impaired::over(path.clone(), address.bulk, BULK_DSCP),
        )
    };
    let (mut first, mut second) = (start(1), start(2));
    first.wait_all_up(&[2]);
    let started = Instant::now();
    for _ in 0..FRAMES {
        let value = Bytes::from(vec![1; FRAME_BYTES as usize]);
        first
            .transport
            .send_bulk(NodeId(2), BulkLane::Propagate, value)
            .expect("room");
    }
    let mut rtt_max = Duration::ZERO;
    for n in 0..FRAMES {
        second.wait_message(1, Bulk);
        if n > FRAMES / 2 {
            let rtt_us = first.link(2, Bulk).rtt_us.expect("up");
            rtt_max = rtt_max.max(Duration::from_micros(rtt_us));
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let priority_rtt = first.link(2, Priority).rtt_us.expect("probed");
    assert!(
        priority_rtt < 80_000,
        "priority has its own path: {priority_rtt} us"
    );
    (
        f64::from(FRAMES * FRAME_BYTES) * 8.0 / seconds / 1e6,
        rtt_max,
    )
}

#[test]
fn bulk_gets_through_random_loss() {
    let delay = Duration::from_millis(20);
    let (mbit_per_s, rtt) = throughput(Path {
        lost_per_mille: 10,
        delay,
        ..Path::default()
    });
    println!("40 ms, 10 of 1000 lost: {mbit_per_s:.1} Mbit/s, rtt {rtt:?}");
    // Cubic and Reno get about 3 Mbit/s here (Mathis: MSS / RTT / sqrt(loss)).
    assert!(mbit_per_s > 10.0, "{mbit_per_s:.1} Mbit/s");
}

/// Of a link that is only ours, bulk takes most and queues little: where DSCP is
/// ignored, priority waits behind what bulk has queued.
#[test]
fn bulk_uses_a_short_link_without_filling_its_queue() {
    for lost_per_mille in [0, 30] {
        let (mbit_per_s, rtt) = throughput(Path {
            lost_per_mille,
            delay: Duration::from_millis(20),
            rate: Some((20_000_000 / 8, Duration::from_millis(400))),
            ..Path::default()
        });
        println!("20 Mbit/s, 40 ms, {lost_per_mille} of 1000: {mbit_per_s:.1} Mbit/s, rtt {rtt:?}");
        assert!(mbit_per_s > 14.0, "{mbit_per_s:.1} Mbit/s");
        // A full queue would make it 440 ms.
        assert!(rtt < Duration::from_millis(120), "{rtt:?}");
    }
}

/// Bulk's three ways: a reader's value passes megabytes of new values and of repair,
/// and while readers' values fill the link, the others get on.
#[test]
fn what_a_reader_waits_for_goes_first_and_starves_nobody() {
    const FRAME_BYTES: usize = 50_000;
    let mut cluster = Cluster::new(2, LOOPBACK);
    cluster.limits.probe_interval = Duration::from_millis(50);
    let path = Path {
        delay: Duration::from_millis(10),
        rate: Some((20_000_000 / 8, Duration::from_millis(400))),
        ..Path::default()
    };
    let start = |n: u16| {
        let address = cluster.address(n);
        let bulk = impaired::over(path.clone(), address.bulk, BULK_DSCP);
        cluster.start_on(n, 1, real(address.priority, PRIORITY_DSCP), bulk)
    };
    let (mut first, mut second) = (start(1), start(2));
    first.wait_all_up(&[2]);
    second.wait_all_up(&[1]);
    let send = |lane: BulkLane| {
        let frame = Bytes::from(vec![lane as u8; FRAME_BYTES]);
        first.transport.send_bulk(NodeId(2), lane, frame)
    };
    // Six seconds' worth of the link, and nobody reads.
    for _ in 0..150 {
        send(BulkLane::Propagate).expect("room");
        send(BulkLane::Repair).expect("room");
    }
    std::thread::sleep(Duration::from_millis(700));
    while second.events.try_recv().is_ok() {}
    let asked = Instant::now();
    send(BulkLane::Read).expect("room");
    second.wait_for("the reader's value", |event| lane_of(event) == Some(0));
    let waited = asked.elapsed();
    println!("a reader's value took {waited:?}");
    assert!(waited < Duration::from_millis(400), "{waited:?}");

    // Now readers want all of the link.
    for _ in 0..300 {
        send(BulkLane::Read).expect("room");
    }
    let mut received = [0; 3];
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        match second.events.try_recv() {
            Ok(event) => {
                if let Some(lane) = lane_of(&event) {
                    received[usize::from(lane)] += 1;
                }
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    println!("frames of each lane in 4 s: {received:?}");
    let total: i32 = received.iter().sum();
    assert!(received[0] * 10 > total * 6, "readers first: {received:?}");
    assert!(received[1] * 20 > total, "new values get on: {received:?}");
    assert!(received[2] * 50 > total, "repair gets on: {received:?}");
}

/// The first byte of a bulk frame.
fn lane_of(event: &TransportEvent) -> Option<u8> {
    match event {
        TransportEvent::Received {
            class: Bulk, bytes, ..
        } => bytes.first().copied(),
        _ => None,
    }
}
