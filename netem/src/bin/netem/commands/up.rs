//! `netem up`: builds a WAN and leaves it running.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use netem::topology_file::{Plan, TopologyFile};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid, setsid};

use crate::interruption::{Interrupted, Interruption};
use crate::output::say;
use crate::router::Router;
use crate::server::Server;
use crate::state::{self, Mode, State};
use crate::units::{bits, bytes, marks, micros};
use crate::{host, namespaces};

/// How long building may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a router that is being built has to clear away by itself.
const CLEARING_PATIENCE: Duration = Duration::from_secs(10);

/// Build the WAN of a topology file from network namespaces and leave it running.
#[derive(Args)]
pub struct Up {
    /// The topology file (TOML).
    file: PathBuf,
    /// What to call it, instead of the file's `name`.
    #[arg(long)]
    name: Option<String>,
    /// Stay in the foreground; Ctrl-C takes the WAN down.
    #[arg(long)]
    foreground: bool,
    /// Use a user namespace even as root.
    #[arg(long)]
    rootless: bool,
    /// Check the file and say what would be built.
    #[arg(long)]
    dry_run: bool,
    /// Set by `up` itself, the process that waits: the directory is claimed, and nobody
    /// reads standard output.
    #[arg(long, hide = true)]
    background: Option<i32>,
}

/// Who learns that the WAN is up.
#[derive(Clone, Copy)]
enum Audience {
    /// `netem up`, the parent of this number: it reads so in the state, and is gone then.
    Waiting(i32),
    /// Whoever reads standard output.
    Reader,
}

impl Audience {
    /// Fails if nobody is there any more. Before the state says that the WAN is ready: after
    /// that, a parent that is gone has done what it waited for.
    fn check(self) -> Result<()> {
        match self {
            Self::Waiting(parent) => {
                ensure!(getppid().as_raw() == parent, "`netem up` was killed");
                Ok(())
            }
            Self::Reader => Ok(()),
        }
    }

    /// Says what the state does not say; after it was written, for it is read for that.
    fn tell(self, plan: &Plan) -> Result<()> {
        match self {
            Self::Waiting(_) => Ok(()),
            Self::Reader => {
                print_up(plan)?;
                say(format_args!("Ctrl-C takes it down"));
                Ok(())
            }
        }
    }
}

impl Up {
    /// Runs the command.
    pub fn run(&self) -> Result<()> {
        let plan = self.plan()?;
        if self.dry_run {
            print_plan(&plan);
            return Ok(());
        }
        let mode = namespaces::choose_mode(self.rootless)?;
        // Before anything is made, or a signal would leave half of it.
        let interruption = Interruption::take()?;
        if let Some(waiting) = self.background {
            // Not ended with this terminal, nor by a Ctrl-C that is meant for what runs
            // later in it.
            setsid()?;
            return build_and_route(&plan, mode, &interruption, Audience::Waiting(waiting));
        }
        let directory = state::claim(&plan, mode)?;
        let result = namespaces::check_unnamed(&plan.name).and_then(|()| {
            if self.foreground {
                build_and_route(&plan, mode, &interruption, Audience::Reader)
            } else {
                self.start_in_background(&plan, &directory, &interruption)
            }
        });
        if result.is_err() && state::is_of(&plan.name, &[own_id()?]) {
            // Nothing was left running, or it was already cleared away.
            state::forget(&plan.name)?;
        }
        result
    }

    fn plan(&self) -> Result<Plan> {
        let shown = self.file.display();
        let text = fs::read_to_string(&self.file).with_context(|| format!("can't read {shown}"))?;
        let mut file = TopologyFile::parse(&text).with_context(|| format!("{shown} is refused"))?;
        if let Some(name) = &self.name {
            file.name = Some(name.clone());
        }
        let stem = self
            .file
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or("wan");
        Plan::new(&file, stem).with_context(|| format!("{shown} is refused"))
    }

    fn start_in_background(
        &self,
        plan: &Plan,
        directory: &Path,
        interruption: &Interruption,
    ) -> Result<()> {
        // Kept open: a router that fails takes the directory with it.
        let log_path = directory.join("router.log");
        let mut log = File::options()
            .create_new(true)
            .read(true)
            .append(true)
            .open(log_path)?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("up")
            .arg(&self.file)
            .args(["--background", &std::process::id().to_string()])
            .args(["--name", &plan.name]);
        if self.rootless {
            command.arg("--rootless");
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.try_clone()?)
            .spawn()
            .context("can't start the router")?;
        if let Err(error) = wait_until_ready(&mut child, plan, interruption) {
            end(&mut child)?;
            // Where `down` has cleared it away, the name may be another's by now.
            if state::is_of(&plan.name, &[own_id()?, id_of(&child)?]) {
                namespaces::clear(&plan.name, None)?;
                state::forget(&plan.name)?;
            }
            if error.is::<Interrupted>() {
                return Err(error);
            }
            let mut said = String::new();
            log.rewind()?;
            log.read_to_string(&mut said)?;
            let said = said.trim().trim_start_matches("netem: ").to_owned();
            return Err(if said.is_empty() {
                error
            } else {
                anyhow::anyhow!(said)
            });
        }
        print_up(plan)
    }
}

fn own_id() -> Result<i32> {
    Ok(i32::try_from(std::process::id())?)
}

fn id_of(child: &Child) -> Result<i32> {
    Ok(i32::try_from(child.id())?)
}

