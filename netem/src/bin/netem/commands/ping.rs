//! `netem ping`: round trips, loss and marks between two hosts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use netem::MTU_BYTES_MAX;
use netem::topology_file::{Mark, Time};
use serde::Serialize;

use crate::marked_socket::MarkedSocket;
use crate::namespaces;
use crate::output::say;
use crate::state::State;
use crate::two_hosts::{Background, Ends};

/// How long after the last packet answers are waited for.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// A killed router's interfaces vanish about so long before it does.
const ROUTERS_DEATH: Duration = Duration::from_millis(300);

/// Measure the way between two hosts with UDP packets: round trip, loss, and the mark
/// that arrives. Fails if no answer comes.
#[derive(Args)]
pub struct Ping {
    /// SITE or SITE.HOST that asks.
    from: String,
    /// SITE or SITE.HOST that answers, under the same mark.
    to: String,
    /// The mark of all packets.
    #[arg(long, default_value = "0", value_parser = |text: &str| text.parse::<Mark>())]
    dscp: Mark,
    /// Packets.
    #[arg(long, default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Between two packets.
    #[arg(long, default_value = "50ms", value_parser = |text: &str| text.parse::<Time>())]
    interval: Time,
    /// Bytes of an IP packet, headers included.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// Over IPv6.
    #[arg(short = '6', long)]
    ipv6: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Which WAN; default: the only one that is up.
    #[arg(long)]
    wan: Option<String>,
}

/// What a ping found. Times in milliseconds, there and back.
#[derive(Serialize)]
struct Found {
    sent: u32,
    received: u32,
    min_ms: Option<f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
    /// The mark with which packets were sent.
    dscp_sent: u8,
    /// The marks that arrived at the far end, and here with its answers.
    dscp_there: Option<u8>,
    dscp_back: Option<u8>,
}

impl Ping {
    /// Runs the command.
    pub fn run(&self) -> Result<()> {
        let state = State::chosen(self.wan.as_deref())?;
        let ends = Ends::find(&state, &self.from, &self.to, self.size, self.ipv6)?;
        let found = self.measure_between(&state, &ends).or_else(|error| {
            std::thread::sleep(ROUTERS_DEATH);
            State::chosen(Some(&state.name))?;
            Err(error)
        })?;
        if self.json {
            say(format_args!("{}", serde_json::to_string(&found)?));
        } else {
            print_found(&found);
        }
        if found.received < found.sent {
            // It may have died since: that is no loss of the WAN's.
            State::chosen(Some(&state.name))?;
        }
        // As ping(8): scripts look at the exit code.
        ensure!(found.received > 0, "no answer came");
        Ok(())
    }

    fn measure_between(&self, state: &State, ends: &Ends) -> Result<Found> {
        namespaces::enter_user_namespace(state)?;
        let asks = ends.socket(&ends.from, self.dscp.0)?;
        let answers = ends.socket(&ends.to, self.dscp.0)?;
        let to = answers.local_addr()?;
        let mut echo = Background::start(move |stop| echo(&answers, stop));
        self.measure(&asks, to, ends.payload_bytes, &mut echo)
    }

    fn measure(
        &self,
        socket: &MarkedSocket,
        to: SocketAddr,
        payload_bytes: usize,
        echo: &mut Background<Option<u8>>,
    ) -> Result<Found> {
        let begin = Instant::now();
        let mut answers = Answers::new(self.count);
        let mut payload = vec![0; payload_bytes];
        for number in 0..self.count {
            payload[..4].copy_from_slice(&number.to_be_bytes());
            answers.sent_at.push(Instant::now());
            socket.send_to(&payload, to)?;
            answers.collect(socket, begin + self.interval.0 * (number + 1))?;
        }
        answers.collect(socket, Instant::now() + LAST_ANSWERS)?;
        let dscp_there = echo.stop()?;
        let mut times: Vec<Duration> = answers.round_trips.into_iter().flatten().collect();
        times.sort();
        let at = |quantile: f64| {
            let place = (times.len() as f64 * quantile).ceil() as usize;
            let time = times.get(place.saturating_sub(1))?;
            Some(time.as_secs_f64() * 1e3)
        };
        Ok(Found {
            sent: self.count,
            received: times.len() as u32,
            min_ms: at(0.0),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: at(1.0),
            dscp_sent: self.dscp.0,
            dscp_there,
            dscp_back: answers.dscp,
        })
    }
}

/// What has come back so far.
struct Answers {
    /// By number, as `round_trips`.
    sent_at: Vec<Instant>,
    round_trips: Vec<Option<Duration>>,
    dscp: Option<u8>,
}

impl Answers {
    fn new(count: u32) -> Self {
        Self {
            sent_at: Vec::new(),
            round_trips: vec![None; count as usize],
            dscp: None,
        }
    }

    /// Takes answers until then, or until none is missing.
    fn collect(&mut self, socket: &MarkedSocket, until: Instant) -> Result<()> {
        let mut buffer = [0; MTU_BYTES_MAX as usize];
        while self.round_trips.contains(&None) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let Some((read, dscp, _)) = socket.receive(&mut buffer, left)? else {
                continue;
            };
            let number = buffer[..read].first_chunk().map(|n| u32::from_be_bytes(*n));
            let number = number.and_then(|number| usize::try_from(number).ok());
            let Some(number) = number.filter(|&number| number < self.sent_at.len()) else {
                continue;
            };
            let round_trip = self.sent_at[number].elapsed();
            self.round_trips[number].get_or_insert(round_trip);
            self.dscp = Some(dscp);
        }
        Ok(())
    }
}

fn print_found(found: &Found) {
    say(format_args!(
        "{} sent, {} came back",
        found.sent, found.received
    ));
    if let (Some(min), Some(p50), Some(p99), Some(max)) =
        (found.min_ms, found.p50_ms, found.p99_ms, found.max_ms)
    {
        say(format_args!(
            "round trip: min {min:.3} ms, p50 {p50:.3} ms, p99 {p99:.3} ms, max {max:.3} ms"
        ));
    }
    let mark = |mark: Option<u8>| mark.map_or("-".to_owned(), |mark| mark.to_string());
    say(format_args!(
        "DSCP: sent {}, arrived there {}, its answers here {}",
        found.dscp_sent,
        mark(found.dscp_there),
        mark(found.dscp_back)
    ));
}

/// Sends back what comes; the mark that it came with last.
fn echo(socket: &MarkedSocket, stop: &AtomicBool) -> Result<Option<u8>> {
    let mut buffer = [0; MTU_BYTES_MAX as usize];
    let mut seen = None;
    while !stop.load(Ordering::Relaxed) {
        if let Some((read, dscp, from)) = socket.receive(&mut buffer, Duration::from_millis(50))? {
            socket.send_to(&buffer[..read], from)?;
            seen = Some(dscp);
        }
    }
    Ok(seen)
}
