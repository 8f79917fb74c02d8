//! One schedule played to its end, under the simulator's checker: every history must
//! be linearizable, what must end has a result, and nothing is left over.

use std::collections::BTreeMap;
use std::time::Duration;

use vivace_core::client_protocol::{Failure, Request, Success};
use vivace_core::cluster::{ClusterSpec, Container, Kind};
use vivace_core::machine::StateMachine;
use vivace_core::machine::builtin::{Counter, counter};
use vivace_core::{Mutants, NodeId, RequestId, codec};

use crate::cluster::history::{Answer, Ask, History};
use crate::cluster::requests::{execute, first_of, read, read_state, repeated, write};
use crate::cluster::script::{DELAYS, ms, spec};
use crate::cluster::{HostClock, Occurrence, Simulation};

/// What the checker says.
pub type Verdict = Result<(), String>;

/// The one object of every schedule.
const KEY: &str = "k";

/// After this much virtual time, an operation that must end counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

pub const READ: Ask = Ask::Read;
pub const COUNT: Ask = Ask::ReadState;

/// Values are numbers, unique within a schedule.
pub fn put(value: u64) -> Ask {
    Ask::Write(value)
}

/// A counter's command.
pub fn add(amount: i64) -> Ask {
    command(&counter::Command::Add(amount))
}

pub fn command(command: &counter::Command) -> Ask {
    Ask::Execute {
        machine: Counter::NAME,
        command: codec::encode(command).into(),
    }
}

/// An operation under way.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    request: RequestId,
    coordinator: NodeId,
    entry: usize,
}

/// A cluster, what its clients did and heard, and what went wrong besides.
pub struct Trial {
    pub simulation: Simulation,
    history: History,
    under_way: BTreeMap<RequestId, usize>,
    failures: BTreeMap<RequestId, Failure>,
    wrong: Vec<String>,
}

impl Trial {
    pub fn new(kind: Kind, mutants: Mutants) -> Self {
        Self::on(spec(kind, |_| {}), mutants, 0)
    }

    pub fn of(kind: Kind, mutants: Mutants, change: impl FnOnce(&mut Container)) -> Self {
        Self::on(spec(kind, change), mutants, 0)
    }

    pub fn on(spec: ClusterSpec, mutants: Mutants, seed: u64) -> Self {
        Self {
            simulation: Simulation::with_mutants(seed, spec, DELAYS, mutants),
            history: History::default(),
            under_way: BTreeMap::new(),
            failures: BTreeMap::new(),
            wrong: Vec::new(),
        }
    }

    /// A client asks; whether it hears anything is no matter yet.
    pub fn begin(&mut self, coordinator: u16, ask: Ask) -> Asked {
        let entry = self.history.invoke(KEY, ask);
        self.send(coordinator, entry, false)
    }

    /// The same command of the same session, of a client that has heard nothing and
    /// listens to the first try no more.
    pub fn retry(&mut self, coordinator: u16, asked: Asked) -> Asked {
        self.under_way.remove(&asked.request);
        self.send(coordinator, asked.entry, true)
    }

    fn send(&mut self, coordinator: u16, entry: usize, again: bool) -> Asked {
        let nth = first_of(entry as u64 + 1);
        let nth = if again { repeated(nth) } else { nth };
        let request = match &self.history.entries(KEY)[entry].ask {
            Ask::Read => read(KEY),
            Ask::Write(value) => write(KEY, value.to_be_bytes()),
            Ask::ReadState => read_state::<Counter>(KEY),
            Ask::Execute { command, .. } => {
                let bytes = &command.0;
                let command = codec::decode(bytes, bytes.len()).expect("encoded above");
                execute::<Counter>(KEY, nth, &command)
            }
        };
        self.send_request(coordinator, entry, request)
    }

