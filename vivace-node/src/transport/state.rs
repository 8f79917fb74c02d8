//! What both threads and every task share: who we are, whom we know, the counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, watch};
use vivace_core::agreement::Agreement;
use vivace_core::{ContainerId, Incarnation, NodeId, SiteId};

use super::bulk::BulkQueues;
use super::event::{TrafficClass, TransportEvent};
use super::events::Events;
use super::hello::Hello;
use super::identity::ClusterName;
use super::limits::Limits;
use super::link::Link;
use super::lock::lock;
use super::metered_socket::Meter;
use super::outgoing::PrioritySender;
use super::refusal::{Ending, Refusal, RefusalCause, RefusalLog};
use crate::storage::identity::{StateHistory, Succession};
use crate::storage::peer_states::{MetState, PeerStates};

/// Where a peer is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// The peer.
    pub node: NodeId,
    /// The site that it stands in; its certificate must say the same.
    pub site: SiteId,
    /// Its priority socket.
    pub priority: SocketAddr,
    /// Its bulk socket.
    pub bulk: SocketAddr,
}

/// Who we are, as a hello says it.
pub(super) struct LocalNode {
    pub(super) cluster: ClusterName,
    pub(super) node: NodeId,
    pub(super) site: SiteId,
    pub(super) incarnation: Incarnation,
    /// Our state, if it outlives us.
    pub(super) state: Option<StateHistory>,
    /// With their containers' names.
    pub(super) agreements: BTreeMap<ContainerId, (String, Agreement)>,
}

/// The newest state that a peer was seen with.
struct Known {
    state: StateHistory,
    /// The number of its last start.
    life: Incarnation,
    /// Whether that was before our own start.
    is_from_before: bool,
}

impl Known {
    fn before(met: MetState) -> Self {
        Self {
            state: StateHistory {
                directory: met.directory,
                starts: vec![met.start],
            },
            life: met.life,
            is_from_before: true,
        }
    }
}

pub(super) struct Peer {
    pub(super) address: PeerAddress,
    pub(super) priority: Link,
    pub(super) priority_sender: PrioritySender,
    pub(super) bulk: Link,
    pub(super) bulk_queues: BulkQueues,
    newest: Mutex<Option<Known>>,
    /// Where that is kept over our own restarts.
    states: Option<Arc<PeerStates>>,
    /// Which life of the peer its priority connection speaks for. Bulk goes by
    /// it: its own timeout is long, and priority notices a restart first.
    pub(super) priority_life: watch::Sender<Option<Incarnation>>,
}

impl Peer {
    pub(super) fn new(
        address: PeerAddress,
        limits: &Limits,
        meter: Arc<Meter>,
        wake_pacer: Arc<Notify>,
        states: Option<Arc<PeerStates>>,
    ) -> Self {
        let met = states.as_ref().and_then(|states| states.of(address.node));
        let priority_sender = PrioritySender::new(address.priority, limits, meter, wake_pacer);
        Self {
            address,
            priority: Link::new(TrafficClass::Priority),
            priority_sender,
            bulk: Link::new(TrafficClass::Bulk),
            bulk_queues: BulkQueues::new(limits),
            newest: Mutex::new(met.map(Known::before)),
            states,
            priority_life: watch::Sender::new(None),
        }
    }

    /// Refuses a peer that comes back with less than it had when this node met it last: it
    /// would vote without what it promised. Of one that has never kept anything there is
    /// nothing to say. What is met is remembered for this node's next start, too, before
    /// anything else is heard of the peer.
    ///
    /// # Errors
    /// [`RefusalCause::EarlierState`]; [`RefusalCause::UnknownState`] where too many starts
    /// came between to tell.
    pub(super) async fn recognize(&self, hello: &Hello) -> Result<(), Refusal> {
        self.judge(hello)?;
        let (Some(states), Some(state)) = (&self.states, &hello.state) else {
            return Ok(());
        };
        let Some(&start) = state.starts.last() else {
            return Ok(());
        };
        let (states, node) = (Arc::clone(states), hello.node);
        let met = MetState {
            directory: state.directory,
            life: hello.incarnation,
            start,
        };
        if states.of(node) == Some(met) {
            return Ok(());
        }
        // Syncs a file, which this thread's others must not wait for.
        let path = states.path().to_owned();
        let kept = tokio::task::spawn_blocking(move || states.keep(node, met)).await;
        // It guards against a mistake of the peer's operator, and a full disk is no reason to
        // leave the cluster.
        if let Ok(Err(error)) = kept {
            tracing::warn!(
                "{}: {error}: after a restart, this node may not notice that {node} came back \
                 with an emptied or older data directory",
                path.display()
            );
        }
        Ok(())
    }

