//! `cwait`: the last step of every RW operation (PROTOCOL, mend 5).

use std::time::Duration;

use crate::call::Call;
use crate::clock::Mode;
use crate::cluster::{Container, TimestampSource};
use crate::env::Env;
use crate::identity::NodeId;
use crate::key::Key;
use crate::message::{PriorityBody, RpcId, TrustedTime};
use crate::timestamp::Timestamp;

/// How long until clocks are asked again that were all untrusted.
const UNTRUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long what others have told of their clocks is counted from, before they are asked.
const HEARSAY_WAIT_MAX: Duration = Duration::from_millis(100);

/// Waits until a trusted clock has surely passed a timestamp by E, so that a clock
/// that runs slow can't sign a smaller one for a write that begins afterwards.
#[derive(Clone, Debug)]
pub struct CommitWait {
    ts: Timestamp,
    check_at: Duration,
    /// Asks clock-mode replicas for their time where this node trusts no clock.
    call: Option<Call>,
}

impl CommitWait {
    /// None where there is nothing to wait for. `remote` is the best lower bound
    /// that acknowledgments have brought.
    pub fn start(
        env: &mut Env,
        container: &Container,
        ts: Timestamp,
        remote: TrustedTime,
    ) -> Option<Self> {
        if container.timestamps == TimestampSource::Query || ts == Timestamp::ZERO {
            return None;
        }
        mutant!(env, NoCommitWait => return None);
        let wait = env.clock.commit_wait(env.now, ts, remote)?;
        let wait = match env.clock.mode() {
            Mode::Clock => wait,
            // Without any trusted time yet, ask at once.
            Mode::Query if env.trusted_time().max(remote) == TrustedTime::default() => {
                Duration::ZERO
            }
            // Others may have told theirs long ago (seed 90064864).
            Mode::Query => wait.min(HEARSAY_WAIT_MAX),
        };
        Some(Self {
            ts,
            check_at: env.now.monotonic + wait,
            call: None,
        })
    }

    /// Whether the wait is over; asks the replicas' clocks where this node has none.
    pub fn on_tick(&mut self, env: &mut Env, container: &Container, key: &Key, rpc: RpcId) -> bool {
        if self.check_at <= env.now.monotonic {
            match env
                .clock
                .commit_wait(env.now, self.ts, TrustedTime::default())
            {
                None => return true,
                // A clock of a known but large error would make this node wait for
                // that error; the replicas' clocks are better.
                Some(wait) if env.clock.mode() == Mode::Clock => {
                    self.check_at = env.now.monotonic + wait;
                }
                Some(_) => {
                    env.counters
                        .count("commit wait judged by a replica's clock");
                    let body = PriorityBody::ReadTs { key: key.clone() };
                    self.call = Some(Call::priority(
                        env,
                        container,
                        rpc,
                        &container.replicas,
                        body,
                    ));
                    self.check_at = Duration::MAX;
                }
            }
        }
        if let Some(call) = &mut self.call {
            call.on_tick(env);
        }
        false
    }

    /// Judges a replica's clock; whether the wait is over.
    pub fn on_clock(&mut self, env: &mut Env, node: NodeId, clock: TrustedTime) -> bool {
        let Some(call) = &mut self.call else {
            return false;
        };
        call.answered(node);
        // Ask again when that clock should have passed the timestamp; where it is not
        // trusted now, it, or this node's own, may be before long.
        let wait = match env.clock.commit_wait(env.now, self.ts, clock) {
            None => return true,
            Some(_) if clock == TrustedTime::default() => UNTRUSTED_PAUSE,
            Some(wait) => wait,
        };
        self.check_at = self.check_at.min(env.now.monotonic + wait);
        false
    }

    /// Repeats to a replica that has come back.
    pub fn on_peer_up(&mut self, env: &mut Env, node: NodeId, class: crate::event::Class) {
        if let Some(call) = &mut self.call {
            call.on_peer_up(env, node, class);
        }
    }

    /// When [`CommitWait::on_tick`] is next due.
    pub fn next_wakeup(&self) -> Duration {
        self.call
            .as_ref()
            .and_then(Call::next_wakeup)
            .map_or(self.check_at, |wakeup| wakeup.min(self.check_at))
    }
}
