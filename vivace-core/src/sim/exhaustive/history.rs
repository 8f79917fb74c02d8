//! What the clients of a small cluster did so far, and what they heard.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::model::{CONTAINER, Step, Wish};
use crate::client_protocol::{ClientReply, Failure, Request, SessionId, Success};
use crate::machine::StateMachine;
use crate::machine::builtin::{Counter, counter};
use crate::sim::history::{Answer, Ask, Entry, Moment};
use crate::sim::machine_checker::check_machine;
use crate::sim::register_checker::check_register;
use crate::{KeyName, NodeId, Timestamp, Value, codec};

/// How an operation stands.
#[derive(Clone, Debug)]
enum Progress {
    NotBegun,
    UnderWay,
    Ended(Answer),
    /// Its coordinator crashed first.
    Lost,
}

#[derive(Clone, Debug)]
struct Operation {
    step: Step,
    progress: Progress,
    begun: Moment,
    ended: Moment,
    /// Those that had ended when this began, as bits: all of the order of moments that
    /// linearizability asks for.
    before: u64,
}

/// All operations of a model.
#[derive(Clone, Debug)]
pub struct Operations {
    all: Vec<Operation>,
    moment: Moment,
}

impl Operations {
    pub fn new(steps: &[Step]) -> Self {
        let waiting = |&step: &Step| Operation {
            step,
            progress: Progress::NotBegun,
            begun: 0,
            ended: 0,
            before: 0,
        };
        Self {
            all: steps.iter().map(waiting).collect(),
            moment: 0,
        }
    }

    /// Which may begin now, as far as their clients are concerned.
    pub fn ready(&self) -> impl Iterator<Item = (usize, NodeId)> {
        let has_ended = |&step: &usize| self.all[step].has_ended();
        let ready = move |operation: &Operation| {
            matches!(operation.progress, Progress::NotBegun)
                && operation.step.after.iter().all(has_ended)
        };
        let numbered = self.all.iter().enumerate();
        numbered
            .filter(move |(_, operation)| ready(operation))
            .map(|(number, operation)| (number, operation.step.node))
    }

    /// Whether one is under way.
    pub fn any_under_way(&self) -> bool {
        self.all
            .iter()
            .any(|operation| matches!(operation.progress, Progress::UnderWay))
    }

    /// Whether all have ended, with a result or without.
    pub fn all_ended(&self) -> bool {
        self.all.iter().all(Operation::has_ended)
    }

    pub fn begin(&mut self, number: usize) {
        self.moment += 1;
        let before = (0..self.all.len())
            .filter(|&other| matches!(self.all[other].progress, Progress::Ended(_)))
            .fold(0, |bits, other| bits | 1 << other);
        let operation = &mut self.all[number];
        operation.begun = self.moment;
        operation.before = before;
        operation.progress = Progress::UnderWay;
    }

    /// The coordinator crashed: its clients hear nothing.
    pub fn lose(&mut self, node: NodeId) {
        for operation in &mut self.all {
            if operation.step.node == node && matches!(operation.progress, Progress::UnderWay) {
                operation.progress = Progress::Lost;
            }
        }
    }

