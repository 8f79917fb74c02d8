//! The program as a whole: a WAN of two sites, built, measured, changed, and gone.
//!
//! Needs root, `ip` and /dev/net/tun; without them it says so, loudly, and passes.
#![cfg(all(feature = "tool", target_os = "linux"))]

mod fixture;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fixture::{alone, may_make_namespaces, run};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;

const NETEM: &str = env!("CARGO_BIN_EXE_netem");

const RTT_MS: f64 = 60.0;

/// 100 KB at 20 Mbit/s take this to send.
const FULL_BUFFER_MS: f64 = 40.0;

/// What the router and this machine may add to a round trip.
const SLACK_MS: f64 = 1.0;

const PING_TRIES: u32 = 10;

/// A WAN of a name of its own. Dropping it takes it down, whatever became of the test.
struct Wan {
    name: String,
    file: PathBuf,
}

impl Wan {
    fn new(label: &str) -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(take_down_those_of_dead_processes);
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{number}-{label}", std::process::id());
        let file = std::env::temp_dir().join(format!("{name}.toml"));
        let text = format!(
            "[[site]]\nname = \"west\"\nhosts = 2\n[[site]]\nname = \"east\"\n\
             [rtt]\nwest = {{ east = \"{RTT_MS}ms\" }}\n\
             [wan]\nrate = \"20Mbit\"\nbuffer = \"100KB\"\n"
        );
        fs::write(&file, text).expect("the temporary directory takes files");
        Self { name, file }
    }

    fn up(label: &str, more: &[&str]) -> Self {
        let wan = Self::new(label);
        let mut words = vec!["up", wan.file(), "--name", &wan.name];
        words.extend(more);
        run(NETEM, &words).expect("comes up");
        wan
    }

    fn file(&self) -> &str {
        self.file.to_str().expect("made of ASCII")
    }

    fn netem(&self, words: &[&str]) -> Result<String, String> {
        let mut all = words.to_vec();
        all.extend(["--wan", &self.name]);
        run(NETEM, &all)
    }

    fn ping(&self, more: &[&str]) -> Value {
        let mut words = vec!["ping", "west.1", "east", "--json", "--count", "25"];
        words.extend(["--interval", "20ms"]);
        words.extend(more);
        let said = self.netem(&words).expect("both hosts are there");
        serde_json::from_str(&said).expect("JSON")
    }

    /// [`ping`](Self::ping) until half of the packets are back within `limit_ms`: other
    /// processes may keep the program that measures from running, but not for long.
    fn ping_within(&self, limit_ms: f64, more: &[&str]) -> Value {
        let mut found = Value::Null;
        for _ in 0..PING_TRIES {
            found = self.ping(more);
            if ms(&found, "p50_ms") < limit_ms {
                break;
            }
            println!("again: {found}");
        }
        assert!(
            (RTT_MS..limit_ms).contains(&ms(&found, "p50_ms")),
            "{found}"
        );
        found
    }

    fn status(&self) -> Value {
        let said = self.netem(&["status", "--json"]).expect("it is up");
        serde_json::from_str(&said).expect("JSON")
    }

    fn link(&self, name: &str) -> Value {
        let status = self.status();
        let links = status["link_status"].as_array().expect("a list");
        let found = links.iter().find(|link| link["name"] == name);
        found.expect("the link is there").clone()
    }

    fn router(&self) -> Pid {
        let pid = self.status()["router"]["pid"].as_i64().expect("a number");
        Pid::from_raw(i32::try_from(pid).expect("a process's number"))
    }

    /// A process on a host that ends only when told.
    fn sleeper(&self) -> Child {
        self.sleeper_by(&["sleep", "1000"])
    }

    /// The same, by a command that becomes `sleep`.
    fn sleeper_by(&self, command: &[&str]) -> Child {
        let child = Command::new(NETEM)
            .args(["exec", "west.2", "--wan", &self.name, "--"])
            .args(command)
            .spawn()
            .expect("starts");
        let inside = || fs::read_to_string(format!("/proc/{}/comm", child.id()));
        wait_for("exec", || inside().is_ok_and(|name| name.trim() == "sleep"));
        child
    }

    /// What is written down of it.
    fn state_file(&self) -> PathBuf {
        Path::new("/run/netem").join(&self.name).join("state.json")
    }

    /// Names of namespaces and directories that are left of it.
    fn left(&self) -> Vec<String> {
        let names = run("ip", &["netns", "list"]).expect("ip runs");
        let mine = format!("netem.{}.", self.name);
        let mut left: Vec<String> = names
            .lines()
            .filter(|line| line.starts_with(&mine))
            .map(str::to_owned)
            .collect();
        let directory = Path::new("/run/netem").join(&self.name);
        left.extend(directory.exists().then(|| directory.display().to_string()));
        left
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        let _ = run(NETEM, &["down", &self.name]);
        let _ = fs::remove_file(&self.file);
    }
}

