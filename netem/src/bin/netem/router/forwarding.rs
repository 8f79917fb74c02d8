//! Packets on their way from an interface over links to another interface.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, anyhow};
use netem::topology_file::{LinkChange, Plan};
use netem::{
    Arrived, DscpSet, FlowCounters, IpHeader, LaneReport, LatenessHistogram, MTU_BYTES_MAX,
    Network, Packet, WaitSum,
};
use tun_rs::SyncDevice;

use super::clock::Clock;
use crate::control::{Answer, FlowStatus, LinkStatus, Request, RouterStatus, Status};

/// Packets read from one host before others have their turn.
const READ_BATCH: usize = 32;

/// All that the router's thread knows.
pub struct Forwarding {
    network: Network<Transit>,
    paths: Vec<Vec<usize>>,
    link_names: Vec<String>,
    devices: Vec<SyncDevice>,
    /// By position in `devices`.
    site_of_host: Vec<usize>,
    sites: usize,
    mtu_bytes: usize,
    host_of_address: BTreeMap<IpAddr, usize>,
    since: Duration,
    scheduling: String,
    lateness: LatenessHistogram,
    window: LatenessHistogram,
    read_packets: u64,
    written_packets: u64,
    no_host_packets: u64,
    refused_packets: u64,
}

/// A packet between two interfaces.
struct Transit {
    to_host: usize,
    sent_dscp: u8,
    bytes: Box<[u8]>,
}

impl Forwarding {
    /// Idle links between `devices`, which are the plan's hosts site by site.
    pub fn new(plan: &Plan, devices: Vec<SyncDevice>) -> Result<Self> {
        let links = plan
            .links
            .iter()
            .map(|link| (link.config.clone(), link.remark.clone()));
        let network = Network::new(links, plan.seed)
            .map_err(|(link, error)| anyhow!("link {}: {error}", plan.links[link].name))?;
        let mut site_of_host = Vec::new();
        let mut host_of_address = BTreeMap::new();
        for (site, plan) in plan.sites.iter().enumerate() {
            for host in &plan.hosts {
                host_of_address.insert(host.ipv4.into(), site_of_host.len());
                host_of_address.insert(host.ipv6.into(), site_of_host.len());
                site_of_host.push(site);
            }
        }
        assert_eq!(site_of_host.len(), devices.len(), "one interface per host");
        Ok(Self {
            network,
            paths: plan.paths.clone(),
            link_names: plan.links.iter().map(|link| link.name.clone()).collect(),
            devices,
            site_of_host,
            sites: plan.sites.len(),
            mtu_bytes: plan.mtu_bytes as usize,
            host_of_address,
            since: Clock::now(),
            scheduling: String::new(),
            lateness: LatenessHistogram::new(),
            window: LatenessHistogram::new(),
            read_packets: 0,
            written_packets: 0,
            no_host_packets: 0,
            refused_packets: 0,
        })
    }

    /// Notes how the thread is scheduled.
    pub fn set_scheduling(&mut self, scheduling: String) {
        self.scheduling = scheduling;
    }

    /// The hosts' interfaces.
    pub fn devices(&self) -> &[SyncDevice] {
        &self.devices
    }

    /// When something is due next.
    pub fn next_event(&self) -> Option<Duration> {
        self.network.next_event()
    }

    /// Whether to [`advance`](Self::advance) now and then.
    pub fn has_cross_traffic(&self) -> bool {
        self.network.has_cross_traffic()
    }

    /// Computes cross traffic up to `now`.
    pub fn advance(&mut self, now: Duration) {
        self.network.advance(now);
    }

    /// Writes every packet that is due by now; the time that it was then.
    pub fn deliver_due(&mut self) -> Duration {
        loop {
            let now = Clock::now();
            let Some(arrived) = self.network.poll(now, &self.paths) else {
                return now;
            };
            self.write(arrived);
        }
    }

    /// Reads what a host sent, up to [`READ_BATCH`] packets.
    pub fn read_from(&mut self, host: usize) {
        // One byte more, so that a packet beyond the MTU would show.
        let mut buffer = [0; MTU_BYTES_MAX as usize + 1];
        for _ in 0..READ_BATCH {
            let read = match self.devices[host].recv(&mut buffer) {
                Ok(read) => read,
                Err(error) => {
                    if error.kind() != ErrorKind::WouldBlock {
                        self.refused_packets += 1;
                    }
                    return;
                }
            };
            self.read_packets += 1;
            if read > self.mtu_bytes {
                // An offload that should be off; a link would drop it, too.
                self.refused_packets += 1;
                continue;
            }
            self.send(host, &buffer[..read]);
        }
    }

