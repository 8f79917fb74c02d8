//! Dialing a higher node: for ever, with back-off, one connection at a time.

use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;

use super::class_endpoint::ClassEndpoint;
use super::event::TrafficClass;
use super::hello::{self, Hello};
use super::limits::Limits;
use super::refusal::{Ending, Refusal, RefusalCause};
use super::session;
use super::state::{Peer, Shared};

/// Pauses that double up to a bound, each shortened at random by up to half, so
/// that nodes that lost the same link don't all come back at once.
struct BackOff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl BackOff {
    fn new(limits: &Limits) -> Self {
        Self {
            min: limits.reconnect_min,
            max: limits.reconnect_max,
            next: limits.reconnect_min,
        }
    }

    fn reset(&mut self) {
        self.next = self.min;
    }

    fn next(&mut self) -> Duration {
        let pause = self.next.mul_f64(rand::random_range(0.5..=1.0));
        self.next = (self.next * 2).min(self.max);
        pause
    }
}

/// Keeps one class's connection to `peer` up until the task is dropped.
pub(super) async fn keep_connected(shared: Arc<Shared>, peer: Arc<Peer>, endpoint: ClassEndpoint) {
    let class = endpoint.class();
    let mut back_off = BackOff::new(&shared.limits);
    loop {
        match dial(&shared, &peer, &endpoint).await {
            Ok((connection, hello)) => {
                let up = session::run(&shared, &peer, connection, hello).await;
                // One that ends at once, again and again, must not be dialed at once.
                if up > shared.limits.reconnect_max {
                    back_off.reset();
                }
            }
            Err(ending) => {
                shared.record(&ending, peer.socket_address(class));
                peer.link(class).on_error(ending.to_string());
            }
        }
        let pause = tokio::time::sleep(back_off.next());
        match class {
            TrafficClass::Priority => pause.await,
            TrafficClass::Bulk => tokio::select! {
                () = pause => {}
                () = peer_answers_again(&peer) => back_off.reset(),
            },
        }
    }
}

/// Resolves when the peer's priority connection comes up.
async fn peer_answers_again(peer: &Peer) {
    let mut life = peer.priority_life.subscribe();
    loop {
        let _ = life.changed().await;
        if life.borrow_and_update().is_some() {
            return;
        }
    }
}

async fn dial(
    shared: &Shared,
    peer: &Peer,
    endpoint: &ClassEndpoint,
) -> Result<(Connection, Hello), Ending> {
    let limit = shared.limits.handshake_timeout;
    let connecting = endpoint
        .dial(shared, peer)
        .map_err(|error| Ending::Lost(error.to_string()))?;
    let connected = tokio::time::timeout(limit, connecting).await;
    let connection =
        connected.map_err(|_| Ending::Lost(format!("no answer within {limit:?}")))??;
    let greeting = hello::greet_as_dialer(&connection, &shared.local, endpoint.class(), peer);
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
