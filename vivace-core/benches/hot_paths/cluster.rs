//! Three nodes between which messages take no time, on disks that are durable at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vivace_core::client_protocol::{ClientReply, Request};
use vivace_core::clock::{ClockReading, Now};
use vivace_core::cluster::{Cluster, ClusterSpec, Container, Kind, TimestampSource, ValueCopies};
use vivace_core::machine::Machines;
use vivace_core::message::PriorityMessage;
use vivace_core::stored::ValueId;
use vivace_core::{
    Action, Class, ContainerId, Durability, Epoch, Event, Incarnation, KeyName, Lsn, Node, NodeId,
    RequestId, SiteId, Value,
};

/// The container of RW objects.
pub const RW: &str = "rw";
/// The container of RMW objects.
pub const RMW: &str = "rmw";

/// All replicas are in one site, which is what the machine's other benches measure.
const NODES: u16 = 3;

/// The bound on clocks: nobody waits for commits longer than this.
const CLOCK_ERROR: Duration = Duration::from_micros(10);

/// When the clocks begin.
const EPOCH_NS: u64 = 1_700_000_000_000_000_000;

/// What time passes between two operations.
const STEP: Duration = Duration::from_micros(50);

/// A cluster, and all that is under way in it.
pub struct InstantCluster {
    nodes: Vec<Node>,
    values: Vec<BTreeMap<ValueId, Value>>,
    /// Under way, by receiver.
    events: VecDeque<(usize, Event)>,
    now: Duration,
    requests: u64,
    replies: BTreeMap<RequestId, ClientReply>,
    /// What the second node was told in the priority class, where it is kept.
    told: Option<Vec<(NodeId, PriorityMessage)>>,
}

impl InstantCluster {
    /// One that has handled nothing. All replicas are in one site, so that writes are direct.
    pub fn new() -> Self {
        Self::of(spec())
    }

    /// The same, with writes through the local set, as between sites.
    pub fn without_direct_writes() -> Self {
        let mut spec = spec();
        for container in &mut spec.containers {
            container.direct_writes = false;
        }
        Self::of(spec)
    }

    fn of(spec: ClusterSpec) -> Self {
        let cluster = Arc::new(Cluster::new(spec).expect("the cluster is a valid one"));
        let now = moment(Duration::ZERO);
        let nodes = (0..NODES).map(|node| {
            let machines = Machines::builtin();
            Node::new(
                NodeId(node),
                Incarnation(1),
                cluster.clone(),
                machines,
                now,
                1,
            )
            .expect("the cluster has the node")
        });
        let mut cluster = Self {
            nodes: nodes.collect(),
            values: (0..NODES).map(|_| BTreeMap::new()).collect(),
            events: VecDeque::new(),
            now: Duration::ZERO,
            requests: 0,
            replies: BTreeMap::new(),
            told: None,
        };
        for node in 0..NODES {
            for peer in (0..NODES).filter(|&peer| peer != node) {
                for class in [Class::Priority, Class::Bulk] {
                    let up = Event::PeerUp {
                        node: NodeId(peer),
                        class,
                    };
                    cluster.events.push_back((usize::from(node), up));
                }
            }
        }
        cluster.run();
        cluster
    }

    /// Keeps what the second node is told in the priority class from now on.
    pub fn listen(&mut self) {
        self.told = Some(Vec::new());
    }

    /// What the second node was told since.
    pub fn heard(&mut self) -> Vec<(NodeId, PriorityMessage)> {
        self.told.take().unwrap_or_default()
    }

    /// Has the second node handle a message, and yields how much it had to do.
    pub fn tell(&mut self, from: NodeId, message: PriorityMessage) -> usize {
        let event = Event::Priority { from, message };
        self.nodes[1].handle(moment(self.now), event).len()
    }

