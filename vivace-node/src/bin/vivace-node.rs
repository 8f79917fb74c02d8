//! The `vivace-node` command.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use vivace_core::NodeId;
use vivace_core::cluster::Container;
use vivace_node::config::{ClusterConfig, NodeConfig, StorageConfig};
use vivace_node::dev::DevCluster;
use vivace_node::init::{Layout, init, site_name};
use vivace_node::storage::identity::{Attestation, IdentityError};
use vivace_node::storage::{self, OpenError, layout};
use vivace_node::{NodeOptions, RunningNode, StartError};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A line for people. Where nobody reads it, what was done is done all the same, and the exit
/// code tells.
macro_rules! say {
    ($($text:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

#[derive(Parser)]
#[command(
    name = "vivace-node",
    version,
    about = "A node of Vivace, the key-value store that stays fast when the links between its \
             sites are full",
    after_help = "Examples:\n  \
        vivace-node dev                          three sites in one process, to try things out\n  \
        vivace-node init cluster                 files for three sites of three nodes each\n  \
        vivace-node run cluster/node-1/node.toml one of them, until Ctrl-C\n\n\
        Exit codes: 0 stopped on request, 1 could not start, 2 usage, 10 to 28 the data directory \
        can't be used (`vivace-node run --help`), 74 a disk write failed."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a development CA, certificates and commented configuration.
    #[command(
        after_help = "Example:\n  vivace-node init cluster --sites 3 --nodes-per-site 3\n\n\
        Writes cluster.toml (shared by all nodes), node-N/node.toml with its certificate for each \
        node, client-SITE.toml for clients of each site. All addresses are on this machine: edit \
        cluster.toml for several. The CA's key is in ca.key: keep it off production machines."
    )]
    Init {
        /// A new or empty directory.
        directory: PathBuf,
        /// How many sites, 1 to 9.
        #[arg(long, default_value_t = 3)]
        sites: u16,
        /// How many nodes in each, 1 to 9. A site's local set tolerates a crash from 3 on.
        #[arg(long, default_value_t = 3)]
        nodes_per_site: u16,
        /// The cluster's name: lower-case letters, digits, dashes.
        #[arg(long, default_value = "dev")]
        cluster: String,
        /// Node i listens on base-port + 10 i + 1 (priority), + 2 (bulk), + 3 (clients).
        #[arg(long, default_value_t = 7000)]
        base_port: u16,
    },
    /// Run one node until Ctrl-C or SIGTERM.
    #[command(
        after_help = "Example:\n  vivace-node run cluster/node-1/node.toml\n\n\
        RUST_LOG=debug shows more.\n\n\
        Exit codes, of which 10 to 28 say that the data directory was left as it is:\n  \
        0  stopped on request\n  \
        1  could not start: the message names the file and the field\n  \
        10 the data directory does not exist\n  \
        11 it is empty, new, or a part is missing: the node's state is lost or elsewhere\n  \
        12 it is another node's, another cluster's, or no node's\n  \
        13 it is a copy, or an older state of this node\n  \
        14 a newer program wrote it\n  \
        15 a development version wrote it\n  \
        16 it can't be written to\n  \
        17 another process uses it\n  \
        18 the journal is damaged before its end: this node must not vote\n  \
        19 the values can't be opened: the node can do without them\n  \
        20 the disk is full\n  \
        21 the disk can't be read\n  \
        22 the node has started 65,535 times\n  \
        23 a journal file's header or length is wrong\n  \
        24 the journal is damaged in what was written last\n  \
        25 the journal ends before what was acknowledged\n  \
        26 the journal's checkpoint is damaged\n  \
        27 the journal holds what this program can't read\n  \
        28 a container is not what it was when this directory took its state\n  \
        74 a write or sync failed while the node ran\n  \
        134 the protocol core panicked: please report it"
    )]
    Run {
        /// The node's configuration file.
        config: PathBuf,
    },
    /// Say of a node's data directory that it is right, where a start refuses it: that it was
    /// moved here, or that its containers are as the configuration says.
    #[command(
        after_help = "Example:\n  vivace-node adopt cluster/node-1/node.toml --original-is-gone\n  \
        vivace-node adopt cluster/node-1/node.toml --layout-is-right\n  \
        vivace-node adopt cluster/node-1/node.toml --id-is-right\n\n\
        A copied data directory is refused (exit code 13), because two processes that vote under \
        one id, or one that has forgotten what it promised, break what others rely on. Say so \
        only where the copy was made after the node had stopped for the last time.\n\n\
        A container that is not what it was is refused (28) even where nothing was ever stored in \
        it: other nodes may have acknowledged what this one knows nothing of. After a slip in a \
        new container, before anybody wrote to it, correct cluster.toml and say so at every node. \
        A node that knows of anything in it refuses that too.",
        group(
            clap::ArgGroup::new("what is so")
                .args(["original_is_gone", "layout_is_right", "id_is_right"])
                .required(true)
                .multiple(true)
        )
    )]
    Adopt {
        /// The node's configuration file.
        config: PathBuf,
        /// The node never starts again on the directory that this was copied from.
        #[arg(long)]
        original_is_gone: bool,
        /// Each container of the configuration has the kind, replicas and local sets that it had
        /// when this node ran last, or nothing was ever stored in it on any node.
        #[arg(long)]
        layout_is_right: bool,
        /// The directory is of the cluster whose id the cluster's file has, and took over another
        /// by mistake.
        #[arg(long)]
        id_is_right: bool,
    },
    /// Run three sites in one process over an emulated WAN (40 ms round trip, 20 Mbit/s).
    #[command(after_help = "Example:\n  vivace-node dev --congest 1.2\n\n\
        Everything is in memory and gone when it ends. It needs no root and no network.")]
    Dev {
        /// Fill every link with this many times its rate of other traffic; 0 is none.
        #[arg(long, default_value_t = 0.0)]
        congest: f64,
        /// Where client files go; default is a fresh directory under the system's temporary one.
        #[arg(long)]
        directory: Option<PathBuf>,
    },
}

