//! One state of a small cluster, and the state after each step.
//!
//! It is a few numbers of the [`Catalogue`], so that a successor is cheap.

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use foldhash::quality::FixedState;

use super::catalogue::{Catalogue, Effect, HistoryId, ParcelId, PlaceId};
use super::choice::Choice;
use super::history::Operations;
use super::place::{Input, Place};
use crate::{Class, NodeId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Passage {
    pub parcel: ParcelId,
    /// An end of its connection crashed since it was sent: it need not arrive.
    pub is_stale: bool,
}

#[derive(Clone, Debug, Hash)]
pub struct State {
    pub places: Vec<PlaceId>,
    /// Sorted: the order in which messages were sent makes no difference. Of two equal
    /// ones, that which must arrive comes first. Where overtakings count, those of one way in
    /// the order in which they were sent.
    pub passages: Vec<Passage>,
    pub history: HistoryId,
    pub now: Duration,
    pub crashes_left: u8,
    pub losses_left: u8,
    pub early_timers_left: u8,
    pub overtakings_left: Option<u8>,
}

impl State {
    /// All nodes run and are connected; nothing was asked for.
    ///
    /// # Errors
    /// Where a node breaks a rule of its own.
    pub fn beginning(catalogue: &mut Catalogue) -> Result<Self, String> {
        let model = catalogue.setting.model.clone();
        let places = (0..model.nodes).map(NodeId).map(Place::empty);
        let mut state = Self {
            places: places.map(|place| catalogue.enter_place(place)).collect(),
            passages: Vec::new(),
            history: catalogue.enter_history(Operations::new(&model.steps)),
            now: Duration::from_secs(1),
            crashes_left: model.crashes,
            losses_left: model.losses,
            early_timers_left: model.early_timers,
            overtakings_left: model.overtakings,
        };
        for node in state.nodes() {
            state.boot(catalogue, node)?;
        }
        Ok(state)
    }

    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.places.len() as u16).map(NodeId)
    }

    pub fn place<'a>(&self, catalogue: &'a Catalogue, node: NodeId) -> &'a Place {
        catalogue.place(self.places[usize::from(node.0)])
    }

    pub fn is_up(&self, catalogue: &Catalogue, node: NodeId) -> bool {
        self.place(catalogue, node).is_up()
    }

    /// Tells whether two states are the same for all that may follow.
    pub fn fingerprint(&self) -> u64 {
        FixedState::default().hash_one(self)
    }

    pub fn may_crash(&self, catalogue: &Catalogue, node: NodeId) -> bool {
        self.crashes_left > 0 && catalogue.setting.model.may_crash.contains(&node)
    }

    /// Whether every node is up that may have the only copy of a version.
    pub fn has_all_writers(&self, catalogue: &Catalogue) -> bool {
        let mut steps = catalogue.setting.model.steps.iter();
        steps.all(|step| !step.wish.may_leave_a_copy() || self.is_up(catalogue, step.node))
    }

    fn has_majority(&self, catalogue: &Catalogue) -> bool {
        let replicas = &catalogue.setting.model.replicas;
        let up = replicas.iter().filter(|&&node| self.is_up(catalogue, node));
        2 * up.count() > replicas.len()
    }

    pub fn next_deadline(&self, catalogue: &Catalogue) -> Option<Duration> {
        let deadlines = self
            .nodes()
            .map(|node| self.place(catalogue, node).deadline);
        deadlines.flatten().min()
    }

    /// The state after `choice`.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn after(&self, catalogue: &mut Catalogue, choice: Choice) -> Result<Self, String> {
        let mut state = self.clone();
        match choice {
            Choice::Arrive(number) => {
                if state.overtakes(catalogue, number) {
                    state.overtakings_left = state.overtakings_left.map(|left| left - 1);
                }
                let parcel = state.passages.remove(number).parcel;
                let to = catalogue.parcel(parcel).to;
                state.step(catalogue, to, Input::Arrive(parcel))?;
            }
            Choice::Lose(number) => {
                state.passages.remove(number);
                state.losses_left -= 1;
            }
            Choice::Begin(number) => {
                let mut history = catalogue.history(state.history).clone();
                history.begin(number);
                state.history = catalogue.enter_history(history);
                let node = catalogue.setting.model.steps[number].node;
                state.step(catalogue, node, Input::Begin(number))?;
            }
            Choice::Flush(node) => state.step(catalogue, node, Input::Flush)?,
            Choice::Crash(node, kept) => state.crash(catalogue, node, kept)?,
            Choice::Restart(node) => state.boot(catalogue, node)?,
            Choice::PassTime => {
                // What may never arrive has not: it would be too late.
                if state.passages.iter().all(|passage| passage.is_stale) {
                    state.passages.clear();
                }
                let next = state.next_deadline(catalogue).expect("a timer was seen");
                state.now = state.now.max(next);
                for node in state.nodes() {
                    let deadline = state.place(catalogue, node).deadline;
                    if deadline.is_some_and(|at| at <= state.now) {
                        state.step(catalogue, node, Input::Tick)?;
                    }
                }
            }
            Choice::FireEarly(node) => {
                let at = state.place(catalogue, node).deadline;
                state.now = state.now.max(at.expect("a timer was seen"));
                state.early_timers_left -= 1;
                state.step(catalogue, node, Input::Tick)?;
            }
        }
        Ok(state)
    }

    fn boot(&mut self, catalogue: &mut Catalogue, node: NodeId) -> Result<(), String> {
        self.step(catalogue, node, Input::Boot)?;
        for other in self.others(catalogue, node) {
            self.step(catalogue, node, Input::PeerUp(other))?;
            self.step(catalogue, other, Input::PeerUp(node))?;
        }
        Ok(())
    }

    fn crash(
        &mut self,
        catalogue: &mut Catalogue,
        node: NodeId,
        kept: usize,
    ) -> Result<(), String> {
        self.step(catalogue, node, Input::Crash(kept))?;
        self.crashes_left -= 1;
        let mut history = catalogue.history(self.history).clone();
        history.lose(node);
        self.history = catalogue.enter_history(history);
        self.passages.retain_mut(|passage| {
            let parcel = catalogue.parcel(passage.parcel);
            let touched = parcel.from == node || parcel.to == node;
            passage.is_stale |= touched;
            !(touched && parcel.wire.class() == Class::Bulk)
        });
        if self.overtakings_left.is_none() {
            self.passages.sort_unstable();
        }
        for other in self.others(catalogue, node) {
            self.step(catalogue, other, Input::PeerDown(node))?;
            if self.crashes_left == 0 {
                self.step(catalogue, other, Input::Endure)?;
            }
        }
        Ok(())
    }

    fn others(&self, catalogue: &Catalogue, node: NodeId) -> Vec<NodeId> {
        let is_peer = |&other: &NodeId| other != node && self.is_up(catalogue, other);
        self.nodes().filter(is_peer).collect()
    }

    pub fn step(
        &mut self,
        catalogue: &mut Catalogue,
        node: NodeId,
        input: Input,
    ) -> Result<(), String> {
        let place = self.places[usize::from(node.0)];
        let may_crash = self.may_crash(catalogue, node);
        let outcome = catalogue.step(place, input, self.now, may_crash)?;
        self.places[usize::from(node.0)] = outcome.place;
        for effect in outcome.effects.iter() {
            match *effect {
                Effect::Send { to, parcel } => {
                    if self.is_up(catalogue, to) {
                        self.send(catalogue, parcel);
                    }
                }
                Effect::Reply(reply) => {
                    let may_fail =
                        !self.has_all_writers(catalogue) || !self.has_majority(catalogue);
                    self.history = catalogue.answer(self.history, reply, may_fail)?;
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, catalogue: &Catalogue, parcel: ParcelId) {
        let is_stale = false;
        let passage = Passage { parcel, is_stale };
        let way = |parcel| catalogue.parcel(parcel).way();
        let mut passages = self.passages.iter();
        let later = match self.overtakings_left {
            Some(_) => passages.position(|other| way(other.parcel) > way(parcel)),
            None => passages.position(|other| *other > passage),
        };
        self.passages
            .insert(later.unwrap_or(self.passages.len()), passage);
    }

    /// Whether a message would arrive before others that were sent before it, where that
    /// counts. What need not arrive is waited for by nobody; on each way it comes first.
    pub fn overtakes(&self, catalogue: &Catalogue, number: usize) -> bool {
        let way = |passage: Passage| catalogue.parcel(passage.parcel).way();
        let before = number.checked_sub(1).map(|before| self.passages[before]);
        self.overtakings_left.is_some()
            && before
                .is_some_and(|before| !before.is_stale && way(before) == way(self.passages[number]))
    }
}
