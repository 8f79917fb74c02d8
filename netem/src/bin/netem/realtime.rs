//! Real-time scheduling, so that what is emulated does not wait for what else runs here.

use std::io;

use anyhow::{Result, anyhow};
use thread_priority::{
    Error, RealtimeThreadSchedulePolicy as Policy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// The router's, of 1 to 99: above what runs on hosts, below the kernel's own threads.
pub const ROUTER: (Policy, u8) = (Policy::Fifo, 10);

/// That of a host's command: above all that is not real-time.
pub const COMMAND: (Policy, u8) = (Policy::RoundRobin, 1);

/// Asks for it for the calling thread; threads and programs that it starts inherit it.
pub fn become_realtime((policy, priority): (Policy, u8)) -> Result<()> {
    let priority = priority.try_into().expect("the constants are 0 to 99");
    set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(priority),
        ThreadSchedulePolicy::Realtime(policy),
    )
    .map_err(|error| {
        let why = match error {
            Error::OS(code) => io::Error::from_raw_os_error(code),
            other => io::Error::other(other),
        };
        anyhow!(
            "real-time scheduling is not allowed here ({why}): it wants root, CAP_SYS_NICE or an \
             rtprio limit"
        )
    })
}
