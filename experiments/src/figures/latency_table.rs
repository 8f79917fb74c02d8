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

/// What two columns of such tables mean.
pub const SET_ASIDE: &str = "n: of all operations. Set aside: those of up to a second (k seconds in slow motion) that met a \
     late router; latencies are those of the others. A slow one meets one more easily than a quick \
     one.";

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
            "set aside",
            "failed",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "p99 / idle p50",
            "p99.9 / idle p50",
            "p99.9 of all / idle p50",
        ],
    )
    .below(format!("{SET_ASIDE} {}", tail::BELOW));
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
    let idle = match spec.traffic {
        Traffic::Idle => None,
        Traffic::Udp { .. } | Traffic::Tcp { .. } | Traffic::OwnWrites { .. } => {
            idle_median(record, window)
        }
    };
    let ratio = |of: Option<Tail>| match of.zip(idle) {
        Some((of, idle)) => of.cell(|value| format!("{:.2}", value / idle)),
        None => String::new(),
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
        tail::set_aside(window).to_string(),
        failures(window),
        cell_of(kept, |kept| ms(kept.p50_ms)),
        cell_of(kept, |kept| Tail::p99(kept).cell(ms)),
        cell_of(kept, |kept| Tail::p999(kept).cell(ms)),
        cell_of(kept, |kept| ms(kept.max_ms)),
        ratio(kept.map(Tail::p99)),
        ratio(kept.map(Tail::p999)),
        ratio(tail::all(window).map(Tail::p999)),
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

/// What came of the congested windows.
#[derive(Debug, Default)]
struct Judged {
    windows: usize,
    /// Of which [`TARGET`] holds for all operations, and none failed.
    met: usize,
    /// The same without the operations that were set aside.
    met_by_kept: usize,
    failed: usize,
    /// Of which no operation was kept.
    none_kept: usize,
    /// None failed, but there is no idle median to compare with.
    without_idle: usize,
}

impl Judged {
    fn of(records: &[&StepRecord]) -> Self {
        let mut judged = Self::default();
        for record in records {
            let windows = record.windows.iter();
            for window in windows.filter(|window| window.window.traffic != Traffic::Idle) {
                judged.add(window, idle_median(record, window));
            }
        }
        judged
    }

    fn add(&mut self, window: &WindowRecord, idle: Option<f64>) {
        self.windows += 1;
        if window.failed() > 0 {
            self.failed += 1;
            return;
        }
        self.none_kept += usize::from(window.kept.n == 0);
        let Some(idle) = idle else {
            self.without_idle += 1;
            return;
        };
        let is_met = |of: Option<&Percentiles>| of.is_some_and(|of| of.p999_ms <= TARGET * idle);
        self.met += usize::from(is_met(tail::all(window)));
        self.met_by_kept += usize::from(is_met(tail::kept(window)));
    }
}

/// How many of the congested windows meet [`TARGET`] at p99.9 without a failure, with and
/// without the operations that were set aside, in a sentence.
pub fn verdict(records: &[&StepRecord]) -> String {
    let judged = Judged::of(records);
    let all = judged.windows;
    if all == 0 {
        return "No congested window was measured.".to_owned();
    }
    let mut text = format!(
        "Of {all} congested windows {} keep p99.9 of all their operations (the longest, where there \
         are fewer than 1000) within {TARGET:.2} times their idle median without a failure, and {} \
         without the operations that met a late router.",
        judged.met, judged.met_by_kept
    );
    for (count, why) in [
        (judged.failed, "with failures"),
        (judged.without_idle, "without an idle median"),
        (
            judged.none_kept,
            "in the second number, of whose operations all met one",
        ),
    ] {
        if count > 0 {
            text += &format!(" Counted as missed: {count} {why}.");
        }
    }
    text
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
            assert!(said.starts_with("Of 1 congested windows 0 keep"), "{said}");
        }
    }

    #[test]
    fn what_was_set_aside_is_counted_and_turns_no_miss_into_a_pass() {
        let mut spoilt = reads(UDP, percentiles(2000, 101.0, 112.0));
        spoilt.kept = percentiles(1500, 101.0, 105.0);
        let names = [
            "n",
            "set aside",
            "p99.9 / idle p50",
            "p99.9 of all / idle p50",
        ];
        assert_eq!(
            cells(spoilt.clone(), &names),
            ["2000", "500", "1.05", "1.12"].map(String::from)
        );
        let good = reads(UDP, percentiles(2000, 101.0, 102.0));
        let mut none_kept = good.clone();
        none_kept.kept = percentiles(0, 0.0, 0.0);
        let windows = vec![idle(), good, spoilt.clone(), spoilt, none_kept];
        let record = record("congestion", "a", windows);
        let judged = Judged::of(&[&record]);
        assert_eq!(
            (judged.windows, judged.met, judged.met_by_kept),
            (4, 2, 3),
            "{judged:?}"
        );
        let said = verdict(&[&record]);
        assert!(said.contains("missed: 1 in the second number"), "{said}");
        assert_eq!(verdict(&[]), "No congested window was measured.");
    }
}
