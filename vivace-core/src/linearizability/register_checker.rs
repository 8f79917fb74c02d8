//! Linearizability of a register whose values are unique, by zones (Gibbons and
//! Korach 1997, §4), in O(n log n); of other registers by the search for machines.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Answer, Ask, Entry, Moment};
use super::machine_checker::{Objection, check_machine};
use crate::Timestamp;

/// A value's life as clients saw it: surely in place from `first_end` (the earliest
/// answer that tells of it) to `last_begin` (the latest question that met it).
#[derive(Debug)]
struct Zone {
    value: Option<u64>,
    /// When the write of it began.
    written: Moment,
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

    /// Whether the value must be in place for a while, rather than for a moment only.
    fn is_forward(&self) -> bool {
        self.first_end < self.last_begin
    }
}

/// Checks a register. Where its values are unique that takes O(n log n); where one was written
/// twice, [`check_machine`]'s search. Operations that touch, one ending as the
/// other begins, may be in either order.
///
/// # Errors
/// What is wrong.
pub fn check_register(entries: &[Entry]) -> Result<(), Objection> {
    check_named(entries, &|value| value.to_string())
}

/// The same, with names for values in what is said.
pub(super) fn check_named(
    entries: &[Entry],
    name: &dyn Fn(u64) -> String,
) -> Result<(), Objection> {
    let twice = written_twice(entries);
    check_unique(entries, &twice, name)?;
    let Some(&value) = twice.first() else {
        return Ok(());
    };
    check_machine(entries).map_err(|objection| match objection.is_undecided {
        true => Objection::undecided(format!(
            "{} was written twice, and {objection}",
            name(value)
        )),
        false => objection,
    })
}

/// Values that several writes may have brought. What is known of the others holds without
/// them: a legal order stays one where all that wrote or read a value is left out.
fn written_twice(entries: &[Entry]) -> BTreeSet<u64> {
    let mut once = BTreeSet::new();
    let values = entries.iter().filter_map(|entry| match entry.ask {
        Ask::Write(value) if entry.answer != Answer::NotApplied => Some(value),
        _ => None,
    });
    values.filter(|&value| !once.insert(value)).collect()
}

fn check_unique(
    entries: &[Entry],
    twice: &BTreeSet<u64>,
    name: &dyn Fn(u64) -> String,
) -> Result<(), Objection> {
    let mut zones = written_zones(entries, twice);
    add_reads(entries, twice, &mut zones, name)?;
    // Writes that nobody saw the end or the effect of may never have happened.
    let zones = zones.into_values().filter(|z| z.first_end < Moment::MAX);
    let (mut forward, backward): (Vec<Zone>, Vec<Zone>) = zones.partition(Zone::is_forward);
    // What was never written was in place before all else, also before moment 0.
    forward.sort_by_key(|zone| (zone.low(), zone.value.is_some()));
    let clash = |one: &Zone, other: &Zone| {
        let [one, other] = [one, other].map(|zone| told(zone.value, name));
        Err(format!("no order explains {one} beside {other}").into())
    };
    // Two values can't both be in place.
    for pair in forward.windows(2) {
        if pair[1].low() < pair[0].high() {
            return clash(&pair[0], &pair[1]);
        }
    }
    // Nor can one be in place for a moment while another one is throughout.
    for zone in &backward {
        let before = forward.partition_point(|f| f.value.is_none() || f.low() < zone.low());
        if before > 0 && zone.high() < forward[before - 1].high() {
            return clash(&forward[before - 1], zone);
        }
    }
    Ok(())
}

fn told(value: Option<u64>, name: &dyn Fn(u64) -> String) -> String {
    value.map_or_else(|| "nothing written".to_owned(), name)
}

fn written_zones(entries: &[Entry], twice: &BTreeSet<u64>) -> BTreeMap<Option<u64>, Zone> {
    // "Never written" was in place before all operations.
    let never = Zone {
        value: None,
        written: 0,
        first_end: 0,
        last_begin: 0,
    };
    let mut zones = BTreeMap::from([(None, never)]);
    for entry in entries {
        let Ask::Write(value) = entry.ask else {
            continue;
        };
        if entry.answer == Answer::NotApplied || twice.contains(&value) {
            continue;
        }
        let zone = Zone {
            value: Some(value),
            written: entry.invoked,
            first_end: entry.returned.unwrap_or(Moment::MAX),
            last_begin: entry.invoked,
        };
        zones.insert(Some(value), zone);
    }
    zones
}

fn add_reads(
    entries: &[Entry],
    twice: &BTreeSet<u64>,
    zones: &mut BTreeMap<Option<u64>, Zone>,
    name: &dyn Fn(u64) -> String,
) -> Result<(), Objection> {
    let mut timestamps: BTreeMap<u64, Timestamp> = BTreeMap::new();
    for entry in entries {
        if let (Ask::Write(value), Answer::Written(ts)) = (&entry.ask, &entry.answer) {
            timestamps.insert(*value, *ts);
        }
    }
    for entry in entries {
        let (Answer::Value(found), Some(returned)) = (&entry.answer, entry.returned) else {
            continue;
        };
        let value = found.map(|(value, _)| value);
        if value.is_some_and(|value| twice.contains(&value)) {
            continue;
        }
        let Some(zone) = zones.get_mut(&value) else {
            let value = told(value, name);
            return Err(format!("a read returned {value}, which was not written").into());
        };
        if returned < zone.written {
            let value = told(value, name);
            return Err(format!("a read returned {value} before it was written").into());
        }
        if let Some((value, ts)) = *found
            && *timestamps.entry(value).or_insert(ts) != ts
        {
            return Err(format!("{} has two timestamps", name(value)).into());
        }
        zone.first_end = zone.first_end.min(returned);
        zone.last_begin = zone.last_begin.max(entry.invoked);
    }
    Ok(())
}
