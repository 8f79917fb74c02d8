//! What may still become of each node, and so which messages need not be weighed.
//!
//! A node's *context* is its state, the time, and whether it may crash. From every step
//! of the cluster the search learns which context may follow which. A message M to a node
//! in context c is
//!
//! - *dead*, where M's arrival would change nothing and send nothing in c and in every
//!   context that may follow it, or only what is itself dead at the sender of M;
//! - *settled*, where M's arrival would change nothing and send the same one priority
//!   message A in all of them.
//!
//! A dead message is removed, a settled one arrives at once. This loses no violation: take
//! any run in which M arrives later, or never. Until then the node goes through contexts
//! that may follow c, with or without M. Removed or arrived now, M leaves all nodes
//! as they would be; A is on its way earlier, and may arrive, be late or be lost as late as
//! M's arrival would have had it. The run without M's later arrival is one that the search
//! visits, and it goes wrong in the same way.
//!
//! Where overtakings are bounded, nothing arrives at once: A would be ahead of what was sent
//! after M, and might stand in its way. What is removed stands in nobody's way.
//!
//! What may follow is not known beforehand. Dives learn nearly all of it; the search goes
//! on learning, and where that contradicts a message that it took for dead or settled, it
//! begins anew with what it knows now. So the last search holds by itself: whatever it met
//! agrees with every message that it left out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::catalogue::{Catalogue, Effect, Parcel, ParcelId, PlaceId};
use super::model::Disk;
use super::place::Input;
use super::state::State;
use crate::table::Table;
use crate::{Class, NodeId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Context {
    place: PlaceId,
    now: Duration,
    may_crash: bool,
}

type ContextId = u32;

/// What an arrival does now and ever.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// It may change something: that stays so, whatever else is learned.
    Matters,
    /// It changes nothing, and sends its sender one of these, or nothing.
    Asks(BTreeSet<ParcelId>),
    /// It changes nothing, and always sends its sender this.
    Settled(ParcelId),
}

/// What is done with a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Weighed,
    Removed,
    /// It arrives at once, where it can.
    Hurried,
}

pub struct Outlook {
    contexts: Vec<Context>,
    numbers: Table<Context, ContextId>,
    /// Which contexts may follow each, one step on.
    next: Vec<BTreeSet<ContextId>>,
    /// How many pairs `next` holds, and how many it held at the last check.
    pairs: usize,
    checked: usize,
    /// By context.
    verdicts: Vec<BTreeMap<ParcelId, Verdict>>,
    /// By message, context of the addressee, and context of its sender.
    fates: Table<(ParcelId, ContextId, ContextId), Fate>,
}

impl Outlook {
    pub fn new() -> Self {
        Self {
            contexts: Vec::new(),
            numbers: Table::default(),
            next: Vec::new(),
            pairs: 0,
            checked: 0,
            verdicts: Vec::new(),
            fates: Table::default(),
        }
    }

    fn number(&mut self, context: Context) -> ContextId {
        if let Some(&number) = self.numbers.get(&context) {
            return number;
        }
        let number = self.contexts.len() as ContextId;
        self.numbers.insert(context, number);
        self.contexts.push(context);
        self.next.push(BTreeSet::new());
        self.verdicts.push(BTreeMap::new());
        number
    }

    fn context(state: &State, catalogue: &Catalogue, node: NodeId) -> Context {
        Context {
            place: state.places[usize::from(node.0)],
            now: state.now,
            may_crash: state.may_crash(catalogue, node),
        }
    }

    /// How much was learned: pairs of contexts of which one may follow the other.
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// Learns from one step of the cluster.
    pub fn learn(&mut self, catalogue: &Catalogue, before: &State, after: &State) {
        for node in before.nodes() {
            let from = Self::context(before, catalogue, node);
            let to = Self::context(after, catalogue, node);
            if from != to {
                let (from, to) = (self.number(from), self.number(to));
                self.pairs += usize::from(self.next[from as usize].insert(to));
            }
        }
    }

    /// Whether all that was taken for dead or settled since the last check still is, as
    /// far as is known now.
    pub fn holds(&mut self, catalogue: &mut Catalogue) -> bool {
        if self.checked == self.pairs {
            return true;
        }
        self.checked = self.pairs;
        self.fates.clear();
        let mut before = Vec::new();
        for (context, verdicts) in (0..).zip(&mut self.verdicts) {
            let of_context = std::mem::take(verdicts);
            for (parcel, verdict) in of_context {
                match verdict {
                    Verdict::Matters => drop(verdicts.insert(parcel, verdict)),
                    taken => before.push((context, parcel, taken)),
                }
            }
        }
        let judged = before.into_iter();
        judged.fold(true, |holds, (context, parcel, taken)| {
            taken.covers(self.verdict(catalogue, context, parcel)) && holds
        })
    }

    fn verdict(
        &mut self,
        catalogue: &mut Catalogue,
        context: ContextId,
        parcel: ParcelId,
    ) -> &Verdict {
        if !self.verdicts[context as usize].contains_key(&parcel) {
            self.judge(catalogue, context, parcel);
        }
        &self.verdicts[context as usize][&parcel]
    }

