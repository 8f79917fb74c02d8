//! The table that most experiments on a store share: one row per window.

use super::store_work;
use crate::plot::line::{PRIOR, VIVACE};
use crate::plot::ranges::{Range, RangeFigure};
use crate::report::Table;
use crate::report::section::{idle_median, ms};
use crate::step::{StepRecord, StoreKind, Traffic, WindowRecord};

/// The target of small operations under congestion: this times their idle median.
pub const TARGET: f64 = 1.10;

/// A table of all windows of `records`.
pub fn table(caption: &str, records: &[&StepRecord]) -> Table {
    let mut table = Table::new(
        caption,
        &[
            "store, link",
            "operation",
            "at once",
            "traffic",
            "n",
            "failed",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "p99 / idle p50",
            "p99.9 / idle p50",
        ],
    );
    for record in records {
        for window in &record.windows {
            table.row(row(record, window));
        }
    }
    table
}

fn row(record: &StepRecord, window: &WindowRecord) -> Vec<String> {
    let spec = &window.window;
    let kept = &window.kept;
    let ratio = |value: f64| match (spec.traffic, idle_median(record, window)) {
        (Traffic::Idle, _) | (_, None) => String::new(),
        (_, Some(idle)) => format!("{:.2}", value / idle),
    };
    let work = store_work(&record.step);
    let link = work.map_or(String::new(), |work| {
        format!("{}, {}", store_words(work.store), work.wan.words())
    });
    vec![
        link,
        format!("{} {}", spec.system, spec.operation.id()),
        spec.at_once.to_string(),
        spec.traffic.words(),
        window.all.n.to_string(),
        failures(window),
        ms(kept.p50_ms),
        ms(kept.p99_ms),
        ms(kept.p999_ms),
        ms(kept.max_ms),
        ratio(kept.p99_ms),
        ratio(kept.p999_ms),
    ]
}

/// How many failed, and of what.
pub fn failures(window: &WindowRecord) -> String {
    match window.failed() {
        0 => "0".to_owned(),
        failed => {
            let causes: Vec<String> = window
                .failures
                .iter()
                .map(|(cause, count)| format!("{count} {cause}"))
                .collect();
            format!("{failed} ({})", causes.join(", "))
        }
    }
}

/// A chart of the congested windows, each beside its idle median.
pub fn figure(title: &str, caption: &str, records: &[&StepRecord]) -> RangeFigure {
    let rows = records.iter().flat_map(|record| {
        let congested = record.windows.iter();
        let congested = congested.filter(|window| window.window.traffic != Traffic::Idle);
        congested.map(|window| range(record, window))
    });
    RangeFigure {
        title: title.to_owned(),
        caption: caption.to_owned(),
        rows: rows.collect(),
    }
}

fn range(record: &StepRecord, window: &WindowRecord) -> Range {
    let spec = &window.window;
    let kept = &window.kept;
    let is_vivace = matches!(spec.system.as_str(), "rw" | "rmw");
    let note = match window.failed() {
        0 => String::new(),
        failed => format!("{failed} of {} failed", window.all.n),
    };
    Range {
        name: format!(
            "{}: {} {}, {}",
            record.step.name,
            spec.system,
            spec.operation.id(),
            spec.traffic.id()
        ),
        color: if is_vivace { VIVACE } else { PRIOR },
        idle_ms: idle_median(record, window),
        ms: (kept.n > 0).then_some([kept.p50_ms, kept.p99_ms, kept.max_ms]),
        note,
    }
}

/// A store in words.
pub fn store_words(store: StoreKind) -> String {
    match store {
        StoreKind::Vivace(containers) => format!("Vivace{}", containers.words()),
        StoreKind::Etcd { marked: false } => "etcd".to_owned(),
        StoreKind::Etcd { marked: true } => "etcd, peers marked EF".to_owned(),
    }
}

/// How many of the congested windows meet [`TARGET`] at p99.9 without a failure, in a
/// sentence.
pub fn verdict(records: &[&StepRecord]) -> String {
    let (mut met, mut all) = (0, 0);
    for record in records {
        for window in &record.windows {
            if window.window.traffic == Traffic::Idle {
                continue;
            }
            let Some(idle) = idle_median(record, window) else {
                continue;
            };
            all += 1;
            let holds = window.kept.p999_ms <= TARGET * idle && window.failed() == 0;
            met += usize::from(holds && window.kept.n > 0);
        }
    }
    format!(
        "{met} of {all} congested windows keep p99.9 within {TARGET:.2} times their idle median \
         without a failure."
    )
}
