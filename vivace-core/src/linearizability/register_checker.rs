//! Linearizability of a register whose values are unique, by zones (Gibbons and
//! Korach 1997, §4), in O(n log n).

use std::collections::BTreeMap;

use super::history::{Answer, Ask, Entry, Moment};
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

/// Checks a register whose values are unique.
///
/// # Errors
/// What is wrong.
pub fn check_register(entries: &[Entry]) -> Result<(), String> {
    let mut zones = written_zones(entries)?;
    add_reads(entries, &mut zones)?;
    // Writes that nobody saw the end or the effect of may never have happened.
    let zones = zones.into_values().filter(|z| z.first_end < Moment::MAX);
    let (mut forward, backward): (Vec<Zone>, Vec<Zone>) = zones.partition(Zone::is_forward);
    forward.sort_by_key(Zone::low);
    let clash = |one: &Zone, other: &Zone| {
        Err(format!(
            "no order explains {:?} beside {:?}",
            one.value, other.value
        ))
    };
    // Two values can't both be in place.
    for pair in forward.windows(2) {
        if pair[1].low() < pair[0].high() {
            return clash(&pair[0], &pair[1]);
        }
    }
    // Nor can one be in place for a moment while another one is throughout.
    for zone in &backward {
        let before = forward.partition_point(|f| f.low() < zone.low());
        if before > 0 && zone.high() < forward[before - 1].high() {
            return clash(&forward[before - 1], zone);
        }
    }
    Ok(())
}

fn written_zones(entries: &[Entry]) -> Result<BTreeMap<Option<u64>, Zone>, String> {
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
        if entry.answer == Answer::NotApplied {
            continue;
        }
        let zone = Zone {
            value: Some(value),
            written: entry.invoked,
            first_end: entry.returned.unwrap_or(Moment::MAX),
            last_begin: entry.invoked,
        };
        if zones.insert(Some(value), zone).is_some() {
            return Err(format!(
                "{value} was written twice; this check needs unique values"
            ));
        }
    }
    Ok(zones)
}

fn add_reads(entries: &[Entry], zones: &mut BTreeMap<Option<u64>, Zone>) -> Result<(), String> {
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
        let Some(zone) = zones.get_mut(&value) else {
            return Err(format!("a read returned {value:?}, which was not written"));
        };
        if returned < zone.written {
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
    Ok(())
}
