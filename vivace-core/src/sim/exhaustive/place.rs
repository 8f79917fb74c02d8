//! One node with its disk, as it is between two events.

use std::fmt::Write;
use std::time::Duration;

use super::catalogue::{ParcelId, Setting, digest_of};
use super::machine::Host;
use crate::client_protocol::ClientReply;
use crate::clock::{ClockReading, Now};
use crate::cluster::TimestampSource;
use crate::machine::Machines;
use crate::sim::Wire;
use crate::{Incarnation, Lsn, Node, NodeId};

/// Nanoseconds since the Unix epoch when it begins.
const BEGINNING_NS: u64 = 1_000_000_000_000;

/// What can happen to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Input {
    /// A message arrives.
    Arrive(ParcelId),
    /// The operation of this number is asked for.
    Begin(usize),
    /// All that waits for the disk is durable.
    Flush,
    /// The node stops; so many of the records that were not durable are there all the same.
    Crash(usize),
    /// It starts with what was durable.
    Boot,
    /// Connections to a peer stand.
    PeerUp(NodeId),
    /// They broke.
    PeerDown(NodeId),
    /// It wakes up.
    Tick,
    /// From now on it can't crash any more.
    Endure,
}

/// What a node does outside itself.
pub enum Deed {
    Send {
        from: NodeId,
        to: NodeId,
        wire: Wire,
    },
    Reply {
        number: usize,
        reply: ClientReply,
    },
}

#[derive(Clone)]
pub struct Place {
    pub me: NodeId,
    pub host: Host,
    /// All up to this is durable.
    pub flushed: Lsn,
    /// Digest of the running node, and of what its disk holds.
    live: u64,
    /// Digest of what a restart would find, where there may be one.
    durable: Option<u64>,
    /// When it next wants to wake up.
    pub deadline: Option<Duration>,
}

impl Place {
    /// A node that never ran.
    pub fn empty(me: NodeId) -> Self {
        Self {
            me,
            host: Host::default(),
            flushed: Lsn::default(),
            live: 0,
            durable: None,
            deadline: None,
        }
    }

    pub fn is_up(&self) -> bool {
        self.host.node.is_some()
    }

    /// Whether something waits for its disk.
    pub fn is_busy(&self) -> bool {
        !self.host.unflushed.is_empty()
    }

    /// Two places of one digest are the same for all that may follow.
    pub fn digest(&self) -> (NodeId, u64, Option<u64>) {
        (self.me, self.live, self.durable)
    }

    /// Renews the digest after a change.
    pub fn seal(&mut self, setting: &Setting, now: Duration, may_crash: bool) {
        self.live = digest_of(|text| {
            let mut state = format!("{:?}", self.host.unflushed);
            if let Some(node) = &self.host.node {
                node.write_state(&mut state)?;
            }
            let state = relative_to_durable(&state, self.flushed.0);
            let (values, records) = (&self.host.values, &self.host.records);
            write!(text, "{}{values:?}{records:?}{state}", self.host.life)
        });
        self.durable = (may_crash || !self.is_up()).then(|| {
            let recovered = self.fresh_node(setting, now, self.host.life + 1);
            digest_of(|text| recovered.write_state(text))
        });
        self.deadline = self.host.node.as_ref().and_then(Node::next_deadline);
    }

    /// A node that starts with what is durable.
    pub fn fresh_node(&self, setting: &Setting, now: Duration, life: u16) -> Node {
        let mut fresh = Node::with_mutants(
            self.me,
            Incarnation(life),
            setting.cluster.clone(),
            Machines::builtin(),
            reading(setting, now),
            u64::from(self.me.0),
            setting.model.mutants,
        )
        .expect("the node is in the cluster");
        for record in &self.host.log {
            fresh.recover(record.clone());
        }
        fresh.recover_stored(self.host.recorded());
        fresh.end_recovery();
        fresh
    }
}

/// What a node's clocks show.
pub fn reading(setting: &Setting, now: Duration) -> Now {
    let error_ns = match setting.model.timestamps {
        TimestampSource::Clock => Some(0),
        TimestampSource::Query => None,
    };
    Now {
        monotonic: now,
        clock: ClockReading {
            time_ns: BEGINNING_NS + now.as_nanos() as u64,
            error_ns,
        },
    }
}

/// Positions in a log count from what is durable: nodes only ask whether a position is
/// beyond that, and two orders of the same events may differ in how many records they took.
fn relative_to_durable(text: &str, durable: u64) -> String {
    const NAME: &str = "Lsn(";
    let mut relative = String::with_capacity(text.len());
    let mut parts = text.split(NAME);
    relative.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let position: u64 = part[..digits].parse().expect("an Lsn holds a number");
        relative.push_str(NAME);
        relative.push_str(&position.saturating_sub(durable).to_string());
        relative.push_str(&part[digits..]);
    }
    relative
}
