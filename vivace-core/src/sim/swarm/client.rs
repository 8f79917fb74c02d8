//! What clients do: one operation at a time, near them, again where it may be repeated.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;

use super::configuration::Shape;
use super::run::{HASTE, Run};
use super::{Promise, Violation};
use crate::client_protocol::{ClientReply, Failure, Request, SessionId, Success};
use crate::machine::StateMachine;
use crate::machine::builtin::{Counter, List, Register, counter, list, register};
use crate::sim::history::{Answer, Ask};
use crate::{Blob, KeyName, NodeId, RequestId, SiteId, Value, codec};

/// This many commands of unknown outcome use a machine's key up.
const UNKNOWN_SHARE: u32 = 10;

/// How long a client waits that has nobody to ask.
const NOBODY_PAUSE: Duration = Duration::from_millis(200);

/// A key and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Index of the container.
    pub container: usize,
    /// Which machine; none for a register that is read and written.
    pub machine: Option<&'static str>,
    /// The key's name, unique in the cluster.
    pub key: String,
    /// Container and number: the keys that follow one another.
    slot: (usize, u32),
}

/// One client.
#[derive(Debug)]
pub struct Client {
    pub site: SiteId,
    pub left: u32,
    /// Its tries that are without an answer, and whether each said that it repeats.
    pub requests: BTreeMap<RequestId, bool>,
    /// When it asks another node, too.
    hastes_at: Option<Duration>,
    /// What it is at: the key, and the place in its history.
    pub at: Option<(Target, usize)>,
    session: Option<SessionId>,
    sequence: u64,
    tries: u32,
    /// Whether a try of the present command may have been applied.
    exposed: bool,
}

impl Client {
    pub fn new(site: SiteId, left: u32) -> Self {
        Self {
            site,
            left,
            requests: BTreeMap::new(),
            hastes_at: None,
            at: None,
            session: None,
            sequence: 0,
            tries: 0,
            exposed: false,
        }
    }

    pub fn is_done(&self) -> bool {
        self.left == 0 && self.at.is_none()
    }
}

impl Run {
    pub fn client_acts(&mut self, c: usize) {
        let client = &self.clients[c];
        let is_idle = client.at.is_none();
        if !client.requests.is_empty() || is_idle && (self.healed || client.left == 0) {
            return;
        }
        let again = client.tries > 0 && !is_idle;
        let mut near = self.simulation.alive();
        if !again || self.simulation.rng.random_bool(0.5) {
            let site = self.clients[c].site;
            near.retain(|&node| self.simulation.site_of(node) == site);
        }
        if near.is_empty() && self.healed {
            // Its site is lost for good: it moves to another one.
            near = self.simulation.alive();
        }
        if near.is_empty() {
            return self.wake_client(c, NOBODY_PAUSE);
        }
        let coordinator = self.pick(&near);
        if is_idle && self.clients[c].session.is_none() {
            self.ask(c, coordinator, Request::OpenSession, false);
        } else {
            if is_idle {
                self.begin(c);
            }
            self.send(c, coordinator);
        }
    }

    pub fn wake_client(&mut self, c: usize, after: Duration) {
        let at = self.simulation.now + after;
        self.simulation.wake_at(at, c as u64);
    }

    fn ask(&mut self, c: usize, coordinator: NodeId, request: Request, repeated: bool) {
        // Once healed, nobody gives up early, which would hide what hangs.
        let patience = match self.healed {
            true => 60_000,
            false => self.pick(&[300, 2_000, 60_000]),
        };
        let patience = Duration::from_millis(patience);
        let id = self.simulation.request(coordinator, request, patience);
        self.clients[c].requests.insert(id, repeated);
        self.by_request.insert(id, c);
    }

    /// The client asks another node, too, wherever that is.
    pub fn client_hastes(&mut self, c: usize) {
        let is_due = self.clients[c].hastes_at == Some(self.simulation.now);
        let alive = self.simulation.alive();
        if !is_due || self.healed || self.clients[c].requests.is_empty() || alive.is_empty() {
            return;
        }
        self.mark("hasty: a request to a second node");
        self.clients[c].exposed = true;
        let coordinator = self.pick(&alive);
        self.send(c, coordinator);
    }

    /// A write must not be repeated under another timestamp; everything else may.
    fn may_haste(&mut self, c: usize, ask: &Ask) {
        let haste = self.configuration.haste;
        if matches!(ask, Ask::Write(_)) || self.healed || !self.simulation.rng.random_bool(haste) {
            return;
        }
        let trip = self.configuration.links.priority.delay + Duration::from_millis(1);
        let share = self.simulation.rng.random_range(0.5..8.0);
        let at = self.simulation.now + trip.mul_f64(share);
        self.clients[c].hastes_at = Some(at);
        self.simulation.wake_at(at, HASTE + c as u64);
    }

