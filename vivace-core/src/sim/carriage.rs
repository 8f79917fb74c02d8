//! How messages travel: over connections that stand or break, with delays that are drawn
//! or over links.

use std::time::Duration;

use rand::RngExt;

use super::links::{Passage, Route};
use super::network::Spread;
use super::simulation::Simulation;
use super::step::Happening;
use super::wire::{Fate, Wire};
use crate::{Class, Event, NodeId};

/// A second copy of a message, or one that others overtake, is late by up to this many
/// times its link's delay.
const LATE_MAX: f64 = 2.0;

impl Simulation {
    /// Makes and breaks connections so that exactly those stand that can.
    pub(super) fn reconnect(&mut self) {
        let nodes = self.nodes();
        for (i, &a) in nodes.iter().enumerate() {
            for &b in &nodes[i + 1..] {
                for class in [Class::Priority, Class::Bulk] {
                    let pair = (a, b, class);
                    let wanted = self.is_alive(a) && self.is_alive(b) && !self.cut.contains(&pair);
                    if wanted == self.connections.get(pair).is_some() {
                        continue;
                    }
                    if wanted {
                        self.connections_made += 1;
                        self.connections.set(pair, Some(self.connections_made));
                        if class == Class::Priority {
                            self.tell_round_trip(a, b);
                        }
                        self.handle(a, Event::PeerUp { node: b, class });
                        self.handle(b, Event::PeerUp { node: a, class });
                    } else {
                        self.connections.set(pair, None);
                        self.handle(a, Event::PeerDown { node: b, class });
                        self.handle(b, Event::PeerDown { node: a, class });
                    }
                }
            }
        }
    }

    pub(super) fn tell_round_trip(&mut self, a: NodeId, b: NodeId) {
        let rtt = match &self.links {
            Some(links) => {
                let (from, to) = (self.site_of(a), self.site_of(b));
                let plan = links.plan.class(from, to, Class::Priority);
                2 * plan.delay + plan.jitter
            }
            None => {
                let spread = self.spread(a, b, Class::Priority);
                spread.min + spread.max
            }
        };
        self.handle(a, Event::RoundTrip { node: b, rtt });
        self.handle(b, Event::RoundTrip { node: a, rtt });
    }

    pub(super) fn spread(&self, a: NodeId, b: NodeId, class: Class) -> Spread {
        match class {
            _ if self.site_of(a) == self.site_of(b) => self.delays.local,
            Class::Priority => self.delays.priority,
            Class::Bulk => self.delays.bulk,
        }
    }

    pub(super) fn connection(&self, a: NodeId, b: NodeId, class: Class) -> Option<u64> {
        self.connections.get((a.min(b), a.max(b), class))
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
        let class = wire.class();
        let Some(connection) = self.connection(from, to, class) else {
            return;
        };
        // Boxed, for it is moved from hand to hand.
        let passage = Box::new(Passage {
            from,
            to,
            connection,
            wire,
        });
        match (fate, class) {
            (Fate::Drop, _) => {}
            (Fate::Late(by), _) => {
                let delay = self.spread(from, to, class).draw(&mut self.rng);
                self.schedule(self.now + delay + by, Happening::Arrival(passage));
            }
            (Fate::Deliver, _) if self.is_held(from, to, &passage.wire) => match class {
                Class::Priority => {}
                Class::Bulk => self.stalled.push(passage),
            },
            (Fate::Deliver, Class::Priority) => self.carry_priority(passage),
            (Fate::Deliver, Class::Bulk) => self.carry_bulk(passage),
        }
    }

    /// Whether a black hole or a sieve holds a message back.
    pub(super) fn is_held(&self, from: NodeId, to: NodeId, wire: &Wire) -> bool {
        self.blocked.contains(&(from, to))
            || self.sieves.iter().any(|sieve| sieve.holds(from, to, wire))
    }

    fn carry_priority(&mut self, passage: Box<Passage>) {
        if self.links.is_some() {
            return self.carry_over_link(passage);
        }
        if self.rng.random_bool(self.loss) {
            return;
        }
        let (from, to) = (passage.from, passage.to);
        let spread = self.spread(from, to, Class::Priority);
        if self.rng.random_bool(self.repetition) {
            let at = self.now + spread.draw(&mut self.rng);
            self.schedule(at, Happening::Arrival(copy(&passage)));
        }
        let at = self.now + spread.draw(&mut self.rng);
        self.schedule(at, Happening::Arrival(passage));
    }

