//! Steps that need not be weighed against others: each is taken at once, alone.

use super::catalogue::{Catalogue, Effect};
use super::choice::Choice;
use super::place::Input;
use super::state::State;
use crate::message::{BulkBody, PriorityBody};
use crate::sim::Wire;

/// The state after `choice`, where no order with others makes a difference: an answer
/// that changes nothing, or a question that has only such an answer. Calls that are over
/// are never begun again, so neither will ever change anything.
pub fn after_alone(state: &State, catalogue: &mut Catalogue, choice: Choice) -> Option<State> {
    let Choice::Arrive(number) = choice else {
        return None;
    };
    let passage = state.passages[number];
    let wire = &catalogue.parcel(passage.parcel).wire;
    if is_answer(wire) {
        return after_same(state, catalogue, number);
    }
    if !is_mere_question(wire) || passage.is_stale || state.overtakes(catalogue, number) {
        return None;
    }
    let asked = catalogue.parcel(passage.parcel).to;
    let place = state.places[usize::from(asked.0)];
    let may_crash = state.may_crash(catalogue, asked);
    let input = Input::Arrive(passage.parcel);
    let outcome = catalogue.step(place, input, state.now, may_crash).ok()?;
    let [Effect::Send { parcel, .. }] = *outcome.effects else {
        return None;
    };
    if outcome.place != place || !is_answer(&catalogue.parcel(parcel).wire) {
        return None;
    }
    let after = state.after(catalogue, choice).ok()?;
    let mut passages = after.passages.iter();
    let number = passages.position(|other| other.parcel == parcel && !other.is_stale)?;
    after_same(&after, catalogue, number)
}

/// The state after an arrival that changes nothing.
fn after_same(state: &State, catalogue: &mut Catalogue, number: usize) -> Option<State> {
    let parcel = state.passages[number].parcel;
    let to = catalogue.parcel(parcel).to;
    let place = state.places[usize::from(to.0)];
    let may_crash = state.may_crash(catalogue, to);
    if !state.is_up(catalogue, to) {
        return None;
    }
    let outcome = catalogue.step(place, Input::Arrive(parcel), state.now, may_crash);
    let outcome = outcome.ok()?;
    if outcome.place != place || !outcome.effects.is_empty() {
        return None;
    }
    let mut after = state.clone();
    after.passages.remove(number);
    Some(after)
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
