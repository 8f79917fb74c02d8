//! The kernel's own bound on its clock's error.
//!
//! The one place of this crate with `unsafe`: no well-kept crate wraps `adjtimex`.
#![allow(unsafe_code)]

use std::time::Duration;

use nix::libc;

/// ε by the kernel's clock discipline; none while it says "unsynchronized".
pub fn error_bound() -> Option<Duration> {
    // SAFETY: all-zero is a valid `timex` (integers only), and zero `modes` makes the
    // call read-only.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live, exclusively borrowed `timex`; the kernel
    // writes no more than its size.
    let status = unsafe { libc::adjtimex(&mut state) };
    let synchronized =
        status >= 0 && status != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0;
    let microseconds = u64::try_from(state.maxerror).ok()?;
    synchronized.then(|| Duration::from_micros(microseconds))
}
