//! The gateway's script in front of a router that knows no classes and sends at 20
//! Mbit/s: under a flood a marked packet waits for about one bulk packet, where without
//! the script it waits for the router's whole queue.
//!
//! Needs root, `ip` and `tc`; without them it says so, loudly, and passes.
#![cfg(all(feature = "tool", target_os = "linux"))]

mod fixture;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fixture::{Row, alone, may_make_namespaces, run};
use nix::sys::signal::{Signal, killpg};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;

const UPLINK: &str = "20Mbit";

/// What a full frame occupies the uplink for.
const FRAME_TIME: Duration = Duration::from_micros(1514 * 8 / 20);

/// The uplink: a queue of 256 KB, first come, first served. Its burst lets it make up for
/// 2.4 ms of a timer's lateness; with less it is slower than its rate wherever the
/// machine is busy, and what the script lets through queues here.
const FIFO: &str = "qdisc add dev to-b root tbf rate 20mbit burst 6056 limit 256000";

/// Other processes may keep those that measure from running, but not every time.
const TRIES: u32 = 12;

const FLOOD_SOCKETS: usize = 4;
const PROBES: usize = 300;
const PROBE_GAP: Duration = Duration::from_millis(4);
const WARM_UP: Duration = Duration::from_millis(700);

const NETEM: &str = env!("CARGO_BIN_EXE_netem");

fn tc(row: &Row, deed: &str, more: &[&str]) -> Result<String, String> {
    let mut words = vec!["netns", "exec", &row.a, NETEM, "tc", deed, "--dev", "veth0"];
    words.extend(["--uplink", UPLINK, "--buffer", "256KB"]);
    words.extend(more);
    run("ip", &words)
}

/// How long marked packets take one way while unmarked ones flood the link: sorted,
/// lost ones left out.
fn delays_under_flood(row: &Row, ipv6: bool, dscp: u8) -> Vec<Duration> {
    let (a, b) = if ipv6 {
        (row.a_v6, row.b_v6)
    } else {
        (row.a_v4, row.b_v4)
    };
    let sink = row.socket(&row.b, b);
    let to = sink.local_addr().expect("bound");
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..FLOOD_SOCKETS)
        .map(|_| flood(row.socket(&row.a, a), SocketAddr::new(b, 9), stop.clone()))
        .collect();
    let probe = row.socket(&row.a, a);
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
    let row = Row::create().expect("it was possible just now");
    println!("{}", tc(&row, "check", &[]).expect("this kernel can"));
    let mut words = vec!["-n", &row.middle];
    words.extend(FIFO.split(' '));
    run("tc", &words).expect("this kernel has TBF");
    let without = delays_under_flood(&row, false, 46);
    report("no classes", &without);

    tc(&row, "apply", &[]).expect("applied");
    for (ipv6, name) in [(false, "HTB, IPv4"), (true, "HTB, IPv6")] {
        // Half of them wait for no more than a frame and a half, two of three for two: the
        // others may have met a busy machine. Without classes it's 170 frames.
        let waits_for_one = |with: &[Duration]| {
            with.len() * 100 >= PROBES * 99
                && at(with, 50) <= FRAME_TIME * 3 / 2
                && at(with, 66) <= FRAME_TIME * 2
        };
        let tried = (0..TRIES).any(|_| {
            let with = delays_under_flood(&row, ipv6, 46);
            report(name, &with);
            waits_for_one(&with)
        });
        assert!(
            tried,
            "{name}: marked packets wait for more than a frame, every time"
        );
    }
    let unmarked = delays_under_flood(&row, false, 0);
    report("HTB, unmarked", &unmarked);
    for slow in [&without, &unmarked] {
        assert!(
            at(slow, 50) > Duration::from_millis(50),
            "{:?}",
            at(slow, 50)
        );
    }

    let shown = tc(&row, "show", &[]).expect("shown");
    assert!(shown.contains("class htb 1:10"), "{shown}");
    tc(&row, "remove", &[]).expect("removed");
    let left = run("tc", &["-n", &row.a, "qdisc", "show", "dev", "veth0"]).expect("tc runs");
    assert!(!left.contains("htb"), "{left}");
}

