//! What a node reads from a client.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_core::client_protocol::ClientRequest;
use vivace_core::codec::MESSAGE_BYTES_MAX;
use vivace_fuzz::round_trip;

fuzz_target!(|bytes: &[u8]| {
    round_trip::<ClientRequest>(bytes, MESSAGE_BYTES_MAX);
});
