//! Small requests of one connection: they share a stream, and so do small replies.
//!
//! With a stream of its own for each, a node's thread for clients took twice the processor.
//! Three kinds of tasks end with the connection: one writes what was queued, all of it at once;
//! one takes in the node's streams; and each of these is read by one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};
use vivace_core::client_protocol::close_code;
use vivace_core::client_protocol::framing::{Frames, SHARED_REQUESTS_MAX};

use crate::link::ExchangeError;

/// The most bytes that one read of a stream yields.
const READ_BYTES_MAX: usize = 64 * 1024;

type Answer = Result<Bytes, ExchangeError>;

/// The requests that share a stream to a node.
pub(crate) struct SharedStream {
    state: Mutex<State>,
    /// Something was queued, or there is room for more, or the connection is gone.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Frames that were not handed to the connection yet, by their numbers.
    queue: VecDeque<(u32, Vec<u8>)>,
    waiting: HashMap<u32, Waiting>,
    /// Sent, and not answered yet, whether anybody still waits or not: a node answers each.
    unanswered: usize,
    /// Why the connection is gone.
    ended: Option<String>,
}

/// What is written at once.
struct Batch {
    frames: Bytes,
    /// Where the frame of each number ends.
    ends: Vec<(u32, usize)>,
}

struct Waiting {
    is_sent: bool,
    answer: oneshot::Sender<Answer>,
}

