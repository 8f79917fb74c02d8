//! What holds on a link for every configuration and every sequence of packets.

use std::time::Duration;

use netem::{
    Class, CrossTraffic, Delivery, DscpSet, Enqueued, FlowCounters, Link, LinkConfig, LinkCounters,
    MTU_BYTES, Packet, RateLimit,
};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const PRIORITY: u8 = 46;

/// One packet of a script: the pause before it, in hundredths of a full-sized
/// packet's transmission time, so that scripts load every rate alike.
#[derive(Clone, Debug, PartialEq)]
struct Step {
    pause_percent: u32,
    bytes: u32,
    dscp: u8,
}

#[derive(Clone, Debug)]
struct Script {
    config: LinkConfig,
    steps: Vec<Step>,
    cross_fraction: Option<f64>,
    seed: u64,
}

/// A packet's place in its script and when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag {
    index: usize,
    sent: Duration,
}

/// When somebody polls while a script runs.
#[derive(Clone, Copy)]
enum Cadence {
    /// Only once everything is over.
    AtTheEnd,
    /// Whenever `next_delivery` says, which must be exact.
    WhenDue,
    /// Often and at odd moments.
    Often,
}

/// What a run of a script shows from outside.
#[derive(Debug, PartialEq)]
struct Run {
    outcomes: Vec<Enqueued>,
    deliveries: Vec<Delivery<Tag>>,
    counters: LinkCounters,
}

impl Script {
    fn unit(&self) -> Duration {
        self.config.transmission_time(MTU_BYTES)
    }

    /// Runs to an instant by which every own packet has arrived.
    fn run(&self, cadence: Cadence) -> Run {
        self.run_watched(
            cadence,
            None::<fn(&Step, Enqueued, LinkCounters, LinkCounters)>,
        )
    }

    /// As [`run`](Self::run); `watch` sees each step with the counters around it.
    fn run_watched(
        &self,
        cadence: Cadence,
        mut watch: Option<impl FnMut(&Step, Enqueued, LinkCounters, LinkCounters)>,
    ) -> Run {
        let mut link = Link::new(self.config.clone()).expect("the strategy makes valid links");
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let cross = self
            .cross_fraction
            .map(|fraction| CrossTraffic::new(fraction, self.seed).expect("a valid fraction"));
        link.set_cross_traffic(Duration::ZERO, cross);
        let (mut now, mut deliveries, mut outcomes) = (Duration::ZERO, vec![], vec![]);
        for (index, step) in self.steps.iter().enumerate() {
            let next = now + self.unit() * step.pause_percent / 100;
            poll_until(&mut link, now, next, cadence, &mut deliveries);
            now = next;
            let packet = Packet {
                bytes: step.bytes,
                dscp: step.dscp,
                payload: Tag { index, sent: now },
            };
            // Reading counters runs the link, which a cadence must not do by accident.
            let before = watch.is_some().then(|| link.counters(now));
            let outcome = link.enqueue(now, packet, &mut rng);
            if let (Some(watch), Some(before)) = (&mut watch, before) {
                watch(step, outcome, before, link.counters(now));
            }
            outcomes.push(outcome);
        }
        // Everything queued, served twice over, for what arrives meanwhile.
        let drain = self.unit() * (2 * self.config.buffer_bytes / 40 + 4) as u32;
        let end = now + drain + self.config.delay + self.config.jitter;
        poll_until(&mut link, now, end, cadence, &mut deliveries);
        while let Some(delivery) = link.poll(end) {
            deliveries.push(delivery);
        }
        Run {
            outcomes,
            deliveries,
            counters: link.counters(end),
        }
    }
}

fn poll_until(
    link: &mut Link<Tag>,
    from: Duration,
    to: Duration,
    cadence: Cadence,
    deliveries: &mut Vec<Delivery<Tag>>,
) {
    match cadence {
        Cadence::AtTheEnd => {}
        Cadence::WhenDue => {
            while let Some(due) = link.next_delivery().filter(|&due| due <= to) {
                // Held back by jitter, several packets can be due at one instant.
                let first = deliveries.last().is_none_or(|last| last.arrival < due);
                if let Some(before) = due.checked_sub(Duration::from_nanos(1))
                    && first
                {
                    assert_eq!(link.poll(before), None, "delivered before it was due");
                }
                let delivery = link.poll(due).expect("something is due");
                assert_eq!(delivery.arrival, due);
                deliveries.push(delivery);
            }
        }
        Cadence::Often => {
            for part in 1..=7 {
                let now = from + (to - from) * part / 7;
                deliveries.extend(std::iter::from_fn(|| link.poll(now)));
            }
        }
    }
}

