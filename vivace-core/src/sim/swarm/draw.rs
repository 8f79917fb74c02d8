//! What a seed draws: cluster, network, clocks, clients.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::configuration::{ClientPlan, Clocks, Configuration, Shape};
use crate::cluster::{ClusterSpec, Container, Kind, TimestampSource, ValueCopies};
use crate::sim::{ClassPlan, HostClock, LinkPlan, Spread};
use crate::{ContainerId, Durability, Epoch, Mutants, NodeId, SiteId};

/// The slowest bulk under which writers wait for more than their own site.
const DURABLE_DELAY_MAX: Duration = Duration::from_millis(300);

/// Apart from what else a seed draws.
const DURABILITY_STREAM: u64 = 0x6475_7261_626c_6521;

/// The same.
const ONE_SITE_STREAM: u64 = 0x6f6e_6520_7369_7465;

/// Operations on one machine before its key makes room for a fresh one, at most.
const MACHINE_USES_MAX: u32 = 60;

/// Room that no run fills.
const BACKLOG_BYTES_MAX: u64 = 64 << 20;

/// How far a clock may be wrong that does not know it: within what replicas accept, or
/// so far that nobody may believe it.
const LIES: [i64; 2] = [3_000_000_000, 3_600_000_000_000];

pub fn pick<T: Clone>(rng: &mut ChaCha8Rng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())].clone()
}

pub fn sample(rng: &mut ChaCha8Rng, of: &[NodeId], count: usize) -> Vec<NodeId> {
    let mut left = of.to_vec();
    (0..count.min(of.len()))
        .map(|_| left.swap_remove(rng.random_range(0..left.len())))
        .collect()
}

pub fn micros(rng: &mut ChaCha8Rng, from: u64, to: u64) -> Duration {
    Duration::from_micros(rng.random_range(from..=to))
}

impl Configuration {
    /// All of what `seed` draws.
    pub fn draw(seed: u64) -> Self {
        // Apart from what the run draws, so that leaving a fault out changes nothing else here.
        let rng = &mut ChaCha8Rng::seed_from_u64(!seed);
        let clocks = pick(
            rng,
            &[
                Clocks::Trusted,
                Clocks::Trusted,
                Clocks::Trusted,
                Clocks::Mixed,
                Clocks::Mixed,
                Clocks::Mixed,
                Clocks::Beyond,
            ],
        );
        let shape = pick(rng, &[Shape::Wide, Shape::Narrow, Shape::Narrow]);
        let mut spec = draw_cluster(rng, shape);
        if clocks == Clocks::Beyond {
            // What a broken clock refuses for good would fill a small backlog for good.
            spec.backlog_bytes_max = BACKLOG_BYTES_MAX;
        }
        draw_one_sites(seed, &mut spec, shape);
        let links = draw_links(rng, &spec, shape);
        if shape == Shape::Wide {
            draw_durabilities(seed, &mut spec, &links);
        }
        let disk = pick(
            rng,
            &[
                Spread::ZERO,
                Spread::ms(0, 2),
                Spread::ms(1, 30),
                Spread::ms(20, 400),
            ],
        );
        let liars = draw_liars(rng, &spec, clocks);
        let host_clocks = spec
            .nodes
            .keys()
            .map(|&node| {
                let may_lie = liars.contains(&node);
                (node, draw_clock(rng, clocks, spec.clock_error_max, may_lie))
            })
            .collect();
        let is_narrow = shape == Shape::Narrow;
        let operations = rng.random_range(2_100..=6_200_u32);
        let count = match shape {
            Shape::Wide => rng.random_range(2..=16_u32),
            Shape::Narrow => rng.random_range(2..=8),
        };
        let clients = (0..count)
            .map(|_| ClientPlan {
                site: SiteId(rng.random_range(0..spec.sites.len() as u16)),
                operations: operations / count,
            })
            .collect();
        let slowest = links.priority.delay + links.bulk.delay;
        let length = Duration::from_millis(rng.random_range(2_000..=60_000)) + 10 * slowest;
        let pace = rng.random_range(0.05..0.7);
        let mut configuration = Self {
            seed,
            shape,
            mutants: Mutants::none(),
            links,
            disk,
            clocks,
            liars,
            host_clocks,
            clients,
            keys: rng.random_range(1..=if is_narrow { 2 } else { 4 }),
            key_uses: match shape {
                Shape::Wide => MACHINE_USES_MAX,
                Shape::Narrow => pick(rng, &[6, 12, 25]),
            },
            reads: pick(rng, &[0.1, 0.4, 0.4, 0.7]),
            haste: pick(rng, &[0.0, 0.02, 0.2]),
            think: length.mul_f64(f64::from(count) / f64::from(operations) * pace),
            value_bytes_max: match shape {
                Shape::Wide => pick(rng, &[8, 200, 2_000, 20_000]),
                Shape::Narrow => 8,
            },
            length,
            faults: Vec::new(),
            spec,
        };
        configuration.faults = configuration.draw_faults(rng);
        configuration.draw_disk_faults();
        configuration.draw_full_disks();
        configuration.draw_told_to_one();
        configuration
    }
}

