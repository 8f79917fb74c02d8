//! The sessions that changed an RMW object, as they are stored.
//!
//! An object is read, changed and stored once per command, and only one of up to 256
//! sessions changes with it. So they stay encoded: a command costs a look at each and a
//! copy of the bytes, and no allocation for any of them.

use std::ops::Range;

use bincode::{BorrowDecode, Encode};
use bytes::{BufMut, Bytes, BytesMut};

use crate::client_protocol::SessionId;
use crate::codec::{self, CodecError};

/// One session's last command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Session<'a> {
    pub id: SessionId,
    pub sequence: u64,
    /// What the client heard: an output, or the reason of a conflict.
    pub result: Result<&'a [u8], &'a str>,
}

/// Sessions, least recently used first.
///
/// Layout: their number as a variable-length integer, then each: its id, 12 bytes; its
/// sequence number; 0 and an output, or 1 and a reason, behind its length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    number: usize,
    /// All behind the number, each of them readable.
    encoded: Bytes,
}

impl Sessions {
    /// Reads sessions that take all of `bytes`, and shares them.
    ///
    /// # Errors
    /// [`CodecError`] where one is malformed, or bytes are left over.
    pub fn decode(bytes: &Bytes) -> Result<Self, CodecError> {
        let (number, mut read) = codec::decode_front::<u64>(bytes)?;
        let sessions = bytes.slice(read..);
        for _ in 0..number {
            read += codec::decode_front::<Session<'_>>(&bytes[read..])?.1;
        }
        match bytes.len() - read {
            // Each of them took a byte at least, so their number is a length too.
            0 => Ok(Self {
                number: number as usize,
                encoded: sessions,
            }),
            extra => Err(CodecError::Trailing { extra }),
        }
    }

    /// Appends them to `into`, as [`Sessions::decode`] reads them.
    pub fn encode_into(&self, into: &mut Vec<u8>) {
        codec::encode_into(&(self.number as u64), into);
        into.put_slice(&self.encoded);
    }

    /// How many bytes that takes.
    pub fn bytes(&self) -> usize {
        codec::encoded_bytes(&(self.number as u64)) + self.encoded.len()
    }

    /// All of them, and where they stand.
    fn iter(&self) -> impl Iterator<Item = (Range<usize>, Session<'_>)> {
        let mut begin = 0;
        std::iter::from_fn(move || {
            let rest = self.encoded.get(begin..).filter(|rest| !rest.is_empty())?;
            let (session, read) = codec::decode_front(rest).ok()?;
            let place = begin..begin + read;
            begin = place.end;
            Some((place, session))
        })
    }

    /// The session's last command.
    pub fn get(&self, id: SessionId) -> Option<Session<'_>> {
        let mut sessions = self.iter().map(|(_, session)| session);
        sessions.find(|session| session.id == id)
    }

    /// `session` as the one that was used last, in the place of what it did before. With
    /// more than `limit` of them the one that was silent for longest goes, and is returned.
    #[must_use]
    pub fn with(&self, session: Session<'_>, limit: usize) -> (Self, Option<SessionId>) {
        let added = codec::encode(&session);
        let mut encoded = BytesMut::with_capacity(self.encoded.len() + added.len());
        let (mut number, mut copied) = (self.number + 1, 0);
        for (place, _) in self.iter().filter(|(_, known)| known.id == session.id) {
            encoded.put_slice(&self.encoded[copied..place.start]);
            copied = place.end;
            number -= 1;
        }
        let is_new = copied == 0;
        let oldest = self.iter().next();
        let forgotten = oldest.filter(|_| is_new && self.number >= limit);
        let forgotten = forgotten.map(|(place, oldest)| {
            copied = place.end;
            number -= 1;
            oldest.id
        });
        encoded.put_slice(&self.encoded[copied..]);
        encoded.put_slice(&added);
        let encoded = encoded.freeze();
        (Self { number, encoded }, forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;

    fn session(time: u64, sequence: u64) -> Session<'static> {
        let time = Timestamp {
            time,
            ..Timestamp::ZERO
        };
        Session {
            id: SessionId(time),
            sequence,
            result: Ok(b"out"),
        }
    }

    fn with(sessions: &Sessions, session: Session<'_>) -> (Sessions, Option<SessionId>) {
        sessions.with(session, 3)
    }

    fn ids(sessions: &Sessions) -> Vec<u64> {
        let ids = sessions.iter().map(|(_, session)| session.id.0.time);
        ids.collect()
    }

    fn one(time: u64) -> Sessions {
        with(&Sessions::default(), session(time, 1)).0
    }

    fn encoded(sessions: &Sessions) -> Bytes {
        let mut bytes = Vec::new();
        sessions.encode_into(&mut bytes);
        bytes.into()
    }

    #[test]
    fn the_one_used_last_stands_last_and_the_first_goes() {
        let mut sessions = Sessions::default();
        for time in [5, 4, 6] {
            let (next, forgotten) = with(&sessions, session(time, 1));
            assert_eq!(forgotten, None);
            sessions = next;
        }
        assert_eq!(ids(&sessions), [5, 4, 6]);
        let (again, forgotten) = with(&sessions, session(5, 900));
        assert_eq!((ids(&again), forgotten), (vec![4, 6, 5], None));
        assert_eq!(again.get(session(5, 0).id), Some(session(5, 900)));
        assert_eq!(again.get(session(7, 0).id), None);
        let (full, forgotten) = with(&again, session(7, 1));
        assert_eq!(ids(&full), [6, 5, 7]);
        assert_eq!(forgotten, Some(session(4, 0).id));
        assert_eq!(full.bytes(), encoded(&full).len());
        let twice = [&[2], &encoded(&one(4))[1..], &encoded(&one(4))[1..]].concat();
        let twice = Sessions::decode(&twice.into()).expect("sessions");
        assert_eq!(ids(&twice), [4, 4]);
        assert_eq!(with(&twice, session(4, 2)), with(&one(4), session(4, 2)));
        assert_eq!(Sessions::decode(&encoded(&full)).ok(), Some(full));
    }

    #[test]
    fn what_is_no_list_of_sessions_is_refused() {
        let bytes = encoded(&one(5));
        for length in 0..bytes.len() {
            let short = Sessions::decode(&bytes.slice(..length));
            assert!(matches!(short, Err(CodecError::Malformed(_))), "{length}");
        }
        let long = [&bytes[..], &[0]].concat();
        let long = Sessions::decode(&long.into());
        assert!(matches!(long, Err(CodecError::Trailing { extra: 1 })));
        let mut many = bytes.to_vec();
        many[0] = 2;
        assert!(Sessions::decode(&many.into()).is_err());
        let refused = Session {
            result: Err("!"),
            ..session(5, 1)
        };
        let mut no_text = encoded(&with(&Sessions::default(), refused).0).to_vec();
        *no_text.last_mut().expect("bytes") = 0xff;
        assert!(Sessions::decode(&no_text.into()).is_err());
    }
}
