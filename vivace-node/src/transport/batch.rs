//! Several priority messages in one QUIC DATAGRAM frame, and so in one packet.
//!
//! A packet costs 60 to 80 bytes of headers, a timestamp's message 20 to 50, and
//! the messages of one moment differ in little: the operation's number, the end of
//! the key, the low bytes of the time. So messages share a datagram, and one that is
//! as long as an earlier one of the same datagram is told by its difference. Nothing
//! is remembered from one datagram to the next: each is understood alone, whatever
//! was lost before it.
//!
//! A datagram is a sequence of entries up to its end. An entry begins with a number
//! (LEB128):
//! ```text
//! 0             | sequence: u64                                       ping
//! 1             | sequence: u64 | priority DSCP: u8 | bulk DSCP: u8   pong
//! 2             |                                                     copy
//! 2 * (n + 2)   | n bytes                                             message
//! 2 * (n + 2)+1 | mask: n / 8 bytes, rounded up | bytes               message
//! ```
//! A copy's mark stands first, and the rest is a datagram that left a little earlier,
//! sent once more because the path loses packets. The last is like the latest message of n bytes before it, except where bit i of
//! the mask's byte j says so: there byte 8 j + i is the next of the bytes that follow.
//! A pong's DSCPs are those that our packets arrived with at its sender, 255 where it
//! can't tell.

use bytes::{BufMut, Bytes, BytesMut};

use super::limits::PRIORITY_MESSAGE_BYTES_MAX;

const PING: usize = 0;
const PONG: usize = 1;
const COPY: usize = 2;

/// What a message of `length` bytes, written out, begins with.
const fn head(length: usize) -> usize {
    2 * (length + 2)
}

/// In a pong: the class is down, or its socket can't tell.
pub(super) const DSCP_UNKNOWN: u8 = 0xff;

/// What a datagram holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Message(Bytes),
    Ping {
        sequence: u64,
    },
    Pong {
        sequence: u64,
        priority_dscp: u8,
        bulk_dscp: u8,
    },
}

/// The latest message of each length.
#[derive(Debug, Default)]
struct References(Vec<Bytes>);

impl References {
    fn get(&self, length: usize) -> Option<&Bytes> {
        self.0.iter().find(|message| message.len() == length)
    }

    fn set(&mut self, message: Bytes) {
        match self.0.iter_mut().find(|m| m.len() == message.len()) {
            Some(earlier) => *earlier = message,
            None => self.0.push(message),
        }
    }
}

/// A datagram in the making.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: BytesMut,
    references: References,
}

impl Batch {
    /// Its length so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds an entry, unless the datagram would be longer than `bytes_max`.
    pub(super) fn push(&mut self, entry: &Entry, bytes_max: usize) -> bool {
        let before = self.bytes.len();
        match entry {
            Entry::Ping { sequence } => {
                put_number(&mut self.bytes, PING);
                self.bytes.put_u64_le(*sequence);
            }
            Entry::Pong {
                sequence,
                priority_dscp,
                bulk_dscp,
            } => {
                put_number(&mut self.bytes, PONG);
                self.bytes.put_u64_le(*sequence);
                self.bytes.put_slice(&[*priority_dscp, *bulk_dscp]);
            }
            Entry::Message(message) => self.put_message(message),
        }
        if self.bytes.len() > bytes_max {
            self.bytes.truncate(before);
            return false;
        }
        if let Entry::Message(message) = entry {
            self.references.set(message.clone());
        }
        true
    }

    fn put_message(&mut self, message: &Bytes) {
        let head = head(message.len());
        let reference = self.references.get(message.len());
        let differing = reference.map(|r| r.iter().zip(message).filter(|(a, b)| a != b).count());
        match (reference, differing) {
            (Some(reference), Some(differing))
                if message.len().div_ceil(8) + differing < message.len() =>
            {
                put_number(&mut self.bytes, head + 1);
                for (old, new) in reference.chunks(8).zip(message.chunks(8)) {
                    self.bytes.put_u8(mask(old, new));
                }
                let changed = reference
                    .iter()
                    .zip(message)
                    .filter(|(old, new)| old != new);
                self.bytes.extend(changed.map(|(_, new)| *new));
            }
            _ => {
                put_number(&mut self.bytes, head);
                self.bytes.put_slice(message);
            }
        }
    }

