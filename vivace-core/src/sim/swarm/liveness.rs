//! The liveness phase: faults have ended, and everything must come to its end in time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::{Client, Target, answer};
use super::configuration::Clocks;
use super::run::{Run, violation};
use super::{Promise, RECOVERY_MAX, Violation};
use crate::client_protocol::{Failure, SessionId};
use crate::cluster::{Container, Kind, TimestampSource};
use crate::quorum::majority;
use crate::sim::history::{Answer, Ask, Entry, Moment};
use crate::sim::{ClassPlan, HostClock, LinkPlan, Occurrence, Spread};
use crate::{NodeId, RequestId, Timestamp};

/// Paths that are slower than this, or that a baseline's values would keep busy for longer,
/// are replaced when faults end, not only their delays.
const SLOW: Duration = Duration::from_secs(1);

/// A message that others overtake takes no longer than this many delays of its path.
pub(super) const LONGEST_WAY: u32 = 4;

/// No client waits longer than this for an answer; and nobody believes a timestamp that
/// is so far ahead.
const OUTWAIT: Duration = Duration::from_secs(70);

impl Run {
    /// A majority of everything works from now on.
    pub fn heal(&mut self) {
        self.healed = true;
        self.simulation.delays.disk = Spread::ms(0, 2);
        // First, for a node that is about to crash must not.
        self.simulation.expose_lies();
        let gone = self.gone.clone();
        self.simulation.heal(&gone);
        self.count_refused();
        self.simulation.set_links(healthy(self.configuration.links));
        // What was sent over a slow path, and what waits for its round trip, would take longer
        // than the time in which everything must end. So would what a baseline has piled up:
        // each of its requests sends values, and none of them waits for a backlog to go down.
        let containers = &self.configuration.spec.containers;
        let is_flooded = containers.iter().any(|c| !c.kind.uses_local_sets())
            && self.simulation.longest_queue() > SLOW;
        if self.configuration.links.slowest() > SLOW || is_flooded {
            self.simulation.reset_connections();
        }
        if self.configuration.clocks == Clocks::Beyond {
            return;
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

    /// Waits for the operations under way. Those that met what a lost site took along
    /// with it may wait to their deadlines, as long as nobody has it.
    pub fn await_end(&mut self) -> Result<(), Violation> {
        let healed = self.simulation.now;
        for c in 0..self.clients.len() {
            // A client's pause is no part of an operation.
            self.client_acts(c);
        }
        if self.await_clients(healed + RECOVERY_MAX)? && self.site_lost.is_some() {
            let torn = self.lost_keys.clone();
            self.find_lost_keys();
            self.judge_late(RECOVERY_MAX)?;
            self.lost_keys = torn;
            self.await_clients(healed + OUTWAIT)?;
            self.judge_late(OUTWAIT)?;
        } else {
            self.judge_late(RECOVERY_MAX)?;
        }
        // Those whose coordinators crashed to show what their disks had lost.
        while let Some(occurrence) = self.simulation.next(self.simulation.now) {
            self.on_occurrence(occurrence)?;
        }
        Ok(())
    }

    /// Runs until nobody waits, but not beyond `end`; whether somebody still does.
    fn await_clients(&mut self, end: Duration) -> Result<bool, Violation> {
        while self.clients.iter().any(|client| self.must_end(client)) {
            match self.simulation.next(end) {
                Some(occurrence) => self.on_occurrence(occurrence)?,
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    fn judge_late(&self, patience: Duration) -> Result<(), Violation> {
        let late = self.clients.iter().filter(|client| self.must_end(client));
        let late: Vec<String> = late.map(|client| format!("{client:?}")).collect();
        if late.is_empty() {
            return Ok(());
        }
        Err(violation(
            Promise::Live,
            format!(
                "{} operations did not end within {patience:?} without faults:\n  {}",
                late.len(),
                late.join("\n  ")
            ),
        ))
    }

    /// Waits for what a lost site's nodes sent: they may have told a timestamp whose
    /// value nobody else holds (seed 90004966).
    pub fn await_last_words(&mut self) -> Result<(), Violation> {
        if self.site_lost.is_none() {
            return Ok(());
        }
        let way = self.configuration.links.slowest() + Duration::from_millis(1);
        let end = self.simulation.now + LONGEST_WAY * way;
        while let Some(occurrence) = self.simulation.next(end) {
            self.on_occurrence(occurrence)?;
        }
        Ok(())
    }

    /// Whether something of a client's is under way that can succeed.
    fn must_end(&self, client: &Client) -> bool {
        let is_lost = |(target, _): &(Target, usize)| self.lost_keys.contains(target);
        match &client.at {
            Some(at) => !is_lost(at),
            None => !client.requests.is_empty(),
        }
    }

    /// Reads every key, then writes it, then reads it at another node.
    pub fn probe(&mut self) -> Result<(), Violation> {
        if self.gone.is_empty() {
            // Nobody may hear that there is no room.
            self.drain()?;
        }
        let targets: Vec<Target> = self.targets.iter().cloned().collect();
        let alive = self.simulation.alive();
        self.reached = alive.iter().copied().collect();
        for (round, reads) in [true, false, true].into_iter().enumerate() {
            let mut asked = BTreeMap::new();
            for (i, target) in targets.iter().enumerate() {
                if self.lost_keys.contains(target) && !self.can_probe_lost(target, round) {
                    continue;
                }
                let node = alive[(i + round) % alive.len()];
                let (id, entry) = self.ask_probe(target, i, node, reads);
                asked.insert(id, (target, entry));
            }
            self.await_probes(asked)?;
        }
        Ok(())
    }

    /// A write under a newer timestamp makes a register readable again whose newest value is
    /// lost. In query mode a majority may not know the lost one: then the reader who meets it
    /// spreads it, and the next write is newer (seed 1035226).
    fn can_probe_lost(&self, target: &Target, round: usize) -> bool {
        let Some(lost) = self.lost_versions.get(target) else {
            return target.machine.is_none() && round > 0;
        };
        let entries = self.history.entries(&target.key);
        let is_newer =
            |entry: &Entry| matches!(&entry.answer, Answer::Written(written) if written > lost);
        target.machine.is_none() && (round == 1 || round == 2 && entries.iter().any(is_newer))
    }

    fn ask_probe(
        &mut self,
        target: &Target,
        number: usize,
        node: NodeId,
        reads: bool,
    ) -> (RequestId, usize) {
        let ask = match reads {
            true => self.draw_ask(target, true),
            false => self.draw_change(target),
        };
        let client = (self.clients.len() + number) as u32;
        let now = self.simulation.now;
        let entry = self
            .history
            .invoke_at(now, client, &target.key, ask.clone());
        // A session of its own, younger than all others.
        let session = SessionId(Timestamp {
            time: u64::MAX / 2 + number as u64,
            ..Timestamp::ZERO
        });
        let request = self.request(target, ask, Some((session, 1, false)));
        let id = self.simulation.request(node, request, RECOVERY_MAX);
        (id, entry)
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
                    // A client's, which heard its answer from another node.
                    let Some((target, entry)) = asked.remove(&request) else {
                        continue;
                    };
                    let answer = match reply {
                        Ok(success) => answer(success),
                        Err(Failure::Conflict { reason }) => Answer::Executed(Err(reason)),
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

    /// Waits until nothing is left of what clients asked of those whose clocks lie.
    pub fn outwait_liars(&mut self) -> Result<(), Violation> {
        let end = self.simulation.now + OUTWAIT + RECOVERY_MAX;
        while let Some(occurrence) = self.simulation.next(end) {
            self.on_occurrence(occurrence)?;
        }
        Ok(())
    }

    /// Those whose clocks never lied nor had to be trusted blindly after a restart.
    fn truthful(&self) -> Vec<NodeId> {
        let mut nodes = self.simulation.alive();
        let liars = &self.configuration.liars;
        nodes.retain(|&node| !liars.contains(&node) && self.simulation.life(node) == 1);
        nodes
    }

    /// A clock beyond its bound does not move those within: where they are a majority,
    /// every key can be written and read through them, in time.
    pub fn probe_truthful(&mut self) -> Result<(), Violation> {
        let truthful = self.truthful();
        let is_most = |nodes: &[NodeId]| {
            let those = nodes.iter().filter(|node| truthful.contains(node));
            those.count() >= majority(nodes.len())
        };
        // Alg. 2 asks in bulk, whose round trips nobody measures: the grace for those who
        // are silent is too short where the two classes differ.
        let can_serve = |of: &Container, site| {
            of.kind != Kind::LanRmw
                && is_most(&of.replicas)
                && (!of.kind.uses_local_sets() || is_most(of.local_set(site)))
        };
        let mut served = Vec::new();
        for target in &self.targets {
            let container = &self.configuration.spec.containers[target.container];
            let mut nodes = truthful.clone();
            nodes.retain(|&node| can_serve(container, self.simulation.site_of(node)));
            if !nodes.is_empty() {
                served.push((target.clone(), nodes));
            }
        }
        let mut written = BTreeMap::new();
        for round in 0..2 {
            let mut asked = BTreeMap::new();
            for (i, (target, nodes)) in served.iter().enumerate() {
                let node = nodes[(i + round) % nodes.len()];
                let (id, entry) = self.ask_probe(target, i, node, round == 1);
                asked.insert(id, (target, entry));
                if round == 0 {
                    written.insert(target, entry);
                }
            }
            self.await_probes(asked)?;
        }
        if !served.is_empty() {
            self.mark("judged: truthful nodes beside lying clocks");
        }
        for (target, entry) in written.into_iter().filter(|(t, _)| t.machine.is_none()) {
            let entries = self.history.entries(&target.key);
            let found = entries.last().map(|entry| &entry.answer);
            let is_right = match (&entries[entry].ask, found) {
                (Ask::Write(value), Some(Answer::Value(Some((read, _))))) => {
                    value == read || may_still_come(entries, *read, entries[entry].invoked)
                }
                _ => false,
            };
            if !is_right {
                let details = format!("{}: read {found:?} after {:?}", target.key, entries[entry]);
                return Err(violation(Promise::Linearizable, details));
            }
        }
        Ok(())
    }
}

/// Whether the write of `value` may take effect after `moment`: nobody was told that it
/// has, and nobody had seen it. A clock far ahead leaves such writes behind, which the
/// others refuse until their own clocks have come near (seed 70024944).
fn may_still_come(entries: &[Entry], value: u64, moment: Moment) -> bool {
    let is_open = |entry: &Entry| matches!((&entry.ask, &entry.answer), (Ask::Write(v), Answer::Unknown) if *v == value);
    let had_seen = |entry: &Entry| {
        matches!(&entry.answer, Answer::Value(Some((read, _))) if *read == value)
            && entry.returned.is_some_and(|end| end < moment)
    };
    entries.iter().any(is_open) && !entries.iter().any(had_seen)
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
