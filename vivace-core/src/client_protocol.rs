//! What a client and its coordinator say to each other, encoded by [`crate::codec`].
//!
//! A bidirectional QUIC stream carries one [`ClientRequest`] and its [`ClientReply`], each the
//! whole of its direction. A client that is let open a unidirectional stream may put small
//! requests into that one, [framed](framing); their replies come in unidirectional streams
//! of the node's: small ones share the first, a longer one has a stream of its own.

pub mod framing;

use bincode::{Decode, Encode};

use crate::blob::Blob;
use crate::durability::Durability;
use crate::key::KeyName;
use crate::status::NodeStatus;
use crate::timestamp::Timestamp;
use crate::value::Value;

/// The QUIC protocol name of the client port.
pub const CLIENT_ALPN: &[u8] = b"vivace-client/1";

/// QUIC application error code with which a node closes a client's connection.
pub mod close_code {
    /// The certificate names no client of this cluster.
    pub const REFUSED: u32 = 1;
    /// The node is stopping: go to another one of the site.
    pub const STOPPING: u32 = 2;
    /// The node has too many clients: go to another one of the site.
    pub const FULL: u32 = 3;
    /// A frame was too long to be read, and what comes after it is lost.
    pub const FRAME_TOO_LONG: u32 = 4;
}

/// How the reason of a failure begins that concerns the answering node alone,
/// because it is stopping: another one of the site may carry out the request.
pub const STOPPING_REASON: &str = "this node is stopping";

/// The longest container name, in bytes.
pub const CONTAINER_NAME_BYTES_MAX: usize = 64;

/// A line of RMW commands, each of which takes effect at most once.
///
/// Made by a node ([`Request::OpenSession`]) and ordered by age. A session has
/// one command in flight at a time and numbers its commands upward; repeating
/// a number yields the first execution's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct SessionId(pub Timestamp);

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ClientRequest {
    /// When the client gives up, in milliseconds from now. 1 to [`DEADLINE_MS_MAX`].
    pub deadline_ms: u32,
    /// The operation.
    pub request: Request,
}

/// A [`ClientRequest`] to be encoded, of a request that stays where it is.
#[derive(Clone, Copy, Debug, Encode)]
pub struct ClientRequestRef<'a> {
    /// As [`ClientRequest::deadline_ms`].
    pub deadline_ms: u32,
    /// The operation.
    pub request: &'a Request,
}

/// The longest deadline, in milliseconds: what a node holds for a client is bounded in time.
pub const DEADLINE_MS_MAX: u32 = 600_000;

/// An operation on one object, or on the node itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// Read an RW object.
    Read {
        /// The container's name.
        container: String,
        /// The object's name.
        key: KeyName,
    },
    /// Write an RW object; a tombstone deletes it.
    Write {
        /// The container's name.
        container: String,
        /// The object's name.
        key: KeyName,
        /// The new value.
        value: Value,
        /// Where it must be durable before the answer; the container's level where none.
        durability: Option<Durability>,
    },
    /// Apply a command to an RMW object.
    Execute {
        /// The container's name.
        container: String,
        /// The object's name.
        key: KeyName,
        /// The state machine's [`NAME`](crate::machine::StateMachine::NAME).
        machine: String,
        /// The session.
        session: SessionId,
        /// The command's number in its session, from 1.
        sequence: u64,
        /// Whether the command may have been sent before, to this node or another.
        /// Its result is then kept even if it changes nothing, or the first try,
        /// still under way somewhere, could take effect after the client heard this one's.
        repeated: bool,
        /// The encoded command.
        command: Blob,
        /// Where its effect must be durable before the answer; the container's level
        /// where none.
        durability: Option<Durability>,
    },
    /// Read the state of an RMW object.
    ReadState {
        /// The container's name.
        container: String,
        /// The object's name.
        key: KeyName,
        /// The state machine's name.
        machine: String,
    },
    /// Make a new session.
    OpenSession,
    /// Describe the node.
    Status,
    /// List objects whose newest value is nowhere to be had.
    FindLost {
        /// The container's name.
        container: String,
        /// Only names after this one.
        after: Option<KeyName>,
        /// At most so many; 1 to 256.
        limit: u16,
    },
    /// Give up the newest value of such an object, so that it can be read again.
    AcceptLoss {
        /// The container's name.
        container: String,
        /// The object's name.
        key: KeyName,
        /// The lost version, as a listing named it. A newer one is left alone.
        ts: Timestamp,
    },
    /// List all objects, for a backup.
    ListObjects {
        /// The container's name.
        container: String,
        /// Only names after this one.
        after: Option<KeyName>,
        /// At most so many; 1 to 256.
        limit: u16,
    },
    /// Read an object of either kind as a whole, for a backup.
    CopyObject {
        /// The container's name.
        container: String,
        /// The object's name.
        key: KeyName,
        /// A version at least this new, as a listing named it.
        at_least: Timestamp,
    },
    /// Make an RMW object what a backup holds, where it does not exist.
    RestoreObject {
        /// The container's name.
        container: String,
        /// The object's name.
        key: KeyName,
        /// What [`Success::Copied`] brought: state, machine and sessions.
        object: Blob,
        /// Where it must be durable before the answer; the container's level where none.
        durability: Option<Durability>,
    },
}

