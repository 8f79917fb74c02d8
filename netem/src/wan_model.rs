//! All links of a topology, driven together in virtual time.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use crate::{
    CrossTraffic, Delivery, Enqueued, Link, LinkCounters, LinkError, Packet, Site, Topology,
    TopologyError,
};

/// A topology's links with their randomness, which follows from one seed.
///
/// Each link has generators of its own, so traffic on one link never changes what
/// happens to another's. `now` is as in [`Link`].
pub struct WanModel<P> {
    sites: u16,
    /// By `from * sites + to`.
    lanes: Vec<Option<Lane<P>>>,
    no_route_packets: u64,
}

/// One link and what goes with it.
struct Lane<P> {
    link: Link<P>,
    rng: ChaCha8Rng,
    cross_seeds: ChaCha8Rng,
    /// The link's next delivery, so that finding the earliest of all stays cheap.
    next: Option<Duration>,
}

/// What became of a packet given to the WAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// A link took or dropped it.
    Link(Enqueued),
    /// No link joins the two sites that way.
    NoRoute,
}

/// A packet that crossed the WAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WanDelivery<P> {
    /// The sender's site.
    pub from: Site,
    /// The receiver's site.
    pub to: Site,
    /// The packet and its times.
    pub delivery: Delivery<P>,
}

/// One link's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkReport {
    /// Where the link begins.
    pub from: Site,
    /// Where it ends; `from` itself for the link inside a site.
    pub to: Site,
    /// What it counted.
    pub counters: LinkCounters,
}

/// Why a change to a link is refused; nothing was changed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum WanError {
    /// No such link.
    #[error("no link goes from {from} to {to}")]
    NoLink {
        /// Where it would begin.
        from: Site,
        /// Where it would end.
        to: Site,
    },
    /// The link refuses the value.
    #[error("link from {from} to {to}: {why}")]
    Link {
        /// Where the link begins.
        from: Site,
        /// Where it ends.
        to: Site,
        /// What is wrong.
        why: LinkError,
    },
}

impl<P> Lane<P> {
    fn new(link: Link<P>, seed: u64, number: u64) -> Self {
        let stream = |stream| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(stream);
            rng
        };
        Self {
            link,
            rng: stream(2 * number),
            cross_seeds: stream(2 * number + 1),
            next: None,
        }
    }
}

impl<P> WanModel<P> {
    /// Idle links, all up.
    ///
    /// # Errors
    /// What [`Topology::check`] finds.
    pub fn new(topology: &Topology, seed: u64) -> Result<Self, TopologyError> {
        topology.check()?;
        let sites = topology.sites();
        let mut lanes = Vec::with_capacity(usize::from(sites) * usize::from(sites));
        for from in (0..sites).map(Site) {
            for to in (0..sites).map(Site) {
                let lane = match topology.link(from, to) {
                    None => None,
                    Some(config) => {
                        let link = Link::new(config.clone())
                            .map_err(|why| TopologyError::Between { from, to, why })?;
                        Some(Lane::new(link, seed, lanes.len() as u64))
                    }
                };
                lanes.push(lane);
            }
        }
        Ok(Self {
            sites,
            lanes,
            no_route_packets: 0,
        })
    }

    /// How many sites there are.
    pub fn sites(&self) -> u16 {
        self.sites
    }

    /// Sends a packet from a site to a site; within one site it takes that site's own link.
    pub fn send(&mut self, now: Duration, from: Site, to: Site, packet: Packet<P>) -> Sent {
        let Ok(lane) = self.lane(from, to) else {
            self.no_route_packets += 1;
            return Sent::NoRoute;
        };
        let outcome = lane.link.enqueue(now, packet, &mut lane.rng);
        lane.next = lane.link.next_delivery();
        Sent::Link(outcome)
    }

    /// The next packet that has arrived by `now`, in order of arrival over all links
    /// (ties: by sites); call until `None`. Costs a glance at every link.
    pub fn poll(&mut self, now: Duration) -> Option<WanDelivery<P>> {
        let (number, lane) = self
            .lanes
            .iter_mut()
            .enumerate()
            .filter_map(|(number, lane)| Some((number, lane.as_mut()?)))
            .filter(|(_, lane)| lane.next.is_some_and(|next| next <= now))
            .min_by_key(|(_, lane)| lane.next)?;
        let delivery = lane.link.poll(now)?;
        lane.next = lane.link.next_delivery();
        let (from, to) = Self::ends(self.sites, number);
        Some(WanDelivery { from, to, delivery })
    }

