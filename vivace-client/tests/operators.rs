//! What an operator sees and does with `vivace` while a site is slow, or gone: real nodes in
//! this process, an emulated WAN between them, the real command.

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use netem::{LinkConfig, Site, Topology};
use nix::pty::openpty;
use serde_json::Value;
use vivace_client::machine::Machines;
use vivace_core::NodeId;
use vivace_node::dev::DevCluster;
use vivace_node::init::Layout;

const VALUE_BYTES: usize = 60_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// What the nodes of this process log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn of_all() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let to = log.clone();
            tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(move || to.clone())
                .init();
            log
        })
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Three sites of one node, and where their client files are.
struct Operated {
    cluster: DevCluster,
    directory: tempfile::TempDir,
    files: Vec<PathBuf>,
}

impl Operated {
    /// Bulk leaves site a for those of `slow` at 1 Mbit/s; at `backlog_bytes_max` it is full.
    async fn new(slow: &[u16], backlog_bytes_max: usize) -> Self {
        Log::of_all();
        let layout = Layout {
            cluster: "dev".into(),
            sites: 3,
            nodes_per_site: 1,
            base_port: 7000,
        };
        let file = layout
            .cluster_file()
            .replace("value_bytes_max = 1048576 ", "value_bytes_max = 65536 ")
            .replace("= 268435456", &format!("= {backlog_bytes_max}"));
        assert!(file.contains(&backlog_bytes_max.to_string()), "{file}");
        let link = LinkConfig {
            delay: Duration::from_millis(5),
            rate_bits_per_second: 100_000_000,
            ..LinkConfig::default()
        };
        let mut topology = Topology::mesh(3, &link);
        for &site in slow {
            let rate_bits_per_second = 1_000_000;
            let link = LinkConfig {
                rate_bits_per_second,
                ..link.clone()
            };
            topology.set_link(Site(0), Site(site), link);
        }
        let cluster = DevCluster::with(&file, &topology, Machines::builtin(), 1).unwrap();
        assert!(cluster.wait_until_connected(PATIENCE).await);
        let directory = tempfile::tempdir().unwrap();
        let files = cluster.write_client_files(directory.path()).unwrap();
        Self {
            cluster,
            directory,
            files,
        }
    }

    fn command(&self, site: usize, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vivace"));
        command
            .arg("--config")
            .arg(&self.files[site])
            .args(["--deadline", "2s"])
            .args(words)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, site: usize, words: &[&str]) -> Ended {
        Ended::new(self.command(site, words).output().unwrap())
    }

    fn put(&self, key: &str, bytes: usize) -> Ended {
        let path = self.directory.path().join("value");
        std::fs::write(&path, vec![b'v'; bytes]).unwrap();
        self.run(0, &["put", key, "--file", path.to_str().unwrap()])
    }

    /// What `vivace status` says of a site's backlog at node 1.
    fn backlog(&self, site: &str) -> Option<Value> {
        let ended = self.run(0, &["status", "--json"]);
        let status: Value = serde_json::from_str(&ended.stdout).unwrap();
        let sites = status[0]["status"]["backlog"]["sites"].as_array().unwrap();
        sites.iter().find(|found| found["site"] == site).cloned()
    }

    fn await_backlog(&self, site: &str, is_right: impl Fn(Option<&Value>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.backlog(site);
            if is_right(found.as_ref()) {
                return;
            }
            assert!(Instant::now() < deadline, "{found:?}");
        }
    }

