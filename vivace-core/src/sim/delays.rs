//! Message delays per operation, counted exactly, beside those of the paper's Fig. 3
//! (Vivace §4.1), and copies of a value over each link between sites.
//!
//! An operation runs alone between messages of known length, twice, with different
//! lengths: the one sum of δ, d and D that explains both times is its count. A time
//! that no such sum explains, because a timer took part, is a panic.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::network::{Delays, Spread};
use super::{Simulation, Wire};
use crate::client_protocol::{ClientReply, Request, SessionId, Success};
use crate::cluster::{ClusterSpec, Container, Kind, TimestampSource, ValueCopies};
use crate::machine::StateMachine;
use crate::machine::builtin::{Counter, counter};
use crate::message::BulkBody;
use crate::{
    Class, ContainerId, Durability, Epoch, KeyName, Mutants, NodeId, SiteId, Timestamp, codec,
};

/// A number of message delays, in the terms of the paper's Fig. 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// δ: inside a site.
    pub locals: u32,
    /// d: between sites, in the priority class.
    pub priorities: u32,
    /// D: between sites, in the bulk class.
    pub bulks: u32,
}

impl Sum {
    /// `locals` δ + `priorities` d + `bulks` D.
    pub const fn of(locals: u32, priorities: u32, bulks: u32) -> Self {
        Self {
            locals,
            priorities,
            bulks,
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.locals, 'δ'),
            (self.priorities, 'd'),
            (self.bulks, 'D'),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| match count {
                1 => name.to_string(),
                _ => format!("{count}{name}"),
            })
            .collect();
        match parts.is_empty() {
            true => f.pad("0"),
            false => f.pad(&parts.join(" + ")),
        }
    }
}

/// How long one operation takes, by the paper and by count.
#[derive(Clone, Debug)]
pub struct Count {
    /// Whose, and as printed or as built here.
    pub algorithm: &'static str,
    /// The operation, and what distinguishes it.
    pub operation: &'static str,
    /// What the paper's Fig. 3 and §3.4 say; none where it knows no such operation.
    pub paper: Option<Sum>,
    /// What the simulator counted.
    pub counted: Sum,
    /// Where the two differ, or only one is there: why.
    pub why: &'static str,
}

/// Copies of one value over one directed link between sites.
#[derive(Clone, Debug)]
pub struct Copies {
    /// Whose, and as printed or as built here.
    pub algorithm: &'static str,
    /// Members of the writer's local set.
    pub local_set: usize,
    /// Replicas in the site at the other end.
    pub replicas: usize,
    /// What the paper's pseudocode sends.
    pub paper: usize,
    /// What the simulator counted.
    pub counted: usize,
    /// Where they differ: why.
    pub why: &'static str,
}

/// Milliseconds that δ, d and D take in one run. No two sums that occur are equal: at
/// most 8 δ are less than a d, and 5 d with them less than a D.
#[derive(Clone, Copy)]
struct Lengths {
    local: u32,
    priority: u32,
    bulk: u32,
}

const LENGTHS: [Lengths; 2] = [
    Lengths {
        local: 3,
        priority: 41,
        bulk: 601,
    },
    Lengths {
        local: 5,
        priority: 67,
        bulk: 907,
    },
];

impl Lengths {
    fn delays(self) -> Delays {
        let exactly = |ms: u32| Spread::exactly(Duration::from_millis(ms.into()));
        Delays {
            local: exactly(self.local),
            priority: exactly(self.priority),
            bulk: exactly(self.bulk),
            disk: Spread::ZERO,
        }
    }

    fn sum_of(self, took: Duration) -> Option<Sum> {
        let ms = u32::try_from(took.as_millis()).ok()?;
        let (bulks, ms) = (ms / self.bulk, ms % self.bulk);
        let (priorities, ms) = (ms / self.priority, ms % self.priority);
        let (locals, rest) = (ms / self.local, ms % self.local);
        let whole = Duration::from_millis(took.as_millis() as u64) == took;
        (whole && rest == 0).then_some(Sum::of(locals, priorities, bulks))
    }
}

