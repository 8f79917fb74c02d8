//! What clients did and heard, and whether one order of it explains everything.

use std::collections::{BTreeMap, BTreeSet};

use vivace_core::machine::{ApplyError, Machines};
use vivace_core::{Blob, Timestamp};

/// A moment in a history: invocations and answers in the order in which they happened.
pub type Moment = u64;

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Read,
    /// Values are unique within a key.
    Write(u64),
    Execute {
        machine: &'static str,
        command: Blob,
    },
    ReadState,
}

/// What it heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing, or that the outcome is unknown.
    Unknown,
    /// Surely nothing happened.
    NotApplied,
    Value(Option<(u64, Timestamp)>),
    Written(Timestamp),
    Executed(Result<Blob, String>),
    State(Option<Blob>),
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Entry {
    pub invoked: Moment,
    /// None where it never ended.
    pub returned: Option<Moment>,
    pub ask: Ask,
    pub answer: Answer,
}

/// All operations of a run, by key.
#[derive(Debug, Default)]
pub struct History {
    keys: BTreeMap<String, Vec<Entry>>,
    moment: Moment,
}

impl History {
    /// An operation begins; returns its place among those of its key.
    pub fn invoke(&mut self, key: &str, ask: Ask) -> usize {
        self.moment += 1;
        let invoked = self.moment;
        let entries = self.keys.entry(key.into()).or_default();
        entries.push(Entry {
            invoked,
            returned: None,
            ask,
            answer: Answer::Unknown,
        });
        entries.len() - 1
    }

    /// It ends.
    pub fn answer(&mut self, key: &str, entry: usize, answer: Answer) {
        self.moment += 1;
        let entry = &mut self.keys.get_mut(key).expect("invoked before")[entry];
        assert_eq!(entry.returned, None, "an operation ends once");
        if answer != Answer::Unknown {
            entry.returned = Some(self.moment);
        }
        entry.answer = answer;
    }

    pub fn len(&self) -> usize {
        self.keys.values().map(Vec::len).sum()
    }

    pub fn entries(&self, key: &str) -> &[Entry] {
        &self.keys[key]
    }

    /// How many operations had a result.
    pub fn completed(&self) -> usize {
        let entries = self.keys.values().flatten();
        entries
            .filter(|e| e.returned.is_some() && e.answer != Answer::NotApplied)
            .count()
    }

    /// Checks every key.
    ///
    /// # Errors
    /// The key, what is wrong, and its operations.
    pub fn check(&self) -> Result<(), String> {
        for (key, entries) in &self.keys {
            let register = entries
                .iter()
                .all(|e| matches!(e.ask, Ask::Read | Ask::Write(_)));
            let checked = if register {
                check_register(entries)
            } else {
                check_machine(entries)
            };
            if let Err(why) = checked {
                let lines: Vec<String> = entries.iter().map(|e| format!("  {e:?}")).collect();
                return Err(format!("key {key}: {why}\n{}", lines.join("\n")));
            }
        }
        Ok(())
    }
}

/// A value's life as clients saw it: surely in place from `first_end` (the earliest
/// answer that tells of it) to `last_begin` (the latest question that met it).
#[derive(Debug)]
struct Zone {
    value: Option<u64>,
    first_end: Moment,
    last_begin: Moment,
}

impl Zone {
    fn low(&self) -> Moment {
        self.first_end.min(self.last_begin)
    }

    fn high(&self) -> Moment {
        self.first_end.max(self.last_begin)
    }

    fn is_forward(&self) -> bool {
        self.first_end < self.last_begin
    }

    /// Gibbons and Korach 1997, §4: with unique values, a history is linearizable
    /// unless two zones that must be in place for a while overlap, or one that need
    /// be for a moment only lies inside one of those.
    fn conflicts_with(&self, other: &Self) -> bool {
        match (self.is_forward(), other.is_forward()) {
            (true, true) => self.low() < other.high() && other.low() < self.high(),
            (true, false) => self.low() < other.low() && other.high() < self.high(),
            (false, true) => other.conflicts_with(self),
            (false, false) => false,
        }
    }
}