/// A test that was killed could not clean up: its successor does.
fn take_down_those_of_dead_processes() {
    let entries = ["/run/netns", "/run/netem"]
        .map(fs::read_dir)
        .into_iter()
        .flatten()
        .flatten();
    for name in entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
    {
        let name = name.strip_prefix("netem.").unwrap_or(&name);
        let wan = name.split('.').next().unwrap_or(name);
        let process = wan
            .strip_prefix("test-")
            .and_then(|rest| rest.split('-').next());
        if process.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Already done if the WAN has another namespace.
            let _ = run(NETEM, &["down", wan]);
        }
    }
}

fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !happened() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether it was ended together with its WAN; it is now.
fn has_ended(mut child: Child) -> bool {
    // A process leaves its namespaces a little before it is gone.
    std::thread::sleep(Duration::from_millis(200));
    let ended = child.try_wait().expect("it is a child").is_some();
    let _ = child.kill();
    let _ = child.wait();
    ended
}

/// Whether a router has ended; one that has not is ended here, for nobody else would find it.
fn is_gone(router: Pid) -> bool {
    // What is left of an ended process until it is waited for has no command line.
    let command = fs::read(format!("/proc/{router}/cmdline"));
    let runs = command.is_ok_and(|command| !command.is_empty());
    if runs {
        let _ = kill(router, Signal::SIGKILL);
    }
    !runs
}

fn ms(found: &Value, field: &str) -> f64 {
    found[field]
        .as_f64()
        .unwrap_or_else(|| panic!("no {field} in {found}"))
}

