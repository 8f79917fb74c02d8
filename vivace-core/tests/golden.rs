//! The bytes on the wire and in the log, spelt out. A change here is a change of the
//! format: nodes of two versions would misread each other.

#![allow(clippy::unwrap_used)]

mod corpus;

use std::any::TypeId;

use bincode::{Decode, Encode};
use bytes::Bytes;
use vivace_core::client_protocol::{
    ClientReply, ClientRequest, Failure, ListedKey, LostKey, Request, SessionId, Success,
};
use vivace_core::codec;
use vivace_core::machine::object::Command;
use vivace_core::message::{
    BulkBody, BulkMessage, CopyTag, KnownKey, PriorityBody, PriorityMessage, Refusal, RpcId,
    TrustedTime, WriteId,
};
use vivace_core::record::Record;
use vivace_core::stored::StoredValue;
use vivace_core::{
    Blob, ContainerId, Derivation, Durability, Epoch, Incarnation, Key, KeyName, NodeId, Timestamp,
    Value, WriterId,
};

/// The message is these bytes and these bytes are the message.
fn golden<M>(message: &M, bytes: &[&[u8]])
where
    M: Encode + Decode<()> + PartialEq + std::fmt::Debug + 'static,
{
    let bytes = bytes.concat();
    assert_eq!(codec::encode(message), bytes, "{message:?}");
    assert_eq!(&codec::decode::<M>(&bytes, bytes.len()).unwrap(), message);
    let targets = [
        (TypeId::of::<PriorityMessage>(), "priority_message"),
        (TypeId::of::<BulkMessage>(), "bulk_message"),
        (TypeId::of::<ClientRequest>(), "client_request"),
        (TypeId::of::<ClientReply>(), "client_reply"),
        (TypeId::of::<Record>(), "record"),
    ];
    for (_, target) in targets.iter().filter(|(of, _)| *of == TypeId::of::<M>()) {
        corpus::seed(target, &bytes);
    }
}

/// 300@2.1
fn ts() -> Timestamp {
    Timestamp {
        time: 300,
        writer: WriterId::new(NodeId(2), Incarnation(1)),
    }
}

const TS: &[u8] = &[0, 0, 0, 0, 0, 0, 1, 44, 0, 2, 0, 1];

fn key() -> Key {
    Key {
        container: ContainerId(7),
        name: KeyName::new("user").unwrap(),
    }
}

const KEY: &[u8] = b"\x07\x04user";

fn value() -> Value {
    Value::from(Bytes::from_static(b"abc"))
}

const STORED: &[u8] = &[1, 251, 44, 1];
const VALUE: &[u8] = b"\x01\x03abc";

fn rpc() -> RpcId {
    RpcId {
        incarnation: Incarnation(3),
        operation: 1000,
        call: 2,
    }
}

/// Numbers above 250 take a marker byte: 251 for 2 bytes, 252 for 4, 253 for 8.
const RPC: &[u8] = &[3, 251, 0xe8, 3, 2];

const EPOCH: &[u8] = &[5];

fn write() -> WriteId {
    WriteId {
        node: NodeId(2),
        incarnation: Incarnation(1),
        number: 70_000,
    }
}

const WRITE: &[u8] = &[2, 1, 252, 0x70, 0x11, 1, 0];

/// From nothing, by one command, to "abc".
fn derivation() -> Derivation {
    let command = Command {
        machine: "list".into(),
        session: SessionId(ts()),
        sequence: 9,
        repeated: false,
        command: b"xy".to_vec().into(),
    };
    Derivation::new(Timestamp::ZERO, ts(), vec![command], b"abc")
}

/// The base; one step: its version, and one command; the length and CRC-32C of the result.
const DERIVATION: &[u8] = b"\0\0\0\0\0\0\0\0\0\0\0\0\
    \x01\0\0\0\0\0\0\x01\x2c\0\x02\0\x01\
    \x01\x04list\0\0\0\0\0\0\x01\x2c\0\x02\0\x01\x09\0\x02xy\
    \x03\xfc\xb7\x3f\x4b\x36";

fn priority(body: PriorityBody, bytes: &[&[u8]]) {
    let message = PriorityMessage {
        rpc: rpc(),
        epoch: Epoch(5),
        body,
    };
    golden(&message, &[&[RPC, EPOCH], bytes].concat());
}

