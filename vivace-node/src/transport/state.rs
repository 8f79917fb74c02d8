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
use crate::storage::identity::{ClusterId, MetState, StateHistory, Succession};
use crate::storage::peer_states::PeerStates;

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
    /// Which cluster of this name.
    pub(super) cluster_id: Option<ClusterId>,
    pub(super) node: NodeId,
    pub(super) site: SiteId,
    pub(super) incarnation: Incarnation,
    /// Our state, if it outlives us.
    pub(super) state: Option<StateHistory>,
    /// With their containers' names.
    pub(super) agreements: BTreeMap<ContainerId, (String, Agreement)>,
}

/// What is wrong between what one node has and what another met it with.
pub(super) struct Disagreement {
    cause: RefusalCause,
    /// What either says.
    seen: String,
    /// What there is to do.
    way_out: String,
}

impl From<Disagreement> for Refusal {
    fn from(found: Disagreement) -> Self {
        Self::new(found.cause, format!("{}: {}", found.seen, found.way_out))
    }
}

const OR_NONE: &str = "where that is lost, the node must not start (docs/operations.md, \"A node \
    whose state is lost\")";

impl LocalNode {
    /// Checks our own state against what the peer met us with: it may know better than our
    /// disk, and can tell of one start alone, where we know all of ours.
    ///
    /// # Errors
    /// [`RefusalCause::OwnState`]: then this node must stop. [`RefusalCause::UnknownState`] where
    /// our directory, kept by an earlier program, does not know its starts from so long ago.
    pub(super) fn check_met(&self, hello: &Hello) -> Result<(), Disagreement> {
        let (Some(met), Some(state)) = (&hello.met, &self.state) else {
            return Ok(());
        };
        let (peer, now, directory) = (hello.node, self.incarnation.0, state.directory);
        let seen = |how: &str| {
            format!(
                "{peer} has met this node with {met}, {how} start {now} of data directory {directory}"
            )
        };
        match state.succeeds(self.incarnation, met) {
            Succession::Follows => Ok(()),
            Succession::Forgot => Err(Disagreement {
                cause: RefusalCause::OwnState,
                seen: seen("which is not behind"),
                way_out: format!(
                    "bring the newest state back (it is {peer} that is wrong where that one met a \
                     state that was put back by mistake); {OR_NONE}"
                ),
            }),
            Succession::TooLongAgo => Err(Disagreement {
                cause: RefusalCause::UnknownState,
                seen: seen("and nobody can tell whether that is behind"),
                way_out: format!(
                    "an earlier program did not keep starts from so long ago; where it is, stop \
                     {peer}, remove the file `peers` from its data directory, and start it again"
                ),
            }),
        }
    }
}

pub(super) struct Peer {
    pub(super) address: PeerAddress,
    pub(super) priority: Link,
    pub(super) priority_sender: PrioritySender,
    pub(super) bulk: Link,
    pub(super) bulk_queues: BulkQueues,
    /// The newest state that it was met with.
    newest: Mutex<Option<MetState>>,
    /// Held while another takes its place, so that the later of two is there in the end.
    turn_to_meet: tokio::sync::Mutex<()>,
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
            newest: Mutex::new(met),
            turn_to_meet: tokio::sync::Mutex::default(),
            states,
            priority_life: watch::Sender::new(None),
        }
    }

    /// What the peer was met with when it was there last.
    pub(super) fn met(&self) -> Option<MetState> {
        *lock(&self.newest)
    }

    /// [`Peer::judge`] once more, and the peer is known with this state from now on, also by this
    /// node's next start, before anything else is heard of the peer. Its own check
    /// ([`LocalNode::check_met`]) must have passed: it knows more than a hello tells.
    ///
    /// # Errors
    /// As [`Peer::judge`].
    pub(super) async fn recognize(&self, hello: &Hello) -> Result<(), Refusal> {
        let _turn = self.turn_to_meet.lock().await;
        self.judge(hello)?;
        let Some(met) = hello.as_met() else {
            return Ok(());
        };
        *lock(&self.newest) = Some(met);
        let Some(states) = self.states.clone() else {
            return Ok(());
        };
        let node = hello.node;
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

    /// Refuses a peer that comes back with less than it had when this node met it last: it
    /// would vote without what it promised. Of one that has never kept anything there is
    /// nothing to say. Where more starts came between than a hello tells of, it is for the peer
    /// to say.
    ///
    /// # Errors
    /// [`RefusalCause::EarlierState`].
    pub(super) fn judge(&self, hello: &Hello) -> Result<(), Disagreement> {
        let Some(met) = self.met() else {
            return Ok(());
        };
        let (node, now) = (hello.node, hello.incarnation);
        let stands = hello.state.as_ref().map(|state| state.succeeds(now, &met));
        if stands.is_some_and(|stands| stands != Succession::Forgot) {
            return Ok(());
        }
        let come = match hello.as_met() {
            Some(come) => come.to_string(),
            None => format!("start {} in memory", now.0),
        };
        Err(Disagreement {
            cause: RefusalCause::EarlierState,
            seen: format!(
                "{node} comes with {come}, and was met with {met}, which is not behind that"
            ),
            way_out: format!("bring its newest state back; {OR_NONE}"),
        })
    }

    /// What `own` ([`LocalNode::check_met`]) and [`Peer::judge`] come to together. Where each of two
    /// nodes has met the other with what that does not have behind it, one of them was put back, or
    /// both, and neither can tell who: then nobody stops.
    ///
    /// # Errors
    /// Theirs; [`RefusalCause::Contradiction`].
    pub(super) fn weigh(
        &self,
        own: Result<(), Disagreement>,
        hello: &Hello,
    ) -> Result<(), Disagreement> {
        match (own, self.judge(hello)) {
            (Err(own), Err(theirs)) if own.cause == RefusalCause::OwnState => Err(Disagreement {
                cause: RefusalCause::Contradiction,
                seen: format!("{}; and {}", theirs.seen, own.seen),
                way_out: "one of the two was put back, and which, only their operator can tell \
                          (docs/operations.md, \"The data directory\")"
                    .into(),
            }),
            (_, Err(found)) | (Err(found), Ok(())) => Err(found),
            (Ok(()), Ok(())) => Ok(()),
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
            Ending::Refused(refusal) => {
                self.refused.record(refusal, remote);
                if refusal.cause == RefusalCause::OwnState {
                    self.stop_outdated(refusal.detail.clone());
                }
            }
            Ending::RefusedByPeer(refusal) => {
                self.refused_by_peers.record(refusal, remote);
                if refusal.cause == RefusalCause::EarlierState {
                    self.stop_outdated(format!("the node at {remote}: {}", refusal.detail));
                }
            }
            Ending::Lost(why) => tracing::debug!(%remote, %why, "connection ended"),
        }
    }

    /// Tells the owner that this node's state is not its newest.
    fn stop_outdated(&self, why: String) {
        // Where the owner is too busy, the next attempt tells it.
        let _ = self.events.priority(TransportEvent::StateRefused { why });
    }
}
