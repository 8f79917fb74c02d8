//! Random workloads under random faults, one seed each: every history must be
//! linearizable, and once the faults end, everything ends too and nothing is left over.
//!
//! `SEEDS=20000 cargo test --release -p vivace-core --test random` tries more,
//! `SEED=17 TRACE=1 ...` replays one and tells everything.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_macros
)]

mod cluster;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cluster::history::{Answer, Ask, History};
use cluster::{Delays, HostClock, Occurrence, Simulation, Spread, layout};
use rand::{Rng, RngExt};
use vivace_core::client_protocol::{ClientReply, Failure, Request, SessionId, Success};
use vivace_core::cluster::{ClusterSpec, Container, Kind, TimestampSource};
use vivace_core::machine::StateMachine;
use vivace_core::machine::builtin::{Counter, List, Register, counter, list, register};
use vivace_core::{Blob, Class, NodeId, RequestId, SiteId, Timestamp, Value, codec};

/// Seeds tried where `SEEDS` does not say: about 40 s in a debug build.
const SEEDS: u64 = 400;

/// After the faults end, everything must end within this.
const RECOVERY_MAX: Duration = Duration::from_secs(10);

/// And everything that is on its way must arrive within this: a lost acknowledgment
/// of a value is noticed after a minute.
const DRAIN_MAX: Duration = Duration::from_secs(400);

#[test]
fn any_run_is_linearizable_and_ends_and_leaves_nothing() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let first = number("FIRST_SEED").unwrap_or(0);
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("SEEDS").unwrap_or(SEEDS),
    };
    let only = std::env::var("ONLY").ok();
    let mut totals = Totals::default();
    for seed in seeds {
        let replay = Replay(seed);
        let run = Run::new(seed);
        if only
            .as_ref()
            .is_none_or(|only| run.name.starts_with(only.as_str()))
        {
            run.go(&mut totals);
        }
        std::mem::forget(replay);
    }
    println!("{totals:#?}");
}

/// Tells how to replay a seed that panics.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        eprintln!(
            "replay: SEED={} cargo test -p vivace-core --test random -- --nocapture",
            self.0
        );
    }
}

/// What all seeds together did: a run that does nothing proves nothing.
#[derive(Debug, Default)]
struct Totals {
    runs: BTreeMap<String, u64>,
    operations: usize,
    completed: usize,
    causes: BTreeMap<String, u64>,
    recovery_max: Duration,
    drain_max: Duration,
}

/// The algorithm and the clocks of one run.
#[derive(Clone, Copy, Debug)]
enum Clocks {
    /// All within E.
    Trusted,
    /// The container asks a majority instead.
    Unused,
    /// Some nodes' clocks are not trusted, now and then.
    Mixed,
}

/// One client: one operation at a time.
#[derive(Debug, Default)]
struct Client {
    site: u16,
    left: u32,
    request: Option<RequestId>,
    /// Key and place in the history.
    entry: Option<(String, usize)>,
    session: Option<SessionId>,
    sequence: u64,
    /// Whether an earlier try of this command may have been applied.
    exposed: bool,
    tries: u32,
}

/// Tokens of wake-ups; smaller ones are clients.
const FAULT: u64 = u64::MAX;
const DOOM: u64 = 1 << 32;

struct Run {
    name: String,
    kind: Kind,
    clocks: Clocks,
    simulation: Simulation,
    /// Draws what clients and faults do, apart from what the network draws.
    error_max: Duration,
    history: History,
    clients: Vec<Client>,
    by_request: BTreeMap<RequestId, usize>,
    next_value: u64,
    healed: bool,
    keys: u32,
    think: Duration,
    /// In mixed runs, the clock that surely is trusted after the faults.
    trusted_replica: Option<NodeId>,
    /// Crashed, and down until all operations have ended.
    gone: BTreeSet<NodeId>,
}

fn ms(from: u64, to: u64) -> Spread {
    Spread {
        min: Duration::from_millis(from),
        max: Duration::from_millis(to),
    }
}

