//! What nodes say to each other, in the paper's words (Vivace Alg. 1-3).
//!
//! The type decides the class: a [`PriorityMessage`] waits for nothing on a full
//! link and can hold no value; a [`BulkMessage`] follows when there is room.

use bincode::{Decode, Encode};

use crate::bounded::{Bounded, bounded_enum};
use crate::identity::{ContainerId, Epoch, Incarnation, NodeId};
use crate::key::{Key, KeyName};
use crate::repair::REPAIR_OPERATION;
use crate::timestamp::Timestamp;
use crate::value::Value;
use crate::vivace_rmw::Derivation;

/// Names one call of one coordinator for ever: an answer to an earlier call, or to
/// a call from before a restart, matches none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct RpcId {
    /// The coordinator's life.
    pub incarnation: Incarnation,
    /// The operation, numbered within the life.
    pub operation: u64,
    /// The call, numbered within the operation from 1; 0 where nobody answers.
    pub call: u32,
}

impl RpcId {
    /// A message that nobody answers.
    pub const NONE: Self = Self {
        incarnation: Incarnation(0),
        operation: 0,
        call: 0,
    };
}

impl Bounded for RpcId {
    const BYTES_MAX: usize = Incarnation::BYTES_MAX + u64::BYTES_MAX + u32::BYTES_MAX;
}

/// Names one write of one coordinator before it has a timestamp (query mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct WriteId {
    /// The coordinator.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Grows with each of its writes.
    pub number: u64,
}

impl Bounded for WriteId {
    const BYTES_MAX: usize = NodeId::BYTES_MAX + Incarnation::BYTES_MAX + u64::BYTES_MAX;
}

/// A trusted lower bound of the true time, in nanoseconds since the Unix epoch:
/// the sender's clock less its error bound. Zero where the clock is not trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct TrustedTime(pub u64);

impl Bounded for TrustedTime {
    const BYTES_MAX: usize = u64::BYTES_MAX;
}

bounded_enum! {
    /// Why a node does not carry out a request. Nothing was changed.
    pub enum Refusal {
        /// The container is in another epoch here.
        0 => WrongEpoch {
            /// The epoch that this node serves.
            current: Epoch,
        },
        /// No such container is configured here.
        1 => UnknownContainer {},
        /// The node is neither replica nor local-set member of the object, as the request needs.
        2 => NotAMember {},
        /// The container runs another algorithm than the request belongs to.
        3 => WrongKind {},
        /// The timestamp is further ahead of this node's clock than the clock bounds allow.
        4 => FutureTimestamp {
            /// The largest `time` that would be accepted now.
            limit: u64,
        },
        /// An unbound value was aborted, or is not held, and so can't be bound.
        5 => NotBindable {},
        /// A bounded queue of this node is full; later it may not be.
        6 => Overloaded {},
        /// The node's disk lost the value that the answer needs.
        7 => ValueMissing {},
    }
}

bounded_enum! {
    /// Where a value's way to the replicas stands.
    pub enum Propagation {
        /// A majority of the replicas hold it or a newer one.
        0 => Stable {},
        /// The asked node is at it.
        1 => UnderWay {},
        /// The asked node knows nothing of it.
        2 => Unknown {},
    }
}