    pub(super) fn carry_bulk(&mut self, passage: Box<Passage>) {
        if self.links.is_some() {
            return self.carry_over_link(passage);
        }
        let (from, to) = (passage.from, passage.to);
        let drawn = self.now + self.spread(from, to, Class::Bulk).draw(&mut self.rng);
        let arrives = self.bulk_arrives.entry((from, to)).or_default();
        *arrives = (*arrives).max(drawn);
        let at = *arrives;
        self.schedule(at, Happening::Arrival(passage));
    }

    fn carry_over_link(&mut self, passage: Box<Passage>) {
        let class = passage.wire.class();
        let (from, to) = (self.site_of(passage.from), self.site_of(passage.to));
        let route = (from, to, class);
        let links = self.links.as_mut().expect("the network is made of links");
        let plan = links.plan;
        // QUIC sends a lost bulk packet again.
        if class == Class::Bulk && self.rng.random_bool(plan.loss) {
            let at = self.now + links.retransmission(route, &mut self.rng);
            return self.schedule(at, Happening::Again(passage));
        }
        let lateness = |simulation: &mut Self| {
            let delay = plan.class(from, to, class).delay + Duration::from_millis(1);
            simulation.now + delay.mul_f64(simulation.rng.random_range(1.0..1.0 + LATE_MAX))
        };
        if plan.repetition > 0.0 && self.rng.random_bool(plan.repetition) {
            let at = lateness(self);
            self.schedule(at, Happening::Arrival(copy(&passage)));
        }
        if plan.reordering > 0.0 && self.rng.random_bool(plan.reordering) {
            let at = lateness(self);
            return self.schedule(at, Happening::Arrival(passage));
        }
        let links = self.links.as_mut().expect("the network is made of links");
        if let Some(at) = links.carry(self.now, route, passage, &mut self.rng) {
            self.schedule(at, Happening::Poll(route));
        }
    }

    pub(super) fn on_poll(&mut self, route: Route) {
        let links = self.links.as_mut().expect("the network is made of links");
        let mut news = std::mem::take(&mut self.news);
        links.poll(self.now, route, &mut news);
        for at in news.again.drain(..) {
            self.schedule(at, Happening::Poll(route));
        }
        self.refill(route);
        for passage in news.arrived.drain(..) {
            self.on_arrival(*passage);
        }
        self.news = news;
    }

    /// Sends what waited for a link. What belongs to a connection that broke is gone.
    pub(super) fn refill(&mut self, route: Route) {
        let connections = &self.connections;
        let stands = |passage: &Passage| {
            let (a, b) = (passage.from, passage.to);
            let standing = connections.get((a.min(b), a.max(b), Class::Bulk));
            standing == Some(passage.connection)
        };
        let links = self.links.as_mut().expect("the network is made of links");
        if let Some(at) = links.refill(self.now, route, &mut self.rng, stands) {
            self.schedule(at, Happening::Poll(route));
        }
    }

    pub(super) fn on_arrival(&mut self, passage: Passage) {
        let Passage {
            from,
            to,
            connection,
            wire,
        } = passage;
        self.note(|| match &wire {
            Wire::Priority(message) => (
                format!("{from} -> {to}"),
                "priority",
                format!("{:?}", message.body),
            ),
            Wire::Bulk(message) => (
                format!("{from} -> {to}"),
                "bulk",
                format!("{:?}", message.body),
            ),
        });
        match wire {
            // A priority message may outlive its connection.
            Wire::Priority(message) => self.handle(to, Event::Priority { from, message }),
            Wire::Bulk(message) => {
                if self.connection(from, to, Class::Bulk) == Some(connection) {
                    let event = match message.takes_space() && self.hosts[&to].is_full {
                        true => Event::NoRoom { message },
                        false => Event::Bulk { from, message },
                    };
                    self.handle(to, event);
                }
            }
        }
    }
}

fn copy(passage: &Passage) -> Box<Passage> {
    Box::new(Passage {
        from: passage.from,
        to: passage.to,
        connection: passage.connection,
        wire: passage.wire.clone(),
    })
}
