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

#[path = "../cluster/mod.rs"]
mod cluster;

mod clients;
mod faults;
mod layouts;

use clients::answer;
use layouts::cluster_for;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cluster::history::{Answer, Ask, History};
use cluster::{Delays, HostClock, Occurrence, Simulation, Spread, Trace, layout};
use rand::{Rng, RngExt};
use vivace_core::client_protocol::{ClientReply, Failure, Request, SessionId, Success};
use vivace_core::cluster::{ClusterSpec, Container, Kind, TimestampSource};
use vivace_core::machine::StateMachine;
use vivace_core::machine::builtin::{Counter, List, Register, counter, list, register};
use vivace_core::{Blob, Class, NodeId, RequestId, SiteId, Timestamp, Value, codec};

/// Seeds tried where `SEEDS` does not say: about 40 s in a debug build.
const SEEDS: u64 = 2000;

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
        if std::env::var_os("TRACE").is_some() {
            run.simulation.trace = Trace::each(|line| eprint!("{line}"));
        }
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
