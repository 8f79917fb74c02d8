//! One state of a small cluster, what may happen next, and the state after it.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::history::Operations;
use super::machine::{Entry, Host};
use super::model::{Disk, Model};
use crate::clock::{ClockReading, Now};
use crate::cluster::{Cluster, TimestampSource};
use crate::machine::Machines;
use crate::message::{BulkBody, PriorityBody};
use crate::sim::Wire;
use crate::{Action, Class, Event, Incarnation, Lsn, Node, NodeId, RequestId};

/// Nanoseconds since the Unix epoch when it begins.
const BEGINNING_NS: u64 = 1_000_000_000_000;

/// What a client waits for its answer: longer than any repetition and take-over.
const PATIENCE: Duration = Duration::from_secs(20);

/// A round trip between two nodes, as they are told.
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// A wait of at most this may end while messages are on their way.
const SHORT_WAIT: Duration = Duration::from_micros(1);

/// Something that may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Choice {
    /// The message of this number arrives.
    Arrive(usize),
    /// It gets lost.
    Lose(usize),
    /// A client's operation begins.
    Begin(usize),
    /// All that waits for this node's disk is durable.
    Flush(NodeId),
    /// The node stops; so many of the records that were not durable are there all the same.
    Crash(NodeId, usize),
    /// It comes back with what was durable.
    Restart(NodeId),
    /// The earliest timer fires.
    PassTime,
    /// The node's earliest timer fires, as if all messages on their way were slow.
    FireEarly(NodeId),
}

#[derive(Clone)]
struct Passage {
    from: NodeId,
    to: NodeId,
    wire: Arc<Wire>,
    digest: u64,
    /// An end of its connection crashed since it was sent: it need not arrive.
    is_stale: bool,
}

#[derive(Clone, Default)]
struct Place {
    host: Host,
    /// All up to this is durable.
    flushed: Lsn,
    /// Digest of the running node, and of what its disk holds.
    live: u64,
    /// Digest of what a restart would find.
    durable: u64,
    /// The life, the records and the moment that it is of.
    durable_of: Option<(u16, usize, Duration)>,
}

/// Everything in one place: what all states of one model share.
pub struct Setting {
    pub model: Model,
    cluster: Arc<Cluster>,
}

impl Setting {
    /// # Panics
    /// Where the cluster of the model can't be.
    pub fn new(model: &Model) -> Self {
        let cluster = Cluster::new(model.spec()).expect("the model's cluster is valid");
        Self {
            model: model.clone(),
            cluster: Arc::new(cluster),
        }
    }
}

/// A state. Cloning shares what does not change.
#[derive(Clone)]
pub struct State {
    places: Vec<Arc<Place>>,
    /// By digest: the order in which messages were sent makes no difference.
    passages: Vec<Passage>,
    pub operations: Operations,
    now: Duration,
    crashes_left: u8,
    losses_left: u8,
    early_timers_left: u8,
}

fn digest_of(write: impl FnOnce(&mut String) -> fmt::Result) -> u64 {
    let mut text = String::with_capacity(4096);
    write(&mut text).expect("a string takes all");
    let mut digest = DefaultHasher::new();
    digest.write(text.as_bytes());
    digest.finish()
}

/// Positions in a log count from what is durable: nodes only ask whether a position is
/// beyond that, and two orders of the same events may differ in how many records they took.
fn relative_to_durable(text: &str, durable: u64) -> String {
    const NAME: &str = "Lsn(";
    let mut relative = String::with_capacity(text.len());
    let mut parts = text.split(NAME);
    relative.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let position: u64 = part[..digits].parse().expect("an Lsn holds a number");
        relative.push_str(NAME);
        relative.push_str(&position.saturating_sub(durable).to_string());
        relative.push_str(&part[digits..]);
    }
    relative
}

impl State {
    /// All nodes run and are connected; nothing was asked for.
    ///
    /// # Errors
    /// Where a node breaks a rule of its own.
    pub fn beginning(setting: &Setting) -> Result<Self, String> {
        let model = &setting.model;
        let mut state = Self {
            places: vec![Arc::default(); usize::from(model.nodes)],
            passages: Vec::new(),
            operations: Operations::new(&model.steps),
            now: Duration::from_secs(1),
            crashes_left: model.crashes,
            losses_left: model.losses,
            early_timers_left: model.early_timers,
        };
        for node in state.nodes() {
            state.boot(setting, node)?;
        }
        Ok(state)
    }

    fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.places.len() as u16).map(NodeId)
    }

    fn place(&mut self, node: NodeId) -> &mut Place {
        Arc::make_mut(&mut self.places[usize::from(node.0)])
    }

    fn host(&mut self, node: NodeId) -> &mut Host {
        &mut self.place(node).host
    }

    fn seen(&self, node: NodeId) -> &Host {
        &self.places[usize::from(node.0)].host
    }

    fn live(&self, node: NodeId) -> u64 {
        self.places[usize::from(node.0)].live
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.seen(node).node.is_some()
    }

    fn reading(&self, setting: &Setting) -> Now {
        let error_ns = match setting.model.timestamps {
            TimestampSource::Clock => Some(0),
            TimestampSource::Query => None,
        };
        Now {
            monotonic: self.now,
            clock: ClockReading {
                time_ns: BEGINNING_NS + self.now.as_nanos() as u64,
                error_ns,
            },
        }
    }

    fn fresh_node(&self, setting: &Setting, node: NodeId, life: u16) -> Node {
        let mut fresh = Node::with_mutants(
            node,
            Incarnation(life),
            setting.cluster.clone(),
            Machines::builtin(),
            self.reading(setting),
            u64::from(node.0),
            setting.model.mutants,
        )
        .expect("the node is in the cluster");
        for record in &self.seen(node).log {
            fresh.recover(record.clone());
        }
        fresh
    }

    fn boot(&mut self, setting: &Setting, node: NodeId) -> Result<(), String> {
        let life = self.seen(node).life + 1;
        let fresh = self.fresh_node(setting, node, life);
        self.place(node).flushed = Lsn::default();
        let host = self.host(node);
        // What a crash left without its record.
        host.values.retain(|id, _| fresh.refers_to(id));
        host.life = life;
        host.node = Some(fresh);
        self.digest(setting, node);
        let is_peer = |&other: &NodeId| other != node && self.is_up(other);
        let peers: Vec<NodeId> = self.nodes().filter(is_peer).collect();
        for other in peers {
            for (at, peer) in [(node, other), (other, node)] {
                let rtt = ROUND_TRIP;
                self.handle(setting, at, Event::RoundTrip { node: peer, rtt })?;
                for class in [Class::Priority, Class::Bulk] {
                    self.handle(setting, at, Event::PeerUp { node: peer, class })?;
                }
            }
        }
        Ok(())
    }

    /// Tells whether two states are the same for all that may follow.
    pub fn fingerprint(&self) -> u64 {
        let mut digest = DefaultHasher::new();
        for place in &self.places {
            place.live.hash(&mut digest);
            if self.crashes_left > 0 || place.host.node.is_none() {
                place.durable.hash(&mut digest);
            }
        }
        for passage in &self.passages {
            (passage.digest, passage.is_stale).hash(&mut digest);
        }
        self.operations.hash(&mut digest);
        let left = (
            self.crashes_left,
            self.losses_left,
            self.early_timers_left,
            self.now,
        );
        left.hash(&mut digest);
        digest.finish()
    }

    fn digest(&mut self, setting: &Setting, node: NodeId) {
        let may_crash = setting.model.crashes > 0 && setting.model.may_crash.contains(&node);
        let host = self.seen(node);
        let flushed = self.places[usize::from(node.0)].flushed;
        let live = digest_of(|text| {
            use fmt::Write;
            let mut state = format!("{:?}", host.unflushed);
            if let Some(node) = &host.node {
                node.write_state(&mut state)?;
            }
            let state = relative_to_durable(&state, flushed.0);
            write!(text, "{}{:?}{state}", host.life, host.values)
        });
        let of = may_crash.then_some((host.life, host.log.len(), self.now));
        let is_known = of == self.places[usize::from(node.0)].durable_of;
        let durable = (may_crash && !is_known).then(|| {
            let recovered = self.fresh_node(setting, node, host.life + 1);
            digest_of(|text| recovered.write_state(text))
        });
        let place = self.place(node);
        place.live = live;
        place.durable_of = of;
        place.durable = durable.unwrap_or(place.durable);
    }

    /// What may happen next; nothing where every operation has ended: no answer is left
    /// that could be wrong.
    pub fn choices(&self, setting: &Setting) -> Vec<Choice> {
        if self.operations.all_ended() {
            return Vec::new();
        }
        let busy = |&node: &NodeId| !self.seen(node).unflushed.is_empty();
        if setting.model.disk == Disk::Prompt
            && let Some(node) = self.nodes().find(busy)
        {
            let unflushed = self.seen(node).unflushed.len();
            let torn = (0..unflushed).map(|kept| Choice::Crash(node, kept));
            return std::iter::once(Choice::Flush(node)).chain(torn).collect();
        }
        let mut choices = Vec::new();
        for (number, passage) in self.passages.iter().enumerate() {
            let again = number > 0 && self.passages[number - 1].digest == passage.digest;
            if again || !self.is_up(passage.to) {
                continue;
            }
            choices.push(Choice::Arrive(number));
            if self.losses_left > 0 && !passage.is_stale {
                choices.push(Choice::Lose(number));
            }
        }
        let ready = self.operations.ready();
        choices.extend(
            ready
                .filter(|(_, node)| self.is_up(*node))
                .map(|(number, _)| Choice::Begin(number)),
        );
        for node in self.nodes() {
            let host = self.seen(node);
            if host.node.is_none() {
                if !setting.model.stay_down.contains(&node) {
                    choices.push(Choice::Restart(node));
                }
                continue;
            }
            if !host.unflushed.is_empty() {
                choices.push(Choice::Flush(node));
            }
            if self.may_crash(setting, node) {
                let kept = 0..=host.unflushed.len();
                choices.extend(kept.map(|kept| Choice::Crash(node, kept)));
            }
        }
        self.add_timers(setting, &mut choices);
        choices
    }

    fn may_crash(&self, setting: &Setting, node: NodeId) -> bool {
        self.crashes_left > 0 && setting.model.may_crash.contains(&node)
    }

    fn add_timers(&self, setting: &Setting, choices: &mut Vec<Choice>) {
        let Some(next) = self.next_deadline() else {
            return;
        };
        let is_still = self.passages.iter().all(|passage| passage.is_stale)
            && self
                .places
                .iter()
                .all(|place| place.host.unflushed.is_empty());
        let is_short = next <= self.now + SHORT_WAIT;
        if self.operations.any_under_way()
            && (is_short || is_still && self.has_all_writers(setting))
        {
            choices.push(Choice::PassTime);
        }
        if self.early_timers_left > 0 && !is_still {
            let with_timer = |node: &NodeId| self.deadline(*node).is_some();
            choices.extend(self.nodes().filter(with_timer).map(Choice::FireEarly));
        }
    }

    /// Whether every node is up that may have the only copy of a version.
    fn has_all_writers(&self, setting: &Setting) -> bool {
        let mut steps = setting.model.steps.iter();
        steps.all(|step| !step.wish.may_leave_a_copy() || self.is_up(step.node))
    }

    fn deadline(&self, node: NodeId) -> Option<Duration> {
        let node = self.seen(node).node.as_ref()?;
        node.next_deadline()
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.nodes().filter_map(|node| self.deadline(node)).min()
    }

    /// The state after `choice`.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn after(&self, setting: &Setting, choice: Choice) -> Result<Self, String> {
        let mut state = self.clone();
        match choice {
            Choice::Arrive(number) => state.arrive(setting, number)?,
            Choice::Lose(number) => {
                state.passages.remove(number);
                state.losses_left -= 1;
            }
            Choice::Begin(number) => {
                let request = state.operations.begin(number);
                let event = Event::Request {
                    id: RequestId(number as u64),
                    request,
                    deadline: state.now + PATIENCE,
                };
                state.handle(setting, setting.model.steps[number].node, event)?;
            }
            Choice::Flush(node) => state.flush(setting, node)?,
            Choice::Crash(node, kept) => state.crash(setting, node, kept)?,
            Choice::Restart(node) => state.boot(setting, node)?,
            Choice::PassTime => {
                // What may never arrive has not: it would be too late.
                if state.passages.iter().all(|passage| passage.is_stale) {
                    state.passages.clear();
                }
                let next = state.next_deadline().expect("a timer was seen");
                state.now = state.now.max(next);
                for node in state.nodes() {
                    if state.deadline(node).is_some_and(|at| at <= state.now) {
                        state.handle(setting, node, Event::Tick)?;
                    }
                }
            }
            Choice::FireEarly(node) => {
                let at = state.deadline(node).expect("a timer was seen");
                state.now = state.now.max(at);
                state.early_timers_left -= 1;
                state.handle(setting, node, Event::Tick)?;
            }
        }
        Ok(state)
    }

    /// The state after `choice`, where it need not be weighed against others: an answer
    /// that changes nothing, or a question that has only such an answer. Calls that are
    /// over are never begun again, so neither will ever change anything.
    pub fn after_nothing(&self, setting: &Setting, choice: Choice) -> Option<Self> {
        let Choice::Arrive(number) = choice else {
            return None;
        };
        let passage = &self.passages[number];
        if is_answer(&passage.wire) {
            return self.after_same(setting, number);
        }
        if !is_mere_question(&passage.wire) || passage.is_stale {
            return None;
        }
        let (asker, asked) = (passage.from, passage.to);
        let mut after = self.clone();
        let before = after.passages.len();
        after.arrive(setting, number).ok()?;
        let is_same = after.live(asked) == self.live(asked);
        if !is_same || after.passages.len() != before {
            return None;
        }
        // What was there before is there still: the one more is the answer.
        let is_new = |p: &Passage| {
            let count = |of: &Self| of.passages.iter().filter(|o| o.digest == p.digest).count();
            (p.from, p.to) == (asked, asker) && is_answer(&p.wire) && count(&after) > count(self)
        };
        let number = after.passages.iter().position(is_new)?;
        after.after_same(setting, number)
    }

    /// The state after an arrival that changes nothing.
    fn after_same(&self, setting: &Setting, number: usize) -> Option<Self> {
        let to = self.passages[number].to;
        if !self.is_up(to) {
            return None;
        }
        let mut after = self.clone();
        after.arrive(setting, number).ok()?;
        let is_same = after.live(to) == self.live(to);
        (is_same && after.passages.len() + 1 == self.passages.len()).then_some(after)
    }

    fn arrive(&mut self, setting: &Setting, number: usize) -> Result<(), String> {
        let Passage { from, to, wire, .. } = self.passages.remove(number);
        let event = match &*wire {
            Wire::Priority(message) => Event::Priority {
                from,
                message: message.clone(),
            },
            Wire::Bulk(message) => Event::Bulk {
                from,
                message: message.clone(),
            },
        };
        self.handle(setting, to, event)
    }

    fn flush(&mut self, setting: &Setting, node: NodeId) -> Result<(), String> {
        let Some(&(through, _)) = self.seen(node).unflushed.back() else {
            return Ok(());
        };
        self.place(node).flushed = through;
        let host = self.host(node);
        while !host.unflushed.is_empty() {
            host.flush_one();
        }
        self.handle(setting, node, Event::Durable { through })
    }

    fn crash(&mut self, setting: &Setting, node: NodeId, kept: usize) -> Result<(), String> {
        self.crashes_left -= 1;
        let host = self.host(node);
        for _ in 0..kept {
            host.flush_one();
        }
        host.unflushed.clear();
        host.fresh.clear();
        host.node = None;
        self.digest(setting, node);
        self.operations.lose(node);
        self.passages.retain_mut(|passage| {
            let touched = passage.from == node || passage.to == node;
            passage.is_stale |= touched;
            !(touched && passage.wire.class() == Class::Bulk)
        });
        self.sort_passages();
        let others: Vec<NodeId> = self.nodes().filter(|&other| self.is_up(other)).collect();
        for other in others {
            for class in [Class::Priority, Class::Bulk] {
                self.handle(setting, other, Event::PeerDown { node, class })?;
            }
        }
        Ok(())
    }

    fn handle(&mut self, setting: &Setting, node: NodeId, event: Event) -> Result<(), String> {
        let now = self.reading(setting);
        let host = self.host(node);
        let Some(running) = &mut host.node else {
            return Ok(());
        };
        let handled = catch_unwind(AssertUnwindSafe(|| running.handle(now, event)));
        let actions = handled.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
            format!("an assertion fails at {node}: {}", text.unwrap_or_default())
        })?;
        let mut loaded = Vec::new();
        for action in actions {
            loaded.extend(self.act(setting, node, action)?);
        }
        for event in loaded {
            self.handle(setting, node, event)?;
        }
        let is_certain = setting.model.disk == Disk::Prompt && !self.may_crash(setting, node);
        if is_certain && !self.seen(node).unflushed.is_empty() {
            return self.flush(setting, node);
        }
        self.digest(setting, node);
        Ok(())
    }

    /// Does what a node asks for; what it hears of that at once.
    fn act(
        &mut self,
        setting: &Setting,
        node: NodeId,
        action: Action,
    ) -> Result<Option<Event>, String> {
        match action {
            Action::Persist { lsn, record } => self.host(node).queue(lsn, Entry::Record(record)),
            Action::StoreValue { lsn, id, value } => {
                self.host(node).queue(lsn, Entry::Value(id, value));
            }
            Action::ForgetValue { id } => self.host(node).forget(id),
            Action::SendStored { to, message } => match self.seen(node).load(&message.value) {
                Some(value) if to != node => {
                    self.send(node, to, Wire::Bulk(message.with(value)));
                }
                Some(value) => {
                    let message = message.with(value);
                    return Ok(Some(Event::Bulk {
                        from: node,
                        message,
                    }));
                }
                None => return Ok(Some(Event::NotLoaded { to, message })),
            },
            Action::Reply { request, reply } => {
                let may_fail = !self.has_all_writers(setting) || !self.has_majority(setting);
                self.operations
                    .answer(request.0 as usize, &reply, may_fail)?;
            }
            Action::SendPriority { to, message } => self.send(node, to, Wire::Priority(message)),
            Action::SendBulk { to, message } => self.send(node, to, Wire::Bulk(message)),
        }
        Ok(None)
    }

    fn has_majority(&self, setting: &Setting) -> bool {
        let replicas = &setting.model.replicas;
        let up = replicas.iter().filter(|&&node| self.is_up(node)).count();
        2 * up > replicas.len()
    }

    fn send(&mut self, from: NodeId, to: NodeId, wire: Wire) {
        if !self.is_up(to) {
            return;
        }
        let digest = digest_of(|text| {
            use fmt::Write;
            write!(text, "{from}{to}{wire:?}")
        });
        self.passages.push(Passage {
            from,
            to,
            wire: Arc::new(wire),
            digest,
            is_stale: false,
        });
        self.sort_passages();
    }

    fn sort_passages(&mut self) {
        // Of two equal ones, that which must arrive is seen first.
        self.passages.sort_by_key(|p| (p.digest, p.is_stale));
    }

    /// What `choice` means, in columns.
    pub fn words(&self, setting: &Setting, choice: Choice) -> String {
        match choice {
            Choice::Arrive(number) | Choice::Lose(number) => {
                let Passage { from, to, wire, .. } = &self.passages[number];
                let verb = match choice {
                    Choice::Lose(_) => "is lost",
                    _ => "arrives",
                };
                let body = match &**wire {
                    Wire::Priority(message) => format!("{:?}", message.body),
                    Wire::Bulk(message) => format!("{:?}", message.body),
                };
                format!("{:<10} {verb:<9} {body}", format!("{from} -> {to}"))
            }
            Choice::Begin(number) => {
                let step = setting.model.steps[number];
                format!(
                    "client -> {} asks      {number}: {:?}",
                    step.node, step.wish
                )
            }
            Choice::Flush(node) => format!("{:<10} is durable", node.to_string()),
            Choice::Crash(node, kept) => {
                format!(
                    "{:<10} crashes   {kept} unfinished records kept",
                    node.to_string()
                )
            }
            Choice::Restart(node) => format!("{:<10} restarts", node.to_string()),
            Choice::PassTime => format!("{:<10} passes    {:?}", "time", self.next_deadline()),
            Choice::FireEarly(node) => format!("{:<10} has a timer fire early", node.to_string()),
        }
    }
}

/// Whether a message answers a call: what it does not change, it never will.
fn is_answer(wire: &Wire) -> bool {
    match wire {
        Wire::Priority(message) => matches!(
            message.body,
            PriorityBody::ReadTsAck { .. }
                | PriorityBody::WriteTsAck { .. }
                | PriorityBody::WriteLocalAck { .. }
                | PriorityBody::BindAck { .. }
                | PriorityBody::AbortAck { .. }
                | PriorityBody::OrderedReadTsAck { .. }
                | PriorityBody::OrderedWriteTsAck { .. }
                | PriorityBody::Gone { .. }
        ),
        Wire::Bulk(message) => matches!(message.body, BulkBody::Data { .. }),
    }
}

/// Whether a message asks and changes nothing where it arrives, whatever happened there.
fn is_mere_question(wire: &Wire) -> bool {
    matches!(wire, Wire::Priority(message) if matches!(message.body, PriorityBody::ReadTs { .. }))
}
