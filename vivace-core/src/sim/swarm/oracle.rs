//! What must hold when a run is over.

use std::collections::{BTreeMap, BTreeSet};

use super::client::Target;
use super::run::{Run, violation};
use super::{Promise, Violation};
use crate::cluster::{Container, Kind};
use crate::message::CopyTag;
use crate::node::Holding;
use crate::quorum::majority;
use crate::record::Record;
use crate::stored::{StoredValue, ValueId};
use crate::{Key, KeyName, NodeId, Timestamp};

impl Run {
    /// Linearizability by key. What was acknowledged is seen by the last reads, which
    /// are part of the history; a command that took effect twice leaves no order.
    pub fn judge_history(&mut self) -> Result<(), Violation> {
        for target in self.targets.clone() {
            let container = &self.configuration.spec.containers[target.container];
            if self.configuration.is_void(container) {
                continue;
            }
            match self.history.check_key(&target.key) {
                Ok(()) => {}
                Err(objection) if objection.is_undecided => {
                    self.mark("undecided: a history too long to judge");
                }
                Err(objection) => return Err(violation(Promise::Linearizable, objection.why)),
            }
        }
        Ok(())
    }

    /// A version is the same wherever it is, and stays what it is.
    pub fn judge_contents(&self) -> Result<(), Violation> {
        match self.simulation.contradiction() {
            Some(details) => Err(violation(Promise::Unique, details.to_owned())),
            None => Ok(()),
        }
    }

    fn container_of(&self, target: &Target) -> &Container {
        &self.configuration.spec.containers[target.container]
    }

    fn key_of(&self, target: &Target) -> Key {
        let name = KeyName::new(target.key.as_bytes());
        Key {
            container: self.container_of(target).id,
            name: name.expect("a drawn key is valid"),
        }
    }

    /// By key, the newest version that a majority of replicas holds durably; of
    /// machines, among those that are chosen.
    pub fn held_by_majorities(&self) -> BTreeMap<Key, Timestamp> {
        let mut held = BTreeMap::new();
        for container in &self.configuration.spec.containers {
            let mut by_replica: BTreeMap<Key, Vec<BTreeSet<Timestamp>>> = BTreeMap::new();
            let mut chosen: BTreeSet<(Key, Timestamp)> = BTreeSet::new();
            for (r, &replica) in container.replicas.iter().enumerate() {
                for record in self.simulation.log(replica) {
                    match (container.kind, record) {
                        // A crash may have left a record without its value.
                        (Kind::Rw, Record::Complete { key, ts, value })
                        | (Kind::Rmw, Record::Version { key, ts, value })
                            if key.container == container.id
                                && (*value == StoredValue::Tombstone
                                    || self
                                        .simulation
                                        .stored(replica, &ValueId::version(key, *ts))
                                        .is_some()) =>
                        {
                            let none = || vec![BTreeSet::new(); container.replicas.len()];
                            let versions = by_replica.entry(key.clone()).or_insert_with(none);
                            versions[r].insert(*ts);
                        }
                        (Kind::Rmw, Record::Chosen { key, ts }) => {
                            chosen.insert((key.clone(), *ts));
                        }
                        _ => {}
                    }
                }
            }
            for (key, versions) in by_replica {
                let all: BTreeSet<Timestamp> = versions.iter().flatten().copied().collect();
                let is_held = |ts: &&Timestamp| {
                    let has = |of: &&BTreeSet<Timestamp>| match container.kind {
                        Kind::Rmw => of.contains(ts),
                        Kind::Rw | Kind::Abd | Kind::LanRmw => of.last() >= Some(ts),
                    };
                    let is_chosen =
                        container.kind != Kind::Rmw || chosen.contains(&(key.clone(), **ts));
                    is_chosen && versions.iter().filter(has).count() >= majority(versions.len())
                };
                let newest = all.iter().rev().find(is_held).copied();
                if let Some(ts) = newest {
                    held.insert(key, ts);
                }
            }
        }
        held
    }

    /// The keys that can't be read without a further write: they need no more than an
    /// answer in time.
    pub fn find_lost_keys(&mut self) {
        self.lost_keys.clear();
        self.find_keys_lost_with_a_site();
        self.find_torn_keys();
    }

    /// A baseline replaces its version at once: where crashes left the record of a value
    /// that had not come to the disk yet, at a majority, nobody can tell what was before.
    pub fn find_torn_keys(&mut self) {
        if self
            .simulation
            .count("lost: a value whose record outlived it")
            == 0
        {
            return;
        }
        for target in self.targets.clone() {
            let container = self.container_of(&target);
            if container.kind.uses_local_sets() {
                continue;
            }
            let key = self.key_of(&target);
            let mut able = container.replicas.clone();
            able.retain(|&node| self.simulation.is_alive(node) && self.can_read_at(node, &key));
            if able.len() < majority(container.replicas.len()) {
                self.mark("lost: a baseline's value, by crashes at a majority");
                self.lost_keys.insert(target);
            }
        }
    }