    fn send_request(&mut self, coordinator: u16, entry: usize, request: Request) -> Asked {
        let coordinator = NodeId(coordinator);
        let request = self.simulation.request(coordinator, request, PATIENCE);
        self.under_way.insert(request, entry);
        Asked {
            request,
            coordinator,
            entry,
        }
    }

    /// Waits for an operation that must have a result.
    pub fn finish(&mut self, asked: Asked) -> Answer {
        while self.under_way.contains_key(&asked.request) {
            let occurrence = self.simulation.next(Duration::MAX);
            self.note(occurrence.expect("it ends by its deadline"));
        }
        let entry = &self.history.entries(KEY)[asked.entry];
        if let Some(failure) = self.failures.get(&asked.request) {
            self.wrong.push(format!(
                "{:?} at {} got no result: {failure}",
                entry.ask, asked.coordinator
            ));
        }
        entry.answer.clone()
    }

    /// Asks, and waits for the result that it must have.
    pub fn ask(&mut self, coordinator: u16, ask: Ask) -> Answer {
        let asked = self.begin(coordinator, ask);
        self.finish(asked)
    }

    pub fn run_for(&mut self, time_ms: u64) {
        let until = self.simulation.now + ms(time_ms);
        while let Some(occurrence) = self.simulation.next(until) {
            self.note(occurrence);
        }
    }

    pub fn crash(&mut self, nodes: &[u16]) {
        for &node in nodes {
            self.simulation.crash(NodeId(node));
        }
    }

    pub fn restart(&mut self, nodes: &[u16]) {
        for &node in nodes {
            self.simulation.restart(NodeId(node));
        }
    }

    /// These nodes' clocks are so far from the truth, and claim an error bound.
    pub fn set_clocks(&mut self, nodes: &[u16], skew_ms: i64, error_ms: Option<u64>) {
        let clock = HostClock {
            skew_ns: skew_ms * 1_000_000,
            error_ns: error_ms.map(|ms| ms * 1_000_000),
        };
        for &node in nodes {
            self.simulation.set_clock(NodeId(node), clock);
        }
    }

    /// Waits until nothing is held anywhere.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            if self.simulation.is_settled() {
                return;
            }
            self.run_for(1000);
        }
        for node in self.simulation.alive() {
            let held = self.simulation.status(node).held;
            if held > 0 {
                let left = format!("{node} still holds {held} copies that nobody needs");
                self.wrong.push(left);
            }
        }
    }

    fn note(&mut self, occurrence: Occurrence) {
        match occurrence {
            Occurrence::Reply { request, reply } => {
                let Some(entry) = self.under_way.remove(&request) else {
                    return;
                };
                let answer = match reply {
                    Ok(Success::Value { ts, value }) => {
                        let number = value.0[..].try_into().expect("a value is a number");
                        Answer::Value(Some((u64::from_be_bytes(number), ts)))
                    }
                    Ok(Success::NotFound) => Answer::Value(None),
                    Ok(Success::Written { ts }) => Answer::Written(ts),
                    Ok(Success::Executed { output }) => Answer::Executed(Ok(output)),
                    Ok(Success::State { state }) => Answer::State(state),
                    Ok(other) => panic!("nobody asked for {other:?}"),
                    Err(Failure::Conflict { reason }) => Answer::Executed(Err(reason)),
                    Err(failure) => {
                        let unsure = matches!(failure, Failure::Unknown { .. });
                        self.failures.insert(request, failure);
                        if unsure {
                            Answer::Unknown
                        } else {
                            Answer::NotApplied
                        }
                    }
                };
                self.history.answer(KEY, entry, answer);
            }
            Occurrence::Lost { request } => {
                self.under_way.remove(&request);
            }
            Occurrence::Wake { .. } => {}
        }
    }

    /// What the checker says in the end.
    pub fn verdict(self) -> Verdict {
        match self.wrong.into_iter().next() {
            Some(wrong) => Err(wrong),
            None => self.history.check(),
        }
    }
}
