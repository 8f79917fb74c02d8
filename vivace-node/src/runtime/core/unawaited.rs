//! What peers send and no operation waits for.
//!
//! A link that was full hands over a second's worth of values at once, and as many
//! acknowledgments follow them: a thousand take the core 5 ms. They let pass what is waited for.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use vivace_core::{Event, NodeId};

use crate::transport::BulkLane;
use crate::urgency;

/// Handled between two looks for what is waited for: 0.1 ms of work.
pub(super) const UNAWAITED_PER_TURN: usize = 16;

/// How long an event waits for more at most, so that they share a turn, a sync and a packet:
/// alone each wakes two or three threads. Measured at a replica 23 ms away from 64 writes at once:
/// 20 to 22 % of a processor instead of 30 to 34, 11,000 switches between threads a second
/// instead of 20,000.
const GATHER_MAX: Duration = Duration::from_millis(2);

/// And at most this part of the round trip to the peer that sent it.
const GATHER_RTT_PART: u32 = 16;

/// Shorter than this, it doesn't wait: in a site a value would be on its way for longer than it
/// travels, and timers are no finer.
const GATHER_MIN: Duration = Duration::from_micros(500);

/// More events than this have no place here: the oldest are handled first.
const EVENTS_MAX: usize = 8192;

/// The same of their bytes.
const BYTES_MAX: usize = 4 << 20;

/// Events that let others pass, in the order of their coming.
#[derive(Default)]
pub(super) struct Unawaited {
    events: VecDeque<(usize, Event)>,
    bytes: usize,
    /// When they are to be taken; none where there are none.
    due_at: Option<Instant>,
    /// How long what a peer sends may wait; what the others send doesn't.
    gathers: BTreeMap<NodeId, Duration>,
}

impl Unawaited {
    /// Learns the round trip to a peer.
    pub fn on_round_trip(&mut self, peer: NodeId, round_trip: Duration) {
        let gather = (round_trip / GATHER_RTT_PART).min(GATHER_MAX);
        if gather < GATHER_MIN {
            self.gathers.remove(&peer);
        } else {
            self.gathers.insert(peer, gather);
        }
    }

    /// Keeps an event of `bytes` that came.
    pub fn push(&mut self, bytes: usize, event: Event) {
        let from = match event {
            Event::Priority { from, .. } | Event::Bulk { from, .. } => Some(from),
            _ => None,
        };
        let gather = from.and_then(|from| self.gathers.get(&from).copied());
        let due_at = Instant::now() + gather.unwrap_or_default();
        self.due_at = Some(self.due_at.map_or(due_at, |earlier| earlier.min(due_at)));
        self.bytes += bytes;
        self.events.push_back((bytes, event));
    }

    /// When to take them; none where there are none.
    pub fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// Whether they are to be taken now.
    pub fn is_due(&self) -> bool {
        let is_turn = self.events.len() >= UNAWAITED_PER_TURN;
        is_turn || self.due_at.is_some_and(|at| at <= Instant::now())
    }

    /// The oldest.
    pub fn pop(&mut self) -> Option<Event> {
        let (bytes, event) = self.events.pop_front()?;
        self.bytes -= bytes;
        if self.events.is_empty() {
            self.due_at = None;
        }
        Some(event)
    }

    /// Whether the oldest can wait no longer.
    pub fn is_full(&self) -> bool {
        self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX
    }
}

