//! A cluster of real `vivace-node` processes on this machine's loopback.
#![allow(dead_code, reason = "each test program uses its own part")]

pub mod refusal;

use std::io::Write;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use vivace_client::{Client, ClientConfig};

/// How long a started cluster may take to serve its first operation.
pub const START_PATIENCE: Duration = Duration::from_secs(20);

/// Runs `vivace-node` to its end.
pub fn vivace_node(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vivace-node"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("vivace-node runs")
}

/// What a process wrote to its standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A base port whose nodes' ports are free now, below the range that the kernel
/// gives to others, and not given to another test of this process.
fn free_base_port(nodes: u16) -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 200) as u16;
    (0..200)
        .map(|_| 10_000 + (start + TAKEN.fetch_add(1, Ordering::Relaxed)) % 200 * 100)
        .find(|base| {
            (1..=nodes).all(|node| {
                (1..=3).all(|port| UdpSocket::bind(("127.0.0.1", base + 10 * node + port)).is_ok())
            })
        })
        .expect("some ports are free")
}

/// Processes of one cluster; dropping it kills them.
pub struct Processes {
    pub directory: tempfile::TempDir,
    children: Vec<Option<Child>>,
    pub base_port: u16,
}

impl Processes {
    /// Lays out and starts `sites` sites of one node each.
    pub fn start(sites: u16) -> Self {
        let mut processes = Self::lay_out(sites, 1);
        for node in 1..=sites {
            processes.start_node(node);
        }
        processes
    }

    /// Lays out without starting.
    pub fn lay_out(sites: u16, nodes_per_site: u16) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let base_port = free_base_port(sites * nodes_per_site);
        let output = vivace_node(&[
            "init",
            path_text(&directory.path().join("cluster")),
            "--sites",
            &sites.to_string(),
            "--nodes-per-site",
            &nodes_per_site.to_string(),
            "--base-port",
            &base_port.to_string(),
        ]);
        assert!(output.status.success(), "init: {}", stderr(&output));
        let children = (0..sites * nodes_per_site).map(|_| None).collect();
        Self {
            directory,
            children,
            base_port,
        }
    }

    /// The directory that `init` wrote.
    pub fn cluster(&self) -> PathBuf {
        self.directory.path().join("cluster")
    }

    /// A node's configuration file.
    pub fn node_file(&self, node: u16) -> PathBuf {
        self.cluster().join(format!("node-{node}/node.toml"))
    }

    pub fn start_node(&mut self, node: u16) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_of(node))
            .expect("a log file");
        let child = Command::new(env!("CARGO_BIN_EXE_vivace-node"))
            .arg("run")
            .arg(self.node_file(node))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("vivace-node starts");
        self.children[usize::from(node) - 1] = Some(child);
    }

    /// Where a node's messages go.
    pub fn log_of(&self, node: u16) -> PathBuf {
        self.directory.path().join(format!("node-{node}.log"))
    }

    /// SIGKILL: no goodbye, nothing flushed.
    pub fn kill(&mut self, node: u16) {
        let mut child = self.children[usize::from(node) - 1]
            .take()
            .expect("the node runs");
        child.kill().expect("the node can be killed");
        child.wait().expect("the node ends");
    }

    /// The number of a node's process.
    pub fn id(&self, node: u16) -> u32 {
        let child = self.children[usize::from(node) - 1].as_ref();
        child.expect("the node runs").id()
    }

    /// Whether a node's process still runs.
    pub fn is_running(&mut self, node: u16) -> bool {
        match &mut self.children[usize::from(node) - 1] {
            Some(child) => child.try_wait().expect("its state is known").is_none(),
            None => false,
        }
    }

    /// How a node's process ended by itself.
    pub fn exit_code(&mut self, node: u16) -> Option<i32> {
        let child = self.children[usize::from(node) - 1].take();
        let ended = child.expect("it was started").wait();
        ended.expect("its state is known").code()
    }

    /// A connected client of site `a`, `b`, ...
    pub async fn client(&self, site: char) -> Client {
        let path = self.cluster().join(format!("client-{site}.toml"));
        let deadline = tokio::time::Instant::now() + START_PATIENCE;
        loop {
            let config = ClientConfig::from_file(&path).expect("init's client file is right");
            match Client::connect(config).await {
                Ok(client) => return client,
                Err(error) => {
                    assert!(
                        tokio::time::Instant::now() < deadline,
                        "no connection: {error}"
                    );
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for node in 1..=self.children.len() as u16 {
                let log = std::fs::read_to_string(self.log_of(node)).unwrap_or_default();
                let _ = writeln!(std::io::stderr(), "--- node {node}\n{log}");
            }
        }
    }
}

/// Unmounts a file system when it is dropped, whatever happens.
pub struct Unmount(pub PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A path as text; the tests' paths are.
pub fn path_text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}