/// Checks a register whose values are unique, in time quadratic in the number of values.
///
/// # Errors
/// What is wrong.
pub fn check_register(entries: &[Entry]) -> Result<(), String> {
    let mut zones = BTreeMap::from([(
        None,
        // "Never written" was in place before all operations.
        (
            0,
            Zone {
                value: None,
                first_end: 0,
                last_begin: 0,
            },
        ),
    )]);
    let mut timestamps: BTreeMap<u64, Timestamp> = BTreeMap::new();
    for entry in entries {
        let Ask::Write(value) = entry.ask else {
            continue;
        };
        if entry.answer == Answer::NotApplied {
            continue;
        }
        if let Answer::Written(ts) = entry.answer {
            timestamps.insert(value, ts);
        }
        let first_end = entry.returned.unwrap_or(Moment::MAX);
        let zone = Zone {
            value: Some(value),
            first_end,
            last_begin: entry.invoked,
        };
        if zones.insert(Some(value), (entry.invoked, zone)).is_some() {
            return Err(format!("the test wrote {value} twice"));
        }
    }
    for entry in entries {
        let (Answer::Value(found), Some(returned)) = (&entry.answer, entry.returned) else {
            continue;
        };
        let value = found.map(|(value, _)| value);
        let Some((written, zone)) = zones.get_mut(&value) else {
            return Err(format!("a read returned {value:?}, which was not written"));
        };
        if returned < *written {
            return Err(format!("a read returned {value:?} before it was written"));
        }
        if let Some((value, ts)) = *found
            && *timestamps.entry(value).or_insert(ts) != ts
        {
            return Err(format!("{value} has two timestamps"));
        }
        zone.first_end = zone.first_end.min(returned);
        zone.last_begin = zone.last_begin.max(entry.invoked);
    }
    // Writes that nobody saw the end or the effect of may never have happened.
    let zones: Vec<Zone> = zones
        .into_values()
        .map(|(_, zone)| zone)
        .filter(|z| z.first_end < Moment::MAX)
        .collect();
    for (i, one) in zones.iter().enumerate() {
        if let Some(other) = zones[i + 1..]
            .iter()
            .find(|other| one.conflicts_with(other))
        {
            return Err(format!(
                "no order explains {:?} beside {:?}",
                one.value, other.value
            ));
        }
    }
    Ok(())
}

/// Steps of the search after which a history counts as undecided, which is an error:
/// the test should ask for less at once.
const STEPS_MAX: usize = 2_000_000;

/// Checks any history by searching for an order (Wing and Gong 1993) without
/// repeating what it saw (Lowe 2017). At most 128 operations.
///
/// # Errors
/// What is wrong.
pub fn check_machine(entries: &[Entry]) -> Result<(), String> {
    let entries: Vec<&Entry> = entries
        .iter()
        .filter(|e| e.answer != Answer::NotApplied)
        // An operation without effect and without an answer says nothing.
        .filter(|e| e.returned.is_some() || !matches!(e.ask, Ask::Read | Ask::ReadState))
        .collect();
    if entries.len() > 128 {
        return Err(format!(
            "{} operations are too many to check",
            entries.len()
        ));
    }
    let ended = |mask: &u128, e: usize| mask >> e & 1 == 1;
    let machines = Machines::builtin();
    let mut seen: BTreeSet<(u128, Option<Vec<u8>>)> = BTreeSet::new();
    let mut open: Vec<(u128, Option<Vec<u8>>)> = vec![(0, None)];
    while let Some((mask, state)) = open.pop() {
        if !seen.insert((mask, state.clone())) {
            continue;
        }
        if seen.len() > STEPS_MAX {
            return Err(format!("undecided after {STEPS_MAX} steps"));
        }
        let left = || (0..entries.len()).filter(|&e| !ended(&mask, e));
        let Some(first_end) = left().filter_map(|e| entries[e].returned).min() else {
            return Ok(());
        };
        for e in left().filter(|&e| entries[e].invoked < first_end) {
            if let Some(after) = apply(&machines, state.as_deref(), entries[e]) {
                open.push((mask | 1 << e, after));
            }
        }
    }
    Err("no order explains the answers".into())
}

/// The state after `entry`, where its answer fits the state before.
fn apply(machines: &Machines, state: Option<&[u8]>, entry: &Entry) -> Option<Option<Vec<u8>>> {
    let unchanged = state.map(<[u8]>::to_vec);
    match (&entry.ask, &entry.answer) {
        (Ask::Write(value), _) => Some(Some(value.to_be_bytes().to_vec())),
        (Ask::Read, Answer::Value(found)) => {
            let found = found.map(|(value, _)| value.to_be_bytes());
            (state == found.as_ref().map(|bytes| &bytes[..])).then_some(unchanged)
        }
        (Ask::ReadState, Answer::State(found)) => {
            (state == found.as_ref().map(|blob| &blob.0[..])).then_some(unchanged)
        }
        (Ask::Execute { machine, command }, answer) => {
            let state = state.map(|bytes| Blob::from(bytes.to_vec()));
            let applied = machines
                .apply(machine, state.as_ref(), command)
                .expect("is built in");
            let (after, result) = match applied {
                Ok(applied) => (Some(applied.state.0.to_vec()), Ok(applied.output)),
                Err(ApplyError::Conflict(conflict)) => (unchanged, Err(conflict.0)),
                Err(error) => panic!("the test's command is valid: {error}"),
            };
            let fits = match answer {
                Answer::Executed(heard) => *heard == result,
                _ => true,
            };
            fits.then_some(after)
        }
        (ask, answer) => panic!("{answer:?} does not answer {ask:?}"),
    }
}
