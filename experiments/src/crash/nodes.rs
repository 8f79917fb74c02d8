//! The processes, and what it takes to start them.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use vivace_client::{Client, ClientConfig};
use vivace_node::init::{Laid, Layout, init};

use super::arguments::{CrashArguments, Storage};
use super::node_process::NODE_PROCESS;
use super::small_disk::SmallDisk;

/// How long a node may take until it serves.
const SERVE_PATIENCE: Duration = Duration::from_secs(30);

/// How often a starting node is looked at.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// How long one attempt to be served may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(1);

/// What a node logs when its ports are open.
const OPEN_WORDS: &str = "serves clients at";

/// Ports below the range that the kernel gives to others, by hundreds.
const BASE_PORTS: std::ops::Range<u16> = 100..320;

/// A node that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeFault {
    /// Its process ended by itself before it served.
    #[error("node {node} refused to start ({status}): {said}")]
    Refused {
        /// Its exit code, where it has one.
        code: Option<i32>,
        /// Which.
        node: usize,
        /// Its exit status.
        status: String,
        /// The last line of its log.
        said: String,
    },
    /// Its process ended by itself, later.
    #[error("node {node} ended by itself ({status}): {said}")]
    Ended {
        /// Which.
        node: usize,
        /// Its exit status.
        status: String,
        /// The last line of its log.
        said: String,
    },
    /// It runs and does not serve.
    #[error("node {node} does not serve within {SERVE_PATIENCE:?}: {said}")]
    Silent {
        /// Which.
        node: usize,
        /// What the last attempt heard.
        said: String,
    },
}

/// A cluster's processes; dropping it kills them.
pub struct Nodes {
    program: PathBuf,
    subcommand: &'static str,
    laid: Laid,
    /// By number less one: for clients of that node alone.
    client_files: Vec<PathBuf>,
    logs: Vec<PathBuf>,
    /// By number less one; none while dead.
    children: Vec<Option<Child>>,
}

