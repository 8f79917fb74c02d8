//! Priority messages on their way to one peer: queued by whoever sends, gathered
//! into datagrams and handed to QUIC by the [`pacer`](super::pacer).
//!
//! A message that finds the path idle leaves at once, with what else the same turn of
//! the node's loop has for the peer. Where a datagram left a moment ago, the next one
//! gathers what comes, for at most [`GATHER_MAX`] after it. Where the class is held to
//! a rate, datagrams gather for longer the less is left of the path's budget, for an eighth
//! of the round trip at most, and wait for it where nothing is left.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::Connection;
use tokio::sync::Notify;

use super::batch::{Batch, Entry};
use super::budget::LongestWait;
use super::counters::DropCause;
use super::event::{Flow, Haste, PriorityMessage, SendError};
use super::fair_queue::{FairQueue, Pushed, Waiting};
use super::limits::{Limits, PRIORITY_MESSAGE_BYTES_MAX};
use super::link::Link;
use super::lock::lock;
use super::loss_copies::LossCopies;
use super::metered_socket::{Meter, wire_bytes};

/// Between two datagrams to a peer that are not full, and how long a message that
/// nobody waits for yet looks for company. Measured in experiments: half a millisecond
/// is lost in a round trip between sites, and bounds a busy peer's packets at 2,000 a
/// second.
const GATHER_MAX: Duration = Duration::from_micros(500);

/// And at most this part of the round trip, so that a site's own nodes, tenths of a
/// millisecond away, don't wait for longer than they travel.
const GATHER_RTT_PART: u32 = 64;

/// Shorter than this, waiting costs more than it saves.
const GATHER_MIN: Duration = Duration::from_micros(50);

/// Where the class is held to a rate and the path's budget runs low
/// ([`Budget::spacing`](super::budget::Budget::spacing)), datagrams gather for longer, but not for
/// more than this part of the round trip.
const SPARING_RTT_PART: u32 = 8;

/// How long a message that no operation will wait for looks for company, in a site too: each
/// packet saved is a turn less of a thread at both ends. Measured at three sites with 64
/// operations at once on two cores: the median write took 27 ms instead of 28.4.
const LATER_MAX: Duration = Duration::from_millis(2);

/// How soon QUIC is asked again after it had no room.
const QUIC_FULL_RETRY: Duration = Duration::from_millis(1);

/// Longer waits than this are counted.
const NOTABLE_WAIT: Duration = Duration::from_millis(1);

/// What became of a peer's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing waits.
    Idle,
    /// A datagram was handed to QUIC; there may be more.
    Sent,
    /// The next datagram gathers messages until then.
    Gathering(Instant),
    /// The path's budget, or QUIC's own window, is used up until then.
    Blocked(Instant),
}

/// Sends to one peer, from any thread.
pub(super) struct PrioritySender {
    destination: SocketAddr,
    pub(super) meter: Arc<Meter>,
    wake_pacer: Arc<Notify>,
    state: Mutex<State>,
}

struct State {
    connection: Option<Connection>,
    queue: FairQueue,
    next: Gathered,
    copies: LossCopies,
    last_left: Option<Instant>,
    gather: Duration,
    sparing_max: Duration,
    longest_wait: LongestWait,
    waited: u64,
}

/// The next datagram.
#[derive(Default)]
struct Gathered {
    batch: Batch,
    identities: Vec<u64>,
    /// From when on its waiting counts.
    since: Option<Instant>,
    /// When what nobody will wait for leaves at the latest.
    later_by: Option<Instant>,
    message_bytes: usize,
    messages: u64,
    /// Whether somebody waits for one of them.
    is_awaited: bool,
    /// Whether somebody may soon.
    is_soon: bool,
}

impl PrioritySender {
    pub(super) fn new(
        destination: SocketAddr,
        limits: &Limits,
        meter: Arc<Meter>,
        wake_pacer: Arc<Notify>,
    ) -> Self {
        let state = State {
            connection: None,
            queue: FairQueue::new(limits.priority_queue_bytes_max),
            next: Gathered::default(),
            copies: LossCopies::default(),
            last_left: None,
            gather: Duration::ZERO,
            sparing_max: Duration::ZERO,
            longest_wait: LongestWait::new(Instant::now()),
            waited: 0,
        };
        Self {
            destination,
            meter,
            wake_pacer,
            state: Mutex::new(state),
        }
    }

