//! The operations that a node coordinates for its clients (§3.4.2, delegation).

mod checks;
mod operation;
mod requests;
mod shared_reads;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::checks::busy;
use self::operation::{Operation, Outcome};
use self::shared_reads::SharedReads;
use crate::abd;
use crate::batch::{Pending, Wish};
use crate::client_protocol::{Failure, Request, SessionId};
use crate::cluster::{Container, Kind};
use crate::durability::Durability;
use crate::env::Env;
use crate::event::{Class, RequestId};
use crate::holders::Settle;
use crate::identity::{ContainerId, Epoch, NodeId};
use crate::key::{Key, KeyName};
use crate::lan_rmw;
use crate::local_set::{LOCAL_SET_OPERATION, LocalSet};
use crate::message::{RpcId, WriteId};
use crate::operation::{Calls, Input, Ticket};
use crate::timestamp::Timestamp;
use crate::value::Value;
use crate::vivace_rmw;
use crate::vivace_rw;

/// Operations that one node coordinates at once; more hear `Busy`.
pub const OPERATIONS_MAX: usize = 16_384;

#[derive(Clone, Debug)]
struct Running {
    container: ContainerId,
    /// The object, where the operation is a round of it that others may share.
    round_of: Option<Key>,
    /// It waits for further clients.
    is_gathering: bool,
    operation: Operation,
    wakeup: Duration,
}

/// All operations under way at this node.
#[derive(Clone, Debug, Default)]
pub struct Coordinator {
    /// Boxed: the tree moves its entries about.
    running: BTreeMap<u64, Box<Running>>,
    rounds: BTreeMap<Key, u64>,
    shared_reads: SharedReads,
    timers: BTreeSet<(Duration, u64)>,
    last_operation: u64,
    last_session: u64,
}

impl Coordinator {
    /// How many operations are under way.
    pub fn in_flight(&self) -> u64 {
        self.running.len() as u64
    }

    /// What is remembered of them, timers and rounds that others may share included.
    #[cfg(feature = "sim")]
    pub fn leftovers(&self) -> usize {
        let shared = self.shared_reads.under_way();
        self.running.len() + self.rounds.len() + self.timers.len() + shared
    }

    /// Begins what a client asks for, or refuses it.
    pub fn on_request(
        &mut self,
        env: &mut Env,
        local: &LocalSet,
        id: RequestId,
        request: Request,
        deadline: Duration,
    ) {
        if let Err(failure) = self.try_request(env, local, id, request, deadline) {
            env.reply(id, Err(failure));
        }
    }

    fn admit(&self, env: &Env) -> Result<(), Failure> {
        if self.running.len() + env.sharers() >= OPERATIONS_MAX {
            return Err(busy(format!(
                "this node coordinates {OPERATIONS_MAX} operations already"
            )));
        }
        if env.out.is_behind() {
            return Err(busy("the disk is behind"));
        }
        Ok(())
    }

    fn open_session(&mut self, env: &Env) -> SessionId {
        let time = env
            .now
            .clock
            .time_ns
            .max(env.session_floor)
            .max(self.last_session)
            + 1;
        self.last_session = time;
        let writer = crate::timestamp::WriterId::new(env.me, env.incarnation);
        SessionId(Timestamp { time, writer })
    }

    fn next_operation(&mut self) -> u64 {
        self.last_operation += 1;
        debug_assert_ne!(self.last_operation, LOCAL_SET_OPERATION);
        self.last_operation
    }

    /// A ticket under the number that [`Coordinator::start`] gives next.
    fn ticket(
        &mut self,
        env: &Env,
        container: &Container,
        id: RequestId,
        deadline: Duration,
        name: KeyName,
    ) -> (Ticket, Key) {
        let operation = self.next_operation();
        let ticket = Ticket::new(id, deadline, Calls::new(env.incarnation, operation));
        (
            ticket,
            Key {
                container: container.id,
                name,
            },
        )
    }