impl SharedStream {
    /// Opens it; none where the node lets us open no unidirectional stream.
    pub(crate) fn open(connection: &Connection, reply_bytes_max: usize) -> Option<Arc<Self>> {
        let stream = connection.open_uni().now_or_never()?.ok()?;
        let shared = Arc::new(Self {
            state: Mutex::default(),
            changed: Notify::new(),
        });
        tokio::spawn(shared.clone().write(connection.clone(), stream));
        tokio::spawn(shared.clone().accept(connection.clone(), reply_bytes_max));
        Some(shared)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the frame of this number, and waits for its reply until `deadline`.
    pub(crate) async fn exchange(&self, number: u32, frame: Vec<u8>, deadline: Instant) -> Answer {
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.state();
            if let Some(reason) = &state.ended {
                return Err(ExchangeError::NotSent(reason.clone()));
            }
            state.queue.push_back((number, frame));
            let is_sent = false;
            state.waiting.insert(number, Waiting { is_sent, answer });
        }
        self.changed.notify_one();
        let waits = Waits {
            shared: self,
            number,
        };
        match timeout_at(deadline, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ExchangeError::NoReply("its answer was dropped".to_owned())),
            Err(_) if waits.withdraw() => Err(ExchangeError::NotSent(
                "it took in no request by the deadline".to_owned(),
            )),
            Err(_) => Err(ExchangeError::NoReply(
                "no answer by the deadline".to_owned(),
            )),
        }
    }

    /// Writes what is queued, until the connection is gone.
    async fn write(self: Arc<Self>, connection: Connection, mut stream: SendStream) {
        loop {
            self.changed.notified().await;
            let Some(Batch { frames, ends }) = self.take_queue() else {
                return self.tell_the_end();
            };
            let mut left = [frames];
            let mut written = 0;
            while !left[0].is_empty() {
                match stream.write_chunks(&mut left).await {
                    Ok(handed_over) => written += handed_over.bytes,
                    Err(error) => {
                        // Where it stands, another one has to be made.
                        connection.close(VarInt::from_u32(0), b"requests can't be written");
                        self.set_ended(&error.to_string());
                        self.take_back(&ends, written);
                        return self.tell_the_end();
                    }
                }
            }
        }
    }

    /// As many queued frames as may be under way, which count as sent from now on: half a frame
    /// is never left in the stream. None at the end.
    fn take_queue(&self) -> Option<Batch> {
        let mut state = self.state();
        if state.ended.is_some() {
            return None;
        }
        let State {
            queue,
            waiting,
            unanswered,
            ..
        } = &mut *state;
        let taken = queue.len().min(SHARED_REQUESTS_MAX - *unanswered);
        *unanswered += taken;
        let bytes = queue.iter().take(taken).map(|(_, frame)| frame.len()).sum();
        let mut frames = Vec::with_capacity(bytes);
        let mut ends = Vec::with_capacity(taken);
        for (number, frame) in queue.drain(..taken) {
            frames.extend_from_slice(&frame);
            ends.push((number, frames.len()));
            if let Some(waiting) = waiting.get_mut(&number) {
                waiting.is_sent = true;
            }
        }
        let frames = frames.into();
        Some(Batch { frames, ends })
    }

    /// The connection is gone, and took in no more than `written` bytes of a batch: the node
    /// can't have begun what ends behind them.
    fn take_back(&self, ends: &[(u32, usize)], written: usize) {
        let mut state = self.state();
        for (number, _) in ends.iter().filter(|&&(_, end)| end > written) {
            if let Some(waiting) = state.waiting.get_mut(number) {
                waiting.is_sent = false;
            }
        }
    }

    /// Takes in the node's streams, until the connection is gone.
    async fn accept(self: Arc<Self>, connection: Connection, reply_bytes_max: usize) {
        loop {
            match connection.accept_uni().await {
                Ok(stream) => {
                    let (shared, connection) = (self.clone(), connection.clone());
                    tokio::spawn(async move {
                        shared.read(connection, stream, reply_bytes_max).await;
                    });
                }
                Err(error) => return self.set_ended(&error.to_string()),
            }
        }
    }

    /// Reads replies from one of the node's streams.
    async fn read(&self, connection: Connection, mut stream: RecvStream, reply_bytes_max: usize) {
        let mut frames = Frames::new(reply_bytes_max);
        let is_first = stream.id().index() == 0;
        while let Ok(Some(chunk)) = stream.read_chunk(READ_BYTES_MAX, true).await {
            frames.push(&chunk.bytes);
            loop {
                match frames.next_frame() {
                    Ok(Some((number, reply))) => self.answer(number, Ok(reply)),
                    Ok(None) => break,
                    Err(error) => {
                        let reason = format!("an answer that is none: {error}");
                        self.answer(error.number, Err(ExchangeError::NoReply(reason)));
                        if is_first {
                            // All later replies are lost with it.
                            let reason = error.to_string();
                            let code = VarInt::from_u32(close_code::FRAME_TOO_LONG);
                            connection.close(code, reason.as_bytes());
                        }
                        return;
                    }
                }
            }
        }
        if is_first {
            // Small replies have no other way; where the connection is gone, this does nothing.
            connection.close(VarInt::from_u32(0), b"the stream of replies ended");
        }
    }

    /// Hands over a reply; nobody may wait for it any more.
    fn answer(&self, number: u32, answer: Answer) {
        let mut state = self.state();
        let waiting = state.waiting.remove(&number);
        state.unanswered = state.unanswered.saturating_sub(1);
        let goes_on = !state.queue.is_empty();
        drop(state);
        if goes_on {
            self.changed.notify_one();
        }
        if let Some(waiting) = waiting {
            let _ = waiting.answer.send(answer);
        }
    }

    /// The connection is gone: nothing is queued any more, and `write` tells those who wait,
    /// for it knows how far it came.
    fn set_ended(&self, reason: &str) {
        self.state().ended.get_or_insert_with(|| reason.to_owned());
        self.changed.notify_one();
    }

    /// Has everybody who waits hear that the connection is gone.
    fn tell_the_end(&self) {
        let mut state = self.state();
        state.queue.clear();
        let waiting = std::mem::take(&mut state.waiting);
        let reason = state.ended.clone().unwrap_or_default();
        drop(state);
        for (_, Waiting { is_sent, answer }) in waiting {
            let _ = answer.send(Err(match is_sent {
                true => ExchangeError::NoReply(format!("no whole answer: {reason}")),
                false => ExchangeError::NotSent(reason.clone()),
            }));
        }
    }
}

/// A request that waits for its reply. Dropped, it waits no more, and is not sent where it
/// was not yet.
struct Waits<'a> {
    shared: &'a SharedStream,
    number: u32,
}

impl Waits<'_> {
    /// Waits no more. Whether it was not sent, and never will be.
    fn withdraw(&self) -> bool {
        let mut state = self.shared.state();
        let waited = state.waiting.remove(&self.number);
        let is_unsent = waited.is_some_and(|waiting| !waiting.is_sent);
        if is_unsent {
            state.queue.retain(|(number, _)| *number != self.number);
        }
        is_unsent
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}
