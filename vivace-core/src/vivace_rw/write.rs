//! The coordinator of `write(key, val)`.

use std::time::Duration;

use crate::call::Call;
use crate::client_protocol::Success;
use crate::clock::Mode;
use crate::cluster::Container;
use crate::commit_wait::CommitWait;
use crate::direct;
use crate::durability::Durability;
use crate::env::Env;
use crate::event::Class;
use crate::holders::{Holders, TOO_FEW};
use crate::identity::NodeId;
use crate::key::Key;
use crate::message::{
    BulkBody, BulkMessage, CopyTag, PriorityBody, Refusal, RpcId, TrustedTime, WriteId,
};
use crate::operation::{Input, Step, Ticket, refusal_text, unavailable, unknown};
use crate::outbox::{Lsn, Message};
use crate::quorum::{Tally, Votes};
use crate::timestamp::Timestamp;
use crate::value::Value;

/// How long a majority of the local set, which has the value, may take to bind it.
const BIND_PATIENCE: Duration = Duration::from_millis(500);

/// One write under way.
#[derive(Clone, Debug)]
pub struct Write {
    ticket: Ticket,
    key: Key,
    value: Value,
    write: WriteId,
    remote_clock: TrustedTime,
    durability: Durability,
    given: Option<Timestamp>,
    /// Asked together with W-TS: the value is on its way by then.
    holders: Option<Holders>,
    phase: Phase,
}

#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one per operation: a box would save nothing"
)]
enum Phase {
    /// No majority can be reached; nothing has been sent.
    AwaitPeers,
    /// Query mode: the timestamp and the local copies at once.
    QueryAndStore {
        query: Call,
        known: Votes<Timestamp>,
        store: Call,
        stored: Votes<()>,
        /// A member will not bind its copy any more.
        given_up: bool,
    },
    /// Clock mode: timestamp and value to all replicas at once, where they are one with the
    /// local set.
    StoreDirectly {
        ts: Timestamp,
        store: Call,
        stored: Votes<()>,
    },
    /// Query mode: the local copies get their timestamp.
    Bind {
        ts: Timestamp,
        bind: Call,
        bound: Votes<()>,
        /// After this, the value goes out once more: a member that did not get it can't
        /// bind it, and one that did may be down.
        patient_until: Duration,
    },
    /// The local copies, under their timestamp: clock mode, or a binding was refused.
    StoreLocal {
        ts: Timestamp,
        store: Call,
        stored: Votes<()>,
    },
    /// A majority of replicas learns the timestamp.
    PublishTs {
        ts: Timestamp,
        publish: Call,
        published: Votes<()>,
    },
    /// A trusted clock passes the timestamp.
    AwaitClock {
        ts: Timestamp,
        wait: CommitWait,
        rpc: RpcId,
    },
    /// Enough replicas hold the value.
    AwaitHolders { ts: Timestamp },
}

impl Write {
    /// A write of `value`, not begun.
    pub fn new(
        ticket: Ticket,
        key: Key,
        value: Value,
        write: WriteId,
        durability: Durability,
    ) -> Self {
        Self {
            ticket,
            key,
            value,
            write,
            remote_clock: TrustedTime::default(),
            durability,
            given: None,
            holders: None,
            phase: Phase::AwaitPeers,
        }
    }

    /// A write under a timestamp that is given, not begun.
    pub fn restore(ticket: Ticket, key: Key, value: Value, write: WriteId, ts: Timestamp) -> Self {
        let mut restore = Self::new(ticket, key, value, write, Durability::Majority);
        restore.given = Some(ts);
        restore
    }

    /// Moves the write on.
    pub fn step(&mut self, env: &mut Env, container: &Container, input: Input) -> Step {
        match input {
            Input::Start => self.begin(env, container),
            Input::Priority { from, rpc, body } => self.on_answer(env, container, from, rpc, body),
            Input::Bulk {
                from,
                rpc,
                body: BulkBody::Refused { why },
            } => self.on_answer(env, container, from, rpc, PriorityBody::Refused { why }),
            Input::Bulk { .. } => Step::Continue,
            Input::PeerUp { node, class } => self.on_peer_up(env, container, node, class),
            Input::Tick => self.on_tick(env, container),
        }
    }

