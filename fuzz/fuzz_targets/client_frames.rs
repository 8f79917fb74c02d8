//! What shares a stream between a client and a node, ahead of the messages in it. The first
//! byte says into how long pieces the rest is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_core::client_protocol::framing::{Frames, HEADER_BYTES};
use vivace_fuzz::Input;

const MESSAGE_BYTES_MAX: usize = 300;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let piece = usize::from(input.byte()) + 1;
    let mut frames = Frames::new(MESSAGE_BYTES_MAX);
    let mut written = Vec::new();
    let mut refused = None;
    for piece in input.0.chunks(piece) {
        frames.push(piece);
        refused = loop {
            match frames.next_frame() {
                Ok(Some((number, message))) => {
                    assert!(message.len() <= MESSAGE_BYTES_MAX);
                    written.extend(number.to_le_bytes());
                    written.extend((message.len() as u32).to_le_bytes());
                    written.extend_from_slice(&message);
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
    }
    let left = input.0.strip_prefix(&written[..]);
    let left = left.expect("frames are what the stream holds");
    let claimed = left
        .get(4..HEADER_BYTES)
        .map(|length| u32::from_le_bytes(length.try_into().expect("four bytes")) as usize);
    assert_eq!(frames.is_amid(), !left.is_empty());
    match claimed {
        Some(claimed) if claimed > MESSAGE_BYTES_MAX => {
            assert_eq!(refused.map(|error| error.bytes), Some(claimed));
        }
        claimed => {
            assert_eq!(refused, None);
            let is_partial = claimed.is_none_or(|claimed| left.len() < HEADER_BYTES + claimed);
            assert!(is_partial, "a frame is left");
        }
    }
});
