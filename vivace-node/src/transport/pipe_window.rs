//! Bulk's congestion window: what the path holds, and a little more.
//!
//! Where the network ignores DSCP, priority waits behind what bulk has queued, so
//! bulk must fill a link without filling its queue, and must not take random loss
//! for congestion. The window follows BBR's model (draft-cardwell-iccrg-bbr): the
//! largest delivery rate of the last rounds times the smallest round trip, plus a
//! surplus that finds out whether the link has become faster.
//!
//! quinn's own BBR takes its rate between two acknowledgements, however close,
//! and is far too high after any burst. Measured on 20 Mbit/s, 40 ms and a queue
//! of 400 ms, with 0 to 3 % random loss: it keeps the queue full (round trip 441
//! ms, 18.9 to 19.4 Mbit/s); this one 59 to 65 ms, 18.5 to 19.3 Mbit/s. Here a
//! rate is always taken over a whole round trip.
//!
//! Known limit, as BBRv1's: in a queue shorter than the surplus it goes on losing
//! what doesn't fit.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use quinn::congestion::{Controller, ControllerFactory};

/// Packets in flight before anything is known about the path.
const INITIAL_PACKETS: u64 = 32;
/// Packets that may nearly always be in flight. QUIC sends while one more would stay below the
/// window, so there is one less.
const MIN_PACKETS: u64 = 4;
/// At the start and while draining, larger packets, in bytes of UDP payload, are worth several
/// of these: a queue is as long as its bytes.
const PACKET_BYTES: u64 = 1_452;

/// While the rate still grows: the window doubles per round trip.
const STARTUP_GAIN: f64 = 2.0;
/// A round that adds less than this part to the best rate has not grown.
const STARTUP_GROWTH: f64 = 1.25;
/// So many rounds without growth, and the link is found full.
const STARTUP_ROUNDS_WITHOUT_GROWTH: u32 = 3;

/// In flight afterwards, in what the path holds: enough to see the rate rise by a
/// quarter per round when the link becomes faster.
const STEADY_GAIN: f64 = 1.25;
/// And room for so many packets at least: where the path seems to hold three of them, a quarter
/// more is none, and the rate could never rise. One more than to send, as above.
const STEADY_PACKETS: u64 = 2;
/// And for so much time at the present rate, so that the jitter of hosts doesn't
/// leave short paths empty.
const STEADY_SURPLUS: Duration = Duration::from_millis(5);
/// For a round after an ECN mark: a router asks for less.
const MARKED_GAIN: f64 = 0.85;

/// A rate counts for so many of the smallest round trips, and for two rounds at least.
const RATE_LIFETIME_RTTS: u32 = 10;
const RATE_LIFETIME_ROUNDS: u64 = 2;

/// The queue is drained to measure the smallest round trip again, which our own surplus hides,
/// whenever the time of day is a multiple of this. So whoever shares a link with us drains at
/// the same moment, where clocks agree to within a round trip. Each by itself would take the
/// others' queue for a part of the path and add a surplus to it: from three connections on the
/// queue would grow without end.
const DRAIN_PERIOD: Duration = Duration::from_secs(5);
/// A drain costs two round trips: the period is doubled until it has so many.
const DRAIN_PERIOD_RTTS: u32 = 40;
/// Drained earlier, at multiples of this, if the round trip stays so far above what our
/// surplus explains: the path has become longer, and the window is too small for it (and the
/// rate falls with every round), or slower, or others have come.
const EARLY_DRAIN_PERIOD: Duration = Duration::from_secs(1);
const EARLY_DRAIN_PERIOD_RTTS: u32 = 10;
/// The periods follow the least round trip of once to twice so long: others' queue doesn't
/// last, and with other periods than theirs we would never measure without it.
const LEAST_RTT_LIFETIME: Duration = Duration::from_secs(300);
const UNEXPLAINED_RTT: f64 = 1.1;
const UNEXPLAINED_ROUNDS: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// The rate still grows.
    Startup {
        best_rate: f64,
        rounds_without_growth: u32,
    },
    Steady,
    /// Letting the queue run empty, then measuring the smallest round trip of
    /// packets sent since.
    Drain {
        empty_since: Option<Instant>,
        min_rtt: Option<Duration>,
    },
}

