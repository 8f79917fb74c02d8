//! Arbitrary messages of every variant, with numbers of every length.

#![allow(dead_code, clippy::unwrap_used)]

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use vivace_core::Durability;
use vivace_core::client_protocol::{
    ClientReply, ClientRequest, Failure, ListedKey, LostKey, Request, SessionId, Success,
};
use vivace_core::machine::object::Command;
use vivace_core::message::{
    BulkBody, BulkMessage, CopyTag, KnownKey, PriorityBody, PriorityMessage, Propagation, Refusal,
    RpcId, TrustedTime, WriteId,
};
use vivace_core::record::Record;
use vivace_core::status::{
    BacklogStatus, ClockStatus, ContainerStatus, LinkStatus, NodeStatus, OperationCounts,
    PeerStatus,
};
use vivace_core::stored::StoredValue;
use vivace_core::{
    Blob, ContainerId, Derivation, DerivationStep, Epoch, Fingerprint, Incarnation,
    KEY_NAME_BYTES_MAX, Key, KeyName, NodeId, Timestamp, Value, WriterId,
};

/// As likely short as long: the encoding of integers has four lengths.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(bits, shift)| bits >> shift)
}

fn small() -> impl Strategy<Value = u16> {
    number().prop_map(|number| number as u16)
}

pub fn node() -> impl Strategy<Value = NodeId> {
    small().prop_map(NodeId)
}

fn life() -> impl Strategy<Value = Incarnation> {
    small().prop_map(Incarnation)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    number().prop_map(|number| Epoch(number as u32))
}

pub fn timestamp() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        (number(), node(), life()).prop_map(|(time, node, life)| Timestamp {
            time,
            writer: WriterId::new(node, life)
        }),
        // Close together, so that orders are tested.
        (0..3_u64, 0..3_u16, 0..3_u16).prop_map(|(time, node, life)| Timestamp {
            time,
            writer: WriterId::new(NodeId(node), Incarnation(life))
        }),
        Just(Timestamp::MAX),
        Just(Timestamp::ZERO),
    ]
}

pub fn key_name() -> impl Strategy<Value = KeyName> {
    vec(any::<u8>(), 1..=KEY_NAME_BYTES_MAX).prop_map(|name| KeyName::new(name).unwrap())
}

pub fn key() -> impl Strategy<Value = Key> {
    (number(), key_name()).prop_map(|(container, name)| Key {
        container: ContainerId(container as u32),
        name,
    })
}

fn blob() -> impl Strategy<Value = Blob> {
    vec(any::<u8>(), 0..300).prop_map(Blob::from)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Tombstone),
        vec(any::<u8>(), 0..300).prop_map(|bytes| Value::from(Bytes::from(bytes))),
    ]
}

fn stored_value() -> impl Strategy<Value = StoredValue> {
    prop_oneof![
        Just(StoredValue::Tombstone),
        any::<u32>().prop_map(StoredValue::Bytes),
    ]
}

fn rpc() -> impl Strategy<Value = RpcId> {
    (life(), number(), any::<u32>()).prop_map(|(incarnation, operation, call)| RpcId {
        incarnation,
        operation,
        call,
    })
}

fn write_id() -> impl Strategy<Value = WriteId> {
    (node(), life(), number()).prop_map(|(node, incarnation, number)| WriteId {
        node,
        incarnation,
        number,
    })
}

fn clock() -> impl Strategy<Value = TrustedTime> {
    number().prop_map(TrustedTime)
}

fn tag() -> impl Strategy<Value = CopyTag> {
    prop_oneof![
        timestamp().prop_map(CopyTag::Bound),
        write_id().prop_map(CopyTag::Unbound)
    ]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        epoch().prop_map(|current| Refusal::WrongEpoch { current }),
        Just(Refusal::UnknownContainer {}),
        Just(Refusal::NotAMember {}),
        Just(Refusal::WrongKind {}),
        number().prop_map(|limit| Refusal::FutureTimestamp { limit }),
        Just(Refusal::NotBindable {}),
        Just(Refusal::Overloaded {}),
        Just(Refusal::ValueMissing {}),
    ]
}

fn propagation() -> impl Strategy<Value = Propagation> {
    prop_oneof![
        Just(Propagation::Stable {}),
        Just(Propagation::UnderWay {}),
        Just(Propagation::Unknown {}),
    ]
}

