//! Moments that several processes of a machine can compare.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of the machine's monotonic clock.
///
/// # Panics
/// Where the kernel has no monotonic clock, which Linux always has.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has a monotonic clock");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}