fn draw_liars(rng: &mut ChaCha8Rng, spec: &ClusterSpec, clocks: Clocks) -> BTreeSet<NodeId> {
    let all: Vec<NodeId> = spec.nodes.keys().copied().collect();
    let most = match rng.random_bool(0.8) {
        true => (all.len() - 1) / 2,
        false => all.len(),
    };
    let count = rng.random_range(1..=most.max(1));
    let liars = sample(rng, &all, count);
    match clocks {
        Clocks::Beyond => liars.into_iter().collect(),
        Clocks::Trusted | Clocks::Mixed => BTreeSet::new(),
    }
}

/// A clock within its bound, or not.
pub fn draw_clock(
    rng: &mut ChaCha8Rng,
    clocks: Clocks,
    error_max: Duration,
    may_lie: bool,
) -> HostClock {
    let bound = error_max.as_nanos() as i64;
    let error_ns = rng.random_range(0..=bound);
    let lie = pick(rng, &LIES);
    let wild = rng.random_range(-lie..=lie);
    let is_wild = rng.random_bool(0.4);
    // As wrong as may be, often: that is where waiting matters.
    let good = match rng.random_range(0..3) {
        0 => error_ns,
        1 => -error_ns,
        _ => rng.random_range(-error_ns..=error_ns),
    };
    let (skew_ns, error_ns) = match clocks {
        // It knows that it does not know.
        Clocks::Mixed if is_wild => (wild % LIES[0], None),
        // It does not know that it does not know.
        Clocks::Beyond if may_lie => (wild, Some(error_ns as u64)),
        Clocks::Trusted | Clocks::Mixed | Clocks::Beyond => (good, Some(error_ns as u64)),
    };
    HostClock { skew_ns, error_ns }
}

/// 1 to 5 sites, 3 to 9 nodes, 1 to 3 containers; or fewer of each.
fn draw_cluster(rng: &mut ChaCha8Rng, shape: Shape) -> ClusterSpec {
    let (sites, count, containers) = match shape {
        Shape::Wide => {
            let sites = rng.random_range(1..=5_u16);
            let count = rng.random_range(sites.max(3)..=9);
            (sites, count, rng.random_range(1..=3))
        }
        Shape::Narrow => {
            let sites = rng.random_range(2..=3_u16);
            let count = rng.random_range(3..=8);
            (sites, count, 1)
        }
    };
    let nodes: BTreeMap<NodeId, SiteId> = (0..count)
        .map(|number| {
            let site = match number < sites {
                true => number,
                false => rng.random_range(0..sites),
            };
            (NodeId(number), SiteId(site))
        })
        .collect();
    let mut spec = ClusterSpec {
        name: "swarm".into(),
        sites: (0..sites).map(|site| format!("site{site}")).collect(),
        nodes,
        containers: Vec::new(),
        clock_error_max: Duration::from_millis(pick(rng, &[0, 2, 30, 400])),
        clock_slack: Duration::from_millis(100),
        value_bytes_max: 1 << 16,
        backlog_bytes_max: match shape {
            // A few values of the longest kind fill it.
            Shape::Wide => pick(rng, &[1 << 16, BACKLOG_BYTES_MAX, BACKLOG_BYTES_MAX]),
            Shape::Narrow => BACKLOG_BYTES_MAX,
        },
    };
    for number in 1..=containers {
        let container = draw_container(rng, &spec, number, shape);
        spec.containers.push(container);
    }
    spec
}

fn draw_container(
    rng: &mut ChaCha8Rng,
    spec: &ClusterSpec,
    number: u32,
    shape: Shape,
) -> Container {
    let kinds: &[Kind] = match shape {
        Shape::Wide => &[
            Kind::Rw,
            Kind::Rw,
            Kind::Rw,
            Kind::Rmw,
            Kind::Rmw,
            Kind::Rmw,
            Kind::Abd,
            Kind::LanRmw,
        ],
        Shape::Narrow => &[Kind::Rw, Kind::Rmw],
    };
    let kind = pick(rng, kinds);
    let all: Vec<NodeId> = spec.nodes.keys().copied().collect();
    let (replicas, local) = match shape {
        Shape::Wide => (pick(rng, &[1, 3, 3, 5, 5]), pick(rng, &[1, 3, 3, 5])),
        Shape::Narrow => (3, pick(rng, &[1, 3])),
    };
    let replicas = replicas.min(all.len() - (all.len() + 1) % 2);
    let local_sets = (0..spec.sites.len() as u16)
        .map(|site| {
            let members = spec.nodes.iter().filter(|(_, s)| s.0 == site);
            let members: Vec<NodeId> = members.map(|(&node, _)| node).collect();
            let odd = members.len() - (members.len() + 1) % 2;
            (SiteId(site), sample(rng, &members, local.min(odd)))
        })
        .collect();
    Container {
        id: ContainerId(number),
        name: format!("{}{number}", kind.name()),
        kind,
        epoch: Epoch(1),
        replicas: sample(rng, &all, replicas),
        local_sets,
        timestamps: pick(
            rng,
            &[
                TimestampSource::Clock,
                TimestampSource::Clock,
                TimestampSource::Query,
            ],
        ),
        write_back_skip: rng.random_bool(0.7),
        promise_skip: rng.random_bool(0.8),
        commands_at_replicas: rng.random_bool(0.8),
        early_data: rng.random_bool(0.8),
        direct_writes: true,
        copies: pick(
            rng,
            &[
                ValueCopies::OnePerSite,
                ValueCopies::OnePerSite,
                ValueCopies::MemberByReplica,
            ],
        ),
        durability: Durability::Local,
    }
}

