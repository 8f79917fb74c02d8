//! What peers send and no operation waits for.
//!
//! A link that was full hands over a second's worth of values at once, and as many
//! acknowledgments follow them: a thousand take the core 5 ms. They let pass what is waited for.

use std::collections::VecDeque;

use vivace_core::Event;

use crate::transport::BulkLane;
use crate::urgency;

/// Handled between two looks for what is waited for: 0.1 ms of work.
pub(super) const UNAWAITED_PER_TURN: usize = 16;

/// More events than this have no place here: the oldest are handled first.
const EVENTS_MAX: usize = 8192;

/// The same of their bytes.
const BYTES_MAX: usize = 4 << 20;

/// Events that let others pass, in the order of their coming.
#[derive(Default)]
pub(super) struct Unawaited {
    events: VecDeque<(usize, Event)>,
    bytes: usize,
}

impl Unawaited {
    /// Keeps an event of `bytes` that came.
    pub fn push(&mut self, bytes: usize, event: Event) {
        self.bytes += bytes;
        self.events.push_back((bytes, event));
    }

    /// The oldest.
    pub fn pop(&mut self) -> Option<Event> {
        let (bytes, event) = self.events.pop_front()?;
        self.bytes -= bytes;
        Some(event)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
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
        assert!(unawaited.is_empty() && !unawaited.is_full());
    }
}
