//! A node's status as a table for people.

use std::fmt::Write;
use std::net::SocketAddr;

use vivace_client::status::{ClockStatus, LinkStatus, NodeStatus, PeerStatus};

/// A value that a start found waiting is on its way again, and counted from then, by now.
const TAKEN_UP_MS_MAX: u64 = 10_000;

/// The table, each line ended.
pub fn table(address: SocketAddr, status: &NodeStatus) -> String {
    let mut lines = Lines::default();
    lines.push(format!(
        "{address}  UP  node {} of site {}, cluster {}; start {}, up {}; storage {}; values up to {}",
        status.node,
        status.site,
        status.cluster,
        status.incarnation,
        duration(status.uptime_s),
        status.storage,
        bytes(status.value_bytes_max)
    ));
    for warning in &status.warnings {
        lines.push(format!("  ! {warning}"));
    }
    lines.push(format!("  clock       {}", clock(&status.clock)));
    let operations = &status.operations;
    lines.push(format!(
        "  operations  in flight {}, done {}, busy {}, unavailable {}, unknown {}, invalid {}",
        operations.in_flight,
        operations.succeeded,
        operations.busy,
        operations.unavailable,
        operations.unknown,
        operations.invalid
    ));
    let backlog = &status.backlog;
    lines.push(format!(
        "  backlog     {} of {} in {} values, the oldest for {}",
        bytes(backlog.bytes),
        bytes(backlog.bytes_max),
        backlog.values,
        age(status, backlog.oldest_ms)
    ));
    for site in &backlog.sites {
        lines.push(format!(
            "    for {}: {} in {} values, the oldest for {}, draining {}/s",
            site.site,
            bytes(site.bytes),
            site.values,
            age(status, site.oldest_ms),
            bytes(site.drain_bytes_per_s)
        ));
    }
    let (ordinary, refused): (Vec<_>, Vec<_>) = status
        .refusals
        .iter()
        .partition(|(cause, _)| is_ordinary(cause));
    for (what, counts) in [("refused", refused), ("happened", ordinary)] {
        if !counts.is_empty() {
            let counts = counts
                .iter()
                .map(|(cause, count)| format!("{cause} {count}"));
            let counts: Vec<_> = counts.collect();
            lines.push(format!("  {what:<12}{}", counts.join(", ")));
        }
    }
    peers(&mut lines, &status.peers);
    containers(&mut lines, status);
    lines.0
}

/// Ways that the protocol has anyway, by how their counters begin; what else is counted was
/// refused, dropped or lost.
const ORDINARY: &[&str] = &[
    "aborted: ",
    "adopted anew: ",
    "asked: ",
    "asked after all: ",
    "commit wait ",
    "contested: ",
    "derived: ",
    "direct: ",
    "disturbed: ",
    "early: ",
    "gone: ",
    "hedged: ",
    "kept: ",
    "late: ",
    "lost: an RMW round to another coordinator",
    "read: ",
    "read-only command ",
    "rechecked: ",
    "recovered: ",
    "repaired: ",
    "repeated: ",
    "restarted: ",
    "sent: ",
    "shared: ",
    "spared: ",
    "superseded: ",
    "taken over: ",
    "waits: ",
    "yielded: ",
];

fn is_ordinary(cause: &str) -> bool {
    ORDINARY.iter().any(|begin| cause.starts_with(begin))
}

fn age(status: &NodeStatus, oldest_ms: u64) -> String {
    let has_lived = status.storage == "disk" && status.incarnation > 1;
    age_in(has_lived.then_some(status.uptime_s), oldest_ms)
}

/// How long the oldest value of a backlog has waited; of one that may have waited when the
/// node was `started_again` so many seconds ago, nobody knows since when.
fn age_in(started_again: Option<u64>, oldest_ms: u64) -> String {
    let since_start = |uptime_s: u64| oldest_ms + TAKEN_UP_MS_MAX >= uptime_s * 1000;
    match started_again.is_some_and(since_start) && oldest_ms > 0 {
        true => format!("{oldest_ms} ms since the node's start, or longer"),
        false => format!("{oldest_ms} ms"),
    }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn push(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref().trim_end());
        self.0.push('\n');
    }
}

