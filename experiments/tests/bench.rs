//! `experiments run bench-*`: stores of this machine are loaded, what is wrong is said, and
//! nothing is left over. What needs etcd says so and passes where it is missing.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Held while stores run: two runs at once would measure each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn experiments(words: &[&str], out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
    command.arg("run").args(words).arg("--out").arg(out);
    command
}

/// What came of it, and all that was said.
fn ended(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    (output.status.code(), said)
}

fn record(out: &Path, step: &str) -> Value {
    let text = std::fs::read_to_string(out.join(step).join("step.json")).expect("it was measured");
    serde_json::from_str(&text).expect("a record is JSON")
}

fn rows<'a>(record: &'a Value, store: &str) -> Vec<&'a Value> {
    let rows = record["data"]["rows"].as_array().expect("a bench has rows");
    let is_its = |row: &&Value| row["store"]["store"] == store;
    rows.iter().filter(is_its).collect()
}

fn assert_measured(rows: &[&Value]) {
    assert_eq!(rows.len(), 4, "{rows:?}");
    for row in rows {
        assert!(row["per_second"].as_f64() > Some(1.0), "{row}");
        assert!(row["store_cpu_us"].as_f64() > Some(1.0), "{row}");
        assert!(row["latency"]["p50_ms"].as_f64() > Some(0.0), "{row}");
        assert_eq!(row["failures"], serde_json::json!({}), "{row}");
    }
}

/// Processes that were told of a directory: nodes of their files, members of their data.
fn processes_of(directory: &Path) -> Vec<String> {
    let own = std::process::id().to_string();
    let needle = directory.as_os_str().as_encoded_bytes();
    let entries = std::fs::read_dir("/proc").expect("Linux");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter(|name| *name != own)
        .filter_map(|name| Some((std::fs::read(format!("/proc/{name}/cmdline")).ok()?, name)))
        .filter(|(words, _)| words.windows(needle.len()).any(|part| part == needle))
        .map(|(words, name)| format!("{name}: {}", String::from_utf8_lossy(&words)))
        .collect()
}

fn assert_nothing_is_left(out: &Path) {
    assert_eq!(processes_of(out), Vec::<String>::new());
    let entries = std::fs::read_dir(out).expect("the directory is there");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    // Working directories begin so.
    let left: Vec<String> = names.filter(|name| name.starts_with('.')).collect();
    assert_eq!(left, Vec::<String>::new());
}

/// A program `name` that ends at once, saying `words`.
fn broken_program(directory: &Path, name: &str, words: &str) {
    let path = directory.join(name);
    let text = format!("#!/bin/sh\necho '{words}' >&2\nexit 3\n");
    std::fs::write(&path, text).expect("the directory is ours");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, executable).expect("the file is ours");
}

#[test]
fn stores_are_loaded_beside_each_other() {
    let _alone = alone();
    let out = tempfile::tempdir().expect("a directory");
    let words = ["bench-throughput", "--quick", "--seconds", "1"];
    let (code, said) = ended(experiments(&words, out.path()));
    assert_eq!(code, Some(0), "{said}");
    let record = record(out.path(), "bench-throughput/three-replicas");
    assert_measured(&rows(&record, "vivace"));
    if said.contains("SKIPPED etcd") {
        // Past the test harness, which keeps what passing tests print to itself.
        let _ = writeln!(
            std::io::stderr(),
            "skipped in part: the program etcd is missing"
        );
    } else {
        assert_measured(&rows(&record, "etcd"));
        assert_measured(&rows(&record, "etcd-tls"));
    }
    let page = std::fs::read_to_string(out.path().join("report.html")).expect("it was written");
    assert!(page.contains("execute, one hot key") && page.contains("≥ 20"));
    assert_nothing_is_left(out.path());
}

