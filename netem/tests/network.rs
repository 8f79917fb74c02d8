//! Links joined to paths: what enters one leaves the other at the right moment.
#![cfg(feature = "tool")]

use std::time::Duration;

use netem::{Arrived, DscpSet, LinkConfig, LinkError, Network, Packet, Remark};

const PRIORITY: u8 = 46;

/// A link whose full-sized packet takes 1 ms.
fn config(delay_ms: u64) -> LinkConfig {
    LinkConfig {
        rate_bits_per_second: 12_000_000,
        buffer_bytes: 150_000,
        delay: ms(delay_ms),
        ..LinkConfig::default()
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn network(links: Vec<(LinkConfig, Remark)>) -> Network<u32> {
    Network::new(links, 7).expect("valid configurations")
}

fn full(dscp: u8, payload: u32) -> Packet<u32> {
    Packet {
        bytes: 1500,
        dscp,
        payload,
    }
}

fn arrived(network: &mut Network<u32>, paths: &[Vec<usize>], now: Duration) -> Vec<Arrived<u32>> {
    std::iter::from_fn(|| network.poll(now, paths)).collect()
}

#[test]
fn a_packet_takes_every_link_of_its_path_in_turn() {
    let mut network = network(vec![
        (config(10), Remark::default()),
        (config(5), Remark::default()),
    ]);
    let paths = [vec![1, 0]];
    let _ = network.send(ms(0), &paths, 0, full(0, 1));
    assert_eq!(network.next_event(), Some(ms(6)));
    let expected = Arrived {
        at: ms(17),
        dscp: 0,
        cargo: 1,
    };
    assert_eq!(arrived(&mut network, &paths, ms(100)), [expected]);
    assert_eq!(network.next_event(), None);
}

#[test]
fn a_mark_is_rewritten_where_a_link_begins_and_classed_by_the_new_one() {
    let bleached = network(vec![
        (config(0), Remark::default()),
        (config(0), Remark::bleach()),
    ]);
    let paths = [vec![0], vec![1]];
    let order = |mut network: Network<u32>, path| {
        for (payload, dscp) in [(1, 0), (2, 0), (3, PRIORITY)] {
            let _ = network.send(ms(0), &paths, path, full(dscp, payload));
        }
        let all = arrived(&mut network, &paths, ms(100));
        all.iter().map(|a| (a.cargo, a.dscp)).collect::<Vec<_>>()
    };
    let kept = network(vec![(config(0), Remark::default())]);
    assert_eq!(order(kept, 0), [(1, 0), (3, PRIORITY), (2, 0)]);
    assert_eq!(order(bleached, 1), [(1, 0), (2, 0), (3, 0)]);
}

/// Two sources that share a second link, at rates that make them queue there.
#[test]
fn when_somebody_polls_changes_nothing() {
    let run = |step: Duration| {
        let jittery = LinkConfig {
            jitter: ms(3),
            loss: 0.1,
            ..config(4)
        };
        let links = vec![
            (jittery.clone(), Remark::default()),
            (jittery, Remark::default()),
            (config(2), Remark::default()),
        ];
        let mut network = network(links);
        network.congest(Duration::ZERO, 2, 0.6).expect("in range");
        let paths = [vec![0, 2], vec![1, 2]];
        let mut all = Vec::new();
        let mut polled = Duration::ZERO;
        for number in 0..400 {
            let now = Duration::from_micros(700) * number;
            while polled + step <= now {
                polled += step;
                all.extend(arrived(&mut network, &paths, polled));
            }
            // What is due must be polled before a packet enters.
            all.extend(arrived(&mut network, &paths, now));
            let dscp = if number % 5 == 0 { PRIORITY } else { 0 };
            let _ = network.send(now, &paths, (number % 2) as usize, full(dscp, number));
        }
        all.extend(arrived(&mut network, &paths, ms(5_000)));
        all
    };
    let often = run(Duration::from_micros(10));
    assert!(often.len() > 200, "{}", often.len());
    assert_eq!(often, run(ms(50)));
}

#[test]
fn a_change_of_configuration_holds_for_what_has_not_left() {
    let mut network = network(vec![(config(10), Remark::default())]);
    let paths = [vec![0]];
    for payload in 1..=2 {
        let _ = network.send(ms(0), &paths, 0, full(0, payload));
    }
    // The first has just left; the second is being transmitted, and ends as it began.
    let slower = LinkConfig {
        rate_bits_per_second: 1_200_000,
        ..config(20)
    };
    network
        .set_config(Duration::from_micros(1_500), 0, slower, Remark::default())
        .expect("valid");
    let _ = network.send(ms(2), &paths, 0, full(0, 3));
    let times: Vec<_> = arrived(&mut network, &paths, ms(500))
        .iter()
        .map(|a| a.at)
        .collect();
    assert_eq!(times, [ms(11), ms(22), ms(32)]);
}

#[test]
fn a_wait_is_queue_and_transmission_without_propagation() {
    let mut network = network(vec![(config(10), Remark::default())]);
    let paths = [vec![0]];
    for (payload, dscp) in [(1, 0), (2, 0), (3, PRIORITY)] {
        let _ = network.send(ms(0), &paths, 0, full(dscp, payload));
    }
    assert_eq!(arrived(&mut network, &paths, ms(100)).len(), 3);
    let waits = network.report(ms(100), 0).waits;
    assert_eq!((waits.priority.packets, waits.priority.total), (1, ms(2)));
    assert_eq!((waits.bulk.packets, waits.bulk.total), (2, ms(1 + 3)));
}

#[test]
fn a_refused_configuration_changes_nothing() {
    let mut network = network(vec![(config(10), Remark::default())]);
    let wrong = LinkConfig {
        loss: 2.0,
        priority_dscps: DscpSet::EMPTY,
        ..config(10)
    };
    assert!(
        network
            .set_config(ms(0), 0, wrong, Remark::bleach())
            .is_err()
    );
    let report = network.report(ms(0), 0);
    assert_eq!(report.config, &config(10));
    assert_eq!(report.remark, &Remark::default());
}

/// A router that makes 83 million packets a second never answers again.
#[test]
fn cross_traffic_beyond_what_a_router_makes_in_real_time_is_refused() {
    let at = |rate_bits_per_second| LinkConfig {
        rate_bits_per_second,
        ..config(0)
    };
    let fast = (at(100_000_000_000), Remark::default());
    let mut network = network(vec![fast.clone(), fast.clone()]);
    let refused = |percent_max, packets_per_second, rate_bits_per_second| {
        Err(LinkError::CrossPackets {
            packets_per_second,
            percent_max,
            rate_bits_per_second,
        })
    };
    let too_much = network.congest(ms(0), 0, 10.0);
    assert_eq!(too_much, refused(12.0, 1e9 / 12.0, 100_000_000_000));
    assert!(!network.has_cross_traffic());
    network.congest(ms(0), 0, 0.06).expect("half of it");
    let too_much = network.congest(ms(0), 1, 0.12);
    assert_eq!(too_much, refused(6.0, 1.5e6, 100_000_000_000));
    network.congest(ms(0), 1, 0.06).expect("the other half");
    let too_fast = network.set_config(ms(0), 1, at(200_000_000_000), Remark::default());
    assert_eq!(too_fast, refused(3.0, 1.5e6, 200_000_000_000));
    let report = network.report(ms(0), 1);
    assert_eq!(report.config, &fast.0);
    network
        .congest(ms(0), 1, 0.0)
        .expect("none is never too much");
    network
        .set_config(ms(0), 1, at(200_000_000_000), Remark::default())
        .expect("without cross traffic any rate goes");
}
