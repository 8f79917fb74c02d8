//! Appending: records become sectors in memory, in the segment where they will stand.

use std::collections::VecDeque;

use super::RECORD_BYTES_MAX;
use super::sector::{CONTENT_BYTES, Place, SECTOR_BYTES, Seal};
use super::segment::{FRAME_HEADER_BYTES, Frame, Link};
use crate::codec;
use crate::outbox::Lsn;
use crate::record::Record;

/// A segment that is ready to be written to: zeros behind its header, all durable.
#[derive(Clone, Debug)]
pub struct Segment<F> {
    pub(super) file: F,
    pub(super) generation: u64,
    pub(super) bytes: u32,
    pub(super) seal: Seal,
}

/// No segment has room for the record; nothing was changed. It passes when the
/// [`Keeper`](super::Keeper) prepares one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal is full: no space is left for its next segment")]
pub struct NoRoom;

/// How much more can be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Not another byte for sure.
    Full,
    /// Less than a segment: begin nothing new, but let finish what drains.
    DrainOnly,
    /// A segment and more.
    Ample,
}

/// What goes to one segment with one write.
#[derive(Clone, Debug)]
pub(super) struct Chunk<F> {
    pub segment: Segment<F>,
    /// Where it begins.
    pub start: Place,
    /// Whole sectors from that of `start` on; their headers are not filled in.
    pub sectors: Vec<u8>,
    /// Where it ends.
    pub end: Place,
    /// Nothing follows it in this segment.
    pub is_last: bool,
}

impl<F> Chunk<F> {
    fn is_empty(&self) -> bool {
        self.end == self.start && !self.is_last
    }
}

/// Records on their way to the disk, which become durable together.
#[derive(Clone, Debug)]
pub struct Batch<F> {
    pub(super) chunks: Vec<Chunk<F>>,
    through: Lsn,
}

impl<F> Batch<F> {
    /// The last record's position.
    pub fn through(&self) -> Lsn {
        self.through
    }

    /// Bytes to be written.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.sectors.len()).sum()
    }

    /// Takes in the batch that was taken next: one write and one sync for both.
    ///
    /// # Panics
    /// Where `later` is not the next one.
    pub fn merge(&mut self, later: Self) {
        for chunk in later.chunks {
            match self.chunks.last_mut() {
                Some(last) if last.segment.generation == chunk.segment.generation => {
                    assert_eq!(last.end, chunk.start, "batches are merged in order");
                    let first = last.start.sector();
                    let kept = (chunk.start.sector() - first) as usize * SECTOR_BYTES;
                    last.sectors.truncate(kept);
                    last.sectors.extend_from_slice(&chunk.sectors);
                    last.end = chunk.end;
                    last.is_last = chunk.is_last;
                }
                _ => self.chunks.push(chunk),
            }
        }
        self.through = later.through;
    }
}

/// Takes records; keeps them in memory until the next batch.
#[derive(Debug)]
pub struct Appender<F> {
    /// The segment in use and what waits for it.
    active: Chunk<F>,
    ready: VecDeque<Segment<F>>,
    /// What waits for segments that are full.
    full: Vec<Chunk<F>>,
    last: Lsn,
    /// The last record of the first batch.
    first_batch: Option<Lsn>,
    /// Something waits for the disk.
    is_waiting: bool,
}

impl<F: Clone> Appender<F> {
    /// Goes on in `segment` at `end`, behind what `tail` (the sector of `end`) holds.
    /// Where the segment is new, it is the one behind `previous`.
    pub(super) fn new(segment: Segment<F>, end: Place, tail: Vec<u8>, previous: Link) -> Self {
        let mut active = Chunk {
            segment,
            start: end,
            sectors: tail,
            end,
            is_last: false,
        };
        // It leaves with the first record.
        if end == Place::FIRST {
            active.push_frame(Frame::Link(previous));
        }
        Self {
            active,
            ready: VecDeque::new(),
            full: Vec::new(),
            last: Lsn::default(),
            first_batch: None,
            is_waiting: false,
        }
    }

    /// Adds a record behind all earlier ones; `lsn` is the owner's name for its position.
    ///
    /// # Errors
    /// [`NoRoom`].
    ///
    /// # Panics
    /// Where the record is longer than [`RECORD_BYTES_MAX`].
    pub fn append(&mut self, lsn: Lsn, record: &Record) -> Result<(), NoRoom> {
        let payload = codec::encode(record);
        assert!(
            payload.len() <= RECORD_BYTES_MAX,
            "a record of {} bytes; the journal takes up to {RECORD_BYTES_MAX}",
            payload.len()
        );
        let frame = FRAME_HEADER_BYTES + payload.len();
        if !self.active.has_room_for(frame) {
            self.turn_over()?;
        }
        self.active.push_frame(Frame::Record(&payload));
        self.last = lsn;
        self.is_waiting = true;
        Ok(())
    }

