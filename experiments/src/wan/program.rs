//! The program `netem`, and a WAN that it built.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use vivace_node::Scheduling;

use super::guard::Guard;
use super::status::WanStatus;
use crate::step::Traffic;

/// Begins the names of WANs that runs build: this, the run's process, a number.
const NAME_PREFIX: &str = "experiment-";

/// Begins the names of directories that stores keep their data in: this, the run's
/// process.
pub const WORK_PREFIX: &str = ".run-";

/// Where `netem` keeps the state of WANs that root built.
const STATE_DIRECTORY: &str = "/run/netem";

/// How often a filling buffer is looked at.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// The program.
#[derive(Clone, Debug)]
pub struct Netem(PathBuf);

impl Netem {
    /// The one that was named, or lies beside this program, or is on the path.
    ///
    /// # Errors
    /// There is none, or it can't build a WAN here; how to change that.
    pub fn find(named: Option<&Path>) -> Result<Self, String> {
        let program = match named {
            Some(path) => path.to_owned(),
            None => beside_this_program("netem").ok_or(
                "the program netem is missing: cargo build --release -p netem, or name it with \
                 --netem",
            )?,
        };
        let found = Self(program);
        found.try_building()?;
        Ok(found)
    }

    /// Builds the smallest WAN and takes it down.
    fn try_building(&self) -> Result<(), String> {
        let tried = || -> anyhow::Result<()> {
            let directory = tempfile::tempdir()?;
            Wan::up(self, directory.path(), |name| {
                format!("name = \"{name}\"\n[[site]]\nname = \"a\"\n[rtt]\n")
            })?;
            Ok(())
        };
        tried().map_err(|error| format!("no WAN can be built here: {error:#}"))
    }

    /// The program's file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn run(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.0)
            .args(words)
            .stdin(Stdio::null())
            .output()
            .with_context(|| self.0.display().to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !output.status.success() {
            let said = text(&output.stderr);
            bail!("{}", said.trim_start_matches("netem: "));
        }
        Ok(text(&output.stdout))
    }
}

/// A program in the directory of this one (or above it, for tests), or on the path.
pub fn beside_this_program(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let beside = own.ancestors().skip(1).take(2).map(|at| at.join(name));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&on_path)
        .map(|at| at.join(name))
        .collect();
    beside.chain(on_path).find(|path| path.is_file())
}

/// A WAN that is up. Dropping it ends all that runs in it and takes it down.
pub struct Wan {
    netem: Netem,
    name: String,
    is_realtime: bool,
    /// Taken down by this, after everything else here is gone.
    _guard: Guard,
}

