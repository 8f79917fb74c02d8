//! One class's connection to one peer over time: which one counts, since when,
//! and what is known about its path.

use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use quinn::Connection;
use vivace_core::Incarnation;

use super::counters::Counters;
use super::event::TrafficClass;
use super::lock::lock;
use super::refusal::OrderlyEnd;
use super::socket::ObservedDscp;

/// The mark of the class's socket, known once the class's thread has bound it.
pub(super) struct Marking {
    pub(super) dscp: u8,
    pub(super) observed: ObservedDscp,
}

/// What changes together, under one lock.
pub(super) struct Record {
    pub(super) up: Option<(Connection, Incarnation)>,
    pub(super) since: Instant,
    pub(super) sessions: u64,
    pub(super) last_error: Option<String>,
    pub(super) rtt: Option<Duration>,
    pub(super) dscp_seen_by_peer: Option<u8>,
}

pub(super) struct Link {
    pub(super) class: TrafficClass,
    pub(super) counters: Counters,
    /// Held by the session that runs, so that its `PeerDown` comes before the
    /// next one's `PeerUp`.
    pub(super) turn: tokio::sync::Mutex<()>,
    latest: Mutex<Option<Connection>>,
    record: Mutex<Record>,
    marking: OnceLock<Marking>,
}

impl Link {
    pub(super) fn new(class: TrafficClass) -> Self {
        Self {
            class,
            counters: Counters::default(),
            turn: tokio::sync::Mutex::new(()),
            latest: Mutex::new(None),
            record: Mutex::new(Record {
                up: None,
                since: Instant::now(),
                sessions: 0,
                last_error: None,
                rtt: None,
                dscp_seen_by_peer: None,
            }),
            marking: OnceLock::new(),
        }
    }

    /// Makes `connection` the one that counts and closes the one before: the peer
    /// dials again only if it has given the old one up.
    pub(super) fn supersede(&self, connection: &Connection) {
        let before = lock(&self.latest).replace(connection.clone());
        if let Some(before) = before {
            let end = OrderlyEnd::Replaced;
            before.close(end.code(), end.reason().as_bytes());
        }
    }

    pub(super) fn on_up(&self, connection: &Connection, incarnation: Incarnation) {
        let mut record = lock(&self.record);
        record.up = Some((connection.clone(), incarnation));
        record.since = Instant::now();
        record.sessions += 1;
        record.rtt = None;
        record.dscp_seen_by_peer = None;
    }

    pub(super) fn on_down(&self, why: String) {
        let mut record = lock(&self.record);
        record.up = None;
        record.since = Instant::now();
        record.last_error = Some(why);
        drop(record);
        // A closed connection is kept alive by its handles.
        lock(&self.latest).take_if(|connection| connection.close_reason().is_some());
    }

    pub(super) fn on_error(&self, why: String) {
        lock(&self.record).last_error = Some(why);
    }

    pub(super) fn on_rtt(&self, rtt: Duration) {
        lock(&self.record).rtt = Some(rtt);
    }

    pub(super) fn on_dscp_seen_by_peer(&self, dscp: Option<u8>) {
        lock(&self.record).dscp_seen_by_peer = dscp;
    }

    pub(super) fn with_record<T>(&self, read: impl FnOnce(&Record) -> T) -> T {
        read(&lock(&self.record))
    }

    pub(super) fn remote(&self) -> Option<SocketAddr> {
        self.with_record(|r| {
            r.up.as_ref()
                .map(|(connection, _)| connection.remote_address())
        })
    }

    pub(super) fn set_marking(&self, marking: Marking) {
        // Only the class's own thread binds, and once.
        let _ = self.marking.set(marking);
    }

    pub(super) fn dscp_sent(&self) -> Option<u8> {
        self.marking.get().map(|marking| marking.dscp)
    }

    /// The DSCP that this link's packets arrive here with.
    pub(super) fn dscp_seen_here(&self) -> Option<u8> {
        let remote = self.remote()?;
        self.marking
            .get()
            .and_then(|marking| (marking.observed)(remote))
    }
}
