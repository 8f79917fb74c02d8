//! One operation of a client: all that three nodes do for it.

use divan::Bencher;
use divan::counter::ItemsCount;
use vivace_core::client_protocol::{ClientReply, Request, SessionId, Success};
use vivace_core::machine::StateMachine;
use vivace_core::machine::builtin::{Counter, counter};
use vivace_core::{Timestamp, codec};

use crate::cluster::{InstantCluster, RMW, RW, key, value};

/// How many objects there are; fewer where the benches are only tried.
const KEYS: [u64; 2] = match cfg!(debug_assertions) {
    true => [10, 100],
    false => [1_000, 100_000],
};

/// The paper's size of objects.
const VALUE_BYTES: usize = 1024;

fn write(number: u64) -> Request {
    Request::Write {
        container: RW.to_owned(),
        key: key(number),
        value: value(VALUE_BYTES),
        durability: None,
    }
}

fn add_one(key_number: u64, sequence: u64) -> Request {
    Request::Execute {
        container: RMW.to_owned(),
        key: key(key_number),
        machine: Counter::NAME.to_owned(),
        session: SessionId(Timestamp {
            time: 1,
            ..Timestamp::ZERO
        }),
        sequence,
        repeated: false,
        command: codec::encode(&counter::Command::Add(1)).into(),
        durability: None,
    }
}

/// A bench that measures failures measures nothing.
fn succeed(reply: ClientReply) -> Success {
    reply.expect("an undisturbed cluster carries out every operation")
}

fn filled(keys: u64) -> InstantCluster {
    let mut cluster = InstantCluster::new();
    for number in 0..keys {
        succeed(cluster.ask(write(number)));
    }
    cluster
}

#[divan::bench(args = KEYS)]
fn read_1_kib(bencher: Bencher<'_, '_>, keys: u64) {
    let mut cluster = filled(keys);
    let mut number = 0;
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        number = (number + 7919) % keys;
        let read = Request::Read {
            container: RW.to_owned(),
            key: key(number),
        };
        let found = succeed(cluster.ask(read));
        assert!(matches!(found, Success::Value { .. }));
    });
}

#[divan::bench(args = KEYS)]
fn write_1_kib(bencher: Bencher<'_, '_>, keys: u64) {
    let mut cluster = filled(keys);
    let mut number = 0;
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        number = (number + 7919) % keys;
        succeed(cluster.ask(write(number)))
    });
}

#[divan::bench(args = KEYS)]
fn execute_counter(bencher: Bencher<'_, '_>, keys: u64) {
    let mut cluster = InstantCluster::new();
    let mut turns = vec![0; keys as usize];
    for number in 0..keys {
        turns[number as usize] += 1;
        succeed(cluster.ask(add_one(number, 1)));
    }
    let mut number = 0;
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        number = (number + 7919) % keys;
        let sequence = &mut turns[number as usize];
        *sequence += 1;
        let sequence = *sequence;
        succeed(cluster.ask(add_one(number, sequence)))
    });
}
