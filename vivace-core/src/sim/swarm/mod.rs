//! Runs that are drawn whole from a seed: cluster, network, clocks, clients, faults.
//!
//! A safety phase under faults is followed by a liveness phase: a majority heals, and
//! every operation, and fresh probes of every key, must end within [`RECOVERY_MAX`].
//! Then the oracles judge what clients saw and what nodes hold.

mod client;
mod configuration;
mod disk_faults;
mod draw;
mod fault;
mod fault_plan;
mod liveness;
mod lone_copy;
mod oracle;
mod run;
mod shrink;
mod told_to_one;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

pub use configuration::{ClientPlan, Clocks, Configuration, Limits, Shape};
pub use fault::{Fault, PlannedFault};
pub use shrink::{Shrunk, shrink};

use super::history::History;
use super::trace::Trace;
use run::Run;

/// After the faults end, every operation and every probe must end within this; where
/// paths took seconds, operations under way may take some of their round trips more.
pub const RECOVERY_MAX: Duration = Duration::from_secs(10);

/// What a run did and what is wrong with it.
pub struct Outcome {
    /// Operations that clients began.
    pub operations: usize,
    /// Those that had a result.
    pub completed: usize,
    /// Virtual time.
    pub length: Duration,
    /// How often each rare path was taken, by cause.
    pub marks: BTreeMap<String, u64>,
    /// Whether clocks broke their bounds, so that clock-mode registers promise nothing.
    pub is_void: bool,
    /// What broke.
    pub violation: Option<Violation>,
    /// What clients saw; nothing after a panic.
    pub history: History,
    /// As asked for; nothing after a panic.
    pub trace: Trace,
}

/// Which promise a run broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// One order explains what clients saw; nothing acknowledged is lost or done twice.
    Linearizable,
    /// Without faults, everything ends in time.
    Live,
    /// What a majority of replicas held outlives the loss of a site.
    Recoverable,
    /// In the end nothing is held.
    LeakFree,
    /// One timestamp has one value, wherever it is stored.
    Unique,
    /// In the end all replicas hold the same.
    Convergent,
    /// A node never breaks an assertion of its own.
    Sound,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linearizable => "not linearizable",
            Self::Live => "not live",
            Self::Recoverable => "a lost site took an older version along",
            Self::LeakFree => "a leak",
            Self::Unique => "one timestamp has two values",
            Self::Convergent => "replicas differ",
            Self::Sound => "a panic",
        })
    }
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// How.
    pub details: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.details)
    }
}

/// Runs a configuration and judges it.
pub fn run(configuration: &Configuration, trace: Trace) -> Outcome {
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut run = Run::new(configuration.clone(), trace);
        let violation = run.go().err();
        run.into_outcome(violation)
    }));
    ran.unwrap_or_else(|panic| {
        let details = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()))
            .unwrap_or_else(|| "without words".into());
        Outcome {
            operations: 0,
            completed: 0,
            length: Duration::ZERO,
            marks: BTreeMap::new(),
            is_void: configuration.clocks == Clocks::Beyond,
            violation: Some(Violation {
                promise: Promise::Sound,
                details,
            }),
            history: History::default(),
            trace: Trace::Off,
        }
    })
}