    /// Judges `parcel` in `first`, and where it does nothing, in all that may follow.
    fn judge(&mut self, catalogue: &mut Catalogue, first: ContextId, parcel: ParcelId) {
        let mut seen = BTreeSet::from([first]);
        let mut left = vec![first];
        let mut sent: BTreeSet<Option<ParcelId>> = BTreeSet::new();
        while let Some(number) = left.pop() {
            match self.verdicts[number as usize].get(&parcel) {
                Some(Verdict::Matters) => sent.clear(),
                Some(Verdict::Asks(answers)) if answers.is_empty() => {
                    sent.insert(None);
                    continue;
                }
                Some(Verdict::Asks(answers)) => {
                    sent.extend(answers.iter().copied().map(Some));
                    sent.insert(None);
                    continue;
                }
                Some(Verdict::Settled(answer)) => {
                    sent.insert(Some(*answer));
                    continue;
                }
                None => {}
            }
            let context = self.contexts[number as usize];
            let is_known = self.verdicts[number as usize].contains_key(&parcel);
            if is_known || !try_arrival(catalogue, context, parcel, &mut sent) {
                for number in [first, number] {
                    self.verdicts[number as usize].insert(parcel, Verdict::Matters);
                }
                return;
            }
            let more = self.next[number as usize].iter();
            left.extend(more.filter(|&&next| seen.insert(next)));
        }
        let verdict = match (sent.len(), sent.first()) {
            (1, Some(&Some(answer))) => Verdict::Settled(answer),
            _ => Verdict::Asks(sent.into_iter().flatten().collect()),
        };
        // Of several answers, a later context may have fewer: it is judged when asked for.
        let is_common = verdict == Verdict::Asks(BTreeSet::new());
        let same = seen
            .into_iter()
            .filter(|&number| is_common || number == first);
        for number in same {
            self.verdicts[number as usize].insert(parcel, verdict.clone());
        }
    }

    /// The same state without messages that need not be weighed.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn simplify(
        &mut self,
        catalogue: &mut Catalogue,
        mut state: State,
    ) -> Result<State, String> {
        // What is left out changes no context.
        let contexts: Vec<ContextId> = state
            .nodes()
            .map(|node| self.number(Self::context(&state, catalogue, node)))
            .collect();
        let all_idle = state
            .nodes()
            .all(|node| !state.place(catalogue, node).is_busy());
        let mut number = 0;
        while number < state.passages.len() {
            let passage = state.passages[number];
            let Parcel { from, to, .. } = *catalogue.parcel(passage.parcel);
            let at = |node: NodeId| contexts[usize::from(node.0)];
            match self.fate(catalogue, at(to), passage.parcel, at(from)) {
                Fate::Removed => drop(state.passages.remove(number)),
                Fate::Hurried
                    if state.overtakings_left.is_none()
                        && !passage.is_stale
                        && all_idle
                        && state.is_up(catalogue, from)
                        && state.is_up(catalogue, to) =>
                {
                    state.passages.remove(number);
                    state.step(catalogue, to, Input::Arrive(passage.parcel))?;
                    number = 0;
                }
                Fate::Weighed | Fate::Hurried => number += 1,
            }
        }
        Ok(state)
    }

    fn fate(
        &mut self,
        catalogue: &mut Catalogue,
        there: ContextId,
        parcel: ParcelId,
        here: ContextId,
    ) -> Fate {
        if let Some(&known) = self.fates.get(&(parcel, there, here)) {
            return known;
        }
        let fate = match self.verdict(catalogue, there, parcel).clone() {
            Verdict::Matters => Fate::Weighed,
            Verdict::Asks(answers) => {
                let mut answers = answers.into_iter();
                match answers.all(|answer| self.is_mute(catalogue, here, answer)) {
                    true => Fate::Removed,
                    false => Fate::Weighed,
                }
            }
            Verdict::Settled(answer) if self.is_mute(catalogue, here, answer) => Fate::Removed,
            Verdict::Settled(answer) if is_priority(catalogue, answer) => Fate::Hurried,
            Verdict::Settled(_) => Fate::Weighed,
        };
        self.fates.insert((parcel, there, here), fate);
        fate
    }

    /// Whether an answer changes nothing and sends nothing, ever.
    fn is_mute(&mut self, catalogue: &mut Catalogue, there: ContextId, answer: ParcelId) -> bool {
        matches!(self.verdict(catalogue, there, answer), Verdict::Asks(sent) if sent.is_empty())
    }
}

impl Verdict {
    /// Whether what was done because of `self` was right where `other` is true.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Asks(answers), Self::Asks(others)) => answers.is_superset(others),
            (Self::Asks(answers), Self::Settled(answer)) => answers.contains(answer),
            _ => self == other,
        }
    }
}

/// Notes what the arrival of `parcel` would send; false where it would change something.
fn try_arrival(
    catalogue: &mut Catalogue,
    context: Context,
    parcel: ParcelId,
    sent: &mut BTreeSet<Option<ParcelId>>,
) -> bool {
    let Context {
        place,
        now,
        may_crash,
    } = context;
    if !is_open(catalogue, place) {
        return true;
    }
    let asker = catalogue.parcel(parcel).from;
    let arrival = catalogue.step(place, Input::Arrive(parcel), now, may_crash);
    let Ok(outcome) = arrival else {
        return false;
    };
    let answer = match *outcome.effects {
        _ if outcome.place != place => return false,
        [] => None,
        [Effect::Send { to, parcel }] if to == asker => Some(parcel),
        _ => return false,
    };
    sent.insert(answer);
    true
}

/// Whether messages may arrive at a node that is so.
fn is_open(catalogue: &Catalogue, place: PlaceId) -> bool {
    let waits = catalogue.setting.model.disk == Disk::Prompt;
    let place = catalogue.place(place);
    place.is_up() && !(waits && place.is_busy())
}

fn is_priority(catalogue: &Catalogue, parcel: ParcelId) -> bool {
    catalogue.parcel(parcel).wire.class() == Class::Priority
}
