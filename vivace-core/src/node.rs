//! One node: replica, local-set member and coordinator behind one door.

#[cfg(feature = "sim")]
mod mutated;

use std::sync::Arc;
use std::time::Duration;

use crate::client_protocol::Request;
use crate::clock::{Mode, Now};
use crate::cluster::{Cluster, Container, Kind};
use crate::coordinator::Coordinator;
use crate::data_waiters::DataWaiters;
use crate::env::Env;
use crate::event::{Action, Class, Event, RequestId};
use crate::identity::{Incarnation, NodeId};
use crate::key::Key;
use crate::lan_rmw;
use crate::local_set::{LOCAL_SET_OPERATION, LocalSet, Sender};
use crate::machine::Machines;
use crate::message::{
    BulkBody, BulkMessage, CopyTag, PriorityBody, PriorityMessage, Refusal, RpcId,
};
use crate::operation::Input;
use crate::outbox::{Lsn, Message};
use crate::record::Record;
use crate::status::{BacklogStatus, ClockStatus, ContainerStatus, OperationCounts};
use crate::timestamp::Timestamp;
use crate::value::Value;
use crate::vivace_rmw;
use crate::vivace_rw;

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
    /// Local copies, unbound values and questions held: zero when all is settled.
    pub held: usize,
}

/// A node of the cluster as a pure state machine.
pub struct Node {
    env: Env,
    rw: vivace_rw::Replica,
    rmw: vivace_rmw::Replica,
    lan: lan_rmw::Replica,
    local: LocalSet,
    waiters: DataWaiters,
    coordinator: Coordinator,
}

/// Why a node can't be made.
#[derive(Debug, thiserror::Error)]
#[error("node: {0} is not in the cluster's nodes")]
pub struct UnknownNode(NodeId);

impl Node {
    /// A node that starts its life number `incarnation`. `seed` feeds the jitter of
    /// back-offs and nothing else.
    ///
    /// # Errors
    /// [`UnknownNode`] where the cluster does not list it.
    pub fn new(
        me: NodeId,
        incarnation: Incarnation,
        cluster: Arc<Cluster>,
        machines: Machines,
        now: Now,
        seed: u64,
    ) -> Result<Self, UnknownNode> {
        let site = cluster.site_of(me).ok_or(UnknownNode(me))?;
        let mut env = Env::new(me, site, incarnation, cluster, machines, now, seed);
        env.clock.observe(now);
        Ok(Self {
            env,
            rw: Default::default(),
            rmw: Default::default(),
            lan: Default::default(),
            local: LocalSet::default(),
            waiters: DataWaiters::default(),
            coordinator: Coordinator::default(),
        })
    }

    /// A node that breaks the protocol, so that a simulator can prove that its
    /// checker finds it. Otherwise as [`Node::new`].
    ///
    /// # Errors
    /// [`UnknownNode`] where the cluster does not list it.
    #[cfg(feature = "sim")]
    pub fn with_mutants(
        me: NodeId,
        incarnation: Incarnation,
        cluster: Arc<Cluster>,
        machines: Machines,
        now: Now,
        seed: u64,
        mutants: crate::Mutants,
    ) -> Result<Self, UnknownNode> {
        let mut node = Self::new(me, incarnation, cluster, machines, now, seed)?;
        node.env.mutants = mutants;
        mutant!(node.env, AnonymousWriter => node.env.clock.sign_as_nobody());
        Ok(node)
    }

    /// Takes over one durable record of an earlier life, in the order of the log,
    /// before any event.
    pub fn recover(&mut self, record: Record) {
        mutant!(self.env, EmptyRestart => return);
        mutant!(self.env, ForgetPromise && matches!(record, Record::Promised { .. }) => return);
        match record {
            Record::ClockHighWater { time } => self.env.clock.recover_high_water(time),
            Record::Known { key, ts } => self.rw.recover_known(key, ts),
            Record::Complete { key, ts, value } => self.rw.recover_complete(key, ts, value),
            Record::Promised { key, ts } => match self.kind_of(&key) {
                Some(Kind::LanRmw) => self.lan.recover_promised(key, ts),
                _ => self.rmw.recover_promised(key, ts),
            },
            Record::Accepted { key, ts } => self.rmw.recover_accepted(key, ts),
            Record::Chosen { key, ts } => self.rmw.recover_chosen(key, ts),
            Record::Version { key, ts, value } => self.rmw.recover_version(key, ts, value),
            Record::LanAccepted { key, ts, value } => self.lan.recover_accepted(key, ts, value),
            Record::LocalCopy { key, tag, value } => {
                self.local.recover_copy(&self.env, &key, tag, value);
            }
            Record::LocalBound { key, write, ts } => {
                self.local.recover_bound(&self.env, &key, write, ts);
            }
            Record::LocalAborted { write, .. } => self.local.recover_aborted(write),
            Record::LocalGivenUp { key, write } => self.local.recover_given_up(&key, write),
            Record::LocalDropped { key, ts } => {
                self.local.recover_dropped(self.kind_of(&key), &key, ts);
            }
        }
    }