    /// # Errors
    /// What the answer contradicts.
    pub fn answer(
        &mut self,
        number: usize,
        reply: &ClientReply,
        may_fail: bool,
    ) -> Result<(), String> {
        self.moment += 1;
        let moment = self.moment;
        let operation = &mut self.all[number];
        if !matches!(operation.progress, Progress::UnderWay) {
            return Err(format!("operation {number} is answered twice: {reply:?}"));
        }
        let answer = match (operation.step.wish, reply) {
            (_, Ok(success)) => answer(success),
            (_, Err(Failure::Unavailable { .. })) if may_fail => Answer::NotApplied,
            (_, Err(Failure::Unknown { .. })) if may_fail => Answer::Unknown,
            (wish, Err(failure)) => {
                return Err(format!(
                    "stuck: operation {number}, {wish:?} at {}, ends without a result although a \
                     majority is up: {failure}",
                    operation.step.node
                ));
            }
        };
        operation.ended = moment;
        operation.progress = Progress::Ended(answer);
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        let begun = self
            .all
            .iter()
            .filter(|operation| !matches!(operation.progress, Progress::NotBegun));
        let entries: Vec<Entry> = begun.map(Operation::entry).collect();
        let checked = match self.all[0].step.wish {
            Wish::Read | Wish::Write(_) => check_register(&entries),
            Wish::Add(_) | Wish::ReadState => check_machine(&entries),
        };
        checked.map_err(|why| {
            let lines: Vec<String> = entries.iter().map(|e| format!("  {e:?}")).collect();
            format!("not linearizable: {why}\n{}", lines.join("\n"))
        })
    }

    /// Tells whether two are the same for all that may follow.
    pub fn digest(&self) -> u64 {
        let mut digest = DefaultHasher::new();
        for operation in &self.all {
            operation.before.hash(&mut digest);
            std::mem::discriminant(&operation.progress).hash(&mut digest);
            if let Progress::Ended(answer) = &operation.progress {
                format!("{answer:?}").hash(&mut digest);
            }
        }
        digest.finish()
    }
}

impl Operation {
    fn has_ended(&self) -> bool {
        matches!(self.progress, Progress::Ended(_) | Progress::Lost)
    }

    fn entry(&self) -> Entry {
        let answer = match &self.progress {
            Progress::Ended(answer) => answer.clone(),
            Progress::NotBegun | Progress::UnderWay | Progress::Lost => Answer::Unknown,
        };
        Entry {
            invoked: self.begun,
            returned: (answer != Answer::Unknown).then_some(self.ended),
            ask: match self.step.wish {
                Wish::Read => Ask::Read,
                Wish::Write(value) => Ask::Write(value),
                Wish::Add(amount) => Ask::Execute {
                    machine: Counter::NAME,
                    command: codec::encode(&counter::Command::Add(amount)).into(),
                },
                Wish::ReadState => Ask::ReadState,
            },
            answer,
        }
    }
}

/// What a client asks for that wishes so.
pub fn request(number: usize, wish: Wish) -> Request {
    let container = CONTAINER.to_owned();
    let key = KeyName::new(b"k").expect("a key of one byte is valid");
    match wish {
        Wish::Read => Request::Read { container, key },
        Wish::Write(value) => Request::Write {
            container,
            key,
            value: Value::Bytes(value.to_be_bytes().to_vec().into()),
            durability: None,
        },
        Wish::Add(amount) => Request::Execute {
            container,
            key,
            machine: Counter::NAME.into(),
            session: SessionId(Timestamp {
                time: number as u64 + 1,
                ..Timestamp::ZERO
            }),
            sequence: 1,
            repeated: false,
            command: codec::encode(&counter::Command::Add(amount)).into(),
            durability: None,
        },
        Wish::ReadState => Request::ReadState {
            container,
            key,
            machine: Counter::NAME.into(),
        },
    }
}

fn answer(success: &Success) -> Answer {
    match success {
        Success::Value { ts, value } => {
            let bytes = <[u8; 8]>::try_from(&value.0[..]).expect("values are 8 bytes");
            Answer::Value(Some((u64::from_be_bytes(bytes), *ts)))
        }
        Success::NotFound => Answer::Value(None),
        Success::Written { ts } => Answer::Written(*ts),
        Success::Executed { output } => Answer::Executed(Ok(output.clone())),
        Success::State { state } => Answer::State(state.clone()),
        Success::Session(_)
        | Success::Status(_)
        | Success::Lost { .. }
        | Success::LossAccepted
        | Success::Objects { .. }
        | Success::Copied { .. }
        | Success::Restored => {
            panic!("nobody asked for {success:?}")
        }
    }
}
