//! The files that every experiment leaves, and what is said from them.

use std::time::Duration;

use experiments::demo::{DemoArguments, rows, table, verdict};
use experiments::results::{
    Latencies, Recorded, ResultsDirectory, RowName, SummaryRow, WarmUp, WindowRow, Writer,
};

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    demo: DemoArguments,
}

fn latencies(ms: impl IntoIterator<Item = u64>) -> Latencies {
    let mut latencies = Latencies::default();
    for ms in ms {
        latencies.record(Duration::from_millis(ms));
    }
    latencies
}

/// Writes a run of the given rows, (system, condition, latencies in ms, failed), all
/// of them writes, and reads it back. The files go with the directory.
fn written(rows_ms: &[(&str, &str, Vec<u64>, u64)]) -> (Recorded, tempfile::TempDir) {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let out = parent.path().join("run");
    let flags = <Flags as clap::Parser>::parse_from(["demo"]).demo;
    let settings = flags.settings(&rows(&[], false), "2026-01-02T03:04:05Z");
    let directory = ResultsDirectory::claim(&out).expect("it is new");
    let mut writer = Writer::new(directory, settings).expect("the settings are written");
    for (system, condition, ms, failed) in rows_ms {
        let window = WindowRow {
            name: RowName {
                experiment: "demo".to_owned(),
                system: (*system).to_owned(),
                operation: "write".to_owned(),
                condition: (*condition).to_owned(),
            },
            complete: true,
            seconds: 1.0,
            failures: [("unknown".to_owned(), *failed)]
                .into_iter()
                .filter(|f| f.1 > 0)
                .collect(),
            warm_up: WarmUp::default(),
            settled_after_ms: 0,
            settled: true,
            links: Vec::new(),
            lateness: netem::Lateness::default().into(),
        };
        writer
            .record(window, &latencies(ms.iter().copied()))
            .expect("the row is written");
    }
    writer.finish(1.0, None).expect("the end is written");
    (
        Recorded::read(&out).expect("what was written is read"),
        parent,
    )
}

fn recorded(rows_ms: &[(&str, &str, Vec<u64>, u64)]) -> Recorded {
    written(rows_ms).0
}

#[test]
fn a_histogram_survives_its_file_and_its_percentiles_are_ranks() {
    let written = latencies(1..=200);
    let read = Latencies::from_hdr(&written.to_hdr().expect("it is written")).expect("it is read");
    assert_eq!(read, written);
    for (percentile, ms) in [
        (0.0, 1.0),
        (50.0, 100.0),
        (90.0, 180.0),
        (99.0, 198.0),
        (100.0, 200.0),
    ] {
        let got = read.percentile_ms(percentile).expect("it is not empty");
        assert!(
            (got / ms - 1.0).abs() < 1e-3,
            "{percentile} %: {got} instead of {ms} ms"
        );
    }
    let steps = read.steps();
    assert_eq!(steps.len(), 200);
    assert!(
        steps
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1)
    );
    assert_eq!(steps.last().map(|step| step.1), Some(1.0));
    assert_eq!(read.csv().lines().count(), 13);
    assert!(Latencies::from_hdr(b"no histogram").is_err());
    assert_eq!(Latencies::default().percentile_ms(50.0), None);
}

#[test]
fn a_summary_row_has_the_columns_that_readers_of_results_know() {
    let (recorded, _directory) = written(&[("rw", "idle", vec![100, 101], 1)]);
    let row = serde_json::to_value(&recorded.summary[0]).expect("it is a JSON object");
    let columns: Vec<&String> = row.as_object().expect("an object").keys().collect();
    // Sorted, as serde_json's map is.
    let known = [
        "condition",
        "experiment",
        "failed",
        "max_ms",
        "min_ms",
        "n",
        "operation",
        "p50_ms",
        "p90_ms",
        "p999_ms",
        "p99_ms",
        "system",
    ];
    assert_eq!(columns, known);
    let read: SummaryRow = serde_json::from_value(row).expect("it reads back");
    assert_eq!((read.n, read.failed), (2, 1));
    assert_eq!(
        recorded.latencies(&read.name).expect("its histogram").len(),
        2
    );
}

#[test]
fn the_verdict_holds_vivace_to_its_own_idle_median() {
    let idle = || vec![100; 100];
    let good = [
        ("rw", "idle", idle(), 0),
        ("rw", "congested", vec![110; 100], 0),
        ("abd", "idle", idle(), 0),
        ("abd", "congested", vec![2000; 100], 0),
    ];
    let said = verdict(&recorded(&good));
    assert!(said.starts_with("Vivace kept its latency"), "{said}");
    assert!(
        said.contains("1.10 times") && said.contains("took 20 times"),
        "{said}"
    );

    let slow = [good[0].clone(), ("rw", "congested", vec![130; 100], 0)];
    let said = verdict(&recorded(&slow));
    assert!(
        said.starts_with("Vivace MISSED its target") && said.contains("1.30"),
        "{said}"
    );

    let failing = [good[0].clone(), ("rw", "congested", vec![100; 100], 3)];
    let said = verdict(&recorded(&failing));
    assert!(
        said.starts_with("Vivace MISSED its target") && said.contains("3 failed"),
        "{said}"
    );
    assert!(table(&recorded(&failing)).contains("rw write congested: 3 failed: unknown"));

    let said = verdict(&recorded(&good[2..]));
    assert!(said.starts_with("No verdict"), "{said}");
}
