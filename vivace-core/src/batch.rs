//! Commands waiting for one RMW object at one coordinator. Those that wait when a
//! round learns the object's value share that round.

use std::collections::VecDeque;
use std::time::Duration;

use crate::client_protocol::{ClientReply, Failure, Success};
use crate::durability::Durability;
use crate::env::Env;
use crate::event::RequestId;
use crate::holders::Settling;
use crate::key::Key;
use crate::machine::object::{Command, Object};
use crate::operation::{unavailable, unknown};
use crate::timestamp::Timestamp;
use crate::vivace_rmw::Extent;

/// Commands that may wait for one object at one coordinator.
pub const WAITING_MAX: usize = 4096;

/// What a client waits for.
#[derive(Clone, Debug)]
pub enum Wish {
    /// A command's result.
    Execute(Command),
    /// What it is.
    Read(Extent),
    /// To be what a backup holds, where it does not exist.
    Restore(Box<Object>),
    /// To build on the best version that is left, the newest being lost.
    AcceptLoss {
        /// The newest.
        lost: Timestamp,
        /// The best that is left; zero where there is none.
        best: Timestamp,
    },
}

/// One waiting client.
#[derive(Clone, Debug)]
pub struct Pending {
    /// What the answer will carry.
    pub request: RequestId,
    /// When to answer at the latest (monotonic time).
    pub deadline: Duration,
    /// What it asks for.
    pub wish: Wish,
    durability: Durability,
    /// Whether a version with its effect has left this node.
    exposed: bool,
    /// Whether it waited already when the round under way began.
    early: bool,
}

impl Pending {
    /// A client that has just asked.
    pub fn new(request: RequestId, deadline: Duration, wish: Wish) -> Self {
        Self {
            request,
            deadline,
            wish,
            durability: Durability::Local,
            exposed: false,
            early: false,
        }
    }

    /// The same, whose effect must be durable at this level before the answer.
    #[must_use]
    pub fn durable(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The version `ts` of `key` has this one's effect, and is chosen: answers, or has
    /// the client wait until enough replicas hold it.
    fn answer(self, env: &mut Env, key: &Key, ts: Timestamp, reply: ClientReply) {
        match reply {
            Ok(success) if self.durability > Durability::Local && ts > Timestamp::ZERO => {
                env.settling.push(Settling {
                    container: key.container,
                    key: key.clone(),
                    ts,
                    request: self.request,
                    deadline: self.deadline,
                    success,
                    durability: self.durability,
                });
            }
            reply => env.reply(self.request, reply),
        }
    }

    /// What surely was not applied by this round may have been by an earlier one.
    fn soften(&self, reply: ClientReply) -> ClientReply {
        match reply {
            Err(failure @ Failure::Invalid { .. }) if self.exposed => Err(unknown(format!(
                "an earlier round may have applied it; now {failure}"
            ))),
            reply => reply,
        }
    }

    fn give_up(self, env: &mut Env, reason: &str) {
        let failure = match self.wish {
            Wish::Execute(_) | Wish::Restore(_) if self.exposed => unknown(reason),
            Wish::AcceptLoss { .. } => unknown(reason),
            Wish::Execute(_) | Wish::Restore(_) | Wish::Read(_) => unavailable(reason),
        };
        env.reply(self.request, Err(failure));
    }
}

/// The clients of one object.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    waiting: VecDeque<Pending>,
    round: Vec<(Pending, ClientReply)>,
    /// What changed the object in this round; none where more than commands did.
    commands: Option<Vec<Command>>,
}

impl Batch {
    /// Adds a client.
    ///
    /// # Errors
    /// Gives it back where [`WAITING_MAX`] wait already.
    pub fn push(&mut self, pending: Pending) -> Result<(), Pending> {
        if self.waiting.len() + self.round.len() >= WAITING_MAX {
            return Err(pending);
        }
        self.waiting.push_back(pending);
        Ok(())
    }

    /// The version that an operator gives up, and what is left.
    pub fn given_up(&self) -> Option<(Timestamp, Timestamp)> {
        self.waiting.iter().find_map(|pending| match pending.wish {
            Wish::AcceptLoss { lost, best } => Some((lost, best)),
            Wish::Execute(_) | Wish::Restore(_) | Wish::Read(_) => None,
        })
    }

