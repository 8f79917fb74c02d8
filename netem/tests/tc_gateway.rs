//! The gateway's script on a real interface: under a flood a marked packet waits for
//! about one bulk packet, where a queue without classes makes it wait for all of them.
//!
//! Needs root, `ip` and `tc`; without them it says so, loudly, and passes.
#![cfg(all(feature = "tool", target_os = "linux"))]

mod fixture;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fixture::{Pair, alone, may_make_namespaces, run};
use nix::sys::socket::{setsockopt, sockopt};

/// 95 % of this is 19 Mbit/s: a full frame takes 0.64 ms.
const UPLINK: &str = "20Mbit";
const FRAME_TIME: Duration = Duration::from_micros(1514 * 8 / 19);

const FLOOD_SOCKETS: usize = 4;
const PROBES: usize = 300;
const PROBE_GAP: Duration = Duration::from_millis(4);
const WARM_UP: Duration = Duration::from_millis(700);

const NETEM: &str = env!("CARGO_BIN_EXE_netem");

fn tc(pair: &Pair, deed: &str, more: &[&str]) -> Result<String, String> {
    let mut words = vec![
        "netns", "exec", &pair.a, NETEM, "tc", deed, "--dev", "veth0",
    ];
    words.extend(["--uplink", UPLINK, "--buffer", "256KB"]);
    words.extend(more);
    run("ip", &words)
}

/// How long marked packets take one way while unmarked ones flood the link: sorted,
/// lost ones left out.
fn delays_under_flood(pair: &Pair, ipv6: bool, dscp: u8) -> Vec<Duration> {
    let (a, b) = if ipv6 {
        (pair.a_v6, pair.b_v6)
    } else {
        (pair.a_v4, pair.b_v4)
    };
    let sink = pair.socket(&pair.b, b);
    let to = sink.local_addr().expect("bound");
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..FLOOD_SOCKETS)
        .map(|_| flood(pair.socket(&pair.a, a), SocketAddr::new(b, 9), stop.clone()))
        .collect();
    let probe = pair.socket(&pair.a, a);
    mark(&probe, a, dscp);
    thread::sleep(WARM_UP);
    let begin = Instant::now();
    let receiver = thread::spawn(move || receive(&sink, begin));
    for number in 0..PROBES {
        let due = begin + PROBE_GAP * number as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = begin.elapsed().as_nanos() as u64;
        probe
            .send_to(&sent.to_be_bytes(), to)
            .expect("a small packet fits");
    }
    let mut delays = receiver.join().expect("received");
    stop.store(true, Ordering::Relaxed);
    for flood in floods {
        flood.join().expect("ended");
    }
    delays.sort();
    delays
}

/// Sends full frames as fast as the kernel takes them.
fn flood(socket: UdpSocket, to: SocketAddr, stop: Arc<AtomicBool>) -> thread::JoinHandle<()> {
    // Waits no longer than this for room, to see `stop`.
    socket
        .set_write_timeout(Some(Duration::from_millis(50)))
        .expect("a socket takes it");
    let payload = [0; 1452];
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let _ = socket.send_to(&payload, to);
        }
    })
}

fn mark(socket: &UdpSocket, address: IpAddr, dscp: u8) {
    let class = i32::from(dscp) << 2;
    match address {
        IpAddr::V4(_) => setsockopt(socket, sockopt::Ipv4Tos, &class),
        IpAddr::V6(_) => setsockopt(socket, sockopt::Ipv6TClass, &class),
    }
    .expect("any mark may be set");
}

fn receive(sink: &UdpSocket, begin: Instant) -> Vec<Duration> {
    sink.set_read_timeout(Some(Duration::from_millis(700)))
        .expect("a socket takes it");
    let mut delays = Vec::new();
    let mut buffer = [0; 64];
    while delays.len() < PROBES {
        let Ok((8, _)) = sink.recv_from(&mut buffer) else {
            break;
        };
        let sent = buffer.first_chunk().map(|sent| u64::from_be_bytes(*sent));
        let sent = Duration::from_nanos(sent.expect("8 bytes were received"));
        delays.push(begin.elapsed() - sent);
    }
    delays
}