#[test]
fn a_wan_is_what_its_file_says_and_can_be_changed_while_it_runs() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let wan = Wan::up("life", &[]);
    for more in [&["--dscp", "EF"][..], &["--ipv6"]] {
        let found = wan.ping_within(RTT_MS + SLACK_MS, more);
        println!("idle {more:?}: {found}");
        assert_eq!(found["received"], 25, "{found}");
        assert_eq!(found["dscp_there"], found["dscp_sent"], "{found}");
    }

    // Congested one way: the default class waits for a full buffer, EF for nobody.
    wan.netem(&["congest", "west:east", "130%"])
        .expect("in range");
    std::thread::sleep(Duration::from_millis(500));
    // One packet that is being transmitted: 0.6 ms.
    let marked = wan.ping_within(RTT_MS + 0.6 + SLACK_MS, &["--dscp", "EF"]);
    let unmarked = wan.ping(&[]);
    println!("congested, EF: {marked}\ncongested, unmarked: {unmarked}");
    assert_eq!(marked["received"], 25);
    assert!(
        ms(&unmarked, "p50_ms") > RTT_MS + FULL_BUFFER_MS * 0.8,
        "{unmarked}"
    );
    let cross = wan.link("west:east")["cross"].clone();
    assert!(cross["dropped_packets"].as_u64() > Some(0), "{cross}");

    // Bleached: the mark is lost and with it the priority.
    wan.netem(&["set", "west:east", "bleach=on"])
        .expect("understood");
    let bleached = wan.ping(&["--dscp", "EF"]);
    println!("bleached: {bleached}");
    assert_eq!(
        (&bleached["dscp_there"], &bleached["dscp_back"]),
        (&0.into(), &46.into())
    );
    assert!(
        ms(&bleached, "p50_ms") > RTT_MS + FULL_BUFFER_MS * 0.8,
        "{bleached}"
    );

    wan.netem(&["congest", "west:east", "0"]).expect("in range");
    wan.netem(&["set", "west:east", "bleach=off", "delay=50ms"])
        .expect("understood");
    let farther = wan.ping_within(80.0 + SLACK_MS, &["--dscp", "EF"]);
    assert!(ms(&farther, "min_ms") >= 80.0, "{farther}");

    wan.netem(&["set", "west:east", "down", "--both"])
        .expect("understood");
    let unanswered = wan
        .netem(&["ping", "west", "east", "--json", "--count", "1"])
        .expect_err("no way through");
    assert!(
        unanswered.contains("\"received\":0") && unanswered.contains("no answer came"),
        "{unanswered}"
    );
    wan.netem(&["set", "west:east", "up", "--both"])
        .expect("understood");
    assert_eq!(wan.ping(&[])["received"], 25);

    let watched = wan
        .netem(&["watch", "--count", "1", "--interval", "100ms"])
        .expect("watches");
    assert!(
        watched.contains("west:east") && watched.contains("priority"),
        "{watched}"
    );
    let for_programs = ["watch", "--json", "--count", "2", "--interval", "100ms"];
    let watched = wan.netem(&for_programs).expect("watches");
    let looks: Vec<Value> = watched
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON, a line each"))
        .collect();
    let up_for = |look: &Value| look["seconds"].as_f64().expect("a number");
    assert_eq!(looks.len(), 2, "{watched}");
    let between = up_for(&looks[1]) - up_for(&looks[0]);
    assert!((0.09..5.0).contains(&between), "{between} s");

    // As the router itself: where that may not run in real time, nothing may.
    let realtime = wan.status()["performance"]["scheduling"] == "SCHED_FIFO";
    let words = [
        "exec",
        "west.1",
        "--realtime",
        "--",
        "cat",
        "/proc/self/stat",
    ];
    match run(
        NETEM,
        &[&words[..3], &["--wan", &wan.name], &words[3..]].concat(),
    ) {
        // Fields 40 and 41: the priority, and the policy (2 is SCHED_RR).
        Ok(stat) => {
            let fields: Vec<&str> = stat.split_whitespace().collect();
            assert_eq!(
                (realtime, fields[39], fields[40]),
                (true, "1", "2"),
                "{stat}"
            );
        }
        Err(refused) => assert!(!realtime && refused.contains("rtprio"), "{refused}"),
    }

    run(NETEM, &["down", &wan.name]).expect("down");
    assert_eq!(wan.left(), [""; 0]);
}

/// It showed "-" under a full queue.
#[test]
fn watch_shows_the_delay_of_a_link_that_only_cross_traffic_fills() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let wan = Wan::up("watched", &[]);
    wan.netem(&["congest", "west:east", "200%"])
        .expect("in range");
    // Full within 40 ms.
    std::thread::sleep(Duration::from_millis(500));
    let watched = wan
        .netem(&["watch", "--count", "1", "--interval", "500ms"])
        .expect("watches");
    let delay = |class: &str| {
        let row = watched.lines().find(|line| line.contains(class));
        let row = row.unwrap_or_else(|| panic!("no {class} in {watched}"));
        // Columns are two blanks apart, a number and its unit one.
        row.rsplit("  ").next().unwrap_or_default().trim()
    };
    let shown = delay(" cross ").strip_suffix(" ms").map(str::parse::<f64>);
    let Some(Ok(shown)) = shown else {
        panic!("{watched}");
    };
    let (least, most) = (FULL_BUFFER_MS * 0.8, FULL_BUFFER_MS + 1.0);
    assert!((least..most).contains(&(shown - RTT_MS / 2.0)), "{watched}");
    assert_eq!(delay(" default "), "-", "{watched}");
}

