//! The protocol core, fed by transport, storage and clients, and what its actions bring about.

mod drive;
mod status;
mod unawaited;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vivace_core::client_protocol::{ClientReply, Failure, Request, Success};
use vivace_core::clock::Now;
use vivace_core::message::BulkMessage;
use vivace_core::stored::StoredMessage;
use vivace_core::{
    Action, Class, Event, Incarnation, KeyName, NodeId, RequestId, Timestamp, Value, codec, message,
};

use self::unawaited::{Unawaited, is_unawaited};
use super::Asked;
use super::options::{NodeOptions, StartError};
use crate::client_port::{Answer, ClientRefusals};
use crate::clock_source::ClockSource;
use crate::config::ClusterConfig;
use crate::storage::{
    Claimed, Engine, Load, News, OpenError, Opened, Report, Reports, open_memory,
};
use crate::transport::{self, TrafficClass, Transport, TransportEvent};
use crate::urgency::{self, Urgency};

/// A message that waits for its value, and to whom it goes.
type Asker = (NodeId, StoredMessage);

/// The protocol core and what it drives.
pub(super) struct Core {
    node: vivace_core::Node,
    me: NodeId,
    incarnation: Incarnation,
    cluster: ClusterConfig,
    storage: Engine<Asker>,
    /// Stored values that nobody needed, found after the start.
    orphans: u64,
    /// What loaded values bring about, to be handled next.
    loaded: VecDeque<Event>,
    unawaited: Unawaited,
    clock: ClockSource,
    started: Instant,
    asked: BTreeMap<RequestId, Answer>,
    /// Newest values that operators are giving up.
    losses: BTreeMap<RequestId, String>,
    last_request: u64,
    malformed: u64,
    values_dropped: u64,
    client_refusals: Arc<ClientRefusals>,
    send_refused: u64,
    /// Requests that heard `Busy` before the core saw them: the disk was behind, or full.
    busy_behind: u64,
    busy_full: u64,
    urgency: Urgency,
    bulk_packet_bytes_max: u16,
    /// The other nodes that no bulk can be sent to now.
    away: BTreeSet<NodeId>,
}

impl Core {
    pub(super) fn recover(
        options: &NodeOptions,
        claimed: Option<Claimed>,
        incarnation: Incarnation,
        client_refusals: Arc<ClientRefusals>,
    ) -> Result<(Self, Reports), StartError> {
        let started = Instant::now();
        let now = Now {
            monotonic: Duration::ZERO,
            clock: options.clock.read(),
        };
        let mut node = vivace_core::Node::new(
            options.node,
            incarnation,
            options.cluster.cluster.clone(),
            options.machines.clone(),
            now,
            rand::random(),
        )?;
        let Opened {
            mut engine,
            reports,
        } = match claimed {
            Some(claimed) => {
                claimed.open(options.scheduling, &mut |record| node.recover(record))?
            }
            None => open_memory(options.scheduling)?,
        };
        node.recover_stored(engine.records());
        let missing = node.drop_unstored(&|id| engine.contains(id));
        if missing > 0 {
            tracing::warn!(
                "{missing} values that the journal tells of are not stored, by a crash or because \
                 files were damaged or removed: they are fetched from the other replicas"
            );
        }
        engine.list().map_err(OpenError::from)?;
        let nodes = options.cluster.cluster.spec().nodes.keys().copied();
        let away: BTreeSet<_> = nodes.filter(|&node| node != options.node).collect();
        engine.expect_sends(!away.is_empty());
        let core = Self {
            node,
            away,
            me: options.node,
            incarnation,
            cluster: options.cluster.clone(),
            storage: engine,
            orphans: 0,
            loaded: VecDeque::new(),
            unawaited: Unawaited::default(),
            clock: options.clock,
            started,
            asked: BTreeMap::new(),
            losses: BTreeMap::new(),
            last_request: 0,
            malformed: 0,
            values_dropped: 0,
            client_refusals,
            send_refused: 0,
            busy_behind: 0,
            busy_full: 0,
            urgency: Urgency::default(),
            bulk_packet_bytes_max: options.limits.bulk_packet_bytes_max,
        };
        Ok((core, reports))
    }

