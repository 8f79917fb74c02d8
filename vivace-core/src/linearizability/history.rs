//! What clients did and heard, and whether one order of it explains everything.

use std::collections::BTreeMap;
use std::time::Duration;

use super::json::entry_json;
use super::machine_checker::{Objection, check_machine};
use super::register_checker::check_named;
use crate::{Blob, Timestamp};

/// A moment in a history: nanoseconds of virtual time, made unique, so that
/// invocations and answers keep the order in which they happened.
pub type Moment = u64;

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read a register.
    Read,
    /// Write a register; values are unique within a key.
    Write(u64),
    /// Apply a command to a machine.
    Execute {
        /// Its name.
        machine: &'static str,
        /// The encoded command.
        command: Blob,
    },
    /// Read a machine's state.
    ReadState,
}

/// What it heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing, or that the outcome is unknown.
    Unknown,
    /// Surely nothing happened.
    NotApplied,
    /// The register's value and its timestamp.
    Value(Option<(u64, Timestamp)>),
    /// The value is written, at this timestamp.
    Written(Timestamp),
    /// The command's output, or why it conflicts.
    Executed(Result<Blob, String>),
    /// The machine's state.
    State(Option<Blob>),
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When it began.
    pub invoked: Moment,
    /// None where it never ended.
    pub returned: Option<Moment>,
    /// The question.
    pub ask: Ask,
    /// What came of it.
    pub answer: Answer,
}

/// The operations on one key, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct KeyHistory {
    pub entries: Vec<Entry>,
    /// Who did each.
    pub clients: Vec<u32>,
}

/// All operations of a run, by key.
#[derive(Debug, Default)]
pub struct History {
    pub(super) keys: BTreeMap<String, KeyHistory>,
    /// Where it was read from JSON: each value as it stands there, by its number here.
    pub(super) values: Option<Vec<String>>,
    moment: Moment,
}

impl History {
    fn next_moment(&mut self, now: Duration) -> Moment {
        self.moment = (self.moment + 1).max(now.as_nanos() as u64);
        self.moment
    }

    /// An operation begins; returns its place among those of its key.
    pub fn invoke(&mut self, key: &str, ask: Ask) -> usize {
        self.invoke_at(Duration::ZERO, 0, key, ask)
    }

    /// The same, at a time and by a client that an export will name.
    pub fn invoke_at(&mut self, now: Duration, client: u32, key: &str, ask: Ask) -> usize {
        let invoked = self.next_moment(now);
        if !self.keys.contains_key(key) {
            self.keys.insert(key.into(), KeyHistory::default());
        }
        let of_key = self.keys.get_mut(key).expect("just made");
        of_key.entries.push(Entry {
            invoked,
            returned: None,
            ask,
            answer: Answer::Unknown,
        });
        of_key.clients.push(client);
        of_key.entries.len() - 1
    }

    /// It ends.
    pub fn answer(&mut self, key: &str, entry: usize, answer: Answer) {
        self.answer_at(Duration::ZERO, key, entry, answer);
    }

    /// It ends at a time that an export will name.
    ///
    /// # Panics
    /// Where no such operation is under way.
    pub fn answer_at(&mut self, now: Duration, key: &str, entry: usize, answer: Answer) {
        let moment = self.next_moment(now);
        let of_key = self.keys.get_mut(key).expect("invoked before");
        let entry = &mut of_key.entries[entry];
        assert_eq!(entry.returned, None, "an operation ends once");
        if answer != Answer::Unknown {
            entry.returned = Some(moment);
        }
        entry.answer = answer;
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.keys.values().map(|of| of.entries.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that were used.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Forgets the operations on all other keys.
    pub fn retain_keys(&mut self, mut keeps: impl FnMut(&str) -> bool) {
        self.keys.retain(|key, _| keeps(key));
    }

    /// The operations on one key.
    pub fn entries(&self, key: &str) -> &[Entry] {
        self.keys.get(key).map_or(&[], |of| &of.entries)
    }

    /// How many operations had a result.
    pub fn completed(&self) -> usize {
        let entries = self.keys.values().flat_map(|of| &of.entries);
        entries
            .filter(|e| e.returned.is_some() && e.answer != Answer::NotApplied)
            .count()
    }

    /// Checks every key.
    ///
    /// # Errors
    /// The key, what is wrong, and its operations.
    pub fn check(&self) -> Result<(), String> {
        let mut keys = self.keys();
        keys.try_for_each(|key| self.check_key(key).map_err(|objection| objection.why))
    }

    /// Checks one key.
    ///
    /// # Errors
    /// The key, what is wrong, and its operations.
    pub fn check_key(&self, key: &str) -> Result<(), Objection> {
        let entries = self.entries(key);
        let register = entries
            .iter()
            .all(|e| matches!(e.ask, Ask::Read | Ask::Write(_)));
        let checked = if register {
            check_named(entries, &|value| self.name(value))
        } else {
            check_machine(entries)
        };
        checked.map_err(|objection| Objection {
            why: format!("key {key}: {objection}\n{}", self.tell(key)),
            ..objection
        })
    }

    fn name(&self, value: u64) -> String {
        let values = self.values.as_ref();
        let found = values.and_then(|values| values.get(value as usize));
        found.cloned().unwrap_or_else(|| value.to_string())
    }

    /// The operations on a key, one per line: as they were read, where they were.
    fn tell(&self, key: &str) -> String {
        let Some(of_key) = self.keys.get(key) else {
            return String::new();
        };
        let entries = of_key.entries.iter().zip(&of_key.clients);
        let lines: Vec<String> = match &self.values {
            Some(values) => entries
                .map(|(entry, client)| format!("  {}", entry_json(key, *client, entry, values)))
                .collect(),
            None => entries.map(|(entry, _)| format!("  {entry:?}")).collect(),
        };
        lines.join("\n")
    }
}