    fn kind_of(&self, key: &Key) -> Option<Kind> {
        self.env
            .cluster
            .container(key.container)
            .map(|container| container.kind)
    }

    /// Handles one event and all that it causes inside this node; returns what is to
    /// be done outside, in order.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Action> {
        debug_assert!(
            now.monotonic >= self.env.now.monotonic,
            "monotonic time runs back"
        );
        self.env.now = now;
        mutant!(self.env, TrustUnknownClock => self.env.now.clock.claim_exactness());
        self.env.clock.observe(self.env.now);
        match event {
            Event::Request {
                id,
                request,
                deadline,
            } => self.on_request(id, request, deadline),
            Event::Priority { from, message } => self.on_priority(from, message),
            Event::Bulk { from, message } => self.on_bulk(from, message),
            Event::PeerUp { node, class } => self.on_peer_up(node, class),
            Event::PeerDown { node, class } => {
                self.env.set_peer(node, class, false);
                if class == Class::Bulk {
                    self.local.propagator.on_peer_down(&mut self.env, node);
                }
            }
            Event::RoundTrip { node, rtt } => self.env.set_rtt(node, rtt),
            Event::Durable { through } => self.env.out.on_durable(through),
            Event::Tick => {}
        }
        self.drain_loopback();
        self.run_timers();
        self.env.out.take_actions()
    }

    fn drain_loopback(&mut self) {
        while let Some(message) = self.env.out.next_loopback() {
            let me = self.env.me;
            match message {
                Message::Priority(message) => self.on_priority(me, message),
                Message::Bulk(message) => self.on_bulk(me, message),
            }
        }
    }

    fn run_timers(&mut self) {
        self.coordinator.on_tick(&mut self.env);
        self.local.on_tick(&mut self.env);
        self.waiters.on_tick(self.env.now.monotonic);
        self.drain_loopback();
    }

    /// When [`Event::Tick`] is next needed (monotonic time).
    pub fn next_deadline(&self) -> Option<Duration> {
        let parts = [
            self.coordinator.next_wakeup(),
            self.local.next_wakeup(),
            self.waiters.next_wakeup(),
        ];
        parts.into_iter().flatten().min()
    }

    fn on_request(&mut self, id: RequestId, request: Request, deadline: Duration) {
        let backlog = self.local.backlog_bytes();
        self.coordinator
            .on_request(&mut self.env, backlog, id, request, deadline);
    }

    fn on_peer_up(&mut self, node: NodeId, class: Class) {
        self.env.set_peer(node, class, true);
        self.coordinator.on_peer_up(&mut self.env, node, class);
        self.local.on_peer_up(&mut self.env, node, class);
    }

    /// The container, where this node may serve the request at all.
    fn container_for(
        &mut self,
        key: &Key,
        epoch: crate::identity::Epoch,
    ) -> Result<Container, Refusal> {
        let Some(container) = self.env.cluster.container(key.container) else {
            self.env.counters.count("refused: unknown container");
            return Err(Refusal::UnknownContainer {});
        };
        if container.epoch != epoch {
            let current = container.epoch;
            self.env.counters.count("refused: another epoch");
            return Err(Refusal::WrongEpoch { current });
        }
        Ok(container.clone())
    }

    fn as_replica(&mut self, container: &Container, kinds: &[Kind]) -> Result<(), Refusal> {
        if !kinds.contains(&container.kind) {
            self.env
                .counters
                .count("refused: message of another algorithm");
            return Err(Refusal::WrongKind {});
        }
        if !container.replicas.contains(&self.env.me) {
            self.env.counters.count("refused: not a replica");
            return Err(Refusal::NotAMember {});
        }
        Ok(())
    }

    fn as_local(&mut self, container: &Container, from: NodeId) -> Result<(), Refusal> {
        if !container.kind.uses_local_sets() {
            self.env
                .counters
                .count("refused: message of another algorithm");
            return Err(Refusal::WrongKind {});
        }
        if !container.local_set(self.env.site).contains(&self.env.me) || !self.env.is_local(from) {
            self.env.counters.count("refused: not in the local set");
            return Err(Refusal::NotAMember {});
        }
        Ok(())
    }

    fn on_priority(&mut self, from: NodeId, message: PriorityMessage) {
        let PriorityMessage { rpc, epoch, body } = message;
        match priority_key(&body) {
            None if rpc.operation == LOCAL_SET_OPERATION => {
                if rpc.incarnation == self.env.incarnation {
                    self.local.on_answer(&mut self.env, from, rpc, &body);
                }
            }
            None => {
                let input = Input::Priority { from, rpc, body };
                self.coordinator.on_answer(&mut self.env, rpc, epoch, input);
            }
            Some(key) => {
                let key = key.clone();
                let served = self
                    .container_for(&key, epoch)
                    .and_then(|container| self.serve_priority(&container, from, rpc, body));
                if let Err(why) = served {
                    self.env
                        .send_priority(from, rpc, epoch, PriorityBody::Refused { why });
                }
            }
        }
    }

    fn serve_priority(
        &mut self,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        body: PriorityBody,
    ) -> Result<(), Refusal> {
        const VIVACE: &[Kind] = &[Kind::Rw, Kind::Rmw];
        let epoch = container.epoch;
        match body {
            PriorityBody::ReadTs { key } => {
                // ABD's replicas are asked too, for their clocks.
                self.as_replica(container, &[Kind::Rw, Kind::Rmw, Kind::Abd])?;
                match container.kind {
                    Kind::Rw | Kind::Abd => {
                        self.rw
                            .on_read_ts(&mut self.env, container, from, rpc, &key);
                    }
                    Kind::Rmw | Kind::LanRmw => {
                        self.rmw
                            .on_read_ts(&mut self.env, container, from, rpc, &key);
                    }
                }
            }
            PriorityBody::WriteTs { key, ts } => {
                self.as_replica(container, &[Kind::Rw])?;
                self.refuse_future(container, ts)?;
                self.rw
                    .on_write_ts(&mut self.env, container, from, rpc, &key, ts);
            }
            PriorityBody::ReadData { key, at_least } => {
                self.refuse_future(container, at_least)?;
                if container.replicas.contains(&self.env.me)
                    && container.kind == Kind::Rw
                    && !mutant!(self.env, BufferUnannounced)
                {
                    self.rw.learn(&mut self.env, &key, at_least);
                }
                self.answer_data(container, from, rpc, &key, at_least, Timestamp::MAX);
            }
            PriorityBody::OrderedReadTs { key, ots } => {
                self.as_replica(container, &[Kind::Rmw])?;
                self.refuse_future(container, ots)?;
                self.rmw
                    .on_ordered_read_ts(&mut self.env, container, from, rpc, &key, ots);
            }
            PriorityBody::OrderedReadData {
                key,
                at_least,
                below,
            } => {
                self.answer_data(container, from, rpc, &key, at_least, below);
            }
            PriorityBody::OrderedWriteTs { key, ots } => {
                self.as_replica(container, &[Kind::Rmw])?;
                self.refuse_future(container, ots)?;
                self.rmw
                    .on_ordered_write_ts(&mut self.env, container, from, rpc, &key, ots);
                self.serve_waiters(container, &key);
            }
            PriorityBody::Commit { key, ts } => {
                if container.kind == Kind::Rmw {
                    if container.replicas.contains(&self.env.me) {
                        self.rmw.on_commit(&mut self.env, &key, ts);
                    }
                    self.local.on_commit(&mut self.env, &key, ts);
                    self.serve_waiters(container, &key);
                }
            }
            PriorityBody::Bind { key, write, ts } => {
                self.as_local(container, from)?;
                self.refuse_future(container, ts)?;
                if let Some(lsn) = self.local.on_bind(&mut self.env, &key, write, ts)? {
                    let body = PriorityBody::BindAck {};
                    self.env.answer_when_durable(lsn, from, rpc, epoch, body);
                    mutant!(self.env, LeaveAtOnce =>
                        self.local.leave_at_once(&mut self.env, container, &key, CopyTag::Bound(ts)));
                    self.serve_waiters(container, &key);
                }
            }
            PriorityBody::Abort { key, write } => {
                self.as_local(container, from)?;
                let (bound, lsn) = self.local.on_abort(&mut self.env, &key, write);
                let body = PriorityBody::AbortAck { bound };
                self.env.answer_when_durable(lsn, from, rpc, epoch, body);
            }
            PriorityBody::Go { key, ts } => {
                self.as_local(container, from)?;
                self.local.on_go(&mut self.env, container, &key, ts);
                self.serve_waiters(container, &key);
            }
            PriorityBody::Stable { key, ts } => {
                self.as_local(container, from)?;
                self.local.on_stable(&mut self.env, container, &key, ts);
            }
            PriorityBody::AskPropagation { key, ts } => {
                self.as_local(container, from)?;
                let state = self.local.propagation_of(&key, ts);
                let body = PriorityBody::PropagationIs { key, ts, state };
                self.env.send_priority(from, RpcId::NONE, epoch, body);
            }
            PriorityBody::PropagationIs { key, ts, state } => {
                self.as_local(container, from)?;
                self.local
                    .on_propagation_is(&mut self.env, container, &key, ts, &state);
            }
            PriorityBody::WriteRemoteAck { key, ts } => {
                if VIVACE.contains(&container.kind) && container.replicas.contains(&from) {
                    self.local
                        .propagator
                        .on_ack(&mut self.env, container, from, &key, ts);
                }
            }
            PriorityBody::ReadTsAck { .. }
            | PriorityBody::WriteTsAck { .. }
            | PriorityBody::WriteLocalAck { .. }
            | PriorityBody::BindAck { .. }
            | PriorityBody::AbortAck { .. }
            | PriorityBody::OrderedReadTsAck { .. }
            | PriorityBody::Gone { .. }
            | PriorityBody::OrderedWriteTsAck { .. }
            | PriorityBody::Refused { .. } => {
                unreachable!("priority_key names no key for an answer")
            }
        }
        Ok(())
    }

    fn refuse_future(&mut self, container: &Container, ts: Timestamp) -> Result<(), Refusal> {
        self.env.refuse_future(container, ts).map_or(Ok(()), Err)
    }

    fn on_bulk(&mut self, from: NodeId, message: BulkMessage) {
        let BulkMessage { rpc, epoch, body } = message;
        match bulk_key(&body) {
            None => {
                let input = Input::Bulk { from, rpc, body };
                self.coordinator.on_answer(&mut self.env, rpc, epoch, input);
            }
            Some(key) => {
                let key = key.clone();
                let served = self
                    .container_for(&key, epoch)
                    .and_then(|container| self.serve_bulk(&container, from, rpc, body));
                if let Err(why) = served {
                    let body = BulkBody::Refused { why };
                    self.env
                        .answer_bulk_when_durable(Lsn::default(), from, rpc, epoch, body);
                }
            }
        }
    }

    fn serve_bulk(
        &mut self,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        body: BulkBody,
    ) -> Result<(), Refusal> {
        let epoch = container.epoch;
        match body {
            BulkBody::WriteLocal {
                key,
                tag,
                propagator,
                value,
            } => {
                self.as_local(container, from)?;
                if let CopyTag::Bound(ts) = tag {
                    self.refuse_future(container, ts)?;
                }
                let sender = match rpc.operation {
                    LOCAL_SET_OPERATION => Sender::Sibling,
                    _ => Sender::Coordinator,
                };
                let lsn = self.local.on_write_local(
                    &mut self.env,
                    &key,
                    tag,
                    propagator,
                    value,
                    sender,
                )?;
                let body = PriorityBody::WriteLocalAck {};
                self.env.answer_when_durable(lsn, from, rpc, epoch, body);
                mutant!(self.env, LeaveAtOnce =>
                    self.local.leave_at_once(&mut self.env, container, &key, tag));
                self.serve_waiters(container, &key);
            }
            BulkBody::WriteRemote {
                key,
                ts,
                propagator,
                relay,
                value,
            } => {
                self.as_replica(container, &[Kind::Rw, Kind::Rmw])?;
                self.refuse_future(container, ts)?;
                self.relay(container, &key, ts, propagator, &relay, &value);
                let lsn = match container.kind {
                    Kind::Rw | Kind::Abd => self.rw.on_write_remote(&mut self.env, &key, ts, value),
                    Kind::Rmw | Kind::LanRmw => {
                        self.rmw.on_write_remote(&mut self.env, &key, ts, value)
                    }
                };
                let body = PriorityBody::WriteRemoteAck {
                    key: key.clone(),
                    ts,
                };
                self.env
                    .answer_when_durable(lsn, propagator, RpcId::NONE, epoch, body);
                self.serve_waiters(container, &key);
            }
            BulkBody::AbdRead { key } => {
                self.as_replica(container, &[Kind::Abd])?;
                let (ts, value, lsn) = match self.rw.find(&key, Timestamp::ZERO) {
                    Some((ts, value, lsn)) => (ts, Some(value), lsn),
                    None => (Timestamp::ZERO, None, Lsn::default()),
                };
                let clock = self.env.trusted_time();
                let body = BulkBody::AbdReadAck { ts, value, clock };
                self.env
                    .answer_bulk_when_durable(lsn, from, rpc, epoch, body);
            }
            BulkBody::AbdWrite { key, ts, value } => {
                self.as_replica(container, &[Kind::Abd])?;
                self.refuse_future(container, ts)?;
                let lsn = self.rw.on_write_remote(&mut self.env, &key, ts, value);
                let clock = self.env.trusted_time();
                let body = BulkBody::AbdWriteAck { clock };
                self.env
                    .answer_bulk_when_durable(lsn, from, rpc, epoch, body);
            }
            BulkBody::LanRead { key, ots } => {
                self.as_replica(container, &[Kind::LanRmw])?;
                self.refuse_future(container, ots)?;
                self.lan
                    .on_read(&mut self.env, container, from, rpc, &key, ots);
            }
            BulkBody::LanWrite { key, ots, value } => {
                self.as_replica(container, &[Kind::LanRmw])?;
                self.refuse_future(container, ots)?;
                self.lan
                    .on_write(&mut self.env, container, from, rpc, &key, (ots, value));
            }
            BulkBody::Data { .. }
            | BulkBody::AbdReadAck { .. }
            | BulkBody::AbdWriteAck { .. }
            | BulkBody::LanReadAck { .. }
            | BulkBody::LanWriteAck { .. }
            | BulkBody::Refused { .. } => unreachable!("bulk_key names no key for an answer"),
        }
        Ok(())
    }

    /// Hands a value on inside this site, so that it crosses the link between sites once.
    fn relay(
        &mut self,
        container: &Container,
        key: &Key,
        ts: Timestamp,
        propagator: NodeId,
        relay: &[NodeId],
        value: &Value,
    ) {
        for &node in relay {
            let mine = node == self.env.me || !self.env.is_local(node);
            if mine || !container.replicas.contains(&node) {
                self.env
                    .counters
                    .count("refused: relay to a node that is no replica here");
                continue;
            }
            let body = BulkBody::WriteRemote {
                key: key.clone(),
                ts,
                propagator,
                relay: Vec::new(),
                value: value.clone(),
            };
            let epoch = container.epoch;
            let message = BulkMessage {
                rpc: RpcId::NONE,
                epoch,
                body,
            };
            self.env.out.send(node, Message::Bulk(message));
        }
    }

    fn find_data(
        &self,
        container: &Container,
        key: &Key,
        at_least: Timestamp,
        below: Timestamp,
    ) -> Option<(Timestamp, Value, Lsn)> {
        match container.kind {
            Kind::Rw | Kind::Abd => {
                mutant!(self.env, AnswerUnsafeCopy => return self.find_unsafe(key, at_least));
                self.rw
                    .find(key, at_least)
                    .or_else(|| self.local.find_rw(key, at_least))
            }
            Kind::Rmw | Kind::LanRmw => {
                mutant!(self.env, HideUnaccepted => return self.find_accepted(key, at_least, below));
                mutant!(self.env, BuildOnAnyVersion => return self.rmw.find_newest(key));
                self.rmw
                    .find(key, at_least, below)
                    .or_else(|| self.local.find_rmw(key, at_least, below))
            }
        }
    }

    /// R-DATA, OR-DATA: answers now, or when the value is here.
    fn answer_data(
        &mut self,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        key: &Key,
        at_least: Timestamp,
        below: Timestamp,
    ) {
        if !self.try_answer_data(container, from, rpc, key, at_least, below) {
            let now = self.env.now.monotonic;
            if !self.waiters.add(now, key, (from, rpc), (at_least, below)) {
                self.env
                    .counters
                    .count("dropped: a question for a value, for room");
            }
        }
    }

    fn try_answer_data(
        &mut self,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        key: &Key,
        at_least: Timestamp,
        below: Timestamp,
    ) -> bool {
        let epoch = container.epoch;
        if let Some((ts, value, lsn)) = self.find_data(container, key, at_least, below) {
            let body = BulkBody::Data { ts, value };
            self.env
                .answer_bulk_when_durable(lsn, from, rpc, epoch, body);
            return true;
        }
        if let Some(chosen) = self.rmw.gone(key, below)
            && !mutant!(self.env, WaitForHistory)
        {
            self.env
                .counters
                .count("gone: a version asked for after a newer one was chosen");
            self.env
                .send_priority(from, rpc, epoch, PriorityBody::Gone { chosen });
            return true;
        }
        false
    }

    /// Answers the questions that a change of `key` made answerable.
    fn serve_waiters(&mut self, container: &Container, key: &Key) {
        let mut waiters = self.waiters.take(key);
        waiters
            .retain(|w| !self.try_answer_data(container, w.from, w.rpc, key, w.at_least, w.below));
        self.waiters.put_back(key.clone(), waiters);
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
            },
            causes: env
                .counters
                .causes()
                .iter()
                .map(|(&cause, &count)| (cause.to_owned(), count))
                .collect(),
            held: self.local.held() + self.waiters.count(),
        }
    }
}