impl Wan {
    /// Builds the WAN of a topology file's text, given its name; the file goes into
    /// `directory`.
    ///
    /// # Errors
    /// What `netem up` says; nothing is left.
    pub fn up(
        netem: &Netem,
        directory: &Path,
        topology: impl FnOnce(&str) -> String,
    ) -> anyhow::Result<Self> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{NAME_PREFIX}{}-{number}", std::process::id());
        let file = directory.join("topology.toml");
        fs::write(&file, topology(&name)).with_context(|| file.display().to_string())?;
        let wan = Self {
            _guard: Guard::post(netem.path(), &name, directory)?,
            netem: netem.clone(),
            name,
            is_realtime: Scheduling::Realtime.check().is_ok(),
        };
        let file = file.to_str().context("the directory's name is not UTF-8")?;
        wan.netem.run(&["up", file, "--name", &wan.name])?;
        Ok(wan)
    }

    /// A command that will run on a host (`SITE.HOST`), apart from this terminal.
    pub fn command(&self, host: &str, program: &Path) -> Command {
        self.exec(host, &[], program)
    }

    /// The same ahead of all that is not real-time, where that is allowed.
    pub fn realtime_command(&self, host: &str, program: &Path) -> Command {
        let options: &[&str] = match self.is_realtime {
            true => &["--realtime"],
            false => &[],
        };
        self.exec(host, options, program)
    }

    fn exec(&self, host: &str, options: &[&str], program: &Path) -> Command {
        let mut command = Command::new(self.netem.path());
        command
            .args(["exec", host, "--wan", &self.name])
            .args(options)
            .arg("--")
            .arg(program)
            .process_group(0);
        command
    }

    /// Whether programs can run in real time here, as if each host had processors of its own.
    pub fn is_realtime(&self) -> bool {
        self.is_realtime
    }

    /// Runs a command of `netem` for this WAN and yields what it says.
    ///
    /// # Errors
    /// What it says when it fails.
    pub fn netem(&self, words: &[&str]) -> anyhow::Result<String> {
        let (first, rest) = words.split_first().context("a command")?;
        let mut all = vec![*first, "--wan", &self.name];
        all.extend(rest);
        self.netem.run(&all)
    }

    /// A command that sends unmarked full-sized packets between two hosts.
    pub fn flood(&self, from: &str, to: &str, mbit: f64, seconds: f64) -> Command {
        let mut command = Command::new(self.netem.path());
        command
            .args(["flood", from, to, "--wan", &self.name])
            .args([
                "--rate",
                &format!("{mbit}Mbit"),
                "--time",
                &format!("{seconds}s"),
            ])
            .process_group(0);
        command
    }

    /// How it is; `begin_window` begins the next window of lateness.
    ///
    /// # Errors
    /// The router does not answer.
    pub fn status(&self, begin_window: bool) -> anyhow::Result<WanStatus> {
        let words: &[&str] = match begin_window {
            true => &["status", "--json", "--begin-window"],
            false => &["status", "--json"],
        };
        Ok(serde_json::from_str(&self.netem(words)?)?)
    }

    /// Begins to look at it every `interval`.
    ///
    /// # Errors
    /// `netem` can't be run.
    pub fn watch(&self, interval: Duration) -> anyhow::Result<WanWatch> {
        let interval = format!("{}ms", interval.as_millis());
        let mut netem = tokio::process::Command::new(self.netem.path())
            .args(["watch", "--json", "--wan", &self.name, "--interval"])
            .arg(interval)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| self.netem.path().display().to_string())?;
        let output = netem.stdout.take().context("its output is a pipe")?;
        Ok(WanWatch {
            _netem: netem,
            lines: BufReader::new(output).lines(),
        })
    }

    /// Fills the links of `pairs` both ways with what `traffic` says, instead of what
    /// was there; the store's own writes are not its matter.
    ///
    /// # Errors
    /// The router refuses it.
    pub fn fill(&self, pairs: &[&str], traffic: Traffic) -> anyhow::Result<()> {
        for pair in pairs {
            self.netem(&["congest", pair, "0", "--both"])?;
            match traffic {
                Traffic::Idle | Traffic::OwnWrites { .. } => {}
                Traffic::Udp { percent } => {
                    self.netem(&["congest", pair, &format!("{percent}%"), "--both"])?;
                }
                Traffic::Tcp { flows } => {
                    self.netem(&["congest", pair, "--tcp", &flows.to_string(), "--both"])?;
                }
            }
        }
        Ok(())
    }

    /// Waits until every link between sites has had nine tenths of its buffer full, for
    /// at most `patience`; false where one has not. Not at the same moment: TCP swings.
    ///
    /// # Errors
    /// The router does not answer.
    pub async fn wait_until_full(&self, patience: Duration) -> anyhow::Result<bool> {
        let deadline = tokio::time::Instant::now() + patience;
        let mut seen: Vec<bool> = Vec::new();
        loop {
            let status = self.status(false)?;
            let full = status
                .between_sites()
                .map(|link| link.queue_bytes() * 10 >= link.buffer_bytes * 9);
            let full: Vec<bool> = full.collect();
            seen.resize(full.len(), false);
            for (seen, full) in seen.iter_mut().zip(full) {
                *seen |= full;
            }
            if seen.iter().all(|&full| full) {
                return Ok(true);
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}

/// A WAN's status again and again, told by one process: one that starts for each look
/// would take the processor from what is measured.
pub struct WanWatch {
    _netem: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl WanWatch {
    /// The next look; its window of lateness is the time since the last.
    ///
    /// # Errors
    /// The router does not answer.
    pub async fn next(&mut self) -> anyhow::Result<WanStatus> {
        let line = self.lines.next_line().await?;
        Ok(serde_json::from_str(
            &line.context("netem watch has ended")?,
        )?)
    }
}

/// Clears away what runs left whose process was killed: the WAN where its guard was
/// killed too, and the stores' files in `data`.
pub fn clear_away_dead_runs(netem: Option<&Netem>, data: &Path) {
    for name in dead(Path::new(STATE_DIRECTORY), NAME_PREFIX) {
        // What it can't take down it can't, and `netem down` says so to who asks.
        let _ = netem.map(|netem| netem.run(&["down", &name]));
    }
    for name in dead(data, WORK_PREFIX) {
        let _ = fs::remove_dir_all(data.join(name));
    }
}

/// Entries of a directory that are called `PREFIX` and a process that is no more.
fn dead(directory: &Path, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| {
            let process = name
                .strip_prefix(prefix)
                .and_then(|rest| rest.split('-').next());
            process.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
        })
        .collect()
}
