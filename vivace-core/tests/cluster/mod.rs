//! A cluster of nodes in virtual time. One seed draws every delay, loss and
//! repetition, so the same seed and the same calls replay the same run.
//!
//! Priority messages may be lost, repeated and overtaken. Bulk messages arrive in
//! order while their connection stands and are lost with it. A node that crashes
//! keeps the records that its disk had finished, and perhaps some of the others.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_macros
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vivace_core::client_protocol::{ClientReply, Request};
use vivace_core::cluster::{Cluster, ClusterSpec};
use vivace_core::message::{BulkMessage, PriorityMessage};
use vivace_core::record::Record;
use vivace_core::{Class, Event, Lsn, Node, NodeId, ProtocolStatus, RequestId, SiteId};

pub mod history;
pub mod layout;
pub mod requests;
mod run;
pub mod script;

/// True time when the simulation begins, in nanoseconds since the Unix epoch.
const BEGINNING_NS: u64 = 1_800_000_000_000_000_000;

/// Events that one virtual instant may hold before it counts as an endless loop.
const EVENTS_AT_ONCE_MAX: u32 = 100_000;

/// Bounds between which a duration is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub min: Duration,
    pub max: Duration,
}

impl Spread {
    pub const ZERO: Self = Self::exactly(Duration::ZERO);

    pub const fn exactly(duration: Duration) -> Self {
        Self {
            min: duration,
            max: duration,
        }
    }

    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Duration {
        if self.min == self.max {
            self.min
        } else {
            rng.random_range(self.min..=self.max)
        }
    }
}

/// How long messages and disk writes take.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    /// δ: inside a site, both classes.
    pub local: Spread,
    /// d: priority, between sites.
    pub priority: Spread,
    /// D: bulk, between sites.
    pub bulk: Spread,
    /// From a record to its durability.
    pub disk: Spread,
}

/// A message on its way.
#[derive(Clone, Debug)]
pub enum Wire {
    Priority(PriorityMessage),
    Bulk(BulkMessage),
}

impl Wire {
    pub fn class(&self) -> Class {
        match self {
            Self::Priority(_) => Class::Priority,
            Self::Bulk(_) => Class::Bulk,
        }
    }
}

/// What a scripted test does to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Deliver,
    Drop,
    /// Takes this much longer than drawn.
    Late(Duration),
}

/// Decides each message's fate when it is sent.
pub type Script = Box<dyn FnMut(NodeId, NodeId, &Wire) -> Fate>;

/// A clock: true time, shifted; and the error bound that it claims.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostClock {
    pub skew_ns: i64,
    pub error_ns: Option<u64>,
}

/// What the driver of a simulation hears.
#[derive(Debug)]
pub enum Occurrence {
    Reply {
        request: RequestId,
        reply: ClientReply,
    },
    /// The coordinator crashed before it answered.
    Lost { request: RequestId },
    /// The time of a [`Simulation::wake_at`] has come.
    Wake { token: u64 },
}

#[derive(Debug)]
enum Happening {
    Arrival {
        from: NodeId,
        to: NodeId,
        connection: u64,
        wire: Wire,
    },
    Flushed {
        node: NodeId,
        life: u16,
        through: Lsn,
    },
    Tick {
        node: NodeId,
        at: Duration,
    },
    Wake {
        token: u64,
    },
}

/// One machine; its disk outlives its node.
#[derive(Default)]
struct Host {
    node: Option<Node>,
    life: u16,
    log: Vec<Record>,
    unflushed: VecDeque<(Lsn, Record)>,
    flushed_at: Duration,
    tick_at: Option<Duration>,
    clock: HostClock,
}

#[derive(Debug)]
struct Outstanding {
    coordinator: NodeId,
    asked: Duration,
    deadline: Duration,
}