bounded_enum! {
    /// The body of a priority message: timestamps, statuses and acknowledgments.
    pub enum PriorityBody {
        /// R-TS: which timestamp is known?
        0 => ReadTs {
            /// The object.
            key: Key,
        },
        /// What a replica durably knows.
        1 => ReadTsAck {
            /// The newest known timestamp (RMW: the newest accepted).
            known: Timestamp,
            /// The newest timestamp known to be chosen (RMW only).
            chosen: Timestamp,
            /// Whether the replica also holds a value that answers R-DATA(known).
            has: bool,
            /// The replica's clock.
            clock: TrustedTime,
        },
        /// W-TS: know this timestamp.
        2 => WriteTs {
            /// The object.
            key: Key,
            /// The timestamp.
            ts: Timestamp,
        },
        /// The timestamp is durably known.
        3 => WriteTsAck {
            /// The replica's clock.
            clock: TrustedTime,
        },
        /// R-DATA: send a value at least as new.
        4 => ReadData {
            /// The object.
            key: Key,
            /// The oldest timestamp that answers.
            at_least: Timestamp,
        },
        /// W-LOCAL is durable.
        5 => WriteLocalAck {},
        /// The unbound value of `write` has this timestamp.
        6 => Bind {
            /// The object.
            key: Key,
            /// Whose value.
            write: WriteId,
            /// Its timestamp.
            ts: Timestamp,
        },
        /// The binding is durable.
        7 => BindAck {},
        /// Refuse to bind this write from now on.
        8 => Abort {
            /// The object.
            key: Key,
            /// The write.
            write: WriteId,
        },
        /// The write can't be bound here any more, or was bound before.
        9 => AbortAck {
            /// Its timestamp, where it was bound before.
            bound: Option<Timestamp>,
        },
        /// GO: a majority of the local set holds this value; propagate it.
        10 => Go {
            /// The object.
            key: Key,
            /// The value's timestamp.
            ts: Timestamp,
        },
        /// STABLE: a majority of replicas hold it; copies up to it may go.
        11 => Stable {
            /// The object.
            key: Key,
            /// The value's timestamp.
            ts: Timestamp,
        },
        /// Asks the propagator where the value's way stands.
        12 => AskPropagation {
            /// The object.
            key: Key,
            /// The value's timestamp.
            ts: Timestamp,
        },
        /// Answers AskPropagation.
        13 => PropagationIs {
            /// The object.
            key: Key,
            /// The value's timestamp.
            ts: Timestamp,
            /// Where it stands.
            state: Propagation,
        },
        /// W-REMOTE is durable, end to end.
        14 => WriteRemoteAck {
            /// The object.
            key: Key,
            /// The value's timestamp.
            ts: Timestamp,
        },
        /// OR-TS: promise to refuse smaller timestamps.
        15 => OrderedReadTs {
            /// The object.
            key: Key,
            /// The round's timestamp.
            ots: Timestamp,
        },
        /// Answers OR-TS.
        16 => OrderedReadTsAck {
            /// Whether the promise was made.
            granted: bool,
            /// The newest promise; the hint for the next round where not granted.
            promised: Timestamp,
            /// The newest accepted timestamp.
            accepted: Timestamp,
            /// The newest timestamp known to be chosen.
            chosen: Timestamp,
            /// Whether the replica holds the accepted version.
            has: bool,
        },
        /// OR-DATA: send a version in `[at_least, below)`.
        17 => OrderedReadData {
            /// The object.
            key: Key,
            /// The oldest version that answers.
            at_least: Timestamp,
            /// The first version that does not.
            below: Timestamp,
        },
        /// The versions asked for are gone: a newer one was chosen.
        18 => Gone {
            /// The newest timestamp known to be chosen.
            chosen: Timestamp,
        },
        /// OW-TS: accept this version.
        19 => OrderedWriteTs {
            /// The object.
            key: Key,
            /// The version.
            ots: Timestamp,
        },
        /// Answers OW-TS.
        20 => OrderedWriteTsAck {
            /// Whether the version was accepted.
            accepted: bool,
            /// The newest promise.
            promised: Timestamp,
        },
        /// COMMIT: this version is chosen.
        21 => Commit {
            /// The object.
            key: Key,
            /// The version.
            ts: Timestamp,
        },
        /// The request was not carried out.
        22 => Refused {
            /// Why.
            why: Refusal,
        },
        /// Say when a value at least as new as this is durable here.
        23 => AwaitValue {
            /// The object.
            key: Key,
            /// Its timestamp.
            ts: Timestamp,
        },
        /// It is.
        24 => ValueHeld {},
        /// Acknowledge W-REMOTE once more, if the value has come: the first
        /// acknowledgment may be lost.
        25 => AskStored {
            /// The object.
            key: Key,
            /// Its timestamp.
            ts: Timestamp,
        },
        /// W-REMOTE came and was dropped, for the disk is full: send it again in a while.
        26 => NoRoom {
            /// The object.
            key: Key,
            /// Its timestamp.
            ts: Timestamp,
        },
        /// R-TS and R-DATA in one: answer R-TS, and where `has` is then true, send the
        /// version of `known` too.
        27 => ReadTsAndData {
            /// The object.
            key: Key,
        },
        /// A version came as commands, which can't be applied here: send its value.
        28 => NeedValue {
            /// The object.
            key: Key,
            /// Its timestamp.
            ts: Timestamp,
        },
    }
}

