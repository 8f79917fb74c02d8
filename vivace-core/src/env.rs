//! What every part of a node shares while it handles one event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::client_protocol::{ClientReply, Failure};
use crate::clock::{Clock, Now};
use crate::cluster::{Cluster, Container, ValueCopies};
use crate::event::{Class, RequestId};
use crate::holders::Settling;
use crate::identity::{Epoch, Incarnation, NodeId, SiteId};
use crate::machine::Machines;
use crate::message::{
    BulkBody, BulkMessage, PriorityBody, PriorityMessage, Refusal, RpcId, TrustedTime,
};
use crate::outbox::{Lsn, Message, Outbox};
use crate::quorum::majority;
use crate::status::OperationCounts;
use crate::timestamp::Timestamp;
use crate::vivace_rmw::{RecentVersions, Turns};

/// A peer's connections as the transport reports them.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    priority_up: bool,
    bulk_up: bool,
    rtt: Option<Duration>,
    /// Until when it is not counted on, for it did not answer in time.
    late_until: Duration,
}

/// How long a peer that did not answer in time is not counted on: what one that died costs,
/// until its connection is known to be broken, is one wait a second.
const LATE_FOR: Duration = Duration::from_secs(1);

/// What is assumed of a peer in another site before a round trip was measured.
const RTT_UNKNOWN_REMOTE: Duration = Duration::from_millis(100);

/// What is assumed of a peer in this site before a round trip was measured.
const RTT_UNKNOWN_LOCAL: Duration = Duration::from_millis(2);

/// No clock and no counter reaches this (the year 2262): beyond it, "one more" would
/// soon overflow.
const TIME_MAX: u64 = i64::MAX as u64;

/// Events and refusals by cause, for `status` and for the simulator's coverage marks.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    by_cause: BTreeMap<&'static str, u64>,
    /// Client operations by outcome.
    pub operations: OperationCounts,
}

impl Counters {
    /// Counts one occurrence of `cause`.
    pub fn count(&mut self, cause: &'static str) {
        *self.by_cause.entry(cause).or_default() += 1;
    }

    /// All causes that occurred.
    pub fn causes(&self) -> &BTreeMap<&'static str, u64> {
        &self.by_cause
    }
}

