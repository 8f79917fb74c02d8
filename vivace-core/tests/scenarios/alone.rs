//! One node alone, message by message: what it answers, when, and what it refuses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vivace_core::clock::{ClockReading, Now};
use vivace_core::cluster::{Cluster, ClusterSpec, Kind, TimestampSource};
use vivace_core::machine::Machines;
use vivace_core::message::{
    BulkBody, BulkMessage, CopyTag, PriorityBody, PriorityMessage, RpcId, WriteId,
};
use vivace_core::stored::ValueId;
use vivace_core::{
    Action, Class, ContainerId, Epoch, Event, Incarnation, Key, Lsn, Node, NodeId, Timestamp,
    Value, WriterId,
};

use crate::cluster::layout;
use crate::{A, B, C, spec};

/// A node of the three sites and its disk, which is as slow as the test likes.
pub struct Alone {
    me: NodeId,
    pub node: Node,
    pub now: Now,
    asked: Lsn,
    values: BTreeMap<ValueId, Value>,
}

impl Alone {
    pub fn new(me: NodeId, kind: Kind, timestamps: TimestampSource) -> Self {
        Self::on(
            me,
            spec(kind, |container| container.timestamps = timestamps),
        )
    }

    /// A node of the cluster `spec`.
    pub fn on(me: NodeId, spec: ClusterSpec) -> Self {
        let others: Vec<NodeId> = spec.nodes.keys().copied().filter(|&n| n != me).collect();
        let cluster = Arc::new(Cluster::new(spec).unwrap());
        let clock = ClockReading {
            time_ns: 1_000_000_000,
            error_ns: Some(0),
        };
        let now = Now {
            monotonic: Duration::ZERO,
            clock,
        };
        let machines = Machines::builtin();
        let mut node = Node::new(me, Incarnation(1), cluster, machines, now, 0).unwrap();
        for peer in others {
            for class in [Class::Priority, Class::Bulk] {
                node.handle(now, Event::PeerUp { node: peer, class });
            }
        }
        Self {
            me,
            node,
            now,
            asked: Lsn(0),
            values: BTreeMap::new(),
        }
    }

    pub fn replica(kind: Kind) -> Self {
        Self::new(A, kind, TimestampSource::Clock)
    }

    pub fn handle(&mut self, event: Event) -> Vec<Sent> {
        let (mut sent, mut loaded) = (Vec::new(), Vec::new());
        for action in self.node.handle(self.now, event) {
            match action {
                Action::SendPriority { to, message } => sent.push(Sent::Priority(to, message.body)),
                Action::SendBulk { to, message } => sent.push(Sent::Bulk(to, message.body)),
                Action::SendStored { to, message } => {
                    let value = self.values[&message.value].clone();
                    let message = message.with(value);
                    match to == self.me {
                        true => loaded.push(Event::Bulk { from: to, message }),
                        false => sent.push(Sent::Bulk(to, message.body)),
                    }
                }
                Action::StoreValue { lsn, id, value, .. } => {
                    self.asked = lsn;
                    self.values.insert(id, value);
                }
                Action::ForgetValue { id } => drop(self.values.remove(&id)),
                Action::Persist { lsn, .. } => self.asked = lsn,
                Action::PersistLater { .. } => {}
                Action::Reply { .. } => panic!("nobody asked"),
            }
        }
        sent.extend(loaded.into_iter().flat_map(|event| self.handle(event)));
        sent
    }

    pub fn priority(&mut self, from: NodeId, body: PriorityBody) -> Vec<Sent> {
        let message = PriorityMessage {
            rpc: RPC,
            epoch: Epoch(1),
            body,
        };
        self.handle(Event::Priority { from, message })
    }

    pub fn bulk(&mut self, from: NodeId, body: BulkBody) -> Vec<Sent> {
        let message = BulkMessage {
            rpc: RPC,
            epoch: Epoch(1),
            body,
        };
        self.handle(Event::Bulk { from, message })
    }

