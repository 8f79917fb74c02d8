//! The coordinator of `execute(key, command)`, one per key.

mod base;
mod waiting;

use std::time::Duration;

use crate::batch::{Batch, Pending};
use crate::call::Call;
use crate::cluster::Container;
use crate::direct;
use crate::env::Env;
use crate::event::Class;
use crate::fetch::Fetch;
use crate::identity::NodeId;
use crate::key::Key;
use crate::machine::object::Object;
use crate::message::{BulkBody, BulkMessage, CopyTag, PriorityBody, PriorityMessage, RpcId};
use crate::operation::{Calls, Input, Step, refusal_text};
use crate::outbox::{Lsn, Message};
use crate::round::{Ballot, Contention, Verdict};
use crate::timestamp::Timestamp;
use crate::value::Value;
use crate::vivace_rmw::Derivation;

/// The commands of one object at this coordinator, and the round they are in.
#[derive(Clone, Debug)]
pub struct Execute {
    key: Key,
    calls: Calls,
    batch: Batch,
    contention: Contention,
    refusal: Option<String>,
    /// The last version of this node's own rounds, as long as it may be the newest.
    base: Option<(Timestamp, Object)>,
    /// The version under way, and its bytes.
    built: Option<(Object, usize)>,
    /// Whether the round under way asked nobody before it built.
    is_direct: bool,
    /// Whether another coordinator's round was met that has not ended.
    is_late: bool,
    phase: Phase,
}

/// What a replica promised with.
#[derive(Clone, Copy, Debug)]
struct Promise {
    accepted: Timestamp,
    chosen: Timestamp,
    has: bool,
}

/// The promises asked for again, because the base does not come: the versions that a
/// newer round left behind are dropped everywhere, and whoever waits for one may have
/// missed its COMMIT; or the only replica that told of the base is lost along with it.
#[derive(Clone, Debug)]
struct Recheck {
    ask: Call,
    ballot: Ballot<Promise>,
}

#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one per operation: a box would save nothing"
)]
enum Phase {
    /// No majority can be reached.
    AwaitPeers,
    /// OR-TS: a majority promises to refuse older rounds.
    Promise {
        ots: Timestamp,
        ask: Call,
        ballot: Ballot<Promise>,
    },
    /// OR-DATA: the version to build on.
    FetchBase {
        ots: Timestamp,
        /// The largest that a promise told of.
        accepted: Timestamp,
        /// That, or what an operator takes in its place.
        mts: Timestamp,
        held_by_majority: bool,
        fetch: Fetch,
        /// Do the promises still stand?
        recheck: Option<Recheck>,
    },
    /// W-LOCAL: the new version, safe in this site.
    StoreLocal {
        ots: Timestamp,
        store: Call,
        ballot: Ballot<()>,
    },
    /// OW-TS: a majority accepts the new version; as a direct write, that is with its value.
    Accept {
        ots: Timestamp,
        ask: Call,
        ballot: Ballot<()>,
    },
    /// The round was lost, or it is another coordinator's turn.
    BackOff { until: Duration },
}

impl Execute {
    /// The coordinator of `key`, without commands yet.
    pub fn new(calls: Calls, key: Key) -> Self {
        Self {
            key,
            calls,
            batch: Batch::default(),
            contention: Contention::default(),
            refusal: None,
            base: None,
            built: None,
            is_direct: false,
            is_late: false,
            phase: Phase::AwaitPeers,
        }
    }

    /// Adds a client's wish; it takes part in the next round that learns the value.
    ///
    /// # Errors
    /// Gives it back where too many wait.
    pub fn push(&mut self, pending: Pending) -> Result<(), Pending> {
        self.batch.push(pending)
    }

