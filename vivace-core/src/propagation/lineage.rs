//! How the RMW versions that this node propagates follow from one another, and how far
//! replicas have come: from which version on a replica can be told commands.

use std::collections::BTreeMap;

use crate::forgetful::ForgetfulMap;
use crate::identity::NodeId;
use crate::key::Key;
use crate::timestamp::Timestamp;
use crate::vivace_rmw::{Derivation, STEPS_MAX};

/// Objects remembered at one node.
pub const OBJECTS_MAX: usize = 4096;

/// Bytes of commands remembered at one node.
pub const BYTES_MAX: usize = 8 << 20;

/// One object's.
#[derive(Clone, Debug, Default)]
struct Known {
    /// One step each, by the version that it leads to.
    steps: BTreeMap<Timestamp, Derivation>,
    /// The newest version that each replica has acknowledged.
    acked: BTreeMap<NodeId, Timestamp>,
}

impl Known {
    fn bytes(&self) -> usize {
        self.steps.values().map(Derivation::bytes).sum()
    }
}

/// The newest steps of objects, within [`OBJECTS_MAX`] and [`BYTES_MAX`]. It may forget
/// any of them at any time: then values are sent.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    by_key: ForgetfulMap<Known>,
    bytes: usize,
}

impl Lineage {
    /// Remembers one step; the oldest gives way where an object has [`STEPS_MAX`].
    pub fn remember(&mut self, key: &Key, step: Derivation) {
        let mut known = self.take(key);
        known.steps.insert(step.ts(), step);
        while known.steps.len() > STEPS_MAX {
            known.steps.pop_first();
        }
        self.put_back(key, known);
    }

    /// A replica holds this version.
    pub fn on_ack(&mut self, key: &Key, from: NodeId, ts: Timestamp) {
        if let Some(known) = self.by_key.get_mut(key) {
            let acked = known.acked.entry(from).or_default();
            *acked = (*acked).max(ts);
        }
    }

    /// All replicas hold `ts`: nobody needs the steps up to it any more.
    pub fn forget_through(&mut self, key: &Key, ts: Timestamp) {
        if self.by_key.get(key).is_none() {
            return;
        }
        let mut known = self.take(key);
        known.steps.retain(|&version, _| version > ts);
        for acked in known.acked.values_mut() {
            *acked = ts.max(*acked);
        }
        self.put_back(key, known);
    }

    /// How `ts` follows from a version that each of `replicas` has, or may have; none where
    /// some are known to be further behind than can be told from here, or where its value
    /// of `value_bytes` is not more to send.
    pub fn trace(
        &self,
        key: &Key,
        ts: Timestamp,
        replicas: &[NodeId],
        value_bytes: u64,
    ) -> Option<Derivation> {
        let known = self.by_key.get(key)?;
        let mut trace = known.steps.get(&ts)?.clone();
        let acked = |node| known.acked.get(node);
        let all_have = |ts| {
            replicas
                .iter()
                .all(|node| acked(node).is_some_and(|a| *a >= ts))
        };
        while !all_have(trace.base) {
            let Some(earlier) = known.steps.get(&trace.base) else {
                // Another coordinator's version, or an old one.
                let some_lack = |ts| {
                    replicas
                        .iter()
                        .any(|node| acked(node).is_some_and(|a| *a < ts))
                };
                if some_lack(trace.base) {
                    return None;
                }
                break;
            };
            trace = trace.after(earlier);
            if !trace.is_worth(value_bytes) {
                return None;
            }
        }
        trace.is_worth(value_bytes).then_some(trace)
    }

    fn take(&mut self, key: &Key) -> Known {
        let known = self.by_key.remove(key).unwrap_or_default();
        self.bytes -= known.bytes();
        known
    }

