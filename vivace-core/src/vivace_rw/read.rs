//! The coordinator of `read(key)`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::call::Call;
use crate::client_protocol::Success;
use crate::cluster::Container;
use crate::commit_wait::CommitWait;
use crate::direct;
use crate::env::Env;
use crate::event::{Class, RequestId};
use crate::fetch::Fetch;
use crate::identity::NodeId;
use crate::key::Key;
use crate::message::{BulkBody, PriorityBody, RpcId, TrustedTime};
use crate::operation::{Input, Step, Ticket, refusal_text, unavailable};
use crate::outbox::Lsn;
use crate::query::{AWAITED, Query};
use crate::quorum::{Tally, Votes};
use crate::timestamp::Timestamp;
use crate::value::Value;

/// One read under way. It changes nothing that a later operation could see as a
/// write, so its failures are always `Unavailable`.
#[derive(Clone, Debug)]
pub struct Read {
    ticket: Ticket,
    key: Key,
    remote_clock: TrustedTime,
    /// Whether the replica in this site is asked for timestamp and value at once.
    together: bool,
    /// Whether that replica lacks what is wanted; taken when it is known.
    is_behind: Option<bool>,
    phase: Phase,
}

/// What a replica said of its newest version.
#[derive(Clone, Copy, Debug)]
struct Report {
    known: Timestamp,
    has: bool,
}

#[derive(Clone, Debug)]
enum Phase {
    /// No majority can be reached; nothing has been sent.
    AwaitPeers,
    /// Which timestamp is the newest?
    QueryTs {
        query: Query,
        reports: Votes<Report>,
        /// What replicas know of and lack, where writes are direct: their disks lost it, or
        /// another's local copy is on its way. They stay asked.
        lacking: BTreeMap<NodeId, Timestamp>,
    },
    /// The value of `mts`, or a newer one.
    FetchData {
        mts: Timestamp,
        fetch: Fetch,
        /// A version that was asked for with its timestamp may still come.
        early: Option<RpcId>,
        known: Known,
    },
    /// A majority of replicas learns the timestamp of the value in hand; where writes are
    /// direct, the value too.
    WriteBack {
        ts: Timestamp,
        value: Value,
        publish: Call,
        published: Votes<()>,
    },
    /// A trusted clock passes the timestamp.
    AwaitClock {
        ts: Timestamp,
        value: Value,
        wait: CommitWait,
        rpc: RpcId,
    },
}

/// Why a replica's answer does not count.
const AHEAD: &str = "they name timestamps ahead of this node's clock";

/// Whether a majority of replicas knows `mts` (condition C1 of §3.4.1).
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one per operation: a box would save nothing"
)]
enum Known {
    /// It does.
    ByMajority,
    /// It is being told, in parallel with the fetch.
    BeingTold { publish: Call, published: Votes<()> },
    /// It is told after the fetch, as Alg. 1 is printed.
    Later,
}

impl Read {
    /// A read, not begun.
    pub fn new(ticket: Ticket, key: Key) -> Self {
        Self {
            ticket,
            key,
            remote_clock: TrustedTime::default(),
            together: true,
            is_behind: None,
            phase: Phase::AwaitPeers,
        }
    }

    /// Whether to ask the replica in this site for timestamp and value at once, or the
    /// value would come in vain.
    pub fn ask_together(&mut self, together: bool) {
        self.together = together;
    }

    /// Whether the replica in this site lacks what is wanted, where that was just found.
    pub fn take_finding(&mut self) -> Option<bool> {
        self.is_behind.take()
    }

    /// Who asked, and until when they wait.
    pub fn client(&self) -> (RequestId, Duration) {
        (self.ticket.request, self.ticket.deadline)
    }