    fn begin(&mut self, env: &mut Env, container: &Container) -> Step {
        let local_set = container.local_set(env.site);
        // Where no majority can hear of it, the write is not begun: it surely did not happen.
        if !env.majority_up(&container.replicas, Class::Priority)
            || !env.majority_up(local_set, Class::Bulk)
        {
            return Step::Continue;
        }
        if let Some(ts) = self.given {
            self.store_at(env, container, ts, Lsn::default());
            return Step::Continue;
        }
        match env.clock.mode_for(container.timestamps) {
            Mode::Clock => {
                let (ts, lsn) = env.clock.next_from_clock(env.now, &mut env.out);
                self.store_at(env, container, ts, lsn);
            }
            Mode::Query => {
                let rpc = self.ticket.next_rpc();
                let body = PriorityBody::ReadTs {
                    key: self.key.clone(),
                };
                let query = Call::priority(env, container, rpc, &container.replicas, body);
                let tag = CopyTag::Unbound(self.write);
                let store = self.store_call(env, container, tag, Default::default());
                self.phase = Phase::QueryAndStore {
                    query,
                    known: Votes::new(container.replicas.len()),
                    store,
                    stored: Votes::new(local_set.len()),
                    given_up: false,
                };
            }
        }
        Step::Continue
    }

    /// Stores under a timestamp that nobody was asked for. What a direct write leaves at a
    /// minority is older than later writes by clock; by query it might not be.
    fn store_at(&mut self, env: &mut Env, container: &Container, ts: Timestamp, lsn: Lsn) {
        if direct::is_allowed(env, container) {
            let (rpc, value) = (self.ticket.next_rpc(), self.value.clone());
            let store = direct::store(env, container, rpc, (&self.key, ts), value, lsn);
            let stored = Votes::new(container.replicas.len());
            self.phase = Phase::StoreDirectly { ts, store, stored };
        } else {
            self.store(env, container, ts, lsn);
        }
    }

    fn store(&mut self, env: &mut Env, container: &Container, ts: Timestamp, lsn: Lsn) {
        let store = self.store_call(env, container, CopyTag::Bound(ts), lsn);
        let stored = Votes::new(container.local_set(env.site).len());
        self.phase = Phase::StoreLocal { ts, store, stored };
    }

    fn store_call(&mut self, env: &mut Env, container: &Container, tag: CopyTag, lsn: Lsn) -> Call {
        let local_set = container.local_set(env.site);
        let rpc = self.ticket.next_rpc();
        let message = Message::Bulk(BulkMessage {
            rpc,
            epoch: container.epoch,
            body: BulkBody::WriteLocal {
                key: self.key.clone(),
                tag,
                propagator: env.propagator_of(local_set),
                value: self.value.clone(),
                derivation: None,
            },
        });
        Call::start(env, rpc, local_set, message, lsn)
    }