/// Ends a router that is being built: by itself, if it can.
fn end(router: &mut Child) -> Result<()> {
    if router.try_wait()?.is_none() {
        // Until it is waited for, the number is its own.
        kill(Pid::from_raw(id_of(router)?), Signal::SIGTERM)?;
    }
    let deadline = Instant::now() + CLEARING_PATIENCE;
    while Instant::now() < deadline {
        if router.try_wait()?.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = router.kill();
    router.wait()?;
    Ok(())
}

fn wait_until_ready(router: &mut Child, plan: &Plan, interruption: &Interruption) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(Some(state)) = State::read(&plan.name)
            && state.ready
            && state.router.pid == id_of(router)?
        {
            return Ok(());
        }
        interruption.check()?;
        if let Some(status) = router.try_wait()? {
            bail!("the router ended at once ({status})");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("the WAN was not ready within {PATIENCE:?}")
}

/// Builds, routes until told to stop, and clears away. Must be called with one thread.
fn build_and_route(
    plan: &Plan,
    mode: Mode,
    interruption: &Interruption,
    audience: Audience,
) -> Result<()> {
    let mut state = State::planned(plan, mode)?;
    state.write()?;
    if mode == Mode::UserNamespace {
        namespaces::enter_new_user_namespace()?;
    }
    // Open until all is cleared away, or what is in them is not found by them.
    let mut held = Vec::new();
    let routed = route(plan, &mut state, &mut held, interruption, audience);
    let cleared = namespaces::clear(&plan.name, Some(&state));
    state::forget(&plan.name)?;
    routed.and(cleared.map(drop))
}

fn route(
    plan: &Plan,
    state: &mut State,
    held: &mut Vec<OwnedFd>,
    interruption: &Interruption,
    audience: Audience,
) -> Result<()> {
    let mut devices = Vec::new();
    let mtu_bytes = u16::try_from(plan.mtu_bytes).context("the MTU")?;
    for host in &mut state.hosts {
        interruption.check()?;
        let name = namespaces::name_of(&plan.name, &host.full_name());
        let built = host::build(state.mode, name, host.ipv4, host.ipv6, mtu_bytes)
            .with_context(|| format!("can't build host {}", host.full_name()))?;
        host.namespace_inode = Some(File::from(built.namespace.try_clone()?).metadata()?.ino());
        host.namespace = built.path;
        devices.push(built.device);
        held.push(built.namespace);
    }
    let ended = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
    let router = Router::start(plan, devices, ended.clone())?;
    Server::start(router.asker(), plan.clone(), state)?;
    let routed = announce(plan, state, audience).and_then(|()| wait_for_end(interruption, &ended));
    router.stop();
    match routed? {
        true => Ok(()),
        false => bail!("the router ended by itself"),
    }
}

fn announce(plan: &Plan, state: &mut State, audience: Audience) -> Result<()> {
    audience.check()?;
    state.ready = true;
    state.write()?;
    audience.tell(plan)
}

/// Waits for a signal (true) or for the router's own end (false).
fn wait_for_end(interruption: &Interruption, ended: &EventFd) -> Result<bool> {
    let wait_for = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds = [wait_for(interruption.as_fd()), wait_for(ended.as_fd())];
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => {}
            result => {
                result?;
                return Ok(fds[0].any().unwrap_or(false));
            }
        }
    }
}

fn print_up(plan: &Plan) -> Result<()> {
    let state = State::chosen(Some(&plan.name))?;
    let how = match state.mode {
        Mode::Root => "named network namespaces, as root",
        Mode::UserNamespace => "network namespaces in a user namespace, without root",
    };
    say(format_args!(
        "{} is up ({how}; router: process {})",
        plan.name, state.router.pid
    ));
    print_plan(plan);
    let (first, last) = (&state.hosts[0], &state.hosts[state.hosts.len() - 1]);
    say(format_args!(
        "\nrun something in it:  netem exec {} -- CMD",
        first.full_name()
    ));
    say(format_args!(
        "measure a way:        netem ping {} {}",
        first.full_name(),
        last.full_name()
    ));
    say(format_args!(
        "take it down:         netem down {}",
        plan.name
    ));
    Ok(())
}

fn print_plan(plan: &Plan) {
    say(format_args!("hosts"));
    for site in &plan.sites {
        for host in &site.hosts {
            let name = format!("{}.{}", site.name, host.name);
            say(format_args!("  {name:<24} {:<12} {}", host.ipv4, host.ipv6));
        }
    }
    say(format_args!("links"));
    for link in &plan.links {
        let config = &link.config;
        let mut line = format!(
            "  {:<24} {}, {} one way, buffer {}",
            link.name,
            bits(config.rate_bits_per_second),
            micros(config.delay),
            bytes(config.buffer_bytes),
        );
        if !config.jitter.is_zero() {
            line += &format!(", jitter {}", micros(config.jitter));
        }
        if config.loss > 0.0 {
            line += &format!(", loss {} %", config.loss * 100.0);
        }
        let first: Vec<u8> = (0..64)
            .filter(|&dscp| config.priority_dscps.contains(dscp))
            .collect();
        line += &match marks(&first) {
            none if none.is_empty() => ", no classes".to_owned(),
            names => format!(", {names} first"),
        };
        if let Some(limit) = config.priority_limit {
            line += &format!(" up to {}", bits(limit.rate_bits_per_second));
        }
        if link.remark.changes().next().is_some() {
            line += ", rewrites marks";
        }
        say(format_args!("{line}"));
    }
}
