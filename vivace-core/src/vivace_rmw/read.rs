//! The coordinator of a read-only command: one round where nothing is in doubt.

use std::time::Duration;

use crate::call::Call;
use crate::client_protocol::{Failure, Success};
use crate::cluster::Container;
use crate::env::Env;
use crate::event::{Class, RequestId};
use crate::fetch::Fetch;
use crate::identity::NodeId;
use crate::key::Key;
use crate::machine::object::Object;
use crate::message::{BulkBody, PriorityBody, RpcId};
use crate::operation::{Input, Ticket, refusal_text, unavailable};
use crate::query::{AWAITED, Query};
use crate::quorum::{Tally, Votes};
use crate::timestamp::Timestamp;
use crate::value::Value;

/// When the newest version was confirmed so often and its value still does not come, its
/// holders may be gone; a round can go on from a later version that nobody accepted.
const CONFIRMED_MAX: u32 = 2;

/// What is read of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Its state, as this machine's.
    State {
        /// The state machine's name.
        machine: String,
    },
    /// All of it, for a backup.
    Whole,
}

impl Extent {
    /// What is to be read of `object`.
    ///
    /// # Errors
    /// [`Failure::Invalid`] where its machine is another.
    pub fn of(&self, object: Option<&Object>) -> Result<Success, Failure> {
        match self {
            Self::State { machine } => {
                let state = object.map(|object| object.state(machine)).transpose()?;
                let state = state.flatten();
                Ok(Success::State { state })
            }
            Self::Whole => {
                let bytes = object.map(|object| Value::Bytes(object.encode()));
                let value = bytes.unwrap_or(Value::Tombstone);
                Ok(Success::Copied { value })
            }
        }
    }
}

/// Whether a read goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadStep {
    /// It waits for more input.
    Continue,
    /// It has answered its client.
    Done,
    /// The newest timestamp may or may not be chosen: only a round that completes it
    /// can tell (mend 4). The client has not been answered.
    NeedsRound,
}

/// One read-only command under way.
#[derive(Clone, Debug)]
pub struct Read {
    ticket: Ticket,
    key: Key,
    extent: Extent,
    /// Whether the replica in this site is asked for timestamp and version at once.
    together: bool,
    /// Whether that replica lacks what is wanted; taken when it is known.
    is_behind: Option<bool>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
struct Report {
    accepted: Timestamp,
    chosen: Timestamp,
    has: bool,
}

#[derive(Clone, Debug)]
enum Phase {
    /// No majority can be reached.
    AwaitPeers,
    /// Which timestamp does a majority hold?
    QueryTs {
        query: Query,
        reports: Votes<Report>,
    },
    /// Its exact version, or a newer chosen one.
    FetchData {
        ts: Timestamp,
        fetch: Fetch,
        /// The version that was asked for with its timestamp may still come.
        early: Option<RpcId>,
        /// Is it still the newest? The versions that a newer one left behind are
        /// dropped everywhere, and whoever waits for one may have missed its COMMIT.
        recheck: Option<(Call, Votes<Report>)>,
        /// How often it was.
        confirmed: u32,
    },
}

impl Read {
    /// A read, not begun.
    pub fn new(ticket: Ticket, key: Key, extent: Extent) -> Self {
        Self {
            ticket,
            key,
            extent,
            together: true,
            is_behind: None,
            phase: Phase::AwaitPeers,
        }
    }

    /// Whether to ask the replica in this site for timestamp and version at once, or the
    /// version would come in vain.
    pub fn ask_together(&mut self, together: bool) {
        self.together = together;
    }

    /// Whether the replica in this site lacks what is wanted, where that was just found.
    pub fn take_finding(&mut self) -> Option<bool> {
        self.is_behind.take()
    }

    /// The client and what it asked, to hand over to a round.
    pub fn into_parts(self) -> (Ticket, Key, Extent) {
        (self.ticket, self.key, self.extent)
    }

    /// Who asked, and until when they wait.
    pub fn client(&self) -> (RequestId, Duration) {
        (self.ticket.request, self.ticket.deadline)
    }

    /// Whether `other` reads the same of the object.
    pub fn reads_as(&self, other: &Self) -> bool {
        self.extent == other.extent
    }

    /// Moves the read on.
    pub fn step(&mut self, env: &mut Env, container: &Container, input: Input) -> ReadStep {
        match input {
            Input::Start => self.begin(env, container),
            Input::Priority { from, rpc, body } => self.on_answer(env, container, from, rpc, body),
            Input::Bulk {
                rpc,
                body: BulkBody::Data { ts, value },
                ..
            } => self.on_data(env, rpc, ts, value),
            Input::Bulk { .. } => ReadStep::Continue,
            Input::PeerUp { node, class } => {
                match &mut self.phase {
                    Phase::AwaitPeers => return self.begin(env, container),
                    Phase::QueryTs { query, .. } => query.call.on_peer_up(env, node, class),
                    Phase::FetchData { fetch, recheck, .. } => {
                        fetch.on_peer_up(env, node);
                        if let Some((query, _)) = recheck {
                            query.on_peer_up(env, node, class);
                        }
                    }
                }
                ReadStep::Continue
            }
            Input::Tick => self.on_tick(env, container),
        }
    }

