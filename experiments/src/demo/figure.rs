//! The demo's figure, from what is on disk: latency distributions, a panel for each
//! operation (after the paper's Fig. 7).

use std::path::Path;

use super::plan::{Condition, Operation, System};
use crate::plot::cdf::{CdfFigure, Panel, Series, draw as draw_cdf};
use crate::plot::line::{Line, PRIOR, VIVACE};
use crate::results::Recorded;

/// The figure's file name.
pub const FIGURE_FILE: &str = "latency.svg";

struct Pair {
    title: &'static str,
    operation: Operation,
    prior: System,
    vivace: System,
}

const PANELS: [Pair; 4] = [
    Pair {
        title: "Read",
        operation: Operation::Read,
        prior: System::Abd,
        vivace: System::Rw,
    },
    Pair {
        title: "Write",
        operation: Operation::Write,
        prior: System::Abd,
        vivace: System::Rw,
    },
    Pair {
        title: "Execute",
        operation: Operation::Execute,
        prior: System::LanRmw,
        vivace: System::Rmw,
    },
    Pair {
        title: "Read of an RMW object",
        operation: Operation::Read,
        prior: System::LanRmw,
        vivace: System::Rmw,
    },
];

/// The idle lines first: they are pale, and the congested ones lie on top.
const CONDITIONS: [Condition; 2] = [Condition::Idle, Condition::Congested];

/// Draws what was measured into [`FIGURE_FILE`]; nothing where nothing was.
///
/// # Errors
/// Histograms can't be read, or the file can't be written.
pub fn draw(recorded: &Recorded, directory: &Path) -> anyhow::Result<()> {
    let panels = PANELS
        .iter()
        .map(|pair| panel(recorded, pair))
        .collect::<Result<Vec<_>, _>>()?;
    let panels: Vec<Panel> = panels
        .into_iter()
        .filter(|panel| !panel.series.is_empty())
        .collect();
    if panels.is_empty() {
        return Ok(());
    }
    let settings = &recorded.settings;
    let incomplete = if settings.complete {
        ""
    } else {
        " (incomplete run)"
    };
    let figure = CdfFigure {
        title: format!("Latency on an idle and on a congested link{incomplete}"),
        captions: vec![
            format!("Link: {}.", settings.link.caption()),
            format!(
                "{} B objects, one operation at a time, {} s per line; client and a replica in one \
                 site, two replicas in the other (the network of the paper's Fig. 5).",
                settings.parameters["payload_bytes"],
                settings.parameters["seconds_per_row"]
                    .as_f64()
                    .unwrap_or_default()
            ),
        ],
        legend: vec![
            (
                "prior algorithm, congested".to_owned(),
                line(false, Condition::Congested),
            ),
            (
                "Vivace, congested".to_owned(),
                line(true, Condition::Congested),
            ),
            (
                "prior algorithm, idle".to_owned(),
                line(false, Condition::Idle),
            ),
            ("Vivace, idle".to_owned(), line(true, Condition::Idle)),
        ],
        panels,
    };
    draw_cdf(&directory.join(FIGURE_FILE), &figure)
}

fn panel(recorded: &Recorded, pair: &Pair) -> anyhow::Result<Panel> {
    let mut series = Vec::new();
    let mut percentiles = Vec::new();
    for condition in CONDITIONS {
        for system in [pair.prior, pair.vivace] {
            let row = recorded.row(system.id(), pair.operation.id(), condition.id());
            let Some(row) = row.filter(|row| row.n > 0) else {
                continue;
            };
            let steps = recorded.latencies(&row.name)?.steps();
            series.push(Series {
                line: line(system.is_vivace(), condition),
                steps,
            });
            if condition == Condition::Congested {
                percentiles.push(format!("{} {}", system.words(), grouped(row.p99_ms)));
            }
        }
    }
    let note = match percentiles.is_empty() {
        true => String::new(),
        false => format!("p99 congested: {}", percentiles.join(", ")),
    };
    Ok(Panel {
        title: pair.title.to_owned(),
        note,
        series,
    })
}

fn line(is_vivace: bool, condition: Condition) -> Line {
    Line {
        color: if is_vivace { VIVACE } else { PRIOR },
        is_pale: condition == Condition::Idle,
    }
}

/// Milliseconds as people read them: `104 ms`, `12,345 ms`.
fn grouped(ms: f64) -> String {
    let whole = ms.round() as u64;
    match whole {
        0..1000 => format!("{whole} ms"),
        _ => format!("{},{:03} ms", whole / 1000, whole % 1000),
    }
}
