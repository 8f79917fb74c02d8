//! What happens inside a simulation: nodes handle events, messages travel, disks flush.

use std::time::Duration;

use rand::RngExt;

use super::errand::Errand;
use super::host::{Entry, Fuse, Host, HostClock};
use super::host_journal::Ended;
use super::links::{Passage, Route};
use super::network::Spread;
use super::simulation::{Occurrence, Simulation};
use super::wire::Wire;
use crate::client_protocol::ClientReply;
use crate::clock::{ClockReading, Now};
use crate::journal::OpenError;
use crate::machine::Machines;
use crate::stored::StoredMessage;
use crate::{Action, Class, Event, Incarnation, Lsn, Node, NodeId, RequestId};

/// True time when a simulation begins, in nanoseconds since the Unix epoch.
const BEGINNING_NS: u64 = 1_800_000_000_000_000_000;

/// A stored value is read from the disk, and not from memory, this often.
const COLD_READS: f64 = 0.25;

/// How long a record waits for another at most that somebody waits for.
const LATER: Duration = Duration::from_millis(20);

/// What is large is boxed: every happening is moved in and out of the agenda.
#[derive(Debug)]
pub(super) enum Happening {
    Arrival(Box<Passage>),
    /// A link has something to deliver.
    Poll(Route),
    /// A bulk message is sent again.
    Again(Box<Passage>),
    Event {
        node: NodeId,
        life: u16,
        event: Box<Event>,
    },
    /// A pause is over, unless a second one has begun meanwhile.
    Resume {
        node: NodeId,
        life: u16,
    },
    /// Of a node whose fuse burnt down.
    Death {
        node: NodeId,
        life: u16,
    },
    Flushed {
        node: NodeId,
        life: u16,
        through: Lsn,
    },
    /// What could wait for the next record has waited long enough.
    Later {
        node: NodeId,
        life: u16,
    },
    /// A value is read from the disk.
    Load {
        node: NodeId,
        life: u16,
        to: NodeId,
        message: Box<StoredMessage>,
    },
    Tick {
        node: NodeId,
        at: Duration,
    },
    Wake {
        token: u64,
    },
}

