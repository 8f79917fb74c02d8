//! The demo's table, from what is on disk.

use super::plan::{Condition, Row, rows};
use crate::results::{Recorded, SummaryRow, WindowRow};

/// How many times its idle median a row's 99th percentile is; none where the idle
/// row was not measured.
pub fn ratio(recorded: &Recorded, row: &SummaryRow) -> Option<f64> {
    let name = &row.name;
    let idle = recorded.row(&name.system, &name.operation, Condition::Idle.id())?;
    (idle.p50_ms > 0.0).then(|| row.p99_ms / idle.p50_ms)
}

/// All rows in ms, each pair of idle and congested together, and below them what a
/// reader must know before believing them.
pub fn table(recorded: &Recorded) -> String {
    let mut text = format!(
        "Link: {}\n\n{:<12}{:<10}{:<11}{:>5}{:>8}{:>9}{:>9}{:>9}{:>9}{:>9}{:>16}\n",
        recorded.settings.link.caption(),
        "ms",
        "",
        "link",
        "n",
        "failed",
        "min",
        "p50",
        "p90",
        "p99",
        "max",
        "p99 / idle p50"
    );
    for row in measured(recorded) {
        let name = row.name();
        let Some(summary) = recorded.row(&name.system, &name.operation, &name.condition) else {
            continue;
        };
        let times = match row.condition {
            Condition::Idle => String::new(),
            Condition::Congested => {
                ratio(recorded, summary).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
            }
        };
        text += &format!(
            "{:<12}{:<10}{:<11}{:>5}{:>8}{:>9.1}{:>9.1}{:>9.1}{:>9.1}{:>9.1}{:>16}",
            row.system.words(),
            name.operation,
            name.condition,
            summary.n,
            summary.failed,
            summary.min_ms,
            summary.p50_ms,
            summary.p90_ms,
            summary.p99_ms,
            summary.max_ms,
            times
        );
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text.push('\n');
    for note in notes(recorded) {
        text += &format!("{note}\n");
    }
    text
}

/// The rows that were measured, each algorithm's idle one before its congested one.
fn measured(recorded: &Recorded) -> Vec<Row> {
    let all = rows(&[], true);
    let has = |row: &&Row| {
        recorded
            .summary
            .iter()
            .any(|summary| summary.name == row.name())
    };
    let idle = all.iter().filter(|row| row.condition == Condition::Idle);
    idle.flat_map(|idle| {
        [
            *idle,
            Row {
                condition: Condition::Congested,
                ..*idle
            },
        ]
    })
    .filter(|row| has(&row))
    .collect()
}

fn notes(recorded: &Recorded) -> Vec<String> {
    let mut notes = Vec::new();
    for window in &recorded.windows {
        let name = &window.name;
        for (cause, count) in &window.failures {
            notes.push(format!("{name}: {count} failed: {cause}"));
        }
        if window.warm_up.failed > 0 {
            notes.push(format!(
                "{name}: {} failed while warming up",
                window.warm_up.failed
            ));
        }
        if !window.settled {
            notes.push(format!(
                "{name}: began before all earlier values had reached their replicas"
            ));
        }
        if window.lateness.spoilt {
            notes.push(format!(
                "{name}: spoilt by this machine: packets were up to {:.1} ms late (99 of 100: {:.1} ms)",
                window.lateness.max_us as f64 / 1000.0,
                window.lateness.p99_us as f64 / 1000.0
            ));
        }
        if !window.complete {
            notes.push(format!("{name}: stopped after {:.1} s", window.seconds));
        }
    }
    notes.extend(priority_note(&recorded.windows));
    if let Some(reason) = &recorded.settings.incomplete_because {
        notes.push(format!("Incomplete: {reason}."));
    }
    notes
}

/// What the priority class cost on the congested link.
fn priority_note(windows: &[WindowRow]) -> Option<String> {
    let congested = |window: &&WindowRow| window.name.condition == Condition::Congested.id();
    let links: Vec<_> = windows
        .iter()
        .filter(congested)
        .flat_map(|window| &window.links)
        .collect();
    let share = links
        .iter()
        .map(|link| link.priority_share)
        .reduce(f64::max)?;
    let dropped: u64 = links.iter().map(|link| link.priority.dropped_packets).sum();
    Some(format!(
        "Priority packets took at most {:.2} % of the congested link's bytes; {dropped} of them were \
         dropped.",
        share * 100.0
    ))
}
