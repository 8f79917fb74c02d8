//! Requests of the priority class, each to the part of the node that serves it.

use super::Node;
use crate::cluster::{Container, Kind};
use crate::identity::NodeId;
use crate::key::Key;
use crate::local_set::LOCAL_SET_OPERATION;
#[cfg(feature = "sim")]
use crate::message::CopyTag;
use crate::message::{PriorityBody, PriorityMessage, Refusal, RpcId};
use crate::operation::Input;
use crate::outbox::Lsn;
use crate::repair::REPAIR_OPERATION;
use crate::timestamp::Timestamp;

impl Node {
    pub(super) fn on_priority(&mut self, from: NodeId, message: PriorityMessage) {
        let PriorityMessage { rpc, epoch, body } = message;
        match priority_key(&body) {
            None if rpc.operation == LOCAL_SET_OPERATION => {
                if rpc.incarnation == self.env.incarnation {
                    self.local.on_answer(&mut self.env, from, rpc, &body);
                }
            }
            None if rpc.operation == REPAIR_OPERATION => {
                if rpc.incarnation == self.env.incarnation {
                    self.repairs.on_answer(&mut self.env, rpc, &body);
                }
            }
            None => {
                let input = Input::Priority { from, rpc, body };
                self.coordinator.on_answer(&mut self.env, rpc, epoch, input);
            }
            Some(key) => {
                let key = key.clone();
                let served = self
                    .container_for(&key, epoch)
                    .and_then(|container| self.serve_priority(&container, from, rpc, body));
                if let Err(why) = served {
                    self.env
                        .send_priority(from, rpc, epoch, PriorityBody::Refused { why });
                }
            }
        }
    }

