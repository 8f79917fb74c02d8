//! What nodes know of each other's states: one that comes back with less than it had, or with
//! another cluster's, is known, whatever its own disk says.

mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use process::refusal::copy;
use process::{Processes, START_PATIENCE, path_text, stderr, vivace_node};

/// Three nodes that run, and a copy of the first one's directory as `init` made it.
fn with_a_fresh_copy() -> (Processes, PathBuf) {
    let mut processes = Processes::lay_out(3, 1);
    let fresh = processes.cluster().join("fresh");
    copy(&processes.cluster().join("node-1/data"), &fresh);
    for node in 1..=3 {
        processes.start_node(node);
    }
    (processes, fresh)
}

/// Puts `state` in the place of the first node's directory, and nothing beside it remembers.
fn put_back(processes: &Processes, state: &Path) {
    let home = processes.cluster().join("node-1");
    fs::remove_file(home.join("node.witness")).expect("removes");
    fs::remove_dir_all(home.join("data")).expect("removes");
    copy(state, &home.join("data"));
}

/// Neither its directory nor its witness is left to tell, but those who met it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_fresh_directory_under_its_old_name_is_known_by_its_peers() {
    let (mut processes, fresh) = with_a_fresh_copy();
    let client = processes.client('b').await;
    let key = client.container("kv").rw("key").deadline(START_PATIENCE);
    key.write("value").await.expect("they serve");
    text_with(&peers_of(&processes, 2), &["node 1 life 1 "]).await;
    processes.kill(1);
    put_back(&processes, &fresh);
    processes.start_node(1);
    // The first that it meets tells it, or is told by it; it meets no other then.
    assert_eq!(ended(&mut processes, 1).await, Some(13));
    let log = fs::read_to_string(processes.log_of(1)).expect("reads");
    for part in ["which is not behind", "must not start", "stopping"] {
        assert!(log.contains(part), "{log}");
    }
    let told = ["comes with start 1 (", "has met this node with"];
    assert!(told.iter().any(|part| log.contains(part)), "{log}");
    let found = key.read().await.expect("two of three serve");
    assert_eq!(found.expect("is there").value, "value");
}

/// Of the same name, node and addresses: as a volume of an earlier try.
#[test]
fn another_clusters_directory_of_the_same_name_is_refused() {
    let (processes, earlier) = (Processes::lay_out(3, 1), Processes::lay_out(3, 1));
    let data = processes.cluster().join("node-1/data");
    fs::remove_dir_all(&data).expect("removes");
    fs::rename(earlier.cluster().join("node-1/data"), &data).expect("moves");
    let refused = vivace_node(&["run", path_text(&processes.node_file(1))]);
    assert_eq!(refused.status.code(), Some(12), "{}", stderr(&refused));
    let id_of = |processes: &Processes| {
        let path = processes.cluster().join("cluster.toml");
        let text = fs::read_to_string(path).expect("reads");
        let id = text.split("id = \"").nth(1).expect("has an id");
        id[..32].to_owned()
    };
    for id in [id_of(&processes), id_of(&earlier)] {
        assert!(stderr(&refused).contains(&id), "{}", stderr(&refused));
    }
}

/// More starts came between than a hello tells of, and those who know better were away: the
/// node itself knows them all.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_put_back_is_known_after_any_number_of_starts() {
    const STARTS: u16 = 66;
    let mut processes = Processes::start(3);
    for node in [2, 3] {
        text_with(&peers_of(&processes, node), &["node 1 life 1 "]).await;
    }
    processes.kill(3);
    processes.kill(1);
    let home = processes.cluster().join("node-1");
    let (data, away) = (home.join("data"), processes.cluster().join("away"));
    copy(&data, &away);
    processes.start_node(1);
    text_with(&peers_of(&processes, 2), &["node 1 life 2 "]).await;
    processes.kill(2);
    processes.kill(1);

    put_back(&processes, &away);
    let file = processes.node_file(1);
    let adopted = vivace_node(&["adopt", path_text(&file), "--original-is-gone"]);
    assert!(adopted.status.success(), "{}", stderr(&adopted));
    for life in 2..=STARTS {
        processes.start_node(1);
        text_with(&home.join("node.witness"), &[&format!("life {life}\n")]).await;
        processes.kill(1);
    }
    // Node 3 has missed as many starts, and none of what came before them.
    processes.start_node(3);
    processes.start_node(1);
    let last = format!("node 1 life {} ", STARTS + 1);
    text_with(&peers_of(&processes, 3), &[&last]).await;
    assert!(processes.is_running(1));
    processes.start_node(2);
    assert_eq!(ended(&mut processes, 1).await, Some(13));
    let log = fs::read_to_string(processes.log_of(1)).expect("reads");
    assert!(log.contains("has met this node with start 2 ("), "{log}");
}

