//! `experiments run` and `report` from end to end: one small step over a real WAN.
//!
//! What builds a WAN needs root, `ip`, /dev/net/tun and the program netem beside this
//! one; without them it says so, loudly, and passes.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

fn experiments(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
    command.args(words);
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

/// Held while a WAN is up: two at once would measure each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program netem that cargo built, where it can build a WAN here.
fn netem() -> Option<std::path::PathBuf> {
    let beside = Path::new(env!("CARGO_BIN_EXE_experiments")).with_file_name("netem");
    let skipped = |why: String| {
        // Past the test harness, which keeps what passing tests print to itself.
        let _ = writeln!(std::io::stderr(), "skipped: {why}");
    };
    if !beside.is_file() {
        skipped(format!(
            "{} is missing: cargo build -p netem",
            beside.display()
        ));
        return None;
    }
    match nix::unistd::geteuid().is_root() {
        true => Some(beside),
        false => {
            skipped("needs root, to make network namespaces".to_owned());
            None
        }
    }
}

/// What is left of WANs that a run built.
fn left_of(run: u32) -> Vec<String> {
    let prefixes = [
        format!("experiment-{run}-"),
        format!("netem.experiment-{run}-"),
    ];
    ["/run/netem", "/run/netns"]
        .iter()
        .flat_map(|directory| std::fs::read_dir(directory).into_iter().flatten().flatten())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

/// Directories of unfinished work.
fn hidden_in(out: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(out).expect("the directory is there");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with('.')).collect()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_small_step_is_measured_once_and_reported() {
    let Some(netem) = netem() else { return };
    let _alone = alone();
    let parent = tempfile::tempdir().expect("a temporary directory");
    let out = parent.path().join("deep/out");
    let words = [
        "run",
        "fig-6",
        "--only",
        "rw",
        "--only",
        "abd",
        "--seconds",
        "1",
        "--netem",
        path(&netem),
        "--out",
        path(&out),
    ];
    let (output, stdout, stderr) = ran(experiments(&words));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("rw write, 1 at once, idle"), "{stdout}");
    let step = out.join("fig-6/rw");
    for file in ["step.json", "rw-write-idle-1.hdr", "rw-write-idle-1.csv"] {
        assert!(step.join(file).is_file(), "{file}");
    }
    let samples = std::fs::read_to_string(step.join("rw-write-idle-1.samples.csv"));
    let samples = samples.expect("the samples are there");
    assert!(
        samples.starts_with("begin_ms,latency_ms,outcome,spoilt\n"),
        "{samples}"
    );
    assert!(samples.lines().count() > 4, "{samples}");
    let record = std::fs::read_to_string(step.join("step.json")).expect("the record is there");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    let write = &record["windows"][1];
    assert!(write["all"]["p50_ms"].as_f64() >= Some(109.0), "{write}");
    assert_eq!(write["failures"], serde_json::json!({}), "{write}");
    assert!(
        write["links"][0]["priority"]["sent_bytes"].as_u64() > Some(0),
        "{write}"
    );
    let page = std::fs::read_to_string(out.join("report.html")).expect("the report is there");
    assert!(
        page.contains("Algorithm 1 write") && page.contains("113-121"),
        "{page}"
    );
    assert!(
        !page.contains("src=") && !page.contains("@import"),
        "it needs no network"
    );
    assert!(
        !std::fs::read_dir(&out)
            .expect("listed")
            .flatten()
            .any(|entry| { entry.file_name().to_string_lossy().starts_with('.') })
    );

    // Again: nothing is measured, and the report is written anew.
    std::fs::remove_file(out.join("report.html")).expect("it was there");
    let (output, stdout, stderr) = ran(experiments(&words));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let steps = out.join("fig-6");
    let count = std::fs::read_dir(&steps).expect("listed").count();
    assert!(
        stderr.contains(&format!("{count} steps are there already")),
        "{stderr}"
    );
    assert!(!stdout.contains("rw write"), "{stdout}");
    assert!(out.join("report.html").is_file());

    // What another program's results would be called the same by, they are not.
    let mut other = words.to_vec();
    other.splice(2..6, ["--only", "rw", "--node", "/bin/true"]);
    let (output, _, stderr) = ran(experiments(&other));
    assert!(!output.status.success(), "{stderr}");
    assert!(
        stderr.contains("fig-6/rw: is there with another --node"),
        "{stderr}"
    );
    assert!(step.join("step.json").is_file(), "what was there is kept");

    let (output, _, stderr) = ran(experiments(&["report", "fig-7", "--out", path(&out)]));
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("no results of fig-7"), "{stderr}");
}

