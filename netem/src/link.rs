//! One directed link: a transmitter behind a buffer, then a wire.

use std::collections::VecDeque;
use std::time::Duration;

use rand::{Rng, RngExt};

use crate::buffer::{Buffer, Queued};
use crate::token_bucket::TokenBucket;
use crate::{CrossTraffic, FlowCounters, LinkConfig, LinkCounters, LinkError, MTU_BYTES};

/// What travels over a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<P> {
    /// Size that the link carries, headers included.
    pub bytes: u32,
    /// The mark, 0 to 63; decides the class.
    pub dscp: u8,
    /// The caller's own; the link never looks.
    pub payload: P,
}

/// How a link treats a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Served first.
    Priority,
    /// Served when no priority packet waits.
    Bulk,
}

/// What became of a packet at the link's entrance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Enqueued {
    /// It waits or is being transmitted. A bulk packet may still be evicted, and any
    /// packet is lost if the link goes down before it has left.
    Accepted,
    /// The buffer was full.
    DroppedTail,
    /// Random loss.
    DroppedLoss,
    /// The link is down.
    DroppedDown,
    /// Above the priority class's rate limit.
    DroppedLimited,
}

/// A packet at the far end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery<P> {
    /// When its last bit left the transmitter.
    pub departed: Duration,
    /// When it arrived: `departed`, delay and jitter.
    pub arrival: Duration,
    /// The class it travelled in.
    pub class: Class,
    /// The packet.
    pub packet: Packet<P>,
}

/// One directed link in virtual time.
///
/// `now` is the time since an origin of the caller's choice. It never runs back: an
/// earlier `now` counts as the latest one seen.
///
/// Priority is strict but not preemptive: a priority packet waits for at most the one
/// bulk packet that is being transmitted, and for priority packets before it.
pub struct Link<P> {
    config: LinkConfig,
    up: bool,
    now: Duration,
    buffer: Buffer<Cargo<P>>,
    transmitting: Option<Transmission<P>>,
    priority_wire: Wire<P>,
    bulk_wire: Wire<P>,
    limiter: Option<TokenBucket>,
    cross: Option<CrossTraffic>,
    counters: LinkCounters,
}

/// Whose packet it is.
enum Cargo<P> {
    Own {
        dscp: u8,
        payload: P,
        jitter: Duration,
    },
    Cross {
        entered: Duration,
    },
}

struct Transmission<P> {
    ends: Duration,
    class: Class,
    packet: Queued<Cargo<P>>,
}

/// One class's packets that propagate, in order of arrival.
struct Wire<P> {
    flying: VecDeque<Delivery<P>>,
    last_arrival: Duration,
}

impl<P> Wire<P> {
    /// When a packet arrives that would arrive at `alone` if it were the only one:
    /// jitter must not let it overtake its class.
    fn arrival(&self, alone: Duration) -> Duration {
        alone.max(self.last_arrival)
    }
}

impl<P> Default for Wire<P> {
    fn default() -> Self {
        Self {
            flying: VecDeque::new(),
            last_arrival: Duration::ZERO,
        }
    }
}

impl<P> Link<P> {
    /// An idle link that is up.
    ///
    /// # Errors
    /// What [`LinkConfig::check`] finds.
    pub fn new(config: LinkConfig) -> Result<Self, LinkError> {
        config.check()?;
        Ok(Self {
            up: true,
            now: Duration::ZERO,
            buffer: Buffer::new(config.buffer_bytes, config.mtu_bytes),
            transmitting: None,
            priority_wire: Wire::default(),
            bulk_wire: Wire::default(),
            limiter: config
                .priority_limit
                .map(|limit| TokenBucket::new(limit, Duration::ZERO)),
            cross: None,
            counters: LinkCounters::default(),
            config,
        })
    }

