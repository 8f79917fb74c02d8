//! The checkpoint: the fold of all segments up to a generation, sorted by group.
//!
//! Layout: the file's header (512 bytes), then blocks of `checksum u32 LE | length u32
//! LE | content`, the content being whole frames of `length u16 LE | record`. The
//! checksum (CRC-32C) covers length and content and begins from directory, generation
//! and the block's number. A last block of length `0xffff_ffff` holds the number of
//! records, u64 LE: without it the file is not whole.

use super::disk::{DiskError, DiskFile};
use super::header::{Header, HeaderError, Kind};
use super::open_error::OR_WITHOUT;
use super::sector::{SECTOR_BYTES, Seal, u32_at, u64_at};
use super::{Identity, RECORD_BYTES_MAX};
use crate::codec::{self, CodecError};
use crate::record::Record;

/// A block is written once it holds this much; one record more may fit.
const BLOCK_BYTES: usize = 64 << 10;
const BLOCK_BYTES_MAX: usize = BLOCK_BYTES + 2 + RECORD_BYTES_MAX;
const BLOCK_HEADER_BYTES: usize = 8;
const LAST: u32 = u32::MAX;

/// Why a checkpoint can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is not this journal's.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A block fails its checksum, or the file ends too early.
    #[error(
        "the checkpoint is damaged at byte {offset}: this node may have forgotten what it \
         acknowledged and must not vote"
    )]
    Damaged {
        /// Where.
        offset: u64,
    },
    /// Intact, and not a record that this program knows.
    #[error("holds at byte {offset}, intact, what this program can't read ({source})")]
    Malformed {
        /// Where its block begins.
        offset: u64,
        /// Why.
        source: CodecError,
    },
}

impl CheckpointError {
    /// What an operator can do.
    pub fn way_out(&self) -> String {
        match self {
            Self::Malformed { .. } => {
                format!("run the program that wrote it, {OR_WITHOUT}")
            }
            Self::Disk(_) | Self::Header(_) | Self::Damaged { .. } => {
                format!("restore the file, {OR_WITHOUT}")
            }
        }
    }
}

/// Writes a checkpoint, block by block.
pub(super) struct Writer<F> {
    file: F,
    seal: Seal,
    block: Vec<u8>,
    index: u32,
    offset: u64,
    records: u64,
}

impl<F: DiskFile> Writer<F> {
    pub fn begin(file: F, identity: &Identity, through: u64) -> Result<Self, DiskError> {
        let header = Header {
            kind: Kind::Checkpoint,
            generation: through,
            bytes: 0,
        };
        file.write_at(0, &header.encode(identity))?;
        Ok(Self {
            file,
            seal: Seal::new(identity.directory, through),
            block: vec![0; BLOCK_HEADER_BYTES],
            index: 0,
            offset: SECTOR_BYTES as u64,
            records: 0,
        })
    }

    pub fn push(&mut self, record: &Record) -> Result<(), DiskError> {
        let payload = codec::encode(record);
        let length = u16::try_from(payload.len()).expect("records are short");
        self.block.extend_from_slice(&length.to_le_bytes());
        self.block.extend_from_slice(&payload);
        self.records += 1;
        if self.block.len() >= BLOCK_BYTES {
            let length = (self.block.len() - BLOCK_HEADER_BYTES) as u32;
            self.write_block(length)?;
        }
        Ok(())
    }

    /// Writes the rest, durably; returns the file's length.
    pub fn finish(mut self) -> Result<u64, DiskError> {
        if self.block.len() > BLOCK_HEADER_BYTES {
            let length = (self.block.len() - BLOCK_HEADER_BYTES) as u32;
            self.write_block(length)?;
        }
        self.block.extend_from_slice(&self.records.to_le_bytes());
        self.write_block(LAST)?;
        self.file.sync()?;
        Ok(self.offset)
    }

    fn write_block(&mut self, length: u32) -> Result<(), DiskError> {
        self.block[4..BLOCK_HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
        let checksum = self.seal.checksum(self.index, &self.block[4..]);
        self.block[..4].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_at(self.offset, &self.block)?;
        self.offset += self.block.len() as u64;
        self.index += 1;
        self.block.truncate(BLOCK_HEADER_BYTES);
        Ok(())
    }
}

/// Reads a checkpoint, a block at a time.
pub(super) struct Reader<F> {
    file: F,
    seal: Seal,
    bytes: u64,
    /// Where the block in memory begins, and its length with its header.
    offset: u64,
    block: Vec<u8>,
    /// Where the next record begins in it.
    at: usize,
    index: u32,
    records: u64,
    is_done: bool,
}

impl<F: DiskFile> Reader<F> {
    pub fn open(file: F, identity: &Identity, through: u64) -> Result<Self, CheckpointError> {
        let bytes = file.bytes()?;
        if bytes < SECTOR_BYTES as u64 {
            return Err(HeaderError::Damaged.into());
        }
        let mut header = [0; SECTOR_BYTES];
        file.read_at(0, &mut header)?;
        Header::check(&header, identity, Kind::Checkpoint, through)?;
        Ok(Self {
            file,
            seal: Seal::new(identity.directory, through),
            bytes,
            offset: SECTOR_BYTES as u64,
            block: Vec::new(),
            at: 0,
            index: 0,
            records: 0,
            is_done: false,
        })
    }

    /// The file's length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How much of it was read.
    pub fn bytes_read(&self) -> u64 {
        self.offset + self.at as u64
    }

    /// The next record; none behind the last.
    pub fn next(&mut self) -> Result<Option<Record>, CheckpointError> {
        while !self.is_done && self.at >= self.block.len() {
            self.read_block()?;
        }
        if self.is_done {
            return Ok(None);
        }
        let offset = self.offset;
        let damaged = || CheckpointError::Damaged { offset };
        let header = self.block.get(self.at..self.at + 2).ok_or_else(damaged)?;
        let length = usize::from(u16::from_le_bytes([header[0], header[1]]));
        let from = self.at + 2;
        let payload = self.block.get(from..from + length).ok_or_else(damaged)?;
        let record = codec::decode(payload, RECORD_BYTES_MAX)
            .map_err(|source| CheckpointError::Malformed { offset, source })?;
        self.at = from + length;
        self.records += 1;
        Ok(Some(record))
    }

    fn read_block(&mut self) -> Result<(), CheckpointError> {
        self.offset += self.block.len() as u64;
        let offset = self.offset;
        let damaged = || CheckpointError::Damaged { offset };
        let left = self.bytes.saturating_sub(offset);
        let mut header = [0; BLOCK_HEADER_BYTES];
        if left < BLOCK_HEADER_BYTES as u64 {
            return Err(damaged());
        }
        self.file.read_at(offset, &mut header)?;
        let length = u32_at(&header, 4);
        let content = match length {
            LAST => 8,
            length => length as usize,
        };
        if content > BLOCK_BYTES_MAX || left < (BLOCK_HEADER_BYTES + content) as u64 {
            return Err(damaged());
        }
        self.block.resize(BLOCK_HEADER_BYTES + content, 0);
        self.file.read_at(offset, &mut self.block)?;
        if self.seal.checksum(self.index, &self.block[4..]) != u32_at(&self.block, 0) {
            return Err(damaged());
        }
        self.at = BLOCK_HEADER_BYTES;
        self.index += 1;
        if length == LAST {
            if u64_at(&self.block, BLOCK_HEADER_BYTES) != self.records {
                return Err(damaged());
            }
            self.is_done = true;
        }
        Ok(())
    }
}
