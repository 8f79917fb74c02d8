//! The paper's Fig. 6 and 7: the four algorithms on the network of Fig. 5, without
//! congestion and under it.

use super::latency_table::{SET_ASIDE, failures, table};
use super::{UDP, fullness, store_step, store_work, wan, window};
use crate::catalog::Scale;
use crate::plot::cdf::{CdfFigure, Panel, Series};
use crate::plot::line::{Line, PRIOR, VIVACE};
use crate::report::section::{ms, window as window_of};
use crate::report::tail::{self, Tail, cell_of};
use crate::report::{Section, Shown, Table};
use crate::step::record::Percentiles;
use crate::step::{
    Containers, Operation, Sites, Step, StepRecord, StoreKind, Traffic, WindowRecord,
};

const FIG_6: &str = "fig-6";
const FIG_7: &str = "fig-7";

/// None of §3.4's optimizations, as in the paper.
const STORE: StoreKind = StoreKind::Vivace(Containers::AS_PUBLISHED);

/// Rate and buffer of the link: the paper names neither for the congested part of its
/// way; the demo uses the rate and the smaller buffer.
const RATE_MBIT: f64 = 20.0;
const BUFFER_KB: u64 = 256;

/// Full, it adds 205 ms each way. A write of ABD, which is one round trip, can differ by no
/// more than that from one on an idle link unless packets are lost: by 410 ms, and by 205 with
/// [`BUFFER_KB`], where the paper found more than 300.
const CONGESTED_BUFFER_KB: u64 = 512;

/// An algorithm's operation, and the paper's minimum and maximum without congestion.
struct Row {
    system: &'static str,
    operation: Operation,
    words: &'static str,
    paper_ms: (u32, u32),
    /// The prior algorithm for the same.
    prior: Option<&'static str>,
}

const ROWS: [Row; 6] = [
    row("abd", Operation::Read, "ABD read", (221, 228), None),
    row("abd", Operation::Write, "ABD write", (111, 120), None),
    row(
        "rw",
        Operation::Read,
        "Algorithm 1 read",
        (221, 231),
        Some("abd"),
    ),
    row(
        "rw",
        Operation::Write,
        "Algorithm 1 write",
        (113, 121),
        Some("abd"),
    ),
    row(
        "lan-rmw",
        Operation::Execute,
        "Algorithm 2 execute",
        (221, 231),
        None,
    ),
    row(
        "rmw",
        Operation::Execute,
        "Algorithm 3 execute",
        (222, 231),
        Some("lan-rmw"),
    ),
];

const fn row(
    system: &'static str,
    operation: Operation,
    words: &'static str,
    paper_ms: (u32, u32),
    prior: Option<&'static str>,
) -> Row {
    Row {
        system,
        operation,
        words,
        paper_ms,
        prior,
    }
}

fn steps(experiment: &str, scale: &Scale, traffic: Traffic, buffer_kb: u64) -> Vec<Step> {
    let step = |system: &str| {
        let rows = ROWS.iter().filter(|row| row.system == system);
        let windows = rows.map(|row| window(scale, system, row.operation, 1, traffic));
        let wan = wan(Sites::Two, RATE_MBIT, buffer_kb);
        store_step(experiment, system, scale, wan, STORE, windows.collect())
    };
    ["abd", "rw", "lan-rmw", "rmw"].map(step).to_vec()
}

/// Fig. 6's steps: one per algorithm.
pub fn uncongested(scale: &Scale) -> Vec<Step> {
    steps(FIG_6, scale, Traffic::Idle, BUFFER_KB)
}

/// Fig. 7's steps: one per algorithm.
pub fn congested(scale: &Scale) -> Vec<Step> {
    steps(FIG_7, scale, UDP, CONGESTED_BUFFER_KB)
}

fn found<'a>(
    shown: &'a Shown<'_>,
    system: &str,
    operation: Operation,
) -> Option<(&'a StepRecord, &'a WindowRecord)> {
    shown.records.iter().find_map(|record| {
        let window = record.windows.iter().find(|window| {
            window.window.system == system && window.window.operation == operation
        })?;
        Some((record, window))
    })
}

fn link_words(shown: &Shown<'_>) -> String {
    let work = shown
        .records
        .first()
        .and_then(|record| store_work(&record.step));
    work.map_or(String::new(), |work| work.wan.words())
}

