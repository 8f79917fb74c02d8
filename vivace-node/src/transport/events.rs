//! The way to the owner: one bounded queue, in which bulk leaves room for
//! priority and nothing displaces an up or a down.

use std::time::Duration;

use tokio::sync::mpsc;

use super::event::TransportEvent;

/// Bulk waits while less than this part of the queue (1 in so many) is free:
/// otherwise a burst of values would crowd timestamps out of the last queue
/// they pass.
const ROOM_FOR_PRIORITY: usize = 2;

/// How often waiting bulk looks again.
const BULK_RETRY: Duration = Duration::from_millis(1);

#[derive(Clone)]
pub(super) struct Events(mpsc::Sender<TransportEvent>);

impl Events {
    pub(super) fn new(sender: mpsc::Sender<TransportEvent>) -> Self {
        Self(sender)
    }

    /// Delivers an up or a down, however long it takes.
    pub(super) async fn state(&self, event: TransportEvent) {
        // An owner that has gone needs no news.
        let _ = self.0.send(event).await;
    }

    /// Delivers a priority message or a measurement at once; false if there was no room.
    pub(super) fn priority(&self, event: TransportEvent) -> bool {
        self.0.try_send(event).is_ok()
    }

    /// Delivers a bulk message when there is room; the wait holds back the
    /// stream it came from, and so the sender.
    pub(super) async fn bulk(&self, event: TransportEvent) {
        while self.0.capacity() <= self.0.max_capacity() / ROOM_FOR_PRIORITY {
            if self.0.is_closed() {
                return;
            }
            tokio::time::sleep(BULK_RETRY).await;
        }
        let _ = self.0.send(event).await;
    }
}