impl Simulation {
    pub(super) fn note(&mut self, what: impl FnOnce() -> (String, &'static str, String)) {
        if self.trace.is_on() {
            let (who, what, details) = what();
            self.trace.add(self.now, &who, what, &details);
        }
    }

    pub(super) fn host(&mut self, node: NodeId) -> &mut Host {
        &mut self.hosts[&node]
    }

    pub(super) fn schedule(&mut self, at: Duration, happening: Happening) {
        self.agenda.add(at, happening);
    }

    fn reading(&self, HostClock { skew_ns, error_ns }: HostClock) -> Now {
        let true_ns = BEGINNING_NS + self.now.as_nanos() as u64;
        Now {
            monotonic: self.now,
            clock: ClockReading {
                time_ns: true_ns.saturating_add_signed(skew_ns),
                error_ns,
            },
        }
    }

    pub(super) fn boot(&mut self, node: NodeId) {
        self.note(|| (node.to_string(), "starts", String::new()));
        let now = self.reading(self.hosts[&node].clock);
        let cluster = self.cluster.clone();
        let seed = self.rng.random();
        let mutants = self.mutants;
        let host = self.host(node);
        let records = match host.journal.start() {
            Ok(records) => records,
            Err(error) => {
                // An error of the disk may not come again; what is damaged stays so.
                if !matches!(error, OpenError::Disk(_)) {
                    host.refusal = Some(error.to_string());
                }
                return self.note(|| (node.to_string(), "refuses", error.to_string()));
            }
        };
        host.life += 1;
        let life = Incarnation(host.life);
        let machines = Machines::builtin();
        let fresh = Node::with_mutants(node, life, cluster, machines, now, seed, mutants);
        let mut fresh = fresh.expect("the node is in the cluster");
        for record in &records {
            fresh.recover(record.clone());
        }
        host.log = records;
        fresh.recover_stored(host.recorded());
        let values = &host.values;
        fresh.drop_unstored(&|id| values.contains_key(id));
        // What a crash left without its record, as a real node's look through its store finds.
        host.values.retain(|id, _| fresh.refers_to(id));
        host.node = Some(fresh);
        self.rearm(node);
    }

    pub(super) fn handle(&mut self, node: NodeId, event: Event) {
        let now = self.now;
        let host = self.host(node);
        if host.node.is_none() {
            return;
        }
        if host.paused_until > now || !host.deferred.is_empty() {
            host.deferred.push_back(event);
            if host.deferred.len() == 1 {
                let (at, life) = (host.paused_until, host.life);
                self.schedule(at, Happening::Resume { node, life });
            }
            return;
        }
        self.handle_now(node, event);
    }

    /// Does what a pause has put off, in the order in which it happened.
    fn resume(&mut self, node: NodeId, life: u16) {
        let now = self.now;
        while let host = self.host(node)
            && host.life == life
        {
            if host.paused_until > now {
                let at = host.paused_until;
                return self.schedule(at, Happening::Resume { node, life });
            }
            let Some(event) = host.deferred.pop_front() else {
                return;
            };
            self.handle_now(node, event);
        }
    }

    fn handle_now(&mut self, node: NodeId, event: Event) {
        let host = &self.hosts[&node];
        if host.is_dying {
            return;
        }
        let now = self.reading(host.clock);
        let host = self.host(node);
        let Some(state) = &mut host.node else { return };
        let mut actions = state.handle(now, event);
        let flushed_before = host.unflushed.back().map(|(lsn, _)| *lsn);
        for action in actions.drain(..) {
            if !self.act(node, action) {
                return;
            }
        }
        if let Some(state) = &mut self.host(node).node {
            state.reuse(actions);
        }
        let last = self.hosts[&node].unflushed.back().map(|(lsn, _)| *lsn);
        if let Some(through) = last.filter(|_| last != flushed_before) {
            self.begin_flush(node, through);
        }
        self.rearm(node);
    }

    fn begin_flush(&mut self, node: NodeId, through: Lsn) {
        let done = self.now + self.delays.disk.draw(&mut self.rng);
        let host = self.host(node);
        host.journal.send_off();
        host.flushed_at = host.flushed_at.max(done);
        let (at, life) = (host.flushed_at, host.life);
        let flushed = Happening::Flushed {
            node,
            life,
            through,
        };
        self.schedule(at, flushed);
    }

    /// The disk of `node` is full from now on: clients' changes hear `Busy`, values of
    /// peers are dropped, what is on its way waits.
    pub(super) fn fill_disk(&mut self, node: NodeId) {
        let host = self.host(node);
        host.is_full = true;
        let filled = host.journal.set_full(true);
        debug_assert!(filled.is_ok(), "nothing is written");
        self.note(|| (node.to_string(), "is full", String::new()));
    }

    /// The disk of `node` has space again, and what waited for it goes on by itself.
    pub(super) fn give_space(&mut self, node: NodeId) {
        let host = self.host(node);
        if !std::mem::take(&mut host.is_full) {
            return;
        }
        let resumed = host.journal.set_full(false);
        let last = host.unflushed.back().map(|(lsn, _)| *lsn);
        self.note(|| (node.to_string(), "has space", String::new()));
        match (resumed, last) {
            (Err(ended), _) => drop(self.end(node, &ended)),
            (Ok(()), Some(through)) => self.begin_flush(node, through),
            (Ok(()), None) => {}
        }
    }

    /// Does what a node asks for; false where it died of it.
    fn act(&mut self, node: NodeId, action: Action) -> bool {
        let (to, wire) = match action {
            Action::Persist { lsn, record } => {
                self.note(|| {
                    (
                        node.to_string(),
                        "persists",
                        format!("{} {record:?}", lsn.0),
                    )
                });
                return match self.host(node).persist(lsn, record) {
                    Ok(()) => true,
                    Err(ended) => self.end(node, &ended),
                };
            }
            Action::PersistLater { record } => {
                let said = || (node.to_string(), "persists", format!("later {record:?}"));
                self.note(said);
                let host = self.host(node);
                let life = host.life;
                if host.persist_later(record) {
                    let at = self.now + LATER;
                    self.schedule(at, Happening::Later { node, life });
                }
                return true;
            }
            Action::StoreValue {
                lsn,
                id,
                value,
                is_record,
            } => {
                self.compare(node, &id, &value);
                self.host(node)
                    .queue(lsn, Entry::Value(id, value, is_record));
                return true;
            }
            Action::ForgetValue { id } => {
                self.host(node).forget(id);
                return true;
            }
            Action::SendStored { to, message } => return self.load(node, to, message),
            Action::Reply { request, reply } => {
                self.on_reply(node, request, reply);
                return true;
            }
            Action::SendPriority { to, message } => (to, Wire::Priority(message)),
            Action::SendBulk { to, message } => (to, Wire::Bulk(message)),
        };
        self.send_unless_dying(node, to, wire)
    }

    /// Sends; false where the node died of it.
    fn send_unless_dying(&mut self, node: NodeId, to: NodeId, wire: Wire) -> bool {
        match &mut self.host(node).fuse {
            Some(fuse) if fuse.errand.is_some() && fuse.errand != Errand::of(&wire) => {}
            Some(Fuse { left: 0, .. }) => {
                let host = self.host(node);
                host.is_dying = true;
                let life = host.life;
                self.schedule(self.now, Happening::Death { node, life });
                return false;
            }
            Some(fuse) => fuse.left -= 1,
            None => {}
        }
        self.send(node, to, wire);
        true
    }

    /// Reads the value of a message, now and then only after a while.
    fn load(&mut self, node: NodeId, to: NodeId, message: StoredMessage) -> bool {
        if self.delays.disk != Spread::ZERO && self.rng.random_bool(COLD_READS) {
            let at = self.now + self.delays.disk.draw(&mut self.rng);
            let life = self.hosts[&node].life;
            let load = Happening::Load {
                node,
                life,
                to,
                message: Box::new(message),
            };
            self.schedule(at, load);
            return true;
        }
        self.on_loaded(node, to, message)
    }

    fn on_loaded(&mut self, node: NodeId, to: NodeId, message: StoredMessage) -> bool {
        let host = &self.hosts[&node];
        let life = host.life;
        let event = match host.load(&message.value) {
            Some(value) if to != node => {
                return self.send_unless_dying(node, to, Wire::Bulk(message.with(value)));
            }
            Some(value) => Event::Bulk {
                from: node,
                message: message.with(value),
            },
            None => Event::NotLoaded { to, message },
        };
        // Not now: the node may be in the middle of its actions.
        let event = Box::new(event);
        self.schedule(self.now, Happening::Event { node, life, event });
        true
    }

    fn rearm(&mut self, node: NodeId) {
        let now = self.now;
        let host = self.host(node);
        let deadline = host.node.as_ref().and_then(Node::next_deadline);
        let at = deadline.map(|at| at.max(now).max(host.paused_until));
        if at != host.tick_at {
            host.tick_at = at;
            if let Some(at) = at {
                self.schedule(at, Happening::Tick { node, at });
            }
        }
    }

    fn on_reply(&mut self, node: NodeId, id: RequestId, reply: ClientReply) {
        self.note(|| {
            (
                format!("client <- {node}"),
                "hears",
                format!("{id:?} {reply:?}"),
            )
        });
        let asked = self
            .outstanding
            .remove(&id)
            .expect("a request is answered once");
        assert_eq!(asked.coordinator, node);
        // A pause may make a node miss a deadline, but not by more than the pause.
        let due = asked.deadline.max(self.hosts[&node].paused_until);
        assert!(
            self.now <= due,
            "{id:?} is answered after its deadline: {reply:?}"
        );
        self.occurrences
            .push_back(Occurrence::Reply { request: id, reply });
    }

    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrival(passage) => self.on_arrival(*passage),
            Happening::Poll(route) => self.on_poll(route),
            Happening::Again(passage) => {
                let (from, to) = (passage.from, passage.to);
                if self.connection(from, to, Class::Bulk) != Some(passage.connection) {
                } else if self.is_held(from, to, &passage.wire) {
                    self.stalled.push(passage);
                } else {
                    self.carry_bulk(passage);
                }
            }
            Happening::Event { node, life, event } => {
                if self.hosts[&node].life == life {
                    self.handle(node, *event);
                }
            }
            Happening::Resume { node, life } => self.resume(node, life),
            Happening::Load {
                node,
                life,
                to,
                message,
            } => {
                let host = &self.hosts[&node];
                if host.life == life && host.node.is_some() && !host.is_dying {
                    self.on_loaded(node, to, *message);
                }
            }
            Happening::Death { node, life } => {
                if self.hosts[&node].life == life {
                    self.crash(node);
                }
            }
            Happening::Flushed {
                node,
                life,
                through,
            } => self.on_flushed(node, life, through),
            Happening::Later { node, life } => self.send_later(node, life),
            Happening::Tick { node, at } => {
                if self.hosts[&node].tick_at == Some(at) {
                    self.host(node).tick_at = None;
                    self.handle(node, Event::Tick);
                }
            }
            Happening::Wake { token } => self.occurrences.push_back(Occurrence::Wake { token }),
        }
    }

    /// The process ends, for its disk failed it; always false.
    fn end(&mut self, node: NodeId, ended: &Ended) -> bool {
        self.note(|| (node.to_string(), "ends", ended.to_string()));
        let host = self.host(node);
        host.is_dying = true;
        let life = host.life;
        self.schedule(self.now, Happening::Death { node, life });
        false
    }

    fn send_later(&mut self, node: NodeId, life: u16) {
        let host = self.host(node);
        if host.life != life || host.node.is_none() || !host.has_later() {
            return;
        }
        match host.send_later() {
            Err(ended) => drop(self.end(node, &ended)),
            Ok(()) => {
                if let Some(&(through, _)) = self.hosts[&node].unflushed.back() {
                    self.begin_flush(node, through);
                }
            }
        }
    }

    fn on_flushed(&mut self, node: NodeId, life: u16, through: Lsn) {
        let host = self.host(node);
        if host.life != life || host.node.is_none() {
            return;
        }
        if let Err(ended) = host.journal.commit(through) {
            self.end(node, &ended);
            return;
        }
        let host = self.host(node);
        let through = host.can_arrive(through);
        while host
            .unflushed
            .front()
            .is_some_and(|(lsn, _)| *lsn <= through)
        {
            host.flush_one();
        }
        self.handle(node, Event::Durable { through });
    }
}