    /// Lets sends through to `connection`, or to none; how many messages were waiting
    /// for the one before, and are lost.
    pub(super) fn attach(&self, connection: Option<Connection>) -> u64 {
        let mut state = lock(&self.state);
        state.connection = connection;
        state.last_left = None;
        state.gather = Duration::ZERO;
        state.sparing_max = Duration::ZERO;
        state.copies = LossCopies::default();
        let gathered = std::mem::take(&mut state.next);
        state.queue.clear() + gathered.messages
    }

    pub(super) fn on_rtt(&self, rtt: Duration) {
        let gather = (rtt / GATHER_RTT_PART).min(GATHER_MAX);
        let mut state = lock(&self.state);
        state.gather = if gather < GATHER_MIN {
            Duration::ZERO
        } else {
            gather
        };
        state.sparing_max = rtt / SPARING_RTT_PART;
        let State {
            connection, copies, ..
        } = &mut *state;
        if let Some(connection) = connection {
            copies.on_path_stats(&connection.stats().path, rtt, Instant::now());
        }
    }

    /// Bytes that wait, with their bookkeeping.
    pub(super) fn queued_bytes(&self) -> usize {
        let state = lock(&self.state);
        state.queue.charged_bytes() + state.next.batch.len()
    }

    /// How many messages have waited longer than a millisecond since the start, and
    /// how long the one did that waited longest of late.
    pub(super) fn waits(&self) -> (u64, Duration) {
        let mut state = lock(&self.state);
        (state.waited, state.longest_wait.get(Instant::now()))
    }

    /// Queues one user message.
    pub(super) fn send(&self, link: &Link, message: PriorityMessage) -> Result<(), SendError> {
        let refuse = |cause, error| {
            link.counters.on_dropped(cause, 1);
            Err(error)
        };
        if message.bytes.len() > PRIORITY_MESSAGE_BYTES_MAX {
            return refuse(DropCause::TooLarge, SendError::TooLarge);
        }
        let waiting = Waiting {
            entry: Entry::Message(message.bytes),
            identity: message.identity,
            haste: message.haste,
            since: Instant::now(),
        };
        match self.push(message.flow, waiting) {
            None => refuse(DropCause::Down, SendError::Down),
            Some(Pushed::Full) => refuse(DropCause::QueueFull, SendError::Full),
            Some(Pushed::Taken { displaced: 0 }) => Ok(()),
            Some(Pushed::Taken { displaced }) => {
                link.counters.on_dropped(DropCause::QueueFull, displaced);
                Ok(())
            }
            Some(Pushed::Replaced) => {
                link.counters.on_replaced();
                Ok(())
            }
        }
    }

    /// Queues a probe or its answer; one that finds no room is a lost probe. It waits
    /// as messages do, so that who repeats what is not answered in time hears of the
    /// wait, and repeats later.
    pub(super) fn send_probe(&self, entry: Entry) {
        let waiting = Waiting {
            entry,
            identity: None,
            haste: Haste::Awaited,
            since: Instant::now(),
        };
        let _ = self.push(Flow::Answers, waiting);
    }

    fn push(&self, flow: Flow, waiting: Waiting) -> Option<Pushed> {
        let mut state = lock(&self.state);
        state.connection.as_ref()?;
        let identity = waiting.identity;
        if identity.is_some_and(|identity| state.next.identities.contains(&identity)) {
            return Some(Pushed::Replaced);
        }
        let pushed = state.queue.push(flow, waiting);
        drop(state);
        self.wake_pacer.notify_one();
        Some(pushed)
    }

