//! Carrying one operation through failing nodes, as far as that is safe.
//!
//! | effect | another node is asked when |
//! |---|---|
//! | read | an attempt fails, or stays without an answer for a third of the deadline |
//! | command | the same: its session and sequence make it take effect once |
//! | write | the request surely never reached a node: a second attempt would be a second write |
//!
//! An attempt at a command says whether an earlier one may still be under way
//! (`repeated`); a node then keeps the result even of a command that changes nothing.
//! The answer to an attempt that did not say so counts only where no other attempt
//! can take effect after it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use vivace_core::client_protocol::{ClientReply, Failure, Request, STOPPING_REASON, Success};

use crate::error::OperationError;
use crate::link::{ExchangeError, Link};
use crate::nodes::{NodeIndex, Nodes};

/// The most attempts of one operation, over all nodes.
const ATTEMPTS_MAX: u32 = 64;

/// The most attempts of one operation at a time: the first, and one hedge.
const ATTEMPTS_AT_ONCE_MAX: usize = 2;

/// An attempt that takes longer than this part of the deadline is hedged.
const HEDGE_PART: u32 = 3;

/// The pause before a node is asked a second time by one operation; it doubles with
/// each further round.
const ROUND_PAUSE_MIN: Duration = Duration::from_millis(20);

/// The longest pause between two rounds.
const ROUND_PAUSE_MAX: Duration = Duration::from_millis(500);

/// What an operation changes, and so what may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    Read,
    /// A new version under a timestamp of the node's making.
    Write,
    /// At most one execution per session and sequence.
    Command {
        /// Whether an earlier call may still take effect, or has.
        repeated: bool,
    },
}

impl Effect {
    fn may_repeat(self) -> bool {
        match self {
            Self::Read | Self::Command { .. } => true,
            Self::Write => false,
        }
    }

    /// What the operation hears where this client was too busy to begin it.
    pub(crate) fn without_turn(self) -> OperationError {
        let reason = "this client has too many operations under way".to_owned();
        match self {
            Self::Command { repeated: true } => OperationError::Unknown { reason },
            Self::Read | Self::Write | Self::Command { repeated: false } => {
                OperationError::Busy { reason }
            }
        }
    }
}

/// How an operation ends without success.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// As the caller shall hear it.
    Failed(OperationError),
    /// The session has to be renewed; surely not applied.
    SessionForgotten,
}

type Reply = Result<ClientReply, ExchangeError>;

/// An attempt that is under way. Polled with the operation: a task of its own would be woken
/// as well.
struct Attempt {
    node: NodeIndex,
    /// Whether its result is kept under the command's sequence in any case.
    repeated: bool,
    exchange: Pin<Box<dyn Future<Output = Reply> + Send>>,
}

struct Ending {
    node: NodeIndex,
    repeated: bool,
    reply: Reply,
}

enum Judgment {
    Done(Result<Success, Ended>),
    /// Another attempt may be made, or awaited.
    Open,
}

/// Carries out `request` by `deadline`, at one node or more.
pub(crate) async fn dispatch(
    nodes: &Nodes,
    request: Request,
    deadline: Instant,
    effect: Effect,
) -> Result<Success, Ended> {
    let hedge_after = deadline.saturating_duration_since(Instant::now()) / HEDGE_PART;
    let operation = Operation {
        nodes,
        request,
        deadline,
        effect,
        hedge_after,
        attempts: Vec::new(),
        started: vec![0; nodes.len()],
        may_be_applied: match effect {
            Effect::Command { repeated: true } => Some("an earlier attempt".to_owned()),
            Effect::Read | Effect::Write | Effect::Command { repeated: false } => None,
        },
        refusal: None,
        not_sent: None,
    };
    operation.run().await
}

