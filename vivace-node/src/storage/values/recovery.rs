//! Opening a value log: which values it has, from the lists of full segments and from
//! the last segment itself.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{AccessFlags, access};

use super::frame::{self, Header, Seal};
use super::index::{Index, Place};
use super::listing::Listing;
use super::segment::{
    self, SEGMENT_HEADER_BYTES, SegmentHeader, check_header, listing_path, values_path,
};
use super::value_log::{OpenError, Recovered, Writer};
use crate::storage::identity::DirectoryId;

/// Removes what an earlier life had begun to remove, or kept for reuse. What stays takes space,
/// and no more.
fn remove_leaving(home: &Path) {
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_left = |name| name == segment::LEAVING || name == segment::SPARE;
        if path.extension().is_some_and(is_left)
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!("{}: {error}", path.display());
        }
    }
}

/// What reading a whole segment found.
struct Scan {
    seal: Seal,
    listing: Listing,
    /// Behind the last intact header.
    end: u64,
    /// Behind the last byte of an unfinished write, or `end`.
    content_end: u64,
    damaged: u64,
}

/// Reads a segment, by its header, or by what its frames are sealed with where that is damaged.
fn scan(segment: u32, bytes: &[u8]) -> Scan {
    let header = SegmentHeader::decode(bytes).filter(|header| header.segment == segment);
    if let Some(header) = header {
        return scan_frames(segment, bytes, header.seal(), header.earlier_bytes as usize);
    }
    let sealed = scan_frames(segment, bytes, Seal::Segment(segment), 0);
    match sealed.listing.bytes() {
        0 => scan_frames(segment, bytes, Seal::Open, 0),
        _ => sealed,
    }
}

/// Steps from frame to frame; over a damaged one by its header, over a damaged header to
/// the next intact one. Behind all of them there may be zeros, to be written over, or, up to
/// `earlier`, anything.
fn scan_frames(segment: u32, bytes: &[u8], seal: Seal, earlier: usize) -> Scan {
    let written = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    let mut found = Scan {
        seal,
        listing: Listing::default(),
        end: SEGMENT_HEADER_BYTES.min(bytes.len() as u64),
        content_end: 0,
        damaged: 0,
    };
    // Where frames stand that are damaged if another comes behind, or else unfinished.
    let (mut suspects, mut suspects_end) = (0, 0);
    let mut at = SEGMENT_HEADER_BYTES as usize;
    while let Some((start, header)) = next_frame(bytes, at, seal) {
        if start != at {
            found.damaged += 1;
        }
        let end = start + header.frame_bytes();
        match bytes.get(start..end) {
            Some(whole) if frame::is_intact(&header, whole) => {
                let place = Place {
                    segment,
                    offset: start as u32,
                    bytes: (end - start) as u32,
                };
                found.listing.push(&header.key, place, header.is_record());
                found.end = end as u64;
                found.damaged += std::mem::take(&mut suspects);
            }
            // The last write, unfinished.
            Some(_) if written < end => break,
            None => break,
            Some(_) if end <= earlier => {
                suspects += 1;
                suspects_end = end;
            }
            Some(_) => {
                found.damaged += 1;
                found.end = end as u64;
            }
        }
        at = end;
    }
    let content_end = if written > earlier {
        written
    } else {
        suspects_end
    };
    found.content_end = found.end.max(content_end as u64);
    found
}

fn next_frame(bytes: &[u8], from: usize, seal: Seal) -> Option<(usize, Header)> {
    let mut at = from;
    loop {
        let rest = bytes.get(at..)?;
        if let Some(header) = frame::header(rest, seal) {
            return Some((at, header));
        }
        at += 1;
        at += bytes
            .get(at..)?
            .windows(frame::MAGIC.len())
            .position(|window| window == frame::MAGIC)?;
    }
}