    /// Carries out a request at the first node, and all that follows from it.
    pub fn ask(&mut self, request: Request) -> ClientReply {
        self.now += STEP;
        self.requests += 1;
        let id = RequestId(self.requests);
        let deadline = self.now + Duration::from_secs(1);
        self.events.push_back((
            0,
            Event::Request {
                id,
                request,
                deadline,
            },
        ));
        self.run();
        while !self.replies.contains_key(&id) {
            self.wait();
        }
        self.replies.remove(&id).expect("it was just there")
    }

    /// Until the next moment that a node waits for.
    fn wait(&mut self) {
        let next = self.nodes.iter().filter_map(Node::next_deadline).min();
        self.now = self.now.max(next.expect("somebody waits for something"));
        for node in 0..self.nodes.len() {
            self.events.push_back((node, Event::Tick));
        }
        self.run();
    }

    fn run(&mut self) {
        while let Some((node, event)) = self.events.pop_front() {
            let actions = self.nodes[node].handle(moment(self.now), event);
            self.act(node, actions);
        }
    }

    fn act(&mut self, node: usize, actions: Vec<Action>) {
        let from = NodeId(node as u16);
        let mut durable: Option<Lsn> = None;
        for action in actions {
            match action {
                Action::SendPriority { to, message } => {
                    if let (1, Some(told)) = (to.0, &mut self.told) {
                        told.push((from, message.clone()));
                    }
                    self.send(to, Event::Priority { from, message });
                }
                Action::SendBulk { to, message } => self.send(to, Event::Bulk { from, message }),
                Action::SendStored { to, message } => {
                    let value = self.values[node][&message.value].clone();
                    let message = message.with(value);
                    self.send(to, Event::Bulk { from, message });
                }
                Action::StoreValue { lsn, id, value, .. } => {
                    self.values[node].insert(id, value);
                    durable = Some(lsn);
                }
                Action::ForgetValue { id } => drop(self.values[node].remove(&id)),
                Action::Persist { lsn, .. } => durable = Some(lsn),
                Action::PersistLater { .. } => {}
                Action::Reply { request, reply } => drop(self.replies.insert(request, reply)),
            }
        }
        if let Some(through) = durable {
            self.events.push_front((node, Event::Durable { through }));
        }
    }

    fn send(&mut self, to: NodeId, event: Event) {
        self.events.push_back((usize::from(to.0), event));
    }
}

fn moment(monotonic: Duration) -> Now {
    Now {
        monotonic,
        clock: ClockReading {
            time_ns: EPOCH_NS + monotonic.as_nanos() as u64,
            error_ns: Some(1000),
        },
    }
}

fn spec() -> ClusterSpec {
    let all: Vec<NodeId> = (0..NODES).map(NodeId).collect();
    let container = |id, name: &str, kind| Container {
        id: ContainerId(id),
        name: name.to_owned(),
        kind,
        epoch: Epoch(1),
        replicas: all.clone(),
        local_sets: BTreeMap::from([(SiteId(0), all.clone())]),
        timestamps: TimestampSource::Clock,
        write_back_skip: true,
        promise_skip: true,
        commands_at_replicas: true,
        early_data: true,
        direct_writes: true,
        copies: ValueCopies::OnePerSite,
        durability: Durability::Local,
    };
    ClusterSpec {
        name: "bench".to_owned(),
        sites: vec!["here".to_owned()],
        nodes: all.iter().map(|&node| (node, SiteId(0))).collect(),
        containers: vec![container(1, RW, Kind::Rw), container(2, RMW, Kind::Rmw)],
        clock_error_max: CLOCK_ERROR,
        clock_slack: Duration::from_millis(100),
        value_bytes_max: 1 << 20,
        backlog_bytes_max: 64 << 20,
    }
}

/// The n-th key.
pub fn key(number: u64) -> KeyName {
    KeyName::new(format!("bench-{number}").into_bytes()).expect("it is short")
}

/// A value of this length.
pub fn value(bytes: usize) -> Value {
    Value::from(Bytes::from(vec![7; bytes]))
}
