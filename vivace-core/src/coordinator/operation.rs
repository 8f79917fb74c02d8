//! Operations of every kind, driven alike.

use std::time::Duration;

use crate::abd;
use crate::batch::{Pending, Wish};
use crate::cluster::Container;
use crate::copy::CopyObject;
use crate::env::Env;
use crate::holders::Settle;
use crate::key::Key;
use crate::lan_rmw;
use crate::listing::ListObjects;
use crate::lost::{AcceptLoss, FindLost, LossStep};
use crate::message::WriteId;
use crate::operation::{Input, Step};
use crate::vivace_rmw::{self, ReadStep};
use crate::vivace_rw;

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Read(vivace_rw::Read),
    Write(vivace_rw::Write),
    Abd(abd::Operation),
    ReadState(vivace_rmw::Read),
    Execute(vivace_rmw::Execute),
    LanExecute(lan_rmw::Execute),
    Settle(Settle),
    FindLost(FindLost),
    AcceptLoss(AcceptLoss),
    ListObjects(ListObjects),
    CopyObject(CopyObject),
}

/// What becomes of an operation after a step.
pub(super) enum Outcome {
    Continue,
    Done,
    NeedsRound,
    Becomes(Box<Operation>),
    Enqueue(Key, Pending),
}

impl From<Step> for Outcome {
    fn from(step: Step) -> Self {
        match step {
            Step::Continue => Self::Continue,
            Step::Done => Self::Done,
        }
    }
}

impl From<LossStep> for Outcome {
    fn from(step: LossStep) -> Self {
        match step {
            LossStep::Continue => Self::Continue,
            LossStep::Done => Self::Done,
            LossStep::Write {
                ticket,
                key,
                value,
                ts,
            } => {
                // Bound to its timestamp from the start: the write's own id names nothing.
                let write = WriteId {
                    node: ts.writer.node(),
                    incarnation: ts.writer.incarnation(),
                    number: 0,
                };
                let write = vivace_rw::Write::restore(ticket, key, value, write, ts);
                Self::Becomes(Box::new(Operation::Write(write)))
            }
            LossStep::Round {
                ticket,
                key,
                lost,
                best,
            } => {
                let wish = Wish::AcceptLoss { lost, best };
                Self::Enqueue(key, Pending::new(ticket.request, ticket.deadline, wish))
            }
        }
    }
}

impl Operation {
    pub fn step(&mut self, env: &mut Env, container: &Container, input: Input) -> Outcome {
        match self {
            Self::Read(read) => read.step(env, container, input).into(),
            Self::Write(write) => write.step(env, container, input).into(),
            Self::Abd(operation) => operation.step(env, container, input).into(),
            Self::Execute(execute) => execute.step(env, container, input).into(),
            Self::LanExecute(execute) => execute.step(env, container, input).into(),
            Self::Settle(settle) => settle.step(env, container, input).into(),
            Self::FindLost(find) => find.step(env, container, input).into(),
            Self::AcceptLoss(accept) => accept.step(env, container, input).into(),
            Self::ListObjects(list) => list.step(env, container, input).into(),
            Self::CopyObject(copy) => copy.step(env, container, input).into(),
            Self::ReadState(read) => match read.step(env, container, input) {
                ReadStep::Continue => Outcome::Continue,
                ReadStep::Done => Outcome::Done,
                ReadStep::NeedsRound => Outcome::NeedsRound,
            },
        }
    }

    /// Whether a read asks the replica in this site for timestamp and value at once.
    pub fn ask_together(&mut self, together: bool) {
        match self {
            Self::Read(read) => read.ask_together(together),
            Self::ReadState(read) => read.ask_together(together),
            Self::Write(_)
            | Self::Abd(_)
            | Self::Execute(_)
            | Self::LanExecute(_)
            | Self::Settle(_)
            | Self::FindLost(_)
            | Self::AcceptLoss(_)
            | Self::ListObjects(_)
            | Self::CopyObject(_) => {}
        }
    }

    /// Whether a read has just found that replica behind the others, or not.
    pub fn take_finding(&mut self) -> Option<bool> {
        match self {
            Self::Read(read) => read.take_finding(),
            Self::ReadState(read) => read.take_finding(),
            Self::Write(_)
            | Self::Abd(_)
            | Self::Execute(_)
            | Self::LanExecute(_)
            | Self::Settle(_)
            | Self::FindLost(_)
            | Self::AcceptLoss(_)
            | Self::ListObjects(_)
            | Self::CopyObject(_) => None,
        }
    }

    pub fn next_wakeup(&self) -> Duration {
        match self {
            Self::Read(read) => read.next_wakeup(),
            Self::Write(write) => write.next_wakeup(),
            Self::Abd(operation) => operation.next_wakeup(),
            Self::ReadState(read) => read.next_wakeup(),
            Self::Execute(execute) => execute.next_wakeup(),
            Self::LanExecute(execute) => execute.next_wakeup(),
            Self::Settle(settle) => settle.next_wakeup(),
            Self::FindLost(find) => find.next_wakeup(),
            Self::AcceptLoss(accept) => accept.next_wakeup(),
            Self::ListObjects(list) => list.next_wakeup(),
            Self::CopyObject(copy) => copy.next_wakeup(),
        }
    }
}
