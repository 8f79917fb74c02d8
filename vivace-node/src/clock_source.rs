//! Where a node's idea of the time, and of its error, comes from.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vivace_core::clock::ClockReading;

use crate::kernel_clock;

/// How far a node's clock is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSource {
    /// As far as the kernel's clock discipline says (`adjtimex` maxerror), and not
    /// at all while it says "unsynchronized".
    Kernel,
    /// The operator vouches for this bound (GPS, PTP, all nodes on one machine).
    Fixed {
        /// ε.
        error: Duration,
    },
    /// Not at all: query mode.
    Untrusted,
}

impl ClockSource {
    /// The clock now.
    pub fn read(self) -> ClockReading {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let error = match self {
            Self::Kernel => kernel_clock::error_bound(),
            Self::Fixed { error } => Some(error),
            Self::Untrusted => None,
        };
        let nanoseconds =
            |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        ClockReading {
            time_ns: nanoseconds(since_epoch),
            error_ns: error.map(nanoseconds),
        }
    }
}
