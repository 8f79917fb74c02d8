//! Quorum arithmetic, and nothing else.

use crate::identity::NodeId;

/// The smallest number of `n` members of which any two such groups share one.
pub fn majority(n: usize) -> usize {
    n / 2 + 1
}

/// How far a vote has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// Too few have answered.
    Pending,
    /// A majority said yes.
    Reached,
    /// So many said no that no majority can say yes.
    Unreachable,
}

/// The answers of a set of nodes to one question; each counts once.
#[derive(Clone, Debug)]
pub struct Votes<T> {
    members: usize,
    yes: Vec<(NodeId, T)>,
    no: Vec<NodeId>,
}

impl<T> Votes<T> {
    /// No answer yet, of `members` nodes.
    pub fn new(members: usize) -> Self {
        Self {
            members,
            yes: Vec::new(),
            no: Vec::new(),
        }
    }

    /// Counts a yes. A node's second answer is ignored.
    pub fn yes(&mut self, node: NodeId, answer: T) {
        if !self.has_voted(node) {
            self.yes.push((node, answer));
        }
    }

    /// Counts a no. A node's second answer is ignored.
    pub fn no(&mut self, node: NodeId) {
        if !self.has_voted(node) {
            self.no.push(node);
        }
    }

    fn has_voted(&self, node: NodeId) -> bool {
        self.yes.iter().any(|(voter, _)| *voter == node) || self.no.contains(&node)
    }

    /// Where the vote stands.
    pub fn tally(&self) -> Tally {
        let need = majority(self.members);
        if self.yes.len() >= need {
            Tally::Reached
        } else if self.no.len() > self.members - need {
            Tally::Unreachable
        } else {
            Tally::Pending
        }
    }

    /// Whether those that said yes and `others` besides are a majority.
    pub fn reached_with(&self, others: usize) -> bool {
        self.yes.len() + others >= majority(self.members)
    }

    /// Whether a majority has answered and one of them said no: the vote may still
    /// be won by those that are silent, or never.
    pub fn is_contested(&self) -> bool {
        !self.no.is_empty()
            && self.yes.len() + self.no.len() >= majority(self.members)
            && self.tally() == Tally::Pending
    }

    /// Whether half of all members said yes, for a mutant: two halves need not meet.
    #[cfg(feature = "sim")]
    pub fn has_half(&self) -> bool {
        self.yes.len() >= (self.members / 2).max(1)
    }

    /// Whether one of the first majority said no, for a mutant.
    #[cfg(feature = "sim")]
    pub fn has_false_among_majority(&self) -> bool {
        !self.no.is_empty() && self.yes.len() + self.no.len() >= majority(self.members)
    }

    /// Those that said yes, with their answers.
    pub fn answers(&self) -> &[(NodeId, T)] {
        &self.yes
    }

    /// Whether a majority of all members gave an answer that `holds`.
    pub fn majority_that(&self, holds: impl Fn(&T) -> bool) -> bool {
        self.yes.iter().filter(|(_, answer)| holds(answer)).count() >= majority(self.members)
    }
}
