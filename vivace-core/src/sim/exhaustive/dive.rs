//! Down from the beginning to an end, by chance.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::catalogue::Catalogue;
use super::model::Model;
use super::outlook::Outlook;
use super::path::{Frame, schedule};
use super::report::{Report, Violation};
use super::state::State;

/// So many dives in a row that teach nothing are enough.
const IN_VAIN_MAX: u64 = 500;

/// Goes down `dives` times from the beginning to an end, each by choices of its own, until
/// a promise is broken. A search varies the ends of runs first; what takes an early turn
/// is found sooner so. Equal arguments give equal reports; its states may repeat.
///
/// # Panics
/// Where the model's cluster can't be.
pub fn dive(model: &Model, dives: u64) -> Report {
    let mut catalogue = Catalogue::new(model);
    let mut report = Report::nothing_yet();
    report.is_exhausted = false;
    for seed in 0..dives {
        report.violation = go_down(&mut catalogue, seed, &mut report, |_, _, _| ());
        if report.violation.is_some() {
            break;
        }
    }
    report
}

/// Dives until `outlook` has learned nothing for long; the search will find what is wrong.
pub fn learn(catalogue: &mut Catalogue, outlook: &mut Outlook) {
    let mut last = 0;
    for seed in 0.. {
        let known = outlook.pairs();
        let mut report = Report::nothing_yet();
        go_down(catalogue, seed, &mut report, |catalogue, before, after| {
            outlook.learn(catalogue, before, after);
        });
        if outlook.pairs() > known {
            last = seed;
        }
        if seed - last >= IN_VAIN_MAX {
            return;
        }
    }
}

fn go_down(
    catalogue: &mut Catalogue,
    seed: u64,
    report: &mut Report,
    mut on_step: impl FnMut(&Catalogue, &State, &State),
) -> Option<Violation> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut path: Vec<Frame> = Vec::new();
    let mut reached = State::beginning(catalogue);
    loop {
        let state = match reached {
            Ok(state) => state,
            Err(what) => {
                let schedule = schedule(catalogue, &path);
                return Some(Violation { what, schedule });
            }
        };
        if let Some(frame) = path.last() {
            on_step(catalogue, &frame.state, &state);
        }
        report.states += 1;
        report.depth = report.depth.max(path.len());
        let mut frame = Frame::new(catalogue, state);
        if frame.choices.is_empty() {
            report.ends += 1;
            return None;
        }
        let (choice, _) = frame
            .choices
            .swap_remove(rng.random_range(0..frame.choices.len()));
        report.transitions += 1;
        reached = frame.state.after(catalogue, choice);
        frame.choices = vec![(choice, None)];
        frame.next = 1;
        path.push(frame);
    }
}
