//! `netem flood`: as many UDP packets as go between two hosts, and how the router fares.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use netem::topology_file::{Mark, Rate, Time};

use crate::control;
use crate::marked_socket::MarkedSocket;
use crate::namespaces;
use crate::output::say;
use crate::state::State;
use crate::two_hosts::{Background, Ends};

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
        say(format_args!(
            "sent {sent} packets in {seconds:.2} s ({:.0}/s), routed {:.0}/s, received {} ({:.0}/s)",
            sent as f64 / seconds,
            routed as f64 / (after.seconds - before.seconds),
            received.load(Ordering::Relaxed),
            arrived_in_time as f64 / seconds,
        ));
        let lost = after.router.overrun_packets - before.router.overrun_packets;
        if lost > 0 {
            say(format_args!(
                "{lost} packets were lost before the router, which was too slow"
            ));
        }
        say(format_args!(
            "router: {:.0} % of a processor; late by p50 {} us, p99 {} us, p99.9 {} us, at most {} us",
            100.0 * (after.router.cpu_seconds - before.router.cpu_seconds)
                / (after.seconds - before.seconds),
            late.p50_us,
            late.p99_us,
            late.p999_us,
            late.max_us
        ));
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