    fn put_back(&mut self, key: &Key, known: Known) {
        let bytes = known.bytes();
        if known.steps.is_empty() || bytes > BYTES_MAX {
            return;
        }
        while self.by_key.len() >= OBJECTS_MAX || self.bytes + bytes > BYTES_MAX {
            let forgotten = self.by_key.forget_one();
            self.bytes -= forgotten.map_or(0, |known| known.bytes());
        }
        self.bytes += bytes;
        self.by_key.insert(key, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_protocol::SessionId;
    use crate::identity::ContainerId;
    use crate::key::KeyName;
    use crate::machine::object::Command;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const VALUE: u64 = 100_000;

    fn key(name: &str) -> Key {
        Key {
            container: ContainerId(1),
            name: KeyName::new(name).expect("a short name"),
        }
    }

    fn ts(time: u64) -> Timestamp {
        Timestamp {
            time,
            ..Timestamp::ZERO
        }
    }

    fn step(base: u64, to: u64, bytes: usize) -> Derivation {
        let command = Command {
            machine: "list".into(),
            session: SessionId(Timestamp::ZERO),
            sequence: to,
            repeated: false,
            command: vec![0; bytes].into(),
        };
        Derivation::new(ts(base), ts(to), vec![command], b"")
    }

    fn lineage(steps: &[(u64, u64)]) -> Lineage {
        let mut lineage = Lineage::default();
        for &(base, to) in steps {
            lineage.remember(&key("k"), step(base, to, 10));
        }
        lineage
    }

    fn base(lineage: &Lineage, to: u64, replicas: &[NodeId]) -> Option<u64> {
        let trace = lineage.trace(&key("k"), ts(to), replicas, VALUE);
        trace.map(|trace| trace.base.time)
    }

    #[test]
    fn it_goes_back_to_what_all_have() {
        let mut lineage = lineage(&[(1, 2), (2, 3), (3, 4)]);
        assert_eq!(base(&lineage, 4, &[A]), Some(1), "nobody told of anything");
        lineage.on_ack(&key("k"), A, ts(3));
        lineage.on_ack(&key("k"), B, ts(2));
        assert_eq!(base(&lineage, 4, &[A]), Some(3));
        assert_eq!(base(&lineage, 4, &[A, B]), Some(2));
        lineage.forget_through(&key("k"), ts(3));
        assert_eq!(base(&lineage, 4, &[A, B]), Some(3));
        lineage.forget_through(&key("k"), ts(4));
        assert_eq!(base(&lineage, 4, &[A]), None);
        assert_eq!(lineage.bytes, 0);
    }

    #[test]
    fn a_step_of_another_coordinator_ends_it() {
        let mut lineage = lineage(&[(1, 2), (5, 6)]);
        assert_eq!(base(&lineage, 6, &[A]), Some(5), "A may have heard of it");
        assert_eq!(base(&lineage, 5, &[A]), None);
        lineage.on_ack(&key("k"), A, ts(2));
        assert_eq!(base(&lineage, 6, &[A]), None, "A is behind");
        lineage.on_ack(&key("k"), A, ts(5));
        assert_eq!(base(&lineage, 6, &[A]), Some(5));
    }

    #[test]
    fn it_is_never_more_than_half_of_the_value() {
        let mut lineage = lineage(&[(1, 2), (2, 3)]);
        let one = step(2, 3, 10).bytes() as u64;
        let trace = |bytes| lineage.trace(&key("k"), ts(3), &[A], bytes);
        assert_eq!(
            trace(2 * one),
            None,
            "that is enough for the second step alone"
        );
        assert_eq!(trace(4 * one).map(|trace| trace.steps.len()), Some(2));
        lineage.on_ack(&key("k"), A, ts(2));
        let trace = |bytes| lineage.trace(&key("k"), ts(3), &[A], bytes);
        assert_eq!(trace(2 * one - 1), None);
        assert_eq!(trace(2 * one).map(|trace| trace.steps.len()), Some(1));
    }

    #[test]
    fn what_is_remembered_is_bounded_in_steps_objects_and_bytes() {
        let mut lineage = Lineage::default();
        for to in 0..200 {
            lineage.remember(&key("k"), step(to, to + 1, 10));
        }
        let known = lineage.by_key.get(&key("k")).expect("the newest steps");
        assert_eq!(known.steps.len(), STEPS_MAX);
        for n in 0..2 * OBJECTS_MAX {
            lineage.remember(&key(&format!("k{n}")), step(1, 2, 5000));
            assert!(lineage.by_key.len() <= OBJECTS_MAX && lineage.bytes <= BYTES_MAX);
        }
        lineage.remember(&key("large"), step(1, 2, BYTES_MAX));
        assert!(lineage.by_key.get(&key("large")).is_none());
    }
}