    fn begin(&mut self, c: usize) {
        let target = self.draw_target();
        let reads = self.configuration.reads;
        let reads = self.simulation.rng.random_bool(reads);
        let ask = self.draw_ask(&target, reads);
        let now = self.simulation.now;
        let entry = self
            .history
            .invoke_at(now, c as u32, &target.key, ask.clone());
        let client = &mut self.clients[c];
        client.left -= 1;
        client.at = Some((target, entry));
        client.sequence += 1;
        client.exposed = false;
        client.tries = 0;
        client.hastes_at = None;
        self.may_haste(c, &ask);
    }

    fn draw_target(&mut self) -> Target {
        let containers = self.configuration.spec.containers.len();
        let container = self.simulation.rng.random_range(0..containers);
        let number = self.simulation.rng.random_range(0..self.configuration.keys);
        let spec = &self.configuration.spec.containers[container];
        let name = &spec.name;
        let uses = self.uses.entry((container, number)).or_default();
        *uses += 1;
        let generation = *uses / self.configuration.key_uses;
        if spec.kind.is_read_write() {
            let key = match self.configuration.shape {
                Shape::Wide => format!("{name}/value{number}"),
                Shape::Narrow => format!("{name}/value{number}.{generation}"),
            };
            return self.target((container, number), None, key);
        }
        let which = (number + generation) as usize % 3;
        let machine = [Counter::NAME, List::NAME, Register::NAME][which];
        let key = format!("{name}/{machine}{number}.{generation}");
        self.target((container, number), Some(machine), key)
    }

    fn target(&mut self, slot: (usize, u32), machine: Option<&'static str>, key: String) -> Target {
        let target = Target {
            slot,
            container: slot.0,
            machine,
            key,
        };
        if !self.targets.contains(&target) {
            self.targets.insert(target.clone());
        }
        target
    }

    /// A question; a write's value was never written before.
    pub fn draw_ask(&mut self, target: &Target, reads: bool) -> Ask {
        self.next_value += 1;
        let value = self.next_value;
        let Some(machine) = target.machine else {
            return if reads { Ask::Read } else { Ask::Write(value) };
        };
        if reads {
            return Ask::ReadState;
        }
        let item = |value: u64| Blob::from(value.to_be_bytes().to_vec());
        let choice = self.simulation.rng.random_range(0..4);
        let proposed = self.proposed.insert(target.key.clone(), value);
        let command = match (machine, choice) {
            // Commands that often change nothing, and may do so a moment later.
            (Counter::NAME, 0 | 1) if self.configuration.shape == Shape::Narrow => {
                codec::encode(&counter::Command::AddWithin {
                    amount: [-3, -1, 1, 2, 5][value as usize % 5],
                    min: 0,
                    max: 6,
                })
            }
            (Counter::NAME, 2) if self.configuration.shape == Shape::Narrow => {
                codec::encode(&counter::Command::Add([-4, 0, 0, 4][value as usize % 4]))
            }
            (Counter::NAME, 0) => codec::encode(&counter::Command::AddWithin {
                amount: 1 << (value % 24),
                min: 0,
                max: 1 << 26,
            }),
            (Counter::NAME, 1) => codec::encode(&counter::Command::Add(0)),
            (Counter::NAME, _) => codec::encode(&counter::Command::Add(1 << (value % 24))),
            (List::NAME, 0 | 1) => codec::encode(&list::Command::PopFront),
            (List::NAME, _) => codec::encode(&list::Command::Push(item(value))),
            (_, 0) => codec::encode(&register::Command::CompareAndSwap {
                expected: proposed.filter(|_| value.is_multiple_of(2)).map(item),
                new: Some(item(value)),
            }),
            (_, 1) => codec::encode(&register::Command::Delete),
            (_, _) => codec::encode(&register::Command::Set(item(value))),
        };
        let command = command.into();
        Ask::Execute { machine, command }
    }

    fn send(&mut self, c: usize, coordinator: NodeId) {
        let client = &mut self.clients[c];
        let (target, entry) = client.at.clone().expect("an operation is under way");
        let repeated = client.tries > 0;
        client.tries += 1;
        let session = client.session;
        let sequence = client.sequence;
        let ask = self.history.entries(&target.key)[entry].ask.clone();
        let session = session.map(|session| (session, sequence, repeated));
        let request = self.request(&target, ask, session);
        self.ask(c, coordinator, request, repeated);
    }

    pub fn request(
        &mut self,
        target: &Target,
        ask: Ask,
        session: Option<(SessionId, u64, bool)>,
    ) -> Request {
        let container = self.configuration.spec.containers[target.container]
            .name
            .clone();
        let key = KeyName::new(target.key.as_bytes()).expect("a drawn key is valid");
        match ask {
            Ask::Read => Request::Read { container, key },
            Ask::Write(value) => {
                // Where there is little room, many long values at once would find none.
                let longest = match self.healed {
                    true => 8,
                    false => self.configuration.value_bytes_max,
                };
                let length = self.simulation.rng.random_range(8..=longest);
                let mut bytes = value.to_be_bytes().to_vec();
                bytes.resize(length, 7);
                let value = Value::from(Bytes::from(bytes));
                Request::Write {
                    container,
                    key,
                    value,
                    durability: None,
                }
            }
            Ask::ReadState => Request::ReadState {
                container,
                key,
                machine: target.machine.expect("a machine's key").into(),
            },
            Ask::Execute { machine, command } => {
                let (session, sequence, repeated) = session.expect("a session is open");
                Request::Execute {
                    container,
                    key,
                    machine: machine.into(),
                    session,
                    sequence,
                    repeated,
                    command,
                    durability: None,
                }
            }
        }
    }