    fn on_report(&mut self, transport: &Transport, report: Report) {
        match self.storage.take_in(report) {
            News::None => {}
            News::Loaded(askers, value) => {
                for (to, message) in askers {
                    self.send_loaded(transport, to, message, value.clone());
                }
            }
            News::NotLoaded(id, why, askers) => {
                if self.node.refers_to(&id) {
                    let (key, tag) = (&id.key, &id.tag);
                    tracing::error!(
                        "the value of {key:?}, {tag:?}, is lost: {why}; it is fetched from the \
                         other replicas"
                    );
                }
                let events = askers.into_iter();
                self.loaded
                    .extend(events.map(|(to, message)| Event::NotLoaded { to, message }));
            }
            News::Stored(ids) => {
                for id in ids {
                    if !self.node.refers_to(&id) {
                        self.orphans += 1;
                        self.storage.forget(id);
                    }
                }
            }
            News::AllStored => {
                if self.orphans > 0 {
                    let orphans = self.orphans;
                    tracing::info!("{orphans} stored values that nobody needs any more are gone");
                }
            }
        }
        self.handle_loaded(transport);
        if let Some(through) = self.storage.durable() {
            self.handle(transport, Event::Durable { through });
        }
    }

    fn on_transport(&mut self, transport: &Transport, event: TransportEvent) {
        let bytes = match &event {
            TransportEvent::Received { bytes, .. } => bytes.len(),
            _ => 0,
        };
        let event = match event {
            TransportEvent::Received {
                from,
                class: TrafficClass::Priority,
                bytes,
            } => match codec::decode(&bytes, message::PRIORITY_MESSAGE_BYTES_MAX) {
                Ok(message) => Event::Priority { from, message },
                Err(error) => return self.on_malformed(from, &error),
            },
            TransportEvent::Received {
                from,
                class: TrafficClass::Bulk,
                bytes,
            } => match codec::decode::<BulkMessage>(&bytes, codec::MESSAGE_BYTES_MAX) {
                Ok(message) if message.takes_space() && self.storage.takes_no_values() => {
                    self.values_dropped += 1;
                    Event::NoRoom { message }
                }
                Ok(message) => Event::Bulk { from, message },
                Err(error) => return self.on_malformed(from, &error),
            },
            TransportEvent::PeerUp { node, class, .. } => Event::PeerUp {
                node,
                class: core_class(class),
            },
            TransportEvent::PeerDown { node, class } => Event::PeerDown {
                node,
                class: core_class(class),
            },
            TransportEvent::Rtt { node, rtt } => {
                self.unawaited.on_round_trip(node, rtt);
                Event::RoundTrip { node, rtt }
            }
            TransportEvent::StateRefused { why } => self.storage.stop_outdated(&why),
        };
        if is_unawaited(&event) {
            self.unawaited.push(bytes, event);
            return self.take_unawaited_while(transport, Unawaited::is_full);
        }
        if matches!(event, Event::PeerUp { .. } | Event::PeerDown { .. }) {
            // What a peer said in one life is not heard in the next.
            self.take_unawaited_while(transport, |_| true);
            self.note_whereabouts(&event);
        }
        self.handle(transport, event);
    }

    fn note_whereabouts(&mut self, event: &Event) {
        match event {
            Event::PeerUp {
                node,
                class: Class::Bulk,
            } => self.away.remove(node),
            Event::PeerDown {
                node,
                class: Class::Bulk,
            } => self.away.insert(*node),
            _ => return,
        };
        self.storage.expect_sends(!self.away.is_empty());
    }

    fn take_unawaited_while(&mut self, transport: &Transport, more: impl Fn(&Unawaited) -> bool) {
        while more(&self.unawaited)
            && let Some(oldest) = self.unawaited.pop()
        {
            self.handle(transport, oldest);
        }
    }

    fn on_malformed(&mut self, from: NodeId, error: &codec::CodecError) {
        self.malformed += 1;
        if self.malformed.is_power_of_two() {
            tracing::warn!(
                "dropped a message of {from}: {error} ({} so far)",
                self.malformed
            );
        }
    }

    fn on_asked(&mut self, transport: &Transport, asked: Asked) {
        if asked.request == Request::Status {
            let status = self.status(transport);
            asked.answer.give(Ok(Success::Status(Box::new(status))));
            return;
        }
        if let Some(reason) = self.why_busy(asked.request.makes_a_version()) {
            asked.answer.give(Err(Failure::Busy { reason }));
            return;
        }
        self.last_request += 1;
        let id = RequestId(self.last_request);
        self.asked.insert(id, asked.answer);
        if let Request::AcceptLoss { container, key, ts } = &asked.request {
            let loss = self.describe_loss(container, key, *ts);
            tracing::warn!("{} asks to give up {loss}", asked.client);
            self.losses.insert(id, loss);
        }
        let deadline = asked.deadline.saturating_duration_since(self.started);
        self.handle(
            transport,
            Event::Request {
                id,
                request: asked.request,
                deadline,
            },
        );
    }

