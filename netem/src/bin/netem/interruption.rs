//! Signals that ask a command to end, taken where it can clear away what it began.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Result;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use thiserror::Error;

/// SIGINT, SIGTERM and SIGHUP, which end nobody from here on.
pub struct Interruption(SignalFd);

/// One of them came; nothing is left of what was begun.
#[derive(Clone, Copy, Debug, Error)]
#[error("interrupted by {0}: what was begun is taken down again")]
pub struct Interrupted(pub Signal);

impl Interruption {
    /// Takes the signals; before any thread starts, so that all inherit it.
    pub fn take() -> Result<Self> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&signals, flags)?))
    }

    /// Fails if one of them has come.
    pub fn check(&self) -> Result<()> {
        let Some(came) = self.0.read_signal()? else {
            return Ok(());
        };
        Err(Interrupted(Signal::try_from(came.ssi_signo as i32)?).into())
    }
}

impl AsFd for Interruption {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Interrupted {
    /// As a shell tells that a signal ended a program.
    pub fn exit_code(self) -> u8 {
        128 + self.0 as u8
    }
}