/// Requests, and what concerns one version of one object.
fn priority_request() -> BoxedStrategy<PriorityBody> {
    let keyed = || (key(), timestamp());
    prop_oneof![
        key().prop_map(|key| PriorityBody::ReadTs { key }),
        key().prop_map(|key| PriorityBody::ReadTsAndData { key }),
        keyed().prop_map(|(key, ts)| PriorityBody::WriteTs { key, ts }),
        keyed().prop_map(|(key, at_least)| PriorityBody::ReadData { key, at_least }),
        (key(), write_id(), timestamp()).prop_map(|(key, write, ts)| PriorityBody::Bind {
            key,
            write,
            ts
        }),
        (key(), write_id()).prop_map(|(key, write)| PriorityBody::Abort { key, write }),
        keyed().prop_map(|(key, ts)| PriorityBody::Go { key, ts }),
        keyed().prop_map(|(key, ts)| PriorityBody::Stable { key, ts }),
        keyed().prop_map(|(key, ts)| PriorityBody::AskPropagation { key, ts }),
        (key(), timestamp(), propagation())
            .prop_map(|(key, ts, state)| PriorityBody::PropagationIs { key, ts, state }),
        keyed().prop_map(|(key, ts)| PriorityBody::WriteRemoteAck { key, ts }),
        keyed().prop_map(|(key, ts)| PriorityBody::NoRoom { key, ts }),
        keyed().prop_map(|(key, ts)| PriorityBody::NeedValue { key, ts }),
        keyed().prop_map(|(key, ots)| PriorityBody::OrderedReadTs { key, ots }),
        (key(), timestamp(), timestamp()).prop_map(|(key, at_least, below)| {
            PriorityBody::OrderedReadData {
                key,
                at_least,
                below,
            }
        }),
        keyed().prop_map(|(key, ots)| PriorityBody::OrderedWriteTs { key, ots }),
        keyed().prop_map(|(key, ts)| PriorityBody::Commit { key, ts }),
        keyed().prop_map(|(key, ts)| PriorityBody::AwaitValue { key, ts }),
        keyed().prop_map(|(key, ts)| PriorityBody::AskStored { key, ts }),
    ]
    .boxed()
}

fn priority_answer() -> BoxedStrategy<PriorityBody> {
    prop_oneof![
        (timestamp(), timestamp(), any::<bool>(), clock()).prop_map(
            |(known, chosen, has, clock)| PriorityBody::ReadTsAck {
                known,
                chosen,
                has,
                clock
            }
        ),
        clock().prop_map(|clock| PriorityBody::WriteTsAck { clock }),
        Just(PriorityBody::WriteLocalAck {}),
        Just(PriorityBody::BindAck {}),
        Just(PriorityBody::ValueHeld {}),
        option::of(timestamp()).prop_map(|bound| PriorityBody::AbortAck { bound }),
        (
            any::<bool>(),
            timestamp(),
            timestamp(),
            timestamp(),
            any::<bool>()
        )
            .prop_map(|(granted, promised, accepted, chosen, has)| {
                PriorityBody::OrderedReadTsAck {
                    granted,
                    promised,
                    accepted,
                    chosen,
                    has,
                }
            }),
        timestamp().prop_map(|chosen| PriorityBody::Gone { chosen }),
        (any::<bool>(), timestamp()).prop_map(|(accepted, promised)| {
            PriorityBody::OrderedWriteTsAck { accepted, promised }
        }),
        refusal().prop_map(|why| PriorityBody::Refused { why }),
    ]
    .boxed()
}

pub fn priority_message() -> impl Strategy<Value = PriorityMessage> {
    (
        rpc(),
        epoch(),
        prop_oneof![priority_request(), priority_answer()],
    )
        .prop_map(|(rpc, epoch, body)| PriorityMessage { rpc, epoch, body })
}

/// BIND with the longest of everything in it.
pub fn longest_priority_message() -> PriorityMessage {
    let name = KeyName::new(vec![0xff; KEY_NAME_BYTES_MAX]).unwrap();
    let (node, incarnation) = (NodeId(u16::MAX), Incarnation(u16::MAX));
    PriorityMessage {
        rpc: RpcId {
            incarnation,
            operation: u64::MAX,
            call: u32::MAX,
        },
        epoch: Epoch(u32::MAX),
        body: PriorityBody::Bind {
            key: Key {
                container: ContainerId(u32::MAX),
                name,
            },
            write: WriteId {
                node,
                incarnation,
                number: u64::MAX,
            },
            ts: Timestamp::MAX,
        },
    }
}

