//! The least of a seed's configuration that still breaks the same promise.

use std::collections::BTreeSet;

use super::{Configuration, Limits, Outcome, Promise, run};
use crate::sim::Trace;

/// What is left of a seed.
pub struct Shrunk {
    /// What to leave out.
    pub limits: Limits,
    /// What the rest does.
    pub outcome: Outcome,
    /// How many runs it took.
    pub runs: u32,
}

struct Search<'a> {
    full: &'a Configuration,
    promise: Promise,
    runs_left: u32,
    best: Limits,
    outcome: Outcome,
}

impl Search<'_> {
    /// Takes the candidate if it breaks the same promise.
    fn try_out(&mut self, candidate: Limits) -> bool {
        if self.runs_left == 0 || candidate == self.best {
            return false;
        }
        self.runs_left -= 1;
        let outcome = run(&self.full.clone().limited(&candidate), Trace::Off);
        let breaks = outcome
            .violation
            .as_ref()
            .is_some_and(|v| v.promise == self.promise);
        if breaks {
            self.best = candidate;
            self.outcome = outcome;
        }
        breaks
    }

    /// Leaves out runs of faults: halves first, single ones last (Zeller's ddmin, in short).
    fn fewer_faults(&mut self, kept: BTreeSet<usize>) {
        let mut kept: Vec<usize> = kept.into_iter().collect();
        let mut size = kept.len();
        while size > 0 {
            let mut from = 0;
            while from < kept.len() {
                let to = (from + size).min(kept.len());
                let rest: Vec<usize> = [&kept[..from], &kept[to..]].concat();
                let candidate = Limits {
                    faults: Some(rest.iter().copied().collect()),
                    ..self.best.clone()
                };
                if self.try_out(candidate) {
                    kept = rest;
                } else {
                    from = to;
                }
            }
            size /= 2;
        }
    }

    fn fewer_operations(&mut self, most: u32) {
        let mut most = self.best.operations.unwrap_or(most);
        for (kept, of) in [
            (1, 16),
            (1, 8),
            (1, 4),
            (1, 2),
            (1, 2),
            (3, 4),
            (7, 8),
            (15, 16),
        ] {
            let fewer = (most * kept / of).max(1);
            let candidate = Limits {
                operations: Some(fewer),
                ..self.best.clone()
            };
            if self.try_out(candidate) {
                most = fewer;
            }
        }
    }

    fn fewer_clients(&mut self, most: usize) {
        for clients in 1..self.best.clients.unwrap_or(most) {
            let candidate = Limits {
                clients: Some(clients),
                ..self.best.clone()
            };
            if self.try_out(candidate) {
                return;
            }
        }
    }
}

/// Looks for fewer faults, clients and operations that break the same promise, in at
/// most `runs_max` runs; none where the configuration breaks nothing.
pub fn shrink(full: &Configuration, runs_max: u32) -> Option<Shrunk> {
    let outcome = run(full, Trace::Off);
    let promise = outcome.violation.as_ref()?.promise;
    let mut search = Search {
        full,
        promise,
        runs_left: runs_max,
        best: Limits::default(),
        outcome,
    };
    let is_calm = true;
    search.try_out(Limits {
        is_calm,
        ..Limits::default()
    });
    let most = full.clients.iter().map(|c| c.operations).max().unwrap_or(1);
    let all: BTreeSet<usize> = full.faults.iter().map(|fault| fault.number).collect();
    // With less of one, less of another may do.
    loop {
        let before = search.best.clone();
        search.fewer_operations(most);
        search.fewer_faults(search.best.faults.clone().unwrap_or_else(|| all.clone()));
        search.fewer_clients(full.clients.len());
        if search.best == before {
            break;
        }
    }
    Some(Shrunk {
        limits: search.best,
        outcome: search.outcome,
        runs: runs_max - search.runs_left,
    })
}
