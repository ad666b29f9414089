//! Every key and what it holds: found by hash, walked in order.
//!
//! A lookup in a search tree of many keys waits for memory once a level; one by hash waits once.
//! The order is kept beside, and touched only when a key comes or goes. Nobody walks the hash
//! tables, so neither their layout nor their seed can show in an answer.
//!
//! Invariant: `order` holds exactly the keys of `parts`.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, Hasher},
    ops::Bound,
};

use foldhash::fast::FixedState;
use hashbrown::{HashTable, hash_table};

use super::{Entry, MapKey};

/// A table that grows moves all it holds at once, and nobody is answered meanwhile. Many small ones
/// grow at different moments.
const PARTS: usize = 256;

#[derive(Debug)]
pub(super) struct Table {
    parts: Box<[HashTable<(MapKey, Entry)>]>,
    order: BTreeSet<MapKey>,
    seed: FixedState,
}

impl Table {
    /// An empty table. Whoever does not know `seed` cannot choose keys that share a place.
    pub(super) fn new(seed: u64) -> Table {
        Table::with(FixedState::with_seed(seed))
    }

    /// An empty table with the same seed.
    pub(super) fn fresh(&self) -> Table {
        Table::with(self.seed.clone())
    }

    fn with(seed: FixedState) -> Table {
        let parts = (0..PARTS).map(|_| HashTable::new()).collect();
        Table { parts, order: BTreeSet::new(), seed }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    #[inline]
    pub(super) fn get(&self, key: &[u8]) -> Option<&Entry> {
        let hash = hash(&self.seed, key);
        let found = self.parts[part(hash)].find(hash, |(k, _)| k.as_bytes() == key);
        found.map(|(_, entry)| entry)
    }

    pub(super) fn get_mut(&mut self, key: &[u8]) -> Option<&mut Entry> {
        let hash = hash(&self.seed, key);
        let found = self.parts[part(hash)].find_mut(hash, |(k, _)| k.as_bytes() == key);
        found.map(|(_, entry)| entry)
    }

    /// Gives a key an entry, and returns the one it had.
    #[inline]
    pub(super) fn insert(&mut self, key: &[u8], entry: Entry) -> Option<Entry> {
        let seed = &self.seed;
        let hash = hash(seed, key);
        let rehash = |(key, _): &(MapKey, Entry)| self::hash(seed, key.as_bytes());
        match self.parts[part(hash)].entry(hash, |(k, _)| k.as_bytes() == key, rehash) {
            hash_table::Entry::Occupied(mut place) => {
                Some(std::mem::replace(&mut place.get_mut().1, entry))
            }
            hash_table::Entry::Vacant(place) => {
                let key = MapKey::new(key);
                self.order.insert(key.clone());
                place.insert((key, entry));
                None
            }
        }
    }

    /// Takes a key out, and returns the entry it had.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let hash = hash(&self.seed, key);
        let place = self.parts[part(hash)].find_entry(hash, |(k, _)| k.as_bytes() == key).ok()?;
        let ((key, entry), _) = place.remove();
        self.order.remove(&key);
        Some(entry)
    }

    /// The keys behind `after`, or all, in byte order.
    pub(super) fn walk(&self, after: Option<&[u8]>) -> impl Iterator<Item = (&MapKey, &Entry)> {
        let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(MapKey::new(key)));
        self.order.range((from, Bound::Unbounded)).map(|key| {
            let entry = self.get(key.as_bytes()).expect("a key in the order is in the table");
            (key, entry)
        })
    }
}

#[inline]
fn hash(seed: &FixedState, key: &[u8]) -> u64 {
    let mut hasher = seed.build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// Which part a hash belongs to, by bits that a part's table looks at last: it takes its place from
/// the lowest and its tag from the highest.
#[inline]
fn part(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}