    fn on_answer(
        &mut self,
        env: &mut Env,
        container: &Container,
        from: NodeId,
        answered: RpcId,
        body: PriorityBody,
    ) -> Step {
        if let PriorityBody::WriteTsAck { clock } | PriorityBody::ReadTsAck { clock, .. } = body {
            self.remote_clock = self.remote_clock.max(clock);
        }
        match (&mut self.phase, body) {
            (
                Phase::QueryAndStore { query, known, .. },
                PriorityBody::ReadTsAck { known: ts, .. },
            ) if answered == query.rpc => {
                query.answered(from);
                known.yes(from, ts);
            }
            (
                Phase::QueryAndStore { store, stored, .. }
                | Phase::StoreLocal { store, stored, .. },
                PriorityBody::WriteLocalAck {},
            ) if answered == store.rpc => {
                store.answered(from);
                stored.yes(from, ());
            }
            (Phase::StoreDirectly { store, stored, .. }, PriorityBody::WriteRemoteAck { .. })
                if answered == store.rpc =>
            {
                store.answered(from);
                stored.yes(from, ());
            }
            (Phase::Bind { bind, bound, .. }, PriorityBody::BindAck {}) if answered == bind.rpc => {
                bind.answered(from);
                bound.yes(from, ());
            }
            (
                Phase::PublishTs {
                    publish, published, ..
                },
                PriorityBody::WriteTsAck { .. },
            ) if answered == publish.rpc => {
                publish.answered(from);
                published.yes(from, ());
            }
            (Phase::AwaitClock { wait, rpc, .. }, PriorityBody::ReadTsAck { clock, .. })
                if answered == *rpc =>
            {
                if wait.on_clock(env, from, clock) {
                    return self.finish(env);
                }
            }
            (phase, PriorityBody::ValueHeld {}) => {
                if let Some(holders) = &mut self.holders {
                    holders.on_held(from, answered);
                }
                if matches!(phase, Phase::AwaitHolders { .. }) {
                    return self.finish(env);
                }
            }
            (_, PriorityBody::Refused { why }) => {
                return self.on_refused(env, container, from, answered, &why);
            }
            _ => return Step::Continue,
        }
        self.advance(env, container)
    }

    /// Goes to the next phase where the present one has its majority.
    fn advance(&mut self, env: &mut Env, container: &Container) -> Step {
        match &self.phase {
            Phase::QueryAndStore {
                known,
                stored,
                given_up,
                ..
            } if known.tally() == Tally::Reached
                && (*given_up || stored.tally() == Tally::Reached) =>
            {
                let seen = known.answers().iter().map(|(_, ts)| *ts).max();
                let (ts, lsn) = env.clock.next_above(
                    container.timestamps,
                    seen.unwrap_or_default(),
                    &mut env.out,
                );
                if *given_up {
                    self.store(env, container, ts, lsn);
                } else {
                    self.bind(env, container, ts, lsn);
                }
                Step::Continue
            }
            Phase::StoreDirectly { ts, stored, .. }
                if stored.tally() == Tally::Reached
                    || mutant!(env, MinorityQuorum && stored.has_half()) =>
            {
                let ts = *ts;
                self.await_clock(env, container, ts)
            }
            Phase::Bind { ts, bound, .. } if bound.tally() == Tally::Reached => {
                self.publish(env, container, *ts);
                Step::Continue
            }
            Phase::StoreLocal { ts, stored, .. } if stored.tally() == Tally::Reached => {
                self.publish(env, container, *ts);
                Step::Continue
            }
            Phase::PublishTs { ts, published, .. }
                if published.tally() == Tally::Reached
                    || mutant!(env, MinorityQuorum && published.has_half()) =>
            {
                let ts = *ts;
                self.await_clock(env, container, ts)
            }
            _ => Step::Continue,
        }
    }

    fn await_clock(&mut self, env: &mut Env, container: &Container, ts: Timestamp) -> Step {
        match CommitWait::start(env, container, ts, self.remote_clock) {
            None => {
                self.phase = Phase::AwaitHolders { ts };
                self.finish(env)
            }
            Some(wait) => {
                let rpc = self.ticket.next_rpc();
                self.phase = Phase::AwaitClock { ts, wait, rpc };
                Step::Continue
            }
        }
    }

    fn bind(&mut self, env: &mut Env, container: &Container, ts: Timestamp, lsn: Lsn) {
        let local_set = container.local_set(env.site);
        let rpc = self.ticket.next_rpc();
        let message = Message::Priority(crate::message::PriorityMessage {
            rpc,
            epoch: container.epoch,
            body: PriorityBody::Bind {
                key: self.key.clone(),
                write: self.write,
                ts,
            },
        });
        let bind = Call::start(env, rpc, local_set, message, lsn);
        mutant!(env, BindNotAwaited => return self.publish(env, container, ts));
        self.phase = Phase::Bind {
            ts,
            bind,
            bound: Votes::new(local_set.len()),
            patient_until: env.now.monotonic + BIND_PATIENCE,
        };
    }