#[test]
fn what_cannot_be_applied_is_refused_and_changes_nothing() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let row = Row::create().expect("it was possible just now");
    let queue = || run("tc", &["-n", &row.a, "qdisc", "show"]).expect("tc runs");
    let before = queue();
    let refused = tc(&row, "apply", &["--mtu", "1400"]).expect_err("the interface has 1500");
    assert!(refused.contains("MTU of 1500"), "{refused}");
    let refused = tc(&row, "apply", &["--lan-dev", "nowhere"]).expect_err("not there");
    assert!(refused.contains("no interface nowhere"), "{refused}");
    if !kernel_has_netem() {
        let more = ["--delay", "50ms", "--delay-dev", "lo"];
        let refused = tc(&row, "apply", &more).expect_err("no netem here");
        assert!(refused.contains("no netem"), "{refused}");
    }
    assert_eq!(queue(), before);
}

#[test]
fn a_queue_that_netem_never_set_survives_apply_and_remove() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let row = Row::create().expect("it was possible just now");
    // The second has the handle that the script uses.
    for queue in [
        "tbf rate 20mbit burst 6056 limit 256000",
        "handle 1: htb default 30",
    ] {
        set_queue(&row, "veth0", queue);
        let before = queues(&row.a);
        let said = tc(&row, "remove", &[]).expect("nothing to do is no failure");
        assert!(said.contains("nothing of netem's on veth0"), "{said}");
        assert_eq!(queues(&row.a), before);
        let refused = tc(&row, "apply", &[]).expect_err("it could not be restored");
        assert!(refused.contains("tc qdisc del dev veth0 root"), "{refused}");
        assert_eq!(queues(&row.a), before);
    }
    assert!(!saved(&row.a, "veth0").exists());
    run(
        "tc",
        &["-n", &row.a, "qdisc", "del", "dev", "veth0", "root"],
    )
    .expect("it was set");
    let before = queues(&row.a);
    let said = tc(&row, "remove", &[]).expect("nothing to do is no failure");
    assert!(said.contains("nothing of netem's on veth0"), "{said}");

    // Its own queue is known again, also without the saved state.
    tc(&row, "apply", &[]).expect("applied");
    tc(&row, "apply", &[]).expect("applied once more");
    std::fs::remove_file(saved(&row.a, "veth0")).expect("saved");
    tc(&row, "remove", &[]).expect("removed");
    assert_eq!(queues(&row.a), before);
}

/// With a state of its own left, it took any root queue of handle 1: for its own.
#[test]
fn a_queue_that_took_the_place_of_netems_is_refused_and_stays() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let row = Row::create().expect("it was possible just now");
    tc(&row, "apply", &[]).expect("applied");
    let delete = ["-n", &row.a, "qdisc", "del", "dev", "veth0", "root"];
    run("tc", &delete).expect("it was set");
    set_queue(&row, "veth0", "handle 1: htb default 7");
    let before = queues(&row.a);
    for deed in ["check", "apply"] {
        let refused = tc(&row, deed, &[]).expect_err("it could not be restored");
        assert!(refused.contains("tc qdisc del dev veth0 root"), "{refused}");
        assert_eq!(queues(&row.a), before);
    }
    let said = tc(&row, "remove", &[]).expect("the rest is undone");
    assert!(said.contains("its queue stays"), "{said}");
    assert_eq!(queues(&row.a), before);
    assert_eq!(segments(&row), "65535");
    assert!(!saved(&row.a, "veth0").exists());
}

#[test]
fn what_is_left_of_a_device_that_is_gone_is_removed() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let row = Row::create().expect("it was possible just now");
    tc(&row, "apply", &[]).expect("applied");
    let delete = ["-n", &row.a, "link", "del", "veth0"];
    run("ip", &delete).expect("it is there");
    let said = tc(&row, "remove", &[]).expect("what is left goes");
    assert!(said.contains("veth0 is gone"), "{said}");
    assert!(!saved(&row.a, "veth0").exists());
    let refused = tc(&row, "remove", &[]).expect_err("nothing is left of it");
    assert!(refused.contains("no interface veth0"), "{refused}");
}

