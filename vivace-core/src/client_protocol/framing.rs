//! Frames: how the small messages of many operations share a stream.
//!
//! A frame is the number of a request, the length of a message, and the message. A client
//! numbers its requests as it likes; a reply has its request's number.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | the number, little-endian |
//! | 4 | the message's length in bytes, little-endian |
//! | that many | the message |

use bincode::Encode;
use bytes::{Buf, Bytes, BytesMut};

use crate::codec;

/// Bytes before a frame's message.
pub const HEADER_BYTES: usize = 8;

/// The longest message, in bytes, that a stream is shared for: a longer one has a stream
/// of its own, so that no other waits behind it.
pub const SHARED_MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// The most requests that are under way on one connection's shared stream: a node reads no
/// further, and a client sends no more, for what lies unread at a node can't be taken back.
pub const SHARED_REQUESTS_MAX: usize = 1024;

/// A frame that claims more bytes than its reader takes in. What follows it is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame {number}: its message has {bytes} bytes; the limit is {limit}")]
pub struct FrameTooLong {
    /// The request's number.
    pub number: u32,
    /// What the frame claims.
    pub bytes: usize,
    /// The limit.
    pub limit: usize,
}

/// Appends the frame of `message`.
///
/// # Panics
/// Never for messages of this crate: none has 4 GiB.
pub fn put<M: Encode>(number: u32, message: &M, into: &mut Vec<u8>) {
    let start = into.len();
    into.extend_from_slice(&number.to_le_bytes());
    into.extend_from_slice(&[0; 4]);
    codec::encode_into(message, into);
    let bytes = into.len() - start - HEADER_BYTES;
    let bytes = u32::try_from(bytes).expect("messages are below 4 GiB");
    into[start + 4..start + HEADER_BYTES].copy_from_slice(&bytes.to_le_bytes());
}

/// The frames of one stream, read as its bytes come in.
#[derive(Debug)]
pub struct Frames {
    read: BytesMut,
    message_bytes_max: usize,
}

impl Frames {
    /// Reads messages of at most `message_bytes_max` bytes.
    pub fn new(message_bytes_max: usize) -> Self {
        Self {
            read: BytesMut::new(),
            message_bytes_max,
        }
    }

    /// Takes in what came next. Holds no more than one frame, and what was handed in behind it.
    pub fn push(&mut self, bytes: &[u8]) {
        self.read.extend_from_slice(bytes);
    }

    /// The next whole frame's number and message; none before more bytes come in.
    ///
    /// # Errors
    /// [`FrameTooLong`], again with every call: nothing after it can be read.
    pub fn next_frame(&mut self) -> Result<Option<(u32, Bytes)>, FrameTooLong> {
        let Some((header, rest)) = self.read.split_at_checked(HEADER_BYTES) else {
            return Ok(None);
        };
        let mut header = header;
        let number = header.get_u32_le();
        let bytes = header.get_u32_le() as usize;
        if bytes > self.message_bytes_max {
            return Err(FrameTooLong {
                number,
                bytes,
                limit: self.message_bytes_max,
            });
        }
        if rest.len() < bytes {
            self.read.reserve(HEADER_BYTES + bytes - self.read.len());
            return Ok(None);
        }
        self.read.advance(HEADER_BYTES);
        Ok(Some((number, self.read.split_to(bytes).freeze())))
    }

    /// Whether a frame has begun that is not whole.
    pub fn is_amid(&self) -> bool {
        !self.read.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(messages: &[(u32, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, message) in messages {
            put(*number, message, &mut bytes);
        }
        bytes
    }

    fn read_all(frames: &mut Frames) -> Vec<(u32, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some((number, message)) = frames.next_frame().expect("none is too long") {
            let message = codec::decode(&message, 1 << 20).expect("what was encoded");
            all.push((number, message));
        }
        all
    }

    #[test]
    fn a_frame_is_its_number_its_length_and_its_message() {
        let bytes = framed(&[(0x0102_0304, vec![7, 8])]);
        assert_eq!(bytes, [4, 3, 2, 1, 3, 0, 0, 0, 2, 7, 8]);
    }

    #[test]
    fn frames_are_read_however_a_stream_cuts_them() {
        let messages = [(7, vec![]), (u32::MAX, vec![1; 300]), (0, vec![2; 3])];
        let bytes = framed(&messages);
        for piece in 1..=bytes.len() {
            let mut frames = Frames::new(1000);
            let mut read = Vec::new();
            for piece in bytes.chunks(piece) {
                frames.push(piece);
                read.extend(read_all(&mut frames));
            }
            assert_eq!(read, messages, "pieces of {piece}");
            assert!(!frames.is_amid());
        }
    }

    #[test]
    fn a_frame_that_claims_too_much_is_told_by_its_header_alone() {
        let mut frames = Frames::new(16);
        frames.push(&framed(&[(1, vec![0; 15])]));
        assert!(frames.next_frame().is_ok_and(|frame| frame.is_some()));
        frames.push(&[9, 0, 0, 0, 17, 0, 0]);
        assert_eq!(frames.next_frame(), Ok(None));
        assert!(frames.is_amid());
        frames.push(&[0]);
        let refused = FrameTooLong {
            number: 9,
            bytes: 17,
            limit: 16,
        };
        assert_eq!(frames.next_frame(), Err(refused));
        assert_eq!(
            refused.to_string(),
            "frame 9: its message has 17 bytes; the limit is 16"
        );
        frames.push(&[0; 100]);
        assert_eq!(frames.next_frame(), Err(refused));
    }
}
