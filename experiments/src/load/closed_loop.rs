//! Clients that each begin an operation when their last one has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::moments::monotonic_ns;
use super::objects::{Failure, Object};
use super::protocol::{Measure, Sample};
use crate::results::WarmUp;

/// The pause after a failure, so that a store that refuses at once is not hammered.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);

/// Failures that are kept in full.
const SAID_MAX: usize = 3;

/// What came of a window.
#[derive(Default)]
pub struct Outcome {
    /// Every operation that was begun.
    pub samples: Vec<Sample>,
    /// Some failures in full.
    pub said: Vec<String>,
}

/// Operations of each client that count nowhere, for a bounded time.
pub async fn warm_up(objects: &mut [Object], measure: &Measure) -> WarmUp {
    let deadline = Instant::now() + Duration::from_millis(measure.warm_up_ms);
    let mut warm_up = WarmUp::default();
    for _ in 0..measure.warm_up {
        for object in &mut *objects {
            // One after the other: many at once would be a load of its own, and the
            // first of a few clients warms what all of them share.
            if Instant::now() >= deadline {
                return warm_up;
            }
            let result = object.operate(measure.window.operation).await;
            warm_up.n += 1;
            warm_up.failed += u64::from(result.is_err());
        }
    }
    warm_up
}

/// Has every object's client go round for the window's time, or until there were enough
/// operations. What was begun is waited for: to cut it off would leave out exactly the
/// slow ones. Yields the objects again.
pub async fn run(objects: Vec<Object>, measure: &Measure) -> (Vec<Object>, Outcome) {
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(measure.window.seconds);
    // In step, clients would send what none in the world send: 64 requests in the same
    // microsecond.
    let between = Duration::from_millis(measure.spread_ms) / objects.len().max(1) as u32;
    let left = Arc::new(AtomicU64::new(
        measure.window.operations_max.unwrap_or(u64::MAX),
    ));
    let operation = measure.window.operation;
    let mut clients = JoinSet::new();
    for (number, mut object) in objects.into_iter().enumerate() {
        let left = left.clone();
        let first = begin + between * number as u32;
        clients.spawn(async move {
            let mut outcome = Outcome::default();
            tokio::time::sleep_until(first).await;
            while Instant::now() < end && take(&left) {
                let begin_ns = monotonic_ns();
                let result = object.operate(operation).await;
                let end_ns = monotonic_ns();
                let failed = result.is_err();
                outcome.add(begin_ns, end_ns, result);
                if failed {
                    tokio::time::sleep(FAILURE_PAUSE).await;
                }
            }
            (number, object, outcome)
        });
    }
    let mut ended = clients.join_all().await;
    ended.sort_by_key(|(number, ..)| *number);
    let mut all = Outcome::default();
    let mut objects = Vec::new();
    for (_, object, outcome) in ended {
        objects.push(object);
        all.samples.extend(outcome.samples);
        all.said.extend(outcome.said);
    }
    all.samples.sort_by_key(|sample| sample.begin_ns);
    all.said.truncate(SAID_MAX);
    (objects, all)
}

fn take(left: &AtomicU64) -> bool {
    left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(1)
    })
    .is_ok()
}

impl Outcome {
    fn add(&mut self, begin_ns: u64, end_ns: u64, result: Result<(), Failure>) {
        let failure = result.err();
        if let Some((_, said)) = &failure
            && self.said.len() < SAID_MAX
        {
            self.said.push(said.clone());
        }
        self.samples.push(Sample {
            begin_ns,
            end_ns,
            failure: failure.map(|(cause, _)| cause),
        });
    }
}
