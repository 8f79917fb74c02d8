//! One object that several sites change at the same time: what its clients get, counted
//! in virtual time.

mod cluster;

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::requests::{self, Nth};
use cluster::{Delays, Occurrence, Simulation, Spread, layout};
use vivace_core::cluster::{Kind, TimestampSource};
use vivace_core::{NodeId, RequestId};

/// Clients of each site that ask again as soon as they have an answer.
const CLIENTS: u64 = 16;

const LENGTH: Duration = Duration::from_secs(20);

const PATIENCE: Duration = Duration::from_secs(5);

/// What the clients of a site got.
#[derive(Clone, Copy, Debug, Default)]
struct Got {
    commands: u32,
    failures: u32,
    slowest: Duration,
}

struct Client {
    site: usize,
    nth: Nth,
    asked: Duration,
}

/// Three sites of one node each, 50 ms apart there and back.
fn three_sites(timestamps: TimestampSource, seed: u64) -> Simulation {
    let mut container = layout::container(Kind::Rmw, &[0, 1, 2], &[&[0], &[1], &[2]]);
    container.timestamps = timestamps;
    let mut spec = layout::sites(&[1, 1, 1]);
    spec.containers = vec![container];
    let delays = Delays {
        local: Spread::ZERO,
        priority: Spread::ms(25, 26),
        bulk: Spread::ms(25, 40),
        disk: Spread::ms(0, 2),
    };
    Simulation::new(seed, spec, delays)
}

/// The first `busy` sites have clients, all of one counter.
fn contend(busy: usize, timestamps: TimestampSource, seed: u64) -> Vec<Got> {
    let mut simulation = three_sites(timestamps, seed);
    let mut got = vec![Got::default(); busy];
    let mut waiting: BTreeMap<RequestId, Client> = BTreeMap::new();
    let ask = |simulation: &mut Simulation, site: usize, nth: Nth| {
        let request = requests::add("hot", nth, 1);
        let id = simulation.request(NodeId(site as u16), request, PATIENCE);
        let asked = simulation.now;
        (id, Client { site, nth, asked })
    };
    for number in 0..CLIENTS * busy as u64 {
        let site = number as usize % busy;
        let nth = requests::first_of(number + 1);
        waiting.extend([ask(&mut simulation, site, nth)]);
    }
    let end = simulation.now + LENGTH;
    while let Some(occurrence) = simulation.next(end) {
        let Occurrence::Reply { request, reply } = occurrence else {
            continue;
        };
        let Some(client) = waiting.remove(&request) else {
            continue;
        };
        let of = &mut got[client.site];
        of.slowest = of.slowest.max(simulation.now - client.asked);
        match reply {
            Ok(_) => of.commands += 1,
            Err(_) => of.failures += 1,
        }
        let nth = Nth {
            sequence: client.nth.sequence + 1,
            ..client.nth
        };
        waiting.extend([ask(&mut simulation, client.site, nth)]);
    }
    got
}

/// Two sites that take turns change an object as often as three do, nobody fails, and
/// nobody waits for longer than a few turns.
#[test]
fn sites_that_change_one_object_take_turns() {
    for timestamps in [TimestampSource::Clock, TimestampSource::Query] {
        for seed in 0..2 {
            let totals = [1, 2, 3].map(|busy| {
                let got = contend(busy, timestamps, seed);
                let total: u32 = got.iter().map(|of| of.commands).sum();
                for of in &got {
                    assert_eq!(of.failures, 0, "{timestamps:?}, seed {seed}: {got:?}");
                    assert!(of.commands >= total * 8 / 10 / busy as u32, "{got:?}");
                    assert!(of.slowest < Duration::from_secs(1), "{got:?}");
                }
                total
            });
            let [alone, two, three] = totals;
            assert!(three >= two * 9 / 10 && two >= alone / 2, "{totals:?}");
        }
    }
}

/// The other site's clients leave: this one waits for it once, and has the object to itself.
#[test]
fn a_rival_that_leaves_is_not_waited_for() {
    let mut simulation = three_sites(TimestampSource::Clock, 0);
    let mut nth = requests::first_of(1);
    let mut add = |simulation: &mut Simulation, site: u16| {
        nth.sequence += 1;
        let (reply, took) = simulation.ask(NodeId(site), requests::add("hot", nth, 1));
        reply.expect("a majority is up");
        took
    };
    for round in 0..6 {
        add(&mut simulation, round % 2);
    }
    for _ in 0..3 {
        add(&mut simulation, 0);
    }
    assert!(add(&mut simulation, 0) < Duration::from_millis(60));
}
