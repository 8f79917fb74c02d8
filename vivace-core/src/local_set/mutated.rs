//! The local set as mutants have it.

use super::{Found, LocalSet};
use crate::cluster::{Container, Kind};
use crate::env::Env;
use crate::key::Key;
use crate::message::CopyTag;
use crate::timestamp::Timestamp;

impl LocalSet {
    /// Alg. 1 and 3 as printed: each member propagates its copy when W-LOCAL reaches it.
    pub fn leave_at_once(&mut self, env: &mut Env, container: &Container, key: &Key, tag: CopyTag) {
        let CopyTag::Bound(ts) = tag else { return };
        let Some(copy) = self.copies.get_mut(key).and_then(|v| v.get_mut(&ts)) else {
            return;
        };
        copy.safe = true;
        copy.propagator = env.me;
        let source = (copy.tag(ts), copy.value);
        let settled = container.kind == Kind::Rw;
        self.propagator
            .start(env, container, key, ts, source, settled);
    }

    /// The newest copy, safe or not.
    pub fn find_newest(&self, key: &Key, at_least: Timestamp) -> Option<Found> {
        let (&ts, copy) = self.copies.get(key)?.range(at_least..).next_back()?;
        Some(Found::copy(ts, copy))
    }
}
