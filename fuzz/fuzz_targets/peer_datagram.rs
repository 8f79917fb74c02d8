//! What a node reads from a peer's datagrams, ahead of the message in them.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use vivace_node::transport::fuzzing::datagram;

fuzz_target!(|bytes: &[u8]| {
    let Ok((rewritten, message_bytes)) = datagram(&Bytes::copy_from_slice(bytes)) else {
        return;
    };
    assert!(rewritten.len() <= bytes.len(), "ours is the shortest form");
    assert!(
        message_bytes <= 8 * bytes.len(),
        "a bound on what a datagram blows up to"
    );
    assert_eq!(datagram(&rewritten), Ok((rewritten.clone(), message_bytes)));
});
