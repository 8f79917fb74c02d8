//! What `netem status --json` says, as far as experiments need it.

use serde::{Deserialize, Serialize};

use crate::link_usage::FlowUsage;
use crate::step::LinkUse;

/// A WAN at one moment. Counters run since it came up.
#[derive(Clone, Debug, Deserialize)]
pub struct WanStatus {
    /// Its hosts.
    pub hosts: Vec<Host>,
    performance: Performance,
    /// Every link.
    #[serde(rename = "link_status")]
    pub links: Vec<LinkStatus>,
}

/// A host.
#[derive(Clone, Debug, Deserialize)]
pub struct Host {
    /// Its site.
    pub site: String,
    /// Its name there.
    pub host: String,
    /// Its IPv4 address.
    pub ipv4: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Performance {
    overrun_packets: u64,
    window: Window,
}

/// How late packets were written since the last window began, in µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Packets.
    pub count: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// The latest.
    pub max_us: u64,
}

/// A link's counters.
#[derive(Clone, Debug, Deserialize)]
pub struct LinkStatus {
    /// `FROM:TO`.
    pub name: String,
    /// What may wait.
    pub buffer_bytes: u64,
    /// The priority class.
    pub priority: FlowStatus,
    /// All other packets of programs.
    pub bulk: FlowStatus,
    /// Cross traffic made inside the router.
    pub cross: FlowStatus,
}

/// One flow of a link.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct FlowStatus {
    /// Packets given to the link.
    pub offered_packets: u64,
    /// Bytes given to the link.
    pub offered_bytes: u64,
    /// Bytes that left the transmitter.
    pub sent_bytes: u64,
    /// Packets dropped for any cause.
    pub dropped_packets: u64,
    /// Bytes that wait now.
    pub queue_bytes: u64,
}

impl FlowStatus {
    fn since(&self, before: &Self) -> FlowUsage {
        FlowUsage {
            offered_packets: self.offered_packets - before.offered_packets,
            offered_bytes: self.offered_bytes - before.offered_bytes,
            sent_bytes: self.sent_bytes - before.sent_bytes,
            dropped_packets: self.dropped_packets - before.dropped_packets,
        }
    }
}

impl LinkStatus {
    fn joins_sites(&self) -> bool {
        self.name
            .split_once(':')
            .is_some_and(|(from, to)| from != to)
    }

    /// Bytes that wait, all flows together.
    pub fn queue_bytes(&self) -> u64 {
        self.priority.queue_bytes + self.bulk.queue_bytes + self.cross.queue_bytes
    }
}

impl WanStatus {
    /// The links between sites.
    pub fn between_sites(&self) -> impl Iterator<Item = &LinkStatus> {
        self.links.iter().filter(|link| link.joins_sites())
    }

    /// How late the router was in the window that ends here.
    pub fn window(&self) -> Window {
        self.performance.window
    }

    /// Packets that the router never saw because it was too slow.
    pub fn overruns(&self) -> u64 {
        self.performance.overrun_packets
    }

    /// A host's IPv4 address, by `SITE.HOST`.
    pub fn address(&self, full_name: &str) -> Option<&str> {
        let is_it = |host: &&Host| format!("{}.{}", host.site, host.host) == full_name;
        self.hosts.iter().find(is_it).map(|host| host.ipv4.as_str())
    }

    /// What crossed each link between sites since `before`.
    pub fn used_since(&self, before: &Self) -> Vec<LinkUse> {
        let pairs = before.between_sites().zip(self.between_sites());
        pairs
            .map(|(before, after)| LinkUse {
                link: after.name.clone(),
                priority: after.priority.since(&before.priority),
                bulk: after.bulk.since(&before.bulk),
                cross: after.cross.since(&before.cross),
            })
            .collect()
    }
}
