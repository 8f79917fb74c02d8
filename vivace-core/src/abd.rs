//! ABD, the register that Vivace starts from (Vivace §3.2, after Attiya, Bar-Noy and
//! Dolev): values inside the messages, everything in the bulk class. The baseline
//! that the paper measures against, on the same transport, storage and clocks.
//!
//! ```text
//! write(k, v)  ts = own clock (query mode: read a majority first, one more than the largest)
//!              store (ts, v) at a majority;  commit wait
//! read(k)      (ts, v) from a majority, take the largest
//!              write it back to a majority, unless a majority holds it;  commit wait
//! ```
//!
//! Its replica is [`crate::vivace_rw::Replica`], whose known and complete versions
//! never differ here.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::call::Call;
use crate::client_protocol::Success;
use crate::clock::Mode;
use crate::cluster::Container;
use crate::commit_wait::CommitWait;
use crate::env::Env;
use crate::event::Class;
use crate::identity::NodeId;
use crate::key::Key;
use crate::message::{BulkBody, BulkMessage, PriorityBody, RpcId, TrustedTime};
use crate::operation::{Input, Step, Ticket, refusal_text, unavailable, unknown};
use crate::outbox::{Lsn, Message};
use crate::quorum::{Tally, Votes, majority};
use crate::timestamp::Timestamp;
use crate::value::Value;

/// One read or write under way.
#[derive(Clone, Debug)]
pub struct Operation {
    ticket: Ticket,
    key: Key,
    /// What a write stores; none for a read.
    new_value: Option<Value>,
    remote_clock: TrustedTime,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    /// No majority can be reached; nothing has been sent.
    AwaitPeers,
    /// Timestamp and value from a majority.
    Query {
        query: Call,
        pairs: Votes<(Timestamp, Option<Value>)>,
        /// Their disks lost the value that belongs to their timestamp.
        lacking: BTreeSet<NodeId>,
    },
    /// Timestamp and value to a majority.
    Store {
        ts: Timestamp,
        value: Value,
        store: Call,
        stored: Votes<()>,
    },
    /// A trusted clock passes the timestamp.
    AwaitClock {
        ts: Timestamp,
        value: Value,
        wait: CommitWait,
        rpc: RpcId,
    },
}

impl Operation {
    /// A read, not begun.
    pub fn read(ticket: Ticket, key: Key) -> Self {
        Self {
            ticket,
            key,
            new_value: None,
            remote_clock: TrustedTime::default(),
            phase: Phase::AwaitPeers,
        }
    }

    /// A write of `value`, not begun.
    pub fn write(ticket: Ticket, key: Key, value: Value) -> Self {
        Self {
            new_value: Some(value),
            ..Self::read(ticket, key)
        }
    }

    /// Moves the operation on.
    pub fn step(&mut self, env: &mut Env, container: &Container, input: Input) -> Step {
        match input {
            Input::Start => self.begin(env, container),
            Input::Bulk { from, rpc, body } => self.on_answer(env, container, from, rpc, body),
            // Only the commit wait of a node without a trusted clock asks in this class.
            Input::Priority {
                from,
                rpc,
                body: PriorityBody::ReadTsAck { clock, .. },
            } => {
                let passed = match &mut self.phase {
                    Phase::AwaitClock {
                        wait, rpc: asked, ..
                    } if *asked == rpc => wait.on_clock(env, from, clock),
                    _ => false,
                };
                if passed {
                    self.reply(env)
                } else {
                    Step::Continue
                }
            }
            Input::Priority { .. } => Step::Continue,
            Input::PeerUp { node, class } => {
                match &mut self.phase {
                    Phase::AwaitPeers => return self.begin(env, container),
                    Phase::Query { query: call, .. } | Phase::Store { store: call, .. } => {
                        call.on_peer_up(env, node, class);
                    }
                    Phase::AwaitClock { wait, .. } => wait.on_peer_up(env, node, class),
                }
                Step::Continue
            }
            Input::Tick => self.on_tick(env, container),
        }
    }

