//! `netem exec`: runs a command on a host.

use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use thiserror::Error;

use crate::namespaces::{self, RUN_VARIABLE};
use crate::realtime::{self, become_realtime};
use crate::state::State;

/// Run a command on a host: `netem exec west.1 -- ping 10.77.2.1`. Its environment
/// has NETEM_SITE, NETEM_HOST, NETEM_IPV4 and NETEM_IPV6. Exits as the command does; with
/// 127 if it isn't found, 126 if it can't be run, and 1 if it never came to that.
#[derive(Args)]
pub struct Exec {
    /// SITE (its first host) or SITE.HOST.
    host: String,
    /// Run it in real time (SCHED_RR), ahead of all that is not: where many hosts share few
    /// processors, each is as fast as if it had its own. For measurements; what never sleeps
    /// keeps others from running.
    #[arg(long)]
    realtime: bool,
    /// The command with its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
    /// Which WAN; default: the only one that is up.
    #[arg(long)]
    wan: Option<String>,
}

/// The command was not run.
#[derive(Debug, Error)]
#[error("can't run {program}")]
pub struct NotRun {
    program: String,
    source: io::Error,
}

impl NotRun {
    /// As shells and env(1) tell a command that isn't found from one that may not be run.
    pub fn exit_code(&self) -> u8 {
        match self.source.kind() {
            ErrorKind::NotFound => 127,
            _ => 126,
        }
    }
}

impl Exec {
    /// Runs the command in place of this process.
    pub fn run(&self) -> Result<()> {
        let state = State::chosen(self.wan.as_deref())?;
        let host = state.host(&self.host)?;
        namespaces::enter_user_namespace(&state)?;
        namespaces::enter(&host.namespace)?;
        if self.realtime {
            become_realtime(realtime::COMMAND)?;
        }
        let (program, arguments) = self
            .command
            .split_first()
            .context("clap requires a command")?;
        let source = Command::new(program)
            .args(arguments)
            .env(RUN_VARIABLE, &state.run)
            .env("NETEM_SITE", &host.site)
            .env("NETEM_HOST", &host.host)
            .env("NETEM_IPV4", host.ipv4.to_string())
            .env("NETEM_IPV6", host.ipv6.to_string())
            .exec();
        let program = program.clone();
        Err(NotRun { program, source }.into())
    }
}
