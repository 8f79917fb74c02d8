//! The paper's Fig. 1 as a cost model: what bandwidth each algorithm needs for a latency
//! target while other traffic has its peaks, and what that costs a month.

use super::{store_step, wan, window};
use crate::catalog::Scale;
use crate::plot::line::{PRIOR, VIVACE};
use crate::plot::xy::{XyFigure, XySeries};
use crate::report::section::window as window_of;
use crate::report::tail;
use crate::report::{Section, Shown, Table};
use crate::step::record::Percentiles;
use crate::step::{Operation, Sites, Step, StepRecord, StoreKind, Traffic, WindowRecord};

const NAME: &str = "fig-1";

/// The paper's prices of MPLS VPNs: Mbit/s, and thousands of dollars a month.
const PRICES: [(f64, f64); 12] = [
    (2.0, 3.3),
    (4.0, 6.4),
    (5.0, 7.8),
    (6.0, 9.1),
    (8.0, 11.6),
    (10.0, 13.7),
    (20.0, 21.4),
    (30.0, 25.1),
    (40.0, 31.2),
    (50.0, 37.3),
    (60.0, 43.4),
    (100.0, 67.9),
];

/// The rates of a quick look.
const QUICK_MBIT: [f64; 4] = [2.0, 10.0, 20.0, 30.0];

/// What other traffic offers at its peaks, in Mbit/s, whatever the link.
const PEAK_MBIT: f64 = 24.0;

/// The buffer in time: a link's queue is as long in ms whatever its rate.
const BUFFER_MS: f64 = 100.0;

/// Latency targets at p99, in ms: from a little above the round trip.
const TARGETS_MS: [f64; 6] = [125.0, 150.0, 250.0, 350.0, 500.0, 1000.0];

/// Operations, prior and new.
const PAIRS: [(Operation, &str, &str); 3] = [
    (Operation::Read, "abd", "rw"),
    (Operation::Write, "abd", "rw"),
    (Operation::Execute, "lan-rmw", "rmw"),
];

/// A step for each rate that has a price.
pub fn steps(scale: &Scale) -> Vec<Step> {
    PRICES
        .iter()
        .map(|(rate, _)| *rate)
        .filter(|rate| !scale.quick || QUICK_MBIT.contains(rate))
        .map(|rate| {
            let percent = 100.0 * PEAK_MBIT / rate;
            let traffic = Traffic::Udp { percent };
            let windows = PAIRS.iter().flat_map(|&(operation, prior, new)| {
                [prior, new].map(|system| window(scale, system, operation, 1, traffic))
            });
            let buffer_kb = (rate * BUFFER_MS / 8.0).round() as u64;
            let wan = wan(Sites::Two, rate, buffer_kb);
            let name = format!("{rate:03}-mbit");
            store_step(NAME, name, scale, wan, StoreKind::VIVACE, windows.collect())
        })
        .collect()
}

/// A window's latencies: all, or without those that were set aside.
type Of = fn(&WindowRecord) -> Option<&Percentiles>;

/// The least rate whose measured p99 meets the target without a failure, with its price;
/// and whether a smaller rate that was measured does not (else the answer may be less).
fn needed(
    measured: &[(f64, f64, &StepRecord)],
    system: &str,
    operation: Operation,
    target_ms: f64,
    of: Of,
) -> Option<(f64, f64)> {
    let meets = |record: &StepRecord| {
        window_of(record, system, operation, "udp").is_some_and(|window| {
            let meets = |of: &Percentiles| window.failed() == 0 && of.p99_ms <= target_ms;
            of(window).is_some_and(meets)
        })
    };
    measured
        .iter()
        .find(|(_, _, record)| meets(record))
        .map(|(rate, price, _)| (*rate, *price))
}

/// Its part of the report.
///
/// # Errors
/// The chart can't be drawn.
pub fn section(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let measured: Vec<(f64, f64, &StepRecord)> = PRICES
        .iter()
        .filter_map(|&(rate, price)| Some((rate, price, shown.step(&format!("{rate:03}-mbit"))?)))
        .collect();
    let mut table = Table::new(
        format!(
            "Least bandwidth and price for a p99 target while other traffic offers {PEAK_MBIT} \
             Mbit/s both ways; two sites, 109 ms, buffers of {BUFFER_MS} ms; rates measured: {}",
            measured
                .iter()
                .map(|(rate, ..)| rate.to_string())
                .collect::<Vec<_>>()
                .join(", ")
        ),
        &[
            "operation",
            "p99 target ms",
            "prior algorithm",
            "new algorithm",
            "saved a month",
        ],
    );
    let mut series = Vec::new();
    for (operation, prior, new) in PAIRS {
        for target_ms in TARGETS_MS {
            let of_all = |system| needed(&measured, system, operation, target_ms, tail::all);
            let of = |system| needed(&measured, system, operation, target_ms, tail::kept);
            let words = |found: Option<(f64, f64)>| match found {
                Some((rate, price)) => format!("{rate} Mbit/s, {price:.1} K$"),
                None => "no rate measured".to_owned(),
            };
            let saved = match (of(prior), of(new)) {
                (Some((_, prior)), Some((_, new))) => format!("{:.1} K$", prior - new),
                _ => String::new(),
            };
            let cell = |system| match words(of(system)) {
                kept if of_all(system) == of(system) => kept,
                kept => format!("{kept} (with those set aside: {})", words(of_all(system))),
            };
            let cells = [cell(prior), cell(new), saved];
            table.row(
                [operation.id().to_owned(), target_ms.to_string()]
                    .into_iter()
                    .chain(cells),
            );
        }
        if operation == Operation::Write {
            for (system, name, color) in [
                (prior, "ABD write", PRIOR),
                (new, "Algorithm 1 write", VIVACE),
            ] {
                let points = TARGETS_MS.iter().filter_map(|&target_ms| {
                    let (_, price) = needed(&measured, system, operation, target_ms, tail::kept)?;
                    Some((target_ms, price))
                });
                series.push(XySeries {
                    name: name.to_owned(),
                    color,
                    joined: true,
                    points: points.collect(),
                });
            }
        }
    }
    let mut section = Section {
        paragraphs: vec![
            "The paper gives prices alone. The model here: other traffic peaks at the same rate \
             whatever was bought, and each algorithm was measured on each link that has a price; \
             the cheapest link that holds the target is what must be bought."
                .to_owned(),
        ],
        charts: Vec::new(),
        tables: vec![table, prices()],
    };
    if series.iter().any(|series| !series.points.is_empty()) {
        let figure = XyFigure {
            title: "Price of a latency target for writes".to_owned(),
            caption: format!("Other traffic offers {PEAK_MBIT} Mbit/s; two sites, 109 ms."),
            x: "p99 target in ms".to_owned(),
            y: "thousands of dollars a month (log scale)".to_owned(),
            series,
        };
        section.charts.push(shown.xy(NAME, &figure)?);
    }
    Ok(section)
}

fn prices() -> Table {
    let mut table = Table::new("The paper's prices of MPLS VPNs", &["Mbit/s", "K$ a month"]);
    for (rate, price) in PRICES {
        table.row([rate.to_string(), format!("{price:.1}")]);
    }
    table
}