fn container() -> impl Strategy<Value = ContainerId> {
    any::<u32>().prop_map(ContainerId)
}

fn known() -> impl Strategy<Value = KnownKey> {
    (key_name(), timestamp()).prop_map(|(name, known)| KnownKey { name, known })
}

fn lost() -> impl Strategy<Value = LostKey> {
    (key_name(), timestamp(), text(), option::of(timestamp())).prop_map(|(key, ts, site, best)| {
        LostKey {
            key,
            ts,
            site,
            best,
        }
    })
}

fn command() -> impl Strategy<Value = Command> {
    let blob = vec(any::<u8>(), 0..40).prop_map(Blob::from);
    let parts = ("[a-z]{0,8}", session(), any::<u64>(), any::<bool>(), blob);
    parts.prop_map(|(machine, session, sequence, repeated, command)| Command {
        machine,
        session,
        sequence,
        repeated,
        command,
    })
}

pub fn derivation() -> impl Strategy<Value = Derivation> {
    let step = (timestamp(), vec(command(), 0..4));
    let step = step.prop_map(|(ts, commands)| DerivationStep { ts, commands });
    let result = vec(any::<u8>(), 0..40).prop_map(|value| Fingerprint::of(&value));
    let parts = (timestamp(), vec(step, 0..4), result);
    parts.prop_map(|(base, steps, result)| Derivation {
        base,
        steps,
        result,
    })
}

fn bulk_body() -> BoxedStrategy<BulkBody> {
    prop_oneof![
        (
            key(),
            tag(),
            node(),
            value(),
            option::of(derivation().prop_map(Box::new))
        )
            .prop_map(
                |(key, tag, propagator, value, derivation)| BulkBody::WriteLocal {
                    key,
                    tag,
                    propagator,
                    value,
                    derivation,
                }
            ),
        (key(), node(), vec(node(), 0..5), derivation()).prop_map(
            |(key, propagator, relay, derivation)| BulkBody::ApplyRemote {
                key,
                propagator,
                relay,
                derivation,
            }
        ),
        (key(), timestamp(), node(), vec(node(), 0..5), value()).prop_map(
            |(key, ts, propagator, relay, value)| BulkBody::WriteRemote {
                key,
                ts,
                propagator,
                relay,
                value
            }
        ),
        (timestamp(), value()).prop_map(|(ts, value)| BulkBody::Data { ts, value }),
        key().prop_map(|key| BulkBody::AbdRead { key }),
        (timestamp(), option::of(value()), clock())
            .prop_map(|(ts, value, clock)| BulkBody::AbdReadAck { ts, value, clock }),
        (key(), timestamp(), value()).prop_map(|(key, ts, value)| BulkBody::AbdWrite {
            key,
            ts,
            value
        }),
        clock().prop_map(|clock| BulkBody::AbdWriteAck { clock }),
        (key(), timestamp()).prop_map(|(key, ots)| BulkBody::LanRead { key, ots }),
        (any::<bool>(), timestamp(), timestamp(), option::of(value())).prop_map(
            |(granted, promised, ts, value)| BulkBody::LanReadAck {
                granted,
                promised,
                ts,
                value
            }
        ),
        (key(), timestamp(), value()).prop_map(|(key, ots, value)| BulkBody::LanWrite {
            key,
            ots,
            value
        }),
        (any::<bool>(), timestamp())
            .prop_map(|(accepted, promised)| BulkBody::LanWriteAck { accepted, promised }),
        refusal().prop_map(|why| BulkBody::Refused { why }),
        (container(), option::of(key_name()), any::<u16>()).prop_map(
            |(container, after, limit)| BulkBody::ListLacking {
                container,
                after,
                limit,
            }
        ),
        (vec(known(), 0..5), any::<bool>())
            .prop_map(|(keys, is_last)| BulkBody::Lacking { keys, is_last }),
        (container(), vec((key_name(), timestamp()), 0..5)).prop_map(|(container, versions)| {
            BulkBody::WhichHeld {
                container,
                versions,
            }
        }),
        vec(timestamp(), 0..5).prop_map(|best| BulkBody::BestHeld { best }),
        (container(), option::of(key_name()), any::<u16>()).prop_map(
            |(container, after, limit)| BulkBody::ListKnown {
                container,
                after,
                limit,
            }
        ),
        (vec(known(), 0..5), any::<bool>())
            .prop_map(|(keys, is_last)| BulkBody::KnownKeys { keys, is_last }),
    ]
    .boxed()
}

