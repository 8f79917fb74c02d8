//! A node's threads, and which of them run ahead of all else on the machine.
//!
//! A processor is a link too: where bulk, another program or another node fills it, a
//! message of the priority class waits for its turn, up to some 4 ms of a common kernel's
//! scheduler. Under real-time scheduling (`SCHED_RR`, POSIX.1-2017 2.8.4) it does not. That
//! has a price: who never waits never gathers several messages either, so a machine that
//! is full to the brim does a third less.

use std::thread::{Builder, JoinHandle};
use std::{fmt, io};

use thread_priority::{
    Error, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Which of a node's connections have threads of their own.
///
/// Three nodes of one site on two processors, 64 clients: where one thread has all
/// connections, there are 1.2 to 1.3 times the reads and writes and 1.2 to 1.5 times the
/// commands, for nobody waits for the turn of another thread. But a value that comes holds up
/// the timestamps behind it: under the most bulk that one thread can carry, by 1 ms at p50 and
/// 8 at p99 instead of 0.1 and 0.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// One for the protocol and the priority class, one for bulk, one for clients.
    #[default]
    Split,
    /// One for all of them. In real time they are apart all the same: values, and strangers'
    /// handshakes, must not run ahead of all else.
    Shared,
}

impl Threads {
    /// What suits one of `nodes` nodes of a cluster that share `processors`: with fewer than
    /// two for each, threads of one node would wait for those of another.
    pub const fn for_machine(nodes: usize, processors: usize) -> Self {
        match processors < 2 * nodes {
            true => Self::Shared,
            false => Self::Split,
        }
    }

    /// What there is of it under this scheduling.
    pub(crate) const fn under(self, scheduling: Scheduling) -> Self {
        match scheduling {
            Scheduling::Inherited => self,
            Scheduling::Realtime => Self::Split,
        }
    }
}

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Split => "one thread for each class of connections and one for clients",
            Self::Shared => "one thread for all connections",
        })
    }
}

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The protocol core and the priority connections; with [`Threads::Shared`] the others too.
    Priority,
    /// The bulk connections.
    Bulk,
    /// The port for clients.
    Clients,
    /// Writes and syncs records.
    Journal,
    /// Checkpoints and segments.
    Keeper,
    /// Writes and syncs values.
    Values,
    /// Reads values.
    Loads,
    /// Lists what is stored, at a start.
    Scan,
}

impl Task {
    /// The thread's name; Linux shows 15 bytes of it.
    const fn name(self) -> &'static str {
        match self {
            Self::Priority => "vivace-priority",
            Self::Bulk => "vivace-bulk",
            Self::Clients => "vivace-clients",
            Self::Journal => "vivace-journal",
            Self::Keeper => "vivace-keeper",
            Self::Values => "vivace-values",
            Self::Loads => "vivace-loads",
            Self::Scan => "vivace-scan",
        }
    }

    /// Its real-time priority, of 1 to 99, if a timestamp waits for it: what carries values
    /// waits its turn.
    const fn realtime_priority(self) -> Option<u8> {
        match self {
            Self::Priority => Some(3),
            Self::Clients | Self::Journal => Some(2),
            Self::Bulk | Self::Keeper | Self::Values | Self::Loads | Self::Scan => None,
        }
    }
}

/// How a node's threads share processors with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduling {
    /// As the process was started.
    #[default]
    Inherited,
    /// The threads that a small operation waits for run before all that is not real-time.
    Realtime,
}

/// The kernel does not let this process schedule in real time.
#[derive(Debug, thiserror::Error)]
#[error(
    "real-time scheduling is not allowed here ({0}): give the process CAP_SYS_NICE or an rtprio \
     limit of 3 (systemd: LimitRTPRIO=3), or set `realtime = false` in node.toml"
)]
pub struct NoRealtime(io::Error);

impl Scheduling {
    /// Tries on a thread of its own whether the kernel allows it.
    ///
    /// # Errors
    /// [`NoRealtime`].
    pub fn check(self) -> Result<(), NoRealtime> {
        let tried = std::thread::spawn(move || self.become_as(Task::Priority)).join();
        tried
            .expect("asking the kernel does not panic")
            .map_err(NoRealtime)
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// The operating system's, where it has no more threads.
    pub(crate) fn spawn<T: Send + 'static>(
        self,
        task: Task,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        Builder::new().name(task.name().into()).spawn(move || {
            if let Err(error) = self.become_as(task) {
                tracing::warn!("{} is not scheduled in real time: {error}", task.name());
            }
            body()
        })
    }

    fn become_as(self, task: Task) -> io::Result<()> {
        match (self, task.realtime_priority()) {
            (Self::Inherited, _) | (Self::Realtime, None) => Ok(()),
            (Self::Realtime, Some(priority)) => become_realtime(priority),
        }
    }
}

fn become_realtime(priority: u8) -> io::Result<()> {
    let priority = priority.try_into().expect("the constants are 0 to 99");
    set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(priority),
        ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin),
    )
    .map_err(|error| match error {
        Error::OS(code) => io::Error::from_raw_os_error(code),
        other => io::Error::other(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use thread_priority::{ThreadSchedulePolicy as Policy, thread_schedule_policy_param};

    fn scheduled(scheduling: Scheduling, task: Task) -> (Policy, i32) {
        let look = || {
            let (policy, param) = thread_schedule_policy_param(thread_native_id()).expect("known");
            (policy, param.sched_priority)
        };
        let thread = scheduling.spawn(task, look).expect("starts");
        thread.join().expect("looks")
    }

    #[test]
    fn nodes_that_share_processors_have_fewer_threads() {
        assert_eq!(Threads::for_machine(1, 1), Threads::Shared);
        assert_eq!(Threads::for_machine(1, 2), Threads::Split);
        assert_eq!(Threads::for_machine(3, 4), Threads::Shared);
        assert_eq!(Threads::for_machine(3, 6), Threads::Split);
    }

    #[test]
    fn values_never_run_in_real_time() {
        let (inherited, realtime) = (Scheduling::Inherited, Scheduling::Realtime);
        assert_eq!(Threads::Shared.under(inherited), Threads::Shared);
        assert_eq!(Threads::Shared.under(realtime), Threads::Split);
        assert_eq!(Threads::Split.under(inherited), Threads::Split);
    }

    #[test]
    fn only_what_small_operations_wait_for_runs_in_real_time_and_only_where_asked() {
        let tasks = [
            Task::Priority,
            Task::Clients,
            Task::Journal,
            Task::Bulk,
            Task::Values,
        ];
        let usual = scheduled(Scheduling::Inherited, Task::Bulk);
        for task in tasks {
            assert_eq!(scheduled(Scheduling::Inherited, task), usual, "{task:?}");
        }
        if let Err(refused) = Scheduling::Realtime.check() {
            assert!(refused.to_string().contains("LimitRTPRIO=3"), "{refused}");
            return;
        }
        let realtime = Policy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
        let of = |task| scheduled(Scheduling::Realtime, task);
        assert_eq!(
            tasks.map(of),
            [(realtime, 3), (realtime, 2), (realtime, 2), usual, usual]
        );
    }
}
