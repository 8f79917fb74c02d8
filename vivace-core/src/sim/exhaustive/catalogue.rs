//! All node states, messages and histories that were met, each kept once under a number,
//! and what every step of a node leads to.
//!
//! A node's step depends on its own state, its input and the time alone. The same step is
//! part of very many steps of the cluster, and is taken once.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::history::Operations;
use super::model::Model;
use super::place::{Deed, Input, Place};
use super::step::Step;
use crate::client_protocol::ClientReply;
use crate::cluster::Cluster;
use crate::sim::Wire;
use crate::table::Table;
use crate::{Class, NodeId};

/// What all states of one model share.
pub struct Setting {
    pub model: Model,
    pub cluster: Arc<Cluster>,
}

/// A node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceId(u32);

/// A message from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParcelId(u32);

/// What all clients did and heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryId(u32);

/// What a client hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(u32);

/// A message with its way.
pub struct Parcel {
    pub from: NodeId,
    pub to: NodeId,
    pub wire: Wire,
}

impl Parcel {
    /// What it shares with the messages that it may have to wait for.
    pub fn way(&self) -> (NodeId, NodeId, bool) {
        (self.from, self.to, self.wire.class() == Class::Bulk)
    }
}

/// What a node's step does outside it.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    Send { to: NodeId, parcel: ParcelId },
    Reply(ReplyId),
}

/// The end of a node's step.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub place: PlaceId,
    pub effects: Arc<[Effect]>,
}

/// Things of one kind, numbered as they are first met.
struct Register<T, D> {
    all: Vec<T>,
    numbers: BTreeMap<D, u32>,
}

impl<T, D: Ord> Register<T, D> {
    fn new() -> Self {
        Self {
            all: Vec::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// The number of `thing`, of which `digest` tells all that matters.
    fn number(&mut self, digest: D, thing: T) -> u32 {
        *self.numbers.entry(digest).or_insert_with(|| {
            self.all.push(thing);
            u32::try_from(self.all.len() - 1).expect("there are fewer than 2^32")
        })
    }

    fn get(&self, number: u32) -> &T {
        &self.all[number as usize]
    }
}

type Taken<K, V> = Table<K, Result<V, String>>;

pub struct Catalogue {
    pub setting: Setting,
    places: Register<Place, (NodeId, u64, Option<u64>)>,
    parcels: Register<Parcel, u64>,
    histories: Register<Operations, u64>,
    replies: Register<(usize, ClientReply), u64>,
    steps: Taken<(PlaceId, Input, Duration, bool), Outcome>,
    answers: Taken<(HistoryId, ReplyId, bool), HistoryId>,
}

pub fn digest_of(write: impl FnOnce(&mut String) -> fmt::Result) -> u64 {
    let mut text = String::with_capacity(4096);
    write(&mut text).expect("a string takes all");
    let mut digest = DefaultHasher::new();
    digest.write(text.as_bytes());
    digest.finish()
}

impl Catalogue {
    /// # Panics
    /// Where the cluster of the model can't be.
    pub fn new(model: &Model) -> Self {
        let cluster = Cluster::new(model.spec()).expect("the model's cluster is valid");
        Self {
            setting: Setting {
                model: model.clone(),
                cluster: Arc::new(cluster),
            },
            places: Register::new(),
            parcels: Register::new(),
            histories: Register::new(),
            replies: Register::new(),
            steps: Table::default(),
            answers: Table::default(),
        }
    }

    pub fn place(&self, id: PlaceId) -> &Place {
        self.places.get(id.0)
    }

    pub fn parcel(&self, id: ParcelId) -> &Parcel {
        self.parcels.get(id.0)
    }

    pub fn history(&self, id: HistoryId) -> &Operations {
        self.histories.get(id.0)
    }

    pub fn enter_place(&mut self, place: Place) -> PlaceId {
        PlaceId(self.places.number(place.digest(), place))
    }

    pub fn enter_history(&mut self, history: Operations) -> HistoryId {
        HistoryId(self.histories.number(history.digest(), history))
    }

    /// How many node states and steps of nodes were met.
    pub fn counts(&self) -> (usize, usize) {
        (self.places.all.len(), self.steps.len())
    }

    /// What a node that is as `place` does with `input`. `may_crash` tells whether it may
    /// crash at some time after that.
    ///
    /// # Errors
    /// Where the node breaks a rule of its own.
    pub fn step(
        &mut self,
        place: PlaceId,
        input: Input,
        now: Duration,
        may_crash: bool,
    ) -> Result<Outcome, String> {
        let key = (place, input, now, may_crash);
        if let Some(known) = self.steps.get(&key) {
            return known.clone();
        }
        let step = Step::new(&self.setting, self.place(place).clone(), now, may_crash);
        let message = match input {
            Input::Arrive(parcel) => Some(self.parcel(parcel)),
            _ => None,
        };
        let outcome = step.take(input, message).map(|(after, deeds)| Outcome {
            place: self.enter_place(after),
            effects: deeds.into_iter().map(|deed| self.effect(deed)).collect(),
        });
        self.steps.insert(key, outcome.clone());
        outcome
    }

    fn effect(&mut self, deed: Deed) -> Effect {
        use fmt::Write;
        match deed {
            Deed::Send { from, to, wire } => {
                let digest = digest_of(|text| write!(text, "{from}{to}{wire:?}"));
                let parcel = ParcelId(self.parcels.number(digest, Parcel { from, to, wire }));
                Effect::Send { to, parcel }
            }
            Deed::Reply { number, reply } => {
                let digest = digest_of(|text| write!(text, "{number} {reply:?}"));
                Effect::Reply(ReplyId(self.replies.number(digest, (number, reply))))
            }
        }
    }

    /// The history after a client heard `reply`.
    ///
    /// # Errors
    /// What the answer contradicts.
    pub fn answer(
        &mut self,
        history: HistoryId,
        reply: ReplyId,
        may_fail: bool,
    ) -> Result<HistoryId, String> {
        let key = (history, reply, may_fail);
        if let Some(known) = self.answers.get(&key) {
            return known.clone();
        }
        let mut after = self.history(history).clone();
        let (number, reply) = self.replies.get(reply.0);
        let judged = after.answer(*number, reply, may_fail);
        let outcome = judged.map(|()| self.enter_history(after));
        self.answers.insert(key, outcome.clone());
        outcome
    }
}
