//! What has arrived for one socket.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use quinn::udp::EcnCodepoint;

/// Bytes of datagrams that may wait for a socket's owner; more are dropped and
/// counted. 2 MiB is what servers usually raise the kernel's to.
pub const RECEIVE_BUFFER_BYTES: usize = 2 << 20;

/// Each datagram takes this much of the buffer beside its contents, as in a kernel,
/// or empty ones would fit without bound.
const DATAGRAM_OVERHEAD_BYTES: usize = 256;

/// Remote addresses whose last mark is remembered; one more and all are forgotten, to
/// be learnt again from the next packets.
const REMOTES_MAX: usize = 4096;

/// A datagram between two sockets.
pub(super) struct Datagram {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) contents: Bytes,
}

/// A socket's receive queue, filled by the delivery thread and emptied by the owner.
#[derive(Default)]
pub(super) struct Mailbox(Mutex<Inner>);

#[derive(Default)]
pub(super) struct Inner {
    queue: VecDeque<Datagram>,
    waiting_bytes: usize,
    waker: Option<Waker>,
    observed_dscp: HashMap<SocketAddr, u8>,
    detached: bool,
}

/// What became of a datagram at its mailbox.
pub(super) enum Posted {
    /// It waits; wake this task, once no lock is held.
    Waits(Option<Waker>),
    /// The mailbox was full.
    Overflow,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code panics half way through a change under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn post(&self, datagram: Datagram, dscp: u8) -> Posted {
        let mut inner = self.lock();
        let size = datagram.contents.len() + DATAGRAM_OVERHEAD_BYTES;
        if inner.waiting_bytes + size > RECEIVE_BUFFER_BYTES {
            return Posted::Overflow;
        }
        if inner.observed_dscp.len() >= REMOTES_MAX
            && !inner.observed_dscp.contains_key(&datagram.source)
        {
            inner.observed_dscp.clear();
        }
        inner.observed_dscp.insert(datagram.source, dscp);
        inner.waiting_bytes += size;
        inner.queue.push_back(datagram);
        Posted::Waits(inner.waker.take())
    }

    /// The next datagram, if any waits; else `waker` is called when one comes.
    pub(super) fn take_or_wait(&self, waker: &Waker) -> Option<Datagram> {
        let mut inner = self.lock();
        if let Some(datagram) = inner.take() {
            return Some(datagram);
        }
        let old = match &inner.waker {
            Some(known) if known.will_wake(waker) => None,
            _ => inner.waker.replace(waker.clone()),
        };
        // Dropping a waker may drop its task, and that task's socket: not under the lock.
        drop(inner);
        drop(old);
        None
    }

    pub(super) fn take(&self) -> Option<Datagram> {
        self.lock().take()
    }

    pub(super) fn observed_dscp(&self, remote: SocketAddr) -> Option<u8> {
        self.lock().observed_dscp.get(&remote).copied()
    }

    /// Cuts the socket off for good: what waits is lost, nothing more is sent.
    pub(super) fn detach(&self) {
        let mut inner = self.lock();
        inner.detached = true;
        inner.queue.clear();
        inner.waiting_bytes = 0;
    }

    pub(super) fn is_detached(&self) -> bool {
        self.lock().detached
    }
}

impl Inner {
    fn take(&mut self) -> Option<Datagram> {
        let datagram = self.queue.pop_front()?;
        self.waiting_bytes -= datagram.contents.len() + DATAGRAM_OVERHEAD_BYTES;
        Some(datagram)
    }
}
