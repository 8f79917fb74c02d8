//! Up to where all is durable, when several lanes make parts of one sequence durable.

use std::collections::VecDeque;

use vivace_core::Lsn;

/// What one lane was handed and has not finished: the first and last position of each
/// group. Positions of other lanes lie in between.
#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<(Lsn, Lsn)>,
}

/// Lanes of one sequence of positions.
#[derive(Debug)]
pub struct Watermark<const LANES: usize> {
    lanes: [Lane; LANES],
    handed: Lsn,
    reported: Lsn,
}

impl<const LANES: usize> Default for Watermark<LANES> {
    fn default() -> Self {
        Self {
            lanes: std::array::from_fn(|_| Lane::default()),
            handed: Lsn::default(),
            reported: Lsn::default(),
        }
    }
}

impl<const LANES: usize> Watermark<LANES> {
    /// `lane` begins to make its positions from `first` to `last` durable.
    pub fn hand(&mut self, lane: usize, first: Lsn, last: Lsn) {
        self.lanes[lane].waiting.push_back((first, last));
    }

    /// All positions up to `through` were handed to their lanes, or need none.
    pub fn all_handed(&mut self, through: Lsn) {
        self.handed = self.handed.max(through);
    }

    /// `lane` has made its positions up to `through` durable.
    pub fn done(&mut self, lane: usize, through: Lsn) {
        let waiting = &mut self.lanes[lane].waiting;
        while waiting.front().is_some_and(|&(_, last)| last <= through) {
            waiting.pop_front();
        }
    }

    /// Up to where all is durable.
    pub fn durable(&self) -> Lsn {
        let first_waiting = self.lanes.iter().filter_map(|lane| lane.waiting.front());
        match first_waiting.map(|&(first, _)| first).min() {
            Some(first) => Lsn(first.0 - 1).min(self.handed),
            None => self.handed,
        }
    }

    /// [`Watermark::durable`], once, when it has risen.
    pub fn risen(&mut self) -> Option<Lsn> {
        let durable = self.durable();
        (durable > self.reported).then(|| {
            self.reported = durable;
            durable
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_lane_decides() {
        let mut mark = Watermark::<2>::default();
        mark.hand(0, Lsn(1), Lsn(4));
        mark.hand(1, Lsn(2), Lsn(3));
        mark.all_handed(Lsn(4));
        assert_eq!(mark.risen(), None);
        mark.done(0, Lsn(4));
        assert_eq!(mark.risen(), Some(Lsn(1)));
        mark.done(1, Lsn(3));
        assert_eq!(mark.risen(), Some(Lsn(4)));
        assert_eq!(mark.risen(), None);
    }

    #[test]
    fn an_idle_lane_holds_nothing_back() {
        let mut mark = Watermark::<2>::default();
        mark.hand(0, Lsn(1), Lsn(9));
        mark.all_handed(Lsn(9));
        mark.done(0, Lsn(9));
        assert_eq!(mark.risen(), Some(Lsn(9)));
    }

    #[test]
    fn groups_finish_one_by_one() {
        let mut mark = Watermark::<2>::default();
        for at in 0..3 {
            mark.hand(0, Lsn(2 * at + 1), Lsn(2 * at + 1));
            mark.hand(1, Lsn(2 * at + 2), Lsn(2 * at + 2));
        }
        mark.all_handed(Lsn(6));
        mark.done(1, Lsn(6));
        mark.done(0, Lsn(1));
        assert_eq!(mark.risen(), Some(Lsn(2)));
        mark.done(0, Lsn(3));
        assert_eq!(mark.risen(), Some(Lsn(4)));
    }
}