/// Fig. 6 in the report.
///
/// # Errors
/// None now.
pub fn section_6(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let mut table = Table::new(
        format!(
            "No congestion; 1 KB objects, one operation at a time; {}",
            link_words(shown)
        ),
        &[
            "algorithm",
            "paper min-max ms",
            "ours min-p99 ms",
            "ours max ms",
            "ours p50 ms",
            "p50 beside the prior algorithm's",
            "paper's minima beside each other",
            "n",
            "set aside",
            "failed",
        ],
    )
    .below(format!("{SET_ASIDE} {}", tail::BELOW));
    for row in &ROWS {
        let Some((_, window)) = found(shown, row.system, row.operation) else {
            continue;
        };
        let kept = tail::kept(window);
        let prior = row
            .prior
            .and_then(|prior| found(shown, prior, row.operation));
        let (beside, paper_beside) = match (row.prior, prior) {
            (Some(prior_system), Some((_, prior))) => {
                let paper = ROWS
                    .iter()
                    .find(|other| other.system == prior_system && other.operation == row.operation);
                let paper = paper.map_or(1.0, |paper| f64::from(paper.paper_ms.0));
                (
                    kept.zip(tail::kept(prior))
                        .map_or(String::new(), |(new, prior)| {
                            format!("{:+.1} %", 100.0 * (new.p50_ms / prior.p50_ms - 1.0))
                        }),
                    format!(
                        "{:+.1} %",
                        100.0 * (f64::from(row.paper_ms.0) / paper - 1.0)
                    ),
                )
            }
            _ => (String::new(), String::new()),
        };
        table.row([
            row.words.to_owned(),
            format!("{}-{}", row.paper_ms.0, row.paper_ms.1),
            cell_of(kept, |kept| {
                let p99 = Tail::p99(kept).cell(ms);
                format!("{}-{p99}", ms(kept.min_ms))
            }),
            cell_of(kept, |kept| ms(kept.max_ms)),
            cell_of(kept, |kept| ms(kept.p50_ms)),
            beside,
            paper_beside,
            window.all.n.to_string(),
            tail::set_aside(window).to_string(),
            failures(window),
        ]);
    }
    Ok(Section {
        paragraphs: vec![
            "The network of the paper's Fig. 5: replica 1 and the client here, replicas 2 and 3 in \
             Ireland, 109 ms away; nodes 1, 4, 5 keep values on their way out. None of the paper's \
             optimizations (section 3.4) is on."
                .to_owned(),
        ],
        charts: Vec::new(),
        tables: vec![table],
    })
}

/// Fig. 7 in the report.
///
/// # Errors
/// Latencies can't be read, or the chart can't be drawn.
pub fn section_7(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let mut panels = Vec::new();
    let mut compared = Table::new(
        format!("Continuous congestion; {}", link_words(shown)),
        &[
            "operation",
            "prior p50 ms",
            "new p50 ms",
            "difference of medians ms (paper: over 300)",
            "difference at p90 ms (paper: nearly 1000, execute over 1000)",
        ],
    );
    for (words, prior, new, operation) in [
        ("Read", "abd", "rw", Operation::Read),
        ("Write", "abd", "rw", Operation::Write),
        ("Execute", "lan-rmw", "rmw", Operation::Execute),
    ] {
        let mut series = Vec::new();
        let mut kept: Vec<&Percentiles> = Vec::new();
        for (system, color) in [(prior, PRIOR), (new, VIVACE)] {
            let Some((record, _)) = found(shown, system, operation) else {
                continue;
            };
            let Some(window) = window_of(record, system, operation, UDP.id()) else {
                continue;
            };
            series.push(Series {
                line: Line {
                    color,
                    is_pale: false,
                },
                steps: shown.distribution(record, window)?,
            });
            kept.extend(tail::kept(window));
        }
        if let [prior, new] = kept[..] {
            compared.row([
                words.to_owned(),
                ms(prior.p50_ms),
                ms(new.p50_ms),
                ms(prior.p50_ms - new.p50_ms),
                ms(prior.p90_ms - new.p90_ms),
            ]);
        }
        if series.iter().any(|series| !series.steps.is_empty()) {
            panels.push(Panel {
                title: words.to_owned(),
                note: String::new(),
                series,
            });
        }
    }
    let line = |color| Line {
        color,
        is_pale: false,
    };
    let chart = CdfFigure {
        title: "Latency under continuous congestion".to_owned(),
        captions: vec![format!(
            "Link: {}; UDP at 120 % of the rate, both ways. 1 KB objects, one operation at a time.",
            link_words(shown)
        )],
        legend: vec![
            ("ABD, Algorithm 2".to_owned(), line(PRIOR)),
            ("Algorithms 1 and 3".to_owned(), line(VIVACE)),
        ],
        panels,
    };
    let records: Vec<&StepRecord> = shown.records.iter().collect();
    let mut section = Section {
        paragraphs: vec![
            "The same network while other traffic offers 120 % of the link's rate both ways."
                .to_owned(),
        ],
        charts: Vec::new(),
        tables: vec![
            compared,
            table("All windows", &records),
            fullness::table(&records),
        ],
    };
    if !chart.panels.is_empty() {
        section.charts.push(shown.cdf(FIG_7, &chart)?);
    }
    Ok(section)
}
