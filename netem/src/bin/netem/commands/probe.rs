//! `netem ping` and `netem flood`: real UDP packets between two hosts.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use netem::topology_file::{Mark, Rate, Time};
use serde::Serialize;

use crate::control;
use crate::marked_socket::MarkedSocket;
use crate::namespaces;
use crate::state::{Host, State};

/// How long after the last packet answers are waited for, beyond the interval.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Size of UDP and IP headers, by IP version.
const fn header_bytes(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => 28,
        IpAddr::V6(_) => 48,
    }
}

/// Measure the way between two hosts with UDP packets: round trip, loss, and the mark
/// that arrives.
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
    #[arg(long, default_value_t = 20)]
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

/// Send as many UDP packets as a host can, or at a rate, and count what arrives.
#[derive(Args)]
pub struct Flood {
    /// SITE or SITE.HOST that sends.
    from: String,
    /// SITE or SITE.HOST that receives.
    to: String,
    /// Rate of IP packets; default: as fast as it goes.
    #[arg(long, value_parser = |text: &str| text.parse::<Rate>())]
    rate: Option<Rate>,
    /// The mark of all packets.
    #[arg(long, default_value = "0", value_parser = |text: &str| text.parse::<Mark>())]
    dscp: Mark,
    /// Bytes of an IP packet, headers included.
    #[arg(long, default_value_t = 1500)]
    size: usize,
    /// How long.
    #[arg(long, default_value = "5s", value_parser = |text: &str| text.parse::<Time>())]
    time: Time,
    /// Over IPv6.
    #[arg(short = '6', long)]
    ipv6: bool,
    /// Which WAN; default: the only one that is up.
    #[arg(long)]
    wan: Option<String>,
}

/// Two hosts and what goes between them.
struct Ends {
    from: Host,
    to: Host,
    payload_bytes: usize,
    ipv6: bool,
}

impl Ends {
    fn find(state: &State, from: &str, to: &str, size: usize, ipv6: bool) -> Result<Self> {
        let (from, to) = (state.host(from)?.clone(), state.host(to)?.clone());
        let headers = header_bytes(if ipv6 { to.ipv6.into() } else { to.ipv4.into() });
        let smallest = headers + 4;
        if !(smallest..=1500).contains(&size) {
            bail!("--size must be {smallest} to 1500, not {size}");
        }
        Ok(Self {
            from,
            to,
            payload_bytes: size - headers,
            ipv6,
        })
    }

    fn socket(&self, host: &Host, dscp: u8) -> Result<MarkedSocket> {
        let address: IpAddr = if self.ipv6 {
            host.ipv6.into()
        } else {
            host.ipv4.into()
        };
        let namespace = host.namespace.clone();
        let make = move || -> Result<MarkedSocket> {
            namespaces::enter(&namespace)?;
            let socket = UdpSocket::bind(SocketAddr::new(address, 0))
                .with_context(|| format!("can't bind a socket at {address}"))?;
            MarkedSocket::new(socket, dscp)
        };
        let made = std::thread::spawn(make).join();
        made.map_err(|_| anyhow::anyhow!("making a socket panicked"))?
    }
}

impl Ping {
    /// Runs the command.
    pub fn run(&self) -> Result<()> {
        let state = State::chosen(self.wan.as_deref())?;
        let ends = Ends::find(&state, &self.from, &self.to, self.size, self.ipv6)?;
        namespaces::enter_user_namespace(&state)?;
        let asks = ends.socket(&ends.from, self.dscp.0)?;
        let answers = ends.socket(&ends.to, self.dscp.0)?;
        let to = answers.local_addr()?;
        let mut echo = Background::start(move |stop| echo(&answers, stop));
        let found = self.measure(&asks, to, ends.payload_bytes, &mut echo)?;
        if self.json {
            println!("{}", serde_json::to_string(&found)?);
        } else {
            print_found(&found);
        }
        Ok(())
    }

    fn measure(
        &self,
        socket: &MarkedSocket,
        to: SocketAddr,
        payload_bytes: usize,
        echo: &mut Background<Option<u8>>,
    ) -> Result<Found> {
        let begin = Instant::now();
        let mut sent_at = Vec::new();
        let mut round_trips = vec![None; self.count as usize];
        let mut dscp_back = None;
        let interval = self.interval.0;
        let mut payload = vec![0; payload_bytes];
        let mut buffer = [0; 2048];
        for number in 0..=self.count {
            let last = number == self.count;
            if !last {
                payload[..4].copy_from_slice(&number.to_be_bytes());
                sent_at.push(Instant::now());
                socket.send_to(&payload, to)?;
            }
            let until = begin + interval * number + if last { LAST_ANSWERS } else { interval };
            let is_missing = |round_trips: &[Option<Duration>]| round_trips.contains(&None);
            while !last || is_missing(&round_trips) {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let Some((read, dscp, _)) = socket.receive(&mut buffer, left)? else {
                    continue;
                };
                let Some(number) = buffer[..read].first_chunk().map(|n| u32::from_be_bytes(*n))
                else {
                    continue;
                };
                if let Some(sent) = sent_at.get(number as usize) {
                    round_trips[number as usize].get_or_insert(sent.elapsed());
                    dscp_back = Some(dscp);
                }
            }
        }
        let dscp_there = echo.stop()?;
        let mut times: Vec<Duration> = round_trips.into_iter().flatten().collect();
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
            dscp_back,
        })
    }
}