fn bulk(body: BulkBody, bytes: &[&[u8]]) {
    let message = BulkMessage {
        rpc: rpc(),
        epoch: Epoch(5),
        body,
    };
    golden(&message, &[&[RPC, EPOCH], bytes].concat());
}

#[test]
fn a_timestamp_is_12_big_endian_bytes() {
    golden(&ts(), &[TS]);
    golden(&Timestamp::ZERO, &[&[0; 12]]);
    golden(&Timestamp::MAX, &[&[0xff; 12]]);
}

#[test]
fn a_key_is_its_container_a_length_byte_and_the_name() {
    golden(&key(), &[KEY]);
    let name = KeyName::new(vec![b'x'; 255]).unwrap();
    golden(&name, &[&[255], &[b'x'; 255]]);
}

#[test]
fn a_value_is_a_tag_a_length_and_the_bytes() {
    golden(&Value::Tombstone, &[&[0]]);
    golden(&value(), &[VALUE]);
    let long = Value::from(Bytes::from(vec![9; 251]));
    golden(&long, &[&[1, 251, 251, 0], &[9; 251]]);
}

#[test]
fn the_priority_messages_of_rw_objects() {
    priority(PriorityBody::ReadTs { key: key() }, &[&[0], KEY]);
    priority(PriorityBody::ReadTsAndData { key: key() }, &[&[27], KEY]);
    priority(
        PriorityBody::ReadTsAck {
            known: ts(),
            chosen: Timestamp::ZERO,
            has: true,
            clock: TrustedTime(1 << 40),
        },
        &[&[1], TS, &[0; 12], &[1], &[253, 0, 0, 0, 0, 0, 1, 0, 0]],
    );
    priority(
        PriorityBody::WriteTs {
            key: key(),
            ts: ts(),
        },
        &[&[2], KEY, TS],
    );
    priority(
        PriorityBody::WriteTsAck {
            clock: TrustedTime(0),
        },
        &[&[3, 0]],
    );
    priority(
        PriorityBody::ReadData {
            key: key(),
            at_least: ts(),
        },
        &[&[4], KEY, TS],
    );
}

#[test]
fn the_priority_messages_of_local_sets() {
    priority(PriorityBody::WriteLocalAck {}, &[&[5]]);
    priority(
        PriorityBody::Bind {
            key: key(),
            write: write(),
            ts: ts(),
        },
        &[&[6], KEY, WRITE, TS],
    );
    priority(PriorityBody::BindAck {}, &[&[7]]);
    priority(
        PriorityBody::Abort {
            key: key(),
            write: write(),
        },
        &[&[8], KEY, WRITE],
    );
    priority(PriorityBody::AbortAck { bound: Some(ts()) }, &[&[9, 1], TS]);
    priority(
        PriorityBody::Go {
            key: key(),
            ts: ts(),
        },
        &[&[10], KEY, TS],
    );
    priority(
        PriorityBody::Stable {
            key: key(),
            ts: ts(),
        },
        &[&[11], KEY, TS],
    );
    priority(
        PriorityBody::WriteRemoteAck {
            key: key(),
            ts: ts(),
        },
        &[&[14], KEY, TS],
    );
    priority(
        PriorityBody::NoRoom {
            key: key(),
            ts: ts(),
        },
        &[&[26], KEY, TS],
    );
    priority(
        PriorityBody::NeedValue {
            key: key(),
            ts: ts(),
        },
        &[&[28], KEY, TS],
    );
}

#[test]
fn the_priority_messages_of_rmw_objects() {
    priority(
        PriorityBody::OrderedReadTs {
            key: key(),
            ots: ts(),
        },
        &[&[15], KEY, TS],
    );
    priority(
        PriorityBody::OrderedReadTsAck {
            granted: false,
            promised: ts(),
            accepted: Timestamp::ZERO,
            chosen: Timestamp::ZERO,
            has: false,
        },
        &[&[16, 0], TS, &[0; 12], &[0; 12], &[0]],
    );
    priority(
        PriorityBody::OrderedReadData {
            key: key(),
            at_least: Timestamp::ZERO,
            below: ts(),
        },
        &[&[17], KEY, &[0; 12], TS],
    );
    priority(PriorityBody::Gone { chosen: ts() }, &[&[18], TS]);
    priority(
        PriorityBody::OrderedWriteTs {
            key: key(),
            ots: ts(),
        },
        &[&[19], KEY, TS],
    );
    priority(
        PriorityBody::OrderedWriteTsAck {
            accepted: true,
            promised: ts(),
        },
        &[&[20, 1], TS],
    );
    priority(
        PriorityBody::Commit {
            key: key(),
            ts: ts(),
        },
        &[&[21], KEY, TS],
    );
    priority(
        PriorityBody::AwaitValue {
            key: key(),
            ts: ts(),
        },
        &[&[23], KEY, TS],
    );
    priority(PriorityBody::ValueHeld {}, &[&[24]]);
    priority(
        PriorityBody::AskStored {
            key: key(),
            ts: ts(),
        },
        &[&[25], KEY, TS],
    );
}