    fn begin(&mut self, env: &mut Env, container: &Container) -> Step {
        if !env.majority_up(&container.replicas, Class::Bulk) {
            return Step::Continue;
        }
        match (&self.new_value, env.clock.mode_for(container.timestamps)) {
            (Some(value), Mode::Clock) => {
                let value = value.clone();
                let (ts, lsn) = env.clock.next_from_clock(env.now, &mut env.out);
                self.store(env, container, ts, value, lsn);
            }
            (Some(_), Mode::Query) | (None, _) => {
                let rpc = self.ticket.next_rpc();
                let body = BulkBody::AbdRead {
                    key: self.key.clone(),
                };
                let query = Call::bulk(env, container, rpc, &container.replicas, body);
                self.phase = Phase::Query {
                    query,
                    pairs: Votes::new(container.replicas.len()),
                    lacking: BTreeSet::new(),
                };
            }
        }
        Step::Continue
    }

    fn store(
        &mut self,
        env: &mut Env,
        container: &Container,
        ts: Timestamp,
        value: Value,
        lsn: Lsn,
    ) {
        let rpc = self.ticket.next_rpc();
        let body = BulkBody::AbdWrite {
            key: self.key.clone(),
            ts,
            value: value.clone(),
        };
        let message = Message::Bulk(BulkMessage {
            rpc,
            epoch: container.epoch,
            body,
        });
        let store = Call::start(env, rpc, &container.replicas, message, lsn);
        let stored = Votes::new(container.replicas.len());
        self.phase = Phase::Store {
            ts,
            value,
            store,
            stored,
        };
    }

    fn on_answer(
        &mut self,
        env: &mut Env,
        container: &Container,
        from: NodeId,
        answered: RpcId,
        body: BulkBody,
    ) -> Step {
        match (&mut self.phase, body) {
            (Phase::Query { query, pairs, .. }, BulkBody::AbdReadAck { ts, .. })
                if query.rpc == answered && env.is_future(container, ts) =>
            {
                query.answered(from);
                pairs.no(from);
                if pairs.tally() == Tally::Unreachable {
                    return self.fail(
                        env,
                        "a majority names timestamps ahead of this node's clock",
                    );
                }
            }
            (Phase::Query { query, lacking, .. }, BulkBody::AbdReadAck { ts, value, .. })
                if query.rpc == answered
                    && self.new_value.is_none()
                    && value.is_none()
                    && ts > Timestamp::ZERO =>
            {
                // It has one again after the next write, so it stays asked.
                lacking.insert(from);
                let replicas = container.replicas.len();
                if lacking.len() > replicas - majority(replicas) {
                    return self.fail(env, "the disks of a majority lost the value");
                }
            }
            (
                Phase::Query {
                    query,
                    pairs,
                    lacking,
                },
                BulkBody::AbdReadAck { ts, value, clock },
            ) if query.rpc == answered => {
                query.answered(from);
                lacking.remove(&from);
                pairs.yes(from, (ts, value));
                self.remote_clock = self.remote_clock.max(clock);
                if pairs.tally() == Tally::Reached {
                    return self.on_pairs(env, container);
                }
            }
            (Phase::Store { store, stored, .. }, BulkBody::AbdWriteAck { clock })
                if store.rpc == answered =>
            {
                store.answered(from);
                stored.yes(from, ());
                self.remote_clock = self.remote_clock.max(clock);
                if stored.tally() == Tally::Reached {
                    return self.on_stored(env, container);
                }
            }
            (Phase::Query { query, pairs, .. }, BulkBody::Refused { why })
                if query.rpc == answered =>
            {
                query.answered(from);
                pairs.no(from);
                if pairs.tally() == Tally::Unreachable {
                    return self.fail(env, &format!("a majority refused: {}", refusal_text(&why)));
                }
            }
            (Phase::Store { store, stored, .. }, BulkBody::Refused { why })
                if store.rpc == answered =>
            {
                store.answered(from);
                stored.no(from);
                if stored.tally() == Tally::Unreachable {
                    return self.fail(env, &format!("a majority refused: {}", refusal_text(&why)));
                }
            }
            _ => {}
        }
        Step::Continue
    }

