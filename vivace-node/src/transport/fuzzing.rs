//! The decoders of what a peer sends, for the fuzzer (`fuzz/`) alone: bytes in, what they
//! mean written out again. Feature `fuzzing`; no part of the crate's interface.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::batch::{Batch, Entries, Entry};
use super::bulk::{LanesSeen, read_frame};
use super::hello::read_hello;
use super::refusal::{Ending, RefusalCause};

/// Reads the hello that begins `stream`; its bytes as we would send them, or why the peer
/// is refused.
///
/// # Errors
/// The cause.
pub fn hello(mut stream: &[u8]) -> Result<Vec<u8>, RefusalCause> {
    match at_once(read_hello(&mut stream)) {
        Ok(hello) => Ok(hello.encode()),
        Err(ending) => Err(refused(ending)),
    }
}

/// Reads a datagram of the priority class; a datagram of the same entries as we would
/// send them, and how many bytes of messages they hold.
///
/// # Errors
/// The cause.
pub fn datagram(bytes: &Bytes) -> Result<(Bytes, usize), RefusalCause> {
    let mut batch = Batch::default();
    let mut message_bytes = 0;
    for entry in Entries::of(bytes.clone()) {
        let entry = entry.map_err(|_| RefusalCause::MalformedDatagram)?;
        if let Entry::Message(message) = &entry {
            message_bytes += message.len();
        }
        assert!(batch.push(&entry, usize::MAX), "there is room for all");
    }
    Ok((batch.take(), message_bytes))
}

/// Reads a connection's bulk streams, one after the other, each to its end: their frames,
/// and why each ended.
pub fn bulk_streams(streams: &[&[u8]], frame_bytes_max: usize) -> Vec<(Vec<Bytes>, RefusalCause)> {
    let lanes = LanesSeen::default();
    let read = |&(mut stream): &&[u8]| {
        let mut frames = Vec::new();
        let ending = at_once(async {
            if let Err(ending) = lanes.read_lane(&mut stream).await {
                return ending;
            }
            loop {
                match read_frame(&mut stream, frame_bytes_max).await {
                    Ok(frame) => frames.push(frame),
                    Err(ending) => return ending,
                }
            }
        });
        (frames, refused(ending))
    };
    streams.iter().map(read).collect()
}

/// Bytes in memory are all there: nothing waits for more.
fn at_once<T>(reading: impl Future<Output = T>) -> T {
    match pin!(reading).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read,
        Poll::Pending => panic!("a read of memory waits"),
    }
}

fn refused(ending: Ending) -> RefusalCause {
    match ending {
        Ending::Refused(refusal) => refusal.cause,
        other => panic!("bytes in memory end with {other}"),
    }
}
