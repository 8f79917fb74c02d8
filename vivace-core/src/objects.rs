//! What a node keeps of each object, found by the hash of its name and listed in order.
//!
//! A lookup costs two misses of the processor's caches however many objects there are, where
//! a tree costs one per level; only a new object touches the tree of names. Nothing that is
//! seen from outside depends on hashes: the tables are never walked.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;
use hashbrown::HashTable;

use crate::identity::ContainerId;
use crate::key::Key;

/// Objects that stand side by side. Whoever adds one never waits for more to be moved.
const CHUNK: usize = 512;

/// The most entries of one table, for which it has 2048 slots of 5 bytes. One that is full is
/// split; a single table for all would keep everybody for as long as it takes to move a million.
const TABLE_ENTRIES_MAX: usize = 1792;

/// How many times more entries than tables a directory may have. It has one or two for each; more
/// would be needed by hashes that are nearly the same, whose table overflows instead.
const DIRECTORY_PER_TABLE_MAX: usize = 16;

/// Where an object stands: the number of its chunk, and its place there.
type Place = u32;

/// Objects by key. None is ever removed: what was known of one, a deleted one too, a replica
/// must not forget.
#[derive(Clone)]
pub struct Objects<T> {
    chunks: Vec<Vec<(Key, T)>>,
    index: Index,
    names: BTreeMap<Key, Place>,
    counts: BTreeMap<ContainerId, u64>,
    hashes: Hashes,
}

/// In the order of their keys: two that hold the same look the same.
impl<T: fmt::Debug> fmt::Debug for Objects<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.after(Bound::Unbounded)).finish()
    }
}

impl<T> Objects<T> {
    /// None yet. Where nobody knows `seed`, nobody can choose names whose hashes collide.
    pub fn new(seed: u64) -> Self {
        Self {
            chunks: Vec::new(),
            index: Index::default(),
            names: BTreeMap::new(),
            counts: BTreeMap::new(),
            hashes: Hashes::new(seed),
        }
    }

    /// What is kept of `key`.
    pub fn get(&self, key: &Key) -> Option<&T> {
        let place = self.find(key)?;
        Some(&self.at(place).1)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &Key) -> Option<&mut T> {
        let place = self.find(key)?;
        Some(self.at_mut(place))
    }

    /// What is kept of `key`, from now on if nothing was.
    pub fn entry(&mut self, key: &Key) -> &mut T
    where
        T: Default,
    {
        let place = match self.find(key) {
            Some(place) => place,
            None => self.add(key.clone(), T::default()),
        };
        self.at_mut(place)
    }

    /// All objects, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &T)> {
        self.chunks
            .iter()
            .flatten()
            .map(|(key, object)| (key, object))
    }

    /// Objects after a key, in the order of their keys.
    pub fn after(&self, after: Bound<&Key>) -> impl Iterator<Item = (&Key, &T)> {
        self.names
            .range((after, Bound::Unbounded))
            .map(|(key, &place)| (key, &self.at(place).1))
    }

    /// How many objects of a container there are.
    pub fn count(&self, container: ContainerId) -> u64 {
        self.counts.get(&container).copied().unwrap_or(0)
    }

    fn find(&self, key: &Key) -> Option<Place> {
        let hash = self.hashes.of(key);
        self.index.find(hash, |place| self.at(place).0 == *key)
    }

    fn at(&self, place: Place) -> &(Key, T) {
        let place = place as usize;
        &self.chunks[place / CHUNK][place % CHUNK]
    }

    fn at_mut(&mut self, place: Place) -> &mut T {
        let place = place as usize;
        &mut self.chunks[place / CHUNK][place % CHUNK].1
    }

    fn add(&mut self, key: Key, object: T) -> Place {
        let last = self.chunks.last().map_or(CHUNK, Vec::len);
        if last == CHUNK {
            // The first grows as it is needed: a model checker's nodes have few, and are copied.
            let room = if self.chunks.is_empty() { 0 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(room));
        }
        let chunk = self.chunks.len() - 1;
        let objects = &mut self.chunks[chunk];
        let place = Place::try_from(chunk * CHUNK + objects.len())
            .expect("four thousand million objects take more than the memory");
        *self.counts.entry(key.container).or_default() += 1;
        objects.push((key.clone(), object));
        let (chunks, hashes) = (&self.chunks, &self.hashes);
        let hash_of = |place: Place| {
            let place = place as usize;
            hashes.of(&chunks[place / CHUNK][place % CHUNK].0)
        };
        self.index.insert(hash_of(place), place, hash_of);
        self.names.insert(key, place);
        place
    }
}

