//! Virtual time is the machine's monotonic time, so that the timer needs no conversion.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::Result;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId as ReadClock, clock_gettime};

/// Reads clocks.
pub struct Clock;

impl Clock {
    /// Time since the machine started.
    pub fn now() -> Duration {
        Self::read(ReadClock::CLOCK_MONOTONIC)
    }

    /// What the calling thread has used of a processor.
    pub fn thread_cpu() -> Duration {
        Self::read(ReadClock::CLOCK_THREAD_CPUTIME_ID)
    }

    fn read(clock: ReadClock) -> Duration {
        clock_gettime(clock).expect("Linux has both clocks").into()
    }
}

/// A timer that a thread can wait for together with other things.
pub struct Timer {
    timer: TimerFd,
    set_to: Option<Duration>,
}

impl Timer {
    /// A timer that is not set.
    pub fn new() -> Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self {
            timer,
            set_to: None,
        })
    }

    /// Rings at `until`, or not at all. Costs a system call only if that is new.
    pub fn set(&mut self, until: Option<Duration>) -> Result<()> {
        if until == self.set_to {
            return Ok(());
        }
        match until {
            Some(until) => self.timer.set(
                Expiration::OneShot(TimeSpec::from_duration(until)),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            )?,
            None => self.timer.unset()?,
        }
        self.set_to = until;
        Ok(())
    }

    /// Silences a timer that has rung.
    pub fn acknowledge(&mut self) {
        // Not blocking: if it was set anew in the meantime there is nothing to read.
        let _ = self.timer.wait();
        self.set_to = None;
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
