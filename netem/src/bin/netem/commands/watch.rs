//! `netem watch`: links as they are now, second by second.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use netem::topology_file::Time;

use super::status::Everything;
use crate::control::{self, FlowStatus, LinkStatus, Status};
use crate::output::say;
use crate::state::State;
use crate::units::{bits, bytes, micros};

/// Show per link and class: rate, queue, drops and delay, and how late the router is.
#[derive(Args)]
pub struct Watch {
    /// Between two looks.
    #[arg(long, default_value = "1s", value_parser = |text: &str| text.parse::<Time>())]
    interval: Time,
    /// End after so many looks.
    #[arg(long)]
    count: Option<u32>,
    /// Show links that carry nothing, too.
    #[arg(long, conflicts_with = "json")]
    all: bool,
    /// For programs: a line per look with what `status --json` has, its `window` since the
    /// look before.
    #[arg(long)]
    json: bool,
    /// Which WAN; default: the only one that is up.
    #[arg(long)]
    wan: Option<String>,
}

/// Back to the corner, and clear to the end.
const HOME: &str = "\x1b[H\x1b[J";

impl Watch {
    /// Runs the command.
    pub fn run(&self) -> Result<()> {
        let state = State::chosen(self.wan.as_deref())?;
        let interval = self.interval.0.max(Duration::from_millis(50));
        let redraw = std::io::stdout().is_terminal();
        let mut before = control::status(&state, true)?;
        let mut looks = 0;
        while self.count.is_none_or(|count| looks < count) {
            std::thread::sleep(interval);
            let now = control::status(&state, true)?;
            looks += 1;
            if self.json {
                let line = serde_json::to_string(&Everything::of(&state, &now))?;
                if !say(line) {
                    return Ok(());
                }
                continue;
            }
            let mut page = String::new();
            if redraw {
                page += HOME;
            }
            let _ = writeln!(page, "{}  {}", state.name, router_line(&before, &now));
            let shown = |link: &LinkStatus| self.all || carries(link);
            page += &table_of(&now, Some(&before), shown);
            if !say(page) {
                return Ok(());
            }
            before = now;
        }
        Ok(())
    }
}

fn router_line(before: &Status, now: &Status) -> String {
    let seconds = (now.seconds - before.seconds).max(0.001);
    let packets = now.router.written_packets - before.router.written_packets;
    let cpu = now.router.cpu_seconds - before.router.cpu_seconds;
    let late = now.router.window;
    let overruns = match now.router.overrun_packets - before.router.overrun_packets {
        0 => String::new(),
        lost => format!(", {lost} LOST BEFORE THE ROUTER"),
    };
    format!(
        "{:.0} packets/s, {:.0} % of a processor, late by p50 {} us, p99 {} us, p99.9 {} us, at most {} us{overruns}",
        packets as f64 / seconds,
        100.0 * cpu / seconds,
        late.p50_us,
        late.p99_us,
        late.p999_us,
        late.max_us,
    )
}

fn carries(link: &LinkStatus) -> bool {
    let flows = [&link.priority, &link.bulk, &link.cross];
    !link.up || flows.iter().any(|flow| flow.counters.offered_packets > 0)
}

/// A line per link and class that ever carried something; rates since `before`, or
/// since the WAN came up.
pub fn table(now: &Status, before: Option<&Status>) -> String {
    table_of(now, before, carries)
}

fn table_of(now: &Status, before: Option<&Status>, shown: impl Fn(&LinkStatus) -> bool) -> String {
    let mut text = format!(
        "{:<24} {:<9} {:>13} {:>10} {:>9} {:>9} {:>9}\n",
        "link", "class", "rate", "packets/s", "queue", "dropped", "delay"
    );
    let seconds = now.seconds - before.map_or(0.0, |before| before.seconds);
    for (position, link) in now.links.iter().enumerate().filter(|(_, link)| shown(link)) {
        let old = before.map(|before| &before.links[position]);
        let classes = [
            ("priority", link.priority, old.map(|old| old.priority)),
            ("default", link.bulk, old.map(|old| old.bulk)),
            ("cross", link.cross, old.map(|old| old.cross)),
        ];
        let mut name = if link.up {
            link.name.clone()
        } else {
            format!("{} DOWN", link.name)
        };
        for (class, flow, old) in classes {
            if class == "cross" && flow.counters.offered_packets == 0 {
                continue;
            }
            let line = flow_line(link, &flow, &old.unwrap_or_default(), seconds.max(0.001));
            let _ = writeln!(text, "{name:<24} {class:<9} {line}");
            name.clear();
        }
    }
    text
}

fn flow_line(link: &LinkStatus, flow: &FlowStatus, old: &FlowStatus, seconds: f64) -> String {
    let sent_bytes = flow.counters.sent_bytes - old.counters.sent_bytes;
    let sent_packets = flow.counters.sent_packets - old.counters.sent_packets;
    let waited = flow.waited_packets - old.waited_packets;
    // Wait and transmission, plus propagation: what a packet feels.
    let delay = (flow.waited_us - old.waited_us)
        .checked_div(waited)
        .map_or_else(
            || "-".to_owned(),
            |wait| micros(Duration::from_micros(wait + link.delay_us)),
        );
    format!(
        "{:>13} {:>10.0} {:>9} {:>9} {:>9}",
        bits((sent_bytes as f64 * 8.0 / seconds) as u64),
        sent_packets as f64 / seconds,
        bytes(flow.counters.queue_bytes),
        flow.dropped_packets - old.dropped_packets,
        delay,
    )
}