/// From one moment until a packet sent after it is acknowledged: at least a
/// round trip, and so a fair time to take a rate over.
#[derive(Clone, Copy, Debug)]
struct Round {
    number: u64,
    started: Instant,
    delivered_before: u64,
    min_rtt: Option<Duration>,
    /// There was not always something to send, or we held back: the path can do
    /// at least this rate, and perhaps more.
    is_limited: bool,
    is_marked: bool,
}

impl Round {
    fn new(number: u64, started: Instant, delivered_before: u64, is_limited: bool) -> Self {
        Self {
            number,
            started,
            delivered_before,
            min_rtt: None,
            is_limited,
            is_marked: false,
        }
    }
}

/// One round's rate.
#[derive(Clone, Copy, Debug)]
struct Rate {
    round: u64,
    at: Instant,
    bytes_per_s: f64,
}

/// The controller of one path.
#[derive(Clone, Debug)]
pub(super) struct PipeWindow {
    mtu: u64,
    delivered_bytes: u64,
    in_flight_bytes: u64,
    is_app_limited: bool,
    round: Round,
    /// Later ones are smaller, so the first is the largest that still counts.
    rates: VecDeque<Rate>,
    min_rtt: Option<Duration>,
    /// The least round trip since then, and of the time before.
    least_rtt: (Instant, [Option<Duration>; 2]),
    phase: Phase,
    was_marked: bool,
    /// When to drain with all others.
    drain_at: Instant,
    rounds_unexplained: u32,
    time_of_day: TimeOfDay,
}

/// What clocks on the wall show at a moment, since any whole day.
type TimeOfDay = fn(Instant) -> Duration;

fn system_time(_: Instant) -> Duration {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.unwrap_or_default()
}

impl PipeWindow {
    fn new(now: Instant, mtu: u16, time_of_day: TimeOfDay) -> Self {
        Self {
            mtu: mtu.into(),
            delivered_bytes: 0,
            in_flight_bytes: 0,
            is_app_limited: false,
            round: Round::new(0, now, 0, false),
            rates: VecDeque::new(),
            min_rtt: None,
            least_rtt: (now, [None, None]),
            phase: Phase::Startup {
                best_rate: 0.0,
                rounds_without_growth: 0,
            },
            was_marked: false,
            drain_at: now,
            rounds_unexplained: 0,
            time_of_day,
        }
    }

    fn on_delivered(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool) {
        self.delivered_bytes += bytes;
        self.round.is_limited |= app_limited;
        self.is_app_limited = app_limited;
        self.drain_in_time(now);
        self.on_rtt(sent, now);
        if sent >= self.round.started {
            self.on_round_end(now);
        }
    }

    fn on_rtt(&mut self, sent: Instant, now: Instant) {
        let rtt = now.saturating_duration_since(sent);
        let smaller = |known: Option<Duration>| Some(known.map_or(rtt, |k| k.min(rtt)));
        self.round.min_rtt = smaller(self.round.min_rtt);
        let (since, [least, before]) = &mut self.least_rtt;
        if now.saturating_duration_since(*since) > LEAST_RTT_LIFETIME {
            (*since, *before) = (now, least.take());
        }
        *least = smaller(*least);
        match &mut self.phase {
            Phase::Drain {
                empty_since: Some(empty),
                min_rtt,
            } => {
                if sent >= *empty {
                    *min_rtt = smaller(*min_rtt);
                }
            }
            Phase::Drain {
                empty_since: None, ..
            } => {}
            Phase::Startup { .. } | Phase::Steady => match self.min_rtt {
                Some(smallest) if rtt > smallest => {}
                _ => self.min_rtt = Some(rtt),
            },
        }
    }

    fn on_round_end(&mut self, now: Instant) {
        let ended = self.round;
        let elapsed = now.saturating_duration_since(ended.started).as_secs_f64();
        let delivered = self.delivered_bytes - ended.delivered_before;
        if elapsed > 0.0 {
            self.on_rate(delivered as f64 / elapsed, now);
        }
        self.was_marked = ended.is_marked;
        match self.phase {
            Phase::Drain {
                min_rtt: Some(measured),
                ..
            } => {
                self.min_rtt = Some(measured);
                self.phase = Phase::Steady;
            }
            Phase::Steady => {
                if self.is_unexplained(&ended) {
                    let (period, rtts) = (EARLY_DRAIN_PERIOD, EARLY_DRAIN_PERIOD_RTTS);
                    self.drain_at = self.drain_at.min(self.next_multiple(period, rtts, now));
                }
            }
            Phase::Drain { .. } | Phase::Startup { .. } => {}
        }
        let is_limited = matches!(self.phase, Phase::Drain { .. });
        self.round = Round::new(ended.number + 1, now, self.delivered_bytes, is_limited);
    }

