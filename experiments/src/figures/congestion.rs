//! Vivace's three operations, idle and full, over the matrix of links.

use super::latency_table::{figure, table, verdict};
use super::{
    OWN, OWN_EVERYWHERE, TCP, UDP, VALUE_BYTES, VIVACE_OPERATIONS, fullness, store_step,
    store_work, wan, windows,
};
use crate::catalog::Scale;
use crate::report::section::ms;
use crate::report::{Section, Shown, Table};
use crate::step::{LinkUse, Operation, Sites, Step, StepRecord, StoreKind, Traffic, WindowRecord};

/// Its name.
pub const NAME: &str = "congestion";

/// A step for each link, traffic and number at once: its operations idle, then full.
pub fn steps(scale: &Scale) -> Vec<Step> {
    let mut steps = Vec::new();
    let all: [(Sites, &str, &[f64]); 3] = [
        (Sites::Two, "two", &[20.0, 100.0]),
        (Sites::Three, "three", &[20.0, 100.0]),
        // At 100 Mbit/s three sites take more than two processors.
        (Sites::ThreeAlike, "alike", &[20.0]),
    ];
    for (sites, sites_name, rates) in all {
        let mut add = |rate: f64, buffer_kb, traffic: Traffic, at_once| {
            let name = format!("{sites_name}-{rate}-{buffer_kb}-{}-{at_once}", traffic.id());
            let windows = windows(
                scale,
                &VIVACE_OPERATIONS,
                at_once,
                &[Traffic::Idle, traffic],
            );
            let wan = wan(sites, rate, buffer_kb);
            let step = store_step(NAME, name, scale, wan, StoreKind::VIVACE, windows);
            steps.push(step);
        };
        for &rate in rates {
            for buffer_kb in [256, 5000] {
                for traffic in [UDP, TCP, OWN] {
                    for at_once in [1, 64] {
                        add(rate, buffer_kb, traffic, at_once);
                    }
                }
            }
        }
        add(20.0, 256, OWN_EVERYWHERE, 1);
    }
    if scale.quick {
        steps.retain(|step| QUICK.contains(&step.name.as_str()));
    }
    steps
}

/// Both numbers of sites, both buffers, every kind of traffic, one and many at once.
const QUICK: [&str; 5] = [
    "two-20-256-udp-1",
    "two-20-5000-udp-64",
    "three-20-256-udp-1",
    "two-20-256-own-1",
    "two-20-256-tcp-1",
];

/// Its part of the report.
///
/// # Errors
/// The chart can't be drawn.
pub fn section(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let records: Vec<&StepRecord> = shown.records.iter().collect();
    let chart = figure(
        "Small operations on full links",
        "A step's name says: sites, Mbit/s, KB of buffer, traffic, clients at once.",
        &records,
    );
    Ok(Section {
        paragraphs: vec![
            "Each link is measured idle first, then full, on the same running cluster; every \
             client has its own 1 KB object. The target: p99.9 under congestion within 1.10 times \
             the idle median, and no failure."
                .to_owned(),
            verdict(&records),
            fullness::verdict(&records),
        ],
        charts: shown.ranges(NAME, &chart)?,
        tables: vec![
            table(
                "Latency of small operations, node processes in network namespaces",
                &records,
            ),
            fullness::table(&records),
            bytes_table(&records, false),
        ],
    })
}

/// What each operation costs on the links between sites, from the router's counters.
/// Of the congested windows too where `congested`.
pub fn bytes_table(records: &[&StepRecord], congested: bool) -> Table {
    let mut table = Table::new(
        "Bytes of IP packets per operation over each link between sites, and drops of the \
         priority class (acknowledgments, probes and repeats included). Copies: bulk bytes sent \
         from here over one idle link, by the value's size.",
        &[
            "step",
            "operation",
            "at once",
            "traffic",
            "link",
            "priority bytes",
            "priority kbit/s",
            "priority packets dropped",
            "bulk bytes",
            "priority share",
            "copies of a written value",
        ],
    );
    for record in records {
        let wanted = |window: &&WindowRecord| congested || window.window.traffic == Traffic::Idle;
        for window in record.windows.iter().filter(wanted) {
            for link in &window.links {
                if let Some(cells) = bytes_row(record, window, link) {
                    table.row(cells);
                }
            }
        }
    }
    table
}

fn bytes_row(record: &StepRecord, window: &WindowRecord, link: &LinkUse) -> Option<Vec<String>> {
    let n = window.succeeded() as f64;
    let (priority, bulk) = (
        link.priority.offered_bytes as f64,
        link.bulk.sent_bytes as f64,
    );
    // Probes alone say nothing of operations.
    if n == 0.0 || (priority + bulk) / n < 1.0 {
        return None;
    }
    let spec = &window.window;
    let value_bytes = store_work(&record.step).map_or(VALUE_BYTES, |work| work.value_bytes);
    let has_copies = spec.operation != Operation::Read && spec.traffic == Traffic::Idle;
    let copies = match has_copies && link.link.starts_with("local:") {
        true => format!("{:.2}", bulk / n / value_bytes as f64),
        false => String::new(),
    };
    Some(vec![
        record.step.name.clone(),
        format!("{} {}", spec.system, spec.operation.id()),
        spec.at_once.to_string(),
        spec.traffic.id().to_owned(),
        link.link.clone(),
        ms(priority / n),
        ms(priority * 8e-3 / window.seconds.max(0.001)),
        link.priority.dropped_packets.to_string(),
        ms(bulk / n),
        format!("{:.0} %", 100.0 * priority / (priority + bulk)),
        copies,
    ])
}
