//! When the space of forgotten values is given back, beside the writing of others.
//!
//! Nodes that store the same values have their segments full at the same moment. Steps that
//! follow each other without a rest took all processors of a machine with several nodes for
//! 50 ms then, and what was written meanwhile waited.

use std::time::{Duration, Instant};

use super::values::{DEAD_BYTES, Saving, Usage};

/// After a step of any length so many times as much passes before the next.
const RESTS: u32 = 7;

/// A step that has been due for so long waits for no idle moment.
const DUE_MAX: Duration = Duration::from_millis(50);

/// With more bytes than this, and than are needed, to give back, it goes on without a rest.
pub const BEHIND_BYTES: u64 = 2 * DEAD_BYTES;

/// When nothing was written for so long, space is given back even where that costs work.
const CALM: Duration = Duration::from_secs(1);

/// The next step.
pub struct Tidying {
    due: Option<Instant>,
    /// When whatever is worth it is given back; none where that was done.
    calm: Option<Instant>,
}

impl Tidying {
    /// Something may be left from earlier.
    pub fn begin(now: Instant) -> Self {
        Self {
            due: Some(now),
            calm: Some(now),
        }
    }

    /// How long until the next step; none where nothing is to be done.
    pub fn patience(&self, now: Instant) -> Option<Duration> {
        let next = self.due.or(self.calm);
        next.map(|next| next.saturating_duration_since(now))
    }

    /// Values were written or forgotten, and there may be something to do.
    pub fn on_written(&mut self, now: Instant) {
        self.due.get_or_insert(now);
        self.calm = Some(now + CALM);
    }

    /// Whether the next step waits for no idle moment.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due + DUE_MAX <= now)
    }

    /// What a step at `now` is to save.
    pub fn saving(&self, now: Instant, is_scarce: bool) -> Saving {
        let is_calm = self.calm.is_some_and(|calm| calm <= now);
        match (is_scarce, is_calm) {
            (true, _) => Saving::All,
            (false, true) => Saving::Space,
            (false, false) => Saving::Work,
        }
    }

    /// A step took from `begun` to `now`; what the store takes, if anything is left to do, and
    /// whether space is scarce.
    pub fn on_step(&mut self, begun: Instant, now: Instant, left: Option<Usage>, is_scarce: bool) {
        if left.is_none() && self.calm.is_some_and(|calm| calm <= begun) {
            self.calm = None;
        }
        self.due = left.map(|usage| {
            match is_scarce || usage.dead_bytes > usage.needed_bytes().max(BEHIND_BYTES) {
                true => now,
                false => now + (now - begun) * RESTS,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn usage(bytes: u64, dead_bytes: u64) -> Usage {
        Usage {
            values: 1,
            bytes,
            dead_bytes,
        }
    }

    #[test]
    fn a_rest_follows_each_step_unless_much_is_left() {
        let start = Instant::now();
        let mut tidying = Tidying::begin(start);
        assert_eq!(tidying.patience(start), Some(Duration::ZERO));
        tidying.on_step(start, start + 2 * MS, Some(usage(100, 90)), false);
        assert_eq!(tidying.patience(start + 2 * MS), Some(14 * MS));
        tidying.on_written(start + 3 * MS);
        assert_eq!(tidying.patience(start + 6 * MS), Some(10 * MS));
        assert!(!tidying.is_overdue(start + 65 * MS));
        assert!(tidying.is_overdue(start + 66 * MS));

        let much = usage(3 * BEHIND_BYTES, 2 * BEHIND_BYTES);
        tidying.on_step(start, start + 2 * MS, Some(much), false);
        assert_eq!(tidying.patience(start + 2 * MS), Some(Duration::ZERO));
        let most_is_needed = usage(10 * BEHIND_BYTES, 2 * BEHIND_BYTES);
        tidying.on_step(start, start + MS, Some(most_is_needed), false);
        assert_eq!(tidying.patience(start + MS), Some(7 * MS));
        tidying.on_step(start, start + MS, Some(most_is_needed), true);
        assert_eq!(tidying.patience(start + MS), Some(Duration::ZERO));
    }

    #[test]
    fn it_ends_and_begins_anew_with_what_is_written() {
        let start = Instant::now();
        let mut tidying = Tidying::begin(start);
        tidying.on_step(start, start + MS, None, false);
        assert_eq!(tidying.patience(start + MS), None);
        assert!(!tidying.is_overdue(start + 1000 * MS));
        tidying.on_written(start + 5 * MS);
        assert_eq!(tidying.patience(start + 5 * MS), Some(Duration::ZERO));
    }

    #[test]
    fn work_is_spared_until_nothing_was_written_for_a_while() {
        let start = Instant::now();
        let mut tidying = Tidying::begin(start);
        assert_eq!(tidying.saving(start, false), Saving::Space);
        tidying.on_written(start + MS);
        assert_eq!(tidying.saving(start + MS, true), Saving::All);
        assert_eq!(tidying.saving(start + 1000 * MS, false), Saving::Work);
        tidying.on_step(start + 2 * MS, start + 3 * MS, None, false);
        assert_eq!(tidying.patience(start + 3 * MS), Some(998 * MS));
        assert_eq!(tidying.saving(start + 1001 * MS, false), Saving::Space);
        let rest = Some(usage(100, 90));
        tidying.on_step(start + 1001 * MS, start + 1002 * MS, rest, false);
        assert_eq!(tidying.saving(start + 1009 * MS, false), Saving::Space);
        tidying.on_step(start + 1009 * MS, start + 1010 * MS, None, false);
        assert_eq!(tidying.patience(start + 1010 * MS), None);
    }
}