fn print_found(found: &Found) {
    println!("{} sent, {} came back", found.sent, found.received);
    if let (Some(min), Some(p50), Some(p99), Some(max)) =
        (found.min_ms, found.p50_ms, found.p99_ms, found.max_ms)
    {
        println!("round trip: min {min:.3} ms, p50 {p50:.3} ms, p99 {p99:.3} ms, max {max:.3} ms");
    }
    let mark = |mark: Option<u8>| mark.map_or("-".to_owned(), |mark| mark.to_string());
    println!(
        "DSCP: sent {}, arrived there {}, its answers here {}",
        found.dscp_sent,
        mark(found.dscp_there),
        mark(found.dscp_back)
    );
}

/// Sends back what comes; the mark that it came with last.
fn echo(socket: &MarkedSocket, stop: &AtomicBool) -> Result<Option<u8>> {
    let mut buffer = [0; 2048];
    let mut seen = None;
    while !stop.load(Ordering::Relaxed) {
        if let Some((read, dscp, from)) = socket.receive(&mut buffer, Duration::from_millis(50))? {
            socket.send_to(&buffer[..read], from)?;
            seen = Some(dscp);
        }
    }
    Ok(seen)
}

/// A thread that runs until it is told to stop.
struct Background<T> {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<T>>>,
}

impl<T: Send + 'static> Background<T> {
    fn start(body: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || body(&told));
        Self {
            stop,
            thread: Some(thread),
        }
    }

    fn stop(&mut self) -> Result<T> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("stopped once")?;
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("the other end panicked"))?
    }
}

impl Flood {
    /// Runs the command.
    pub fn run(&self) -> Result<()> {
        let state = State::chosen(self.wan.as_deref())?;
        let ends = Ends::find(&state, &self.from, &self.to, self.size, self.ipv6)?;
        let before = control::status(&state, true)?;
        namespaces::enter_user_namespace(&state)?;
        let sender = ends.socket(&ends.from, self.dscp.0)?;
        let receiver = ends.socket(&ends.to, self.dscp.0)?;
        let to = receiver.local_addr()?;
        let received = Arc::new(AtomicU64::new(0));
        let count = received.clone();
        let mut counting = Background::start(move |stop| {
            let mut buffer = [0; 2048];
            while !stop.load(Ordering::Relaxed) {
                if receiver
                    .receive(&mut buffer, Duration::from_millis(50))?
                    .is_some()
                {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        });
        let (sent, seconds) = self.pour(&sender, to, ends.payload_bytes)?;
        let after = control::status(&state, true)?;
        let arrived_in_time = received.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs(1));
        counting.stop()?;
        let late = after.router.window;
        let routed = after.router.written_packets - before.router.written_packets;
        println!(
            "sent {sent} packets in {seconds:.2} s ({:.0}/s), routed {:.0}/s, received {} ({:.0}/s)",
            sent as f64 / seconds,
            routed as f64 / (after.seconds - before.seconds),
            received.load(Ordering::Relaxed),
            arrived_in_time as f64 / seconds,
        );
        println!(
            "router: {:.0} % of a processor; late by p50 {} us, p99 {} us, p99.9 {} us, at most {} us",
            100.0 * (after.router.cpu_seconds - before.router.cpu_seconds)
                / (after.seconds - before.seconds),
            late.p50_us,
            late.p99_us,
            late.p999_us,
            late.max_us
        );
        Ok(())
    }

    fn pour(
        &self,
        socket: &MarkedSocket,
        to: SocketAddr,
        payload_bytes: usize,
    ) -> Result<(u64, f64)> {
        let payload = vec![0; payload_bytes];
        let begin = Instant::now();
        let gap = self
            .rate
            .map(|Rate(rate)| self.size as f64 * 8.0 / rate as f64);
        let mut sent = 0;
        while begin.elapsed() < self.time.0 {
            if let Some(gap) = gap {
                let due = begin + Duration::from_secs_f64(gap * sent as f64);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            match socket.send_to(&payload, to) {
                Ok(()) => sent += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => return Err(error).context("can't send"),
            }
        }
        Ok((sent, begin.elapsed().as_secs_f64()))
    }
}