    /// The peer's turn at `now`; what left is counted on `link`.
    pub(super) fn turn(&self, link: &Link, now: Instant) -> Turn {
        let mut state = lock(&self.state);
        let State {
            connection: Some(connection),
            queue,
            next,
            copies,
            last_left,
            gather,
            sparing_max,
            longest_wait,
            waited,
        } = &mut *state
        else {
            return Turn::Idle;
        };
        // A byte less than QUIC takes: a copy has a mark.
        let bytes_max = connection
            .max_datagram_size()
            .unwrap_or_default()
            .saturating_sub(1);
        while let Some(waiting) = queue.pop_if(|w| next.batch.push(&w.entry, bytes_max)) {
            next.on_gathered(&waiting);
        }
        let copy_at = copies.due();
        let Some(since) = next.since else {
            return self.copy_turn(connection, copies, now);
        };
        let sparing = self.sparing(now).min(*sparing_max);
        let gather = sparing.max(*gather);
        let is_full = !queue.is_empty();
        let leaves_at = match (next.is_awaited, *last_left) {
            _ if is_full => now,
            (true, None) => now,
            (true, Some(left)) => left.min(since) + gather,
            (false, _) if next.is_soon => since + gather,
            (false, _) => since + sparing,
        };
        let later_by = next.later_by.map(|by| by + sparing);
        let leaves_at = later_by.map_or(leaves_at, |by| by.min(leaves_at));
        if leaves_at > now {
            return match copy_at {
                Some(at) if at <= now => self.copy_turn(connection, copies, now),
                Some(at) => Turn::Gathering(leaves_at.min(at)),
                None => Turn::Gathering(leaves_at),
            };
        }
        if let Err(at) = self.admit(connection, next.batch.len(), now) {
            return Turn::Blocked(at);
        }
        let wait = now.saturating_duration_since(since);
        longest_wait.on_wait(wait, now);
        if wait > NOTABLE_WAIT {
            *waited += next.messages;
        }
        let is_awaited = next.is_awaited;
        let (datagram, messages, bytes) = next.take();
        *last_left = Some(now);
        if connection.send_datagram(datagram.clone()).is_err() {
            // The connection has ended; whoever runs it is about to notice.
            link.counters.on_dropped(DropCause::Down, messages);
            return Turn::Sent;
        }
        link.counters.on_sent_together(messages, bytes);
        if is_awaited {
            copies.on_sent(datagram, now);
        }
        Turn::Sent
    }

    /// Sends the copy that is due, if budget and window allow: otherwise it is left
    /// out, for a path that is full loses more when it is sent more.
    fn copy_turn(&self, connection: &Connection, copies: &mut LossCopies, now: Instant) -> Turn {
        match copies.due() {
            None => Turn::Idle,
            Some(at) if at > now => Turn::Gathering(at),
            Some(_) => {
                if let Some(copy) = copies.take()
                    && self.admit(connection, copy.len(), now).is_ok()
                {
                    let _ = connection.send_datagram(copy);
                }
                Turn::Sent
            }
        }
    }

    /// How long datagrams had better gather for the budget's sake.
    fn sparing(&self, now: Instant) -> Duration {
        let headers = wire_bytes(&self.destination, 0);
        let budget = self.meter.budget();
        budget.map_or(Duration::ZERO, |budget| budget.spacing(headers, now))
    }

    /// Takes budget for a datagram, or says when to ask again.
    fn admit(&self, connection: &Connection, bytes: usize, now: Instant) -> Result<(), Instant> {
        if connection.datagram_send_buffer_space() < bytes {
            return Err(now + QUIC_FULL_RETRY);
        }
        match self.meter.budget() {
            None => Ok(()),
            Some(budget) => budget
                .reserve(wire_bytes(&self.destination, bytes), now)
                .map_err(|wait| now + wait),
        }
    }
}

impl Gathered {
    fn on_gathered(&mut self, waiting: &Waiting) {
        self.identities.extend(waiting.identity);
        let counts_from = match waiting.haste {
            Haste::Awaited | Haste::Soon => waiting.since,
            Haste::Later => {
                let by = waiting.since + LATER_MAX;
                self.later_by = Some(self.later_by.map_or(by, |at| at.min(by)));
                by
            }
        };
        self.since = Some(self.since.map_or(counts_from, |s| s.min(counts_from)));
        self.is_awaited |= waiting.haste == Haste::Awaited;
        self.is_soon |= waiting.haste == Haste::Soon;
        if let Entry::Message(message) = &waiting.entry {
            self.messages += 1;
            self.message_bytes += message.len();
        }
    }

    /// The datagram, its messages and their bytes.
    fn take(&mut self) -> (Bytes, u64, usize) {
        let taken = (self.batch.take(), self.messages, self.message_bytes);
        self.identities.clear();
        self.since = None;
        self.later_by = None;
        self.messages = 0;
        self.message_bytes = 0;
        self.is_awaited = false;
        self.is_soon = false;
        taken
    }
}
