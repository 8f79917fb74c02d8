//! The network as one `netem` link per directed pair of sites and class.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use netem::{DscpSet, Link, LinkConfig, Packet};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::wire::Wire;
use crate::{Class, NodeId, SiteId};

const PRIORITY_DSCP: u8 = 46;

/// Bytes that a link holds back; larger than the largest message. What a full one has no
/// room for is lost if it is priority, and waits at its sender if it is bulk, as QUIC's
/// congestion control has it.
const BUFFER_BYTES: u64 = 2 << 20;

/// One class's path between two sites.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassPlan {
    /// One way.
    pub delay: Duration,
    /// At most this much longer, drawn for each message.
    pub jitter: Duration,
    /// Bits per second.
    pub rate: u64,
}

/// The whole network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkPlan {
    /// Inside a site, both classes.
    pub local: ClassPlan,
    /// Between sites.
    pub priority: ClassPlan,
    /// Between sites.
    pub bulk: ClassPlan,
    /// Share of messages that get lost. A lost bulk message is sent again.
    pub loss: f64,
    /// Share of messages that arrive twice.
    pub repetition: f64,
    /// Share of messages that others may overtake.
    pub reordering: f64,
}

impl LinkPlan {
    /// The longest delay of a message that waits for no other.
    pub fn slowest(&self) -> Duration {
        let all = [self.local, self.priority, self.bulk];
        all.map(|class| class.delay + class.jitter)
            .into_iter()
            .max()
            .unwrap_or_default()
    }

    /// The path between two sites.
    pub fn class(&self, from: SiteId, to: SiteId, class: Class) -> ClassPlan {
        match class {
            _ if from == to => self.local,
            Class::Priority => self.priority,
            Class::Bulk => self.bulk,
        }
    }
}

/// From where to where, and in which class.
pub(super) type Route = (SiteId, SiteId, Class);

/// A message in the network.
#[derive(Debug)]
pub(super) struct Passage {
    pub from: NodeId,
    pub to: NodeId,
    pub connection: u64,
    pub wire: Wire,
}

/// What a poll of a route finds.
#[derive(Default)]
pub(super) struct News {
    #[expect(clippy::vec_box, reason = "moved from and to where they are boxed")]
    pub arrived: Vec<Box<Passage>>,
    /// When to poll the route again.
    pub again: Vec<Duration>,
}

/// All links of a cluster.
pub(super) struct Links {
    pub plan: LinkPlan,
    links: BTreeMap<Route, Lane>,
    /// Links that were replaced, until what they carry has arrived.
    old: Vec<(Route, Lane)>,
}

struct Lane {
    link: Link<Box<Passage>>,
    /// Bulk, at its senders, in the order of sending.
    waiting: VecDeque<Box<Passage>>,
    /// When the agenda will ask.
    polled_at: Option<Duration>,
}

impl Lane {
    fn new(plan: ClassPlan, loss: f64) -> Self {
        let link = Link::new(LinkConfig {
            rate_bits_per_second: plan.rate,
            buffer_bytes: BUFFER_BYTES,
            delay: plan.delay,
            jitter: plan.jitter,
            loss,
            priority_dscps: DscpSet::EXPEDITED,
            priority_limit: None,
            mtu_bytes: netem::MTU_BYTES,
        });
        Self {
            link: link.expect("a drawn plan is within a link's bounds"),
            waiting: VecDeque::new(),
            polled_at: None,
        }
    }

    fn has_room(&mut self, now: Duration, passage: &Passage) -> bool {
        let wire = &passage.wire;
        self.link.has_room(now, dscp(wire.class()), wire.bytes())
    }

    fn send(&mut self, now: Duration, passage: Box<Passage>, rng: &mut ChaCha8Rng) {
        let packet = Packet {
            bytes: passage.wire.bytes(),
            dscp: dscp(passage.wire.class()),
            payload: passage,
        };
        // A refusal is a loss: bulk was asked about room before.
        let _ = self.link.enqueue(now, packet, rng);
    }

    /// When to poll, where that is news.
    fn rearm(&mut self) -> Option<Duration> {
        let next = self.link.next_delivery()?;
        if self.polled_at.is_some_and(|at| at <= next) {
            return None;
        }
        self.polled_at = Some(next);
        Some(next)
    }
}

fn dscp(class: Class) -> u8 {
    match class {
        Class::Priority => PRIORITY_DSCP,
        Class::Bulk => 0,
    }
}

impl Links {
    pub fn new(plan: LinkPlan) -> Self {
        Self {
            plan,
            links: BTreeMap::new(),
            old: Vec::new(),
        }
    }

