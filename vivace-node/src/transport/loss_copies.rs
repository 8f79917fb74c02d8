//! Copies of priority datagrams on a path that loses packets at random: each is sent
//! once more a little later, so that an operation does not wait a round trip and a
//! quarter for its repeat. At 1 % of loss both ways, one operation in 50 would; with a
//! copy, one in 5,000.
//!
//! Only where losses don't come from our own load: copies are left out where much is
//! lost, where loss grows once they are sent, and where the class's budget is used up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::PathStats;

use super::batch::copy_of;

/// A copy follows after this part of the round trip: the p99 of an operation that
/// lost a packet stays within 1.1 round trips, and a short outage is over by then.
const DELAY_RTT_PART: u32 = 32;
const DELAY_MIN: Duration = Duration::from_micros(500);
const DELAY_MAX: Duration = Duration::from_millis(5);

/// Copies are sent from this loss on, and up to that: more is a full link.
const LOSS_MIN: f64 = 0.002;
const LOSS_MAX: f64 = 0.12;

/// What is known of the past counts half after so many packets.
const MEMORY_PACKETS: f64 = 2_000.0;

/// Fewer packets than this tell nothing.
const PACKETS_MIN: f64 = 100.0;

/// If loss becomes so much more (factor, and a part of all packets) while copies are
/// sent, or more than [`LOSS_MAX`], they make it worse: none for a while. A policer
/// that drops a tenth drops a quarter when all is sent twice. What was lost before is known
/// from [`PACKETS_MIN`] packets or few more, so it counts with what chance may have hidden.
const WORSE_FACTOR: f64 = 2.0;
const WORSE_PART: f64 = 0.01;
const CHANCE_DEVIATIONS: f64 = 3.0;
const PAUSE: Duration = Duration::from_secs(60);

/// Copies that wait; an older one is left out.
const COPIES_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct LossCopies {
    waiting: VecDeque<(Instant, Bytes)>,
    delay: Duration,
    /// Set while copies are sent: the most that the loss can have been when that began.
    loss_before: Option<f64>,
    paused_until: Option<Instant>,
    sent: f64,
    lost: f64,
    seen: (u64, u64),
}

impl LossCopies {
    /// Learns from QUIC's counts of the connection since its start.
    pub(super) fn on_path_stats(&mut self, path: &PathStats, rtt: Duration, now: Instant) {
        self.on_counts(path.sent_packets, path.lost_packets, now);
        self.delay = (rtt / DELAY_RTT_PART).clamp(DELAY_MIN, DELAY_MAX);
    }

    fn on_counts(&mut self, sent: u64, lost: u64, now: Instant) {
        let new = |total: u64, seen: u64| total.saturating_sub(seen) as f64;
        let (newly_sent, newly_lost) = (new(sent, self.seen.0), new(lost, self.seen.1));
        self.seen = (sent, lost);
        let kept = 0.5_f64.powf(newly_sent / MEMORY_PACKETS);
        self.sent = self.sent * kept + newly_sent;
        self.lost = self.lost * kept + newly_lost;
        let is_paused = self.paused_until.is_some_and(|until| now < until);
        let loss = self.lost / self.sent.max(1.0);
        let is_worse = |before| loss > LOSS_MAX || loss > before * WORSE_FACTOR + WORSE_PART;
        if self.loss_before.is_some_and(is_worse) {
            tracing::debug!(loss, ?self.loss_before, "copies are left out: more is lost with them");
            self.loss_before = None;
            self.paused_until = Some(now + PAUSE);
        } else if self.sent < PACKETS_MIN || is_paused || !(LOSS_MIN..=LOSS_MAX).contains(&loss) {
            self.loss_before = None;
        } else if self.loss_before.is_none() {
            let most = loss + CHANCE_DEVIATIONS * (loss / self.sent).sqrt();
            tracing::debug!(loss, most, "copies are sent");
            self.loss_before = Some(most);
        }
    }

    /// A datagram that somebody waits for has left.
    pub(super) fn on_sent(&mut self, datagram: Bytes, now: Instant) {
        if self.loss_before.is_none() {
            return;
        }
        if self.waiting.len() == COPIES_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((now + self.delay, datagram));
    }

    /// When the next copy leaves.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, _)| *at)
    }

    /// The next copy.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let (_, datagram) = self.waiting.pop_front()?;
        Some(copy_of(&datagram))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies_at(losses: &[(u64, u64)]) -> Vec<bool> {
        let mut copies = LossCopies::default();
        let now = Instant::now();
        let (mut sent, mut lost) = (0, 0);
        let after = losses.iter().map(|(newly_sent, newly_lost)| {
            (sent, lost) = (sent + newly_sent, lost + newly_lost);
            copies.on_counts(sent, lost, now);
            copies.on_sent(Bytes::from_static(b"datagram"), now);
            copies.take().is_some()
        });
        after.collect()
    }

    #[test]
    fn copies_are_sent_where_packets_are_lost_at_random_and_only_there() {
        assert_eq!(copies_at(&[(1_000, 0), (1_000, 1)]), [false, false]);
        assert_eq!(copies_at(&[(1_000, 10), (1_000, 11)]), [true, true]);
        assert_eq!(copies_at(&[(1_000, 50), (1_000, 40)]), [true, true]);
        assert_eq!(copies_at(&[(50, 2)]), [false], "too few to tell");
        assert_eq!(
            copies_at(&[(100, 2), (300, 18), (600, 30)]),
            [true, true, true],
            "one in twenty, and by chance fewer of the first"
        );
        assert_eq!(copies_at(&[(1_000, 250)]), [false], "a full link");
    }

    #[test]
    fn copies_end_where_the_loss_does_and_where_they_make_it_worse() {
        let over = copies_at(&[(1_000, 10), (20_000, 0), (20_000, 0)]);
        assert_eq!(over[2..], [false]);
        assert_eq!(
            copies_at(&[(2_000, 20), (2_000, 150), (2_000, 20)]),
            [true, false, false]
        );
        let policed = copies_at(&[(1_000, 100), (1_000, 250), (20_000, 600)]);
        assert_eq!(policed, [true, false, false]);
    }
}
