//! Vivace's five nodes: certificates, files, processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use netem::MTU_BYTES;
use vivace_core::{NodeId, SiteId};
use vivace_node::storage::identity::{DataDirectory, Owner};
use vivace_node::transport::PriorityBound;
use vivace_node::transport::identity::{ClientName, ClusterName, DevelopmentCa, PemPair, Role};

use super::processes::Processes;
use crate::crash::NODE_PROCESS;
use crate::step::{Containers, Sites, WanSpec};
use crate::wan::{Wan, WanStatus};

/// The cluster's name.
const CLUSTER: &str = "experiment";

/// Longest value, in bytes: the longest object of an experiment and what an RMW object
/// stores beside its state.
const VALUE_BYTES_MAX: u32 = 2 << 20;

/// How long the certificates are valid.
const VALID_FOR: Duration = Duration::from_secs(24 * 3600);

/// The WAN's policers let 50 ms of their rate pass at once; in slow motion so much longer as
/// the WAN is slower.
const POLICED_BURSTS_A_SECOND: f64 = 20.0;

/// Of what is policed, a node that is no replica has so much, or the least that a node takes.
const NO_REPLICA_SHARE: f64 = 0.01;

/// The nodes that are replicas.
const REPLICAS: [u16; 3] = [1, 2, 3];

/// Every node's ports; each has an address of its own.
const PRIORITY_PORT: u16 = 7001;
const BULK_PORT: u16 = 7002;
const CLIENT_PORT: u16 = 7003;

/// What runs as a node.
#[derive(Clone, Debug)]
pub struct NodeProgram {
    /// The program.
    pub path: PathBuf,
    /// Its subcommand; the node's file follows.
    pub subcommand: &'static str,
}

impl NodeProgram {
    /// A `vivace-node` that was named, or this program as a node.
    ///
    /// # Errors
    /// This program's own file is not known.
    pub fn new(named: Option<&Path>) -> std::io::Result<Self> {
        Ok(match named {
            Some(path) => Self {
                path: path.to_owned(),
                subcommand: "run",
            },
            None => Self {
                path: std::env::current_exe()?,
                subcommand: NODE_PROCESS,
            },
        })
    }
}

/// Client files.
#[derive(Clone, Debug)]
pub struct VivaceFiles {
    /// Knows node 1 alone: the measuring client's.
    pub client: PathBuf,
    /// Knows this site's nodes.
    pub site: PathBuf,
    /// Knows all nodes.
    pub all: PathBuf,
    /// Of clients at the other sites: the host, and what knows its node alone.
    pub elsewhere: Vec<(String, PathBuf)>,
}

/// Lays five nodes out in `directory` and starts them on the WAN's hosts; they need not
/// have found each other yet. `log` is the `RUST_LOG` of the program.
///
/// # Errors
/// Files can't be written, or a process not be started; nothing is left running.
pub fn start_vivace(
    wan: &Wan,
    status: &WanStatus,
    spec: &WanSpec,
    containers: Containers,
    (program, log): (&NodeProgram, &str),
    directory: &Path,
) -> anyhow::Result<(Processes, VivaceFiles)> {
    let sites = spec.sites;
    let nodes = nodes(status, sites)?;
    let name = ClusterName::new(CLUSTER)?;
    let ca = DevelopmentCa::generate(&name, VALID_FOR)?;
    write_pair(directory, "ca", ca.pem())?;
    let client = Role::Client {
        cluster: name.clone(),
        name: ClientName::new("load")?,
    };
    write_pair(directory, "client", &ca.issue(&client, VALID_FOR)?)?;
    let text = cluster_file(sites, &nodes, containers);
    write(&directory.join("cluster.toml"), &text)?;
    let mut processes = Processes::default();
    for node in &nodes {
        let home = directory.join(format!("node-{}", node.id));
        fs::create_dir(&home).with_context(|| home.display().to_string())?;
        let role = Role::Node {
            cluster: name.clone(),
            node: NodeId(node.id),
            site: SiteId(node.site),
        };
        write_pair(&home, "node", &ca.issue(&role, VALID_FOR)?)?;
        write(
            &home.join("node.toml"),
            &node_file(node.id, spec, wan.is_realtime()),
        )?;
        DataDirectory::make(&home.join("data"), &Owner::named(CLUSTER, NodeId(node.id)))?;
        let mut command = wan.realtime_command(&node.host, &program.path);
        command
            .arg(program.subcommand)
            .arg(home.join("node.toml"))
            .env("RUST_LOG", log)
            // A line that is read again has no colours.
            .env("NO_COLOR", "1");
        processes.start(&format!("node-{}", node.id), &mut command, directory)?;
    }
    let here: Vec<&Node> = nodes.iter().filter(|node| node.site == 0).collect();
    let client = |name: &str, nodes: &[&Node]| -> anyhow::Result<PathBuf> {
        let path = directory.join(name);
        write(&path, &client_file(nodes))?;
        Ok(path)
    };
    let mut elsewhere = Vec::new();
    for site in 1..sites.hosts().len() as u16 {
        if let Some(node) = nodes.iter().find(|node| node.site == site) {
            let file = client(&format!("client-{}.toml", node.site_name), &[node])?;
            elsewhere.push((node.host.clone(), file));
        }
    }
    let files = VivaceFiles {
        elsewhere,
        client: client("client.toml", &here[..1])?,
        site: client("site.toml", &here)?,
        all: client("all.toml", &nodes.iter().collect::<Vec<_>>())?,
    };
    Ok((processes, files))
}