    /// Moves the round on.
    pub fn step(&mut self, env: &mut Env, container: &Container, input: Input) -> Step {
        match input {
            Input::Start => self.begin(env, container),
            Input::Priority { from, rpc, body } => self.on_answer(env, container, from, rpc, body),
            Input::Bulk {
                rpc,
                body: BulkBody::Data { ts, value },
                ..
            } => self.on_base(env, container, rpc, ts, value),
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
        if self.batch.is_empty() {
            return Step::Done;
        }
        if !env.majority_up(&container.replicas, Class::Priority)
            || !env.majority_up(container.local_set(env.site), Class::Bulk)
        {
            self.phase = Phase::AwaitPeers;
            return Step::Continue;
        }
        if let Some(until) = env.turns.wait(&self.key, env.now.monotonic) {
            env.counters
                .count("yielded: it is another coordinator's turn");
            self.phase = Phase::BackOff { until };
            return Step::Continue;
        }
        self.batch.begin_round();
        self.is_late = false;
        let recent = || env.recent.take(&self.key);
        self.base = container.promise_skip.then(recent).flatten();
        if self.build_directly(env, container) {
            return Step::Continue;
        }
        let (ots, lsn) = self.contention.next_ots(env, container);
        self.is_direct = false;
        let rpc = self.calls.next_rpc();
        let body = PriorityBody::OrderedReadTs {
            key: self.key.clone(),
            ots,
        };
        let message = Message::Priority(PriorityMessage {
            rpc,
            epoch: container.epoch,
            body,
        });
        let ask = Call::start(env, rpc, &container.replicas, message, lsn);
        self.phase = Phase::Promise {
            ots,
            ask,
            ballot: Ballot::new(env, container.replicas.len()),
        };
        Step::Continue
    }

    /// Where this node wrote the last version, and a majority promised with it to let
    /// nobody come between, the round begins with W-LOCAL. A batch that changes nothing
    /// has no round that would tell whether the version is still the newest: it asks.
    fn build_directly(&mut self, env: &mut Env, container: &Container) -> bool {
        if self.batch.given_up().is_some() {
            return false;
        }
        let Some((ts, object)) = self.base.take() else {
            return false;
        };
        let changed = self.batch.apply(env, Some(&object));
        let next = changed.and_then(|changed| {
            let next = env.clock.next_round(container.timestamps, ts, &mut env.out);
            next.map(|next| (changed, next))
        });
        let Some((changed, (ots, lsn))) = next else {
            self.batch.retry();
            self.base = Some((ts, object));
            return false;
        };
        env.counters.count("direct: an RMW round without promises");
        self.contention.begin(env);
        self.is_direct = true;
        self.store(env, container, (ots, lsn), Some(ts), Some(changed));
        true
    }

    fn on_answer(
        &mut self,
        env: &mut Env,
        container: &Container,
        from: NodeId,
        answered: RpcId,
        body: PriorityBody,
    ) -> Step {
        match (&mut self.phase, body) {
            (
                Phase::Promise { ask, ballot, .. },
                PriorityBody::OrderedReadTsAck {
                    granted,
                    promised,
                    accepted,
                    chosen,
                    has,
                },
            ) if ask.rpc == answered => {
                ask.answered(from);
                self.contention.see(env, container, promised);
                self.is_late |= !granted && promised != accepted.next_round();
                let promise = Promise {
                    accepted,
                    chosen,
                    has,
                };
                ballot.cast(from, granted.then_some(promise));
            }
            (
                Phase::FetchBase {
                    recheck: Some(Recheck { ask, ballot }),
                    accepted: base,
                    ..
                },
                PriorityBody::OrderedReadTsAck {
                    granted,
                    promised,
                    accepted,
                    chosen,
                    has,
                },
            ) if ask.rpc == answered => {
                if accepted == *base && !has && env.cluster.is_one_place(container) {
                    // Its disk lost the base, which nobody else need ever have had: it
                    // counts as silent.
                    return Step::Continue;
                }
                ask.answered(from);
                self.contention.see(env, container, promised);
                let promise = Promise {
                    accepted,
                    chosen,
                    has,
                };
                ballot.cast(from, granted.then_some(promise));
            }
            (Phase::FetchBase { fetch, .. }, PriorityBody::Gone { chosen })
                if fetch.rpc() == answered =>
            {
                // A newer round was chosen: this one can't be.
                self.contention.see(env, container, chosen);
                return self.lose(env, container);
            }
            (Phase::StoreLocal { store, ballot, .. }, PriorityBody::WriteLocalAck {})
                if store.rpc == answered =>
            {
                store.answered(from);
                ballot.yes(from, ());
            }
            (
                Phase::Accept { ask, ballot, .. },
                PriorityBody::OrderedWriteTsAck { accepted, promised },
            ) if ask.rpc == answered => {
                ask.answered(from);
                self.contention.see(env, container, promised);
                self.is_late |= !accepted;
                match accepted {
                    true => ballot.yes(from, ()),
                    false => ballot.no(from),
                }
            }
            // A direct write's.
            (Phase::Accept { ask, ballot, .. }, PriorityBody::WriteRemoteAck { .. })
                if ask.rpc == answered =>
            {
                ask.answered(from);
                ballot.yes(from, ());
            }
            (phase, PriorityBody::Refused { why }) => {
                match phase {
                    Phase::Promise { ask, ballot, .. } if ask.rpc == answered => {
                        ask.answered(from);
                        ballot.no(from);
                    }
                    Phase::StoreLocal {
                        store: ask, ballot, ..
                    }
                    | Phase::Accept { ask, ballot, .. }
                        if ask.rpc == answered =>
                    {
                        ask.answered(from);
                        ballot.no(from);
                    }
                    Phase::FetchBase { fetch, .. } if fetch.rpc() == answered => {
                        fetch.on_refused(env);
                        return Step::Continue;
                    }
                    _ => return Step::Continue,
                }
                self.refusal = Some(refusal_text(&why));
            }
            _ => return Step::Continue,
        }
        self.advance(env, container)
    }

    /// Goes to the next phase where the present one is decided.
    fn advance(&mut self, env: &mut Env, container: &Container) -> Step {
        let replicas = &container.replicas;
        let verdict = match &mut self.phase {
            Phase::Promise { ballot, .. } => ballot.verdict(env, replicas),
            Phase::StoreLocal { ballot, .. } => ballot.verdict(env, container.local_set(env.site)),
            Phase::Accept { ballot, .. } => ballot.verdict(env, replicas),
            Phase::FetchBase { recheck, .. } => recheck
                .as_mut()
                .map_or(Verdict::Open, |r| r.ballot.verdict(env, replicas)),
            Phase::AwaitPeers | Phase::BackOff { .. } => Verdict::Open,
        };
        match verdict {
            Verdict::Open => Step::Continue,
            Verdict::Lost => self.lose(env, container),
            Verdict::Won => match &self.phase {
                Phase::Promise { .. } => self.fetch_base(env, container),
                Phase::StoreLocal { ots, .. } => {
                    let ots = *ots;
                    self.ask_to_accept(env, container, ots)
                }
                Phase::Accept { ots, .. } => {
                    let ots = *ots;
                    self.commit(env, container, ots)
                }
                Phase::FetchBase { .. } => self.use_new_promises(env, container),
                Phase::AwaitPeers | Phase::BackOff { .. } => Step::Continue,
            },
        }
    }

    /// No object: an operator gave up all there was. No base: there was none.
    fn store(
        &mut self,
        env: &mut Env,
        container: &Container,
        (ots, lsn): (Timestamp, Lsn),
        base: Option<Timestamp>,
        object: Option<Object>,
    ) -> Step {
        self.batch.expose();
        let value = match &object {
            Some(object) => Value::Bytes(object.encode()),
            None => Value::Tombstone,
        };
        self.built = object.map(|object| (object, value.len()));
        if direct::is_allowed(env, container) {
            let rpc = self.calls.next_rpc();
            let ask = direct::store(env, container, rpc, (&self.key, ots), value, lsn);
            let ballot = Ballot::new(env, container.replicas.len());
            self.phase = Phase::Accept { ots, ask, ballot };
            return Step::Continue;
        }
        let derivation = self.derivation(container, ots, base, &value);
        let local_set = container.local_set(env.site);
        let rpc = self.calls.next_rpc();
        let body = BulkBody::WriteLocal {
            key: self.key.clone(),
            tag: CopyTag::Bound(ots),
            propagator: env.propagator_of(local_set),
            value,
            derivation,
        };
        let message = Message::Bulk(BulkMessage {
            rpc,
            epoch: container.epoch,
            body,
        });
        let store = Call::start(env, rpc, local_set, message, lsn);
        self.phase = Phase::StoreLocal {
            ots,
            store,
            ballot: Ballot::new(env, local_set.len()),
        };
        Step::Continue
    }

    /// How the new version follows from the one before, for replicas that have that.
    fn derivation(
        &mut self,
        container: &Container,
        ots: Timestamp,
        base: Option<Timestamp>,
        value: &Value,
    ) -> Option<Box<Derivation>> {
        let commands = self.batch.take_commands()?;
        let Value::Bytes(bytes) = value else {
            return None;
        };
        let base = base.filter(|_| container.commands_at_replicas)?;
        let derivation = Derivation::new(base, ots, commands, &bytes.0);
        derivation
            .is_worth(bytes.0.len() as u64)
            .then(|| Box::new(derivation))
    }

    fn ask_to_accept(&mut self, env: &mut Env, container: &Container, ots: Timestamp) -> Step {
        let rpc = self.calls.next_rpc();
        let body = PriorityBody::OrderedWriteTs {
            key: self.key.clone(),
            ots,
        };
        let ask = Call::priority(env, container, rpc, &container.replicas, body);
        self.phase = Phase::Accept {
            ots,
            ask,
            ballot: Ballot::new(env, container.replicas.len()),
        };
        Step::Continue
    }

    fn commit(&mut self, env: &mut Env, container: &Container, ots: Timestamp) -> Step {
        let local_set = container.local_set(env.site);
        let mut all = container.replicas.clone();
        all.extend(
            local_set
                .iter()
                .filter(|node| !container.replicas.contains(node)),
        );
        for node in all {
            let body = PriorityBody::Commit {
                key: self.key.clone(),
                ts: ots,
            };
            env.send_priority(node, RpcId::NONE, container.epoch, body);
        }
        for to in env.carriers_of(container) {
            let (key, ts) = (self.key.clone(), ots);
            let go = PriorityBody::Go { key, ts };
            env.send_priority(to, RpcId::NONE, container.epoch, go);
        }
        self.batch.succeed(env, &self.key, ots);
        let turn = self.contention.turn(env, &container.replicas);
        env.turns.win(&self.key, env.now.monotonic, turn);
        self.contention.won();
        if let Some((object, bytes)) = self.built.take() {
            env.recent.keep(&self.key, ots, object, bytes);
        }
        self.begin(env, container)
    }

    fn lose(&mut self, env: &mut Env, container: &Container) -> Step {
        self.batch.retry();
        if self.is_direct {
            env.counters
                .count("disturbed: a direct round that another coordinator came before");
        }
        let refused = self.is_direct || matches!(self.phase, Phase::Promise { .. });
        let rival = self.contention.rival(env);
        if let Some(rival) = rival {
            env.turns.meet(&self.key, rival, env.now.monotonic);
        }
        let until = match self.is_late {
            true => self.contention.stand_back(env, &container.replicas),
            false => self.contention.back_off(env, &container.replicas, refused),
        };
        self.phase = Phase::BackOff { until };
        Step::Continue
    }
}
