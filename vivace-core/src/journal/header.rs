//! The first sector of every file: whose it is, and in which format.
//!
//! Layout (512 bytes, integers little-endian): `magic 8 | format u32 | kind u8 | node u16
//! | directory 16 | generation u64 | file bytes u64 | cluster length u8 | cluster |
//! zeros | checksum u32 (CRC-32C of all before)`. Magic, format and checksum stay where
//! they are in every later format.

use super::open_error::OR_WITHOUT;
use super::sector::{SECTOR_BYTES, u32_at, u64_at};
use super::{Directory, FORMAT_VERSION, Identity};
use crate::identity::NodeId;

const MAGIC: &[u8; 8] = b"VIVACEJL";
const CHECKSUM_AT: usize = SECTOR_BYTES - 4;
const FORMAT_AT: usize = 8;
const KIND_AT: usize = 12;
const NODE_AT: usize = 13;
const DIRECTORY_AT: usize = 15;
const GENERATION_AT: usize = 31;
const BYTES_AT: usize = 39;
const CLUSTER_AT: usize = 47;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Segment = 1,
    Checkpoint = 2,
}

/// Why a file's header is not the one that this journal wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not its magic, or not its checksum.
    #[error("its header (bytes 0 to 511) is damaged")]
    Damaged,
    /// Written by later code.
    #[error("is of format {found}, and this program reads up to {FORMAT_VERSION}")]
    Newer {
        /// The format that it names.
        found: u32,
    },
    /// Another cluster's, node's or directory's.
    #[error("belongs to {found}, and this is {expected}")]
    Foreign {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The file of another kind or generation, under this one's name.
    #[error("is another file than its name says")]
    Misnamed,
}

impl HeaderError {
    /// What an operator can do.
    pub fn way_out(&self) -> String {
        match self {
            Self::Newer { .. } => "run the newer program".into(),
            Self::Damaged | Self::Foreign { .. } | Self::Misnamed => {
                format!("restore it, {OR_WITHOUT}")
            }
        }
    }
}

/// What a header says beside whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub kind: Kind,
    pub generation: u64,
    /// The file's length; zero where it is not fixed.
    pub bytes: u64,
}

impl Header {
    pub fn encode(&self, identity: &Identity) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, MAGIC);
        put(FORMAT_AT, &FORMAT_VERSION.to_le_bytes());
        put(KIND_AT, &[self.kind as u8]);
        put(NODE_AT, &identity.node.0.to_le_bytes());
        put(DIRECTORY_AT, &identity.directory.0);
        put(GENERATION_AT, &self.generation.to_le_bytes());
        put(BYTES_AT, &self.bytes.to_le_bytes());
        let cluster = identity.cluster.as_bytes();
        let length = u8::try_from(cluster.len()).expect("a cluster's name has up to 255 bytes");
        put(CLUSTER_AT, &[length]);
        put(CLUSTER_AT + 1, cluster);
        let checksum = crc32c::crc32c(&sector[..CHECKSUM_AT]);
        sector[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        sector
    }

    /// Reads the header of a file that should be `kind` and `generation` of `identity`;
    /// returns the file's length.
    pub fn check(
        sector: &[u8; SECTOR_BYTES],
        identity: &Identity,
        kind: Kind,
        generation: u64,
    ) -> Result<u64, HeaderError> {
        let whole = sector.starts_with(MAGIC)
            && crc32c::crc32c(&sector[..CHECKSUM_AT]) == u32_at(sector, CHECKSUM_AT);
        if !whole {
            return Err(HeaderError::Damaged);
        }
        let found = u32_at(sector, FORMAT_AT);
        if found != FORMAT_VERSION {
            return Err(HeaderError::Newer { found });
        }
        let owner = owner(sector);
        if owner != *identity {
            return Err(HeaderError::Foreign {
                found: describe(&owner),
                expected: describe(identity),
            });
        }
        let named = sector[KIND_AT] == kind as u8 && u64_at(sector, GENERATION_AT) == generation;
        match named {
            true => Ok(u64_at(sector, BYTES_AT)),
            false => Err(HeaderError::Misnamed),
        }
    }
}

fn owner(sector: &[u8; SECTOR_BYTES]) -> Identity {
    let mut directory = Directory::default();
    directory
        .0
        .copy_from_slice(&sector[DIRECTORY_AT..GENERATION_AT]);
    let name = &sector[CLUSTER_AT + 1..][..usize::from(sector[CLUSTER_AT])];
    Identity {
        cluster: String::from_utf8_lossy(name).into_owned(),
        node: NodeId(u16::from_le_bytes([sector[NODE_AT], sector[NODE_AT + 1]])),
        directory,
    }
}

fn describe(identity: &Identity) -> String {
    let directory = u128::from_be_bytes(identity.directory.0);
    format!(
        "cluster {:?}, {}, data directory {directory:032x}",
        identity.cluster, identity.node
    )
}