    /// The configuration as it is now.
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// Offers a packet to the link.
    ///
    /// Draws the same amount from `rng` for every packet, whatever happens to it, so
    /// that changing one setting does not shift another's random sequence.
    pub fn enqueue<R: Rng + ?Sized>(
        &mut self,
        now: Duration,
        packet: Packet<P>,
        rng: &mut R,
    ) -> Enqueued {
        self.advance(now);
        let lost = rng.random::<f64>() < self.config.loss;
        let jitter = self.config.jitter.mul_f64(rng.random::<f64>());
        let class = self.class_of(packet.dscp);
        let (bytes, now) = (packet.bytes, self.now);
        let queued = Queued {
            bytes,
            awaited: true,
            cargo: Cargo::Own {
                dscp: packet.dscp,
                payload: packet.payload,
                jitter,
            },
        };
        let counters = self.counters_of(class, &queued.cargo);
        counters.offered_packets += 1;
        counters.offered_bytes += u64::from(bytes);
        if !self.up {
            self.counters_of(class, &queued.cargo).dropped_down += 1;
            return Enqueued::DroppedDown;
        }
        if lost {
            self.counters_of(class, &queued.cargo).dropped_loss += 1;
            return Enqueued::DroppedLoss;
        }
        if class == Class::Priority
            && let Some(limiter) = &mut self.limiter
            && !limiter.admits(now, bytes)
        {
            self.counters.priority.dropped_limited += 1;
            return Enqueued::DroppedLimited;
        }
        self.accept(now, class, queued)
    }

    /// Whether [`enqueue`](Self::enqueue) at `now` would find room for a packet; loss and
    /// the priority class's limit aside.
    pub fn has_room(&mut self, now: Duration, dscp: u8, bytes: u32) -> bool {
        self.advance(now);
        self.transmitting.is_none() || self.buffer.has_room(self.class_of(dscp), bytes)
    }

    /// The next packet that has arrived by `now`, in order of arrival; call until `None`.
    pub fn poll(&mut self, now: Duration) -> Option<Delivery<P>> {
        self.advance(now);
        let head = |wire: &Wire<P>| wire.flying.front().map(|delivery| delivery.arrival);
        let class = match (head(&self.priority_wire), head(&self.bulk_wire)) {
            (Some(priority), Some(bulk)) if bulk < priority => Class::Bulk,
            (Some(_), _) => Class::Priority,
            (None, Some(_)) => Class::Bulk,
            (None, None) => return None,
        };
        let now = self.now;
        let delivery = self
            .wire(class)
            .flying
            .pop_front_if(|delivery| delivery.arrival <= now)?;
        let counters = match class {
            Class::Priority => &mut self.counters.priority,
            Class::Bulk => &mut self.counters.bulk,
        };
        counters.in_flight_packets -= 1;
        counters.delivered_packets += 1;
        Some(delivery)
    }

    /// When the next packet arrives if nothing else is sent or changed; exact, so that
    /// a driver that sleeps until then never wakes for nothing.
    ///
    /// Constant time where bulk has a packet in flight or none waiting; else it walks past
    /// the priority packets that wait.
    pub fn next_delivery(&self) -> Option<Duration> {
        let priority = self.next_of(Class::Priority);
        let bulk = self.next_of(Class::Bulk);
        priority.into_iter().chain(bulk).min()
    }

    /// Runs the link up to `now` without taking deliveries; cheap to call often, and
    /// worth it under cross traffic, whose arrivals otherwise pile up to be computed
    /// at once (about 0.1 µs for each).
    pub fn advance(&mut self, now: Duration) {
        let now = now.max(self.now);
        loop {
            let ends = self.transmitting.as_ref().map(|sending| sending.ends);
            let arrives = self.cross.as_ref().map(CrossTraffic::next);
            match (ends, arrives) {
                // At the same instant a departure comes first: it makes room.
                (Some(ends), arrives)
                    if ends <= now && arrives.is_none_or(|arrives| ends <= arrives) =>
                {
                    self.finish_transmission();
                }
                (_, Some(arrives)) if arrives <= now => self.on_cross_arrival(arrives),
                _ => break,
            }
        }
        self.now = now;
    }

    /// Takes the link up or down. Down loses what waits and what is half transmitted;
    /// what has left the transmitter still arrives.
    pub fn set_up(&mut self, now: Duration, up: bool) {
        self.advance(now);
        self.up = up;
        if up {
            return;
        }
        if let Some(Transmission { class, packet, .. }) = self.transmitting.take() {
            let counters = self.counters_of(class, &packet.cargo);
            counters.in_flight_packets -= 1;
            counters.dropped_down += 1;
        }
        while let Some((class, packet)) = self.buffer.pop() {
            let counters = self.counters_of(class, &packet.cargo);
            counters.unqueued(packet.bytes);
            counters.dropped_down += 1;
        }
    }

