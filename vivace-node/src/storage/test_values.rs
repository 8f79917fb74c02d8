//! Ids and values for this module's tests.

use bytes::Bytes;
use vivace_core::stored::ValueId;
use vivace_core::{ContainerId, Incarnation, Key, KeyName, NodeId, Timestamp, Value, WriterId};

/// The id of the value of `name` at `time`.
pub fn id(name: &str, time: u64) -> ValueId {
    let key = Key {
        container: ContainerId(1),
        name: KeyName::new(Bytes::copy_from_slice(name.as_bytes())).expect("a test's key is one"),
    };
    let ts = Timestamp {
        time,
        writer: WriterId::new(NodeId(1), Incarnation(1)),
    };
    ValueId::version(&key, ts)
}

/// A value of these bytes.
pub fn value(bytes: &[u8]) -> Value {
    Bytes::copy_from_slice(bytes).into()
}

/// A value of `length` bytes that no other `seed` shares.
pub fn long_value(seed: u64, length: usize) -> Value {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes: Vec<u8> = (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect();
    Bytes::from(bytes).into()
}