/// The listing of a full segment: its file, or else what the segment itself says.
pub(super) fn listing_of(home: &Path, segment: u32, directory: DirectoryId) -> Listing {
    stored_listing(home, segment, directory).unwrap_or_else(|| {
        match fs::read(values_path(home, segment)) {
            Ok(bytes) => scan(segment, &bytes).listing,
            // Unreadable: its values are missing.
            Err(_) => Listing::default(),
        }
    })
}

fn stored_listing(home: &Path, segment: u32, directory: DirectoryId) -> Option<Listing> {
    let bytes = fs::read(listing_path(home, segment)).ok()?;
    Listing::decode(bytes, segment, directory)
}

fn segments_in(home: &Path) -> io::Result<BTreeSet<u32>> {
    let mut segments = BTreeSet::new();
    for entry in fs::read_dir(home)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".values"));
        if let Some(number) = number.and_then(|digits| u32::from_str_radix(digits, 16).ok())
            // None of ours has the last number.
            && number < u32::MAX
        {
            segments.insert(number);
        }
    }
    Ok(segments)
}

/// What reading a directory of values found, before anything in it is changed.
pub struct Found {
    home: PathBuf,
    directory: DirectoryId,
    index: Index,
    last: Last,
    /// Lists of full segments that were missing, for the next start.
    lists: Vec<(u32, Vec<u8>)>,
    recovered: Recovered,
}

/// The segment that is written to.
enum Last {
    /// It is yet to be made: there is none, or a process died while making it.
    New(u32),
    /// Up to where it is whole, and what it holds.
    Open {
        segment: u32,
        file: File,
        end: u64,
        listing: Listing,
    },
}

fn at(path: &Path) -> impl Fn(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io {
        path: path.clone(),
        source,
    }
}

/// Reads what is in `home`, which may be missing. Nothing is changed.
pub(super) fn read(
    home: &Path,
    directory: DirectoryId,
    progress: &dyn Fn(u64, u64),
) -> Result<Found, OpenError> {
    let segments = match home.try_exists().map_err(at(home))? {
        true if !home.is_dir() => {
            let what = io::Error::other("is a file, and a directory of values was expected");
            return Err(at(home)(what));
        }
        true => {
            // Told now, rather than when other things were changed already.
            access(home, AccessFlags::W_OK).map_err(|errno| at(home)(errno.into()))?;
            segments_in(home).map_err(at(home))?
        }
        false => BTreeSet::new(),
    };
    let (whole, total) = check_headers(home, &segments, directory)?;
    let mut found = Found {
        home: home.to_owned(),
        directory,
        index: Index::default(),
        last: Last::New(1),
        lists: Vec::new(),
        recovered: Recovered {
            bytes: total,
            ..Recovered::default()
        },
    };
    let mut done = 0;
    let last = segments.last().copied();
    for &segment in segments.iter().filter(|&&segment| Some(segment) != last) {
        if !whole.contains(&segment) {
            warn_of_header(&values_path(home, segment));
        }
        done += found.read_full(segment)?;
        progress(done, total);
    }
    if let Some(segment) = last {
        found.read_last(segment, whole.contains(&segment))?;
    }
    progress(total, total);
    found.recovered.values = found.index.usage().values;
    Ok(found)
}

fn warn_of_header(path: &Path) {
    tracing::warn!(
        "{}: its header is damaged or another file's; each value has a checksum of its own, and \
         those that are whole and in their places are used. Where nobody renamed files here, \
         mistrust the disk",
        path.display()
    );
}

/// The segments with a whole header, and the bytes of all.
fn check_headers(
    home: &Path,
    segments: &BTreeSet<u32>,
    directory: DirectoryId,
) -> Result<(BTreeSet<u32>, u64), OpenError> {
    let mut whole = BTreeSet::new();
    let mut total = 0;
    for &segment in segments {
        let path = values_path(home, segment);
        let file = File::open(&path).map_err(at(&path))?;
        let mut header = [0; SEGMENT_HEADER_BYTES as usize];
        let read = match file.read_exact_at(&mut header, 0) {
            Ok(()) => &header[..],
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => &[],
            Err(source) => return Err(at(&path)(source)),
        };
        if check_header(&path, read, directory, segment)? {
            whole.insert(segment);
        }
        total += file.metadata().map_err(at(&path))?.len();
    }
    Ok((whole, total))
}