    fn begin(&mut self, env: &mut Env, container: &Container) -> ReadStep {
        if !env.majority_up(&container.replicas, Class::Priority) {
            return ReadStep::Continue;
        }
        let query = Query::ask(env, container, &mut self.ticket, &self.key, self.together);
        let reports = Votes::new(container.replicas.len());
        self.phase = Phase::QueryTs { query, reports };
        ReadStep::Continue
    }

    fn on_answer(
        &mut self,
        env: &mut Env,
        container: &Container,
        from: NodeId,
        answered: RpcId,
        body: PriorityBody,
    ) -> ReadStep {
        match (&mut self.phase, body) {
            (
                Phase::QueryTs { query, reports },
                PriorityBody::ReadTsAck {
                    known, chosen, has, ..
                },
            ) if query.is_named(answered) => {
                query.on_report(from, answered, known, has);
                let accepted = known;
                reports.yes(
                    from,
                    Report {
                        accepted,
                        chosen,
                        has,
                    },
                );
                self.on_reports(env, container)
            }
            (
                Phase::FetchData {
                    recheck: Some((query, reports)),
                    ..
                },
                PriorityBody::ReadTsAck {
                    known, chosen, has, ..
                },
            ) if query.rpc == answered => {
                query.answered(from);
                reports.yes(
                    from,
                    Report {
                        accepted: known,
                        chosen,
                        has,
                    },
                );
                self.on_reports(env, container)
            }
            (Phase::QueryTs { query, reports }, PriorityBody::Refused { why })
                if query.is_named(answered) =>
            {
                query.call.answered(from);
                query.ask_all(env);
                reports.no(from);
                if reports.tally() == Tally::Unreachable {
                    let reason = format!("a majority refused: {}", refusal_text(&why));
                    return self.fail(env, unavailable(reason));
                }
                ReadStep::Continue
            }
            (Phase::FetchData { ts, fetch, .. }, PriorityBody::Gone { chosen })
                if fetch.rpc() == answered && chosen > *ts =>
            {
                self.fetch(env, container, (None, &[from]), chosen, None)
            }
            (Phase::FetchData { fetch, .. }, PriorityBody::Refused { .. })
                if fetch.rpc() == answered =>
            {
                fetch.on_refused(env);
                ReadStep::Continue
            }
            _ => ReadStep::Continue,
        }
    }

    fn on_reports(&mut self, env: &mut Env, container: &Container) -> ReadStep {
        let (fetched, reports) = match &self.phase {
            Phase::QueryTs { reports, .. } => (None, reports),
            Phase::FetchData {
                ts,
                recheck: Some((_, reports)),
                confirmed,
                ..
            } => (Some((*ts, *confirmed)), reports),
            Phase::AwaitPeers | Phase::FetchData { .. } => return ReadStep::Continue,
        };
        if reports.tally() != Tally::Reached {
            return ReadStep::Continue;
        }
        let answers = reports.answers();
        let ts = answers
            .iter()
            .map(|(_, report)| report.accepted)
            .max()
            .unwrap_or_default();
        if let Some((fetched, confirmed)) = fetched
            && fetched == ts
        {
            if confirmed + 1 >= CONFIRMED_MAX {
                return ReadStep::NeedsRound;
            }
            if let Phase::FetchData {
                recheck, confirmed, ..
            } = &mut self.phase
            {
                *confirmed += 1;
                *recheck = None;
            }
            return ReadStep::Continue;
        }
        if ts == Timestamp::ZERO {
            env.reply(self.ticket.request, self.extent.of(None));
            return ReadStep::Done;
        }
        let settled = reports.majority_that(|report| report.accepted == ts)
            || answers.iter().any(|(_, report)| report.chosen == ts);
        if !settled && !mutant!(env, ReadUnsettled) {
            return ReadStep::NeedsRound;
        }
        let has = |report: &Report| report.accepted == ts && report.has;
        let holders = answers.iter().filter(|(_, report)| has(report));
        let holders: Vec<NodeId> = holders.map(|(node, _)| *node).collect();
        let (mut early, mut sender) = (None, None);
        if let Phase::QueryTs { query, reports } = &mut self.phase {
            let serves_any = mutant!(env, ServeOlderEarly);
            let answers = reports.answers().iter();
            self.is_behind = query.is_behind(answers.map(|(node, report)| (*node, has(report))));
            (early, sender) = (query.early_rpc(), query.sender_of(ts));
            if let Some((_, value)) = query.take_version(env, |came| came == ts || serves_any) {
                return self.reply(env, &value);
            }
        }
        self.fetch(env, container, (sender, &holders), ts, early)
    }

