//! What the protocol knows of a node's state.

use std::time::Duration;

use super::Node;
use crate::clock::Mode;
use crate::cluster::Kind;
use crate::status::{
    BacklogStatus, ClockStatus, ContainerStatus, OperationCounts, SiteBacklogStatus,
};

/// The parts of a node's status that the protocol knows.
#[derive(Debug)]
pub struct ProtocolStatus {
    /// The clock.
    pub clock: ClockStatus,
    /// The containers.
    pub containers: Vec<ContainerStatus>,
    /// Client operations.
    pub operations: OperationCounts,
    /// Values on their way out.
    pub backlog: BacklogStatus,
    /// Refusals and rare events by cause.
    pub causes: Vec<(String, u64)>,
    /// Local copies, unbound values, questions, repairs and versions being made: zero when
    /// all is settled.
    pub held: usize,
}

impl Node {
    fn site_backlogs(&self) -> Vec<SiteBacklogStatus> {
        let (now, spec) = (self.env.now.monotonic, self.env.cluster.spec());
        let propagator = &self.local.propagator;
        let sites = propagator.backlogs().report(now);
        let status = sites.map(|(site, bytes, values, drain_bytes_per_s)| {
            let oldest = propagator.oldest_for(site).map(|at| now - at);
            SiteBacklogStatus {
                site: spec.sites[usize::from(site.0)].clone(),
                bytes,
                values,
                oldest_ms: oldest.unwrap_or_default().as_millis() as u64,
                drain_bytes_per_s,
            }
        });
        status.collect()
    }

    /// What the protocol knows of the node's state.
    pub fn status(&self) -> ProtocolStatus {
        let env = &self.env;
        let spec = env.cluster.spec();
        let propagator = &self.local.propagator;
        let oldest = propagator
            .oldest()
            .map_or(Duration::ZERO, |at| env.now.monotonic - at);
        let containers = spec.containers.iter().map(|container| ContainerStatus {
            name: container.name.clone(),
            kind: container.kind.name().into(),
            epoch: container.epoch.0,
            replicas: container.replicas.iter().map(|node| node.0).collect(),
            local_set: container
                .local_set(env.site)
                .iter()
                .map(|node| node.0)
                .collect(),
            objects: match container.kind {
                Kind::Rw | Kind::Abd => self.rw.object_count(container),
                Kind::Rmw => self.rmw.object_count(container),
                Kind::LanRmw => self.lan.object_count(container),
            },
        });
        let mut operations = env.counters.operations;
        operations.in_flight = self.coordinator.in_flight();
        ProtocolStatus {
            clock: ClockStatus {
                mode: match env.clock.mode() {
                    Mode::Clock => "clock".into(),
                    Mode::Query => "query".into(),
                },
                error_us: env.now.clock.error_ns.map(|ns| ns / 1000),
                error_max_us: spec.clock_error_max.as_micros() as u64,
                mode_changes: env.clock.mode_changes(),
            },
            containers: containers.collect(),
            operations,
            backlog: BacklogStatus {
                bytes: self.local.backlog_bytes(),
                bytes_max: spec.backlog_bytes_max,
                values: propagator.count(),
                oldest_ms: oldest.as_millis() as u64,
                sites: self.site_backlogs(),
            },
            causes: env
                .counters
                .causes()
                .iter()
                .map(|(&cause, &count)| (cause.to_owned(), count))
                .chain((env.out.dropped() > 0).then(|| {
                    let cause = "dropped: an answer, because the disk is behind";
                    (cause.to_owned(), env.out.dropped())
                }))
                .collect(),
            held: self.local.held()
                + self.waiters.count()
                + self.repairs.count()
                + self.deriving.count(),
        }
    }
}