struct Node {
    id: u16,
    site: u16,
    site_name: &'static str,
    host: String,
    address: String,
}

fn nodes(status: &WanStatus, sites: Sites) -> anyhow::Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for (site, (site_name, ids)) in (0..).zip(sites.hosts()) {
        for &id in *ids {
            let host = format!("{site_name}.n{id}");
            let address = status.address(&host);
            let address = address.with_context(|| format!("the WAN has no host {host}"))?;
            nodes.push(Node {
                id,
                site,
                site_name,
                address: address.to_owned(),
                host,
            });
        }
    }
    Ok(nodes)
}

fn cluster_file(sites: Sites, nodes: &[Node], containers: Containers) -> String {
    let names: Vec<String> = sites
        .hosts()
        .iter()
        .map(|(name, _)| format!("{name:?}"))
        .collect();
    let mut text = format!(
        "name = {CLUSTER:?}\nsites = [{}]\n[clock]\nerror_max_us = 5000\nslack_ms = 1000\n\
         [limits]\nvalue_bytes_max = {VALUE_BYTES_MAX}\n[dscp]\npriority = 46\nbulk = 0\n",
        names.join(", ")
    );
    for node in nodes {
        let address = &node.address;
        text += &format!(
            "[[nodes]]\nid = {}\nsite = {:?}\npriority = \"{address}:{PRIORITY_PORT}\"\n\
             bulk = \"{address}:{BULK_PORT}\"\nclient = \"{address}:{CLIENT_PORT}\"\n",
            node.id, node.site_name
        );
    }
    for (id, kind) in [(1, "abd"), (2, "rw"), (3, "lan-rmw"), (4, "rmw")] {
        text += &format!(
            "[[containers]]\nid = {id}\nname = \"{kind}\"\nkind = \"{kind}\"\nepoch = 1\n\
             replicas = {REPLICAS:?}\nwrite_back_skip = {}\npromise_skip = {}\n\
             early_data = {}\ncommands_at_replicas = {}\n",
            containers.write_back_skip,
            containers.promise_skip,
            containers.early_data,
            containers.commands_at_replicas
        );
        // The prior algorithms know neither local sets nor a choice of timestamps.
        if matches!(kind, "rw" | "rmw") {
            if containers.query_timestamps {
                text += "timestamps = \"query\"\n";
            }
            if containers.member_by_replica {
                text += "copies = \"member-by-replica\"\n";
            }
            text += "[containers.local_sets]\n";
            for (name, members) in sites.hosts() {
                text += &format!("{name} = {members:?}\n");
            }
        }
    }
    text
}