    /// Whether the smallest round trip seems to have changed.
    fn is_unexplained(&mut self, ended: &Round) -> bool {
        let (Some(min_rtt), Some(rtt)) = (self.min_rtt, ended.min_rtt) else {
            return false;
        };
        let explained = min_rtt.mul_f64(STEADY_GAIN) + STEADY_SURPLUS;
        if rtt > explained.mul_f64(UNEXPLAINED_RTT) {
            self.rounds_unexplained += 1;
        } else {
            self.rounds_unexplained = 0;
        }
        self.rounds_unexplained >= UNEXPLAINED_ROUNDS
    }

    /// Drains where it is time for all to do so.
    fn drain_in_time(&mut self, now: Instant) {
        if now < self.drain_at {
            return;
        }
        let is_growing = matches!(self.phase, Phase::Startup { .. });
        // Who has nothing to send has no queue, and what comes next need not wait. A window that
        // has shrunk to nothing looks alike, and must find out why.
        let is_idle = self.is_app_limited && self.in_flight_bytes <= self.drained();
        if !is_growing && !is_idle {
            self.phase = Phase::Drain {
                empty_since: None,
                min_rtt: None,
            };
            self.rounds_unexplained = 0;
            self.round.is_limited = true;
        }
        self.drain_at = self.next_multiple(DRAIN_PERIOD, DRAIN_PERIOD_RTTS, now);
    }

    /// The next moment whose time of day is a multiple of a period of so many round trips.
    fn next_multiple(&self, least: Duration, rtts: u32, now: Instant) -> Instant {
        let (_, least_rtts) = self.least_rtt;
        let long_enough = least_rtts.into_iter().flatten().min().unwrap_or_default() * rtts;
        let mut period = least;
        while period < long_enough {
            period *= 2;
        }
        let past = (self.time_of_day)(now).as_nanos() % period.as_nanos();
        now + period - Duration::from_nanos(past as u64)
    }

    fn on_rate(&mut self, bytes_per_s: f64, now: Instant) {
        if self.round.is_limited && self.best_rate().is_some_and(|best| bytes_per_s <= best) {
            return;
        }
        let round = self.round.number;
        while self
            .rates
            .back()
            .is_some_and(|earlier| earlier.bytes_per_s <= bytes_per_s)
        {
            self.rates.pop_back();
        }
        self.rates.push_back(Rate {
            round,
            at: now,
            bytes_per_s,
        });
        let lifetime = self
            .min_rtt
            .map_or(Duration::MAX, |rtt| rtt * RATE_LIFETIME_RTTS);
        let is_past = |rate: &Rate| {
            round - rate.round > RATE_LIFETIME_ROUNDS
                && now.saturating_duration_since(rate.at) > lifetime
        };
        while self.rates.front().is_some_and(is_past) {
            self.rates.pop_front();
        }
        if let Phase::Startup {
            best_rate,
            rounds_without_growth,
        } = &mut self.phase
        {
            if bytes_per_s >= *best_rate * STARTUP_GROWTH {
                *best_rate = bytes_per_s;
                *rounds_without_growth = 0;
            } else {
                *rounds_without_growth += 1;
                if *rounds_without_growth >= STARTUP_ROUNDS_WITHOUT_GROWTH {
                    self.phase = Phase::Steady;
                }
            }
        }
    }

    /// All that may be in flight while draining: one packet of any size fits.
    fn drained(&self) -> u64 {
        (MIN_PACKETS * self.mtu.min(PACKET_BYTES)).max(self.mtu + 1)
    }

    fn best_rate(&self) -> Option<f64> {
        self.rates.front().map(|rate| rate.bytes_per_s)
    }

