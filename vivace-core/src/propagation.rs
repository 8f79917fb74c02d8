//! Values on their way from the local set to the replicas, in the background.
//!
//! Differs from Alg. 1 and 3, where each of m local nodes sends each value to each
//! replica: one member does, with one copy per remote site that its receiver hands
//! on there. Every replica acknowledges end to end.

mod lineage;
mod sending;
mod stable_versions;
mod transfer;
mod waiting_keys;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use self::stable_versions::{STABLE_REMEMBERED, StableVersions};

use self::lineage::Lineage;
use self::sending::{Busy, is_relayed, lacking, release, send_copy};
use self::transfer::{InFlight, Totals, Transfer};
use self::waiting_keys::WaitingKeys;
use crate::backlog::Backlogs;
use crate::cluster::Container;
use crate::env::Env;
use crate::event::Class;
use crate::identity::{NodeId, SiteId};
use crate::key::Key;
use crate::message::{CopyTag, PriorityBody, RpcId};
use crate::quorum::majority;
use crate::row::Row;
use crate::stored::{StoredValue, ValueId};
use crate::timestamp::Timestamp;

/// Bytes of values that may be on their way to one site at once; what exceeds it
/// waits here, where newer values of the same key can take its place.
const SITE_WINDOW_BYTES: u64 = 4 << 20;

/// A copy that its receiver had no space for comes again after this long: soon after
/// space returns, and without filling the link until then.
const NO_ROOM_PATIENCE: Duration = Duration::from_secs(5);

/// A copy on a standing connection arrives in the end; this covers what a full
/// queue dropped.
const DIRECT_PATIENCE: Duration = Duration::from_secs(60);

/// A replica that has not acknowledged a value is asked whether it has come, first after
/// this many times what values to its site take lately, then ever more rarely: a lost
/// acknowledgment must not hold newer values of the key back, and a full link must not
/// carry more questions.
const ASK_AFTER: u32 = 2;

/// The least time before a replica is asked, beyond two round trips.
const ASK_MARGIN: Duration = Duration::from_millis(50);

/// Questions after one value are never further apart than this.
const ASK_PAUSE_MAX: Duration = Duration::from_secs(4);

/// Questions after values at once; others have their turn at the next look.
const ASKED_AT_ONCE_MAX: usize = 64;

/// Weight of the newest acknowledgment in what values take lately: one in this many.
const ACK_TIME_WEIGHT: u32 = 8;

/// All values that this node carries to replicas.
#[derive(Clone, Debug, Default)]
pub struct Propagator {
    transfers: BTreeMap<Key, Row<Timestamp, Transfer>>,
    totals: Totals,
    in_flight_bytes: BTreeMap<SiteId, u64>,
    /// From sending a value to its acknowledgment, lately.
    ack_times: BTreeMap<SiteId, Duration>,
    /// Keys that found a site's window full, first come first served.
    waiting: BTreeMap<SiteId, WaitingKeys>,
    /// How RMW versions follow from each other.
    pub lineage: Lineage,
    /// What a majority of replicas holds.
    pub stable: StableVersions,
    /// Versions that all replicas hold, or whose place a newer one has taken.
    ended: Vec<(Key, Timestamp)>,
}

impl Propagator {
    /// Bytes of values that some replica lacks, with their overhead.
    pub fn bytes(&self) -> u64 {
        self.totals.bytes
    }

    /// How many values some replica lacks.
    pub fn count(&self) -> u64 {
        self.totals.count
    }

    /// When the oldest of those that some replica in `site` lacks set out.
    pub fn oldest_for(&self, site: SiteId) -> Option<Duration> {
        self.transfers
            .values()
            .flat_map(|versions| versions.values())
            .filter(|transfer| transfer.lacking_sites.contains(&site))
            .map(|t| t.started)
            .min()
    }

    /// When the oldest of them set out.
    pub fn oldest(&self) -> Option<Duration> {
        self.transfers
            .values()
            .flat_map(|versions| versions.values())
            .map(|t| t.started)
            .min()
    }

    /// Whether this version, or one that stands for it, is on its way.
    pub fn carries(&self, key: &Key, ts: Timestamp) -> bool {
        self.transfers.get(key).is_some_and(|versions| {
            versions
                .range(ts..)
                .any(|(&version, t)| version == ts || t.settled)
        })
    }

    /// Whether this very version is on its way.
    pub fn is_carrying(&self, key: &Key, ts: Timestamp) -> bool {
        let versions = self.transfers.get(key);
        versions.is_some_and(|versions| versions.contains_key(&ts))
    }

