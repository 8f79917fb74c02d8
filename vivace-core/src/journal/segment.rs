//! Reading a segment: which part of it was surely durable, and what stands there.
//!
//! The contents of a segment's sectors form one stream of frames: `length u16 LE |
//! payload`. A frame's header never spans two sectors; its payload may. A length of zero
//! ends the stream, for now. The highest bit of the length marks the *link*, the first
//! frame of each segment: the generation of the segment before, u64 LE, and where that
//! one ended, u32 LE.
//!
//! A batch is written only when the one before is durable. So all before the start of
//! the newest batch must be here, and only the newest may be torn: a torn batch left
//! whole sectors as they were. Whatever else is found is damage.

use super::sector::{Found, Place, SECTOR_BYTES, Seal, u32_at, u64_at};

pub(super) const FRAME_HEADER_BYTES: usize = 2;
const LINK_FLAG: u16 = 1 << 15;
const LINK_BYTES: usize = 12;

/// Where the segment before ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub generation: u64,
    pub end: Place,
}

impl Link {
    /// Before the first segment of all.
    pub const NONE: Self = Self {
        generation: 0,
        end: Place::FIRST,
    };

    pub fn encode(self) -> [u8; LINK_BYTES] {
        let mut bytes = [0; LINK_BYTES];
        bytes[..8].copy_from_slice(&self.generation.to_le_bytes());
        bytes[8..].copy_from_slice(&self.end.0.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            generation: u64_at(bytes, 0),
            end: Place(u32_at(bytes, 8)),
        }
    }
}

/// One entry of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Link(Link),
    Record(&'a [u8]),
}

impl Frame<'_> {
    pub fn header(&self) -> [u8; FRAME_HEADER_BYTES] {
        match self {
            Self::Link(_) => (LINK_BYTES as u16 | LINK_FLAG).to_le_bytes(),
            Self::Record(payload) => {
                let length = u16::try_from(payload.len()).expect("records are short");
                assert!(
                    length > 0 && length < LINK_FLAG,
                    "a record of {length} bytes"
                );
                length.to_le_bytes()
            }
        }
    }
}

/// A segment in memory.
pub(super) struct Image {
    bytes: Vec<u8>,
    found: Vec<Found>,
    /// The last sector that was written to, if any was.
    last: Option<u32>,
}

/// The offset of something that no torn write explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub offset: u32,
    /// Whether it stands in the newest batch rather than before it.
    pub is_newest: bool,
}

/// Where a segment's intact part ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub place: Place,
    pub is_torn: bool,
}

/// What stands at a place of the stream.
enum Read {
    Frame {
        link: Option<Link>,
        next: Place,
    },
    /// Zeros.
    Nothing,
    /// A frame that goes on in a sector that was never written.
    Cut,
    /// No frame.
    Malformed,
}

impl Image {
    /// Of the bytes of a whole segment.
    pub fn new(bytes: Vec<u8>, seal: Seal) -> Self {
        let sectors = (0..).zip(bytes.chunks_exact(SECTOR_BYTES));
        let found: Vec<Found> = sectors
            .map(|(index, sector)| match index {
                // The file's header is not part of the stream.
                0 => Found::Zero,
                _ => seal.inspect(index, sector),
            })
            .collect();
        let last = found.iter().rposition(|found| *found != Found::Zero);
        Self {
            bytes,
            found,
            last: last.map(|last| last as u32),
        }
    }

    /// The buffer, for the next segment.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whether nothing was ever written to it.
    pub fn is_blank(&self) -> bool {
        self.last.is_none()
    }

    /// The last sector that is not zero.
    pub fn last_sector(&self) -> Option<u32> {
        self.last
    }

    fn found(&self, sector: u32) -> Found {
        let found = self.found.get(sector as usize).copied();
        found.unwrap_or(Found::Zero)
    }

    /// The sector of `place`, its content cut off there; empty where it begins there.
    pub fn sector_up_to(&self, place: Place) -> Vec<u8> {
        if place.starts_sector() {
            return Vec::new();
        }
        let from = place.sector() as usize * SECTOR_BYTES;
        let mut sector = self.bytes[from..from + SECTOR_BYTES].to_vec();
        sector[place.0 as usize - from..].fill(0);
        sector
    }

    /// Where a segment ends that another one says to have ended at `end`.
    pub fn judge_sealed(&self, end: Place) -> Result<(), Damage> {
        for sector in 1..end.sector() {
            self.expect_intact(sector)?;
        }
        if !end.starts_sector() {
            self.expect_intact(end.sector())?;
        }
        self.expect_stream_to(end)
    }

