//! The paper's Fig. 4: round trips on a marked and on an unmarked connection over a
//! DiffServ link that UDP fills for a while, one way.

use crate::catalog::Scale;
use crate::load::RoundTrip;
use crate::plot::line::{PRIOR, VIVACE};
use crate::plot::xy::{XyFigure, XySeries};
use crate::report::section::ms;
use crate::report::tail::{self, Tail};
use crate::report::{Section, Shown, Table};
use crate::results::Latencies;
use crate::run::read_round_trips;
use crate::step::record::Percentiles;
use crate::step::spec::{RoundTripWork, Scheme};
use crate::step::{Step, StepRecord, Work};

const NAME: &str = "fig-4";

/// What the paper's two flows of 60 Mbit/s offer; here it is one Poisson stream that the router
/// makes on the way to the far site.
const OFFERED_MBIT: f64 = 120.0;

/// The paper's length and its congestion, in seconds; and short ones.
const FULL: (f64, (f64, f64)) = (40.0, (10.0, 30.0));
const QUICK: (f64, (f64, f64)) = (10.0, (3.0, 7.0));

/// One step with congestion, and two without: whether marking costs anything.
pub fn steps(scale: &Scale) -> Vec<Step> {
    let (seconds, congested) = match scale.seconds {
        Some(seconds) => (seconds, middle_half(seconds)),
        None => scale.pick(QUICK, FULL),
    };
    let work = RoundTripWork {
        rtt_ms: 109.0,
        rate_mbit: 100.0,
        buffer_kb: 256,
        scheme: Scheme::Router,
        interval_ms: 100,
        seconds,
        congested: Some(congested),
        offered_mbit: OFFERED_MBIT,
    };
    let idle = |scheme| RoundTripWork {
        scheme,
        congested: None,
        seconds: seconds / 2.0,
        ..work.clone()
    };
    let steps = [
        ("congested", work.clone()),
        ("idle-classes", idle(Scheme::Router)),
        ("idle-no-classes", idle(Scheme::None)),
    ];
    steps
        .into_iter()
        .map(|(name, work)| step(NAME, name, scale, work))
        .collect()
}

/// When congestion begins and ends that lasts for half of the time.
pub fn middle_half(seconds: f64) -> (f64, f64) {
    (seconds / 4.0, seconds * 3.0 / 4.0)
}

/// A step of round trips.
pub fn step(experiment: &str, name: &str, scale: &Scale, work: RoundTripWork) -> Step {
    Step {
        experiment: experiment.to_owned(),
        name: name.to_owned(),
        seed: scale.seed,
        work: Work::RoundTrips(work),
    }
}

/// Its part of the report.
///
/// # Errors
/// Round trips can't be read, or the chart can't be drawn.
pub fn section(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let mut section = Section {
        paragraphs: vec![
            "Two TCP connections ask for 32 bytes ten times a second, one of them marked EF; the \
             router serves EF first. For about half of the time unmarked UDP offers 120 % of the \
             rate on the way there: one Poisson stream that the router makes, where the paper had \
             two flows of 60 Mbit/s. The way back is never congested. Paper: marked requests are \
             unaffected, unmarked ones are dropped and sent again, with large spikes; marking costs \
             nothing measurable."
                .to_owned(),
        ],
        ..Section::default()
    };
    section.tables.push(table(shown)?);
    if let Some(record) = shown.step("congested") {
        section.charts.push(chart(shown, record, NAME)?);
    }
    Ok(section)
}

/// Round trips over time.
///
/// # Errors
/// They can't be read, or the chart can't be drawn.
pub fn chart(shown: &Shown<'_>, record: &StepRecord, name: &str) -> anyhow::Result<String> {
    let mut series = Vec::new();
    for (connection, color) in [("unmarked", PRIOR), ("marked", VIVACE)] {
        let points = round_trips(shown, record, connection)?;
        series.push(XySeries {
            name: format!("{connection} requests"),
            color,
            joined: false,
            points: points
                .iter()
                .map(|trip| (trip.at_ms / 1e3, trip.rtt_ms))
                .collect(),
        });
    }
    let figure = XyFigure {
        title: "Round trips of small requests".to_owned(),
        caption: link_words(record),
        x: "seconds".to_owned(),
        y: "round trip in ms (log scale)".to_owned(),
        series,
    };
    shown.xy(name, &figure)
}

