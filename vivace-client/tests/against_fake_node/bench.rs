//! `vivace bench`: what it measures, writes down, and does on Ctrl-C.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use vivace_client::client_protocol::{Failure, Request};

use crate::authority::Authority;
use crate::command::{Ended, Shell};
use crate::fake_node::{Action, FakeNode};
use crate::store::Store;

#[tokio::test]
async fn a_bench_reports_each_kind_and_a_history_of_every_operation() {
    let shell = Shell::serving();
    let words = "--json bench --clients 3 --keys 2 --duration 600ms --history h.jsonl \
                 --value-bytes 64 --mix 40:30:30";
    let ended = shell
        .run(&words.split_whitespace().collect::<Vec<_>>())
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report = ended.json();
    let history = fs::read_to_string(shell.path("h.jsonl")).expect("it was written");
    let lines: Vec<Value> = history
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    for kind in ["read", "write", "execute"] {
        let n = report["operations"][kind]["n"].as_u64().expect("a count");
        let written = lines.iter().filter(|line| line["kind"] == kind).count();
        assert!(n > 0 && n == written as u64, "{kind}: {n} and {written}");
        assert!(report["operations"][kind]["latency_ms"]["p99.9"].as_f64() > Some(0.0));
    }
    let clients: BTreeSet<_> = lines.iter().map(|line| line["client"].as_u64()).collect();
    assert_eq!(clients.len(), 3);
    let written: Vec<_> = lines
        .iter()
        .filter(|line| line["kind"] == "write")
        .map(|line| line["arg"].to_string())
        .collect();
    let unique: BTreeSet<_> = written.iter().collect();
    assert_eq!(unique.len(), written.len(), "each written value is unique");
    for line in &lines {
        assert_eq!(line["outcome"], "ok");
        assert!(line["start_ns"].as_u64() < line["end_ns"].as_u64());
        let read = line["ret"].to_string();
        if line["kind"] == "read" && !line["ret"].is_null() {
            assert!(written.contains(&read), "{read} was written in this run");
        }
    }
}

/// What a key held before is in no history.
#[tokio::test]
async fn histories_are_of_keys_that_were_new_or_that_the_user_named() {
    let shell = Shell::serving();
    let mut runs = Vec::new();
    for (file, prefix) in [
        ("a", ""),
        ("b", ""),
        ("c", "--key-prefix new"),
        ("d", "--key-prefix new"),
    ] {
        let words = format!(
            "bench --clients 2 --keys 3 --duration 200ms --mix 50:50:0 --history {file} {prefix}"
        );
        let ended = shell
            .run(&words.split_whitespace().collect::<Vec<_>>())
            .await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let history = fs::read_to_string(shell.path(file)).expect("it was written");
        let keys: BTreeSet<String> = history
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("each line is JSON"))
            .map(|line| line["key"].as_str().expect("a name").to_owned())
            .collect();
        runs.push(keys);
    }
    assert!(runs[0].is_disjoint(&runs[1]), "{runs:?}");
    assert!(runs[0].is_disjoint(&runs[2]), "{runs:?}");
    for key in runs[2].iter().chain(&runs[3]) {
        let name = key.split_once('/').expect("a container and a name").1;
        assert!(["new0", "new1", "new2"].contains(&name), "{key}");
    }
    let long = "x".repeat(201);
    for prefix in ["", &long] {
        let ended = shell.run(&["bench", "--key-prefix", prefix]).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("--key-prefix"), "{ended:?}");
    }
}

#[tokio::test]
async fn failures_are_counted_by_kind_and_lead_to_no_storm() {
    let authority = Authority::new();
    let node = FakeNode::start(&authority, |request| match request {
        Request::Write { .. } => Action::Reply(Err(Failure::Busy {
            reason: "backlog".into(),
        })),
        _ => Action::Silence,
    });
    let shell = Shell::new(&authority, node);
    let words = ["bench", "--op", "write", "--duration", "500ms"];
    let ended = shell.run(&words).await;
    let text = ended.text();
    let line = text.lines().find(|line| line.starts_with("write"));
    let busy = line.and_then(|line| line.strip_suffix(" busy")?.rsplit(' ').next());
    let busy: u64 = busy.and_then(|n| n.parse().ok()).expect("a count of busy");
    assert!((2..=50).contains(&busy), "{text}");
}

