//! What a node reads from a peer's datagrams, ahead of the message in them.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use vivace_node::transport::RefusalCause;
use vivace_node::transport::fuzzing::datagram;

fuzz_target!(|bytes: &[u8]| {
    let received = Bytes::copy_from_slice(bytes);
    let is_one = match (bytes.first(), bytes.len()) {
        (Some(0), _) | (Some(1), 9) | (Some(2), 11) => true,
        (_, _) => false,
    };
    let expected = match is_one {
        true => Ok(received.clone()),
        false => Err(RefusalCause::MalformedDatagram),
    };
    assert_eq!(datagram(&received), expected, "in one form only");
});
