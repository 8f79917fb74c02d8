//! Starts of real processes on data directories that are not theirs to use: each is
//! refused with its own message and exit code, and changes nothing.

mod process;

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;

use process::refusal::{copy, data, lived, refused, sealed, serves};
use process::{Processes, START_PATIENCE, path_text, stderr, vivace_node};
use vivace_core::machine::builtin::{Counter, counter};

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_not_the_nodes_is_refused_and_left_alone() {
    let mut processes = lived().await;
    let (data, away) = (data(&processes), processes.directory.path().join("away"));
    fs::rename(&data, &away).expect("moves");
    refused(&processes, 10, "does not exist");
    fs::create_dir(&data).expect("makes it");
    refused(&processes, 11, "is empty");
    fs::write(data.join("letter.txt"), "dear all").expect("writes");
    refused(&processes, 12, "no data of a node");
    fs::remove_dir_all(&data).expect("removes");

    copy(&away, &data);
    refused(&processes, 13, "is a copy");
    let identity = fs::read_to_string(data.join("identity")).expect("reads");
    for (from, to, code, expected) in [
        ("node 1\n", "node 2\n", 12, "node 2"),
        ("cluster dev\n", "cluster other\n", 12, "\"other\""),
        ("vivace-data 5", "vivace-data 6", 14, "newer program"),
        ("life 1\n", "life one\n", 21, "line 6"),
    ] {
        assert!(identity.contains(from), "{identity}");
        let changed = identity.replace(from, to);
        fs::write(data.join("identity"), sealed(&changed)).expect("writes");
        refused(&processes, code, expected);
        if code != 14 {
            fs::write(data.join("identity"), changed).expect("writes");
            refused(&processes, 21, "its checksum is another");
        }
    }
    fs::write(
        data.join("identity"),
        "vivace-log-1 cluster dev node 1 incarnation 4\n",
    )
    .expect("writes");
    refused(&processes, 15, "start anew");
    fs::remove_dir_all(&data).expect("removes");
    fs::rename(&away, &data).expect("moves back");
    serves(&mut processes).await;
}

/// A supervisor goes by the code, also where the disk of the log is full or its reader gone.
#[test]
fn a_refusal_that_nobody_can_hear_has_its_code() {
    let processes = Processes::lay_out(1, 1);
    fs::remove_dir_all(data(&processes)).expect("removes");
    let full = || fs::File::options().write(true).open("/dev/full");
    for command in ["run", "adopt"] {
        let mut refused = std::process::Command::new(env!("CARGO_BIN_EXE_vivace-node"));
        refused
            .arg(command)
            .arg(processes.cluster().join("node-1/node.toml"));
        if command == "adopt" {
            refused.arg("--original-is-gone");
        }
        let device = full().expect("every Linux has it");
        refused.stdout(full().expect("opens")).stderr(device);
        let status = refused.status().expect("runs");
        assert_eq!(status.code(), Some(10), "{command}");
    }
}

