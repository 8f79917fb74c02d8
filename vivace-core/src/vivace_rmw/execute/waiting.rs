//! What a round waits for, and until when.

use std::time::Duration;

use super::{Execute, Phase};
use crate::call::Call;
use crate::cluster::Container;
use crate::env::Env;
use crate::event::Class;
use crate::identity::NodeId;
use crate::operation::Step;

impl Execute {
    pub(super) fn on_peer_up(
        &mut self,
        env: &mut Env,
        container: &Container,
        node: NodeId,
        class: Class,
    ) -> Step {
        match &mut self.phase {
            Phase::AwaitPeers => return self.begin(env, container),
            Phase::Promise { ask, .. }
            | Phase::Accept { ask, .. }
            | Phase::StoreLocal { store: ask, .. } => ask.on_peer_up(env, node, class),
            Phase::FetchBase { fetch, recheck, .. } => {
                fetch.on_peer_up(env, node);
                if let Some(recheck) = recheck {
                    recheck.ask.on_peer_up(env, node, class);
                }
            }
            Phase::BackOff { .. } => {}
        }
        // On the new path, silence may have lasted long enough.
        self.advance(env, container)
    }

    pub(super) fn on_tick(&mut self, env: &mut Env, container: &Container) -> Step {
        let reason = self.waiting_for();
        self.batch.expire(env, &reason);
        if self.batch.is_empty() {
            return Step::Done;
        }
        match &mut self.phase {
            Phase::AwaitPeers => return Step::Continue,
            Phase::Promise { ask, .. }
            | Phase::Accept { ask, .. }
            | Phase::StoreLocal { store: ask, .. } => ask.on_tick(env),
            Phase::FetchBase {
                ots,
                fetch,
                recheck,
                ..
            } => {
                if let Some(recheck) = recheck {
                    recheck.ask.on_tick(env);
                }
                if fetch.on_tick(env) {
                    let ots = *ots;
                    self.ask_promises_again(env, container, ots);
                }
            }
            Phase::BackOff { until } if *until <= env.now.monotonic => {
                return self.begin(env, container);
            }
            Phase::BackOff { .. } => {}
        }
        self.advance(env, container)
    }

    fn waiting_for(&self) -> String {
        let what = match self.phase {
            Phase::AwaitPeers => "no majority of replicas and local set is connected",
            Phase::Promise { .. } => "no majority of replicas answered OR-TS in time",
            Phase::FetchBase { .. } => {
                "the newest version is known but nobody who holds it answered in time"
            }
            Phase::StoreLocal { .. } => "no majority of the local set answered W-LOCAL in time",
            Phase::Accept { .. } => "no majority of replicas answered OW-TS in time",
            Phase::BackOff { .. } => "other coordinators won every round in time",
        };
        match &self.refusal {
            Some(refusal) => format!("{what}; last refusal: {refusal}"),
            None => what.into(),
        }
    }

    /// Whether the next round waits for another coordinator's to end.
    pub fn stands_back(&self) -> bool {
        matches!(self.phase, Phase::BackOff { .. })
    }

    /// When the round next needs a tick.
    pub fn next_wakeup(&self) -> Duration {
        let phase = match &self.phase {
            Phase::AwaitPeers => None,
            Phase::Promise { ask, ballot, .. } => earliest(ask, ballot.next_wakeup()),
            Phase::StoreLocal {
                store: ask, ballot, ..
            }
            | Phase::Accept { ask, ballot, .. } => earliest(ask, ballot.next_wakeup()),
            Phase::FetchBase { fetch, recheck, .. } => {
                let recheck = recheck.as_ref();
                let recheck = recheck.and_then(|r| earliest(&r.ask, r.ballot.next_wakeup()));
                recheck.into_iter().chain([fetch.next_wakeup()]).min()
            }
            Phase::BackOff { until } => Some(*until),
        };
        phase
            .into_iter()
            .chain(self.batch.next_deadline())
            .min()
            .unwrap_or(Duration::MAX)
    }
}

fn earliest(call: &Call, grace: Option<Duration>) -> Option<Duration> {
    call.next_wakeup().into_iter().chain(grace).min()
}