/// Hashes of keys, all of whose secrets come from one seed: foldhash's own seeded hasher keeps
/// constants that anybody can look up, and names that defeat it for every seed.
#[derive(Clone)]
struct Hashes {
    seed: u64,
    shared: Arc<SharedSeed>,
}

impl Hashes {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            shared: Arc::new(SharedSeed::from_u64(seed)),
        }
    }

    fn of(&self, key: &Key) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        key.hash(&mut hasher);
        hasher.finish()
    }
}

/// Places by hashes: tables that are split as they fill (Fagin et al., Extendible Hashing,
/// 1979).
#[derive(Clone, Default)]
struct Index {
    /// Which table has the hashes of which low bits; as many as there are combinations.
    directory: Vec<u32>,
    tables: Vec<Table>,
}

#[derive(Clone, Default)]
struct Table {
    /// How many low bits all its hashes share.
    bits: u32,
    places: HashTable<Place>,
}

/// The bits that choose the table. A table itself uses the lowest and the highest.
fn table_bits(hash: u64) -> usize {
    (hash >> 24) as u32 as usize
}

impl Index {
    fn table(&self, hash: u64) -> Option<usize> {
        // A power of two, or zero.
        let mask = self.directory.len().checked_sub(1)?;
        Some(self.directory[table_bits(hash) & mask] as usize)
    }

    fn find(&self, hash: u64, is_it: impl Fn(Place) -> bool) -> Option<Place> {
        let table = &self.tables[self.table(hash)?];
        table.places.find(hash, |&place| is_it(place)).copied()
    }

    /// Adds a place that is not there.
    fn insert(&mut self, hash: u64, place: Place, hash_of: impl Fn(Place) -> u64) {
        if self.tables.is_empty() {
            self.tables.push(Table::default());
            self.directory.push(0);
        }
        let chosen = |index: &Self| {
            let mask = index.directory.len() - 1;
            index.directory[table_bits(hash) & mask] as usize
        };
        let mut table = chosen(self);
        if self.tables[table].places.len() >= TABLE_ENTRIES_MAX && self.may_split(table) {
            self.split(table, &hash_of);
            // Over-full where all had the same next bit, until it is split again.
            table = chosen(self);
        }
        let places = &mut self.tables[table].places;
        places.insert_unique(hash, place, |&place| hash_of(place));
    }

    fn may_split(&self, table: usize) -> bool {
        let needs_longer = 1 << self.tables[table].bits == self.directory.len();
        !needs_longer || 2 * self.directory.len() <= DIRECTORY_PER_TABLE_MAX * self.tables.len()
    }

