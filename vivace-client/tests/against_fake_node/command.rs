//! The `vivace` command: what it prints, and how it ends.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use vivace_client::client_protocol::{Failure, Request};

use crate::authority::{Authority, CLUSTER};
use crate::fake_node::{Action, FakeNode};
use crate::store::Store;

/// A client file for `node`, in a folder of its own.
pub struct Shell {
    folder: TempDir,
    _node: FakeNode,
}

impl Shell {
    pub fn new(authority: &Authority, node: FakeNode) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let client = authority.client();
        let file = format!(
            "cluster = \"{CLUSTER}\"\nnodes = [\"{}\"]\nca = \"ca.pem\"\n\
             certificate = \"client.pem\"\nkey = \"client.key\"\n",
            node.address
        );
        for (name, text) in [
            ("ca.pem", authority.certificate_pem()),
            ("client.pem", client.certificate_pem.clone()),
            ("client.key", client.key_pem()),
            ("client.toml", file),
        ] {
            fs::write(folder.path().join(name), text).expect("a file is written");
        }
        Self {
            folder,
            _node: node,
        }
    }

    /// A shell beside a well-behaved node.
    pub fn serving() -> Self {
        let authority = Authority::new();
        let node = FakeNode::serving(&authority, &Store::default());
        Self::new(&authority, node)
    }

    /// A shell beside a node that refuses every operation but gives sessions.
    fn refusing(failure: Failure) -> Self {
        let authority = Authority::new();
        let store = Store::default();
        let node = FakeNode::start(&authority, move |request| match request {
            Request::OpenSession => Action::Reply(store.answer(request)),
            _ => Action::Reply(Err(failure.clone())),
        });
        Self::new(&authority, node)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vivace"));
        command
            .args(words)
            .current_dir(self.folder.path())
            .env_remove("VIVACE_CONFIG")
            .stdin(Stdio::null());
        command
    }

    /// Runs the command while the node goes on serving.
    pub async fn run(&self, words: &[&str]) -> Ended {
        let mut command = self.command(words);
        let output = tokio::task::spawn_blocking(move || command.output());
        Ended::new(
            output
                .await
                .expect("it is awaited")
                .expect("the command runs"),
        )
    }

    async fn run_with_input(&self, words: &[&str], input: &'static [u8]) -> Ended {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn()?;
            let mut stdin = child.stdin.take().expect("it is piped");
            stdin.write_all(input)?;
            drop(stdin);
            child.wait_with_output()
        });
        Ended::new(
            output
                .await
                .expect("it is awaited")
                .expect("the command runs"),
        )
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    pub fn new(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).expect("standard output is JSON")
    }
}

#[tokio::test]
async fn a_value_goes_in_and_comes_out_byte_by_byte() {
    let shell = Shell::serving();
    let absent = shell.run(&["get", "c/k"]).await;
    assert_eq!((absent.code, absent.text().as_str()), (Some(1), ""));
    assert!(absent.stderr.contains("c/k not found"), "{absent:?}");

    let bytes = b"\x00\xff\n no end of line";
    let put = shell.run_with_input(&["put", "c/k", "-"], bytes).await;
    assert_eq!(put.code, Some(0), "{put:?}");
    assert_eq!(shell.run(&["get", "c/k"]).await.stdout, bytes);
    let json = shell.run(&["--json", "get", "c/k"]).await.json();
    assert_eq!(
        json["value"],
        json!({ "base64": "AP8KIG5vIGVuZCBvZiBsaW5l" })
    );

    fs::write(shell.path("value"), "from a file").expect("a file is written");
    let put = shell
        .run(&["put", "c/k/with/slashes", "--file", "value"])
        .await;
    assert_eq!(put.code, Some(0), "{put:?}");
    let json = shell
        .run(&["get", "c/k/with/slashes", "--json"])
        .await
        .json();
    assert_eq!(json["value"], json!({ "utf8": "from a file" }));

    assert_eq!(shell.run(&["delete", "c/k"]).await.code, Some(0));
    let absent = shell.run(&["get", "c/k", "--json"]).await;
    assert_eq!(
        (absent.code, absent.json()),
        (Some(1), json!({ "found": false }))
    );
}