/// A small generator for jitter; its seed is an input like any other (SplitMix64).
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A duration between half of `mean` and one and a half of it.
    pub fn around(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(0.5 + (self.next() >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// The shared part of a node.
#[cfg_attr(feature = "sim", derive(Clone))]
pub struct Env {
    /// This node.
    pub me: NodeId,
    /// Its site.
    pub site: SiteId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The configuration.
    pub cluster: Arc<Cluster>,
    /// What RMW objects can be.
    pub machines: Machines,
    /// The moment of the event under way.
    pub now: Now,
    /// Where its effects go.
    pub out: Outbox,
    /// The maker of timestamps.
    pub clock: Clock,
    /// Counts for `status`.
    pub counters: Counters,
    /// For back-off.
    pub jitter: Jitter,
    /// Sessions opened here are younger than every horizon that was met, whatever
    /// this node's clock says.
    pub session_floor: u64,
    /// Commands that took effect, to be waited for; see [`Settling`].
    pub settling: Vec<Settling>,
    /// What this node's own RMW rounds wrote last.
    pub recent: RecentVersions,
    /// The other coordinators that this node met.
    pub turns: Turns,
    /// How this node breaks the protocol.
    #[cfg(feature = "sim")]
    pub mutants: crate::Mutants,
    peers: BTreeMap<NodeId, Peer>,
    /// Who else hears the answer to a request.
    shared: BTreeMap<RequestId, Vec<RequestId>>,
    sharers: usize,
}

impl Env {
    /// The environment of a node that has handled nothing yet.
    pub fn new(
        me: NodeId,
        site: SiteId,
        incarnation: Incarnation,
        cluster: Arc<Cluster>,
        machines: Machines,
        now: Now,
        seed: u64,
    ) -> Self {
        let spec = cluster.spec();
        Self {
            me,
            site,
            incarnation,
            machines,
            now,
            out: Outbox::new(me),
            clock: Clock::new(me, incarnation, spec.clock_error_max, spec.clock_slack),
            counters: Counters::default(),
            jitter: Jitter(seed),
            session_floor: 0,
            settling: Vec::new(),
            recent: RecentVersions::default(),
            turns: Turns::default(),
            #[cfg(feature = "sim")]
            mutants: crate::Mutants::none(),
            peers: BTreeMap::new(),
            shared: BTreeMap::new(),
            sharers: 0,
            cluster,
        }
    }

    /// Writes what decides the future, without counters and the moment of the last event.
    #[cfg(feature = "sim")]
    pub fn write_state(&self, out: &mut impl std::fmt::Write) -> std::fmt::Result {
        let Self {
            out: outbox,
            clock,
            jitter,
            session_floor,
            settling,
            recent,
            turns,
            peers,
            shared,
            sharers: _,
            me: _,
            site: _,
            incarnation: _,
            cluster: _,
            machines: _,
            now: _,
            counters: _,
            mutants: _,
        } = self;
        write!(
            out,
            "{outbox:?}{clock:?}{jitter:?}{session_floor}{settling:?}{recent:?}{turns:?}{peers:?}\
             {shared:?}"
        )
    }

    /// Records that a connection stands or broke.
    pub fn set_peer(&mut self, node: NodeId, class: Class, up: bool) {
        let peer = self.peers.entry(node).or_default();
        match class {
            Class::Priority => peer.priority_up = up,
            Class::Bulk => peer.bulk_up = up,
        }
    }

    /// Records a measured round trip.
    pub fn set_rtt(&mut self, node: NodeId, rtt: Duration) {
        self.peers.entry(node).or_default().rtt = Some(rtt);
    }

    /// Whether messages of `class` can reach `node` now, as far as is known.
    pub fn is_up(&self, node: NodeId, class: Class) -> bool {
        node == self.me
            || self.peers.get(&node).is_some_and(|peer| match class {
                Class::Priority => peer.priority_up,
                Class::Bulk => peer.bulk_up,
            })
    }

    /// Records that `node` has not answered in time.
    pub fn set_late(&mut self, node: NodeId) {
        let until = self.now.monotonic + LATE_FOR;
        self.peers.entry(node).or_default().late_until = until;
    }

    /// Whether `node` is likely to answer a priority message at once.
    pub fn is_prompt(&self, node: NodeId) -> bool {
        let is_late = |peer: &Peer| self.now.monotonic < peer.late_until;
        self.is_up(node, Class::Priority) && !self.peers.get(&node).is_some_and(is_late)
    }

    /// Whether a majority of `members` can be reached in `class` now.
    pub fn majority_up(&self, members: &[NodeId], class: Class) -> bool {
        let up = members
            .iter()
            .filter(|&&node| self.is_up(node, class))
            .count();
        up >= majority(members.len())
    }

    /// The expected round trip to `node`.
    pub fn rtt(&self, node: NodeId) -> Duration {
        if node == self.me {
            return Duration::ZERO;
        }
        self.peers
            .get(&node)
            .and_then(|peer| peer.rtt)
            .unwrap_or_else(|| {
                if self.is_local(node) {
                    RTT_UNKNOWN_LOCAL
                } else {
                    RTT_UNKNOWN_REMOTE
                }
            })
    }

    /// The longest expected round trip to those of `members` that are up.
    pub fn rtt_max(&self, members: &[NodeId]) -> Duration {
        members
            .iter()
            .filter(|&&node| self.is_up(node, Class::Priority))
            .map(|&node| self.rtt(node))
            .max()
            .unwrap_or_default()
    }

    /// Whether `node` is in this node's site.
    pub fn is_local(&self, node: NodeId) -> bool {
        self.cluster.site_of(node) == Some(self.site)
    }

    /// Who carries a value to the replicas: this node where it is in the local set,
    /// else the first member that can be reached.
    pub fn propagator_of(&self, local_set: &[NodeId]) -> NodeId {
        if local_set.contains(&self.me) {
            return self.me;
        }
        *local_set
            .iter()
            .find(|&&node| self.is_up(node, Class::Bulk))
            .or(local_set.first())
            .expect("Cluster::new refuses an empty local set")
    }

    /// Who is told that a value is safe, to carry it to the replicas.
    pub fn carriers_of(&self, container: &Container) -> Vec<NodeId> {
        let local_set = container.local_set(self.site);
        match container.copies {
            ValueCopies::OnePerSite => vec![self.propagator_of(local_set)],
            ValueCopies::MemberByReplica => local_set.to_vec(),
        }
    }

    /// This node's trusted lower bound of the true time.
    pub fn trusted_time(&self) -> TrustedTime {
        self.now.clock.trusted()
    }

    /// Sends a priority message that belongs to no call of this node's own.
    pub fn send_priority(&mut self, to: NodeId, rpc: RpcId, epoch: Epoch, body: PriorityBody) {
        self.out
            .send(to, Message::Priority(PriorityMessage { rpc, epoch, body }));
    }

    /// Answers once the log is durable up to `lsn`.
    pub fn answer_when_durable(
        &mut self,
        lsn: Lsn,
        to: NodeId,
        rpc: RpcId,
        epoch: Epoch,
        body: PriorityBody,
    ) {
        mutant!(self, AckBeforeDurable => return self.send_priority(to, rpc, epoch, body));
        let message = Message::Priority(PriorityMessage { rpc, epoch, body });
        self.out.send_when_durable(lsn, to, message);
    }

    /// Like [`Env::answer_when_durable`], in the bulk class.
    pub fn answer_bulk_when_durable(
        &mut self,
        lsn: Lsn,
        to: NodeId,
        rpc: RpcId,
        epoch: Epoch,
        body: BulkBody,
    ) {
        self.out
            .send_when_durable(lsn, to, Message::Bulk(BulkMessage { rpc, epoch, body }));
    }

    /// Refuses a timestamp that runs ahead of what the clocks allow, so that one
    /// broken clock can't put a key out of everyone's reach (DESIGN §4).
    pub fn refuse_future(&mut self, container: &Container, ts: Timestamp) -> Option<Refusal> {
        let limit = self.limit_passed_by(container, ts)?;
        self.counters.count("refused: timestamp ahead of the clock");
        Some(Refusal::FutureTimestamp { limit })
    }

    /// Whether to overlook what a replica tells of `ts`, for the same reason: where a
    /// majority knew it, a majority would have refused it.
    pub fn is_future(&mut self, container: &Container, ts: Timestamp) -> bool {
        let future = self.limit_passed_by(container, ts).is_some();
        if future {
            self.counters
                .count("overlooked: a replica's timestamp ahead of the clock");
        }
        future
    }

    fn limit_passed_by(&self, container: &Container, ts: Timestamp) -> Option<u64> {
        if ts.time > TIME_MAX {
            return Some(TIME_MAX);
        }
        if container.timestamps == crate::cluster::TimestampSource::Query
            || mutant!(self, AcceptFuture)
        {
            return None;
        }
        let limit = self.clock.future_limit(self.now)?;
        (ts.time > limit).then_some(limit)
    }

    /// `other` hears the answer to `first` too.
    pub fn share(&mut self, first: RequestId, other: RequestId) {
        self.shared.entry(first).or_default().push(other);
        self.sharers += 1;
    }

    /// How many clients wait for the answer to another's request.
    pub fn sharers(&self) -> usize {
        self.sharers
    }

    /// Ends a client's operation, and those that share its answer, and counts the outcome.
    pub fn reply(&mut self, request: RequestId, reply: ClientReply) {
        let others = self.shared.remove(&request).unwrap_or_default();
        self.sharers -= others.len();
        for other in others {
            self.reply_one(other, reply.clone());
        }
        self.reply_one(request, reply);
    }

    fn reply_one(&mut self, request: RequestId, reply: ClientReply) {
        let counts = &mut self.counters.operations;
        match &reply {
            Ok(_) | Err(Failure::Conflict { .. }) => counts.succeeded += 1,
            Err(Failure::Busy { .. }) => counts.busy += 1,
            Err(Failure::Unavailable { .. }) => counts.unavailable += 1,
            Err(Failure::Unknown { .. } | Failure::SessionForgotten) => counts.unknown += 1,
            Err(Failure::Invalid { .. }) => counts.invalid += 1,
        }
        self.out.reply(request, reply);
    }
}
