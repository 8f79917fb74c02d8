//! What a seed draws before anything runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::fault::{Fault, PlannedFault};
use crate::cluster::{ClusterSpec, Container, Kind, TimestampSource};
use crate::sim::{ClassPlan, HostClock, LinkPlan, LogTail, Spread};
use crate::{Class, ContainerId, Epoch, Mutants, NodeId, SiteId};

/// How far clocks can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clocks {
    /// All are within their bounds.
    Trusted,
    /// Some are not, now and then, and know it.
    Mixed,
    /// Some are not and believe they are: what needs clocks promises nothing.
    Beyond,
}

/// One client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPlan {
    /// Where it is.
    pub site: SiteId,
    /// How many operations it begins.
    pub operations: u32,
}

/// What to leave out of a seed's configuration; [`super::shrink`] looks for the least
/// that still breaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The faults to keep, by number; all where it is none.
    pub faults: Option<BTreeSet<usize>>,
    /// Only the first clients.
    pub clients: Option<usize>,
    /// The most operations of one client.
    pub operations: Option<u32>,
    /// No loss, repetition or reordering.
    pub is_calm: bool,
}

/// A whole run, before it begins.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Draws what the configuration leaves open.
    pub seed: u64,
    /// The cluster.
    pub spec: ClusterSpec,
    /// How its nodes break the protocol: not at all, as drawn.
    pub mutants: Mutants,
    /// The network.
    pub links: LinkPlan,
    /// From a record to its durability.
    pub disk: Spread,
    /// Whether clocks keep their bounds.
    pub clocks: Clocks,
    /// Each node's, at first.
    pub host_clocks: BTreeMap<NodeId, HostClock>,
    /// The clients.
    pub clients: Vec<ClientPlan>,
    /// Keys in use at once, in each container.
    pub keys: u32,
    /// Share of operations that read.
    pub reads: f64,
    /// A client's pause after an operation, on average.
    pub think: Duration,
    /// The longest value.
    pub value_bytes_max: usize,
    /// When the safety phase ends, if clients have not come to their end before.
    pub length: Duration,
    /// What goes wrong, in order.
    pub faults: Vec<PlannedFault>,
}

fn pick<T: Clone>(rng: &mut ChaCha8Rng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())].clone()
}

fn sample(rng: &mut ChaCha8Rng, of: &[NodeId], count: usize) -> Vec<NodeId> {
    let mut left = of.to_vec();
    (0..count.min(of.len()))
        .map(|_| left.swap_remove(rng.random_range(0..left.len())))
        .collect()
}

