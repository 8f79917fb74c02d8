//! What happens when: earliest first, and in the order of scheduling within an instant.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Happenings in the order of their time.
pub(super) struct Agenda<H> {
    order: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    /// Apart from the heap, which moves its entries about.
    slots: Vec<Option<H>>,
    free: Vec<usize>,
    turn: u64,
}

impl<H> Default for Agenda<H> {
    fn default() -> Self {
        Self {
            order: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            turn: 0,
        }
    }
}

impl<H> Agenda<H> {
    pub fn add(&mut self, at: Duration, happening: H) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(happening);
        self.turn += 1;
        self.order.push(Reverse((at, self.turn, slot)));
    }

    /// When the next one is due.
    pub fn next_at(&self) -> Option<Duration> {
        self.order.peek().map(|Reverse((at, ..))| *at)
    }

    pub fn pop(&mut self) -> Option<(Duration, H)> {
        let Reverse((at, _, slot)) = self.order.pop()?;
        self.free.push(slot);
        let happening = self.slots[slot].take().expect("a slot in order is filled");
        Some((at, happening))
    }
}
