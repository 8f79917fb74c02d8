//! The handle by which a program starts, uses and changes its WAN.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::{fmt, io};

use thiserror::Error;

use super::delivery;
use super::mailbox::Mailbox;
use super::socket::WanSocket;
use super::state::{Bound, Shared};
use crate::lateness::{Lateness, LatenessHistogram};
use crate::{LinkReport, Site, Topology, TopologyError, WanError, WanModel};

/// First port that [`Wan::socket`] picks by itself: the dynamic range (RFC 6335).
const DYNAMIC_PORT_MIN: u16 = 49_152;

/// A running WAN. Clones are handles to the same one; it stops when the last is gone,
/// whatever sockets are left.
#[derive(Clone)]
pub struct Wan {
    shared: Arc<Shared>,
    thread: Arc<DeliveryThread>,
}

/// What happened since the start.
#[derive(Clone, Debug)]
pub struct WanStats {
    /// Every link's counters, by `from`, then `to`.
    pub links: Vec<LinkReport>,
    /// Datagrams between sites that no link joins.
    pub no_route: u64,
    /// Datagrams to an address that nobody had bound, when sent or when they arrived.
    pub unknown_address: u64,
    /// Datagrams that don't fit a packet.
    pub oversized: u64,
    /// Datagrams that found their socket's receive buffer full.
    pub receive_overflow: u64,
    /// How late deliveries were since the start, or since [`Wan::take_lateness`].
    pub lateness: Lateness,
}

/// Why a WAN did not start; nothing is left behind.
#[derive(Debug, Error)]
pub enum StartError {
    /// The topology is refused.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// No thread to deliver with.
    #[error("could not start the delivery thread")]
    Thread(#[source] io::Error),
}

/// Why a socket was not bound; nothing was changed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SocketError {
    /// The topology has no such site.
    #[error("there is no {0}")]
    NoSite(Site),
    /// A DSCP has six bits.
    #[error("dscp must be 0 to 63, not {0}")]
    Dscp(u8),
    /// Peers could not name an unspecified address.
    #[error("{0} is no address that a peer can send to")]
    Unspecified(SocketAddr),
    /// Another socket has the address; free it first.
    #[error("{0} is in use")]
    InUse(SocketAddr),
    /// No port is free at this IP address.
    #[error("no free port at {0}")]
    NoPort(SocketAddr),
}

