//! What the records of one object amount to.

use std::collections::BTreeMap;

use super::local::LocalFold;
use crate::record::Record;
use crate::timestamp::Timestamp;
use crate::vivace_rmw::Versions;

/// The newest record of one kind.
#[derive(Debug, Default)]
struct Newest(Option<(Timestamp, Record)>);

impl Newest {
    /// Of two records of one timestamp the first stays, as recovery has it.
    fn offer(&mut self, ts: Timestamp, record: Record) {
        if self.0.as_ref().is_none_or(|(held, _)| ts > *held) {
            self.0 = Some((ts, record));
        }
    }

    fn lose(&mut self, ts: Timestamp) {
        self.0.take_if(|(held, _)| *held == ts);
    }

    fn ts(&self) -> Timestamp {
        self.0.as_ref().map_or(Timestamp::ZERO, |(ts, _)| *ts)
    }

    fn emit(self, into: &mut Vec<Record>) {
        into.extend(self.0.map(|(_, record)| record));
    }

    /// Only where no record of another kind implies it.
    fn emit_above(self, implied: Timestamp, into: &mut Vec<Record>) {
        if self.ts() > implied {
            self.emit(into);
        }
    }
}

#[derive(Debug, Default)]
pub struct KeyFold {
    /// Versions of which this range takes away what stands before it.
    lost: BTreeMap<Timestamp, Record>,
    known: Newest,
    complete: Newest,
    promised: Newest,
    accepted: Newest,
    chosen: Newest,
    versions: Versions<Record>,
    lan_accepted: Newest,
    local: LocalFold,
}

impl KeyFold {
    pub fn absorb(&mut self, record: Record) {
        match record {
            Record::Known { ts, .. } => self.known.offer(ts, record),
            Record::Complete { ts, .. } => self.complete.offer(ts, record),
            Record::Promised { ts, .. } => self.promised.offer(ts, record),
            Record::Accepted { ts, .. } => self.accepted.offer(ts, record),
            Record::Chosen { ts, .. } => {
                self.chosen.offer(ts, record);
                self.versions.choose(self.chosen.ts());
            }
            Record::Version { ts, .. } => {
                if self.versions.wants(self.chosen.ts(), ts) {
                    self.versions.insert(self.chosen.ts(), ts, record);
                }
            }
            Record::LanAccepted { ts, .. } => self.lan_accepted.offer(ts, record),
            Record::LocalCopy { .. }
            | Record::LocalBound { .. }
            | Record::LocalGivenUp { .. }
            | Record::LocalDropped { .. } => self.local.absorb(record),
            Record::ValueLost { ref key, ts } => {
                let key = key.clone();
                // What implied that it is known goes.
                if self.complete.ts() == ts {
                    self.known.offer(ts, Record::Known { key, ts });
                }
                self.complete.lose(ts);
                self.versions.remove(ts);
                self.lost.insert(ts, record);
            }
            Record::ClockHighWater { .. } | Record::LocalAborted { .. } => {
                unreachable!("they belong to no object")
            }
        }
    }

    /// How many records it holds on to, about.
    pub fn records(&self) -> usize {
        2 + self.lost.len() + self.versions.len() + self.local.records()
    }

    pub fn into_partial(mut self) -> Vec<Record> {
        let lost = std::mem::take(&mut self.lost);
        let mut records: Vec<Record> = lost.into_values().collect();
        let (kept, local) = self.emit();
        records.extend(kept);
        records.extend(local.into_partial());
        records
    }

    pub fn finish(self) -> Vec<Record> {
        let (mut records, local) = self.emit();
        records.extend(local.finish());
        records
    }

    fn emit(self) -> (Vec<Record>, LocalFold) {
        let mut records = Vec::new();
        self.known.emit_above(self.complete.ts(), &mut records);
        self.complete.emit(&mut records);
        let chosen = self.chosen.ts();
        let implied = chosen.max(self.accepted.ts()).max(self.lan_accepted.ts());
        self.promised.emit_above(implied, &mut records);
        self.accepted.emit_above(chosen, &mut records);
        self.chosen.emit(&mut records);
        records.extend(self.versions.into_values());
        self.lan_accepted.emit(&mut records);
        (records, self.local)
    }
}