/// A life is a number of 16 bits: a supervisor that starts a node again and again while
/// something else holds its port must not use them up.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_port_is_taken_uses_up_no_life() {
    let never_started = Processes::lay_out(1, 1);
    let mut has_lived = lived().await;
    for (port, name) in [(1, "priority"), (2, "bulk"), (3, "client")] {
        for processes in [&never_started, &has_lived] {
            let address = ("127.0.0.1", processes.base_port + 10 + port);
            let _taken = UdpSocket::bind(address).expect("the node is stopped");
            let message = refused(processes, 1, name);
            assert!(message.contains(&address.1.to_string()), "{message}");
        }
    }
    serves(&mut has_lived).await;
    let identity = fs::read_to_string(data(&has_lived).join("identity")).expect("reads");
    assert!(identity.contains("life 2\n"), "{identity}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_node_uses_up_no_life() {
    let mut processes = Processes::lay_out(2, 1);
    processes.start_node(1);
    processes.start_node(2);
    drop(processes.client('a').await);
    for node in [1, 2] {
        processes.kill(node);
    }
    let file = processes.node_file(1);
    let text = fs::read_to_string(&file).expect("reads");
    let broken = text.replace("\"node.", "\"../node-2/node.");
    assert_ne!(broken, text);
    fs::write(&file, broken).expect("writes");
    refused(&processes, 1, "certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_where_a_file_is_to_be_written_is_refused_by_name() {
    let mut processes = lived().await;
    let identity = data(&processes).join("identity.new");
    fs::create_dir(&identity).expect("makes it");
    refused(&processes, 21, "identity.new is a directory: move it away");
    fs::remove_dir(&identity).expect("removes");
    serves(&mut processes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_header_of_values_is_told_and_the_values_are_read() {
    let mut processes = lived().await;
    let values = data(&processes).join("values");
    let is_values = |path: &PathBuf| path.extension().is_some_and(|found| found == "values");
    let entries = fs::read_dir(&values).expect("lists");
    let mut paths = entries.map(|entry| entry.expect("lists").path());
    let path = paths.find(is_values).expect("there are values");
    let mut bytes = fs::read(&path).expect("reads");
    bytes[9] ^= 1;
    fs::write(&path, bytes).expect("writes");
    serves(&mut processes).await;
    let log = fs::read_to_string(processes.log_of(1)).expect("reads");
    assert!(
        log.contains("its header is damaged or another file's"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_where_a_directory_should_be_is_refused_by_name() {
    let mut processes = lived().await;
    let (data, away) = (data(&processes), processes.directory.path().join("away"));
    for (part, code, expected) in [
        ("", 12, "data: is a file, and a data directory was expected"),
        ("journal", 11, "data/journal: is a file, where a directory"),
        ("values", 19, "data/values: is a file"),
    ] {
        // A trailing slash would make it a directory's name.
        let part = if part.is_empty() {
            data.clone()
        } else {
            data.join(part)
        };
        fs::rename(&part, &away).expect("moves");
        fs::write(&part, "dear all").expect("writes");
        refused(&processes, code, expected);
        fs::remove_file(&part).expect("removes");
        fs::rename(&away, &part).expect("moves back");
    }
    serves(&mut processes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_the_nodes_when_its_operator_says_so() {
    let mut processes = lived().await;
    let (data, away) = (data(&processes), processes.directory.path().join("away"));
    fs::rename(&data, &away).expect("moves");
    copy(&away, &data);
    let file = processes.node_file(1);
    let unsure = vivace_node(&["adopt", path_text(&file)]);
    assert_eq!(unsure.status.code(), Some(2), "{}", stderr(&unsure));
    let sure = vivace_node(&["adopt", path_text(&file), "--original-is-gone"]);
    assert!(sure.status.success(), "{}", stderr(&sure));
    serves(&mut processes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_lived_does_not_start_in_a_fresh_or_older_directory() {
    let mut processes = Processes::lay_out(1, 1);
    let (data, fresh) = (data(&processes), processes.directory.path().join("fresh"));
    fs::rename(&data, &fresh).expect("moves");
    copy(&fresh, &data);
    processes.start_node(1);
    processes.client('a').await;
    processes.kill(1);
    let early = fs::read(data.join("identity")).expect("reads");
    processes.start_node(1);
    processes.client('a').await;
    processes.kill(1);
    let newest = fs::read(data.join("identity")).expect("reads");
    fs::write(data.join("identity"), early).expect("writes");
    refused(&processes, 13, "its start 1");
    fs::write(data.join("identity"), newest).expect("writes");
    // Its journal is gone, as if it had never lived.
    fs::remove_dir_all(data.join("journal")).expect("removes");
    refused(&processes, 11, "journal");
    fs::remove_dir_all(&data).expect("removes");
    copy(&fresh, &data);
    let identity = fs::read_to_string(data.join("identity")).expect("reads");
    let own = identity.lines().nth(1).expect("names the directory");
    let other = identity.replace(own, &format!("directory {}", "7e".repeat(16)));
    fs::write(data.join("identity"), sealed(&other)).expect("writes");
    refused(&processes, 11, "is new");
    // One that another node of the same names has lived in.
    fs::create_dir(data.join("journal")).expect("makes it");
    let lived = sealed(&other.replace("life 0", "life 1"));
    fs::write(data.join("identity"), lived).expect("writes");
    refused(&processes, 12, "which has started 1 times");
}

/// A journal from an earlier time is sound in itself, and has forgotten what it promised since.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_another_time_than_the_rest_is_refused() {
    let mut processes = lived().await;
    let (journal, early) = (
        data(&processes).join("journal"),
        data(&processes).join("away"),
    );
    copy(&journal, &early);
    serves(&mut processes).await;
    let newest = processes.directory.path().join("newest");
    fs::rename(&journal, &newest).expect("moves");
    fs::rename(&early, &journal).expect("puts back");
    let message = refused(&processes, 13, "is of this node's start 1");
    assert!(message.contains("of start 2"), "{message}");
    let life = journal.join("life");
    let text = fs::read_to_string(&life).expect("reads");
    fs::write(&life, text.replace("life 1", "life 2")).expect("writes");
    refused(&processes, 21, "journal/life: line 1");
    fs::remove_file(&life).expect("removes");
    refused(&processes, 11, "journal/life: is missing");
    fs::remove_dir_all(&journal).expect("removes");
    fs::rename(&newest, &journal).expect("moves back");
    serves(&mut processes).await;

    // Nor may the rest be older, where no witness tells.
    let identity = data(&processes).join("identity");
    let text = fs::read_to_string(&identity).expect("reads");
    let of_start_1 = sealed(&text.replace("life 3", "life 1"));
    fs::write(&identity, of_start_1).expect("writes");
    fs::remove_file(processes.cluster().join("node-1/node.witness")).expect("removes");
    refused(&processes, 13, "is of this node's start 3");
    // A crash between the two is no mistake.
    let of_start_2 = sealed(&text.replace("life 3", "life 2"));
    fs::write(&identity, of_start_2).expect("writes");
    serves(&mut processes).await;
}

/// What a crash left of a write of values is cut off by a start that succeeds, and by no
/// other.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_start_cuts_nothing_off_torn_values() {
    let mut processes = lived().await;
    let data = data(&processes);
    let values = data.join("values/00000001.values");
    let mut whole = fs::read(&values).expect("reads");
    // Zeros behind it are to be written over.
    let end = whole
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("not all are");
    whole.truncate(end + 1);
    fs::write(&values, [&whole[..], b"VVAL and no more"].concat()).expect("writes");
    // As if the node had never started, which its journal denies.
    let witness = processes.cluster().join("node-1/node.witness");
    let identity = fs::read_to_string(data.join("identity")).expect("reads");
    let remembered = fs::read(&witness).expect("reads");
    let unborn = sealed(&identity.replace("life 1", "life 0"));
    fs::write(data.join("identity"), unborn).expect("writes");
    fs::remove_file(&witness).expect("removes");
    refused(&processes, 13, "holds records");
    fs::write(data.join("identity"), identity).expect("writes");
    fs::write(&witness, remembered).expect("writes");
    serves(&mut processes).await;
    assert_eq!(fs::read(&values).expect("reads"), whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_moved_away_are_fetched_from_the_other_replicas() {
    let mut processes = Processes::start(3);
    let client = processes.client('a').await;
    for i in 0..20 {
        let key = client.container("kv").rw(format!("key {i}"));
        let key = key.deadline(START_PATIENCE);
        key.write(format!("value {i}")).await.expect("all are up");
    }
    // Until all three have all.
    tokio::time::sleep(Duration::from_secs(2)).await;
    processes.kill(1);
    fs::remove_dir_all(data(&processes).join("values")).expect("removes");
    processes.start_node(1);
    let client = processes.client('a').await;
    for i in 0..20 {
        let key = client.container("kv").rw(format!("key {i}"));
        let found = key.deadline(START_PATIENCE).read().await.expect("serves");
        assert_eq!(found.expect("was written").value, format!("value {i}"));
    }
    let status = client.status().await.expect("status");
    let lost = status
        .refusals
        .iter()
        .find(|(cause, _)| cause.contains("lost"));
    assert!(lost.is_some(), "{:?}", status.refusals);
    let log = fs::read_to_string(processes.log_of(1)).expect("reads");
    let told = "values that the journal tells of are not stored";
    assert!(log.contains(told), "{log}");
}

fn mount(arguments: &[&str]) -> bool {
    let ran = std::process::Command::new("mount").args(arguments).output();
    ran.is_ok_and(|output| output.status.success())
}

/// Makes a directory read-only until the result is dropped; none, loudly, where it can't.
fn read_only(path: PathBuf) -> Option<process::Unmount> {
    let text = path_text(&path).to_owned();
    if !mount(&["--bind", &text, &text]) {
        eprintln!("SKIPPED: a read-only directory needs root and mount(8)");
        return None;
    }
    let mounted = process::Unmount(path);
    assert!(mount(&["-o", "remount,bind,ro", &text]));
    Some(mounted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_directory_is_refused() {
    let processes = lived().await;
    let Some(_mounted) = read_only(data(&processes)) else {
        return;
    };
    refused(&processes, 16, "give this user the rights");
}

/// A file backup of a node that runs is of the same start as what it replaces.
#[tokio::test(flavor = "multi_thread")]
async fn files_copied_while_the_node_ran_are_refused_in_the_place_of_the_originals() {
    let mut processes = Processes::start(1);
    let client = processes.client('a').await;
    let key = client.container("kv").rw("key").deadline(START_PATIENCE);
    key.write("old").await.expect("it serves");
    let away = processes.directory.path().join("away");
    let newest = processes.directory.path().join("newest");
    copy(&data(&processes), &away);
    key.write("new").await.expect("it serves");
    drop(client);
    processes.kill(1);
    fs::create_dir(&newest).expect("makes it");
    let all = ["identity", "layout", "journal", "values"];
    for part in all {
        fs::rename(data(&processes).join(part), newest.join(part)).expect("moves");
    }
    copy(&away, &data(&processes));
    refused(&processes, 13, "journal: is a copy");
    for part in all {
        let part = data(&processes).join(part);
        match part.is_dir() {
            true => fs::remove_dir_all(part).expect("removes"),
            false => fs::remove_file(part).expect("removes"),
        }
    }
    for part in all {
        fs::rename(newest.join(part), data(&processes).join(part)).expect("moves back");
    }
    // The journal alone.
    fs::rename(data(&processes).join("journal"), newest.join("journal")).expect("moves");
    copy(&away.join("journal"), &data(&processes).join("journal"));
    refused(&processes, 13, "journal: is a copy");
    fs::remove_dir_all(data(&processes).join("journal")).expect("removes");
    fs::rename(newest.join("journal"), data(&processes).join("journal")).expect("moves back");
    // Only what differs, in new files, as rsync does.
    let mark = data(&processes).join("journal/mark");
    fs::rename(&mark, newest.join("mark")).expect("moves");
    fs::copy(away.join("journal/mark"), &mark).expect("copies");
    refused(&processes, 13, "journal: is a copy");
    fs::rename(newest.join("mark"), &mark).expect("moves back");
    processes.start_node(1);
    let client = processes.client('a').await;
    let key = client.container("kv").rw("key").deadline(START_PATIENCE);
    let found = key.read().await.expect("it serves");
    assert_eq!(found.expect("is there").value, "new");
}

/// Values that are there must not be given up for a wrong mount option.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_part_of_a_directory_is_refused_as_such() {
    let processes = lived().await;
    for part in ["journal", "values"] {
        let Some(_mounted) = read_only(data(&processes).join(part)) else {
            return;
        };
        let message = refused(&processes, 16, "give this user the rights");
        assert!(
            message.contains(part) && !message.contains("move"),
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_another_directory_are_refused_and_the_node_can_do_without() {
    let (mut processes, other) = (lived().await, lived().await);
    let (values, away) = (
        data(&processes).join("values"),
        data(&processes).join("away"),
    );
    fs::rename(&values, &away).expect("moves");
    copy(&data(&other).join("values"), &values);
    refused(&processes, 19, "put it back where it came from");
    fs::remove_dir_all(&values).expect("removes");
    fs::rename(&away, &values).expect("moves back");
    serves(&mut processes).await;
}

/// A majority of other replicas may know nothing of what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_not_what_it_was_is_refused_until_the_configuration_is_put_back() {
    let mut processes = Processes::start(3);
    let client = processes.client('a').await;
    let key = client.container("kv").rw("key").deadline(START_PATIENCE);
    key.write("value").await.expect("the cluster serves");
    (1..=3).for_each(|node| processes.kill(node));
    let file = processes.cluster().join("cluster.toml");
    let right = fs::read_to_string(&file).expect("reads");
    let start_with = |from: &str, to: &str, expected: &str| {
        let changed = right.replacen(from, to, 1);
        assert_ne!(changed, right, "{from}");
        fs::write(&file, changed).expect("writes");
        let message = refused(&processes, 28, expected);
        for part in ["put the configuration back", "restore it into a new one"] {
            assert!(message.contains(part), "{message}");
        }
    };
    start_with(
        "replicas = [1, 2, 3]",
        "replicas = [2, 3]",
        "containers.kv.replicas: this directory holds state of the container as it was, \
         [1, 2, 3], and the configuration says [2, 3]",
    );
    start_with("kind = \"rmw\"", "kind = \"rw\"", "containers.objects.kind");
    start_with("name = \"kv\"", "name = \"vk\"", "containers.kv.name");
    let last = right.rfind("\n[[containers]]").expect("has containers");
    start_with(&right[last..], "", "containers.objects-lan.id");

    // What nothing acknowledged rests on may change, and containers may be added: they are
    // remembered from then on.
    let more = right
        .replacen("replicas = [1, 2, 3]", "replicas = [3, 1, 2]", 1)
        .replacen("priority = 46", "priority = 34", 1)
        + "\n[[containers]]\nid = 5\nname = \"more\"\nkind = \"abd\"\nepoch = 1\nreplicas = [1]\n";
    fs::write(&file, &more).expect("writes");
    processes.start_node(1);
    let client = processes.client('a').await;
    let key = client.container("more").rw("key").deadline(START_PATIENCE);
    key.write("value").await.expect("one replica serves");
    processes.kill(1);
    fs::write(&file, &right).expect("writes");
    refused(&processes, 28, "containers.more.id");
    fs::write(&file, more.replace("replicas = [1]", "replicas = [2]")).expect("writes");
    refused(&processes, 28, "containers.more.replicas");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layout_that_is_damaged_or_gone_is_what_the_operator_says_it_is() {
    let mut processes = lived().await;
    let layout = data(&processes).join("layout");
    let written = fs::read_to_string(&layout).expect("a first start writes it");
    fs::write(&layout, written.replace("layout 1", "layout 2")).expect("writes");
    refused(&processes, 14, "newer program");
    assert_eq!(say_layout_is_right(&processes, 1).0, Some(14));
    fs::write(&layout, written.replace("\"kv\"", "\"vk\"")).expect("writes");
    refused(&processes, 21, "layout: is damaged");
    fs::remove_file(&layout).expect("removes");
    let message = refused(&processes, 11, "layout: is missing");
    assert!(message.contains("--layout-is-right"), "{message}");
    assert_eq!(say_layout_is_right(&processes, 1).0, Some(0));
    assert_eq!(
        fs::read_to_string(&layout).expect("is there again"),
        written
    );
    serves(&mut processes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slip_in_a_new_container_can_be_mended_until_somebody_wrote_to_it() {
    let mut processes = Processes::start(1);
    processes.client('a').await;
    processes.kill(1);
    let file = processes.cluster().join("cluster.toml");
    let right = fs::read_to_string(&file).expect("reads");
    let with = |kind: &str, id: u32| {
        format!(
            "{right}\n[[containers]]\nid = {id}\nname = \"more\"\nkind = \"{kind}\"\nepoch = 1\n\
             replicas = [1]\n"
        )
    };
    fs::write(&file, with("abd", 5)).expect("writes");
    processes.start_node(1);
    let client = processes.client('a').await;
    let key = client.container("kv").rw("key").deadline(START_PATIENCE);
    key.write("value").await.expect("serves");
    processes.kill(1);

    fs::write(&file, with("lan-rmw", 5)).expect("writes");
    refused(&processes, 28, "containers.more.kind");
    assert_eq!(say_layout_is_right(&processes, 1).0, Some(0));
    processes.start_node(1);
    let client = processes.client('a').await;
    let container = client.container("more");
    let count = container.rmw::<Counter>("key").deadline(START_PATIENCE);
    let add = counter::Command::Add(1);
    count.execute(add).await.expect("one replica serves");
    processes.kill(1);

    for (text, expected) in [
        (with("abd", 5), "containers.more.kind"),
        (with("lan-rmw", 6), "containers.more.id"),
        (right.clone(), "containers.more.id"),
        (right.replacen("\"kv\"", "\"vk\"", 1), "containers.kv.name"),
    ] {
        fs::write(&file, text).expect("writes");
        refused(&processes, 28, expected);
        let (code, message) = say_layout_is_right(&processes, 1);
        assert_eq!(code, Some(28), "{message}");
        assert!(message.contains("containers."), "{message}");
    }
    // Not even where nothing tells what it was.
    fs::remove_file(data(&processes).join("layout")).expect("removes");
    let (code, message) = say_layout_is_right(&processes, 1);
    assert_eq!(code, Some(28), "{message}");
    assert!(message.contains("under id 5"), "{message}");
    fs::write(&file, with("abd", 5)).expect("writes");
    let (code, message) = say_layout_is_right(&processes, 1);
    assert_eq!(code, Some(28), "{message}");
    assert!(message.contains("containers.more.kind"), "{message}");
    fs::write(&file, with("lan-rmw", 5)).expect("writes");
    assert_eq!(say_layout_is_right(&processes, 1).0, Some(0));
    serves(&mut processes).await;
}

/// The exit code, and what it says.
fn say_layout_is_right(processes: &Processes, node: u16) -> (Option<i32>, String) {
    let file = processes.node_file(node);
    let said = vivace_node(&["adopt", path_text(&file), "--layout-is-right"]);
    (said.status.code(), stderr(&said))
}