    /// Why the disk can't take another request now; counted.
    fn why_busy(&mut self, takes_space: bool) -> Option<String> {
        if let Some(reason) = self.storage.why_behind() {
            self.busy_behind += 1;
            return Some(reason);
        }
        let reason = self.storage.why_full().filter(|_| takes_space)?;
        self.busy_full += 1;
        Some(reason)
    }

    fn describe_loss(&self, container: &str, key: &KeyName, ts: Timestamp) -> String {
        let key = key.as_bytes().escape_ascii();
        let site = self.cluster.cluster.site_of(ts.writer.node());
        let sites = &self.cluster.cluster.spec().sites;
        let site = site.and_then(|site| sites.get(usize::from(site.0)));
        let site = site.map_or("an unknown site", String::as_str);
        format!("version {ts} of {container}/{key}, written in {site}")
    }

    fn handle(&mut self, transport: &Transport, event: Event) {
        let now = Now {
            monotonic: self.started.elapsed(),
            clock: self.clock.read(),
        };
        let actions = self.node.handle(now, event);
        self.act(transport, actions);
        self.handle_loaded(transport);
    }

    /// What loaded values bring about.
    fn handle_loaded(&mut self, transport: &Transport) {
        while let Some(event) = self.loaded.pop_front() {
            let now = Now {
                monotonic: self.started.elapsed(),
                clock: self.clock.read(),
            };
            let actions = self.node.handle(now, event);
            self.act(transport, actions);
        }
    }

    fn act(&mut self, transport: &Transport, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::SendPriority { to, message } => {
                    let leaving = self.urgency.of(&message);
                    urgency::trace_sent(to, &message, leaving.bytes.len());
                    self.note(transport.send_priority(to, leaving));
                }
                Action::SendBulk { to, message } => self.send_bulk(transport, to, &message),
                Action::SendStored { to, message } => self.send_stored(transport, to, message),
                Action::StoreValue {
                    lsn,
                    id,
                    value,
                    is_record,
                } => self.storage.store(lsn, id, value, is_record),
                Action::ForgetValue { id } => self.storage.forget(id),
                Action::Persist { lsn, record } => self.storage.persist(lsn, record),
                Action::PersistLater { record } => self.storage.persist_later(record),
                Action::Reply { request, reply } => {
                    if let Some(loss) = self.losses.remove(&request) {
                        log_loss(&loss, &reply);
                    }
                    if let Some(answer) = self.asked.remove(&request) {
                        answer.give(reply);
                    }
                }
            }
        }
    }

    /// Loads the value of a message and sends it.
    fn send_stored(&mut self, transport: &Transport, to: NodeId, message: StoredMessage) {
        let id = message.value.clone();
        match self.storage.load(&id, (to, message)) {
            Load::Now((to, message), value) => self.send_loaded(transport, to, message, value),
            // Refused: as if it were lost on its way; it is asked for again.
            Load::Later | Load::Refused(_) => {}
        }
    }

    /// Sends a message, which may be one to this node itself.
    fn send_loaded(
        &mut self,
        transport: &Transport,
        to: NodeId,
        message: StoredMessage,
        value: Value,
    ) {
        let message = message.with(value);
        if to == self.me {
            self.loaded.push_back(Event::Bulk { from: to, message });
        } else {
            self.send_bulk(transport, to, &message);
        }
    }

    fn send_bulk(&mut self, transport: &Transport, to: NodeId, message: &BulkMessage) {
        let bytes = codec::encode(message).into();
        self.note(transport.send_bulk(to, urgency::lane_of(message), bytes));
    }

    /// A message that was not taken is as good as lost; the core repeats it.
    fn note(&mut self, sent: Result<(), transport::SendError>) {
        if sent.is_err() {
            self.send_refused += 1;
        }
    }
}

/// What an operator gave up stays in the log, whoever asks later.
fn log_loss(loss: &str, reply: &ClientReply) {
    match reply {
        Ok(_) => tracing::warn!("gave up {loss}: the best version left is the newest now"),
        Err(failure) => tracing::warn!("did not give up {loss}: {failure}"),
    }
}

fn core_class(class: TrafficClass) -> Class {
    match class {
        TrafficClass::Priority => Class::Priority,
        TrafficClass::Bulk => Class::Bulk,
    }
}