    fn on_in_flight(&mut self, now: Instant, in_flight_bytes: u64) {
        self.in_flight_bytes = in_flight_bytes;
        let drained = self.drained();
        if let Phase::Drain { empty_since, .. } = &mut self.phase
            && empty_since.is_none()
            && in_flight_bytes <= drained
        {
            *empty_since = Some(now);
            // A packet sent from now on ends the round and the draining.
            self.round = Round::new(self.round.number, now, self.delivered_bytes, true);
        }
    }
}

impl Controller for PipeWindow {
    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        _: &quinn_proto::RttEstimator,
    ) {
        self.on_delivered(now, sent, bytes, app_limited);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, _: bool, _: Option<u64>) {
        self.on_in_flight(now, in_flight);
    }

    fn on_congestion_event(&mut self, _: Instant, _: Instant, _: bool, lost_bytes: u64) {
        // quinn reports an ECN mark as a loss of nothing. Loss itself says
        // nothing about a queue; the rates of later rounds do.
        if lost_bytes == 0 {
            self.round.is_marked = true;
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu.into();
    }

    fn window(&self) -> u64 {
        let (Some(rate), Some(min_rtt)) = (self.best_rate(), self.min_rtt) else {
            return self.initial_window();
        };
        let pipe = rate * min_rtt.as_secs_f64();
        let window = match self.phase {
            // Not below the start: the first rounds have had little to send.
            Phase::Startup { .. } => (pipe * STARTUP_GAIN).max(self.initial_window() as f64),
            Phase::Steady if self.was_marked => pipe * MARKED_GAIN,
            Phase::Steady => {
                let surplus = rate * STEADY_SURPLUS.as_secs_f64();
                let least = pipe + (STEADY_PACKETS * self.mtu) as f64;
                (pipe * STEADY_GAIN + surplus).max(least)
            }
            Phase::Drain { .. } => return self.drained(),
        };
        (window as u64).max(MIN_PACKETS * self.mtu)
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        (INITIAL_PACKETS * self.mtu.min(PACKET_BYTES)).max(MIN_PACKETS * self.mtu)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// Makes a controller per path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PipeWindows;

impl ControllerFactory for PipeWindows {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(PipeWindow::new(now, current_mtu, system_time))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// UDP payloads: QUIC's smallest, and those of jumbo frames.
    const PAYLOADS: [u16; 2] = [1_200, 8_952];

    thread_local! {
        /// When the day began for this test's path.
        static MIDNIGHT: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    fn since_midnight(now: Instant) -> Duration {
        let midnight = MIDNIGHT.get().expect("a path was made");
        now.saturating_duration_since(midnight)
    }

    /// A link with an endless queue, and senders that always have something to send.
    struct Path {
        now: Instant,
        windows: Vec<PipeWindow>,
        in_flight_bytes: Vec<u64>,
        packet_bytes: u64,
        bytes_per_s: f64,
        delay: Duration,
        idle_from: Instant,
        /// Sent and acknowledged when, and whose.
        in_flight: VecDeque<(Instant, Instant, usize)>,
        turn: usize,
    }

    impl Path {
        fn new(payload: u16, mbit_per_s: f64, delay_ms: u64) -> Self {
            let now = Instant::now();
            MIDNIGHT.set(Some(now));
            let mut path = Self {
                now,
                windows: Vec::new(),
                in_flight_bytes: Vec::new(),
                packet_bytes: payload.into(),
                bytes_per_s: mbit_per_s * 1e6 / 8.0,
                delay: Duration::from_millis(delay_ms),
                idle_from: now,
                in_flight: VecDeque::new(),
                turn: 0,
            };
            path.add_sender();
            path
        }

        fn add_sender(&mut self) {
            let window = PipeWindow::new(self.now, self.packet_bytes as u16, since_midnight);
            self.windows.push(window);
            self.in_flight_bytes.push(0);
        }

        /// Whose window has room, each in turn. As QUIC does: less than the window.
        fn next_sender(&mut self) -> Option<usize> {
            let count = self.windows.len();
            let mut senders = (0..count).map(|number| (self.turn + number) % count);
            let sender = senders.find(|&sender| {
                let in_flight = self.in_flight_bytes[sender];
                in_flight + self.packet_bytes < self.windows[sender].window()
            })?;
            self.turn = sender + 1;
            Some(sender)
        }

        /// Mbit/s and the mean round trip in ms over so many seconds.
        fn run(&mut self, seconds: f64) -> (f64, f64) {
            let (started, until) = (self.now, self.now + Duration::from_secs_f64(seconds));
            let (mut packets, mut rtt_sum_ms) = (0.0, 0.0);
            while self.now < until {
                if let Some(sender) = self.next_sender() {
                    let time = Duration::from_secs_f64(self.packet_bytes as f64 / self.bytes_per_s);
                    self.idle_from = self.idle_from.max(self.now) + time;
                    let acked = self.idle_from + self.delay;
                    self.in_flight.push_back((self.now, acked, sender));
                    self.in_flight_bytes[sender] += self.packet_bytes;
                    continue;
                }
                let next = self.in_flight.pop_front();
                let (sent, acked, sender) = next.expect("the window isn't empty");
                self.now = self.now.max(acked);
                let window = &mut self.windows[sender];
                window.on_delivered(self.now, sent, self.packet_bytes, false);
                self.in_flight_bytes[sender] -= self.packet_bytes;
                window.on_in_flight(self.now, self.in_flight_bytes[sender]);
                packets += 1.0;
                rtt_sum_ms += (self.now - sent).as_secs_f64() * 1e3;
            }
            let took = (self.now - started).as_secs_f64();
            (
                packets * self.packet_bytes as f64 * 8.0 / took / 1e6,
                rtt_sum_ms / packets,
            )
        }
    }

    #[test]
    fn a_link_is_full_and_its_queue_is_not_for_minutes() {
        for payload in PAYLOADS {
            for (mbit_per_s, delay_ms) in [
                (1.0, 20),
                (20.0, 40),
                (100.0, 150),
                (1_000.0, 1),
                (20.0, 900),
            ] {
                let mut path = Path::new(payload, mbit_per_s, delay_ms);
                path.run((delay_ms as f64 * 0.04).max(5.0));
                let (rate, rtt_ms) = path.run(60.0);
                let delay_ms = delay_ms as f64;
                // On the slowest, the packets that are always allowed take longer.
                let allowed_ms = 4.0 * f64::from(payload) * 8.0 / mbit_per_s / 1e3;
                let rtt_max = (delay_ms * 1.3 + 8.0).max(allowed_ms + 12.0);
                let link = format!("{payload} bytes, {mbit_per_s} Mbit/s, {delay_ms} ms");
                assert!(rate > 0.93 * mbit_per_s, "{link}: {rate}");
                assert!(rtt_ms < rtt_max, "{link}: {rtt_ms} ms");
            }
        }
    }

    #[test]
    fn a_link_that_becomes_faster_or_slower_or_longer_is_followed() {
        let mut path = Path::new(1_200, 20.0, 40);
        path.run(5.0);
        path.bytes_per_s *= 10.0;
        path.run(2.0);
        let (rate, rtt_ms) = path.run(5.0);
        assert!(rate > 190.0 && rtt_ms < 60.0, "{rate} Mbit/s, {rtt_ms} ms");
        path.bytes_per_s /= 20.0;
        path.run(7.0);
        let (rate, rtt_ms) = path.run(5.0);
        assert!(rate > 9.5 && rtt_ms < 60.0, "{rate} Mbit/s, {rtt_ms} ms");
        for (delay_ms, settle_s) in [(120, 3.0), (138, 8.0), (158, 8.0)] {
            path.delay = Duration::from_millis(delay_ms);
            path.run(settle_s);
            let (rate, rtt_ms) = path.run(5.0);
            let rtt_max = delay_ms as f64 * 1.35 + 8.0;
            assert!(
                rate > 9.0 && rtt_ms < rtt_max,
                "{delay_ms} ms: {rate} Mbit/s, {rtt_ms} ms"
            );
        }
    }

    /// At any moment between two drains, and also where the window has shrunk to the least by
    /// the next one.
    #[test]
    fn a_path_that_becomes_longer_is_filled_again() {
        for payload in PAYLOADS {
            for (mbit_per_s, from_ms, to_ms) in [
                (20.0, 23, 109),
                (20.0, 10, 40),
                (20.0, 1, 25),
                (100.0, 5, 100),
                (1.0, 40, 120),
            ] {
                for moment in 0..10 {
                    let mut path = Path::new(payload, mbit_per_s, from_ms);
                    path.run(6.0 + 0.5 * f64::from(moment));
                    path.delay = Duration::from_millis(to_ms);
                    path.run(60.0);
                    let (rate, rtt_ms) = path.run(20.0);
                    let link = format!("{payload} bytes, {mbit_per_s} Mbit/s");
                    let step = format!("{link}, {from_ms} to {to_ms} ms, {moment}");
                    assert!(rate > 0.85 * mbit_per_s, "{step}: {rate} Mbit/s");
                    // The packets that are always allowed.
                    let allowed_ms = 4.0 * f64::from(payload) * 8.0 / mbit_per_s / 1e3;
                    let rtt_max = to_ms as f64 * 1.3 + 12.0 + allowed_ms;
                    assert!(rtt_ms < rtt_max, "{step}: {rtt_ms} ms");
                }
            }
        }
    }

    #[test]
    fn the_least_window_grows_where_a_link_becomes_a_thousand_times_faster() {
        for payload in PAYLOADS {
            for delay_ms in [5, 100, 300] {
                let mut path = Path::new(payload, 0.02, delay_ms);
                path.run(60.0);
                path.bytes_per_s *= 1_000.0;
                path.run(30.0);
                let (rate, rtt_ms) = path.run(20.0);
                let link = format!("{payload} bytes, {delay_ms} ms");
                assert!(rate > 18.0, "{link}: {rate} Mbit/s");
                let rtt_max = delay_ms as f64 * 1.3 + 20.0;
                assert!(rtt_ms < rtt_max, "{link}: {rtt_ms} ms");
            }
        }
    }

    #[test]
    fn who_has_nothing_to_send_keeps_its_window() {
        let mut path = Path::new(1_200, 20.0, 40);
        path.run(4.0);
        let pipe = 20e6 / 8.0 * 0.04;
        let window = &mut path.windows[0];
        window.on_in_flight(path.now, 0);
        for _ in 0..10 {
            path.now += Duration::from_secs(3);
            window.on_delivered(path.now, path.now - path.delay, 40, true);
            window.on_in_flight(path.now, 0);
            assert!(window.window() as f64 > pipe);
        }
    }

    #[test]
    fn a_mark_takes_the_window_below_what_the_path_holds_for_a_round() {
        let mut path = Path::new(1_200, 20.0, 40);
        path.run(4.0);
        let pipe = 20e6 / 8.0 * 0.04;
        assert!(path.windows[0].window() as f64 > pipe);
        path.windows[0].on_congestion_event(path.now, path.now, false, 0);
        path.windows[0].on_round_end(path.now + Duration::from_millis(50));
        assert!((path.windows[0].window() as f64) < pipe);
        path.windows[0].on_round_end(path.now + Duration::from_millis(100));
        assert!(path.windows[0].window() as f64 > pipe);
    }

    /// Each begins while the others' queue is there, and takes it for the path at first.
    #[test]
    fn those_who_share_a_link_keep_its_queue_as_short_as_one_would() {
        for (mbit_per_s, delay_ms) in [(20.0, 109), (20.0, 23), (100.0, 10)] {
            for senders in [3, 8] {
                for (apart_s, past_s) in [(0.0, 0), (0.7, 1), (3.0, 0), (3.0, 2)] {
                    let mut path = Path::new(1_452, mbit_per_s, delay_ms);
                    MIDNIGHT.set(Some(path.now - Duration::from_secs(past_s)));
                    for _ in 1..senders {
                        path.run(apart_s);
                        path.add_sender();
                    }
                    path.run(40.0);
                    let (rate, rtt_ms) = path.run(20.0);
                    let link = format!("{mbit_per_s} Mbit/s, {delay_ms} ms");
                    let who = format!("{link}, {senders} senders {apart_s} s apart, {past_s}");
                    assert!(rate > 0.93 * mbit_per_s, "{who}: {rate}");
                    let rtt_max = delay_ms as f64 * 1.3 + 5.0 * f64::from(senders);
                    assert!(rtt_ms < rtt_max, "{who}: {rtt_ms} ms");
                }
            }
        }
    }
}