#[test]
fn tcp_fills_a_link_with_packets_no_larger_than_the_mtu() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let wan = Wan::up("tcp", &[]);
    wan.netem(&["congest", "west:east", "--tcp", "4"])
        .expect("started");
    let sent = || {
        wan.link("west:east")["bulk"]["sent_bytes"]
            .as_u64()
            .expect("a number")
    };
    // Past slow start: two seconds' worth at 20 Mbit/s.
    wait_for("5 MB by TCP", || sent() > 5_000_000);
    let (before, begin) = (sent(), Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    let rate = (sent() - before) as f64 * 8.0 / begin.elapsed().as_secs_f64() / 1e6;
    println!("4 TCP flows: {rate:.1} Mbit/s");
    assert!((14.0..20.5).contains(&rate), "{rate} Mbit/s");
    assert_eq!(wan.status()["performance"]["refused_packets"], 0);
    wan.netem(&["congest", "west:east", "0"]).expect("stopped");
    assert_eq!(wan.link("west:east")["tcp_flows"], 0);
}

#[test]
fn jumbo_frames_pass_where_the_file_says_so() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let wan = Wan::new("jumbo");
    let text = fs::read_to_string(wan.file()).expect("it was written");
    fs::write(wan.file(), format!("mtu = \"9000B\"\n{text}")).expect("it can be written");
    run(NETEM, &["up", wan.file(), "--name", &wan.name]).expect("comes up");
    let sent = |link: &str| {
        let bytes = wan.link(link)["bulk"]["sent_bytes"].as_u64();
        bytes.expect("a number")
    };
    let found = wan.ping(&["--size", "9000", "--dscp", "0"]);
    assert_eq!(found["received"], 25, "{found}");
    assert_eq!(
        (sent("west:east"), sent("east:west")),
        (25 * 9000, 25 * 9000)
    );
    let refused = wan
        .netem(&["ping", "west", "east", "--size", "9001"])
        .expect_err("above the MTU");
    assert!(refused.contains("32 to 9000"), "{refused}");
}

#[test]
fn down_clears_away_what_a_killed_router_left() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let wan = Wan::up("killed", &[]);
    let mut sleeper = wan.sleeper();
    let router = wan.router();
    let mut watch = Command::new(NETEM)
        .args(["watch", "--json", "--interval", "500ms", "--wan", &wan.name])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let ping = Command::new(NETEM)
        .args([
            "ping", "west", "east", "--count", "1000", "--wan", &wan.name,
        ])
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut looks = BufReader::new(watch.stdout.take().expect("a pipe"));
    looks.read_line(&mut String::new()).expect("one look");
    wait_for("ping", || {
        wan.link("west:east")["bulk"]["sent_packets"].as_u64() > Some(0)
    });
    kill(router, Signal::SIGKILL).expect("it runs");
    wait_for("the router's death", || {
        !Path::new(&format!("/proc/{router}")).exists()
    });
    assert_eq!(
        wan.left().len(),
        4,
        "three namespaces and a directory: {:?}",
        wan.left()
    );
    for left in [watch, ping] {
        let output = left.wait_with_output().expect("ended");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("has died") && said.contains("netem down"),
            "{said}"
        );
    }
    let refused = wan.netem(&["status"]).expect_err("it is dead");
    assert!(
        refused.contains("has died") && refused.contains("netem down"),
        "{refused}"
    );
    let again = run(NETEM, &["up", wan.file(), "--name", &wan.name]).expect_err("left-overs");
    assert!(again.contains("netem down"), "{again}");

    let said = run(NETEM, &["down", &wan.name]).expect("down");
    assert!(said.contains("sleep"), "{said}");
    assert_eq!(wan.left(), [""; 0]);
    assert!(!sleeper.wait().expect("ended").success());
}

#[test]
fn down_finds_namespaces_of_which_no_state_is_left() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let wan = Wan::up("lost", &[]);
    kill(wan.router(), Signal::SIGKILL).expect("it runs");
    fs::remove_dir_all(Path::new("/run/netem").join(&wan.name)).expect("it is there");
    run(NETEM, &["down", &wan.name]).expect("down");
    assert_eq!(wan.left(), [""; 0]);
}

