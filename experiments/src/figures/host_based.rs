//! The paper's host-based scheme (§6.2): where the router knows no classes, a host in
//! front of it keeps them (`netem tc`: HTB, shaped below the uplink's rate).

use super::fig_4::{chart, middle_half, step, table};
use crate::catalog::Scale;
use crate::report::{Section, Shown};
use crate::step::Step;
use crate::step::spec::{RoundTripWork, Scheme};

const NAME: &str = "host-based";

const LENGTH: f64 = 40.0;
const QUICK_LENGTH: f64 = 10.0;

/// With and without the scheme, idle and congested.
pub fn steps(scale: &Scale) -> Vec<Step> {
    let seconds = scale.seconds.unwrap_or(scale.pick(QUICK_LENGTH, LENGTH));
    let work = |scheme, congested| RoundTripWork {
        rtt_ms: 93.0,
        rate_mbit: 20.0,
        buffer_kb: 256,
        scheme,
        interval_ms: 100,
        seconds,
        congested,
        offered_mbit: 24.0,
    };
    let congested = Some(middle_half(seconds));
    [
        ("none", work(Scheme::None, congested)),
        ("host", work(Scheme::Host, congested)),
    ]
    .into_iter()
    .map(|(name, work)| step(NAME, name, scale, work))
    .collect()
}

/// Its part of the report.
///
/// # Errors
/// Round trips can't be read, or the chart can't be drawn.
pub fn section(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let mut section = Section {
        paragraphs: vec![
            "Virginia to Ireland. The paper's proxies, which forwarded over SOCKS, took 93 ms to 99 ms \
             idle, and under congestion did as well as the router. Here the host that asks has \
             HTB's queues on its own interface, so no proxy adds to the way; the congestion is real \
             UDP packets of that host, at 120 % of the link."
                .to_owned(),
        ],
        tables: vec![table(shown)?],
        ..Section::default()
    };
    for record in &shown.records {
        let name = format!("{NAME}-{}", record.step.name);
        section.charts.push(chart(shown, record, &name)?);
    }
    Ok(section)
}
