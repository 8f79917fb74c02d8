//! What one replica does for W-TS, the message that every write waits for.

use divan::Bencher;
use vivace_core::client_protocol::Request;
use vivace_core::message::PriorityBody;
use vivace_core::{Durability, NodeId};

use crate::cluster::{InstantCluster, RW, key, value};

/// How many writes' messages are collected; a bench takes fewer.
const WRITES: u64 = 20_000;

/// Each message once, in its order: a repeated one has nothing to do.
#[divan::bench(sample_count = 100, sample_size = 100)]
fn write_ts(bencher: Bencher<'_, '_>) {
    let mut writer = InstantCluster::without_direct_writes();
    writer.listen();
    for number in 0..WRITES {
        let write = Request::Write {
            container: RW.to_owned(),
            key: key(number % 1000),
            value: value(16),
            durability: Some(Durability::Local),
        };
        let written = writer.ask(write);
        written.expect("an undisturbed cluster carries out every write");
    }
    let mut told = writer.heard().into_iter();
    let next = || {
        told.by_ref()
            .find(|(_, message)| matches!(message.body, PriorityBody::WriteTs { .. }))
            .expect("enough were collected")
    };
    let mut replica = InstantCluster::without_direct_writes();
    bencher
        .with_inputs(next)
        .bench_local_values(|(from, message)| {
            assert_eq!(from, NodeId(0));
            let actions = replica.tell(from, message);
            assert!(actions > 0, "a new timestamp is recorded");
        });
}
