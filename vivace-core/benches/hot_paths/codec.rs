//! Messages to bytes and back.

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use vivace_core::codec::{MESSAGE_BYTES_MAX, decode, encode};
use vivace_core::message::{
    BulkBody, BulkMessage, CopyTag, PRIORITY_MESSAGE_BYTES_MAX, PriorityBody, PriorityMessage,
    RpcId,
};
use vivace_core::{ContainerId, Epoch, Incarnation, Key, NodeId, Timestamp, WriterId};

use crate::cluster::{key, value};

const VALUE_BYTES: [usize; 3] = [16, 1024, 64 << 10];

fn ts() -> Timestamp {
    Timestamp {
        time: 1_700_000_000_000_000_000,
        writer: WriterId::new(NodeId(1), Incarnation(1)),
    }
}

fn rpc() -> RpcId {
    RpcId {
        incarnation: Incarnation(1),
        operation: 123_456,
        call: 1,
    }
}

fn object() -> Key {
    Key {
        container: ContainerId(1),
        name: key(123_456),
    }
}

fn write_ts() -> PriorityMessage {
    PriorityMessage {
        rpc: rpc(),
        epoch: Epoch(1),
        body: PriorityBody::WriteTs {
            key: object(),
            ts: ts(),
        },
    }
}

fn write_local(bytes: usize) -> BulkMessage {
    BulkMessage {
        rpc: rpc(),
        epoch: Epoch(1),
        body: BulkBody::WriteLocal {
            key: object(),
            tag: CopyTag::Bound(ts()),
            propagator: NodeId(1),
            value: value(bytes),
            derivation: None,
        },
    }
}

#[divan::bench]
fn encode_write_ts(bencher: Bencher<'_, '_>) {
    let message = write_ts();
    bencher.bench(|| encode(black_box(&message)));
}

#[divan::bench]
fn decode_write_ts(bencher: Bencher<'_, '_>) {
    let bytes = encode(&write_ts());
    bencher.bench(|| {
        decode::<PriorityMessage>(black_box(&bytes), PRIORITY_MESSAGE_BYTES_MAX)
            .expect("it was just encoded")
    });
}

#[divan::bench(args = VALUE_BYTES)]
fn encode_write_local(bencher: Bencher<'_, '_>, bytes: usize) {
    let message = write_local(bytes);
    bencher
        .counter(BytesCount::new(bytes))
        .bench(|| encode(black_box(&message)));
}

#[divan::bench(args = VALUE_BYTES)]
fn decode_write_local(bencher: Bencher<'_, '_>, bytes: usize) {
    let encoded = Bytes::from(encode(&write_local(bytes)));
    bencher.counter(BytesCount::new(bytes)).bench(|| {
        decode::<BulkMessage>(black_box(&encoded), MESSAGE_BYTES_MAX).expect("it was just encoded")
    });
}