/// It said "is down" and left the router running.
#[test]
fn down_ends_a_router_whose_state_is_damaged() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    for more in [&[][..], &["--rootless"]] {
        let wan = Wan::up("damaged", more);
        let router = wan.router();
        let unmarked = wan.sleeper_by(&["env", "-i", "sleep", "1000"]);
        let path = wan.state_file();
        fs::write(&path, "garbage").expect("it can be written");
        let said = run(NETEM, &["down", &wan.name]).expect("down");
        assert!(is_gone(router), "{said}");
        assert!(
            said.contains("is damaged") && said.contains(&format!("process {router},")),
            "{said}"
        );
        assert_eq!(wan.left(), [""; 0]);
        assert!(has_ended(unmarked), "{more:?}: a process stayed: {said}");
    }

    // Without its socket it can't be found.
    let wan = Wan::up("hidden", &[]);
    let router = wan.router();
    let directory = Path::new("/run/netem").join(&wan.name);
    fs::write(directory.join("state.json"), "garbage").expect("it can be written");
    fs::remove_file(directory.join("control.sock")).expect("it is there");
    let said = run(NETEM, &["down", &wan.name]).expect("down");
    kill(router, Signal::SIGKILL).expect("it runs");
    assert!(said.contains("no router listens"), "{said}");
    assert_eq!(wan.left(), [""; 0]);
}

/// The state was believed where it was whole, and the router outlived its WAN.
#[test]
fn down_ends_a_router_that_the_state_does_not_name() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let wan = Wan::up("misled", &[]);
    let router = wan.router();
    let path = wan.state_file();
    let state = fs::read_to_string(&path).expect("it can be read");
    let named = format!("\"pid\": {router}");
    assert!(state.contains(&named), "{state}");
    fs::write(&path, state.replace(&named, "\"pid\": 1")).expect("it can be written");
    let said = run(NETEM, &["down", &wan.name]).expect("down");
    assert!(is_gone(router), "{said}");
    assert_eq!(wan.left(), [""; 0]);
}

/// Neither state nor router told of the namespaces, and what ran in them stayed.
#[test]
fn down_ends_processes_of_a_dead_rootless_router_whose_state_is_damaged() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let wan = Wan::up("untold", &["--rootless"]);
    let sleeper = wan.sleeper_by(&["sleep", "1000"]);
    kill(wan.router(), Signal::SIGKILL).expect("it runs");
    let path = wan.state_file();
    fs::write(&path, "garbage").expect("it can be written");
    let said = run(NETEM, &["down", &wan.name]).expect("down");
    assert!(has_ended(sleeper), "a process stayed: {said}");
    assert_eq!(wan.left(), [""; 0]);
}

/// A failed `up` deleted a namespace that it had not made.
#[test]
fn up_spares_a_namespace_that_has_one_of_its_names() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let wan = Wan::new("taken");
    let name = format!("netem.{}.east.1", wan.name);
    run("ip", &["netns", "add", &name]).expect("it is new");
    for more in [&[][..], &["--foreground"]] {
        let words = [&["up", wan.file(), "--name", &wan.name][..], more].concat();
        let refused = run(NETEM, &words).expect_err("the name is taken");
        assert!(
            refused.contains(&name) && refused.contains("netem down"),
            "{refused}"
        );
        assert_eq!(wan.left(), [name.as_str()]);
    }
}

/// Who came second was told to take down what the first was building.
#[test]
fn of_several_ups_at_once_one_builds_and_the_others_leave_it_alone() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let wan = Wan::new("race");
    let start = || {
        Command::new(NETEM)
            .args(["up", wan.file(), "--name", &wan.name])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts")
    };
    let ups: Vec<_> = (0..6).map(|_| start()).collect();
    let mut winners = 0;
    for up in ups {
        let output = up.wait_with_output().expect("ended");
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            winners += 1;
        } else {
            assert!(
                said.contains("another `netem up` builds") || said.contains("is up already"),
                "{said}"
            );
        }
    }
    assert_eq!(winners, 1);
    assert!(wan.netem(&["status"]).is_ok());
}

