//! Linearizability of any state machine: a search for an order (Wing and Gong 1993)
//! that never repeats what it saw (Lowe 2017).

use std::fmt;

use super::bits::Bits;
use super::history::{Answer, Ask, Entry, Moment};
use crate::Blob;
use crate::machine::{ApplyError, Machines};
use crate::table::{Met, Table};

/// Steps of the search after which a history counts as undecided, which is an error:
/// the test should ask for less at once.
pub const STEPS_MAX: usize = 2_000_000;

/// The same for results of operations, each computed once per state that it meets.
const RESULTS_MAX: usize = 4 * STEPS_MAX;

/// What a checker says against a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// What is wrong, or why nobody can tell.
    pub why: String,
    /// Whether there may be an order all the same: nobody could tell.
    pub is_undecided: bool,
}

impl Objection {
    pub(super) fn undecided(why: String) -> Self {
        let is_undecided = true;
        Self { why, is_undecided }
    }
}

impl From<String> for Objection {
    fn from(why: String) -> Self {
        let is_undecided = false;
        Self { why, is_undecided }
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// How many operations may begin while one is under way.
const DURING_MAX: usize = 4096;

/// How many operations may never have ended.
const UNENDED_MAX: usize = 1024;

/// A state that the search met, by number.
type StateId = u32;

/// Where the search stands: which operations have taken effect, and the state after them.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Position {
    /// All ended operations before this one took effect.
    first: u32,
    /// Of those from `first` on, which did.
    ahead: Bits,
    /// Of those that never ended, which did.
    unended: Bits,
    state: StateId,
}

/// Checks any history of one of the built-in state machines. At most 4,096 operations may
/// begin while one is under way, and at most 1,024 may have no end. Operations that touch, one ending
/// as the other begins, may be in either order.
///
/// # Errors
/// What is wrong.
pub fn check_machine(entries: &[Entry]) -> Result<(), Objection> {
    let mut search = Search::new(entries)?;
    let mut seen = Met::default();
    let mut open = vec![Position {
        first: 0,
        ahead: Bits::default(),
        unended: Bits::default(),
        state: 0,
    }];
    let mut furthest = 0;
    while let Some(position) = open.pop() {
        if !seen.insert(position.clone()) {
            continue;
        }
        if seen.len() > STEPS_MAX {
            return Err(no_verdict(format_args!("{STEPS_MAX} steps")));
        }
        furthest = furthest.max(position.first as usize);
        if position.first as usize == search.ended.len() {
            return Ok(());
        }
        search.expand(&position, &mut open)?;
    }
    let stuck = search.ended[furthest];
    Err(format!(
        "no order explains the answers; none of the tried ones got past what began at {}",
        stuck.invoked
    )
    .into())
}

struct Search<'a> {
    machines: Machines,
    /// By invocation.
    ended: Vec<&'a Entry>,
    unended: Vec<&'a Entry>,
    /// Of each unended one, an equal one before it, which goes first.
    twin: Vec<Option<usize>>,
    states: Vec<Option<Blob>>,
    state_ids: Table<Option<Vec<u8>>, StateId>,
    applied: Table<(StateId, usize), Option<StateId>>,
}

impl<'a> Search<'a> {
    fn new(entries: &'a [Entry]) -> Result<Self, Objection> {
        let told = entries.iter().filter(|e| e.answer != Answer::NotApplied);
        let (mut ended, unended): (Vec<&Entry>, Vec<&Entry>) =
            told.partition(|e| e.returned.is_some());
        ended.sort_by_key(|e| e.invoked);
        // An operation without effect and without an answer says nothing.
        let mut unended: Vec<&Entry> = unended
            .into_iter()
            .filter(|e| !matches!(e.ask, Ask::Read | Ask::ReadState))
            .collect();
        unended.sort_by_key(|e| e.invoked);
        if unended.len() > UNENDED_MAX {
            return Err(Objection::undecided(format!(
                "{} operations without an end are more than {UNENDED_MAX}",
                unended.len()
            )));
        }
        let twin = (0..unended.len())
            .map(|u| (0..u).rev().find(|&t| unended[t].ask == unended[u].ask))
            .collect();
        Ok(Self {
            machines: Machines::builtin(),
            ended,
            unended,
            twin,
            states: vec![None],
            state_ids: Table::from_iter([(None, 0)]),
            applied: Table::default(),
        })
    }

