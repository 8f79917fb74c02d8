//! One run: a safety phase under faults, then a liveness phase without.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;

use super::client::{Client, Target};
use super::configuration::{Clocks, Configuration};
use super::fault::Fault;
use super::liveness::LONGEST_WAY;
use super::{Outcome, Promise, Violation};
use crate::sim::{DiskFault, LogTail, Occurrence, Simulation, Trace, history};
use crate::{Class, Key, NodeId, RequestId, Timestamp};

/// From here on, tokens of wake-ups number faults.
const FAULTS: u64 = 1 << 32;

/// From here on, clients that ask a second node.
pub const HASTE: u64 = 1 << 40;

/// How much of its rate bulk keeps when it collapses.
const COLLAPSE: u64 = 100;

/// What is on its way in the end must arrive within this, and what was sent over a slow path
/// before that was healed, which may be a question that waits: a lost acknowledgment of a value
/// is noticed after a minute.
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
    /// What was proposed last for a machine, by key.
    pub proposed: BTreeMap<String, u64>,
    /// Crashed, and down until all operations have ended.
    pub gone: BTreeSet<NodeId>,
    /// A site that was destroyed, and what majorities of replicas held then.
    pub site_lost: Option<BTreeMap<Key, Timestamp>>,
    /// The keys of which the lost site took the newest version along.
    pub lost_keys: BTreeSet<Target>,
    /// The newest version of those whose values a site took along.
    pub lost_versions: BTreeMap<Target, Timestamp>,
    /// The nodes that took part in the last probes.
    pub reached: BTreeSet<NodeId>,
    marks: BTreeMap<String, u64>,
}

pub fn violation(promise: Promise, details: impl Into<String>) -> Violation {
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
            proposed: BTreeMap::new(),
            gone: BTreeSet::new(),
            site_lost: None,
            lost_keys: BTreeSet::new(),
            lost_versions: BTreeMap::new(),
            reached: BTreeSet::new(),
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
        self.judge_contents()?;
        self.heal();
        if self.configuration.clocks == Clocks::Beyond {
            // A timestamp from a little ahead holds up everyone who meets it, as it
            // should; one from far ahead must not.
            self.outwait_liars()?;
            self.judge_history()?;
            return self.probe_truthful();
        }
        self.find_torn_keys();
        self.await_end()?;
        self.await_last_words()?;
        self.find_lost_keys();
        self.judge_recovery()?;
        self.probe()?;
        let is_whole = self.simulation.restore_journals();
        self.simulation.heal(&BTreeSet::new());
        if !is_whole {
            // What goes to a node that does not come back waits for ever.
            return self.judge_history();
        }
        self.drain()?;
        self.judge_history()?;
        self.judge_contents()?;
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

    pub fn on_occurrence(&mut self, occurrence: Occurrence) -> Result<(), Violation> {
        match occurrence {
            Occurrence::Wake { token } if token >= HASTE => {
                self.client_hastes((token - HASTE) as usize);
            }
            Occurrence::Wake { token } if token >= FAULTS => {
                if !self.healed {
                    let fault = &self.configuration.faults[(token - FAULTS) as usize];
                    self.strike(fault.fault.clone());
                }
            }
            Occurrence::Wake { token } => self.client_acts(token as usize),
            // Nobody listens where another node has answered.
            Occurrence::Reply { request, reply } => {
                if let Some(client) = self.by_request.remove(&request) {
                    self.on_reply(client, request, Some(reply))?;
                }
            }
            Occurrence::Lost { request } => {
                self.mark("died: a coordinator with an operation under way");
                if let Some(client) = self.by_request.remove(&request) {
                    self.on_reply(client, request, None)?;
                }
            }
        }
        Ok(())
    }

    /// A node that does not vouch for its journal is lost.
    pub(super) fn count_refused(&mut self) {
        for node in self.simulation.nodes() {
            if self.simulation.refusal(node).is_some() && self.gone.insert(node) {
                self.mark("refused: a damaged journal");
            }
        }
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
            Fault::CrashAfter {
                node,
                fuse,
                is_final,
            } => {
                self.mark(match fuse.errand {
                    Some(_) => "fault: crash at a step",
                    None => "fault: crash between two messages",
                });
                if is_final {
                    self.gone.insert(node);
                }
                self.simulation.crash_after(node, fuse);
            }
            Fault::PowerFailure { nodes, tail } => {
                self.mark("fault: power failure");
                for node in nodes {
                    self.simulation.crash_with(node, tail);
                }
            }
            Fault::SiteLoss(site) => {
                self.mark("fault: a site is lost");
                self.site_lost = Some(self.held_by_majorities());
                for node in self.simulation.nodes() {
                    if self.simulation.site_of(node) == site {
                        self.gone.insert(node);
                        self.simulation.crash(node);
                    }
                }
            }
            Fault::Sift(sieve) => {
                self.mark("fault: one kind of message is lost");
                self.simulation.sift(sieve);
            }
            Fault::LoneCopies(sieves) => {
                self.mark("fault: copies that one node has alone");
                for sieve in sieves {
                    self.simulation.sift(sieve);
                }
            }
            Fault::ToldToOne(sieves) => {
                self.mark("fault: writes that one replica alone is told of");
                for sieve in sieves {
                    self.simulation.sift(sieve);
                }
            }
            Fault::Unsift(sieve) => self.simulation.unsift(&sieve),
            Fault::Restart(node) => {
                if !self.gone.contains(&node) {
                    self.simulation.restart(node);
                    self.count_refused();
                }
            }
            Fault::DiskError { node, fault } => {
                self.mark(match fault {
                    DiskFault::FailWrite | DiskFault::FailSync => "fault: a disk's error",
                    DiskFault::LoseWrite | DiskFault::MisdirectWrite { .. } => {
                        "fault: a disk that lies"
                    }
                });
                self.simulation.journal_disk(node).arm(Some(fault));
            }
            Fault::DiskFull(node) => {
                self.mark("fault: a disk is full");
                self.simulation.set_disk_full(node, true);
            }
            Fault::DiskSpace(node) => {
                self.simulation.set_disk_full(node, false);
                if !self.gone.contains(&node) {
                    self.simulation.restart(node);
                    self.count_refused();
                }
            }
            Fault::PowerCycle { node, flips } => {
                self.simulation.crash_with(node, LogTail::Kept);
                if let Some(place) = flips {
                    self.mark("fault: a damaged journal");
                    self.simulation.damage_journal(node, place);
                }
                self.simulation.restart(node);
                self.count_refused();
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

    /// Waits until nothing is held anywhere.
    pub fn drain(&mut self) -> Result<(), Violation> {
        let begun = self.simulation.now;
        let patience = DRAIN_MAX + LONGEST_WAY * self.configuration.links.slowest();
        while !self.simulation.is_settled() {
            if self.simulation.now - begun > patience {
                let nodes = self.simulation.alive();
                let held: Vec<String> = nodes
                    .into_iter()
                    .map(|node| (node, self.simulation.status(node)))
                    .map(|(node, s)| format!("{node}: holds {} {:?}", s.held, s.backlog))
                    .collect();
                let details = format!("after {patience:?}:\n  {}", held.join("\n  "));
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
