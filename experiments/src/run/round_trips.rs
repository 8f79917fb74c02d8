//! A step that measures round trips of small requests over TCP, marked and unmarked
//! (Vivace §6.2, Fig. 4, and the host-based scheme).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::tools::Tools;
use crate::load::{CONNECT_PATIENCE, ECHO, LAST_PATIENCE, PROBE, RoundTrip, parse_round_trips};
use crate::progress::Progress;
use crate::step::Step;
use crate::step::disk::Draft;
use crate::step::spec::{RoundTripWork, Scheme};
use crate::wan::{Netem, Wan};

/// The mark of the priority class, and none.
const MARKED_DSCP: u32 = 46;
const UNMARKED_DSCP: u32 = 0;

/// What marked and unmarked connections are answered at.
const MARKED_PORT: u16 = 7101;
const UNMARKED_PORT: u16 = 7100;

/// How long a step will probably take.
pub fn planned(work: &RoundTripWork) -> Duration {
    Duration::from_secs_f64(work.seconds + 3.0)
}

/// A background process on a host; dropping it ends it.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The gateway's script on the near host; dropping it removes what it set and saved.
struct Shaper<'a> {
    wan: &'a Wan,
    netem: &'a Netem,
}

impl<'a> Shaper<'a> {
    fn apply(wan: &'a Wan, netem: &'a Netem, work: &RoundTripWork) -> anyhow::Result<Self> {
        let rate = format!("{}Mbit", work.rate_mbit);
        let mut command = Self::command(wan, netem, "apply");
        let output = command.args(["--uplink", &rate]).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "netem tc apply: {}", said.trim());
        Ok(Self { wan, netem })
    }

    fn command(wan: &Wan, netem: &Netem, deed: &str) -> Command {
        let mut command = wan.command("near.1", netem.path());
        command.args(["tc", deed, "--dev", "wan0"]);
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Shaper<'_> {
    fn drop(&mut self) {
        // The queue goes with the WAN, the saved state does not.
        let _ = Self::command(self.wan, self.netem, "remove").output();
    }
}

/// Builds the WAN, asks for the work's time, and writes both probes' lines into `draft`.
///
/// # Errors
/// What could not be started or measured, and why.
pub async fn measure(
    step: &Step,
    work: &RoundTripWork,
    tools: &Tools,
    draft: &Draft,
    progress: &Progress,
) -> anyhow::Result<Value> {
    let directory = tempfile::tempdir()?;
    let netem = tools
        .netem
        .as_ref()
        .map_err(|why| anyhow::anyhow!("{why}"))?;
    let wan = Wan::up(netem, directory.path(), |name| {
        topology(name, work, step.seed)
    })?;
    let status = wan.status(false)?;
    let to = status.address("far.1").context("the far host")?.to_owned();
    let _shaper = match work.scheme {
        Scheme::Host => Some(Shaper::apply(&wan, netem, work)?),
        Scheme::Router | Scheme::None => None,
    };
    let program = std::env::current_exe().context("this program's own file")?;
    let mut echoes = Vec::new();
    let mut probes = Vec::new();
    for (name, port, dscp) in connections() {
        let at = format!("{to}:{port}");
        let mut echo = wan.command("far.1", &program);
        echo.args([ECHO, &at, &dscp.to_string()]);
        echoes.push(Background(echo.stdin(Stdio::piped()).spawn()?));
        let mut probe = wan.command("near.1", &program);
        probe.args([PROBE, &at, &dscp.to_string()]);
        probe.args([work.interval_ms.to_string(), work.seconds.to_string()]);
        let file = directory.path().join(name);
        probe.stdout(fs::File::create(&file)?);
        probes.push((name, file, Background(probe.stdin(Stdio::null()).spawn()?)));
    }
    wan.status(true)?;
    let flood = congest(&wan, work, progress).await?;
    for (name, file, child) in &mut probes {
        finish(child, work, progress).await?;
        let text = fs::read_to_string(file)?;
        draft.write(&samples_file(name), text.as_bytes())?;
    }
    drop(flood);
    let late = wan.status(false)?.window();
    Ok(json!({ "late_p99_us": late.p99_us, "late_max_us": late.max_us }))
}

/// The marked connection and the unmarked one.
fn connections() -> [(&'static str, u16, u32); 2] {
    [
        ("marked", MARKED_PORT, MARKED_DSCP),
        ("unmarked", UNMARKED_PORT, UNMARKED_DSCP),
    ]
}

/// The file of a connection's round trips.
pub fn samples_file(connection: &str) -> String {
    format!("{connection}.csv")
}

/// Congests the way to the far site when it is time to, and ends that when it is time
/// to. On a host with queues of its own the packets must pass those, so there they are
/// real ones.
async fn congest(
    wan: &Wan,
    work: &RoundTripWork,
    progress: &Progress,
) -> anyhow::Result<Option<Background>> {
    let Some((from, to)) = work.congested else {
        return Ok(None);
    };
    wait(Duration::from_secs_f64(from), progress).await;
    let seconds = to - from;
    if work.scheme == Scheme::Router {
        let percent = 100.0 * work.offered_mbit / work.rate_mbit;
        wan.netem(&["congest", "near:far", &format!("{percent}%")])?;
        wait(Duration::from_secs_f64(seconds), progress).await;
        wan.netem(&["congest", "near:far", "0"])?;
        return Ok(None);
    }
    let mut flood = wan.flood("near.1", "far.2", work.offered_mbit, seconds);
    let flood = Background(flood.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
    wait(Duration::from_secs_f64(seconds), progress).await;
    Ok(Some(flood))
}

async fn wait(duration: Duration, progress: &Progress) {
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < duration {
        tokio::time::sleep(Duration::from_millis(100).min(duration)).await;
        progress.at(begun.elapsed());
    }
}

async fn finish(
    child: &mut Background,
    work: &RoundTripWork,
    progress: &Progress,
) -> anyhow::Result<()> {
    let patience = Duration::from_secs_f64(work.seconds) + CONNECT_PATIENCE + LAST_PATIENCE;
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        if let Some(status) = child.0.try_wait()? {
            ensure!(status.success(), "a probe failed ({status})");
            return Ok(());
        }
        ensure!(
            tokio::time::Instant::now() < deadline,
            "a probe did not end in time"
        );
        wait(Duration::from_millis(100), progress).await;
    }
}

fn topology(name: &str, work: &RoundTripWork, seed: u64) -> String {
    let priority = match work.scheme {
        Scheme::Router => "\"EF\"",
        Scheme::None | Scheme::Host => "",
    };
    format!(
        "name = \"{name}\"\nseed = {seed}\n[[site]]\nname = \"near\"\nhosts = 2\n\
         [[site]]\nname = \"far\"\nhosts = 2\n[rtt]\nnear = {{ far = \"{}ms\" }}\n\
         [wan]\nrate = \"{}Mbit\"\nbuffer = \"{}KB\"\npriority = [{priority}]\n",
        work.rtt_ms, work.rate_mbit, work.buffer_kb
    )
}

/// Where a step's files of round trips are read from.
pub fn read(directory: &Path, connection: &str) -> anyhow::Result<Vec<RoundTrip>> {
    let path: PathBuf = directory.join(samples_file(connection));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    parse_round_trips(&text).with_context(|| format!("{}: holds no round trips", path.display()))
}