/// A cluster under test.
pub struct Simulation {
    pub now: Duration,
    pub rng: ChaCha8Rng,
    pub delays: Delays,
    /// Share of priority messages that get lost.
    pub loss: f64,
    /// Share of priority messages that arrive twice.
    pub repetition: f64,
    pub script: Option<Script>,
    /// Every message sent to another node, where a test wants to count them.
    pub sent: Option<Vec<(NodeId, NodeId, Wire)>>,
    cluster: Arc<Cluster>,
    trace: bool,
    hosts: BTreeMap<NodeId, Host>,
    agenda: BTreeMap<(Duration, u64), Happening>,
    turn: u64,
    events_at_once: u32,
    /// Pairs that can't connect, smaller node first.
    cut: BTreeSet<(NodeId, NodeId, Class)>,
    /// Standing connections and their numbers, smaller node first.
    connections: BTreeMap<(NodeId, NodeId, Class), u64>,
    connections_made: u64,
    /// One-way black holes: priority is lost, bulk waits.
    blocked: BTreeSet<(NodeId, NodeId)>,
    stalled: Vec<(NodeId, NodeId, u64, Wire)>,
    bulk_arrives: BTreeMap<(NodeId, NodeId), Duration>,
    outstanding: BTreeMap<RequestId, Outstanding>,
    occurrences: VecDeque<Occurrence>,
    last_request: u64,
    #[cfg(feature = "sim")]
    mutants: vivace_core::Mutants,
}

impl Simulation {
    /// Starts and connects all nodes of the cluster, with perfect clocks.
    pub fn new(seed: u64, spec: ClusterSpec, delays: Delays) -> Self {
        let mut simulation = Self::idle(seed, spec, delays);
        simulation.start();
        simulation
    }

    /// The same, of nodes that break the protocol.
    #[cfg(feature = "sim")]
    pub fn with_mutants(
        seed: u64,
        spec: ClusterSpec,
        delays: Delays,
        mutants: vivace_core::Mutants,
    ) -> Self {
        let mut simulation = Self::idle(seed, spec, delays);
        simulation.mutants = mutants;
        simulation.start();
        simulation
    }

    fn start(&mut self) {
        for node in self.nodes() {
            self.boot(node);
        }
        self.reconnect();
    }

    fn idle(seed: u64, spec: ClusterSpec, delays: Delays) -> Self {
        let cluster = Arc::new(Cluster::new(spec).expect("the test's cluster is valid"));
        let clock = HostClock {
            skew_ns: 0,
            error_ns: Some(0),
        };
        let hosts: BTreeMap<NodeId, Host> = cluster
            .spec()
            .nodes
            .keys()
            .map(|&node| {
                (
                    node,
                    Host {
                        clock,
                        ..Host::default()
                    },
                )
            })
            .collect();
        Self {
            now: Duration::from_secs(1),
            rng: ChaCha8Rng::seed_from_u64(seed),
            delays,
            loss: 0.0,
            repetition: 0.0,
            script: None,
            sent: None,
            cluster,
            trace: std::env::var_os("TRACE").is_some(),
            hosts,
            agenda: BTreeMap::new(),
            turn: 0,
            events_at_once: 0,
            cut: BTreeSet::new(),
            connections: BTreeMap::new(),
            connections_made: 0,
            blocked: BTreeSet::new(),
            stalled: Vec::new(),
            bulk_arrives: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            occurrences: VecDeque::new(),
            last_request: 0,
            #[cfg(feature = "sim")]
            mutants: vivace_core::Mutants::none(),
        }
    }

    pub fn nodes(&self) -> Vec<NodeId> {
        self.hosts.keys().copied().collect()
    }

    pub fn spec(&self) -> &ClusterSpec {
        self.cluster.spec()
    }

    pub fn site_of(&self, node: NodeId) -> SiteId {
        self.cluster
            .site_of(node)
            .expect("the node is in the cluster")
    }

    pub fn is_alive(&self, node: NodeId) -> bool {
        self.hosts[&node].node.is_some()
    }

    pub fn alive(&self) -> Vec<NodeId> {
        self.nodes()
            .into_iter()
            .filter(|&node| self.is_alive(node))
            .collect()
    }

