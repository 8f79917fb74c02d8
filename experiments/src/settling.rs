//! Waiting until a row's values have reached their replicas, so that they are not
//! on the link during the next.

use std::time::{Duration, Instant};

use vivace_core::status::NodeStatus;
use vivace_node::dev::DevCluster;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// How a wait for quiet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// How long it took.
    pub after: Duration,
    /// Whether it came to its end.
    pub complete: bool,
}

/// Waits, for at most `patience`, until no node has an operation under way, a value
/// that a replica lacks, or bytes that wait for a peer.
pub async fn settle(cluster: &DevCluster, patience: Duration) -> Settled {
    let begun = Instant::now();
    loop {
        let mut quiet = true;
        for (_, node) in cluster.nodes() {
            // A node that can't say is not known to be quiet.
            quiet &= node.status().await.is_ok_and(|status| is_quiet(&status));
        }
        let after = begun.elapsed();
        if quiet || after >= patience {
            return Settled {
                after,
                complete: quiet,
            };
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether a node has nothing under way.
pub(crate) fn is_quiet(status: &NodeStatus) -> bool {
    let waiting = status.peers.iter().any(|peer| peer.bulk.queue_bytes > 0);
    !waiting && status.backlog.values == 0 && status.operations.in_flight == 0
}