    /// Goes on in the next segment.
    fn turn_over(&mut self) -> Result<(), NoRoom> {
        let next = self.ready.pop_front().ok_or(NoRoom)?;
        let link = Link {
            generation: self.active.segment.generation,
            end: self.active.end,
        };
        assert_eq!(
            next.generation,
            link.generation + 1,
            "segments come in order"
        );
        let next = Chunk {
            segment: next,
            start: Place::FIRST,
            sectors: Vec::new(),
            end: Place::FIRST,
            is_last: false,
        };
        let mut full = std::mem::replace(&mut self.active, next);
        full.is_last = true;
        self.full.push(full);
        self.active.push_frame(Frame::Link(link));
        Ok(())
    }

    /// All that was appended since the last batch, to be committed after it.
    pub fn take_batch(&mut self) -> Option<Batch<F>> {
        if !std::mem::take(&mut self.is_waiting) {
            return None;
        }
        let mut chunks = std::mem::take(&mut self.full);
        let rest = self.active.rest();
        chunks.push(std::mem::replace(&mut self.active, rest));
        chunks.retain(|chunk| !chunk.is_empty());
        self.first_batch.get_or_insert(self.last);
        Some(Batch {
            chunks,
            through: self.last,
        })
    }

    /// How far all is settled (see [`Keeper::settle`](super::Keeper::settle)) when all
    /// records and values up to `durable` are durable: nothing before the first batch is,
    /// in which the node says what it found at its start.
    pub fn settled(&self, durable: Lsn) -> Option<Lsn> {
        let first = self.first_batch?;
        (first <= durable).then_some(durable)
    }

    /// Bytes that wait for the next batch.
    pub fn pending_bytes(&self) -> usize {
        let full: usize = self.full.iter().map(|chunk| chunk.sectors.len()).sum();
        match self.is_waiting {
            true => full + self.active.sectors.len(),
            false => full,
        }
    }

    /// How much more can be appended. Ask before an operation begins: its records must
    /// find room.
    pub fn room(&self) -> Room {
        if !self.ready.is_empty() {
            Room::Ample
        } else if self
            .active
            .has_room_for(FRAME_HEADER_BYTES + RECORD_BYTES_MAX)
        {
            Room::DrainOnly
        } else {
            Room::Full
        }
    }

    /// Bytes that can be appended before another segment is needed.
    pub fn room_bytes(&self) -> u64 {
        let ready: u64 = self.ready.iter().map(|s| u64::from(s.bytes)).sum();
        ready + self.active.content_left() as u64
    }

    /// Takes the next segment from the [`Keeper`](super::Keeper).
    pub fn add_segment(&mut self, segment: Segment<F>) {
        let last = self.ready.back().unwrap_or(&self.active.segment);
        assert_eq!(
            segment.generation,
            last.generation + 1,
            "segments come in order"
        );
        self.ready.push_back(segment);
    }
}

impl<F: Clone> Chunk<F> {
    fn content_left(&self) -> usize {
        let place = self.end.with_room_for(FRAME_HEADER_BYTES);
        let sectors = self.segment.bytes / SECTOR_BYTES as u32;
        match sectors.checked_sub(place.sector() + 1) {
            Some(whole) => whole as usize * CONTENT_BYTES + place.left_in_sector(),
            None => 0,
        }
    }

    fn has_room_for(&self, frame: usize) -> bool {
        frame <= self.content_left()
    }

    fn push_frame(&mut self, frame: Frame<'_>) {
        self.end = self.end.with_room_for(FRAME_HEADER_BYTES);
        self.push(&frame.header());
        match frame {
            Frame::Record(payload) => self.push(payload),
            Frame::Link(link) => self.push(&link.encode()),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = self.end.0 as usize - self.start.sector() as usize * SECTOR_BYTES;
            let sector_end = at.next_multiple_of(SECTOR_BYTES);
            if self.sectors.len() < sector_end {
                self.sectors.resize(sector_end, 0);
            }
            let (now, later) = rest.split_at(rest.len().min(sector_end - at));
            self.sectors[at..at + now.len()].copy_from_slice(now);
            self.end = self.end.forward(now.len());
            rest = later;
        }
    }

    /// What is left when this was taken: the sector in which it ends, if it is not full.
    fn rest(&self) -> Self {
        let tail = match self.end.starts_sector() {
            true => Vec::new(),
            false => self.sectors[self.sectors.len() - SECTOR_BYTES..].to_vec(),
        };
        Self {
            segment: self.segment.clone(),
            start: self.end,
            sectors: tail,
            end: self.end,
            is_last: false,
        }
    }
}
