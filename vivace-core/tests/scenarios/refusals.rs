//! Messages that a node refuses; none of them leaves a trace.

use std::time::Duration;

use vivace_core::client_protocol::Request;
use vivace_core::cluster::{Kind, TimestampSource};
use vivace_core::message::{
    BulkBody, BulkMessage, PriorityBody, PriorityMessage, Refusal, TrustedTime,
};
use vivace_core::{Action, ContainerId, Epoch, Event, Key, NodeId, RequestId, Timestamp};

use crate::alone::{Alone, RPC, Sent, key, ts, value, write_local, write_remote};
use crate::cluster::layout;
use crate::{A, B, C};

fn refused(sent: &[Sent]) -> Refusal {
    match sent {
        [Sent::Priority(_, PriorityBody::Refused { why })]
        | [Sent::Bulk(_, BulkBody::Refused { why })] => why.clone(),
        other => panic!("a refusal is expected, not {other:?}"),
    }
}

/// DESIGN §4: one broken clock can't put a key out of everyone's reach.
#[test]
fn a_timestamp_beyond_the_clocks_bounds_is_refused() {
    let beyond = 1_000_000_000 + 2 * 2_000_000 + 100_000_000;
    let refuses = |kind, time: u64, tell: &dyn Fn(&mut Alone, Timestamp) -> Vec<Sent>| {
        let mut alone = Alone::replica(kind);
        let mut sent = tell(&mut alone, ts(time));
        sent.extend(alone.flush());
        matches!(
            &sent[..],
            [Sent::Priority(_, PriorityBody::Refused { why: Refusal::FutureTimestamp { limit } })]
            | [Sent::Bulk(_, BulkBody::Refused { why: Refusal::FutureTimestamp { limit } })]
                if *limit == beyond
        )
    };
    type Tell = Box<dyn Fn(&mut Alone, Timestamp) -> Vec<Sent>>;
    let cases: Vec<(Kind, Tell)> = vec![
        (
            Kind::Rw,
            Box::new(|n, ts| n.priority(B, PriorityBody::WriteTs { key: key(), ts })),
        ),
        (Kind::Rw, Box::new(|n, ts| n.bulk(B, write_remote(ts.time)))),
        (
            Kind::Rw,
            Box::new(|n, ts| n.bulk(NodeId(1), write_local(ts.time))),
        ),
        (
            Kind::Rmw,
            Box::new(|n, ots| n.priority(B, PriorityBody::OrderedReadTs { key: key(), ots })),
        ),
        (
            Kind::Rmw,
            Box::new(|n, ots| n.priority(B, PriorityBody::OrderedWriteTs { key: key(), ots })),
        ),
        (
            Kind::Abd,
            Box::new(|n, ts| {
                n.bulk(
                    B,
                    BulkBody::AbdWrite {
                        key: key(),
                        ts,
                        value: value("v"),
                    },
                )
            }),
        ),
        (
            Kind::LanRmw,
            Box::new(|n, ots| n.bulk(B, BulkBody::LanRead { key: key(), ots })),
        ),
        (
            Kind::LanRmw,
            Box::new(|n, ots| {
                n.bulk(
                    B,
                    BulkBody::LanWrite {
                        key: key(),
                        ots,
                        value: value("v"),
                    },
                )
            }),
        ),
    ];
    for (i, (kind, tell)) in cases.iter().enumerate() {
        assert!(refuses(*kind, beyond + 1, tell), "case {i}");
        assert!(!refuses(*kind, beyond, tell), "case {i}");
    }
    // What was refused left no trace; who trusts no clock judges none.
    let mut alone = Alone::replica(Kind::Rw);
    alone.priority(
        B,
        PriorityBody::WriteTs {
            key: key(),
            ts: ts(beyond + 1),
        },
    );
    assert_eq!(alone.known(), Timestamp::ZERO);
    let mut query = Alone::new(A, Kind::Rw, TimestampSource::Query);
    query.priority(
        B,
        PriorityBody::WriteTs {
            key: key(),
            ts: ts(beyond + 1),
        },
    );
    assert!(matches!(
        query.flush()[..],
        [Sent::Priority(_, PriorityBody::WriteTsAck { .. })]
    ));
}

#[test]
fn a_message_of_another_epoch_is_refused() {
    let mut alone = Alone::replica(Kind::Rw);
    for epoch in [Epoch(0), Epoch(2)] {
        let body = PriorityBody::WriteTs {
            key: key(),
            ts: ts(5),
        };
        let message = PriorityMessage {
            rpc: RPC,
            epoch,
            body,
        };
        let sent = alone.handle(Event::Priority { from: B, message });
        assert_eq!(refused(&sent), Refusal::WrongEpoch { current: Epoch(1) });
        let message = BulkMessage {
            rpc: RPC,
            epoch,
            body: write_remote(5),
        };
        let sent = alone.handle(Event::Bulk { from: B, message });
        assert_eq!(refused(&sent), Refusal::WrongEpoch { current: Epoch(1) });
    }
    assert_eq!(alone.counted("refused: another epoch"), 4);
    assert_eq!(alone.known(), Timestamp::ZERO);
}

