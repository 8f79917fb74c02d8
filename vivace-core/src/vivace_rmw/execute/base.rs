//! The version that a round builds on, and what it builds.

use super::{Execute, Phase, Promise, Recheck};
use crate::call::Call;
use crate::client_protocol::Failure;
use crate::cluster::Container;
use crate::env::Env;
use crate::fetch::Fetch;
use crate::identity::NodeId;
use crate::machine::object::Object;
use crate::message::{PriorityBody, RpcId};
use crate::operation::Step;
use crate::outbox::Lsn;
use crate::round::Ballot;
use crate::timestamp::Timestamp;
use crate::value::Value;

impl Execute {
    pub(super) fn fetch_base(&mut self, env: &mut Env, container: &Container) -> Step {
        let Phase::Promise { ots, ballot, .. } = &self.phase else {
            return Step::Continue;
        };
        let ots = *ots;
        let promises = ballot.answers();
        let mts = largest_accepted(promises);
        let held_by_majority = ballot.majority_that(|promise| promise.accepted == mts)
            || promises.iter().any(|(_, promise)| promise.chosen == mts)
            || mutant!(env, ReadUnsettled);
        if mts == Timestamp::ZERO {
            self.batch.refuse_loss(env);
            return self.build(env, container, ots, None, held_by_majority);
        }
        let mut accepts_loss = false;
        let mut base = mts;
        if let Some((lost, best)) = self.batch.given_up() {
            if lost == mts {
                (accepts_loss, base) = (true, best);
            } else {
                self.batch.refuse_loss(env);
            }
        }
        if base == Timestamp::ZERO {
            let changed = self.batch.apply(env, None);
            return self.store(env, container, (ots, Lsn::default()), None, changed);
        }
        let accepted = mts;
        let (mts, held_by_majority) = (base, held_by_majority && !accepts_loss);
        if let Some(base) = self.base.take_if(|(ts, _)| *ts == mts) {
            return self.build(env, container, ots, Some(base), held_by_majority);
        }
        let holders: Vec<NodeId> = promises
            .iter()
            .filter(|(_, promise)| promise.accepted == mts && promise.has)
            .map(|(node, _)| *node)
            .collect();
        let rpc = self.calls.next_rpc();
        let body = PriorityBody::OrderedReadData {
            key: self.key.clone(),
            at_least: mts,
            below: ots,
        };
        let fetch = Fetch::start(env, container, rpc, &holders, mts, body);
        self.phase = Phase::FetchBase {
            ots,
            accepted,
            mts,
            held_by_majority,
            fetch,
            recheck: None,
        };
        Step::Continue
    }

    pub(super) fn ask_promises_again(
        &mut self,
        env: &mut Env,
        container: &Container,
        ots: Timestamp,
    ) {
        env.counters
            .count("rechecked: promises whose base does not come");
        let rpc = self.calls.next_rpc();
        let body = PriorityBody::OrderedReadTs {
            key: self.key.clone(),
            ots,
        };
        let ask = Call::priority(env, container, rpc, &container.replicas, body);
        if let Phase::FetchBase { recheck, .. } = &mut self.phase {
            let ballot = Ballot::new(env, container.replicas.len());
            *recheck = Some(Recheck { ask, ballot });
        }
    }

    /// A majority promises anew. What none of them has accepted can't have been chosen and
    /// never will be: it need not be built on, for whoever told of it may be lost with it.
    /// Nothing was asked to be accepted under this round's timestamp yet, so its base may
    /// follow from any majority's promises.
    pub(super) fn use_new_promises(&mut self, env: &mut Env, container: &Container) -> Step {
        let Phase::FetchBase {
            ots,
            accepted,
            recheck,
            ..
        } = &mut self.phase
        else {
            return Step::Continue;
        };
        let Some(Recheck { ask, ballot }) = recheck.take() else {
            return Step::Continue;
        };
        if largest_accepted(ballot.answers()) == *accepted {
            // The base is late, and no more.
            return Step::Continue;
        }
        env.counters
            .count("adopted anew: another base, by promises of others");
        let ots = *ots;
        self.phase = Phase::Promise { ots, ask, ballot };
        self.fetch_base(env, container)
    }

    pub(super) fn on_base(
        &mut self,
        env: &mut Env,
        container: &Container,
        answered: RpcId,
        ts: Timestamp,
        value: Value,
    ) -> Step {
        let Phase::FetchBase {
            ots,
            mts,
            held_by_majority,
            fetch,
            ..
        } = &self.phase
        else {
            return Step::Continue;
        };
        let fits = (*mts..*ots).contains(&ts) || mutant!(env, BuildOnAnyVersion);
        if fetch.rpc() != answered || !fits {
            return Step::Continue;
        }
        let (ots, current) = (*ots, *held_by_majority && ts == *mts);
        let object = match &value {
            Value::Bytes(bytes) => Object::decode(bytes),
            // An operator gave up all there was.
            Value::Tombstone => return self.build(env, container, ots, None, current),
        };
        match object {
            Ok(object) => self.build(env, container, ots, Some((ts, object)), current),
            Err(error) => self.corrupt(env, &error.to_string()),
        }
    }

    fn corrupt(&mut self, env: &mut Env, what: &str) -> Step {
        let failure = Failure::Invalid {
            field: "key".into(),
            reason: format!("the stored value is no RMW object: {what}"),
        };
        self.batch.fail(env, &failure);
        Step::Done
    }

    /// `current`: the base is the newest accepted version and a majority holds it.
    fn build(
        &mut self,
        env: &mut Env,
        container: &Container,
        ots: Timestamp,
        base: Option<(Timestamp, Object)>,
        current: bool,
    ) -> Step {
        let (base_ts, base) = base.unzip();
        let changed = self.batch.apply(env, base.as_ref());
        let object = match (changed, base) {
            (None, _) if current => {
                let ts = base_ts.unwrap_or_default();
                self.batch.succeed_unchanged(env, &self.key, ts);
                self.contention.won();
                return self.begin(env, container);
            }
            (Some(object), _) | (None, Some(object)) => object,
            (None, None) => {
                // Never written, and a majority says so: there is nothing to complete.
                self.batch
                    .succeed_unchanged(env, &self.key, Timestamp::ZERO);
                return self.begin(env, container);
            }
        };
        self.store(env, container, (ots, Lsn::default()), base_ts, Some(object))
    }
}

fn largest_accepted(promises: &[(NodeId, Promise)]) -> Timestamp {
    let accepted = promises.iter().map(|(_, promise)| promise.accepted);
    accepted.max().unwrap_or_default()
}
