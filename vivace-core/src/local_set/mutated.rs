//! The local set as mutants have it.

use super::LocalSet;
use crate::cluster::{Container, Kind};
use crate::env::Env;
use crate::key::Key;
use crate::message::CopyTag;
use crate::outbox::Lsn;
use crate::timestamp::Timestamp;
use crate::value::Value;

impl LocalSet {
    /// Alg. 1 and 3 as printed: each member propagates its copy when W-LOCAL reaches it.
    pub fn leave_at_once(&mut self, env: &mut Env, container: &Container, key: &Key, tag: CopyTag) {
        let CopyTag::Bound(ts) = tag else { return };
        let Some(copy) = self.copies.get_mut(key).and_then(|v| v.get_mut(&ts)) else {
            return;
        };
        copy.safe = true;
        copy.propagator = env.me;
        let value = copy.value.clone();
        let settled = container.kind == Kind::Rw;
        self.propagator
            .start(env, container, key, ts, value, settled);
    }

    /// The newest copy, safe or not.
    pub fn find_newest(&self, key: &Key, at_least: Timestamp) -> Option<(Timestamp, Value, Lsn)> {
        let (&ts, copy) = self.copies.get(key)?.range(at_least..).next_back()?;
        Some((ts, copy.value.clone(), copy.lsn))
    }
}