/// Whether no operation waits for what a peer sent.
pub(super) fn is_unawaited(event: &Event) -> bool {
    match event {
        Event::Priority { message, .. } => urgency::is_unawaited(message),
        Event::Bulk { message, .. } => urgency::lane_of(message) == BulkLane::Propagate,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use vivace_core::message::{BulkBody, BulkMessage, PriorityBody, PriorityMessage, RpcId};
    use vivace_core::{ContainerId, Epoch, Incarnation, Key, KeyName, NodeId, Timestamp, Value};

    use super::*;

    fn key() -> Key {
        Key {
            container: ContainerId(0),
            name: KeyName::new(b"k").expect("a key"),
        }
    }

    fn call() -> RpcId {
        RpcId {
            incarnation: Incarnation(1),
            operation: 2,
            call: 3,
        }
    }

    fn acknowledged(rpc: RpcId) -> Event {
        let (key, ts) = (key(), Timestamp::ZERO);
        let body = PriorityBody::WriteRemoteAck { key, ts };
        let message = PriorityMessage {
            rpc,
            epoch: Epoch(1),
            body,
        };
        Event::Priority {
            from: NodeId(2),
            message,
        }
    }

    fn value(rpc: RpcId) -> Event {
        let body = BulkBody::WriteRemote {
            key: key(),
            ts: Timestamp::ZERO,
            propagator: NodeId(2),
            relay: Vec::new(),
            value: Value::Tombstone,
        };
        Event::Bulk {
            from: NodeId(2),
            message: BulkMessage {
                rpc,
                epoch: Epoch(1),
                body,
            },
        }
    }

    #[test]
    fn what_is_part_of_a_call_is_waited_for() {
        assert!(is_unawaited(&acknowledged(RpcId::NONE)));
        assert!(is_unawaited(&value(RpcId::NONE)));
        assert!(!is_unawaited(&acknowledged(call())));
        assert!(!is_unawaited(&value(call())));
        assert!(!is_unawaited(&Event::Tick));
    }

    #[test]
    fn it_is_full_by_number_and_by_bytes() {
        let mut unawaited = Unawaited::default();
        for _ in 0..=EVENTS_MAX {
            assert!(!unawaited.is_full());
            unawaited.push(100, Event::Tick);
        }
        assert!(unawaited.is_full());
        assert!(unawaited.pop().is_some());
        assert!(!unawaited.is_full());
        unawaited.push(BYTES_MAX, Event::Tick);
        unawaited.pop();
        assert!(unawaited.is_full());
        while unawaited.pop().is_some() {}
        assert!(!unawaited.is_full());
    }

    fn waiting_for(round_trip: Duration) -> Unawaited {
        let mut unawaited = Unawaited::default();
        unawaited.on_round_trip(NodeId(2), round_trip);
        unawaited.push(100, value(RpcId::NONE));
        unawaited
    }

    #[test]
    fn what_comes_from_far_away_waits_for_company_and_not_for_long() {
        let begun = Instant::now();
        let mut far = waiting_for(Duration::from_millis(100));
        let due_at = far.due_at().expect("something waits");
        assert!(due_at >= begun + GATHER_MAX && due_at <= Instant::now() + GATHER_MAX);
        assert!(!far.is_due() || begun.elapsed() >= GATHER_MAX);
        // The first's time counts, however many follow.
        std::thread::sleep(GATHER_MAX);
        far.push(100, value(RpcId::NONE));
        assert_eq!(far.due_at(), Some(due_at));
        assert!(far.is_due());
        while far.pop().is_some() {}
        assert!(far.due_at().is_none() && !far.is_due());
    }

    #[test]
    fn a_turn_of_events_waits_no_longer() {
        let mut far = waiting_for(Duration::from_secs(10));
        for _ in 1..UNAWAITED_PER_TURN {
            far.push(100, value(RpcId::NONE));
        }
        assert!(far.is_due());
    }

    #[test]
    fn what_comes_from_nearby_or_before_its_round_trip_is_known_does_not_wait() {
        assert!(waiting_for(Duration::from_micros(200)).is_due());
        let mut unknown = Unawaited::default();
        unknown.push(100, value(RpcId::NONE));
        assert!(unknown.is_due());
        // Nor does it, where a far peer's event waits already.
        let mut both = waiting_for(Duration::from_millis(100));
        both.push(100, Event::Tick);
        assert!(both.is_due());
    }
}
