//! Starts of real processes that take long, or find no space.

mod process;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use process::refusal::{data, lived, refused, serves};
use process::{Processes, START_PATIENCE, Unmount, path_text, stderr, vivace_node};
use vivace_core::journal::{self, Directory, Identity, Settings, Step};
use vivace_core::record::Record;
use vivace_core::{ContainerId, Incarnation, Key, KeyName, Lsn, NodeId, Timestamp, WriterId};
use vivace_node::storage::JournalDisk;

/// A file system in memory over a directory; none, and said loudly, without root.
fn mount_small(path: &Path, mib: u64) -> Option<Unmount> {
    let size = format!("size={mib}m");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
        .arg(path)
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: a start without space needs root and mount(8)");
        return None;
    }
    Some(Unmount(path.to_owned()))
}

/// Mounts one over the data directory that `init` made, and puts that in it.
fn on_small_disk(processes: &Processes, mib: u64) -> Option<Unmount> {
    let path = data(processes);
    let identity = fs::read(path.join("identity")).expect("init made it");
    let mounted = mount_small(&path, mib)?;
    fs::write(path.join("identity"), identity).expect("writes");
    Some(mounted)
}

/// The names of a node's threads of connections.
fn threads_of_connections(process: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let names = tasks.map(|task| {
        let name = task.expect("a thread").path().join("comm");
        fs::read_to_string(name)
            .unwrap_or_default()
            .trim()
            .to_owned()
    });
    let known = ["vivace-priority", "vivace-bulk", "vivace-clients"];
    let mut named: Vec<String> = names.filter(|name| known.contains(&&name[..])).collect();
    named.sort();
    named
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_has_the_threads_that_its_file_says_and_stops_on_request() {
    let shared = vec!["vivace-priority"];
    let split = vec!["vivace-bulk", "vivace-clients", "vivace-priority"];
    for (setting, expected) in [("shared", shared), ("split", split)] {
        let mut processes = Processes::lay_out(1, 1);
        let file = processes.node_file(1);
        let text = fs::read_to_string(&file).expect("reads");
        let changed = text.replace("threads = \"auto\"", &format!("threads = \"{setting}\""));
        assert_ne!(changed, text, "init writes the setting");
        fs::write(&file, changed).expect("writes");
        processes.start_node(1);
        let client = processes.client('a').await;
        let key = client.container("kv").rw("key").deadline(START_PATIENCE);
        key.write("value").await.expect("the cluster serves");
        let process = processes.id(1);
        assert_eq!(threads_of_connections(process), expected, "{setting}");
        let process = Pid::from_raw(process.try_into().expect("a process's number"));
        kill(process, Signal::SIGTERM).expect("it runs");
        assert_eq!(processes.exit_code(1), Some(0), "{setting}");
    }
}

#[test]
fn a_first_start_without_space_is_refused_and_leaves_nothing() {
    let processes = Processes::lay_out(1, 1);
    let Some(_small) = on_small_disk(&processes, 8) else {
        return;
    };
    let message = refused(&processes, 20, "the disk is full");
    assert!(message.contains("free some space"), "{message}");
    assert!(message.contains("a first start takes 17 MiB"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_space_is_refused_and_with_space_it_serves() {
    let mut processes = Processes::lay_out(1, 1);
    let Some(_small) = on_small_disk(&processes, 96) else {
        return;
    };
    let file = processes.node_file(1);
    let text = fs::read_to_string(&file).expect("reads");
    let text = text.replace("reserve_bytes = 536870912", "reserve_bytes = 1048576");
    fs::write(&file, text).expect("writes");
    processes.start_node(1);
    let client = processes.client('a').await;
    let key = client.container("kv").rw("key").deadline(START_PATIENCE);
    key.write("value").await.expect("the cluster serves");
    processes.kill(1);
    let ballast = data(&processes).join("ballast");
    let filled = Command::new("dd")
        .args(["if=/dev/zero", "bs=4k"])
        .arg(format!("of={}", ballast.display()))
        .output();
    assert!(!filled.expect("dd runs").status.success(), "it has no end");
    let message = refused(&processes, 20, "the disk is full");
    assert!(message.contains("journal/life"), "{message}");
    fs::remove_file(&ballast).expect("removes");
    serves(&mut processes).await;
}

/// So many that reading them takes a good part of a second, whatever the machine.
const RECORDS: u64 = 400_000;
const RECORDS_OF_COMMIT: u64 = 4096;

/// Writes a journal of many keys into the directory of a node that has lived.
fn fill_journal(processes: &Processes) {
    let path = data(processes).join("journal");
    let identity = fs::read_to_string(data(processes).join("identity")).expect("reads");
    let directory = identity
        .lines()
        .find_map(|line| line.strip_prefix("directory "));
    let directory = u128::from_str_radix(directory.expect("a line"), 16).expect("32 digits");
    let owner = Identity {
        cluster: "dev".into(),
        node: NodeId(1),
        directory: Directory(directory.to_be_bytes()),
    };
    let life = fs::read(path.join("life")).expect("reads");
    fs::remove_dir_all(&path).expect("removes");
    let disk = JournalDisk::open(&path).expect("opens");
    fs::write(path.join("life"), life).expect("writes");
    let mut journal = journal::create(disk, owner, Settings::default()).expect("makes it");
    for number in 1..=RECORDS {
        let record = Record::Known {
            key: Key {
                container: ContainerId(1),
                name: KeyName::new(format!("{number:0>40}")).expect("is a name"),
            },
            ts: Timestamp {
                time: 1_700_000_000_000_000_000 + number,
                writer: WriterId::new(NodeId(1), Incarnation(1)),
            },
        };
        let appended = journal.appender.append(Lsn(number), &record);
        appended.expect("there is room");
        if number % RECORDS_OF_COMMIT == 0 || number == RECORDS {
            let batch = journal.appender.take_batch().expect("is not empty");
            let done = journal.committer.commit(batch).expect("commits");
            journal.on_committed(done);
            while let Step::Prepared(segment) = journal.keeper.step().expect("keeps") {
                journal.appender.add_segment(segment);
            }
        }
    }
}

/// How long a start is silent, and a little.
const SILENT: Duration = Duration::from_millis(2300);

/// Whoever has read so much has begun with the journal.
const BEGUN_BYTES: u64 = 1 << 20;

/// What a process has read from files so far.
fn bytes_read(process: u32) -> u64 {
    let counts = fs::read_to_string(format!("/proc/{process}/io")).expect("it runs");
    let read = counts.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.expect("a line").parse().expect("a number")
}

/// Starts a node and stops it (SIGSTOP) while it reads its journal, until it has taken
/// longer than one is left without a word; then lets it go on.
fn start_slowly(node_file: &Path, stderr: Stdio, log: &dyn Fn() -> String) -> Child {
    let child = Command::new(env!("CARGO_BIN_EXE_vivace-node"))
        .arg("run")
        .arg(node_file)
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .expect("vivace-node starts");
    let pid = Pid::from_raw(child.id().try_into().expect("a process's number"));
    let deadline = Instant::now() + START_PATIENCE;
    while bytes_read(child.id()) < BEGUN_BYTES {
        assert!(Instant::now() < deadline, "{}", log());
        thread::sleep(Duration::from_millis(1));
    }
    kill(pid, Signal::SIGSTOP).expect("it runs");
    thread::sleep(SILENT);
    kill(pid, Signal::SIGCONT).expect("it runs");
    while !log().contains("serves clients") {
        assert!(Instant::now() < deadline, "{}", log());
        thread::sleep(Duration::from_millis(5));
    }
    child
}

fn end(mut child: Child) {
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_recovery_shows_how_far_it_is_in_a_log_and_at_a_terminal() {
    let processes = lived().await;
    fill_journal(&processes);
    let file = processes.node_file(1);
    // The journal was made anew.
    let adopted = vivace_node(&["adopt", path_text(&file), "--original-is-gone"]);
    assert!(adopted.status.success(), "{}", stderr(&adopted));

    let path = processes.directory.path().join("slow.log");
    let to = File::create(&path).expect("makes it");
    let log = || fs::read_to_string(&path).expect("reads");
    end(start_slowly(&file, to.into(), &log));
    let said = log();
    let line = said
        .lines()
        .find(|line| line.contains("reading the journal: "));
    let line = line.unwrap_or_else(|| panic!("no word of progress in {said}"));
    assert!(line.contains(" % of ") && line.contains(" MiB"), "{line}");
    assert!(said.contains("recovered 400000 records in "), "{said}");

    let terminal = openpty(None, None).expect("a terminal");
    let shown = Arc::new(Mutex::new(Vec::new()));
    let mut master = File::from(terminal.master);
    let reader = {
        let shown = shown.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Fails when the other end is gone.
            while let Ok(read @ 1..) = master.read(&mut bytes) {
                shown.lock().expect("no panic").extend(&bytes[..read]);
            }
        })
    };
    let screen = || String::from_utf8_lossy(&shown.lock().expect("no panic")).into_owned();
    end(start_slowly(&file, Stdio::from(terminal.slave), &screen));
    reader.join().expect("no panic");
    let said = screen();
    assert!(said.contains("reading the journal ["), "no bar in {said:?}");
    assert!(said.contains("MiB of "), "{said:?}");
    assert!(!said.contains("reading the journal: "), "{said:?}");
}
