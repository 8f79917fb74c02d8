//! What each part buys: Vivace without one of them, and on networks that treat marks
//! otherwise.

use super::congestion::bytes_table;
use super::latency_table::{figure, table};
use super::{
    OWN, OWN_EVERYWHERE, UDP, VIVACE_OPERATIONS, fullness, store_step, wan, window, windows,
};
use crate::catalog::Scale;
use crate::report::section::{idle_median, ms, window as window_of};
use crate::report::tail::{self, Tail, cell_of};
use crate::report::{Section, Shown, Table};
use crate::step::spec::Marks;
use crate::step::{Containers, Operation, Sites, Step, StepRecord, StoreKind, Traffic, WanSpec};

const NAME: &str = "ablations";

/// What can't be switched in the product today.
const NOT_SELECTABLE: &str = "Not selectable today, so not measured: one connection for both classes, pacing of \
     bulk off. How many copies of a value crossed the links is in the table of bytes.";

/// The prior algorithms.
const BASELINES: [(&str, Operation); 3] = [
    ("abd", Operation::Read),
    ("abd", Operation::Write),
    ("lan-rmw", Operation::Execute),
];

/// A step for each variant.
pub fn steps(scale: &Scale) -> Vec<Step> {
    let base = wan(Sites::Two, 20.0, 256);
    let marks = |marks| WanSpec {
        marks,
        ..base.clone()
    };
    let default = Containers::DEFAULT;
    let variants = [
        ("as-it-is", base.clone(), StoreKind::VIVACE),
        ("marks-bleached", marks(Marks::Bleached), StoreKind::VIVACE),
        ("marks-swapped", marks(Marks::Swapped), StoreKind::VIVACE),
        (
            "marks-bleached-later",
            marks(Marks::BleachedLater),
            StoreKind::VIVACE,
        ),
        (
            "no-priority-class",
            WanSpec {
                priority: false,
                ..base.clone()
            },
            StoreKind::VIVACE,
        ),
        (
            "query-mode",
            base.clone(),
            StoreKind::Vivace(Containers {
                query_timestamps: true,
                ..default
            }),
        ),
        (
            "no-write-back-skip",
            base.clone(),
            StoreKind::Vivace(Containers {
                write_back_skip: false,
                ..default
            }),
        ),
        (
            "no-promise-skip",
            base.clone(),
            StoreKind::Vivace(Containers {
                promise_skip: false,
                ..default
            }),
        ),
        (
            "no-early-data",
            base.clone(),
            StoreKind::Vivace(Containers {
                early_data: false,
                ..default
            }),
        ),
        (
            "values-only",
            base.clone(),
            StoreKind::Vivace(Containers {
                commands_at_replicas: false,
                ..default
            }),
        ),
        (
            "member-by-replica",
            base.clone(),
            StoreKind::Vivace(Containers {
                member_by_replica: true,
                ..default
            }),
        ),
    ];
    let count = scale.pick(2, variants.len());
    variants
        .into_iter()
        .take(count)
        .map(|(name, wan, store)| {
            if wan.marks == Marks::BleachedLater {
                // For the alarm.
                let writes = [("rw", Operation::Write)];
                let windows = windows(scale, &writes, 1, &[Traffic::Idle, UDP]);
                return store_step(NAME, name, scale, wan, store, windows);
            }
            let mut windows = windows(scale, &VIVACE_OPERATIONS, 1, &[Traffic::Idle, UDP, OWN]);
            if wan.marks == Marks::Bleached {
                // Without marks Vivace shall be no worse than what it is compared with.
                let baselines = BASELINES
                    .iter()
                    .map(|&(system, operation)| window(scale, system, operation, 1, UDP));
                let own = windows.iter().position(|window| window.traffic == OWN);
                let at = own.unwrap_or(windows.len());
                windows.splice(at..at, baselines);
                let everywhere = [OWN_EVERYWHERE];
                windows.extend(super::windows(scale, &VIVACE_OPERATIONS, 1, &everywhere));
            }
            store_step(NAME, name, scale, wan, store, windows)
        })
        .collect()
}

/// Its part of the report.
///
/// # Errors
/// The chart can't be drawn.
pub fn section(shown: &Shown<'_>) -> anyhow::Result<Section> {
    let records: Vec<&StepRecord> = shown.records.iter().collect();
    let chart = figure(
        "Small operations, one part changed at a time",
        "Two sites, 109 ms, 20 Mbit/s, 256 KB buffer, one operation at a time.",
        &records,
    );
    Ok(Section {
        paragraphs: vec![
            "The same operations on the same link, with one thing changed at a time; idle, under \
             foreign UDP at 120 %, and while the store's own values of 128 KiB fill the link out of the \
             clients' site."
                .to_owned(),
            NOT_SELECTABLE.to_owned(),
            fullness::verdict(&records),
        ],
        charts: shown.ranges(NAME, &chart)?,
        tables: vec![
            what_each_buys(&records),
            table("All windows", &records),
            fullness::table(&records),
            bytes_table(&records, false),
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
    )
    .below(tail::BELOW);
    for record in records {
        for (system, operation) in VIVACE_OPERATIONS {
            let idle = window_of(record, system, operation, Traffic::Idle.id());
            let congested = |traffic: Traffic| {
                let window = window_of(record, system, operation, traffic.id());
                window.map_or(String::new(), |window| {
                    let idle = idle_median(record, window);
                    let words = |p99| {
                        let times = idle.map(|idle| format!(" (× {:.2})", p99 / idle));
                        ms(p99) + &times.unwrap_or_default()
                    };
                    cell_of(tail::kept(window), |kept| Tail::p99(kept).cell(words))
                })
            };
            table.row([
                record.step.name.clone(),
                format!("{system} {}", operation.id()),
                cell_of(idle.and_then(tail::kept), |kept| ms(kept.p50_ms)),
                congested(UDP),
                congested(OWN),
            ]);
        }
    }
    table
}