    /// Answers what the command asks at a terminal.
    fn answer(&self, site: usize, words: &[&str], answer: &str) -> Ended {
        let terminal = openpty(None, None).unwrap();
        let mut command = self.command(site, words);
        command
            .stdin(Stdio::from(terminal.slave))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        // It keeps the terminal's other end.
        drop(command);
        let mut typed = File::from(terminal.master);
        writeln!(typed, "{answer}").unwrap();
        Ended::new(child.wait_with_output().unwrap())
    }
}

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn new(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

fn number(of: &Value, field: &str) -> u64 {
    of[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field} in {of}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sites_backlog_is_told_and_at_its_bound_writes_are_busy_with_its_name() {
    let operated = Operated::new(&[2], 8 * VALUE_BYTES).await;
    let mut refusal = None;
    for i in 0..200 {
        let put = operated.put(&format!("kv/{i}"), VALUE_BYTES);
        if put.code != Some(0) {
            refusal = Some((i, put));
            break;
        }
    }
    let (accepted, refusal) = refusal.expect("the bound is never reached");
    assert_eq!(refusal.code, Some(4), "{refusal:?}");
    assert!(refusal.stderr.contains("for site c"), "{refusal:?}");
    assert!(
        refusal.stderr.contains("limits.backlog_bytes_max"),
        "{refusal:?}"
    );
    assert!(accepted >= 8, "{accepted}");

    let full = operated.backlog("c").expect("it is told");
    let bytes = number(&full, "bytes");
    assert!(
        bytes > 4 * VALUE_BYTES as u64 && bytes <= 9 * VALUE_BYTES as u64,
        "{full}"
    );
    assert!(number(&full, "values") >= 5, "{full}");
    assert!(number(&full, "oldest_ms") > 0, "{full}");
    let text = operated.run(0, &["status"]).done().stdout;
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("for c: "));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    for part in [
        "KiB in ",
        " values, the oldest for ",
        " ms, draining ",
        "/s",
    ] {
        assert!(line.contains(part), "{line}");
    }
    // It drains at about the link's 125,000 bytes a second, less what it has in it.
    operated.await_backlog("c", |found| {
        found.is_some_and(|found| (20_000..200_000).contains(&number(found, "drain_bytes_per_s")))
    });
    // Refused before anything is half done; what was accepted arrives.
    let absent = operated.run(1, &["get", &format!("kv/{accepted}")]);
    assert_eq!(absent.code, Some(1), "{absent:?}");
    operated.await_backlog("c", |found| {
        found.is_none_or(|found| number(found, "bytes") == 0)
    });
    operated.put("kv/after", VALUE_BYTES).done();
    for i in [0, accepted - 1] {
        let found = operated.run(2, &["get", &format!("kv/{i}")]).done();
        assert_eq!(found.stdout.len(), VALUE_BYTES);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_with_a_site_is_listed_and_given_up_by_an_operator_who_is_asked() {
    let mut operated = Operated::new(&[1, 2], 1 << 20).await;
    operated.put("kv/key", 3).done();
    operated.await_backlog("b", |found| {
        found.is_none_or(|found| number(found, "bytes") == 0)
    });
    operated.await_backlog("c", |found| {
        found.is_none_or(|found| number(found, "bytes") == 0)
    });
    // Each takes half a second to leave the site; the last one never does.
    for key in ["kv/other", "kv/key", "kv/key"] {
        operated.put(key, VALUE_BYTES).done();
    }
    operated.cluster.stop_node(NodeId(1));

    let unread = operated.run(1, &["get", "kv/key"]);
    assert_eq!(unread.code, Some(5), "{unread:?}");
    let why = "the newest value is known but nobody who holds it answered";
    assert!(unread.stderr.contains(why), "{unread:?}");
    assert!(unread.stderr.contains("vivace admin lost"), "{unread:?}");
    let lost = operated.run(1, &["admin", "lost", "kv"]).done();
    let line = lost
        .stdout
        .lines()
        .find(|line| line.starts_with("kv/key  "));
    let line = line.unwrap_or_else(|| panic!("{lost:?}"));
    assert!(
        line.contains("written in a") && line.contains("left: version"),
        "{line}"
    );
    assert!(lost.stderr.contains("node 1 did not answer"), "{lost:?}");

    let accept = ["admin", "accept-loss", "kv/key"];
    let unasked = operated.run(1, &accept);
    assert_eq!(unasked.code, Some(2), "{unasked:?}");
    let refused = operated.answer(1, &accept, "n");
    assert_eq!(refused.code, Some(15), "{refused:?}");
    // Who might still have it, before the question.
    let asked = "node 1 did not answer; what it holds may come back with it";
    for part in [asked, "Give up these 1 newest values"] {
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    assert!(
        refused.stderr.contains("Nothing was changed"),
        "{refused:?}"
    );
    assert_eq!(operated.run(1, &["get", "kv/key"]).code, Some(5));
    let log = Log::of_all();
    assert!(!log.text().contains("asks to give up"));

    let accepted = operated.answer(1, &accept, "y").done();
    assert!(
        accepted.stdout.starts_with("gave up kv/key  "),
        "{accepted:?}"
    );
    let found = operated.run(2, &["get", "kv/key"]).done();
    assert!(
        found.stdout == "vvv" || found.stdout.len() == VALUE_BYTES,
        "{found:?}"
    );
    let told = accepted.stdout.split_once("lost: version ");
    let (version, _) = told
        .and_then(|(_, told)| told.split_once(','))
        .expect("named");
    let loss = format!("give up version {version} of kv/key, written in a");
    let text = log.text();
    let asks = text.lines().find(|line| line.contains(&loss));
    let asks = asks.unwrap_or_else(|| panic!("{text}"));
    assert!(
        asks.contains("client ") && asks.contains(" at 127.0.0.1:"),
        "{asks}"
    );
    assert!(text.contains(&loss.replace("give", "gave")), "{text}");
}
