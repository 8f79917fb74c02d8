//! Sending a version: to whom, by whom it is handed on, and when to ask after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::transfer::{InFlight, Transfer};
use super::{ASK_AFTER, ASK_MARGIN, DIRECT_PATIENCE};
use crate::cluster::{Cluster, Container, ValueCopies};
use crate::env::Env;
use crate::event::Class;
use crate::identity::{NodeId, SiteId};
use crate::key::Key;
use crate::message::{BulkBody, BulkMessage, RpcId};
use crate::outbox::Message;
use crate::row::Row;
use crate::stored::StoredBody;
use crate::timestamp::Timestamp;
use crate::vivace_rmw::Derivation;

/// A copy that was handed on is sent again, directly, after this long: the hop
/// between its receiver and the replica may have broken.
const RELAY_PATIENCE: Duration = Duration::from_secs(20);

/// Who is sent nothing more of a key for now.
pub(super) struct Busy {
    /// Something is on its way there.
    nodes: BTreeSet<NodeId>,
    /// And it came with one copy for the whole site, or goes on from there: the next is one
    /// copy as well only if it finds all of them without.
    sites: BTreeSet<SiteId>,
}

impl Busy {
    pub fn of(env: &Env, container: &Container, versions: &Row<Timestamp, Transfer>) -> Self {
        let flights = || versions.values().flat_map(|transfer| &transfer.in_flight);
        let now = env.now.monotonic;
        let awaited =
            flights().filter(|(_, flight)| flight.awaited_until.is_some_and(|at| at > now));
        let sites = awaited
            .filter_map(|(&node, _)| env.cluster.site_of(node))
            .filter(|&site| is_relayed(env, container, site));
        Self {
            nodes: flights().map(|(&node, _)| node).collect(),
            sites: sites.collect(),
        }
    }
}

/// Whether one copy goes to `site`. Inside this one, a copy for each replica costs nothing
/// that is scarce.
pub(super) fn is_relayed(env: &Env, container: &Container, site: SiteId) -> bool {
    site != env.site && container.copies == ValueCopies::OnePerSite
}

/// The replicas that lack a version and can be sent it, by site, nearest first.
pub(super) fn lacking(
    env: &Env,
    container: &Container,
    transfer: &Transfer,
    busy: &Busy,
) -> BTreeMap<SiteId, Vec<NodeId>> {
    let mut by_site: BTreeMap<SiteId, Vec<NodeId>> = BTreeMap::new();
    for &node in &container.replicas {
        if transfer.acked.contains(&node)
            || busy.nodes.contains(&node)
            || !env.is_up(node, Class::Bulk)
        {
            continue;
        }
        if let Some(site) = env.cluster.site_of(node)
            && !busy.sites.contains(&site)
        {
            by_site.entry(site).or_default().push(node);
        }
    }
    by_site
}

/// Sends one copy, or the commands that lead to it, to the first of `group`, which hands
/// it on to the others.
pub(super) fn send_copy(
    env: &mut Env,
    container: &Container,
    (key, ts): (&Key, Timestamp),
    transfer: &mut Transfer,
    group: &[NodeId],
    lately: Duration,
    commands: &Option<Derivation>,
) {
    let Some((&head, relay)) = group.split_first() else {
        return;
    };
    let bytes = transfer.bytes_as(commands.as_ref());
    let now = env.now.monotonic;
    let ask_at = now + lately.max(env.rtt(head)) * ASK_AFTER + ASK_MARGIN;
    transfer.in_flight.insert(
        head,
        InFlight {
            via: head,
            bytes,
            sent_at: now,
            ask_at,
            resend_at: now + DIRECT_PATIENCE,
            only_asked: false,
            awaited_until: Some(ask_at),
        },
    );
    for &node in relay {
        let flight = InFlight {
            via: head,
            bytes: 0,
            sent_at: now,
            ask_at,
            resend_at: now + RELAY_PATIENCE,
            only_asked: false,
            awaited_until: Some(ask_at),
        };
        transfer.in_flight.insert(node, flight);
    }
    let (propagator, relay) = (env.me, relay.to_vec());
    if let Some(derivation) = commands.clone() {
        let body = BulkBody::ApplyRemote {
            key: key.clone(),
            propagator,
            relay,
            derivation,
        };
        let message = BulkMessage {
            rpc: RpcId::NONE,
            epoch: container.epoch,
            body,
        };
        env.counters.count("sent: commands in their value's stead");
        return env.out.send(head, Message::Bulk(message));
    }
    let body = StoredBody::WriteRemote {
        ts,
        propagator,
        relay,
    };
    let (id, value) = (transfer.id(key), transfer.value);
    let message = Message::stored(RpcId::NONE, container.epoch, body, id, value);
    env.out.send(head, message);
}

/// What was in flight is there, or lost.
pub(super) fn release(
    in_flight_bytes: &mut BTreeMap<SiteId, u64>,
    cluster: &Cluster,
    flight: Option<InFlight>,
) {
    let Some(flight) = flight else { return };
    if let Some(used) = cluster
        .site_of(flight.via)
        .and_then(|site| in_flight_bytes.get_mut(&site))
    {
        *used = used.saturating_sub(flight.bytes);
    }
}
