//! The kinds of messages that a fault can single out.

use super::wire::Wire;
use crate::message::{BulkBody, PriorityBody};

/// One step of an operation, by the message that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Errand {
    /// R-TS.
    ReadTs,
    /// Its answer.
    ReadTsAck,
    /// W-TS.
    WriteTs,
    /// Its answer.
    WriteTsAck,
    /// R-DATA.
    ReadData,
    /// The answer to W-LOCAL.
    WriteLocalAck,
    /// BIND.
    Bind,
    /// Its answer.
    BindAck,
    /// ABORT.
    Abort,
    /// GO.
    Go,
    /// STABLE.
    Stable,
    /// The answer to W-REMOTE.
    WriteRemoteAck,
    /// OR-TS.
    OrderedReadTs,
    /// Its answer: the promise.
    OrderedReadTsAck,
    /// OR-DATA.
    OrderedReadData,
    /// OW-TS.
    OrderedWriteTs,
    /// Its answer: the acceptance.
    OrderedWriteTsAck,
    /// COMMIT.
    Commit,
    /// W-LOCAL.
    WriteLocal,
    /// W-REMOTE.
    WriteRemote,
    /// W-REMOTE by commands.
    ApplyRemote,
    /// The answer to it that asks for the value.
    NeedValue,
    /// The answer to R-DATA and OR-DATA.
    Data,
}

impl Errand {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::ReadTs,
        Self::ReadTsAck,
        Self::WriteTs,
        Self::WriteTsAck,
        Self::ReadData,
        Self::WriteLocalAck,
        Self::Bind,
        Self::BindAck,
        Self::Abort,
        Self::Go,
        Self::Stable,
        Self::WriteRemoteAck,
        Self::OrderedReadTs,
        Self::OrderedReadTsAck,
        Self::OrderedReadData,
        Self::OrderedWriteTs,
        Self::OrderedWriteTsAck,
        Self::Commit,
        Self::WriteLocal,
        Self::WriteRemote,
        Self::ApplyRemote,
        Self::NeedValue,
        Self::Data,
    ];

    /// What a message is about; none for those that no fault singles out.
    pub fn of(wire: &Wire) -> Option<Self> {
        Some(match wire {
            Wire::Priority(message) => match &message.body {
                PriorityBody::ReadTs { .. } | PriorityBody::ReadTsAndData { .. } => Self::ReadTs,
                PriorityBody::ReadTsAck { .. } => Self::ReadTsAck,
                PriorityBody::WriteTs { .. } => Self::WriteTs,
                PriorityBody::WriteTsAck { .. } => Self::WriteTsAck,
                PriorityBody::ReadData { .. } => Self::ReadData,
                PriorityBody::WriteLocalAck { .. } => Self::WriteLocalAck,
                PriorityBody::Bind { .. } => Self::Bind,
                PriorityBody::BindAck { .. } => Self::BindAck,
                PriorityBody::Abort { .. } => Self::Abort,
                PriorityBody::Go { .. } => Self::Go,
                PriorityBody::Stable { .. } => Self::Stable,
                PriorityBody::WriteRemoteAck { .. } => Self::WriteRemoteAck,
                PriorityBody::OrderedReadTs { .. } => Self::OrderedReadTs,
                PriorityBody::OrderedReadTsAck { .. } => Self::OrderedReadTsAck,
                PriorityBody::OrderedReadData { .. } => Self::OrderedReadData,
                PriorityBody::OrderedWriteTs { .. } => Self::OrderedWriteTs,
                PriorityBody::OrderedWriteTsAck { .. } => Self::OrderedWriteTsAck,
                PriorityBody::Commit { .. } => Self::Commit,
                PriorityBody::NeedValue { .. } => Self::NeedValue,
                PriorityBody::AbortAck { .. }
                | PriorityBody::AskPropagation { .. }
                | PriorityBody::PropagationIs { .. }
                | PriorityBody::Gone { .. }
                | PriorityBody::AwaitValue { .. }
                | PriorityBody::ValueHeld {}
                | PriorityBody::AskStored { .. }
                | PriorityBody::NoRoom { .. }
                | PriorityBody::Refused { .. } => return None,
            },
            Wire::Bulk(message) => match &message.body {
                BulkBody::WriteLocal { .. } => Self::WriteLocal,
                BulkBody::WriteRemote { .. } => Self::WriteRemote,
                BulkBody::ApplyRemote { .. } => Self::ApplyRemote,
                BulkBody::Data { .. } => Self::Data,
                BulkBody::AbdRead { .. }
                | BulkBody::AbdReadAck { .. }
                | BulkBody::AbdWrite { .. }
                | BulkBody::AbdWriteAck { .. }
                | BulkBody::LanRead { .. }
                | BulkBody::LanReadAck { .. }
                | BulkBody::LanWrite { .. }
                | BulkBody::LanWriteAck { .. }
                | BulkBody::Refused { .. }
                | BulkBody::ListLacking { .. }
                | BulkBody::Lacking { .. }
                | BulkBody::WhichHeld { .. }
                | BulkBody::BestHeld { .. }
                | BulkBody::ListKnown { .. }
                | BulkBody::KnownKeys { .. } => return None,
            },
        })
    }
}

/// Messages of one kind that don't get through: priority is lost, bulk waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sieve {
    /// The kind.
    pub errand: Errand,
    /// Of these senders.
    pub from: Vec<crate::NodeId>,
    /// To these receivers.
    pub to: Vec<crate::NodeId>,
}

impl Sieve {
    /// Whether it holds this message back.
    pub fn holds(&self, from: crate::NodeId, to: crate::NodeId, wire: &Wire) -> bool {
        self.from.contains(&from) && self.to.contains(&to) && Errand::of(wire) == Some(self.errand)
    }
}