    /// There is a newer version than the one to be given up, or it is another.
    pub fn refuse_loss(&mut self, env: &mut Env) {
        let (losses, waiting): (Vec<_>, Vec<_>) = self
            .waiting
            .drain(..)
            .partition(|pending| matches!(pending.wish, Wish::AcceptLoss { .. }));
        self.waiting = waiting.into();
        for pending in losses {
            let reason = "another version is the newest by now".into();
            env.reply(pending.request, Err(Failure::Conflict { reason }));
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.round.is_empty()
    }

    /// A round begins: what waits now may be answered from the version that it finds.
    pub fn begin_round(&mut self) {
        for pending in &mut self.waiting {
            pending.early = true;
        }
    }

    /// Applies all that waits to `base`, in order of arrival. Returns the new object
    /// where anything changed; the answers are kept until the round's outcome is known.
    pub fn apply(&mut self, env: &mut Env, base: Option<&Object>) -> Option<Object> {
        let mut changed: Option<Object> = None;
        let mut commands = Some(Vec::new());
        for pending in self.waiting.drain(..) {
            let current = changed.as_ref().or(base);
            let reply = match &pending.wish {
                Wish::Read(extent) => extent.of(current),
                Wish::Restore(object) => match current {
                    // A try of this very wish, or of one before, took effect.
                    Some(current) if *current == **object => Ok(Success::Restored),
                    Some(_) => Err(Failure::Conflict {
                        reason: "the object exists".into(),
                    }),
                    None => {
                        changed = Some(Object::clone(object));
                        commands = None;
                        Ok(Success::Restored)
                    }
                },
                Wish::AcceptLoss { .. } => Ok(Success::LossAccepted),
                Wish::Execute(command) => {
                    let (next, reply) = Object::apply(current, &env.machines, command);
                    #[cfg(feature = "sim")]
                    let next = match mutant!(env, ForgetCommands) {
                        true => next.map(Object::forget_commands),
                        false => next,
                    };
                    if reply == Err(Failure::SessionForgotten)
                        && let Some(horizon) = current.and_then(Object::horizon)
                    {
                        env.session_floor = env.session_floor.max(horizon.0.time);
                    }
                    match next.map(|next| (next.bytes(), next)) {
                        Some((bytes, _)) if bytes > env.cluster.spec().value_bytes_max => {
                            Err(too_large(bytes, env.cluster.spec().value_bytes_max))
                        }
                        Some((_, next)) => {
                            changed = Some(next);
                            if let Some(commands) = &mut commands {
                                commands.push(command.clone());
                            }
                            reply
                        }
                        None => reply,
                    }
                }
            };
            let reply = pending.soften(reply);
            self.round.push((pending, reply));
        }
        self.commands = commands;
        changed
    }

    /// The commands that changed the object when [`Batch::apply`] was last called, in
    /// order; none where it was also put in place as a whole.
    pub fn take_commands(&mut self) -> Option<Vec<Command>> {
        self.commands.take()
    }

    /// From now on the round's commands may take effect whatever happens here: if the
    /// round is lost, a coordinator that met its version may still bring it through.
    /// So the next round must leave a trace of their results, as of repeated ones.
    pub fn expose(&mut self) {
        for (pending, _) in &mut self.round {
            pending.exposed = true;
            if let Wish::Execute(command) = &mut pending.wish {
                command.repeated = true;
            }
        }
    }

    /// The round's version `ts` is chosen: its clients are answered.
    pub fn succeed(&mut self, env: &mut Env, key: &Key, ts: Timestamp) {
        for (pending, reply) in self.round.drain(..) {
            pending.answer(env, key, ts, reply);
        }
    }

    /// Nothing had to change, and the round's promises confirm the version `ts` that it
    /// found. They may be older than a late client's request, and another coordinator
    /// may have changed the object between the two: late ones wait for the next round.
    pub fn succeed_unchanged(&mut self, env: &mut Env, key: &Key, ts: Timestamp) {
        for (pending, reply) in self.round.drain(..) {
            if pending.early || mutant!(env, AnswerLatecomers) {
                pending.answer(env, key, ts, reply);
            } else {
                env.counters
                    .count("late: a client waits for the next round");
                self.waiting.push_back(pending);
            }
        }
    }

    /// The round is lost: its commands wait for the next, ahead of later ones.
    pub fn retry(&mut self) {
        self.commands = None;
        for (pending, _) in self.round.drain(..).rev() {
            self.waiting.push_front(pending);
        }
    }

    /// All clients hear the same failure.
    pub fn fail(&mut self, env: &mut Env, failure: &Failure) {
        self.retry();
        for pending in self.waiting.drain(..) {
            let reply = pending.soften(Err(failure.clone()));
            env.reply(pending.request, reply);
        }
    }

    /// Answers those whose deadline has come.
    pub fn expire(&mut self, env: &mut Env, reason: &str) {
        let now = env.now.monotonic;
        let (late, waiting): (Vec<_>, Vec<_>) = self
            .waiting
            .drain(..)
            .partition(|pending| pending.deadline <= now);
        self.waiting = waiting.into();
        let (late_round, round): (Vec<_>, Vec<_>) = self
            .round
            .drain(..)
            .partition(|(pending, _)| pending.deadline <= now);
        self.round = round;
        for pending in late
            .into_iter()
            .chain(late_round.into_iter().map(|(p, _)| p))
        {
            pending.give_up(env, reason);
        }
    }

    /// When [`Batch::expire`] is next due.
    pub fn next_deadline(&self) -> Option<Duration> {
        let waiting = self.waiting.iter();
        waiting
            .chain(self.round.iter().map(|(p, _)| p))
            .map(|pending| pending.deadline)
            .min()
    }
}

fn too_large(bytes: usize, limit: usize) -> Failure {
    Failure::Invalid {
        field: "command".into(),
        reason: format!("the object would have {bytes} bytes; the limit is {limit}"),
    }
}