impl Command {
    /// What is logged unless `RUST_LOG` says otherwise.
    fn log_level(&self) -> &'static str {
        match self {
            Self::Init { .. } | Self::Run { .. } | Self::Adopt { .. } => "info",
            // Several nodes' comings and goings would drown the instructions.
            Self::Dev { .. } => "warn",
        }
    }
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(command.log_level()));
    // A reader of the log that goes away must not take the node along: what can't be
    // written would be complained about on the same closed pipe.
    tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let result = match command {
        Command::Init {
            directory,
            sites,
            nodes_per_site,
            cluster,
            base_port,
        } => lay_out(
            &directory,
            &Layout {
                cluster,
                sites,
                nodes_per_site,
                base_port,
            },
        ),
        Command::Run { config } => run(&config),
        Command::Adopt {
            config,
            original_is_gone,
            layout_is_right,
            id_is_right,
        } => adopt(&config, original_is_gone, layout_is_right, id_is_right),
        Command::Dev { congest, directory } => dev(congest, directory),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Our errors name their cause themselves; the chain would say it twice.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            exit_code(&error)
        }
    }
}

/// What there is to do differs, and so does the code.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    let start = error
        .downcast_ref::<StartError>()
        .map(StartError::exit_code);
    let data = error
        .downcast_ref::<IdentityError>()
        .map(IdentityError::exit_code);
    let opened = error.downcast_ref::<OpenError>().map(OpenError::exit_code);
    start
        .or(data)
        .or(opened)
        .map_or(ExitCode::FAILURE, ExitCode::from)
}

fn lay_out(directory: &Path, layout: &Layout) -> anyhow::Result<()> {
    let laid = init(directory, layout)?;
    say!(
        "Wrote {} with {} nodes in {} sites.\n",
        directory.join("cluster.toml").display(),
        laid.node_files.len(),
        layout.sites
    );
    if layout.nodes_per_site == 2 {
        say!(
            "Note: with 2 nodes in a site its local set is 1 node, which tolerates no crash; 3 would.\n"
        );
    }
    say!("Start each node in a terminal of its own:");
    for file in &laid.node_files {
        say!("  vivace-node run {}", file.display());
    }
    say!("Then store and read a value, from different sites:");
    if let (Some(first), Some(last)) = (laid.client_files.first(), laid.client_files.last()) {
        say!(
            "  vivace --config {} put kv/greeting hello",
            first.display()
        );
        say!("  vivace --config {} get kv/greeting", last.display());
    }
    Ok(())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("tokio runtime")
}

async fn stop_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn run(path: &Path) -> anyhow::Result<()> {
    vivace_node::avoid_huge_pages();
    let config = NodeConfig::from_file(path)?;
    for warning in config.cluster.cluster.warnings() {
        tracing::warn!("{warning}");
    }
    match &config.storage {
        StorageConfig::Memory => tracing::warn!(
            "storage is \"memory\": everything this node stores is gone when it stops, and a \
             restarted node votes without remembering what it promised; for trials only"
        ),
        StorageConfig::Disk(settings) => {
            tracing::info!("state is in {}", settings.directory.display());
        }
    }
    let node = config.node;
    let running = RunningNode::start(NodeOptions::from_config(config))?;
    tracing::info!(
        "{node} serves clients at {}; Ctrl-C stops it",
        running.client_address()
    );
    runtime()?.block_on(stop_signal())?;
    tracing::info!("stopping");
    running.shutdown();
    Ok(())
}