    fn serve_priority(
        &mut self,
        container: &Container,
        from: NodeId,
        rpc: RpcId,
        body: PriorityBody,
    ) -> Result<(), Refusal> {
        const VIVACE: &[Kind] = &[Kind::Rw, Kind::Rmw];
        let epoch = container.epoch;
        match body {
            PriorityBody::ReadTs { key } => {
                // ABD's replicas are asked too, for their clocks.
                self.as_replica(container, &[Kind::Rw, Kind::Rmw, Kind::Abd])?;
                self.answer_read_ts(container, from, rpc, &key);
            }
            PriorityBody::ReadTsAndData { key } => {
                self.as_replica(container, VIVACE)?;
                self.answer_read_ts(container, from, rpc, &key);
                self.send_newest(container, from, rpc, &key);
            }
            PriorityBody::WriteTs { key, ts } => {
                self.as_replica(container, &[Kind::Rw])?;
                self.refuse_future(container, ts)?;
                self.rw
                    .on_write_ts(&mut self.env, container, from, rpc, &key, ts);
            }
            PriorityBody::ReadData { key, at_least } => {
                self.refuse_future(container, at_least)?;
                if container.replicas.contains(&self.env.me)
                    && container.kind == Kind::Rw
                    && !self.env.cluster.is_one_place(container)
                    && !mutant!(self.env, BufferUnannounced)
                {
                    self.rw.learn(&mut self.env, &key, at_least);
                }
                self.answer_data(container, from, rpc, &key, at_least, Timestamp::MAX);
            }
            PriorityBody::AwaitValue { key, ts } => {
                self.as_replica(container, VIVACE)?;
                self.refuse_future(container, ts)?;
                if container.kind == Kind::Rmw {
                    // It is chosen, or nobody would wait for it: COMMIT may be lost.
                    self.rmw.on_commit(&mut self.env, &key, ts);
                }
                self.confirm(container, from, rpc, &key, ts);
            }
            PriorityBody::AskStored { key, ts } => {
                self.as_replica(container, VIVACE)?;
                let stored = match container.kind {
                    Kind::Rw | Kind::Abd => self.rw.find(&key, ts).map(|(_, _, lsn)| lsn),
                    Kind::Rmw | Kind::LanRmw => self.rmw.needs_not(&key, ts),
                };
                if let Some(lsn) = stored {
                    let body = PriorityBody::WriteRemoteAck { key, ts };
                    self.env.answer_when_durable(lsn, from, rpc, epoch, body);
                }
            }
            PriorityBody::OrderedReadTs { key, ots } => {
                self.as_replica(container, &[Kind::Rmw])?;
                self.refuse_future(container, ots)?;
                self.meet(&key, ots);
                self.rmw
                    .on_ordered_read_ts(&mut self.env, container, from, rpc, &key, ots);
            }
            PriorityBody::OrderedReadData {
                key,
                at_least,
                below,
            } => {
                self.answer_data(container, from, rpc, &key, at_least, below);
            }
            PriorityBody::OrderedWriteTs { key, ots } => {
                self.as_replica(container, &[Kind::Rmw])?;
                self.refuse_future(container, ots)?;
                self.meet(&key, ots);
                self.rmw
                    .on_ordered_write_ts(&mut self.env, container, from, rpc, &key, ots);
                self.serve_waiters(container, &key);
            }
            PriorityBody::Commit { key, ts } => {
                if container.kind == Kind::Rmw {
                    if container.replicas.contains(&self.env.me) {
                        self.rmw.on_commit(&mut self.env, &key, ts);
                    }
                    self.local.on_commit(&mut self.env, &key, ts);
                    self.serve_waiters(container, &key);
                    self.serve_rival(&key, ts);
                }
            }
            PriorityBody::Bind { key, write, ts } => {
                self.as_local(container, from)?;
                self.refuse_future(container, ts)?;
                if let Some(lsn) = self.local.on_bind(&mut self.env, &key, write, ts)? {
                    let body = PriorityBody::BindAck {};
                    self.env.answer_when_durable(lsn, from, rpc, epoch, body);
                    mutant!(self.env, LeaveAtOnce =>
                        self.local.leave_at_once(&mut self.env, container, &key, CopyTag::Bound(ts)));
                    self.serve_waiters(container, &key);
                }
            }
            PriorityBody::Abort { key, write } => {
                self.as_local(container, from)?;
                let (bound, lsn) = self.local.on_abort(&mut self.env, &key, write);
                let body = PriorityBody::AbortAck { bound };
                self.env.answer_when_durable(lsn, from, rpc, epoch, body);
            }
            PriorityBody::Go { key, ts } => {
                self.as_local(container, from)?;
                self.local.on_go(&mut self.env, container, &key, ts);
                self.serve_waiters(container, &key);
            }
            PriorityBody::Stable { key, ts } => {
                self.as_local(container, from)?;
                self.local.on_stable(&mut self.env, container, &key, ts);
            }
            PriorityBody::AskPropagation { key, ts } => {
                self.as_local(container, from)?;
                let state = self.local.propagation_of(&key, ts);
                let body = PriorityBody::PropagationIs { key, ts, state };
                self.env.send_priority(from, RpcId::NONE, epoch, body);
            }
            PriorityBody::PropagationIs { key, ts, state } => {
                self.as_local(container, from)?;
                self.local
                    .on_propagation_is(&mut self.env, container, &key, ts, &state);
            }
            PriorityBody::NoRoom { key, ts } => {
                self.local.propagator.on_no_room(&self.env, from, &key, ts);
            }
            PriorityBody::NeedValue { key, ts } => {
                self.local
                    .propagator
                    .on_need_value(&mut self.env, container, from, &key, ts);
            }
            PriorityBody::WriteRemoteAck { key, ts } => {
                if VIVACE.contains(&container.kind) && container.replicas.contains(&from) {
                    self.local
                        .on_write_remote_ack(&mut self.env, container, from, &key, ts);
                    if rpc != RpcId::NONE {
                        let body = PriorityBody::WriteRemoteAck { key, ts };
                        let input = Input::Priority { from, rpc, body };
                        self.coordinator.on_answer(&mut self.env, rpc, epoch, input);
                    }
                }
            }
            PriorityBody::ReadTsAck { .. }
            | PriorityBody::WriteTsAck { .. }
            | PriorityBody::WriteLocalAck { .. }
            | PriorityBody::BindAck { .. }
            | PriorityBody::AbortAck { .. }
            | PriorityBody::OrderedReadTsAck { .. }
            | PriorityBody::Gone { .. }
            | PriorityBody::OrderedWriteTsAck { .. }
            | PriorityBody::ValueHeld {}
            | PriorityBody::Refused { .. } => {
                unreachable!("priority_key names no key for an answer")
            }
        }
        Ok(())
    }
}

