//! Latency beside the round trip, on idle links that lose nothing and on such that lose
//! packets at random.

use super::latency_table::{SET_ASIDE, failures};
use super::{VIVACE_OPERATIONS, store_step, store_work, wan, windows};
use crate::catalog::Scale;
use crate::plot::line::VIVACE;
use crate::plot::ranges::{Range, RangeFigure};
use crate::report::section::ms;
use crate::report::tail::{self, Tail, cell_of};
use crate::report::{Section, Shown, Table};
use crate::step::record::Percentiles;
use crate::step::{Sites, Step, StepRecord, StoreKind, StoreWork, Traffic, WanSpec, WindowRecord};

/// Its name.
pub const NAME: &str = "bench-loss";

/// A percentile may be at most so long beside a round trip to the nearest majority.
#[derive(Clone, Copy)]
enum Bound {
    /// So many ms more than one.
    Above(f64),
    /// So many of them.
    Times(f64),
}

/// A bound of a percentile.
struct Asked {
    name: &'static str,
    of: fn(&Percentiles) -> f64,
    bound: Bound,
}

/// Packets lost each way, in percent, and what is asked.
struct Loss {
    percent: f64,
    asked: &'static [Asked],
}

const LOSSES: [Loss; 3] = [
    Loss {
        percent: 0.0,
        asked: &[
            Asked {
                name: "p50",
                of: |kept| kept.p50_ms,
                bound: Bound::Above(2.0),
            },
            Asked {
                name: "p99.9",
                of: |kept| kept.p999_ms,
                bound: Bound::Above(8.0),
            },
        ],
    },
    Loss {
        percent: 1.0,
        asked: &[Asked {
            name: "p99",
            of: |kept| kept.p99_ms,
            bound: Bound::Times(1.2),
        }],
    },
    Loss {
        percent: 5.0,
        asked: &[Asked {
            name: "p99",
            of: |kept| kept.p99_ms,
            bound: Bound::Times(2.2),
        }],
    },
];

/// So many that a window has some thousand operations.
const AT_ONCE: usize = 16;

/// From the client's site to the nearest with which there is a majority, in ms.
fn rtt_ms(sites: Sites) -> f64 {
    match sites {
        Sites::Two => 109.0,
        Sites::Three => 23.0,
        Sites::ThreeAlike => 100.0,
    }
}

/// A step for each number of sites and each loss.
pub fn steps(scale: &Scale) -> Vec<Step> {
    let of_sites = |sites, name: &str| {
        LOSSES.map(|loss| {
            let wan = WanSpec {
                loss_percent: loss.percent,
                ..wan(sites, 20.0, 256)
            };
            let windows = windows(scale, &VIVACE_OPERATIONS, AT_ONCE, &[Traffic::Idle]);
            let name = format!("{name}-{}", loss.percent);
            store_step(NAME, name, scale, wan, StoreKind::VIVACE, windows)
        })
    };
    let two = of_sites(Sites::Two, "two-sites");
    two.into_iter()
        .chain(of_sites(Sites::Three, "three-sites"))
        .collect()
}

fn row(work: &StoreWork, window: &WindowRecord) -> Vec<String> {
    let rtt = rtt_ms(work.wan.sites);
    let kept = tail::kept(window);
    let trips = |of: fn(&Percentiles) -> Tail| {
        cell_of(kept, |kept| {
            of(kept).cell(|value| format!("{:.2}", value / rtt))
        })
    };
    let percent = work.wan.loss_percent;
    let loss = LOSSES.iter().find(|loss| loss.percent == percent);
    let asked = loss.map_or(&[][..], |loss| loss.asked).iter().map(|asked| {
        let most = match asked.bound {
            Bound::Above(more) => rtt + more,
            Bound::Times(times) => rtt * times,
        };
        let is_met = |of: Option<&Percentiles>| {
            window.failed() == 0 && of.is_some_and(|of| (asked.of)(of) <= most)
        };
        let verdict = match (is_met(tail::all(window)), is_met(kept)) {
            (true, true) => "met",
            (false, false) => "missed",
            (false, true) => "missed, met without those set aside",
            (true, false) => "met, missed without those set aside",
        };
        format!("{} ≤ {}: {verdict}", asked.name, ms(most))
    });
    vec![
        ms(rtt),
        format!("{percent} %"),
        window.window.operation.id().to_owned(),
        window.all.n.to_string(),
        tail::set_aside(window).to_string(),
        failures(window),
        cell_of(kept, |kept| ms(kept.p50_ms)),
        cell_of(kept, |kept| Tail::p99(kept).cell(ms)),
        cell_of(kept, |kept| Tail::p999(kept).cell(ms)),
        trips(Tail::p99),
        trips(Tail::p999),
        asked.collect::<Vec<String>>().join(", "),
    ]
}