    /// The versions whose way has ended since this was last asked.
    pub fn take_ended(&mut self) -> Vec<(Key, Timestamp)> {
        std::mem::take(&mut self.ended)
    }

    /// Carries a stored value to all replicas. Settled versions take the place of older
    /// ones that are not yet on their way.
    pub fn start(
        &mut self,
        env: &mut Env,
        container: &Container,
        key: &Key,
        ts: Timestamp,
        source: (CopyTag, StoredValue),
        settled: bool,
    ) {
        self.admit(env, container, key, ts, source, settled);
        self.remove_finished(env, container, key);
        self.pump(env, container, key, None);
    }

    /// Carries on what another node, or this one in an earlier life, has carried part of
    /// the way: the replicas that can be reached are asked first, and those that don't
    /// have it are sent it.
    pub fn take_over(
        &mut self,
        env: &mut Env,
        container: &Container,
        key: &Key,
        ts: Timestamp,
        source: (CopyTag, StoredValue),
    ) {
        let settled = container.kind.is_read_write();
        let transfer = self.admit(env, container, key, ts, source, settled);
        let now = env.now.monotonic;
        for &node in &container.replicas {
            if !env.is_up(node, Class::Bulk) || transfer.acked.contains(&node) {
                continue;
            }
            transfer.in_flight.get_or_insert_with(node, || InFlight {
                via: node,
                bytes: 0,
                sent_at: now,
                ask_at: now + DIRECT_PATIENCE,
                resend_at: now + env.rtt(node) * ASK_AFTER + ASK_MARGIN,
                only_asked: true,
                awaited_until: None,
            });
            let key = key.clone();
            let body = PriorityBody::AskStored { key, ts };
            env.send_priority(node, RpcId::NONE, container.epoch, body);
        }
        self.remove_finished(env, container, key);
        self.pump(env, container, key, None);
    }

    /// Carries on what a direct write has just sent to all replicas.
    pub fn watch_sent(
        &mut self,
        env: &mut Env,
        container: &Container,
        key: &Key,
        ts: Timestamp,
        source: (CopyTag, StoredValue),
    ) {
        let lately = self.ack_times.get(&env.site).copied().unwrap_or_default();
        let settled = container.kind.is_read_write();
        let transfer = self.admit(env, container, key, ts, source, settled);
        transfer.is_direct = true;
        let now = env.now.monotonic;
        for &node in &container.replicas {
            if env.is_up(node, Class::Bulk) && !transfer.acked.contains(&node) {
                let flight = InFlight {
                    via: node,
                    bytes: 0,
                    sent_at: now,
                    ask_at: now + lately.max(env.rtt(node)) * ASK_AFTER + ASK_MARGIN,
                    resend_at: now + DIRECT_PATIENCE,
                    only_asked: false,
                    awaited_until: None,
                };
                transfer.in_flight.get_or_insert_with(node, || flight);
            }
        }
        self.remove_finished(env, container, key);
    }

    fn admit(
        &mut self,
        env: &Env,
        container: &Container,
        key: &Key,
        ts: Timestamp,
        (tag, value): (CopyTag, StoredValue),
        settled: bool,
    ) -> &mut Transfer {
        let versions = self.transfers.entry(key.clone()).or_default();
        let transfer = versions.get_or_insert_with(ts, || {
            let replicas = container.replicas.iter();
            let transfer = Transfer {
                tag,
                value,
                settled,
                stable: false,
                is_direct: false,
                acked: BTreeSet::new(),
                lacking_sites: replicas.filter_map(|&r| env.cluster.site_of(r)).collect(),
                in_flight: Row::with_room(container.replicas.len()),
                need_value: BTreeSet::new(),
                started: env.now.monotonic,
            };
            self.totals.add(&transfer);
            transfer
        });
        transfer.settled |= settled;
        transfer
    }