#[tokio::test]
async fn ctrl_c_ends_a_bench_at_once_and_prints_what_was_measured() {
    // Every second operation is one that would go on until its deadline.
    let authority = Authority::new();
    let store = Store::default();
    let node = FakeNode::start(&authority, move |request| match request {
        Request::Read { .. } => Action::Silence,
        _ => Action::Reply(store.answer(request)),
    });
    let shell = Shell::new(&authority, node);
    let words = "--deadline 20s bench --mix 5:95:0 --clients 2 --duration 1h --history h.jsonl";
    let mut command = shell.command(&words.split(' ').collect::<Vec<_>>());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the command runs");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let interrupted = Instant::now();
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.is_ok_and(|status| status.success()));
    let output = tokio::task::spawn_blocking(move || child.wait_with_output());
    let ended = Ended::new(output.await.expect("awaited").expect("it ends"));
    assert!(interrupted.elapsed() < Duration::from_secs(3));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.text().contains("write"), "{ended:?}");
    assert!(ended.text().contains("2 cut off"), "{ended:?}");
    let history = fs::read_to_string(shell.path("h.jsonl")).expect("it was written");
    assert!(history.ends_with("}\n"), "the last line is whole");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_history_that_could_not_be_written_is_named() {
    let shell = Shell::serving();
    let words = ["bench", "--duration", "200ms", "--history", "/dev/full"];
    let ended = shell.run(&words).await;
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(
        ended.stderr.contains("/dev/full is incomplete"),
        "{ended:?}"
    );
}

