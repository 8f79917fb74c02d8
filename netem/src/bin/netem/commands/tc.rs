//! `netem tc`: writes, and runs, a real gateway's script.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use netem::gateway::Gateway;
use netem::topology_file::{Depth, Mark, Rate, Share, Time};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::interruption::{Interrupted, Interruption};

/// How often to look whether the shell has ended, or a signal has come.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What to do with the script.
#[derive(Clone, Copy, ValueEnum)]
enum Deed {
    /// Write it to standard output: for a gateway without netem.
    Script,
    /// Say whether this machine can do it; changes nothing.
    Check,
    /// Check, then set it up, in place of the interface's queue.
    Apply,
    /// Show queues, classes and their counters.
    Show,
    /// Undo it.
    Remove,
}

/// Serve marked packets first on a real gateway (HTB): write a script, or check, apply,
/// show or remove it here.
#[derive(Args)]
pub struct Tc {
    /// What to do.
    deed: Deed,
    /// The interface towards the uplink.
    #[arg(long)]
    dev: String,
    /// The uplink's rate, for example 20Mbit.
    #[arg(long, value_parser = |text: &str| text.parse::<Rate>(),
        required_if_eq_any = [("deed", "script"), ("deed", "check"), ("deed", "apply")])]
    uplink: Option<Rate>,
    /// What of it to use, so that the queue is here and not in the modem.
    #[arg(long, default_value = "95%", value_parser = |text: &str| text.parse::<Share>())]
    share: Share,
    /// Marks that are served first.
    #[arg(long, default_value = "EF", value_delimiter = ',',
        value_parser = |text: &str| text.parse::<Mark>())]
    dscp: Vec<Mark>,
    /// What may wait of bulk: bytes, or time at the rate (at least two packets).
    #[arg(long, default_value = "100ms", value_parser = |text: &str| text.parse::<Depth>())]
    buffer: Depth,
    /// Largest IP packet; default: the interface's MTU here, or 1500.
    #[arg(long)]
    mtu: Option<u32>,
    /// An interface on which this site's packets come in; may be repeated.
    #[arg(long)]
    lan_dev: Vec<String>,
    /// Delay by this (where the kernel has netem), on --delay-dev.
    #[arg(long, requires = "delay_dev", value_parser = |text: &str| text.parse::<Time>())]
    delay: Option<Time>,
    /// An interface of the next hop, never the shaped one.
    #[arg(long, requires = "delay")]
    delay_dev: Option<String>,
}

impl Tc {
    /// Runs the command.
    pub fn run(&self) -> Result<()> {
        let script = self.gateway().script()?;
        let argument = match self.deed {
            Deed::Script => {
                return Ok(std::io::stdout().write_all(script.as_bytes())?);
            }
            Deed::Check => "check",
            Deed::Apply => "apply",
            Deed::Show => "show",
            Deed::Remove => "remove",
        };
        // The shell undoes what it began; until then nobody is told that it ended.
        let interruption = Interruption::take()?;
        let mut shell = Command::new("sh")
            .args(["-s", argument])
            .stdin(Stdio::piped())
            .spawn()
            .context("can't run sh")?;
        let mut input = shell.stdin.take().context("the shell's input is a pipe")?;
        input.write_all(script.as_bytes())?;
        drop(input);
        let mut interrupted = Ok(());
        let status = loop {
            if let Some(status) = shell.try_wait()? {
                break status;
            }
            if let Err(came) = interruption.check() {
                if let Some(Interrupted(signal)) = came.downcast_ref() {
                    // It may have come to this process alone.
                    kill(Pid::from_raw(i32::try_from(shell.id())?), *signal)?;
                }
                interrupted = Err(came);
            }
            std::thread::sleep(LOOK_EVERY);
        };
        if !status.success() {
            interrupted?;
            bail!("tc {argument} failed ({status}); what went wrong is said above");
        }
        Ok(())
    }

    fn gateway(&self) -> Gateway {
        // Nothing of it shows in what `show` and `remove` do.
        let uplink = self.uplink.map_or(1_000_000_000, |rate| rate.0);
        let mtu = self.mtu.or_else(|| mtu_of(&self.dev)).unwrap_or(1500);
        let buffer_bytes = match self.buffer {
            Depth::Bytes(bytes) => bytes,
            // A bare 0, of either: refused as 0 bytes are.
            Depth::Time(Duration::ZERO) => 0,
            Depth::Time(time) => {
                let bytes = uplink as f64 * self.share.0 * time.as_secs_f64() / 8.0;
                (bytes as u64).max(u64::from(mtu) * 2)
            }
        };
        Gateway {
            device: self.dev.clone(),
            uplink_bits_per_second: uplink,
            share: self.share.0,
            dscps: self.dscp.iter().map(|mark| mark.0).collect(),
            buffer_bytes,
            mtu,
            lan_devices: self.lan_dev.clone(),
            delay: self
                .delay_dev
                .clone()
                .zip(self.delay.map(|delay| delay.0))
                .filter(|(_, delay)| *delay > Duration::ZERO),
        }
    }
}

/// Of an interface of this network namespace, which `/sys` need not show.
fn mtu_of(device: &str) -> Option<u32> {
    let output = Command::new("ip")
        .args(["-o", "link", "show", "dev", device])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.split_whitespace().skip_while(|&word| word != "mtu");
    words.nth(1)?.parse().ok()
}
