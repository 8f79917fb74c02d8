//! `netem status`: a WAN as it is, for people or as JSON.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::control::{self, Status};
use crate::output::say;
use crate::state::{Mode, State};

/// Show hosts, links, counters and how late the router is.
#[derive(Args)]
pub struct Show {
    /// Everything, as JSON.
    #[arg(long)]
    json: bool,
    /// Begin a new window of lateness after answering; the next answer's `window` is
    /// what happened since.
    #[arg(long)]
    begin_window: bool,
    /// Which WAN; default: the only one that is up.
    #[arg(long)]
    wan: Option<String>,
}

/// What programs get: [`State`] and [`Status`] in one object.
#[derive(Serialize)]
pub struct Everything<'a> {
    #[serde(flatten)]
    state: &'a State,
    #[serde(flatten)]
    status: Flattened<'a>,
}

impl<'a> Everything<'a> {
    /// A WAN as it is.
    pub fn of(state: &'a State, status: &'a Status) -> Self {
        Self {
            state,
            status: Flattened {
                seconds: status.seconds,
                performance: &status.router,
                link_status: &status.links,
            },
        }
    }
}

/// [`Status`] without the clash of names with [`State`].
#[derive(Serialize)]
struct Flattened<'a> {
    seconds: f64,
    performance: &'a control::RouterStatus,
    link_status: &'a [control::LinkStatus],
}

impl Show {
    /// Runs the command.
    pub fn run(&self) -> Result<()> {
        let state = State::chosen(self.wan.as_deref())?;
        let status = control::status(&state, self.begin_window)?;
        if self.json {
            let everything = Everything::of(&state, &status);
            say(serde_json::to_string_pretty(&everything)?);
            return Ok(());
        }
        print_state(&state);
        print_status(&status);
        Ok(())
    }
}

fn print_state(state: &State) {
    let how = match state.mode {
        Mode::Root => "as root",
        Mode::UserNamespace => "without root, in a user namespace",
    };
    say(format_args!(
        "{} is up {how}, router: process {}",
        state.name, state.router.pid
    ));
    for host in &state.hosts {
        say(format_args!(
            "  {:<24} {:<12} {}",
            host.full_name(),
            host.ipv4,
            host.ipv6
        ));
    }
}

fn print_status(status: &Status) {
    let router = &status.router;
    say(format_args!(
        "router: up {:.0} s, {}, {:.1} % of a processor, {} packets in, {} out",
        status.seconds,
        router.scheduling,
        100.0 * router.cpu_seconds / status.seconds.max(0.001),
        router.read_packets,
        router.written_packets,
    ));
    let late = router.lateness;
    say(format_args!(
        "late by: p50 {} us, p99 {} us, p99.9 {} us, at most {} us",
        late.p50_us, late.p99_us, late.p999_us, late.max_us
    ));
    say(format_args!(
        "{}",
        crate::commands::watch::table(status, None)
    ));
}