fn at(delays: &[Duration], percent: usize) -> Duration {
    delays[(delays.len() * percent / 100).min(delays.len() - 1)]
}

fn report(what: &str, delays: &[Duration]) {
    println!(
        "{what}: {} of {PROBES}, one way p50 {:?}, p90 {:?}, p99 {:?}, max {:?} (a full frame takes {FRAME_TIME:?})",
        delays.len(),
        at(delays, 50),
        at(delays, 90),
        at(delays, 99),
        at(delays, 100)
    );
}

#[test]
fn a_marked_packet_waits_for_about_one_bulk_packet_and_an_unmarked_one_for_the_queue() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let pair = Pair::create().expect("it was possible just now");
    println!("{}", tc(&pair, "check", &[]).expect("this kernel can"));
    // The FIFO: same rate, same buffer, no classes.
    let fifo = "qdisc add dev veth0 root tbf rate 19mbit burst 1514 limit 256000";
    let mut words = vec!["-n", &pair.a];
    words.extend(fifo.split(' '));
    run("tc", &words).expect("this kernel has TBF");
    let without = delays_under_flood(&pair, false, 46);
    report("FIFO", &without);

    tc(&pair, "apply", &[]).expect("applied");
    for (ipv6, name) in [(false, "HTB, IPv4"), (true, "HTB, IPv6")] {
        let with = delays_under_flood(&pair, ipv6, 46);
        report(name, &with);
        assert!(
            with.len() * 100 >= PROBES * 99,
            "{name}: {} arrived",
            with.len()
        );
        assert!(
            at(&with, 50) <= FRAME_TIME * 3 / 2,
            "{name}: {:?}",
            at(&with, 50)
        );
        // Other processes may keep this one waiting; the queue would be 100 ms.
        assert!(
            at(&with, 90) <= FRAME_TIME * 8,
            "{name}: {:?}",
            at(&with, 90)
        );
    }
    let unmarked = delays_under_flood(&pair, false, 0);
    report("HTB, unmarked", &unmarked);
    for slow in [&without, &unmarked] {
        assert!(
            at(slow, 50) > Duration::from_millis(50),
            "{:?}",
            at(slow, 50)
        );
    }

    let shown = tc(&pair, "show", &[]).expect("shown");
    assert!(shown.contains("class htb 1:10"), "{shown}");
    tc(&pair, "remove", &[]).expect("removed");
    let left = run("tc", &["-n", &pair.a, "qdisc", "show", "dev", "veth0"]).expect("tc runs");
    assert!(!left.contains("htb"), "{left}");
}

#[test]
fn what_cannot_be_applied_is_refused_and_changes_nothing() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let pair = Pair::create().expect("it was possible just now");
    let queue = || run("tc", &["-n", &pair.a, "qdisc", "show"]).expect("tc runs");
    let before = queue();
    let refused = tc(&pair, "apply", &["--mtu", "1400"]).expect_err("the interface has 1500");
    assert!(refused.contains("MTU of 1500"), "{refused}");
    let refused = tc(&pair, "apply", &["--lan-dev", "nowhere"]).expect_err("not there");
    assert!(refused.contains("no interface nowhere"), "{refused}");
    if !kernel_has_netem() {
        let more = ["--delay", "50ms", "--delay-dev", "lo"];
        let refused = tc(&pair, "apply", &more).expect_err("no netem here");
        assert!(refused.contains("no netem"), "{refused}");
    }
    assert_eq!(queue(), before);
}

fn kernel_has_netem() -> bool {
    let tried = Command::new("unshare")
        .args([
            "-n", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms",
        ])
        .output();
    tried.is_ok_and(|output| output.status.success())
}