#[test]
fn an_interrupted_foreground_leaves_nothing() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    for more in [&[][..], &["--rootless"]] {
        let wan = Wan::new("front");
        let mut child = Command::new(NETEM)
            .args(["up", wan.file(), "--name", &wan.name, "--foreground"])
            .args(more)
            .stdout(Stdio::null())
            .spawn()
            .expect("starts");
        wait_for("up", || wan.netem(&["status"]).is_ok());
        let mut sleeper = wan.sleeper();
        let unmarked = wan.sleeper_by(&["env", "-i", "sleep", "1000"]);
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("it runs");
        assert!(child.wait().expect("ended").success());
        assert_eq!(wan.left(), [""; 0]);
        assert!(!sleeper.wait().expect("ended").success());
        assert!(
            has_ended(unmarked),
            "{more:?}: one without NETEM_RUN stayed"
        );
    }
}

/// It died without a word, and its router went on to build the WAN.
#[test]
fn an_up_that_is_interrupted_while_it_builds_says_so_and_leaves_nothing() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let wan = Wan::new("halfway");
    let text = fs::read_to_string(wan.file()).expect("it was written");
    fs::write(wan.file(), text.replace("hosts = 2", "hosts = 100")).expect("it can be written");
    for (signal, code, more) in [
        (Signal::SIGINT, 130, &[][..]),
        (Signal::SIGTERM, 143, &[]),
        (Signal::SIGINT, 130, &["--foreground"]),
    ] {
        let child = Command::new(NETEM)
            .args(["up", wan.file(), "--name", &wan.name])
            .args(more)
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        wait_for("a namespace", || wan.left().len() > 1);
        // As Ctrl-C does, to all that the terminal runs.
        killpg(Pid::from_raw(child.id() as i32), signal).expect("it runs");
        let output = child.wait_with_output().expect("ended");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(&format!("interrupted by {signal}")), "{said}");
        assert_eq!(wan.left(), [""; 0]);
    }
}

/// The router first wrote that the WAN is ready and then looked for its parent: a parent that
/// was faster had said "is up" and ended, which the router took for a kill.
#[test]
fn a_router_looks_for_its_parent_before_it_says_that_it_is_ready() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let wan = Wan::new("orphan");
    let directory = Path::new("/run/netem").join(&wan.name);
    // As `up` claims it before it starts the router.
    fs::create_dir_all(&directory).expect("root may");
    let mut router = Command::new(NETEM)
        .args(["up", wan.file(), "--name", &wan.name])
        // Its parent is this process and not that one.
        .args(["--background", "1"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let (mut built, mut ready) = (false, false);
    while router.try_wait().expect("it is a child").is_none() {
        // Until all is cleared away again, which takes many such looks.
        let text = fs::read_to_string(directory.join("state.json")).unwrap_or_default();
        built |= !text.is_empty();
        ready |= text.contains("\"ready\": true");
    }
    let output = router.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("`netem up` was killed"), "{said}");
    assert!(built && !ready, "built: {built}, ready: {ready}");
    assert_eq!(wan.left(), [""; 0]);
}

#[test]
fn a_user_namespace_does_without_names_and_leaves_nothing_either() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let wan = Wan::up("rootless", &["--rootless"]);
    assert_eq!(wan.status()["mode"], "UserNamespace");
    assert_eq!(
        wan.left().len(),
        1,
        "a directory and no names: {:?}",
        wan.left()
    );
    let found = wan.ping_within(RTT_MS + SLACK_MS, &["--dscp", "EF"]);
    println!("in a user namespace: {found}");
    assert_eq!(found["dscp_there"], 46);
    let mut sleeper = wan.sleeper();
    let unmarked = wan.sleeper_by(&["env", "-i", "sleep", "1000"]);
    kill(wan.router(), Signal::SIGKILL).expect("it runs");
    let said = run(NETEM, &["down", &wan.name]).expect("down");
    assert_eq!(wan.left(), [""; 0]);
    assert!(!sleeper.wait().expect("ended").success());
    assert!(has_ended(unmarked), "one without NETEM_RUN stayed: {said}");
}