    fn on_pairs(&mut self, env: &mut Env, container: &Container) -> Step {
        let Phase::Query { pairs, .. } = &self.phase else {
            return Step::Continue;
        };
        let newest = pairs
            .answers()
            .iter()
            .map(|(_, pair)| pair)
            .max_by_key(|(ts, _)| *ts);
        let (mts, value) = newest.cloned().unwrap_or((Timestamp::ZERO, None));
        let by_majority = pairs.majority_that(|(ts, _)| *ts == mts);
        if let Some(new_value) = self.new_value.clone() {
            let (ts, lsn) = env
                .clock
                .next_above(container.timestamps, mts, &mut env.out);
            self.store(env, container, ts, new_value, lsn);
            return Step::Continue;
        }
        match value {
            None => {
                env.reply(self.ticket.request, Ok(Success::NotFound));
                Step::Done
            }
            Some(value) if by_majority && container.write_back_skip => {
                self.await_clock(env, container, mts, value)
            }
            Some(value) => {
                self.store(env, container, mts, value, Lsn::default());
                Step::Continue
            }
        }
    }

    fn on_stored(&mut self, env: &mut Env, container: &Container) -> Step {
        match &self.phase {
            Phase::Store { ts, value, .. } => {
                let (ts, value) = (*ts, value.clone());
                self.await_clock(env, container, ts, value)
            }
            _ => Step::Continue,
        }
    }

    fn await_clock(
        &mut self,
        env: &mut Env,
        container: &Container,
        ts: Timestamp,
        value: Value,
    ) -> Step {
        match CommitWait::start(env, container, ts, self.remote_clock) {
            None => self.reply_with(env, ts, value),
            Some(wait) => {
                let rpc = self.ticket.next_rpc();
                self.phase = Phase::AwaitClock {
                    ts,
                    value,
                    wait,
                    rpc,
                };
                Step::Continue
            }
        }
    }

    fn reply(&mut self, env: &mut Env) -> Step {
        match &self.phase {
            Phase::AwaitClock { ts, value, .. } => {
                let (ts, value) = (*ts, value.clone());
                self.reply_with(env, ts, value)
            }
            _ => Step::Continue,
        }
    }

    fn reply_with(&self, env: &mut Env, ts: Timestamp, value: Value) -> Step {
        let success = match (&self.new_value, value) {
            (Some(_), _) => Success::Written { ts },
            (None, Value::Tombstone) => Success::NotFound,
            (None, Value::Bytes(value)) => Success::Value { ts, value },
        };
        env.reply(self.ticket.request, Ok(success));
        Step::Done
    }

    fn fail(&self, env: &mut Env, reason: &str) -> Step {
        let begun = matches!(self.phase, Phase::Store { .. } | Phase::AwaitClock { .. });
        let failure = match self.new_value {
            Some(_) if begun => unknown(reason),
            _ => unavailable(reason),
        };
        env.reply(self.ticket.request, Err(failure));
        Step::Done
    }

    fn on_tick(&mut self, env: &mut Env, container: &Container) -> Step {
        if self.ticket.is_over(env) {
            let reason = match self.phase {
                Phase::AwaitPeers => "no majority of replicas is connected",
                Phase::Query { .. } => "no majority of replicas answered the read in time",
                Phase::Store { .. } => "no majority of replicas stored the value in time",
                Phase::AwaitClock { .. } => {
                    "no trusted clock passed the timestamp in time: are clocks synchronized?"
                }
            };
            return self.fail(env, reason);
        }
        match &mut self.phase {
            Phase::AwaitPeers => {}
            Phase::Query { query: call, .. } | Phase::Store { store: call, .. } => {
                call.on_tick(env);
            }
            Phase::AwaitClock { wait, rpc, .. } => {
                if wait.on_tick(env, container, &self.key, *rpc) {
                    return self.reply(env);
                }
            }
        }
        Step::Continue
    }

    /// When the operation next needs a tick.
    pub fn next_wakeup(&self) -> Duration {
        let wakeup = match &self.phase {
            Phase::AwaitPeers => None,
            Phase::Query { query: call, .. } | Phase::Store { store: call, .. } => {
                call.next_wakeup()
            }
            Phase::AwaitClock { wait, .. } => Some(wait.next_wakeup()),
        };
        wakeup.map_or(self.ticket.deadline, |wakeup| {
            wakeup.min(self.ticket.deadline)
        })
    }
}