fn round_trips(
    shown: &Shown<'_>,
    record: &StepRecord,
    connection: &str,
) -> anyhow::Result<Vec<RoundTrip>> {
    read_round_trips(&shown.store.directory(&record.step), connection)
}

fn work(record: &StepRecord) -> Option<&RoundTripWork> {
    match &record.step.work {
        Work::RoundTrips(work) => Some(work),
        Work::Store(_) | Work::Delays | Work::Bench(_) => None,
    }
}

fn link_words(record: &StepRecord) -> String {
    work(record).map_or(String::new(), |work| {
        let congestion = work.congested.map_or(String::new(), |(from, to)| {
            format!(
                "; UDP offers {} Mbit/s from {from} to {to} s",
                work.offered_mbit
            )
        });
        let scheme = match work.scheme {
            Scheme::None => "no classes",
            Scheme::Router => "the router serves EF first",
            Scheme::Host => "the host serves EF first (HTB), the router knows no classes",
        };
        format!(
            "{} ms, {} Mbit/s, {} KB buffer, {scheme}{congestion}",
            work.rtt_ms, work.rate_mbit, work.buffer_kb
        )
    })
}

/// Both connections of every step, in and outside of the congestion.
///
/// # Errors
/// Round trips can't be read.
pub fn table(shown: &Shown<'_>) -> anyhow::Result<Table> {
    let mut table = Table::new(
        "Round trips of small requests",
        &[
            "link",
            "connection",
            "while",
            "n",
            "p50 ms",
            "p99 ms",
            "max ms",
        ],
    )
    .below(tail::BELOW);
    for record in &shown.records {
        let Some(work) = work(record) else {
            continue;
        };
        for connection in ["marked", "unmarked"] {
            let trips = round_trips(shown, record, connection)?;
            let is_during = |trip: &&RoundTrip| {
                let seconds = trip.at_ms / 1e3;
                work.congested
                    .is_some_and(|(from, to)| (from..to).contains(&seconds))
            };
            let (during, outside): (Vec<&RoundTrip>, Vec<&RoundTrip>) =
                trips.iter().partition(is_during);
            for (when, trips) in [("idle", outside), ("congested", during)] {
                if trips.is_empty() {
                    continue;
                }
                let mut latencies = Latencies::default();
                for trip in trips {
                    latencies.record(std::time::Duration::from_secs_f64(trip.rtt_ms / 1e3));
                }
                let of = Percentiles::of(&latencies);
                table.row([
                    link_words(record),
                    connection.to_owned(),
                    when.to_owned(),
                    of.n.to_string(),
                    ms(of.p50_ms),
                    Tail::p99(&of).cell(ms),
                    ms(of.max_ms),
                ]);
            }
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::host_based;

    #[test]
    fn round_trips_are_measured_for_as_long_as_was_asked() {
        let scale = |seconds| Scale {
            quick: true,
            seconds,
            seed: 1,
        };
        for steps in [steps, host_based::steps] {
            let lengths = |seconds| -> Vec<(f64, Option<(f64, f64)>)> {
                let steps = steps(&scale(seconds));
                let works = steps.iter().map(|step| match &step.work {
                    Work::RoundTrips(work) => (work.seconds, work.congested),
                    other => panic!("{other:?}"),
                });
                works.collect()
            };
            assert_eq!(lengths(Some(8.0))[0], (8.0, Some((2.0, 6.0))));
            assert_eq!(lengths(None)[0].0, 10.0);
        }
    }
}