    /// Moves the read on.
    pub fn step(&mut self, env: &mut Env, container: &Container, input: Input) -> Step {
        match input {
            Input::Start => self.begin(env, container),
            Input::Priority { from, rpc, body } => self.on_answer(env, container, from, rpc, body),
            Input::Bulk {
                rpc,
                body: BulkBody::Data { ts, value },
                ..
            } => self.on_data(env, container, rpc, ts, value),
            Input::Bulk { .. } => Step::Continue,
            Input::PeerUp { node, class } => self.on_peer_up(env, container, node, class),
            Input::Tick => self.on_tick(env, container),
        }
    }

    fn begin(&mut self, env: &mut Env, container: &Container) -> Step {
        if !env.majority_up(&container.replicas, Class::Priority) {
            return Step::Continue;
        }
        let query = Query::ask(env, container, &mut self.ticket, &self.key, self.together);
        self.phase = Phase::QueryTs {
            query,
            reports: Votes::new(container.replicas.len()),
            lacking: BTreeMap::new(),
        };
        Step::Continue
    }

    fn on_answer(
        &mut self,
        env: &mut Env,
        container: &Container,
        from: NodeId,
        answered: RpcId,
        body: PriorityBody,
    ) -> Step {
        if let PriorityBody::WriteTsAck { clock } | PriorityBody::ReadTsAck { clock, .. } = body {
            self.remote_clock = self.remote_clock.max(clock);
        }
        match (&mut self.phase, body) {
            (
                Phase::QueryTs {
                    query,
                    reports,
                    lacking,
                },
                PriorityBody::ReadTsAck { known, has, .. },
            ) if query.is_named(answered) => {
                if env.is_future(container, known) {
                    return self.on_refused(env, from, answered, AHEAD);
                }
                if !has && known > Timestamp::ZERO && env.cluster.is_one_place(container) {
                    env.counters
                        .count("waits: a replica that lacks the value it knows of");
                    lacking.insert(from, known);
                    query.ask_all(env);
                    return self.on_reports(env, container);
                }
                lacking.remove(&from);
                query.on_report(from, answered, known, has);
                reports.yes(from, Report { known, has });
                self.on_reports(env, container)
            }
            (
                Phase::FetchData {
                    known: known @ Known::BeingTold { .. },
                    ..
                },
                PriorityBody::WriteTsAck { .. },
            ) => {
                if let Known::BeingTold { publish, published } = known
                    && answered == publish.rpc
                {
                    publish.answered(from);
                    published.yes(from, ());
                    if published.tally() == Tally::Reached {
                        *known = Known::ByMajority;
                    }
                }
                Step::Continue
            }
            (
                Phase::WriteBack {
                    publish, published, ..
                },
                PriorityBody::WriteTsAck { .. } | PriorityBody::WriteRemoteAck { .. },
            ) if answered == publish.rpc => {
                publish.answered(from);
                published.yes(from, ());
                self.on_written_back(env, container)
            }
            (Phase::AwaitClock { wait, rpc, .. }, PriorityBody::ReadTsAck { clock, .. })
                if answered == *rpc =>
            {
                if wait.on_clock(env, from, clock) {
                    self.finish(env)
                } else {
                    Step::Continue
                }
            }
            (_, PriorityBody::Refused { why }) => {
                self.on_refused(env, from, answered, &refusal_text(&why))
            }
            _ => Step::Continue,
        }
    }

