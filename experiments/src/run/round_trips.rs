//! A step that measures round trips of small requests over TCP, marked and unmarked
//! (Vivace §6.2, Fig. 4, and the host-based scheme).

use std::fs;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use socket2::SockRef;

use super::tools::Tools;
use crate::progress::Progress;
use crate::step::Step;
use crate::step::disk::Draft;
use crate::step::spec::{RoundTripWork, Scheme};
use crate::wan::Wan;

/// The names of the subcommands, which no user needs.
pub const ECHO: &str = "echo";
/// See [`ECHO`].
pub const PROBE: &str = "probe";

/// The mark of the priority class, and none.
const MARKED_DSCP: u32 = 46;
/// See [`MARKED_DSCP`].
pub const UNMARKED_DSCP: u32 = 0;

/// Length of a request and of its answer.
const REQUEST_BYTES: usize = 32;

/// What marked and unmarked connections are answered at.
const MARKED_PORT: u16 = 7101;
const UNMARKED_PORT: u16 = 7100;

/// How long a connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// How long a probe goes on for its last answer.
const LAST_PATIENCE: Duration = Duration::from_secs(30);

/// What answers.
#[derive(Clone, Debug, clap::Args)]
pub struct EchoArguments {
    /// Where it listens.
    pub at: SocketAddr,
    /// The mark of its answers.
    pub dscp: u32,
}

/// What asks.
#[derive(Clone, Debug, clap::Args)]
pub struct ProbeArguments {
    /// Whom.
    pub to: SocketAddr,
    /// The mark of its requests.
    pub dscp: u32,
    /// Between two requests, in ms.
    pub interval_ms: u64,
    /// For how long, in seconds.
    pub seconds: f64,
}

/// One request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundTrip {
    /// When it was asked, in ms since the probe began.
    pub at_ms: f64,
    /// How long the answer took.
    pub rtt_ms: f64,
}

/// Answers every byte with itself until standard input ends.
pub fn run_echo(arguments: &EchoArguments) -> ExitCode {
    let listening = TcpListener::bind(arguments.at);
    let listener = match listening {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("error: {}: {error}", arguments.at);
            return ExitCode::FAILURE;
        }
    };
    let dscp = arguments.dscp;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || echo(stream, dscp));
        }
    });
    // Ends with the parent.
    let _ = std::io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

fn echo(mut stream: TcpStream, dscp: u32) -> std::io::Result<()> {
    mark(&stream, dscp)?;
    let mut request = [0; REQUEST_BYTES];
    loop {
        stream.read_exact(&mut request)?;
        stream.write_all(&request)?;
    }
}

fn mark(stream: &TcpStream, dscp: u32) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tos_v4(dscp << 2)
}

/// Asks again and again over one connection, and prints each round trip as a line
/// `at_ms,rtt_ms`.
pub fn run_probe(arguments: &ProbeArguments) -> ExitCode {
    match probe(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn probe(arguments: &ProbeArguments) -> anyhow::Result<()> {
    let deadline = Instant::now() + CONNECT_PATIENCE;
    let mut stream = loop {
        match TcpStream::connect_timeout(&arguments.to, CONNECT_PATIENCE) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            // The other side starts at the same time.
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    mark(&stream, arguments.dscp)?;
    stream.set_read_timeout(Some(LAST_PATIENCE))?;
    let mut answer = [0; REQUEST_BYTES];
    // The first round trip finds caches and addresses.
    exchange(&mut stream, &mut answer)?;
    println!("at_ms,rtt_ms");
    let begin = Instant::now();
    let mut next = begin;
    let length = Duration::from_secs_f64(arguments.seconds);
    while next < begin + length {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let asked = Instant::now();
        exchange(&mut stream, &mut answer)?;
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        println!("{:.3},{:.3}", ms(asked - begin), ms(asked.elapsed()));
        next = (next + Duration::from_millis(arguments.interval_ms)).max(Instant::now());
    }
    Ok(())
}

fn exchange(stream: &mut TcpStream, answer: &mut [u8; REQUEST_BYTES]) -> anyhow::Result<()> {
    stream.write_all(&[7; REQUEST_BYTES])?;
    stream.read_exact(answer).context("no answer")
}

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
    if work.scheme == Scheme::Host {
        let rate = format!("{}Mbit", work.rate_mbit);
        let words = ["tc", "apply", "--dev", "wan0", "--uplink", &rate];
        let mut command = wan.command("near.1", netem.path());
        let output = command.args(words).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "netem tc apply: {}", said.trim());
    }
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

/// Reads a connection's round trips.
pub fn parse(text: &str) -> Option<Vec<RoundTrip>> {
    let mut lines = text.lines();
    (lines.next() == Some("at_ms,rtt_ms")).then_some(())?;
    lines
        .map(|line| {
            let (at, rtt) = line.split_once(',')?;
            Some(RoundTrip {
                at_ms: at.parse().ok()?,
                rtt_ms: rtt.parse().ok()?,
            })
        })
        .collect()
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
    parse(&text).with_context(|| format!("{}: holds no round trips", path.display()))
}
