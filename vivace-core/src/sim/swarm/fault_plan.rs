//! The faults that a seed draws.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::configuration::{Clocks, Configuration, Shape};
use super::draw::{draw_clock, micros, pick, sample};
use super::fault::{Fault, PlannedFault};
use crate::cluster::Container;
use crate::quorum::majority;
use crate::sim::{Errand, Fuse, LogTail, Sieve};
use crate::{Class, NodeId, SiteId};

type Plan = Vec<(Duration, Fault)>;

const TAILS: [LogTail; 3] = [LogTail::Lost, LogTail::Torn, LogTail::Kept];

/// A node is down this long: for a moment, for less than others are patient, for more.
pub(super) const DOWNTIMES_MS: [u64; 4] = [0, 50, 1_000, 8_000];

impl Configuration {
    pub(super) fn draw_faults(&self, rng: &mut ChaCha8Rng) -> Vec<PlannedFault> {
        let mut plan: Plan = Vec::new();
        let most = match self.shape {
            Shape::Wide => pick(rng, &[0, 4, 15, 40]),
            Shape::Narrow => pick(rng, &[4, 15, 40, 80]),
        };
        // Where liars alone fail, the others owe us everything.
        let nodes: Vec<NodeId> = match self.clocks == Clocks::Beyond && rng.random_bool(0.6) {
            true => self.liars.iter().copied().collect(),
            false => self.spec.nodes.keys().copied().collect(),
        };
        for _ in 0..rng.random_range(0..=most) {
            let at = self.length.mul_f64(rng.random_range(0.0..0.95));
            match self.shape == Shape::Narrow && rng.random_bool(0.6) {
                true => self.draw_ambush(rng, at, &nodes, &mut plan),
                false => self.draw_fault(rng, at, &nodes, &mut plan),
            }
        }
        self.draw_losses(rng, &mut plan);
        plan.sort_by_key(|(at, _)| *at);
        let numbered = plan.into_iter().enumerate();
        numbered
            .map(|(number, (at, fault))| PlannedFault { number, at, fault })
            .collect()
    }

    /// What never comes back: a site, or a minority of everything.
    fn draw_losses(&self, rng: &mut ChaCha8Rng, plan: &mut Plan) {
        let (site, minority) = match self.shape {
            Shape::Wide => (0.05, 0.3),
            Shape::Narrow => (0.2, 0.6),
        };
        let at = self.length.mul_f64(rng.random_range(0.0..1.0));
        let sites: Vec<SiteId> = (0..self.spec.sites.len() as u16).map(SiteId).collect();
        let site_lost = pick(rng, &sites);
        // What waits for a node that is lost would fill a small backlog for good.
        if self.clocks == Clocks::Beyond || self.is_cramped() {
            return;
        }
        if rng.random_bool(site) && self.can_lose(site_lost) {
            return plan.push((at, Fault::SiteLoss(site_lost)));
        }
        if !rng.random_bool(minority) {
            return;
        }
        for node in self.draw_minority(rng) {
            let at = self.length.mul_f64(rng.random_range(0.0..1.0));
            let end = at + self.draw_while(rng);
            if self.shape == Shape::Narrow
                && let Some(faults) = self.draw_lone_copy(rng, node, (at, end))
            {
                plan.extend(faults);
                continue;
            }
            match rng.random_range(0..3) {
                0 => plan.push((at, Fault::Doom(node))),
                1 => {
                    let fuse = Fuse {
                        errand: Some(self.draw_errand(rng)),
                        left: rng.random_range(0..3),
                    };
                    let is_final = true;
                    let fault = Fault::CrashAfter {
                        node,
                        fuse,
                        is_final,
                    };
                    plan.push((at, fault));
                }
                _ => {
                    let sieve = self.draw_sieve(rng, node);
                    plan.push((at, Fault::Sift(sieve.clone())));
                    plan.push((end, Fault::Doom(node)));
                    plan.push((end, Fault::Unsift(sieve)));
                }
            }
        }
    }

    /// Whether majorities of all replicas are elsewhere.
    fn can_lose(&self, site: SiteId) -> bool {
        self.spec.sites.len() > 1
            && self.spec.containers.iter().all(|container| {
                let left = container.replicas.iter();
                let left = left.filter(|node| self.spec.nodes[node] != site).count();
                left >= majority(container.replicas.len())
            })
    }

    /// Long enough for a few messages, or for others to lose their patience.
    pub(super) fn draw_while(&self, rng: &mut ChaCha8Rng) -> Duration {
        let trip = self.links.priority.delay.max(self.links.local.delay);
        let trips = trip.mul_f64(rng.random_range(0.5..8.0));
        let patience = micros(rng, 1_000, 5_000_000);
        pick(rng, &[trips, trips + patience])
    }