    fn judge(&self, hello: &Hello) -> Result<(), Refusal> {
        let (now, mut newest) = (hello.incarnation, lock(&self.newest));
        let (stands, then) = match (&hello.state, &*newest) {
            (None, None) => return Ok(()),
            (None, Some(known)) => (Succession::Forgot, known.life),
            (Some(_), None) => (Succession::Follows, now),
            (Some(state), Some(known)) => {
                let stands = state.succeeds(now, &known.state, known.life);
                // Long ago, before this node's own start: an older state would have fewer.
                let is_long_ago = stands == Succession::TooLongAgo && known.is_from_before;
                let follows = is_long_ago && state.directory == known.state.directory;
                (
                    if follows { Succession::Follows } else { stands },
                    known.life,
                )
            }
        };
        let place = |state: Option<&StateHistory>| match state {
            Some(state) => format!("of data directory {}", state.directory),
            None => "in memory".into(),
        };
        let come = place(hello.state.as_ref());
        let known = place(newest.as_ref().map(|known| &known.state));
        let seen = format!(
            "{} comes with start {} {come}, and was seen with start {} {known}",
            hello.node, now.0, then.0
        );
        match stands {
            Succession::Follows => {
                *newest = hello.state.clone().map(|state| Known {
                    state,
                    life: now,
                    is_from_before: false,
                });
                Ok(())
            }
            Succession::Forgot => {
                let detail = format!(
                    "{seen}, which this state does not follow: bring its newest state back; where \
                     that is lost, the node must not start (docs/operations.md, \"A node whose state \
                     is lost\")"
                );
                Err(Refusal::new(RefusalCause::EarlierState, detail))
            }
            Succession::TooLongAgo => {
                let detail = format!(
                    "{seen}, too many starts ago to tell whether this state follows that one: \
                     where it does, restart the node that says this"
                );
                Err(Refusal::new(RefusalCause::UnknownState, detail))
            }
        }
    }

    pub(super) fn link(&self, class: TrafficClass) -> &Link {
        match class {
            TrafficClass::Priority => &self.priority,
            TrafficClass::Bulk => &self.bulk,
        }
    }

    pub(super) fn socket_address(&self, class: TrafficClass) -> SocketAddr {
        match class {
            TrafficClass::Priority => self.address.priority,
            TrafficClass::Bulk => self.address.bulk,
        }
    }
}

/// The other nodes of the cluster, by number.
pub(super) type AddressBook = BTreeMap<NodeId, Arc<Peer>>;

pub(super) struct Shared {
    pub(super) local: LocalNode,
    pub(super) book: AddressBook,
    pub(super) limits: Limits,
    pub(super) events: Events,
    /// Wakes the task that hands priority messages to QUIC.
    pub(super) wake_pacer: Arc<Notify>,
    pub(super) refused: RefusalLog,
    pub(super) refused_by_peers: RefusalLog,
    /// Turns true once, at the end.
    pub(super) shutdown: watch::Sender<bool>,
    /// Whether peers may connect.
    pub(super) is_open: watch::Sender<bool>,
}

impl Shared {
    /// Counts an ending's refusal, if it is one.
    pub(super) fn record(&self, ending: &Ending, remote: SocketAddr) {
        match ending {
            Ending::Refused(refusal) => self.refused.record(refusal, remote),
            Ending::RefusedByPeer(refusal) => {
                self.refused_by_peers.record(refusal, remote);
                if refusal.cause == RefusalCause::EarlierState {
                    let why = format!("the node at {remote}: {}", refusal.detail);
                    // Where the owner is too busy, the next attempt tells it.
                    let _ = self.events.priority(TransportEvent::StateRefused { why });
                }
            }
            Ending::Lost(why) => tracing::debug!(%remote, %why, "connection ended"),
        }
    }
}
