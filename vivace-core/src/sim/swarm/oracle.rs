//! What must hold when a run is over.

use std::collections::BTreeMap;

use super::configuration::Clocks;
use super::run::Run;
use super::{Promise, Violation};
use crate::cluster::{Kind, TimestampSource};
use crate::record::Record;
use crate::{Key, Timestamp};

impl Run {
    /// Linearizability by key. What was acknowledged is seen by the last reads, which
    /// are part of the history; a command that took effect twice leaves no order.
    pub fn judge_history(&self) -> Result<(), Violation> {
        let is_beyond = self.configuration.clocks == Clocks::Beyond;
        for target in &self.targets {
            let container = &self.configuration.spec.containers[target.container];
            let trusts =
                container.kind.is_read_write() && container.timestamps == TimestampSource::Clock;
            if trusts && is_beyond {
                continue;
            }
            self.history
                .check_key(&target.key)
                .map_err(|details| Violation {
                    promise: Promise::Linearizable,
                    details,
                })?;
        }
        Ok(())
    }

    /// All replicas hold the newest value, and no more objects than there are.
    pub fn judge_replicas(&self) -> Result<(), Violation> {
        let differ = |details: String| Violation {
            promise: Promise::Convergent,
            details,
        };
        for (i, container) in self.configuration.spec.containers.iter().enumerate() {
            let keys = self.targets.iter().filter(|t| t.container == i).count() as u64;
            let mut newest: BTreeMap<Key, Vec<Timestamp>> = BTreeMap::new();
            for (r, &replica) in container.replicas.iter().enumerate() {
                for status in self.simulation.status(replica).containers {
                    if status.name == container.name && status.objects > keys {
                        let details =
                            format!("{replica} has {} objects, not {keys}", status.objects);
                        return Err(differ(details));
                    }
                }
                for record in self.simulation.log(replica) {
                    let (key, ts) = match (container.kind, record) {
                        (Kind::Rw, Record::Complete { key, ts, .. })
                        | (Kind::Rmw, Record::Version { key, ts, .. }) => (key, *ts),
                        _ => continue,
                    };
                    if key.container == container.id {
                        let empty = || vec![Timestamp::ZERO; container.replicas.len()];
                        let held = newest.entry(key.clone()).or_insert_with(empty);
                        held[r] = held[r].max(ts);
                    }
                }
            }
            // A version of a lost round may be anywhere; the values of RW objects are everywhere.
            if container.kind == Kind::Rw {
                for (key, held) in newest {
                    if held.iter().any(|ts| *ts != held[0]) {
                        return Err(differ(format!("{key:?} at {held:?}")));
                    }
                }
            }
        }
        Ok(())
    }
}
