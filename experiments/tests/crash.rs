//! Nodes that are killed under load, in small; and that losses are found.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use experiments::crash::{CrashReport, REPORT_FILE};

fn crash(out: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
    command.arg("crash").arg("--out").arg(out).args(arguments);
    command
}

fn ran(mut command: Command) -> (Output, String) {
    let output = command.output().expect("the command runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    (output, said)
}

fn report(out: &Path) -> CrashReport {
    let text = std::fs::read_to_string(out.join(REPORT_FILE)).expect("the report was written");
    serde_json::from_str(&text).expect("the report is readable")
}

/// Processes that run with a file below `directory` as an argument.
fn left_running(directory: &Path) -> usize {
    let directory = directory.to_str().expect("temporary paths are UTF-8");
    let processes = std::fs::read_dir("/proc").expect("there is /proc");
    processes
        .flatten()
        .filter(|entry| {
            // One that ended meanwhile has none.
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains("node-process") && line.contains(directory)
        })
        .count()
}

#[test]
fn ten_kills_lose_nothing_and_every_node_starts_again() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let out = parent.path().join("run");
    let (output, said) = ran(crash(&out, &["--kills", "10", "--all-every", "4"]));
    assert!(output.status.success(), "{said}");
    let report = report(&out);
    assert!(report.is_clean(), "{report:?}");
    assert!(report.kills >= 10 && report.all_at_once > 0, "{report:?}");
    assert!(report.operations > 100, "{report:?}");
    assert!(out.join("settings.json").exists() && out.join("summary.json").exists());
    assert_eq!(left_running(&out), 0);
}

#[test]
fn in_one_site_nothing_is_lost_either() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let out = parent.path().join("run");
    let flags = ["--one-site", "--kills", "10", "--all-every", "4"];
    let (output, said) = ran(crash(&out, &flags));
    assert!(output.status.success(), "{said}");
    let report = report(&out);
    assert!(report.is_clean(), "{report:?}");
    assert!(report.kills >= 10 && report.operations > 100, "{report:?}");
    assert_eq!(left_running(&out), 0);
}

/// Needs root, for a loop device.
#[test]
fn on_a_disk_that_fills_up_nothing_is_lost_either() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let out = parent.path().join("run");
    let flags = ["--small-disk", "384", "--kills", "12", "--all-every", "5"];
    let (output, said) = ran(crash(&out, &flags));
    if said.contains("--small-disk needs root") {
        eprintln!("SKIPPED: a disk that fills up needs root, mkfs.ext4 and a loop device");
        return;
    }
    assert!(output.status.success(), "{said}");
    let report = report(&out);
    assert!(report.is_clean() && report.times_full > 0, "{report:?}");
    assert!(report.failures["busy"] > 0, "it was never full: {report:?}");
    assert!(!out.join("disk").exists() && !out.join("disk.image").exists());
    assert_eq!(left_running(&out), 0);
}

/// A check that can't fail proves nothing: these nodes forget.
#[test]
fn what_nodes_without_a_disk_lose_is_found() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let out = parent.path().join("run");
    let flags = ["--kills", "3", "--all-every", "1", "--storage", "memory"];
    let (output, said) = ran(crash(&out, &flags));
    assert_eq!(output.status.code(), Some(1), "{said}");
    let report = report(&out);
    assert!(report.lost > 0, "{report:?}");
    assert!(!report.not_linearizable.is_empty(), "{report:?}");
    assert!(said.contains("VIOLATION: key "), "{said}");
    assert!(said.contains("vivace-sim -- check"), "{said}");
    assert!(out.join("history.jsonl").exists());
}

#[test]
fn a_program_that_is_no_node_is_a_refusal_to_start() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let out = parent.path().join("run");
    let (output, said) = ran(crash(&out, &["--kills", "1", "--node", "/bin/false"]));
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("node 1 refused to start"), "{said}");
}

#[test]
fn ctrl_c_stops_it_and_leaves_no_process() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let out = parent.path().join("run");
    let mut child = crash(&out, &["--kills", "10000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command runs");
    let patience = Instant::now() + Duration::from_secs(30);
    while !out.join("history.jsonl").exists() {
        assert!(Instant::now() < patience, "it does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(1));
    let interrupt = ["-INT", &child.id().to_string()].map(str::to_owned);
    let sent = Command::new("kill").args(interrupt).status();
    assert!(sent.expect("kill runs").success());
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert!(report(&out).is_clean());
    assert_eq!(left_running(&out), 0);
}

#[test]
fn flags_out_of_range_are_refused() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let out = parent.path().join("run");
    for (flag, value) in [("--kills", "0"), ("--nodes", "10"), ("--deadline-ms", "1")] {
        let (output, said) = ran(crash(&out, &[flag, value]));
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(flag), "{said}");
        assert!(!out.exists());
    }
}
