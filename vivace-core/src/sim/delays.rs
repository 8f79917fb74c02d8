//! Message delays per operation, counted exactly, beside those of the paper's Fig. 3
//! (Vivace §4.1), and copies of a value over each link between sites.
//!
//! An operation runs alone between messages of known length, twice, with different
//! lengths: the one sum of δ, d and D that explains both times is its count. A time
//! that no such sum explains, because a timer took part, is a panic.

mod paper;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use self::paper::{copies, counts};
use super::network::{Delays, Spread};
use super::{Simulation, Wire};
use crate::client_protocol::{ClientReply, Request, Success};
use crate::cluster::{ClusterSpec, Container, Kind, TimestampSource, ValueCopies};
use crate::message::BulkBody;
use crate::{Class, ContainerId, Durability, Epoch, Mutants, NodeId, SiteId};

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
            commands_at_replicas: true,
            early_data: true,
            direct_writes: true,
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
        self.member_by_replica().without_skip().timestamp_first()
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

    /// Nobody is asked for timestamp and value at once.
    fn timestamp_first(mut self) -> Self {
        self.container.early_data = false;
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
