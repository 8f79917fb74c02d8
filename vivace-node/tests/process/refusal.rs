//! A cluster that has lived, and starts of it that are refused and change nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vivace_client::Client;

use super::{Processes, START_PATIENCE, path_text, stderr, vivace_node};

/// A cluster of one node that has lived, and is stopped.
pub async fn lived() -> Processes {
    let mut processes = Processes::start(1);
    let client = processes.client('a').await;
    let key = client.container("kv").rw("key").deadline(START_PATIENCE);
    key.write("value").await.expect("the cluster serves");
    processes.kill(1);
    processes
}

/// Its node's data directory.
pub fn data(processes: &Processes) -> PathBuf {
    processes.cluster().join("node-1/data")
}

/// All files and directories below a path, with their bytes.
pub fn contents(path: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).expect("lists") {
        let path = entry.expect("an entry").path();
        found.push((path.clone(), fs::read(&path).ok()));
        if path.is_dir() {
            found.extend(contents(&path));
        }
    }
    found.sort();
    found
}

/// Copies a directory; as file backups do, it goes on past a file that a running node
/// removes or renames meanwhile.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes it");
    for entry in fs::read_dir(from).expect("lists") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &to);
            continue;
        }
        match fs::copy(&path, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => drop(copied.expect("copies")),
        }
    }
}

/// A text file of a data directory with the checksum that its lines make.
pub fn sealed(text: &str) -> String {
    let (covered, _) = text.rsplit_once("checksum ").expect("is sealed");
    let checksum = crc32c::crc32c(covered.as_bytes());
    format!("{covered}checksum {checksum:08x}\n")
}

/// The message of a start that is refused with `code` and says `expected`; what is on the
/// disk stays as it is, byte by byte.
pub fn refused(processes: &Processes, code: i32, expected: &str) -> String {
    let before = contents(&processes.cluster());
    let output = vivace_node(&["run", path_text(&processes.node_file(1))]);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.contains(expected), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    let after = contents(&processes.cluster());
    let changed: Vec<_> = before.iter().zip(&after).filter(|(b, a)| b != a).collect();
    assert!(
        before == after,
        "changed by a refused start: {:?}",
        changed.iter().map(|(b, _)| &b.0).collect::<Vec<_>>()
    );
    message
}

/// The node starts, and has what was written.
pub async fn serves(processes: &mut Processes) {
    processes.start_node(1);
    let client = processes.client('a').await;
    let key = client.container("kv").rw("key").deadline(START_PATIENCE);
    let found = key.read().await.expect("serves").expect("was written");
    assert_eq!(found.value, "value");
    processes.kill(1);
}

/// What a node refused or was refused, once `cause` is among it.
pub async fn refusals_with(client: &Client, cause: &str) -> Vec<(String, u64)> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        let refusals = client.status().await.expect("status").refusals;
        if refusals.iter().any(|(name, _)| name == cause) {
            return refusals;
        }
        assert!(Instant::now() < deadline, "nobody noticed: {refusals:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
