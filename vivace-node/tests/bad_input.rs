//! What is wrong is refused by name, changes nothing and stops nobody.

mod process;

use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

use process::refusal::refusals_with;
use process::{Processes, START_PATIENCE, path_text, stderr, vivace_node};
use vivace_client::OperationError;
use vivace_client::machine::builtin::{Counter, Register, counter, register};

fn refused(processes: &Processes, file: &str, from: &str, to: &str) -> String {
    let path = processes.cluster().join(file);
    let before = fs::read_to_string(&path).expect("init wrote it");
    assert!(before.contains(from), "{file} has no {from:?}");
    fs::write(&path, before.replacen(from, to, 1)).expect("it can be changed");
    let output = vivace_node(&["run", path_text(&processes.node_file(1))]);
    fs::write(&path, before).expect("it can be changed back");
    assert_eq!(output.status.code(), Some(1), "{to:?} was accepted");
    assert!(
        !processes.cluster().join("node-1/data/journal").exists(),
        "{to:?} left something behind"
    );
    stderr(&output)
}

#[test]
fn a_wrong_configuration_is_refused_with_the_fields_name() {
    let processes = Processes::lay_out(3, 1);
    for (file, from, to, expected) in [
        (
            "cluster.toml",
            "sites = ",
            "places = ",
            &["unknown field `places`"][..],
        ),
        (
            "cluster.toml",
            "error_max_us = 5000",
            "",
            &["missing field `error_max_us`"],
        ),
        (
            "cluster.toml",
            "kind = \"rw\"",
            "kind = \"raft\"",
            &["raft", "rmw"],
        ),
        (
            "cluster.toml",
            "replicas = [1, 2, 3]",
            "replicas = [1, 2, 9]",
            &["replicas", "node 9"],
        ),
        (
            "cluster.toml",
            "replicas = [1, 2, 3]",
            "replicas = [1, 2, 2]",
            &["replicas", "twice"],
        ),
        (
            "cluster.toml",
            "replicas = [1, 2, 3]",
            "replicas = []",
            &["replicas", "at least one"],
        ),
        (
            "cluster.toml",
            "a = [1]",
            "a = [7]",
            &["local_sets.a", "node 7"],
        ),
        (
            "cluster.toml",
            "a = [1]",
            "a = [2]",
            &["local_sets.a", "another site"],
        ),
        ("cluster.toml", "a = [1]", "", &["local_sets.a", "is empty"]),
        (
            "cluster.toml",
            "a = [1]",
            "z = [1]",
            &["local_sets", "\"z\""],
        ),
        (
            "cluster.toml",
            "site = \"a\"",
            "site = \"q\"",
            &["site", "\"q\"", "a, b, c"],
        ),
        ("cluster.toml", "id = 1\n", "id = 2\n", &["id", "twice"]),
        (
            "cluster.toml",
            "priority = 46",
            "priority = 64",
            &["dscp.priority", "0 to 63"],
        ),
        (
            "cluster.toml",
            "value_bytes_max = 1048576",
            "value_bytes_max = 0",
            &["value_bytes_max"],
        ),
        (
            "cluster.toml",
            "error_max_us = 5000",
            "error_max_us = 9223372036854775807",
            &["clock.error_max_us", "at most"],
        ),
        (
            "cluster.toml",
            "backlog_bytes_max = 268435456",
            "backlog_bytes_max = 0",
            &["backlog_bytes_max", "at least one value"],
        ),
        (
            "cluster.toml",
            "name = \"dev\"",
            "name = \"Dev!\"",
            &["name"],
        ),
        (
            "cluster.toml",
            "name = \"kv\"",
            "name = \"a/b\"",
            &["containers.name", "'/'"],
        ),
        (
            "node-1/node.toml",
            "node = 1",
            "node = 12",
            &["node", "1, 2, 3"],
        ),
        (
            "node-1/node.toml",
            "node.pem",
            "absent.pem",
            &["absent.pem"],
        ),
        (
            "node-1/node.toml",
            "node.pem",
            "../node-2/node.pem",
            &["node-1/node.toml", "certificate and private key"],
        ),
        (
            "node-1/node.toml",
            "source = \"fixed\"",
            "source = \"gps\"",
            &["gps", "kernel"],
        ),
        (
            "node-1/node.toml",
            "kind = \"disk\"",
            "kind = \"tape\"",
            &["tape", "memory"],
        ),
        (
            "node-1/node.toml",
            "threads = \"auto\"",
            "threads = 4",
            &["threads", "auto"],
        ),
        (
            "node-1/node.toml",
            "threads = \"auto\"",
            "threads = \"many\"",
            &["many", "auto", "split", "shared"],
        ),
        ("node-1/node.toml", "node = 1", "node = [", &["node.toml"]),
        (
            "node-1/node.toml",
            "[clock]",
            "[priority]\nbytes_per_s = 999\n[clock]",
            &["priority.bytes_per_s", "999", "1000"],
        ),
        (
            "node-1/node.toml",
            "[clock]",
            "[bulk]\npacket_bytes_max = 65536\n[clock]",
            &["bulk.packet_bytes_max", "65536", "1280 to 9216"],
        ),
        (
            "node-1/node.toml",
            "[clock]",
            "[bulk]\nmtu = 9000\n[clock]",
            &["mtu", "packet_bytes_max"],
        ),
        (
            "node-1/node.toml",
            "[clock]",
            "[priority]\nscope = \"uplink\"\n[clock]",
            &["priority.bytes_per_s", "missing"],
        ),
        (
            "node-1/node.toml",
            "[clock]",
            "[priority]\nbytes_per_s = 9999\nscope = \"port\"\n[clock]",
            &["port", "uplink"],
        ),
    ] {
        let message = refused(&processes, file, from, to);
        for part in expected {
            assert!(
                message.contains(part),
                "{to:?} yields {message:?}, without {part:?}"
            );
        }
        assert!(!message.contains("panicked"), "{message}");
    }
}

