//! What may happen in a small cluster: its nodes, its clients, and how much may fail.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::{ClusterSpec, Container, Kind, TimestampSource, ValueCopies};
use crate::{ContainerId, Durability, Epoch, Mutants, NodeId, SiteId};

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Read the register.
    Read,
    /// Write the register; values are unique.
    Write(u64),
    /// Add to the counter.
    Add(i64),
    /// Read the counter.
    ReadState,
}

impl Wish {
    /// Whether its coordinator may come to hold the only copy of a version: a read of a
    /// counter too, where it has to carry a command of another on.
    pub fn may_leave_a_copy(self) -> bool {
        !matches!(self, Self::Read)
    }
}

/// One operation of a client.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Who coordinates it.
    pub node: NodeId,
    /// What it is.
    pub wish: Wish,
    /// It begins after this one has ended: the number of an earlier step.
    pub after: Option<usize>,
}

impl Step {
    /// `wish` at `node`, at any moment.
    pub const fn new(node: u16, wish: Wish) -> Self {
        Self {
            node: NodeId(node),
            wish,
            after: None,
        }
    }

    /// The same, by a client whose operation number `step` must have ended.
    #[must_use]
    pub const fn after(mut self, step: usize) -> Self {
        self.after = Some(step);
        self
    }
}

/// When records become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Before the node's next event, unless it crashes instead.
    Prompt,
    /// At any later moment, all that wait at once.
    Slow,
}

/// Of which messages a search tries every order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighed {
    /// Of those that may change anything, now or later (`outlook`).
    ThatMatter,
    /// Of all but answers that change nothing where they arrive, and questions that have only
    /// such answers: these arrive at once.
    AllButEmptyAnswers,
    /// Of every one.
    Every,
}

/// A small cluster of one object, in which each node is a site of its own (m = 1), or all
/// are one site.
#[derive(Clone, Debug)]
pub struct Model {
    /// The algorithm.
    pub kind: Kind,
    /// Where its timestamps come from.
    pub timestamps: TimestampSource,
    /// How many nodes there are; the first is 0.
    pub nodes: u16,
    /// Which of them are replicas.
    pub replicas: Vec<NodeId>,
    /// Whether all nodes are in one site, whose local set the replicas are: writes are direct.
    pub is_one_site: bool,
    /// What clients do.
    pub steps: Vec<Step>,
    /// How many crashes there may be, of all `may_crash` together.
    pub crashes: u8,
    /// Which nodes may crash.
    pub may_crash: Vec<NodeId>,
    /// Which of them never come back; the others may, at any moment.
    pub stay_down: Vec<NodeId>,
    /// How many messages may get lost.
    pub losses: u8,
    /// How many timers may fire while messages are on their way.
    pub early_timers: u8,
    /// How often a message may overtake others of its class on its way from one node to
    /// another; no bound by default.
    pub overtakings: Option<u8>,
    /// When records become durable.
    pub disk: Disk,
    /// How the nodes break the protocol.
    pub mutants: Mutants,
    /// Which messages are weighed; more than those that matter for comparison only. Where
    /// timers fire early it is every one: a message counts there even for being late.
    pub weighed: Weighed,
}

pub(super) const CONTAINER: &str = "objects";

impl Model {
    /// Three nodes, all of them replicas, nothing fails.
    pub fn new(kind: Kind, steps: &[Step]) -> Self {
        let all = [NodeId(0), NodeId(1), NodeId(2)];
        Self {
            kind,
            timestamps: TimestampSource::Query,
            nodes: 3,
            replicas: all.to_vec(),
            is_one_site: false,
            steps: steps.to_vec(),
            crashes: 0,
            may_crash: all.to_vec(),
            stay_down: Vec::new(),
            losses: 0,
            early_timers: 0,
            overtakings: None,
            disk: Disk::Prompt,
            mutants: Mutants::none(),
            weighed: Weighed::ThatMatter,
        }
    }

    /// RW: one writer and two readers, each at a replica of its own.
    pub fn rw() -> Self {
        let steps = [
            Step::new(0, Wish::Write(1)),
            Step::new(1, Wish::Read),
            Step::new(2, Wish::Read),
        ];
        Self::new(Kind::Rw, &steps)
    }

    /// RMW: two executes and a read, each at a replica of its own.
    pub fn rmw() -> Self {
        let steps = [
            Step::new(0, Wish::Add(1)),
            Step::new(1, Wish::Add(10)),
            Step::new(2, Wish::ReadState),
        ];
        Self::new(Kind::Rmw, &steps)
    }

    /// The same in one site.
    #[must_use]
    pub fn in_one_site(mut self) -> Self {
        self.is_one_site = true;
        self
    }

    /// The same, where that many nodes may crash.
    #[must_use]
    pub fn with_crashes(mut self, crashes: u8) -> Self {
        self.crashes = crashes;
        self
    }

    /// The same of other nodes.
    #[must_use]
    pub fn with_mutants(mut self, mutants: impl Into<Mutants>) -> Self {
        self.mutants = mutants.into();
        self
    }

    pub(super) fn weighed(&self) -> Weighed {
        match self.early_timers {
            0 => self.weighed,
            _ => Weighed::Every,
        }
    }

    pub(super) fn spec(&self) -> ClusterSpec {
        let site_of = |n| SiteId(if self.is_one_site { 0 } else { n });
        let sites = || (0..self.nodes).map(|n| (NodeId(n), site_of(n)));
        let mut local_sets: BTreeMap<SiteId, Vec<NodeId>> = BTreeMap::new();
        for (node, site) in sites().filter(|(n, _)| !self.is_one_site || self.replicas.contains(n))
        {
            local_sets.entry(site).or_default().push(node);
        }
        let names = local_sets.keys().map(|site| format!("site{}", site.0));
        let names = names.collect();
        let container = Container {
            id: ContainerId(1),
            name: CONTAINER.into(),
            kind: self.kind,
            epoch: Epoch(1),
            replicas: self.replicas.clone(),
            local_sets,
            timestamps: self.timestamps,
            write_back_skip: true,
            promise_skip: true,
            commands_at_replicas: true,
            early_data: true,
            direct_writes: true,
            copies: ValueCopies::OnePerSite,
            durability: Durability::Local,
        };
        ClusterSpec {
            name: "small".into(),
            sites: names,
            nodes: sites().collect(),
            containers: vec![container],
            clock_error_max: Duration::from_nanos(1),
            clock_slack: Duration::from_millis(100),
            value_bytes_max: 1 << 10,
            backlog_bytes_max: 1 << 20,
        }
    }
}
