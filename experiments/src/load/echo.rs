//! Small requests over TCP under a mark, and who answers them: two processes.

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use socket2::SockRef;

/// The names of the subcommands, which no user needs.
pub const ECHO: &str = "echo";
/// See [`ECHO`].
pub const PROBE: &str = "probe";

/// Length of a request and of its answer.
const REQUEST_BYTES: usize = 32;

/// How long a connection may take.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// How long a probe goes on for its last answer.
pub const LAST_PATIENCE: Duration = Duration::from_secs(30);

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

/// Reads what a probe printed; none where a line is no round trip.
pub fn parse_round_trips(text: &str) -> Option<Vec<RoundTrip>> {
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