/// A message of the priority class: small, idempotent, without a value.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PriorityMessage {
    /// The call that it makes or answers.
    pub rpc: RpcId,
    /// The container's epoch at the sender.
    pub epoch: Epoch,
    /// What it says.
    pub body: PriorityBody,
}

impl Bounded for PriorityMessage {
    const BYTES_MAX: usize = RpcId::BYTES_MAX + Epoch::BYTES_MAX + PriorityBody::BYTES_MAX;
}

/// The longest priority message, in bytes: a third of the smallest QUIC datagram,
/// so that several share a packet.
pub const PRIORITY_MESSAGE_BYTES_MAX: usize = PriorityMessage::BYTES_MAX;

const _: () = assert!(PRIORITY_MESSAGE_BYTES_MAX <= 400);

/// What a local copy is filed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum CopyTag {
    /// The write's timestamp is known.
    Bound(Timestamp),
    /// It is still being asked for (query mode); BIND follows.
    Unbound(WriteId),
}

/// An object, and how new a replica knows it to be.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KnownKey {
    /// Its name in its container.
    pub name: KeyName,
    /// The newest timestamp that the replica knows.
    pub known: Timestamp,
}

/// The body of a bulk message: whatever holds a value, and all of the baselines.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum BulkBody {
    /// W-LOCAL: keep this value on its way out.
    WriteLocal {
        /// The object.
        key: Key,
        /// Its timestamp, or whose it is.
        tag: CopyTag,
        /// The member that will carry it to the replicas.
        propagator: NodeId,
        /// The value.
        value: Value,
        /// How it follows from an earlier version (RMW): in one step.
        derivation: Option<Box<Derivation>>,
    },
    /// W-REMOTE: store this value.
    WriteRemote {
        /// The object.
        key: Key,
        /// Its timestamp.
        ts: Timestamp,
        /// Whom the acknowledgment goes to.
        propagator: NodeId,
        /// Replicas of the receiver's site to hand it on to.
        relay: Vec<NodeId>,
        /// The value.
        value: Value,
    },
    /// Answers R-DATA and OR-DATA.
    Data {
        /// The version's timestamp.
        ts: Timestamp,
        /// Its value.
        value: Value,
    },
    /// ABD: send timestamp and value.
    AbdRead {
        /// The object.
        key: Key,
    },
    /// Answers AbdRead.
    AbdReadAck {
        /// The stored timestamp.
        ts: Timestamp,
        /// The stored value; none where nothing was written, or where the disk has
        /// lost it, which does for a write alone.
        value: Option<Value>,
        /// The replica's clock.
        clock: TrustedTime,
    },
    /// ABD: store timestamp and value.
    AbdWrite {
        /// The object.
        key: Key,
        /// The timestamp.
        ts: Timestamp,
        /// The value.
        value: Value,
    },
    /// The pair is durable.
    AbdWriteAck {
        /// The replica's clock.
        clock: TrustedTime,
    },
    /// OR of Alg. 2.
    LanRead {
        /// The object.
        key: Key,
        /// The round's timestamp.
        ots: Timestamp,
    },
    /// Answers OR.
    LanReadAck {
        /// Whether the promise was made.
        granted: bool,
        /// The newest promise.
        promised: Timestamp,
        /// The stored timestamp.
        ts: Timestamp,
        /// The stored value, where granted and written.
        value: Option<Value>,
    },
    /// OW of Alg. 2.
    LanWrite {
        /// The object.
        key: Key,
        /// The round's timestamp.
        ots: Timestamp,
        /// The new value.
        value: Value,
    },
    /// Answers OW.
    LanWriteAck {
        /// Whether the value was accepted.
        accepted: bool,
        /// The newest promise.
        promised: Timestamp,
    },
    /// The request was not carried out.
    Refused {
        /// Why.
        why: Refusal,
    },
    /// Which objects' newest values are not here?
    ListLacking {
        /// Of which container.
        container: ContainerId,
        /// Only names after this one.
        after: Option<KeyName>,
        /// At most so many.
        limit: u16,
    },
    /// Answers ListLacking.
    Lacking {
        /// In order of their names.
        keys: Vec<KnownKey>,
        /// Whether there are no more.
        is_last: bool,
    },
    /// What are the best versions here?
    WhichHeld {
        /// Of which container.
        container: ContainerId,
        /// Of these objects, whose newest timestamps are these.
        versions: Vec<(KeyName, Timestamp)>,
    },
    /// Answers WhichHeld.
    BestHeld {
        /// In the order asked; zero where there is none.
        best: Vec<Timestamp>,
    },
    /// Which objects are known here?
    ListKnown {
        /// Of which container.
        container: ContainerId,
        /// Only names after this one.
        after: Option<KeyName>,
        /// At most so many.
        limit: u16,
    },
    /// Answers ListKnown.
    KnownKeys {
        /// In order of their names.
        keys: Vec<KnownKey>,
        /// Whether there are no more.
        is_last: bool,
    },
    /// W-REMOTE of an RMW object without the value, for who has an earlier version:
    /// make the version that these commands lead to (Vivace §3.4.2).
    ApplyRemote {
        /// The object.
        key: Key,
        /// Whom the acknowledgment goes to, or the question for the value.
        propagator: NodeId,
        /// Replicas of the receiver's site to hand it on to.
        relay: Vec<NodeId>,
        /// The version, and what it is made of.
        derivation: Derivation,
    },
}