fn micros(rng: &mut ChaCha8Rng, from: u64, to: u64) -> Duration {
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
        let spec = draw_cluster(rng);
        let links = draw_links(rng, &spec);
        let disk = pick(
            rng,
            &[
                Spread::ZERO,
                Spread::ms(0, 2),
                Spread::ms(1, 30),
                Spread::ms(20, 400),
            ],
        );
        let host_clocks = spec
            .nodes
            .keys()
            .map(|&node| (node, draw_clock(rng, clocks, spec.clock_error_max)))
            .collect();
        let operations = rng.random_range(1_500..=5_600_u32);
        let count = rng.random_range(2..=16_u32);
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
            mutants: Mutants::none(),
            links,
            disk,
            clocks,
            host_clocks,
            clients,
            keys: rng.random_range(1..=4),
            reads: pick(rng, &[0.1, 0.4, 0.4, 0.7]),
            think: length.mul_f64(f64::from(count) / f64::from(operations) * pace),
            value_bytes_max: pick(rng, &[8, 200, 2_000, 20_000]),
            length,
            faults: Vec::new(),
            spec,
        };
        configuration.faults = configuration.draw_faults(rng);
        configuration
    }

    /// The same without some of it.
    #[must_use]
    pub fn limited(mut self, limits: &Limits) -> Self {
        if let Some(kept) = &limits.faults {
            self.faults.retain(|fault| kept.contains(&fault.number));
        }
        if let Some(clients) = limits.clients {
            self.clients.truncate(clients.max(1));
        }
        if let Some(operations) = limits.operations {
            for client in &mut self.clients {
                client.operations = client.operations.min(operations);
            }
        }
        if limits.is_calm {
            self.links.loss = 0.0;
            self.links.repetition = 0.0;
            self.links.reordering = 0.0;
        }
        self
    }

    fn draw_faults(&self, rng: &mut ChaCha8Rng) -> Vec<PlannedFault> {
        let mut plan: Vec<(Duration, Fault)> = Vec::new();
        let most = pick(rng, &[0, 4, 15, 40]);
        for _ in 0..rng.random_range(0..=most) {
            let at = self.length.mul_f64(rng.random_range(0.0..0.95));
            let after = at + self.length.mul_f64(rng.random_range(0.0..0.3));
            self.draw_fault(rng, at, after, &mut plan);
        }
        if rng.random_bool(0.3) {
            for node in self.draw_minorities(rng) {
                let at = self.length.mul_f64(rng.random_range(0.0..1.0));
                plan.push((at, Fault::Doom(node)));
            }
        }
        plan.sort_by_key(|(at, _)| *at);
        let numbered = plan.into_iter().enumerate();
        numbered
            .map(|(number, (at, fault))| PlannedFault { number, at, fault })
            .collect()
    }

    /// One fault and, mostly, its end.
    fn draw_fault(
        &self,
        rng: &mut ChaCha8Rng,
        at: Duration,
        after: Duration,
        plan: &mut Vec<(Duration, Fault)>,
    ) {
        let nodes: Vec<NodeId> = self.spec.nodes.keys().copied().collect();
        let node = pick(rng, &nodes);
        let restarts = rng.random_bool(0.8);
        let mut ends = Vec::new();
        let mut restart = |node: NodeId, at: Duration| {
            if restarts {
                ends.push((at, Fault::Restart(node)));
            }
        };
        let mut ends_by = None;
        let fault = match rng.random_range(0..13) {
            0 | 1 => {
                restart(node, after);
                let tail = pick(rng, &[LogTail::Lost, LogTail::Torn, LogTail::Kept]);
                Fault::Crash { node, tail }
            }
            2 => {
                restart(node, at);
                let tail = LogTail::Torn;
                Fault::Crash { node, tail }
            }
            3 | 4 => {
                restart(node, after);
                let sends = rng.random_range(0..60);
                Fault::CrashAfter { node, sends }
            }
            5 => Fault::Pause {
                node,
                length: micros(rng, 1_000, 3_000_000),
            },
            6..=8 => {
                ends_by = Some(Fault::Rejoin);
                self.draw_partition(rng, &nodes)
            }
            9 => {
                ends_by = Some(Fault::BulkRecovery);
                Fault::BulkCollapse
            }
            10 | 11 => Fault::Clock {
                node,
                clock: draw_clock(rng, self.clocks, self.spec.clock_error_max),
            },
            _ => {
                let container = pick(rng, &self.spec.containers);
                let site = self.spec.nodes[&node];
                let nodes = container.local_set(site).to_vec();
                for &member in &nodes {
                    restart(member, after);
                }
                Fault::LocalSetLoss { site, nodes }
            }
        };
        // The end of one that lasts no time comes after it.
        plan.push((at, fault));
        plan.extend(ends);
        if let Some(end) = ends_by.filter(|_| rng.random_bool(0.9)) {
            plan.push((after, end));
        }
    }

    /// Two-way, one-way, a ring, one node, one site.
    fn draw_partition(&self, rng: &mut ChaCha8Rng, nodes: &[NodeId]) -> Fault {
        let site_of = |node: NodeId| self.spec.nodes[&node];
        let node = pick(rng, nodes);
        let mut apart: Vec<NodeId> = match rng.random_range(0..5) {
            0 => vec![node],
            1 => {
                let of_site = nodes.iter().filter(|&&n| site_of(n) == site_of(node));
                of_site.copied().collect()
            }
            2 => {
                // Everyone reaches only its two neighbours.
                let count = nodes.len();
                let far = |i: usize, j: usize| (j - i) > 1 && (j - i) != count - 1;
                let pairs = (0..count)
                    .flat_map(|i| (i + 1..count).map(move |j| (i, j)))
                    .filter(|&(i, j)| far(i, j))
                    .map(|(i, j)| (nodes[i], nodes[j]))
                    .collect();
                return Fault::Cut { pairs, class: None };
            }
            _ => {
                let count = rng.random_range(1..=nodes.len());
                sample(rng, nodes, count)
            }
        };
        apart.sort();
        let mut pairs: Vec<(NodeId, NodeId)> = apart
            .iter()
            .flat_map(|&a| {
                let others = nodes.iter().filter(|b| !apart.contains(b));
                others.map(move |&b| (a, b))
            })
            .collect();
        match rng.random_range(0..5) {
            // Out of the group only, or into it only.
            0 => Fault::Block(pairs),
            1 => Fault::Block(pairs.into_iter().map(|(a, b)| (b, a)).collect()),
            2 => {
                let back: Vec<_> = pairs.iter().map(|&(a, b)| (b, a)).collect();
                pairs.extend(back);
                Fault::Block(pairs)
            }
            3 => {
                let class = Some(pick(rng, &[Class::Priority, Class::Bulk]));
                Fault::Cut { pairs, class }
            }
            _ => Fault::Cut { pairs, class: None },
        }
    }

    /// As many nodes as all containers can bear to lose.
    fn draw_minorities(&self, rng: &mut ChaCha8Rng) -> Vec<NodeId> {
        let sets: Vec<&Vec<NodeId>> = self
            .spec
            .containers
            .iter()
            .flat_map(|container| {
                let local = container.local_sets.values();
                local
                    .filter(|_| container.kind.uses_local_sets())
                    .chain([&container.replicas])
            })
            .collect();
        let is_bearable = |lost: &[NodeId]| {
            sets.iter().all(|set| {
                set.iter().filter(|node| lost.contains(node)).count() <= (set.len() - 1) / 2
            })
        };
        let mut lost = Vec::new();
        let nodes: Vec<NodeId> = self.spec.nodes.keys().copied().collect();
        for node in sample(rng, &nodes, nodes.len()) {
            lost.push(node);
            if !is_bearable(&lost) {
                lost.pop();
            }
        }
        lost
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = |site: usize| {
            let of = self.spec.nodes.values();
            of.filter(|s| usize::from(s.0) == site).count()
        };
        let nodes: Vec<usize> = (0..self.spec.sites.len()).map(sizes).collect();
        writeln!(
            f,
            "seed {}: {} nodes in sites of {nodes:?}, {} clients with {} operations, clocks {:?} within {:?}",
            self.seed,
            self.spec.nodes.len(),
            self.clients.len(),
            self.clients.iter().map(|c| c.operations).sum::<u32>(),
            self.clocks,
            self.spec.clock_error_max,
        )?;
        for container in &self.spec.containers {
            let numbers = |nodes: &[NodeId]| nodes.iter().map(|n| n.0).collect::<Vec<_>>();
            let sets = container.local_sets.values();
            writeln!(
                f,
                "  {} on {:?}, local sets {:?}, timestamps by {:?}",
                container.kind.name(),
                numbers(&container.replicas),
                sets.map(|set| numbers(set)).collect::<Vec<_>>(),
                container.timestamps,
            )?;
        }
        let links = &self.links;
        for (name, class) in [
            ("local", links.local),
            ("priority", links.priority),
            ("bulk", links.bulk),
        ] {
            writeln!(
                f,
                "  {name}: {:?} + {:?}, {} bit/s",
                class.delay, class.jitter, class.rate
            )?;
        }
        write!(
            f,
            "  loss {:.2}, repetition {:.2}, reordering {:.2}, disk {:?} to {:?}",
            links.loss, links.repetition, links.reordering, self.disk.min, self.disk.max
        )
    }
}

