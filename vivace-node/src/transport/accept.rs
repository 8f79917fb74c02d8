//! Accepting lower nodes: a bounded number of handshakes at a time, each with a
//! time limit, and nothing from anyone before its identity is checked.

use std::sync::Arc;

use quinn::{Connection, Incoming};
use tokio::sync::Semaphore;

use super::class_endpoint::ClassEndpoint;
use super::hello::{self, Hello};
use super::refusal::{Ending, Refusal, RefusalCause};
use super::session;
use super::state::Shared;

/// Handshakes under way on one socket; further ones are refused. A cluster has
/// fewer nodes than that, so only strangers can use them up, for at most
/// [`Limits::handshake_timeout`](super::Limits::handshake_timeout) each.
pub(super) const HANDSHAKES_MAX: usize = 64;

/// From so many handshakes on, an address must prove that it can receive
/// (a Retry packet, RFC 9000 §8.1) before it costs us a signature.
const HANDSHAKES_WITHOUT_PROOF_MAX: usize = 16;

/// Accepts until the endpoint closes.
pub(super) async fn run(shared: Arc<Shared>, endpoint: ClassEndpoint) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Some(incoming) = endpoint.quic().accept().await {
        let remote = incoming.remote_address();
        let under_way = HANDSHAKES_MAX - handshakes.available_permits();
        let is_busy = under_way >= HANDSHAKES_WITHOUT_PROOF_MAX;
        if is_busy && !incoming.remote_address_validated() && incoming.may_retry() {
            // Fails only where a retry isn't allowed, which was just asked.
            let _ = incoming.retry();
            continue;
        }
        let Ok(permit) = handshakes.clone().try_acquire_owned() else {
            incoming.refuse();
            let detail = format!("{HANDSHAKES_MAX} handshakes are under way");
            let refusal = Refusal::new(RefusalCause::TooManyHandshakes, detail);
            shared.record(&refusal.into(), remote);
            continue;
        };
        let (shared, endpoint) = (shared.clone(), endpoint.clone());
        tokio::spawn(async move {
            match greet(&shared, &endpoint, incoming).await {
                Ok((connection, hello)) => {
                    drop(permit);
                    if let Some(peer) = shared.book.get(&hello.node) {
                        session::run(&shared, peer, connection, hello).await;
                    }
                }
                Err(ending) => shared.record(&ending, remote),
            }
        });
    }
}

async fn greet(
    shared: &Shared,
    endpoint: &ClassEndpoint,
    incoming: Incoming,
) -> Result<(Connection, Hello), Ending> {
    let limit = shared.limits.handshake_timeout;
    let connecting = endpoint.answer(shared, incoming)?;
    let connected = tokio::time::timeout(limit, connecting).await;
    let connection =
        connected.map_err(|_| Ending::Lost(format!("no handshake within {limit:?}")))??;
    let greeting =
        hello::greet_as_acceptor(&connection, &shared.local, endpoint.class(), &shared.book);
    let greeted = tokio::time::timeout(limit, greeting).await;
    let greeted = greeted.unwrap_or_else(|_| {
        let detail = format!("no hello within {limit:?}");
        Err(Refusal::new(RefusalCause::HelloTimedOut, detail).into())
    });
    match greeted {
        Ok(hello) => Ok((connection, hello)),
        Err(ending) => {
            if let Ending::Refused(refusal) = &ending {
                refusal.close(&connection);
            }
            Err(ending)
        }
    }
}