fn peers(lines: &mut Lines, peers: &[PeerStatus]) {
    if peers.is_empty() {
        return;
    }
    lines.push(format!(
        "  {:<6}{:<12}{:<10}{:<6}{:>10}  {:<10}{:<14}{:<14}{:>10}{:>9}{:>12}",
        "peer",
        "site",
        "class",
        "",
        "RTT",
        "DSCP sent",
        "at the peer",
        "here",
        "queue",
        "dropped",
        "reconnects"
    ));
    for peer in peers {
        lines.push(link(
            &peer.node.to_string(),
            &peer.site,
            "priority",
            &peer.priority,
        ));
        lines.push(link("", "", "bulk", &peer.bulk));
    }
}

fn link(node: &str, site: &str, class: &str, link: &LinkStatus) -> String {
    let rtt = match link.rtt_us {
        Some(us) => format!("{}.{:03} ms", us / 1000, us % 1000),
        None => "?".to_owned(),
    };
    let mut line = format!(
        "  {node:<6}{site:<12}{class:<10}{:<6}{rtt:>10}  {:<10}{:<14}{:<14}{:>10}{:>9}{:>12}",
        if link.up { "up" } else { "DOWN" },
        dscp_name(link.dscp_sent),
        dscp_seen(link.dscp_sent, link.dscp_seen_by_peer),
        dscp_seen(link.dscp_sent, link.dscp_seen_here),
        bytes(link.queue_bytes),
        link.dropped,
        link.reconnects,
    );
    if let Some(error) = link.last_error.as_ref().filter(|_| !link.up) {
        // Writing to a string does not fail.
        let _ = write!(line, "  {error}");
    }
    line
}

fn dscp_name(dscp: u8) -> String {
    match dscp {
        0 => "0".to_owned(),
        1 => "1 (LE)".to_owned(),
        46 => "46 (EF)".to_owned(),
        other => other.to_string(),
    }
}

/// Whether the network kept the mark: both ends of a class are configured alike.
fn dscp_seen(sent: u8, seen: Option<u8>) -> String {
    match seen {
        None => "?".to_owned(),
        Some(seen) if seen == sent => format!("{seen} kept"),
        Some(0) => "0 BLEACHED".to_owned(),
        Some(seen) => format!("{seen} REMARKED"),
    }
}

fn containers(lines: &mut Lines, status: &NodeStatus) {
    if status.containers.is_empty() {
        return;
    }
    lines.push(format!(
        "  {:<18}{:<9}{:>6}{:>10}  {:<16}local set",
        "container", "kind", "epoch", "objects", "replicas"
    ));
    for container in &status.containers {
        lines.push(format!(
            "  {:<18}{:<9}{:>6}{:>10}  {:<16}{}",
            container.name,
            container.kind,
            container.epoch,
            container.objects,
            numbers(&container.replicas),
            numbers(&container.local_set)
        ));
    }
}

fn numbers(nodes: &[u16]) -> String {
    let nodes: Vec<_> = nodes.iter().map(u16::to_string).collect();
    nodes.join(" ")
}

fn clock(clock: &ClockStatus) -> String {
    let error = match clock.error_us {
        Some(us) => format!("ε {us} µs"),
        None => "ε unknown (unsynchronized)".to_owned(),
    };
    format!(
        "{} mode, {error}, E {} µs, mode changes {}",
        clock.mode, clock.error_max_us, clock.mode_changes
    )
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        86400.. => format!("{} d {} h", seconds / 86400, seconds / 3600 % 24),
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576.. => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_anyway_is_not_told_as_refused() {
        assert!(is_ordinary("spared: replicas beyond a majority"));
        assert!(is_ordinary("lost: an RMW round to another coordinator"));
        for trouble in [
            "refused: another epoch",
            "dropped: a value, because the disk is behind",
            "lost: a value, by the disk",
            "busy: the disk is full",
            "peer port: other_layout",
            "messages not sent",
        ] {
            assert!(!is_ordinary(trouble), "{trouble}");
        }
    }

    #[test]
    fn what_a_start_may_have_found_waiting_may_be_older() {
        let unsure = "2000 ms since the node's start, or longer";
        assert_eq!(age_in(Some(5), 2000), unsure);
        assert_eq!(age_in(Some(60), 2000), "2000 ms");
        assert_eq!(age_in(None, 2000), "2000 ms");
        assert_eq!(age_in(Some(5), 0), "0 ms");
    }
}
