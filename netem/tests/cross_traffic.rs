//! Background load: how much, how irregular, and what it does to others.

use std::time::Duration;

use netem::{
    CROSS_FRACTION_MAX, CROSS_FRACTION_MIN, CrossTraffic, Delivery, Link, LinkConfig, LinkError,
    MTU_BYTES, Packet,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const PRIORITY: u8 = 46;
const RUN: Duration = Duration::from_secs(60);

/// The default link with cross traffic from time zero.
fn congested(fraction: f64) -> Link<Duration> {
    let mut link = Link::new(LinkConfig::default()).expect("the default is valid");
    let cross = CrossTraffic::new(fraction, 7).expect("a valid fraction");
    link.set_cross_traffic(Duration::ZERO, Some(cross));
    link
}

/// Sends a probe each 20 ms over a congested link; what came back, and how many went.
fn probe(fraction: f64, bytes: u32, dscp: u8) -> (Vec<Delivery<Duration>>, usize) {
    let mut link = congested(fraction);
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    // The queue first fills.
    let mut now = Duration::from_secs(5);
    let mut probes = 0;
    while now < RUN {
        let packet = Packet {
            bytes,
            dscp,
            payload: now,
        };
        let _ = link.enqueue(now, packet, &mut rng);
        probes += 1;
        now += Duration::from_millis(20);
    }
    let arrived = std::iter::from_fn(|| link.poll(RUN + Duration::from_secs(1))).collect();
    (arrived, probes)
}

fn close(value: f64, expected: f64, tolerance: f64) -> bool {
    (value - expected).abs() <= tolerance * expected
}

#[test]
fn cross_traffic_offers_its_fraction_and_fills_the_link() {
    let mut link = congested(1.2);
    let cross = link.counters(RUN).cross;
    let link_bytes = 20e6 / 8.0 * RUN.as_secs_f64();
    assert!(close(cross.offered_bytes as f64, 1.2 * link_bytes, 0.01));
    assert!(close(cross.sent_bytes as f64, link_bytes, 0.01));
    assert_eq!(cross.delivered_packets, cross.sent_packets);
    assert!(link.poll(RUN).is_none());
    assert_eq!(link.next_delivery(), None);
}

#[test]
fn arrivals_are_poisson_not_periodic() {
    let mut link = congested(0.5);
    let (slot, slots) = (Duration::from_millis(100), 600);
    let mut before = 0;
    let counts: Vec<f64> = (1..=slots)
        .map(|number| {
            let offered = link.counters(slot * number).cross.offered_packets;
            let count = offered - std::mem::replace(&mut before, offered);
            count as f64
        })
        .collect();
    let mean = counts.iter().sum::<f64>() / f64::from(slots);
    let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / f64::from(slots);
    // A Poisson count's variance is its mean; a periodic one's is near zero.
    assert!(
        close(variance, mean, 0.2),
        "variance {variance}, mean {mean}"
    );
}

#[test]
fn small_and_large_bulk_probes_see_the_same_loss() {
    // 1.2 offered, 1 carried: a sixth is lost.
    for bytes in [60, MTU_BYTES] {
        let (arrived, probes) = probe(1.2, bytes, 0);
        let loss = 1.0 - arrived.len() as f64 / probes as f64;
        assert!((0.13..0.21).contains(&loss), "{bytes} bytes: {loss}");
    }
}

#[test]
fn bulk_waits_for_the_whole_queue_and_priority_for_one_packet() {
    let config = LinkConfig::default();
    let waits = |dscp| {
        let (arrived, probes) = probe(1.2, 60, dscp);
        let wait = |d: &Delivery<Duration>| d.arrival - d.packet.payload - config.delay;
        let mut waits: Vec<_> = arrived.iter().map(wait).collect();
        waits.sort();
        (waits, probes)
    };
    let (priority, probes) = waits(PRIORITY);
    assert_eq!(priority.len(), probes, "a priority probe was lost");
    let bound = config.transmission_time(MTU_BYTES) + config.transmission_time(60);
    assert!(priority[priority.len() - 1] <= bound);
    let (bulk, _) = waits(0);
    // 250,000 bytes at 20 Mbit/s are 100 ms.
    assert!(bulk[bulk.len() / 2] > Duration::from_millis(90));
    assert!(bulk[bulk.len() - 1] < Duration::from_millis(102));
}

#[test]
fn cross_traffic_itself_waits_for_the_whole_queue() {
    let mut link = congested(1.2);
    // The queue first fills.
    let before = link.counters(Duration::from_secs(5)).cross_waits;
    let counters = link.counters(RUN);
    let waits = counters.cross_waits;
    assert_eq!(waits.packets, counters.cross.sent_packets);
    let packets = u32::try_from(waits.packets - before.packets).expect("a few thousand");
    let mean = (waits.total - before.total) / packets;
    // 250,000 bytes at 20 Mbit/s are 100 ms.
    let full = Duration::from_millis(90)..Duration::from_millis(102);
    assert!(full.contains(&mean), "{mean:?}");

    // Alone, a packet only takes its transmission.
    let mut link = congested(CROSS_FRACTION_MIN);
    let waits = link.counters(RUN).cross_waits;
    let transmission = LinkConfig::default().transmission_time(MTU_BYTES);
    assert!(waits.packets > 0);
    assert!(close(
        waits.total.as_secs_f64(),
        transmission.as_secs_f64() * waits.packets as f64,
        0.1
    ));
}

#[test]
fn cross_traffic_follows_the_rate_at_once_and_stops_when_told() {
    let second = Duration::from_secs(1);
    let slow = LinkConfig {
        rate_bits_per_second: 1_000,
        ..LinkConfig::default()
    };
    let mut link = Link::<()>::new(slow).expect("a valid configuration");
    // The first packet would come in about 24 s.
    link.set_cross_traffic(Duration::ZERO, CrossTraffic::new(0.5, 7).ok());
    link.set_rate(second, 20_000_000).expect("in range");
    let offered = link.counters(second * 11).cross.offered_bytes;
    assert!(close(offered as f64, 0.5 * 20e6 / 8.0 * 10.0, 0.05));
    link.set_cross_traffic(second * 11, None);
    assert!(!link.has_cross_traffic());
    assert_eq!(link.counters(second * 90).cross.offered_bytes, offered);
}

#[test]
fn a_fraction_out_of_range_is_refused() {
    for fraction in [0.0, -1.0, 1e-9, 1e9, f64::NAN, f64::INFINITY] {
        let refused = CrossTraffic::new(fraction, 1).err();
        assert!(
            matches!(refused, Some(LinkError::CrossFraction(_))),
            "{fraction}"
        );
    }
    for fraction in [CROSS_FRACTION_MIN, CROSS_FRACTION_MAX] {
        assert!(CrossTraffic::new(fraction, 1).is_ok());
    }
}

/// Each packet of one's own walked past all cross traffic before it: two million packets
/// deep, a router had time for nothing else.
#[test]
fn a_deep_buffer_full_of_cross_traffic_costs_no_more_than_a_shallow_one() {
    let mut link = Link::new(LinkConfig {
        rate_bits_per_second: 1_200_000_000,
        buffer_bytes: 450_000_000,
        ..LinkConfig::default()
    })
    .expect("in range");
    let cross = CrossTraffic::new(10.0, 7).expect("in range");
    link.set_cross_traffic(Duration::ZERO, Some(cross));
    link.advance(Duration::from_millis(300));
    let waiting = link.counters(Duration::ZERO).cross.queue_packets;
    assert!(waiting > 250_000, "{waiting}");
    link.set_cross_traffic(Duration::ZERO, None);
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let begin = std::time::Instant::now();
    for number in 0..2_000 {
        let packet = Packet {
            bytes: 100,
            dscp: if number % 10 == 0 { PRIORITY } else { 0 },
            payload: Duration::ZERO,
        };
        let _ = link.enqueue(Duration::ZERO, packet, &mut rng);
        assert!(link.next_delivery().is_some());
    }
    // 2,000 walks past 250,000 packets take ten times as long.
    assert!(begin.elapsed() < Duration::from_millis(500));
    let mut arrived = 0;
    while let Some(due) = link.next_delivery() {
        assert!(link.poll(due - Duration::from_nanos(1)).is_none());
        assert_eq!(link.poll(due).map(|delivery| delivery.arrival), Some(due));
        arrived += 1;
    }
    assert_eq!(arrived, 2_000);
}