    /// The datagram; a new one begins.
    pub(super) fn take(&mut self) -> Bytes {
        self.references.0.clear();
        self.bytes.split().freeze()
    }
}

/// `datagram`, marked as a copy.
pub(super) fn copy_of(datagram: &Bytes) -> Bytes {
    let mut copy = BytesMut::with_capacity(1 + datagram.len());
    put_number(&mut copy, COPY);
    copy.put_slice(datagram);
    copy.freeze()
}

/// What `datagram` is a copy of, if it is one.
pub(super) fn original_of(datagram: &Bytes) -> Option<Bytes> {
    (datagram.first().copied() == Some(COPY as u8)).then(|| datagram.slice(1..))
}

/// Which of up to eight bytes differ.
fn mask(old: &[u8], new: &[u8]) -> u8 {
    let bits = old.iter().zip(new).enumerate();
    bits.fold(0, |mask, (bit, (old, new))| {
        mask | u8::from(old != new) << bit
    })
}

fn put_number(bytes: &mut BytesMut, mut number: usize) {
    while number >= 0x80 {
        bytes.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.put_u8(number as u8);
}

/// A datagram that is not a sequence of entries: which one is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) entry: usize,
}

/// Reads a datagram, entry by entry; what is wrong ends it.
pub(super) struct Entries {
    rest: Bytes,
    references: References,
    read: usize,
}

impl Entries {
    pub(super) fn of(datagram: Bytes) -> Self {
        Self {
            rest: datagram,
            references: References::default(),
            read: 0,
        }
    }

    fn entry(&mut self) -> Option<Entry> {
        match self.number()? {
            PING => Some(Entry::Ping {
                sequence: self.sequence()?,
            }),
            PONG => {
                let sequence = self.sequence()?;
                let dscps = self.bytes(2)?;
                Some(Entry::Pong {
                    sequence,
                    priority_dscp: dscps[0],
                    bulk_dscp: dscps[1],
                })
            }
            head => {
                let length = (head / 2).checked_sub(2)?;
                if length > PRIORITY_MESSAGE_BYTES_MAX {
                    return None;
                }
                let message = match head % 2 == 1 {
                    false => self.bytes(length)?,
                    true => self.difference(length)?,
                };
                self.references.set(message.clone());
                Some(Entry::Message(message))
            }
        }
    }

