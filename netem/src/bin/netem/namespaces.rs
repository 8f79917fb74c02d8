//! Network namespaces: made, entered, and emptied again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getegid, geteuid};

use crate::state::{Mode, State, started_as_root};

/// Names of our namespaces begin with this: `netem.WAN.SITE.HOST`.
const NAME_PREFIX: &str = "netem.";

/// Where `ip netns` keeps names.
const NAMES_DIRECTORY: &str = "/run/netns";

/// How long processes have to end by themselves.
const PATIENCE: Duration = Duration::from_secs(2);

/// The environment variable that marks processes of a WAN.
pub const RUN_VARIABLE: &str = "NETEM_RUN";

/// How to get a missing program.
const IPROUTE2: &str =
    "install iproute2 (Debian, Ubuntu: apt-get install iproute2; Fedora: dnf install iproute)";

/// Finds out what is allowed here, before anything is made.
pub fn choose_mode(rootless: bool) -> Result<Mode> {
    let ip = Command::new("ip").arg("-V").stdout(Stdio::null()).status();
    ip.ok()
        .filter(|status| status.success())
        .with_context(|| format!("the program `ip` is missing: {IPROUTE2}"))?;
    let tun = File::options().read(true).write(true).open("/dev/net/tun");
    if let Err(error) = tun {
        let cure = if geteuid().is_root() {
            "load it with `modprobe tun`; in a container, hand in the device (--device /dev/net/tun)"
        } else {
            "become root, or let an administrator open it with `chmod 666 /dev/net/tun`"
        };
        bail!("/dev/net/tun, which makes the hosts' interfaces, can't be opened ({error}): {cure}");
    }
    Ok(if geteuid().is_root() && !rootless {
        Mode::Root
    } else {
        Mode::UserNamespace
    })
}

/// Moves this process, which must have one thread, into a user namespace in which it
/// is root.
pub fn enter_new_user_namespace() -> Result<()> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| {
        let cure = "as root it works without; else look at user.max_user_namespaces, \
                    kernel.unprivileged_userns_clone and \
                    kernel.apparmor_restrict_unprivileged_userns (sysctl)";
        anyhow::anyhow!("the kernel allows no user namespace ({error}): {cure}")
    })?;
    let write = |file: &str, text: String| {
        let path = Path::new("/proc/self").join(file);
        fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {user} 1"))?;
    write("gid_map", format!("0 {group} 1"))
}

/// Makes a namespace, moves the calling thread into it, and says where others can open
/// it. As root it has a name and stays; else it lives as long as somebody holds it open.
pub fn create(mode: Mode, name: &str) -> Result<(OwnedFd, PathBuf)> {
    match mode {
        Mode::Root => {
            ip(&["netns", "add", name])?;
            let path = Path::new(NAMES_DIRECTORY).join(name);
            let namespace = enter(&path)?;
            Ok((namespace, path))
        }
        Mode::UserNamespace => {
            unshare(CloneFlags::CLONE_NEWNET)
                .context("the kernel allows no network namespace (user.max_net_namespaces?)")?;
            let namespace: OwnedFd = File::open("/proc/thread-self/ns/net")?.into();
            let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
            Ok((namespace, path.into()))
        }
    }
}

/// A host's namespace by the WAN's and the host's names.
pub fn name_of(wan: &str, host: &str) -> String {
    format!("{NAME_PREFIX}{wan}.{host}")
}

/// Refuses to build where namespaces have the WAN's names already: whoever made them, a
/// failure would clear them away.
pub fn check_unnamed(wan: &str) -> Result<()> {
    let names = names_of(wan);
    if names.is_empty() {
        return Ok(());
    }
    bail!(
        "there are namespaces of {wan:?} already: {}; `netem down {wan}` deletes them, --name \
         gives the WAN another name",
        names.join(", ")
    )
}

/// Moves the calling thread into the network namespace that `path` names.
pub fn enter(path: &Path) -> Result<OwnedFd> {
    let file = File::open(path).with_context(|| format!("can't open {}", path.display()))?;
    setns(&file, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("may not enter {}", path.display()))?;
    Ok(file.into())
}