    fn send(&mut self, from_host: usize, bytes: &[u8]) {
        let header = IpHeader::read(bytes);
        let to_host = header.and_then(|h| self.host_of_address.get(&h.destination).copied());
        let (Some(header), Some(to_host)) = (header, to_host) else {
            self.no_host_packets += 1;
            return;
        };
        // What is due comes first: it may enter the same link earlier.
        let now = self.deliver_due();
        let path = self.site_of_host[from_host] * self.sites + self.site_of_host[to_host];
        let packet = Packet {
            bytes: u32::try_from(bytes.len()).expect("read into a buffer of the MTU"),
            dscp: header.dscp,
            payload: Transit {
                to_host,
                sent_dscp: header.dscp,
                bytes: bytes.into(),
            },
        };
        // Dropped or not, the link counts it.
        let _ = self.network.send(now, &self.paths, path, packet);
    }

    fn write(&mut self, arrived: Arrived<Transit>) {
        let Transit {
            to_host,
            sent_dscp,
            mut bytes,
        } = arrived.cargo;
        if arrived.dscp != sent_dscp {
            IpHeader::set_dscp(&mut bytes, arrived.dscp);
        }
        if self.devices[to_host].send(&bytes).is_err() {
            self.refused_packets += 1;
            return;
        }
        self.written_packets += 1;
        let late = Clock::now().saturating_sub(arrived.at);
        self.lateness.record(late);
        self.window.record(late);
    }

    /// Does what a command asks.
    pub fn answer(&mut self, request: Request) -> Answer {
        let now = self.deliver_due();
        let result = match request {
            Request::Status { begin_window } => {
                let status = self.status(now);
                if begin_window {
                    self.window = LatenessHistogram::new();
                }
                return Answer::Status(Box::new(status));
            }
            Request::Congest { link, load } => self
                .checked(link)
                .and_then(|()| Ok(self.network.congest(now, link, load)?)),
            Request::Set { link, words } => self
                .checked(link)
                .and_then(|()| self.set(now, link, &words)),
            Request::TcpFlows { .. } => Err(anyhow!("TCP flows are not the router's")),
        };
        match result {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Refused(format!("{error:#}")),
        }
    }

    fn checked(&self, link: usize) -> Result<()> {
        match self.link_names.get(link) {
            Some(_) => Ok(()),
            None => Err(anyhow!("there is no link number {link}")),
        }
    }

    fn set(&mut self, now: Duration, link: usize, words: &[String]) -> Result<()> {
        let change = LinkChange::parse(words)?;
        let report = self.network.report(now, link);
        let (config, remark) = change.settings.apply(report.config, report.remark)?;
        self.network.set_config(now, link, config, remark)?;
        if let Some(up) = change.up {
            self.network.set_up(now, link, up);
        }
        Ok(())
    }

    fn status(&mut self, now: Duration) -> Status {
        let names = self.link_names.iter().enumerate();
        let links = names.map(|(link, name)| link_status(name, &self.network.report(now, link)));
        Status {
            seconds: (now - self.since).as_secs_f64(),
            links: links.collect(),
            router: RouterStatus {
                scheduling: self.scheduling.clone(),
                cpu_seconds: Clock::thread_cpu().as_secs_f64(),
                read_packets: self.read_packets,
                written_packets: self.written_packets,
                no_host_packets: self.no_host_packets,
                refused_packets: self.refused_packets,
                // The control thread knows.
                overrun_packets: 0,
                lateness: self.lateness.summary(),
                window: self.window.summary(),
            },
        }
    }
}

fn link_status(name: &str, report: &LaneReport<'_>) -> LinkStatus {
    let config = report.config;
    let marks = |set: DscpSet| (0..64).filter(|&dscp| set.contains(dscp)).collect();
    let counters = &report.counters;
    LinkStatus {
        name: name.to_owned(),
        up: report.up,
        rate_bits_per_second: config.rate_bits_per_second,
        buffer_bytes: config.buffer_bytes,
        delay_us: micros(config.delay),
        jitter_us: micros(config.jitter),
        loss: config.loss,
        priority_dscps: marks(config.priority_dscps),
        police_bits_per_second: config
            .priority_limit
            .map(|limit| limit.rate_bits_per_second),
        remark: report.remark.changes().collect(),
        load: report.cross_fraction,
        tcp_flows: 0,
        priority: flow_status(counters.priority, report.waits.priority),
        bulk: flow_status(counters.bulk, report.waits.bulk),
        cross: flow_status(counters.cross, counters.cross_waits),
    }
}

fn flow_status(counters: FlowCounters, waits: WaitSum) -> FlowStatus {
    FlowStatus {
        dropped_packets: counters.dropped_packets(),
        counters,
        waited_packets: waits.packets,
        waited_us: micros(waits.total),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