    fn difference(&mut self, length: usize) -> Option<Bytes> {
        let mask = self.bytes(length.div_ceil(8))?;
        let mut message = BytesMut::from(&self.references.get(length)?[..]);
        for (at, byte) in message.iter_mut().enumerate() {
            if mask[at / 8] >> (at % 8) & 1 == 1 {
                *byte = self.bytes(1)?[0];
            }
        }
        // A bit beyond the message's end would be a second way to say the same.
        let is_canonical =
            length.is_multiple_of(8) || mask.last().is_none_or(|m| m >> (length % 8) == 0);
        is_canonical.then(|| message.freeze())
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = 0;
        // Three bytes are more than any message's length needs.
        for shift in [0, 7, 14] {
            let byte = self.bytes(1)?[0];
            number |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn sequence(&mut self) -> Option<u64> {
        let bytes = self.bytes(8)?;
        Some(u64::from_le_bytes(bytes[..].try_into().ok()?))
    }

    fn bytes(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.rest.len()).then(|| self.rest.split_to(length))
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.read;
        self.read += 1;
        let read = self.entry();
        if read.is_none() {
            self.rest.clear();
        }
        Some(read.ok_or(Malformed { entry }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn datagram(entries: &[Entry], bytes_max: usize) -> Bytes {
        let mut batch = Batch::default();
        for entry in entries {
            assert!(batch.push(entry, bytes_max));
        }
        batch.take()
    }

    fn message(bytes: &[u8]) -> Entry {
        Entry::Message(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn a_datagram_has_these_bytes() {
        let entries = [
            Entry::Ping { sequence: 1 },
            message(b"key-0000001"),
            message(b"key-0000092"),
            message(b""),
            Entry::Pong {
                sequence: 2,
                priority_dscp: 46,
                bulk_dscp: DSCP_UNKNOWN,
            },
        ];
        let golden = b"\x00\x01\0\0\0\0\0\0\0\x1akey-0000001\x1b\x00\x0692\x04\x01\x02\0\0\0\0\0\0\0\x2e\xff";
        assert_eq!(datagram(&entries, 100)[..], golden[..]);
        let read: Result<Vec<Entry>, Malformed> = Entries::of(Bytes::from_static(golden)).collect();
        assert_eq!(read.as_deref(), Ok(&entries[..]));
    }

    #[test]
    fn a_copy_is_told_from_what_it_copies_and_is_no_entry() {
        let datagram = datagram(&[message(b"text")], 100);
        let copy = copy_of(&datagram);
        assert_eq!(original_of(&copy), Some(datagram.clone()));
        assert_eq!(original_of(&datagram), None);
        for wrong in [&copy[..], b"\x03", b"\x05a"] {
            let read: Vec<_> = Entries::of(Bytes::copy_from_slice(wrong)).collect();
            assert_eq!(read, [Err(Malformed { entry: 0 })]);
        }
    }

    #[test]
    fn what_does_not_fit_leaves_the_datagram_as_it_was() {
        let mut batch = Batch::default();
        assert!(batch.push(&message(&[1; 20]), 30));
        assert!(!batch.push(&message(&[2; 21]), 30));
        assert!(batch.push(&message(&[1; 20]), 30), "it differs in nothing");
        assert_eq!(batch.len(), 21 + 1 + 3);
        let read: Vec<_> = Entries::of(batch.take()).collect();
        assert_eq!(read, vec![Ok(message(&[1; 20])); 2]);
        assert_eq!(batch.len(), 0);
    }

    #[test]
    fn messages_of_one_moment_take_less_than_half() {
        let mut batch = Batch::default();
        let like_write_ts = |n: u16| {
            let mut bytes = b"\xfb\x34\x12\xfb\0\0\x01\x01\x02\x01\x0bkey-0000000".to_vec();
            bytes[4..6].copy_from_slice(&n.to_le_bytes());
            bytes[20..22].copy_from_slice(&(n * 7919).to_le_bytes());
            bytes.extend(
                0x1844_1234_5678_0000_u64
                    .wrapping_add(u64::from(n) * 300_000)
                    .to_be_bytes(),
            );
            bytes.extend([0, 1, 0, 9]);
            bytes
        };
        for n in 0..8 {
            assert!(batch.push(&message(&like_write_ts(n)), 1_100));
        }
        let plain = 8 * like_write_ts(0).len();
        assert!(2 * batch.len() < plain, "{} of {plain}", batch.len());
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            entries in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(0..4_u8, 0..40).prop_map(|m| message(&m)),
                    any::<u64>().prop_map(|sequence| Entry::Ping { sequence }),
                    any::<(u64, u8, u8)>().prop_map(|(sequence, priority_dscp, bulk_dscp)| {
                        Entry::Pong { sequence, priority_dscp, bulk_dscp }
                    }),
                ],
                0..40,
            )
        ) {
            let read: Result<Vec<Entry>, Malformed> =
                Entries::of(datagram(&entries, usize::MAX)).collect();
            prop_assert_eq!(read, Ok(entries));
        }

        #[test]
        fn whatever_arrives_is_read_or_refused_within_bounds(
            bytes in proptest::collection::vec(any::<u8>(), 0..1_200)
        ) {
            let arrived = bytes.len();
            let mut total = 0;
            for entry in Entries::of(bytes.into()) {
                if let Ok(Entry::Message(message)) = entry {
                    total += message.len();
                }
            }
            // A message that differs in nothing takes an eighth of itself.
            prop_assert!(total <= 8 * arrived);
        }
    }
}