impl Nodes {
    /// Lays out a cluster in `directory`, or on `disk`, and starts nothing.
    ///
    /// # Errors
    /// The files can't be made, or no ports are free.
    pub fn lay_out(
        directory: &Path,
        arguments: &CrashArguments,
        disk: Option<&SmallDisk>,
    ) -> anyhow::Result<Self> {
        let (sites, nodes_per_site) = match arguments.one_site {
            true => (1, arguments.nodes),
            false => (arguments.nodes, 1),
        };
        let layout = Layout {
            cluster: "crash".to_owned(),
            sites,
            nodes_per_site,
            base_port: free_base_port(arguments.nodes)?,
        };
        let place = disk.map_or(directory, SmallDisk::path);
        let laid = init(&place.join("cluster"), &layout)?;
        if let Some(disk) = disk {
            for file in &laid.node_files {
                keep_free(file, disk.reserve_bytes())?;
            }
        }
        if arguments.storage == Storage::Memory {
            for file in &laid.node_files {
                forget_all(file)?;
            }
        }
        let client_files = match arguments.one_site {
            true => client_files_by_node(&laid.client_files[0], arguments.nodes)?,
            false => laid.client_files.clone(),
        };
        let (program, subcommand) = match &arguments.node {
            Some(node) => (node.clone(), "run"),
            None => (std::env::current_exe()?, NODE_PROCESS),
        };
        let logs = (1..=arguments.nodes)
            .map(|node| directory.join(format!("node-{node}.log")))
            .collect();
        Ok(Self {
            program,
            subcommand,
            children: laid.node_files.iter().map(|_| None).collect(),
            laid,
            client_files,
            logs,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.children.len()
    }

    /// Each node's client file, of which it is the only address.
    pub fn client_files(&self) -> &[PathBuf] {
        &self.client_files
    }

    /// Starts one (numbered from 0) that is dead.
    ///
    /// # Errors
    /// The program can't be run.
    pub fn start(&mut self, node: usize) -> anyhow::Result<()> {
        let log = fs::File::create(&self.logs[node]).context("the node's log")?;
        let child = Command::new(&self.program)
            .arg(self.subcommand)
            .arg(&self.laid.node_files[node])
            .env("RUST_LOG", "info")
            // Ends with this process; `vivace-node run` does not look.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C is for this process alone.
            .process_group(0)
            .spawn()
            .with_context(|| self.program.display().to_string())?;
        self.children[node] = Some(child);
        Ok(())
    }

    /// SIGKILL: no goodbye, nothing flushed.
    ///
    /// # Errors
    /// It had ended before.
    pub fn kill(&mut self, node: usize) -> Result<(), NodeFault> {
        self.check(node)?;
        self.end(node);
        Ok(())
    }

    fn end(&mut self, node: usize) {
        if let Some(mut child) = self.children[node].take() {
            // Fails only where it ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether every process that was started still runs.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check_all(&mut self) -> Result<(), NodeFault> {
        (0..self.len()).try_for_each(|node| self.check(node))
    }

    fn check(&mut self, node: usize) -> Result<(), NodeFault> {
        let Some(child) = &mut self.children[node] else {
            return Ok(());
        };
        let Ok(Some(status)) = child.try_wait() else {
            return Ok(());
        };
        self.children[node] = None;
        let log = fs::read_to_string(&self.logs[node]).unwrap_or_default();
        let said = log.lines().last().unwrap_or("it said nothing").to_owned();
        let (node, code, status) = (node + 1, status.code(), status.to_string());
        Err(match log.contains(OPEN_WORDS) {
            true => NodeFault::Ended { node, status, said },
            false => NodeFault::Refused {
                code,
                node,
                status,
                said,
            },
        })
    }

    /// Waits until one answers a client of its own, and yields how long that took.
    ///
    /// # Errors
    /// It ends, or takes longer than [`SERVE_PATIENCE`].
    pub async fn wait_until_serving(
        &mut self,
        node: usize,
        since: Instant,
    ) -> anyhow::Result<Result<Duration, NodeFault>> {
        let config = ClientConfig::from_file(&self.client_files[node])?;
        let config = config.timeout(PROBE_DEADLINE);
        let mut said = "its ports are not open".to_owned();
        loop {
            if let Err(fault) = self.check(node) {
                return Ok(Err(fault));
            }
            let log = fs::read_to_string(&self.logs[node]).unwrap_or_default();
            if log.contains(OPEN_WORDS) {
                match probe(config.clone()).await {
                    Ok(()) => return Ok(Ok(since.elapsed())),
                    Err(why) => said = why,
                }
            }
            if since.elapsed() > SERVE_PATIENCE {
                let node = node + 1;
                return Ok(Err(NodeFault::Silent { node, said }));
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        (0..self.len()).for_each(|node| self.end(node));
    }
}

/// One read through the node alone.
async fn probe(config: ClientConfig) -> Result<(), String> {
    let client = Client::connect(config).await;
    let client = client.map_err(|error| error.to_string())?;
    let read = client.container("kv").rw("probe").read().await;
    read.map(drop).map_err(|error| error.to_string())
}

/// Has a node keep nothing: what is stored is gone with its process.
fn forget_all(file: &Path) -> anyhow::Result<()> {
    let of_disk = ["directory =", "cache_bytes =", "reserve_bytes ="];
    let text = fs::read_to_string(file)?;
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !of_disk.iter().any(|field| line.starts_with(field)))
        .collect();
    let text = lines.join("\n");
    anyhow::ensure!(
        text.contains("kind = \"disk\""),
        "{}: names no storage",
        file.display()
    );
    fs::write(file, text.replace("kind = \"disk\"", "kind = \"memory\""))?;
    Ok(())
}

fn keep_free(file: &Path, reserve_bytes: u64) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)?;
    let line = text
        .lines()
        .find(|line| line.starts_with("reserve_bytes ="));
    let line = line.with_context(|| format!("{}: names no reserve", file.display()))?;
    let kept = format!("reserve_bytes = {reserve_bytes}");
    fs::write(file, text.replace(line, &kept))?;
    Ok(())
}

/// The client file of a site's nodes, once for each of them alone.
fn client_files_by_node(file: &Path, nodes: u16) -> anyhow::Result<Vec<PathBuf>> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find(|line| line.starts_with("nodes = ["));
    let line = line.with_context(|| format!("{}: names no nodes", file.display()))?;
    let addresses: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
    anyhow::ensure!(
        addresses.len() == usize::from(nodes),
        "{}: names {} nodes of {nodes}",
        file.display(),
        addresses.len()
    );
    let files = (1..).zip(addresses).map(|(node, address)| {
        let path = file.with_file_name(format!("client-node-{node}.toml"));
        fs::write(&path, text.replace(line, &format!("nodes = [{address:?}]")))?;
        Ok(path)
    });
    files.collect()
}

/// A base port whose nodes' ports are free now.
fn free_base_port(nodes: u16) -> anyhow::Result<u16> {
    let count = BASE_PORTS.end - BASE_PORTS.start;
    let first = (std::process::id() % u32::from(count)) as u16;
    (0..count)
        .map(|i| (BASE_PORTS.start + (first + i) % count) * 100)
        .find(|base| {
            (1..=nodes).all(|node| {
                (1..=3).all(|port| UdpSocket::bind(("127.0.0.1", base + 10 * node + port)).is_ok())
            })
        })
        .context("no UDP ports are free from 10000 to 32000")
}