/// A promise given in another configuration's epoch is no part of this one's majority.
#[test]
fn an_answer_of_another_epoch_does_not_count() {
    let mut alone = Alone::replica(Kind::Rw);
    let request = Request::Read {
        container: layout::CONTAINER.into(),
        key: layout::key("k"),
    };
    let asked = Event::Request {
        id: RequestId(1),
        request,
        deadline: Duration::from_secs(9),
    };
    let actions = alone.node.handle(alone.now, asked);
    let rpc = actions.iter().find_map(|action| match action {
        Action::SendPriority { to: B, message } => Some(message.rpc),
        _ => None,
    });
    let rpc = rpc.expect("R-TS goes to all replicas");
    let mut answer_in = |epoch| {
        let body = PriorityBody::ReadTsAck {
            known: Timestamp::ZERO,
            chosen: Timestamp::ZERO,
            has: false,
            clock: TrustedTime::default(),
        };
        let message = PriorityMessage { rpc, epoch, body };
        alone
            .node
            .handle(alone.now, Event::Priority { from: B, message })
    };
    assert!(
        answer_in(Epoch(2)).is_empty(),
        "one answer of two is missing"
    );
    assert!(matches!(answer_in(Epoch(1))[..], [Action::Reply { .. }]));
    assert_eq!(alone.counted("dropped: an answer of another epoch"), 1);
}

#[test]
fn a_message_for_an_unknown_container_is_refused() {
    let mut alone = Alone::replica(Kind::Rw);
    let elsewhere = Key {
        container: ContainerId(2),
        name: layout::key("k"),
    };
    let sent = alone.priority(
        B,
        PriorityBody::ReadTs {
            key: elsewhere.clone(),
        },
    );
    assert_eq!(refused(&sent), Refusal::UnknownContainer {});
    let sent = alone.bulk(B, BulkBody::AbdRead { key: elsewhere });
    assert_eq!(refused(&sent), Refusal::UnknownContainer {});
    assert_eq!(alone.counted("refused: unknown container"), 2);
}

#[test]
fn a_message_of_another_algorithm_is_refused() {
    let write_ts = PriorityBody::WriteTs {
        key: key(),
        ts: ts(5),
    };
    let promise = PriorityBody::OrderedReadTs {
        key: key(),
        ots: ts(5),
    };
    let go = PriorityBody::Go {
        key: key(),
        ts: ts(5),
    };
    for (kind, body) in [
        (Kind::Rmw, &write_ts),
        (Kind::Abd, &write_ts),
        (Kind::Rw, &promise),
        (Kind::LanRmw, &promise),
        (Kind::Abd, &go),
    ] {
        let mut alone = Alone::replica(kind);
        let sent = alone.priority(NodeId(1), body.clone());
        assert_eq!(refused(&sent), Refusal::WrongKind {}, "{kind:?} {body:?}");
        assert_eq!(alone.counted("refused: message of another algorithm"), 1);
    }
    for (kind, body) in [
        (Kind::Abd, write_remote(5)),
        (Kind::Rw, BulkBody::AbdRead { key: key() }),
        (
            Kind::Rmw,
            BulkBody::LanRead {
                key: key(),
                ots: ts(5),
            },
        ),
        (Kind::LanRmw, write_local(5)),
    ] {
        let mut alone = Alone::replica(kind);
        let sent = alone.bulk(NodeId(1), body.clone());
        assert_eq!(refused(&sent), Refusal::WrongKind {}, "{kind:?} {body:?}");
        assert_eq!(alone.counted("refused: message of another algorithm"), 1);
    }
}

#[test]
fn a_node_without_the_role_refuses() {
    // 1 is in a local set and no replica.
    let mut member = Alone::new(NodeId(1), Kind::Rw, TimestampSource::Clock);
    let sent = member.priority(
        B,
        PriorityBody::WriteTs {
            key: key(),
            ts: ts(5),
        },
    );
    assert_eq!(refused(&sent), Refusal::NotAMember {});
    assert_eq!(
        refused(&member.bulk(B, write_remote(5))),
        Refusal::NotAMember {}
    );
    // And a local set serves its own site only.
    let sent = member.bulk(B, write_local(5));
    assert_eq!(refused(&sent), Refusal::NotAMember {});
    assert_eq!(member.counted("refused: not a replica"), 2);
    assert_eq!(member.counted("refused: not in the local set"), 1);
}

/// Whoever names a node of another site, or one that is no replica, as the next hop has
/// another idea of the container; the value is stored here all the same.
#[test]
fn a_value_is_not_relayed_to_who_is_no_replica_here() {
    let mut alone = Alone::replica(Kind::Rw);
    let body = BulkBody::WriteRemote {
        key: key(),
        ts: ts(5),
        propagator: B,
        relay: vec![NodeId(1), A, C],
        value: value("v"),
    };
    assert_eq!(alone.bulk(B, body), []);
    let cause = "refused: relay to a node that is no replica here";
    assert_eq!(alone.counted(cause), 3);
    let ack = PriorityBody::WriteRemoteAck {
        key: key(),
        ts: ts(5),
    };
    assert_eq!(alone.flush(), [Sent::Priority(B, ack)]);
}