impl Request {
    /// Whether it gives an object a new version, which takes space and may have taken effect
    /// though nobody heard of it.
    pub fn makes_a_version(&self) -> bool {
        matches!(
            self,
            Self::Write { .. } | Self::Execute { .. } | Self::RestoreObject { .. }
        )
    }
}

/// The answer to a request.
pub type ClientReply = Result<Success, Failure>;

/// What a request that was carried out yields.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Success {
    /// The object's value and its timestamp.
    Value {
        /// When it was written.
        ts: Timestamp,
        /// What was written.
        value: Blob,
    },
    /// The object was never written, or is deleted.
    NotFound,
    /// The write took effect at this timestamp.
    Written {
        /// Its place in the object's order.
        ts: Timestamp,
    },
    /// The command took effect once; its encoded output.
    Executed {
        /// The output.
        output: Blob,
    },
    /// The state of an RMW object; none where no command has run.
    State {
        /// The encoded state.
        state: Option<Blob>,
    },
    /// A new session.
    Session(SessionId),
    /// The node's view of itself.
    Status(Box<NodeStatus>),
    /// Objects whose newest value is nowhere to be had.
    Lost {
        /// In order of their names.
        keys: Vec<LostKey>,
        /// Nodes that did not say what they hold: with them values may come back.
        silent: Vec<u16>,
        /// Where the next page begins; none where this is the last.
        more: Option<KeyName>,
    },
    /// The best version that was left is the object's newest now.
    LossAccepted,
    /// Objects that exist, or did: the deleted are among them.
    Objects {
        /// In order of their names.
        keys: Vec<ListedKey>,
        /// Where the next page begins; none where this is the last.
        more: Option<KeyName>,
    },
    /// An object as a whole: an RW object's value, or an RMW object's state with its
    /// machine and sessions; a tombstone where there is nothing.
    Copied {
        /// What it is.
        value: Value,
    },
    /// The RMW object is as it was handed over.
    Restored,
}

/// An object that a majority of replicas was asked about.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ListedKey {
    /// Its name.
    pub key: KeyName,
    /// No version that was acknowledged before the listing is newer.
    pub ts: Timestamp,
}

/// An object whose newest value is nowhere to be had.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LostKey {
    /// Its name.
    pub key: KeyName,
    /// The lost version.
    pub ts: Timestamp,
    /// The site where that was written.
    pub site: String,
    /// The best version that is left, where there is one.
    pub best: Option<Timestamp>,
}

/// Why a request has no result, and whether it may have taken effect.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Failure {
    /// The command's condition does not hold (a compare-and-swap failed). Not applied.
    #[error("conflict: {reason}")]
    Conflict {
        /// What the command found instead.
        reason: String,
    },
    /// Overload or backlog; try again later. Surely not applied.
    #[error("busy: {reason}")]
    Busy {
        /// Which bound was met.
        reason: String,
    },
    /// No majority by the deadline. Surely not applied.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// Who did not answer.
        reason: String,
    },
    /// No answer in time; may have been applied.
    #[error("unknown outcome: {reason}")]
    Unknown {
        /// What was awaited.
        reason: String,
    },
    /// The session is older than the object remembers. Not executed now; a first try
    /// may go on under a new session, a repeated one has an unknown outcome.
    #[error("session is older than this object remembers; open a new one")]
    SessionForgotten,
    /// The request can't be carried out by anyone. Surely not applied.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field at fault.
        field: String,
        /// What would be right.
        reason: String,
    },
}
