//! Versions that a replica is about to make from commands: it reads the version that
//! they begin at first.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Derivation;
use crate::env::Env;
use crate::identity::NodeId;
use crate::key::Key;
use crate::message::RpcId;
use crate::timestamp::Timestamp;

/// Versions being made at once; for more, values are asked for.
pub const DERIVING_MAX: usize = 1024;

/// A version that has not been read by then will not be; whoever propagates the new one
/// sends it again.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// Reads for this purpose carry this operation number; no coordinator counts so far.
pub const DERIVING_OPERATION: u64 = u64::MAX - 1;

/// One version being made.
#[derive(Clone, Debug)]
pub struct Deriving {
    /// The object.
    pub key: Key,
    /// The version that is being read.
    pub origin: Timestamp,
    /// What follows from it.
    pub derivation: Derivation,
    /// Who hears that it is durable.
    pub propagator: NodeId,
    until: Duration,
}

impl Deriving {
    /// The object, the version to be made, and who waits for news of it.
    pub fn into_parts(self) -> (Key, Timestamp, NodeId) {
        (self.key, self.derivation.ts(), self.propagator)
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Derivings {
    by_call: BTreeMap<u32, Deriving>,
    calls_made: u32,
}

impl Derivings {
    /// How many versions are being made.
    pub fn count(&self) -> usize {
        self.by_call.len()
    }

    /// Remembers what to do when `origin` has been read; returns the name of that read,
    /// none where there is no room.
    pub fn begin(
        &mut self,
        env: &Env,
        key: &Key,
        origin: Timestamp,
        derivation: Derivation,
        propagator: NodeId,
    ) -> Option<RpcId> {
        if self.by_call.len() >= DERIVING_MAX {
            return None;
        }
        self.calls_made = self.calls_made.wrapping_add(1);
        let deriving = Deriving {
            key: key.clone(),
            origin,
            derivation,
            propagator,
            until: env.now.monotonic + READ_PATIENCE,
        };
        self.by_call.insert(self.calls_made, deriving);
        Some(RpcId {
            incarnation: env.incarnation,
            operation: DERIVING_OPERATION,
            call: self.calls_made,
        })
    }

    /// The read of this name is over.
    pub fn take(&mut self, env: &Env, rpc: RpcId) -> Option<Deriving> {
        let is_mine = rpc.incarnation == env.incarnation && rpc.operation == DERIVING_OPERATION;
        is_mine.then(|| self.by_call.remove(&rpc.call)).flatten()
    }

    /// Forgets reads that nobody answers.
    pub fn on_tick(&mut self, now: Duration) {
        self.by_call.retain(|_, deriving| deriving.until > now);
    }

    /// When [`Derivings::on_tick`] is next due.
    pub fn next_wakeup(&self) -> Option<Duration> {
        self.by_call.values().map(|deriving| deriving.until).min()
    }
}
