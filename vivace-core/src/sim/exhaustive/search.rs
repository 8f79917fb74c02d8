//! Through all states, each once, depth first; and dives into them by chance.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::cluster::{Choice, Setting, State};
use super::model::Model;

/// How many states pass between two reports of progress.
const PROGRESS_STATES: u64 = 1 << 16;

/// A broken promise, and how it came about.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What is wrong.
    pub what: String,
    /// All that happened, in order, as text in columns.
    pub schedule: Vec<String>,
}

/// What a search has seen.
#[derive(Clone, Debug)]
pub struct Report {
    /// Different states.
    pub states: u64,
    /// Steps from one state to another.
    pub transitions: u64,
    /// Steps from the beginning to the furthest state, on the way on which it was found.
    pub depth: usize,
    /// States in which every operation has ended.
    pub ends: u64,
    /// Whether every state was visited; else the search was cut at a number of states.
    pub is_exhausted: bool,
    /// The first broken promise that was met.
    pub violation: Option<Violation>,
}

impl Report {
    fn nothing_yet() -> Self {
        Self {
            states: 0,
            transitions: 0,
            depth: 0,
            ends: 0,
            is_exhausted: true,
            violation: None,
        }
    }
}

struct Frame {
    state: State,
    /// With the state after it, where that is known.
    choices: Vec<(Choice, Option<State>)>,
    next: usize,
}

impl Frame {
    /// The choices in an order of their own per state: one order for all would leave
    /// what departs from it early to the end of the search.
    fn new(setting: &Setting, state: State) -> Self {
        let mut choices = state.choices(setting);
        let nothing = choices.iter().find_map(|&choice| {
            let after = state.after_nothing(setting, choice)?;
            Some((choice, Some(after)))
        });
        let choices = match nothing {
            Some(only) => vec![only],
            None => {
                let seed = state.fingerprint();
                choices.sort_by_cached_key(|choice| {
                    let mut digest = DefaultHasher::new();
                    (seed, choice).hash(&mut digest);
                    digest.finish()
                });
                choices.into_iter().map(|choice| (choice, None)).collect()
            }
        };
        Self {
            state,
            choices,
            next: 0,
        }
    }
}

/// Visits every state of `model`, but no more than `states_max`, until a promise is
/// broken. `progress` hears now and then how it stands. Equal arguments give equal reports.
///
/// # Panics
/// Where the model's cluster can't be.
pub fn explore(model: &Model, states_max: u64, mut progress: impl FnMut(&Report)) -> Report {
    let setting = Setting::new(model);
    let mut report = Report::nothing_yet();
    let mut visited = BTreeSet::new();
    let mut path: Vec<Frame> = Vec::new();
    let mut reached = State::beginning(&setting);
    loop {
        match reached {
            Err(what) => {
                let schedule = schedule(&setting, &path);
                report.violation = Some(Violation { what, schedule });
                return report;
            }
            Ok(state) if visited.insert(state.fingerprint()) => {
                if report.states == states_max {
                    report.is_exhausted = false;
                    return report;
                }
                report.states += 1;
                if report.states.is_multiple_of(PROGRESS_STATES) {
                    progress(&report);
                }
                report.depth = report.depth.max(path.len());
                path.push(Frame::new(&setting, state));
                let is_end = path.last().is_some_and(|frame| frame.choices.is_empty());
                report.ends += u64::from(is_end);
            }
            Ok(_) => {}
        }
        while path
            .last()
            .is_some_and(|frame| frame.next == frame.choices.len())
        {
            path.pop();
        }
        let Some(frame) = path.last_mut() else {
            return report;
        };
        let (choice, known) = &mut frame.choices[frame.next];
        frame.next += 1;
        report.transitions += 1;
        reached = match known.take() {
            Some(after) => Ok(after),
            None => frame.state.after(&setting, *choice),
        };
    }
}

/// Goes down `dives` times from the beginning to an end, each by choices of its own, until
/// a promise is broken. A search varies the ends of runs first; what takes an early turn
/// is found sooner so. Equal arguments give equal reports; its states may repeat.
///
/// # Panics
/// Where the model's cluster can't be.
pub fn dive(model: &Model, dives: u64) -> Report {
    let setting = Setting::new(model);
    let mut report = Report::nothing_yet();
    report.is_exhausted = false;
    for seed in 0..dives {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut path: Vec<Frame> = Vec::new();
        let mut reached = State::beginning(&setting);
        loop {
            let state = match reached {
                Ok(state) => state,
                Err(what) => {
                    let schedule = schedule(&setting, &path);
                    report.violation = Some(Violation { what, schedule });
                    return report;
                }
            };
            report.states += 1;
            report.depth = report.depth.max(path.len());
            let mut frame = Frame::new(&setting, state);
            if frame.choices.is_empty() {
                report.ends += 1;
                break;
            }
            let (choice, _) = frame
                .choices
                .swap_remove(rng.random_range(0..frame.choices.len()));
            report.transitions += 1;
            reached = frame.state.after(&setting, choice);
            frame.choices = vec![(choice, None)];
            frame.next = 1;
            path.push(frame);
        }
    }
    report
}

fn schedule(setting: &Setting, path: &[Frame]) -> Vec<String> {
    path.iter()
        .map(|frame| frame.state.words(setting, frame.choices[frame.next - 1].0))
        .collect()
}
