//! Stores on this machine alone, at free ports of 127.0.0.1: what they cost without a WAN.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use vivace_node::init::{Layout, init};

use super::etcd_tls::EtcdCertificates;
use super::processes::Processes;
use super::vivace::NodeProgram;
use crate::wan::beside_this_program;

/// Ports below the range that the kernel gives to others, by hundreds.
const BASE_PORTS: std::ops::Range<u16> = 100..320;

/// E in µs. All nodes read one clock, and each vouches for 500 µs. The 5000 of a fresh
/// cluster file are for clocks of several machines: every write waits for it.
const CLOCK_ERROR_MAX_US: u32 = 500;

/// etcd's defaults, for members that are close to each other.
const HEARTBEAT_MS: &str = "100";
const ELECTION_MS: &str = "1000";

/// Nodes of Vivace.
pub struct LoopbackVivace {
    /// Their processes.
    pub processes: Processes,
    /// Knows the first site's nodes.
    pub client: PathBuf,
}

/// Members of etcd.
pub struct LoopbackEtcd {
    /// Their processes.
    pub processes: Processes,
    /// Theirs.
    pub members: Vec<EtcdMember>,
    /// What they and their clients show each other, under TLS.
    pub certificates: Option<EtcdCertificates>,
}

/// A member of etcd.
pub struct EtcdMember {
    /// The URL for its clients.
    pub client: String,
    /// Where it can be asked in the clear who leads: the same, but for TLS.
    pub status: String,
}

/// Lays a cluster out in `directory` and starts its nodes, which need not have found each
/// other yet.
///
/// # Errors
/// Files can't be written, no ports are free, or a process can't be started; nothing is
/// left running.
pub fn start_loopback_vivace(
    sites: u16,
    nodes_per_site: u16,
    program: &NodeProgram,
    directory: &Path,
) -> anyhow::Result<LoopbackVivace> {
    let nodes = sites * nodes_per_site;
    let udp = |port: u16| UdpSocket::bind(("127.0.0.1", port)).is_ok();
    let layout = Layout {
        cluster: "bench".to_owned(),
        sites,
        nodes_per_site,
        base_port: free_base_port(nodes, &udp)?,
    };
    let home = directory.join("vivace");
    let laid = init(&home, &layout)?;
    trust_one_clock(&home.join("cluster.toml"))?;
    let mut processes = Processes::default();
    for (node, file) in (1..).zip(&laid.node_files) {
        let mut command = ends_with_this(&program.path);
        command
            .arg(program.subcommand)
            .arg(file)
            .env("RUST_LOG", "warn");
        processes.start(&format!("node-{node}"), &mut command, directory)?;
    }
    let client = laid.client_files.into_iter().next();
    Ok(LoopbackVivace {
        processes,
        client: client.context("every site has a client file")?,
    })
}

fn trust_one_clock(cluster_file: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(cluster_file)?;
    let line = text
        .lines()
        .find(|line| line.starts_with("error_max_us ="))
        .context("a cluster file bounds its clocks")?;
    let bound = format!("error_max_us = {CLOCK_ERROR_MAX_US}");
    fs::write(cluster_file, text.replace(line, &bound))?;
    Ok(())
}

/// Starts three members, under TLS or in the clear, which need not have found each other yet.
///
/// # Errors
/// No ports are free, certificates can't be made, or a process can't be started; nothing is
/// left running.
pub fn start_loopback_etcd(
    program: &Path,
    is_tls: bool,
    directory: &Path,
) -> anyhow::Result<LoopbackEtcd> {
    let tcp = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let base = free_base_port(3, &tcp)?;
    let directory = directory.join(if is_tls { "etcd-tls" } else { "etcd" });
    fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
    let certificates = match is_tls {
        true => Some(EtcdCertificates::generate(&directory)?),
        false => None,
    };
    let scheme = if is_tls { "https" } else { "http" };
    let url = |scheme: &str, number: u16, which: u16| {
        format!("{scheme}://127.0.0.1:{}", base + 10 * number + which)
    };
    let peer = |number: u16| url(scheme, number, 2);
    let cluster: Vec<String> = (1..=3)
        .map(|number| format!("m{number}={}", peer(number)))
        .collect();
    let mut etcd = LoopbackEtcd {
        processes: Processes::default(),
        members: Vec::new(),
        certificates,
    };
    for number in 1..=3 {
        let (client, peer) = (url(scheme, number, 1), peer(number));
        let status = match is_tls {
            true => url("http", number, 3),
            false => client.clone(),
        };
        let mut listens = vec![client.clone(), status.clone()];
        listens.dedup();
        let name = format!("m{number}");
        let mut command = ends_with_this(program);
        command
            .args(["--name", &name])
            .arg("--data-dir")
            .arg(directory.join(&name))
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--listen-client-urls", &listens.join(",")])
            .args(["--advertise-client-urls", &client])
            .args(["--initial-cluster", &cluster.join(",")])
            .args(["--initial-cluster-state", "new"])
            .args(["--heartbeat-interval", HEARTBEAT_MS])
            .args(["--election-timeout", ELECTION_MS])
            .args(["--logger", "zap", "--log-level", "error"]);
        if let Some(certificates) = &etcd.certificates {
            command.args(certificates.arguments());
        }
        etcd.processes
            .start(&format!("etcd-{name}"), &mut command, &directory)?;
        etcd.members.push(EtcdMember { client, status });
    }
    Ok(etcd)
}

/// A program that the kernel kills when this process ends, even by SIGKILL, which no guard of
/// namespaces covers here. `setpriv` (util-linux, on every Debian) becomes the program, so its
/// id is the program's; without it the program is stopped by a run that ends by itself alone.
fn ends_with_this(program: &Path) -> Command {
    match beside_this_program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// A base port whose processes' ports are free now.
fn free_base_port(processes: u16, is_free: &dyn Fn(u16) -> bool) -> anyhow::Result<u16> {
    ensure!(processes <= 9, "nine processes have ports in a hundred");
    let count = BASE_PORTS.end - BASE_PORTS.start;
    let first = (std::process::id() % u32::from(count)) as u16;
    (0..count)
        .map(|i| (BASE_PORTS.start + (first + i) % count) * 100)
        .find(|base| {
            let port = |process: u16| base + 10 * process;
            (1..=processes).all(|process| (1..=3).all(|n| is_free(port(process) + n)))
        })
        .context("no ports are free from 10000 to 32000")
}
