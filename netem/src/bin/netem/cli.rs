//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{change, down, exec, flood, ping, status, tc, up, watch};
use crate::interruption::Interrupted;

/// A WAN on one machine: sites as network namespaces, links with rates, delays,
/// buffers and classes between them.
#[derive(Parser)]
#[command(name = "netem", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Up),
    Exec(exec::Exec),
    Congest(change::Congest),
    Set(change::Set),
    Watch(watch::Watch),
    Status(status::Show),
    Ping(ping::Ping),
    Flood(flood::Flood),
    Down(down::Down),
    Tc(tc::Tc),
}

/// Runs what the command line says; errors go to standard error, with what was tried.
pub fn run() -> ExitCode {
    // Before any user namespace makes everybody root.
    crate::state::started_as_root();
    let result = match Cli::parse().command {
        Command::Up(command) => command.run(),
        Command::Exec(command) => command.run(),
        Command::Congest(command) => command.run(),
        Command::Set(command) => command.run(),
        Command::Watch(command) => command.run(),
        Command::Status(command) => command.run(),
        Command::Ping(command) => command.run(),
        Command::Flood(command) => command.run(),
        Command::Down(command) => command.run(),
        Command::Tc(command) => command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netem: {error:#}");
            exit_code(&error)
        }
    }
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        return interrupted.exit_code().into();
    }
    if let Some(not_run) = error.downcast_ref::<exec::NotRun>() {
        return not_run.exit_code().into();
    }
    ExitCode::FAILURE
}
