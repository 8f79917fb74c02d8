//! Recovery: the checkpoint, then the segments behind it, judged before they are believed.

use super::appender::{Appender, Segment};
use super::checkpoint::Reader;
use super::committer::{Committed, Committer, Sealed};
use super::disk::{Disk, DiskError, DiskFile};
use super::header::{Header, HeaderError, Kind};
use super::keeper::{Keeper, State};
use super::mark::{Mark, MarkFound, MarkTrouble};
use super::open_error::OpenError;
use super::sector::{Place, SECTOR_BYTES, Seal};
use super::segment::{Damage, End, Image, Link};
use super::{Identity, RECORD_BYTES_MAX, Settings, names};
use crate::codec;
use crate::outbox::Lsn;
use crate::record::Record;

/// The end of a write that a crash interrupted, cut off. Nothing of it was acknowledged,
/// as the mark tells, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub file: String,
    /// Where it was cut.
    pub offset: u64,
    /// From there to the end of the last sector that was written.
    pub bytes: u64,
}

/// An open journal.
pub struct Opened<D: Disk> {
    /// For the thread that has the records.
    pub appender: Appender<D::File>,
    /// For the thread that waits for the disk.
    pub committer: Committer<D::File>,
    /// For a thread in the background.
    pub keeper: Keeper<D>,
    /// What was cut off.
    pub torn: Option<Torn>,
    /// What is wrong with the mark of what was acknowledged ([`Recovery::mark_trouble`]).
    pub mark_trouble: Option<MarkTrouble>,
}

impl<D: Disk> Opened<D> {
    /// Tells the keeper of a commit, where no values are stored beside the records.
    /// Returns up to where all is durable.
    pub fn on_committed(&mut self, committed: Committed) -> Lsn {
        for sealed in committed.sealed {
            self.keeper.on_sealed(sealed);
        }
        self.keeper.settle(self.appender.settled(committed.through));
        committed.through
    }
}

struct Known<F> {
    file: F,
    generation: u64,
    bytes: u32,
}

/// A journal that is being read.
pub struct Recovery<D: Disk> {
    disk: D,
    identity: Identity,
    settings: Settings,
    files: Vec<String>,
    covered: u64,
    checkpoint: Option<Reader<D::File>>,
    checkpoint_bytes: u64,
    segments: Vec<Known<D::File>>,
    free: Vec<u64>,
    /// The segment in which the journal ends.
    newest: usize,
    newest_image: Option<Image>,
    end: End,
    /// Where the segments before it ended.
    ends: Vec<Place>,
    /// What is being read: a segment, and where in it.
    reading: Option<(usize, Image, Place)>,
    next_segment: usize,
    payload: Vec<u8>,
    bytes_read: u64,
    bytes_total: u64,
}

pub(super) fn read_whole<F: DiskFile>(
    file: &F,
    bytes: u64,
    buffer: Vec<u8>,
) -> Result<Vec<u8>, DiskError> {
    let mut buffer = buffer;
    buffer.resize(bytes as usize, 0);
    file.read_at(0, &mut buffer)?;
    Ok(buffer)
}

/// Opens a segment and checks whose it is.
fn open_segment<D: Disk>(
    disk: &D,
    identity: &Identity,
    generation: u64,
) -> Result<Known<D::File>, OpenError> {
    let name = names::segment(generation);
    let file = disk.open(&name)?;
    let bytes = file.bytes()?;
    let wrong = |source| OpenError::Header {
        file: name.clone(),
        source,
    };
    if bytes < SECTOR_BYTES as u64 {
        return Err(wrong(HeaderError::Damaged));
    }
    let mut header = [0; SECTOR_BYTES];
    file.read_at(0, &mut header)?;
    let expected = Header::check(&header, identity, Kind::Segment, generation).map_err(wrong)?;
    match u32::try_from(bytes) {
        Ok(length) if bytes == expected => Ok(Known {
            file,
            generation,
            bytes: length,
        }),
        _ => Err(OpenError::WrongLength {
            file: name.clone(),
            bytes,
            expected,
        }),
    }
}