fn pick<T: Clone>(rng: &mut impl Rng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())].clone()
}

/// Some members of `of`, in the order drawn.
fn sample(rng: &mut impl Rng, of: &[NodeId], count: usize) -> Vec<NodeId> {
    let mut left = of.to_vec();
    (0..count)
        .map(|_| left.swap_remove(rng.random_range(0..left.len())))
        .collect()
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = <rand_chacha::ChaCha8Rng as rand::SeedableRng>::seed_from_u64(!seed);
        let rng = &mut rng;
        let kind = pick(
            rng,
            &[
                Kind::Rw,
                Kind::Rw,
                Kind::Rw,
                Kind::Rmw,
                Kind::Rmw,
                Kind::Abd,
                Kind::LanRmw,
            ],
        );
        let clocks = pick(rng, &[Clocks::Trusted, Clocks::Unused, Clocks::Mixed]);
        let (spec, error_max) = cluster_for(rng, kind, clocks);
        let local = pick(rng, &[ms(0, 1), ms(1, 1), ms(1, 20)]);
        let priority = pick(rng, &[ms(5, 10), ms(5, 60), ms(20, 25)]);
        let bulk = match kind {
            Kind::Rw | Kind::Rmw => pick(rng, &[ms(10, 60), ms(20, 600), ms(300, 2000)]),
            // Whose every phase waits for bulk: a slow link alone would take the time
            // in which they must end.
            Kind::Abd | Kind::LanRmw => ms(10, 60),
        };
        let disk = pick(rng, &[Spread::ZERO, ms(0, 2), ms(1, 30), ms(20, 400)]);
        let sites = spec.sites.len() as u16;
        let simulation = Simulation::new(
            seed,
            spec,
            Delays {
                local,
                priority,
                bulk,
                disk,
            },
        );
        let clients: Vec<Client> = (0..rng.random_range(2..=6))
            .map(|_| Client {
                site: rng.random_range(0..sites),
                left: rng.random_range(4..=14),
                ..Client::default()
            })
            .collect();
        let mut run = Self {
            name: format!("{}-{clocks:?}", kind.name()),
            kind,
            clocks,
            simulation,
            error_max,
            history: History::default(),
            clients,
            by_request: BTreeMap::new(),
            next_value: 0,
            healed: false,
            keys: rng.random_range(1..=3),
            think: Duration::from_millis(pick(rng, &[1, 50, 400])),
            trusted_replica: None,
            gone: BTreeSet::new(),
        };
        run.simulation.loss = pick(rng, &[0.0, 0.02, 0.2]);
        run.simulation.repetition = pick(rng, &[0.0, 0.05, 0.3]);
        for node in run.simulation.nodes() {
            run.draw_clock(node);
        }
        run
    }

    fn go(mut self, totals: &mut Totals) {
        let length = Duration::from_millis(self.draw(500..=12_000));
        let faults_max = pick(&mut self.simulation.rng, &[0, 8, 60]);
        let faults = self.draw(0..=faults_max);
        for _ in 0..faults {
            let at = self.simulation.now
                + Duration::from_millis(self.draw(0..=length.as_millis() as u64));
            self.simulation.wake_at(at, FAULT);
        }
        if self.chance(0.4) {
            for node in self.minorities() {
                let at = Duration::from_millis(self.draw(0..=length.as_millis() as u64));
                self.simulation
                    .wake_at(self.simulation.now + at, DOOM + u64::from(node.0));
            }
        }
        for client in 0..self.clients.len() {
            let at = self.simulation.now + Duration::from_millis(self.draw(0..=100));
            self.simulation.wake_at(at, client as u64);
        }
        self.run_until(self.simulation.now + length);
        self.heal();
        let recovery = self.await_end();
        self.probe();
        self.simulation.heal(&BTreeSet::new());
        let drain = self.drain();
        if let Err(why) = self.history.check() {
            panic!("{}: not linearizable: {why}", self.name);
        }
        *totals.runs.entry(self.name.clone()).or_default() += 1;
        totals.operations += self.history.len();
        totals.completed += self.history.completed();
        totals.recovery_max = totals.recovery_max.max(recovery);
        totals.drain_max = totals.drain_max.max(drain);
        for node in self.simulation.alive() {
            for (cause, count) in self.simulation.status(node).causes {
                *totals.causes.entry(cause).or_default() += count;
            }
        }
    }

    fn draw(&mut self, range: std::ops::RangeInclusive<u64>) -> u64 {
        self.simulation.rng.random_range(range)
    }

    fn chance(&mut self, share: f64) -> bool {
        self.simulation.rng.random_bool(share)
    }

    // ---- faults ----

    /// A clock within its bound; in mixed runs, one that is not trusted now and then.
    fn draw_clock(&mut self, node: NodeId) {
        let bound = self.error_max.as_nanos() as i64;
        let rng = &mut self.simulation.rng;
        let error_ns = rng.random_range(0..=bound);
        let skew_ns = rng.random_range(-error_ns..=error_ns);
        let clock = match self.clocks {
            Clocks::Mixed if rng.random_bool(0.4) => {
                // At worst by 3 s, and the node knows that it does not know.
                HostClock {
                    skew_ns: rng.random_range(-3_000_000_000..=3_000_000_000),
                    error_ns: None,
                }
            }
            Clocks::Mixed | Clocks::Trusted | Clocks::Unused => HostClock {
                skew_ns,
                error_ns: Some(error_ns as u64),
            },
        };
        self.simulation.set_clock(node, clock);
    }

    fn fault(&mut self) {
        let nodes = self.simulation.nodes();
        let rng = &mut self.simulation.rng;
        let node = pick(rng, &nodes);
        let other = pick(rng, &nodes);
        match rng.random_range(0..9) {
            0 | 1 => self.simulation.crash(node),
            2 => self.restart(node),
            3 => self.crash_and_restart_soon(node),
            4 if node != other => {
                let class = pick(rng, &[Class::Priority, Class::Bulk]);
                self.simulation.cut(node, other, class);
            }
            5 => self.isolate(node),
            6 if node != other => self.simulation.block(node, other),
            7 => self.draw_clock(node),
            8 => {
                let nodes = self.simulation.nodes();
                for a in &nodes {
                    for b in &nodes {
                        self.simulation.unblock(*a, *b);
                        if a < b {
                            self.simulation.join(*a, *b, Class::Priority);
                            self.simulation.join(*a, *b, Class::Bulk);
                        }
                    }
                }
            }
            _ => {}
        }
        // More often than not, what crashed comes back before the end.
        if self.chance(0.5) {
            let down: Vec<NodeId> = nodes
                .into_iter()
                .filter(|&node| !self.simulation.is_alive(node))
                .collect();
            if !down.is_empty() {
                let node = pick(&mut self.simulation.rng, &down);
                self.restart(node);
            }
        }
    }

    fn crash_and_restart_soon(&mut self, node: NodeId) {
        self.simulation.crash(node);
        self.restart(node);
    }

    fn restart(&mut self, node: NodeId) {
        if !self.gone.contains(&node) {
            self.simulation.restart(node);
        }
    }

    fn isolate(&mut self, node: NodeId) {
        for other in self.simulation.nodes() {
            if other != node {
                self.simulation.cut(node, other, Class::Priority);
                self.simulation.cut(node, other, Class::Bulk);
            }
        }
    }

    fn heal(&mut self) {
        self.healed = true;
        self.simulation.heal(&self.gone);
        self.simulation.delays.disk = ms(0, 2);
        // A container that trusts clocks needs a replica whose clock can be trusted.
        if matches!(self.clocks, Clocks::Mixed) {
            let mut replicas = self.simulation.spec().containers[0].replicas.clone();
            replicas.retain(|&node| self.simulation.is_alive(node));
            let node = pick(&mut self.simulation.rng, &replicas);
            self.trusted_replica = Some(node);
            self.simulation.set_clock(
                node,
                HostClock {
                    skew_ns: 0,
                    error_ns: Some(0),
                },
            );
        }
    }

    /// As many nodes as the container can bear to lose.
    fn minorities(&mut self) -> BTreeSet<NodeId> {
        let container = self.simulation.spec().containers[0].clone();
        let sets: Vec<_> = container
            .local_sets
            .values()
            .chain([&container.replicas])
            .collect();
        let bearable = |lost: &BTreeSet<NodeId>| {
            sets.iter().all(|set| {
                set.iter().filter(|node| lost.contains(node)).count() <= (set.len() - 1) / 2
            })
        };
        let mut lost = BTreeSet::new();
        let nodes = self.simulation.nodes();
        for node in sample(&mut self.simulation.rng, &nodes, nodes.len()) {
            lost.insert(node);
            if !bearable(&lost) {
                lost.remove(&node);
            }
        }
        lost
    }

    // ---- clients ----

    fn run_until(&mut self, until: Duration) {
        while let Some(occurrence) = self.simulation.next(until) {
            self.on_occurrence(occurrence);
        }
    }

    fn on_occurrence(&mut self, occurrence: Occurrence) {
        match occurrence {
            Occurrence::Wake { token: FAULT } if self.healed => {}
            Occurrence::Wake { token: FAULT } => self.fault(),
            Occurrence::Wake { token } if token >= DOOM => {
                let node = NodeId((token - DOOM) as u16);
                self.gone.insert(node);
                self.simulation.crash(node);
            }
            Occurrence::Wake { token } => self.client_acts(token as usize),
            Occurrence::Reply { request, reply } => {
                let client = self.by_request.remove(&request).expect("somebody asked");
                self.on_reply(client, Some(reply));
            }
            Occurrence::Lost { request } => {
                let client = self.by_request.remove(&request).expect("somebody asked");
                self.on_reply(client, None);
            }
        }
    }

    fn client_acts(&mut self, c: usize) {
        let busy = self.clients[c].request.is_some();
        let idle = self.clients[c].entry.is_none();
        if busy || idle && (self.healed || self.clients[c].left == 0) {
            return;
        }
        let site = SiteId(self.clients[c].site);
        let near: Vec<NodeId> = self
            .simulation
            .alive()
            .into_iter()
            .filter(|&node| self.simulation.site_of(node) == site)
            .collect();
        if near.is_empty() {
            self.wake_client(c, Duration::from_millis(200));
            return;
        }
        let coordinator = pick(&mut self.simulation.rng, &near);
        let needs_session = !self.kind.is_read_write() && self.clients[c].session.is_none();
        if needs_session {
            self.ask(c, coordinator, Request::OpenSession);
        } else if idle {
            self.begin(c, coordinator);
        } else {
            self.send(c, coordinator);
        }
    }

    fn wake_client(&mut self, c: usize, after: Duration) {
        let at = self.simulation.now + after;
        self.simulation.wake_at(at, c as u64);
    }

    fn ask(&mut self, c: usize, coordinator: NodeId, request: Request) {
        // Once healed, nobody gives up early, which would hide what hangs.
        let patience = match self.healed {
            true => 60_000,
            false => pick(&mut self.simulation.rng, &[300, 2_000, 60_000]),
        };
        let id = self
            .simulation
            .request(coordinator, request, Duration::from_millis(patience));
        self.clients[c].request = Some(id);
        self.by_request.insert(id, c);
    }

    fn begin(&mut self, c: usize, coordinator: NodeId) {
        let number = self.draw(0..=u64::from(self.keys) - 1);
        let key = format!("{}{number}", self.key_prefix(number));
        let ask = self.draw_ask(number);
        let entry = self.history.invoke(&key, ask);
        let client = &mut self.clients[c];
        client.left = client.left.saturating_sub(1);
        client.entry = Some((key, entry));
        client.sequence += 1;
        client.exposed = false;
        client.tries = 0;
        self.send(c, coordinator);
    }

    fn key_prefix(&self, number: u64) -> &'static str {
        match (self.kind.is_read_write(), number) {
            (true, _) => "value",
            (false, 0) => Counter::NAME,
            (false, 1) => List::NAME,
            (false, _) => Register::NAME,
        }
    }

    fn draw_ask(&mut self, number: u64) -> Ask {
        self.next_value += 1;
        let value = self.next_value;
        let reads = self.chance(0.4);
        if self.kind.is_read_write() {
            return if reads { Ask::Read } else { Ask::Write(value) };
        }
        if reads {
            return Ask::ReadState;
        }
        let item = || Blob::from(value.to_be_bytes().to_vec());
        let (machine, command) = match number {
            0 => {
                let amount = 1 << (value % 24);
                let command = match self.draw(0..=3) {
                    0 => counter::Command::AddWithin {
                        amount,
                        min: 0,
                        max: 1 << 16,
                    },
                    1 => counter::Command::Add(0),
                    _ => counter::Command::Add(amount),
                };
                (Counter::NAME, codec::encode(&command))
            }
            1 => {
                let command = match self.draw(0..=2) {
                    0 => list::Command::PopFront,
                    _ => list::Command::Push(item()),
                };
                (List::NAME, codec::encode(&command))
            }
            _ => {
                let command = match self.draw(0..=2) {
                    0 => register::Command::CompareAndSwap {
                        expected: None,
                        new: Some(item()),
                    },
                    1 => register::Command::Delete,
                    _ => register::Command::Set(item()),
                };
                (Register::NAME, codec::encode(&command))
            }
        };
        Ask::Execute {
            machine,
            command: command.into(),
        }
    }

    fn send(&mut self, c: usize, coordinator: NodeId) {
        let (key, entry) = self.clients[c]
            .entry
            .clone()
            .expect("an operation is under way");
        let ask = self.history.entries(&key)[entry].ask.clone();
        let repeated = self.clients[c].tries > 0;
        self.clients[c].tries += 1;
        let container = layout::CONTAINER.to_owned();
        let name = layout::key(&key);
        let request = match ask {
            Ask::Read => Request::Read {
                container,
                key: name,
            },
            Ask::Write(value) => {
                let length = self.draw(8..=2000) as usize;
                let mut bytes = value.to_be_bytes().to_vec();
                bytes.resize(length, 7);
                Request::Write {
                    container,
                    key: name,
                    value: Value::from(bytes::Bytes::from(bytes)),
                }
            }
            Ask::ReadState => {
                let machine = key.trim_end_matches(char::is_numeric).to_owned();
                Request::ReadState {
                    container,
                    key: name,
                    machine,
                }
            }
            Ask::Execute { machine, command } => Request::Execute {
                container,
                key: name,
                machine: machine.into(),
                session: self.clients[c].session.expect("a session is open"),
                sequence: self.clients[c].sequence,
                repeated,
                command,
            },
        };
        self.ask(c, coordinator, request);
    }

    /// `None`: the coordinator crashed.
    fn on_reply(&mut self, c: usize, reply: Option<ClientReply>) {
        self.clients[c].request = None;
        let think = self
            .think
            .mul_f64(self.simulation.rng.random_range(0.0..2.0));
        if let Some(Ok(Success::Session(session))) = reply {
            self.clients[c].session = Some(session);
            self.clients[c].sequence = 0;
            return self.client_acts(c);
        }
        let Some((key, entry)) = self.clients[c].entry.clone() else {
            // Opening a session failed.
            return self.wake_client(c, think);
        };
        let commands = matches!(self.history.entries(&key)[entry].ask, Ask::Execute { .. });
        let answer = match reply {
            Some(Ok(success)) => answer(success),
            Some(Err(Failure::Conflict { reason })) => Answer::Executed(Err(reason)),
            Some(Err(Failure::Invalid { field, reason })) if !self.clients[c].exposed => {
                panic!("{}: {field} {reason}", self.name)
            }
            Some(Err(Failure::SessionForgotten)) => panic!("few sessions are forgotten"),
            Some(Err(
                Failure::Busy { .. } | Failure::Unavailable { .. } | Failure::Invalid { .. },
            )) => Answer::NotApplied,
            Some(Err(Failure::Unknown { .. })) | None => Answer::Unknown,
        };
        self.clients[c].exposed |= answer == Answer::Unknown;
        let undecided =
            matches!(answer, Answer::Unknown | Answer::NotApplied) && self.clients[c].exposed;
        if commands && undecided && (self.healed || self.chance(0.8)) {
            // The same command under the same number, perhaps to another coordinator.
            return self.wake_client(c, think);
        }
        let answer = match answer {
            Answer::NotApplied if self.clients[c].exposed => Answer::Unknown,
            answer => answer,
        };
        self.history.answer(&key, entry, answer);
        self.clients[c].entry = None;
        self.wake_client(c, think);
    }

    // ---- after the faults ----

    /// Waits for the operations under way; returns how long it took.
    fn await_end(&mut self) -> Duration {
        let healed = self.simulation.now;
        while self.simulation.outstanding() > 0 || self.clients.iter().any(|c| c.entry.is_some()) {
            match self.simulation.next(healed + RECOVERY_MAX) {
                Some(occurrence) => self.on_occurrence(occurrence),
                None => panic!(
                    "{}: {} operations did not end within {RECOVERY_MAX:?} without faults: {:?}",
                    self.name,
                    self.simulation.outstanding(),
                    self.clients
                        .iter()
                        .filter(|c| c.entry.is_some())
                        .collect::<Vec<_>>(),
                ),
            }
        }
        self.simulation.now - healed
    }

    /// Every node in turn writes and reads every key.
    fn probe(&mut self) {
        self.clients.clear();
        for node in self.simulation.alive() {
            for number in 0..u64::from(self.keys) {
                let key = format!("{}{number}", self.key_prefix(number));
                for reads in [false, true] {
                    let c = self.clients.len();
                    let ask = self.probe_ask(number, reads);
                    let entry = self.history.invoke(&key, ask);
                    let time = u64::MAX / 2 + c as u64;
                    self.clients.push(Client {
                        entry: Some((key.clone(), entry)),
                        session: Some(SessionId(Timestamp {
                            time,
                            ..Timestamp::ZERO
                        })),
                        sequence: 1,
                        ..Client::default()
                    });
                    self.send(c, node);
                }
            }
            self.await_probes(node);
        }
    }

    fn await_probes(&mut self, node: NodeId) {
        let begun = self.simulation.now;
        while !self.by_request.is_empty() {
            match self.simulation.next(begun + RECOVERY_MAX) {
                Some(Occurrence::Reply { request, reply }) => {
                    let c = self.by_request.remove(&request).expect("somebody asked");
                    let (key, entry) = self.clients[c].entry.clone().expect("it asked this");
                    match reply {
                        Ok(success) => self.history.answer(&key, entry, answer(success)),
                        Err(failure) => panic!("{}: {node}'s probe failed: {failure}", self.name),
                    }
                }
                Some(Occurrence::Lost { .. }) => unreachable!("nothing crashes any more"),
                Some(Occurrence::Wake { .. }) => {}
                None => panic!(
                    "{}: {} probes of {node} did not end within {RECOVERY_MAX:?}",
                    self.name,
                    self.by_request.len(),
                ),
            }
        }
    }

    fn probe_ask(&mut self, number: u64, reads: bool) -> Ask {
        self.next_value += 1;
        let item = || Blob::from(self.next_value.to_be_bytes().to_vec());
        match (self.kind.is_read_write(), reads, number) {
            (true, true, _) => Ask::Read,
            (true, false, _) => Ask::Write(self.next_value),
            (false, true, _) => Ask::ReadState,
            (false, false, 0) => Ask::Execute {
                machine: Counter::NAME,
                command: codec::encode(&counter::Command::Add(1 << 30)).into(),
            },
            (false, false, 1) => Ask::Execute {
                machine: List::NAME,
                command: codec::encode(&list::Command::Push(item())).into(),
            },
            (false, false, _) => Ask::Execute {
                machine: Register::NAME,
                command: codec::encode(&register::Command::Set(item())).into(),
            },
        }
    }

    /// Waits until nothing is held anywhere; returns how long it took.
    fn drain(&mut self) -> Duration {
        let begun = self.simulation.now;
        while !self.simulation.is_settled() {
            if self.simulation.now - begun > DRAIN_MAX {
                for node in self.simulation.nodes() {
                    let status = self.simulation.status(node);
                    eprintln!(
                        "{node}: held {} {:?} {:?}",
                        status.held, status.backlog, status.operations
                    );
                }
                panic!("{}: something is left over after {DRAIN_MAX:?}", self.name);
            }
            self.simulation.run_for(Duration::from_millis(500));
        }
        for node in self.simulation.nodes() {
            for container in self.simulation.status(node).containers {
                assert!(
                    container.objects <= u64::from(self.keys),
                    "{}: {container:?}",
                    self.name
                );
            }
        }
        self.simulation.now - begun
    }
}