    /// Adds all positions one operation further.
    fn expand(&mut self, at: &Position, open: &mut Vec<Position>) -> Result<(), Objection> {
        let first = at.first as usize;
        let mut first_end = Moment::MAX;
        let mut candidates = Vec::new();
        for (i, entry) in self.ended[first..].iter().enumerate() {
            if entry.invoked > first_end {
                break;
            }
            if i >= DURING_MAX {
                let why =
                    format!("more than {DURING_MAX} operations began while one was under way");
                return Err(Objection::undecided(why));
            }
            if !at.ahead.has(i) {
                candidates.push(i);
                first_end = first_end.min(entry.returned.expect("it ended"));
            }
        }
        for u in 0..self.unended.len() {
            let waits_for_twin = self.twin[u].is_some_and(|t| !at.unended.has(t));
            if at.unended.has(u) || waits_for_twin || self.unended[u].invoked > first_end {
                continue;
            }
            if let Some(state) = self.apply(at.state, self.ended.len() + u)? {
                // One without effect says nothing by taking place.
                if state != at.state {
                    open.push(Position {
                        unended: at.unended.with(u),
                        state,
                        ..at.clone()
                    });
                }
            }
        }
        // What ended first is tried first: it comes off the stack first.
        candidates.retain(|&i| self.ended[first + i].invoked <= first_end);
        candidates.sort_by_key(|&i| std::cmp::Reverse(self.ended[first + i].returned));
        for i in candidates {
            if let Some(state) = self.apply(at.state, first + i)? {
                let mut ahead = at.ahead.with(i);
                let done = ahead.take_first() as u32;
                open.push(Position {
                    first: at.first + done,
                    ahead,
                    unended: at.unended.clone(),
                    state,
                });
            }
        }
        Ok(())
    }

    /// The state after an operation, where its answer fits the state before.
    fn apply(&mut self, state: StateId, operation: usize) -> Result<Option<StateId>, Objection> {
        if let Some(&known) = self.applied.get(&(state, operation)) {
            return Ok(known);
        }
        let entry = match operation.checked_sub(self.ended.len()) {
            Some(u) => self.unended[u],
            None => self.ended[operation],
        };
        let before = &self.states[state as usize];
        let after = apply(&self.machines, before.as_ref(), entry)?.map(|after| {
            let bytes = after.as_ref().map(|blob| blob.0.to_vec());
            *self.state_ids.entry(bytes).or_insert_with(|| {
                self.states.push(after);
                self.states.len() as StateId - 1
            })
        });
        self.applied.insert((state, operation), after);
        if self.applied.len() > RESULTS_MAX {
            return Err(no_verdict(format_args!("{RESULTS_MAX} results")));
        }
        Ok(after)
    }
}

fn no_verdict(after: fmt::Arguments<'_>) -> Objection {
    Objection::undecided(format!("no order was found or excluded in {after}"))
}

/// The state after an operation; none where its answer does not fit.
fn apply(
    machines: &Machines,
    state: Option<&Blob>,
    entry: &Entry,
) -> Result<Option<Option<Blob>>, Objection> {
    let unchanged = state.cloned();
    let number = |value: u64| Blob::from(value.to_be_bytes().to_vec());
    Ok(match (&entry.ask, &entry.answer) {
        (Ask::Write(value), _) => Some(Some(number(*value))),
        (Ask::Read, Answer::Value(found)) => {
            let found = found.map(|(value, _)| number(value));
            (state == found.as_ref()).then_some(unchanged)
        }
        (Ask::ReadState, Answer::State(found)) => (state == found.as_ref()).then_some(unchanged),
        (Ask::Execute { machine, command }, answer) => {
            let cannot = |why: &dyn fmt::Display| {
                let begun = entry.invoked;
                Objection::undecided(format!("what began at {begun} can't be applied: {why}"))
            };
            let applied = machines
                .apply(machine, state, command)
                .ok_or_else(|| cannot(&format_args!("{machine:?} is no built-in machine")))?;
            let (after, result) = match applied {
                Ok(applied) => (Some(applied.state), Ok(applied.output)),
                Err(ApplyError::Conflict(conflict)) => (unchanged, Err(conflict.0)),
                Err(error) => return Err(cannot(&error)),
            };
            let fits = match answer {
                Answer::Executed(heard) => *heard == result,
                _ => true,
            };
            fits.then_some(after)
        }
        (ask, answer) => {
            let why = format!("{answer:?} does not answer {ask:?}");
            return Err(Objection::undecided(why));
        }
    })
}
