//! Many links together: routes, order, independence.

use std::time::Duration;

use netem::{
    Enqueued, LinkConfig, LinkError, Packet, Sent, Site, Topology, TopologyError, WanError,
    WanModel,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn delay(delay: Duration) -> LinkConfig {
    LinkConfig {
        delay,
        ..LinkConfig::default()
    }
}

/// Three sites; 0 and 1 are 10 ms apart, 1 sends to 2 over 30 ms, 2 can't answer.
fn topology() -> Topology {
    let mut topology = Topology::new(3, LinkConfig::local());
    topology
        .set_both(Site(0), Site(1), delay(ms(10)))
        .set_link(Site(1), Site(2), delay(ms(30)));
    topology
}

fn model(topology: &Topology) -> WanModel<u32> {
    WanModel::new(topology, 1).expect("a valid topology")
}

fn packet(payload: u32) -> Packet<u32> {
    Packet {
        bytes: 100,
        dscp: 0,
        payload,
    }
}

#[test]
fn a_packet_takes_the_link_between_its_sites() {
    let mut wan = model(&topology());
    let accepted = Sent::Link(Enqueued::Accepted);
    assert_eq!(wan.send(ms(0), Site(1), Site(2), packet(1)), accepted);
    assert_eq!(wan.send(ms(0), Site(1), Site(0), packet(2)), accepted);
    assert_eq!(wan.send(ms(0), Site(2), Site(2), packet(3)), accepted);
    for (from, to) in [(2, 0), (2, 1), (0, 3), (3, 3)] {
        assert_eq!(
            wan.send(ms(0), Site(from), Site(to), packet(4)),
            Sent::NoRoute
        );
    }
    assert_eq!(wan.no_route_packets(), 4);
    let mut arrivals = vec![];
    while let Some(due) = wan.next_event() {
        assert_eq!(wan.poll(due - Duration::from_nanos(1)), None);
        let arrived = wan.poll(due).expect("something is due");
        assert_eq!(arrived.delivery.arrival, due);
        let travel = arrived.delivery.arrival - arrived.delivery.departed;
        arrivals.push((
            arrived.from.0,
            arrived.to.0,
            travel,
            arrived.delivery.packet.payload,
        ));
    }
    let inside = Duration::from_micros(100);
    assert_eq!(
        arrivals,
        [(2, 2, inside, 3), (1, 0, ms(10), 2), (1, 2, ms(30), 1)]
    );
}

#[test]
fn late_polls_still_deliver_in_order_of_arrival() {
    let mut wan = model(&topology());
    for round in 0..20 {
        for (from, to) in [(1, 2), (0, 1), (1, 0), (0, 0)] {
            let _ = wan.send(ms(round), Site(from), Site(to), packet(0));
        }
    }
    let arrivals: Vec<_> = std::iter::from_fn(|| wan.poll(ms(1_000)))
        .map(|arrived| arrived.delivery.arrival)
        .collect();
    assert_eq!(arrivals.len(), 80);
    assert!(arrivals.is_sorted());
}

#[test]
fn traffic_on_one_link_changes_nothing_on_another() {
    let lossy = LinkConfig {
        loss: 0.3,
        jitter: ms(5),
        ..LinkConfig::default()
    };
    let run = |disturb: bool| {
        let mut wan = model(&Topology::mesh(3, &lossy));
        wan.congest(ms(0), Site(0), Site(1), 0.9).expect("a link");
        let mut arrivals = vec![];
        for round in 0..500 {
            if disturb {
                let _ = wan.send(ms(round), Site(1), Site(2), packet(0));
                let _ = wan.send(ms(round), Site(1), Site(0), packet(0));
            }
            let _ = wan.send(ms(round), Site(0), Site(1), packet(round as u32));
        }
        while let Some(arrived) = wan.poll(ms(2_000)) {
            if (arrived.from, arrived.to) == (Site(0), Site(1)) {
                arrivals.push(arrived.delivery);
            }
        }
        let reports = wan.reports(ms(2_000));
        let report = reports
            .into_iter()
            .find(|r| (r.from, r.to) == (Site(0), Site(1)));
        (arrivals, report)
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn links_alike_have_different_luck() {
    let lossy = LinkConfig {
        loss: 0.5,
        ..LinkConfig::default()
    };
    let mut wan = model(&Topology::mesh(2, &lossy));
    let mut outcomes = |from, to| -> Vec<Sent> {
        let send = |_| wan.send(ms(0), Site(from), Site(to), packet(0));
        (0..100).map(send).collect()
    };
    assert_ne!(outcomes(0, 1), outcomes(1, 0));
}

#[test]
fn a_change_moves_the_next_event_of_its_link_alone() {
    let mut wan = model(&topology());
    let _ = wan.send(ms(0), Site(0), Site(1), packet(1));
    let _ = wan.send(ms(0), Site(1), Site(2), packet(2));
    wan.set_up(ms(0), Site(0), Site(1), false).expect("a link");
    // 100 bytes at 20 Mbit/s are 40 µs.
    assert_eq!(wan.next_event(), Some(ms(30) + Duration::from_micros(40)));
    wan.set_up(ms(1), Site(0), Site(1), true).expect("a link");
    wan.set_rate(ms(1), Site(0), Site(1), 2_000_000)
        .expect("a rate");
    let _ = wan.send(ms(1), Site(0), Site(1), packet(3));
    assert_eq!(wan.next_event(), Some(ms(11) + Duration::from_micros(400)));
    wan.set_loss(ms(2), Site(0), Site(1), 1.0).expect("a loss");
    let lost = wan.send(ms(2), Site(0), Site(1), packet(4));
    assert_eq!(lost, Sent::Link(Enqueued::DroppedLoss));
}

#[test]
fn congestion_is_per_direction_and_zero_ends_it() {
    let mut wan = model(&topology());
    wan.congest(ms(0), Site(0), Site(1), 1.2).expect("a link");
    assert!(wan.has_cross_traffic());
    wan.congest(ms(1_000), Site(0), Site(1), 0.0)
        .expect("a link");
    assert!(!wan.has_cross_traffic());
    for report in wan.reports(ms(5_000)) {
        let offered = report.counters.cross.offered_packets;
        match (report.from.0, report.to.0) {
            // 2,000 a second.
            (0, 1) => assert!((1_800..2_200).contains(&offered), "{offered}"),
            _ => assert_eq!(offered, 0),
        }
    }
}

#[test]
fn a_change_to_no_link_or_out_of_range_is_refused() {
    let mut wan = model(&topology());
    let (from, to) = (Site(2), Site(0));
    let missing = Err(WanError::NoLink { from, to });
    assert_eq!(wan.set_up(ms(0), from, to, false), missing);
    assert_eq!(wan.congest(ms(0), from, to, 1.0), missing);
    let (from, to) = (Site(0), Site(1));
    let source = LinkError::CrossFraction(-1.0);
    let refused = Err(WanError::Link {
        from,
        to,
        why: source,
    });
    assert_eq!(wan.congest(ms(0), from, to, -1.0), refused);
    assert!(wan.set_loss(ms(0), from, to, 2.0).is_err());
    assert!(wan.set_rate(ms(0), from, to, 1).is_err());
}

#[test]
fn a_refused_topology_says_where_it_is_wrong() {
    let slow = LinkConfig {
        rate_bits_per_second: 0,
        ..LinkConfig::default()
    };
    let check = |sites, from, to, link: &LinkConfig| {
        Topology::new(sites, LinkConfig::local())
            .set_link(Site(from), Site(to), link.clone())
            .check()
    };
    let good = LinkConfig::default();
    assert_eq!(check(2, 0, 1, &good), Ok(()));
    for sites in [0, 65] {
        assert_eq!(check(sites, 0, 1, &good), Err(TopologyError::Sites(sites)));
    }
    for (from, to) in [(0, 2), (2, 0), (1, 1)] {
        let error = check(2, from, to, &good).expect_err("bad ends");
        assert!(matches!(error, TopologyError::Ends { .. }), "{error}");
    }
    let error = check(2, 0, 1, &slow).expect_err("a bad link").to_string();
    assert!(error.starts_with("link from site 0 to site 1: rate_bits_per_second"));
    let inside = Topology::new(1, slow).check();
    assert_eq!(inside, Err(TopologyError::Inside(LinkError::Rate(0))));
}