struct Operation<'a> {
    nodes: &'a Nodes,
    request: Request,
    deadline: Instant,
    effect: Effect,
    hedge_after: Duration,
    attempts: Vec<Attempt>,
    /// How often each node was asked.
    started: Vec<u32>,
    /// What an attempt that may have taken effect, or may yet, ended with.
    may_be_applied: Option<String>,
    /// The last answer of a node that did not carry it out.
    refusal: Option<Failure>,
    /// Why the last attempt did not begin: it never reached its node, or that one leaves.
    not_sent: Option<String>,
}

impl Operation<'_> {
    async fn run(mut self) -> Result<Success, Ended> {
        let nodes = self.nodes;
        // When another attempt may begin.
        let mut next_at = Instant::now();
        loop {
            let may_start = self.may_start();
            if self.attempts.is_empty() && !may_start {
                return self.give_up();
            }
            // Tokio rounds a timer up to the next millisecond, even one that is due.
            let is_due = may_start && next_at <= Instant::now();
            if is_due
                && self.is_new()
                && let Some((node, link)) = nodes.preferred()
            {
                self.start(node, link);
                next_at = Instant::now() + self.hedge_after;
                continue;
            }
            let busy: Vec<_> = match is_due {
                true => self.attempts.iter().map(|attempt| attempt.node).collect(),
                false => Vec::new(),
            };
            let waits_for = match (may_start && !is_due, self.attempts.is_empty()) {
                (true, _) => Some(next_at.min(self.deadline)),
                (false, true) => Some(self.deadline),
                // Attempts that are under way end at the deadline by themselves.
                (false, false) => None,
            };
            tokio::select! {
                biased;
                ending = next_ending(&mut self.attempts), if !self.attempts.is_empty() => {
                    match self.judge(ending) {
                        Judgment::Done(end) => return end,
                        Judgment::Open => next_at = self.next_round(),
                    }
                }
                (node, link) = nodes.acquire(&self.started, &busy), if is_due => {
                    self.start(node, link);
                    next_at = Instant::now() + self.hedge_after;
                }
                () = sleep_until(waits_for.unwrap_or(next_at)), if waits_for.is_some() => {}
            }
        }
    }

    /// Whether no node was asked yet.
    fn is_new(&self) -> bool {
        self.started.iter().all(|&times| times == 0)
    }

    fn may_start(&self) -> bool {
        let rival = self.attempts.len() < self.nodes.len().min(ATTEMPTS_AT_ONCE_MAX);
        let attempts: u32 = self.started.iter().sum();
        attempts < ATTEMPTS_MAX
            && self.refusal.is_none()
            && Instant::now() < self.deadline
            && (self.attempts.is_empty() || (rival && self.effect.may_repeat()))
    }

    /// When to ask another node after a failure: at once while some node was not
    /// asked yet, after a pause once all were.
    fn next_round(&self) -> Instant {
        let rounds = self.started.iter().min().copied().unwrap_or(0);
        let pause = match rounds {
            0 => Duration::ZERO,
            _ => (ROUND_PAUSE_MIN * 2u32.pow(rounds.min(10) - 1)).min(ROUND_PAUSE_MAX),
        };
        Instant::now() + pause
    }

    fn start(&mut self, node: NodeIndex, link: Arc<Link>) {
        let repeated = self.has_rivals();
        self.started[node] += 1;
        let mut request = self.request.clone();
        if let Request::Execute { repeated: said, .. } = &mut request {
            *said = repeated;
        }
        let deadline = self.deadline;
        self.attempts.push(Attempt {
            node,
            repeated,
            exchange: Box::pin(async move { link.exchange(&request, deadline).await }),
        });
    }

    /// Whether an attempt beside the one in question may take effect, or has.
    fn has_rivals(&self) -> bool {
        !self.attempts.is_empty() || self.may_be_applied.is_some()
    }

    fn judge(&mut self, ended: Ending) -> Judgment {
        let address = self.nodes.address(ended.node);
        let counts = !self.is_command() || ended.repeated || !self.has_rivals();
        match ended.reply {
            Ok(Ok(_) | Err(Failure::Conflict { .. })) if !counts => {
                self.on_unknown(format!("{address}: answered while asked elsewhere too"))
            }
            Ok(Ok(success)) => {
                // The first attempt's node was silent while the hedge's carried it out.
                let first = self.attempts.iter().find(|attempt| !attempt.repeated);
                if let Some(silent) = first.filter(|_| ended.repeated) {
                    self.nodes.set_silent(silent.node, self.hedge_after);
                }
                Judgment::Done(Ok(success))
            }
            // Another attempt may yet be carried out, where this one could not be.
            Ok(Err(failure @ Failure::Invalid { .. }))
                if self.is_command() && self.has_rivals() =>
            {
                self.on_refusal(failure)
            }
            Ok(Err(failure @ (Failure::Conflict { .. } | Failure::Invalid { .. }))) => {
                Judgment::Done(Err(Ended::Failed(failure.into())))
            }
            Ok(Err(Failure::Unknown { reason })) => self.on_unknown(reason),
            Err(ExchangeError::NoReply(reason)) => self.on_unknown(format!("{address}: {reason}")),
            Err(ExchangeError::NotSent(reason)) => {
                self.not_sent = Some(format!("{address}: {reason}"));
                Judgment::Open
            }
            Ok(Err(Failure::Busy { reason } | Failure::Unavailable { reason }))
                if reason.starts_with(STOPPING_REASON) =>
            {
                self.nodes.set_leaving(ended.node);
                self.not_sent = Some(format!("{address}: {reason}"));
                Judgment::Open
            }
            Ok(Err(failure)) => self.on_refusal(failure),
        }
    }

    fn is_command(&self) -> bool {
        matches!(self.effect, Effect::Command { .. })
    }

    fn on_unknown(&mut self, reason: String) -> Judgment {
        match self.effect {
            Effect::Write => Judgment::Done(Err(Ended::Failed(OperationError::Unknown { reason }))),
            Effect::Read | Effect::Command { .. } => {
                self.may_be_applied = Some(reason);
                Judgment::Open
            }
        }
    }

    /// One attempt was surely not applied. That says nothing of the others.
    fn on_refusal(&mut self, failure: Failure) -> Judgment {
        let passing = matches!(failure, Failure::Busy { .. } | Failure::Unavailable { .. });
        if self.is_command() && passing && self.may_be_applied.is_some() {
            // Only another answer to the same sequence can tell what became of it.
            return Judgment::Open;
        }
        self.refusal = Some(failure);
        Judgment::Open
    }

    /// No attempt is under way, and none will be made.
    fn give_up(mut self) -> Result<Success, Ended> {
        let lost = self.may_be_applied.take();
        Err(match (self.effect, self.refusal.take(), lost) {
            // A refusal is the last word only where no other attempt can take effect.
            (Effect::Command { .. }, _, Some(reason)) => {
                Ended::Failed(OperationError::Unknown { reason })
            }
            (Effect::Command { .. }, Some(Failure::SessionForgotten), None) => {
                Ended::SessionForgotten
            }
            (_, Some(refusal), _) => Ended::Failed(refusal.into()),
            (_, None, Some(reason)) => Ended::Failed(OperationError::Unavailable { reason }),
            (_, None, None) => Ended::Failed(OperationError::unavailable(
                self.not_sent.unwrap_or_else(|| self.nodes.causes()),
            )),
        })
    }
}

/// The end of whichever attempt ends first; it is taken out.
async fn next_ending(attempts: &mut Vec<Attempt>) -> Ending {
    poll_fn(|context| {
        for index in 0..attempts.len() {
            if let Poll::Ready(reply) = attempts[index].exchange.as_mut().poll(context) {
                let Attempt { node, repeated, .. } = attempts.swap_remove(index);
                return Poll::Ready(Ending {
                    node,
                    repeated,
                    reply,
                });
            }
        }
        Poll::Pending
    })
    .await
}
