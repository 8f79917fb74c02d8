//! One run: a safety phase under faults, then a liveness phase without.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;

use super::client::{Client, Target, answer};
use super::configuration::{Clocks, Configuration};
use super::fault::Fault;
use super::{Outcome, Promise, RECOVERY_MAX, Violation};
use crate::client_protocol::SessionId;
use crate::cluster::TimestampSource;
use crate::sim::{
    ClassPlan, HostClock, LinkPlan, LogTail, Occurrence, Simulation, Spread, Trace, history,
};
use crate::{Class, NodeId, RequestId, Timestamp};

/// From here on, tokens of wake-ups number faults.
const FAULTS: u64 = 1 << 32;

/// How much of its rate bulk keeps when it collapses.
const COLLAPSE: u64 = 100;

/// Paths that are slower than this are replaced when faults end, not only their delays.
const SLOW: Duration = Duration::from_secs(1);

/// Their former round trips that operations under way may take besides.
const RECOVERY_TRIPS: u32 = 3;

/// What is on its way in the end must arrive within this: a lost acknowledgment of a
/// value is noticed after a minute.
const DRAIN_MAX: Duration = Duration::from_secs(400);

/// Between looks at whether everything has arrived.
const DRAIN_STEP: Duration = Duration::from_millis(500);

pub struct Run {
    pub configuration: Configuration,
    pub simulation: Simulation,
    pub history: history::History,
    pub clients: Vec<Client>,
    pub by_request: BTreeMap<RequestId, usize>,
    pub next_value: u64,
    pub healed: bool,
    /// Every key that was used.
    pub targets: BTreeSet<Target>,
    /// How often each slot for a machine was, by container and number.
    pub uses: BTreeMap<(usize, u32), u32>,
    /// Crashed, and down until all operations have ended.
    gone: BTreeSet<NodeId>,
    marks: BTreeMap<String, u64>,
}

fn violation(promise: Promise, details: impl Into<String>) -> Violation {
    Violation {
        promise,
        details: details.into(),
    }
}

impl Run {
    pub fn new(configuration: Configuration, trace: Trace) -> Self {
        let Configuration {
            seed,
            links,
            disk,
            mutants,
            ..
        } = configuration;
        let spec = configuration.spec.clone();
        let mut simulation = Simulation::over_links(seed, spec, links, disk, mutants);
        simulation.trace = trace;
        for (&node, &clock) in &configuration.host_clocks {
            simulation.set_clock(node, clock);
        }
        let clients = configuration.clients.iter();
        let clients = clients
            .map(|plan| Client::new(plan.site, plan.operations))
            .collect();
        Self {
            simulation,
            clients,
            history: history::History::default(),
            by_request: BTreeMap::new(),
            next_value: 0,
            healed: false,
            targets: BTreeSet::new(),
            uses: BTreeMap::new(),
            gone: BTreeSet::new(),
            marks: BTreeMap::new(),
            configuration,
        }
    }

    pub fn into_outcome(self, violation: Option<Violation>) -> Outcome {
        let mut marks = self.marks;
        for (cause, count) in self.simulation.causes() {
            *marks.entry(cause).or_default() += count;
        }
        Outcome {
            operations: self.history.len(),
            completed: self.history.completed(),
            length: self.simulation.now,
            marks,
            is_void: self.configuration.clocks == Clocks::Beyond,
            violation,
            history: self.history,
            trace: self.simulation.trace,
        }
    }

    pub fn go(&mut self) -> Result<(), Violation> {
        self.be_safe()?;
        if self.configuration.clocks == Clocks::Beyond {
            // A timestamp from far ahead holds up everyone who meets it, as it should.
            return self.judge_history();
        }
        self.heal();
        self.await_end()?;
        self.probe()?;
        self.simulation.heal(&BTreeSet::new());
        self.drain()?;
        self.judge_history()?;
        self.judge_replicas()
    }