    /// Whether the newest version of a baseline's replica is there with its value.
    fn can_read_at(&self, node: NodeId, key: &Key) -> bool {
        let versions = self
            .simulation
            .log(node)
            .iter()
            .filter_map(|record| match record {
                Record::Complete { key: of, ts, value }
                | Record::LanAccepted { key: of, ts, value } => {
                    (of == key).then_some((*ts, *value))
                }
                _ => None,
            });
        match versions.max_by_key(|(ts, _)| *ts) {
            Some((ts, StoredValue::Bytes(_))) => self
                .simulation
                .stored(node, &ValueId::version(key, ts))
                .is_some(),
            Some((_, StoredValue::Tombstone)) | None => true,
        }
    }

    /// The keys whose newest timestamp is known to somebody, and its value to nobody.
    fn find_keys_lost_with_a_site(&mut self) {
        if self.site_lost.is_none() {
            return;
        }
        let mut newest: BTreeMap<&Key, (Timestamp, Timestamp)> = BTreeMap::new();
        for node in self.simulation.alive() {
            // A crash may have left a record without its value.
            let is_stored = |key: &Key, tag: CopyTag| {
                let key = key.clone();
                self.simulation
                    .stored(node, &ValueId { key, tag })
                    .is_some()
            };
            let held = |key: &Key, ts: Timestamp, value: &StoredValue| match value {
                StoredValue::Bytes(_) if !is_stored(key, CopyTag::Bound(ts)) => Timestamp::ZERO,
                StoredValue::Bytes(_) | StoredValue::Tombstone => ts,
            };
            // A timestamp that a full disk held up is durable as soon as there is space.
            let durable = self.simulation.log(node).iter();
            for record in durable.chain(self.simulation.on_their_way(node)) {
                let (key, known, has) = match record {
                    Record::Known { key, ts }
                    | Record::Accepted { key, ts }
                    | Record::Chosen { key, ts } => (key, *ts, Timestamp::ZERO),
                    Record::Complete { key, ts, value } => (key, *ts, held(key, *ts, value)),
                    Record::Version { key, ts, value }
                    | Record::LocalCopy {
                        key,
                        tag: CopyTag::Bound(ts),
                        value,
                    } => (key, Timestamp::ZERO, held(key, *ts, value)),
                    Record::LocalBound { key, write, ts }
                        if is_stored(key, CopyTag::Unbound(*write)) =>
                    {
                        (key, Timestamp::ZERO, *ts)
                    }
                    _ => continue,
                };
                let of = newest.entry(key).or_default();
                *of = (of.0.max(known), of.1.max(has));
            }
        }
        let lost: BTreeMap<Target, Timestamp> = self
            .targets
            .iter()
            .filter_map(|target| {
                let (known, has) = newest.get(&self.key_of(target))?;
                (known > has).then(|| (target.clone(), *known))
            })
            .collect();
        if !lost.is_empty() {
            self.mark("lost: the newest version with a site");
        }
        self.lost_keys = lost.keys().cloned().collect();
        self.lost_versions = lost;
    }

    /// What a majority of replicas held when the site was lost, or something newer, is
    /// there, unless a newer version is known to be chosen.
    pub fn judge_recovery(&self) -> Result<(), Violation> {
        let Some(held) = &self.site_lost else {
            return Ok(());
        };
        for target in &self.lost_keys {
            let key = self.key_of(target);
            let Some(held) = held.get(&key) else {
                continue;
            };
            let replicas = &self.container_of(target).replicas;
            let holdings: Vec<Holding> = replicas
                .iter()
                .filter_map(|&replica| self.simulation.holding(replica, &key))
                .collect();
            let is_there = |of: &Holding| of.versions.last() >= Some(held) || of.chosen > *held;
            if !holdings.iter().any(is_there) {
                let details = format!("{}: {held:?} is gone; left are {holdings:?}", target.key);
                return Err(violation(Promise::Recoverable, details));
            }
        }
        Ok(())
    }

    /// The replicas that took part in the last write of a machine know that it is
    /// chosen, and have dropped what was before; all of them hold it.
    fn judge_machine(&self, target: &Target) -> Result<(), String> {
        let key = self.key_of(target);
        let holding = |&replica: &NodeId| {
            let held = self.simulation.holding(replica, &key);
            (replica, held.unwrap_or_default())
        };
        let replicas: Vec<(NodeId, Holding)> = self
            .container_of(target)
            .replicas
            .iter()
            .map(holding)
            .collect();
        let newest = replicas.iter().map(|(_, held)| held.chosen).max();
        let newest = newest.unwrap_or_default();
        for (replica, held) in &replicas {
            let is_reached = self.reached.contains(replica);
            let oldest = held.versions.first().copied().unwrap_or_default();
            let knows = held.chosen == newest && oldest >= newest;
            if is_reached && !knows || !held.versions.contains(&newest) {
                return Err(format!("{}: {replicas:?}", target.key));
            }
        }
        Ok(())
    }

    /// All replicas hold the newest value, and no more objects than there are.
    pub fn judge_replicas(&self) -> Result<(), Violation> {
        let differ = |details: String| violation(Promise::Convergent, details);
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
        for target in &self.targets {
            let is_lost = self.lost_keys.contains(target);
            if self.container_of(target).kind == Kind::Rmw && !is_lost {
                self.judge_machine(target).map_err(differ)?;
            }
        }
        Ok(())
    }
}
