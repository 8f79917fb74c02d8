//! Links joined to paths, driven together in virtual time.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cross_traffic::packets_per_second;
use crate::{
    CROSS_PACKETS_PER_SECOND_MAX, Class, CrossTraffic, Enqueued, Link, LinkConfig, LinkCounters,
    LinkError, Packet, Remark, WaitSum,
};

/// Links, each by its position, and packets that take one after another.
///
/// What leaves one link enters the next at the very moment of its arrival, whenever
/// somebody polls; so *when* somebody polls changes nothing here either. Each link has
/// generators of its own, and its randomness depends on nobody else's packets.
pub struct Network<P> {
    lanes: Vec<Lane<P>>,
}

struct Lane<P> {
    link: Link<Crossing<P>>,
    remark: Remark,
    rng: ChaCha8Rng,
    cross_seeds: ChaCha8Rng,
    cross_fraction: f64,
    /// The link's next delivery, so that finding the earliest of all stays cheap.
    next: Option<Duration>,
    waits: Waits,
}

/// A packet with the rest of its way.
struct Crossing<P> {
    path: usize,
    /// How many links of its path it has entered.
    hops: usize,
    entered: Duration,
    cargo: P,
}

/// Paths by number: positions of links, in order.
pub type Paths = [Vec<usize>];

/// A packet at the end of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived<P> {
    /// When it arrived.
    pub at: Duration,
    /// Its mark, after every link's [`Remark`].
    pub dscp: u8,
    /// The caller's own.
    pub cargo: P,
}

/// Both classes' waits on one link, of packets that arrived at its far end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// The priority class.
    pub priority: WaitSum,
    /// The bulk class; cross traffic has [its own](LinkCounters::cross_waits).
    pub bulk: WaitSum,
}

/// One link as it is now.
#[derive(Clone, Debug)]
pub struct LaneReport<'a> {
    /// Its configuration.
    pub config: &'a LinkConfig,
    /// What it does to marks.
    pub remark: &'a Remark,
    /// Whether it is up.
    pub up: bool,
    /// Cross traffic that it is offered, as a fraction of its rate.
    pub cross_fraction: f64,
    /// What it counted.
    pub counters: LinkCounters,
    /// How long packets took.
    pub waits: Waits,
}

