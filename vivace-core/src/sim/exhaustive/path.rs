//! The way from the beginning to a state, and where else each state on it leads.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::catalogue::Catalogue;
use super::choice::{Choice, choices, words};
use super::model::Weighed;
use super::reduction::after_alone;
use super::state::State;

pub struct Frame {
    pub state: State,
    /// With the state after it, where that is known.
    pub choices: Vec<(Choice, Option<State>)>,
    pub next: usize,
}

impl Frame {
    /// All choices, in an order of their own per state: one order for all would leave
    /// what departs from it early to the end of the search.
    fn full(catalogue: &Catalogue, state: State) -> Self {
        let mut choices = choices(&state, catalogue);
        let seed = state.fingerprint();
        choices.sort_by_cached_key(|choice| {
            let mut digest = DefaultHasher::new();
            (seed, choice).hash(&mut digest);
            digest.finish()
        });
        Self {
            state,
            choices: choices.into_iter().map(|choice| (choice, None)).collect(),
            next: 0,
        }
    }

    /// The same, or one choice that need not be weighed against others.
    pub fn new(catalogue: &mut Catalogue, state: State) -> Self {
        let full = Self::full(catalogue, state);
        if catalogue.setting.model.weighed() == Weighed::Every {
            return full;
        }
        let alone = full.choices.iter().find_map(|&(choice, _)| {
            let after = after_alone(&full.state, catalogue, choice)?;
            Some((choice, Some(after)))
        });
        match alone {
            Some(only) => Self {
                choices: vec![only],
                ..full
            },
            None => full,
        }
    }

    /// Whether all was tried.
    pub fn is_over(&self) -> bool {
        self.next == self.choices.len()
    }
}

/// All that happened on the way, in order, as text in columns.
pub fn schedule(catalogue: &Catalogue, path: &[Frame]) -> Vec<String> {
    path.iter()
        .map(|frame| words(&frame.state, catalogue, frame.choices[frame.next - 1].0))
        .collect()
}
