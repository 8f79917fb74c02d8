//! Where each value stands, in memory: 25 bytes a value, and the table's slack.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

use foldhash::fast::FixedState;

use super::Usage;

/// Tables that share the places. A table that grows keeps whoever comes meanwhile, 30 ms with
/// a million places; a 256th of them at a time keeps nobody.
const TABLES: usize = 256;

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub segment: u32,
    pub offset: u32,
    pub bytes: u32,
}

/// How much of a segment is needed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filled {
    pub bytes: u64,
    pub live: u64,
}

/// Places by the hash of their key. Two keys of one hash (once in 10^7 stores of five
/// million values) put each other out: the older then counts as missing. What is read is
/// checked against its key, so that neither is ever served as the other.
pub(super) struct Index {
    tables: [Table; TABLES],
    segments: BTreeMap<u32, Filled>,
    hasher: RandomState,
}

/// By hashes that are nobody's to choose.
type Table = HashMap<u64, Place, FixedState>;

impl Default for Index {
    fn default() -> Self {
        Self {
            tables: std::array::from_fn(|_| Table::default()),
            segments: BTreeMap::new(),
            hasher: RandomState::new(),
        }
    }
}

impl Index {
    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    fn table(hash: u64) -> usize {
        hash as usize % TABLES
    }

    pub fn get(&self, key: &[u8]) -> Option<Place> {
        let hash = self.hash(key);
        self.tables[Self::table(hash)].get(&hash).copied()
    }

    /// The value of `key` stands here, and nowhere else from now on.
    pub fn insert(&mut self, key: &[u8], place: Place) {
        let hash = self.hash(key);
        let earlier = self.tables[Self::table(hash)].insert(hash, place);
        self.let_go(earlier);
        let filled = self.segments.entry(place.segment).or_default();
        filled.live += u64::from(place.bytes);
    }

    pub fn remove(&mut self, key: &[u8]) {
        let hash = self.hash(key);
        let earlier = self.tables[Self::table(hash)].remove(&hash);
        self.let_go(earlier);
    }

    fn let_go(&mut self, place: Option<Place>) {
        if let Some(place) = place
            && let Some(filled) = self.segments.get_mut(&place.segment)
        {
            filled.live -= u64::from(place.bytes);
        }
    }

    /// A segment is this long.
    pub fn set_bytes(&mut self, segment: u32, bytes: u64) {
        self.segments.entry(segment).or_default().bytes = bytes;
    }

    /// A segment is gone.
    pub fn remove_segment(&mut self, segment: u32) {
        self.segments.remove(&segment);
    }

    pub fn segments(&self) -> impl Iterator<Item = (u32, Filled)> {
        self.segments
            .iter()
            .map(|(&segment, &filled)| (segment, filled))
    }

    pub fn usage(&self) -> Usage {
        let bytes = self.segments.values().map(|filled| filled.bytes).sum();
        let live: u64 = self.segments.values().map(|filled| filled.live).sum();
        Usage {
            values: self.tables.iter().map(|table| table.len() as u64).sum(),
            bytes,
            dead_bytes: u64::saturating_sub(bytes, live),
        }
    }
}
