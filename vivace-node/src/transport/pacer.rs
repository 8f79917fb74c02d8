//! Hands priority messages to QUIC: one task for all peers, on the class's thread, so
//! that what one turn of the node's loop has for a peer is all there when it runs.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::budget::Budget;
use super::outgoing::Turn;
use super::precise_timer::PreciseTimer;
use super::state::{Peer, Shared};

/// Runs until the runtime ends.
pub(super) async fn run(shared: Arc<Shared>, mut timer: PreciseTimer) {
    let mut turns: VecDeque<Arc<Peer>> = shared.book.values().cloned().collect();
    loop {
        let look_again = serve(&mut turns);
        let waited = async {
            match look_again {
                Some(at) => timer.wait_until(at).await,
                None => std::future::pending::<io::Result<()>>().await,
            }
        };
        tokio::select! {
            () = shared.wake_pacer.notified() => {}
            waited = waited => if let Err(error) = waited {
                // Without a timer nothing that must wait would ever leave.
                tracing::error!(%error, "the priority class's timer failed");
                return shared.shutdown.send_modify(|down| *down = true);
            }
        }
    }
}

/// Gives turns until nobody can use one; when somebody can again.
fn serve(turns: &mut VecDeque<Arc<Peer>>) -> Option<Instant> {
    loop {
        let now = Instant::now();
        let mut look_again: Option<Instant> = None;
        let mut has_sent = false;
        // Whose budget is spoken for: a peer that waits for it goes first, or those with
        // shorter datagrams would use it up before there is enough for a long one.
        let mut used_up: Vec<Arc<Budget>> = Vec::new();
        let mut sent = Vec::new();
        for (place, peer) in turns.iter().enumerate() {
            let sender = &peer.priority_sender;
            let budget = sender.meter.budget();
            if budget.is_some_and(|b| used_up.iter().any(|used| Arc::ptr_eq(used, b))) {
                continue;
            }
            let at = match sender.turn(&peer.priority, now) {
                Turn::Idle => continue,
                Turn::Sent => {
                    has_sent = true;
                    sent.push(place);
                    continue;
                }
                Turn::Gathering(at) => at,
                Turn::Blocked(at) => {
                    used_up.extend(budget.cloned());
                    at
                }
            };
            look_again = Some(look_again.map_or(at, |earlier| earlier.min(at)));
        }
        // Who has sent goes to the end, the last of them first.
        for place in sent.into_iter().rev() {
            if let Some(peer) = turns.remove(place) {
                turns.push_back(peer);
            }
        }
        if !has_sent {
            return look_again;
        }
    }
}
