//! The engine's door: what a test or a swarm does to a cluster, and what it hears.
//!
//! Priority messages may be lost, repeated and overtaken. With drawn delays, bulk
//! messages arrive in order while their connection stands and are lost with it; over
//! links, they may be repeated and overtaken too. A node that crashes keeps the
//! records that its disk had finished, and perhaps some of the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::agenda::Agenda;
use super::disk::SimDisk;
use super::errand::Sieve;
use super::host::{Entry, Host, HostClock, LogTail};
use super::links::{LinkPlan, Links, News, Passage};
use super::network::{Delays, Spread};
use super::places::{Connections, Hosts};
use super::step::Happening;
use super::trace::Trace;
use super::wire::{Script, Wire};
use crate::client_protocol::{ClientReply, Failure, Request};
use crate::cluster::{Cluster, ClusterSpec};
use crate::node::Holding;
use crate::record::Record;
use crate::stored::ValueId;
use crate::{Class, Event, Key, Mutants, Node, NodeId, ProtocolStatus, RequestId, SiteId, Value};

/// Events that one virtual instant may hold before it counts as an endless loop.
const EVENTS_AT_ONCE_MAX: u32 = 100_000;

/// What the driver of a simulation hears.
#[derive(Debug)]
pub enum Occurrence {
    /// A node answered a client.
    Reply {
        /// What was asked.
        request: RequestId,
        /// The answer.
        reply: ClientReply,
    },
    /// The coordinator crashed before it answered.
    Lost {
        /// What was asked.
        request: RequestId,
    },
    /// The time of a [`Simulation::wake_at`] has come.
    Wake {
        /// As it was given.
        token: u64,
    },
}

#[derive(Debug)]
pub(super) struct Outstanding {
    pub coordinator: NodeId,
    pub deadline: Duration,
}

/// A cluster under test.
pub struct Simulation {
    /// Virtual time; nodes see it as monotonic time.
    pub now: Duration,
    /// Draws everything that happens by chance.
    pub rng: ChaCha8Rng,
    /// Where the network is no [`LinkPlan`]: how long messages take; and disk writes.
    pub delays: Delays,
    /// Where the network is no [`LinkPlan`]: share of priority messages that get lost.
    pub loss: f64,
    /// Where the network is no [`LinkPlan`]: share of priority messages that arrive twice.
    pub repetition: f64,
    /// Decides on each message.
    pub script: Option<Script>,
    /// Every message sent to another node, where a test wants to count them.
    pub sent: Option<Vec<(NodeId, NodeId, Wire)>>,
    /// Where to tell what happens.
    pub trace: Trace,
    pub(super) cluster: Arc<Cluster>,
    pub(super) hosts: Hosts,
    pub(super) agenda: Agenda<Happening>,
    pub(super) events_at_once: u32,
    pub(super) links: Option<Links>,
    /// Empty; kept for its room.
    pub(super) news: News,
    /// Pairs that can't connect, smaller node first.
    pub(super) cut: BTreeSet<(NodeId, NodeId, Class)>,
    /// Standing connections and their numbers, smaller node first.
    pub(super) connections: Connections,
    pub(super) connections_made: u64,
    /// One-way black holes: priority is lost, bulk waits.
    pub(super) blocked: BTreeSet<(NodeId, NodeId)>,
    pub(super) sieves: Vec<Sieve>,
    #[expect(clippy::vec_box, reason = "moved from and to where they are boxed")]
    pub(super) stalled: Vec<Box<Passage>>,
    pub(super) bulk_arrives: BTreeMap<(NodeId, NodeId), Duration>,
    pub(super) outstanding: BTreeMap<RequestId, Outstanding>,
    pub(super) occurrences: VecDeque<Occurrence>,
    pub(super) last_request: u64,
    /// Causes that nodes counted in lives that are over.
    pub(super) past_causes: BTreeMap<String, u64>,
    pub(super) mutants: Mutants,
    /// The CRC-32C of every value that a node stored, wherever and whenever.
    pub(super) contents: BTreeMap<ValueId, u32>,
    pub(super) contradiction: Option<String>,
}