    /// Whether the link is up.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Changes the rate; the packet being transmitted ends as it began. Cross traffic
    /// follows, as a fraction of the new rate.
    ///
    /// # Errors
    /// [`LinkError::Rate`]; the rate stays.
    pub fn set_rate(&mut self, now: Duration, bits_per_second: u64) -> Result<(), LinkError> {
        LinkConfig::check_rate(bits_per_second)?;
        self.advance(now);
        self.config.rate_bits_per_second = bits_per_second;
        if let Some(cross) = &mut self.cross {
            cross.start(self.now, bits_per_second);
        }
        Ok(())
    }

    /// Changes the chance of loss, for packets sent from now on.
    ///
    /// # Errors
    /// [`LinkError::Loss`]; the chance stays.
    pub fn set_loss(&mut self, now: Duration, loss: f64) -> Result<(), LinkError> {
        LinkConfig::check_loss(loss)?;
        self.advance(now);
        self.config.loss = loss;
        Ok(())
    }

    /// Replaces the whole configuration: rate and loss as [`set_rate`](Self::set_rate)
    /// and [`set_loss`](Self::set_loss) do; delay and jitter for what has not left the
    /// transmitter (an earlier packet of the class is never overtaken); a smaller
    /// buffer keeps what waits but takes no more; classes and the priority class's
    /// limit for packets sent from now on, the limit with a full bucket if it changed.
    ///
    /// # Errors
    /// What [`LinkConfig::check`] finds; the old configuration stays.
    pub fn set_config(&mut self, now: Duration, config: LinkConfig) -> Result<(), LinkError> {
        config.check()?;
        self.advance(now);
        if config.priority_limit != self.config.priority_limit {
            let now = self.now;
            self.limiter = config
                .priority_limit
                .map(|limit| TokenBucket::new(limit, now));
        }
        self.buffer.set_limit(config.buffer_bytes, config.mtu_bytes);
        let rate = config.rate_bits_per_second;
        let rate_changed = rate != self.config.rate_bits_per_second;
        self.config = config;
        if let Some(cross) = &mut self.cross
            && rate_changed
        {
            cross.start(self.now, rate);
        }
        Ok(())
    }

    /// Starts, replaces or (with `None`) stops cross traffic. What already waits stays.
    pub fn set_cross_traffic(&mut self, now: Duration, cross: Option<CrossTraffic>) {
        self.advance(now);
        self.cross = cross;
        if let Some(cross) = &mut self.cross {
            cross.start(self.now, self.config.rate_bits_per_second);
        }
    }

    /// Whether cross traffic is on.
    pub fn has_cross_traffic(&self) -> bool {
        self.cross.is_some()
    }

    /// The counters at `now`.
    pub fn counters(&mut self, now: Duration) -> LinkCounters {
        self.advance(now);
        self.counters
    }

    fn class_of(&self, dscp: u8) -> Class {
        if self.config.priority_dscps.contains(dscp) {
            Class::Priority
        } else {
            Class::Bulk
        }
    }

    fn wire(&mut self, class: Class) -> &mut Wire<P> {
        match class {
            Class::Priority => &mut self.priority_wire,
            Class::Bulk => &mut self.bulk_wire,
        }
    }

    fn counters_of(&mut self, class: Class, cargo: &Cargo<P>) -> &mut FlowCounters {
        match (cargo, class) {
            (Cargo::Cross { .. }, _) => &mut self.counters.cross,
            (Cargo::Own { .. }, Class::Priority) => &mut self.counters.priority,
            (Cargo::Own { .. }, Class::Bulk) => &mut self.counters.bulk,
        }
    }

    fn on_cross_arrival(&mut self, at: Duration) {
        if let Some(cross) = &mut self.cross {
            cross.advance(self.config.rate_bits_per_second);
        }
        self.counters.cross.offered_packets += 1;
        self.counters.cross.offered_bytes += u64::from(MTU_BYTES);
        if !self.up {
            self.counters.cross.dropped_down += 1;
            return;
        }
        let packet = Queued {
            bytes: MTU_BYTES,
            awaited: false,
            cargo: Cargo::Cross { entered: at },
        };
        // Its outcome is in the counters; nobody waits for it.
        let _ = self.accept(at, Class::Bulk, packet);
    }