/// A node that answers late does not slow an open loop down: what waits is in the latencies.
#[tokio::test]
async fn an_open_loop_counts_from_the_moment_an_operation_was_due() {
    let authority = Authority::new();
    let store = Store::default();
    let late = Duration::from_millis(50);
    let node = FakeNode::start(&authority, move |request| match request {
        Request::Read { .. } => Action::ReplyAfter(late, store.answer(request)),
        _ => Action::Reply(store.answer(request)),
    });
    let shell = Shell::new(&authority, node);
    // One client can read 20 times a second; 40 are due, so the last waits for a second.
    let words = "--json bench --op read --rate 40 --arrivals even --clients 1 --duration 2s";
    let ended = shell.run(&words.split(' ').collect::<Vec<_>>()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report = ended.json();
    let read = &report["operations"]["read"];
    assert_eq!(read["n"], 80, "every moment was used: {report}");
    let ms = |of: &str, point: &str| read[of][point].as_f64().expect("a number");
    assert!(ms("latency_ms", "min") >= 50.0, "{report}");
    assert!(ms("latency_ms", "max") > 1000.0, "{report}");
    assert!(ms("wait_ms", "max") > 1000.0, "{report}");
    // Enough clients: nobody waits.
    let words = "--json bench --op read --rate 40 --arrivals even --duration 1s";
    let ended = shell.run(&words.split(' ').collect::<Vec<_>>()).await;
    let report = ended.json();
    let read = &report["operations"]["read"];
    assert_eq!(read["n"], 40, "{report}");
    assert!(read["latency_ms"]["p50"].as_f64() < Some(200.0), "{report}");
}

/// What no client was free for in time is counted, and does not hold up the end.
#[tokio::test]
async fn operations_that_were_due_too_long_ago_expire() {
    let authority = Authority::new();
    let node = FakeNode::start(&authority, |_| Action::Silence);
    let shell = Shell::new(&authority, node);
    let words = "--deadline 300ms --json bench --op read --rate 100 --arrivals even --clients 2 --duration 1s";
    let ended = shell.run(&words.split(' ').collect::<Vec<_>>()).await;
    assert_eq!(ended.code, Some(5), "{ended:?}");
    let report = ended.json();
    let failures = &report["operations"]["read"]["failures"];
    let (expired, unavailable) = (&failures["expired"], &failures["unavailable"]);
    let n = |count: &Value| count.as_u64().unwrap_or(0);
    assert_eq!(n(expired) + n(unavailable), 100, "{report}");
    assert!(n(expired) > 50, "{report}");
}

#[tokio::test]
async fn what_warms_up_is_in_the_history_and_not_in_the_figures() {
    let shell = Shell::serving();
    let words = "--json bench --op write --warm-up 500ms --duration 500ms --history h.jsonl \
                 --hdr run/new --distribution zipfian --skew 3 --keys 1000";
    let ended = shell
        .run(&words.split_whitespace().collect::<Vec<_>>())
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report = ended.json();
    let n = report["operations"]["write"]["n"]
        .as_u64()
        .expect("a count");
    let history = fs::read_to_string(shell.path("h.jsonl")).expect("it was written");
    let written = history.lines().count() as u64;
    assert!(n > 0 && written > n * 5 / 4, "{n} of {written}");
    // The hottest of keys with so much skew takes five of six operations.
    let hottest = history.lines().filter(|line| line.contains("-0\"")).count() as u64;
    assert!(hottest * 10 > written * 7, "{hottest} of {written}");
    let hdr = fs::read(shell.path("run/new/write.hdr")).expect("it was written");
    assert_eq!(hdr[..4], 0x1c84_9313_u32.to_be_bytes(), "HdrHistogram V2");
    assert!(!shell.path("run/new/read.hdr").exists());
}

/// What can't succeed ends the bench at once, and the flag at fault is named.
#[tokio::test]
async fn a_bench_that_no_node_can_carry_out_names_the_flag() {
    let authority = Authority::new();
    let store = Store::default();
    let node = FakeNode::start(&authority, move |request| {
        let invalid = |field: &str, reason: &str| {
            Action::Reply(Err(Failure::Invalid {
                field: field.into(),
                reason: reason.into(),
            }))
        };
        match request {
            Request::Read { container, .. } if container == "none" => invalid(
                "container",
                "\"none\" is not configured; there are kv, objects",
            ),
            Request::Write { .. } => invalid("value", "has 2000 bytes; the limit is 1000"),
            Request::Execute { .. } => invalid("container", "\"kv\" holds RW objects"),
            _ => Action::Reply(store.answer(request)),
        }
    });
    let shell = Shell::new(&authority, node);
    for (words, said) in [
        (
            "--op read --container none",
            "--container none: \"none\" is not",
        ),
        (
            "--op write --value-bytes 2000",
            "--value-bytes 2000: has 2000",
        ),
        (
            "--op execute --rmw-container kv",
            "--rmw-container kv: \"kv\" holds RW",
        ),
        ("--mix 60:30:20", "--mix"),
        ("--clients 0", "--clients 0: give 1 to 1024"),
        ("--clients 1025", "--clients 1025: give 1 to 1024"),
        ("--rate 0", "--rate 0: give 0.1 to"),
        ("--arrivals even", "--rate"),
        ("--keys 0", "--keys 0: give"),
        ("--skew 2", "--skew 2: needs --distribution zipfian"),
        ("--distribution zipfian --skew 0", "--skew 0: give"),
        ("--warm-up 25h", "--warm-up 90000s: give"),
        (
            "--value-bytes 99999999",
            "--value-bytes 99999999: the longest",
        ),
    ] {
        let words = format!("bench --duration 1h {words}");
        let begun = Instant::now();
        let ended = shell.run(&words.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(ended.code, Some(2), "{words}: {ended:?}");
        assert!(ended.stderr.contains(said), "{words}: {ended:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{words}");
    }
}
