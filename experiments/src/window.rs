//! One measurement: operations, one after the other, for a fixed time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::interrupt::Interrupt;
use crate::results::{Latencies, WarmUp};

/// What was measured in one window.
#[derive(Debug, Default)]
pub struct Measured {
    /// Latencies of all operations; of a failed one, the time until it failed.
    pub latencies: Latencies,
    /// Failures by cause.
    pub failures: BTreeMap<String, u64>,
    /// How long it took, in seconds, with the end of the operation begun last.
    pub seconds: f64,
    /// Whether it lasted for its full time.
    pub complete: bool,
}

/// Runs `count` operations that are not measured: connections, sessions and caches
/// become as a service in use has them. An interrupt ends it early.
pub async fn warm_up(
    count: u64,
    interrupt: &Interrupt,
    mut operation: impl AsyncFnMut() -> Result<(), String>,
) -> WarmUp {
    let mut warm_up = WarmUp::default();
    while warm_up.n < count {
        let Some(result) = interrupt.unless_raised(operation()).await else {
            break;
        };
        warm_up.n += 1;
        warm_up.failed += u64::from(result.is_err());
    }
    warm_up
}

/// Runs `operation` again and again, begins none after `duration`, and waits for the
/// last one: to cut it off would leave out exactly the slow ones. `operation` yields
/// a failure's cause; `on_progress` hears after each how long the window has run.
///
/// An interrupt ends it at once; the operation under way then counts nowhere.
pub async fn measure(
    duration: Duration,
    interrupt: &Interrupt,
    mut operation: impl AsyncFnMut() -> Result<(), String>,
    mut on_progress: impl FnMut(Duration),
) -> Measured {
    let mut measured = Measured {
        complete: true,
        ..Measured::default()
    };
    let window = Instant::now();
    while window.elapsed() < duration {
        let begun = Instant::now();
        let Some(result) = interrupt.unless_raised(operation()).await else {
            measured.complete = false;
            break;
        };
        measured.latencies.record(begun.elapsed());
        if let Err(cause) = result {
            *measured.failures.entry(cause).or_default() += 1;
        }
        on_progress(window.elapsed());
    }
    measured.seconds = window.elapsed().as_secs_f64();
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(future)
    }

    #[test]
    fn a_failed_operation_counts_with_its_time_and_by_its_cause() {
        let (interrupt, _raise) = Interrupt::by_hand();
        let mut turn = 0;
        let operation = async || {
            tokio::time::sleep(Duration::from_millis(20)).await;
            turn += 1;
            if turn % 2 == 0 {
                Err("busy".to_owned())
            } else {
                Ok(())
            }
        };
        let measured = run(measure(
            Duration::from_millis(110),
            &interrupt,
            operation,
            |_| (),
        ));
        assert!(measured.complete);
        let (n, failed) = (measured.latencies.len(), measured.failures["busy"]);
        assert!(n >= 2 && failed == n / 2, "{n} operations, {failed} failed");
        assert!(
            measured
                .latencies
                .percentile_ms(0.0)
                .is_some_and(|min| min >= 20.0)
        );
    }

    #[test]
    fn an_interrupt_ends_a_window_within_an_operation() {
        let (interrupt, raise) = Interrupt::by_hand();
        let operation = async || std::future::pending().await;
        let measured = run(async {
            let raising = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                raise.send(true).expect("the window listens");
            };
            let window = measure(Duration::from_secs(60), &interrupt, operation, |_| ());
            tokio::join!(window, raising).0
        });
        assert!(!measured.complete && measured.latencies.is_empty());
        assert!(measured.seconds < 30.0);
    }
}
