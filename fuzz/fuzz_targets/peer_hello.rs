//! What a node reads first from a peer's connection.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_node::transport::RefusalCause;
use vivace_node::transport::fuzzing::hello;

/// Fixed fields and the longest cluster's name, behind the length; a directory; the most
/// containers.
const HELLO_BYTES_MAX: usize = 1 + 13 + 63 + 16 + 2 + 1024 * 12;

fuzz_target!(|stream: &[u8]| {
    let encoded = match hello(stream) {
        Ok(encoded) => encoded,
        Err(cause) => {
            assert_eq!(cause, RefusalCause::MalformedHello);
            return;
        }
    };
    assert!(encoded.len() <= HELLO_BYTES_MAX);
    assert!(stream.starts_with(&encoded), "in one form only");
    let cut = hello(&encoded[..encoded.len() - 1]);
    assert_eq!(cut, Err(RefusalCause::MalformedHello), "every byte is due");
});