/// It says on `log` why, where it ends by itself.
fn start(netem: &Path, out: &Path, log: &Path) -> Child {
    let words = ["run", "fig-6", "--only", "rw", "--seconds", "60", "--netem"];
    let child = experiments(&words)
        .args([path(netem), "--out", path(out)])
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(log).expect("it can be made"))
        .spawn();
    let child = child.expect("it starts");
    // The second WAN is the step's; the first only tries whether it can be built.
    let up = format!("netem.experiment-{}-2.ireland.n3", child.id());
    wait_for("the WAN", || Path::new("/run/netns").join(&up).exists());
    child
}

#[test]
fn a_run_that_is_stopped_or_killed_leaves_nothing_behind() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let Some(netem) = netem() else { return };
    let _alone = alone();
    let parent = tempfile::tempdir().expect("a temporary directory");
    for (signal, code) in [(Signal::SIGINT, Some(130)), (Signal::SIGKILL, None)] {
        let log = parent.path().join("log");
        let mut run = start(&netem, parent.path(), &log);
        let pid = Pid::from_raw(i32::try_from(run.id()).expect("a process's number"));
        // Into the measurement, or nearly.
        std::thread::sleep(Duration::from_secs(2));
        let mut second = experiments(&["run", "fig-6", "--out"]);
        second.arg(parent.path());
        let (output, _, stderr) = ran(second);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("another run is at work"), "{stderr}");
        assert!(!hidden_in(parent.path()).is_empty(), "its stores have data");
        kill(pid, signal).expect("it runs");
        let status = run.wait().expect("it is ours");
        let said = std::fs::read_to_string(&log).expect("it can be read");
        assert_eq!(status.code(), code, "{said}");
        if code.is_some() {
            assert_eq!(left_of(run.id()), Vec::<String>::new());
        }
        wait_for("the guard", || {
            left_of(run.id()).is_empty() && hidden_in(parent.path()).is_empty()
        });
        assert!(!parent.path().join("fig-6/rw").exists());
    }
    // The next one measures what they didn't.
    let words = ["run", "fig-6", "--only", "rw", "--seconds", "1", "--netem"];
    let mut next = experiments(&words);
    next.args([path(&netem), "--out", path(parent.path())]);
    let (output, stdout, stderr) = ran(next);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert_eq!(hidden_in(parent.path()), Vec::<String>::new());
}

#[test]
fn a_program_that_is_no_node_ends_the_step_at_once() {
    let _alone = alone();
    let Some(netem) = netem() else { return };
    let parent = tempfile::tempdir().expect("a temporary directory");
    let words = [
        "run",
        "fig-6",
        "--only",
        "rw",
        "--node",
        "/bin/true",
        "--netem",
    ];
    let mut command = experiments(&words);
    command.args([path(&netem), "--out", path(parent.path())]);
    let begun = Instant::now();
    let (output, _, stderr) = ran(command);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("ended by itself"), "{stderr}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{stderr}");
}

#[test]
fn what_makes_no_sense_is_refused_and_says_what_would() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let out = parent.path().join("out");
    let file = parent.path().join("file");
    std::fs::write(&file, b"").expect("it can be written");
    let cases: [(&[&str], i32, &str); 8] = [
        (&["run", "fig-9"], 2, "give all, or some of fig-1"),
        (&["run", "demo"], 2, "experiments demo"),
        (&["run", "fig-6", "--only", "nothing"], 2, "--only nothing"),
        (&["run", "fig-6", "--seconds", "0"], 2, "1 to 600 s"),
        (
            &["run", "fig-6", "--netem", "/no/netem"],
            2,
            "--netem /no/netem: is no file",
        ),
        (
            &["run", "fig-6", "--node", "/no/node"],
            2,
            "--node /no/node: is no file",
        ),
        (&["run"], 2, "NAME"),
        (&["report"], 2, "experiments run NAME"),
    ];
    for (words, code, right) in cases {
        let mut command = experiments(words);
        command.args(["--out", path(&out)]);
        let (output, _, stderr) = ran(command);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {stderr}");
        assert!(stderr.contains(right), "{words:?}: {stderr}");
        assert!(!out.exists(), "{words:?}");
    }
    let mut command = experiments(&["run", "fig-2-3", "--out"]);
    command.arg(&file);
    let (output, _, stderr) = ran(command);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("name a directory that can be written"),
        "{stderr}"
    );
}

#[test]
fn what_this_machine_lacks_is_told_and_the_run_goes_on() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let out = parent.path().join("out");
    let words = [
        "run",
        "fig-6",
        "--only",
        "rw",
        "--netem",
        "/bin/false",
        "--out",
    ];
    let mut command = experiments(&words);
    command.arg(&out);
    let (output, stdout, stderr) = ran(command);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(
        stderr.contains("SKIPPED") && stderr.contains("no WAN can be built here"),
        "{stderr}"
    );
    assert!(stdout.contains("Nothing was measured"), "{stdout}");
}