#[test]
fn a_missing_etcd_is_skipped_and_the_run_says_how_to_get_it() {
    let _alone = alone();
    let out = tempfile::tempdir().expect("a directory");
    let words = ["bench-throughput", "--quick", "--seconds", "1"];
    let mut command = experiments(&words, out.path());
    command.env("PATH", "");
    let (code, said) = ended(command);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("SKIPPED etcd: "), "{said}");
    let record = record(out.path(), "bench-throughput/three-replicas");
    assert_measured(&rows(&record, "vivace"));
    assert_eq!(rows(&record, "etcd").len(), 0);
    assert_eq!(rows(&record, "etcd-tls").len(), 0);
    let note = record["notes"][0].as_str().expect("a reader must know");
    assert!(note.contains("apt-get install etcd-server"), "{note}");
    assert_nothing_is_left(out.path());
}

#[test]
fn a_store_that_does_not_start_fails_the_step_at_once() {
    let _alone = alone();
    let out = tempfile::tempdir().expect("a directory");
    let programs = tempfile::tempdir().expect("a directory");
    broken_program(programs.path(), "no-node", "no such cluster");
    broken_program(programs.path(), "etcd", "no such flag");
    let begun = Instant::now();

    let node = programs.path().join("no-node");
    let words = ["bench-scale", "--quick", "--only", "keys-1e3", "--node"];
    let mut command = experiments(&words[..4], out.path());
    command.arg(words[4]).arg(&node);
    let (code, said) = ended(command);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("keys-1e3: failed: node-"), "{said}");
    assert!(
        said.contains("ended by itself (exit status: 3): no such cluster"),
        "{said}"
    );

    let mut command = experiments(&["bench-throughput", "--quick"], out.path());
    command.env("PATH", programs.path());
    let (code, said) = ended(command);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("failed: etcd-m"), "{said}");
    assert!(
        said.contains("ended by itself (exit status: 3): no such flag"),
        "{said}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(40),
        "it waits for what is dead"
    );
    assert_nothing_is_left(out.path());
}

#[test]
fn settings_that_make_no_sense_are_usage_and_nothing_is_done() {
    let out = tempfile::tempdir().expect("a directory");
    for (words, what) in [
        (
            &["bench-throughput", "--seconds", "0"][..],
            "--seconds <SECONDS>",
        ),
        (
            &["bench-scale", "--only", "keys-1e99"],
            "--only keys-1e99: no step",
        ),
        (
            &["bench-none"],
            "bench-throughput, bench-scale, bench-mix, bench-bytes",
        ),
    ] {
        let (code, said) = ended(experiments(words, out.path()));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(what), "{said}");
    }
    let left = std::fs::read_dir(out.path()).expect("it is there");
    assert_eq!(left.count(), 0, "nothing was measured");
}

/// Waits until the run's stores are there.
fn wait_for_processes(run: &mut Child, out: &Path, at_least: usize) {
    let begun = Instant::now();
    while processes_of(out).len() <= at_least {
        let status = run.try_wait().expect("it is ours");
        assert_eq!(status, None, "it ended before its stores ran");
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "no stores: {:?}",
            processes_of(out)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_run_that_is_stopped_or_killed_takes_its_stores_along() {
    let _alone = alone();
    let out = tempfile::tempdir().expect("a directory");
    for (signal, code) in [(Signal::SIGINT, Some(130)), (Signal::SIGKILL, None)] {
        let mut command = experiments(&["bench-throughput"], out.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut run = command.spawn().expect("it runs");
        // The run itself, and the nodes.
        wait_for_processes(&mut run, out.path(), 3);
        kill(Pid::from_raw(run.id() as i32), signal).expect("it runs");
        let status = run.wait().expect("it is ours");
        assert_eq!(status.code(), code, "{status:?}");
        let begun = Instant::now();
        while !processes_of(out.path()).is_empty() {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{signal}: left: {:?}",
                processes_of(out.path())
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    // The files of the one that was killed go with the next run that measures anything.
    let words = [
        "bench-scale",
        "--quick",
        "--seconds",
        "1",
        "--only",
        "keys-1e3",
    ];
    let (code, said) = ended(experiments(&words, out.path()));
    assert_eq!(code, Some(0), "{said}");
    let record = record(out.path(), "bench-scale/keys-1e3");
    assert_eq!(rows(&record, "vivace").len(), 3);
    let bytes = record["data"]["memory_bytes_per_key"].as_f64();
    assert!(bytes > Some(0.0), "{bytes:?}");
    assert_nothing_is_left(out.path());
}