    fn on_reports(&mut self, env: &mut Env, container: &Container) -> Step {
        let Phase::QueryTs {
            query,
            reports,
            lacking,
        } = &mut self.phase
        else {
            return Step::Continue;
        };
        let mts = reports
            .answers()
            .iter()
            .map(|(_, report)| report.known)
            .max()
            .unwrap_or_default();
        // Nobody else need ever have had what these lack, so they count as silent unless
        // somebody holds as much.
        let covered = lacking.values().filter(|known| **known <= mts).count();
        if !reports.reached_with(covered) && !mutant!(env, MinorityQuorum && reports.has_half()) {
            return Step::Continue;
        }
        if mts == Timestamp::ZERO && !mutant!(env, FetchNeverWritten) {
            env.reply(self.ticket.request, Ok(Success::NotFound));
            return Step::Done;
        }
        let known_by_majority =
            reports.majority_that(|report| report.known == mts) || mutant!(env, SkipWriteBack);
        let has = |report: &Report| report.known == mts && report.has;
        let answers = reports.answers().iter();
        self.is_behind = query.is_behind(answers.map(|(node, report)| (*node, has(report))));
        let serves_any = mutant!(env, ServeOlderEarly);
        let is_new = |ts| ts >= mts || serves_any;
        let (early, sender) = (query.early_rpc(), query.sender_of(mts));
        if let Some((ts, value)) = query.take_version(env, is_new) {
            mutant!(env, SkipWriteBack => return self.await_clock(env, container, ts, value));
            let told = ts == mts && known_by_majority && container.write_back_skip;
            return match told || mutant!(env, SkipWriteBackOfEarly) {
                true => self.await_clock(env, container, ts, value),
                false => self.write_back(env, container, ts, value),
            };
        }
        let answers = reports.answers().iter();
        let holders = answers.filter(|(_, report)| has(report));
        let holders: Vec<NodeId> = holders.map(|(node, _)| *node).collect();
        let fetch = self.fetch(env, container, (sender, &holders), mts);
        let known = match (container.write_back_skip, known_by_majority) {
            (true, true) => Known::ByMajority,
            // What is to be stored has to be here first.
            (true, false) if env.cluster.is_one_place(container) => Known::Later,
            (true, false) => {
                let (publish, published) = self.publish(env, container, mts);
                Known::BeingTold { publish, published }
            }
            (false, _) => Known::Later,
        };
        self.phase = Phase::FetchData {
            mts,
            fetch,
            early,
            known,
        };
        Step::Continue
    }

    fn fetch(
        &mut self,
        env: &mut Env,
        container: &Container,
        (sender, holders): (Option<NodeId>, &[NodeId]),
        mts: Timestamp,
    ) -> Fetch {
        let rpc = self.ticket.next_rpc();
        let body = PriorityBody::ReadData {
            key: self.key.clone(),
            at_least: mts,
        };
        match sender {
            Some(sender) => Fetch::expect(env, container, rpc, (sender, holders), mts, body),
            None => Fetch::start(env, container, rpc, holders, mts, body),
        }
    }

    /// Tells a majority of the value in hand; where writes are direct, stores it there.
    fn write_back(
        &mut self,
        env: &mut Env,
        container: &Container,
        ts: Timestamp,
        value: Value,
    ) -> Step {
        let is_direct = env.cluster.is_one_place(container) && !mutant!(env, WriteBackTimestamp);
        let (publish, published) = match is_direct {
            true => {
                let rpc = self.ticket.next_rpc();
                let (version, lsn) = ((&self.key, ts), Lsn::default());
                let store = direct::store(env, container, rpc, version, value.clone(), lsn);
                (store, Votes::new(container.replicas.len()))
            }
            false => self.publish(env, container, ts),
        };
        self.phase = Phase::WriteBack {
            ts,
            value,
            publish,
            published,
        };
        Step::Continue
    }

    fn publish(
        &mut self,
        env: &mut Env,
        container: &Container,
        ts: Timestamp,
    ) -> (Call, Votes<()>) {
        let rpc = self.ticket.next_rpc();
        let body = PriorityBody::WriteTs {
            key: self.key.clone(),
            ts,
        };
        let publish = Call::priority(env, container, rpc, &container.replicas, body);
        (publish, Votes::new(container.replicas.len()))
    }

