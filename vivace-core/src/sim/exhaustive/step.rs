//! One step of one node: what it does with an input, and how it is after that.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::catalogue::{Parcel, Setting};
use super::history::request;
use super::machine::Entry;
use super::model::Disk;
use super::place::{Deed, Input, Place, reading};
use crate::sim::Wire;
use crate::{Action, Class, Event, Lsn, NodeId, RequestId};

/// What a client waits for its answer: longer than any repetition and take-over.
const PATIENCE: Duration = Duration::from_secs(20);

/// A round trip between two nodes, as they are told.
const ROUND_TRIP: Duration = Duration::from_millis(100);

const CLASSES: [Class; 2] = [Class::Priority, Class::Bulk];

pub struct Step<'a> {
    setting: &'a Setting,
    place: Place,
    now: Duration,
    may_crash: bool,
    deeds: Vec<Deed>,
}

impl<'a> Step<'a> {
    pub fn new(setting: &'a Setting, place: Place, now: Duration, may_crash: bool) -> Self {
        Self {
            setting,
            place,
            now,
            may_crash,
            deeds: Vec::new(),
        }
    }

    /// The place after `input`, and what the node did, in order.
    ///
    /// # Errors
    /// Where the node breaks a rule of its own.
    pub fn take(
        mut self,
        input: Input,
        parcel: Option<&Parcel>,
    ) -> Result<(Place, Vec<Deed>), String> {
        match input {
            Input::Arrive(_) => {
                let parcel = parcel.expect("what arrives was sent");
                self.handle(arrival(parcel))?;
            }
            Input::Begin(number) => {
                let event = Event::Request {
                    id: RequestId(number as u64),
                    request: request(number, self.setting.model.steps[number].wish),
                    deadline: self.now + PATIENCE,
                };
                self.handle(event)?;
            }
            Input::Flush => self.flush()?,
            Input::Crash(kept) => self.crash(kept),
            Input::Boot => self.boot(),
            Input::PeerUp(node) => {
                let rtt = ROUND_TRIP;
                self.handle(Event::RoundTrip { node, rtt })?;
                for class in CLASSES {
                    self.handle(Event::PeerUp { node, class })?;
                }
            }
            Input::PeerDown(node) => {
                for class in CLASSES {
                    self.handle(Event::PeerDown { node, class })?;
                }
            }
            Input::Tick => self.handle(Event::Tick)?,
            Input::Endure => {}
        }
        self.place.seal(self.setting, self.now, self.may_crash);
        Ok((self.place, self.deeds))
    }

    fn boot(&mut self) {
        let life = self.place.host.life + 1;
        let fresh = self.place.fresh_node(self.setting, self.now, life);
        self.place.flushed = Lsn::default();
        let host = &mut self.place.host;
        // What a crash left without its record.
        host.values.retain(|id, _| fresh.refers_to(id));
        let values = &host.values;
        host.records.retain(|id| values.contains_key(id));
        host.life = life;
        host.node = Some(fresh);
    }

    fn crash(&mut self, kept: usize) {
        let host = &mut self.place.host;
        for _ in 0..kept {
            host.flush_one();
        }
        host.unflushed.clear();
        host.fresh.clear();
        host.node = None;
    }

    fn flush(&mut self) -> Result<(), String> {
        let host = &mut self.place.host;
        let Some(&(through, _)) = host.unflushed.back() else {
            return Ok(());
        };
        while !host.unflushed.is_empty() {
            host.flush_one();
        }
        self.place.flushed = through;
        self.handle(Event::Durable { through })
    }

    fn handle(&mut self, event: Event) -> Result<(), String> {
        let now = reading(self.setting, self.now);
        let me = self.place.me;
        let Some(running) = &mut self.place.host.node else {
            return Ok(());
        };
        let handled = catch_unwind(AssertUnwindSafe(|| running.handle(now, event)));
        let actions = handled.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
            format!("an assertion fails at {me}: {}", text.unwrap_or_default())
        })?;
        let loaded: Vec<Event> = actions
            .into_iter()
            .filter_map(|action| self.act(action))
            .collect();
        for event in loaded {
            self.handle(event)?;
        }
        let is_certain = self.setting.model.disk == Disk::Prompt && !self.may_crash;
        match is_certain && self.place.is_busy() {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Does what a node asks for; what it hears of that at once.
    fn act(&mut self, action: Action) -> Option<Event> {
        let from = self.place.me;
        let host = &mut self.place.host;
        match action {
            Action::Persist { lsn, record } => host.queue(lsn, Entry::Record(record)),
            Action::PersistLater { record } => {
                let last = host.unflushed.back().map(|(lsn, _)| *lsn);
                host.queue(last.unwrap_or(self.place.flushed), Entry::Record(record));
            }
            Action::StoreValue {
                lsn,
                id,
                value,
                is_record,
            } => host.queue(lsn, Entry::Value(id, value, is_record)),
            Action::ForgetValue { id } => host.forget(id),
            Action::SendStored { to, message } => match host.load(&message.value) {
                Some(value) if to != from => self.send(to, Wire::Bulk(message.with(value))),
                Some(value) => {
                    let message = message.with(value);
                    return Some(Event::Bulk { from, message });
                }
                None => return Some(Event::NotLoaded { to, message }),
            },
            Action::Reply { request, reply } => {
                let number = request.0 as usize;
                self.deeds.push(Deed::Reply { number, reply });
            }
            Action::SendPriority { to, message } => self.send(to, Wire::Priority(message)),
            Action::SendBulk { to, message } => self.send(to, Wire::Bulk(message)),
        }
        None
    }

    fn send(&mut self, to: NodeId, wire: Wire) {
        let from = self.place.me;
        self.deeds.push(Deed::Send { from, to, wire });
    }
}

fn arrival(parcel: &Parcel) -> Event {
    let from = parcel.from;
    match &parcel.wire {
        Wire::Priority(message) => Event::Priority {
            from,
            message: message.clone(),
        },
        Wire::Bulk(message) => Event::Bulk {
            from,
            message: message.clone(),
        },
    }
}
