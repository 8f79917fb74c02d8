//! The LAN algorithm for RMW objects (Vivace §3.3, Alg. 2): values inside the
//! messages, everything in the bulk class. The baseline that the paper measures
//! against, with the same sessions, batches and rule of counting as Alg. 3 here.
//!
//! ```text
//! execute(batch)  OR(ots) to a majority of true -> the largest (ts, val)
//!                 val' = apply(val, batch)
//!                 nothing changed and a majority holds it: return the results
//!                 OW(ots, val') to a majority of true;  return the results
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use crate::batch::{Batch, Pending};
use crate::call::Call;
use crate::client_protocol::Failure;
use crate::cluster::Container;
use crate::env::Env;
use crate::event::Class;
use crate::identity::NodeId;
use crate::key::Key;
use crate::machine::object::Object;
use crate::message::{BulkBody, BulkMessage, Refusal, RpcId};
use crate::operation::{Calls, Input, Step, refusal_text};
use crate::outbox::{Lsn, Message};
use crate::record::Record;
use crate::round::{Ballot, Contention, Verdict};
use crate::stored::{StoredBody, StoredValue, ValueId};
use crate::timestamp::Timestamp;
use crate::value::Value;

/// The commands of one object at this coordinator, and the round they are in.
#[derive(Clone, Debug)]
pub struct Execute {
    key: Key,
    calls: Calls,
    batch: Batch,
    contention: Contention,
    refusal: Option<String>,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    /// No majority can be reached.
    AwaitPeers,
    /// OR: a majority promises, with its timestamps and values.
    Read {
        ots: Timestamp,
        ask: Call,
        ballot: Ballot<(Timestamp, Option<Value>)>,
    },
    /// OW: a majority accepts the new value.
    Write { ask: Call, ballot: Ballot<()> },
    /// The round was lost.
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
            phase: Phase::AwaitPeers,
        }
    }

    /// Adds a client's wish.
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
            Input::Bulk { from, rpc, body } => self.on_answer(env, container, from, rpc, body),
            Input::Priority { .. } => Step::Continue,
            Input::PeerUp { node, class } => {
                match &mut self.phase {
                    Phase::AwaitPeers => return self.begin(env, container),
                    Phase::Read { ask, .. } | Phase::Write { ask, .. } => {
                        ask.on_peer_up(env, node, class);
                    }
                    Phase::BackOff { .. } => {}
                }
                // On the new path, silence may have lasted long enough.
                self.advance(env, container)
            }
            Input::Tick => self.on_tick(env, container),
        }
    }

    fn begin(&mut self, env: &mut Env, container: &Container) -> Step {
        if self.batch.is_empty() {
            return Step::Done;
        }
        if !env.majority_up(&container.replicas, Class::Bulk) {
            self.phase = Phase::AwaitPeers;
            return Step::Continue;
        }
        self.batch.begin_round();
        let (ots, lsn) = self.contention.next_ots(env, container);
        let rpc = self.calls.next_rpc();
        let body = BulkBody::LanRead {
            key: self.key.clone(),
            ots,
        };
        let message = Message::Bulk(BulkMessage {
            rpc,
            epoch: container.epoch,
            body,
        });
        let ask = Call::start(env, rpc, &container.replicas, message, lsn);
        self.phase = Phase::Read {
            ots,
            ask,
            ballot: Ballot::new(env, container.replicas.len()),
        };
        Step::Continue
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
            (
                Phase::Read { ask, ballot, .. },
                BulkBody::LanReadAck {
                    granted,
                    promised,
                    ts,
                    value,
                },
            ) if ask.rpc == answered => {
                ask.answered(from);
                self.contention.see(env, container, promised);
                match granted {
                    true => ballot.yes(from, (ts, value)),
                    false => ballot.no(from),
                }
            }
            (Phase::Write { ask, ballot, .. }, BulkBody::LanWriteAck { accepted, promised })
                if ask.rpc == answered =>
            {
                ask.answered(from);
                self.contention.see(env, container, promised);
                match accepted {
                    true => ballot.yes(from, ()),
                    false => ballot.no(from),
                }
            }
            (Phase::Read { ask, ballot, .. }, BulkBody::Refused { why }) if ask.rpc == answered => {
                ask.answered(from);
                ballot.no(from);
                self.refusal = Some(refusal_text(&why));
            }
            (Phase::Write { ask, ballot }, BulkBody::Refused { why }) if ask.rpc == answered => {
                ask.answered(from);
                ballot.no(from);
                self.refusal = Some(refusal_text(&why));
            }
            _ => return Step::Continue,
        }
        self.advance(env, container)
    }

    fn advance(&mut self, env: &mut Env, container: &Container) -> Step {
        let replicas = &container.replicas;
        let verdict = match &mut self.phase {
            Phase::Read { ballot, .. } => ballot.verdict(env, replicas),
            Phase::Write { ballot, .. } => ballot.verdict(env, replicas),
            Phase::AwaitPeers | Phase::BackOff { .. } => Verdict::Open,
        };
        match (verdict, &self.phase) {
            (Verdict::Won, Phase::Read { .. }) => self.build(env, container),
            (Verdict::Won, _) => {
                self.batch.succeed(env, &self.key, Timestamp::ZERO);
                self.contention.won();
                self.begin(env, container)
            }
            (Verdict::Lost, _) => {
                self.batch.retry();
                let refused = matches!(self.phase, Phase::Read { .. });
                let until = self.contention.back_off(env, replicas, refused);
                self.phase = Phase::BackOff { until };
                Step::Continue
            }
            (Verdict::Open, _) => Step::Continue,
        }
    }

    fn build(&mut self, env: &mut Env, container: &Container) -> Step {
        let Phase::Read { ots, ballot, .. } = &self.phase else {
            return Step::Continue;
        };
        let ots = *ots;
        let newest = ballot
            .answers()
            .iter()
            .map(|(_, pair)| pair)
            .max_by_key(|(ts, _)| *ts);
        let (mts, value) = newest.cloned().unwrap_or((Timestamp::ZERO, None));
        let current = ballot.majority_that(|(ts, _)| *ts == mts);
        let base = match &value {
            None => None,
            Some(Value::Bytes(bytes)) => match Object::decode(bytes) {
                Ok(object) => Some(object),
                Err(error) => return self.corrupt(env, &error.to_string()),
            },
            Some(Value::Tombstone) => return self.corrupt(env, "a tombstone"),
        };
        let changed = self.batch.apply(env, base.as_ref());
        let object = match (changed, base) {
            (None, base) if current || base.is_none() => {
                self.batch
                    .succeed_unchanged(env, &self.key, Timestamp::ZERO);
                self.contention.won();
                return self.begin(env, container);
            }
            (Some(object), _) | (None, Some(object)) => object,
            (None, None) => return Step::Continue,
        };
        self.batch.expose();
        let rpc = self.calls.next_rpc();
        let value = Value::Bytes(object.encode());
        let body = BulkBody::LanWrite {
            key: self.key.clone(),
            ots,
            value,
        };
        let ask = Call::bulk(env, container, rpc, &container.replicas, body);
        self.phase = Phase::Write {
            ask,
            ballot: Ballot::new(env, container.replicas.len()),
        };
        Step::Continue
    }

    fn corrupt(&mut self, env: &mut Env, what: &str) -> Step {
        let failure = Failure::Invalid {
            field: "key".into(),
            reason: format!("the stored value is no RMW object: {what}"),
        };
        self.batch.fail(env, &failure);
        Step::Done
    }

    fn on_tick(&mut self, env: &mut Env, container: &Container) -> Step {
        let what = match self.phase {
            Phase::AwaitPeers => "no majority of replicas is connected",
            Phase::Read { .. } => "no majority of replicas answered OR in time",
            Phase::Write { .. } => "no majority of replicas answered OW in time",
            Phase::BackOff { .. } => "other coordinators won every round in time",
        };
        let reason = match &self.refusal {
            Some(refusal) => format!("{what}; last refusal: {refusal}"),
            None => what.into(),
        };
        self.batch.expire(env, &reason);
        if self.batch.is_empty() {
            return Step::Done;
        }
        match &mut self.phase {
            Phase::AwaitPeers => return Step::Continue,
            Phase::Read { ask, .. } | Phase::Write { ask, .. } => ask.on_tick(env),
            Phase::BackOff { until } if *until <= env.now.monotonic => {
                return self.begin(env, container);
            }
            Phase::BackOff { .. } => {}
        }
        self.advance(env, container)
    }

    /// When the round next needs a tick.
    pub fn next_wakeup(&self) -> Duration {
        let phase = match &self.phase {
            Phase::AwaitPeers => None,
            Phase::Read { ask, ballot, .. } => ask
                .next_wakeup()
                .into_iter()
                .chain(ballot.next_wakeup())
                .min(),
            Phase::Write { ask, ballot, .. } => ask
                .next_wakeup()
                .into_iter()
                .chain(ballot.next_wakeup())
                .min(),
            Phase::BackOff { until } => Some(*until),
        };
        phase
            .into_iter()
            .chain(self.batch.next_deadline())
            .min()
            .unwrap_or(Duration::MAX)
    }
}

