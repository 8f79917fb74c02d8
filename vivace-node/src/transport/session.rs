//! The life of an accepted connection between nodes: up, run, down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::Connection;

use super::event::{TrafficClass, TransportEvent};
use super::hello::Hello;
use super::refusal::Ending;
use super::state::{Peer, Shared};
use super::{bulk, priority};

/// Runs the connection until it ends; how long it was up.
pub(super) async fn run(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    connection: Connection,
    hello: Hello,
) -> Duration {
    let class = hello.class;
    let node = hello.node;
    let link = peer.link(class);
    link.supersede(&connection);
    let _turn = link.turn.lock().await;
    if connection.close_reason().is_some() {
        // Superseded in its turn while it waited.
        return Duration::ZERO;
    }
    let started = Instant::now();
    let incarnation = hello.incarnation;
    link.on_up(&connection, incarnation);
    match class {
        TrafficClass::Priority => priority::attach(peer, Some(&connection)),
        TrafficClass::Bulk => bulk::attach(peer, true),
    }
    tracing::info!(%node, class = class.name(), incarnation = incarnation.0, "peer up");
    shared
        .events
        .state(TransportEvent::PeerUp {
            node,
            class,
            incarnation,
        })
        .await;

    let ending = match class {
        TrafficClass::Priority => {
            // Notifies also when the value is the same: it cuts bulk's pause short.
            peer.priority_life.send_replace(Some(incarnation));
            let ending = priority::run(shared, peer, &connection).await;
            peer.priority_life.send_replace(None);
            ending
        }
        TrafficClass::Bulk => bulk::run(shared, peer, &connection, incarnation).await,
    };

    report(shared, peer, class, &ending, &connection);
    match class {
        TrafficClass::Priority => priority::attach(peer, None),
        TrafficClass::Bulk => bulk::attach(peer, false),
    }
    shared
        .events
        .state(TransportEvent::PeerDown { node, class })
        .await;
    started.elapsed()
}

fn report(
    shared: &Shared,
    peer: &Peer,
    class: TrafficClass,
    ending: &Ending,
    connection: &Connection,
) {
    shared.record(ending, connection.remote_address());
    peer.link(class).on_down(ending.to_string());
    tracing::info!(node = %peer.address.node, class = class.name(), %ending, "peer down");
}
