//! Locks that outlive a panic: every value behind one is changed in single
//! steps, so a panicking holder leaves it whole and the others go on.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes `mutex` whether or not an earlier holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