    fn write(
        &mut self,
        env: &mut Env,
        container: &Container,
        ticket: Ticket,
        key: Key,
        value: Value,
        durability: Durability,
    ) {
        let number = self.last_operation;
        let operation = match container.kind {
            Kind::Abd => Operation::Abd(abd::Operation::write(ticket, key, value)),
            Kind::Rw | Kind::Rmw | Kind::LanRmw => {
                let write = WriteId {
                    node: env.me,
                    incarnation: env.incarnation,
                    number,
                };
                Operation::Write(vivace_rw::Write::new(ticket, key, value, write, durability))
            }
        };
        self.start(env, container, None, operation);
    }

    /// Adds a client to its object's round, and begins one where none is under way.
    fn enqueue(
        &mut self,
        env: &mut Env,
        container: &Container,
        key: Key,
        pending: Pending,
    ) -> Result<(), Failure> {
        let full = |_| busy("too many commands wait for this object");
        if let Some(number) = self.rounds.get(&key)
            && let Some(running) = self.running.get_mut(number)
        {
            let pushed = match &mut running.operation {
                Operation::Execute(execute) => execute.push(pending),
                Operation::LanExecute(execute) => execute.push(pending),
                Operation::Read(_)
                | Operation::Write(_)
                | Operation::Abd(_)
                | Operation::ReadState(_)
                | Operation::Settle(_)
                | Operation::FindLost(_)
                | Operation::AcceptLoss(_)
                | Operation::ListObjects(_)
                | Operation::CopyObject(_) => Err(pending),
            };
            let number = *number;
            self.rearm(number);
            return pushed.map_err(full);
        }
        let number = self.next_operation();
        let calls = Calls::new(env.incarnation, number);
        let operation = match container.kind {
            Kind::LanRmw => {
                let mut execute = lan_rmw::Execute::new(calls, key.clone());
                execute.push(pending).map_err(full)?;
                Operation::LanExecute(execute)
            }
            Kind::Rmw | Kind::Rw | Kind::Abd => {
                let mut execute = vivace_rmw::Execute::new(calls, key.clone());
                execute.push(pending).map_err(full)?;
                Operation::Execute(execute)
            }
        };
        self.rounds.insert(key.clone(), number);
        self.start(env, container, Some(key), operation);
        Ok(())
    }

    /// Starts the operation whose number was taken last.
    fn start(
        &mut self,
        env: &mut Env,
        container: &Container,
        round_of: Option<Key>,
        operation: Operation,
    ) {
        let number = self.insert(container, round_of, operation, Duration::MAX);
        self.step(env, number, Input::Start);
    }

    /// Keeps the operation whose number was taken last; one with a time to begin at is a
    /// read that gathers others until then.
    fn insert(
        &mut self,
        container: &Container,
        round_of: Option<Key>,
        operation: Operation,
        wakeup: Duration,
    ) -> u64 {
        let number = self.last_operation;
        let running = Running {
            container: container.id,
            round_of,
            is_gathering: wakeup < Duration::MAX,
            operation,
            wakeup,
        };
        self.running.insert(number, Box::new(running));
        self.timers.insert((wakeup, number));
        number
    }

    fn step(&mut self, env: &mut Env, number: u64, input: Input) {
        let Some(running) = self.running.get_mut(&number) else {
            return;
        };
        let cluster = env.cluster.clone();
        let Some(container) = cluster.container(running.container) else {
            return;
        };
        let mut input = input;
        if std::mem::take(&mut running.is_gathering)
            && let Some(key) = &running.round_of
        {
            let together = self.shared_reads.begin(key, number, env.now.monotonic);
            running.operation.ask_together(together);
            input = Input::Start;
        }
        let outcome = running.operation.step(env, container, input);
        if let Some(is_behind) = running.operation.take_finding()
            && let Some(key) = &running.round_of
        {
            self.shared_reads.find(key, is_behind);
        }
        match outcome {
            Outcome::Continue => self.rearm(number),
            Outcome::Done => {
                self.end(env, number);
            }
            Outcome::Becomes(operation) => {
                running.operation = *operation;
                self.step(env, number, Input::Start);
            }
            Outcome::Enqueue(key, pending) => {
                self.end(env, number);
                let request = pending.request;
                if let Err(failure) = self.enqueue(env, container, key, pending) {
                    env.reply(request, Err(failure));
                }
            }
            Outcome::NeedsRound => {
                if let Some(Operation::ReadState(read)) = self.end(env, number) {
                    env.counters.count("read-only command completed by a round");
                    let (ticket, key, extent) = read.into_parts();
                    let wish = Wish::Read(extent);
                    let pending = Pending::new(ticket.request, ticket.deadline, wish);
                    if let Err(failure) = self.enqueue(env, container, key, pending) {
                        env.reply(ticket.request, Err(failure));
                    }
                }
            }
        }
        self.settle(env);
    }

