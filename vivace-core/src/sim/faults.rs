//! What a test or a swarm does to a cluster, and how all of it ends.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;

use super::errand::Sieve;
use super::host::{Fuse, HostClock, LogTail};
use super::links::{LinkPlan, Links};
use super::simulation::{Occurrence, Simulation, add_causes};
use super::step::Happening;
use crate::{Class, Event, NodeId, RequestId};

impl Simulation {
    /// A node's disk has no space from now on, or has it again.
    pub fn set_disk_full(&mut self, node: NodeId, is_full: bool) {
        match is_full {
            true => self.fill_disk(node),
            false => self.give_space(node),
        }
    }

    /// Changes a node's clock.
    pub fn set_clock(&mut self, node: NodeId, clock: HostClock) {
        self.host(node).clock = clock;
    }

    /// Gives a node an event of the test's own.
    pub fn inject(&mut self, node: NodeId, event: Event) {
        self.handle(node, event);
    }

    /// The node stops; of the records that are not yet durable, a drawn number
    /// reached the disk all the same.
    pub fn crash(&mut self, node: NodeId) {
        self.crash_with(node, LogTail::Torn);
    }

    /// The node stops, and `tail` says what is left of what was not yet durable.
    pub fn crash_with(&mut self, node: NodeId, tail: LogTail) {
        if !self.is_alive(node) {
            return;
        }
        // Of what a disk lied about, only the journal's mark may tell.
        let tail = match self.hosts[&node].journal.disk.has_lied() {
            true => LogTail::Kept,
            false => tail,
        };
        self.note(|| (node.to_string(), "crashes", format!("log tail: {tail:?}")));
        let status = self.status(node);
        add_causes(&mut self.past_causes, status);
        let unflushed = self.hosts[&node].unflushed.len();
        let kept = match tail {
            LogTail::Lost => 0,
            LogTail::Torn => self.rng.random_range(0..=unflushed),
            LogTail::Kept => unflushed,
        };
        self.host(node).crash(tail, kept);
        let lost: Vec<RequestId> = self
            .outstanding
            .iter()
            .filter(|(_, request)| request.coordinator == node)
            .map(|(&id, _)| id)
            .collect();
        for request in lost {
            self.outstanding.remove(&request);
            self.occurrences.push_back(Occurrence::Lost { request });
        }
        self.reconnect();
    }

    /// The node crashes when it is about to send a message beyond those that `fuse`
    /// allows, perhaps in the middle of what one event makes it do.
    pub fn crash_after(&mut self, node: NodeId, fuse: Fuse) {
        self.host(node).fuse = Some(fuse);
    }

    /// The node does nothing for a while; then it does all at once.
    pub fn pause(&mut self, node: NodeId, length: Duration) {
        self.note(|| (node.to_string(), "pauses", format!("for {length:?}")));
        let until = self.now + length;
        let host = self.host(node);
        host.paused_until = host.paused_until.max(until);
    }

    /// The node comes back with what was durable; where its journal is damaged, it
    /// stays down ([`Simulation::refusal`]).
    pub fn restart(&mut self, node: NodeId) {
        if !self.is_alive(node) {
            self.boot(node);
            self.reconnect();
        }
    }

    /// Breaks the connection of `class` between two nodes until [`Simulation::join`].
    pub fn cut(&mut self, a: NodeId, b: NodeId, class: Class) {
        self.cut.insert((a.min(b), a.max(b), class));
        self.reconnect();
    }

    /// Lets two nodes connect again.
    pub fn join(&mut self, a: NodeId, b: NodeId, class: Class) {
        self.cut.remove(&(a.min(b), a.max(b), class));
        self.reconnect();
    }

    /// Nothing goes from `from` to `to`, and neither is told.
    pub fn block(&mut self, from: NodeId, to: NodeId) {
        self.blocked.insert((from, to));
    }

    /// Ends a [`Simulation::block`].
    pub fn unblock(&mut self, from: NodeId, to: NodeId) {
        self.blocked.remove(&(from, to));
        self.release_stalled();
    }

    fn release_stalled(&mut self) {
        for passage in std::mem::take(&mut self.stalled) {
            if self.is_held(passage.from, passage.to, &passage.wire) {
                self.stalled.push(passage);
            } else {
                self.carry_bulk(passage);
            }
        }
    }

    /// Messages of one kind don't get through until [`Simulation::unsift`].
    pub fn sift(&mut self, sieve: Sieve) {
        self.sieves.push(sieve);
    }

    /// Ends a [`Simulation::sift`].
    pub fn unsift(&mut self, sieve: &Sieve) {
        self.sieves.retain(|of| of != sieve);
        self.release_stalled();
    }

    /// Every pair of nodes can talk again.
    pub fn rejoin(&mut self) {
        self.blocked.clear();
        self.release_stalled();
        self.cut.clear();
        self.reconnect();
    }

    /// The network is another one from now on; what is on its way stays on its way.
    ///
    /// # Panics
    /// Where delays are drawn.
    pub fn set_links(&mut self, plan: LinkPlan) {
        let links = self.links.as_mut().expect("the network is made of links");
        if links.plan == plan {
            return;
        }
        let polls = links.replace(self.now, plan);
        let bulk = links.bulk_routes();
        for (route, at) in polls {
            self.schedule(at, Happening::Poll(route));
        }
        for route in bulk {
            self.refill(route);
        }
        let pairs: Vec<_> = self.connections.pairs().collect();
        for (a, b, class) in pairs {
            if class == Class::Priority {
                self.tell_round_trip(a, b);
            }
        }
    }

    /// How long the bulk that waits to be sent would take its link; the longest such time.
    pub fn longest_queue(&self) -> Duration {
        let links = self.links.as_ref();
        links.map_or(Duration::ZERO, Links::longest_queue)
    }

    /// Every connection breaks, and those that can be made are made anew.
    pub fn reset_connections(&mut self) {
        let standing: BTreeSet<_> = self.connections.pairs().collect();
        let cut = self.cut.clone();
        self.cut.extend(standing);
        self.reconnect();
        self.cut = cut;
        self.reconnect();
    }

    /// Ends all faults: every link works and every node that is down starts, but for `gone`.
    pub fn heal(&mut self, gone: &BTreeSet<NodeId>) {
        self.note(|| ("all".into(), "faults end", String::new()));
        self.loss = 0.0;
        self.repetition = 0.0;
        self.script = None;
        for host in self.hosts.values_mut() {
            host.fuse = None;
            host.journal.disk.arm(None);
        }
        self.sieves.clear();
        for node in self.nodes() {
            self.give_space(node);
        }
        self.rejoin();
        for node in self.nodes() {
            if !gone.contains(&node) {
                self.restart(node);
            }
        }
        self.reconnect();
    }
}