    fn publish(&mut self, env: &mut Env, container: &Container, ts: Timestamp) {
        for to in env.carriers_of(container) {
            let key = self.key.clone();
            let go = PriorityBody::Go { key, ts };
            env.send_priority(to, RpcId::NONE, container.epoch, go);
        }
        let rpc = self.ticket.next_rpc();
        let body = PriorityBody::WriteTs {
            key: self.key.clone(),
            ts,
        };
        let publish = Call::priority(env, container, rpc, &container.replicas, body);
        self.phase = Phase::PublishTs {
            ts,
            publish,
            published: Votes::new(container.replicas.len()),
        };
        let (rpc, level) = (self.ticket.next_rpc(), self.durability);
        self.holders = Holders::start(env, container, rpc, &self.key, ts, level);
    }

    /// All is done but for the holders of the value, perhaps.
    fn finish(&mut self, env: &mut Env) -> Step {
        let (Phase::AwaitClock { ts, .. } | Phase::AwaitHolders { ts }) = self.phase else {
            return Step::Continue;
        };
        if self.holders.as_ref().is_some_and(|h| !h.are_enough()) {
            self.phase = Phase::AwaitHolders { ts };
            return Step::Continue;
        }
        env.reply(self.ticket.request, Ok(Success::Written { ts }));
        Step::Done
    }

    fn on_refused(
        &mut self,
        env: &mut Env,
        container: &Container,
        from: NodeId,
        answered: RpcId,
        why: &Refusal,
    ) -> Step {
        let tally = match &mut self.phase {
            Phase::QueryAndStore { query, known, .. } if query.rpc == answered => {
                query.answered(from);
                known.no(from);
                known.tally()
            }
            // Copies were given up while this node was slow: the value goes out once
            // more, under its timestamp, and needs no binding.
            Phase::QueryAndStore {
                store, given_up, ..
            } if store.rpc == answered && *why == (Refusal::NotBindable {}) => {
                *given_up = true;
                return self.advance(env, container);
            }
            Phase::QueryAndStore { store, stored, .. }
            | Phase::StoreLocal { store, stored, .. }
            | Phase::StoreDirectly { store, stored, .. }
                if store.rpc == answered =>
            {
                store.answered(from);
                stored.no(from);
                stored.tally()
            }
            Phase::Bind { ts, bind, .. } if bind.rpc == answered => {
                let (ts, lsn) = (*ts, bind.lsn);
                self.store(env, container, ts, lsn);
                return Step::Continue;
            }
            Phase::PublishTs {
                publish, published, ..
            } if publish.rpc == answered => {
                publish.answered(from);
                published.no(from);
                published.tally()
            }
            _ => return Step::Continue,
        };
        if tally != Tally::Unreachable {
            return Step::Continue;
        }
        let reason = format!("a majority refused: {}", refusal_text(why));
        self.fail(env, container, &reason)
    }

    fn fail(&mut self, env: &mut Env, container: &Container, reason: &str) -> Step {
        let failure = match self.phase {
            Phase::AwaitPeers => unavailable(reason),
            // An unbound copy can only be dropped, never read.
            Phase::QueryAndStore { .. } => {
                self.give_up_copies(env, container);
                unavailable(reason)
            }
            Phase::Bind { .. }
            | Phase::StoreLocal { .. }
            | Phase::StoreDirectly { .. }
            | Phase::PublishTs { .. }
            | Phase::AwaitClock { .. }
            | Phase::AwaitHolders { .. } => unknown(reason),
        };
        env.reply(self.ticket.request, Err(failure));
        Step::Done
    }

    /// Nobody will bind the copies, which would take up the local set's room until its
    /// patience ends.
    fn give_up_copies(&self, env: &mut Env, container: &Container) {
        for &member in container.local_set(env.site) {
            let (key, write) = (self.key.clone(), self.write);
            let abort = PriorityBody::Abort { key, write };
            env.send_priority(member, RpcId::NONE, container.epoch, abort);
        }
    }

