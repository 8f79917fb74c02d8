//! What a step does, in full: two steps with equal specifications measure the same.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bench::BenchWork;

/// One step of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The experiment's name.
    pub experiment: String,
    /// Its own, unique in the experiment: lower-case letters, digits, dashes. Its
    /// directory is called so.
    pub name: String,
    /// The seed of all that is random: contents, loss, cross traffic.
    pub seed: u64,
    /// What is done.
    pub work: Work,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Work {
    /// Operations on a store over an emulated WAN.
    Store(StoreWork),
    /// Round trips of small requests over TCP, marked and unmarked.
    RoundTrips(RoundTripWork),
    /// Message delays, counted by the simulator.
    Delays,
    /// Stores and a load on this machine alone.
    Bench(BenchWork),
}

/// Operations on a store over an emulated WAN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoreWork {
    /// The WAN.
    pub wan: WanSpec,
    /// The store.
    pub store: StoreKind,
    /// Size of small objects in bytes.
    pub value_bytes: usize,
    /// When an operation is given up, in ms.
    pub deadline_ms: u64,
    /// What is measured, in order.
    pub windows: Vec<WindowSpec>,
    /// Whether Vivace's nodes tell of every priority message that leaves, which costs them
    /// time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lists_messages: bool,
    /// Objects of each client, which takes them in turn.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub objects_per_client: u32,
}

/// What was the only way before, and is left out of records.
fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

/// How many times slower than life the WAN is where nothing is said.
const LIFE: u32 = 1;

fn life() -> u32 {
    LIFE
}

/// Bytes of an IP packet where nothing is said.
const ETHERNET_BYTES: u32 = netem::MTU_BYTES;

fn ethernet() -> u32 {
    ETHERNET_BYTES
}

fn is_ethernet(mtu_bytes: &u32) -> bool {
    *mtu_bytes == ETHERNET_BYTES
}

fn is_life(times_slower: &u32) -> bool {
    *times_slower == LIFE
}

/// Which sites there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sites {
    /// The paper's Fig. 5: node 1 (a replica), 4 and 5 here, replicas 2 and 3 in Ireland.
    Two,
    /// A replica in each of three sites at the paper's round trips; 4 and 5 here.
    Three,
    /// The same, with 100 ms between each two of them.
    ThreeAlike,
}

/// An emulated WAN; all links between sites are alike but for their round trips.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WanSpec {
    /// Its sites.
    pub sites: Sites,
    /// Rate of each link, each way, in Mbit/s.
    pub rate_mbit: f64,
    /// Drop-tail buffer each way, in KB of 1000 bytes.
    pub buffer_kb: u64,
    /// Whether EF is served first.
    pub priority: bool,
    /// What the priority class is held to, in percent of the rate.
    pub police_percent: Option<f64>,
    /// What the network does to marks.
    pub marks: Marks,
    /// The chance that a packet is lost, whatever its class and the load, in percent: each
    /// way, of each link.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub loss_percent: f64,
    /// How many times slower than life all of it is (time dilation: D. Gupta et al., *To
    /// Infinity and Beyond: Time-Warped Network Emulation*, NSDI 2006): round trips are so many
    /// times longer, rates so many times lower, and deadlines so many times longer, while
    /// processors and disks stay as they are. They seem so many times faster.
    #[serde(default = "life", skip_serializing_if = "is_life")]
    pub times_slower: u32,
    /// Bytes of the largest IP packet; Vivace's nodes send values in packets of up to so many.
    #[serde(default = "ethernet", skip_serializing_if = "is_ethernet")]
    pub mtu_bytes: u32,
}

/// What the network does to DSCP marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Marks {
    /// It keeps them.
    #[default]
    Kept,
    /// It clears them.
    Bleached,
    /// It begins to when its links are full for the first time.
    BleachedLater,
    /// It exchanges the two classes' marks.
    Swapped,
}

/// The store, and how it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "store", rename_all = "kebab-case")]
pub enum StoreKind {
    /// Five nodes of Vivace, with a container for each algorithm.
    Vivace(Containers),
    /// Three members of etcd, where Vivace's replicas are.
    Etcd {
        /// Whether a rule of the kernel's packet filter puts all that members say to
        /// each other into the priority class.
        marked: bool,
    },
}

impl StoreKind {
    /// Vivace as it is by default.
    pub const VIVACE: Self = Self::Vivace(Containers::DEFAULT);
}

/// How Vivace's containers are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containers {
    /// Timestamps by query instead of by clock.
    pub query_timestamps: bool,
    /// Reads leave out the write-back where they may (§3.4.1).
    pub write_back_skip: bool,
    /// Commands leave out the query where the object's last change was made here.
    pub promise_skip: bool,
    /// Reads ask the replica in their site for timestamp and value at once; records that say
    /// nothing are from before.
    #[serde(default)]
    pub early_data: bool,
    /// Commands go to other sites in their values' stead; records that say nothing are from
    /// before.
    #[serde(default)]
    pub commands_at_replicas: bool,
    /// Each member of the local set sends each value to each replica, as in the paper,
    /// instead of one copy for each site.
    pub member_by_replica: bool,
}