/// Gives this process, which must have one thread, the right to enter the WAN's
/// network namespaces.
pub fn enter_user_namespace(state: &State) -> Result<()> {
    let Some(path) = state.user_namespace() else {
        return Ok(());
    };
    let file = File::open(&path).with_context(|| format!("can't open {}", path.display()))?;
    setns(&file, CloneFlags::CLONE_NEWUSER)
        .with_context(|| format!("may not enter the user namespace {}", path.display()))
}

/// Runs `ip` with commands on its standard input, in the calling thread's namespace. Like
/// all of them in a process group of its own: a Ctrl-C must not end it halfway.
pub fn ip_batch(commands: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("can't run ip: {IPROUTE2}"))?;
    let mut input = child.stdin.take().context("ip's input is a pipe")?;
    input.write_all(commands.as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    bail!("ip: {}", String::from_utf8_lossy(&output.stderr).trim())
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0)
        .output()
        .with_context(|| format!("can't run ip: {IPROUTE2}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let hint = if said.contains("not permitted") || said.contains("denied") {
        " (root here lacks CAP_SYS_ADMIN, as in most containers; try --rootless)"
    } else {
        ""
    };
    bail!("ip {}: {}{hint}", arguments.join(" "), said.trim())
}

/// Ends the processes in a WAN's namespaces and deletes those with names. Says what it
/// did, one line each.
pub fn clear(wan: &str, state: Option<&State>) -> Result<Vec<String>> {
    let mut said = clear_processes(wan, state)?;
    for name in names_of(wan) {
        ip(&["netns", "delete", &name])?;
        said.push(format!("deleted namespace {name}"));
    }
    Ok(said)
}

/// Ends the processes in a WAN's namespaces. Says which, one line each.
pub fn clear_processes(wan: &str, state: Option<&State>) -> Result<Vec<String>> {
    let names = names_of(wan).into_iter();
    let named = names.map(|name| Path::new(NAMES_DIRECTORY).join(name));
    // Of a dead router they may name somebody else's files by now.
    let alive = state.filter(|state| state.router.is_alive());
    let hosts = alive.iter().flat_map(|state| &state.hosts);
    let known = hosts.map(|host| host.namespace.clone());
    let identities = named.chain(known).filter_map(|path| identity(&path));
    let sought = Sought {
        namespaces: identities.collect(),
        orphaned: state.map(orphaned).unwrap_or_default(),
        marker: match state {
            Some(state) => Marker::Run(format!("{RUN_VARIABLE}={}", state.run)),
            None => Marker::AnyOf(format!("{RUN_VARIABLE}={wan}-")),
        },
    };
    end_processes(&sought)
}

/// The processes that are to end.
struct Sought {
    /// Those in these namespaces.
    namespaces: BTreeSet<(u64, u64)>,
    /// Those in these, if they have lost their router.
    orphaned: BTreeSet<(u64, u64)>,
    /// Those with this in their environment.
    marker: Marker,
}

/// What `netem exec` leaves in the environment of its processes.
enum Marker {
    /// That of one run.
    Run(String),
    /// It begins with this, and numbers of a process and of a moment follow: of any run of
    /// one name, where no state tells which; of this user's.
    AnyOf(String),
}

impl Marker {
    fn is(&self, word: &[u8]) -> bool {
        match self {
            Self::Run(run) => word == run.as_bytes(),
            Self::AnyOf(begin) => {
                let rest = word.strip_prefix(begin.as_bytes()).unwrap_or_default();
                let mut numbers = rest.split(|&byte| byte == b'-');
                let mut is_number = || {
                    let number = numbers.next().unwrap_or_default();
                    !number.is_empty() && number.iter().all(u8::is_ascii_digit)
                };
                is_number() && is_number() && numbers.next().is_none()
            }
        }
    }
}

impl Sought {
    fn has(&self, process: &Path) -> bool {
        let namespace = identity(&process.join("ns/net"));
        let is_in = |namespaces: &BTreeSet<_>| namespace.is_some_and(|id| namespaces.contains(&id));
        is_in(&self.namespaces)
            || is_in(&self.orphaned) && has_only_loopback(process)
            || self.is_marked(process)
    }

