//! What a node reads from a peer's bulk streams.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_core::codec::MESSAGE_BYTES_MAX;
use vivace_core::message::BulkMessage;
use vivace_fuzz::round_trip;

fuzz_target!(|bytes: &[u8]| {
    round_trip::<BulkMessage>(bytes, MESSAGE_BYTES_MAX);
});
