//! What mutants find at a replica of RMW objects.

use super::Replica;
use crate::env::Env;
use crate::key::Key;
use crate::outbox::Lsn;
use crate::stored::{StoredValue, ValueId};
use crate::timestamp::Timestamp;

impl super::Object {
    /// Drops the versions below `ts`.
    pub fn drop_below(&mut self, env: &mut Env, key: &Key, ts: Timestamp) {
        for (older, _) in self.versions.drop_below(ts) {
            env.out.release(ValueId::version(key, older));
        }
    }
}

impl Replica {
    /// The oldest version in `[at_least, below)` that is no newer than the accepted one.
    pub fn find_accepted(
        &self,
        key: &Key,
        at_least: Timestamp,
        below: Timestamp,
    ) -> Option<(Timestamp, StoredValue, Lsn)> {
        let accepted = self.objects.get(key)?.accepted;
        self.find(key, at_least, below)
            .filter(|(ts, _, _)| *ts <= accepted)
    }

    /// The newest version, whichever was asked for.
    pub fn find_newest(&self, key: &Key) -> Option<(Timestamp, StoredValue, Lsn)> {
        let object = self.objects.get(key)?;
        let (ts, value) = object.versions.newest()?;
        Some((ts, *value, object.lsn))
    }
}
