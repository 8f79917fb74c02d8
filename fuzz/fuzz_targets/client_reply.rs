//! What a client reads from a node.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_core::client_protocol::ClientReply;
use vivace_core::codec::MESSAGE_BYTES_MAX;
use vivace_fuzz::round_trip;

fuzz_target!(|bytes: &[u8]| {
    round_trip::<ClientReply>(bytes, MESSAGE_BYTES_MAX);
});