fn config() -> impl Strategy<Value = LinkConfig> {
    let limit = RateLimit {
        rate_bits_per_second: 300_000,
        burst_bytes: 4_000,
    };
    (
        100_000_u64..100_000_000,
        // A full-sized packet, and what the buffer has room for beyond it.
        (
            prop_oneof![3 => Just(MTU_BYTES), 1 => Just(4_000)],
            0_u64..28_000,
        ),
        0_u64..50_000,
        prop_oneof![Just(0_u64), 1_u64..20_000],
        prop_oneof![Just(0.0), Just(0.1)],
        prop_oneof![
            1 => Just((DscpSet::EMPTY, None)),
            4 => Just((DscpSet::EXPEDITED, None)),
            1 => Just((DscpSet::EXPEDITED, Some(limit))),
        ],
    )
        .prop_map(
            |(rate, (mtu_bytes, room), delay, jitter, loss, class)| LinkConfig {
                rate_bits_per_second: rate,
                buffer_bytes: u64::from(mtu_bytes) + room,
                delay: Duration::from_micros(delay),
                jitter: Duration::from_micros(jitter),
                loss,
                priority_dscps: class.0,
                priority_limit: class.1,
                mtu_bytes,
            },
        )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        prop_oneof![Just(0_u32), 0_u32..60, 0_u32..300],
        40_u32..=MTU_BYTES,
        prop_oneof![3 => Just(0_u8), 2 => Just(PRIORITY)],
    )
        .prop_map(|(pause_percent, bytes, dscp)| Step {
            pause_percent,
            bytes,
            dscp,
        });
    prop::collection::vec(step, 1..150)
}

fn quiet() -> impl Strategy<Value = Script> {
    (config(), steps(), any::<u64>()).prop_map(|(config, steps, seed)| Script {
        config,
        steps,
        cross_fraction: None,
        seed,
    })
}

fn any_load() -> impl Strategy<Value = Script> {
    let cross = prop_oneof![Just(None), (0.1_f64..2.0).prop_map(Some)];
    (quiet(), cross).prop_map(|(script, cross_fraction)| Script {
        cross_fraction,
        ..script
    })
}

fn flows(counters: &LinkCounters) -> [FlowCounters; 3] {
    [counters.priority, counters.bulk, counters.cross]
}

/// When a delivered packet was transmitted: start, end.
fn transmission(config: &LinkConfig, delivery: &Delivery<Tag>) -> (Duration, Duration) {
    let time = config.transmission_time(delivery.packet.bytes);
    (delivery.departed - time, delivery.departed)
}