#[derive(Clone, Debug, Default)]
struct Register {
    promised: Timestamp,
    accepted: Timestamp,
    /// None where nothing was accepted, or the disk has lost it.
    value: Option<StoredValue>,
    /// Everything above is durable once the log is durable up to here.
    lsn: Lsn,
}

/// A node's share of all objects of Alg. 2.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    objects: BTreeMap<Key, Register>,
}

impl Replica {
    /// How many objects of `container` are stored.
    pub fn object_count(&self, container: &Container) -> u64 {
        self.objects
            .keys()
            .filter(|key| key.container == container.id)
            .count() as u64
    }

    /// OR.
    pub fn on_read(
        &mut self,
        env: &mut Env,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        key: &Key,
        ots: Timestamp,
    ) {
        let object = self.objects.entry(key.clone()).or_default();
        if ots > object.promised {
            object.promised = ots;
            object.lsn = env.out.persist(Record::Promised {
                key: key.clone(),
                ts: ots,
            });
        }
        let (promised, ts) = (object.promised, object.accepted);
        let granted = ots == promised;
        let message = match object.value {
            Some(value) if granted => {
                let body = StoredBody::LanReadAck { promised, ts };
                let id = ValueId::version(key, ts);
                Message::stored(rpc, container.epoch, body, id, value)
            }
            lost => {
                let body = if granted && lost.is_none() && ts > Timestamp::ZERO {
                    let why = Refusal::ValueMissing {};
                    BulkBody::Refused { why }
                } else {
                    BulkBody::LanReadAck {
                        granted,
                        promised,
                        ts,
                        value: None,
                    }
                };
                let epoch = container.epoch;
                Message::Bulk(BulkMessage { rpc, epoch, body })
            }
        };
        env.out.send_when_durable(object.lsn, from, message);
    }