#[test]
fn refusals() {
    let refused = |why| PriorityBody::Refused { why };
    priority(
        refused(Refusal::WrongEpoch { current: Epoch(6) }),
        &[&[22, 0, 6]],
    );
    priority(refused(Refusal::UnknownContainer {}), &[&[22, 1]]);
    priority(refused(Refusal::NotAMember {}), &[&[22, 2]]);
    priority(refused(Refusal::WrongKind {}), &[&[22, 3]]);
    priority(
        refused(Refusal::FutureTimestamp { limit: 9 }),
        &[&[22, 4, 9]],
    );
    priority(refused(Refusal::NotBindable {}), &[&[22, 5]]);
    priority(refused(Refusal::Overloaded {}), &[&[22, 6]]);
    priority(refused(Refusal::ValueMissing {}), &[&[22, 7]]);
}

#[test]
fn the_bulk_messages_of_vivace() {
    let propagator = NodeId(4);
    bulk(
        BulkBody::WriteLocal {
            key: key(),
            tag: CopyTag::Bound(ts()),
            propagator,
            value: value(),
            derivation: None,
        },
        &[&[0], KEY, &[0], TS, &[4], VALUE, &[0]],
    );
    bulk(
        BulkBody::WriteLocal {
            key: key(),
            tag: CopyTag::Bound(ts()),
            propagator,
            value: value(),
            derivation: Some(Box::new(derivation())),
        },
        &[&[0], KEY, &[0], TS, &[4], VALUE, &[1], DERIVATION],
    );
    bulk(
        BulkBody::WriteLocal {
            key: key(),
            tag: CopyTag::Unbound(write()),
            propagator,
            value: value(),
            derivation: None,
        },
        &[&[0], KEY, &[1], WRITE, &[4], VALUE, &[0]],
    );
    bulk(
        BulkBody::WriteRemote {
            key: key(),
            ts: ts(),
            propagator,
            relay: vec![NodeId(8), NodeId(300)],
            value: value(),
        },
        &[&[1], KEY, TS, &[4], &[2, 8, 251, 44, 1], VALUE],
    );
    bulk(
        BulkBody::Data {
            ts: ts(),
            value: value(),
        },
        &[&[2], TS, VALUE],
    );
    bulk(
        BulkBody::ApplyRemote {
            key: key(),
            propagator,
            relay: vec![NodeId(8)],
            derivation: derivation(),
        },
        &[&[18], KEY, &[4], &[1, 8], DERIVATION],
    );
}

#[test]
fn the_bulk_messages_of_the_baselines() {
    bulk(BulkBody::AbdRead { key: key() }, &[&[3], KEY]);
    let clock = TrustedTime(250);
    bulk(
        BulkBody::AbdReadAck {
            ts: ts(),
            value: Some(value()),
            clock,
        },
        &[&[4], TS, &[1], VALUE, &[250]],
    );
    bulk(
        BulkBody::AbdWrite {
            key: key(),
            ts: ts(),
            value: value(),
        },
        &[&[5], KEY, TS, VALUE],
    );
    bulk(BulkBody::AbdWriteAck { clock }, &[&[6, 250]]);
    bulk(
        BulkBody::LanRead {
            key: key(),
            ots: ts(),
        },
        &[&[7], KEY, TS],
    );
    bulk(
        BulkBody::LanReadAck {
            granted: true,
            promised: ts(),
            ts: ts(),
            value: None,
        },
        &[&[8, 1], TS, TS, &[0]],
    );
    bulk(
        BulkBody::LanWrite {
            key: key(),
            ots: ts(),
            value: value(),
        },
        &[&[9], KEY, TS, VALUE],
    );
    bulk(
        BulkBody::LanWriteAck {
            accepted: false,
            promised: ts(),
        },
        &[&[10, 0], TS],
    );
    bulk(
        BulkBody::Refused {
            why: Refusal::Overloaded {},
        },
        &[&[11, 6]],
    );
}