    /// A command that changes what `target` is; or a write.
    pub fn draw_change(&mut self, target: &Target) -> Ask {
        self.next_value += 1;
        let value = self.next_value;
        let Some(machine) = target.machine else {
            return Ask::Write(value);
        };
        let item = || Blob::from(value.to_be_bytes().to_vec());
        let command = match machine {
            Counter::NAME => codec::encode(&counter::Command::Add(1 << 30)),
            List::NAME => codec::encode(&list::Command::Push(item())),
            _ => codec::encode(&register::Command::Set(item())),
        };
        let command = command.into();
        Ask::Execute { machine, command }
    }

    /// `None`: the coordinator crashed.
    pub fn on_reply(
        &mut self,
        c: usize,
        request: RequestId,
        reply: Option<ClientReply>,
    ) -> Result<(), Violation> {
        let repeated = self.clients[c].requests.remove(&request);
        let share = self.simulation.rng.random_range(0.0..2.0);
        let mut think = self.configuration.think.mul_f64(share);
        if self.healed {
            think = think.min(NOBODY_PAUSE);
        }
        if let Some(Ok(Success::Session(session))) = reply {
            self.clients[c].session = Some(session);
            self.clients[c].sequence = 0;
            self.client_acts(c);
            return Ok(());
        }
        let Some((target, entry)) = self.clients[c].at.clone() else {
            // Opening a session failed.
            self.wake_client(c, think.max(Duration::from_millis(1)));
            return Ok(());
        };
        let commands = target.machine.is_some()
            && matches!(
                self.history.entries(&target.key)[entry].ask,
                Ask::Execute { .. }
            );
        let answer = match reply {
            Some(Ok(success)) => answer(success),
            Some(Err(Failure::Conflict { reason })) => Answer::Executed(Err(reason)),
            Some(Err(failure @ (Failure::Invalid { .. } | Failure::SessionForgotten)))
                if !self.clients[c].exposed =>
            {
                return Err(Violation {
                    promise: Promise::Sound,
                    details: format!("{}: a valid request heard {failure}", target.key),
                });
            }
            Some(Err(
                Failure::Busy { .. }
                | Failure::Unavailable { .. }
                | Failure::Invalid { .. }
                | Failure::SessionForgotten,
            )) => Answer::NotApplied,
            Some(Err(Failure::Unknown { .. })) | None => Answer::Unknown,
        };
        self.clients[c].exposed |= answer == Answer::Unknown;
        // Where another try may take effect, or has, a first try's result does not count:
        // it may have left no trace.
        let counts = !commands || repeated == Some(true) || !self.clients[c].exposed;
        let answer = match counts {
            true => answer,
            false => Answer::Unknown,
        };
        let is_open = matches!(answer, Answer::Unknown | Answer::NotApplied);
        if is_open && !self.clients[c].requests.is_empty() {
            // Another try may still tell.
            return Ok(());
        }
        let is_undecided = is_open && self.clients[c].exposed;
        // What a lost site took along may never be decided.
        let insists = match self.healed {
            true => self.site_lost.is_none(),
            false => self.simulation.rng.random_bool(0.8),
        };
        if commands && is_undecided && insists {
            // The same command under the same number, perhaps to another coordinator.
            self.mark("repeated: a command with an unknown outcome");
            self.wake_client(c, think.max(Duration::from_millis(1)));
            return Ok(());
        }
        let answer = match answer {
            Answer::NotApplied if self.clients[c].exposed => Answer::Unknown,
            answer => answer,
        };
        if target.machine.is_some() && answer == Answer::Unknown {
            // The search for an order tries these everywhere.
            let worth = self.configuration.key_uses / UNKNOWN_SHARE + 1;
            *self.uses.entry(target.slot).or_default() += worth;
        }
        let now = self.simulation.now;
        self.history.answer_at(now, &target.key, entry, answer);
        self.clients[c].at = None;
        for request in std::mem::take(&mut self.clients[c].requests).into_keys() {
            self.by_request.remove(&request);
        }
        self.wake_client(c, think);
        Ok(())
    }
}

pub fn answer(success: Success) -> Answer {
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
        other @ (Success::Session(_)
        | Success::Status(_)
        | Success::Lost { .. }
        | Success::LossAccepted
        | Success::Objects { .. }
        | Success::Copied { .. }
        | Success::Restored) => panic!("nobody asked for {other:?}"),
    }
}
