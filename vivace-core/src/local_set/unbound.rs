//! Values that have no timestamp yet (query mode): BIND gives them one, ABORT gives
//! them up (mend 6).

use super::{LocalCopy, LocalSet, PATIENCE, SWEEP_INTERVAL, UnboundCopy, release};
use crate::call::Call;
use crate::cluster::Container;
use crate::env::Env;
use crate::identity::NodeId;
use crate::key::Key;
use crate::message::{CopyTag, PriorityBody, Refusal, RpcId, WriteId};
use crate::outbox::Lsn;
use crate::quorum::{Tally, Votes};
use crate::record::Record;
use crate::timestamp::Timestamp;

impl LocalSet {
    pub(super) fn take_unbound(&mut self, key: &Key, write: WriteId) -> Option<UnboundCopy> {
        let copy = self.unbound.remove(&(key.clone(), write))?;
        self.copy_bytes -= copy.value.bytes();
        Some(copy)
    }

    pub(super) fn bound_to(&self, key: &Key, write: WriteId) -> Option<(Timestamp, Lsn)> {
        let versions = self.copies.get(key)?;
        versions
            .iter()
            .find(|(_, c)| c.write == Some(write))
            .map(|(&ts, c)| (ts, c.lsn))
    }

    /// BIND: the unbound copy gets its timestamp, durably (mend 6). None where the
    /// copy has not arrived yet: the coordinator asks again. Where a newer version is
    /// stable, the copy was bound and dropped, or need not be kept any more.
    ///
    /// # Errors
    /// [`Refusal::NotBindable`] where the write was aborted or has another timestamp.
    pub fn on_bind(
        &mut self,
        env: &mut Env,
        key: &Key,
        write: WriteId,
        ts: Timestamp,
    ) -> Result<Option<Lsn>, Refusal> {
        if let Some((bound, lsn)) = self.bound_to(key, write) {
            return if bound == ts {
                Ok(Some(lsn))
            } else {
                Err(Refusal::NotBindable {})
            };
        }
        let coordinator = (write.node, write.incarnation);
        if self
            .aborted
            .get(&coordinator)
            .is_some_and(|a| a.contains(write.number))
        {
            env.counters.count("refused: BIND of an aborted write");
            return Err(Refusal::NotBindable {});
        }
        let copied = self.copies.get(key).and_then(|copies| copies.get(&ts));
        let copied = copied.map(|copy| copy.lsn);
        match self.bind(env, key, write, ts) {
            // A sibling that looks after the value brought it, with its timestamp.
            None if copied.is_some() => Ok(copied),
            None if self.propagator.stable.contains(key, ts) => Ok(Some(Lsn::default())),
            bound => Ok(bound),
        }
    }

    pub(super) fn bind(
        &mut self,
        env: &mut Env,
        key: &Key,
        write: WriteId,
        ts: Timestamp,
    ) -> Option<Lsn> {
        let unbound = self.take_unbound(key, write)?;
        let lsn = env.out.persist(Record::LocalBound {
            key: key.clone(),
            write,
            ts,
        });
        let copy = LocalCopy {
            value: unbound.value,
            write: Some(write),
            safe: false,
            stable: false,
            lsn,
            is_record: false,
            propagator: unbound.propagator,
            check_at: env.now.monotonic + PATIENCE,
            takeover: None,
        };
        self.insert_bound(env, key, ts, copy);
        Some(lsn)
    }

    /// ABORT: refuses a later BIND, durably, or names the timestamp of an earlier
    /// one. The copy itself goes when a majority of the local set has said so, whom this
    /// member asks at its next look.
    pub fn on_abort(
        &mut self,
        env: &mut Env,
        key: &Key,
        write: WriteId,
    ) -> (Option<Timestamp>, Lsn) {
        if let Some((ts, lsn)) = self.bound_to(key, write) {
            return (Some(ts), lsn);
        }
        let aborted = self
            .aborted
            .entry((write.node, write.incarnation))
            .or_default();
        if !aborted.contains(write.number) {
            aborted.insert(write.number);
            let key = key.clone();
            aborted.lsn = env.out.persist(Record::LocalAborted { key, write });
        }
        let lsn = aborted.lsn;
        if let Some(copy) = self.unbound.get_mut(&(key.clone(), write)) {
            copy.check_at = env.now.monotonic;
            self.wake_at(env.now.monotonic + SWEEP_INTERVAL);
        }
        (None, lsn)
    }

    /// Gives an unbound copy up, with a majority of the local set.
    pub(super) fn abort(
        &mut self,
        env: &mut Env,
        container: &Container,
        key: &Key,
        write: WriteId,
    ) {
        let rpc = self.next_rpc(env);
        let Some(copy) = self.unbound.get_mut(&(key.clone(), write)) else {
            return;
        };
        if copy.abort.is_some() || mutant!(env, LeaveOrphans) {
            return;
        }
        env.counters.count("aborted: a value without a timestamp");
        let members = container.local_set(env.site);
        let body = PriorityBody::Abort {
            key: key.clone(),
            write,
        };
        let call = Call::priority(env, container, rpc, members, body);
        copy.abort = Some((call, Votes::new(members.len())));
    }

    pub(super) fn on_abort_ack(
        &mut self,
        env: &mut Env,
        from: NodeId,
        rpc: RpcId,
        bound: Option<Timestamp>,
    ) {
        let Some((id, copy)) = self
            .unbound
            .iter_mut()
            .find(|(_, copy)| copy.abort.as_ref().is_some_and(|(call, _)| call.rpc == rpc))
        else {
            return;
        };
        let id = id.clone();
        let (key, write) = id.clone();
        if let Some((call, votes)) = &mut copy.abort {
            call.answered(from);
            votes.yes(from, bound);
            let known = votes.answers().iter().find_map(|(_, bound)| *bound);
            let reached = votes.tally() == Tally::Reached;
            if let Some(ts) = known {
                self.bind(env, &key, write, ts);
            } else if reached {
                self.take_unbound(&key, write);
                release(env, &key, CopyTag::Unbound(write));
                env.out.persist(Record::LocalGivenUp { key, write });
            }
        }
    }
}
