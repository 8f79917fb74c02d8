//! What mutants find at a replica of RMW objects.

use super::Replica;
use crate::key::Key;
use crate::outbox::Lsn;
use crate::timestamp::Timestamp;
use crate::value::Value;

impl Replica {
    /// The oldest version in `[at_least, below)` that is no newer than the accepted one.
    pub fn find_accepted(
        &self,
        key: &Key,
        at_least: Timestamp,
        below: Timestamp,
    ) -> Option<(Timestamp, Value, Lsn)> {
        let accepted = self.objects.get(key)?.accepted;
        self.find(key, at_least, below)
            .filter(|(ts, _, _)| *ts <= accepted)
    }

    /// The newest version, whichever was asked for.
    pub fn find_newest(&self, key: &Key) -> Option<(Timestamp, Value, Lsn)> {
        let object = self.objects.get(key)?;
        let (&ts, value) = object.versions.last_key_value()?;
        Some((ts, value.clone(), object.lsn))
    }
}