/// Where the class is policed, what a node may send of it on each path: the replicas of a site
/// share what its other nodes leave, of the rate and of what may pass at once.
fn priority_share(spec: &WanSpec, node: u16) -> Option<PriorityBound> {
    let passes = spec.police_percent? / 100.0 * spec.bits_per_second() / 8.0;
    let at_once = passes * f64::from(spec.times_slower) / POLICED_BURSTS_A_SECOND;
    let mut sites = spec.sites.hosts().iter().map(|(_, nodes)| nodes);
    let site = sites.find(|nodes| nodes.contains(&node))?;
    let is_replica = |node: &u16| REPLICAS.contains(node);
    let replicas = site.iter().filter(|node| is_replica(node)).count();
    let others = (site.len() - replicas) as f64;
    let least = PriorityBound::BURST_BYTES_MIN as f64;
    let share = |all: f64, other: f64| match is_replica(&node) {
        true => (all - others * other) / replicas as f64,
        false => other,
    };
    let other = (passes * NO_REPLICA_SHARE).max(PriorityBound::BYTES_PER_S_MIN as f64);
    Some(PriorityBound {
        burst_bytes: share(at_once, least).max(least) as u64,
        ..PriorityBound::new(share(passes, other) as u64)
    })
}

/// All nodes share one machine's clock, so a fixed bound is true.
fn node_file(node: u16, spec: &WanSpec, is_realtime: bool) -> String {
    let priority = priority_share(spec, node).map_or(String::new(), |share| {
        let PriorityBound {
            bytes_per_s,
            burst_bytes,
            ..
        } = share;
        format!("[priority]\nbytes_per_s = {bytes_per_s}\nburst_bytes = {burst_bytes}\n")
    });
    let bulk = match spec.mtu_bytes {
        MTU_BYTES => String::new(),
        bytes => format!("[bulk]\npacket_bytes_max = {bytes}\n"),
    };
    format!(
        "node = {node}\ncluster = \"../cluster.toml\"\nca = \"../ca.pem\"\n\
         certificate = \"node.pem\"\nkey = \"node.key\"\nrealtime = {is_realtime}\n[storage]\nkind = \"disk\"\n\
         directory = \"data\"\n[clock]\nsource = \"fixed\"\nerror_us = 500\n\
         {priority}{bulk}"
    )
}

fn client_file(nodes: &[&Node]) -> String {
    let addresses: Vec<String> = nodes
        .iter()
        .map(|node| format!("\"{}:{CLIENT_PORT}\"", node.address))
        .collect();
    format!(
        "cluster = {CLUSTER:?}\nnodes = [{}]\nca = \"ca.pem\"\ncertificate = \"client.pem\"\n\
         key = \"client.key\"\n",
        addresses.join(", ")
    )
}

fn write_pair(directory: &Path, name: &str, pair: &PemPair) -> anyhow::Result<()> {
    write(&directory.join(format!("{name}.pem")), &pair.certificate)?;
    write(&directory.join(format!("{name}.key")), &pair.key)
}

/// The directory is this user's alone, and with it the keys.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::made_up::SCALE;
    use crate::figures::{rivals, slow_motion};
    use crate::step::Work;

    #[test]
    fn the_shares_of_a_policed_class_are_what_nodes_take_and_no_more_than_it() {
        let steps = [rivals::steps_rival(&SCALE), slow_motion::steps(&SCALE)].concat();
        let stores = steps.iter().filter_map(|step| match &step.work {
            Work::Store(work) => Some(&work.wan),
            _ => None,
        });
        let mut policed = 0;
        for wan in stores {
            for (_, nodes) in wan.sites.hosts() {
                let shares = nodes.iter().filter_map(|&node| priority_share(wan, node));
                let shares: Vec<_> = shares.collect();
                for share in &shares {
                    share.validate().expect("a node starts with it");
                }
                let Some(percent) = wan.police_percent else {
                    continue;
                };
                policed += 1;
                let passes = percent / 100.0 * wan.bits_per_second() / 8.0;
                let all: u64 = shares.iter().map(|share| share.bytes_per_s).sum();
                assert!(
                    all as f64 <= passes,
                    "{all} of {passes} bytes/s at {nodes:?}"
                );
                assert!(
                    all as f64 >= 0.9 * passes,
                    "{all} of {passes} bytes/s at {nodes:?}"
                );
            }
        }
        assert!(policed >= 6, "{policed} sites");
    }
}