/// A clock within its bound, or not.
fn draw_clock(rng: &mut ChaCha8Rng, clocks: Clocks, error_max: Duration) -> HostClock {
    let bound = error_max.as_nanos() as i64;
    let error_ns = rng.random_range(0..=bound);
    let wild = rng.random_range(-3_000_000_000..=3_000_000_000);
    let is_wild = rng.random_bool(0.4);
    let good = rng.random_range(-error_ns..=error_ns);
    let (skew_ns, error_ns) = match clocks {
        // It knows that it does not know.
        Clocks::Mixed if is_wild => (wild, None),
        // It does not know that it does not know.
        Clocks::Beyond if is_wild => (wild, Some(error_ns as u64)),
        Clocks::Trusted | Clocks::Mixed | Clocks::Beyond => (good, Some(error_ns as u64)),
    };
    HostClock { skew_ns, error_ns }
}

/// 1 to 5 sites, 3 to 9 nodes, 1 to 3 containers.
fn draw_cluster(rng: &mut ChaCha8Rng) -> ClusterSpec {
    let sites = rng.random_range(1..=5_u16);
    let count = rng.random_range(sites.max(3)..=9);
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
        clock_error_max: Duration::from_millis(pick(rng, &[0, 2, 30])),
        clock_slack: Duration::from_millis(100),
        value_bytes_max: 1 << 20,
        backlog_bytes_max: 64 << 20,
    };
    for number in 1..=rng.random_range(1..=3) {
        let container = draw_container(rng, &spec, number);
        spec.containers.push(container);
    }
    spec
}

fn draw_container(rng: &mut ChaCha8Rng, spec: &ClusterSpec, number: u32) -> Container {
    let kind = pick(
        rng,
        &[
            Kind::Rw,
            Kind::Rw,
            Kind::Rw,
            Kind::Rmw,
            Kind::Rmw,
            Kind::Rmw,
            Kind::Abd,
            Kind::LanRmw,
        ],
    );
    let all: Vec<NodeId> = spec.nodes.keys().copied().collect();
    let replicas = pick(rng, &[1, 3, 3, 5, 5]).min(all.len() - (all.len() + 1) % 2);
    let local = pick(rng, &[1, 3, 3, 5]);
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
    }
}

fn draw_links(rng: &mut ChaCha8Rng, spec: &ClusterSpec) -> LinkPlan {
    let plan = |delay: Duration, jitter: f64, rate: u64| ClassPlan {
        delay,
        jitter: delay.mul_f64(jitter),
        rate,
    };
    let local_delay = micros(rng, 50, 2_000);
    let local = plan(local_delay, rng.random_range(0.0..1.0), 10_000_000_000);
    // From neighbours to the far side of a congested world.
    let (low, high) = pick(
        rng,
        &[
            (100, 5_000),
            (5_000, 60_000),
            (5_000, 60_000),
            (50_000, 300_000),
            (300_000, 30_000_000),
        ],
    );
    let fast = micros(rng, low, high);
    let slow = fast.mul_f64(pick(rng, &[1.0, 1.5, 10.0]));
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
