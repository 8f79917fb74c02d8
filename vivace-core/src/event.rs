//! What goes into a node and what comes out.

use std::time::Duration;

use crate::client_protocol::{ClientReply, Request};
use crate::identity::NodeId;
use crate::message::{BulkMessage, PriorityMessage};
use crate::outbox::Lsn;
use crate::record::Record;
use crate::stored::{StoredMessage, ValueId};
use crate::value::Value;

/// Names a client's request within one node; the node's owner chooses it and
/// never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Something that happened to a node.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client asks for an operation, and gives up at `deadline` (monotonic time).
    Request {
        /// What the answer will carry.
        id: RequestId,
        /// The operation.
        request: Request,
        /// When to answer at the latest.
        deadline: Duration,
    },
    /// A priority message arrived.
    Priority {
        /// Who sent it.
        from: NodeId,
        /// What it says.
        message: PriorityMessage,
    },
    /// A bulk message arrived.
    Bulk {
        /// Who sent it.
        from: NodeId,
        /// What it says.
        message: BulkMessage,
    },
    /// A connection to a peer stands.
    PeerUp {
        /// The peer.
        node: NodeId,
        /// Which of the two.
        class: Class,
    },
    /// A connection to a peer broke; what was on its way may be lost.
    PeerDown {
        /// The peer.
        node: NodeId,
        /// Which of the two.
        class: Class,
    },
    /// A priority round trip to a peer was measured.
    RoundTrip {
        /// The peer.
        node: NodeId,
        /// The time it took.
        rtt: Duration,
    },
    /// Records and values are durable up to and including `through`.
    Durable {
        /// The last durable position.
        through: Lsn,
    },
    /// The value of an [`Action::SendStored`] is not there, or damaged: the disk has
    /// lost it, or [`Action::ForgetValue`] overtook the load.
    NotLoaded {
        /// To whom the message was to go.
        to: NodeId,
        /// The message.
        message: StoredMessage,
    },
    /// The disk has lost a value, or damaged it: found by looking through it.
    ValueLost {
        /// Its name.
        id: ValueId,
    },
    /// A bulk message whose value the disk has no space for
    /// ([`BulkMessage::takes_space`]) came, and is not stored.
    NoRoom {
        /// The message.
        message: BulkMessage,
    },
    /// The time that [`Node::next_deadline`](crate::Node::next_deadline) named has come.
    Tick,
}

/// One of the two classes of messages and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Timestamps, statuses, acknowledgments.
    Priority,
    /// Values.
    Bulk,
}

/// Something that a node's owner is to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send it to another node, ahead of all bulk.
    SendPriority {
        /// To whom.
        to: NodeId,
        /// What.
        message: PriorityMessage,
    },
    /// Send it to another node.
    SendBulk {
        /// To whom.
        to: NodeId,
        /// What.
        message: BulkMessage,
    },
    /// Load its value and send it to another node, or give it to this one as
    /// [`Event::Bulk`]; where there is no value, report [`Event::NotLoaded`].
    SendStored {
        /// To whom.
        to: NodeId,
        /// What.
        message: StoredMessage,
    },
    /// Store the value, and report [`Event::Durable`].
    StoreValue {
        /// Its position in the log.
        lsn: Lsn,
        /// Its name.
        id: ValueId,
        /// The value.
        value: Value,
        /// Once stored, it is a record of itself, for
        /// [`Node::recover_stored`](crate::Node::recover_stored).
        is_record: bool,
    },
    /// Remove the value, once all that went before is durable, what may be written later
    /// too. Whether the removal itself is durable does not matter.
    ForgetValue {
        /// Its name.
        id: ValueId,
    },
    /// Append to the log, in order, and report [`Event::Durable`].
    Persist {
        /// The record's position.
        lsn: Lsn,
        /// The record.
        record: Record,
    },
    /// Append to the log, in order. Nothing waits for it, so it has no position: it may be
    /// written with the next [`Action::Persist`], or some milliseconds later.
    PersistLater {
        /// The record.
        record: Record,
    },
    /// Answer a client.
    Reply {
        /// The request.
        request: RequestId,
        /// The answer.
        reply: ClientReply,
    },
}
