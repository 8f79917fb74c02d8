//! What happens inside a simulation: nodes handle events, messages travel, disks flush.

use std::time::Duration;

use rand::RngExt;
use vivace_core::client_protocol::ClientReply;
use vivace_core::clock::{ClockReading, Now};
use vivace_core::machine::Machines;
use vivace_core::{Action, Class, Event, Incarnation, Node, NodeId, RequestId};

use super::{BEGINNING_NS, Fate, Happening, Host, HostClock, Occurrence, Simulation, Spread, Wire};

impl Simulation {
    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>12.6} {}", self.now.as_secs_f64(), what());
        }
    }

    pub(super) fn host(&mut self, node: NodeId) -> &mut Host {
        self.hosts
            .get_mut(&node)
            .expect("the node is in the cluster")
    }

    pub(super) fn schedule(&mut self, at: Duration, happening: Happening) {
        self.turn += 1;
        self.agenda.insert((at, self.turn), happening);
    }

    pub(super) fn reading(&self, node: NodeId) -> Now {
        let HostClock { skew_ns, error_ns } = self.hosts[&node].clock;
        let true_ns = BEGINNING_NS + u64::try_from(self.now.as_nanos()).unwrap();
        let time_ns = true_ns.checked_add_signed(skew_ns).unwrap();
        Now {
            monotonic: self.now,
            clock: ClockReading { time_ns, error_ns },
        }
    }

    pub(super) fn boot(&mut self, node: NodeId) {
        self.note(|| format!("{node} starts"));
        let now = self.reading(node);
        let cluster = self.cluster.clone();
        let seed = self.rng.random();
        #[cfg(feature = "sim")]
        let mutants = self.mutants;
        let host = self.host(node);
        host.life += 1;
        let life = Incarnation(host.life);
        let machines = Machines::builtin();
        #[cfg(not(feature = "sim"))]
        let fresh = Node::new(node, life, cluster, machines, now, seed);
        #[cfg(feature = "sim")]
        let fresh = Node::with_mutants(node, life, cluster, machines, now, seed, mutants);
        let mut fresh = fresh.expect("the node is in the cluster");
        for record in host.log.clone() {
            fresh.recover(record);
        }
        host.node = Some(fresh);
        self.rearm(node);
    }

    /// Makes and breaks connections so that exactly those stand that can.
    pub(super) fn reconnect(&mut self) {
        let nodes = self.nodes();
        for (i, &a) in nodes.iter().enumerate() {
            for &b in &nodes[i + 1..] {
                for class in [Class::Priority, Class::Bulk] {
                    let pair = (a, b, class);
                    let wanted = self.is_alive(a) && self.is_alive(b) && !self.cut.contains(&pair);
                    if wanted == self.connections.contains_key(&pair) {
                        continue;
                    }
                    if wanted {
                        self.connections_made += 1;
                        self.connections.insert(pair, self.connections_made);
                        let spread = self.spread(a, b, class);
                        let rtt = spread.min + spread.max;
                        for (node, peer) in [(a, b), (b, a)] {
                            if class == Class::Priority {
                                self.handle(node, Event::RoundTrip { node: peer, rtt });
                            }
                            self.handle(node, Event::PeerUp { node: peer, class });
                        }
                    } else {
                        self.connections.remove(&pair);
                        self.handle(a, Event::PeerDown { node: b, class });
                        self.handle(b, Event::PeerDown { node: a, class });
                    }
                }
            }
        }
    }

    pub(super) fn spread(&self, a: NodeId, b: NodeId, class: Class) -> Spread {
        match class {
            _ if self.cluster.site_of(a) == self.cluster.site_of(b) => self.delays.local,
            Class::Priority => self.delays.priority,
            Class::Bulk => self.delays.bulk,
        }
    }

    pub(super) fn handle(&mut self, node: NodeId, event: Event) {
        let now = self.reading(node);
        let host = self.host(node);
        let Some(state) = &mut host.node else { return };
        let actions = state.handle(now, event);
        let flushed_before = host.unflushed.back().map(|(lsn, _)| *lsn);
        for action in actions {
            match action {
                Action::SendPriority { to, message } => {
                    self.send(node, to, Wire::Priority(message))
                }
                Action::SendBulk { to, message } => self.send(node, to, Wire::Bulk(message)),
                Action::Persist { lsn, record } => {
                    self.note(|| format!("{node} persists {lsn:?} {record:?}"));
                    self.host(node).unflushed.push_back((lsn, record));
                }
                Action::Reply { request, reply } => self.on_reply(node, request, reply),
            }
        }
        let last = self.hosts[&node].unflushed.back().map(|(lsn, _)| *lsn);
        if let Some(through) = last.filter(|_| last != flushed_before) {
            let done = self.now + self.delays.disk.draw(&mut self.rng);
            let host = self.host(node);
            host.flushed_at = host.flushed_at.max(done);
            let (at, life) = (host.flushed_at, host.life);
            self.schedule(
                at,
                Happening::Flushed {
                    node,
                    life,
                    through,
                },
            );
        }
        self.rearm(node);
    }

    pub(super) fn rearm(&mut self, node: NodeId) {
        let now = self.now;
        let host = self.host(node);
        let deadline = host.node.as_ref().and_then(Node::next_deadline);
        let at = deadline.map(|at| at.max(now));
        if at != host.tick_at {
            host.tick_at = at;
            if let Some(at) = at {
                self.schedule(at, Happening::Tick { node, at });
            }
        }
    }

    pub(super) fn on_reply(&mut self, node: NodeId, id: RequestId, reply: ClientReply) {
        self.note(|| format!("{node} -> {id:?} {reply:?}"));
        let asked = self
            .outstanding
            .remove(&id)
            .expect("a request is answered once");
        assert_eq!(asked.coordinator, node);
        assert!(
            self.now <= asked.deadline,
            "{id:?} is answered after its deadline: {reply:?}"
        );
        self.occurrences
            .push_back(Occurrence::Reply { request: id, reply });
    }

    pub(super) fn connection(&self, a: NodeId, b: NodeId, class: Class) -> Option<u64> {
        self.connections.get(&(a.min(b), a.max(b), class)).copied()
    }

    pub(super) fn send(&mut self, from: NodeId, to: NodeId, wire: Wire) {
        assert_ne!(from, to, "a node talks to itself inside");
        if let Some(sent) = &mut self.sent {
            sent.push((from, to, wire.clone()));
        }
        let fate = match &mut self.script {
            Some(script) => script(from, to, &wire),
            None => Fate::Deliver,
        };
        let Some(connection) = self.connection(from, to, wire.class()) else {
            return;
        };
        let late = match fate {
            Fate::Drop => return,
            Fate::Deliver => Duration::ZERO,
            Fate::Late(by) => by,
        };
        match wire.class() {
            Class::Priority => {
                if self.blocked.contains(&(from, to)) || self.rng.random_bool(self.loss) {
                    return;
                }
                let copies = 1 + u32::from(self.rng.random_bool(self.repetition));
                for _ in 0..copies {
                    let delay = self.spread(from, to, Class::Priority).draw(&mut self.rng);
                    let wire = wire.clone();
                    let arrival = Happening::Arrival {
                        from,
                        to,
                        connection,
                        wire,
                    };
                    self.schedule(self.now + delay + late, arrival);
                }
            }
            // Only a test's own script delays one bulk message behind later ones.
            Class::Bulk if late > Duration::ZERO => {
                let delay = self.spread(from, to, Class::Bulk).draw(&mut self.rng);
                let arrival = Happening::Arrival {
                    from,
                    to,
                    connection,
                    wire,
                };
                self.schedule(self.now + delay + late, arrival);
            }
            Class::Bulk if self.blocked.contains(&(from, to)) => {
                self.stalled.push((from, to, connection, wire));
            }
            Class::Bulk => self.carry_bulk(from, to, connection, wire),
        }
    }

    pub(super) fn carry_bulk(&mut self, from: NodeId, to: NodeId, connection: u64, wire: Wire) {
        let drawn = self.now + self.spread(from, to, Class::Bulk).draw(&mut self.rng);
        let arrives = self.bulk_arrives.entry((from, to)).or_default();
        *arrives = (*arrives).max(drawn);
        let at = *arrives;
        self.schedule(
            at,
            Happening::Arrival {
                from,
                to,
                connection,
                wire,
            },
        );
    }

    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrival {
                from,
                to,
                connection,
                wire,
            } => {
                self.note(|| format!("{from} => {to} {wire:?}"));
                match wire {
                    // A priority message may outlive its connection.
                    Wire::Priority(message) => self.handle(to, Event::Priority { from, message }),
                    Wire::Bulk(message) => {
                        if self.connection(from, to, Class::Bulk) == Some(connection) {
                            self.handle(to, Event::Bulk { from, message });
                        }
                    }
                }
            }
            Happening::Flushed {
                node,
                life,
                through,
            } => {
                let host = self.host(node);
                if host.life != life || host.node.is_none() {
                    return;
                }
                while host
                    .unflushed
                    .front()
                    .is_some_and(|(lsn, _)| *lsn <= through)
                {
                    let (_, record) = host.unflushed.pop_front().expect("just seen");
                    host.log.push(record);
                }
                self.handle(node, Event::Durable { through });
            }
            Happening::Tick { node, at } => {
                if self.hosts[&node].tick_at == Some(at) {
                    self.host(node).tick_at = None;
                    self.handle(node, Event::Tick);
                }
            }
            Happening::Wake { token } => self.occurrences.push_back(Occurrence::Wake { token }),
        }
    }
}