impl Node {
    fn answer_read_ts(&mut self, container: &Container, from: NodeId, rpc: RpcId, key: &Key) {
        match container.kind {
            Kind::Rw | Kind::Abd => {
                let copy = self.copy_of_newest(container, key);
                self.rw
                    .on_read_ts(&mut self.env, container, (from, rpc), key, copy);
            }
            Kind::Rmw | Kind::LanRmw => {
                self.rmw
                    .on_read_ts(&mut self.env, container, from, rpc, key);
            }
        }
    }

    /// Until when the log must be durable for this node to hold a local copy of what its
    /// replica only knows of, where writes are direct: a coordinator that is no replica
    /// stores such copies first.
    fn copy_of_newest(&self, container: &Container, key: &Key) -> Option<Lsn> {
        if !self.env.cluster.is_one_place(container) {
            return None;
        }
        let ts = self.rw.lacking(key)?;
        let copy = self.local.find_rw(key, ts)?;
        (copy.ts == ts).then_some(copy.lsn)
    }

    /// Another coordinator is at an object that this node changes, too.
    pub(super) fn meet(&mut self, key: &Key, ots: Timestamp) {
        let (node, now) = (ots.writer.node(), self.env.now.monotonic);
        let is_rival = node != self.env.me;
        if is_rival && (self.coordinator.has_round(key) || self.env.turns.are_taken_at(key)) {
            self.env.turns.meet(key, node, now);
        }
    }

    /// Another coordinator has had its turn.
    fn serve_rival(&mut self, key: &Key, chosen: Timestamp) {
        let (node, now) = (chosen.writer.node(), self.env.now.monotonic);
        if node != self.env.me {
            self.env.turns.serve(key, node, now);
            self.coordinator.on_commit(&mut self.env, key);
        }
    }
}

/// The object of a request; none for an answer.
fn priority_key(body: &PriorityBody) -> Option<&Key> {
    match body {
        PriorityBody::ReadTs { key }
        | PriorityBody::ReadTsAndData { key }
        | PriorityBody::WriteTs { key, .. }
        | PriorityBody::ReadData { key, .. }
        | PriorityBody::Bind { key, .. }
        | PriorityBody::Abort { key, .. }
        | PriorityBody::Go { key, .. }
        | PriorityBody::Stable { key, .. }
        | PriorityBody::AskPropagation { key, .. }
        | PriorityBody::PropagationIs { key, .. }
        | PriorityBody::WriteRemoteAck { key, .. }
        | PriorityBody::NoRoom { key, .. }
        | PriorityBody::NeedValue { key, .. }
        | PriorityBody::OrderedReadTs { key, .. }
        | PriorityBody::OrderedReadData { key, .. }
        | PriorityBody::OrderedWriteTs { key, .. }
        | PriorityBody::AwaitValue { key, .. }
        | PriorityBody::AskStored { key, .. }
        | PriorityBody::Commit { key, .. } => Some(key),
        PriorityBody::ReadTsAck { .. }
        | PriorityBody::WriteTsAck { .. }
        | PriorityBody::WriteLocalAck { .. }
        | PriorityBody::BindAck { .. }
        | PriorityBody::AbortAck { .. }
        | PriorityBody::OrderedReadTsAck { .. }
        | PriorityBody::Gone { .. }
        | PriorityBody::OrderedWriteTsAck { .. }
        | PriorityBody::ValueHeld {}
        | PriorityBody::Refused { .. } => None,
    }
}
