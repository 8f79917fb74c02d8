//! Opening a value log: which values it has, from the lists of full segments and from
//! the last segment itself.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{AccessFlags, access};

use super::index::{Index, Place};
use super::listing::Listing;
use super::value_log::{OpenError, Recovered, Writer};
use super::{frame, frame::Header};
use crate::storage::identity::DirectoryId;

/// The format that this code writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 2;

/// A segment's header: `magic 8 | format u32 | directory 16 | segment u32 | zeros |
/// CRC-32C of all before u32`.
pub(super) const SEGMENT_HEADER_BYTES: u64 = 64;

const MAGIC: &[u8; 8] = b"VIVACEVL";
const LEAVING: &str = "gone";
const CHECKSUM_AT: usize = SEGMENT_HEADER_BYTES as usize - 4;

pub(super) fn values_path(home: &Path, segment: u32) -> PathBuf {
    home.join(format!("{segment:08x}.values"))
}

pub(super) fn listing_path(home: &Path, segment: u32) -> PathBuf {
    home.join(format!("{segment:08x}.ids"))
}

/// Makes an empty segment, durably.
pub(super) fn make_segment(home: &Path, segment: u32, directory: DirectoryId) -> io::Result<File> {
    let path = values_path(home, segment);
    let make = || {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        file.write_all_at(&header(segment, directory), 0)?;
        file.sync_all()?;
        File::open(home)?.sync_all()?;
        Ok(file)
    };
    make().inspect_err(|_| {
        let _ = fs::remove_file(&path);
    })
}

fn header(segment: u32, directory: DirectoryId) -> [u8; SEGMENT_HEADER_BYTES as usize] {
    let mut header = [0; SEGMENT_HEADER_BYTES as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    header[12..28].copy_from_slice(&directory.0);
    header[28..32].copy_from_slice(&segment.to_le_bytes());
    let checksum = crc32c::crc32c(&header[..CHECKSUM_AT]);
    header[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// Whether `bytes` are the header of this directory's `segment`. Another says nothing: the
/// frames behind it still prove themselves.
fn check_header(
    path: &Path,
    bytes: &[u8],
    directory: DirectoryId,
    segment: u32,
) -> Result<bool, OpenError> {
    let Some(header) = bytes.first_chunk::<{ SEGMENT_HEADER_BYTES as usize }>() else {
        return Ok(false);
    };
    let (covered, checksum) = header.split_at(CHECKSUM_AT);
    let is_whole = header.starts_with(MAGIC) && crc32c::crc32c(covered).to_le_bytes() == *checksum;
    if !is_whole {
        return Ok(false);
    }
    let path = path.to_owned();
    let found = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if found > FORMAT {
        return Err(OpenError::Newer { path, found });
    }
    let mut owner = DirectoryId::default();
    owner.0.copy_from_slice(&header[12..28]);
    if owner != directory {
        return Err(OpenError::Foreign {
            path,
            found: owner,
            expected: directory,
        });
    }
    Ok(header[28..32] == segment.to_le_bytes())
}

/// What a segment's file is called while its space is given back.
pub(super) fn leaving_path(segment: &Path) -> PathBuf {
    segment.with_extension(LEAVING)
}

/// Removes what an earlier life had begun to remove. What stays takes space, and no more.
fn remove_leaving(home: &Path) {
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|name| name == LEAVING)
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!("{}: {error}", path.display());
        }
    }
}

/// What reading a whole segment found.
#[derive(Default)]
struct Scan {
    listing: Listing,
    /// Behind the last intact header.
    end: u64,
    /// Behind the last byte that is not zero, or `end`.
    content_end: u64,
    damaged: u64,
}

/// Steps from frame to frame; over a damaged one by its header, over a damaged header to
/// the next intact one. Behind all of them there may be zeros, to be written over.
fn scan(segment: u32, bytes: &[u8]) -> Scan {
    let written = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    let mut found = scan_frames(segment, bytes, written);
    found.content_end = found.end.max(written as u64);
    found
}

fn scan_frames(segment: u32, bytes: &[u8], written: usize) -> Scan {
    let mut found = Scan {
        end: SEGMENT_HEADER_BYTES.min(bytes.len() as u64),
        ..Scan::default()
    };
    let mut at = SEGMENT_HEADER_BYTES as usize;
    while let Some((start, header)) = next_frame(bytes, at) {
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
            }
            // The last write, unfinished.
            Some(_) if written < end => return found,
            None => return found,
            Some(_) => {
                found.damaged += 1;
                found.end = end as u64;
            }
        }
        at = end;
    }
    found
}

fn next_frame(bytes: &[u8], from: usize) -> Option<(usize, Header)> {
    let mut at = from;
    loop {
        let rest = bytes.get(at..)?;
        if let Some(header) = frame::header(rest) {
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
        if let Some(number) = number.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
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
                // Of an earlier format, and of this one from now on.
                file.set_len(end)
                    .and_then(|()| file.write_all_at(&header(segment, self.directory), 0))
                    .and_then(|()| file.sync_all())
                    .map_err(at(&values_path(&self.home, segment)))?;
                (segment, file, end, listing)
            }
            Last::New(segment) => {
                let made = make_segment(&self.home, segment, self.directory);
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
            zeros_end: 0,
            listing,
            is_unsynced: false,
            victim: None,
            leaving: None,
        };
        Ok((self.index, writer, self.recovered))
    }
}
