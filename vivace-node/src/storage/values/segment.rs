//! A segment's file: its names, its header, and how it begins.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::frame::Seal;
use super::value_log::OpenError;
use crate::storage::identity::DirectoryId;

/// The format that this code writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 3;

/// The first whose frames are bound to their segment.
const SEALED_FORMAT: u32 = 3;

/// A segment's header: `magic 8 | format u32 | directory 16 | segment u32 | earlier bytes u32 |
/// zeros | CRC-32C of all before u32`.
pub(super) const SEGMENT_HEADER_BYTES: u64 = 64;

const MAGIC: &[u8; 8] = b"VIVACEVL";
pub(super) const LEAVING: &str = "gone";
pub(super) const SPARE: &str = "spare";
const CHECKSUM_AT: usize = SEGMENT_HEADER_BYTES as usize - 4;

pub(super) fn values_path(home: &Path, segment: u32) -> PathBuf {
    home.join(format!("{segment:08x}.values"))
}

pub(super) fn listing_path(home: &Path, segment: u32) -> PathBuf {
    home.join(format!("{segment:08x}.ids"))
}

/// Makes an empty segment, durably.
pub(super) fn make(home: &Path, segment: u32, directory: DirectoryId) -> io::Result<File> {
    let path = values_path(home, segment);
    let make = || {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        let header = SegmentHeader::new(segment, directory, 0);
        file.write_all_at(&header.encode(), 0)?;
        file.sync_all()?;
        File::open(home)?.sync_all()?;
        Ok(file)
    };
    make().inspect_err(|_| {
        let _ = fs::remove_file(&path);
    })
}

/// Makes a segment of a file that was one before, durably; returns its length too. That file
/// is gone, whatever comes of it.
pub(super) fn reuse(
    home: &Path,
    segment: u32,
    directory: DirectoryId,
    spare: &Path,
) -> io::Result<(File, u64)> {
    let path = values_path(home, segment);
    let reuse = || {
        let file = OpenOptions::new().read(true).write(true).open(spare)?;
        let bytes = file.metadata()?.len();
        let earlier_bytes = u32::try_from(bytes).map_err(io::Error::other)?;
        let header = SegmentHeader::new(segment, directory, earlier_bytes);
        // Under its new name it is never anything else.
        file.write_all_at(&header.encode(), 0)?;
        file.sync_all()?;
        fs::rename(spare, &path)?;
        File::open(home)?.sync_all()?;
        Ok((file, bytes))
    };
    reuse().inspect_err(|_| {
        let _ = fs::remove_file(spare);
        let _ = fs::remove_file(&path);
    })
}

/// What the first bytes of a segment say, where they are whole.
pub(super) struct SegmentHeader {
    format: u32,
    directory: DirectoryId,
    pub segment: u32,
    /// Behind its frames, and up to here, the file may have those of the segment that it was.
    pub earlier_bytes: u32,
}

impl SegmentHeader {
    pub fn new(segment: u32, directory: DirectoryId, earlier_bytes: u32) -> Self {
        Self {
            format: FORMAT,
            directory,
            segment,
            earlier_bytes,
        }
    }

    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut header = [0; SEGMENT_HEADER_BYTES as usize];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&self.format.to_le_bytes());
        header[12..28].copy_from_slice(&self.directory.0);
        header[28..32].copy_from_slice(&self.segment.to_le_bytes());
        header[32..36].copy_from_slice(&self.earlier_bytes.to_le_bytes());
        let checksum = crc32c::crc32c(&header[..CHECKSUM_AT]);
        header[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        header
    }

    /// None where `bytes` begin with none, or a damaged one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<{ SEGMENT_HEADER_BYTES as usize }>()?;
        let (covered, checksum) = header.split_at(CHECKSUM_AT);
        let u32_at = |at: usize| {
            let field = header[at..at + 4].try_into().expect("4 bytes");
            u32::from_le_bytes(field)
        };
        let mut directory = DirectoryId::default();
        directory.0.copy_from_slice(&header[12..28]);
        let is_whole =
            header.starts_with(MAGIC) && crc32c::crc32c(covered).to_le_bytes() == *checksum;
        is_whole.then(|| Self {
            format: u32_at(8),
            directory,
            segment: u32_at(28),
            earlier_bytes: u32_at(32),
        })
    }

    pub fn seal(&self) -> Seal {
        match self.format {
            ..SEALED_FORMAT => Seal::Open,
            _ => Seal::Segment(self.segment),
        }
    }
}

/// Whether `bytes` are the header of this directory's `segment`. Another says nothing: the
/// frames behind it still prove themselves.
pub(super) fn check_header(
    path: &Path,
    bytes: &[u8],
    directory: DirectoryId,
    segment: u32,
) -> Result<bool, OpenError> {
    let Some(header) = SegmentHeader::decode(bytes) else {
        return Ok(false);
    };
    let path = path.to_owned();
    if header.format > FORMAT {
        let found = header.format;
        return Err(OpenError::Newer { path, found });
    }
    if header.directory != directory {
        return Err(OpenError::Foreign {
            path,
            found: header.directory,
            expected: directory,
        });
    }
    Ok(header.segment == segment)
}

/// What a segment's file is called while its space is given back.
pub(super) fn leaving_path(segment: &Path) -> PathBuf {
    segment.with_extension(LEAVING)
}

/// What a segment's file is called while it waits for its reuse.
pub(super) fn spare_path(segment: &Path) -> PathBuf {
    segment.with_extension(SPARE)
}
