//! Priority messages to one peer that can't leave at once: bounded in bytes, fair
//! between containers, and a message said again takes the place of what it repeats.
//!
//! Fairness is deficit round robin (Shreedhar and Varghese, 1995): a flow that has
//! much to say delays itself, not the others. When there is no more room, it is the
//! longest flow that loses its newest message.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Instant;

use super::batch::Entry;
use super::event::{Flow, Haste};

/// Bytes that a waiting message is charged on top of its own.
const OVERHEAD_BYTES: usize = 64;

/// What a flow may send in its turn, in bytes: a handful of messages, which then
/// resemble each other and share a packet.
const QUANTUM_BYTES: usize = 512;

/// A message that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) entry: Entry,
    /// What it repeats, or what will repeat it.
    pub(super) identity: Option<u64>,
    pub(super) haste: Haste,
    pub(super) since: Instant,
}

impl Waiting {
    /// The message's own bytes; a probe's are few and its overhead's.
    pub(super) fn len(&self) -> usize {
        match &self.entry {
            Entry::Message(message) => message.len(),
            Entry::Ping { .. } | Entry::Pong { .. } => 0,
        }
    }

    fn charge(&self) -> usize {
        self.len() + OVERHEAD_BYTES
    }
}

/// What became of a message that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits; so many of a longer flow lost their place to it.
    Taken { displaced: u64 },
    /// It took the place of what it repeats.
    Replaced,
    /// There is no room.
    Full,
}

#[derive(Debug, Default)]
struct FlowQueue {
    messages: VecDeque<Waiting>,
    charged_bytes: usize,
    credit_bytes: usize,
}

#[derive(Debug)]
pub(super) struct FairQueue {
    bytes_max: usize,
    charged_bytes: usize,
    flows: BTreeMap<Flow, FlowQueue>,
    /// Whose turn it is; every flow with messages, once.
    turns: VecDeque<Flow>,
    identities: HashSet<u64>,
}

