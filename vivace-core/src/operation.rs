//! What all coordinated operations have in common.

use std::time::Duration;

use crate::client_protocol::Failure;
use crate::env::Env;
use crate::event::{Class, RequestId};
use crate::identity::{Incarnation, NodeId};
use crate::message::{BulkBody, PriorityBody, Refusal, RpcId};

/// Something that moves an operation on.
#[derive(Clone, Debug)]
pub enum Input {
    /// The operation begins.
    Start,
    /// An answer of the priority class to one of its calls.
    Priority {
        /// Who answers.
        from: NodeId,
        /// Which call.
        rpc: RpcId,
        /// The answer.
        body: PriorityBody,
    },
    /// An answer of the bulk class to one of its calls.
    Bulk {
        /// Who answers.
        from: NodeId,
        /// Which call.
        rpc: RpcId,
        /// The answer.
        body: BulkBody,
    },
    /// A connection came back.
    PeerUp {
        /// The peer.
        node: NodeId,
        /// Which connection.
        class: Class,
    },
    /// A wake-up or the deadline has come.
    Tick,
}

/// Whether an operation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It waits for more input.
    Continue,
    /// It has answered its client.
    Done,
}

/// Who asked, and the names of the calls made for them.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// What the answer will carry.
    pub request: RequestId,
    /// When to answer at the latest (monotonic time).
    pub deadline: Duration,
    calls: Calls,
}

impl Ticket {
    /// The ticket of the node's `operation`-th operation.
    pub fn new(request: RequestId, deadline: Duration, calls: Calls) -> Self {
        Self {
            request,
            deadline,
            calls,
        }
    }

    /// The name of the operation's next call.
    pub fn next_rpc(&mut self) -> RpcId {
        self.calls.next_rpc()
    }

    /// Whether the client has stopped waiting.
    pub fn is_over(&self, env: &Env) -> bool {
        self.deadline <= env.now.monotonic
    }
}

/// Names an operation's calls, one after the other.
#[derive(Clone, Debug)]
pub struct Calls {
    incarnation: Incarnation,
    operation: u64,
    made: u32,
}

impl Calls {
    /// The names of the calls of a node's `operation`-th operation in this life.
    pub fn new(incarnation: Incarnation, operation: u64) -> Self {
        Self {
            incarnation,
            operation,
            made: 0,
        }
    }

    /// The name of the next call.
    pub fn next_rpc(&mut self) -> RpcId {
        self.made += 1;
        RpcId {
            incarnation: self.incarnation,
            operation: self.operation,
            call: self.made,
        }
    }
}

/// Words for a refusal, for the client of the operation that met it.
pub fn refusal_text(why: &Refusal) -> String {
    match why {
        Refusal::WrongEpoch { current } => {
            format!(
                "replicas are in epoch {}; this node's configuration differs",
                current.0
            )
        }
        Refusal::UnknownContainer {} => "replicas do not know the container".into(),
        Refusal::NotAMember {} => "replicas do not serve this container".into(),
        Refusal::WrongKind {} => "replicas run another algorithm for the container".into(),
        Refusal::FutureTimestamp { limit } => format!(
            "the timestamp is ahead of the replicas' clocks (limit {limit} ns): \
             check this node's clock"
        ),
        Refusal::NotBindable {} => "the value was given up in the meantime".into(),
        Refusal::Overloaded {} => "replicas are overloaded".into(),
        Refusal::ValueMissing {} => "replicas' disks lost the value".into(),
    }
}

/// The failure of an operation that surely did not happen.
pub fn unavailable(reason: impl Into<String>) -> Failure {
    Failure::Unavailable {
        reason: reason.into(),
    }
}

/// The failure of an operation that may have happened.
pub fn unknown(reason: impl Into<String>) -> Failure {
    Failure::Unknown {
        reason: reason.into(),
    }
}
