//! What a search has seen.

use std::collections::BTreeSet;

use super::catalogue::Catalogue;

/// A broken promise, and how it came about.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What is wrong.
    pub what: String,
    /// All that happened, in order, as text in columns.
    pub schedule: Vec<String>,
}

/// What a search has seen.
#[derive(Clone, Debug)]
pub struct Report {
    /// Different states.
    pub states: u64,
    /// Steps from one state to another.
    pub transitions: u64,
    /// Steps from the beginning to the furthest state, on the way on which it was found.
    pub depth: usize,
    /// States in which every operation has ended.
    pub ends: u64,
    /// All different ways in which clients were answered, in part or to the end.
    pub histories: BTreeSet<u64>,
    /// Different states of single nodes.
    pub node_states: usize,
    /// Different steps of single nodes: each is taken once.
    pub node_steps: usize,
    /// How often it began anew, having met what it had not foreseen.
    pub restarts: u32,
    /// Whether every state was visited; else the search was cut at a number of states.
    pub is_exhausted: bool,
    /// The first broken promise that was met.
    pub violation: Option<Violation>,
}

impl Report {
    pub(super) fn nothing_yet() -> Self {
        Self {
            states: 0,
            transitions: 0,
            depth: 0,
            ends: 0,
            histories: BTreeSet::new(),
            node_states: 0,
            node_steps: 0,
            restarts: 0,
            is_exhausted: true,
            violation: None,
        }
    }

    pub(super) fn count(&mut self, catalogue: &Catalogue) {
        (self.node_states, self.node_steps) = catalogue.counts();
    }
}