/// Hands all records of a sealed segment to `hear`; returns the buffer.
pub(super) fn read_sealed<D: Disk>(
    disk: &D,
    identity: &Identity,
    sealed: Sealed,
    buffer: Vec<u8>,
    mut hear: impl FnMut(Record),
) -> Result<Vec<u8>, OpenError> {
    let known = open_segment(disk, identity, sealed.generation)?;
    let image = known.read_up_to(identity, sealed.end, buffer)?;
    let (mut place, mut payload) = (Place::FIRST, Vec::new());
    while let Some(next) = image.record_at(place, sealed.end, &mut payload) {
        hear(decode(&payload, sealed.generation, place)?);
        place = next;
    }
    Ok(image.into_bytes())
}

fn decode(payload: &[u8], generation: u64, place: Place) -> Result<Record, OpenError> {
    codec::decode(payload, RECORD_BYTES_MAX).map_err(|source| OpenError::Malformed {
        file: names::segment(generation),
        offset: u64::from(place.0),
        source,
    })
}

impl<F: DiskFile> Known<F> {
    fn seal(&self, identity: &Identity) -> Seal {
        Seal::new(identity.directory, self.generation)
    }

    /// A sealed segment that ended at `end`, judged.
    fn read_up_to(
        &self,
        identity: &Identity,
        end: Place,
        buffer: Vec<u8>,
    ) -> Result<Image, OpenError> {
        let used = u64::from(end.sector() + 1) * SECTOR_BYTES as u64;
        let bytes = read_whole(&self.file, used.min(u64::from(self.bytes)), buffer)?;
        let image = Image::new(bytes, self.seal(identity));
        image
            .judge_sealed(end)
            .map_err(|damage| OpenError::damaged(self.generation, damage))?;
        Ok(image)
    }

    fn read_all(&self, identity: &Identity, buffer: Vec<u8>) -> Result<Image, DiskError> {
        let bytes = read_whole(&self.file, u64::from(self.bytes), buffer)?;
        Ok(Image::new(bytes, self.seal(identity)))
    }

    /// What the segment says of the one before.
    fn read_link(&self, identity: &Identity) -> Result<Link, OpenError> {
        let bytes = read_whole(&self.file, 2 * SECTOR_BYTES as u64, Vec::new())?;
        link_of(&Image::new(bytes, self.seal(identity)), self.generation)
    }
}

/// The link of a segment that has content behind it.
fn link_of(image: &Image, generation: u64) -> Result<Link, OpenError> {
    let link = image.link();
    link.filter(|link| link.generation.checked_add(1) == Some(generation))
        .ok_or_else(|| OpenError::Damaged {
            file: names::segment(generation),
            offset: SECTOR_BYTES as u64,
        })
}