impl Wan {
    /// Starts the WAN; all its randomness follows from `seed`. (What happens still
    /// depends on when packets are sent, which the wall clock decides.)
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(topology: &Topology, seed: u64) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::new(WanModel::new(topology, seed)?));
        let thread = delivery::spawn(Arc::clone(&shared)).map_err(StartError::Thread)?;
        let thread = Arc::new(DeliveryThread {
            shared: Arc::clone(&shared),
            handle: Mutex::new(Some(thread)),
        });
        Ok(Self { shared, thread })
    }

    /// Binds a socket that marks every packet with `dscp`. The address is virtual: any
    /// will do that no other socket of this WAN has; port 0 picks a free one.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn socket(
        &self,
        site: Site,
        address: SocketAddr,
        dscp: u8,
    ) -> Result<Arc<WanSocket>, SocketError> {
        if dscp > 63 {
            return Err(SocketError::Dscp(dscp));
        }
        if address.ip().is_unspecified() {
            return Err(SocketError::Unspecified(address));
        }
        let mut state = self.shared.lock();
        if site.0 >= state.model.sites() {
            return Err(SocketError::NoSite(site));
        }
        let address = if address.port() == 0 {
            (DYNAMIC_PORT_MIN..=u16::MAX)
                .map(|port| SocketAddr::new(address.ip(), port))
                .find(|candidate| !state.sockets.contains_key(candidate))
                .ok_or(SocketError::NoPort(address))?
        } else {
            address
        };
        if state.sockets.contains_key(&address) {
            return Err(SocketError::InUse(address));
        }
        let mailbox = Arc::new(Mailbox::default());
        let bound = Bound {
            site,
            mailbox: Arc::clone(&mailbox),
        };
        state.sockets.insert(address, bound);
        drop(state);
        let shared = Arc::clone(&self.shared);
        Ok(Arc::new(WanSocket::new(
            shared, mailbox, site, address, dscp,
        )))
    }

    /// Cuts a socket off as if its machine had lost power: what it sends from now on
    /// vanishes, nothing more reaches it, and its address can be bound again at once.
    /// Packets already on their way still arrive. False if nobody has the address.
    pub fn crash(&self, address: SocketAddr) -> bool {
        let bound = self.shared.lock().sockets.remove(&address);
        match bound {
            Some(bound) => {
                bound.mailbox.detach();
                true
            }
            None => false,
        }
    }

    /// Offers `fraction` of the link's rate as Poisson cross traffic of full-sized bulk
    /// packets, one way; 0 stops it.
    ///
    /// # Errors
    /// [`WanError`]; the old load stays.
    pub fn congest(&self, from: Site, to: Site, fraction: f64) -> Result<(), WanError> {
        self.shared
            .act(|state, now| state.model.congest(now, from, to, fraction))
    }

    /// Takes one direction up or down; see [`Link::set_up`](crate::Link::set_up).
    ///
    /// # Errors
    /// [`WanError::NoLink`].
    pub fn set_up(&self, from: Site, to: Site, up: bool) -> Result<(), WanError> {
        self.shared
            .act(|state, now| state.model.set_up(now, from, to, up))
    }

    /// Changes one direction's rate.
    ///
    /// # Errors
    /// [`WanError`]; the rate stays.
    pub fn set_rate(&self, from: Site, to: Site, bits_per_second: u64) -> Result<(), WanError> {
        self.shared
            .act(|state, now| state.model.set_rate(now, from, to, bits_per_second))
    }

    /// Changes one direction's chance of loss.
    ///
    /// # Errors
    /// [`WanError`]; the chance stays.
    pub fn set_loss(&self, from: Site, to: Site, loss: f64) -> Result<(), WanError> {
        self.shared
            .act(|state, now| state.model.set_loss(now, from, to, loss))
    }

    /// All counters as they are now.
    pub fn stats(&self) -> WanStats {
        let mut state = self.shared.lock();
        let now = self.shared.now();
        WanStats {
            links: state.model.reports(now),
            no_route: state.model.no_route_packets(),
            unknown_address: state.drops.unknown_address,
            oversized: state.drops.oversized,
            receive_overflow: state.drops.receive_overflow,
            lateness: state.lateness.summary(),
        }
    }

    /// The lateness since the last call, and begins anew: an experiment asks once per
    /// window and discards windows that the machine spoilt.
    pub fn take_lateness(&self) -> Lateness {
        let mut state = self.shared.lock();
        let summary = state.lateness.summary();
        state.lateness = LatenessHistogram::new();
        summary
    }

    /// Stops delivery and waits for the thread to end. Sockets stay open, silent in both
    /// directions, as if every cable were cut. Calling it again does nothing.
    pub fn shutdown(&self) {
        self.thread.end();
    }
}

impl fmt::Debug for Wan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wan").finish_non_exhaustive()
    }
}

/// Ends the thread with the last handle. The thread itself holds none.
struct DeliveryThread {
    shared: Arc<Shared>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl DeliveryThread {
    fn end(&self) {
        self.shared.stop();
        let handle = self
            .handle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(handle) = handle {
            // Waking a task may drop the last handle on the delivery thread itself,
            // which can't wait for its own end.
            if handle.thread().id() != thread::current().id() {
                // It ends by panic only if a waker panicked; there is nobody to tell.
                let _ = handle.join();
            }
        }
    }
}

impl Drop for DeliveryThread {
    fn drop(&mut self) {
        self.end();
    }
}