const CONTAINER: &str = "objects";

/// A cluster of one container, in which an operation is timed.
#[derive(Clone)]
struct Setting {
    nodes_per_site: &'static [u16],
    container: Container,
    mutants: Mutants,
}

/// Where operations are asked for: a node of site 0 without a role of its own, so that
/// δ counts.
const COORDINATOR: NodeId = NodeId(0);

impl Setting {
    fn new(
        kind: Kind,
        nodes_per_site: &'static [u16],
        replicas: &[u16],
        local_sets: &[&[u16]],
    ) -> Self {
        let nodes = |numbers: &[u16]| numbers.iter().map(|&number| NodeId(number)).collect();
        let container = Container {
            id: ContainerId(1),
            name: CONTAINER.into(),
            kind,
            epoch: Epoch(1),
            replicas: nodes(replicas),
            local_sets: (0..)
                .map(SiteId)
                .zip(local_sets.iter().map(|set| nodes(set)))
                .collect(),
            timestamps: TimestampSource::Clock,
            write_back_skip: true,
            promise_skip: true,
            copies: ValueCopies::OnePerSite,
            durability: Durability::Local,
        };
        Self {
            nodes_per_site,
            container,
            mutants: Mutants::none(),
        }
    }

    /// Fig. 3's common case: a replica in each of three sites, n = 3, m = 1.
    fn common(kind: Kind) -> Self {
        Self::new(kind, &[2, 2, 2], &[1, 3, 5], &[&[1], &[3], &[5]])
    }

    /// Fig. 3's worst case, before anything fails: a reader in site 0 with a replica,
    /// a writer in site 1 without one, and a replica in each of two further sites.
    fn worst(kind: Kind) -> Self {
        Self::new(kind, &[3, 1, 1, 1], &[1, 4, 5], &[&[2], &[3], &[4], &[5]])
    }

    fn printed(mut self) -> Self {
        self.mutants = match self.container.kind {
            Kind::Rw => Mutants::PUBLISHED_ALG_1,
            Kind::Rmw => Mutants::PUBLISHED_ALG_3,
            Kind::Abd | Kind::LanRmw => Mutants::none(),
        };
        self.container.promise_skip = false;
        self.member_by_replica().without_skip()
    }

    fn member_by_replica(mut self) -> Self {
        self.container.copies = ValueCopies::MemberByReplica;
        self
    }

    /// Every round asks for promises, as after another coordinator's.
    fn asking(mut self) -> Self {
        self.container.promise_skip = false;
        self
    }

    fn without_skip(mut self) -> Self {
        self.container.write_back_skip = false;
        self
    }

    fn with_skip(mut self) -> Self {
        self.container.write_back_skip = true;
        self
    }

    fn by_query(mut self) -> Self {
        self.container.timestamps = TimestampSource::Query;
        self
    }

    fn start(&self, lengths: Lengths) -> Simulation {
        let mut nodes = BTreeMap::new();
        for (site, &count) in (0..).zip(self.nodes_per_site) {
            for _ in 0..count {
                nodes.insert(NodeId(nodes.len() as u16), SiteId(site));
            }
        }
        let spec = ClusterSpec {
            name: "delays".into(),
            sites: (0..self.nodes_per_site.len())
                .map(|site| format!("site{site}"))
                .collect(),
            nodes,
            containers: vec![self.container.clone()],
            clock_error_max: Duration::from_millis(2),
            clock_slack: Duration::from_millis(100),
            value_bytes_max: 1 << 20,
            backlog_bytes_max: 64 << 20,
        };
        Simulation::with_mutants(0, spec, lengths.delays(), self.mutants)
    }

