//! Three members of etcd where Vivace's replicas are, tuned for the round trip as its
//! manual says: a heartbeat of about the longest round trip between members, an
//! election timeout of ten times that.
//! (<https://etcd.io/docs/v3.4/tuning/>)

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};

use super::processes::Processes;
use crate::step::Sites;
use crate::wan::{Wan, WanStatus};

/// How to get it.
pub const ETCD_MISSING: &str = "the program etcd is missing: apt-get install etcd-server (Debian, Ubuntu), or put etcd \
     3.4 or later on the path";

/// How to get it.
pub const NFT_MISSING: &str = "the program nft is missing: apt-get install nftables (Debian, Ubuntu), dnf install \
     nftables (Fedora)";

/// The nodes that have a member.
pub const MEMBERS: [u16; 3] = [1, 2, 3];

const PEER_PORT: u16 = 2380;
const CLIENT_PORT: u16 = 2379;

/// Heartbeat and election timeout in ms.
pub fn timing_ms(sites: Sites) -> (u32, u32) {
    // The longest round trip between members, of both topologies.
    match sites {
        Sites::Two | Sites::Three => (109, 1090),
        Sites::ThreeAlike => (100, 1000),
    }
}

/// Starts the members; they need not have found each other yet. Yields their client
/// URLs, this site's first. `marked` puts all they say to each other into the priority
/// class.
///
/// # Errors
/// A process can't be started, or the rule not be set; nothing is left running.
pub fn start_etcd(
    wan: &Wan,
    status: &WanStatus,
    sites: Sites,
    marked: bool,
    program: &Path,
    directory: &Path,
) -> anyhow::Result<(Processes, Vec<String>)> {
    let mut members = Vec::new();
    for node in MEMBERS {
        let host = sites.host_of(node).context("every replica has a host")?;
        let address = status.address(&host).context("every host an address")?;
        members.push((format!("n{node}"), host, address.to_owned()));
    }
    let cluster: Vec<String> = members
        .iter()
        .map(|(name, _, address)| format!("{name}=http://{address}:{PEER_PORT}"))
        .collect();
    let (heartbeat, election) = timing_ms(sites);
    let mut processes = Processes::default();
    let mut urls = Vec::new();
    for (name, host, address) in &members {
        if marked {
            mark_peers(wan, host)?;
        }
        let peers = format!("http://{address}:{PEER_PORT}");
        let clients = format!("http://{address}:{CLIENT_PORT}");
        let mut command = wan.realtime_command(host, program);
        command
            .args(["--name", name])
            .arg("--data-dir")
            .arg(directory.join(format!("etcd-{name}")))
            .args(["--listen-peer-urls", &peers])
            .args(["--initial-advertise-peer-urls", &peers])
            .args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &clients])
            .args(["--initial-cluster", &cluster.join(",")])
            .args(["--initial-cluster-state", "new"])
            .args(["--heartbeat-interval", &heartbeat.to_string()])
            .args(["--election-timeout", &election.to_string()])
            .args(["--logger", "zap", "--log-level", "error"]);
        processes.start(&format!("etcd-{name}"), &mut command, directory)?;
        urls.push(clients);
    }
    Ok((processes, urls))
}

/// Both ends of every connection between members are marked EF.
fn mark_peers(wan: &Wan, host: &str) -> anyhow::Result<()> {
    let rules = format!(
        "table inet store_peers {{\n chain out {{\n  type filter hook output priority -150;\n  \
         tcp dport {PEER_PORT} ip dscp set ef\n  tcp sport {PEER_PORT} ip dscp set ef\n }}\n}}\n"
    );
    let mut child = wan
        .command(host, Path::new("nft"))
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context(NFT_MISSING)?;
    let mut input = child.stdin.take().context("nft's input is a pipe")?;
    input.write_all(rules.as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "nft can't mark etcd's packets: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