impl Found {
    /// Returns the segment's length.
    fn read_full(&mut self, segment: u32) -> Result<u64, OpenError> {
        let path = values_path(&self.home, segment);
        let bytes = fs::metadata(&path).map_err(at(&path))?.len();
        let listing = match stored_listing(&self.home, segment, self.directory) {
            Some(listing) => listing,
            None => {
                let scan = scan(segment, &fs::read(&path).map_err(at(&path))?);
                self.recovered.damaged += scan.damaged;
                let encoded = scan.listing.encode(segment, self.directory);
                self.lists.push((segment, encoded));
                scan.listing
            }
        };
        self.take_in(segment, bytes, &listing);
        Ok(bytes)
    }

    fn read_last(&mut self, segment: u32, has_header: bool) -> Result<(), OpenError> {
        let path = values_path(&self.home, segment);
        let bytes = fs::read(&path).map_err(at(&path))?;
        let scan = scan(segment, &bytes);
        self.recovered.damaged += scan.damaged;
        if scan.seal == Seal::Open && scan.listing.bytes() > 0 {
            // Of an earlier format: full, and this one begins with the next.
            if !has_header {
                warn_of_header(&path);
            }
            let encoded = scan.listing.encode(segment, self.directory);
            self.lists.push((segment, encoded));
            self.take_in(segment, bytes.len() as u64, &scan.listing);
            self.last = Last::New(segment + 1);
            return Ok(());
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).open(&path);
        let file = file.map_err(at(&path))?;
        if !has_header && scan.listing.bytes() == 0 {
            self.last = Last::New(segment);
            return Ok(());
        }
        if !has_header {
            warn_of_header(&path);
        }
        self.recovered.cut_bytes += scan.content_end - scan.end;
        self.take_in(segment, scan.end, &scan.listing);
        self.last = Last::Open {
            segment,
            file,
            end: scan.end,
            listing: scan.listing,
        };
        Ok(())
    }

    fn take_in(&mut self, segment: u32, bytes: u64, listing: &Listing) {
        self.index.set_bytes(segment, bytes);
        for entry in listing.iter(segment) {
            self.index.insert(entry.key, entry.place);
        }
    }

    /// Where the values are.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Whose they are.
    pub(super) fn directory(&self) -> DirectoryId {
        self.directory
    }

    /// What was found.
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Cuts off an unfinished last write, and is ready to go on.
    pub(super) fn finish(mut self) -> Result<(Index, Writer, Recovered), OpenError> {
        fs::create_dir_all(&self.home).map_err(at(&self.home))?;
        let (segment, file, end, listing) = match self.last {
            Last::Open {
                segment,
                file,
                end,
                listing,
            } => {
                let header = SegmentHeader::new(segment, self.directory, 0);
                file.set_len(end)
                    .and_then(|()| file.write_all_at(&header.encode(), 0))
                    .and_then(|()| file.sync_all())
                    .map_err(at(&values_path(&self.home, segment)))?;
                (segment, file, end, listing)
            }
            Last::New(segment) => {
                let made = segment::make(&self.home, segment, self.directory);
                self.index.set_bytes(segment, SEGMENT_HEADER_BYTES);
                let file = made.map_err(at(&values_path(&self.home, segment)))?;
                (segment, file, SEGMENT_HEADER_BYTES, Listing::default())
            }
        };
        remove_leaving(&self.home);
        for (segment, encoded) in self.lists {
            // Only a hint, for the next start.
            let _ = fs::write(listing_path(&self.home, segment), encoded);
        }
        let writer = Writer {
            segment,
            file: Arc::new(file),
            end,
            laid_end: 0,
            listing,
            is_unsynced: false,
            victim: None,
            leaving: None,
            spares: Vec::new(),
            frames: Vec::new(),
        };
        Ok((self.index, writer, self.recovered))
    }
}
