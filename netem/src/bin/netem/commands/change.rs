//! `netem congest` and `netem set`: changes to a running WAN.

use anyhow::{Context, Result, bail};
use clap::Args;
use netem::topology_file::{LinkChange, Load};
use netem::{CROSS_FRACTION_MAX, CROSS_FRACTION_MIN};

use crate::control::{Request, ask};
use crate::state::State;

/// Fill a link with other people's traffic in the default class: Poisson, made inside
/// the router, or TCP flows between hosts. `netem congest west:east 0` ends both.
#[derive(Args)]
pub struct Congest {
    /// FROM:TO, or a link's own name.
    link: String,
    /// Of the link's rate, for example 120%; 0 ends it.
    #[arg(value_parser = |text: &str| text.parse::<Load>())]
    load: Option<Load>,
    /// So many TCP flows (besides, or instead of, a load); 0 ends them.
    #[arg(long, value_name = "FLOWS")]
    tcp: Option<usize>,
    /// The opposite link too (only of FROM:TO).
    #[arg(long)]
    both: bool,
    /// Which WAN; default: the only one that is up.
    #[arg(long)]
    wan: Option<String>,
}

/// Change a link: rate=10Mbit, buffer=256KB, delay=50ms, jitter=2ms, loss=1%,
/// priority=EF,CS6 (or none), police=5% (or none), police_burst=6KB, remark=46:0,0:46
/// (or none), bleach=on, down, up.
#[derive(Args)]
pub struct Set {
    /// FROM:TO, or a link's own name.
    link: String,
    /// What to change.
    #[arg(required = true)]
    settings: Vec<String>,
    /// The opposite link too (only of FROM:TO).
    #[arg(long)]
    both: bool,
    /// Which WAN; default: the only one that is up.
    #[arg(long)]
    wan: Option<String>,
}

impl Congest {
    /// Runs the command.
    pub fn run(&self) -> Result<()> {
        let state = State::chosen(self.wan.as_deref())?;
        if self.load.is_none() && self.tcp.is_none() {
            bail!("say how much: a load such as 120%, or --tcp FLOWS");
        }
        if let Some(Load(load)) = self.load
            && load != 0.0
            && !(CROSS_FRACTION_MIN..=CROSS_FRACTION_MAX).contains(&load)
        {
            bail!(
                "the load must be 0, or {}% to {}%, not {}%",
                CROSS_FRACTION_MIN * 100.0,
                CROSS_FRACTION_MAX * 100.0,
                load * 100.0
            );
        }
        for link in links(&state, &self.link, self.both)? {
            if let Some(Load(load)) = self.load {
                ask(&state, &Request::Congest { link, load })
                    .with_context(|| of_link(&state, link))?;
            }
            // "0" means: no congestion of any kind.
            let ended = self.load.is_some_and(|load| load.0 == 0.0);
            if let Some(flows) = self.tcp.or(ended.then_some(0)) {
                ask(&state, &Request::TcpFlows { link, flows })?;
            }
        }
        Ok(())
    }
}

impl Set {
    /// Runs the command.
    pub fn run(&self) -> Result<()> {
        let state = State::chosen(self.wan.as_deref())?;
        // Here too, so that of two links none is changed if the words are wrong.
        LinkChange::parse(&self.settings)?;
        for link in links(&state, &self.link, self.both)? {
            let words = self.settings.clone();
            ask(&state, &Request::Set { link, words }).with_context(|| of_link(&state, link))?;
        }
        Ok(())
    }
}

/// Of two links the first may have taken what the second refuses.
fn of_link(state: &State, link: usize) -> String {
    format!("link {}", state.links[link])
}

fn links(state: &State, name: &str, both: bool) -> Result<Vec<usize>> {
    let mut links = vec![state.link(name)?];
    if both {
        match name.split_once(':') {
            Some((from, to)) if from != to => links.push(state.link(&format!("{to}:{from}"))?),
            _ => bail!("--both is for links FROM:TO, and {name:?} has no opposite"),
        }
    }
    Ok(links)
}