    fn is_marked(&self, process: &Path) -> bool {
        let is_own = || fs::metadata(process).is_ok_and(|of| of.uid() == geteuid().as_raw());
        if matches!(self.marker, Marker::AnyOf(_)) && !is_own() {
            return false;
        }
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment
            .split(|&byte| byte == 0)
            .any(|word| self.marker.is(word))
    }
}

/// The nameless namespaces of a dead router, by the numbers that its state has.
fn orphaned(state: &State) -> BTreeSet<(u64, u64)> {
    let own = identity(Path::new("/proc/self/ns/net"));
    let (Mode::UserNamespace, false, Some((device, own))) =
        (state.mode, state.router.is_alive(), own)
    else {
        return BTreeSet::new();
    };
    let numbers = state.hosts.iter().filter_map(|host| host.namespace_inode);
    numbers
        .filter(|&number| number != own)
        .map(|number| (device, number))
        .collect()
}

/// A host's interface vanishes with its router. The number of a namespace that is gone may
/// be that of another by now: of another WAN's, or of a container's, with interfaces.
fn has_only_loopback(process: &Path) -> bool {
    let devices = fs::read_to_string(process.join("net/dev")).unwrap_or_default();
    // Two lines of headings come first.
    let mut names = devices
        .lines()
        .skip(2)
        .filter_map(|line| line.trim().split(':').next());
    names.next() == Some("lo") && names.next().is_none()
}

/// The WANs that have left named namespaces.
pub fn wans_with_names() -> BTreeSet<String> {
    all_names()
        .filter_map(|name| {
            Some(
                name.strip_prefix(NAME_PREFIX)?
                    .split('.')
                    .next()?
                    .to_owned(),
            )
        })
        .collect()
}

fn names_of(wan: &str) -> Vec<String> {
    let prefix = name_of(wan, "");
    all_names()
        .filter(|name| name.starts_with(&prefix))
        .collect()
}

/// Only root's: nobody else can make them or delete them.
fn all_names() -> impl Iterator<Item = String> {
    let directory = started_as_root().then(|| fs::read_dir(NAMES_DIRECTORY).ok());
    let entries = directory.flatten().into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// What tells a namespace from all others while it exists.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = fs::metadata(path).ok()?;
    // A name whose namespace is gone is a plain file, and an empty path nothing.
    file.file_type()
        .is_file()
        .then_some((file.dev(), file.ino()))
}

/// Asks every process that is sought to end; kills what is left after [`PATIENCE`].
fn end_processes(sought: &Sought) -> Result<Vec<String>> {
    let ended = inside(sought);
    let said = ended
        .iter()
        .map(|(pid, name)| format!("ended process {pid} ({name})"))
        .collect();
    for (signal, patience) in [(Signal::SIGTERM, PATIENCE), (Signal::SIGKILL, PATIENCE)] {
        for (pid, _) in inside(sought) {
            // It may have ended in the meantime.
            let _ = kill(Pid::from_raw(pid), signal);
        }
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if inside(sought).is_empty() {
                return Ok(said);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let left: Vec<String> = inside(sought)
        .iter()
        .map(|(pid, name)| format!("{pid} ({name})"))
        .collect();
    bail!(
        "processes in the WAN's namespaces that don't end: {}",
        left.join(", ")
    )
}

fn inside(sought: &Sought) -> Vec<(i32, String)> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| pid != own)
        .filter_map(|pid| {
            let process = PathBuf::from(format!("/proc/{pid}"));
            if !sought.has(&process) {
                return None;
            }
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            Some((i32::try_from(pid).ok()?, name.trim().to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_any_run_is_of_that_name_alone() {
        let any = Marker::AnyOf("NETEM_RUN=wan-".to_owned());
        assert!(any.is(b"NETEM_RUN=wan-12-345"));
        let others = [
            "wan-2-12-345",
            "wan-12",
            "wan-12-",
            "wan--345",
            "lan-12-345",
        ];
        for other in others {
            assert!(!any.is(format!("NETEM_RUN={other}").as_bytes()), "{other}");
        }
    }
}