impl Simulation {
    /// Starts and connects all nodes of the cluster, with perfect clocks and drawn delays.
    ///
    /// # Panics
    /// Where the cluster can't be.
    pub fn new(seed: u64, spec: ClusterSpec, delays: Delays) -> Self {
        Self::start(seed, spec, delays, None, Mutants::none())
    }

    /// The same, of nodes that break the protocol.
    ///
    /// # Panics
    /// Where the cluster can't be.
    pub fn with_mutants(seed: u64, spec: ClusterSpec, delays: Delays, mutants: Mutants) -> Self {
        Self::start(seed, spec, delays, None, mutants)
    }

    /// The same over `netem` links.
    ///
    /// # Panics
    /// Where the cluster can't be.
    pub fn over_links(
        seed: u64,
        spec: ClusterSpec,
        plan: LinkPlan,
        disk: Spread,
        mutants: Mutants,
    ) -> Self {
        let delays = Delays {
            local: Spread::ZERO,
            priority: Spread::ZERO,
            bulk: Spread::ZERO,
            disk,
        };
        Self::start(seed, spec, delays, Some(Links::new(plan)), mutants)
    }

    fn start(
        seed: u64,
        spec: ClusterSpec,
        delays: Delays,
        links: Option<Links>,
        mutants: Mutants,
    ) -> Self {
        let cluster = Arc::new(Cluster::new(spec).expect("the test's cluster is valid"));
        let clock = HostClock {
            skew_ns: 0,
            error_ns: Some(0),
        };
        let nodes: Vec<NodeId> = cluster.spec().nodes.keys().copied().collect();
        let hosts = Hosts::new(nodes.clone(), |node| Host::new(node, clock, seed));
        let mut simulation = Self {
            now: Duration::from_secs(1),
            rng: ChaCha8Rng::seed_from_u64(seed),
            delays,
            loss: 0.0,
            repetition: 0.0,
            script: None,
            sent: None,
            trace: Trace::Off,
            cluster,
            hosts,
            agenda: Agenda::default(),
            events_at_once: 0,
            links,
            news: News::default(),
            cut: BTreeSet::new(),
            connections: Connections::new(nodes.clone()),
            connections_made: 0,
            blocked: BTreeSet::new(),
            sieves: Vec::new(),
            stalled: Vec::new(),
            bulk_arrives: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            occurrences: VecDeque::new(),
            last_request: 0,
            past_causes: BTreeMap::new(),
            mutants,
            contents: BTreeMap::new(),
            contradiction: None,
        };
        for node in nodes {
            simulation.boot(node);
        }
        simulation.reconnect();
        simulation
    }

    /// One name never has two contents, at one node or another: where it had, what became
    /// of it.
    pub fn contradiction(&self) -> Option<&str> {
        self.contradiction.as_deref()
    }

    pub(super) fn compare(&mut self, node: NodeId, id: &ValueId, value: &Value) {
        let Value::Bytes(bytes) = value else { return };
        let crc = crc32c::crc32c(&bytes.0);
        let known = *self.contents.entry(id.clone()).or_insert(crc);
        if known != crc && self.contradiction.is_none() {
            let what = format!("{node} stores {value:?} as {id:?}, which was #{known:08x} before");
            self.contradiction = Some(what);
        }
    }