fn by_departure(run: &Run) -> Vec<&Delivery<Tag>> {
    let mut deliveries: Vec<_> = run.deliveries.iter().collect();
    deliveries.sort_by_key(|delivery| delivery.departed);
    deliveries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_packet_is_delivered_dropped_queued_or_in_flight(script in any_load()) {
        let mut unbalanced = None;
        let run = script.run_watched(Cadence::Often, Some(|_: &Step, _, _, after: LinkCounters| {
            for flow in flows(&after) {
                let known = flow.delivered_packets
                    + flow.dropped_packets()
                    + flow.queue_packets
                    + flow.in_flight_packets;
                if flow.offered_packets != known {
                    unbalanced = Some(flow);
                }
            }
        }));
        prop_assert_eq!(unbalanced, None);
        let counters = run.counters;
        let own_offered = counters.priority.offered_packets + counters.bulk.offered_packets;
        prop_assert_eq!(own_offered, script.steps.len() as u64);
        for own in [counters.priority, counters.bulk] {
            prop_assert_eq!((own.queue_packets, own.queue_bytes, own.in_flight_packets), (0, 0, 0));
            prop_assert_eq!(own.sent_packets, own.delivered_packets);
        }
        let own_delivered = counters.priority.delivered_packets + counters.bulk.delivered_packets;
        prop_assert_eq!(own_delivered, run.deliveries.len() as u64);
        let accepted = run.outcomes.iter().filter(|&&o| o == Enqueued::Accepted).count() as u64;
        prop_assert_eq!(own_delivered + counters.bulk.dropped_evicted, accepted);
    }

    #[test]
    fn one_packet_at_a_time_leaves_at_the_rate(script in any_load()) {
        let run = script.run(Cadence::AtTheEnd);
        let mut free_at = Duration::ZERO;
        for delivery in by_departure(&run) {
            let (start, end) = transmission(&script.config, delivery);
            prop_assert!(start >= free_at, "{:?} overlaps its predecessor", delivery);
            prop_assert!(start >= delivery.packet.payload.sent);
            free_at = end;
        }
    }

    #[test]
    fn the_transmitter_never_rests_while_a_packet_waits(script in quiet()) {
        let run = script.run(Cadence::AtTheEnd);
        let deliveries = by_departure(&run);
        for (place, delivery) in deliveries.iter().enumerate() {
            let sent = delivery.packet.payload.sent;
            let (mut start, _) = transmission(&script.config, delivery);
            let mut earlier = deliveries[..place].iter().rev();
            while start > sent {
                let before = earlier.next().map(|d| transmission(&script.config, d));
                prop_assert_eq!(before.map(|(_, end)| end), Some(start), "idle before {:?}", delivery);
                start = before.map_or(start, |(start, _)| start);
            }
        }
    }

    #[test]
    fn a_priority_packet_waits_for_at_most_one_bulk_packet(script in any_load()) {
        let run = script.run(Cadence::AtTheEnd);
        let longest_bulk = script.unit();
        for urgent in run.deliveries.iter().filter(|d| d.class == Class::Priority) {
            let sent = urgent.packet.payload.sent;
            let (start, _) = transmission(&script.config, urgent);
            let mut other_priority = Duration::ZERO;
            for other in &run.deliveries {
                let (other_start, other_end) = transmission(&script.config, other);
                match other.class {
                    Class::Bulk => prop_assert!(
                        !(sent < other_start && other_start < start),
                        "bulk began while {:?} waited", urgent
                    ),
                    Class::Priority if other_start < start && other_end > sent => {
                        other_priority += other_end - other_start.max(sent);
                    }
                    Class::Priority => {}
                }
            }
            // Holds for cross traffic too, which no delivery shows.
            prop_assert!(start - sent <= longest_bulk + other_priority);
        }
    }

    #[test]
    fn the_tail_is_dropped_exactly_when_the_buffer_is_full(script in any_load()) {
        let limit = script.config.buffer_bytes;
        let mut wrong = None;
        let run = script.run_watched(Cadence::Often, Some(|step: &Step, outcome, before: LinkCounters, after: LinkCounters| {
            let priority = script.config.priority_dscps.contains(step.dscp);
            let room = if priority {
                before.priority.queue_bytes + u64::from(step.bytes) <= limit
            } else {
                before.queue_bytes() + u64::from(script.config.mtu_bytes) <= limit
            };
            let evicted = |c: &LinkCounters| c.bulk.dropped_evicted + c.cross.dropped_evicted;
            let evictions = evicted(&after) - evicted(&before);
            let fits = before.queue_bytes() + u64::from(step.bytes) <= limit;
            let right = match outcome {
                Enqueued::DroppedTail => !room && evictions == 0,
                Enqueued::Accepted if evictions == 0 => fits && room,
                // No more than needed is evicted, and only by priority.
                Enqueued::Accepted => {
                    priority && !fits && after.queue_bytes() + u64::from(MTU_BYTES) > limit
                }
                _ => evictions == 0,
            };
            if !right || after.queue_bytes() > limit {
                wrong = Some((step.clone(), outcome, before, after));
            }
        }));
        prop_assert_eq!(wrong, None);
        prop_assert!(run.counters.queue_bytes_max <= limit);
        prop_assert_eq!(run.counters.priority.dropped_evicted, 0);
    }

    #[test]
    fn arrival_is_departure_plus_delay_and_at_most_jitter(script in any_load()) {
        let LinkConfig { delay, jitter, .. } = script.config;
        for delivery in script.run(Cadence::AtTheEnd).deliveries {
            let travel = delivery.arrival - delivery.departed;
            prop_assert!(travel >= delay && travel <= delay + jitter, "{:?}", delivery);
        }
    }

    #[test]
    fn a_class_arrives_in_the_order_in_which_it_was_sent(script in any_load()) {
        let run = script.run(Cadence::Often);
        for class in [Class::Priority, Class::Bulk] {
            let of_class = || run.deliveries.iter().filter(|d| d.class == class);
            prop_assert!(of_class().is_sorted_by_key(|d| d.packet.payload.index));
            prop_assert!(of_class().is_sorted_by_key(|d| d.departed));
        }
        prop_assert!(run.deliveries.is_sorted_by_key(|d| d.arrival));
    }

    #[test]
    fn polling_changes_nothing_and_a_seed_replays(script in any_load()) {
        let run = script.run(Cadence::AtTheEnd);
        prop_assert_eq!(&script.run(Cadence::AtTheEnd), &run);
        prop_assert_eq!(&script.run(Cadence::Often), &run);
        prop_assert_eq!(&script.run(Cadence::WhenDue), &run);
    }
}
