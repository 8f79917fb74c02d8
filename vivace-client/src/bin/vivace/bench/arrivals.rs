//! The open loop: operations begin at moments that are set beforehand.
//!
//! Tokio's timers are a millisecond coarse, so a thread of its own tells when a moment has
//! come. It and the clients draw the moments from equal generators: nothing is handed over
//! but a permit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution as _, Exp1};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::arguments::Arrivals;

/// The shortest sleep between two looks: at most so late does an operation begin, and its
/// latency says so.
const LOOK_MIN: Duration = Duration::from_micros(100);

/// The longest: so soon does the thread see that the load is over.
const LOOK_MAX: Duration = Duration::from_millis(20);

/// The moments of one run, ascending.
struct Moments {
    arrivals: Arrivals,
    seconds_between: f64,
    length: Duration,
    random: StdRng,
    /// Of the next, from the begin; in whole nanoseconds, which add up exactly.
    next: Duration,
    start: Instant,
}

impl Iterator for Moments {
    type Item = Instant;

    fn next(&mut self) -> Option<Instant> {
        let at = (self.next < self.length).then_some(self.next)?;
        let gap: f64 = match self.arrivals {
            Arrivals::Even => 1.0,
            Arrivals::Poisson => Exp1.sample(&mut self.random),
        };
        self.next += Duration::from_secs_f64(gap * self.seconds_between);
        Some(self.start + at)
    }
}

/// Gives out the moments of a run as they come.
pub struct Schedule {
    moments: Mutex<Moments>,
    due: Arc<Semaphore>,
    is_over: Arc<AtomicBool>,
    pacer: Mutex<Option<JoinHandle<()>>>,
}

/// What a schedule is made from.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub arrivals: Arrivals,
    /// A second.
    pub rate: f64,
    pub start: Instant,
    pub length: Duration,
    pub clients: u32,
    pub seed: u64,
}

impl Plan {
    fn moments(&self) -> Moments {
        Moments {
            arrivals: self.arrivals,
            seconds_between: 1.0 / self.rate,
            length: self.length,
            random: StdRng::seed_from_u64(self.seed),
            next: Duration::ZERO,
            start: self.start,
        }
    }
}

impl Schedule {
    /// Begins to tell the moments.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(plan: Plan) -> std::io::Result<Self> {
        let due = Arc::new(Semaphore::new(0));
        let is_over = Arc::new(AtomicBool::new(false));
        let (told, seen) = (due.clone(), is_over.clone());
        let pacer = std::thread::Builder::new()
            .name("arrivals".to_owned())
            .spawn(move || pace(plan, &told, &seen))?;
        Ok(Self {
            moments: Mutex::new(plan.moments()),
            due,
            is_over,
            pacer: Mutex::new(Some(pacer)),
        })
    }

    /// The next moment, once it has come; none after the last. Cancel-safe.
    pub async fn next(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        moments.next()
    }

    /// Ends the thread.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        let mut pacer = self.pacer.lock().unwrap_or_else(PoisonError::into_inner);
        let pacer = pacer.take();
        if let Some(pacer) = pacer {
            // A panic there was already reported by its hook.
            let _ = pacer.join();
        }
    }
}

/// One permit per moment that has come; after the last, one for each client to see it.
fn pace(plan: Plan, due: &Semaphore, is_over: &AtomicBool) {
    let mut moments = plan.moments().peekable();
    while !is_over.load(Ordering::Relaxed) {
        let now = Instant::now();
        let mut come = 0;
        while moments.next_if(|&at| at <= now).is_some() {
            come += 1;
        }
        due.add_permits(come);
        let Some(&next) = moments.peek() else {
            due.add_permits(plan.clients as usize);
            return;
        };
        std::thread::sleep((next - now).clamp(LOOK_MIN, LOOK_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arrivals: Arrivals) -> Plan {
        Plan {
            arrivals,
            rate: 1000.0,
            start: Instant::now(),
            length: Duration::from_secs(10),
            clients: 1,
            seed: 7,
        }
    }

    #[test]
    fn moments_ascend_and_are_as_many_as_the_rate_says() {
        for arrivals in [Arrivals::Even, Arrivals::Poisson] {
            let plan = plan(arrivals);
            let moments: Vec<Instant> = plan.moments().collect();
            assert!(moments.is_sorted());
            // Four standard deviations of a Poisson count.
            assert!(moments.len().abs_diff(10_000) <= 400, "{}", moments.len());
            let last = *moments.last().expect("there are some");
            assert!(last - plan.start < plan.length);
            let again: Vec<Instant> = plan.moments().collect();
            assert_eq!(again, moments);
        }
    }

    #[test]
    fn gaps_of_poisson_arrivals_vary_as_an_exponential_does() {
        let moments: Vec<Instant> = plan(Arrivals::Poisson).moments().collect();
        let gaps: Vec<f64> = moments
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3)
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let longer = gaps.iter().filter(|&&gap| gap > mean).count() as f64;
        // 1 / e of an exponential's exceed its mean.
        assert!(
            (longer / gaps.len() as f64 - 0.368).abs() < 0.02,
            "{longer}"
        );
    }
}