    /// A replica durably holds `ts` or, for RW objects, a newer version. The local set's
    /// other members hear of what is stable now; returned is what this node's own copy alone is
    /// to hear of, for a direct write has no others.
    #[must_use]
    pub fn on_ack(
        &mut self,
        env: &mut Env,
        container: &Container,
        from: NodeId,
        key: &Key,
        ts: Timestamp,
    ) -> Option<Timestamp> {
        self.lineage.on_ack(key, from, ts);
        let versions = self.transfers.get_mut(key)?;
        let site = env.cluster.site_of(from);
        let all_older = container.kind.is_read_write();
        let (mut newly_stable, mut copied) = (None, false);
        for (&version, transfer) in versions.range_mut(..=ts) {
            if version != ts && !all_older {
                continue;
            }
            let flight = transfer.in_flight.remove(&from);
            transfer.expect_those_behind(from, env.now.monotonic);
            if let (Some(flight), Some(site)) = (&flight, site)
                && !flight.only_asked
            {
                let took = env.now.monotonic - flight.sent_at;
                let lately = self.ack_times.entry(site).or_insert(took);
                *lately = (*lately * (ACK_TIME_WEIGHT - 1) + took) / ACK_TIME_WEIGHT;
            }
            release(&mut self.in_flight_bytes, &env.cluster, flight);
            transfer.acked.insert(from);
            if let Some(site) = site
                && transfer.is_everywhere_in(site, container, &env.cluster)
                && transfer.lacking_sites.remove(&site)
            {
                let (now, bytes) = (env.now.monotonic, transfer.bytes());
                self.totals.backlogs.arrived(now, site, bytes);
            }
            let acked = transfer.acked.len();
            if !transfer.stable
                && (acked >= majority(container.replicas.len()) || mutant!(env, DropAtFirstAck))
            {
                transfer.stable = true;
                copied |= !transfer.is_direct;
                newly_stable = Some((version, transfer.settled));
            }
        }
        // Of a direct write's three acknowledgments two change nothing else.
        let is_alone = versions.len() == 1;
        let has_ended = versions.values().any(|t| t.is_everywhere(container));
        let may_send = !is_alone || versions.values().any(|t| t.is_lacking(container));
        if let Some((ts, settled)) = newly_stable.filter(|_| copied) {
            if settled {
                self.stable.remember(key, ts);
            }
            for &node in container.local_set(env.site) {
                let body = PriorityBody::Stable {
                    key: key.clone(),
                    ts,
                };
                env.send_priority(node, RpcId::NONE, container.epoch, body);
            }
        }
        if has_ended || !is_alone {
            self.remove_finished(env, container, key);
        }
        if may_send {
            self.pump(env, container, key, None);
        }
        if let Some(site) = site {
            self.pump_waiting(env, site);
        }
        newly_stable.filter(|_| !copied).map(|(ts, _)| ts)
    }

    /// A replica has no space for `ts`: it comes again in a while.
    pub fn on_no_room(&mut self, env: &Env, from: NodeId, key: &Key, ts: Timestamp) {
        let versions = self.transfers.get_mut(key);
        let transfer = versions.and_then(|versions| versions.get_mut(&ts));
        if let Some(flight) = transfer.and_then(|transfer| transfer.in_flight.get_mut(&from)) {
            let again = env.now.monotonic + NO_ROOM_PATIENCE;
            flight.resend_at = flight.resend_at.min(again);
        }
    }

    /// Commands lead to `ts` where the version that they begin at is; it is not at `from`.
    pub fn on_need_value(
        &mut self,
        env: &mut Env,
        container: &Container,
        from: NodeId,
        key: &Key,
        ts: Timestamp,
    ) {
        let versions = self.transfers.get_mut(key);
        let Some(transfer) = versions.and_then(|versions| versions.get_mut(&ts)) else {
            return;
        };
        if transfer.acked.contains(&from) || !transfer.need_value.insert(from) {
            return;
        }
        let flight = transfer.in_flight.remove(&from);
        release(&mut self.in_flight_bytes, &env.cluster, flight);
        self.remove_finished(env, container, key);
        self.pump(env, container, key, None);
        if let Some(site) = env.cluster.site_of(from) {
            self.pump_waiting(env, site);
        }
    }

    /// A later version is chosen: unsettled older ones need go nowhere any more.
    pub fn on_chosen(&mut self, env: &mut Env, key: &Key, chosen: Timestamp) {
        let Some(versions) = self.transfers.get_mut(key) else {
            return;
        };
        let doomed: Vec<Timestamp> = versions
            .range(..chosen)
            .filter(|(_, transfer)| !transfer.settled)
            .map(|(&ts, _)| ts)
            .collect();
        for ts in doomed {
            if let Some(transfer) = versions.remove(&ts) {
                self.totals.remove(&transfer);
                env.out.release(transfer.id(key));
                for flight in transfer.in_flight.into_values() {
                    release(&mut self.in_flight_bytes, &env.cluster, Some(flight));
                }
            }
        }
        if versions.is_empty() {
            self.transfers.remove(key);
        }
        // They kept newer versions of the key waiting.
        self.pump_keys(env, vec![key.clone()]);
    }