fn answer(success: Success) -> Answer {
    match success {
        Success::Value { ts, value } => {
            let number = value.0[..8]
                .try_into()
                .expect("a value has 8 bytes at least");
            Answer::Value(Some((u64::from_be_bytes(number), ts)))
        }
        Success::NotFound => Answer::Value(None),
        Success::Written { ts } => Answer::Written(ts),
        Success::Executed { output } => Answer::Executed(Ok(output)),
        Success::State { state } => Answer::State(state),
        other @ (Success::Session(_) | Success::Status(_)) => panic!("nobody asked for {other:?}"),
    }
}

/// 1 to 3 sites, 3 or 5 replicas, local sets of 1 or 3, some nodes without a role.
fn cluster_for(rng: &mut impl Rng, kind: Kind, clocks: Clocks) -> (ClusterSpec, Duration) {
    let sites = rng.random_range(1..=3_u16);
    let replicas = pick(rng, &[3_u16, 5]);
    let local = pick(rng, &[1_u16, 3]);
    let per_site = local.max(replicas.div_ceil(sites)) + rng.random_range(0..=1);
    let mut spec = layout::sites(&vec![per_site; usize::from(sites)]);
    spec.clock_error_max = Duration::from_millis(pick(rng, &[0, 2, 30]));
    let all: Vec<NodeId> = spec.nodes.keys().copied().collect();
    let of_site = |site: u16| -> Vec<NodeId> {
        all.iter()
            .copied()
            .filter(|node| spec.nodes[node] == SiteId(site))
            .collect()
    };
    // Spread over the sites as evenly as can be.
    let mut members = BTreeSet::new();
    for i in 0..replicas {
        let free: Vec<NodeId> = of_site(i % sites)
            .into_iter()
            .filter(|node| !members.contains(node))
            .collect();
        members.insert(pick(rng, &free));
    }
    let local_sets = (0..sites)
        .map(|site| {
            (
                SiteId(site),
                sample(rng, &of_site(site), usize::from(local)),
            )
        })
        .collect();
    let container = Container {
        replicas: members.into_iter().collect(),
        local_sets,
        timestamps: match clocks {
            Clocks::Unused => TimestampSource::Query,
            Clocks::Trusted | Clocks::Mixed => TimestampSource::Clock,
        },
        write_back_skip: rng.random_bool(0.7),
        ..layout::container(kind, &[], &[])
    };
    spec.containers = vec![container];
    let error_max = spec.clock_error_max;
    (spec, error_max)
}
