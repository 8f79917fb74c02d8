//! Waiting until enough replicas hold a value, where a writer asks for more than the
//! paper's durability (DESIGN §5): each replica is asked in the priority class, and
//! answers when the value has come.

use std::time::Duration;

use crate::call::Call;
use crate::client_protocol::{ClientReply, Success};
use crate::cluster::Container;
use crate::durability::Durability;
use crate::env::Env;
use crate::event::{Class, RequestId};
use crate::identity::{ContainerId, NodeId};
use crate::key::Key;
use crate::message::{PriorityBody, RpcId};
use crate::operation::{Calls, Input, Step, Ticket, unknown};
use crate::quorum::majority;
use crate::timestamp::Timestamp;

/// What a writer hears whose value did not get far enough in time. The value is safe
/// in its site, and goes on its way.
pub const TOO_FEW: &str =
    "the write took effect, but too few replicas confirmed in time that they hold its value";

/// Replicas being asked whether they hold a value.
#[derive(Clone, Debug)]
pub struct Holders {
    call: Call,
    missing: usize,
}

impl Holders {
    /// Asks; none where `durability` asks for nothing.
    pub fn start(
        env: &mut Env,
        container: &Container,
        rpc: RpcId,
        key: &Key,
        ts: Timestamp,
        durability: Durability,
    ) -> Option<Self> {
        let mut nodes = container.replicas.clone();
        let missing = match durability {
            Durability::Local => return None,
            Durability::Remote => {
                nodes.retain(|&node| !env.is_local(node));
                1
            }
            Durability::Majority => majority(nodes.len()),
        };
        let body = PriorityBody::AwaitValue {
            key: key.clone(),
            ts,
        };
        let call = Call::priority(env, container, rpc, &nodes, body);
        Some(Self { call, missing })
    }

    /// A replica holds the value.
    pub fn on_held(&mut self, from: NodeId, rpc: RpcId) {
        if self.call.rpc == rpc && self.call.answered(from) {
            self.missing = self.missing.saturating_sub(1);
        }
    }

    /// Whether enough do.
    pub fn are_enough(&self) -> bool {
        self.missing == 0
    }

    /// Repeats what is due.
    pub fn on_tick(&mut self, env: &mut Env) {
        self.call.on_tick(env);
    }

    /// Asks a replica that has come back.
    pub fn on_peer_up(&mut self, env: &mut Env, node: NodeId, class: Class) {
        self.call.on_peer_up(env, node, class);
    }

    /// When [`Holders::on_tick`] is next due.
    pub fn next_wakeup(&self) -> Option<Duration> {
        self.call.next_wakeup()
    }
}

/// A command that took effect, whose client asked for more durability than its round
/// has brought.
#[derive(Clone, Debug)]
pub struct Settling {
    /// The container.
    pub container: ContainerId,
    /// The object.
    pub key: Key,
    /// The version with the command's effect.
    pub ts: Timestamp,
    /// Who waits.
    pub request: RequestId,
    /// Until when (monotonic time).
    pub deadline: Duration,
    /// What it will hear.
    pub success: Success,
    /// What it asked for.
    pub durability: Durability,
}

/// The wait for the holders of one command's version.
#[derive(Clone, Debug)]
pub struct Settle {
    ticket: Ticket,
    settling: Settling,
    holders: Option<Holders>,
}

impl Settle {
    /// A wait, not begun.
    pub fn new(settling: Settling, calls: Calls) -> Self {
        Self {
            ticket: Ticket::new(settling.request, settling.deadline, calls),
            settling,
            holders: None,
        }
    }

    /// Moves the wait on.
    pub fn step(&mut self, env: &mut Env, container: &Container, input: Input) -> Step {
        match input {
            Input::Start => {
                let (rpc, of) = (self.ticket.next_rpc(), &self.settling);
                self.holders = Holders::start(env, container, rpc, &of.key, of.ts, of.durability);
            }
            Input::Priority {
                from,
                rpc,
                body: PriorityBody::ValueHeld {},
            } => self.each(|holders| holders.on_held(from, rpc)),
            Input::Priority { .. } | Input::Bulk { .. } => {}
            Input::PeerUp { node, class } => {
                self.each(|holders| holders.on_peer_up(env, node, class));
            }
            Input::Tick if self.ticket.is_over(env) => {
                return self.reply(env, Err(unknown(TOO_FEW)));
            }
            Input::Tick => self.each(|holders| holders.on_tick(env)),
        }
        if self.holders.as_ref().is_none_or(Holders::are_enough) {
            let success = self.settling.success.clone();
            return self.reply(env, Ok(success));
        }
        Step::Continue
    }

    fn each(&mut self, act: impl FnOnce(&mut Holders)) {
        self.holders.as_mut().map(act);
    }

    fn reply(&self, env: &mut Env, reply: ClientReply) -> Step {
        env.reply(self.ticket.request, reply);
        Step::Done
    }

    /// When the wait next needs a tick.
    pub fn next_wakeup(&self) -> Duration {
        let holders = self.holders.as_ref().and_then(Holders::next_wakeup);
        holders.map_or(self.ticket.deadline, |at| at.min(self.ticket.deadline))
    }
}
