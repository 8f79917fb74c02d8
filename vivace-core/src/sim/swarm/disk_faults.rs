//! Disks that fail: what a seed draws of it.
//!
//! A disk that reports its errors costs its node a crash, and any node may have one. A
//! disk that lies, or loses what it held, may cost the node: only a minority has one,
//! and then nothing else is lost for good.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::configuration::{Clocks, Configuration};
use super::draw::{micros, pick};
use super::fault::{Fault, PlannedFault};
use super::fault_plan::DOWNTIMES_MS;
use crate::NodeId;
use crate::sim::DiskFault;

/// Apart from what else a seed draws.
const DISK_STREAM: u64 = 0x6469_736b_2066_6169;

/// The share of seeds with such disks.
const SHARE: f64 = 0.3;

const ERRORS_MAX: u32 = 4;

/// Apart from what else a seed draws.
const SPACE_STREAM: u64 = 0x6e6f_2073_7061_6365;

/// The share of seeds with disks that fill up.
const SPACE_SHARE: f64 = 0.2;

/// How often one fills up in such a seed, at most.
const FULL_MAX: u32 = 4;

impl Configuration {
    pub(super) fn draw_disk_faults(&mut self) {
        let rng = &mut ChaCha8Rng::seed_from_u64(self.seed ^ DISK_STREAM);
        if self.clocks == Clocks::Beyond || !rng.random_bool(SHARE) {
            return;
        }
        let nodes: Vec<NodeId> = self.spec.nodes.keys().copied().collect();
        for _ in 0..rng.random_range(0..=ERRORS_MAX) {
            let node = pick(rng, &nodes);
            let fault = pick(rng, &[DiskFault::FailWrite, DiskFault::FailSync]);
            let at = self.moment(rng);
            let down = Duration::from_millis(pick(rng, &DOWNTIMES_MS));
            self.add_fault(at, Fault::DiskError { node, fault });
            self.add_fault(at + down, Fault::Restart(node));
        }
        // What waits for a node that is lost would fill a small backlog for good.
        if self.loses_nodes() || self.is_cramped() {
            return;
        }
        for node in self.draw_minority(rng) {
            let at = self.moment(rng);
            let mut flips = Some(rng.random());
            let mut end = at;
            if rng.random_bool(0.5) {
                let sectors = rng.random_range(1..16);
                let lies = [DiskFault::LoseWrite, DiskFault::MisdirectWrite { sectors }];
                let fault = pick(rng, &lies);
                self.add_fault(at, Fault::DiskError { node, fault });
                flips = None;
                end = at + micros(rng, 1_000, 10_000_000);
            }
            self.add_fault(end, Fault::PowerCycle { node, flips });
        }
        self.faults.sort_by_key(|fault| fault.at);
    }

    /// Any node's disk fills up, all of them perhaps: nothing is lost of it.
    pub(super) fn draw_full_disks(&mut self) {
        let rng = &mut ChaCha8Rng::seed_from_u64(self.seed ^ SPACE_STREAM);
        if self.clocks == Clocks::Beyond || !rng.random_bool(SPACE_SHARE) {
            return;
        }
        // What the baselines sent in vain they repeat too late for the liveness phase.
        if !self
            .spec
            .containers
            .iter()
            .all(|c| c.kind.uses_local_sets())
        {
            return;
        }
        let nodes: Vec<NodeId> = self.spec.nodes.keys().copied().collect();
        for _ in 0..rng.random_range(1..=FULL_MAX) {
            let at = self.moment(rng);
            let full = micros(rng, 10_000, 20_000_000);
            let all = rng.random_bool(0.2);
            let one = pick(rng, &nodes);
            for &node in nodes.iter().filter(|&&node| all || node == one) {
                self.add_fault(at, Fault::DiskFull(node));
                self.add_fault(at + full, Fault::DiskSpace(node));
            }
        }
        self.faults.sort_by_key(|fault| fault.at);
    }

    fn moment(&self, rng: &mut ChaCha8Rng) -> Duration {
        self.length.mul_f64(rng.random_range(0.0..0.95))
    }

    pub(super) fn add_fault(&mut self, at: Duration, fault: Fault) {
        let number = self.faults.len();
        self.faults.push(PlannedFault { number, at, fault });
    }

    fn loses_nodes(&self) -> bool {
        self.faults.iter().any(|planned| {
            matches!(
                planned.fault,
                Fault::Doom(_) | Fault::SiteLoss(_) | Fault::CrashAfter { is_final: true, .. }
            )
        })
    }
}
