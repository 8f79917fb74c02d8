//! A timer that is late by tens of microseconds: tokio's counts in milliseconds,
//! and a millisecond is twice what a priority message may wait for company.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

pub(super) struct PreciseTimer(AsyncFd<Descriptor>);

impl PreciseTimer {
    /// Must be called within the runtime that waits for it.
    #[expect(
        deprecated,
        reason = "its successor is unsafe, for types that change their descriptor; this one owns its"
    )]
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let fd = AsyncFd::with_interest(Descriptor(timer), Interest::READABLE)?;
        Ok(Self(fd))
    }

    /// Resolves at `at`, or at once if that has passed.
    pub(super) async fn wait_until(&mut self, at: Instant) -> io::Result<()> {
        let pause = at.saturating_duration_since(Instant::now());
        if pause.is_zero() {
            return Ok(());
        }
        let expiration = Expiration::OneShot(TimeSpec::from_duration(pause));
        let timer = &self.0.get_ref().0;
        timer.set(expiration, TimerSetTimeFlags::empty())?;
        loop {
            let mut ready = self.0.readable().await?;
            // An expiration that was not waited for to its end was forgotten when the
            // timer was set anew: then there is nothing to read yet.
            match self.0.get_ref().0.wait() {
                Ok(()) => return Ok(()),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn it_is_never_early_and_mostly_less_than_a_millisecond_late() {
        let mut timer = PreciseTimer::new().expect("a timer");
        let mut late = Vec::new();
        for _ in 0..50 {
            let at = Instant::now() + Duration::from_micros(300);
            // Given up before its end, as a wait in a `select!` is.
            let _ = tokio::time::timeout(Duration::ZERO, timer.wait_until(at)).await;
            timer.wait_until(at).await.expect("it works");
            let now = Instant::now();
            assert!(now >= at);
            late.push(now - at);
        }
        late.sort();
        assert!(late[10] < Duration::from_micros(700), "{late:?}");
    }
}