    /// The disk has everything; returns what waited for that.
    pub fn flush(&mut self) -> Vec<Sent> {
        self.handle(Event::Durable {
            through: self.asked,
        })
    }

    /// How often the node has counted `cause`.
    pub fn counted(&self, cause: &str) -> u64 {
        let causes = self.node.status().causes;
        let found = causes.iter().find(|(name, _)| name == cause);
        found.map_or(0, |(_, count)| *count)
    }

    pub fn known(&mut self) -> Timestamp {
        match &self.priority(C, PriorityBody::ReadTs { key: key() })[..] {
            [Sent::Priority(_, PriorityBody::ReadTsAck { known, .. })] => *known,
            other => panic!("an answer to R-TS is expected, not {other:?}"),
        }
    }
}

#[derive(Debug, PartialEq)]
pub enum Sent {
    Priority(NodeId, PriorityBody),
    Bulk(NodeId, BulkBody),
}

pub const RPC: RpcId = RpcId {
    incarnation: Incarnation(1),
    operation: 7,
    call: 1,
};

pub fn key() -> Key {
    Key {
        container: ContainerId(1),
        name: layout::key("k"),
    }
}

pub fn ts(time: u64) -> Timestamp {
    Timestamp {
        time,
        writer: WriterId::new(B, Incarnation(1)),
    }
}

pub fn value(bytes: &'static str) -> Value {
    Value::from(Bytes::from_static(bytes.as_bytes()))
}

pub fn write_remote(time: u64) -> BulkBody {
    BulkBody::WriteRemote {
        key: key(),
        ts: ts(time),
        propagator: B,
        relay: vec![],
        value: value("v"),
    }
}

pub fn write_local(time: u64) -> BulkBody {
    let propagator = NodeId(1);
    BulkBody::WriteLocal {
        key: key(),
        tag: CopyTag::Bound(ts(time)),
        propagator,
        value: value("v"),
        derivation: None,
    }
}

