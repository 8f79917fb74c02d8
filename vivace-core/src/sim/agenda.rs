//! What happens when: earliest first, and in the order of scheduling within an instant.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Happenings in the order of their time.
pub(super) struct Agenda<H> {
    /// Nanoseconds, the turn of scheduling, the slot: small, and quick to compare.
    order: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// Apart from the heap, which moves its entries about.
    slots: Vec<Option<H>>,
    free: Vec<u32>,
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
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize] = Some(happening);
        self.turn += 1;
        let at = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        self.order.push(Reverse((at, self.turn, slot)));
    }

    /// When the next one is due.
    pub fn next_at(&self) -> Option<Duration> {
        self.order
            .peek()
            .map(|Reverse((at, ..))| Duration::from_nanos(*at))
    }

    pub fn pop(&mut self) -> Option<(Duration, H)> {
        let Reverse((at, _, slot)) = self.order.pop()?;
        self.free.push(slot);
        let happening = self.slots[slot as usize].take();
        let happening = happening.expect("a slot in order is filled");
        Some((Duration::from_nanos(at), happening))
    }
}