    /// The sum of delays that `time` takes, whatever their lengths.
    ///
    /// # Panics
    /// Where no sum explains it.
    fn count(&self, time: impl Fn(&mut Simulation, Lengths) -> Duration) -> Sum {
        let [one, other] = LENGTHS.map(|lengths| {
            let took = time(&mut self.start(lengths), lengths);
            lengths.sum_of(took).unwrap_or_else(|| {
                panic!("{took:?} is no sum of delays in {:?}", self.container.kind)
            })
        });
        assert_eq!(one, other, "a timer took part: {:?}", self.container.kind);
        one
    }

    /// The delays of the last of `requests`, each asked when all before has settled.
    fn count_last(&self, requests: &[Request]) -> Sum {
        self.count(|simulation, _| {
            let times = requests.iter().map(|request| {
                let took = ask(simulation, COORDINATOR, request);
                settle(simulation);
                took
            });
            times.last().expect("something is asked for")
        })
    }

    /// The delays of `request` in Fig. 3's worst case: no replica in its site is live,
    /// and the newest value is at the local set of the writer's site alone. It leaves
    /// for the replicas when they are asked for it, three priority delays after the
    /// beginning, for the longest wait. Whether readers may ask the local set too is
    /// what the paper and this tree differ in.
    fn count_worst(&self, wrote: &Request, request: &Request, asks_local_set: bool) -> Sum {
        let (crashed, writer) = (NodeId(1), NodeId(3));
        let replicas = [NodeId(4), NodeId(5)];
        self.count(|simulation, lengths| {
            simulation.crash(crashed);
            for replica in replicas {
                simulation.cut(writer, replica, Class::Bulk);
            }
            ask(simulation, writer, wrote);
            simulation.run_for(Duration::from_secs(5));
            if !asks_local_set {
                simulation.cut(COORDINATOR, writer, Class::Priority);
            }
            let begun = simulation.now;
            let id = simulation.request(COORDINATOR, request.clone(), Duration::from_secs(60));
            simulation.run_for(Duration::from_millis((3 * lengths.priority).into()));
            for replica in replicas {
                simulation.join(writer, replica, Class::Bulk);
            }
            let reply = simulation.await_reply(id);
            assert!(is_result(&reply), "{reply:?}");
            simulation.now - begun
        })
    }

    /// Copies of the value of one write over the link from site 0 to site 1.
    fn copies(&self, wrote: &Request) -> usize {
        let mut simulation = self.start(LENGTHS[0]);
        simulation.sent = Some(Vec::new());
        ask(&mut simulation, COORDINATOR, wrote);
        settle(&mut simulation);
        let sent = simulation.sent.take().expect("just asked for");
        let site = |node| simulation.site_of(node);
        let is_copy = |wire: &Wire| {
            matches!(wire, Wire::Bulk(message)
                if matches!(message.body, BulkBody::WriteRemote { .. }))
        };
        sent.iter()
            .filter(|(from, to, wire)| {
                (site(*from), site(*to)) == (SiteId(0), SiteId(1)) && is_copy(wire)
            })
            .count()
    }
}

fn settle(simulation: &mut Simulation) {
    simulation.run_for(Duration::from_secs(120));
    assert!(simulation.is_settled(), "nothing is left under way");
}

fn ask(simulation: &mut Simulation, coordinator: NodeId, request: &Request) -> Duration {
    let (reply, took) = simulation.ask(coordinator, request.clone());
    assert!(is_result(&reply), "{reply:?}");
    took
}

fn is_result(reply: &ClientReply) -> bool {
    matches!(
        reply,
        Ok(Success::Value { .. }
            | Success::Written { .. }
            | Success::Executed { .. }
            | Success::State { state: Some(_) })
    )
}

fn key() -> KeyName {
    KeyName::new(b"k").expect("a key of one byte is valid")
}

fn write() -> Request {
    Request::Write {
        container: CONTAINER.into(),
        key: key(),
        value: bytes::Bytes::from_static(b"value").into(),
        durability: None,
    }
}

