//! Records that nothing measured, for tests of what is said of such.

use super::{store_step, wan, window};
use crate::catalog::Scale;
use crate::results::WarmUp;
use crate::step::record::{Percentiles, WindowLateness};
use crate::step::{Operation, Sites, StepRecord, StoreKind, Traffic, WindowRecord};

/// All tests' scale.
pub const SCALE: Scale = Scale {
    quick: false,
    seconds: Some(10.0),
    seed: 1,
};

/// Every operation took `p50_ms`, but for the slowest thousandth.
pub fn percentiles(n: u64, p50_ms: f64, p999_ms: f64) -> Percentiles {
    Percentiles {
        n,
        min_ms: p50_ms,
        p50_ms,
        p90_ms: p50_ms,
        p99_ms: p50_ms,
        p999_ms,
        max_ms: p999_ms,
    }
}

/// Reads under `traffic`, of which none was set aside and none failed.
pub fn reads(traffic: Traffic, latencies: Percentiles) -> WindowRecord {
    WindowRecord {
        window: window(&SCALE, "rw", Operation::Read, 1, traffic),
        kept: latencies,
        all: latencies,
        failures: Default::default(),
        failures_said: Vec::new(),
        warm_up: WarmUp::default(),
        seconds: 10.0,
        settled: Some(true),
        own_writes: None,
        links: Vec::new(),
        lateness: WindowLateness::default(),
        messages: Default::default(),
    }
}

/// The same, of which so many failed.
pub fn failed(count: u64, mut window: WindowRecord) -> WindowRecord {
    window.failures = [("timeout".to_owned(), count)].into();
    window
}

/// A step of Vivace at two sites and 20 Mbit/s.
pub fn record(experiment: &str, name: &str, windows: Vec<WindowRecord>) -> StepRecord {
    let specs = windows.iter().map(|window| window.window.clone());
    let wan = wan(Sites::Two, 20.0, 256);
    let specs = specs.collect();
    let step = store_step(experiment, name, &SCALE, wan, StoreKind::VIVACE, specs);
    StepRecord::made_up(step, windows)
}