/// The second `apply` took for the kernel's what the first had set, for ever.
#[test]
fn without_a_saved_state_segments_come_back_too() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let row = Row::create().expect("it was possible just now");
    tc(&row, "apply", &[]).expect("applied");
    assert_eq!(segments(&row), "1");
    std::fs::remove_file(saved(&row.a, "veth0")).expect("saved");
    tc(&row, "apply", &[]).expect("applied once more");
    tc(&row, "remove", &[]).expect("removed");
    assert_eq!(segments(&row), "65535");
}

/// A namespace that was deleted under `netem tc` leaves its state, and its number to the
/// next one: whose segments were set to what the first had.
#[test]
fn what_is_saved_of_a_namespace_that_is_gone_says_nothing_of_the_next() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let row = Row::create().expect("it was possible just now");
    let of_another = "GSO=7\nGRO=''\nDELAYED=''\n";
    let set = ["-n", &row.a, "link", "set", "dev", "veth0"];
    run("ip", &[&set[..], &["gso_max_segs", "20"]].concat()).expect("any number may be set");
    std::fs::write(saved(&row.a, "veth0"), of_another).expect("written");
    tc(&row, "apply", &[]).expect("applied");
    assert_eq!(segments(&row), "1");
    tc(&row, "remove", &[]).expect("removed");
    assert_eq!(segments(&row), "20");
}

#[test]
fn each_network_namespace_gets_back_what_it_had() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let row = Row::create().expect("it was possible just now");
    let ends = [(&row.a, "20"), (&row.b, "30")];
    let deed = |namespace: &str, deed| {
        let words = ["netns", "exec", namespace, NETEM, "tc", deed];
        let options = ["--dev", "veth0", "--uplink", UPLINK];
        run("ip", &[&words[..], &options].concat()).expect(deed);
    };
    for (namespace, segments) in ends {
        let set = ["link", "set", "dev", "veth0", "gso_max_segs", segments];
        run("ip", &[&["-n", namespace][..], &set].concat()).expect("any number may be set");
        deed(namespace, "apply");
    }
    for (namespace, segments) in ends {
        deed(namespace, "remove");
        let shown = run("ip", &["-n", namespace, "-d", "link", "show", "veth0"]).expect("shown");
        let had = format!("gso_max_segs {segments} ");
        assert!(shown.contains(&had), "{had}: {shown}");
        assert!(!saved(namespace, "veth0").exists());
    }
}

#[test]
fn remove_undoes_the_delay_without_being_told_of_it() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let row = Row::create().expect("it was possible just now");
    for device in ["w0", "w1"] {
        let add = ["-n", &row.a, "link", "add", device, "type", "veth"];
        run("ip", &add).expect("added");
    }
    let before = queues(&row.a);
    let delayed = |device| {
        let show = ["-n", &row.a, "qdisc", "show", "dev", device, "root"];
        run("tc", &show).expect("tc runs").contains("tbf")
    };
    let delay = |device| ["--delay", "50ms", "--delay-dev", device];
    let netem = StandIn::create();
    netem.tc(&row, "apply", &delay("w0")).expect("applied");
    assert!(delayed("w0"));
    // Another device's takes the place of the first.
    netem.tc(&row, "apply", &delay("w1")).expect("applied");
    assert!(!delayed("w0") && delayed("w1"));
    netem.tc(&row, "apply", &delay("w1")).expect("applied");
    netem.tc(&row, "remove", &[]).expect("removed");
    assert_eq!(queues(&row.a), before);

    set_queue(&row, "w0", "handle 1: htb default 30");
    let before = queues(&row.a);
    let refused = netem.tc(&row, "apply", &delay("w0"));
    let refused = refused.expect_err("it could not be restored");
    assert!(refused.contains("tc qdisc del dev w0 root"), "{refused}");
    assert_eq!(queues(&row.a), before);
}