    /// Begins to wait for the holders of what rounds have just brought about.
    fn settle(&mut self, env: &mut Env) {
        let cluster = env.cluster.clone();
        while let Some(settling) = env.settling.pop() {
            if let Some(container) = cluster.container(settling.container) {
                let calls = Calls::new(env.incarnation, self.next_operation());
                let settle = Operation::Settle(Settle::new(settling, calls));
                self.start(env, container, None, settle);
            }
        }
    }

    fn rearm(&mut self, number: u64) {
        let Some(running) = self.running.get_mut(&number) else {
            return;
        };
        let wakeup = running.operation.next_wakeup();
        if wakeup != running.wakeup {
            self.timers.remove(&(running.wakeup, number));
            self.timers.insert((wakeup, number));
            running.wakeup = wakeup;
        }
    }

    /// The operation is over. A read that waited for a round of its object begins.
    fn end(&mut self, env: &mut Env, number: u64) -> Option<Operation> {
        let running = *self.running.remove(&number)?;
        self.timers.remove(&(running.wakeup, number));
        let Some(key) = running.round_of else {
            return Some(running.operation);
        };
        match running.operation {
            Operation::Read(_) | Operation::ReadState(_) => {
                if let Some(next) = self.shared_reads.end(&key) {
                    self.step(env, next, Input::Start);
                }
            }
            _ => drop(self.rounds.remove(&key)),
        }
        Some(running.operation)
    }

    /// An answer to one of this node's calls, given in `epoch`: acks and promises of
    /// one configuration never count in another.
    pub fn on_answer(&mut self, env: &mut Env, rpc: RpcId, epoch: Epoch, input: Input) {
        if rpc.incarnation != env.incarnation {
            return;
        }
        let Some(running) = self.running.get(&rpc.operation) else {
            return;
        };
        let container = env.cluster.container(running.container);
        if container.is_none_or(|container| container.epoch != epoch) {
            env.counters.count("dropped: an answer of another epoch");
            return;
        }
        self.step(env, rpc.operation, input);
    }

    /// Whether a round of `key` is under way, or waits.
    pub fn has_round(&self, key: &Key) -> bool {
        self.rounds.contains_key(key)
    }

    /// Another coordinator's round of `key` was chosen.
    pub fn on_commit(&mut self, env: &mut Env, key: &Key) {
        let Some(&number) = self.rounds.get(key) else {
            return;
        };
        if let Some(running) = self.running.get(&number)
            && let Operation::Execute(execute) = &running.operation
            && execute.stands_back()
        {
            self.step(env, number, Input::Start);
        }
    }

    /// A connection came back.
    pub fn on_peer_up(&mut self, env: &mut Env, node: NodeId, class: Class) {
        let numbers: Vec<u64> = self.running.keys().copied().collect();
        for number in numbers {
            self.step(env, number, Input::PeerUp { node, class });
        }
    }

    /// Wakes the operations whose time has come.
    pub fn on_tick(&mut self, env: &mut Env) {
        let due: Vec<u64> = self
            .timers
            .range(..=(env.now.monotonic, u64::MAX))
            .map(|&(_, number)| number)
            .collect();
        for number in due {
            self.step(env, number, Input::Tick);
        }
    }

    /// When [`Coordinator::on_tick`] is next due.
    pub fn next_wakeup(&self) -> Option<Duration> {
        self.timers.first().map(|&(wakeup, _)| wakeup)
    }
}