    /// A step of an operation that this cluster has.
    fn draw_errand(&self, rng: &mut ChaCha8Rng) -> Errand {
        let container = pick(rng, &self.spec.containers);
        let of = |errand: &&Errand| match container.kind.is_read_write() {
            true => !matches!(
                errand,
                Errand::OrderedReadTs
                    | Errand::OrderedReadTsAck
                    | Errand::OrderedReadData
                    | Errand::OrderedWriteTs
                    | Errand::OrderedWriteTsAck
                    | Errand::Commit
            ),
            false => !matches!(
                errand,
                Errand::WriteTs
                    | Errand::WriteTsAck
                    | Errand::ReadData
                    | Errand::Bind
                    | Errand::BindAck
                    | Errand::Abort
            ),
        };
        let errands: Vec<Errand> = Errand::ALL.iter().filter(of).copied().collect();
        pick(rng, &errands)
    }

    /// One step fails at one node, as sender or as receiver.
    fn draw_sieve(&self, rng: &mut ChaCha8Rng, node: NodeId) -> Sieve {
        let errand = self.draw_errand(rng);
        let nodes: Vec<NodeId> = self.spec.nodes.keys().copied().collect();
        let count = match rng.random_bool(0.5) {
            true => nodes.len(),
            false => rng.random_range(1..=nodes.len()),
        };
        let others = sample(rng, &nodes, count);
        let (from, to) = match rng.random_bool(0.5) {
            true => (vec![node], others),
            false => (others, vec![node]),
        };
        Sieve { errand, from, to }
    }

    /// One step fails at one node for a while; in the end the node may crash, or it
    /// crashes at a step.
    fn draw_ambush(&self, rng: &mut ChaCha8Rng, at: Duration, nodes: &[NodeId], plan: &mut Plan) {
        let node = pick(rng, nodes);
        let mut end = at + self.draw_while(rng);
        if rng.random_bool(0.7) {
            let sieve = self.draw_sieve(rng, node);
            plan.push((at, Fault::Sift(sieve.clone())));
            plan.push((end, Fault::Unsift(sieve)));
        }
        let tail = pick(rng, &TAILS);
        match rng.random_range(0..4) {
            0 | 1 => return,
            2 => plan.push((at, Fault::Crash { node, tail })),
            _ => {
                let fuse = Fuse {
                    errand: Some(self.draw_errand(rng)),
                    left: rng.random_range(0..3),
                };
                let is_final = false;
                let fault = Fault::CrashAfter {
                    node,
                    fuse,
                    is_final,
                };
                plan.push((at, fault));
                end += self.draw_while(rng);
            }
        }
        let downtime = Duration::from_millis(pick(rng, &DOWNTIMES_MS));
        plan.push((end + downtime, Fault::Restart(node)));
    }

    /// One fault and, mostly, its end.
    fn draw_fault(&self, rng: &mut ChaCha8Rng, at: Duration, nodes: &[NodeId], plan: &mut Plan) {
        let after = match self.shape {
            Shape::Wide => at + self.length.mul_f64(rng.random_range(0.0..0.3)),
            Shape::Narrow => at + self.draw_while(rng),
        };
        let node = pick(rng, nodes);
        let restarts = rng.random_bool(0.8);
        let mut ends = Vec::new();
        let mut restart = |node: NodeId, at: Duration| {
            if restarts {
                ends.push((at, Fault::Restart(node)));
            }
        };
        let mut ends_by = None;
        let tail = pick(rng, &TAILS);
        let fault = match rng.random_range(0..15) {
            0 | 1 => {
                restart(node, after);
                Fault::Crash { node, tail }
            }
            2 => {
                restart(node, at);
                let tail = LogTail::Torn;
                Fault::Crash { node, tail }
            }
            3 | 4 => {
                restart(node, after);
                let fuse = Fuse {
                    errand: None,
                    left: rng.random_range(0..60),
                };
                let is_final = false;
                Fault::CrashAfter {
                    node,
                    fuse,
                    is_final,
                }
            }
            5 => Fault::Pause {
                node,
                length: micros(rng, 1_000, 3_000_000),
            },
            6..=8 => {
                ends_by = Some(Fault::Rejoin);
                self.draw_partition(rng)
            }
            9 => {
                ends_by = Some(Fault::BulkRecovery);
                Fault::BulkCollapse
            }
            10 | 11 => {
                let may_lie = self.liars.contains(&node);
                let clock = draw_clock(rng, self.clocks, self.spec.clock_error_max, may_lie);
                Fault::Clock { node, clock }
            }
            12 | 13 => {
                let count = rng.random_range(1..=nodes.len());
                let nodes = sample(rng, nodes, count);
                let at = pick(rng, &[at, after]);
                for &node in &nodes {
                    restart(node, at);
                }
                Fault::PowerFailure { nodes, tail }
            }
            _ => {
                let container = pick(rng, &self.spec.containers);
                let site = self.spec.nodes[&node];
                let nodes = local_set_in(&container, site, nodes);
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
    fn draw_partition(&self, rng: &mut ChaCha8Rng) -> Fault {
        let nodes: Vec<NodeId> = self.spec.nodes.keys().copied().collect();
        let nodes = &nodes[..];
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
    pub(super) fn draw_minority(&self, rng: &mut ChaCha8Rng) -> Vec<NodeId> {
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

/// The members of a site's local set that may fail.
fn local_set_in(container: &Container, site: SiteId, nodes: &[NodeId]) -> Vec<NodeId> {
    let members = container.local_set(site).iter();
    members
        .filter(|node| nodes.contains(node))
        .copied()
        .collect()
}
