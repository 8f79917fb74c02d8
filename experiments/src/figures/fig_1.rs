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

/// A rate that suffices, with its price.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Needed {
    rate_mbit: f64,
    price: f64,
    /// Whether less was measured and does not suffice, or can't be bought; else the answer may be
    /// less.
    is_least: bool,
}

impl Needed {
    fn words(self) -> String {
        let at_most = if self.is_least { "" } else { "≤ " };
        let Self {
            rate_mbit, price, ..
        } = self;
        format!("{at_most}{rate_mbit} Mbit/s, {at_most}{price:.1} K$")
    }
}

/// The least rate whose measured p99 meets the target without a failure. `measured` ascends.
fn needed(
    measured: &[(f64, f64, &StepRecord)],
    system: &str,
    operation: Operation,
    target_ms: f64,
    of: Of,
) -> Option<Needed> {
    let meets = |window: &WindowRecord| {
        let in_time = |of: &Percentiles| window.failed() == 0 && of.p99_ms <= target_ms;
        of(window).is_some_and(in_time)
    };
    let [(least_mbit, _), ..] = PRICES;
    let mut less_was_measured = false;
    for (rate_mbit, price, record) in measured {
        let Some(window) = window_of(record, system, operation, "udp") else {
            continue;
        };
        if of(window).is_none() && window.failed() == 0 {
            // The machine spoilt all of it, which says nothing of the rate.
            continue;
        }
        if meets(window) {
            return Some(Needed {
                rate_mbit: *rate_mbit,
                price: *price,
                is_least: less_was_measured || *rate_mbit == least_mbit,
            });
        }
        less_was_measured = true;
    }
    None
}

/// What the new algorithm saves a month; nothing is known where one of both may need less.
fn saved(prior: Option<Needed>, new: Option<Needed>) -> String {
    match (prior, new) {
        (Some(prior), Some(new)) if prior.is_least && new.is_least => {
            format!("{:.1} K$", prior.price - new.price)
        }
        _ => String::new(),
    }
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
    )
    .below(
        "≤: no lower rate was measured, so it may do too, and the chart has no such point. Of fewer \
         than 100 operations the longest must be within the target.",
    );
    let mut series = Vec::new();
    for (operation, prior, new) in PAIRS {
        for target_ms in TARGETS_MS {
            let of_all = |system| needed(&measured, system, operation, target_ms, tail::all);
            let of = |system| needed(&measured, system, operation, target_ms, tail::kept);
            let words = |found: Option<Needed>| {
                found.map_or("none of those measured".to_owned(), Needed::words)
            };
            let cell = |system| match words(of(system)) {
                kept if of_all(system) == of(system) => kept,
                kept => format!("{kept} (with those set aside: {})", words(of_all(system))),
            };
            let cells = [cell(prior), cell(new), saved(of(prior), of(new))];
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
                    let needed = needed(&measured, system, operation, target_ms, tail::kept)?;
                    needed.is_least.then_some((target_ms, needed.price))
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

#[cfg(test)]
mod tests {
    use super::super::made_up::{percentiles, reads, record};
    use super::*;

    #[test]
    fn a_rate_is_the_least_only_where_less_was_measured_or_is_not_sold() {
        let at = |p99_ms| {
            let percent = 100.0;
            let window = reads(Traffic::Udp { percent }, percentiles(200, p99_ms, p99_ms));
            record(NAME, "a", vec![window])
        };
        let (slow, quick) = (at(300.0), at(120.0));
        let of = |measured: &[(f64, f64, &StepRecord)]| {
            needed(measured, "rw", Operation::Read, 125.0, tail::kept)
        };
        let alone = of(&[(30.0, 25.1, &quick)]);
        let after_less = of(&[(20.0, 21.4, &slow), (30.0, 25.1, &quick)]);
        let cheapest = of(&[(2.0, 3.3, &quick), (30.0, 25.1, &quick)]);
        let mut spoilt = slow.clone();
        spoilt.windows[0].kept = percentiles(0, 0.0, 0.0);
        assert_eq!(of(&[(20.0, 21.4, &spoilt), (30.0, 25.1, &quick)]), alone);
        let words = |needed: Option<Needed>| needed.expect("one suffices").words();
        assert_eq!(words(alone), "≤ 30 Mbit/s, ≤ 25.1 K$");
        assert_eq!(words(after_less), "30 Mbit/s, 25.1 K$");
        assert_eq!(words(cheapest), "2 Mbit/s, 3.3 K$");
        assert_eq!(of(&[(20.0, 21.4, &slow)]), None);
        assert_eq!(saved(alone, alone), "");
        assert_eq!(saved(alone, cheapest), "");
        assert_eq!(saved(after_less, cheapest), "21.8 K$");
    }
}