    fn on_data(
        &mut self,
        env: &mut Env,
        container: &Container,
        answered: RpcId,
        ts: Timestamp,
        value: Value,
    ) -> Step {
        let (mts, fetch, early, known) = match &mut self.phase {
            Phase::QueryTs { query, .. } => {
                if query.early_rpc() == Some(answered) && !env.is_future(container, ts) {
                    query.on_data(answered, ts, value);
                }
                return Step::Continue;
            }
            Phase::FetchData {
                mts,
                fetch,
                early,
                known,
            } => (*mts, fetch, *early, known),
            Phase::AwaitPeers | Phase::WriteBack { .. } | Phase::AwaitClock { .. } => {
                return Step::Continue;
            }
        };
        let is_early = early == Some(answered);
        // Older than was asked for are a broken replica's, and those that came with the
        // timestamp of a replica that is behind.
        if !is_early && fetch.rpc() != answered || ts < mts {
            return Step::Continue;
        }
        if env.is_future(container, ts) {
            if !is_early {
                fetch.on_refused(env);
            }
            return Step::Continue;
        }
        if is_early {
            env.counters.count(AWAITED);
        }
        mutant!(env, SkipWriteBack => return self.await_clock(env, container, ts, value));
        let told = ts == mts || mutant!(env, SkipWriteBackOfNewer && !is_early);
        let told = told || mutant!(env, SkipWriteBackOfEarly && is_early);
        match std::mem::replace(known, Known::Later) {
            Known::ByMajority if told => self.await_clock(env, container, ts, value),
            Known::BeingTold { publish, published } if told => {
                self.phase = Phase::WriteBack {
                    ts,
                    value,
                    publish,
                    published,
                };
                Step::Continue
            }
            // Differs from §3.4.1 as printed: a newer version is always written back,
            // or the next read may return the older one (mend 4).
            Known::ByMajority | Known::BeingTold { .. } | Known::Later => {
                self.write_back(env, container, ts, value)
            }
        }
    }

    fn on_written_back(&mut self, env: &mut Env, container: &Container) -> Step {
        match &self.phase {
            Phase::WriteBack {
                ts,
                value,
                published,
                ..
            } if published.tally() == Tally::Reached => {
                let (ts, value) = (*ts, value.clone());
                self.await_clock(env, container, ts, value)
            }
            _ => Step::Continue,
        }
    }

    fn await_clock(
        &mut self,
        env: &mut Env,
        container: &Container,
        ts: Timestamp,
        value: Value,
    ) -> Step {
        mutant!(env, NoReadWait => return self.reply(env, ts, value));
        match CommitWait::start(env, container, ts, self.remote_clock) {
            None => self.reply(env, ts, value),
            Some(wait) => {
                let rpc = self.ticket.next_rpc();
                self.phase = Phase::AwaitClock {
                    ts,
                    value,
                    wait,
                    rpc,
                };
                Step::Continue
            }
        }
    }

    fn finish(&mut self, env: &mut Env) -> Step {
        match &self.phase {
            Phase::AwaitClock { ts, value, .. } => {
                let (ts, value) = (*ts, value.clone());
                self.reply(env, ts, value)
            }
            _ => Step::Continue,
        }
    }

    fn reply(&self, env: &mut Env, ts: Timestamp, value: Value) -> Step {
        let success = match value {
            Value::Tombstone => Success::NotFound,
            Value::Bytes(value) => Success::Value { ts, value },
        };
        env.reply(self.ticket.request, Ok(success));
        Step::Done
    }

    fn fail(&self, env: &mut Env, reason: String) -> Step {
        env.reply(self.ticket.request, Err(unavailable(reason)));
        Step::Done
    }

    fn on_refused(&mut self, env: &mut Env, from: NodeId, answered: RpcId, why: &str) -> Step {
        let tally = match &mut self.phase {
            Phase::QueryTs { query, reports, .. } if query.is_named(answered) => {
                query.call.answered(from);
                query.ask_all(env);
                reports.no(from);
                reports.tally()
            }
            Phase::FetchData { fetch, .. } if fetch.rpc() == answered => {
                fetch.on_refused(env);
                return Step::Continue;
            }
            Phase::FetchData {
                known: Known::BeingTold { publish, published },
                ..
            }
            | Phase::WriteBack {
                publish, published, ..
            } if publish.rpc == answered => {
                publish.answered(from);
                published.no(from);
                published.tally()
            }
            _ => return Step::Continue,
        };
        match tally {
            Tally::Unreachable => self.fail(env, format!("a majority refused: {why}")),
            Tally::Pending | Tally::Reached => Step::Continue,
        }
    }

