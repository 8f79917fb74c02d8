//! Asking several nodes the same thing until each has answered.

use std::time::Duration;

use crate::cluster::Container;
use crate::env::Env;
use crate::event::Class;
use crate::identity::NodeId;
use crate::message::{BulkBody, BulkMessage, PriorityBody, PriorityMessage, RpcId};
use crate::outbox::{Lsn, Message};

/// A lost priority message is repeated after this many of its round trips.
const PRIORITY_RETRY_RTTS: f64 = 1.25;

/// Added to the first repeat, so that a loaded receiver in the same site is not asked twice.
const PRIORITY_RETRY_MARGIN: Duration = Duration::from_millis(10);

/// Repeats of one priority message are never further apart than this.
const PRIORITY_RETRY_MAX: Duration = Duration::from_secs(1);

/// Bulk is reliable while its connection stands, and a new connection repeats at
/// once; this covers what a full queue dropped, and must not add to congestion.
const BULK_RETRY_REMOTE: Duration = Duration::from_secs(5);

/// Repeats of one bulk message between sites are never further apart than this.
const BULK_RETRY_REMOTE_MAX: Duration = Duration::from_secs(60);

/// Inside a site nothing is scarce, but the priority message that acknowledges a
/// value may be lost while its connection stands.
const BULK_RETRY_LOCAL: Duration = Duration::from_secs(2);

/// One question to several nodes, repeated to each until it answers.
#[derive(Clone, Debug)]
pub struct Call {
    /// The call's name; answers carry it.
    pub rpc: RpcId,
    message: Message,
    /// What must be durable before the message may leave.
    pub lsn: Lsn,
    waiting: Vec<Waiting>,
}

#[derive(Clone, Debug)]
struct Waiting {
    node: NodeId,
    /// Whether it was asked at all.
    is_asked: bool,
    repeat_at: Duration,
    pause: Duration,
}

impl Call {
    /// Asks `nodes` in the priority class.
    pub fn priority(
        env: &mut Env,
        container: &Container,
        rpc: RpcId,
        nodes: &[NodeId],
        body: PriorityBody,
    ) -> Self {
        let message = PriorityMessage {
            rpc,
            epoch: container.epoch,
            body,
        };
        Self::start(env, rpc, nodes, Message::Priority(message), Lsn::default())
    }

    /// Asks `nodes` in the bulk class.
    pub fn bulk(
        env: &mut Env,
        container: &Container,
        rpc: RpcId,
        nodes: &[NodeId],
        body: BulkBody,
    ) -> Self {
        let message = BulkMessage {
            rpc,
            epoch: container.epoch,
            body,
        };
        Self::start(env, rpc, nodes, Message::Bulk(message), Lsn::default())
    }

    /// Asks `nodes` in the class of `message`, not before `lsn` is durable.
    pub fn start(env: &mut Env, rpc: RpcId, nodes: &[NodeId], message: Message, lsn: Lsn) -> Self {
        let mut call = Self {
            rpc,
            message,
            lsn,
            waiting: Vec::with_capacity(nodes.len()),
        };
        for &node in nodes {
            call.expect(env, node);
            if env.is_up(node, call.class()) {
                env.out.send_when_durable(lsn, node, call.message.clone());
            }
        }
        call
    }

    /// Expects an answer of `node`, which has been asked otherwise: only repeats go to it.
    pub fn expect(&mut self, env: &Env, node: NodeId) {
        self.wait_for(env, node, true);
    }

    /// Asks `node` only if others have not answered when a first repeat is due, or by
    /// [`Call::ask`].
    pub fn spare(&mut self, env: &Env, node: NodeId) {
        self.wait_for(env, node, false);
    }

    fn wait_for(&mut self, env: &Env, node: NodeId, is_asked: bool) {
        let pause = self.first_pause(env, node);
        self.waiting.push(Waiting {
            node,
            is_asked,
            repeat_at: env.now.monotonic + pause,
            pause,
        });
    }

    /// Asks `node`, which was spared, unless it has been asked since.
    pub fn ask(&mut self, env: &mut Env, node: NodeId) {
        let mut waiting = self.waiting.iter_mut();
        let spared = waiting.find(|waiting| waiting.node == node && !waiting.is_asked);
        let was_spared = spared.map(|waiting| waiting.is_asked = true).is_some();
        if was_spared && env.is_up(node, self.class()) {
            env.out
                .send_when_durable(self.lsn, node, self.message.clone());
        }
    }

    fn class(&self) -> Class {
        match self.message {
            Message::Priority(_) => Class::Priority,
            Message::Bulk(_) | Message::Stored(_) => Class::Bulk,
        }
    }

    fn first_pause(&self, env: &Env, node: NodeId) -> Duration {
        match self.class() {
            Class::Priority => env.rtt(node).mul_f64(PRIORITY_RETRY_RTTS) + PRIORITY_RETRY_MARGIN,
            Class::Bulk if env.is_local(node) => BULK_RETRY_LOCAL,
            Class::Bulk => BULK_RETRY_REMOTE,
        }
    }

    /// Notes that `node` has answered; it is not asked again. False where it had
    /// answered before.
    pub fn answered(&mut self, node: NodeId) -> bool {
        let waiting = self.waiting.len();
        self.waiting.retain(|waiting| waiting.node != node);
        self.waiting.len() < waiting
    }

    /// Whether somebody has not answered in time, for a mutant.
    #[cfg(feature = "sim")]
    pub fn is_due(&self, env: &Env) -> bool {
        self.next_wakeup().is_some_and(|at| at <= env.now.monotonic)
    }

    /// Repeats what is due.
    pub fn on_tick(&mut self, env: &mut Env) {
        let class = self.class();
        for waiting in &mut self.waiting {
            if waiting.repeat_at > env.now.monotonic {
                continue;
            }
            waiting.pause = match class {
                Class::Priority => (waiting.pause * 3 / 2).min(PRIORITY_RETRY_MAX),
                Class::Bulk if env.is_local(waiting.node) => BULK_RETRY_LOCAL,
                Class::Bulk => (waiting.pause * 2).min(BULK_RETRY_REMOTE_MAX),
            };
            waiting.repeat_at = env.now.monotonic + env.jitter.around(waiting.pause);
            let was_asked = std::mem::replace(&mut waiting.is_asked, true);
            if was_asked && class == Class::Priority {
                env.set_late(waiting.node);
            }
            if env.is_up(waiting.node, class) {
                env.counters.count("repeated: a request without an answer");
                env.out
                    .send_when_durable(self.lsn, waiting.node, self.message.clone());
            }
        }
    }

    /// Repeats to a node that has come back, for what was on its way may be lost; further
    /// repeats follow as after a first question, for the path may be another one.
    pub fn on_peer_up(&mut self, env: &mut Env, node: NodeId, class: Class) {
        if class != self.class() {
            return;
        }
        let pause = self.first_pause(env, node);
        if let Some(waiting) = self.waiting.iter_mut().find(|w| w.node == node) {
            waiting.pause = pause;
            waiting.repeat_at = env.now.monotonic + pause;
            env.out
                .send_when_durable(self.lsn, node, self.message.clone());
        }
    }

    /// When [`Call::on_tick`] is next due.
    pub fn next_wakeup(&self) -> Option<Duration> {
        self.waiting.iter().map(|waiting| waiting.repeat_at).min()
    }
}
