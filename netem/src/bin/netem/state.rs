//! What is written down of a WAN that is up, so that other commands find it and
//! `netem down` can clear away what a dead router left.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use netem::MTU_BYTES;
use netem::topology_file::Plan;
use nix::unistd::{geteuid, getuid};
use serde::{Deserialize, Serialize};

/// How often a directory is made anew that another command removes.
const CLAIM_TRIES: u32 = 10;

/// How long whoever has claimed a name may take to write who it is.
const SIGNING_PATIENCE: Duration = Duration::from_secs(1);

/// One WAN, as its router wrote it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// What it is called.
    pub name: String,
    /// Tells this run from any other; every process that `netem exec` starts has it
    /// in its environment.
    pub run: String,
    /// The router.
    pub router: ProcessId,
    /// By what right it was built.
    pub mode: Mode,
    /// All hosts, site by site.
    pub hosts: Vec<Host>,
    /// The names of all links.
    pub links: Vec<String>,
    /// Bytes of the largest IP packet; a WAN whose state says nothing is from before.
    #[serde(default = "ethernet")]
    pub mtu_bytes: u32,
    /// Whether packets flow yet.
    pub ready: bool,
}

fn ethernet() -> u32 {
    MTU_BYTES
}

/// A process that is not mistaken for a later one under the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub start_ticks: u64,
}

/// By what right namespaces were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// As root: named namespaces, which `ip netns` sees too.
    Root,
    /// In a user namespace: nameless ones that the router holds open.
    UserNamespace,
}

/// One host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Host {
    /// Its site's name.
    pub site: String,
    /// Its own.
    pub host: String,
    /// Its IPv4 address.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address.
    pub ipv6: Ipv6Addr,
    /// Where its network namespace can be opened.
    pub namespace: PathBuf,
    /// The namespace's inode number: in a user namespace it is all that tells it once the
    /// router is dead. A WAN whose state says nothing is from before.
    #[serde(default)]
    pub namespace_inode: Option<u64>,
}

impl ProcessId {
    /// The calling process.
    pub fn own() -> Result<Self> {
        let pid = i32::try_from(std::process::id())?;
        Self::running(pid).context("/proc tells nothing of this process")
    }

    /// The process that has the number now.
    pub fn running(pid: i32) -> Option<Self> {
        let start_ticks = start_ticks(pid)?;
        Some(Self { pid, start_ticks })
    }

    /// Whether it still runs.
    pub fn is_alive(self) -> bool {
        start_ticks(self.pid) == Some(self.start_ticks)
    }
}

impl Host {
    /// `SITE.HOST`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.site, self.host)
    }
}

/// Field 22 of `/proc/PID/stat`; `None` if there is no such process, or only its remains.
fn start_ticks(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may contain spaces and parentheses: fields count from its end.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    // The first thread's remains say nothing while others still hold devices open.
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    (state != "Z" || threads > 1).then(|| fields.nth(1)?.parse().ok())?
}

impl State {
    /// What will be true of `plan` once it is built; namespaces are filled in as they
    /// are made.
    pub fn planned(plan: &Plan, mode: Mode) -> Result<Self> {
        let router = ProcessId::own()?;
        let hosts = plan.sites.iter().flat_map(|site| {
            site.hosts.iter().map(|host| Host {
                site: site.name.clone(),
                host: host.name.clone(),
                ipv4: host.ipv4,
                ipv6: host.ipv6,
                namespace: PathBuf::new(),
                namespace_inode: None,
            })
        });
        Ok(Self {
            name: plan.name.clone(),
            run: format!("{}-{}-{}", plan.name, router.pid, router.start_ticks),
            router,
            mode,
            hosts: hosts.collect(),
            links: plan.links.iter().map(|link| link.name.clone()).collect(),
            mtu_bytes: plan.mtu_bytes,
            ready: false,
        })
    }

    /// Writes it where [`State::read`] finds it, all of it or nothing.
    pub fn write(&self) -> Result<()> {
        let directory = directory_of(&self.name)?;
        let new = directory.join("state.json.new");
        fs::write(&new, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&new, directory.join("state.json")))
            .with_context(|| format!("can't write the state into {}", directory.display()))
    }

    /// The WAN of that name, `None` if nothing is known of it.
    pub fn read(name: &str) -> Result<Option<Self>> {
        let path = directory_of(name)?.join("state.json");
        let Ok(text) = fs::read(&path) else {
            return Ok(None);
        };
        serde_json::from_slice(&text).map(Some).with_context(|| {
            format!(
                "{} is damaged; `netem down {name}` clears it away",
                path.display()
            )
        })
    }

    /// The WAN that a command means: the one of that name, or the only one.
    pub fn chosen(name: Option<&str>) -> Result<Self> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => {
                let mut names = names()?;
                match names.len() {
                    0 => bail!("no WAN is up: start one with `netem up FILE`"),
                    1 => names.remove(0),
                    _ => bail!(
                        "several WANs are up, say --wan NAME with one of: {}",
                        names.join(", ")
                    ),
                }
            }
        };
        let Some(state) = Self::read(&name)? else {
            bail!(
                "no WAN {name:?} is up{}",
                match names()?.join(", ") {
                    none if none.is_empty() => String::new(),
                    names => format!("; there is: {names}"),
                }
            );
        };
        if !state.router.is_alive() {
            bail!("the router of {name:?} has died: `netem down {name}` clears away what it left");
        }
        if !state.ready {
            bail!("{name:?} is still being built");
        }
        Ok(state)
    }

    /// The host that `SITE` (its first) or `SITE.HOST` means.
    pub fn host(&self, name: &str) -> Result<&Host> {
        let (site, host) = match name.split_once('.') {
            Some((site, host)) => (site, Some(host)),
            None => (name, None),
        };
        let means =
            |known: &&Host| known.site == site && host.is_none_or(|host| known.host == host);
        self.hosts.iter().find(means).with_context(|| {
            let names: Vec<_> = self.hosts.iter().map(Host::full_name).collect();
            format!("there is no host {name:?}; there is: {}", names.join(", "))
        })
    }

    /// The position of a link.
    pub fn link(&self, name: &str) -> Result<usize> {
        let found = self.links.iter().position(|link| link == name);
        found.with_context(|| {
            format!(
                "there is no link {name:?}; there is: {}",
                self.links.join(", ")
            )
        })
    }

    /// Where the user namespace can be opened, if there is one.
    pub fn user_namespace(&self) -> Option<PathBuf> {
        match self.mode {
            Mode::Root => None,
            Mode::UserNamespace => Some(format!("/proc/{}/ns/user", self.router.pid).into()),
        }
    }

    /// The socket that the router listens on.
    pub fn control_socket(&self) -> Result<PathBuf> {
        control_socket(&self.name)
    }
}