    /// When the next packet arrives anywhere, if nothing else is sent or changed.
    pub fn next_event(&self) -> Option<Duration> {
        self.lanes
            .iter()
            .flatten()
            .filter_map(|lane| lane.next)
            .min()
    }

    /// Runs every link up to `now`; see [`Link::advance`].
    pub fn advance(&mut self, now: Duration) {
        for lane in self.lanes.iter_mut().flatten() {
            lane.link.advance(now);
        }
    }

    /// Whether any link carries cross traffic, so that [`advance`](Self::advance) is
    /// worth calling now and then.
    pub fn has_cross_traffic(&self) -> bool {
        self.lanes
            .iter()
            .flatten()
            .any(|lane| lane.link.has_cross_traffic())
    }

    /// Offers `fraction` of a link's rate as cross traffic; 0 stops it.
    ///
    /// # Errors
    /// [`WanError`]; the old load stays.
    pub fn congest(
        &mut self,
        now: Duration,
        from: Site,
        to: Site,
        fraction: f64,
    ) -> Result<(), WanError> {
        self.change(from, to, |lane| {
            let cross = if fraction == 0.0 {
                None
            } else {
                Some(CrossTraffic::new(fraction, lane.cross_seeds.next_u64())?)
            };
            lane.link.set_cross_traffic(now, cross);
            Ok(())
        })
    }

    /// Takes a link up or down; see [`Link::set_up`].
    ///
    /// # Errors
    /// [`WanError::NoLink`].
    pub fn set_up(
        &mut self,
        now: Duration,
        from: Site,
        to: Site,
        up: bool,
    ) -> Result<(), WanError> {
        self.change(from, to, |lane| {
            lane.link.set_up(now, up);
            Ok(())
        })
    }

    /// Changes a link's rate; see [`Link::set_rate`].
    ///
    /// # Errors
    /// [`WanError`]; the rate stays.
    pub fn set_rate(
        &mut self,
        now: Duration,
        from: Site,
        to: Site,
        bits_per_second: u64,
    ) -> Result<(), WanError> {
        self.change(from, to, |lane| lane.link.set_rate(now, bits_per_second))
    }

    /// Changes a link's chance of loss; see [`Link::set_loss`].
    ///
    /// # Errors
    /// [`WanError`]; the chance stays.
    pub fn set_loss(
        &mut self,
        now: Duration,
        from: Site,
        to: Site,
        loss: f64,
    ) -> Result<(), WanError> {
        self.change(from, to, |lane| lane.link.set_loss(now, loss))
    }

    /// Every link's counters at `now`, by `from`, then `to`.
    pub fn reports(&mut self, now: Duration) -> Vec<LinkReport> {
        let sites = self.sites;
        self.lanes
            .iter_mut()
            .enumerate()
            .filter_map(|(number, lane)| {
                let (from, to) = Self::ends(sites, number);
                let counters = lane.as_mut()?.link.counters(now);
                Some(LinkReport { from, to, counters })
            })
            .collect()
    }

    /// Packets sent between sites that no link joins.
    pub fn no_route_packets(&self) -> u64 {
        self.no_route_packets
    }

    fn change(
        &mut self,
        from: Site,
        to: Site,
        change: impl FnOnce(&mut Lane<P>) -> Result<(), LinkError>,
    ) -> Result<(), WanError> {
        let lane = self.lane(from, to)?;
        change(lane).map_err(|why| WanError::Link { from, to, why })?;
        // A new rate, or a queue that went with its link, moves the next delivery.
        lane.next = lane.link.next_delivery();
        Ok(())
    }

    fn lane(&mut self, from: Site, to: Site) -> Result<&mut Lane<P>, WanError> {
        let missing = WanError::NoLink { from, to };
        if from.0 >= self.sites || to.0 >= self.sites {
            return Err(missing);
        }
        let number = usize::from(from.0) * usize::from(self.sites) + usize::from(to.0);
        self.lanes
            .get_mut(number)
            .and_then(Option::as_mut)
            .ok_or(missing)
    }

    fn ends(sites: u16, number: usize) -> (Site, Site) {
        // `number` is below SITES_MAX squared, so both fit.
        let sites = usize::from(sites);
        (Site((number / sites) as u16), Site((number % sites) as u16))
    }
}
