//! `netem down`: ends a WAN and clears away whatever is left of one.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::output::say;
use crate::state::{self, ProcessId, State};
use crate::{control, namespaces};

/// How long a router has to end by itself, the processes in its WAN included.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often another router is looked for when one has ended: one that a `netem up` started
/// at that moment, and one more.
const LATER_ROUTERS_MAX: usize = 2;

/// Take a WAN down: end what runs in it, its router and its namespaces. Also clears
/// away what a router that crashed has left.
#[derive(Args)]
pub struct Down {
    /// Which; default: the only one there is.
    name: Option<String>,
    /// All of them.
    #[arg(long, conflicts_with = "name")]
    all: bool,
}

impl Down {
    /// Runs the command.
    pub fn run(&self) -> Result<()> {
        let mut known = namespaces::wans_with_names();
        known.extend(state::names()?);
        let names: Vec<String> = match &self.name {
            Some(name) if !known.contains(name) => {
                bail!(
                    "nothing is left of a WAN {name:?}; there is: {} (other users' WANs can't be \
                     seen from here)",
                    listed(&known)
                )
            }
            Some(name) => vec![name.clone()],
            None if self.all => known.into_iter().collect(),
            None if known.len() > 1 => {
                bail!(
                    "several WANs are up, name one or say --all: {}",
                    listed(&known)
                )
            }
            None => known.into_iter().collect(),
        };
        if names.is_empty() {
            say(format_args!("no WAN is up, nothing is left"));
        }
        for name in names {
            take_down(&name)?;
        }
        Ok(())
    }
}

fn listed(names: &std::collections::BTreeSet<String>) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().cloned().collect::<Vec<_>>().join(", ")
}

fn take_down(name: &str) -> Result<()> {
    let state = match State::read(name) {
        Ok(state) => state,
        Err(error) => {
            say(format_args!("{error:#}"));
            None
        }
    };
    // First, while the router holds the namespaces open and can tell them.
    report(namespaces::clear_processes(name, state.as_ref())?);
    match &state {
        Some(state) => end_router(state.router)?,
        None => end_router_without_state(name)?,
    }
    // What was read may have been of `netem up`, whose router came meanwhile, or wrong.
    for _ in 0..LATER_ROUTERS_MAX {
        let written = State::read(name).ok().flatten().map(|state| state.router);
        let alive = written.filter(|router| router.is_alive());
        let Some(router) = alive.map_or_else(|| control::listener(name), |of| Ok(Some(of)))? else {
            break;
        };
        end_router(router)?;
        say(format_args!("  ended its router, process {}", router.pid));
    }
    report(namespaces::clear(name, state.as_ref())?);
    state::forget(name)?;
    say(format_args!("{name} is down"));
    Ok(())
}

/// Ends a router that only its control socket tells of. It knows what there is to clear
/// away, and does so.
fn end_router_without_state(name: &str) -> Result<()> {
    let Some(router) = control::listener(name)? else {
        say(format_args!(
            "  no router listens at {}: if it lives, it is a process `netem up` that has to be \
             ended by hand",
            state::control_socket(name)?.display()
        ));
        return Ok(());
    };
    end_router(router)?;
    say(format_args!(
        "  ended the router, process {}, which listened at its control socket",
        router.pid
    ));
    Ok(())
}

fn report(lines: Vec<String>) {
    for line in lines {
        say(format_args!("  {line}"));
    }
}

fn end_router(router: ProcessId) -> Result<()> {
    if !router.is_alive() {
        say(format_args!("  the router had died"));
        return Ok(());
    }
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        // It may end between the question and the signal.
        let _ = kill(Pid::from_raw(router.pid), signal);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if !router.is_alive() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    bail!("the router, process {}, does not end", router.pid)
}
