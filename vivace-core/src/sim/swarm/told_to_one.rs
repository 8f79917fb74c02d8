//! A write that one replica alone is told of, whose site hears its value and not its timestamp.
//!
//! Chance alone hardly brings all of that together: W-TS reaches no other replica, nor does
//! the value; the replica's answers to R-TS are lost inside its site, and questions from
//! outside on their way to it.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::configuration::{Configuration, Shape};
use super::draw::pick;
use super::fault::Fault;
use crate::NodeId;
use crate::cluster::Container;
use crate::sim::{Errand, Sieve};

/// Apart from what else a seed draws.
const STREAM: u64 = 0x746f_6c64_206f_6e65;

/// The share of narrow seeds with such writes, where the cluster has a place for them.
const SHARE: f64 = 0.5;

/// How often in such a seed, at most.
const TIMES_MAX: u32 = 24;

impl Configuration {
    /// Plans that some replica is alone in what it is told for a while, now and then.
    pub(super) fn draw_told_to_one(&mut self) {
        let rng = &mut ChaCha8Rng::seed_from_u64(self.seed ^ STREAM);
        // Each of the two takes away what the other needs.
        let mut faults = self.faults.iter();
        let has_lone_copies = faults.any(|fault| matches!(fault.fault, Fault::LoneCopies(_)));
        if self.shape != Shape::Narrow || has_lone_copies || !rng.random_bool(SHARE) {
            return;
        }
        let places: Vec<(NodeId, Container)> = self
            .spec
            .containers
            .iter()
            .filter(|container| container.kind.is_read_write() && container.early_data)
            .flat_map(|container| {
                let replicas = container.replicas.iter();
                replicas.map(|&replica| (replica, container.clone()))
            })
            .filter(|(replica, container)| !self.readers_beside(*replica, container).is_empty())
            .collect();
        if places.is_empty() {
            return;
        }
        for _ in 0..rng.random_range(1..=TIMES_MAX) {
            let (replica, container) = pick(rng, &places);
            let at = self.length.mul_f64(rng.random_range(0.0..0.95));
            let trip = self.links.priority.delay.max(self.links.local.delay);
            let end: Duration = at + trip.mul_f64(rng.random_range(4.0..24.0));
            let sieves = self.told_to(replica, &container);
            self.add_fault(at, Fault::ToldToOne(sieves.clone()));
            for sieve in sieves {
                self.add_fault(end, Fault::Unsift(sieve));
            }
        }
        self.faults.sort_by_key(|fault| fault.at);
    }

    /// The nodes in a replica's site that are none.
    fn readers_beside(&self, replica: NodeId, container: &Container) -> Vec<NodeId> {
        let site = self.spec.nodes[&replica];
        let nodes = self.spec.nodes.iter();
        nodes
            .filter(|(node, of)| **of == site && !container.replicas.contains(node))
            .map(|(&node, _)| node)
            .collect()
    }

    fn told_to(&self, replica: NodeId, container: &Container) -> [Sieve; 4] {
        let all: Vec<NodeId> = self.spec.nodes.keys().copied().collect();
        let site = self.spec.nodes[&replica];
        let outside = all.iter().filter(|node| self.spec.nodes[node] != site);
        let outside: Vec<NodeId> = outside.copied().collect();
        let mut others = container.replicas.clone();
        others.retain(|&other| other != replica);
        let sieve = |errand, from: &[NodeId], to: &[NodeId]| Sieve {
            errand,
            from: from.to_vec(),
            to: to.to_vec(),
        };
        let readers = self.readers_beside(replica, container);
        [
            sieve(Errand::WriteTs, &all, &others),
            sieve(Errand::WriteRemote, &all, &others),
            sieve(Errand::ReadTsAck, &[replica], &readers),
            sieve(Errand::ReadTs, &outside, &[replica]),
        ]
    }
}