    fn fetch(
        &mut self,
        env: &mut Env,
        container: &Container,
        (sender, holders): (Option<NodeId>, &[NodeId]),
        ts: Timestamp,
        early: Option<RpcId>,
    ) -> ReadStep {
        let rpc = self.ticket.next_rpc();
        let body = PriorityBody::OrderedReadData {
            key: self.key.clone(),
            at_least: ts,
            below: ts.successor(),
        };
        let fetch = match sender {
            Some(sender) => Fetch::expect(env, container, rpc, (sender, holders), ts, body),
            None => Fetch::start(env, container, rpc, holders, ts, body),
        };
        self.phase = Phase::FetchData {
            ts,
            fetch,
            early,
            recheck: None,
            confirmed: 0,
        };
        ReadStep::Continue
    }

    fn on_data(&mut self, env: &mut Env, answered: RpcId, ts: Timestamp, value: Value) -> ReadStep {
        let (asked, is_early) = match &mut self.phase {
            Phase::QueryTs { query, .. } => {
                query.on_data(answered, ts, value);
                return ReadStep::Continue;
            }
            Phase::FetchData {
                ts: asked,
                fetch,
                early,
                ..
            } if fetch.rpc() == answered || *early == Some(answered) => {
                (*asked, *early == Some(answered))
            }
            Phase::AwaitPeers | Phase::FetchData { .. } => return ReadStep::Continue,
        };
        if ts != asked {
            return ReadStep::Continue;
        }
        if is_early {
            env.counters.count(AWAITED);
        }
        self.reply(env, &value)
    }

    fn reply(&self, env: &mut Env, value: &Value) -> ReadStep {
        let reply = match value {
            Value::Bytes(bytes) => match Object::decode(bytes) {
                Ok(object) => self.extent.of(Some(&object)),
                Err(error) => Err(corrupt(error.to_string())),
            },
            // An operator gave up all there was.
            Value::Tombstone => self.extent.of(None),
        };
        env.reply(self.ticket.request, reply);
        ReadStep::Done
    }

    fn fail(&self, env: &mut Env, failure: Failure) -> ReadStep {
        env.reply(self.ticket.request, Err(failure));
        ReadStep::Done
    }

    fn on_tick(&mut self, env: &mut Env, container: &Container) -> ReadStep {
        if self.ticket.is_over(env) {
            let reason = match self.phase {
                Phase::AwaitPeers => "no majority of replicas is connected",
                Phase::QueryTs { .. } => "no majority of replicas answered R-TS in time",
                Phase::FetchData { .. } => {
                    "the newest version is known but nobody who holds it answered in time"
                }
            };
            return self.fail(env, unavailable(reason));
        }
        match &mut self.phase {
            Phase::AwaitPeers => {}
            Phase::QueryTs { query, .. } => query.call.on_tick(env),
            Phase::FetchData { fetch, recheck, .. } => {
                if let Some((query, _)) = recheck {
                    query.on_tick(env);
                }
                if fetch.on_tick(env) {
                    env.counters
                        .count("rechecked: reports whose version does not come");
                    *recheck = Some(ask_reports(&mut self.ticket, env, container, &self.key));
                }
            }
        }
        ReadStep::Continue
    }

    /// When the read next needs a tick.
    pub fn next_wakeup(&self) -> Duration {
        let wakeup = match &self.phase {
            Phase::AwaitPeers => None,
            Phase::QueryTs { query, .. } => query.call.next_wakeup(),
            Phase::FetchData { fetch, recheck, .. } => {
                let recheck = recheck.as_ref().and_then(|(query, _)| query.next_wakeup());
                recheck.into_iter().chain([fetch.next_wakeup()]).min()
            }
        };
        wakeup.map_or(self.ticket.deadline, |wakeup| {
            wakeup.min(self.ticket.deadline)
        })
    }
}

/// R-TS to all replicas.
fn ask_reports(
    ticket: &mut Ticket,
    env: &mut Env,
    container: &Container,
    key: &Key,
) -> (Call, Votes<Report>) {
    let rpc = ticket.next_rpc();
    let body = PriorityBody::ReadTs { key: key.clone() };
    let query = Call::priority(env, container, rpc, &container.replicas, body);
    (query, Votes::new(container.replicas.len()))
}

fn corrupt(what: String) -> Failure {
    Failure::Invalid {
        field: "key".into(),
        reason: format!("the stored value is no RMW object: {what}"),
    }
}
