//! What may happen next in a small cluster.

use super::catalogue::Catalogue;
use super::model::Disk;
use super::state::State;
use crate::NodeId;
use crate::sim::Wire;
use std::time::Duration;

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

/// What may happen next; nothing where every operation has ended: no answer is left
/// that could be wrong.
pub fn choices(state: &State, catalogue: &Catalogue) -> Vec<Choice> {
    let model = &catalogue.setting.model;
    let history = catalogue.history(state.history);
    if history.all_ended() {
        return Vec::new();
    }
    let is_busy = |&node: &NodeId| state.place(catalogue, node).is_busy();
    if model.disk == Disk::Prompt
        && let Some(node) = state.nodes().find(is_busy)
    {
        let unflushed = state.place(catalogue, node).host.unflushed.len();
        let torn = 0..if state.may_crash(catalogue, node) {
            unflushed
        } else {
            0
        };
        let torn = torn.map(|kept| Choice::Crash(node, kept));
        return std::iter::once(Choice::Flush(node)).chain(torn).collect();
    }
    let mut choices = Vec::new();
    for (number, passage) in state.passages.iter().enumerate() {
        // Of equal ones the first is enough. Where overtakings count it is not, if it need not
        // arrive and this one must.
        let again = number > 0 && {
            let before = state.passages[number - 1];
            let as_bound = state.overtakings_left.is_none() || before.is_stale == passage.is_stale;
            before.parcel == passage.parcel && as_bound
        };
        if again || !state.is_up(catalogue, catalogue.parcel(passage.parcel).to) {
            continue;
        }
        if state.overtakings_left != Some(0) || !state.overtakes(catalogue, number) {
            choices.push(Choice::Arrive(number));
        }
        if state.losses_left > 0 && !passage.is_stale {
            choices.push(Choice::Lose(number));
        }
    }
    let ready = history.ready();
    choices.extend(
        ready
            .filter(|(_, node)| state.is_up(catalogue, *node))
            .map(|(number, _)| Choice::Begin(number)),
    );
    for node in state.nodes() {
        let place = state.place(catalogue, node);
        if !place.is_up() {
            if !model.stay_down.contains(&node) {
                choices.push(Choice::Restart(node));
            }
            continue;
        }
        if place.is_busy() {
            choices.push(Choice::Flush(node));
        }
        if state.may_crash(catalogue, node) {
            let kept = 0..=place.host.unflushed.len();
            choices.extend(kept.map(|kept| Choice::Crash(node, kept)));
        }
    }
    add_timers(state, catalogue, &mut choices);
    choices
}

fn add_timers(state: &State, catalogue: &Catalogue, choices: &mut Vec<Choice>) {
    let Some(next) = state.next_deadline(catalogue) else {
        return;
    };
    let mut nodes = state.nodes();
    let is_still = state.passages.iter().all(|passage| passage.is_stale)
        && nodes.all(|node| !state.place(catalogue, node).is_busy());
    let is_short = next <= state.now + SHORT_WAIT;
    if catalogue.history(state.history).any_under_way()
        && (is_short || is_still && state.has_all_writers(catalogue))
    {
        choices.push(Choice::PassTime);
    }
    if state.early_timers_left > 0 && !is_still {
        let has_timer = |node: &NodeId| state.place(catalogue, *node).deadline.is_some();
        choices.extend(state.nodes().filter(has_timer).map(Choice::FireEarly));
    }
}

/// What `choice` means, in columns.
pub fn words(state: &State, catalogue: &Catalogue, choice: Choice) -> String {
    match choice {
        Choice::Arrive(number) | Choice::Lose(number) => {
            let parcel = catalogue.parcel(state.passages[number].parcel);
            let verb = match choice {
                Choice::Lose(_) => "is lost",
                _ => "arrives",
            };
            let body = match &parcel.wire {
                Wire::Priority(message) => format!("{:?}", message.body),
                Wire::Bulk(message) => format!("{:?}", message.body),
            };
            let way = format!("{} -> {}", parcel.from, parcel.to);
            format!("{way:<10} {verb:<9} {body}")
        }
        Choice::Begin(number) => {
            let step = catalogue.setting.model.steps[number];
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
        Choice::PassTime => {
            let next = state.next_deadline(catalogue);
            format!("{:<10} passes    {next:?}", "time")
        }
        Choice::FireEarly(node) => format!("{:<10} has a timer fire early", node.to_string()),
    }
}