    fn on_peer_up(
        &mut self,
        env: &mut Env,
        container: &Container,
        node: NodeId,
        class: Class,
    ) -> Step {
        match &mut self.phase {
            Phase::AwaitPeers => return self.begin(env, container),
            Phase::QueryTs { query, .. } => query.call.on_peer_up(env, node, class),
            Phase::FetchData { fetch, known, .. } => {
                fetch.on_peer_up(env, node);
                if let Known::BeingTold { publish, .. } = known {
                    publish.on_peer_up(env, node, class);
                }
            }
            Phase::WriteBack { publish, .. } => publish.on_peer_up(env, node, class),
            Phase::AwaitClock { wait, .. } => wait.on_peer_up(env, node, class),
        }
        Step::Continue
    }

    fn on_tick(&mut self, env: &mut Env, container: &Container) -> Step {
        if self.ticket.is_over(env) {
            return self.fail(env, self.waiting_for().into());
        }
        match &mut self.phase {
            Phase::AwaitPeers => {}
            Phase::QueryTs { query, .. } => query.call.on_tick(env),
            Phase::FetchData { fetch, known, .. } => {
                // A newer complete version answers too, so the question is never outdated;
                // but where writes are direct, whoever told of it may have been the only one
                // to have it, and is down.
                let is_in_vain = fetch.on_tick(env);
                if is_in_vain && env.cluster.is_one_place(container) {
                    env.counters
                        .count("restarted: a read whose value nobody sent");
                    return self.begin(env, container);
                }
                if let Known::BeingTold { publish, .. } = known {
                    publish.on_tick(env);
                }
            }
            Phase::WriteBack { publish, .. } => publish.on_tick(env),
            Phase::AwaitClock { wait, rpc, .. } => {
                if wait.on_tick(env, container, &self.key, *rpc) {
                    return self.finish(env);
                }
            }
        }
        Step::Continue
    }

    fn waiting_for(&self) -> &'static str {
        match &self.phase {
            Phase::AwaitPeers => "no majority of replicas is connected",
            Phase::QueryTs { lacking, .. } if !lacking.is_empty() => {
                "replicas lack the newest value that they know of, and too few others answered in time"
            }
            Phase::QueryTs { .. } => "no majority of replicas answered R-TS in time",
            Phase::FetchData { .. } => {
                "the newest value is known but nobody who holds it answered in time"
            }
            Phase::WriteBack { .. } => {
                "no majority of replicas confirmed the newest version in time"
            }
            Phase::AwaitClock { .. } => {
                "no trusted clock passed the timestamp in time: are clocks synchronized?"
            }
        }
    }

    /// When the read next needs a tick.
    pub fn next_wakeup(&self) -> Duration {
        let deadline = self.ticket.deadline;
        let wakeup = match &self.phase {
            Phase::AwaitPeers => None,
            Phase::QueryTs { query, .. } => query.call.next_wakeup(),
            Phase::FetchData {
                fetch,
                known: Known::BeingTold { publish, .. },
                ..
            } => publish
                .next_wakeup()
                .into_iter()
                .chain([fetch.next_wakeup()])
                .min(),
            Phase::FetchData { fetch, .. } => Some(fetch.next_wakeup()),
            Phase::WriteBack { publish, .. } => publish.next_wakeup(),
            Phase::AwaitClock { wait, .. } => Some(wait.next_wakeup()),
        };
        wakeup.map_or(deadline, |wakeup| wakeup.min(deadline))
    }
}