/// Clusters of one site whose replicas are its local set, as many have: their writes are
/// direct, where that is not turned off.
fn draw_one_sites(seed: u64, spec: &mut ClusterSpec, shape: Shape) {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed ^ ONE_SITE_STREAM);
    if shape == Shape::Narrow && rng.random_bool(0.2) {
        spec.sites.truncate(1);
        spec.nodes.values_mut().for_each(|site| *site = SiteId(0));
        for container in &mut spec.containers {
            container.local_sets.retain(|&site, _| site == SiteId(0));
        }
    }
    for container in &mut spec.containers {
        container.direct_writes = rng.random_bool(0.8);
        if spec.sites.len() == 1 && rng.random_bool(0.7) {
            let set = container.replicas.clone();
            container.local_sets.insert(SiteId(0), set);
        }
    }
}

/// Levels that can be reached in time with a minority down for good. A writer that waits
/// for its value's way waits behind older values of the key: where bulk takes seconds,
/// that has no short bound.
fn draw_durabilities(seed: u64, spec: &mut ClusterSpec, links: &LinkPlan) {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed ^ DURABILITY_STREAM);
    let sites = spec.sites.len() as u16;
    for container in &mut spec.containers {
        let drawn = pick(
            rng,
            &[Durability::Local, Durability::Remote, Durability::Majority],
        );
        let tolerated = (container.replicas.len() - 1) / 2;
        let reaches = |site: u16| {
            let others = container.replicas.iter();
            others.filter(|node| spec.nodes[node].0 != site).count() > tolerated
        };
        let fits = container.kind.uses_local_sets()
            && links.bulk.delay <= DURABLE_DELAY_MAX
            && (drawn != Durability::Remote || (0..sites).all(reaches));
        if fits {
            container.durability = drawn;
        }
    }
}

fn draw_links(rng: &mut ChaCha8Rng, spec: &ClusterSpec, shape: Shape) -> LinkPlan {
    let plan = |delay: Duration, jitter: f64, rate: u64| ClassPlan {
        delay,
        jitter: delay.mul_f64(jitter),
        rate,
    };
    let local_delay = micros(rng, 50, 2_000);
    let local = plan(local_delay, rng.random_range(0.0..1.0), 10_000_000_000);
    // From neighbours to the far side of a congested world.
    let delays: &[(u64, u64)] = match shape {
        Shape::Wide => &[
            (100, 5_000),
            (5_000, 60_000),
            (5_000, 60_000),
            (50_000, 300_000),
            (300_000, 30_000_000),
        ],
        Shape::Narrow => &[
            (100, 5_000),
            (5_000, 60_000),
            (50_000, 200_000),
            (300_000, 2_000_000),
        ],
    };
    let (low, high) = pick(rng, delays);
    let fast = micros(rng, low, high);
    let slow = match shape {
        Shape::Wide => fast.mul_f64(pick(rng, &[1.0, 1.5, 10.0])),
        // Congestion of seconds, whatever the distance.
        Shape::Narrow => match rng.random_range(0..3) {
            0 => fast,
            1 => fast.mul_f64(5.0),
            _ => fast + micros(rng, 100_000, 4_000_000),
        },
    };
    let is_baseline = |container: &Container| !container.kind.uses_local_sets();
    // Bulk is the slower one, mostly.
    let (priority, bulk) = match rng.random_range(0..10) {
        0 => (slow, fast),
        // Whose every phase waits for bulk.
        _ if spec.containers.iter().all(is_baseline) => (fast, fast),
        _ => (fast, slow),
    };
    let jitter = pick(rng, &[0.0, 0.2, 1.0]);
    let rate = pick(rng, &[2_000_000, 20_000_000, 1_000_000_000]);
    LinkPlan {
        local,
        priority: plan(priority, jitter, 100_000_000),
        bulk: plan(bulk, jitter, rate),
        loss: pick(rng, &[0.0, 0.0, 0.01, 0.05, 0.3]),
        repetition: pick(rng, &[0.0, 0.05, 0.3]),
        reordering: pick(rng, &[0.0, 0.05, 0.3]),
    }
}