pub fn bulk_message() -> impl Strategy<Value = BulkMessage> {
    (rpc(), epoch(), bulk_body()).prop_map(|(rpc, epoch, body)| BulkMessage { rpc, epoch, body })
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,40}"
}

fn durability() -> impl Strategy<Value = Option<Durability>> {
    proptest::option::of(proptest::sample::select(&Durability::ALL[..]))
}

fn session() -> impl Strategy<Value = SessionId> {
    timestamp().prop_map(SessionId)
}

pub fn client_request() -> impl Strategy<Value = ClientRequest> {
    let request = prop_oneof![
        (text(), key_name()).prop_map(|(container, key)| Request::Read { container, key }),
        (text(), key_name(), value(), durability()).prop_map(
            |(container, key, value, durability)| Request::Write {
                container,
                key,
                value,
                durability,
            }
        ),
        (
            (text(), key_name(), text()),
            session(),
            number(),
            any::<bool>(),
            blob(),
            durability()
        )
            .prop_map(
                |((container, key, machine), session, sequence, repeated, command, durability)| {
                    Request::Execute {
                        container,
                        key,
                        machine,
                        session,
                        sequence,
                        repeated,
                        command,
                        durability,
                    }
                }
            ),
        (text(), key_name(), text()).prop_map(|(container, key, machine)| Request::ReadState {
            container,
            key,
            machine
        }),
        Just(Request::OpenSession),
        Just(Request::Status),
        (text(), option::of(key_name()), any::<u16>()).prop_map(|(container, after, limit)| {
            Request::FindLost {
                container,
                after,
                limit,
            }
        }),
        (text(), key_name(), timestamp()).prop_map(|(container, key, ts)| Request::AcceptLoss {
            container,
            key,
            ts
        }),
        (text(), option::of(key_name()), any::<u16>()).prop_map(|(container, after, limit)| {
            Request::ListObjects {
                container,
                after,
                limit,
            }
        }),
        (text(), key_name(), timestamp()).prop_map(|(container, key, at_least)| {
            Request::CopyObject {
                container,
                key,
                at_least,
            }
        }),
        (text(), key_name(), blob(), durability()).prop_map(
            |(container, key, object, durability)| Request::RestoreObject {
                container,
                key,
                object,
                durability,
            }
        ),
    ];
    (any::<u32>(), request).prop_map(|(deadline_ms, request)| ClientRequest {
        deadline_ms,
        request,
    })
}

pub fn client_reply() -> impl Strategy<Value = ClientReply> {
    let success = prop_oneof![
        (timestamp(), blob()).prop_map(|(ts, value)| Success::Value { ts, value }),
        Just(Success::NotFound),
        timestamp().prop_map(|ts| Success::Written { ts }),
        blob().prop_map(|output| Success::Executed { output }),
        option::of(blob()).prop_map(|state| Success::State { state }),
        session().prop_map(Success::Session),
        status().prop_map(|status| Success::Status(Box::new(status))),
        (
            vec(lost(), 0..4),
            vec(any::<u16>(), 0..4),
            option::of(key_name())
        )
            .prop_map(|(keys, silent, more)| Success::Lost { keys, silent, more }),
        Just(Success::LossAccepted),
        (vec((key_name(), timestamp()), 0..4), option::of(key_name())).prop_map(|(keys, more)| {
            Success::Objects {
                keys: keys
                    .into_iter()
                    .map(|(key, ts)| ListedKey { key, ts })
                    .collect(),
                more,
            }
        }),
        value().prop_map(|value| Success::Copied { value }),
        Just(Success::Restored),
    ];
    let failure = prop_oneof![
        text().prop_map(|reason| Failure::Conflict { reason }),
        text().prop_map(|reason| Failure::Busy { reason }),
        text().prop_map(|reason| Failure::Unavailable { reason }),
        text().prop_map(|reason| Failure::Unknown { reason }),
        Just(Failure::SessionForgotten),
        (text(), text()).prop_map(|(field, reason)| Failure::Invalid { field, reason }),
    ];
    prop_oneof![success.prop_map(Ok), failure.prop_map(Err)]
}