#[test]
fn values_are_not_to_run_in_real_time() {
    let processes = Processes::lay_out(1, 1);
    let file = processes.node_file(1);
    let text = fs::read_to_string(&file).expect("reads");
    let shared = text.replace("threads = \"auto\"", "threads = \"shared\"");
    let changed = shared.replace("realtime = false", "realtime = true");
    assert!(changed != shared && shared != text, "init writes both");
    fs::write(&file, changed).expect("writes");
    let output = vivace_node(&["run", path_text(&file)]);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    for part in ["threads", "realtime = true", "\"split\""] {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn another_nodes_certificate_is_refused_before_anything_starts() {
    let processes = Processes::lay_out(2, 1);
    for name in ["node.pem", "node.key"] {
        fs::copy(
            processes.cluster().join("node-2").join(name),
            processes.cluster().join("node-1").join(name),
        )
        .expect("copies");
    }
    let output = vivace_node(&["run", path_text(&processes.node_file(1))]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.contains("certificate is for") && message.contains("node/2"),
        "{message}"
    );
}

#[test]
fn init_refuses_a_directory_with_files_and_numbers_out_of_range() {
    let processes = Processes::lay_out(1, 1);
    let cluster = processes.cluster();
    let before = fs::read(cluster.join("cluster.toml")).expect("reads");
    let output = vivace_node(&["init", path_text(&cluster)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("is not empty"),
        "{}",
        stderr(&output)
    );
    assert_eq!(
        fs::read(cluster.join("cluster.toml")).expect("reads"),
        before
    );
    let elsewhere = processes.directory.path().join("elsewhere");
    for (flag, value) in [
        ("--sites", "0"),
        ("--nodes-per-site", "10"),
        ("--base-port", "80"),
    ] {
        let output = vivace_node(&["init", path_text(&elsewhere), flag, value]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(flag), "{}", stderr(&output));
        assert!(!elsewhere.exists(), "{flag} {value} left something behind");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_of_a_running_node_is_refused_and_harms_nothing() {
    let mut processes = Processes::start(1);
    let client = processes.client('a').await;
    let key = client.container("kv").rw("key").deadline(START_PATIENCE);
    key.write("before").await.expect("the cluster serves");
    for round in 0..5 {
        let second = vivace_node(&["run", path_text(&processes.node_file(1))]);
        assert_eq!(second.status.code(), Some(17));
        assert!(stderr(&second).contains("in use"), "{}", stderr(&second));
        key.write(format!("round {round}"))
            .await
            .expect("the first serves");
    }
    processes.kill(1);
    processes.start_node(1);
    let found = key.read().await.expect("it serves again");
    assert_eq!(found.expect("it was acknowledged").value, "round 4");
}

#[test]
fn an_even_replica_count_works_and_is_warned_about() {
    let mut processes = Processes::lay_out(3, 1);
    let path = processes.cluster().join("cluster.toml");
    let text = fs::read_to_string(&path).expect("reads");
    fs::write(
        &path,
        text.replace("replicas = [1, 2, 3]", "replicas = [1, 2]"),
    )
    .expect("writes");
    processes.start_node(1);
    let deadline = std::time::Instant::now() + START_PATIENCE;
    loop {
        let log = fs::read_to_string(processes.log_of(1)).unwrap_or_default();
        if log.contains("use an odd number") && log.contains("serves clients") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{log}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_out_of_bounds_are_refused_by_field_and_change_nothing() {
    let processes = Processes::start(1);
    let client = processes.client('a').await;
    let kv = client.container("kv");
    let key = kv.rw("key").deadline(START_PATIENCE);
    key.write("before").await.expect("the cluster serves");
    let field_of = |outcome: Result<(), OperationError>| match outcome {
        Err(OperationError::Invalid { field, .. }) => field,
        other => panic!("expected Invalid, got {other:?}"),
    };
    assert_eq!(
        field_of(key.write(vec![0; (1 << 20) + 1]).await.map(drop)),
        "value"
    );
    assert_eq!(field_of(kv.rw("").write("x").await.map(drop)), "key");
    assert_eq!(
        field_of(kv.rw(vec![b'k'; 256]).write("x").await.map(drop)),
        "key"
    );
    let elsewhere = client.container("nowhere").rw("key");
    assert_eq!(field_of(elsewhere.write("x").await.map(drop)), "container");
    let wrong_kind = client.container("objects").rw("key");
    assert_eq!(field_of(wrong_kind.write("x").await.map(drop)), "container");
    let objects = client.container("objects");
    objects
        .rmw::<Counter>("object")
        .execute(counter::Command::Add(1))
        .await
        .expect("counts");
    let as_register = objects
        .rmw::<Register>("object")
        .execute(register::Command::Delete)
        .await;
    assert_eq!(field_of(as_register.map(drop)), "machine");
    assert_eq!(
        key.read().await.expect("reads").expect("is there").value,
        "before"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_every_port_is_survived() {
    let mut processes = Processes::start(1);
    let client = processes.client('a').await;
    let key = client.container("kv").rw("key").deadline(START_PATIENCE);
    key.write("before").await.expect("the cluster serves");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let mut bytes = vec![0_u8; 1500];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..3000_usize {
        for byte in &mut bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state as u8;
        }
        // Every other packet claims to be a QUIC handshake.
        if round % 2 == 0 {
            bytes[..5].copy_from_slice(&[0xc0, 0, 0, 0, 1]);
        }
        let port = processes.base_port + 10 + 1 + (round % 3) as u16;
        let length = round % bytes.len();
        let _ = socket.send_to(&bytes[..length], ("127.0.0.1", port));
    }
    assert_eq!(
        key.read().await.expect("reads").expect("is there").value,
        "before"
    );
    assert!(processes.is_running(1));
    let log = fs::read_to_string(processes.log_of(1)).expect("reads");
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_epoch_is_refused_and_counted() {
    let mut processes = Processes::lay_out(3, 1);
    processes.start_node(1);
    processes.start_node(2);
    let first = processes.client('a').await;
    let key = first.container("kv").rw("key").deadline(START_PATIENCE);
    key.write("of epoch 1").await.expect("two of three serve");

    let path = processes.cluster().join("cluster.toml");
    let text = fs::read_to_string(&path).expect("reads");
    fs::write(&path, text.replace("epoch = 1", "epoch = 2")).expect("writes");
    processes.start_node(3);
    let ahead = processes.client('c').await;
    let write = ahead
        .container("kv")
        .rw("key")
        .deadline(Duration::from_secs(5));
    let outcome = write.write("of epoch 2").await;
    match &outcome {
        Err(error @ (OperationError::Unknown { .. } | OperationError::Unavailable { .. })) => {
            assert!(error.to_string().contains("epoch"), "{error}");
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
    let status = first.status().await.expect("status");
    let refused = status
        .refusals
        .iter()
        .find(|(cause, _)| cause.contains("epoch"));
    assert!(
        refused.is_some_and(|(_, count)| *count > 0),
        "{:?}",
        status.refusals
    );
    assert_eq!(
        key.read().await.expect("reads").expect("is there").value,
        "of epoch 1"
    );
}

/// Two of three nodes have one file, the third another: majorities by one need not meet
/// majorities by the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_layout_of_a_container_is_kept_out_and_told_why() {
    let mut processes = Processes::lay_out(3, 1);
    processes.start_node(1);
    processes.start_node(2);
    let client = processes.client('a').await;
    let key = client.container("kv").rw("key").deadline(START_PATIENCE);
    key.write("by two of three").await.expect("they serve");

    let path = processes.cluster().join("cluster.toml");
    let text = fs::read_to_string(&path).expect("reads");
    let other = text.replacen("replicas = [1, 2, 3]", "replicas = [2, 3]", 1);
    assert_ne!(other, text);
    fs::write(&path, other).expect("writes");
    processes.start_node(3);
    let refusals = refusals_with(&client, "refused by a peer: other_layout").await;
    let log = fs::read_to_string(processes.log_of(3)).expect("reads");
    for part in ["container \"kv\", epoch 1", "replicas", "make them equal"] {
        assert!(log.contains(part), "{refusals:?}\n{log}");
    }
    let alone = processes.client('c').await;
    let second = Duration::from_secs(1);
    let unread = alone.container("kv").rw("key").deadline(second);
    assert!(unread.read().await.is_err(), "it has no majority");
    let found = key.read().await.expect("two of three serve");
    assert_eq!(found.expect("is there").value, "by two of three");
}

/// A node that has acknowledged on disk would vote with an empty memory.
#[test]
fn a_node_that_lived_on_disk_does_not_start_in_memory() {
    let processes = Processes::lay_out(3, 1);
    let witness = processes.cluster().join("node-1/node.witness");
    fs::write(&witness, "whatever a start left").expect("it can be written");
    let path = processes.cluster().join("node-1/node.toml");
    let before = fs::read_to_string(&path).expect("init wrote it");
    let fields = |line: &&str| {
        !["directory", "cache_bytes", "reserve_bytes"]
            .contains(&line.split(' ').next().unwrap_or_default())
    };
    let memory: Vec<&str> = before.lines().filter(fields).collect();
    let memory = memory
        .join("\n")
        .replace("kind = \"disk\"", "kind = \"memory\"");
    fs::write(&path, memory).expect("it can be changed");
    let output = vivace_node(&["run", path_text(&processes.node_file(1))]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = stderr(&output);
    assert!(
        said.contains("storage.kind") && said.contains("node.witness"),
        "{said}"
    );
}