fn adopt(
    path: &Path,
    original_is_gone: bool,
    layout_is_right: bool,
    id_is_right: bool,
) -> anyhow::Result<()> {
    let config = NodeConfig::from_file(path)?;
    let StorageConfig::Disk(settings) = &config.storage else {
        anyhow::bail!(
            "{}: storage.kind: is \"memory\"; there is no directory",
            path.display()
        );
    };
    let (directory, owner) = (&settings.directory, config.cluster.owner(config.node));
    let shown = directory.display();
    if id_is_right && owner.cluster_id.is_none() {
        anyhow::bail!(
            "--id-is-right: the cluster's file that {} names has no id, which the directory could \
             take over: put `id` there first",
            path.display()
        );
    }
    let attested = Attestation {
        original_is_gone,
        id_is_right,
    };
    let layout = layout_is_right.then(|| layout::Layout::of(&config.cluster.cluster));
    storage::adopt(settings, &owner, attested, layout)?;
    let mut done = String::new();
    if attested != Attestation::default() {
        done += &format!("{shown} belongs to {owner} from now on.\n");
    }
    if layout_is_right {
        done += &format!("{shown} remembers the configuration's containers from now on:\n");
        for container in &config.cluster.cluster.spec().containers {
            done += &format!("  {}\n", container_line(&config.cluster, container));
        }
    }
    say!("{}", done.trim_end());
    Ok(())
}

/// What nobody but the operator can tell to be right, in one line.
fn container_line(cluster: &ClusterConfig, container: &Container) -> String {
    let numbers = |nodes: &[NodeId]| {
        let numbers = nodes.iter().map(|node| node.0.to_string());
        numbers.collect::<Vec<_>>().join(", ")
    };
    let mut line = format!(
        "{} (id {}, {}), replicas {}",
        container.name,
        container.id.0,
        container.kind.name(),
        numbers(&container.replicas)
    );
    if container.kind.uses_local_sets() {
        let sites = &cluster.cluster.spec().sites;
        for (site, set) in &container.local_sets {
            let site = sites.get(usize::from(site.0)).map_or("?", String::as_str);
            line += &format!("; local set of {site}: {}", numbers(set));
        }
    }
    line
}

fn dev(congest: f64, directory: Option<PathBuf>) -> anyhow::Result<()> {
    anyhow::ensure!(
        (0.0..=10.0).contains(&congest),
        "--congest is {congest}; it must be 0 (none) to 10 (ten times the links' rate)"
    );
    let cluster = DevCluster::start()?;
    let runtime = runtime()?;
    let connected = runtime.block_on(cluster.wait_until_connected(Duration::from_secs(10)));
    anyhow::ensure!(connected, "the nodes did not connect within 10 s");
    for from in 0..3 {
        for to in (0..3).filter(|&to| to != from) {
            cluster
                .wan()
                .congest(netem::Site(from), netem::Site(to), congest)?;
        }
    }
    let directory = directory
        .unwrap_or_else(|| std::env::temp_dir().join(format!("vivace-dev-{}", std::process::id())));
    let files = cluster.write_client_files(&directory)?;
    say!("Three sites, 40 ms round trip and 20 Mbit/s apart; everything is in memory.\n");
    say!("In another terminal:");
    say!(
        "  vivace --config {} put kv/greeting hello",
        files[0].display()
    );
    say!("  vivace --config {} get kv/greeting", files[2].display());
    say!(
        "  vivace --config {} exec objects/visits counter add 1",
        files[1].display()
    );
    say!("  vivace --config {} status", files[0].display());
    for (site, file) in (0..).zip(&files) {
        say!("Clients of site {}: {}", site_name(site), file.display());
    }
    say!("\nCtrl-C stops it.");
    runtime.block_on(stop_signal())?;
    drop(cluster);
    // Only what this run wrote: the directory may have been there before.
    for name in files.iter().filter_map(|file| file.file_name()) {
        let _ = std::fs::remove_file(directory.join(name));
    }
    for name in ["ca.pem", "client.pem", "client.key"] {
        let _ = std::fs::remove_file(directory.join(name));
    }
    let _ = std::fs::remove_dir(&directory);
    Ok(())
}