/// DESIGN §6: what an acknowledgment tells of is durable before it leaves.
#[test]
fn every_acknowledgment_waits_for_the_disk() {
    let one = NodeId(1);
    let write = WriteId {
        node: one,
        incarnation: Incarnation(1),
        number: 1,
    };
    let unbound = BulkBody::WriteLocal {
        key: key(),
        tag: CopyTag::Unbound(write),
        propagator: one,
        value: value("v"),
        derivation: None,
    };
    type Step = Box<dyn Fn(&mut Alone) -> Vec<Sent>>;
    let priority = |from, body: PriorityBody| -> Step {
        Box::new(move |alone| alone.priority(from, body.clone()))
    };
    let bulk =
        |from, body: BulkBody| -> Step { Box::new(move |alone| alone.bulk(from, body.clone())) };
    let known = || {
        priority(
            B,
            PriorityBody::WriteTs {
                key: key(),
                ts: ts(5),
            },
        )
    };
    let promise = || {
        priority(
            B,
            PriorityBody::OrderedReadTs {
                key: key(),
                ots: ts(5),
            },
        )
    };
    let accept = || {
        priority(
            B,
            PriorityBody::OrderedWriteTs {
                key: key(),
                ots: ts(5),
            },
        )
    };
    let bind = || {
        priority(
            one,
            PriorityBody::Bind {
                key: key(),
                write,
                ts: ts(5),
            },
        )
    };
    let abort = || priority(one, PriorityBody::Abort { key: key(), write });
    let ask = || priority(C, PriorityBody::ReadTs { key: key() });
    let data = || {
        priority(
            C,
            PriorityBody::ReadData {
                key: key(),
                at_least: ts(1),
            },
        )
    };
    // The kind, what happens before, and what must be held back.
    let cases: Vec<(&str, Kind, Vec<Step>)> = vec![
        ("W-TS", Kind::Rw, vec![known()]),
        ("R-TS after W-TS", Kind::Rw, vec![known(), ask()]),
        ("W-REMOTE", Kind::Rw, vec![bulk(B, write_remote(5))]),
        (
            "R-TS after W-REMOTE",
            Kind::Rw,
            vec![bulk(B, write_remote(5)), ask()],
        ),
        (
            "R-DATA after W-REMOTE",
            Kind::Rw,
            vec![bulk(B, write_remote(5)), data()],
        ),
        ("W-LOCAL", Kind::Rw, vec![bulk(one, write_local(5))]),
        (
            "W-LOCAL, unbound",
            Kind::Rw,
            vec![bulk(one, unbound.clone())],
        ),
        ("BIND", Kind::Rw, vec![bulk(one, unbound.clone()), bind()]),
        ("ABORT", Kind::Rw, vec![abort()]),
        ("OR-TS", Kind::Rmw, vec![promise()]),
        ("OW-TS", Kind::Rmw, vec![accept()]),
        ("R-TS after OW-TS", Kind::Rmw, vec![accept(), ask()]),
        (
            "OR-TS refused by a promise",
            Kind::Rmw,
            vec![
                promise(),
                priority(
                    C,
                    PriorityBody::OrderedReadTs {
                        key: key(),
                        ots: ts(4),
                    },
                ),
            ],
        ),
        (
            "W-REMOTE of a version",
            Kind::Rmw,
            vec![bulk(B, write_remote(5))],
        ),
        (
            "R-TS after COMMIT",
            Kind::Rmw,
            vec![
                priority(
                    B,
                    PriorityBody::Commit {
                        key: key(),
                        ts: ts(5),
                    },
                ),
                ask(),
            ],
        ),
        (
            "OR of Alg. 2",
            Kind::LanRmw,
            vec![bulk(
                B,
                BulkBody::LanRead {
                    key: key(),
                    ots: ts(5),
                },
            )],
        ),
        (
            "OW of Alg. 2",
            Kind::LanRmw,
            vec![bulk(
                B,
                BulkBody::LanWrite {
                    key: key(),
                    ots: ts(5),
                    value: value("v"),
                },
            )],
        ),
        (
            "ABD's write",
            Kind::Abd,
            vec![bulk(
                B,
                BulkBody::AbdWrite {
                    key: key(),
                    ts: ts(5),
                    value: value("v"),
                },
            )],
        ),
        (
            "ABD's read after a write",
            Kind::Abd,
            vec![
                bulk(
                    B,
                    BulkBody::AbdWrite {
                        key: key(),
                        ts: ts(5),
                        value: value("v"),
                    },
                ),
                bulk(C, BulkBody::AbdRead { key: key() }),
            ],
        ),
    ];
    for (name, kind, steps) in cases {
        let mut alone = Alone::replica(kind);
        for step in &steps {
            assert_eq!(
                step(&mut alone),
                [],
                "{name}: an answer left before the disk had it"
            );
        }
        assert_eq!(
            alone.flush().len(),
            steps.len() - usize::from(name.contains("COMMIT")),
            "{name}"
        );
        // Once it is durable, the same again is answered at once.
        let last = steps.last().unwrap();
        assert_eq!(last(&mut alone).len(), 1, "{name}");
    }
}

/// RW 15: an unsafe copy may be lost after a reader has returned it; who asks for
/// exactly this version learnt its timestamp from a majority, so that it is safe.
#[test]
fn a_local_member_answers_with_what_was_asked_for_or_what_is_safe() {
    let mut member = Alone::new(NodeId(1), Kind::Rw, TimestampSource::Clock);
    member.bulk(NodeId(2), write_local(20));
    member.flush();
    let older = PriorityBody::ReadData {
        key: key(),
        at_least: ts(10),
    };
    let exact = PriorityBody::ReadData {
        key: key(),
        at_least: ts(20),
    };
    assert_eq!(member.priority(B, older.clone()), []);
    let data = BulkBody::Data {
        ts: ts(20),
        value: value("v"),
    };
    assert_eq!(member.priority(C, exact), [Sent::Bulk(C, data.clone())]);
    // GO says that it is safe: whoever waited is answered.
    let sent = member.priority(
        NodeId(2),
        PriorityBody::Go {
            key: key(),
            ts: ts(20),
        },
    );
    assert!(sent.contains(&Sent::Bulk(B, data.clone())), "{sent:?}");
    assert_eq!(member.priority(C, older), [Sent::Bulk(C, data)]);
}