    fn accept(&mut self, at: Duration, class: Class, packet: Queued<Cargo<P>>) -> Enqueued {
        if self.transmitting.is_none() {
            self.start_transmission(at, class, packet);
            return Enqueued::Accepted;
        }
        if !self.buffer.has_room(class, packet.bytes) {
            self.counters_of(class, &packet.cargo).dropped_tail += 1;
            return Enqueued::DroppedTail;
        }
        // Only a priority packet can find room and yet need to evict.
        while let Some(victim) = self.buffer.evict_for(packet.bytes) {
            let counters = self.counters_of(Class::Bulk, &victim.cargo);
            counters.unqueued(victim.bytes);
            counters.dropped_evicted += 1;
        }
        self.counters_of(class, &packet.cargo).queued(packet.bytes);
        self.buffer.push(class, packet);
        self.counters.queue_bytes_max = self.counters.queue_bytes_max.max(self.buffer.bytes());
        Enqueued::Accepted
    }

    fn start_transmission(&mut self, at: Duration, class: Class, packet: Queued<Cargo<P>>) {
        self.counters_of(class, &packet.cargo).in_flight_packets += 1;
        self.transmitting = Some(Transmission {
            ends: at + self.config.transmission_time(packet.bytes),
            class,
            packet,
        });
    }

    fn finish_transmission(&mut self) {
        let Some(sent) = self.transmitting.take() else {
            return;
        };
        let Transmission {
            ends,
            class,
            packet,
        } = sent;
        let counters = self.counters_of(class, &packet.cargo);
        counters.sent_packets += 1;
        counters.sent_bytes += u64::from(packet.bytes);
        match packet.cargo {
            Cargo::Cross { entered } => {
                counters.in_flight_packets -= 1;
                counters.delivered_packets += 1;
                self.counters.cross_waits.add(entered, ends);
            }
            Cargo::Own {
                dscp,
                payload,
                jitter,
            } => {
                let alone = ends + self.config.delay + jitter;
                let wire = self.wire(class);
                let arrival = wire.arrival(alone);
                wire.last_arrival = arrival;
                wire.flying.push_back(Delivery {
                    departed: ends,
                    arrival,
                    class,
                    packet: Packet {
                        bytes: packet.bytes,
                        dscp,
                        payload,
                    },
                });
            }
        }
        if let Some((class, packet)) = self.buffer.pop() {
            self.counters_of(class, &packet.cargo)
                .unqueued(packet.bytes);
            self.start_transmission(ends, class, packet);
        }
    }

    /// When `class` delivers next. Cross traffic yet to come can't change it: it
    /// joins the tail of bulk.
    fn next_of(&self, class: Class) -> Option<Duration> {
        let wire = match class {
            Class::Priority => &self.priority_wire,
            Class::Bulk => &self.bulk_wire,
        };
        if let Some(first) = wire.flying.front() {
            return Some(first.arrival);
        }
        let sending = self.transmitting.as_ref()?;
        let arrival = |departs: Duration, jitter: Duration| {
            Some(wire.arrival(departs + self.config.delay + jitter))
        };
        let mut departs = sending.ends;
        if let Cargo::Own { jitter, .. } = sending.packet.cargo
            && sending.class == class
        {
            return arrival(departs, jitter);
        }
        let first = match class {
            Class::Priority => self.buffer.priority().next()?,
            Class::Bulk => {
                let (before, first) = self.buffer.first_awaited_bulk()?;
                for packet in self.buffer.priority() {
                    departs += self.config.transmission_time(packet.bytes);
                }
                let before = u32::try_from(before).unwrap_or(u32::MAX);
                // What nobody awaits is cross traffic, all of it full-sized.
                departs += self.config.transmission_time(MTU_BYTES) * before;
                first
            }
        };
        departs += self.config.transmission_time(first.bytes);
        match first.cargo {
            Cargo::Own { jitter, .. } => arrival(departs, jitter),
            Cargo::Cross { .. } => None,
        }
    }
}