/// The object of a request; none for an answer.
fn priority_key(body: &PriorityBody) -> Option<&Key> {
    match body {
        PriorityBody::ReadTs { key }
        | PriorityBody::WriteTs { key, .. }
        | PriorityBody::ReadData { key, .. }
        | PriorityBody::Bind { key, .. }
        | PriorityBody::Abort { key, .. }
        | PriorityBody::Go { key, .. }
        | PriorityBody::Stable { key, .. }
        | PriorityBody::AskPropagation { key, .. }
        | PriorityBody::PropagationIs { key, .. }
        | PriorityBody::WriteRemoteAck { key, .. }
        | PriorityBody::OrderedReadTs { key, .. }
        | PriorityBody::OrderedReadData { key, .. }
        | PriorityBody::OrderedWriteTs { key, .. }
        | PriorityBody::Commit { key, .. } => Some(key),
        PriorityBody::ReadTsAck { .. }
        | PriorityBody::WriteTsAck { .. }
        | PriorityBody::WriteLocalAck { .. }
        | PriorityBody::BindAck { .. }
        | PriorityBody::AbortAck { .. }
        | PriorityBody::OrderedReadTsAck { .. }
        | PriorityBody::Gone { .. }
        | PriorityBody::OrderedWriteTsAck { .. }
        | PriorityBody::Refused { .. } => None,
    }
}

/// The object of a request; none for an answer.
fn bulk_key(body: &BulkBody) -> Option<&Key> {
    match body {
        BulkBody::WriteLocal { key, .. }
        | BulkBody::WriteRemote { key, .. }
        | BulkBody::AbdRead { key }
        | BulkBody::AbdWrite { key, .. }
        | BulkBody::LanRead { key, .. }
        | BulkBody::LanWrite { key, .. } => Some(key),
        BulkBody::Data { .. }
        | BulkBody::AbdReadAck { .. }
        | BulkBody::AbdWriteAck { .. }
        | BulkBody::LanReadAck { .. }
        | BulkBody::LanWriteAck { .. }
        | BulkBody::Refused { .. } => None,
    }
}