/// RW 1: a newer timestamp erases no value.
#[test]
fn a_replica_keeps_its_newest_value_beside_a_newer_timestamp() {
    let mut replica = Alone::replica(Kind::Rw);
    replica.bulk(B, write_remote(5));
    replica.priority(
        B,
        PriorityBody::WriteTs {
            key: key(),
            ts: ts(9),
        },
    );
    replica.flush();
    assert_eq!(replica.known(), ts(9));
    let asked = PriorityBody::ReadData {
        key: key(),
        at_least: ts(5),
    };
    let data = BulkBody::Data {
        ts: ts(5),
        value: value("v"),
    };
    assert_eq!(replica.priority(C, asked), [Sent::Bulk(C, data)]);
    // Late, and still newer than what is here.
    replica.bulk(B, write_remote(7));
    replica.flush();
    for (at_least, expected) in [(5, Some(7)), (7, Some(7)), (8, None)] {
        let asked = PriorityBody::ReadData {
            key: key(),
            at_least: ts(at_least),
        };
        let sent = replica.priority(C, asked);
        let found = sent.first().map(|sent| match sent {
            Sent::Bulk(_, BulkBody::Data { ts, .. }) => ts.time,
            other => panic!("a value is expected, not {other:?}"),
        });
        assert_eq!(found, expected);
    }
    // Older than what is here: nothing comes back.
    replica.bulk(B, write_remote(6));
    replica.flush();
    let asked = PriorityBody::ReadData {
        key: key(),
        at_least: ts(1),
    };
    let data = BulkBody::Data {
        ts: ts(7),
        value: value("v"),
    };
    assert_eq!(replica.priority(C, asked), [Sent::Bulk(C, data)]);
}

/// RW 3: whoever asks for a timestamp's value knows of the timestamp.
#[test]
fn a_question_for_a_value_tells_its_timestamp() {
    let mut replica = Alone::replica(Kind::Rw);
    let asked = PriorityBody::ReadData {
        key: key(),
        at_least: ts(9),
    };
    assert_eq!(replica.priority(C, asked), []);
    replica.flush();
    assert_eq!(replica.known(), ts(9));
}

/// RMW 8: a version that arrives may never be chosen.
#[test]
fn a_version_that_arrives_is_neither_accepted_nor_promised() {
    let mut replica = Alone::replica(Kind::Rmw);
    replica.bulk(B, write_remote(9));
    replica.flush();
    assert_eq!(replica.known(), Timestamp::ZERO);
    // But it is served (RMW 1): whoever must build on it needs it before it is accepted.
    let asked = PriorityBody::OrderedReadData {
        key: key(),
        at_least: ts(9),
        below: ts(10),
    };
    let data = BulkBody::Data {
        ts: ts(9),
        value: value("v"),
    };
    assert_eq!(replica.priority(C, asked), [Sent::Bulk(C, data)]);
    let sent = replica.priority(
        C,
        PriorityBody::OrderedReadTs {
            key: key(),
            ots: ts(3),
        },
    );
    assert_eq!(sent, [], "the promise is on its way to the disk");
    let promised = |sent: &[Sent]| {
        matches!(
            sent,
            [Sent::Priority(
                _,
                PriorityBody::OrderedReadTsAck { granted: true, .. }
            )]
        )
    };
    assert!(promised(&replica.flush()));
}