/// The number of a namespace that is gone can be given to another one.
#[test]
fn down_spares_a_namespace_that_is_not_its_wans_but_has_the_number() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let dead = Wan::up("dead", &["--rootless"]);
    let alive = Wan::up("alive", &["--rootless"]);
    let mut sleeper = alive.sleeper();
    kill(dead.router(), Signal::SIGKILL).expect("it runs");
    let inode = fs::metadata(format!("/proc/{}/ns/net", sleeper.id())).expect("it runs");
    let path = dead.state_file();
    let text = fs::read_to_string(&path).expect("it was left");
    let mut state: Value = serde_json::from_str(&text).expect("JSON");
    state["hosts"][0]["namespace_inode"] = inode.ino().into();
    fs::write(&path, state.to_string()).expect("it can be written");
    run(NETEM, &["down", &dead.name]).expect("down");
    assert!(sleeper.try_wait().expect("it is a child").is_none());
    run(NETEM, &["down", &alive.name]).expect("down");
    sleeper.wait().expect("ended");
}

/// A command that isn't found looked like a failure of its host.
#[test]
fn exec_exits_as_its_command_or_as_a_shell_that_cant_run_it() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let wan = Wan::up("codes", &[]);
    let cases = [
        ("west", &["sh", "-c", "exit 3"][..], 3, ""),
        (
            "west",
            &["no-such-command"],
            127,
            "can't run no-such-command: No such file",
        ),
        (
            "west",
            &["/no/such/command"],
            127,
            "can't run /no/such/command: No such file",
        ),
        // Not executable.
        ("west", &[wan.file()], 126, "Permission denied"),
        ("west", &["/"], 126, "can't run /: Permission denied"),
        ("mars", &["no-such-command"], 1, "no host"),
    ];
    for (host, command, code, expected) in cases {
        let output = Command::new(NETEM)
            .args(["exec", host, "--wan", &wan.name, "--"])
            .args(command)
            .output()
            .expect("starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
        assert!(said.contains(expected), "{command:?}: {said}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let _alone = alone();
    if !may_make_namespaces() {
        return;
    }
    let wan = Wan::up("refusals", &[]);
    let before = wan.link("west:east");
    let cases = [
        (
            &["exec", "mars", "--", "true"][..],
            "west.1, west.2, east.1",
        ),
        (&["exec", "west.9", "--", "true"], "west.1, west.2, east.1"),
        (
            &["exec", "west", "--", "/no/such/program"],
            "can't run /no/such/program",
        ),
        (&["congest", "west:mars", "120%"], "west:east"),
        (&["congest", "west:east", "20000%"], "0.1% to 10000%"),
        (&["congest", "west:east"], "say how much"),
        // 100 Gbit/s.
        (
            &["congest", "west:west", "1000%"],
            "1000000 packets of 1500 bytes a second on all links together, not 8333333: here at \
             most 120% of 10000000000 bit/s",
        ),
        (&["congest", "west:east", "--tcp", "100"], "0 to 64"),
        (&["congest", "west:west", "120%", "--both"], "--both"),
        (&["set", "west:east", "rate=fast"], "20Mbit"),
        (&["set", "west:east", "buffer=1B"], "1500"),
        (&["set", "west:east", "loss=2"], "0 to 1"),
        (&["set", "west:east", "speed=1Mbit"], "rate=20Mbit"),
        (
            &["set", "west:east", "priority=none", "police=5%"],
            "priority class",
        ),
        (&["ping", "west", "east", "--size", "1501"], "32 to 1500"),
    ];
    for (words, expected) in cases {
        // `--wan` belongs before the command that `exec` runs.
        let mut words = words.to_vec();
        words.splice(1..1, ["--wan", &wan.name]);
        let refused = run(NETEM, &words).expect_err(expected);
        assert!(
            refused.contains(expected),
            "{words:?}: {expected:?} is not in {refused}"
        );
    }
    assert_eq!(wan.link("west:east"), before);
    let again = run(NETEM, &["up", wan.file(), "--name", &wan.name]).expect_err("it is up");
    assert!(again.contains("is up already"), "{again}");
    let nowhere = run(NETEM, &["down", "no-such-wan"]).expect_err("not there");
    assert!(
        nowhere.contains("nothing is left") && nowhere.contains("other users"),
        "{nowhere}"
    );
}
