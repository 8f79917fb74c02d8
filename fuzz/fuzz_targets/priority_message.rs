//! What a node reads from a peer's datagrams.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_core::message::{PRIORITY_MESSAGE_BYTES_MAX, PriorityMessage};
use vivace_fuzz::round_trip;

fuzz_target!(|bytes: &[u8]| {
    round_trip::<PriorityMessage>(bytes, PRIORITY_MESSAGE_BYTES_MAX);
});
