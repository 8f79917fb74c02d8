//! This program as a node, for a parent that will kill it.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use vivace_node::config::NodeConfig;
use vivace_node::{NodeOptions, RunningNode, StartError};

/// The name of the subcommand, which no user needs.
pub const NODE_PROCESS: &str = "node-process";

/// What `vivace-node run` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct NodeProcessArguments {
    /// The node's configuration file.
    pub config: PathBuf,
}

/// Does what `vivace-node run` does, until standard input ends: with the parent, or
/// when that says so.
pub fn run_node(arguments: &NodeProcessArguments) -> ExitCode {
    vivace_node::avoid_huge_pages();
    let started = NodeConfig::from_file(&arguments.config)
        .map_err(anyhow::Error::from)
        .and_then(|config| Ok(RunningNode::start(NodeOptions::from_config(config))?));
    match started {
        Ok(node) => {
            eprintln!("serves clients at {}", node.client_address());
            // Whether it ends or breaks, the parent is gone.
            let _ = std::io::stdin().read(&mut [0]);
            node.shutdown();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            let code = error.downcast_ref().map(StartError::exit_code);
            code.map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}
