//! How much waits for each site, since when, and how fast it drains.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::identity::SiteId;

/// A drain rate is the average over one to two of these.
const DRAIN_PERIOD: Duration = Duration::from_secs(5);

/// Bytes drained lately.
#[derive(Clone, Copy, Debug, Default)]
struct Drain {
    period: u64,
    now: u64,
    before: u64,
}

impl Drain {
    fn turn_to(&mut self, now: Duration) {
        let period = now.as_secs() / DRAIN_PERIOD.as_secs();
        match period - self.period {
            0 => return,
            1 => self.before = std::mem::take(&mut self.now),
            _ => (self.before, self.now) = (0, 0),
        }
        self.period = period;
    }

    fn add(&mut self, now: Duration, bytes: u64) {
        self.turn_to(now);
        self.now += bytes;
    }

    fn per_second(mut self, now: Duration) -> u64 {
        self.turn_to(now);
        let begun = DRAIN_PERIOD * u32::try_from(self.period).unwrap_or(u32::MAX);
        let span = now.saturating_sub(begun) + DRAIN_PERIOD;
        ((self.before + self.now) as f64 / span.as_secs_f64()) as u64
    }
}

/// What waits for one site.
#[derive(Clone, Copy, Debug, Default)]
struct SiteBacklog {
    bytes: u64,
    values: u64,
    drain: Drain,
}

/// What waits for each site.
#[derive(Clone, Debug, Default)]
pub struct Backlogs(BTreeMap<SiteId, SiteBacklog>);

impl Backlogs {
    /// A value of `bytes` waits for `site`.
    pub fn add(&mut self, site: SiteId, bytes: u64) {
        let backlog = self.0.entry(site).or_default();
        backlog.bytes += bytes;
        backlog.values += 1;
    }

    /// It has arrived there.
    pub fn arrived(&mut self, now: Duration, site: SiteId, bytes: u64) {
        self.remove(site, bytes);
        let backlog = self.0.entry(site).or_default();
        backlog.drain.add(now, bytes);
    }

    /// It need not go there any more.
    pub fn remove(&mut self, site: SiteId, bytes: u64) {
        let backlog = self.0.entry(site).or_default();
        backlog.bytes -= bytes;
        backlog.values -= 1;
    }

    /// Bytes that wait for `site`.
    pub fn bytes(&self, site: SiteId) -> u64 {
        self.0.get(&site).map_or(0, |backlog| backlog.bytes)
    }

    /// Site, bytes, values and bytes drained a second lately, of sites that anything
    /// waits for or drains to.
    pub fn report(&self, now: Duration) -> impl Iterator<Item = (SiteId, u64, u64, u64)> {
        self.0.iter().filter_map(move |(&site, backlog)| {
            let rate = backlog.drain.per_second(now);
            let is_idle = backlog.values == 0 && rate == 0;
            (!is_idle).then_some((site, backlog.bytes, backlog.values, rate))
        })
    }
}