/// A message of the bulk class.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BulkMessage {
    /// The call that it makes or answers.
    pub rpc: RpcId,
    /// The container's epoch at the sender.
    pub epoch: Epoch,
    /// What it says.
    pub body: BulkBody,
}

impl BulkMessage {
    /// Whether a reader waits for it, so that it goes ahead of new values.
    pub fn is_awaited(&self) -> bool {
        !matches!(
            self.body,
            BulkBody::WriteRemote { .. } | BulkBody::ApplyRemote { .. }
        )
    }

    /// Whether its receiver would store its value: where the disk is full it is dropped,
    /// and sent again. What a reader waits for takes no space.
    pub fn takes_space(&self) -> bool {
        match &self.body {
            BulkBody::WriteLocal { .. }
            | BulkBody::WriteRemote { .. }
            | BulkBody::ApplyRemote { .. }
            | BulkBody::AbdWrite { .. }
            | BulkBody::LanWrite { .. } => true,
            BulkBody::Data { .. } => self.rpc.operation == REPAIR_OPERATION,
            BulkBody::AbdRead { .. }
            | BulkBody::AbdReadAck { .. }
            | BulkBody::AbdWriteAck { .. }
            | BulkBody::LanRead { .. }
            | BulkBody::LanReadAck { .. }
            | BulkBody::LanWriteAck { .. }
            | BulkBody::Refused { .. }
            | BulkBody::ListLacking { .. }
            | BulkBody::Lacking { .. }
            | BulkBody::WhichHeld { .. }
            | BulkBody::BestHeld { .. }
            | BulkBody::ListKnown { .. }
            | BulkBody::KnownKeys { .. } => false,
        }
    }
}