    pub fn status(&self, node: NodeId) -> ProtocolStatus {
        self.hosts[&node]
            .node
            .as_ref()
            .expect("the node is alive")
            .status()
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

    /// The durable records of a node.
    pub fn log(&self, node: NodeId) -> &[Record] {
        &self.hosts[&node].log
    }

    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Whether nothing is on its way to replicas and nothing waits, anywhere.
    pub fn is_settled(&self) -> bool {
        self.alive().into_iter().all(|node| {
            let status = self.status(node);
            status.held == 0 && status.backlog.bytes == 0 && status.operations.in_flight == 0
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
        self.outstanding.insert(
            id,
            Outstanding {
                coordinator,
                asked: self.now,
                deadline,
            },
        );
        self.note(|| format!("{coordinator} <- {id:?} {request:?}"));
        self.handle(
            coordinator,
            Event::Request {
                id,
                request,
                deadline,
            },
        );
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

    pub fn wake_at(&mut self, at: Duration, token: u64) {
        self.schedule(at, Happening::Wake { token });
    }

    pub fn set_clock(&mut self, node: NodeId, clock: HostClock) {
        self.host(node).clock = clock;
    }

    /// Gives a node an event of the test's own.
    pub fn inject(&mut self, node: NodeId, event: Event) {
        self.handle(node, event);
    }

    /// The node stops; of the records that are not yet durable, a drawn number
    /// reached the disk all the same.
    pub fn crash(&mut self, node: NodeId) {
        if !self.is_alive(node) {
            return;
        }
        self.note(|| format!("{node} crashes"));
        let unflushed = self.hosts[&node].unflushed.len();
        let kept = self.rng.random_range(0..=unflushed);
        let host = self.host(node);
        let lucky: Vec<Record> = host
            .unflushed
            .drain(..kept)
            .map(|(_, record)| record)
            .collect();
        host.log.extend(lucky);
        host.unflushed.clear();
        host.node = None;
        host.tick_at = None;
        let lost: Vec<RequestId> = self
            .outstanding
            .iter()
            .filter(|(_, request)| request.coordinator == node)
            .map(|(&id, _)| id)
            .collect();
        for request in lost {
            self.outstanding.remove(&request);
            self.occurrences.push_back(Occurrence::Lost { request });
        }
        self.reconnect();
    }

    /// The node comes back with what was durable.
    pub fn restart(&mut self, node: NodeId) {
        if !self.is_alive(node) {
            self.boot(node);
            self.reconnect();
        }
    }

    /// Breaks the connection of `class` between two nodes until [`Simulation::join`].
    pub fn cut(&mut self, a: NodeId, b: NodeId, class: Class) {
        self.cut.insert((a.min(b), a.max(b), class));
        self.reconnect();
    }

    /// Lets two nodes connect again.
    pub fn join(&mut self, a: NodeId, b: NodeId, class: Class) {
        self.cut.remove(&(a.min(b), a.max(b), class));
        self.reconnect();
    }

    /// Nothing goes from `from` to `to`, and neither is told.
    pub fn block(&mut self, from: NodeId, to: NodeId) {
        self.blocked.insert((from, to));
    }

    pub fn unblock(&mut self, from: NodeId, to: NodeId) {
        self.blocked.remove(&(from, to));
        for (from, to, connection, wire) in std::mem::take(&mut self.stalled) {
            if self.blocked.contains(&(from, to)) {
                self.stalled.push((from, to, connection, wire));
            } else {
                self.carry_bulk(from, to, connection, wire);
            }
        }
    }

    /// Ends all faults: every link works and every node that is down starts, but for `gone`.
    pub fn heal(&mut self, gone: &BTreeSet<NodeId>) {
        self.note(|| "all faults end".into());
        self.loss = 0.0;
        self.repetition = 0.0;
        self.script = None;
        for (from, to) in self.blocked.clone() {
            self.unblock(from, to);
        }
        self.cut.clear();
        for node in self.nodes() {
            if !gone.contains(&node) {
                self.restart(node);
            }
        }
        self.reconnect();
    }

    /// What happens next, until a moment: afterwards it is that moment, or that of
    /// the occurrence.
    pub fn next(&mut self, until: Duration) -> Option<Occurrence> {
        loop {
            if let Some(occurrence) = self.occurrences.pop_front() {
                return Some(occurrence);
            }
            match self.agenda.first_key_value() {
                Some((&(at, _), _)) if at <= until => {
                    let ((at, _), happening) = self.agenda.pop_first().expect("just seen");
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
                _ => {
                    if until != Duration::MAX {
                        self.now = self.now.max(until);
                    }
                    return None;
                }
            }
        }
    }
}
