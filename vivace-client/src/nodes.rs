//! The site's nodes, and which one to talk to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until, timeout};

use crate::link::Link;
use crate::node::{Node, NodeError};

/// A connection that is not made within this time has the next node tried beside it.
const CONNECT_STAGGER: Duration = Duration::from_millis(250);

/// The pause after every node has failed at once.
const ALL_DOWN_PAUSE: Duration = Duration::from_millis(10);

/// The site's nodes, the preferred one first.
pub(crate) struct Nodes(Vec<Arc<Node>>);

/// A node's place in the configuration.
pub(crate) type NodeIndex = usize;

impl Nodes {
    pub(crate) fn new(nodes: Vec<Node>) -> Self {
        Self(nodes.into_iter().map(Arc::new).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn address(&self, index: NodeIndex) -> SocketAddr {
        self.0[index].address
    }

    pub(crate) fn all(&self) -> &[Arc<Node>] {
        &self.0
    }

    /// Has the node tried last for a while: it said that it leaves.
    pub(crate) fn set_leaving(&self, index: NodeIndex) {
        self.0[index].set_leaving();
    }

    /// Has the node tried last for a while: it was silent while another answered.
    pub(crate) fn set_silent(&self, index: NodeIndex, waited: Duration) {
        self.0[index].set_silent(waited);
    }

    /// Why each node that is down is so, in words.
    pub(crate) fn causes(&self) -> String {
        let causes: Vec<_> = self
            .0
            .iter()
            .filter(|node| node.live().is_none())
            .filter_map(|node| node.error().map(|e| format!("{}: {e}", node.address)))
            .collect();
        match causes.is_empty() {
            true => "no node answered".to_owned(),
            false => causes.join("; "),
        }
    }

    /// Connects to whichever node answers first, preferred ones given a head start.
    ///
    /// # Errors
    /// Each node's cause where none answers within `patience`.
    pub(crate) async fn connect_any(
        &self,
        patience: Duration,
    ) -> Result<(), Vec<(SocketAddr, NodeError)>> {
        let order: Vec<NodeIndex> = (0..self.0.len()).collect();
        match timeout(patience, self.race(&order)).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(_) => Err(self
                .0
                .iter()
                .map(|node| {
                    let waited = patience;
                    let error = node.error().unwrap_or(NodeError::NoAnswer { waited });
                    (node.address, error)
                })
                .collect()),
        }
    }

    /// A standing connection to the first node, which is the best for a first attempt.
    pub(crate) fn preferred(&self) -> Option<(NodeIndex, Arc<Link>)> {
        Some((0, self.0.first()?.live()?))
    }

    /// A standing connection to the best node that is not in `exclude`: one that an
    /// operation has `started` on least often, standing before not, preferred before
    /// not. Waits, with back-off, while there is none. Cancel-safe.
    pub(crate) async fn acquire(
        &self,
        started: &[u32],
        exclude: &[NodeIndex],
    ) -> (NodeIndex, Arc<Link>) {
        loop {
            let order = self.order(started, exclude);
            if let Some(&best) = order.first()
                && let Some(link) = self.0[best].live()
            {
                self.revive_preferred(best);
                return (best, link);
            }
            if let Some(found) = self.race(&order).await {
                return found;
            }
            let retry_at = (0..self.0.len())
                .filter(|index| !exclude.contains(index))
                .filter_map(|index| self.0[index].retry_at())
                .min();
            match retry_at {
                Some(at) => sleep_until(at).await,
                None => sleep(ALL_DOWN_PAUSE).await,
            }
        }
    }

    /// The nodes that may be tried now, best first.
    fn order(&self, started: &[u32], exclude: &[NodeIndex]) -> Vec<NodeIndex> {
        let mut order: Vec<_> = (0..self.0.len())
            .filter(|index| !exclude.contains(index))
            .map(|index| (index, self.0[index].live().is_some()))
            .filter(|&(index, live)| live || self.0[index].retry_at().is_none())
            .map(|(index, live)| (started[index], !live, index))
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, _, index)| index).collect()
    }

    /// Tries the nodes in order, each with a head start on the next. The losers'
    /// connections are finished in the background, one per node at most.
    async fn race(&self, order: &[NodeIndex]) -> Option<(NodeIndex, Arc<Link>)> {
        let (made, mut results) = mpsc::channel(order.len().max(1));
        for &index in order {
            let (node, made) = (self.0[index].clone(), made.clone());
            tokio::spawn(async move {
                // Nobody waits for it any more where the race was won or given up.
                let _ = made.send((index, node.connect().await)).await;
            });
            if let Ok(Some((index, Ok(link)))) = timeout(CONNECT_STAGGER, results.recv()).await {
                return Some((index, link));
            }
        }
        drop(made);
        while let Some((index, result)) = results.recv().await {
            if let Ok(link) = result {
                return Some((index, link));
            }
        }
        None
    }

    /// Reconnects the nodes preferred to `index` whose pause is over.
    fn revive_preferred(&self, index: NodeIndex) {
        for node in &self.0[..index] {
            if node.live().is_none() && node.retry_at().is_none() && !node.is_connecting() {
                let node = node.clone();
                tokio::spawn(async move { node.connect().await });
            }
        }
    }
}