impl<D: Disk> Recovery<D> {
    /// Looks at what is there: whose it is, whether it is complete, and where it ends.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(disk: D, identity: Identity, settings: Settings) -> Result<Self, OpenError> {
        settings.check();
        let files = disk.list()?;
        let covered = files
            .iter()
            .filter_map(|n| names::parse_checkpoint(n))
            .max();
        let covered = covered.unwrap_or(0);
        let mut generations: Vec<u64> = files
            .iter()
            .filter_map(|name| names::parse_segment(name))
            .collect();
        generations.sort_unstable();
        let free = generations.iter().copied().filter(|&g| g <= covered);
        let free: Vec<u64> = free.collect();
        let segments = open_segments(&disk, &identity, covered, &generations)?;
        let checkpoint = match covered {
            0 => None,
            covered => {
                let name = names::checkpoint(covered);
                let opened = Reader::open(disk.open(&name)?, &identity, covered);
                Some(opened.map_err(|source| OpenError::checkpoint(&name, source))?)
            }
        };
        let checkpoint_bytes = checkpoint.as_ref().map_or(0, Reader::bytes);
        let mut recovery = Self {
            disk,
            identity,
            settings,
            files,
            covered,
            checkpoint,
            checkpoint_bytes,
            segments,
            free,
            newest: 0,
            newest_image: None,
            end: End {
                place: Place::FIRST,
                is_torn: false,
            },
            ends: Vec::new(),
            reading: None,
            next_segment: 0,
            payload: Vec::new(),
            bytes_read: 0,
            bytes_total: checkpoint_bytes,
        };
        recovery.find_end()?;
        recovery.check_mark()?;
        Ok(recovery)
    }

    /// Finds the end of the journal, and that of each segment before it.
    fn find_end(&mut self) -> Result<(), OpenError> {
        let mut buffer = Vec::new();
        for index in (0..self.segments.len()).rev() {
            let image = self.segments[index].read_all(&self.identity, buffer)?;
            if image.is_blank() && index > 0 {
                buffer = image.into_bytes();
                continue;
            }
            let generation = self.segments[index].generation;
            self.end = image
                .judge_newest()
                .map_err(|damage| OpenError::damaged(generation, damage))?;
            self.newest = index;
            self.newest_image = Some(image);
            break;
        }
        for index in 0..self.newest {
            let after = index + 1;
            let end = if after < self.newest {
                self.segments[after].read_link(&self.identity)?.end
            } else {
                self.end_before_newest()?
            };
            self.ends.push(end);
            self.bytes_total += u64::from(end.0);
        }
        if self.newest == 0 {
            self.check_first_link()?;
        }
        self.bytes_total += u64::from(self.end.place.0);
        Ok(())
    }

    fn end_before_newest(&self) -> Result<Place, OpenError> {
        let newest = &self.segments[self.newest];
        let image = self.newest_image.as_ref().expect("find_end has set it");
        if self.end.place > Place::FIRST {
            return Ok(link_of(image, newest.generation)?.end);
        }
        // Its first batch was torn, so all before is durable and none of it torn.
        let before = &self.segments[self.newest - 1];
        let image = before.read_all(&self.identity, Vec::new())?;
        let refuse = |damage| OpenError::damaged(before.generation, damage);
        let end = image.judge_newest().map_err(refuse)?;
        match end.is_torn || end.place == Place::FIRST {
            true => Err(refuse(Damage {
                offset: end.place.0,
                is_newest: true,
            })),
            false => Ok(end.place),
        }
    }

    fn check_first_link(&self) -> Result<(), OpenError> {
        if self.end.place > Place::FIRST {
            let image = self.newest_image.as_ref().expect("find_end has set it");
            link_of(image, self.segments[0].generation)?;
        }
        Ok(())
    }

    fn check_mark(&self) -> Result<(), OpenError> {
        let MarkFound::Written(mark) = self.read_mark()? else {
            return Ok(());
        };
        let generation = self.segments[self.newest].generation;
        let end = Mark {
            generation,
            end: self.end.place,
        };
        if mark <= end {
            return Ok(());
        }
        Err(OpenError::AcknowledgedLost {
            file: names::segment(generation),
            end: u64::from(end.end.0),
            marked_file: names::segment(mark.generation),
            marked: u64::from(mark.end.0),
        })
    }

    /// What is wrong with the mark of what was acknowledged.
    ///
    /// # Errors
    /// [`OpenError::Disk`].
    pub fn mark_trouble(&self) -> Result<Option<MarkTrouble>, OpenError> {
        Ok(match self.read_mark()? {
            MarkFound::Written(_) => None,
            MarkFound::Blank => Some(MarkTrouble::Blank),
            MarkFound::Damaged => Some(MarkTrouble::Damaged),
            MarkFound::Missing => Some(MarkTrouble::Missing),
        })
    }

    /// Up to where the journal goes. A segment of which nothing is left is none that was reached:
    /// the next start finds it blank.
    fn reached(&self) -> Mark {
        let generation = |index: usize| self.segments[index].generation;
        match self.ends.last() {
            Some(&end) if self.end.place == Place::FIRST => Mark {
                generation: generation(self.newest - 1),
                end,
            },
            _ => Mark {
                generation: generation(self.newest),
                end: self.end.place,
            },
        }
    }

    fn read_mark(&self) -> Result<MarkFound, OpenError> {
        if !self.files.iter().any(|name| name == names::MARK) {
            return Ok(MarkFound::Missing);
        }
        let file = self.disk.open(names::MARK)?;
        if file.bytes()? < SECTOR_BYTES as u64 {
            return Ok(MarkFound::Damaged);
        }
        let mut sector = [0; SECTOR_BYTES];
        file.read_at(0, &mut sector)?;
        Ok(Mark::decode(&sector, self.identity.directory))
    }

    /// Bytes read so far, and in all: for whoever waits.
    pub fn progress(&self) -> (u64, u64) {
        let checkpoint = self.checkpoint.as_ref().map_or(0, Reader::bytes_read);
        let segment = self
            .reading
            .as_ref()
            .map_or(0, |(_, _, place)| u64::from(place.0));
        (self.bytes_read + checkpoint + segment, self.bytes_total)
    }

    /// The next record, in an order that recovers the node's state; none at the end.
    ///
    /// # Errors
    /// [`OpenError`]; the node must not start with what it has heard so far.
    pub fn next_record(&mut self) -> Result<Option<Record>, OpenError> {
        if let Some(reader) = &mut self.checkpoint {
            let record = reader.next().map_err(|source| {
                OpenError::checkpoint(&names::checkpoint(self.covered), source)
            })?;
            if record.is_some() {
                return Ok(record);
            }
            self.bytes_read += self.checkpoint_bytes;
            self.checkpoint = None;
        }
        loop {
            let Some((index, image, place)) = &mut self.reading else {
                if !self.read_segment()? {
                    return Ok(None);
                }
                continue;
            };
            let index = *index;
            let end = self.ends.get(index).copied().unwrap_or(self.end.place);
            if let Some(next) = image.record_at(*place, end, &mut self.payload) {
                let generation = self.segments[index].generation;
                let record = decode(&self.payload, generation, *place)?;
                *place = next;
                return Ok(Some(record));
            }
            self.bytes_read += u64::from(end.0);
            let (_, image, _) = self.reading.take().expect("just seen");
            if index == self.newest {
                self.newest_image = Some(image);
            }
        }
    }

    /// Reads the next segment; false behind the last.
    fn read_segment(&mut self) -> Result<bool, OpenError> {
        let index = self.next_segment;
        if index > self.newest {
            return Ok(false);
        }
        self.next_segment += 1;
        let image = match self.ends.get(index) {
            Some(&end) => self.segments[index].read_up_to(&self.identity, end, Vec::new())?,
            None => self
                .newest_image
                .take()
                .expect("it is read once and given back"),
        };
        self.reading = Some((index, image, Place::FIRST));
        Ok(true)
    }

    /// Cuts a torn tail off and makes the journal ready to be written to. Called when
    /// [`Recovery::next_record`] has returned the last record.
    ///
    /// # Errors
    /// [`OpenError::Disk`].
    ///
    /// # Panics
    /// Where records are left unread.
    pub fn finish(mut self) -> Result<Opened<D>, OpenError> {
        assert!(
            self.next_segment > self.newest && self.reading.is_none(),
            "all records are read before the journal goes on"
        );
        let image = self.newest_image.take().expect("it was given back");
        let mark_trouble = self.mark_trouble()?;
        let torn = self.repair(&image)?;
        // A process may have died between a write and its sync: what was read must be
        // durable before anyone is told of it.
        self.segments[self.newest].file.sync()?;
        self.clean_up()?;
        let mark = match self.files.iter().any(|name| name == names::MARK) {
            true => self.disk.open(names::MARK)?,
            false => self.disk.create(names::MARK, SECTOR_BYTES as u64)?,
        };
        self.reached().put(&mark, &self.identity)?;
        self.disk.sync_dir()?;
        let opened = self.assemble(&image, mark, torn);
        Ok(Opened {
            mark_trouble,
            ..opened
        })
    }

    /// Zeros what a torn batch left behind, so that nobody takes it for the end of the
    /// next batch that begins there.
    fn repair(&self, image: &Image) -> Result<Option<Torn>, DiskError> {
        let place = self.end.place;
        let (true, Some(last)) = (self.end.is_torn, image.last_sector()) else {
            return Ok(None);
        };
        let (offset, written) = (
            u64::from(place.0),
            u64::from(last + 1) * SECTOR_BYTES as u64,
        );
        let segment = &self.segments[self.newest];
        let keeps_sector = !place.starts_sector();
        let first = place.sector() + u32::from(keeps_sector);
        if first <= last {
            let zeros = vec![0; (last + 1 - first) as usize * SECTOR_BYTES];
            let offset = u64::from(first) * SECTOR_BYTES as u64;
            segment.file.write_at(offset, &zeros)?;
            segment.file.sync()?;
        }
        if keeps_sector {
            let mut sector = image.sector_up_to(place);
            let seal = segment.seal(&self.identity);
            seal.close(place.sector(), place.0, &mut sector);
            let offset = u64::from(place.sector()) * SECTOR_BYTES as u64;
            segment.file.write_at(offset, &sector)?;
            segment.file.sync()?;
        }
        Ok(Some(Torn {
            file: names::segment(segment.generation),
            offset,
            bytes: written.saturating_sub(offset),
        }))
    }

    /// Removes what a crash in the middle of a checkpoint left behind.
    fn clean_up(&self) -> Result<(), DiskError> {
        for name in &self.files {
            let is_new = name == names::CHECKPOINT_NEW || name == names::SEGMENT_NEW;
            let is_old = names::parse_checkpoint(name).is_some_and(|g| g < self.covered);
            if is_new || is_old {
                self.disk.remove(name)?;
            }
        }
        Ok(())
    }

    fn assemble(self, image: &Image, mark: D::File, torn: Option<Torn>) -> Opened<D> {
        let place = self.end.place;
        let generation = |index: usize| self.segments[index].generation;
        let last = generation(self.segments.len() - 1);
        let previous = Link {
            generation: generation(self.newest) - 1,
            end: self.ends.last().copied().unwrap_or(Place::FIRST),
        };
        let sealed = (0..).zip(&self.ends).map(|(index, &end)| Sealed {
            generation: generation(index),
            end,
            through: Lsn::default(),
        });
        let state = State {
            covered: self.covered,
            checkpoint_bytes: self.checkpoint_bytes,
            sealed: sealed.collect(),
            free: self.free,
            next_generation: last + 1,
            ahead: self.segments.len() - 1 - self.newest,
        };
        let mut segments = self
            .segments
            .into_iter()
            .skip(self.newest)
            .map(|known| Segment {
                seal: known.seal(&self.identity),
                file: known.file,
                generation: known.generation,
                bytes: known.bytes,
            });
        let active = segments.next().expect("the newest segment is there");
        let mut appender = Appender::new(active, place, image.sector_up_to(place), previous);
        for segment in segments {
            appender.add_segment(segment);
        }
        Opened {
            appender,
            committer: Committer::new(self.identity.directory, mark),
            keeper: Keeper::new(self.disk, self.identity, self.settings, state),
            torn,
            mark_trouble: None,
        }
    }
}

/// Opens all segments behind the checkpoint.
fn open_segments<D: Disk>(
    disk: &D,
    identity: &Identity,
    covered: u64,
    generations: &[u64],
) -> Result<Vec<Known<D::File>>, OpenError> {
    let live: Vec<u64> = generations
        .iter()
        .copied()
        .filter(|&g| g > covered)
        .collect();
    if live.is_empty() && covered == 0 {
        return Err(OpenError::Missing);
    }
    let last = live.last().copied().unwrap_or(covered + 1);
    (covered + 1..=last)
        .map(|generation| {
            if !live.contains(&generation) {
                let file = names::segment(generation);
                return Err(OpenError::MissingSegment { file });
            }
            open_segment(disk, identity, generation)
        })
        .collect()
}
