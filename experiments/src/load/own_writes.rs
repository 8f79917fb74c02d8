//! The store's own large values as traffic: writers that keep the link full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::objects::Object;
use crate::results::Latencies;
use crate::step::Operation;
use crate::step::record::OwnWrites;

/// The pause after a failure.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);

/// Writers at work. Each has one key, writes it at its own pace, and never has more
/// than one write under way.
pub struct Writers {
    stopped: Arc<AtomicBool>,
    tasks: JoinSet<(Latencies, OwnWrites)>,
}

impl Writers {
    /// Has a writer for each object begin; together they write one value every `pause`.
    pub fn start(objects: Vec<Object>, pause: Duration) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let period = pause * objects.len() as u32;
        let begin = Instant::now();
        for (number, object) in (0..).zip(objects) {
            let first = begin + pause * number;
            tasks.spawn(write(object, first, period, stopped.clone()));
        }
        Self { stopped, tasks }
    }

    /// Has them end after the writes under way, and says what they did.
    pub async fn stop(self) -> OwnWrites {
        self.stopped.store(true, Ordering::Relaxed);
        let mut all = OwnWrites::default();
        let mut medians = Latencies::default();
        for (latencies, wrote) in self.tasks.join_all().await {
            all.add(wrote);
            medians.add(&latencies);
        }
        all.p50_ms = medians.percentile_ms(50.0).unwrap_or(0.0);
        all
    }
}

async fn write(
    mut object: Object,
    first: Instant,
    period: Duration,
    stopped: Arc<AtomicBool>,
) -> (Latencies, OwnWrites) {
    let (mut latencies, mut wrote) = (Latencies::default(), OwnWrites::default());
    let mut next = first;
    loop {
        tokio::time::sleep_until(next).await;
        if stopped.load(Ordering::Relaxed) {
            return (latencies, wrote);
        }
        let begun = Instant::now();
        let result = object.operate(Operation::Write).await;
        latencies.record(begun.elapsed());
        match result {
            Ok(()) => wrote.written += 1,
            Err((cause, _)) => {
                *wrote.failures.entry(cause).or_default() += 1;
                tokio::time::sleep(FAILURE_PAUSE).await;
            }
        }
        // One that took too long is not made up for.
        next = (next + period).max(Instant::now());
    }
}
