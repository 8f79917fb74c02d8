//! What each part buys: Vivace without one of them, and on networks that treat marks
//! otherwise.

use super::congestion::bytes_table;
use super::latency_table::table;
use super::{OWN, UDP, VIVACE_OPERATIONS, store_step, wan, windows};
use crate::catalog::Scale;
use crate::report::section::{idle_median, ms, window as window_of};
use crate::report::{Section, Shown, Table};
use crate::step::spec::Marks;
use crate::step::{Sites, Step, StepRecord, StoreKind, Traffic, WanSpec};

const NAME: &str = "ablations";

/// What can't be switched in the product today.
const NOT_SELECTABLE: &str = "Not selectable today, so not measured: the paper's propagation (m × n copies; \
     copies that were sent are in the table of bytes), one connection for both classes, pacing of bulk off.";

/// A step for each variant.
pub fn steps(scale: &Scale) -> Vec<Step> {
    let base = wan(Sites::Two, 20.0, 256);
    let marks = |marks| WanSpec {
        marks,
        ..base.clone()
    };
    let vivace = |query_timestamps, write_back_skip| StoreKind::Vivace {
        query_timestamps,
        write_back_skip,
    };
    let variants = [
        ("as-it-is", base.clone(), StoreKind::VIVACE),
        ("marks-bleached", marks(Marks::Bleached), StoreKind::VIVACE),
        ("marks-swapped", marks(Marks::Swapped), StoreKind::VIVACE),
        (
            "no-priority-class",
            WanSpec {
                priority: false,
                ..base.clone()
            },
            StoreKind::VIVACE,
        ),
        ("query-mode", base.clone(), vivace(true, true)),
        ("no-write-back-skip", base.clone(), vivace(false, false)),
    ];
    let count = scale.pick(2, variants.len());
    variants
        .into_iter()
        .take(count)
        .map(|(name, wan, store)| {
            let windows = windows(scale, &VIVACE_OPERATIONS, 1, &[Traffic::Idle, UDP, OWN]);
            store_step(NAME, name, scale, wan, store, windows)
        })
        .collect()
}

/// Its part of the report.
///
/// # Errors
/// None now.
pub fn section(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let records: Vec<&StepRecord> = shown.records.iter().collect();
    Ok(Section {
        paragraphs: vec![
            "The same operations on the same link, with one thing changed at a time; idle, under \
             foreign UDP at 120 %, and while the store's own values of 128 KiB fill the link."
                .to_owned(),
            NOT_SELECTABLE.to_owned(),
        ],
        charts: Vec::new(),
        tables: vec![
            what_each_buys(&records),
            table("All windows", &records),
            bytes_table(&records),
        ],
    })
}

fn what_each_buys(records: &[&StepRecord]) -> Table {
    let mut table = Table::new(
        "What each buys: ms idle (p50), and under congestion (p99, and by how much that exceeds \
         the idle median)",
        &[
            "variant",
            "operation",
            "idle p50",
            "UDP p99",
            "own writes p99",
        ],
    );
    for record in records {
        for (system, operation) in VIVACE_OPERATIONS {
            let idle = window_of(record, system, operation, Traffic::Idle.id());
            let congested = |traffic: Traffic| {
                let window = window_of(record, system, operation, traffic.id());
                let window = window.filter(|window| window.kept.n > 0);
                window.map_or(String::new(), |window| {
                    let times = idle_median(record, window).map_or(String::new(), |idle| {
                        format!(" (× {:.2})", window.kept.p99_ms / idle)
                    });
                    ms(window.kept.p99_ms) + &times
                })
            };
            table.row([
                record.step.name.clone(),
                format!("{system} {}", operation.id()),
                idle.map_or(String::new(), |idle| ms(idle.kept.p50_ms)),
                congested(UDP),
                congested(OWN),
            ]);
        }
    }
    table
}