impl<P> Network<P> {
    /// Idle links, all up.
    ///
    /// # Errors
    /// The position of the first link that is refused, and why.
    pub fn new(
        links: impl IntoIterator<Item = (LinkConfig, Remark)>,
        seed: u64,
    ) -> Result<Self, (usize, LinkError)> {
        let lane = |(number, (config, remark))| {
            let stream = |stream| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(stream);
                rng
            };
            Ok(Lane {
                link: Link::new(config).map_err(|error| (number, error))?,
                remark,
                rng: stream(2 * number as u64),
                cross_seeds: stream(2 * number as u64 + 1),
                cross_fraction: 0.0,
                next: None,
                waits: Waits::default(),
            })
        };
        let lanes = links.into_iter().enumerate().map(lane);
        Ok(Self {
            lanes: lanes.collect::<Result<_, _>>()?,
        })
    }

    /// Sends a packet along `paths[path]`. What is due before `now` must have been
    /// polled, or it enters its next link later than it should.
    ///
    /// # Panics
    /// If there is no such path, it is empty, or one of its links doesn't exist.
    pub fn send(
        &mut self,
        now: Duration,
        paths: &Paths,
        path: usize,
        packet: Packet<P>,
    ) -> Enqueued {
        let crossing = Crossing {
            path,
            hops: 0,
            entered: now,
            cargo: packet.payload,
        };
        self.enter(now, paths, packet.bytes, packet.dscp, crossing)
    }

    /// The next packet that has reached the end of its path by `now`, in order of
    /// arrival; call until `None`. Costs a glance at every link.
    pub fn poll(&mut self, now: Duration, paths: &Paths) -> Option<Arrived<P>> {
        loop {
            let due = |lane: &&mut Lane<P>| lane.next.is_some_and(|next| next <= now);
            let lane = self
                .lanes
                .iter_mut()
                .filter(due)
                .min_by_key(|lane| lane.next)?;
            // To its own time and no further: a packet that arrives a little later on
            // another link may still enter this one before `now`.
            let delivery = lane.link.poll(lane.next?);
            lane.next = lane.link.next_delivery();
            let Some(delivery) = delivery else {
                continue;
            };
            let Packet {
                bytes,
                dscp,
                payload: mut crossing,
            } = delivery.packet;
            let sum = match delivery.class {
                Class::Priority => &mut lane.waits.priority,
                Class::Bulk => &mut lane.waits.bulk,
            };
            sum.add(crossing.entered, delivery.departed);
            if crossing.hops == paths[crossing.path].len() {
                return Some(Arrived {
                    at: delivery.arrival,
                    dscp,
                    cargo: crossing.cargo,
                });
            }
            crossing.entered = delivery.arrival;
            // Dropped or not, the link counts it.
            let _ = self.enter(delivery.arrival, paths, bytes, dscp, crossing);
        }
    }

    /// When something happens next, if nothing is sent or changed.
    pub fn next_event(&self) -> Option<Duration> {
        self.lanes.iter().filter_map(|lane| lane.next).min()
    }

    /// Runs every link with cross traffic up to `now`, for which nothing must be due.
    pub fn advance(&mut self, now: Duration) {
        for lane in &mut self.lanes {
            if lane.link.has_cross_traffic() {
                lane.link.advance(now);
            }
        }
    }

    /// Whether any link carries cross traffic, so that [`advance`](Self::advance) is
    /// worth calling now and then.
    pub fn has_cross_traffic(&self) -> bool {
        self.lanes.iter().any(|lane| lane.link.has_cross_traffic())
    }

    /// Offers `fraction` of a link's rate as cross traffic; 0 stops it.
    ///
    /// # Errors
    /// [`LinkError::CrossFraction`] or [`LinkError::CrossPackets`]; the old load stays.
    ///
    /// # Panics
    /// If there is no such link; so do the other changes.
    pub fn congest(&mut self, now: Duration, link: usize, fraction: f64) -> Result<(), LinkError> {
        let rate = self.lanes[link].link.config().rate_bits_per_second;
        self.check_cross_traffic(link, rate, fraction)?;
        let lane = &mut self.lanes[link];
        let cross = if fraction == 0.0 {
            None
        } else {
            Some(CrossTraffic::new(fraction, lane.cross_seeds.next_u64())?)
        };
        lane.link.set_cross_traffic(now, cross);
        lane.cross_fraction = fraction;
        lane.next = lane.link.next_delivery();
        Ok(())
    }

    /// Takes a link up or down; see [`Link::set_up`].
    pub fn set_up(&mut self, now: Duration, link: usize, up: bool) {
        let lane = &mut self.lanes[link];
        lane.link.set_up(now, up);
        lane.next = lane.link.next_delivery();
    }

    /// Replaces a link's configuration and what it does to marks.
    ///
    /// # Errors
    /// What [`LinkConfig::check`] finds, or [`LinkError::CrossPackets`] where the load that
    /// the link has would be too much at the new rate; nothing is changed.
    pub fn set_config(
        &mut self,
        now: Duration,
        link: usize,
        config: LinkConfig,
        remark: Remark,
    ) -> Result<(), LinkError> {
        let fraction = self.lanes[link].cross_fraction;
        self.check_cross_traffic(link, config.rate_bits_per_second, fraction)?;
        let lane = &mut self.lanes[link];
        lane.link.set_config(now, config)?;
        lane.remark = remark;
        lane.next = lane.link.next_delivery();
        Ok(())
    }

    /// A link as it is at `now`, for which nothing must be due.
    pub fn report(&mut self, now: Duration, link: usize) -> LaneReport<'_> {
        let lane = &mut self.lanes[link];
        let counters = lane.link.counters(now);
        LaneReport {
            config: lane.link.config(),
            remark: &lane.remark,
            up: lane.link.is_up(),
            cross_fraction: lane.cross_fraction,
            counters,
            waits: lane.waits,
        }
    }

    /// Whether `fraction` of a link's `rate` can be made besides the other links' loads.
    fn check_cross_traffic(&self, link: usize, rate: u64, fraction: f64) -> Result<(), LinkError> {
        let others = self
            .lanes
            .iter()
            .enumerate()
            .filter(|&(lane, _)| lane != link);
        let others: f64 = others
            .map(|(_, lane)| {
                let rate = lane.link.config().rate_bits_per_second;
                packets_per_second(rate, lane.cross_fraction)
            })
            .sum();
        let offered = packets_per_second(rate, fraction);
        if fraction == 0.0 || others + offered <= CROSS_PACKETS_PER_SECOND_MAX {
            return Ok(());
        }
        let left = (CROSS_PACKETS_PER_SECOND_MAX - others).max(0.0) / packets_per_second(rate, 1.0);
        Err(LinkError::CrossPackets {
            packets_per_second: others + offered,
            percent_max: (left * 1000.0).floor() / 10.0,
            rate_bits_per_second: rate,
        })
    }

    fn enter(
        &mut self,
        at: Duration,
        paths: &Paths,
        bytes: u32,
        dscp: u8,
        mut crossing: Crossing<P>,
    ) -> Enqueued {
        let lane = &mut self.lanes[paths[crossing.path][crossing.hops]];
        crossing.hops += 1;
        let packet = Packet {
            bytes,
            dscp: lane.remark.of(dscp),
            payload: crossing,
        };
        let outcome = lane.link.enqueue(at, packet, &mut lane.rng);
        lane.next = lane.link.next_delivery();
        outcome
    }
}