/// Those who met it have been restarted, and one of them is away: what the others hold is
/// no majority without the node's promises, so nobody may hear that there is nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_fresh_directory_is_known_by_peers_that_were_restarted_since() {
    let (mut processes, fresh) = with_a_fresh_copy();
    let client = processes.client('c').await;
    processes.client('b').await;
    let key = client.container("kv").rw("key").deadline(START_PATIENCE);
    key.write("before").await.expect("they serve");
    text_with(&peers_of(&processes, 2), &["node 1 life 1 "]).await;
    processes.kill(2);
    key.write("value").await.expect("two of three serve");
    processes.kill(3);
    processes.kill(1);
    put_back(&processes, &fresh);
    processes.start_node(2);
    processes.start_node(1);
    assert_eq!(ended(&mut processes, 1).await, Some(13));
    let log = fs::read_to_string(processes.log_of(1)).expect("reads");
    assert!(log.contains("which is not behind"), "{log}");
    let alone = processes.client('b').await;
    let unread = alone.container("kv").rw("key");
    let unread = unread.deadline(Duration::from_secs(1)).read().await;
    assert!(unread.is_err(), "{unread:?}");
    processes.start_node(3);
    let found = key.read().await.expect("two of three serve");
    assert_eq!(found.expect("is there").value, "value");
}

/// A restart is no reason to take a peer's word for a state that this node has never met,
/// nor to refuse one that it met with fewer starts.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_knows_of_its_peers_is_checked_at_its_start() {
    let mut processes = Processes::start(3);
    let file = peers_of(&processes, 1);
    // A node serves its clients before it has heard of each peer.
    let sound = text_with(&file, &["node 2 life 1 ", "node 3 life 1 "]).await;
    processes.kill(1);
    for (text, code, says) in [
        (
            sound.replace("life 1", "life 2"),
            21,
            "its checksum is another",
        ),
        ("vivace-peers 9\n".into(), 14, "of format 9"),
    ] {
        fs::write(&file, &text).expect("writes");
        let refused = vivace_node(&["run", path_text(&processes.node_file(1))]);
        assert_eq!(refused.status.code(), Some(code), "{}", stderr(&refused));
        assert!(stderr(&refused).contains(says), "{}", stderr(&refused));
        assert_eq!(fs::read_to_string(&file).expect("reads"), text);
    }
    fs::write(&file, &sound).expect("writes");
    processes.kill(2);
    processes.start_node(2);
    processes.start_node(1);
    text_with(&file, &["node 2 life 2 "]).await;
}

/// All that could tell is put back together: directory, witness, and the number of the
/// start, for one start came between. Its peers were there.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_its_state_of_one_start_ago_is_known_by_its_peers() {
    let mut processes = Processes::start(3);
    let client = processes.client('b').await;
    let key = client.container("kv").rw("key").deadline(START_PATIENCE);
    key.write("old").await.expect("they serve");
    processes.client('a').await;
    processes.kill(1);
    let home = processes.cluster().join("node-1");
    let (data, witness) = (home.join("data"), home.join("node.witness"));
    let away = processes.directory.path().join("away");
    copy(&data, &away);
    let seen = fs::read(&witness).expect("reads");

    processes.start_node(1);
    key.write("new").await.expect("they serve");
    text_with(&peers_of(&processes, 2), &["node 1 life 2 "]).await;
    processes.kill(1);
    let newest = processes.directory.path().join("newest");
    copy(&data, &newest);
    // And somebody says that it is no copy.
    let file = processes.node_file(1);
    let put_back = |from: &Path| {
        for entry in fs::read_dir(&data).expect("lists") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => fs::remove_dir_all(path).expect("removes"),
                false => fs::remove_file(path).expect("removes"),
            }
        }
        copy(from, &data);
        let adopted = vivace_node(&["adopt", path_text(&file), "--original-is-gone"]);
        assert!(adopted.status.success(), "{}", stderr(&adopted));
    };
    fs::write(&witness, seen).expect("writes");
    put_back(&away);
    processes.start_node(1);
    assert_eq!(ended(&mut processes, 1).await, Some(13));
    let log = fs::read_to_string(processes.log_of(1)).expect("reads");
    assert!(log.contains("was met with start 2 ("), "{log}");
    // Nor does another try help, where those who knew are gone.
    processes.kill(2);
    processes.start_node(1);
    assert_eq!(ended(&mut processes, 1).await, Some(13));
    let log = fs::read_to_string(processes.log_of(1)).expect("reads");
    assert!(log.contains("peers refused this state"), "{log}");
    processes.start_node(2);

    put_back(&newest);
    processes.start_node(1);
    let client = processes.client('a').await;
    let key = client.container("kv").rw("key").deadline(START_PATIENCE);
    let found = key.read().await.expect("it serves again");
    assert_eq!(found.expect("is there").value, "new");
    assert!(processes.is_running(1));
}

/// Where a node keeps what it has met of its peers' states.
fn peers_of(processes: &Processes, node: u16) -> PathBuf {
    processes.cluster().join(format!("node-{node}/data/peers"))
}

/// What the file says as soon as all of these are in it.
async fn text_with(file: &Path, expected: &[&str]) -> String {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        let found = fs::read_to_string(file).unwrap_or_default();
        if expected.iter().all(|part| found.contains(part)) {
            return found;
        }
        assert!(Instant::now() < deadline, "{}: {found}", file.display());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The code with which a node ends by itself.
async fn ended(processes: &mut Processes, node: u16) -> Option<i32> {
    let deadline = Instant::now() + START_PATIENCE;
    while processes.is_running(node) {
        assert!(Instant::now() < deadline, "node {node} runs on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    processes.exit_code(node)
}