fn read() -> Request {
    Request::Read {
        container: CONTAINER.into(),
        key: key(),
    }
}

fn add(session: u64) -> Request {
    Request::Execute {
        container: CONTAINER.into(),
        key: key(),
        machine: Counter::NAME.into(),
        session: SessionId(Timestamp {
            time: session,
            ..Timestamp::ZERO
        }),
        sequence: 1,
        repeated: false,
        command: codec::encode(&counter::Command::Add(1)).into(),
        durability: None,
    }
}

fn read_state() -> Request {
    Request::ReadState {
        container: CONTAINER.into(),
        key: key(),
        machine: Counter::NAME.into(),
    }
}

/// Fig. 3 of the paper row by row, each followed by what this tree makes of it.
///
/// # Panics
/// Where an operation fails, or takes a time that is no sum of message delays.
pub fn counts() -> Vec<Count> {
    [of_registers(), of_machines()].concat()
}

fn of_registers() -> Vec<Count> {
    let abd = Setting::common(Kind::Abd);
    let printed = Setting::common(Kind::Rw).printed();
    let ours = Setting::common(Kind::Rw);
    let worst = Setting::worst(Kind::Rw);
    let written_and_read = [write(), read()];
    vec![
        Count {
            algorithm: "ABD",
            operation: "write",
            paper: Some(Sum::of(0, 0, 2)),
            counted: abd.count_last(&[write()]),
            why: "",
        },
        Count {
            algorithm: "ABD",
            operation: "read",
            paper: Some(Sum::of(0, 0, 4)),
            counted: abd.clone().without_skip().count_last(&written_and_read),
            why: "",
        },
        Count {
            algorithm: "ABD",
            operation: "read, with §3.4.1",
            paper: None,
            counted: abd.count_last(&written_and_read),
            why: "not in Fig. 3: the write-back is skipped when a majority agrees",
        },
        Count {
            algorithm: "Alg. 1 as printed",
            operation: "write",
            paper: Some(Sum::of(2, 2, 0)),
            counted: printed.count_last(&[write()]),
            why: "",
        },
        Count {
            algorithm: "Alg. 1 as printed",
            operation: "read",
            paper: Some(Sum::of(2, 4, 0)),
            counted: printed.count_last(&written_and_read),
            why: "",
        },
        Count {
            algorithm: "Alg. 1 as printed",
            operation: "read, with §3.4.1",
            paper: Some(Sum::of(2, 2, 0)),
            counted: printed.clone().with_skip().count_last(&written_and_read),
            why: "",
        },
        Count {
            algorithm: "Alg. 1 as printed",
            operation: "read, worst case",
            paper: Some(Sum::of(0, 5, 2)),
            counted: worst
                .clone()
                .printed()
                .count_worst(&write(), &read(), false),
            why: "",
        },
        Count {
            algorithm: "RW here",
            operation: "write",
            paper: Some(Sum::of(2, 2, 0)),
            counted: ours.count_last(&[write()]),
            why: "",
        },
        Count {
            algorithm: "RW here",
            operation: "write without a trusted clock",
            paper: None,
            counted: ours.clone().by_query().count_last(&[write()]),
            why: "the paper assumes clocks; a majority is asked, then the copies are bound",
        },
        Count {
            algorithm: "RW here",
            operation: "read",
            paper: Some(Sum::of(2, 2, 0)),
            counted: ours.count_last(&written_and_read),
            why: "",
        },
        Count {
            algorithm: "RW here",
            operation: "read, without §3.4.1",
            paper: Some(Sum::of(2, 4, 0)),
            counted: ours.without_skip().count_last(&written_and_read),
            why: "",
        },
        Count {
            algorithm: "RW here",
            operation: "read, worst case",
            paper: Some(Sum::of(0, 5, 2)),
            counted: worst.count_worst(&write(), &read(), true),
            why: "no write-back (§3.4.1); the writer's local set answers the reader itself",
        },
        Count {
            algorithm: "RW here",
            operation: "read, worst case, writer's site silent",
            paper: Some(Sum::of(0, 5, 2)),
            counted: worst.count_worst(&write(), &read(), false),
            why: "no write-back (§3.4.1)",
        },
    ]
}

