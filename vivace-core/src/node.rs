//! One node: replica, local-set member and coordinator behind one door.

mod arriving;
mod data;
mod derive;
#[cfg(feature = "sim")]
mod explored;
#[cfg(feature = "sim")]
mod holding;
#[cfg(feature = "sim")]
mod mutated;
#[cfg(feature = "sim")]
mod remembered;
mod roles;
mod serve_bulk;
mod serve_priority;
mod status;
mod stored_values;

use std::sync::Arc;
use std::time::Duration;

use self::arriving::Arrivals;
use crate::client_protocol::Request;
use crate::clock::Now;
use crate::cluster::{Cluster, Kind};
use crate::coordinator::Coordinator;
use crate::data_waiters::DataWaiters;
use crate::env::Env;
use crate::event::{Action, Class, Event, RequestId};
use crate::identity::{Incarnation, NodeId};
use crate::key::Key;
use crate::lan_rmw;
use crate::local_set::LocalSet;
use crate::machine::Machines;
use crate::outbox::Message;
use crate::record::Record;
use crate::repair::Repairs;
use crate::vivace_rmw::{self, Derivings};
use crate::vivace_rw;

#[cfg(feature = "sim")]
pub use holding::Holding;
pub use status::ProtocolStatus;

/// A node of the cluster as a pure state machine.
#[cfg_attr(feature = "sim", derive(Clone))]
pub struct Node {
    env: Env,
    rw: vivace_rw::Replica,
    rmw: vivace_rmw::Replica,
    lan: lan_rmw::Replica,
    local: LocalSet,
    waiters: DataWaiters,
    repairs: Repairs,
    deriving: Derivings,
    arrivals: Arrivals,
    coordinator: Coordinator,
}

/// Why a node can't be made.
#[derive(Debug, thiserror::Error)]
#[error("node: {0} is not in the cluster's nodes")]
pub struct UnknownNode(NodeId);

impl Node {
    /// A node that starts its life number `incarnation`. `seed` feeds the jitter of
    /// back-offs and the hashes of names, and nothing else.
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
            rw: vivace_rw::Replica::new(seed),
            rmw: vivace_rmw::Replica::new(seed),
            lan: Default::default(),
            local: LocalSet::default(),
            waiters: DataWaiters::default(),
            repairs: Repairs::default(),
            deriving: Derivings::default(),
            arrivals: Arrivals::default(),
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
                self.local.recover_copy(&mut self.env, &key, tag, value);
            }
            Record::LocalBound { key, write, ts } => {
                self.local.recover_bound(&mut self.env, &key, write, ts);
            }
            Record::LocalAborted { write, .. } => self.local.recover_aborted(write),
            Record::LocalGivenUp { key, write } => self.local.recover_given_up(&key, write),
            Record::LocalDropped { key, ts } => {
                self.local.recover_dropped(self.kind_of(&key), &key, ts);
            }
            Record::ValueLost { key, ts } => {
                self.rw.lose(&key, ts);
                self.rmw.lose(&key, ts);
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
            Event::Durable { through } => {
                self.env.out.on_durable(through);
                self.on_stored(through);
            }
            Event::NotLoaded { to, message } => self.on_not_loaded(to, message),
            Event::ValueLost { id } => self.on_value_lost(&id),
            Event::NoRoom { message } => self.on_no_room(message),
            Event::Tick => {}
        }
        self.drain_loopback();
        self.run_timers();
        self.local.drop_delivered(&mut self.env);
        self.forget_released();
        self.env.out.take_actions()
    }

    /// Takes back what [`Node::handle`] returned, emptied, for the next time: it need not
    /// be allocated then.
    pub fn reuse(&mut self, actions: Vec<Action>) {
        self.env.out.reuse(actions);
    }

    fn drain_loopback(&mut self) {
        while let Some(message) = self.env.out.next_loopback() {
            let me = self.env.me;
            match message {
                Message::Priority(message) => self.on_priority(me, message),
                Message::Bulk(message) => self.on_bulk(me, message),
                Message::Stored(_) => unreachable!("a stored value is loaded outside"),
            }
        }
    }

    fn run_timers(&mut self) {
        self.coordinator.on_tick(&mut self.env);
        self.local.on_tick(&mut self.env);
        self.waiters.on_tick(self.env.now.monotonic);
        self.repairs.on_tick(&mut self.env);
        self.deriving.on_tick(self.env.now.monotonic);
        self.fetch_missing();
        self.drain_loopback();
    }

    /// When [`Event::Tick`] is next needed (monotonic time).
    pub fn next_deadline(&self) -> Option<Duration> {
        let parts = [
            self.coordinator.next_wakeup(),
            self.local.next_wakeup(),
            self.waiters.next_wakeup(),
            self.repairs.next_wakeup(),
            self.deriving.next_wakeup(),
        ];
        parts.into_iter().flatten().min()
    }

    fn on_request(&mut self, id: RequestId, request: Request, deadline: Duration) {
        let local = &self.local;
        self.coordinator
            .on_request(&mut self.env, local, id, request, deadline);
    }

    fn on_peer_up(&mut self, node: NodeId, class: Class) {
        self.env.set_peer(node, class, true);
        self.coordinator.on_peer_up(&mut self.env, node, class);
        self.local.on_peer_up(&mut self.env, node, class);
        if class == Class::Priority {
            self.repairs.on_peer_up(&mut self.env, node);
        }
    }
}