impl Containers {
    /// As they are where nothing is said.
    pub const DEFAULT: Self = Self {
        query_timestamps: false,
        write_back_skip: true,
        promise_skip: true,
        early_data: true,
        commands_at_replicas: true,
        member_by_replica: false,
    };

    /// Without §3.4's optimizations, and none that the paper doesn't have.
    pub const AS_PUBLISHED: Self = Self {
        query_timestamps: false,
        write_back_skip: false,
        promise_skip: false,
        early_data: false,
        commands_at_replicas: false,
        member_by_replica: true,
    };

    /// What differs from the default, for people.
    pub fn words(self) -> String {
        let differences = [
            (self.query_timestamps, "query mode"),
            (!self.write_back_skip, "no write-back skip"),
            (!self.promise_skip, "no promise skip"),
            (!self.early_data, "no early data"),
            (!self.commands_at_replicas, "values only"),
            (self.member_by_replica, "m × n copies"),
        ];
        let differences = differences.into_iter().filter(|(is, _)| *is);
        differences
            .map(|(_, words)| format!(" ({words})"))
            .collect()
    }
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Read an object.
    Read,
    /// Replace it.
    Write,
    /// Have it carry out a command.
    Execute,
    /// Post a tweet (Vivace §6.4, R1).
    Post,
    /// Read a user's timeline (R2).
    Timeline,
    /// Read the timelines of a user's friends (R3).
    Friends,
}

impl Operation {
    /// Its name.
    pub fn id(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
            Self::Post => "post",
            Self::Timeline => "timeline",
            Self::Friends => "friends",
        }
    }
}

/// What else is on the links between sites.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "traffic", rename_all = "kebab-case")]
pub enum Traffic {
    /// Nothing.
    Idle,
    /// Poisson packets of 1500 bytes in the default class, both ways.
    Udp {
        /// Offered, in percent of the rate.
        percent: f64,
    },
    /// Bulk TCP transfers, both ways.
    Tcp {
        /// How many each way.
        flows: usize,
    },
    /// The store's own large values, written at the clients' site.
    OwnWrites {
        /// Size of each, in bytes.
        bytes: usize,
        /// How many at once at most; each writer has one key.
        at_once: usize,
        /// Offered, in percent of a link's rate.
        percent: f64,
        /// Whether as many writers are at each of the other sites, with keys of their own.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        everywhere: bool,
    },
}

impl Traffic {
    /// A short name: `idle`, `udp`, `tcp`, `own`, `everywhere`.
    pub fn id(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Udp { .. } => "udp",
            Self::Tcp { .. } => "tcp",
            Self::OwnWrites {
                everywhere: false, ..
            } => "own",
            Self::OwnWrites {
                everywhere: true, ..
            } => "everywhere",
        }
    }

    /// Whether it is the store's own, from every site.
    pub fn is_everywhere(self) -> bool {
        matches!(
            self,
            Self::OwnWrites {
                everywhere: true,
                ..
            }
        )
    }

    /// For people.
    pub fn words(self) -> String {
        match self {
            Self::Idle => "idle".to_owned(),
            Self::Udp { percent } => format!("UDP at {percent} %"),
            Self::Tcp { flows } => format!("{flows} TCP flows"),
            Self::OwnWrites {
                bytes,
                at_once,
                percent,
                everywhere,
            } => format!(
                "own writes of {} KiB at {percent} %, {at_once} at once{}",
                bytes / 1024,
                if everywhere { ", at every site" } else { "" }
            ),
        }
    }
}

/// One measurement: the same operation again and again for a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowSpec {
    /// The algorithm: a container's name (`abd`, `rw`, `lan-rmw`, `rmw`), `new` or
    /// `prior` for the Twitter clone's pairs of them, or `etcd`.
    pub system: String,
    /// What is done.
    pub operation: Operation,
    /// How many at once; each client has its own object.
    pub at_once: usize,
    /// What else is on the links.
    pub traffic: Traffic,
    /// For how long operations are begun, in seconds.
    pub seconds: f64,
    /// Ends it earlier: after so many operations.
    pub operations_max: Option<u64>,
}

impl WindowSpec {
    /// The name of its files: `rw-write-udp-64`.
    pub fn file_stem(&self) -> String {
        format!(
            "{}-{}-{}-{}",
            self.system,
            self.operation.id(),
            self.traffic.id(),
            self.at_once
        )
    }

    /// For people.
    pub fn words(&self) -> String {
        format!(
            "{} {}, {} at once, {}",
            self.system,
            self.operation.id(),
            self.at_once,
            self.traffic.words()
        )
    }
}

/// Round trips of small requests over TCP, marked and unmarked at the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundTripWork {
    /// Round trip of the link in ms.
    pub rtt_ms: f64,
    /// Its rate in Mbit/s.
    pub rate_mbit: f64,
    /// Its buffer in KB of 1000 bytes.
    pub buffer_kb: u64,
    /// Where queues are served by class.
    pub scheme: Scheme,
    /// Between two requests of a connection, in ms.
    pub interval_ms: u64,
    /// Whole length, in seconds.
    pub seconds: f64,
    /// When the congestion begins and ends, in seconds; none for an idle link.
    pub congested: Option<(f64, f64)>,
    /// What it offers, in Mbit/s: unmarked UDP from the requests' site.
    pub offered_mbit: f64,
}