impl FairQueue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            charged_bytes: 0,
            flows: BTreeMap::new(),
            turns: VecDeque::new(),
            identities: HashSet::new(),
        }
    }

    /// Bytes waiting, with their overhead.
    pub(super) fn charged_bytes(&self) -> usize {
        self.charged_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(super) fn push(&mut self, flow: Flow, message: Waiting) -> Pushed {
        let is_repeat = message
            .identity
            .is_some_and(|identity| self.identities.contains(&identity));
        if is_repeat {
            return self.replace(flow, message);
        }
        let mut displaced = 0;
        while self.charged_bytes + message.charge() > self.bytes_max {
            if !self.displace_longer_than(flow, message.charge()) {
                return Pushed::Full;
            }
            displaced += 1;
        }
        self.identities.extend(message.identity);
        self.charged_bytes += message.charge();
        let queue = self.flows.entry(flow).or_default();
        queue.charged_bytes += message.charge();
        if queue.messages.is_empty() {
            queue.credit_bytes = QUANTUM_BYTES;
            self.turns.push_back(flow);
        }
        queue.messages.push_back(message);
        Pushed::Taken { displaced }
    }

    /// The newer text of what waits already; its place and its age stay.
    fn replace(&mut self, flow: Flow, message: Waiting) -> Pushed {
        let Some(queue) = self.flows.get_mut(&flow) else {
            return Pushed::Replaced;
        };
        let same = |waiting: &&mut Waiting| waiting.identity == message.identity;
        if let Some(waiting) = queue.messages.iter_mut().find(same) {
            let (old, new) = (waiting.charge(), message.charge());
            queue.charged_bytes = queue.charged_bytes - old + new;
            self.charged_bytes = self.charged_bytes - old + new;
            waiting.entry = message.entry;
            waiting.haste = waiting.haste.min(message.haste);
        }
        Pushed::Replaced
    }

    /// Drops the newest message of the longest flow, if that flow is longer than
    /// `flow` would be with `bytes` more.
    fn displace_longer_than(&mut self, flow: Flow, bytes: usize) -> bool {
        let own = self.flows.get(&flow).map_or(0, |queue| queue.charged_bytes);
        let longest = self
            .flows
            .iter_mut()
            .max_by_key(|(_, queue)| queue.charged_bytes)
            .filter(|(_, queue)| queue.charged_bytes > own + bytes);
        let Some((&longest, queue)) = longest else {
            return false;
        };
        let Some(newest) = queue.messages.pop_back() else {
            return false;
        };
        queue.charged_bytes -= newest.charge();
        if queue.messages.is_empty() {
            self.turns.retain(|turn| *turn != longest);
        }
        self.left(&newest);
        true
    }

    /// Takes the next message, if `fits` it.
    pub(super) fn pop_if(&mut self, fits: impl FnOnce(&Waiting) -> bool) -> Option<Waiting> {
        loop {
            let flow = *self.turns.front()?;
            let requests = self.requests_with_messages();
            let queue = self.flows.get_mut(&flow)?;
            let head = queue.messages.front()?.charge();
            if head > queue.credit_bytes {
                queue.credit_bytes += match flow {
                    // One flow for the answers to all containers: half of the whole.
                    Flow::Answers => QUANTUM_BYTES * requests.max(1),
                    Flow::Requests(_) => QUANTUM_BYTES,
                };
                self.turns.rotate_left(1);
                continue;
            }
            let message = queue.messages.pop_front()?;
            if !fits(&message) {
                queue.messages.push_front(message);
                return None;
            }
            queue.credit_bytes -= head;
            queue.charged_bytes -= head;
            if queue.messages.is_empty() {
                self.flows.remove(&flow);
                self.turns.pop_front();
            }
            self.left(&message);
            return Some(message);
        }
    }

    fn requests_with_messages(&self) -> usize {
        let answers = self.flows.get(&Flow::Answers);
        let answers = answers.is_some_and(|queue| !queue.messages.is_empty());
        self.turns.len() - usize::from(answers)
    }

    fn left(&mut self, message: &Waiting) {
        self.charged_bytes -= message.charge();
        if let Some(identity) = message.identity {
            self.identities.remove(&identity);
        }
    }

    /// Drops everything; how many messages that were.
    pub(super) fn clear(&mut self) -> u64 {
        let messages = |queue: &FlowQueue| queue.messages.len() as u64;
        let dropped = self.flows.values().map(messages).sum();
        *self = Self::new(self.bytes_max);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(text: &[u8], identity: Option<u64>) -> Waiting {
        Waiting {
            entry: Entry::Message(Bytes::copy_from_slice(text)),
            identity,
            haste: Haste::Awaited,
            since: Instant::now(),
        }
    }

    fn text(waiting: Waiting) -> Vec<u8> {
        match waiting.entry {
            Entry::Message(message) => message.to_vec(),
            other => panic!("{other:?} is no message"),
        }
    }

    fn drain(queue: &mut FairQueue) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| queue.pop_if(|_| true).map(text)).collect()
    }

    const A: Flow = Flow::Requests(1);
    const B: Flow = Flow::Requests(2);

    #[test]
    fn a_container_with_much_to_say_does_not_delay_another() {
        let mut queue = FairQueue::new(1 << 20);
        for _ in 0..1_000 {
            queue.push(A, message(&[0; 40], None));
        }
        for _ in 0..10 {
            queue.push(B, message(&[1; 40], None));
        }
        for _ in 0..10 {
            queue.push(Flow::Answers, message(&[2; 40], None));
        }
        let order = drain(&mut queue);
        assert_eq!(order.len(), 1_020);
        for flow in [1, 2] {
            let last = order
                .iter()
                .rposition(|m| m[0] == flow)
                .expect("it was queued");
            assert!(last < 60, "the last of flow {flow} left as number {last}");
        }
        assert_eq!((queue.charged_bytes(), queue.is_empty()), (0, true));
    }

    #[test]
    fn answers_get_half_whatever_the_number_of_containers() {
        let mut queue = FairQueue::new(1 << 20);
        for container in 0..8 {
            for _ in 0..400 {
                queue.push(Flow::Requests(container), message(&[0; 40], None));
            }
        }
        for _ in 0..400 {
            queue.push(Flow::Answers, message(&[2; 40], None));
        }
        let order = drain(&mut queue);
        let answers = order[..800].iter().filter(|m| m[0] == 2).count();
        assert!((350..=400).contains(&answers), "{answers} of the first 800");
    }

    #[test]
    fn a_full_queue_takes_from_the_longest_flow_alone() {
        let mut queue = FairQueue::new(100 * (36 + OVERHEAD_BYTES));
        for _ in 0..100 {
            assert_eq!(
                queue.push(A, message(&[0; 36], None)),
                Pushed::Taken { displaced: 0 }
            );
        }
        assert_eq!(queue.push(A, message(&[0; 36], None)), Pushed::Full);
        for _ in 0..50 {
            assert_eq!(
                queue.push(B, message(&[1; 36], None)),
                Pushed::Taken { displaced: 1 }
            );
        }
        assert_eq!(queue.push(B, message(&[1; 36], None)), Pushed::Full);
        let order = drain(&mut queue);
        assert_eq!(order.iter().filter(|m| m[0] == 1).count(), 50);
        assert_eq!(order.len(), 100);
    }

    #[test]
    fn a_repeat_takes_the_place_of_what_it_repeats() {
        let mut queue = FairQueue::new(1 << 20);
        queue.push(A, message(b"first", Some(1)));
        queue.push(A, message(b"second", Some(2)));
        assert_eq!(
            queue.push(A, message(b"first again", Some(1))),
            Pushed::Replaced
        );
        assert_eq!(
            drain(&mut queue),
            [b"first again".to_vec(), b"second".to_vec()]
        );
        let again = queue.push(A, message(b"later", Some(1)));
        assert_eq!(again, Pushed::Taken { displaced: 0 }, "it had left");
        assert_eq!(queue.clear(), 1);
        assert!(queue.is_empty() && queue.pop_if(|_| true).is_none());
    }

    #[test]
    fn what_does_not_fit_stays_first() {
        let mut queue = FairQueue::new(1 << 20);
        queue.push(A, message(b"first", None));
        queue.push(A, message(b"second", None));
        assert!(queue.pop_if(|_| false).is_none());
        assert_eq!(drain(&mut queue), [b"first".to_vec(), b"second".to_vec()]);
    }
}
