//! R-DATA and OR-DATA: answered now, or when the value is here.

use super::Node;
use crate::cluster::{Container, Kind};
use crate::data_waiters::Wanted;
use crate::identity::NodeId;
use crate::key::Key;
use crate::local_set::Found;
use crate::message::{PriorityBody, RpcId};
use crate::outbox::Message;
use crate::stored::{StoredBody, ValueId};
use crate::timestamp::Timestamp;

impl Node {
    fn find_data(
        &self,
        container: &Container,
        key: &Key,
        at_least: Timestamp,
        below: Timestamp,
    ) -> Option<Found> {
        match container.kind {
            Kind::Rw | Kind::Abd => {
                mutant!(self.env, AnswerUnsafeCopy => return self.find_unsafe(key, at_least));
                let complete = self.rw.find(key, at_least).map(Found::version);
                complete.or_else(|| self.local.find_rw(key, at_least))
            }
            Kind::Rmw | Kind::LanRmw => {
                mutant!(self.env, HideUnaccepted => return self.find_accepted(key, at_least, below));
                mutant!(self.env, BuildOnAnyVersion =>
                    return self.rmw.find_newest(key).map(Found::version));
                let version = self.rmw.find(key, at_least, below).map(Found::version);
                version.or_else(|| self.local.find_rmw(key, at_least, below))
            }
        }
    }

    /// R-DATA along with R-TS: sends the version of the timestamp that was told, where it
    /// is here. An older one would answer nobody who has heard of that timestamp.
    pub(super) fn send_newest(
        &mut self,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        key: &Key,
    ) {
        let (newest, is_exact) = match container.kind {
            Kind::Rw | Kind::Abd => (self.rw.newest(key), false),
            Kind::Rmw | Kind::LanRmw => (self.rmw.newest(key), true),
        };
        if let Some(found) = newest.map(Found::version) {
            let below = match is_exact {
                true => found.ts.successor(),
                false => Timestamp::MAX,
            };
            self.send_data(container, from, rpc, key, (found.ts, below), found);
        }
    }

    fn send_data(
        &mut self,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        key: &Key,
        (at_least, below): (Timestamp, Timestamp),
        found: Found,
    ) {
        let body = StoredBody::Data {
            ts: found.ts,
            at_least,
            below,
        };
        let id = ValueId {
            key: key.clone(),
            tag: found.tag,
        };
        let message = Message::stored(rpc, container.epoch, body, id, found.value);
        self.env.out.send_when_durable(found.lsn, from, message);
    }

    /// R-DATA, OR-DATA: answers now, or when the value is here.
    pub(super) fn answer_data(
        &mut self,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        key: &Key,
        at_least: Timestamp,
        below: Timestamp,
    ) {
        if !self.try_answer_data(container, from, rpc, key, at_least, below) {
            let now = self.env.now.monotonic;
            if !self
                .waiters
                .add(now, key, (from, rpc), (at_least, below), Wanted::Value)
            {
                self.env
                    .counters
                    .count("dropped: a question for a value, for room");
            }
        }
    }

    fn try_answer_data(
        &mut self,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        key: &Key,
        at_least: Timestamp,
        below: Timestamp,
    ) -> bool {
        let epoch = container.epoch;
        if let Some(found) = self.find_data(container, key, at_least, below) {
            self.send_data(container, from, rpc, key, (at_least, below), found);
            return true;
        }
        if let Some(chosen) = self.rmw.gone(key, below)
            && !mutant!(self.env, WaitForHistory)
        {
            self.env
                .counters
                .count("gone: a version asked for after a newer one was chosen");
            self.env
                .send_priority(from, rpc, epoch, PriorityBody::Gone { chosen });
            return true;
        }
        false
    }

    /// AwaitValue: answers now, or when the value is here.
    pub(super) fn confirm(
        &mut self,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        key: &Key,
        ts: Timestamp,
    ) {
        if !self.try_confirm(container, from, rpc, key, ts) {
            let (now, range) = (self.env.now.monotonic, (ts, Timestamp::MAX));
            self.repairs.expect(&self.env, key, ts);
            if !self.waiters.add(now, key, (from, rpc), range, Wanted::News) {
                self.env
                    .counters
                    .count("dropped: a question for a value, for room");
            }
        }
    }

    /// Only what this replica stores for good counts, and not a local copy.
    fn try_confirm(
        &mut self,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        key: &Key,
        ts: Timestamp,
    ) -> bool {
        let held = match container.kind {
            Kind::Rw | Kind::Abd => self.rw.find(key, ts).map(|(_, _, lsn)| lsn),
            Kind::Rmw | Kind::LanRmw => self.rmw.held(key, ts),
        };
        let Some(lsn) = held else {
            return false;
        };
        let body = PriorityBody::ValueHeld {};
        self.env
            .answer_when_durable(lsn, from, rpc, container.epoch, body);
        true
    }

    /// Answers the questions that a change of `key` made answerable.
    pub(super) fn serve_waiters(&mut self, container: &Container, key: &Key) {
        let mut waiters = self.waiters.take(key);
        waiters.retain(|w| !match w.wants {
            Wanted::Value => {
                self.try_answer_data(container, w.from, w.rpc, key, w.at_least, w.below)
            }
            Wanted::News => self.try_confirm(container, w.from, w.rpc, key, w.at_least),
        });
        self.waiters.put_back(key.clone(), waiters);
    }
}
