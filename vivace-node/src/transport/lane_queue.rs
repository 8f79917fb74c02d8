//! Frames that wait for one lane of one peer: bounded in bytes, open only while
//! a connection is up, emptied when it ends.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use tokio::sync::Notify;

use super::limits::BULK_FRAME_OVERHEAD_BYTES;
use super::lock::lock;

/// Why a frame was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueRefusal {
    Closed,
    Full,
}

#[derive(Default)]
struct Waiting {
    open: bool,
    frames: VecDeque<Bytes>,
    /// The frame that the writer took and has not finished.
    writing: bool,
    charged_bytes: usize,
}

pub(super) struct LaneQueue {
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

impl LaneQueue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            waiting: Mutex::new(Waiting::default()),
            arrived: Notify::new(),
        }
    }

    pub(super) fn open(&self) {
        lock(&self.waiting).open = true;
    }

    /// Closes and empties the queue; how many frames were lost.
    pub(super) fn close(&self) -> u64 {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        waiting.frames.len() as u64 + u64::from(waiting.writing)
    }

    pub(super) fn push(&self, frame: Bytes) -> Result<(), QueueRefusal> {
        let mut waiting = lock(&self.waiting);
        if !waiting.open {
            return Err(QueueRefusal::Closed);
        }
        let charged = waiting.charged_bytes + frame.len() + BULK_FRAME_OVERHEAD_BYTES;
        if charged > self.bytes_max {
            return Err(QueueRefusal::Full);
        }
        waiting.charged_bytes = charged;
        waiting.frames.push_back(frame);
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// The next frame, still charged until [`written`](Self::written). One
    /// writer at a time.
    pub(super) async fn next(&self) -> Bytes {
        loop {
            if let Some(frame) = self.take() {
                return frame;
            }
            self.arrived.notified().await;
        }
    }

    fn take(&self) -> Option<Bytes> {
        let mut waiting = lock(&self.waiting);
        let frame = waiting.frames.pop_front()?;
        waiting.writing = true;
        Some(frame)
    }

    pub(super) fn written(&self, frame_bytes: usize) {
        let mut waiting = lock(&self.waiting);
        waiting.writing = false;
        let charged = frame_bytes + BULK_FRAME_OVERHEAD_BYTES;
        waiting.charged_bytes = waiting.charged_bytes.saturating_sub(charged);
    }

    pub(super) fn charged_bytes(&self) -> usize {
        lock(&self.waiting).charged_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_takes_up_to_its_bytes_and_only_while_open() {
        let frame = Bytes::from_static(&[7; 36]);
        let queue = LaneQueue::new(300);
        assert_eq!(queue.push(frame.clone()), Err(QueueRefusal::Closed));
        queue.open();
        for _ in 0..3 {
            assert_eq!(queue.push(frame.clone()), Ok(()));
        }
        assert_eq!(queue.push(Bytes::new()), Err(QueueRefusal::Full));
        assert!(queue.take().is_some());
        assert_eq!(
            queue.push(Bytes::new()),
            Err(QueueRefusal::Full),
            "still being written"
        );
        queue.written(36);
        assert_eq!(queue.push(frame.clone()), Ok(()));
        assert_eq!(queue.close(), 3);
        assert_eq!(
            (queue.charged_bytes(), queue.push(frame)),
            (0, Err(QueueRefusal::Closed))
        );
    }
}