    /// All nodes, alive or not.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.hosts.nodes().to_vec()
    }

    /// The cluster.
    pub fn spec(&self) -> &ClusterSpec {
        self.cluster.spec()
    }

    /// Where a node is.
    ///
    /// # Panics
    /// Where the cluster has no such node.
    pub fn site_of(&self, node: NodeId) -> SiteId {
        self.cluster
            .site_of(node)
            .expect("the node is in the cluster")
    }

    /// Whether the node runs.
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.hosts[&node].node.is_some()
    }

    /// The nodes that run.
    pub fn alive(&self) -> Vec<NodeId> {
        self.nodes()
            .into_iter()
            .filter(|&node| self.is_alive(node))
            .collect()
    }

    /// What the node says of itself.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn status(&self, node: NodeId) -> ProtocolStatus {
        self.hosts[&node]
            .node
            .as_ref()
            .expect("the node is alive")
            .status()
    }

    /// How much the node remembers of operations that are under way.
    fn leftovers(&self, node: NodeId) -> usize {
        self.hosts[&node].node.as_ref().map_or(0, Node::leftovers)
    }

    /// How often `cause` was counted, over all nodes that are alive.
    pub fn count(&self, cause: &str) -> u64 {
        let causes = self
            .alive()
            .into_iter()
            .flat_map(|node| self.status(node).causes);
        causes
            .filter(|(name, _)| name == cause)
            .map(|(_, count)| count)
            .sum()
    }

    /// How often each cause was counted, over all nodes and lives.
    pub fn causes(&self) -> BTreeMap<String, u64> {
        let mut causes = self.past_causes.clone();
        for node in self.alive() {
            add_causes(&mut causes, self.status(node));
        }
        causes
    }

    /// The durable records of a node.
    pub fn log(&self, node: NodeId) -> &[Record] {
        &self.hosts[&node].log
    }

    /// The records of a node that are on their way to its disk, which may wait for space.
    pub fn on_their_way(&self, node: NodeId) -> impl Iterator<Item = &Record> {
        self.hosts[&node]
            .on_their_way()
            .filter_map(|entry| match entry {
                Entry::Record(record) => Some(record),
                Entry::Value(..) | Entry::Forget(_) => None,
            })
    }

    /// The disk of a node's journal, to do it harm.
    pub fn journal_disk(&self, node: NodeId) -> SimDisk {
        self.hosts[&node].journal.disk.clone()
    }

    /// Flips a bit of the journal of a node that is down, somewhere in what was written to
    /// it; `place` names one.
    pub fn damage_journal(&mut self, node: NodeId, place: u64) {
        let flipped = self.host(node).journal.damage(place);
        self.note(|| (node.to_string(), "is damaged", flipped));
    }

    /// Nodes whose disks lied crash now, and not when their keepers find out.
    pub fn expose_lies(&mut self) {
        for node in self.nodes() {
            if self.hosts[&node].journal.disk.has_lied() {
                self.crash_with(node, LogTail::Kept);
            }
        }
    }

    /// An operator restores damaged journals where there are copies; false where a node
    /// is left that can't start.
    pub fn restore_journals(&mut self) -> bool {
        for host in self.hosts.values_mut() {
            if host.refusal.is_some() && host.journal.restore() {
                host.refusal = None;
            }
        }
        self.hosts.values().all(|host| host.refusal.is_none())
    }

    /// Why a node can't start any more: its journal is damaged.
    pub fn refusal(&self, node: NodeId) -> Option<&str> {
        self.hosts[&node].refusal.as_deref()
    }

    /// A node's stored value, durable or not.
    pub fn stored(&self, node: NodeId, id: &ValueId) -> Option<Value> {
        self.hosts[&node].load(id)
    }

    /// A stored value that a running node does not need, and does not remove as soon as what
    /// is on its way to the disk has arrived, if there is one.
    pub fn orphan(&self, node: NodeId) -> Option<&ValueId> {
        let host = &self.hosts[&node];
        let state = host.node.as_ref()?;
        let mut ids = host.values.keys();
        ids.find(|id| !state.refers_to(id) && !host.is_forgetting(id))
    }

    /// The disk of `node` loses this share of its values.
    pub fn lose_values(&mut self, node: NodeId, share: f64) {
        let ids: Vec<ValueId> = self.hosts[&node].values.keys().cloned().collect();
        for id in ids {
            if self.rng.random_bool(share) {
                self.note(|| (node.to_string(), "loses", format!("{id:?}")));
                self.host(node).values.remove(&id);
            }
        }
    }

    /// How often the node has started.
    pub fn life(&self, node: NodeId) -> u16 {
        self.hosts[&node].life
    }

    /// What a replica that runs holds of one object.
    pub fn holding(&self, node: NodeId, key: &Key) -> Option<Holding> {
        let node = self.hosts[&node].node.as_ref()?;
        Some(node.holding(key))
    }

    /// Requests without an answer.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Whether nothing is on its way to replicas and nothing waits, anywhere, for the disk
    /// neither, and nothing is remembered of operations that are over.
    pub fn is_settled(&self) -> bool {
        self.alive().into_iter().all(|node| {
            let status = self.status(node);
            let is_idle = status.held == 0 && status.backlog.bytes == 0;
            is_idle && self.leftovers(node) == 0 && !self.hosts[&node].has_later()
        })
    }

    /// Asks `coordinator`; the answer comes as an [`Occurrence`].
    pub fn request(
        &mut self,
        coordinator: NodeId,
        request: Request,
        patience: Duration,
    ) -> RequestId {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        let deadline = self.now + patience;
        let asked = Outstanding {
            coordinator,
            deadline,
        };
        self.outstanding.insert(id, asked);
        self.note(|| {
            (
                format!("client -> {coordinator}"),
                "asks",
                format!("{id:?} {request:?}"),
            )
        });
        // What a node's owner refuses before its core hears of it.
        let takes_space = matches!(request, Request::Write { .. } | Request::Execute { .. });
        if takes_space && self.hosts[&coordinator].is_full {
            let reason = "the disk is full".into();
            let reply = Err(Failure::Busy { reason });
            self.outstanding.remove(&id);
            self.occurrences
                .push_back(Occurrence::Reply { request: id, reply });
            return id;
        }
        let event = Event::Request {
            id,
            request,
            deadline,
        };
        self.handle(coordinator, event);
        id
    }

    /// Asks and waits; returns the answer and how long it took.
    pub fn ask(&mut self, coordinator: NodeId, request: Request) -> (ClientReply, Duration) {
        let asked = self.now;
        let id = self.request(coordinator, request, Duration::from_secs(60));
        let reply = self.await_reply(id);
        (reply, self.now - asked)
    }

    /// Waits for one answer; others are dropped.
    ///
    /// # Panics
    /// Where the coordinator crashes.
    pub fn await_reply(&mut self, id: RequestId) -> ClientReply {
        loop {
            match self
                .next(Duration::MAX)
                .expect("something happens before the deadline")
            {
                Occurrence::Reply { request, reply } if request == id => return reply,
                Occurrence::Lost { request } => assert_ne!(request, id, "the coordinator crashed"),
                Occurrence::Reply { .. } | Occurrence::Wake { .. } => {}
            }
        }
    }

    /// Lets time pass; answers are dropped.
    pub fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.next(until).is_some() {}
    }

    /// Has [`Simulation::next`] return `token` at that time.
    pub fn wake_at(&mut self, at: Duration, token: u64) {
        self.schedule(at, Happening::Wake { token });
    }

    /// What happens next, until a moment: afterwards it is that moment, or that of
    /// the occurrence.
    ///
    /// # Panics
    /// Where a node breaks a rule of its own, or keeps an instant from ending.
    pub fn next(&mut self, until: Duration) -> Option<Occurrence> {
        loop {
            if let Some(occurrence) = self.occurrences.pop_front() {
                return Some(occurrence);
            }
            if self.agenda.next_at().is_none_or(|at| at > until) {
                if until != Duration::MAX {
                    self.now = self.now.max(until);
                }
                return None;
            }
            let (at, happening) = self.agenda.pop().expect("just seen");
            self.events_at_once = if at > self.now {
                0
            } else {
                self.events_at_once + 1
            };
            assert!(
                self.events_at_once < EVENTS_AT_ONCE_MAX,
                "time stands still"
            );
            self.now = self.now.max(at);
            self.happen(happening);
        }
    }
}

/// A node starts in query mode, and counts its changes from there.
pub(super) fn add_causes(causes: &mut BTreeMap<String, u64>, status: ProtocolStatus) {
    let changes = status.clock.mode_changes;
    let fallbacks = ("fell back: from clock mode to query mode", changes / 2);
    let returns = changes.saturating_sub(1) / 2;
    let returns = ("came back: from query mode to clock mode", returns);
    let modes = [fallbacks, returns].map(|(cause, count)| (cause.to_owned(), count));
    let modes = modes.into_iter().filter(|(_, count)| *count > 0);
    for (cause, count) in status.causes.into_iter().chain(modes) {
        *causes.entry(cause).or_default() += count;
    }
}
