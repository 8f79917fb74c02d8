//! The demo's verdict, from what is on disk.

use super::plan::{Condition, Operation, Row, rows};
use super::table::ratio;
use crate::results::Recorded;

/// What Vivace shall hold: on a full link, its 99th percentile is at most this many
/// times its idle median.
pub const TARGET: f64 = 1.15;

struct Judged {
    row: Row,
    ratio: f64,
}

/// One sentence or two in plain words.
pub fn verdict(recorded: &Recorded) -> String {
    let (vivace, prior): (Vec<_>, Vec<_>) = judged(recorded)
        .into_iter()
        .partition(|judged| judged.row.system.is_vivace());
    let Some(worst) = vivace.iter().map(|judged| judged.ratio).reduce(f64::max) else {
        return "No verdict: no pair of Vivace's rows was measured.".to_owned();
    };
    let failed: u64 = vivace
        .iter()
        .map(|judged| failures(recorded, &judged.row))
        .sum();
    let each: Vec<String> = vivace
        .iter()
        .map(|judged| format!("{} {:.2}", short(&judged.row), judged.ratio))
        .collect();
    let kept = if worst <= TARGET && failed == 0 {
        "kept its latency"
    } else {
        "MISSED its target"
    };
    let mut text = format!(
        "Vivace {kept}: with the link full, 99 of 100 operations took at most {worst:.2} times \
         their idle median ({}; target {TARGET}), and {}.",
        each.join(", "),
        match failed {
            0 => "none failed".to_owned(),
            1 => "1 failed".to_owned(),
            failed => format!("{failed} failed"),
        }
    );
    let ratios = || prior.iter().map(|judged| judged.ratio);
    if let (Some(least), Some(most)) = (ratios().reduce(f64::min), ratios().reduce(f64::max)) {
        text += &if prior.len() == 1 {
            format!(" The prior algorithm took {most:.0} times its own.")
        } else {
            format!(" The prior algorithms took {least:.0} to {most:.0} times theirs.")
        };
    }
    text
}

/// The rows on the congested link that have a row on the idle one.
fn judged(recorded: &Recorded) -> Vec<Judged> {
    let congested = rows(&[], true)
        .into_iter()
        .filter(|row| row.condition == Condition::Congested);
    congested
        .filter_map(|row| {
            let name = row.name();
            let summary = recorded.row(&name.system, &name.operation, &name.condition)?;
            Some(Judged {
                row,
                ratio: ratio(recorded, summary)?,
            })
        })
        .collect()
}

/// Failures on both links.
fn failures(recorded: &Recorded, row: &Row) -> u64 {
    let (system, operation) = (row.system.id(), row.operation.id());
    let rows = [Condition::Idle, Condition::Congested]
        .map(|condition| recorded.row(system, operation, condition.id()));
    rows.into_iter().flatten().map(|row| row.failed).sum()
}

fn short(row: &Row) -> String {
    match (row.operation, row.system.has_commands()) {
        (Operation::Read, true) => "RMW read".to_owned(),
        (operation, _) => operation.id().to_owned(),
    }
}
