//! How a message of the core leaves: whose turn it takes in the priority class, what
//! it repeats, and which of bulk's three ways it goes.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::mem;

use vivace_core::message::{BulkBody, BulkMessage, PriorityBody, PriorityMessage, RpcId};
use vivace_core::{ContainerId, NodeId, codec};

use crate::transport::{self, BulkLane, Flow, Haste};

/// Judges priority messages.
#[derive(Debug, Default)]
pub(crate) struct Urgency {
    hasher: RandomState,
}

impl Urgency {
    /// The message as the transport takes it.
    pub(crate) fn of(&self, message: &PriorityMessage) -> transport::PriorityMessage {
        let bytes = codec::encode(message);
        transport::PriorityMessage {
            flow: container_of(&message.body)
                .map_or(Flow::Answers, |container| Flow::Requests(container.0)),
            identity: Some(self.identity(message, &bytes)),
            haste: haste_of(message),
            bytes: bytes.into(),
        }
    }

    /// Equal for a message and its repeats: the same call, the same kind of body. What
    /// belongs to no call is repeated word for word.
    fn identity(&self, message: &PriorityMessage, bytes: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        let rpc = message.rpc;
        if rpc == RpcId::NONE {
            bytes.hash(&mut hasher);
        } else {
            (rpc.incarnation, rpc.operation, rpc.call).hash(&mut hasher);
            mem::discriminant(&message.body).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Where a node tells of each message that it sends, at the level TRACE.
const MESSAGES: &str = "vivace_node::messages";

/// With `RUST_LOG=vivace_node::messages=trace`, says what leaves in the priority class: the
/// body's name, to whom, and its bytes before they share a packet with others.
pub(crate) fn trace_sent(to: NodeId, message: &PriorityMessage, bytes: usize) {
    if tracing::enabled!(target: MESSAGES, tracing::Level::TRACE) {
        let body = format!("{:?}", message.body);
        let name = body.split(' ').next().unwrap_or_default();
        tracing::trace!(target: MESSAGES, "priority {name} {} {bytes}", to.0);
    }
}

/// The container that the message names; acknowledgments to a call name none.
fn container_of(body: &PriorityBody) -> Option<ContainerId> {
    match body {
        PriorityBody::ReadTs { key }
        | PriorityBody::ReadTsAndData { key }
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
        | PriorityBody::Commit { key, .. }
        | PriorityBody::AwaitValue { key, .. }
        | PriorityBody::AskStored { key, .. }
        | PriorityBody::NoRoom { key, .. }
        | PriorityBody::NeedValue { key, .. } => Some(key.container),
        PriorityBody::ReadTsAck { .. }
        | PriorityBody::WriteTsAck { .. }
        | PriorityBody::WriteLocalAck { .. }
        | PriorityBody::BindAck { .. }
        | PriorityBody::AbortAck { .. }
        | PriorityBody::OrderedReadTsAck { .. }
        | PriorityBody::Gone { .. }
        | PriorityBody::OrderedWriteTsAck { .. }
        | PriorityBody::Refused { .. }
        | PriorityBody::ValueHeld { .. } => None,
    }
}

/// How long it may wait for company.
fn haste_of(message: &PriorityMessage) -> Haste {
    match message.body {
        // A value's way on, or its end.
        PriorityBody::Go { .. } | PriorityBody::Stable { .. } => Haste::Later,
        PriorityBody::WriteRemoteAck { .. } if message.rpc == RpcId::NONE => Haste::Later,
        // A coordinator that lost a round waits for COMMIT, and a reader perhaps for what a
        // replica asks.
        _ if is_unawaited(message) => Haste::Soon,
        _ => Haste::Awaited,
    }
}

/// Whether no operation waits for it.
pub(crate) fn is_unawaited(message: &PriorityMessage) -> bool {
    // A direct write waits for its acknowledgments.
    if let PriorityBody::WriteRemoteAck { .. } = message.body {
        return message.rpc == RpcId::NONE;
    }
    matches!(
        message.body,
        PriorityBody::Commit { .. }
            | PriorityBody::Go { .. }
            | PriorityBody::Stable { .. }
            | PriorityBody::AskStored { .. }
            | PriorityBody::AskPropagation { .. }
            | PriorityBody::PropagationIs { .. }
            | PriorityBody::NoRoom { .. }
            | PriorityBody::NeedValue { .. }
    )
}

/// Bulk's three ways: what somebody waits for, new values, repair.
pub(crate) fn lane_of(message: &BulkMessage) -> BulkLane {
    match &message.body {
        BulkBody::WriteRemote { .. } | BulkBody::ApplyRemote { .. }
            if message.rpc == RpcId::NONE =>
        {
            BulkLane::Propagate
        }
        // What a replica fetches that lacks it: the call names no operation of a client.
        BulkBody::Data { .. } if message.takes_space() => BulkLane::Repair,
        _ => BulkLane::Read,
    }
}
