//! Messages between nodes, in two classes that never wait for each other on the network:
//! each its own QUIC connection per pair of nodes, UDP socket, endpoint and DSCP, and but for
//! [`Threads::Shared`] its own OS thread.
//!
//! ```text
//!             TransportEvent (one bounded queue)
//!   owner  <------------------------------------+---------------------+
//!     | send_priority                           |                     |
//!     +-----> PrioritySender --> pacer --> datagrams [vivace-priority] |
//!     | send_bulk                                                     |
//!     +-----> LaneQueue -------> streams              [thread vivace-bulk]
//! ```
//!
//! The lower node dials, both directions share the connection, and a peer counts
//! as up only after a hello that fits its certificate and the address book on
//! both sides.

mod accept;
mod batch;
mod budget;
mod bulk;
mod class_endpoint;
mod class_service;
mod connection_ids;
mod counters;
mod dial;
mod dscp_table;
mod event;
mod events;
mod fair_queue;
mod fixed_window;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod hello;
pub mod identity;
mod lane_queue;
mod lane_turns;
mod limits;
mod link;
pub(crate) mod lock;
mod loss_copies;
mod metered_socket;
mod outgoing;
mod pacer;
mod peer_stream;
mod pipe_window;
mod precise_timer;
mod priority;
mod refusal;
pub(crate) mod reset;
mod session;
mod socket;
mod state;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use vivace_core::agreement::Agreement;
use vivace_core::{Incarnation, NodeId, SiteId};

use budget::Budgets;
use class_service::ClassService;
use events::Events;
use identity::{ClusterName, Identity, Role};
use metered_socket::Meter;
use refusal::RefusalLog;
use state::{AddressBook, LocalNode, Peer, Shared};

use crate::event_loop::EventLoop;
use crate::storage::identity::{ClusterId, StateHistory};
use crate::storage::peer_states::PeerStates;
use crate::threads::{Scheduling, Task, Threads};

pub use class_service::{SocketFactory, ThreadError};
pub use dscp_table::{DscpObservation, REMOTES_MAX};
pub use event::{BulkLane, Flow, Haste, PriorityMessage, SendError, TrafficClass, TransportEvent};
pub use limits::{
    BULK_FRAME_OVERHEAD_BYTES, BoundScope, LimitError, Limits, PRIORITY_MESSAGE_BYTES_MAX,
    PRIORITY_MTU_BYTES, PriorityBound,
};
pub use refusal::RefusalCause;
pub use socket::{ClassSocket, DSCP_MAX, DscpSocket, ObservedDscp, ObservesDscp};
pub use state::PeerAddress;
pub use status::{LinkStatus, PeerStatus, TransportStatus, WireStatus};

/// Who we are, whom we talk to, and within which bounds.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// The cluster.
    pub cluster: ClusterName,
    /// Which cluster of this name; none where its file does not say.
    pub cluster_id: Option<ClusterId>,
    /// Our node.
    pub me: NodeId,
    /// The site that we stand in.
    pub site: SiteId,
    /// Our present life; larger at every start.
    pub incarnation: Incarnation,
    /// The state whose lives these are; none where that is in memory only.
    pub state: Option<StateHistory>,
    /// What outlives us of what we meet of our peers' states; none where nothing does.
    pub peer_states: Option<Arc<PeerStates>>,
    /// Our certificate, which must say the same.
    pub identity: Identity,
    /// The containers by name, with what peers must agree on.
    pub containers: Vec<(String, Agreement)>,
    /// Every other node; those with a smaller number dial us.
    pub peers: Vec<PeerAddress>,
    /// Bounds and intervals.
    pub limits: Limits,
    /// Which threads the connections have.
    pub threads: Threads,
    /// How the threads are scheduled.
    pub scheduling: Scheduling,
}

/// Why the transport did not start; nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A limit is out of its range.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The certificate speaks for someone else.
    #[error("the certificate is for {certified}, the configuration for {configured}")]
    Identity {
        /// What the certificate says.
        certified: Role,
        /// What `cluster`, `me` and `site` say.
        configured: Role,
    },
    /// `peers` has our own node.
    #[error("peers: {0} is our own node; list the others only")]
    PeerIsSelf(NodeId),
    /// `peers` has a node twice.
    #[error("peers: {0} is listed twice")]
    PeerTwice(NodeId),
    /// A class's thread did not start.
    #[error("{}: {source}", class.name())]
    Thread {
        /// The class.
        class: TrafficClass,
        /// What went wrong.
        source: ThreadError,
    },
}

/// Both classes' connections to every peer. Dropping it is [`shutdown`](Self::shutdown).
pub struct Transport {
    shared: Arc<Shared>,
    priority: ClassService,
    bulk: ClassService,
}

