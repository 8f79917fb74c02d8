//! What a seed draws before anything runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::fault::PlannedFault;
use crate::cluster::{ClusterSpec, Container, TimestampSource};
use crate::sim::{HostClock, LinkPlan, Spread};
use crate::{Mutants, NodeId, SiteId};

/// What a seed is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Anything that can be configured, and the faults of a bad day.
    Wide,
    /// A small cluster; few keys at once, each for a short while; and faults that aim
    /// at single steps of the protocol.
    Narrow,
}

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
    /// What it is after.
    pub shape: Shape,
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
    /// Whose clock may break its bound, and not know it.
    pub liars: BTreeSet<NodeId>,
    /// Each node's, at first.
    pub host_clocks: BTreeMap<NodeId, HostClock>,
    /// The clients.
    pub clients: Vec<ClientPlan>,
    /// Keys in use at once, in each container.
    pub keys: u32,
    /// Operations after which a key makes room for a fresh one. A search for an order
    /// takes long where a machine's history is.
    pub key_uses: u32,
    /// Share of operations that read.
    pub reads: f64,
    /// Share of operations that their client repeats at another node without waiting
    /// for the first one's answer, where that may be done.
    pub haste: f64,
    /// A client's pause after an operation, on average.
    pub think: Duration,
    /// The longest value.
    pub value_bytes_max: usize,
    /// When the safety phase ends, if clients have not come to their end before.
    pub length: Duration,
    /// What goes wrong, in order.
    pub faults: Vec<PlannedFault>,
}

impl Configuration {
    /// Nodes break the protocol in these ways. Those of the published algorithms leave out what
    /// the paper has not and a container can do without.
    pub fn break_by(&mut self, mutants: Mutants) {
        self.mutants = mutants;
        let published = [Mutants::PUBLISHED_ALG_1, Mutants::PUBLISHED_ALG_3];
        if published.contains(&mutants) {
            for container in &mut self.spec.containers {
                container.promise_skip = false;
                container.early_data = false;
            }
        }
    }

    /// Whether a container promises nothing in this run: it trusts clocks, and they lie.
    pub fn is_void(&self, container: &Container) -> bool {
        self.clocks == Clocks::Beyond
            && container.kind.is_read_write()
            && container.timestamps == TimestampSource::Clock
    }

    /// Whether a few values fill a node's backlog.
    pub fn is_cramped(&self) -> bool {
        self.spec.backlog_bytes_max <= self.spec.value_bytes_max as u64
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
            "seed {}: {:?}, {} nodes in sites of {nodes:?}, {} clients with {} operations, clocks {:?} within {:?}",
            self.seed,
            self.shape,
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