#[tokio::test]
async fn each_machine_is_talked_to_in_words() {
    let shell = Shell::serving();
    for (words, code, printed) in [
        ("counters/visits counter get", 1, ""),
        ("counters/visits counter add 5", 0, "5\n"),
        ("counters/visits counter add -7", 0, "-2\n"),
        ("counters/visits counter add-within 3 0 9", 0, "1\n"),
        ("counters/visits counter add-within 10 0 9", 3, ""),
        ("counters/visits counter get", 0, "1\n"),
        ("locks/l1 register create alice", 0, ""),
        ("locks/l1 register create bob", 3, ""),
        ("locks/l1 register cas alice bob", 0, ""),
        ("locks/l1 register get", 0, "bob"),
        ("locks/l1 register remove bob", 0, ""),
        ("locks/l1 register get", 1, ""),
        ("feeds/bob list push-trimmed 2 a", 0, "1\n"),
        ("feeds/bob list push-trimmed 2 b", 0, "2\n"),
        ("feeds/bob list push-trimmed 2 c", 0, "2\n"),
        ("feeds/bob list get", 0, "b\nc\n"),
        ("feeds/bob list pop", 0, "b\n"),
        ("follows/bob set add alice", 0, "true\n"),
        ("follows/bob set add alice", 0, "false\n"),
        ("follows/bob set get", 0, "alice\n"),
        ("users/eve map put city Lisbon", 0, "false\n"),
        ("users/eve map put-if-absent city Rome", 3, ""),
        ("users/eve map get city", 0, "Lisbon"),
        ("users/eve map get street", 1, ""),
        ("users/eve map get", 0, "city\tLisbon\n"),
    ] {
        let all: Vec<&str> = ["exec"].into_iter().chain(words.split(' ')).collect();
        let ended = shell.run(&all).await;
        assert_eq!(
            (ended.code, ended.text().as_str()),
            (Some(code), printed),
            "{words}: {ended:?}"
        );
    }
    let json = shell
        .run(&["--json", "exec", "feeds/bob", "list", "get"])
        .await
        .json();
    assert_eq!(json, json!({ "state": [{ "utf8": "c" }] }));
}

#[tokio::test]
async fn the_exit_status_tells_how_it_ended() {
    let because = || "because".to_owned();
    for (failure, code) in [
        (Failure::Conflict { reason: because() }, 3),
        (Failure::Busy { reason: because() }, 4),
        (Failure::Unavailable { reason: because() }, 5),
        (Failure::Unknown { reason: because() }, 6),
    ] {
        let shell = Shell::refusing(failure);
        let words = ["exec", "c/k", "counter", "add", "1"];
        let ended = shell
            .run(&[&["--deadline", "500ms"][..], &words[..]].concat())
            .await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(
            ended.stderr.lines().count() >= 2,
            "it says what to do: {ended:?}"
        );
        let ended = shell
            .run(&[&["--json", "--deadline", "500ms"][..], &words[..]].concat())
            .await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.json()["reason"].is_string());
    }
}

#[tokio::test]
async fn a_wrong_command_line_ends_with_2_and_names_the_word() {
    let shell = Shell::serving();
    for (words, at_fault) in [
        ("get nowhere", "CONTAINER/KEY"),
        ("put c/k", "VALUE"),
        ("exec c/k calculator add 1", "calculator"),
        ("exec c/k counter add one", "add N"),
        ("get c/k --deadline 5", "5s"),
        ("bench --clients 0", "--clients"),
        ("bench --clients 2000", "--clients"),
        ("bench --keys 0", "--keys"),
        ("bench --duration 25h", "--duration"),
        ("bench --value-bytes 9000000", "--value-bytes"),
        ("bench --value-bytes 8 --history h", "--value-bytes"),
        ("bench --mix 50:50:50", "READ:WRITE:EXECUTE"),
    ] {
        let all: Vec<&str> = words.split(' ').collect();
        let ended = shell.run(&all).await;
        assert_eq!(ended.code, Some(2), "{words}: {ended:?}");
        assert!(ended.stderr.contains(at_fault), "{words}: {ended:?}");
    }
}