    pub fn mark(&mut self, name: &str) {
        match self.marks.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.marks.insert(name.to_owned(), 1);
            }
        }
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.simulation.rng.random_range(0..of.len())].clone()
    }

    fn be_safe(&mut self) -> Result<(), Violation> {
        let begun = self.simulation.now;
        for i in 0..self.configuration.faults.len() {
            let at = begun + self.configuration.faults[i].at;
            self.simulation.wake_at(at, FAULTS + i as u64);
        }
        for c in 0..self.clients.len() {
            let share = self.simulation.rng.random_range(0.0..1.0);
            let at = begun + self.configuration.think.mul_f64(share);
            self.simulation.wake_at(at, c as u64);
        }
        let end = begun + self.configuration.length;
        while let Some(occurrence) = self.simulation.next(end) {
            self.on_occurrence(occurrence)?;
            if self.clients.iter().all(Client::is_done) {
                break;
            }
        }
        Ok(())
    }

    fn on_occurrence(&mut self, occurrence: Occurrence) -> Result<(), Violation> {
        match occurrence {
            Occurrence::Wake { token } if token >= FAULTS => {
                if !self.healed {
                    let fault = &self.configuration.faults[(token - FAULTS) as usize];
                    self.strike(fault.fault.clone());
                }
            }
            Occurrence::Wake { token } => self.client_acts(token as usize),
            Occurrence::Reply { request, reply } => {
                let client = self.by_request.remove(&request).expect("somebody asked");
                self.on_reply(client, Some(reply))?;
            }
            Occurrence::Lost { request } => {
                self.mark("died: a coordinator with an operation under way");
                let client = self.by_request.remove(&request).expect("somebody asked");
                self.on_reply(client, None)?;
            }
        }
        Ok(())
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Crash { node, tail } => {
                self.mark("fault: crash");
                self.simulation.crash_with(node, tail);
            }
            Fault::Doom(node) => {
                self.mark("fault: crash for good");
                self.gone.insert(node);
                self.simulation.crash(node);
            }
            Fault::CrashAfter { node, sends } => {
                self.mark("fault: crash between two messages");
                self.simulation.crash_after(node, sends);
            }
            Fault::Restart(node) => {
                if !self.gone.contains(&node) {
                    self.simulation.restart(node);
                }
            }
            Fault::Pause { node, length } => {
                self.mark("fault: pause");
                self.simulation.pause(node, length);
            }
            Fault::Cut { pairs, class } => {
                self.mark("fault: connections cut");
                for (a, b) in pairs {
                    for of in [Class::Priority, Class::Bulk] {
                        if class.is_none_or(|class| class == of) {
                            self.simulation.cut(a, b, of);
                        }
                    }
                }
            }
            Fault::Block(pairs) => {
                self.mark("fault: messages vanish in silence");
                for (from, to) in pairs {
                    self.simulation.block(from, to);
                }
            }
            Fault::Rejoin => self.simulation.rejoin(),
            Fault::BulkCollapse => {
                self.mark("fault: bulk at 1 %");
                let mut plan = self.configuration.links;
                plan.bulk.rate /= COLLAPSE;
                self.simulation.set_links(plan);
            }
            Fault::BulkRecovery => self.simulation.set_links(self.configuration.links),
            Fault::Clock { node, clock } => {
                self.mark("fault: a clock changes");
                self.simulation.set_clock(node, clock);
            }
            Fault::LocalSetLoss { nodes, .. } => {
                self.mark("fault: a local set is lost");
                for node in nodes {
                    self.simulation.crash_with(node, LogTail::Torn);
                }
            }
        }
    }

    /// A majority of everything works from now on.
    fn heal(&mut self) {
        self.healed = true;
        self.simulation.delays.disk = Spread::ms(0, 2);
        // First, for a node that is about to crash must not.
        let gone = self.gone.clone();
        self.simulation.heal(&gone);
        self.simulation.set_links(healthy(self.configuration.links));
        if self.configuration.links.slowest() > SLOW {
            // What was sent over such a path, and what waits for its round trip, would
            // take longer than the time in which everything must end.
            self.simulation.reset_connections();
        }
        // What trusts clocks needs a replica whose clock can be trusted.
        let containers = self.configuration.spec.containers.clone();
        for container in containers {
            let mut replicas = container.replicas;
            replicas.retain(|&node| self.simulation.is_alive(node));
            if container.timestamps == TimestampSource::Clock {
                let node = self.pick(&replicas);
                let error_ns = Some(0);
                self.simulation.set_clock(
                    node,
                    HostClock {
                        skew_ns: 0,
                        error_ns,
                    },
                );
            }
        }
    }

    /// What was under way on a slow path backs off by the round trips that it saw.
    fn recovery_max(&self) -> Duration {
        let slowest = self.configuration.links.slowest();
        match slowest > SLOW {
            true => RECOVERY_MAX + RECOVERY_TRIPS * 2 * slowest,
            false => RECOVERY_MAX,
        }
    }

    /// Waits for the operations under way.
    fn await_end(&mut self) -> Result<(), Violation> {
        let patience = self.recovery_max();
        let end = self.simulation.now + patience;
        while self.clients.iter().any(|c| c.at.is_some()) || !self.by_request.is_empty() {
            match self.simulation.next(end) {
                Some(occurrence) => self.on_occurrence(occurrence)?,
                None => {
                    let left = self.clients.iter().filter(|c| c.at.is_some());
                    let left: Vec<String> = left.map(|c| format!("{c:?}")).collect();
                    return Err(violation(
                        Promise::Live,
                        format!(
                            "{} operations did not end within {patience:?} without faults:\n  {}",
                            left.len(),
                            left.join("\n  ")
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Reads every key, then writes it, then reads it at another node.
    fn probe(&mut self) -> Result<(), Violation> {
        let targets: Vec<Target> = self.targets.iter().cloned().collect();
        let alive = self.simulation.alive();
        for (round, reads) in [true, false, true].into_iter().enumerate() {
            let mut asked = BTreeMap::new();
            for (i, target) in targets.iter().enumerate() {
                let node = alive[(i + round) % alive.len()];
                let ask = self.draw_ask(target, reads);
                let client = (self.clients.len() + i) as u32;
                let now = self.simulation.now;
                let entry = self
                    .history
                    .invoke_at(now, client, &target.key, ask.clone());
                // A session of its own, younger than all others.
                let session = SessionId(Timestamp {
                    time: u64::MAX / 2 + i as u64,
                    ..Timestamp::ZERO
                });
                let request = self.request(target, ask, Some((session, 1, false)));
                let id = self.simulation.request(node, request, RECOVERY_MAX);
                asked.insert(id, (target, entry));
            }
            self.await_probes(asked)?;
        }
        Ok(())
    }

    fn await_probes(
        &mut self,
        mut asked: BTreeMap<RequestId, (&Target, usize)>,
    ) -> Result<(), Violation> {
        let end = self.simulation.now + RECOVERY_MAX;
        while !asked.is_empty() {
            let not_live = |details| Err(violation(Promise::Live, details));
            match self.simulation.next(end) {
                Some(Occurrence::Reply { request, reply }) => {
                    let (target, entry) = asked.remove(&request).expect("a probe asked");
                    let answer = match reply {
                        Ok(success) => answer(success),
                        Err(crate::client_protocol::Failure::Conflict { reason }) => {
                            history::Answer::Executed(Err(reason))
                        }
                        Err(failure) => {
                            return not_live(format!("{}: a probe failed: {failure}", target.key));
                        }
                    };
                    let now = self.simulation.now;
                    self.history.answer_at(now, &target.key, entry, answer);
                }
                Some(Occurrence::Lost { .. }) => unreachable!("nothing crashes any more"),
                Some(Occurrence::Wake { .. }) => {}
                None => {
                    let keys: Vec<&str> = asked.values().map(|(t, _)| t.key.as_str()).collect();
                    return not_live(format!(
                        "probes of {keys:?} did not end within {RECOVERY_MAX:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Waits until nothing is held anywhere.
    fn drain(&mut self) -> Result<(), Violation> {
        let begun = self.simulation.now;
        while !self.simulation.is_settled() {
            if self.simulation.now - begun > DRAIN_MAX {
                let nodes = self.simulation.alive();
                let held: Vec<String> = nodes
                    .into_iter()
                    .map(|node| (node, self.simulation.status(node)))
                    .map(|(node, s)| format!("{node}: holds {} {:?}", s.held, s.backlog))
                    .collect();
                let details = format!("after {DRAIN_MAX:?}:\n  {}", held.join("\n  "));
                return Err(violation(Promise::LeakFree, details));
            }
            self.simulation.run_for(DRAIN_STEP);
        }
        // What is no longer needed leaves the disk behind what is on its way there.
        self.simulation.run_for(DRAIN_STEP);
        for node in self.simulation.alive() {
            if let Some(id) = self.simulation.orphan(node) {
                let details = format!("{node} stores {id:?}, which nothing needs");
                return Err(violation(Promise::LeakFree, details));
            }
        }
        Ok(())
    }
}

/// A network in which everything must end in time.
fn healthy(plan: LinkPlan) -> LinkPlan {
    let class = |of: ClassPlan| ClassPlan {
        delay: of.delay.min(Duration::from_millis(100)),
        jitter: of.jitter.min(Duration::from_millis(20)),
        rate: of.rate.max(20_000_000),
    };
    LinkPlan {
        local: class(plan.local),
        priority: class(plan.priority),
        bulk: class(plan.bulk),
        loss: 0.0,
        repetition: 0.0,
        reordering: 0.0,
    }
}
