//! Objects whose newest value went with a site: known, and nowhere to be had. An
//! operator lists them, and accepts the loss or waits for the site (DESIGN §5).
//!
//! A value that is merely on its way is known and not complete at some replicas, too. So
//! a listing asks replicas what they lack, and then every node what it holds.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::call::Call;
use crate::client_protocol::{Failure, LostKey, Success};
use crate::cluster::{Container, Kind};
use crate::env::Env;
use crate::event::Class;
use crate::fetch::Fetch;
use crate::identity::NodeId;
use crate::key::{Key, KeyName};
use crate::listing::{PAGE_KEYS_MAX, Page, merge};
use crate::message::{BulkBody, KnownKey, PriorityBody};
use crate::operation::{Input, Step, Ticket, unavailable};
use crate::quorum::{Tally, Votes, majority};
use crate::timestamp::{Timestamp, WriterId};
use crate::value::Value;

/// How long nodes are waited for that may hold what others lack. Who is silent for
/// longer is named as such: its values may come back with it.
const HOLDERS_PATIENCE: Duration = Duration::from_secs(3);

/// Asking all nodes for the best versions that they hold.
#[derive(Clone, Debug)]
struct AskHolders {
    call: Call,
    until: Duration,
    best: BTreeMap<NodeId, Vec<Timestamp>>,
}

impl AskHolders {
    fn start(
        env: &mut Env,
        container: &Container,
        ticket: &mut Ticket,
        versions: Vec<(KeyName, Timestamp)>,
    ) -> Self {
        let nodes: Vec<NodeId> = env.cluster.spec().nodes.keys().copied().collect();
        let body = BulkBody::WhichHeld {
            container: container.id,
            versions,
        };
        let call = Call::bulk(env, container, ticket.next_rpc(), &nodes, body);
        // Some of the deadline must be left for what follows.
        let left = ticket.deadline.saturating_sub(env.now.monotonic);
        Self {
            call,
            until: env.now.monotonic + HOLDERS_PATIENCE.min(left / 2),
            best: BTreeMap::new(),
        }
    }

    fn on_answer(&mut self, from: NodeId, best: Vec<Timestamp>) {
        if self.call.answered(from) {
            self.best.insert(from, best);
        }
    }

    fn is_over(&self, env: &Env) -> bool {
        self.until <= env.now.monotonic || self.call.next_wakeup().is_none()
    }

    fn silent(&self, env: &Env) -> Vec<u16> {
        let nodes = env.cluster.spec().nodes.keys();
        let silent = nodes.filter(|node| !self.best.contains_key(node));
        silent.map(|node| node.0).collect()
    }

    /// The best version of the `index`-th key that anyone holds, and who.
    fn best_of(&self, index: usize) -> (Timestamp, Option<NodeId>) {
        let held = self
            .best
            .iter()
            .filter_map(|(&node, best)| Some((*best.get(index)?, Some(node))));
        held.max().unwrap_or_default()
    }
}

/// One page of a listing.
#[derive(Clone, Debug)]
pub struct FindLost {
    ticket: Ticket,
    after: Option<KeyName>,
    limit: usize,
    phase: FindPhase,
}

#[derive(Clone, Debug)]
enum FindPhase {
    /// Replicas tell what they lack.
    List { call: Call, pages: Votes<Page> },
    /// All nodes tell what they hold of that.
    Holders {
        keys: Vec<KnownKey>,
        more: Option<KeyName>,
        ask: AskHolders,
    },
    /// Not begun.
    New,
}

impl FindLost {
    /// A page of keys after `after`, at most `limit` of them; not begun.
    pub fn new(ticket: Ticket, after: Option<KeyName>, limit: u16) -> Self {
        Self {
            ticket,
            after,
            limit: usize::from(limit).clamp(1, PAGE_KEYS_MAX),
            phase: FindPhase::New,
        }
    }

    /// Moves the listing on.
    pub fn step(&mut self, env: &mut Env, container: &Container, input: Input) -> Step {
        match (&mut self.phase, input) {
            (FindPhase::New, Input::Start) => {
                let body = BulkBody::ListLacking {
                    container: container.id,
                    after: self.after.clone(),
                    limit: self.limit as u16,
                };
                let rpc = self.ticket.next_rpc();
                let call = Call::bulk(env, container, rpc, &container.replicas, body);
                let pages = Votes::new(container.replicas.len());
                self.phase = FindPhase::List { call, pages };
            }
            (
                FindPhase::List { call, pages },
                Input::Bulk {
                    from,
                    rpc,
                    body: BulkBody::Lacking { keys, is_last },
                },
            ) if call.rpc == rpc => {
                call.answered(from);
                pages.yes(from, (keys, is_last));
                if pages.tally() == Tally::Reached {
                    return self.ask_holders(env, container);
                }
            }
            (
                FindPhase::Holders { ask, .. },
                Input::Bulk {
                    from,
                    rpc,
                    body: BulkBody::BestHeld { best },
                },
            ) if ask.call.rpc == rpc => ask.on_answer(from, best),
            (
                FindPhase::List { call, .. }
                | FindPhase::Holders {
                    ask: AskHolders { call, .. },
                    ..
                },
                Input::PeerUp { node, class },
            ) => call.on_peer_up(env, node, class),
            (_, Input::Tick) if self.ticket.is_over(env) => {
                let why = "no majority of replicas told in time what it lacks";
                env.reply(self.ticket.request, Err(unavailable(why)));
                return Step::Done;
            }
            (
                FindPhase::List { call, .. }
                | FindPhase::Holders {
                    ask: AskHolders { call, .. },
                    ..
                },
                Input::Tick,
            ) => call.on_tick(env),
            _ => {}
        }
        self.finish(env)
    }