/// The median of the same operation at as many sites where nothing is lost.
fn lossless_median(shown: &Shown<'_>, work: &StoreWork, window: &WindowRecord) -> Option<f64> {
    let lossless = WanSpec {
        loss_percent: 0.0,
        ..work.wan.clone()
    };
    let is_it =
        |record: &&StepRecord| store_work(&record.step).is_some_and(|other| other.wan == lossless);
    let record = shown.records.iter().find(is_it)?;
    let same = record.windows.iter().find(|w| w.window == window.window)?;
    Some(tail::kept(same)?.p50_ms)
}

fn range(name: &str, window: &WindowRecord, idle_ms: Option<f64>) -> Range {
    Range {
        name: format!("{name}: {}", window.window.operation.id()),
        color: VIVACE,
        idle_ms,
        ms: tail::kept(window).map(|kept| [kept.p50_ms, kept.p99_ms, kept.max_ms]),
        note: String::new(),
    }
}

/// Its part of the report.
///
/// # Errors
/// The chart can't be drawn.
pub fn section(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let mut table = Table::new(
        "Latency on idle links of 20 Mbit/s, 16 operations at once. RTT: from the client's site \
         to the nearest with which there is a majority",
        &[
            "RTT ms",
            "lost each way",
            "operation",
            "n",
            "set aside",
            "failed",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "p99 / RTT",
            "p99.9 / RTT",
            "asked, ms",
        ],
    )
    .below(format!("{SET_ASIDE} {}", tail::BELOW));
    let mut chart = RangeFigure {
        title: "Small operations on idle links that lose packets".into(),
        caption: "A step's name says: sites, percentage of packets lost each way. Idle: without \
                  loss."
            .into(),
        rows: Vec::new(),
    };
    for record in &shown.records {
        let Some(work) = store_work(&record.step) else {
            continue;
        };
        for window in &record.windows {
            table.row(row(work, window));
            let idle = lossless_median(shown, work, window);
            chart.rows.push(range(&record.step.name, window, idle));
        }
    }
    Ok(Section {
        paragraphs: vec![
            "Every packet has the same chance to be lost, whatever its class, on each link and \
             each way. At two sites two replicas are a round trip away, of which one is enough; at \
             three the nearest must answer, for the other is five times as far."
                .to_owned(),
        ],
        charts: shown.ranges(NAME, &chart)?,
        tables: vec![table],
    })
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{failed, percentiles, reads, record};
    use super::*;

    #[test]
    fn a_bound_is_missed_by_failures_and_met_for_all_only_by_all() {
        let quick = || reads(Traffic::Idle, percentiles(2000, 110.0, 112.0));
        let mut spoilt = quick();
        spoilt.all = percentiles(2001, 110.0, 130.0);
        let said = |window: WindowRecord| {
            let record = record(NAME, "two-sites-0", vec![window]);
            let work = store_work(&record.step).expect("it measures a store");
            row(work, &record.windows[0]).pop().expect("a last cell")
        };
        assert_eq!(said(quick()), "p50 ≤ 111: met, p99.9 ≤ 117: met");
        assert_eq!(
            said(failed(1, quick())),
            "p50 ≤ 111: missed, p99.9 ≤ 117: missed"
        );
        assert_eq!(
            said(spoilt),
            "p50 ≤ 111: met, p99.9 ≤ 117: missed, met without those set aside"
        );
    }
}
