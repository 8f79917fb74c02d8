//! A link's buffer: one budget of bytes, two FIFOs.

use std::collections::VecDeque;

use crate::Class;

/// A packet that waits.
pub(crate) struct Queued<T> {
    pub(crate) bytes: u32,
    /// Whether somebody waits for its arrival, as nobody does for cross traffic's.
    pub(crate) awaited: bool,
    pub(crate) cargo: T,
}

/// The packets that wait for the transmitter.
///
/// The budget is shared, and a priority packet that finds it spent pushes bulk out
/// from the tail. The alternative, a reserved share, either wastes buffer that bulk
/// could use or is too small for some burst; eviction makes "priority is never lost
/// to bulk" true for every burst and leaves the rest to bulk.
pub(crate) struct Buffer<T> {
    limit_bytes: u64,
    /// Of a full-sized packet.
    mtu_bytes: u32,
    priority: VecDeque<Queued<T>>,
    bulk: VecDeque<Queued<T>>,
    /// How many have left `bulk` at its head.
    bulk_left: u64,
    /// Which of bulk are awaited, by how many came before them: a deep buffer is full of
    /// cross traffic that would have to be passed to find them.
    bulk_awaited: VecDeque<u64>,
    priority_bytes: u64,
    bulk_bytes: u64,
}

impl<T> Buffer<T> {
    pub(crate) fn new(limit_bytes: u64, mtu_bytes: u32) -> Self {
        Self {
            limit_bytes,
            mtu_bytes,
            priority: VecDeque::new(),
            bulk: VecDeque::new(),
            bulk_left: 0,
            bulk_awaited: VecDeque::new(),
            priority_bytes: 0,
            bulk_bytes: 0,
        }
    }

    /// Changes the budget, and what a full-sized packet is; what already waits stays, also
    /// beyond it.
    pub(crate) fn set_limit(&mut self, limit_bytes: u64, mtu_bytes: u32) {
        self.limit_bytes = limit_bytes;
        self.mtu_bytes = mtu_bytes;
    }

    /// Bytes that wait in both classes.
    pub(crate) fn bytes(&self) -> u64 {
        self.priority_bytes + self.bulk_bytes
    }

    /// Whether a packet of `bytes` may join `class`, bulk that it evicts left aside.
    ///
    /// Bulk is judged as if every packet were full-sized: otherwise small packets fit
    /// into the last bytes of a full buffer, and a probe sees 3 % loss where a
    /// transfer sees 16 %.
    pub(crate) fn has_room(&self, class: Class, bytes: u32) -> bool {
        match class {
            Class::Priority => self.priority_bytes + u64::from(bytes) <= self.limit_bytes,
            Class::Bulk => self.bytes() + u64::from(bytes.max(self.mtu_bytes)) <= self.limit_bytes,
        }
    }

    /// Appends a packet that [`has_room`](Self::has_room) and needs no eviction.
    pub(crate) fn push(&mut self, class: Class, packet: Queued<T>) {
        assert!(self.bytes() + u64::from(packet.bytes) <= self.limit_bytes);
        match class {
            Class::Priority => {
                self.priority_bytes += u64::from(packet.bytes);
                self.priority.push_back(packet);
            }
            Class::Bulk => {
                self.bulk_bytes += u64::from(packet.bytes);
                if packet.awaited {
                    let before = self.bulk_left + self.bulk.len() as u64;
                    self.bulk_awaited.push_back(before);
                }
                self.bulk.push_back(packet);
            }
        }
    }

    /// Removes the last bulk packet if `bytes` more would not fit; call until `None`.
    pub(crate) fn evict_for(&mut self, bytes: u32) -> Option<Queued<T>> {
        if self.bytes() + u64::from(bytes) <= self.limit_bytes {
            return None;
        }
        let victim = self.bulk.pop_back()?;
        self.bulk_bytes -= u64::from(victim.bytes);
        if victim.awaited {
            self.bulk_awaited.pop_back();
        }
        Some(victim)
    }

    /// The packet to transmit next: strict priority, FIFO within a class.
    pub(crate) fn pop(&mut self) -> Option<(Class, Queued<T>)> {
        if let Some(packet) = self.priority.pop_front() {
            self.priority_bytes -= u64::from(packet.bytes);
            return Some((Class::Priority, packet));
        }
        let packet = self.bulk.pop_front()?;
        self.bulk_bytes -= u64::from(packet.bytes);
        self.bulk_left += 1;
        if packet.awaited {
            self.bulk_awaited.pop_front();
        }
        Some((Class::Bulk, packet))
    }

    /// The priority class's packets, next first.
    pub(crate) fn priority(&self) -> impl Iterator<Item = &Queued<T>> {
        self.priority.iter()
    }

    /// The first bulk packet that is awaited, and how many that are not go before it.
    pub(crate) fn first_awaited_bulk(&self) -> Option<(usize, &Queued<T>)> {
        let before = (self.bulk_awaited.front()? - self.bulk_left) as usize;
        Some((before, self.bulk.get(before)?))
    }
}