fn link_status() -> impl Strategy<Value = LinkStatus> {
    let marks = (
        any::<u8>(),
        option::of(any::<u8>()),
        option::of(any::<u8>()),
    );
    (
        any::<bool>(),
        option::of(number()),
        marks,
        vec(number(), 7),
        option::of(text()),
    )
        .prop_map(
            |(up, rtt_us, (dscp_sent, dscp_seen_by_peer, dscp_seen_here), counts, last_error)| {
                LinkStatus {
                    up,
                    rtt_us,
                    dscp_sent,
                    dscp_seen_by_peer,
                    dscp_seen_here,
                    messages_sent: counts[0],
                    messages_received: counts[1],
                    bytes_sent: counts[2],
                    bytes_received: counts[3],
                    dropped: counts[4],
                    queue_bytes: counts[5],
                    reconnects: counts[6],
                    last_error,
                }
            },
        )
}

fn status() -> impl Strategy<Value = NodeStatus> {
    let peer =
        (small(), text(), link_status(), link_status()).prop_map(|(node, site, priority, bulk)| {
            PeerStatus {
                node,
                site,
                priority,
                bulk,
            }
        });
    let container = (
        text(),
        text(),
        any::<u32>(),
        vec(small(), 0..5),
        vec(small(), 0..3),
        number(),
    )
        .prop_map(
            |(name, kind, epoch, replicas, local_set, objects)| ContainerStatus {
                name,
                kind,
                epoch,
                replicas,
                local_set,
                objects,
            },
        );
    let clock = (text(), option::of(number()), number(), number()).prop_map(
        |(mode, error_us, error_max_us, mode_changes)| ClockStatus {
            mode,
            error_us,
            error_max_us,
            mode_changes,
        },
    );
    let lists = (
        vec(peer, 0..3),
        vec(container, 0..3),
        vec((text(), number()), 0..3),
        vec(text(), 0..3),
    );
    (
        (text(), small(), text(), small(), number(), text()),
        clock,
        lists,
        vec(number(), 11),
    )
        .prop_map(
            |(
                (cluster, node, site, incarnation, uptime_s, storage),
                clock,
                (peers, containers, refusals, warnings),
                counts,
            )| NodeStatus {
                cluster,
                node,
                site,
                incarnation,
                uptime_s,
                storage,
                value_bytes_max: counts[10],
                clock,
                peers,
                containers,
                operations: OperationCounts {
                    in_flight: counts[0],
                    succeeded: counts[1],
                    busy: counts[2],
                    unavailable: counts[3],
                    unknown: counts[4],
                    invalid: counts[5],
                },
                backlog: BacklogStatus {
                    bytes: counts[6],
                    bytes_max: counts[7],
                    values: counts[8],
                    oldest_ms: counts[9],
                    sites: Vec::new(),
                },
                refusals,
                warnings,
            },
        )
}

pub fn record() -> impl Strategy<Value = Record> {
    let keyed = || (key(), timestamp());
    prop_oneof![
        number().prop_map(|time| Record::ClockHighWater { time }),
        keyed().prop_map(|(key, ts)| Record::Known { key, ts }),
        (key(), timestamp(), stored_value()).prop_map(|(key, ts, value)| Record::Complete {
            key,
            ts,
            value
        }),
        keyed().prop_map(|(key, ts)| Record::Promised { key, ts }),
        keyed().prop_map(|(key, ts)| Record::Accepted { key, ts }),
        keyed().prop_map(|(key, ts)| Record::Chosen { key, ts }),
        (key(), timestamp(), stored_value()).prop_map(|(key, ts, value)| Record::Version {
            key,
            ts,
            value
        }),
        (key(), timestamp(), stored_value()).prop_map(|(key, ts, value)| Record::LanAccepted {
            key,
            ts,
            value
        }),
        (key(), tag(), stored_value()).prop_map(|(key, tag, value)| Record::LocalCopy {
            key,
            tag,
            value
        }),
        (key(), write_id(), timestamp()).prop_map(|(key, write, ts)| Record::LocalBound {
            key,
            write,
            ts
        }),
        (key(), write_id()).prop_map(|(key, write)| Record::LocalAborted { key, write }),
        (key(), write_id()).prop_map(|(key, write)| Record::LocalGivenUp { key, write }),
        keyed().prop_map(|(key, ts)| Record::LocalDropped { key, ts }),
        keyed().prop_map(|(key, ts)| Record::ValueLost { key, ts }),
    ]
}