    fn on_peer_up(
        &mut self,
        env: &mut Env,
        container: &Container,
        node: NodeId,
        class: Class,
    ) -> Step {
        if let Some(holders) = &mut self.holders {
            holders.on_peer_up(env, node, class);
        }
        match &mut self.phase {
            Phase::AwaitPeers => return self.begin(env, container),
            Phase::QueryAndStore { query, store, .. } => {
                query.on_peer_up(env, node, class);
                store.on_peer_up(env, node, class);
            }
            Phase::StoreLocal { store, .. } | Phase::StoreDirectly { store, .. } => {
                store.on_peer_up(env, node, class);
            }
            Phase::Bind { bind, .. } => bind.on_peer_up(env, node, class),
            Phase::PublishTs { publish, .. } => publish.on_peer_up(env, node, class),
            Phase::AwaitClock { wait, .. } => wait.on_peer_up(env, node, class),
            Phase::AwaitHolders { .. } => {}
        }
        Step::Continue
    }

    fn on_tick(&mut self, env: &mut Env, container: &Container) -> Step {
        if self.ticket.is_over(env) {
            let reason = self.waiting_for();
            return self.fail(env, container, reason);
        }
        if let Some(holders) = &mut self.holders {
            holders.on_tick(env);
        }
        match &mut self.phase {
            Phase::AwaitPeers | Phase::AwaitHolders { .. } => {}
            Phase::QueryAndStore { query, store, .. } => {
                query.on_tick(env);
                store.on_tick(env);
            }
            Phase::StoreLocal { store, .. } | Phase::StoreDirectly { store, .. } => {
                store.on_tick(env);
            }
            Phase::Bind {
                ts,
                bind,
                patient_until,
                ..
            } if *patient_until <= env.now.monotonic => {
                let (ts, lsn) = (*ts, bind.lsn);
                self.store(env, container, ts, lsn);
            }
            Phase::Bind { bind, .. } => bind.on_tick(env),
            Phase::PublishTs { publish, .. } => {
                mutant!(env, RetryUnderNewTimestamp && publish.is_due(env) => {
                    // Where peers are missing, it begins when they are back.
                    self.phase = Phase::AwaitPeers;
                    return self.begin(env, container);
                });
                publish.on_tick(env);
            }
            Phase::AwaitClock { wait, rpc, .. } => {
                if wait.on_tick(env, container, &self.key, *rpc) {
                    return self.finish(env);
                }
            }
        }
        Step::Continue
    }

    fn waiting_for(&self) -> &'static str {
        match self.phase {
            Phase::AwaitPeers => "no majority of replicas and local set is connected",
            Phase::QueryAndStore { .. } => "no majority answered R-TS and W-LOCAL in time",
            Phase::StoreDirectly { .. } => "no majority of replicas answered W-REMOTE in time",
            Phase::Bind { .. } => "no majority of the local set answered BIND in time",
            Phase::StoreLocal { .. } => "no majority of the local set answered W-LOCAL in time",
            Phase::PublishTs { .. } => "no majority of replicas answered W-TS in time",
            Phase::AwaitClock { .. } => {
                "no trusted clock passed the timestamp in time: are clocks synchronized?"
            }
            Phase::AwaitHolders { .. } => TOO_FEW,
        }
    }

    /// When the write next needs a tick.
    pub fn next_wakeup(&self) -> Duration {
        let deadline = self.ticket.deadline;
        let wakeup = match &self.phase {
            Phase::AwaitPeers | Phase::AwaitHolders { .. } => None,
            Phase::QueryAndStore { query, store, .. } => query
                .next_wakeup()
                .into_iter()
                .chain(store.next_wakeup())
                .min(),
            Phase::StoreLocal { store, .. } | Phase::StoreDirectly { store, .. } => {
                store.next_wakeup()
            }
            Phase::Bind {
                bind,
                patient_until,
                ..
            } => bind.next_wakeup().into_iter().chain([*patient_until]).min(),
            Phase::PublishTs { publish, .. } => publish.next_wakeup(),
            Phase::AwaitClock { wait, .. } => Some(wait.next_wakeup()),
        };
        let holders = self.holders.as_ref().and_then(Holders::next_wakeup);
        let wakeups = wakeup.into_iter().chain(holders);
        wakeups.fold(deadline, Duration::min)
    }
}