    /// What waits for each site.
    pub fn backlogs(&self) -> &Backlogs {
        &self.totals.backlogs
    }

    /// Whether a value filed under `id` is on its way.
    pub fn refers_to(&self, id: &ValueId) -> bool {
        let versions = self.transfers.get(&id.key);
        versions.is_some_and(|versions| versions.values().any(|t| t.tag == id.tag))
    }

    /// The disk has lost the value of `id`: this node can carry it no further.
    pub fn lose(&mut self, env: &mut Env, id: &ValueId) {
        let Some(versions) = self.transfers.get_mut(&id.key) else {
            return;
        };
        let lost: Vec<Timestamp> = versions
            .iter()
            .filter(|(_, transfer)| transfer.tag == id.tag)
            .map(|(&ts, _)| ts)
            .collect();
        for ts in lost {
            if let Some(transfer) = versions.remove(&ts) {
                self.totals.remove(&transfer);
                for flight in transfer.in_flight.into_values() {
                    release(&mut self.in_flight_bytes, &env.cluster, Some(flight));
                }
            }
        }
        if versions.is_empty() {
            self.transfers.remove(&id.key);
        }
    }

    /// Drops versions that all replicas hold, and superseded ones that are not on
    /// their way. A transfer under way is never cut: its bytes are half paid for. What a
    /// direct write sent is not this node's to cut, and the newer one is on its way as well.
    fn remove_finished(&mut self, env: &mut Env, container: &Container, key: &Key) {
        let Some(versions) = self.transfers.get_mut(key) else {
            return;
        };
        let newest_settled = versions
            .iter()
            .rev()
            .find(|(_, t)| t.settled)
            .map_or(Timestamp::ZERO, |(&ts, _)| ts);
        let (totals, ended) = (&mut self.totals, &mut self.ended);
        let mut delivered = Timestamp::ZERO;
        versions.retain(|&ts, transfer| {
            let superseded = ts < newest_settled && !transfer.is_half_paid();
            let everywhere = transfer.is_everywhere(container);
            if superseded && !everywhere {
                env.counters.count("superseded: a value by a newer one");
            }
            if everywhere {
                delivered = ts;
            }
            let keep = !superseded && !everywhere;
            if !keep {
                totals.remove(transfer);
                env.out.release(transfer.id(key));
                ended.push((key.clone(), ts));
            }
            keep
        });
        if versions.is_empty() {
            self.transfers.remove(key);
        }
        self.lineage.forget_through(key, delivered);
    }

    /// Sends what may be sent now of one key. Where other keys wait for room, it waits behind
    /// them, unless it has the `turn`: its newer versions would never let them in.
    fn pump(&mut self, env: &mut Env, container: &Container, key: &Key, turn: Option<SiteId>) {
        let Some(versions) = self.transfers.get_mut(key) else {
            return;
        };
        let newest_settled = versions
            .iter()
            .rev()
            .find(|(_, t)| t.settled)
            .map_or(Timestamp::ZERO, |(&ts, _)| ts);
        if !versions
            .range(newest_settled..)
            .any(|(_, transfer)| transfer.is_lacking(container))
        {
            return;
        }
        let busy = Busy::of(env, container, versions);
        for (&ts, transfer) in versions.range_mut(newest_settled..) {
            for (site, members) in lacking(env, container, transfer, &busy) {
                let is_relayed = is_relayed(env, container, site);
                let by_commands = is_relayed
                    && container.commands_at_replicas
                    && !members
                        .iter()
                        .any(|node| transfer.need_value.contains(node));
                let value_bytes = transfer.value.bytes();
                let trace = || self.lineage.trace(key, ts, &members, value_bytes);
                let trace = by_commands.then(trace).flatten();
                let bytes = transfer.bytes_as(trace.as_ref());
                let used = self.in_flight_bytes.entry(site).or_default();
                let has_room = *used == 0 || *used + bytes <= SITE_WINDOW_BYTES;
                let waiting = self.waiting.entry(site).or_default();
                if !has_room || !(waiting.is_empty() || turn == Some(site)) {
                    env.counters.count("waits: a value for room on the way");
                    waiting.push(key);
                    continue;
                }
                let groups: Vec<Vec<NodeId>> = match is_relayed {
                    true => vec![members],
                    false => members.into_iter().map(|node| vec![node]).collect(),
                };
                let lately = self.ack_times.get(&site).copied().unwrap_or_default();
                for group in groups {
                    *used += bytes;
                    send_copy(env, container, (key, ts), transfer, &group, lately, &trace);
                }
            }
        }
    }