/// RMW 7: versions below the chosen one go, and who asks for one hears that; but the last
/// of them stays until a newer one is here, or a lost site would take it along.
#[test]
fn who_asks_for_a_version_that_is_history_hears_so() {
    let mut replica = Alone::replica(Kind::Rmw);
    replica.bulk(B, write_remote(5));
    let asked = PriorityBody::OrderedReadData {
        key: key(),
        at_least: ts(3),
        below: ts(4),
    };
    assert_eq!(replica.priority(C, asked.clone()), [], "it may come");
    let sent = replica.priority(
        B,
        PriorityBody::Commit {
            key: key(),
            ts: ts(7),
        },
    );
    let gone = Sent::Priority(C, PriorityBody::Gone { chosen: ts(7) });
    assert_eq!(sent, [gone]);
    let asked = PriorityBody::OrderedReadData {
        key: key(),
        at_least: ts(5),
        below: ts(6),
    };
    replica.flush();
    let stays = replica.priority(C, asked.clone());
    assert!(
        matches!(stays[..], [Sent::Bulk(_, BulkBody::Data { ts: of, .. })] if of == ts(5)),
        "{stays:?}"
    );
    replica.bulk(B, write_remote(7));
    let gone = Sent::Priority(C, PriorityBody::Gone { chosen: ts(7) });
    assert_eq!(replica.priority(C, asked), [gone]);
}

/// A promise is kept: smaller rounds hear false, with the promise as a hint; the same
/// round again hears true again.
#[test]
fn a_promise_refuses_smaller_rounds_and_repeats_itself() {
    let mut replica = Alone::replica(Kind::Rmw);
    replica.priority(
        B,
        PriorityBody::OrderedReadTs {
            key: key(),
            ots: ts(5),
        },
    );
    replica.flush();
    let mut answer = |body| match &replica.priority(B, body)[..] {
        [
            Sent::Priority(
                _,
                PriorityBody::OrderedReadTsAck {
                    granted, promised, ..
                },
            ),
        ] => (*granted, *promised),
        [Sent::Priority(_, PriorityBody::OrderedWriteTsAck { accepted, promised })] => {
            (*accepted, *promised)
        }
        other => panic!("an answer is expected, not {other:?}"),
    };
    let promise = |time| PriorityBody::OrderedReadTs {
        key: key(),
        ots: ts(time),
    };
    let accept = |time| PriorityBody::OrderedWriteTs {
        key: key(),
        ots: ts(time),
    };
    assert_eq!(answer(promise(4)), (false, ts(5)));
    assert_eq!(answer(accept(4)), (false, ts(5)));
    assert_eq!(answer(promise(5)), (true, ts(5)));
}

/// Questions that nobody repeats are forgotten. (Found by a seed: they stayed.)
#[test]
fn a_question_without_an_answer_is_forgotten() {
    let mut replica = Alone::replica(Kind::Rw);
    replica.priority(
        C,
        PriorityBody::ReadData {
            key: key(),
            at_least: ts(5),
        },
    );
    replica.flush();
    assert_eq!(replica.node.status().held, 1);
    let due = replica.node.next_deadline().unwrap();
    assert!(due <= Duration::from_secs(60));
    replica.now.monotonic = due;
    replica.handle(Event::Tick);
    assert_eq!(replica.node.status().held, 0);
    assert_eq!(replica.node.next_deadline(), None);
}

/// What leaves for a peer that comes back must be durable, too.
#[test]
fn a_timestamp_leaves_after_the_clocks_mark_is_durable_whoever_reconnects() {
    use vivace_core::RequestId;
    let mut coordinator = Alone::new(NodeId(1), Kind::Rw, TimestampSource::Clock);
    let request = crate::cluster::requests::write("k", "v");
    let deadline = Duration::from_secs(60);
    let sent = coordinator.handle(Event::Request {
        id: RequestId(1),
        request,
        deadline,
    });
    assert_eq!(sent, []);
    for event in [
        Event::PeerDown {
            node: NodeId(2),
            class: Class::Bulk,
        },
        Event::PeerUp {
            node: NodeId(2),
            class: Class::Bulk,
        },
    ] {
        assert_eq!(coordinator.handle(event), []);
    }
    assert!(!coordinator.flush().is_empty());
}
