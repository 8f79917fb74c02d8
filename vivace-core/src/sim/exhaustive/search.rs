//! Through all states, each once, depth first.

use std::collections::BTreeSet;

use super::catalogue::{Catalogue, HistoryId};
use super::dive::learn;
use super::model::{Model, Weighed};
use super::outlook::Outlook;
use super::path::{Frame, schedule};
use super::report::{Report, Violation};
use super::state::State;
use super::visited::Visited;

/// How many states pass between two reports of progress.
const PROGRESS_STATES: u64 = 1 << 20;

/// After so many states the search looks for the first time whether the outlook still
/// holds. Each look that finds it wrong costs a beginning anew, so the next one comes after
/// twice as many: until then the search goes on to learn.
const FIRST_CHECK_STATES: u64 = 1 << 16;

/// Visits every state of `model`, but no more than `states_max`, until a promise is
/// broken. `progress` hears now and then how it stands. Equal arguments give equal reports.
///
/// # Panics
/// Where the model's cluster can't be.
pub fn explore(model: &Model, states_max: u64, mut progress: impl FnMut(&Report)) -> Report {
    let mut catalogue = Catalogue::new(model);
    let mut outlook = (model.weighed() == Weighed::ThatMatter).then(Outlook::new);
    if let Some(outlook) = &mut outlook {
        learn(&mut catalogue, outlook);
    }
    let mut restarts = 0;
    let mut check_states = FIRST_CHECK_STATES;
    loop {
        let mut search = Search {
            catalogue: &mut catalogue,
            outlook: outlook.as_mut(),
            report: Report::nothing_yet(),
            histories: BTreeSet::new(),
            visited: Visited::new(),
            path: Vec::new(),
            check_states,
        };
        search.report.restarts = restarts;
        let holds = search.run(states_max, &mut progress);
        let Search {
            mut report,
            histories,
            ..
        } = search;
        if holds {
            let digest = |id| catalogue.history(id).digest();
            report.histories = histories.into_iter().map(digest).collect();
            report.count(&catalogue);
            return report;
        }
        restarts += 1;
        check_states *= 2;
    }
}

struct Search<'a> {
    catalogue: &'a mut Catalogue,
    outlook: Option<&'a mut Outlook>,
    report: Report,
    histories: BTreeSet<HistoryId>,
    visited: Visited,
    path: Vec<Frame>,
    check_states: u64,
}

impl Search<'_> {
    /// False where the outlook turned out to be wrong.
    fn run(&mut self, states_max: u64, progress: &mut impl FnMut(&Report)) -> bool {
        let beginning = State::beginning(self.catalogue);
        let mut reached = beginning.and_then(|state| self.simplified(state));
        loop {
            match reached {
                // Without what was left out wrongly a client may have waited in vain.
                Err(_) if !self.holds() => return false,
                Err(what) => {
                    let schedule = schedule(self.catalogue, &self.path);
                    self.report.violation = Some(Violation { what, schedule });
                    return true;
                }
                Ok(state) if self.visited.insert(state.fingerprint()) => {
                    if self.report.states == states_max {
                        self.report.is_exhausted = false;
                        return true;
                    }
                    self.enter(state);
                    if self.report.states.is_multiple_of(self.check_states) && !self.holds() {
                        return false;
                    }
                    if self.report.states.is_multiple_of(PROGRESS_STATES) {
                        self.report.count(self.catalogue);
                        progress(&self.report);
                    }
                }
                Ok(_) => {}
            }
            while self.path.last().is_some_and(Frame::is_over) {
                self.path.pop();
            }
            if self.path.is_empty() {
                return self.holds();
            }
            reached = self.go_on();
        }
    }

    fn enter(&mut self, state: State) {
        self.report.states += 1;
        self.report.depth = self.report.depth.max(self.path.len());
        self.histories.insert(state.history);
        let frame = Frame::new(self.catalogue, state);
        self.report.ends += u64::from(frame.choices.is_empty());
        self.path.push(frame);
    }

    /// The next state after the last one on the path.
    fn go_on(&mut self) -> Result<State, String> {
        let frame = self.path.last_mut().expect("the path is not empty");
        let (choice, known) = &mut frame.choices[frame.next];
        frame.next += 1;
        self.report.transitions += 1;
        let after = match known.take() {
            Some(after) => after,
            None => frame.state.after(self.catalogue, *choice)?,
        };
        if let Some(outlook) = &mut self.outlook {
            outlook.learn(self.catalogue, &frame.state, &after);
        }
        self.simplified(after)
    }

    fn simplified(&mut self, state: State) -> Result<State, String> {
        match &mut self.outlook {
            Some(outlook) => outlook.simplify(self.catalogue, state),
            None => Ok(state),
        }
    }

    fn holds(&mut self) -> bool {
        let outlook = self.outlook.as_mut();
        outlook.is_none_or(|outlook| outlook.holds(self.catalogue))
    }
}