    fn ask_holders(&mut self, env: &mut Env, container: &Container) -> Step {
        let FindPhase::List { pages, .. } = &self.phase else {
            return Step::Continue;
        };
        let (keys, more) = merge(pages, self.limit);
        let versions = keys.iter().map(|k| (k.name.clone(), k.known)).collect();
        let ask = AskHolders::start(env, container, &mut self.ticket, versions);
        self.phase = FindPhase::Holders { keys, more, ask };
        self.finish(env)
    }

    fn finish(&mut self, env: &mut Env) -> Step {
        let FindPhase::Holders { keys, more, ask } = &self.phase else {
            return Step::Continue;
        };
        if !ask.is_over(env) && !keys.is_empty() {
            return Step::Continue;
        }
        let lost = keys.iter().enumerate().filter_map(|(index, lacking)| {
            let (best, _) = ask.best_of(index);
            let site = env.cluster.site_of(lacking.known.writer.node());
            (best < lacking.known).then(|| LostKey {
                key: lacking.name.clone(),
                ts: lacking.known,
                site: site
                    .map(|site| env.cluster.spec().sites[usize::from(site.0)].clone())
                    .unwrap_or_default(),
                best: (best > Timestamp::ZERO).then_some(best),
            })
        });
        let success = Success::Lost {
            keys: lost.collect(),
            silent: if keys.is_empty() {
                Vec::new()
            } else {
                ask.silent(env)
            },
            more: more.clone(),
        };
        env.reply(self.ticket.request, Ok(success));
        Step::Done
    }

    /// When the listing next needs a tick.
    pub fn next_wakeup(&self) -> Duration {
        let next = match &self.phase {
            FindPhase::New => None,
            FindPhase::List { call, .. } => call.next_wakeup(),
            FindPhase::Holders { ask, .. } => ask.call.next_wakeup().map(|at| at.min(ask.until)),
        };
        next.map_or(self.ticket.deadline, |at| at.min(self.ticket.deadline))
    }
}

/// What becomes of an acceptance.
pub enum LossStep {
    /// It waits for more input.
    Continue,
    /// It has answered its client.
    Done,
    /// RW: the best value that is left is to be written at this timestamp, just above
    /// the lost one's, so that every write after that one is newer.
    Write {
        /// Who waits.
        ticket: Ticket,
        /// The object.
        key: Key,
        /// What is left of it.
        value: Value,
        /// The new timestamp.
        ts: Timestamp,
    },
    /// RMW: a round is to build on the best version that is left.
    Round {
        /// Who waits.
        ticket: Ticket,
        /// The object.
        key: Key,
        /// The lost version.
        lost: Timestamp,
        /// The best that is left; zero where there is none.
        best: Timestamp,
    },
}

/// An operator accepts that the newest value of one object is lost.
#[derive(Clone, Debug)]
pub struct AcceptLoss {
    ticket: Ticket,
    key: Key,
    /// The version that the operator saw listed.
    lost: Timestamp,
    phase: AcceptPhase,
}

#[derive(Clone, Debug)]
enum AcceptPhase {
    New,
    /// R-TS: which is the newest?
    Query {
        call: Call,
        known: Votes<Timestamp>,
    },
    /// Does nobody hold it?
    Holders {
        ask: AskHolders,
    },
    /// RW: the best that is left.
    Fetch {
        fetch: Fetch,
    },
}

impl AcceptLoss {
    /// An acceptance of the loss of version `lost`, not begun.
    pub fn new(ticket: Ticket, key: Key, lost: Timestamp) -> Self {
        Self {
            ticket,
            key,
            lost,
            phase: AcceptPhase::New,
        }
    }

