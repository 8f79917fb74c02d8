//! The paper's Fig. 8: a Twitter clone on two sites under congestion.

use super::latency_table::{SET_ASIDE, failures};
use super::{UDP, store_step, wan, window};
use crate::catalog::Scale;
use crate::plot::cdf::{CdfFigure, Panel, Series};
use crate::plot::line::{Line, PRIOR, VIVACE};
use crate::report::section::{ms, window as window_of};
use crate::report::tail::{self, cell_of};
use crate::report::{Section, Shown, Table};
use crate::step::record::Percentiles;
use crate::step::{Operation, Sites, Step, StoreKind, WindowSpec};

const NAME: &str = "fig-8";

/// The paper's number of requests of each type.
const REQUESTS: u64 = 200;

/// Fewer, for a first look.
const QUICK_REQUESTS: u64 = 12;

/// A request that is never done must not hold everything up.
const SECONDS_MAX: f64 = 600.0;

/// Request, its words, and the paper's median and maximum in s: prior, new.
const REQUEST_TYPES: [(Operation, &str, [f64; 2], [f64; 2]); 3] = [
    (Operation::Post, "post a tweet", [2.0, 14.1], [0.3, 0.4]),
    (
        Operation::Timeline,
        "read a timeline",
        [1.2, 11.3],
        [0.4, 0.6],
    ),
    (
        Operation::Friends,
        "read friends' timelines",
        [2.0, 11.9],
        [0.5, 0.8],
    ),
];

/// A step for the prior algorithms and one for the new ones.
pub fn steps(scale: &Scale) -> Vec<Step> {
    let step = |system: &str| {
        let windows = REQUEST_TYPES.map(|(operation, ..)| WindowSpec {
            seconds: SECONDS_MAX.min(scale.seconds.unwrap_or(SECONDS_MAX)),
            operations_max: Some(scale.pick(QUICK_REQUESTS, REQUESTS)),
            ..window(scale, system, operation, 1, UDP)
        });
        let wan = wan(Sites::Two, 20.0, 256);
        store_step(
            NAME,
            system,
            scale,
            wan,
            StoreKind::VIVACE,
            windows.to_vec(),
        )
    };
    vec![step("prior"), step("new")]
}

/// Its part of the report.
///
/// # Errors
/// Latencies can't be read, or the chart can't be drawn.
pub fn section(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let link = "two sites, 109 ms, 20 Mbit/s, 256 KB buffer, EF first; UDP at 120 % both ways";
    let mut table = Table::new(
        format!("Seconds per request; {link}"),
        &[
            "request",
            "algorithms",
            "paper median",
            "ours median",
            "paper max",
            "ours max",
            "n",
            "set aside",
            "failed",
        ],
    )
    .below(SET_ASIDE);
    let mut panels = Vec::new();
    for (operation, words, prior, new) in REQUEST_TYPES {
        let mut series = Vec::new();
        for (system, paper, color) in [("prior", prior, PRIOR), ("new", new, VIVACE)] {
            let Some(record) = shown.step(system) else {
                continue;
            };
            let Some(window) = window_of(record, system, operation, UDP.id()) else {
                continue;
            };
            let seconds = |of: fn(&Percentiles) -> f64| {
                cell_of(tail::kept(window), |kept| format!("{:.2}", of(kept) / 1e3))
            };
            table.row([
                words.to_owned(),
                system.to_owned(),
                format!("{:.1}", paper[0]),
                seconds(|kept| kept.p50_ms),
                format!("{:.1}", paper[1]),
                seconds(|kept| kept.max_ms),
                window.all.n.to_string(),
                tail::set_aside(window).to_string(),
                failures(window),
            ]);
            let steps = shown.distribution(record, window)?;
            if !steps.is_empty() {
                let line = Line {
                    color,
                    is_pale: false,
                };
                series.push(Series { line, steps });
            }
        }
        if !series.is_empty() {
            panels.push(Panel {
                title: words.to_owned(),
                note: format!("idle, a round trip takes {} ms", ms(109.0)),
                series,
            });
        }
    }
    let line = |color| Line {
        color,
        is_pale: false,
    };
    let mut section = Section {
        paragraphs: vec![
            "Accounts and tweets are RW objects, followers, friends and timelines RMW objects. A \
             post writes the tweet, reads the followers and pushes to their timelines; a timeline \
             and its tweets are read one after the other, a page's tweets at once."
                .to_owned(),
        ],
        charts: Vec::new(),
        tables: vec![table],
    };
    if !panels.is_empty() {
        let chart = CdfFigure {
            title: "Requests of a Twitter clone under congestion".to_owned(),
            captions: vec![format!("Link: {link}.")],
            legend: vec![
                ("ABD and Algorithm 2".to_owned(), line(PRIOR)),
                ("Algorithms 1 and 3".to_owned(), line(VIVACE)),
            ],
            panels,
        };
        section.charts.push(shown.cdf(NAME, &chart)?);
    }
    Ok(section)
}
