//! What a node reads from a peer's bulk streams, ahead of the messages in them. The input
//! is cut into streams; the last one takes the rest.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_fuzz::Input;
use vivace_node::transport::RefusalCause;
use vivace_node::transport::fuzzing::bulk_streams;

const STREAMS_MAX: u8 = 3;
const LANES: u8 = 3;
const FRAME_BYTES_MAX: usize = 300;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let mut streams = Vec::new();
    for _ in 0..input.byte() % STREAMS_MAX {
        streams.push(input.string());
    }
    streams.push(input.0);
    let read = bulk_streams(&streams, FRAME_BYTES_MAX);
    assert_eq!(read.len(), streams.len());
    let mut seen = [false; LANES as usize];
    for (stream, (frames, cause)) in streams.iter().zip(read) {
        let Some((&lane, rest)) = stream.split_first() else {
            assert_eq!((frames.len(), cause), (0, RefusalCause::TruncatedFrame));
            continue;
        };
        let refused_at_once = match seen.get_mut(usize::from(lane)) {
            None => Some(RefusalCause::UnknownLane),
            Some(true) => Some(RefusalCause::DuplicateLane),
            Some(first) => {
                *first = true;
                None
            }
        };
        if let Some(refused) = refused_at_once {
            assert_eq!((frames.len(), cause), (0, refused));
            continue;
        }
        let mut written = Vec::new();
        for frame in &frames {
            assert!(frame.len() <= FRAME_BYTES_MAX);
            written.extend_from_slice(&(frame.len() as u32).to_le_bytes());
            written.extend_from_slice(frame);
        }
        let left = rest.strip_prefix(&written[..]);
        let left = left.expect("frames are what the stream holds");
        let due = left.first_chunk().map(|length| u32::from_le_bytes(*length));
        match due.map(|due| due as usize) {
            Some(due) if due > FRAME_BYTES_MAX => assert_eq!(cause, RefusalCause::FrameTooLarge),
            due => {
                assert_eq!(cause, RefusalCause::TruncatedFrame);
                assert!(
                    due.is_none_or(|due| left.len() < 4 + due),
                    "a frame is left"
                );
            }
        }
    }
});
