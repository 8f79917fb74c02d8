//! What the operator lets the priority class use of a path, in bytes on the wire.
//!
//! A token bucket that is charged twice over: an estimate when a datagram is handed
//! to QUIC, so that no more is handed over than may leave; and when packets leave,
//! what they are larger than that, with the headers of IP and UDP, and whatever QUIC
//! sends by itself (acknowledgments, handshakes). Those don't wait, they put the
//! bucket into debt, and messages wait longer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vivace_core::SiteId;

use super::limits::{BoundScope, Limits, PriorityBound};
use super::lock::lock;

const NANOS_PER_S: i128 = 1_000_000_000;

/// Headers of datagrams may take this part of the rate where the bucket is empty.
const HEADERS_PART: i128 = 8;

/// While the bucket holds more than three quarters of its burst, nothing is saved.
const PLENTY: (i128, i128) = (3, 4);

/// How long the longest wait is remembered: one to two of these.
const WAITS_REMEMBERED: Duration = Duration::from_secs(10);

/// Counts in billionths of a byte, so that no rate loses to rounding.
#[derive(Debug)]
struct TokenBucket {
    rate_bytes_per_s: u64,
    burst: i128,
    tokens: i128,
    filled_at: Instant,
    /// Charged before it left.
    reserved_bytes: u64,
}

impl TokenBucket {
    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at);
        let elapsed = i128::try_from(elapsed.as_nanos()).unwrap_or(i128::MAX);
        let gained = elapsed.saturating_mul(self.rate_bytes_per_s.into());
        self.tokens = self.tokens.saturating_add(gained).min(self.burst);
        self.filled_at = self.filled_at.max(now);
    }

    fn charge(&mut self, bytes: u64) {
        self.tokens -= i128::from(bytes) * NANOS_PER_S;
    }
}

/// A path's budget.
#[derive(Debug)]
pub(super) struct Budget {
    rate_bytes_per_s: u64,
    bucket: Mutex<TokenBucket>,
}

impl Budget {
    /// A full bucket.
    pub(super) fn new(rate_bytes_per_s: u64, burst_bytes: u64, now: Instant) -> Self {
        let burst = i128::from(burst_bytes) * NANOS_PER_S;
        Self {
            rate_bytes_per_s,
            bucket: Mutex::new(TokenBucket {
                rate_bytes_per_s,
                burst,
                tokens: burst,
                filled_at: now,
                reserved_bytes: 0,
            }),
        }
    }

    pub(super) fn rate_bytes_per_s(&self) -> u64 {
        self.rate_bytes_per_s
    }

    /// Charges `bytes` that are about to leave, or says how long they must wait.
    /// More than the burst waits for a full bucket.
    pub(super) fn reserve(&self, bytes: u64, now: Instant) -> Result<(), Duration> {
        let mut bucket = lock(&self.bucket);
        bucket.fill(now);
        let needed = (i128::from(bytes) * NANOS_PER_S).min(bucket.burst);
        if bucket.tokens < needed {
            let wait = (needed - bucket.tokens) / i128::from(self.rate_bytes_per_s.max(1)) + 1;
            return Err(Duration::from_nanos(
                u64::try_from(wait).unwrap_or(u64::MAX),
            ));
        }
        bucket.charge(bytes);
        bucket.reserved_bytes += bytes;
        Ok(())
    }

    /// How far apart datagrams of one peer had better leave, each with `header_bytes` besides
    /// its messages: nothing while there is plenty, and the emptier the bucket is the longer, up
    /// to where their headers take an eighth of the rate. The class then has fuller datagrams
    /// before anything has to wait for the rate, and what is left in the bucket is there for a
    /// burst.
    pub(super) fn spacing(&self, header_bytes: u64, now: Instant) -> Duration {
        let mut bucket = lock(&self.bucket);
        bucket.fill(now);
        let plenty = bucket.burst * PLENTY.0 / PLENTY.1;
        let missing = (plenty - bucket.tokens.max(0)).max(0);
        let rate = i128::from(self.rate_bytes_per_s.max(1));
        let longest = i128::from(header_bytes) * HEADERS_PART * NANOS_PER_S / rate;
        let nanos = longest * missing / plenty.max(1);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Charges what has left, as far as it was not charged before.
    pub(super) fn on_sent(&self, bytes: u64, now: Instant) {
        let mut bucket = lock(&self.bucket);
        bucket.fill(now);
        let reserved = bucket.reserved_bytes.min(bytes);
        bucket.reserved_bytes -= reserved;
        bucket.charge(bytes - reserved);
    }
}

/// The budgets of a node: none towards its own site.
pub(super) struct Budgets {
    own_site: SiteId,
    bound: Option<PriorityBound>,
    by_site: BTreeMap<SiteId, Arc<Budget>>,
}

impl Budgets {
    pub(super) fn new(limits: &Limits, own_site: SiteId) -> Self {
        Self {
            own_site,
            bound: limits.priority_bound,
            by_site: BTreeMap::new(),
        }
    }

