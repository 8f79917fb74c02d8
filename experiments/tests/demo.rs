//! The demo from end to end, in small.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use experiments::results::Recorded;

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
    command.arg("demo").args(arguments);
    command
}

fn ran(mut command: Command) -> (Output, String, String) {
    let output = command.output().expect("the command runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

#[test]
fn a_short_run_measures_both_conditions_and_writes_every_file() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let out = parent.path().join("deep/run");
    let flags = [
        "--only",
        "rw/write",
        "--seconds",
        "1.5",
        "--rtt-ms",
        "40",
        "--out",
        path(&out),
    ];
    let (output, stdout, stderr) = ran(demo(&flags));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(
        stdout.contains(&format!("Results are in {}", out.display())),
        "{stdout}"
    );
    assert!(stdout.contains("Vivace "), "{stdout}");
    assert!(
        stderr.contains("s left: 2 of 2: Vivace RW write on the congested link"),
        "{stderr}"
    );

    let recorded = Recorded::read(&out).expect("the results are readable");
    assert!(recorded.settings.complete);
    assert_eq!(recorded.settings.link.rtt_ms, 40.0);
    let conditions: Vec<&str> = recorded
        .summary
        .iter()
        .map(|row| row.name.condition.as_str())
        .collect();
    assert_eq!(conditions, ["idle", "congested"]);
    for row in &recorded.summary {
        assert!(row.n > 5 && row.failed == 0, "{row:?}");
        let ascending = [
            row.min_ms,
            row.p50_ms,
            row.p90_ms,
            row.p99_ms,
            row.p999_ms,
            row.max_ms,
        ];
        assert!(ascending.is_sorted() && row.min_ms >= 40.0, "{row:?}");
        let latencies = recorded
            .latencies(&row.name)
            .expect("its histogram is readable");
        assert_eq!(latencies.len(), row.n);
        assert_eq!(latencies.percentile_ms(99.0), Some(row.p99_ms));
        let csv = format!("histograms/{}.csv", row.name.file_stem());
        assert!(out.join(csv).exists());
        let window = recorded.window(&row.name).expect("its circumstances");
        assert!(window.complete && window.links.len() == 2);
        for link in &window.links {
            let crossed = link.cross.sent_bytes > 0;
            assert_eq!(crossed, row.name.condition == "congested", "{link:?}");
            assert!(
                link.priority.sent_bytes > 0 && link.priority.dropped_packets == 0,
                "{link:?}"
            );
        }
    }
    let svg = std::fs::read_to_string(out.join("latency.svg")).expect("the figure is there");
    assert!(svg.contains("latency in ms (log scale)") && svg.contains("20 Mbit/s each way"));
}

#[test]
fn what_cannot_be_measured_is_refused_by_its_flag_and_leaves_nothing() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let out = parent.path().join("deep/run");
    let wrong = [
        ("--seconds", "0", "0.5 to 120 s"),
        ("--payload-bytes", "1", "64 to 1048576 bytes"),
        ("--rtt-ms", "0", "1 to 1000 ms"),
        ("--rate-mbit", "-1", "0.5 to 1000 Mbit/s"),
        ("--buffer-kb", "1", "2 to 65536 KB"),
        ("--load", "11", "0.01 to 10 times"),
        ("--load", "NaN", "0.01 to 10 times"),
        ("--seed", "x", "invalid digit"),
        (
            "--only",
            "rw/execute",
            "it must be one of abd/write, rw/write",
        ),
    ];
    for (flag, value, right) in wrong {
        let flag_value = format!("{flag}={value}");
        let (output, _, stderr) = ran(demo(&["--out", path(&out), &flag_value]));
        assert_eq!(output.status.code(), Some(2), "{flag_value}: {stderr}");
        assert!(
            stderr.contains(flag) && stderr.contains(right),
            "{flag_value}: {stderr}"
        );
        assert!(!parent.path().join("deep").exists(), "{flag_value}");
    }
}

#[test]
fn a_directory_that_is_full_or_cannot_be_made_is_refused_and_left_alone() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let notes = parent.path().join("notes.txt");
    std::fs::write(&notes, "mine").expect("a file");
    let (output, _, stderr) = ran(demo(&["--out", path(parent.path())]));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr.contains("--out") && stderr.contains("not empty"),
        "{stderr}"
    );

    let inside_a_file = notes.join("run");
    let (output, _, stderr) = ran(demo(&["--out", path(&inside_a_file)]));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr.contains("--out") && stderr.contains("can be written"),
        "{stderr}"
    );

    let left: Vec<_> = std::fs::read_dir(parent.path())
        .expect("it is there")
        .collect();
    assert_eq!(left.len(), 1);
    assert_eq!(
        std::fs::read_to_string(&notes).expect("it is there"),
        "mine"
    );
}

#[test]
fn an_interrupt_keeps_what_was_measured_and_marks_it_incomplete() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let out = parent.path().join("run");
    let flags = [
        "--only",
        "rw/read",
        "--seconds",
        "2",
        "--rtt-ms",
        "20",
        "--out",
        path(&out),
    ];
    let mut command = demo(&flags);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let begun = Instant::now();
    while !Recorded::read(&out).is_ok_and(|recorded| recorded.summary.len() == 1) {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "no row after 20 s"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    let killed = Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .expect("kill runs");
    assert!(killed.success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        stdout.contains("Incomplete: it was interrupted."),
        "{stdout}"
    );
    let recorded = Recorded::read(&out).expect("the results are readable");
    assert!(!recorded.settings.complete && !recorded.summary.is_empty());
    assert!(out.join("latency.svg").exists());
}