/// The undoing hung on a normal exit, so half of the tree was left, without a word.
#[test]
fn an_interrupted_apply_is_undone_and_says_so() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let row = Row::create().expect("it was possible just now");
    let before = queues(&row.a);
    // Filters come last.
    let slow = StandIn::of(
        "slow",
        "PATH=${PATH#*:}\ncase \"$*\" in 'filter '*) sleep 0.05 ;; esac\nexec tc \"$@\"\n",
    );
    for (signal, code) in [
        (Signal::SIGINT, 130),
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
    ] {
        // Whoever runs tests in the background (nohup) ignores SIGHUP, and so would it.
        let mut words = vec!["netns", "exec", &row.a, "env", "--default-signal=HUP"];
        let path = slow.path();
        words.extend([&path, NETEM, "tc", "apply", "--dev", "veth0"]);
        let child = Command::new("ip")
            .args(words)
            .args(["--uplink", UPLINK])
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let deadline = Instant::now() + Duration::from_secs(20);
        while !queues(&row.a)
            .iter()
            .any(|queue| queue.contains("bfifo 20:"))
        {
            assert!(Instant::now() < deadline, "no queue within 20 s");
            thread::sleep(Duration::from_millis(5));
        }
        // As Ctrl-C does, to all that the terminal runs.
        killpg(Pid::from_raw(child.id() as i32), signal).expect("it runs");
        let output = child.wait_with_output().expect("ended");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("nothing was applied"), "{said}");
        assert_eq!(queues(&row.a), before);
        assert!(!saved(&row.a, "veth0").exists());
    }
}

/// A `tc` that has another queue where it says netem, so that kernels without netem can
/// be asked for a delay.
struct StandIn(PathBuf);

impl StandIn {
    fn create() -> Self {
        Self::of(
            "netem",
            "PATH=${PATH#*:}\n\
            case \"$*\" in\n\
            *' root netem '*) exec tc qdisc replace dev \"$4\" root tbf rate 1gbit burst 6056 limit 256000 ;;\n\
            *) tc \"$@\" >\"$0.out\"; rc=$?; sed 's/^qdisc tbf /qdisc netem /' \"$0.out\"; exit $rc ;;\n\
            esac\n",
        )
    }

    fn of(label: &str, script: &str) -> Self {
        let name = format!("netem-test-{}-tc-{label}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a place for temporary files");
        let program = directory.join("tc");
        std::fs::write(&program, format!("#!/bin/sh\n{script}")).expect("written");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&program, mode).expect("it's this test's");
        Self(directory)
    }

    /// What makes programs find it.
    fn path(&self) -> String {
        let path = std::env::var("PATH").expect("programs are found by it");
        format!("PATH={}:{path}", self.0.display())
    }

    fn tc(&self, row: &Row, deed: &str, more: &[&str]) -> Result<String, String> {
        let path = self.path();
        let mut words = vec!["netns", "exec", &row.a, "env", &path, NETEM, "tc", deed];
        words.extend(["--dev", "veth0", "--uplink", UPLINK]);
        words.extend(more);
        run("ip", &words)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn set_queue(row: &Row, device: &str, queue: &str) {
    let add = ["-n", &row.a, "qdisc", "replace", "dev", device, "root"];
    let mut words = add.to_vec();
    words.extend(queue.split(' '));
    run("tc", &words).expect("this kernel has TBF and HTB");
}

/// How many segments the gateway's interface passes as one packet.
fn segments(row: &Row) -> String {
    let shown = run("ip", &["-n", &row.a, "-d", "link", "show", "veth0"]).expect("ip runs");
    let mut words = shown
        .split_whitespace()
        .skip_while(|&word| word != "gso_max_segs");
    words.nth(1).expect("this kernel tells").to_owned()
}

/// The queues of a namespace, without HTB's counter and what follows it.
fn queues(namespace: &str) -> Vec<String> {
    let shown = run("tc", &["-n", namespace, "qdisc", "show"]).expect("tc runs");
    let queue = |line: &str| line.split(" direct_packets_stat").next().map(str::to_owned);
    shown.lines().filter_map(queue).collect()
}

/// Where the script keeps what a device of a namespace had before.
fn saved(namespace: &str, device: &str) -> PathBuf {
    let file = std::fs::metadata(format!("/run/netns/{namespace}")).expect("it exists");
    PathBuf::from(format!("/run/netem-tc-{}-{device}", file.ino()))
}

fn kernel_has_netem() -> bool {
    let tried = Command::new("unshare")
        .args([
            "-n", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms",
        ])
        .output();
    tried.is_ok_and(|output| output.status.success())
}
