//! The one place of the journal that knows what records mean: how a sequence of them
//! becomes the shortest one that recovers the same state.
//!
//! Records fall into groups that recovery treats apart from each other. A [`Group`]'s
//! records are absorbed in their order. Absorbing is partial: what a range of the
//! journal says may take away what stands before the range (a drop, a binding), so such
//! records stay until [`GroupFold::finish`], which takes it that nothing stood before.

mod key;
mod local;
mod stable;

use std::collections::BTreeMap;

use self::key::KeyFold;
use self::stable::StableFold;
use crate::identity::{Incarnation, NodeId};
use crate::key::Key;
use crate::local_set::ABORTED_MAX;
use crate::record::Record;

/// Records that recovery treats apart from all others, in the order of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// The clock's high-water mark.
    Clock,
    /// The writes of one coordinator life that can't be bound any more.
    Aborted(NodeId, Incarnation),
    /// What the local set remembers as stable. Before the keys: recovered behind a
    /// copy of the same version it would drop it.
    Stable,
    /// All else about an object.
    Key(Key),
}

/// The groups that a record of the journal belongs to.
pub(super) fn groups(record: &Record) -> (Group, Option<Group>) {
    match record {
        Record::ClockHighWater { .. } => (Group::Clock, None),
        Record::LocalAborted { write, .. } => (Group::Aborted(write.node, write.incarnation), None),
        Record::LocalDropped { key, .. } => (Group::Stable, Some(Group::Key(key.clone()))),
        Record::Known { key, .. }
        | Record::Complete { key, .. }
        | Record::Promised { key, .. }
        | Record::Accepted { key, .. }
        | Record::Chosen { key, .. }
        | Record::Version { key, .. }
        | Record::LanAccepted { key, .. }
        | Record::LocalCopy { key, .. }
        | Record::LocalBound { key, .. }
        | Record::LocalGivenUp { key, .. }
        | Record::ValueLost { key, .. } => (Group::Key(key.clone()), None),
    }
}

/// The group of a record that stands in a checkpoint, where a drop is never more than
/// a memory.
pub(super) fn group_in_checkpoint(record: &Record) -> Group {
    groups(record).0
}

/// What one group's records amount to.
#[derive(Debug)]
pub(super) enum GroupFold {
    Clock(Option<(u64, Record)>),
    /// By number; more than the node keeps one by one, for the floor below them.
    Aborted(BTreeMap<u64, Record>),
    Stable(StableFold),
    Key(Box<KeyFold>),
}

impl GroupFold {
    pub fn new(group: &Group) -> Self {
        match group {
            Group::Clock => Self::Clock(None),
            Group::Aborted(..) => Self::Aborted(BTreeMap::new()),
            Group::Stable => Self::Stable(StableFold::default()),
            Group::Key(_) => Self::Key(Box::default()),
        }
    }

    /// Takes the next record of this group.
    pub fn absorb(&mut self, record: Record) {
        match self {
            Self::Clock(newest) => {
                if let Record::ClockHighWater { time } = record
                    && newest.as_ref().is_none_or(|(held, _)| time > *held)
                {
                    *newest = Some((time, record));
                }
            }
            Self::Aborted(numbers) => {
                if let Record::LocalAborted { write, .. } = &record {
                    numbers.entry(write.number).or_insert(record);
                    // One more than the node remembers: it pushes the floor up to
                    // where it was.
                    while numbers.len() > ABORTED_MAX + 1 {
                        numbers.pop_first();
                    }
                }
            }
            Self::Stable(stable) => stable.absorb(record),
            Self::Key(key) => key.absorb(record),
        }
    }

    /// How many records it holds on to, about.
    pub fn records(&self) -> usize {
        match self {
            Self::Clock(_) => 1,
            Self::Aborted(numbers) => 1 + numbers.len(),
            Self::Stable(stable) => 1 + stable.records(),
            Self::Key(key) => key.records(),
        }
    }

    /// A shortest sequence with the same effect behind any other.
    pub fn into_partial(self) -> Vec<Record> {
        match self {
            Self::Key(key) => key.into_partial(),
            other => other.finish(),
        }
    }

    /// A shortest sequence that recovers the same state where nothing stands before it.
    pub fn finish(self) -> Vec<Record> {
        match self {
            Self::Clock(newest) => newest.into_iter().map(|(_, record)| record).collect(),
            Self::Aborted(numbers) => numbers.into_values().collect(),
            Self::Stable(stable) => stable.finish(),
            Self::Key(key) => key.finish(),
        }
    }
}

/// A shortest sequence that recovers the same state as `records` do, sorted by group.
///
/// Exact but for one hint: where more keys are known as stable than a node remembers, a
/// key that it forgot and heard of again may be remembered with an older version.
pub fn fold(records: impl IntoIterator<Item = Record>) -> Vec<Record> {
    let mut all: BTreeMap<Group, GroupFold> = BTreeMap::new();
    for record in records {
        let (group, also) = groups(&record);
        if let Some(also) = also {
            fold_of(&mut all, also).absorb(record.clone());
        }
        fold_of(&mut all, group).absorb(record);
    }
    all.into_values().flat_map(GroupFold::finish).collect()
}

fn fold_of(all: &mut BTreeMap<Group, GroupFold>, group: Group) -> &mut GroupFold {
    let empty = GroupFold::new(&group);
    all.entry(group).or_insert(empty)
}
