//! One version on its way, and what all of them come to.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::backlog::Backlogs;
use crate::cluster::{Cluster, Container};
use crate::identity::{NodeId, SiteId};
use crate::key::Key;
use crate::message::CopyTag;
use crate::row::Row;
use crate::stored::{StoredValue, ValueId};
use crate::vivace_rmw::Derivation;

/// What one waiting value costs beyond its bytes.
const TRANSFER_OVERHEAD_BYTES: u64 = 256;

/// How long after the one that hands a copy on those behind it may take until newer versions
/// wait for them no longer: a hop inside their site, and a sync.
const HOP_PATIENCE: Duration = Duration::from_millis(100);

/// A copy that a replica has not acknowledged.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub via: NodeId,
    pub bytes: u64,
    pub sent_at: Duration,
    /// When to ask whether it has come.
    pub ask_at: Duration,
    pub resend_at: Duration,
    /// Nothing was sent: the replica is asked first whether it has the value.
    pub only_asked: bool,
    /// Until then newer versions wait for it, so that one copy takes them to the whole site.
    pub awaited_until: Option<Duration>,
}

/// One version on its way.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    /// What the value is filed under.
    pub tag: CopyTag,
    pub value: StoredValue,
    /// RW: always. RMW: the version is chosen. Only then may it stand for older ones.
    pub settled: bool,
    pub stable: bool,
    /// This node sent it to all replicas at once, and alone keeps a copy.
    pub is_direct: bool,
    pub acked: BTreeSet<NodeId>,
    /// Where some replica lacks it.
    pub lacking_sites: BTreeSet<SiteId>,
    pub in_flight: Row<NodeId, InFlight>,
    /// Who is sent the value, whatever commands lead to it.
    pub need_value: BTreeSet<NodeId>,
    pub started: Duration,
}

impl Transfer {
    pub fn id(&self, key: &Key) -> ValueId {
        ValueId {
            key: key.clone(),
            tag: self.tag,
        }
    }

    pub fn is_everywhere(&self, container: &Container) -> bool {
        self.acked.len() == container.replicas.len()
    }

    pub fn is_everywhere_in(&self, site: SiteId, container: &Container, cluster: &Cluster) -> bool {
        let mut replicas = container.replicas.iter();
        replicas.all(|node| self.acked.contains(node) || cluster.site_of(*node) != Some(site))
    }

    /// `relay` has it: those that it hands it on to have it soon after, or the hop is broken.
    pub fn expect_those_behind(&mut self, relay: NodeId, now: Duration) {
        for flight in self
            .in_flight
            .values_mut()
            .filter(|flight| flight.via == relay)
        {
            let at = now + HOP_PATIENCE;
            flight.awaited_until = flight.awaited_until.map(|until| until.min(at));
        }
    }

    /// Newer versions wait no longer for copies that are late; whether there were some.
    pub fn stop_awaiting(&mut self, now: Duration) -> bool {
        let mut has_some = false;
        for flight in self.in_flight.values_mut() {
            has_some |= flight
                .awaited_until
                .take_if(|until| *until <= now)
                .is_some();
        }
        has_some
    }

    /// Whether a replica neither has it nor is about to get it.
    pub fn is_lacking(&self, container: &Container) -> bool {
        let mut replicas = container.replicas.iter();
        replicas.any(|node| !self.acked.contains(node) && !self.in_flight.contains_key(node))
    }

    /// Whether copies are under way that were sent from here, at their bytes' cost.
    pub fn is_half_paid(&self) -> bool {
        let mut flights = self.in_flight.values();
        flights.any(|flight| !self.is_direct || flight.bytes > 0)
    }

    /// What it takes on its way: as commands, where there are any.
    pub fn bytes_as(&self, commands: Option<&Derivation>) -> u64 {
        commands.map_or(self.bytes(), |commands| commands.bytes() as u64)
    }

    pub fn bytes(&self) -> u64 {
        self.value.bytes() + TRANSFER_OVERHEAD_BYTES
    }
}

/// What all transfers come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub bytes: u64,
    pub count: u64,
    pub backlogs: Backlogs,
}

impl Totals {
    pub fn add(&mut self, transfer: &Transfer) {
        self.bytes += transfer.bytes();
        self.count += 1;
        for &site in &transfer.lacking_sites {
            self.backlogs.add(site, transfer.bytes());
        }
    }

    pub fn remove(&mut self, transfer: &Transfer) {
        self.bytes -= transfer.bytes();
        self.count -= 1;
        for &site in &transfer.lacking_sites {
            self.backlogs.remove(site, transfer.bytes());
        }
    }
}