#[tokio::test]
async fn configuration_and_connection_faults_end_with_7() {
    let shell = Shell::serving();
    let ended = shell.run(&["--config", "nowhere.toml", "get", "c/k"]).await;
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(ended.stderr.contains("nowhere.toml"), "{ended:?}");
    let ended = shell.run(&["put", "c/k", "--file", "nowhere"]).await;
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(ended.stderr.contains("--file nowhere"), "{ended:?}");

    let nowhere = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let dead = nowhere.local_addr().expect("it is bound");
    let good = fs::read_to_string(shell.path("client.toml")).expect("it was written");
    let lines = good.lines().map(|line| match line.starts_with("nodes") {
        true => format!("nodes = [\"{dead}\"]\n"),
        false => format!("{line}\n"),
    });
    fs::write(shell.path("dead.toml"), lines.collect::<String>()).expect("a file is written");
    let ended = shell
        .run(&["--config", "dead.toml", "--deadline", "400ms", "get", "c/k"])
        .await;
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(ended.stderr.contains(&dead.to_string()), "{ended:?}");
}

#[tokio::test]
async fn the_client_file_may_come_from_the_environment() {
    let shell = Shell::serving();
    let mut command = shell.command(&["put", "c/k", "v"]);
    command
        .env("VIVACE_CONFIG", shell.path("client.toml"))
        .current_dir("/");
    let output = tokio::task::spawn_blocking(move || command.output());
    let ended = Ended::new(output.await.expect("awaited").expect("it runs"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test]
async fn a_reader_who_leaves_early_is_no_error() {
    let shell = Shell::serving();
    fs::write(shell.path("big"), vec![b'x'; 4 << 20]).expect("a file is written");
    assert_eq!(
        shell.run(&["put", "c/big", "--file", "big"]).await.code,
        Some(0)
    );
    let mut command = shell.command(&["get", "c/big"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn()?;
        drop(child.stdout.take());
        child.wait_with_output()
    });
    let ended = Ended::new(output.await.expect("awaited").expect("it runs"));
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(0), ""),
        "{ended:?}"
    );
}

#[tokio::test]
async fn the_status_marks_what_the_network_did_to_the_dscp() {
    let shell = Shell::serving();
    let ended = shell.run(&["status"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = ended.text();
    let priority = text.lines().find(|line| line.contains("priority"));
    let bulk = text.lines().find(|line| line.contains("bulk"));
    assert!(
        priority.is_some_and(|line| line.contains("0 BLEACHED")),
        "{text}"
    );
    assert!(
        priority.is_some_and(|line| line.contains("46 kept")),
        "{text}"
    );
    assert!(bulk.is_some_and(|line| line.contains("0 kept")), "{text}");
    assert!(text.contains("unsynchronized"), "{text}");
    let json = shell.run(&["--json", "status"]).await.json();
    assert_eq!(
        json[0]["status"]["peers"][0]["priority"]["dscp_seen_by_peer"],
        0
    );
}

#[tokio::test]
async fn help_teaches_by_example() {
    let shell = Shell::serving();
    for words in [
        &["--help"][..],
        &["get", "--help"],
        &["put", "--help"],
        &["delete", "--help"],
        &["exec", "--help"],
        &["status", "--help"],
        &["bench", "--help"],
    ] {
        let help = shell.run(words).await;
        assert_eq!(help.code, Some(0));
        assert!(help.text().contains("Example"), "{words:?}");
    }
    let help = shell.run(&["--help"]).await.text();
    for code in 0..=7 {
        assert!(help.contains(&format!("\n  {code}  ")), "{code} in {help}");
    }
}