#[test]
fn the_messages_of_an_operator_who_looks_for_lost_values() {
    let name = || KeyName::new("user").unwrap();
    let container = ContainerId(7);
    bulk(
        BulkBody::ListLacking {
            container,
            after: Some(name()),
            limit: 256,
        },
        &[&[12, 7, 1], b"\x04user", &[251, 0, 1]],
    );
    let keys = vec![KnownKey {
        name: name(),
        known: ts(),
    }];
    bulk(
        BulkBody::Lacking {
            keys,
            is_last: true,
        },
        &[&[13, 1], b"\x04user", TS, &[1]],
    );
    bulk(
        BulkBody::WhichHeld {
            container,
            versions: vec![(name(), ts())],
        },
        &[&[14, 7, 1], b"\x04user", TS],
    );
    bulk(BulkBody::BestHeld { best: vec![ts()] }, &[&[15, 1], TS]);
}

#[test]
fn the_messages_of_a_backup() {
    let name = || KeyName::new("user").unwrap();
    bulk(
        BulkBody::ListKnown {
            container: ContainerId(7),
            after: None,
            limit: 9,
        },
        &[&[16, 7, 0, 9]],
    );
    let keys = vec![KnownKey {
        name: name(),
        known: ts(),
    }];
    bulk(
        BulkBody::KnownKeys {
            keys,
            is_last: false,
        },
        &[&[17, 1], b"\x04user", TS, &[0]],
    );
}

#[test]
fn the_client_protocol() {
    let container = || "users".to_owned();
    let name = || KeyName::new("user").unwrap();
    let request = |request, bytes: &[&[u8]]| {
        golden(
            &ClientRequest {
                deadline_ms: 5000,
                request,
            },
            &[&[&[251, 0x88, 0x13][..]], bytes].concat(),
        );
    };
    request(
        Request::Read {
            container: container(),
            key: name(),
        },
        &[b"\0\x05users\x04user"],
    );
    request(
        Request::Write {
            container: container(),
            key: name(),
            value: value(),
            durability: None,
        },
        &[b"\x01\x05users\x04user", VALUE, &[0]],
    );
    request(
        Request::Execute {
            container: container(),
            key: name(),
            machine: "counter".into(),
            session: SessionId(ts()),
            sequence: 1,
            repeated: false,
            command: Blob::from(vec![0, 2]),
            durability: Some(Durability::Majority),
        },
        &[
            b"\x02\x05users\x04user\x07counter",
            TS,
            &[1, 0, 2, 0, 2, 1, 2],
        ],
    );
    request(
        Request::ReadState {
            container: container(),
            key: name(),
            machine: "counter".into(),
        },
        &[b"\x03\x05users\x04user\x07counter"],
    );
    request(Request::OpenSession, &[&[4]]);
    request(Request::Status, &[&[5]]);
    request(
        Request::FindLost {
            container: container(),
            after: None,
            limit: 9,
        },
        &[b"\x06\x05users", &[0, 9]],
    );
    request(
        Request::AcceptLoss {
            container: container(),
            key: name(),
            ts: ts(),
        },
        &[b"\x07\x05users\x04user", TS],
    );
    request(
        Request::ListObjects {
            container: container(),
            after: Some(name()),
            limit: 9,
        },
        &[b"\x08\x05users\x01\x04user\x09"],
    );
    request(
        Request::CopyObject {
            container: container(),
            key: name(),
            at_least: ts(),
        },
        &[b"\x09\x05users\x04user", TS],
    );
    request(
        Request::RestoreObject {
            container: container(),
            key: name(),
            object: Blob::from(vec![1]),
            durability: None,
        },
        &[b"\x0a\x05users\x04user", &[1, 1, 0]],
    );

    let ok = |success, bytes: &[&[u8]]| {
        golden::<ClientReply>(&Ok(success), &[&[&[0][..]], bytes].concat());
    };
    ok(
        Success::Value {
            ts: ts(),
            value: Blob::from(vec![1]),
        },
        &[&[0], TS, &[1, 1]],
    );
    ok(Success::NotFound, &[&[1]]);
    let lost = LostKey {
        key: name(),
        ts: ts(),
        site: "tokyo".into(),
        best: None,
    };
    ok(
        Success::Lost {
            keys: vec![lost],
            silent: vec![4],
            more: Some(name()),
        },
        &[
            &[7, 1],
            b"\x04user",
            TS,
            b"\x05tokyo",
            &[0, 1, 4, 1],
            b"\x04user",
        ],
    );
    ok(Success::LossAccepted, &[&[8]]);
    let listed = ListedKey {
        key: name(),
        ts: ts(),
    };
    ok(
        Success::Objects {
            keys: vec![listed],
            more: None,
        },
        &[&[9, 1], b"\x04user", TS, &[0]],
    );
    ok(
        Success::Copied {
            value: Value::Tombstone,
        },
        &[&[10, 0]],
    );
    ok(Success::Restored, &[&[11]]);
    ok(Success::Written { ts: ts() }, &[&[2], TS]);
    ok(
        Success::Executed {
            output: Blob::from(vec![]),
        },
        &[&[3, 0]],
    );
    ok(Success::State { state: None }, &[&[4, 0]]);
    ok(Success::Session(SessionId(ts())), &[&[5], TS]);

    let failed = |failure, bytes: &[&[u8]]| {
        golden::<ClientReply>(&Err(failure), &[&[&[1][..]], bytes].concat());
    };
    let reason = || "why".to_owned();
    failed(Failure::Conflict { reason: reason() }, &[b"\0\x03why"]);
    failed(Failure::Busy { reason: reason() }, &[b"\x01\x03why"]);
    failed(Failure::Unavailable { reason: reason() }, &[b"\x02\x03why"]);
    failed(Failure::Unknown { reason: reason() }, &[b"\x03\x03why"]);
    failed(Failure::SessionForgotten, &[&[4]]);
    failed(
        Failure::Invalid {
            field: "key".into(),
            reason: reason(),
        },
        &[b"\x05\x03key\x03why"],
    );
}