impl Transport {
    /// Binds both classes' sockets, each on the thread that [`Threads`] gives its class:
    /// nobody is dialled, and nobody who dials is answered, before
    /// [`connect`](Self::connect). Each factory runs on its class's thread, inside its runtime.
    ///
    /// `events` must be drained: bulk waits while it is half full, ups and downs
    /// wait while it is full, and priority messages that find it full are dropped
    /// and counted.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub fn bind(
        config: TransportConfig,
        priority: SocketFactory,
        bulk: SocketFactory,
        events: mpsc::Sender<TransportEvent>,
    ) -> Result<Self, StartError> {
        config.limits.validate()?;
        let identity = config.identity.clone();
        let scheduling = config.scheduling;
        let threads = config.threads.under(scheduling);
        let shared = Arc::new(shared_state(config, events)?);
        let failed = |class| move |source| StartError::Thread { class, source };
        let own_loop = |class, task| {
            EventLoop::start(scheduling, task)
                .map_err(ThreadError::Thread)
                .map_err(failed(class))
        };
        let start = |on, class, factory| {
            let (shared, identity) = (shared.clone(), identity.clone());
            ClassService::start(on, shared, class, identity, factory).map_err(failed(class))
        };
        let first = own_loop(TrafficClass::Priority, Task::Priority)?;
        let second = match threads {
            Threads::Split => own_loop(TrafficClass::Bulk, Task::Bulk)?,
            Threads::Shared => first.clone(),
        };
        let priority = start(first, TrafficClass::Priority, priority)?;
        match start(second, TrafficClass::Bulk, bulk) {
            Ok(bulk) => Ok(Self {
                shared,
                priority,
                bulk,
            }),
            Err(error) => {
                shared.shutdown.send_replace(true);
                priority.join();
                Err(error)
            }
        }
    }

    /// Begins to dial peers, and to answer those that dial.
    pub fn connect(&self) {
        self.shared.is_open.send_replace(true);
    }

    /// The priority thread's runtime: what runs there reaches the priority
    /// connections without a change of thread. Tasks on it end with the
    /// transport; one that computes for long delays every timestamp.
    pub fn priority_handle(&self) -> Handle {
        self.priority.service.runtime().clone()
    }

    /// The priority thread, for whoever shares it: it ends with the last of them. None after
    /// [`shutdown`](Self::shutdown).
    pub(crate) fn priority_loop(&self) -> Option<Arc<EventLoop>> {
        self.priority.service.event_loop()
    }

    /// The address that a class's socket is bound to.
    pub fn local_addr(&self, class: TrafficClass) -> SocketAddr {
        match class {
            TrafficClass::Priority => self.priority.local_addr,
            TrafficClass::Bulk => self.bulk.local_addr,
        }
    }

    /// Queues a priority message of up to [`PRIORITY_MESSAGE_BYTES_MAX`] bytes.
    /// Doesn't block, from any thread. It may be lost on the way, or overtaken, and
    /// where the path loses packets it may arrive twice.
    ///
    /// # Errors
    /// [`SendError`]; the message surely was not sent.
    pub fn send_priority(
        &self,
        to: NodeId,
        message: impl Into<PriorityMessage>,
    ) -> Result<(), SendError> {
        let peer = self.shared.book.get(&to).ok_or(SendError::Unknown)?;
        peer.priority_sender.send(&peer.priority, message.into())
    }

    /// Queues a bulk message of up to [`Limits::bulk_frame_bytes_max`] bytes.
    /// Doesn't block, from any thread. It arrives once, in order within its lane,
    /// unless the connection ends first: then `PeerDown` says so, and whether it
    /// arrived is unknown.
    ///
    /// # Errors
    /// [`SendError`]; the message surely was not sent.
    pub fn send_bulk(&self, to: NodeId, lane: BulkLane, message: Bytes) -> Result<(), SendError> {
        let peer = self.shared.book.get(&to).ok_or(SendError::Unknown)?;
        bulk::send(peer, lane, message)
    }

    /// Turns true when the transport ends, which it does by itself where it can't go on.
    pub(crate) fn ended(&self) -> watch::Receiver<bool> {
        self.shared.shutdown.subscribe()
    }

    /// The present state of every connection, and all counts.
    pub fn status(&self) -> TransportStatus {
        TransportStatus::of(&self.shared)
    }

    /// Closes every connection and ends its threads, within about a second; a thread
    /// that calls this itself ends soon after. Further calls do nothing.
    /// No event follows, not even `PeerDown`.
    pub fn shutdown(&self) {
        self.shared.shutdown.send_replace(true);
        self.priority.join();
        self.bulk.join();
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Checks the configuration and makes what both threads share.
fn shared_state(
    config: TransportConfig,
    events: mpsc::Sender<TransportEvent>,
) -> Result<Shared, StartError> {
    let TransportConfig {
        cluster,
        cluster_id,
        me,
        site,
        incarnation,
        state,
        peer_states,
        identity,
        containers,
        peers,
        limits,
        threads: _,
        scheduling: _,
    } = config;
    let configured = Role::Node {
        cluster: cluster.clone(),
        node: me,
        site,
    };
    if *identity.role() != configured {
        return Err(StartError::Identity {
            certified: identity.role().clone(),
            configured,
        });
    }
    let wake_pacer = Arc::new(Notify::new());
    let mut budgets = Budgets::new(&limits, site);
    let mut book = AddressBook::new();
    for address in peers {
        let node = address.node;
        if node == me {
            return Err(StartError::PeerIsSelf(node));
        }
        let meter = Arc::new(Meter::new(budgets.of(address.site)));
        let states = peer_states.clone();
        let peer = Peer::new(address, &limits, meter, wake_pacer.clone(), states);
        if book.insert(node, Arc::new(peer)).is_some() {
            return Err(StartError::PeerTwice(node));
        }
    }
    Ok(Shared {
        local: LocalNode {
            cluster,
            cluster_id,
            node: me,
            site,
            incarnation,
            state,
            agreements: containers
                .into_iter()
                .map(|(name, agreed)| (agreed.container, (name, agreed)))
                .collect(),
        },
        book,
        limits,
        events: Events::new(events),
        wake_pacer,
        refused: RefusalLog::new("refused a connection"),
        refused_by_peers: RefusalLog::new("a peer refused our connection"),
        shutdown: watch::Sender::new(false),
        is_open: watch::Sender::new(false),
    })
}