    /// Moves about half of a table into a new one.
    fn split(&mut self, table: usize, hash_of: &impl Fn(Place) -> u64) {
        let bits = self.tables[table].bits;
        if 1 << bits == self.directory.len() {
            self.directory.extend_from_within(..);
        }
        let moves = |at: usize| at >> bits & 1 == 1;
        let new = self.tables.len() as u32;
        for (at, entry) in self.directory.iter_mut().enumerate() {
            if *entry as usize == table && moves(at) {
                *entry = new;
            }
        }
        let whole = std::mem::take(&mut self.tables[table].places);
        let half = || Table {
            bits: bits + 1,
            places: HashTable::with_capacity(TABLE_ENTRIES_MAX),
        };
        let (mut kept, mut moved) = (half(), half());
        for place in whole {
            let hash = hash_of(place);
            let half = match moves(table_bits(hash)) {
                true => &mut moved,
                false => &mut kept,
            };
            let places = &mut half.places;
            places.insert_unique(hash, place, |&place| hash_of(place));
        }
        self.tables[table] = kept;
        self.tables.push(moved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyName;

    fn key(container: u32, number: u64) -> Key {
        Key {
            container: ContainerId(container),
            name: KeyName::new(format!("{number:x}")).expect("a short name"),
        }
    }

    /// Numbers in an order of their own.
    fn mixed(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
    }

    #[test]
    fn objects_are_found_listed_and_counted_however_many_there_are() {
        let mut objects = Objects::new(7);
        let mut model = BTreeMap::new();
        for number in 0..40_000 {
            let key = key((number % 3) as u32, mixed(number));
            *objects.entry(&key) += number;
            *model.entry(key).or_insert(0) += number;
        }
        assert!(objects.index.tables.len() > 16, "tables were split");
        assert!(objects.index.directory.len().is_power_of_two());
        let fullest = objects.index.tables.iter().map(|table| table.places.len());
        assert!(fullest.max() <= Some(TABLE_ENTRIES_MAX));
        for (key, number) in &model {
            assert_eq!(objects.get(key), Some(number));
        }
        assert_eq!(objects.get(&key(1, u64::MAX)), None);
        assert_eq!(objects.get_mut(&key(9, 1)), None);
        let listed: Vec<_> = objects.after(Bound::Unbounded).collect();
        assert_eq!(listed, model.iter().collect::<Vec<_>>());
        let from = model.keys().nth(20_000).expect("there are more");
        let next = objects.after(Bound::Excluded(from)).next();
        assert_eq!(next, model.iter().nth(20_001));
        let of_one = model.keys().filter(|key| key.container.0 == 1).count();
        assert_eq!(objects.count(ContainerId(1)), of_one as u64);
        assert_eq!(objects.count(ContainerId(9)), 0);
        assert_eq!(objects.iter().count(), model.len());
    }

    #[test]
    fn what_is_seen_does_not_depend_on_the_seed() {
        let [one, other] = [1, 2].map(|seed| {
            let mut objects = Objects::new(seed);
            for number in 0..5_000 {
                *objects.entry(&key(1, mixed(number))) = number;
            }
            objects
        });
        assert!(one.iter().eq(other.iter()));
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
        assert!(
            one.after(Bound::Unbounded)
                .eq(other.after(Bound::Unbounded))
        );
    }

    #[test]
    fn names_chosen_by_foldhashs_constants_do_not_collide() {
        let mut objects = Objects::new(7);
        for number in 0..20_000_u64 {
            let mut name = number.to_le_bytes().to_vec();
            name.extend(0x3f84_d5b5_b547_0917_u64.to_le_bytes());
            let name = KeyName::new(name).expect("16 bytes");
            let container = ContainerId(1);
            *objects.entry(&Key { container, name }) = number;
        }
        let fullest = objects.index.tables.iter().map(|table| table.places.len());
        assert!(fullest.max() <= Some(TABLE_ENTRIES_MAX));
    }

    #[test]
    fn names_of_one_hash_are_told_apart() {
        let mut index = Index::default();
        // More than a table holds, and no bit to split them by.
        let places = 0..2 * TABLE_ENTRIES_MAX as u32;
        for place in places.clone() {
            index.insert(5, place, |_| 5);
        }
        for place in places {
            assert_eq!(index.find(5, |found| found == place), Some(place));
        }
        assert_eq!(index.find(5, |_| false), None);
        assert!(
            index.directory.len() <= 512,
            "what can't be split is not tried for ever"
        );
    }
}