#[test]
fn the_records_of_the_log() {
    golden(&Record::ClockHighWater { time: 300 }, &[&[0, 251, 44, 1]]);
    golden(
        &Record::Known {
            key: key(),
            ts: ts(),
        },
        &[&[1], KEY, TS],
    );
    golden(
        &Record::Complete {
            key: key(),
            ts: ts(),
            value: StoredValue::Bytes(300),
        },
        &[&[2], KEY, TS, STORED],
    );
    golden(
        &Record::Promised {
            key: key(),
            ts: ts(),
        },
        &[&[3], KEY, TS],
    );
    golden(
        &Record::Accepted {
            key: key(),
            ts: ts(),
        },
        &[&[4], KEY, TS],
    );
    golden(
        &Record::Chosen {
            key: key(),
            ts: ts(),
        },
        &[&[5], KEY, TS],
    );
    golden(
        &Record::Version {
            key: key(),
            ts: ts(),
            value: StoredValue::Bytes(300),
        },
        &[&[6], KEY, TS, STORED],
    );
    golden(
        &Record::LanAccepted {
            key: key(),
            ts: ts(),
            value: StoredValue::Bytes(300),
        },
        &[&[7], KEY, TS, STORED],
    );
    golden(
        &Record::LocalCopy {
            key: key(),
            tag: CopyTag::Unbound(write()),
            value: StoredValue::Bytes(300),
        },
        &[&[8], KEY, &[1], WRITE, STORED],
    );
    golden(
        &Record::LocalBound {
            key: key(),
            write: write(),
            ts: ts(),
        },
        &[&[9], KEY, WRITE, TS],
    );
    golden(
        &Record::LocalAborted {
            key: key(),
            write: write(),
        },
        &[&[10], KEY, WRITE],
    );
    golden(
        &Record::LocalGivenUp {
            key: key(),
            write: write(),
        },
        &[&[11], KEY, WRITE],
    );
    golden(
        &Record::LocalDropped {
            key: key(),
            ts: ts(),
        },
        &[&[12], KEY, TS],
    );
    golden(
        &Record::ValueLost {
            key: key(),
            ts: ts(),
        },
        &[&[13], KEY, TS],
    );
}
