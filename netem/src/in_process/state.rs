//! What sockets and the delivery thread share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::mailbox::{Datagram, Mailbox, Posted};
use crate::lateness::LatenessHistogram;
use crate::{MTU_BYTES, Packet, Site, WanModel};

/// How often cross traffic is computed while nothing else happens, so that no send
/// has to catch up on more than this much of it.
const CROSS_TRAFFIC_STEP: Duration = Duration::from_millis(10);

/// The model, the sockets and the counters, under one lock.
pub(super) struct Shared {
    origin: Instant,
    state: Mutex<State>,
    /// Told when the delivery thread must look again sooner than it meant to.
    sooner: Condvar,
}

pub(super) struct State {
    pub(super) model: WanModel<Datagram>,
    pub(super) sockets: HashMap<SocketAddr, Bound>,
    pub(super) lateness: LatenessHistogram,
    pub(super) drops: Drops,
    pub(super) stopped: bool,
    thread: ThreadState,
}

/// What the delivery thread is doing, as seen by whoever holds the lock.
enum ThreadState {
    /// It will look at the model before it sleeps.
    Awake,
    /// It sleeps until then; `None`: until told.
    Asleep(Option<Duration>),
}

/// An address in use.
pub(super) struct Bound {
    pub(super) site: Site,
    pub(super) mailbox: Arc<Mailbox>,
}

/// Datagrams that no link dropped.
#[derive(Clone, Copy, Default)]
pub(super) struct Drops {
    pub(super) unknown_address: u64,
    pub(super) oversized: u64,
    pub(super) receive_overflow: u64,
}

/// One datagram with its sender's side of the story.
pub(super) struct Outgoing {
    pub(super) site: Site,
    pub(super) dscp: u8,
    pub(super) datagram: Datagram,
}

impl Shared {
    pub(super) fn new(model: WanModel<Datagram>) -> Self {
        Self {
            origin: Instant::now(),
            state: Mutex::new(State {
                model,
                sockets: HashMap::new(),
                lateness: LatenessHistogram::new(),
                drops: Drops::default(),
                stopped: false,
                thread: ThreadState::Awake,
            }),
            sooner: Condvar::new(),
        }
    }

    /// Virtual time: since the WAN started. Read it under the lock, or sends of two
    /// threads could enter the model in the wrong order.
    pub(super) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics half way through a change under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `act` on the state at the current time, and wakes the delivery thread if
    /// there is now something to do before it would wake by itself.
    pub(super) fn act<T>(&self, act: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.lock();
        let now = self.now();
        let result = act(&mut state, now);
        if let ThreadState::Asleep(until) = state.thread
            && let Some(wanted) = state.next_look(now)
            && until.is_none_or(|until| wanted < until)
        {
            state.thread = ThreadState::Awake;
            drop(state);
            self.sooner.notify_one();
        }
        result
    }

    /// Tells the delivery thread to end.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.sooner.notify_one();
    }

    /// Gives the state back once something is due, or `None` when the WAN has stopped.
    pub(super) fn wait_until_due(&self) -> Option<MutexGuard<'_, State>> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            let now = self.now();
            if state.model.next_event().is_some_and(|next| next <= now) {
                return Some(state);
            }
            if state.model.has_cross_traffic() {
                state.model.advance(now);
            }
            let until = state.next_look(now);
            state.thread = ThreadState::Asleep(until);
            state = match until {
                Some(until) => {
                    let sleep = until.saturating_sub(self.now());
                    let (state, _) = self
                        .sooner
                        .wait_timeout(state, sleep)
                        .unwrap_or_else(PoisonError::into_inner);
                    state
                }
                None => self
                    .sooner
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
            state.thread = ThreadState::Awake;
        }
    }
}

impl State {
    /// When the delivery thread must look at the model again.
    fn next_look(&self, now: Duration) -> Option<Duration> {
        let step = self
            .model
            .has_cross_traffic()
            .then(|| now + CROSS_TRAFFIC_STEP);
        self.model.next_event().into_iter().chain(step).min()
    }

    /// Puts a datagram on its link, or drops it silently, as UDP does.
    pub(super) fn send(&mut self, now: Duration, outgoing: Outgoing) {
        let Outgoing {
            site,
            dscp,
            datagram,
        } = outgoing;
        if self.stopped {
            // Nobody will ever take it out of the model.
            return;
        }
        let Some(bound) = self.sockets.get(&datagram.destination) else {
            self.drops.unknown_address += 1;
            return;
        };
        let Some(bytes) = packet_bytes(&datagram) else {
            self.drops.oversized += 1;
            return;
        };
        let packet = Packet {
            bytes,
            dscp,
            payload: datagram,
        };
        // The sender of a datagram never learns its fate; the link counts it.
        let _ = self.model.send(now, site, bound.site, packet);
    }

    /// Moves what is due by `now` into mailboxes; returns the tasks to wake.
    pub(super) fn deliver(&mut self, now: Duration, wake: &mut Vec<Waker>) {
        while let Some(arrived) = self.model.poll(now) {
            let delivery = arrived.delivery;
            let (datagram, dscp) = (delivery.packet.payload, delivery.packet.dscp);
            let Some(bound) = self.sockets.get(&datagram.destination) else {
                // Its socket was closed while it travelled.
                self.drops.unknown_address += 1;
                continue;
            };
            match bound.mailbox.post(datagram, dscp) {
                Posted::Waits(waker) => {
                    self.lateness.record(now.saturating_sub(delivery.arrival));
                    wake.extend(waker);
                }
                Posted::Overflow => self.drops.receive_overflow += 1,
            }
        }
    }
}

/// Size of the IP packet that carries `datagram`, or `None` if it would exceed the
/// MTU: links drop it rather than fragment it, so that MTU discovery finds the truth.
fn packet_bytes(datagram: &Datagram) -> Option<u32> {
    // IPv4 20, IPv6 40, UDP 8.
    let headers = if datagram.destination.is_ipv4() {
        28
    } else {
        48
    };
    let bytes = u32::try_from(datagram.contents.len())
        .ok()?
        .checked_add(headers)?;
    (bytes <= MTU_BYTES).then_some(bytes)
}
