//! R-DATA and OR-DATA: a value from whoever has it, nearest first, hedged.

use std::time::Duration;

use crate::cluster::Container;
use crate::env::Env;
use crate::event::Class;
use crate::identity::NodeId;
use crate::message::{PriorityBody, PriorityMessage, RpcId};
use crate::outbox::Message;
use crate::timestamp::Timestamp;

/// Time beyond a round trip that a node may take before the next is asked too.
const HEDGE_MARGIN: Duration = Duration::from_millis(10);

/// After all candidates were asked, the round is repeated no more often than this.
const ROUND_PAUSE_MAX: Duration = Duration::from_secs(2);

/// One value being fetched.
#[derive(Clone, Debug)]
pub struct Fetch {
    rpc: RpcId,
    message: Message,
    candidates: Vec<NodeId>,
    next: usize,
    rounds: u32,
    ask_next_at: Duration,
}

impl Fetch {
    /// Asks the best of those that may have a value of at least `ts`: `holders`
    /// (whose answers said so) in this site, the nearest holders, the local set of the
    /// writer's site, other replicas. The local set comes before holders elsewhere
    /// where the writer's site is this one, and no other site's local set ever had it.
    pub fn start(
        env: &mut Env,
        container: &Container,
        rpc: RpcId,
        holders: &[NodeId],
        ts: Timestamp,
        body: PriorityBody,
    ) -> Self {
        let candidates = candidates(env, container, holders, ts);
        Self::among(env, container, rpc, candidates, body)
    }

    /// The same, where `sender`, which is in this site, has said that it is sending such a
    /// value: nobody is asked before that has had the time of an answer, and `sender` first.
    pub fn expect(
        env: &mut Env,
        container: &Container,
        rpc: RpcId,
        (sender, holders): (NodeId, &[NodeId]),
        ts: Timestamp,
        body: PriorityBody,
    ) -> Self {
        let mut candidates = candidates(env, container, holders, ts);
        candidates.retain(|&node| node != sender);
        candidates.insert(0, sender);
        let mut fetch = Self::new(env, container, rpc, candidates, body);
        fetch.ask_next_at += fetch.patience(env, sender);
        fetch
    }

    /// Asks these, one after the other.
    pub fn among(
        env: &mut Env,
        container: &Container,
        rpc: RpcId,
        candidates: Vec<NodeId>,
        body: PriorityBody,
    ) -> Self {
        let mut fetch = Self::new(env, container, rpc, candidates, body);
        fetch.ask_next(env);
        fetch
    }

    fn new(
        env: &Env,
        container: &Container,
        rpc: RpcId,
        candidates: Vec<NodeId>,
        body: PriorityBody,
    ) -> Self {
        let message = Message::Priority(PriorityMessage {
            rpc,
            epoch: container.epoch,
            body,
        });
        Self {
            rpc,
            message,
            candidates,
            next: 0,
            rounds: 0,
            ask_next_at: env.now.monotonic,
        }
    }

    /// The call's name; answers carry it.
    pub fn rpc(&self) -> RpcId {
        self.rpc
    }

    fn ask_next(&mut self, env: &mut Env) {
        mutant!(env, AskOneHolder => self.next = 0);
        for _ in 0..self.candidates.len() {
            let node = self.candidates[self.next];
            self.next += 1;
            if self.next == self.candidates.len() {
                self.next = 0;
                self.rounds += 1;
            }
            if env.is_up(node, Class::Priority) {
                env.out.send(node, self.message.clone());
                self.ask_next_at = env.now.monotonic + self.patience(env, node);
                return;
            }
        }
        // Nobody is up: wait for a connection.
        self.ask_next_at = env.now.monotonic + ROUND_PAUSE_MAX;
    }

    fn patience(&self, env: &Env, node: NodeId) -> Duration {
        let patience = env.rtt(node).mul_f64(1.25) + HEDGE_MARGIN;
        let patience = patience * 2_u32.saturating_pow(self.rounds.min(16));
        patience.min(ROUND_PAUSE_MAX)
    }

    /// A node said that it can't answer: the next is asked at once, unless all were.
    pub fn on_refused(&mut self, env: &mut Env) {
        if self.rounds == 0 {
            self.ask_next(env);
        }
    }

    /// Asks one more node where the last had its time. True when every candidate has
    /// been asked once more without an answer: the version may be history.
    pub fn on_tick(&mut self, env: &mut Env) -> bool {
        let rounds = self.rounds;
        if self.ask_next_at <= env.now.monotonic {
            env.counters.count("hedged: a value asked of one more node");
            self.ask_next(env);
        }
        self.rounds > rounds && !mutant!(env, WaitForHistory)
    }

    /// Asks a candidate that has come back.
    pub fn on_peer_up(&mut self, env: &mut Env, node: NodeId) {
        if self.candidates.contains(&node) {
            env.out.send(node, self.message.clone());
        }
    }

    /// When [`Fetch::on_tick`] is next due.
    pub fn next_wakeup(&self) -> Duration {
        self.ask_next_at
    }
}

/// Who may have a value of `ts`, the best first; see [`Fetch::start`].
pub fn candidates(
    env: &Env,
    container: &Container,
    holders: &[NodeId],
    ts: Timestamp,
) -> Vec<NodeId> {
    let by_distance = |nodes: &mut Vec<NodeId>| nodes.sort_by_key(|&node| (env.rtt(node), node));
    let mut holders = holders.to_vec();
    by_distance(&mut holders);
    let mut replicas = container.replicas.clone();
    by_distance(&mut replicas);
    let local_holders = holders.iter().filter(|&&node| env.is_local(node));
    let writer_site = env
        .cluster
        .site_of(ts.writer.node())
        .map_or(&[][..], |site| container.local_set(site));

    let written_here = env.is_local(ts.writer.node());
    let mut ordered = Vec::new();
    for &node in local_holders
        .chain(writer_site.iter().filter(|_| written_here))
        .chain(&holders)
        .chain(writer_site)
        .chain(&replicas)
    {
        if !ordered.contains(&node) {
            ordered.push(node);
        }
    }
    ordered
}