    /// OW.
    pub fn on_write(
        &mut self,
        env: &mut Env,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        key: &Key,
        (ots, value): (Timestamp, Value),
    ) {
        let object = self.objects.entry(key.clone()).or_default();
        if ots >= object.promised && object.accepted != ots {
            let id = |ts| ValueId::version(key, ts);
            if object.value.is_some() {
                env.out.release(id(object.accepted));
            }
            let value = env.out.store(id(ots), value);
            object.accepted = ots;
            object.promised = ots;
            object.value = Some(value);
            object.lsn = env.out.persist(Record::LanAccepted {
                key: key.clone(),
                ts: ots,
                value,
            });
        }
        let body = BulkBody::LanWriteAck {
            accepted: object.accepted == ots,
            promised: object.promised,
        };
        env.answer_bulk_when_durable(object.lsn, from, rpc, container.epoch, body);
    }

    /// Whether the accepted value is that of `ts`.
    pub fn holds(&self, key: &Key, ts: Timestamp) -> bool {
        let object = self.objects.get(key);
        object.is_some_and(|object| object.accepted == ts && object.value.is_some())
    }

    /// The values that are needed and that `is_stored` does not know.
    pub fn unstored(&self, is_stored: &dyn Fn(&ValueId) -> bool) -> Vec<ValueId> {
        let objects = self.objects.iter();
        let stored = objects.filter_map(|(key, object)| match object.value? {
            StoredValue::Bytes(_) => Some(ValueId::version(key, object.accepted)),
            StoredValue::Tombstone => None,
        });
        stored.filter(|id| !is_stored(id)).collect()
    }

    /// The disk has lost the value of `ts`: until the next is accepted, this replica
    /// can tell nobody what to build on.
    pub fn lose(&mut self, key: &Key, ts: Timestamp) {
        if let Some(object) = self.objects.get_mut(key)
            && object.accepted == ts
        {
            object.value = None;
        }
    }

    /// Takes over a durable promise.
    pub fn recover_promised(&mut self, key: Key, ts: Timestamp) {
        let object = self.objects.entry(key).or_default();
        object.promised = object.promised.max(ts);
    }

    /// Takes over a durable acceptance.
    pub fn recover_accepted(&mut self, key: Key, ts: Timestamp, value: StoredValue) {
        let object = self.objects.entry(key).or_default();
        if ts > object.accepted {
            object.accepted = ts;
            object.promised = object.promised.max(ts);
            object.value = Some(value);
        }
    }
}