/// Where queues are served by class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Nowhere.
    None,
    /// In the router (DiffServ).
    Router,
    /// On the hosts: HTB shapes below the rate of a router without classes.
    Host,
}

impl WanSpec {
    /// The link in words, for tables and captions.
    pub fn words(&self) -> String {
        let sites = match self.sites {
            Sites::Two => "two sites, 109 ms",
            Sites::Three => "three sites, 23, 93 and 109 ms",
            Sites::ThreeAlike => "three sites, 100 ms",
        };
        let class = match (self.priority, self.police_percent) {
            (false, _) => ", no classes".to_owned(),
            (true, None) => ", EF first".to_owned(),
            (true, Some(percent)) => format!(", EF first up to {percent} % of the rate"),
        };
        let marks = match self.marks {
            Marks::Kept => "",
            Marks::Bleached => ", marks bleached",
            Marks::BleachedLater => ", marks bleached from the first full window on",
            Marks::Swapped => ", marks swapped",
        };
        let loss = match self.loss_percent {
            0.0 => String::new(),
            percent => format!(", {percent} % of packets lost each way"),
        };
        let jumbo = match self.mtu_bytes {
            ETHERNET_BYTES => String::new(),
            bytes => format!(", packets of up to {bytes} bytes"),
        };
        let slow = match self.times_slower {
            LIFE => String::new(),
            times => format!(", all of it {times} times slower"),
        };
        format!(
            "{sites}, {} Mbit/s, {} KB buffer{class}{marks}{loss}{jumbo}{slow}",
            self.rate_mbit, self.buffer_kb
        )
    }

    /// Bits that each link carries in a second of this machine's time, each way.
    pub fn bits_per_second(&self) -> f64 {
        self.rate_mbit * 1e6 / f64::from(self.times_slower)
    }

    /// How long what takes `time` in life takes here.
    pub fn slowed(&self, time: Duration) -> Duration {
        time * self.times_slower
    }

    /// The topology file of it.
    pub fn topology(&self, name: &str, seed: u64) -> String {
        let mut text = format!(
            "name = \"{name}\"\nseed = {seed}\nmtu = \"{}B\"\n",
            self.mtu_bytes
        );
        for (site, hosts) in self.sites.hosts() {
            let hosts: Vec<String> = hosts.iter().map(|node| format!("\"n{node}\"")).collect();
            text += &format!(
                "[[site]]\nname = \"{site}\"\nhosts = [{}]\n",
                hosts.join(", ")
            );
        }
        let ms = |life_ms: u32| format!("\"{}ms\"", life_ms * self.times_slower);
        let three = |virginia, ireland, between| {
            format!(
                "[rtt]\nlocal = {{ virginia = {}, ireland = {} }}\nvirginia = {{ ireland = {} }}\n",
                ms(virginia),
                ms(ireland),
                ms(between)
            )
        };
        text += &match self.sites {
            Sites::Two => format!("[rtt]\nlocal = {{ ireland = {} }}\n", ms(109)),
            Sites::Three => three(23, 109, 93),
            Sites::ThreeAlike => three(100, 100, 100),
        };
        text += &format!(
            "[wan]\nrate = \"{}Mbit\"\nbuffer = \"{}KB\"\npriority = [{}]\n",
            self.bits_per_second() / 1e6,
            self.buffer_kb,
            if self.priority { "\"EF\"" } else { "" }
        );
        if let Some(percent) = self.police_percent {
            text += &format!("police = \"{percent}%\"\n");
        }
        text += match self.marks {
            Marks::Kept | Marks::BleachedLater => "",
            Marks::Bleached => "bleach = true\n",
            Marks::Swapped => "remark = { EF = 0, 0 = \"EF\" }\n",
        };
        if self.loss_percent > 0.0 {
            text += &format!("loss = \"{}%\"\n", self.loss_percent);
        }
        text
    }
}

impl Sites {
    /// The sites, and the nodes at each: node n is host `nN`.
    pub fn hosts(self) -> &'static [(&'static str, &'static [u16])] {
        match self {
            Self::Two => &[("local", &[1, 4, 5]), ("ireland", &[2, 3])],
            Self::Three | Self::ThreeAlike => {
                &[("local", &[1, 4, 5]), ("virginia", &[2]), ("ireland", &[3])]
            }
        }
    }

    /// A node's host.
    pub fn host_of(self, node: u16) -> Option<String> {
        self.hosts()
            .iter()
            .find(|(_, nodes)| nodes.contains(&node))
            .map(|(site, _)| format!("{site}.n{node}"))
    }

    /// The pairs of sites, each once: `local:ireland`.
    pub fn pairs(self) -> &'static [&'static str] {
        match self {
            Self::Two => &["local:ireland"],
            Self::Three | Self::ThreeAlike => {
                &["local:virginia", "local:ireland", "virginia:ireland"]
            }
        }
    }
}