    /// The budget that packets to nodes of `site` share.
    pub(super) fn of(&mut self, site: SiteId) -> Option<Arc<Budget>> {
        let bound = self.bound.filter(|_| site != self.own_site)?;
        let shared_by = match bound.scope {
            BoundScope::Path => site,
            BoundScope::Uplink => self.own_site,
        };
        let budget = || {
            let now = Instant::now();
            Arc::new(Budget::new(bound.bytes_per_s, bound.burst_bytes, now))
        };
        Some(self.by_site.entry(shared_by).or_insert_with(budget).clone())
    }
}

/// The longest wait of late.
#[derive(Debug)]
pub(super) struct LongestWait {
    since: Instant,
    present: Duration,
    before: Duration,
}

impl LongestWait {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            present: Duration::ZERO,
            before: Duration::ZERO,
        }
    }

    pub(super) fn on_wait(&mut self, wait: Duration, now: Instant) {
        self.age(now);
        self.present = self.present.max(wait);
    }

    pub(super) fn get(&mut self, now: Instant) -> Duration {
        self.age(now);
        self.present.max(self.before)
    }

    fn age(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed >= WAITS_REMEMBERED {
            let is_next = passed < 2 * WAITS_REMEMBERED;
            self.before = if is_next {
                self.present
            } else {
                Duration::ZERO
            };
            self.present = Duration::ZERO;
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn over_any_time_no_more_than_burst_and_rate_passes() {
        let start = Instant::now();
        let budget = Budget::new(10_000, 2_000, start);
        let mut passed = 0;
        for ms in 0..5_000 {
            let now = start + ms * MS;
            if budget.reserve(80, now).is_ok() {
                // 20 more leave than were expected.
                budget.on_sent(100, now);
                passed += 100;
            }
        }
        assert!((51_900..=52_000).contains(&passed), "{passed}");
        let long_after = start + Duration::from_secs(3_600);
        assert_eq!(budget.reserve(2_000, long_after), Ok(()));
        assert!(
            budget.reserve(1, long_after).is_err(),
            "idle saves no more than the burst"
        );
        assert!(
            budget.reserve(1, start).is_err(),
            "an earlier time brings nothing"
        );
    }

    #[test]
    fn what_quic_sends_by_itself_makes_messages_wait() {
        let start = Instant::now();
        let budget = Budget::new(1_000, 1_000, start);
        budget.on_sent(1_500, start);
        let wait = budget.reserve(100, start).expect_err("it is in debt");
        assert!(wait >= 600 * MS && wait < 601 * MS, "{wait:?}");
        assert_eq!(budget.reserve(100, start + wait), Ok(()));
    }

    #[test]
    fn datagrams_are_farther_apart_the_less_is_left() {
        let start = Instant::now();
        let budget = Budget::new(10_000, 2_000, start);
        let spacing = |now| budget.spacing(50, now);
        assert_eq!(spacing(start), Duration::ZERO);
        assert_eq!(budget.reserve(500, start), Ok(()));
        assert_eq!(spacing(start), Duration::ZERO, "three quarters are plenty");
        assert_eq!(budget.reserve(750, start), Ok(()));
        assert_eq!(spacing(start), 20 * MS, "half of the longest");
        budget.on_sent(1_250, start);
        budget.on_sent(3_000, start);
        assert_eq!(
            spacing(start),
            40 * MS,
            "50 bytes are an eighth of the rate"
        );
        assert_eq!(spacing(start + Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn a_path_has_its_own_budget_and_an_uplink_one_for_all() {
        let budgets = |scope| {
            let limits = Limits {
                priority_bound: Some(PriorityBound {
                    scope,
                    ..PriorityBound::new(1_000)
                }),
                ..Limits::default()
            };
            let mut budgets = Budgets::new(&limits, SiteId(1));
            [1, 2, 2, 3].map(|site| budgets.of(SiteId(site)))
        };
        let is_same = |a: &Option<Arc<Budget>>, b: &Option<Arc<Budget>>| {
            a.as_ref()
                .zip(b.as_ref())
                .is_some_and(|(a, b)| Arc::ptr_eq(a, b))
        };
        let [own, two, also_two, three] = budgets(BoundScope::Path);
        assert!(own.is_none() && is_same(&two, &also_two) && !is_same(&two, &three));
        let [own, two, _, three] = budgets(BoundScope::Uplink);
        assert!(own.is_none() && is_same(&two, &three));
    }

    #[test]
    fn the_longest_wait_is_forgotten_after_a_while() {
        let start = Instant::now();
        let mut longest = LongestWait::new(start);
        longest.on_wait(5 * MS, start);
        longest.on_wait(3 * MS, start);
        assert_eq!(longest.get(start + WAITS_REMEMBERED), 5 * MS);
        longest.on_wait(MS, start + WAITS_REMEMBERED);
        assert_eq!(longest.get(start + 2 * WAITS_REMEMBERED), MS);
        assert_eq!(longest.get(start + 9 * WAITS_REMEMBERED), Duration::ZERO);
    }
}
