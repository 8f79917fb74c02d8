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

pub(super) struct Peer {
    pub(super) address: PeerAddress,
    pub(super) priority: Link,
    pub(super) priority_sender: PrioritySender,
    pub(super) bulk: Link,
    pub(super) bulk_queues: BulkQueues,
    /// The newest state that it was seen with, and which life that was.
    newest: Mutex<Option<(StateHistory, Incarnation)>>,
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
    ) -> Self {
        let priority_sender = PrioritySender::new(address.priority, limits, meter, wake_pacer);
        Self {
            address,
            priority: Link::new(TrafficClass::Priority),
            priority_sender,
            bulk: Link::new(TrafficClass::Bulk),
            bulk_queues: BulkQueues::new(limits),
            newest: Mutex::default(),
            priority_life: watch::Sender::new(None),
        }
    }

    /// Refuses a peer that comes back with less than it had when this node met it last: it
    /// would vote without what it promised. Of one that has never kept anything there is
    /// nothing to say.
    ///
    /// # Errors
    /// [`RefusalCause::EarlierState`]; [`RefusalCause::UnknownState`] where too many starts
    /// came between to tell.
    pub(super) fn recognize(&self, hello: &Hello) -> Result<(), Refusal> {
        let (now, mut newest) = (hello.incarnation, lock(&self.newest));
        let (stands, then) = match (&hello.state, &*newest) {
            (None, None) => return Ok(()),
            (None, Some((_, then))) => (Succession::Forgot, *then),
            (Some(_), None) => (Succession::Follows, now),
            (Some(state), Some((met, then))) => (state.succeeds(now, met, *then), *then),
        };
        let place = |state: Option<&StateHistory>| match state {
            Some(state) => format!("of data directory {}", state.directory),
            None => "in memory".into(),
        };
        let come = place(hello.state.as_ref());
        let known = place(newest.as_ref().map(|(met, _)| met));
        let seen = format!(
            "{} comes with start {} {come}, and was seen with start {} {known}",
            hello.node, now.0, then.0
        );
        match stands {
            Succession::Follows => {
                *newest = hello.state.clone().map(|state| (state, now));
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
