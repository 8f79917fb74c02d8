//! The table that most experiments on a store share: one row per window.

use super::store_work;
use crate::plot::line::{PRIOR, VIVACE};
use crate::plot::ranges::{Range, RangeFigure};
use crate::report::Table;
use crate::report::section::{idle_median, ms};
use crate::report::tail::{self, Tail, cell_of};
use crate::step::record::Percentiles;
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
    )
    .below(tail::BELOW);
    for record in records {
        for window in &record.windows {
            table.row(row(record, window));
        }
    }
    table
}

fn row(record: &StepRecord, window: &WindowRecord) -> Vec<String> {
    let spec = &window.window;
    let kept = tail::kept(window);
    let ratio = |of: fn(&Percentiles) -> Tail| match (spec.traffic, idle_median(record, window)) {
        (Traffic::Idle, _) | (_, None) => String::new(),
        (_, Some(idle)) => cell_of(kept, |kept| {
            of(kept).cell(|value| format!("{:.2}", value / idle))
        }),
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
        cell_of(kept, |kept| ms(kept.p50_ms)),
        cell_of(kept, |kept| Tail::p99(kept).cell(ms)),
        cell_of(kept, |kept| Tail::p999(kept).cell(ms)),
        cell_of(kept, |kept| ms(kept.max_ms)),
        ratio(Tail::p99),
        ratio(Tail::p999),
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
        ms: tail::kept(window).map(|kept| [kept.p50_ms, kept.p99_ms, kept.max_ms]),
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
            all += 1;
            let pair = tail::kept(window).zip(idle_median(record, window));
            let holds = pair.is_some_and(|(kept, idle)| kept.p999_ms <= TARGET * idle);
            met += usize::from(holds && window.failed() == 0);
        }
    }
    format!(
        "{met} of {all} congested windows keep p99.9 within {TARGET:.2} times their idle median \
         without a failure."
    )
}

#[cfg(test)]
mod tests {
    use super::super::UDP;
    use super::super::made_up::{failed, percentiles, reads, record};
    use super::*;

    fn idle() -> WindowRecord {
        reads(Traffic::Idle, percentiles(2000, 100.0, 101.0))
    }

    /// The cells of a table's last row, by the names of their columns.
    fn cells(window: WindowRecord, names: &[&str]) -> Vec<String> {
        let record = record("congestion", "a", vec![idle(), window]);
        let table = table("", &[&record]);
        let at = |name: &&str| table.header.iter().position(|of| of == name);
        let places = names.iter().map(|name| at(name).expect("a column"));
        let row = table.rows.last().expect("a row");
        places.map(|place| row[place].clone()).collect()
    }

    #[test]
    fn a_window_in_which_all_failed_has_no_latency() {
        let gave_up = failed(3, reads(UDP, percentiles(3, 7184.0, 7184.0)));
        let names = ["n", "failed", "p50 ms", "p99.9 ms", "p99.9 / idle p50"];
        assert_eq!(
            cells(gave_up, &names),
            ["3", "3 (3 timeout)", "", "", ""].map(String::from)
        );
        let mut spoilt = reads(UDP, percentiles(3, 105.0, 106.0));
        spoilt.kept = percentiles(0, 0.0, 0.0);
        assert_eq!(
            cells(spoilt, &names),
            ["3", "0", "", "", ""].map(String::from)
        );
    }

    #[test]
    fn what_is_the_longest_of_few_is_marked_in_every_cell() {
        let few = reads(UDP, percentiles(99, 104.0, 106.0));
        let names = ["p99 ms", "p99.9 ms", "p99 / idle p50", "p99.9 / idle p50"];
        assert_eq!(
            cells(few, &names),
            ["104 (max)", "106 (max)", "1.04 (max)", "1.06 (max)"].map(String::from)
        );
    }

    #[test]
    fn a_window_with_failures_is_missed_also_where_its_idle_one_failed() {
        let one_failed = failed(1, reads(UDP, percentiles(2000, 101.0, 102.0)));
        let timeouts = failed(9, reads(Traffic::Idle, percentiles(10, 7184.0, 7184.0)));
        for (idle, congested) in [
            (idle(), one_failed),
            (timeouts, reads(UDP, percentiles(2000, 101.0, 102.0))),
        ] {
            let record = record("congestion", "a", vec![idle, congested]);
            let said = verdict(&[&record]);
            assert!(said.starts_with("0 of 1 congested windows"), "{said}");
        }
    }
}
