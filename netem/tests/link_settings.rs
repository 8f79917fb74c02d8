//! A link's settings one by one: what each does, and what is refused.

use std::time::Duration;

use netem::{
    DELAY_MAX, DscpSet, Enqueued, Link, LinkConfig, LinkError, MTU_BYTES, Packet, RateLimit,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const PRIORITY: u8 = 46;

/// A link whose full-sized packet takes 1 ms, with 10 ms of delay.
fn config() -> LinkConfig {
    LinkConfig {
        rate_bits_per_second: 12_000_000,
        buffer_bytes: 15_000,
        delay: ms(10),
        ..LinkConfig::default()
    }
}

fn link(config: LinkConfig) -> Link<u32> {
    Link::new(config).expect("a valid configuration")
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(1)
}

fn full(dscp: u8, payload: u32) -> Packet<u32> {
    Packet {
        bytes: MTU_BYTES,
        dscp,
        payload,
    }
}

/// What has arrived by `now`: payload and arrival.
fn arrived(link: &mut Link<u32>, now: Duration) -> Vec<(u32, Duration)> {
    std::iter::from_fn(|| link.poll(now))
        .map(|d| (d.packet.payload, d.arrival))
        .collect()
}

#[test]
fn packets_leave_one_after_another_priority_first() {
    let (mut link, mut rng) = (link(config()), rng());
    for (payload, dscp) in [(1, 0), (2, 0), (3, PRIORITY)] {
        let outcome = link.enqueue(ms(0), full(dscp, payload), &mut rng);
        assert_eq!(outcome, Enqueued::Accepted);
    }
    assert_eq!(link.next_delivery(), Some(ms(11)));
    assert_eq!(
        arrived(&mut link, ms(20)),
        [(1, ms(11)), (3, ms(12)), (2, ms(13))]
    );
}

#[test]
fn a_priority_packet_evicts_bulk_from_the_tail() {
    let (mut link, mut rng) = (link(config()), rng());
    // One is transmitted, ten fill the buffer.
    for payload in 0..11 {
        let outcome = link.enqueue(ms(0), full(0, payload), &mut rng);
        assert_eq!(outcome, Enqueued::Accepted);
    }
    let outcome = link.enqueue(ms(0), full(0, 11), &mut rng);
    assert_eq!(outcome, Enqueued::DroppedTail);
    for payload in [20, 21] {
        let outcome = link.enqueue(ms(0), full(PRIORITY, payload), &mut rng);
        assert_eq!(outcome, Enqueued::Accepted);
    }
    let order: Vec<_> = arrived(&mut link, ms(50)).iter().map(|a| a.0).collect();
    assert_eq!(order, [0, 20, 21, 1, 2, 3, 4, 5, 6, 7, 8]);
    let bulk = link.counters(ms(50)).bulk;
    assert_eq!((bulk.dropped_tail, bulk.dropped_evicted), (1, 2));
    assert_eq!(bulk.queue_bytes_max, 15_000);
}

#[test]
fn without_classes_the_mark_counts_for_nothing() {
    let mut link = link(LinkConfig {
        priority_dscps: DscpSet::EMPTY,
        ..config()
    });
    let mut rng = rng();
    for (payload, dscp) in [(1, 0), (2, 0), (3, PRIORITY)] {
        let _ = link.enqueue(ms(0), full(dscp, payload), &mut rng);
    }
    let order: Vec<_> = arrived(&mut link, ms(20)).iter().map(|a| a.0).collect();
    assert_eq!(order, [1, 2, 3]);
}

#[test]
fn going_down_loses_what_has_not_left_and_keeps_what_has() {
    let (mut link, mut rng) = (link(config()), rng());
    for payload in 0..4 {
        let _ = link.enqueue(ms(0), full(0, payload), &mut rng);
    }
    link.set_up(Duration::from_micros(1_500), false);
    assert!(!link.is_up());
    assert_eq!(link.next_delivery(), Some(ms(11)));
    let outcome = link.enqueue(ms(2), full(0, 9), &mut rng);
    assert_eq!(outcome, Enqueued::DroppedDown);
    link.set_up(ms(3), true);
    assert_eq!(
        link.enqueue(ms(5), full(0, 10), &mut rng),
        Enqueued::Accepted
    );
    assert_eq!(arrived(&mut link, ms(50)), [(0, ms(11)), (10, ms(16))]);
    let bulk = link.counters(ms(50)).bulk;
    assert_eq!((bulk.dropped_down, bulk.queue_bytes), (4, 0));
    assert_eq!((bulk.delivered_packets, bulk.in_flight_packets), (2, 0));
}

#[test]
fn a_new_rate_holds_from_the_next_packet_on() {
    let (mut link, mut rng) = (link(config()), rng());
    for payload in 0..2 {
        let _ = link.enqueue(ms(0), full(0, payload), &mut rng);
    }
    link.set_rate(Duration::from_micros(500), 6_000_000)
        .expect("in range");
    assert_eq!(arrived(&mut link, ms(50)), [(0, ms(11)), (1, ms(13))]);
    assert_eq!(link.set_rate(ms(50), 0), Err(LinkError::Rate(0)));
    assert_eq!(link.config().rate_bits_per_second, 6_000_000);
}

#[test]
fn loss_takes_its_share_and_can_change() {
    let (mut link, mut rng) = (link(config()), rng());
    let mut lost = |loss: f64, from_ms: u64| {
        link.set_loss(ms(from_ms), loss).expect("a probability");
        (0..10_000)
            .filter(|&i| {
                let outcome = link.enqueue(ms(from_ms + i), full(0, 0), &mut rng);
                outcome == Enqueued::DroppedLoss
            })
            .count()
    };
    assert_eq!(lost(0.0, 0), 0);
    assert!((850..1150).contains(&lost(0.1, 10_000)));
    assert_eq!(lost(1.0, 20_000), 10_000);
    assert_eq!(link.set_loss(ms(0), 1.5), Err(LinkError::Loss(1.5)));
}

#[test]
fn jitter_is_uniform_up_to_its_bound() {
    let mut link = link(LinkConfig {
        jitter: ms(8),
        ..config()
    });
    let mut rng = rng();
    let mut travel = vec![];
    for i in 0..4_000 {
        // Far enough apart that none is held back by the one before it.
        let _ = link.enqueue(ms(i * 100), full(0, 0), &mut rng);
        let delivery = link.poll(ms(i * 100 + 99)).expect("nothing is lost");
        travel.push((delivery.arrival - delivery.departed - ms(10)).as_secs_f64());
    }
    travel.sort_by(f64::total_cmp);
    for quarter in 1..4 {
        let expected = 0.008 * quarter as f64 / 4.0;
        assert!((travel[quarter * 1_000] - expected).abs() < 0.000_4);
    }
}

#[test]
fn a_chance_of_loss_does_not_shift_the_jitter_of_others() {
    let travel = |loss| {
        let mut link = link(LinkConfig {
            jitter: ms(8),
            loss,
            ..config()
        });
        let mut rng = rng();
        let mut travel = std::collections::BTreeMap::new();
        for i in 0..100 {
            let at = ms(u64::from(i) * 100);
            let _ = link.enqueue(at, full(0, i), &mut rng);
            let delivery = link.poll(at + ms(99));
            travel.extend(delivery.map(|d| (i, d.arrival - at)));
        }
        travel
    };
    let (all, some) = (travel(0.0), travel(0.5));
    assert!((20..80).contains(&some.len()));
    assert!(some.iter().all(|(i, time)| all.get(i) == Some(time)));
}

#[test]
fn the_rate_limit_drops_priority_above_it_and_leaves_bulk_alone() {
    // 1.2 Mbit/s: one full-sized packet each 10 ms, four at once.
    let mut link = link(LinkConfig {
        priority_limit: Some(RateLimit {
            rate_bits_per_second: 1_200_000,
            burst_bytes: 4 * MTU_BYTES,
        }),
        ..config()
    });
    let mut rng = rng();
    let mut accepted = |at: Duration, dscp: u8, packets: u32| {
        (0..packets)
            .filter(|_| link.enqueue(at, full(dscp, 0), &mut rng) == Enqueued::Accepted)
            .count()
    };
    assert_eq!(accepted(ms(0), PRIORITY, 8), 4);
    assert_eq!(accepted(ms(0), 0, 5), 5);
    assert_eq!(accepted(ms(9), PRIORITY, 1), 0);
    assert_eq!(accepted(ms(10), PRIORITY, 2), 1);
    assert_eq!(accepted(ms(500), PRIORITY, 8), 4, "the burst is bounded");
    let counters = link.counters(ms(500));
    assert_eq!(counters.priority.dropped_limited, 4 + 1 + 1 + 4);
    assert_eq!(counters.bulk.dropped_packets(), 0);
}

#[test]
fn time_never_runs_back() {
    let (mut link, mut rng) = (link(config()), rng());
    link.advance(ms(100));
    let _ = link.enqueue(ms(1), full(0, 1), &mut rng);
    assert_eq!(arrived(&mut link, ms(200)), [(1, ms(111))]);
}

#[test]
fn a_refused_field_is_named() {
    let limit = |rate_bits_per_second, burst_bytes| {
        Some(RateLimit {
            rate_bits_per_second,
            burst_bytes,
        })
    };
    let good = LinkConfig::default();
    let bad = [
        (
            "rate_bits_per_second",
            LinkConfig {
                rate_bits_per_second: 999,
                ..good.clone()
            },
        ),
        (
            "buffer_bytes",
            LinkConfig {
                buffer_bytes: 1_499,
                ..good.clone()
            },
        ),
        (
            "delay",
            LinkConfig {
                delay: DELAY_MAX + ms(1),
                ..good.clone()
            },
        ),
        (
            "jitter",
            LinkConfig {
                jitter: DELAY_MAX + ms(1),
                ..good.clone()
            },
        ),
        (
            "loss",
            LinkConfig {
                loss: -0.1,
                ..good.clone()
            },
        ),
        (
            "loss",
            LinkConfig {
                loss: f64::NAN,
                ..good.clone()
            },
        ),
        (
            "priority_limit is set but priority_dscps",
            LinkConfig {
                priority_dscps: DscpSet::EMPTY,
                priority_limit: limit(1_000, 1_500),
                ..good.clone()
            },
        ),
        (
            "priority_limit.rate_bits_per_second",
            LinkConfig {
                priority_limit: limit(0, 1_500),
                ..good.clone()
            },
        ),
        (
            "priority_limit.burst_bytes",
            LinkConfig {
                priority_limit: limit(1_000, 1_499),
                ..good.clone()
            },
        ),
        (
            "mtu_bytes",
            LinkConfig {
                mtu_bytes: 1_499,
                ..good.clone()
            },
        ),
        (
            "mtu_bytes",
            LinkConfig {
                mtu_bytes: 9_217,
                ..good.clone()
            },
        ),
        (
            "buffer_bytes",
            LinkConfig {
                buffer_bytes: 8_999,
                mtu_bytes: 9_000,
                ..good.clone()
            },
        ),
        (
            "priority_limit.burst_bytes",
            LinkConfig {
                priority_limit: limit(1_000, 8_999),
                mtu_bytes: 9_000,
                ..good.clone()
            },
        ),
    ];
    for (field, config) in bad {
        let error = config.check().expect_err(field).to_string();
        assert!(error.starts_with(field), "{error}");
        assert!(Link::<()>::new(config).is_err());
    }
    assert_eq!(good.check(), Ok(()));
    assert_eq!(LinkConfig::local().check(), Ok(()));
}

#[test]
fn a_dscp_set_holds_six_bit_values_only() {
    let set = DscpSet::new(&[0, 46, 63]).expect("all below 64");
    let held: Vec<_> = (0..=255).filter(|&dscp| set.contains(dscp)).collect();
    assert_eq!(held, [0, 46, 63]);
    assert_eq!(DscpSet::new(&[46, 64]), None);
    assert_eq!(DscpSet::new(&[46]), Some(DscpSet::EXPEDITED));
    assert!(DscpSet::EMPTY.is_empty() && !set.is_empty());
}
