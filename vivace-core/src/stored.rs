//! Values outside the core: what it keeps of them, and messages whose value is loaded
//! as they leave. A node holds timestamps for millions of objects; their values stay
//! on the disk.

use bincode::{Decode, Encode};

use crate::identity::{Epoch, NodeId};
use crate::key::Key;
use crate::message::{BulkBody, BulkMessage, CopyTag, RpcId, TrustedTime};
use crate::timestamp::Timestamp;
use crate::value::Value;

/// Names a stored value. Timestamps and writes are unique, so one id never has two
/// contents: a store may skip what it has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ValueId {
    /// The object.
    pub key: Key,
    /// Which of its values.
    pub tag: CopyTag,
}

impl ValueId {
    /// The value of `key` at `ts`.
    pub fn version(key: &Key, ts: Timestamp) -> Self {
        Self {
            key: key.clone(),
            tag: CopyTag::Bound(ts),
        }
    }
}

/// What the core keeps of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StoredValue {
    /// The object was deleted; there is nothing to store.
    Tombstone,
    /// This many bytes of data, stored outside.
    Bytes(u32),
}

impl StoredValue {
    /// Bytes of data.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Tombstone => 0,
            Self::Bytes(bytes) => u64::from(bytes),
        }
    }
}

impl From<&Value> for StoredValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Tombstone => Self::Tombstone,
            Value::Bytes(_) => {
                Self::Bytes(u32::try_from(value.len()).expect("VALUE_BYTES_MAX is far below 4 GiB"))
            }
        }
    }
}

/// A bulk message whose value is loaded as it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// The call that it makes or answers.
    pub rpc: RpcId,
    /// The container's epoch at the sender.
    pub epoch: Epoch,
    /// What it says, but for the value.
    pub body: StoredBody,
    /// The value.
    pub value: ValueId,
    /// Whether the value was not there when the message was first to leave. It may have
    /// been stored anew between that look and the news of it.
    pub again: bool,
}

/// The [`BulkBody`] of a [`StoredMessage`] without its value, whose object is the
/// value's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredBody {
    /// Answers R-DATA and OR-DATA.
    Data {
        /// The version's timestamp.
        ts: Timestamp,
        /// The oldest version that answers the question.
        at_least: Timestamp,
        /// The first that does not.
        below: Timestamp,
    },
    /// W-LOCAL, from a member of the local set.
    WriteLocal {
        /// The version.
        ts: Timestamp,
        /// The member that will carry it.
        propagator: NodeId,
    },
    /// W-REMOTE.
    WriteRemote {
        /// The version.
        ts: Timestamp,
        /// Whom the acknowledgment goes to.
        propagator: NodeId,
        /// Replicas of the receiver's site to hand it on to.
        relay: Vec<NodeId>,
    },
    /// Answers AbdRead.
    AbdReadAck {
        /// The stored timestamp.
        ts: Timestamp,
        /// The replica's clock.
        clock: TrustedTime,
    },
    /// Answers OR of Alg. 2.
    LanReadAck {
        /// The promise that was made.
        promised: Timestamp,
        /// The stored timestamp.
        ts: Timestamp,
    },
}

impl StoredMessage {
    /// The message with its value.
    pub fn with(self, value: Value) -> BulkMessage {
        let key = self.value.key;
        let body = match self.body {
            StoredBody::Data { ts, .. } => BulkBody::Data { ts, value },
            StoredBody::WriteLocal { ts, propagator } => BulkBody::WriteLocal {
                key,
                tag: CopyTag::Bound(ts),
                propagator,
                value,
                derivation: None,
            },
            StoredBody::WriteRemote {
                ts,
                propagator,
                relay,
            } => BulkBody::WriteRemote {
                key,
                ts,
                propagator,
                relay,
                value,
            },
            StoredBody::AbdReadAck { ts, clock } => BulkBody::AbdReadAck {
                ts,
                value: Some(value),
                clock,
            },
            StoredBody::LanReadAck { promised, ts } => BulkBody::LanReadAck {
                granted: true,
                promised,
                ts,
                value: Some(value),
            },
        };
        BulkMessage {
            rpc: self.rpc,
            epoch: self.epoch,
            body,
        }
    }

    /// Whether a reader waits for it, so that it goes ahead of new values.
    pub fn is_awaited(&self) -> bool {
        !matches!(self.body, StoredBody::WriteRemote { .. })
    }
}