/// The socket that the router of a WAN of that name listens on.
pub fn control_socket(name: &str) -> Result<PathBuf> {
    Ok(directory_of(name)?.join("control.sock"))
}

/// The names of all WANs that something is known of.
pub fn names() -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(base_directory()?) else {
        return Ok(Vec::new());
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Takes the name of a WAN, once, and writes down that this process builds it.
pub fn claim(plan: &Plan, mode: Mode) -> Result<PathBuf> {
    let directory = make_directory(&plan.name)?;
    if let Err(error) = State::planned(plan, mode).and_then(|state| state.write()) {
        forget(&plan.name)?;
        return Err(error);
    }
    Ok(directory)
}

fn make_directory(name: &str) -> Result<PathBuf> {
    let directory = directory_of(name)?;
    for _ in 0..CLAIM_TRIES {
        make_base_directory()?;
        match DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(taken(name)),
            // Another WAN went down in between and took the empty directory along.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("can't make {}", directory.display()));
            }
        }
    }
    bail!(
        "can't make {}: it vanishes again and again",
        directory.display()
    )
}

/// Why a name can't be claimed.
fn taken(name: &str) -> String {
    match signed(name) {
        Some(state) if state.router.is_alive() && state.ready => format!(
            "{name:?} is up already (router: process {}); end it with `netem down {name}`",
            state.router.pid
        ),
        Some(state) if state.router.is_alive() => format!(
            "another `netem up` builds {name:?} (process {}): wait for it, or give this WAN \
             another name with --name",
            state.router.pid
        ),
        _ => {
            format!("{name:?} was not ended properly: `netem down {name}` clears away what is left")
        }
    }
}

/// What is written of a WAN whose directory there is: its builder may be about to.
fn signed(name: &str) -> Option<State> {
    let deadline = Instant::now() + SIGNING_PATIENCE;
    while Instant::now() < deadline {
        match State::read(name) {
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            read => return read.ok().flatten(),
        }
    }
    None
}

fn make_base_directory() -> Result<()> {
    let base = base_directory()?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&base)
        .with_context(|| format!("can't make {}", base.display()))?;
    // In /tmp somebody else may have been there first.
    if fs::metadata(&base)?.uid() != getuid().as_raw() {
        bail!(
            "{} belongs to somebody else: set XDG_RUNTIME_DIR",
            base.display()
        );
    }
    Ok(())
}

/// Whether the state of a WAN was written by one of these processes.
pub fn is_of(name: &str, processes: &[i32]) -> bool {
    let state = State::read(name).ok().flatten();
    state.is_some_and(|state| processes.contains(&state.router.pid))
}

/// Forgets a WAN.
pub fn forget(name: &str) -> Result<()> {
    let directory = directory_of(name)?;
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", directory.display()))
        }
        _ => {
            // Gone with the last WAN; in use by another one otherwise.
            let _ = fs::remove_dir(base_directory()?);
            Ok(())
        }
    }
}

/// The directory of one WAN's files.
pub fn directory_of(name: &str) -> Result<PathBuf> {
    Ok(base_directory()?.join(name))
}

/// Whether this process began as root; in a user namespace everybody seems to be.
pub fn started_as_root() -> bool {
    static AS_ROOT: OnceLock<bool> = OnceLock::new();
    *AS_ROOT.get_or_init(|| geteuid().is_root())
}

/// `/run/netem` for root; for others in `XDG_RUNTIME_DIR`, or in `/tmp` under the user's number.
fn base_directory() -> Result<PathBuf> {
    if started_as_root() {
        return Ok("/run/netem".into());
    }
    static IN_TMP: OnceLock<PathBuf> = OnceLock::new();
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if Path::new(&directory).is_absolute() => {
            Ok(Path::new(&directory).join("netem"))
        }
        Some(directory) => bail!("XDG_RUNTIME_DIR must be an absolute path, not {directory:?}"),
        None => Ok(IN_TMP
            .get_or_init(|| format!("/tmp/netem-{}", getuid()).into())
            .clone()),
    }
}