    /// Moves the acceptance on.
    pub fn step(&mut self, env: &mut Env, container: &Container, input: Input) -> LossStep {
        match (&mut self.phase, input) {
            (AcceptPhase::New, Input::Start) => {
                let body = PriorityBody::ReadTs {
                    key: self.key.clone(),
                };
                let rpc = self.ticket.next_rpc();
                let call = Call::priority(env, container, rpc, &container.replicas, body);
                let known = Votes::new(container.replicas.len());
                self.phase = AcceptPhase::Query { call, known };
            }
            (
                AcceptPhase::Query { call, known },
                Input::Priority {
                    from,
                    rpc,
                    body: PriorityBody::ReadTsAck { known: ts, .. },
                },
            ) if call.rpc == rpc => {
                call.answered(from);
                known.yes(from, ts);
                let newest = known.answers().iter().map(|(_, ts)| *ts).max();
                let is_majority = known.answers().len() >= majority(container.replicas.len());
                match newest.cmp(&Some(self.lost)) {
                    Ordering::Greater => {
                        return self.refuse(env, "a newer version is known by now: list again");
                    }
                    Ordering::Equal if is_majority => return self.ask_holders(env, container),
                    // One replica may have been told before the site was lost.
                    Ordering::Less | Ordering::Equal => {}
                }
            }
            (
                AcceptPhase::Holders { ask },
                Input::Bulk {
                    from,
                    rpc,
                    body: BulkBody::BestHeld { best },
                },
            ) if ask.call.rpc == rpc => ask.on_answer(from, best),
            (
                AcceptPhase::Fetch { fetch },
                Input::Bulk {
                    rpc,
                    body: BulkBody::Data { ts, value },
                    ..
                },
            ) if fetch.rpc() == rpc => {
                if ts >= self.lost {
                    return self.refuse(env, "its newest value came back in the meantime");
                }
                return self.write(env, value);
            }
            (AcceptPhase::Query { call, .. }, Input::PeerUp { node, class })
            | (
                AcceptPhase::Holders {
                    ask: AskHolders { call, .. },
                },
                Input::PeerUp { node, class },
            ) => call.on_peer_up(env, node, class),
            (
                AcceptPhase::Fetch { fetch },
                Input::PeerUp {
                    node,
                    class: Class::Priority,
                },
            ) => fetch.on_peer_up(env, node),
            (AcceptPhase::Query { known, .. }, Input::Tick)
                if self.ticket.is_over(env)
                    && known.answers().len() >= majority(container.replicas.len()) =>
            {
                return self.refuse(env, "nobody who answered knows that version: list again");
            }
            (_, Input::Tick) if self.ticket.is_over(env) => {
                let why = "too few nodes told in time what they know and hold";
                env.reply(self.ticket.request, Err(unavailable(why)));
                return LossStep::Done;
            }
            (AcceptPhase::Query { call, .. }, Input::Tick)
            | (
                AcceptPhase::Holders {
                    ask: AskHolders { call, .. },
                },
                Input::Tick,
            ) => call.on_tick(env),
            (AcceptPhase::Fetch { fetch }, Input::Tick) => {
                fetch.on_tick(env);
            }
            _ => {}
        }
        self.decide(env, container)
    }

    fn ask_holders(&mut self, env: &mut Env, container: &Container) -> LossStep {
        let versions = vec![(self.key.name.clone(), self.lost)];
        let ask = AskHolders::start(env, container, &mut self.ticket, versions);
        self.phase = AcceptPhase::Holders { ask };
        self.decide(env, container)
    }

    /// All who are there have said what they hold.
    fn decide(&mut self, env: &mut Env, container: &Container) -> LossStep {
        let AcceptPhase::Holders { ask } = &self.phase else {
            return LossStep::Continue;
        };
        let (best, holder) = ask.best_of(0);
        if best >= self.lost {
            return self.refuse(env, "its newest value can be had: nothing is lost");
        }
        if !ask.is_over(env) {
            return LossStep::Continue;
        }
        match (container.kind, holder) {
            (Kind::Rmw, _) => LossStep::Round {
                ticket: self.ticket.clone(),
                key: self.key.clone(),
                lost: self.lost,
                best,
            },
            (_, Some(holder)) if best > Timestamp::ZERO => {
                let body = PriorityBody::ReadData {
                    key: self.key.clone(),
                    at_least: best,
                };
                let rpc = self.ticket.next_rpc();
                let fetch = Fetch::among(env, container, rpc, vec![holder], body);
                self.phase = AcceptPhase::Fetch { fetch };
                LossStep::Continue
            }
            _ => self.write(env, Value::Tombstone),
        }
    }

    fn write(&self, env: &Env, value: Value) -> LossStep {
        LossStep::Write {
            ticket: self.ticket.clone(),
            key: self.key.clone(),
            value,
            ts: Timestamp {
                time: self.lost.time + 1,
                writer: WriterId::new(env.me, env.incarnation),
            },
        }
    }

    fn refuse(&self, env: &mut Env, why: &str) -> LossStep {
        let reason = why.to_owned();
        env.reply(self.ticket.request, Err(Failure::Conflict { reason }));
        LossStep::Done
    }

    /// When the acceptance next needs a tick.
    pub fn next_wakeup(&self) -> Duration {
        let next = match &self.phase {
            AcceptPhase::New => None,
            AcceptPhase::Query { call, .. } => call.next_wakeup(),
            AcceptPhase::Holders { ask } => ask.call.next_wakeup().map(|at| at.min(ask.until)),
            AcceptPhase::Fetch { fetch } => Some(fetch.next_wakeup()),
        };
        next.map_or(self.ticket.deadline, |at| at.min(self.ticket.deadline))
    }
}