fn of_machines() -> Vec<Count> {
    let lan = Setting::common(Kind::LanRmw);
    let printed = Setting::common(Kind::Rmw).printed();
    let ours = Setting::common(Kind::Rmw);
    let worst = Setting::worst(Kind::Rmw);
    let twice = [add(1), add(2)];
    vec![
        Count {
            algorithm: "Alg. 2",
            operation: "execute",
            paper: Some(Sum::of(0, 0, 4)),
            counted: lan.count_last(&twice),
            why: "",
        },
        Count {
            algorithm: "Alg. 2",
            operation: "read-only command",
            paper: Some(Sum::of(0, 0, 4)),
            counted: lan.count_last(&[add(1), read_state()]),
            why: "it changes nothing, and the promises confirm what it read",
        },
        Count {
            algorithm: "Alg. 3 as printed",
            operation: "execute",
            paper: Some(Sum::of(4, 4, 0)),
            counted: printed.count_last(&twice),
            why: "",
        },
        Count {
            algorithm: "Alg. 3 as printed",
            operation: "execute, worst case",
            paper: Some(Sum::of(2, 5, 2)),
            counted: worst.clone().printed().count_worst(&add(1), &add(2), false),
            why: "",
        },
        Count {
            algorithm: "RMW here",
            operation: "execute",
            paper: Some(Sum::of(4, 4, 0)),
            counted: ours.count_last(&twice),
            why: "the acceptance of the round before promised this one",
        },
        Count {
            algorithm: "RMW here",
            operation: "execute, another site's was the last",
            paper: Some(Sum::of(4, 4, 0)),
            counted: ours.clone().asking().count_last(&twice),
            why: "",
        },
        Count {
            algorithm: "RMW here",
            operation: "execute, the object's first",
            paper: Some(Sum::of(4, 4, 0)),
            counted: ours.count_last(&[add(1)]),
            why: "there is no version to fetch",
        },
        Count {
            algorithm: "RMW here",
            operation: "execute, worst case",
            paper: Some(Sum::of(2, 5, 2)),
            counted: worst.count_worst(&add(1), &add(2), true),
            why: "the writer's local set answers itself",
        },
        Count {
            algorithm: "RMW here",
            operation: "read-only command",
            paper: Some(Sum::of(4, 4, 0)),
            counted: ours.count_last(&[add(1), read_state()]),
            why: "timestamps first; no round where a majority holds the newest",
        },
    ]
}

/// Copies of a value that cross a link from a site with a local set of 3 to a site with
/// two replicas.
///
/// # Panics
/// Where the write fails.
pub fn copies() -> Vec<Copies> {
    let of = |kind| {
        let local_sets: [&[u16]; 3] = [&[1, 2, 3], &[5], &[8]];
        Setting::new(kind, &[4, 3, 3], &[1, 5, 6, 8, 9], &local_sets)
    };
    let row = |algorithm, setting: &Setting, wrote: &Request, why| Copies {
        algorithm,
        local_set: 3,
        replicas: 2,
        paper: 6,
        counted: setting.copies(wrote),
        why,
    };
    let one = "one member sends, one replica of a site relays";
    vec![
        row("Alg. 1 as printed", &of(Kind::Rw).printed(), &write(), ""),
        row("Alg. 3 as printed", &of(Kind::Rmw).printed(), &add(1), ""),
        row(
            "RW here, member by replica",
            &of(Kind::Rw).member_by_replica(),
            &write(),
            "",
        ),
        row("RW here", &of(Kind::Rw), &write(), one),
        row("RMW here", &of(Kind::Rmw), &add(1), one),
    ]
}