    /// Sends what waits for room on the way to `site`, until one finds none: an
    /// acknowledgment costs what it lets go, however many wait.
    fn pump_waiting(&mut self, env: &mut Env, site: SiteId) {
        let cluster = env.cluster.clone();
        while let Some(key) = self.waiting.get_mut(&site).and_then(WaitingKeys::pop) {
            if let Some(container) = cluster.container(key.container) {
                self.pump(env, container, &key, Some(site));
            }
            let waiting = self.waiting.entry(site).or_default();
            if waiting.contains(&key) {
                waiting.move_to_front(&key);
                return;
            }
        }
    }

    /// What was on its way to or through `node` may be lost.
    pub fn on_peer_down(&mut self, env: &mut Env, node: NodeId) {
        let mut touched = Vec::new();
        for (key, versions) in &mut self.transfers {
            for transfer in versions.values_mut() {
                let lost: Vec<NodeId> = transfer
                    .in_flight
                    .iter()
                    .filter(|(to, flight)| **to == node || flight.via == node)
                    .map(|(&to, _)| to)
                    .collect();
                for to in lost {
                    if to != node {
                        env.counters.count("lost: a value at its relay");
                    }
                    let flight = transfer.in_flight.remove(&to);
                    release(&mut self.in_flight_bytes, &env.cluster, flight);
                    touched.push(key.clone());
                }
            }
        }
        self.pump_keys(env, touched);
    }

    /// A replica can be reached again.
    pub fn on_peer_up(&mut self, env: &mut Env) {
        let keys = self.transfers.keys().cloned().collect();
        self.pump_keys(env, keys);
    }

    fn pump_keys(&mut self, env: &mut Env, mut keys: Vec<Key>) {
        keys.dedup();
        let cluster = env.cluster.clone();
        for key in keys {
            if let Some(container) = cluster.container(key.container) {
                self.remove_finished(env, container, &key);
                self.pump(env, container, &key, None);
            }
        }
        let sites: Vec<SiteId> = self.waiting.keys().copied().collect();
        for site in sites {
            self.pump_waiting(env, site);
        }
    }

    fn ask_after_late_ones(&mut self, env: &mut Env) {
        let now = env.now.monotonic;
        let cluster = env.cluster.clone();
        let mut asked = 0;
        for (key, versions) in &mut self.transfers {
            let Some(container) = cluster.container(key.container) else {
                continue;
            };
            for (&ts, transfer) in versions {
                for (&to, flight) in &mut transfer.in_flight {
                    if flight.ask_at > now || asked == ASKED_AT_ONCE_MAX {
                        continue;
                    }
                    asked += 1;
                    flight.ask_at = now + (now - flight.sent_at).min(ASK_PAUSE_MAX);
                    env.counters
                        .count("asked: whether a value has come that nobody acknowledged");
                    let key = key.clone();
                    let body = PriorityBody::AskStored { key, ts };
                    env.send_priority(to, RpcId::NONE, container.epoch, body);
                }
            }
        }
    }

    /// Asks after what should have come, and sends again what has waited too long.
    pub fn on_tick(&mut self, env: &mut Env) {
        let now = env.now.monotonic;
        self.ask_after_late_ones(env);
        let mut overdue = Vec::new();
        for (key, versions) in &mut self.transfers {
            for transfer in versions.values_mut() {
                if transfer.stop_awaiting(now) {
                    overdue.push(key.clone());
                }
                let late: Vec<NodeId> = transfer
                    .in_flight
                    .iter()
                    .filter(|(_, flight)| flight.resend_at <= now)
                    .map(|(&to, _)| to)
                    .collect();
                for to in late {
                    let flight = transfer.in_flight.remove(&to);
                    transfer.need_value.insert(to);
                    env.counters.count(match &flight {
                        Some(flight) if flight.only_asked => {
                            "asked: a replica lacks what is taken over"
                        }
                        _ => "repeated: a value without an acknowledgment",
                    });
                    release(&mut self.in_flight_bytes, &env.cluster, flight);
                    overdue.push(key.clone());
                }
            }
        }
        self.pump_keys(env, overdue);
    }
}
