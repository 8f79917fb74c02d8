//! R-TS to all replicas, and R-DATA with it to one in the coordinator's site.
//!
//! Where a container has one place, all replicas are as near as each other, and no more than a
//! majority is asked at first: it answers as soon, and the others are spared half of a read's
//! messages. Repeats go to all.
//!
//! That one answers R-TS as always, and at once sends its newest version where it has it.
//! In the common case no other is newer, and the value is here before the farthest
//! timestamp: a read takes one round trip between sites and nothing besides. What comes so
//! early answers R-DATA by the same rules as what was asked for later, or is let go.
//!
//! The question for both is one call of its own and goes out once. Repeats are mere R-TS,
//! under the name of the other call: so an answer to the first tells that its replica is
//! sending the version, and nothing is sent twice because a timestamp was lost.

use crate::call::Call;
use crate::cluster::Container;
use crate::env::Env;
use crate::event::Class;
use crate::identity::NodeId;
use crate::key::Key;
use crate::message::{PriorityBody, PriorityMessage, RpcId};
use crate::operation::Ticket;
use crate::outbox::Message;
use crate::quorum::majority;
use crate::timestamp::Timestamp;
use crate::value::Value;

/// What came early, but after its timestamp was known.
pub const AWAITED: &str = "early: a value awaited when its timestamp was known";

/// Which timestamp is the newest?
#[derive(Clone, Debug)]
pub struct Query {
    /// The question for timestamps, repeated.
    pub call: Call,
    /// The replica that would be asked for both.
    near: Option<NodeId>,
    early: Option<Early>,
    /// Who was not asked at first.
    spare: Vec<NodeId>,
}

/// A version asked for along with its timestamp.
#[derive(Clone, Debug)]
struct Early {
    rpc: RpcId,
    /// What its replica has said it sends.
    sends: Option<Timestamp>,
    /// What has come. One value for each operation, as in all its later phases.
    version: Option<(Timestamp, Value)>,
}

impl Query {
    /// Asks; `together`: the replica in this site, if there is one, for its version too.
    /// Where this node is itself a replica, asking it later costs nothing.
    pub fn ask(
        env: &mut Env,
        container: &Container,
        ticket: &mut Ticket,
        key: &Key,
        together: bool,
    ) -> Self {
        let near = near(env, container);
        let asked = near.filter(|_| together && container.early_data);
        let rpc = ticket.next_rpc();
        let spare = spare(env, container, asked, rpc);
        let mut others = container.replicas.clone();
        others.retain(|&node| Some(node) != asked && !spare.contains(&node));
        let early = asked.map(|node| {
            let rpc = ticket.next_rpc();
            let body = PriorityBody::ReadTsAndData { key: key.clone() };
            let epoch = container.epoch;
            let message = PriorityMessage { rpc, epoch, body };
            env.out.send(node, Message::Priority(message));
            Early {
                rpc,
                sends: None,
                version: None,
            }
        });
        let body = PriorityBody::ReadTs { key: key.clone() };
        let mut call = Call::priority(env, container, rpc, &others, body);
        if let Some(node) = asked {
            call.expect(env, node);
        }
        for &node in &spare {
            call.spare(env, node);
        }
        Self {
            call,
            near,
            early,
            spare,
        }
    }

    /// Asks the others too: an answer does not count.
    pub fn ask_all(&mut self, env: &mut Env) {
        for node in std::mem::take(&mut self.spare) {
            env.counters
                .count("asked after all: a replica beyond a majority");
            self.call.ask(env, node);
        }
    }

    /// Whether an answer to `rpc` is one to this.
    pub fn is_named(&self, rpc: RpcId) -> bool {
        self.call.rpc == rpc || self.early_rpc() == Some(rpc)
    }

    /// The call that a version may come under, now or later.
    pub fn early_rpc(&self) -> Option<RpcId> {
        self.early.as_ref().map(|early| early.rpc)
    }

    /// A replica has answered R-TS.
    pub fn on_report(&mut self, from: NodeId, rpc: RpcId, known: Timestamp, has: bool) {
        self.call.answered(from);
        if let Some(early) = self.early.as_mut().filter(|early| early.rpc == rpc) {
            early.sends = has.then_some(known);
        }
    }

    /// A version has come.
    pub fn on_data(&mut self, rpc: RpcId, ts: Timestamp, value: Value) {
        if let Some(early) = self.early.as_mut().filter(|early| early.rpc == rpc)
            && early.version.as_ref().is_none_or(|(has, _)| *has < ts)
        {
            early.version = Some((ts, value));
        }
    }

    /// The version that has come, where it is `wanted`; an older one is let go.
    pub fn take_version(
        &mut self,
        env: &mut Env,
        wanted: impl Fn(Timestamp) -> bool,
    ) -> Option<(Timestamp, Value)> {
        let (ts, value) = self.early.as_mut()?.version.take()?;
        if wanted(ts) {
            env.counters
                .count("early: a value that came with its timestamp");
            return Some((ts, value));
        }
        env.counters
            .count("early: a value, but older than was wanted");
        None
    }

    /// Who has said that it is sending the version of `ts`.
    pub fn sender_of(&self, ts: Timestamp) -> Option<NodeId> {
        let sends = self.early.as_ref()?.sends?;
        self.near.filter(|_| sends == ts)
    }

    /// Whether the replica in this site turned out not to have the version wanted, where
    /// it is among those that `have` answered whether they do.
    pub fn is_behind(&self, mut have: impl Iterator<Item = (NodeId, bool)>) -> Option<bool> {
        let near = self.near?;
        have.find(|(node, _)| *node == near).map(|(_, has)| !has)
    }
}

/// Replicas that a query need not go to at first. Others have their turn by the call's number.
fn spare(env: &mut Env, container: &Container, asked: Option<NodeId>, rpc: RpcId) -> Vec<NodeId> {
    if !env.cluster.is_one_place(container) {
        return Vec::new();
    }
    let mut replicas = container.replicas.clone();
    let turn = rpc.operation % replicas.len() as u64;
    replicas.rotate_left(turn as usize);
    // Stable: in turn among equals.
    replicas.sort_by_key(|&node| match node == env.me || Some(node) == asked {
        true => 0,
        false if env.is_prompt(node) => 1,
        false => 2,
    });
    let spare = replicas.split_off(majority(replicas.len()));
    match replicas.iter().all(|&node| env.is_prompt(node)) {
        true => {
            env.counters.count("spared: replicas beyond a majority");
            spare
        }
        false => Vec::new(),
    }
}

/// The nearest replica in this site that can be reached, unless this node is one.
fn near(env: &Env, container: &Container) -> Option<NodeId> {
    if container.replicas.contains(&env.me) {
        return None;
    }
    let replicas = container.replicas.iter().copied();
    let near = replicas.filter(|&node| {
        env.is_local(node) && env.is_up(node, Class::Priority) && env.is_up(node, Class::Bulk)
    });
    near.min_by_key(|&node| (env.rtt(node), node))
}