    /// Where the last segment in use ends.
    pub fn judge_newest(&self) -> Result<End, Damage> {
        let Some(last) = self.last else {
            return Ok(End {
                place: Place::FIRST,
                is_torn: false,
            });
        };
        let starts = self.found.iter().filter_map(|found| match found {
            Found::Intact { start } => Some(*start),
            Found::Zero | Found::Damaged => None,
        });
        let newest = Place(starts.max().unwrap_or(Place::FIRST.0));
        let damage = |sector: u32| Damage {
            offset: sector * SECTOR_BYTES as u32,
            is_newest: sector >= newest.sector(),
        };
        if let Some(sector) = (1..=last).find(|&s| self.found(s) == Found::Damaged) {
            return Err(damage(sector));
        }
        for sector in 1..newest.sector() {
            self.expect_intact(sector)?;
        }
        // Were its sectors not bounded by the segment, they would not be intact.
        let mut is_torn = false;
        for sector in newest.sector()..=last {
            is_torn |= match self.found(sector) {
                Found::Intact { start } if start == newest.0 => false,
                Found::Intact { .. } if sector == newest.sector() => true,
                Found::Zero => true,
                Found::Intact { .. } | Found::Damaged => return Err(damage(sector)),
            };
        }
        self.expect_stream_to(newest)?;
        if is_torn {
            return Ok(End {
                place: newest,
                is_torn,
            });
        }
        self.end_of_newest(newest, last).map_err(|place| Damage {
            offset: place.0,
            is_newest: true,
        })
    }

    /// The end of a newest batch of which every sector up to `last` is there.
    fn end_of_newest(&self, newest: Place, last: u32) -> Result<End, Place> {
        let mut place = newest;
        loop {
            match self.read(place) {
                Read::Frame { next, .. } => place = next,
                // Its last sectors are missing.
                Read::Cut => {
                    return Ok(End {
                        place: newest,
                        is_torn: true,
                    });
                }
                Read::Nothing if place.sector() >= last => {
                    return Ok(End {
                        place,
                        is_torn: false,
                    });
                }
                // A batch has something where it begins. This is what repair left of an
                // earlier torn one that began here too: the newest one's first sector is
                // missing.
                Read::Nothing
                    if place == newest && newest.left_in_sector() >= FRAME_HEADER_BYTES =>
                {
                    return Ok(End {
                        place: newest,
                        is_torn: true,
                    });
                }
                Read::Nothing | Read::Malformed => return Err(place),
            }
        }
    }

    fn expect_intact(&self, sector: u32) -> Result<(), Damage> {
        match self.found(sector) {
            Found::Intact { .. } => Ok(()),
            Found::Zero | Found::Damaged => Err(Damage {
                offset: sector * SECTOR_BYTES as u32,
                is_newest: false,
            }),
        }
    }

    /// A sector may be intact and yet stale: then the stream does not lead to `end`.
    fn expect_stream_to(&self, end: Place) -> Result<(), Damage> {
        let mut place = Place::FIRST;
        while place < end {
            match self.read(place) {
                Read::Frame { next, .. } if next <= end => place = next,
                _ => {
                    return Err(Damage {
                        offset: place.0,
                        is_newest: false,
                    });
                }
            }
        }
        Ok(())
    }

    fn read(&self, place: Place) -> Read {
        let place = place.with_room_for(FRAME_HEADER_BYTES);
        let at = place.0 as usize;
        let Some(header) = self.bytes.get(at..at + FRAME_HEADER_BYTES) else {
            return Read::Nothing;
        };
        let header = u16::from_le_bytes([header[0], header[1]]);
        let length = usize::from(header & !LINK_FLAG);
        let is_link = header & LINK_FLAG != 0;
        let belongs = match is_link {
            true => length == LINK_BYTES && place == Place::FIRST,
            false => place != Place::FIRST,
        };
        if header == 0 {
            return Read::Nothing;
        }
        if !belongs {
            return Read::Malformed;
        }
        let mut next = place.forward(FRAME_HEADER_BYTES);
        let mut left = length;
        while left > 0 {
            if matches!(self.found(next.sector()), Found::Zero) {
                return Read::Cut;
            }
            let step = left.min(next.left_in_sector());
            next = next.forward(step);
            left -= step;
        }
        let link = is_link.then(|| {
            let from = place.forward(FRAME_HEADER_BYTES).0 as usize;
            Link::decode(&self.bytes[from..from + LINK_BYTES])
        });
        Read::Frame { link, next }
    }

    /// The link, if the first sector is whole.
    pub fn link(&self) -> Option<Link> {
        match (self.found(1), self.read(Place::FIRST)) {
            (Found::Intact { .. }, Read::Frame { link, .. }) => link,
            _ => None,
        }
    }

    /// The payload of the record at `place` of a judged segment, put together in
    /// `payload`, and the place behind it. The link is skipped.
    pub fn record_at(&self, place: Place, end: Place, payload: &mut Vec<u8>) -> Option<Place> {
        let mut place = place;
        if place == Place::FIRST
            && place < end
            && let Read::Frame { next, .. } = self.read(place)
        {
            place = next;
        }
        if place >= end {
            return None;
        }
        let Read::Frame { next, .. } = self.read(place) else {
            return None;
        };
        payload.clear();
        let header = place.with_room_for(FRAME_HEADER_BYTES);
        let at = header.0 as usize;
        let length = usize::from(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]));
        let mut from = header.forward(FRAME_HEADER_BYTES);
        while payload.len() < length {
            let step = (length - payload.len()).min(from.left_in_sector());
            payload.extend_from_slice(&self.bytes[from.0 as usize..][..step]);
            from = from.forward(step);
        }
        Some(next)
    }
}