    /// Gives a message to its link, or lets it wait for that; returns when to
    /// [`Links::poll`] the route, where that is news. A message that is lost is gone.
    pub fn carry(
        &mut self,
        now: Duration,
        route: Route,
        passage: Box<Passage>,
        rng: &mut ChaCha8Rng,
    ) -> Option<Duration> {
        let (from, to, class) = route;
        let plan = self.plan;
        // Bulk's losses are drawn by the sender, who keeps the message for another try.
        let loss = match class {
            Class::Priority => plan.loss,
            Class::Bulk => 0.0,
        };
        let lane = self
            .links
            .entry(route)
            .or_insert_with(|| Lane::new(plan.class(from, to, class), loss));
        let waits = !lane.waiting.is_empty() || !lane.has_room(now, &passage);
        if class == Class::Bulk && waits {
            lane.waiting.push_back(passage);
            return None;
        }
        lane.send(now, passage, rng);
        lane.rearm()
    }

    /// Gives a link what waited for it and is still `wanted`, as far as it has room by
    /// now; returns as [`Links::carry`].
    pub fn refill(
        &mut self,
        now: Duration,
        route: Route,
        rng: &mut ChaCha8Rng,
        wanted: impl Fn(&Passage) -> bool,
    ) -> Option<Duration> {
        let lane = self.links.get_mut(&route)?;
        while let Some(passage) = lane.waiting.pop_front() {
            if !lane.has_room(now, &passage) {
                lane.waiting.push_front(passage);
                break;
            }
            if wanted(&passage) {
                lane.send(now, passage, rng);
            }
        }
        lane.rearm()
    }

    /// Adds what has arrived, and when to poll the route again: once for each of its links
    /// that has not said so before.
    pub fn poll(&mut self, now: Duration, route: Route, news: &mut News) {
        let News { arrived, again } = news;
        let mut take = |lane: &mut Lane| {
            while let Some(delivery) = lane.link.poll(now) {
                arrived.push(delivery.packet.payload);
            }
            if lane.polled_at.is_some_and(|at| at <= now) {
                lane.polled_at = None;
            }
        };
        for (_, lane) in self.old.iter_mut().filter(|(of, _)| *of == route) {
            take(lane);
        }
        self.old
            .retain(|(_, lane)| lane.link.next_delivery().is_some());
        if let Some(lane) = self.links.get_mut(&route) {
            take(lane);
            again.extend(lane.rearm());
        }
        for (_, lane) in self.old.iter_mut().filter(|(of, _)| *of == route) {
            again.extend(lane.rearm());
        }
    }

    /// From now on the network is another one. What waits in a link leaves at its new
    /// rate; what left arrives as it would have; what waits at its sender takes the new
    /// link, once [`Links::refill`] is called. Returns what to poll, and when.
    pub fn replace(&mut self, now: Duration, plan: LinkPlan) -> Vec<(Route, Duration)> {
        let before = std::mem::replace(&mut self.plan, plan);
        let mut polls = Vec::new();
        for (route, mut lane) in std::mem::take(&mut self.links) {
            let (from, to, class) = route;
            let (was, is) = (before.class(from, to, class), plan.class(from, to, class));
            let rated = lane.link.set_rate(now, is.rate);
            rated.expect("a plan's rate is within a link's bounds");
            polls.extend(lane.rearm().map(|at| (route, at)));
            let is_same = (was.delay, was.jitter, before.loss) == (is.delay, is.jitter, plan.loss);
            if is_same {
                self.links.insert(route, lane);
                continue;
            }
            if !lane.waiting.is_empty() {
                let mut new = Lane::new(is, lane.link.config().loss);
                new.waiting = std::mem::take(&mut lane.waiting);
                self.links.insert(route, new);
            }
            self.old.push((route, lane));
        }
        polls
    }

    /// How long what waits at its senders would take its link at the rate of now; the
    /// longest such time.
    pub fn longest_queue(&self) -> Duration {
        let queue = |(&(from, to, class), lane): (&Route, &Lane)| {
            let bytes: u64 = lane.waiting.iter().map(|p| u64::from(p.wire.bytes())).sum();
            let rate = self.plan.class(from, to, class).rate;
            Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64)
        };
        self.links.iter().map(queue).max().unwrap_or_default()
    }

    /// Where something may wait at its sender.
    pub fn bulk_routes(&self) -> Vec<Route> {
        let routes = self.links.keys().copied();
        routes.filter(|(.., class)| *class == Class::Bulk).collect()
    }

    /// How long a bulk message waits until its sender notices that it was lost.
    pub fn retransmission(&self, route: Route, rng: &mut ChaCha8Rng) -> Duration {
        let (from, to, class) = route;
        let plan = self.plan.class(from, to, class);
        let rtt = 2 * plan.delay + plan.jitter + Duration::from_millis(1);
        rtt.mul_f64(rng.random_range(1.1..2.5))
    }
}
