//! Rows in memory: what the engine's tree says of keys that were asked for lately, found by hash.
//!
//! A look-up in a search tree waits for memory once a level, one by hash waits once. Nobody walks
//! these tables, so neither their layout nor their seed can show in an answer.
//!
//! Two generations: who is looked for is moved to the young one, and when that has grown to half of
//! the budget the old one is forgotten and the young one becomes the old. So a row stays for as
//! long as it is used between two such moments, and nothing has to be kept in the order of use.
//!
//! Invariant: a row is in one generation at most. What was changed in the turn that is going on is
//! in the young one, which is not touched before the turn's end.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::{Entry, MapKey};

/// A table that grows moves all it holds at once, and nobody is answered meanwhile. Many small ones
/// grow at different moments.
const PARTS: usize = 256;

/// Memory a row takes beside its key's bytes and its value's, roughly: a place in a table that is
/// full to two thirds.
const ROW_COST: usize = size_of::<(MapKey, Row)>() * 3 / 2;

/// What is known of one key.
#[derive(Debug)]
pub(super) struct Row {
    /// What it holds; nothing is known as well as something.
    pub(super) entry: Option<Entry>,
    /// The turn in which it was last changed.
    pub(super) turn: u64,
}

type Part = HashTable<(MapKey, Row)>;

#[derive(Debug)]
pub(super) struct Rows {
    young: Box<[Part]>,
    old: Box<[Part]>,
    /// Parts of a generation that is forgotten, to be freed one by one.
    dying: Vec<Part>,
    /// Bytes of the young generation and of the old one, roughly.
    young_bytes: usize,
    old_bytes: usize,
    /// At which the young one becomes the old.
    limit: usize,
    seed: FixedState,
}

fn parts() -> Box<[Part]> {
    (0..PARTS).map(|_| Part::new()).collect()
}

fn weight(key: &[u8], entry: Option<&Entry>) -> usize {
    ROW_COST + key.len() + entry.map_or(0, |entry| entry.value.len())
}

impl Rows {
    /// No rows, and `budget` bytes for them. Whoever does not know `seed` cannot choose keys that
    /// share a place.
    pub(super) fn new(budget: usize, seed: u64) -> Rows {
        Rows {
            young: parts(),
            old: parts(),
            dying: Vec::new(),
            young_bytes: 0,
            old_bytes: 0,
            limit: budget / 2,
            seed: FixedState::with_seed(seed),
        }
    }

    /// Bytes of memory in use, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.young_bytes + self.old_bytes
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        (self.young, self.old) = (parts(), parts());
        (self.young_bytes, self.old_bytes) = (0, 0);
    }

    /// The row of `key`, which counts as used.
    #[inline]
    pub(super) fn get(&mut self, key: &[u8]) -> Option<&mut Row> {
        let seed = &self.seed;
        let hash = hash(seed, key);
        let found = self.young[part(hash)].find_entry(hash, |(k, _)| k.as_bytes() == key);
        let young = match found {
            Ok(place) => return Some(&mut place.into_mut().1),
            Err(absent) => absent.into_table(),
        };
        let old = self.old[part(hash)].find_entry(hash, |(k, _)| k.as_bytes() == key).ok()?;
        let (row, _) = old.remove();
        let bytes = weight(key, row.1.entry.as_ref());
        self.old_bytes -= bytes;
        self.young_bytes += bytes;
        let rehash = |(key, _): &(MapKey, Row)| self::hash(seed, key.as_bytes());
        Some(&mut young.insert_unique(hash, row, rehash).into_mut().1)
    }

    /// The row of `key`, which was used in this turn.
    #[inline]
    pub(super) fn peek(&self, key: &[u8]) -> Option<&Row> {
        let hash = hash(&self.seed, key);
        let found = self.young[part(hash)].find(hash, |(k, _)| k.as_bytes() == key);
        found.map(|(_, row)| row)
    }

    /// Adds the row of a key that has none.
    pub(super) fn insert(&mut self, key: &[u8], row: Row) -> &mut Row {
        let seed = &self.seed;
        let hash = hash(seed, key);
        let rehash = |(key, _): &(MapKey, Row)| self::hash(seed, key.as_bytes());
        self.young_bytes += weight(key, row.entry.as_ref());
        let young = &mut self.young[part(hash)];
        &mut young.insert_unique(hash, (MapKey::new(key), row), rehash).into_mut().1
    }

    /// What a row that was used in this turn holds is `more` bytes longer, or shorter.
    #[inline]
    pub(super) fn grown(&mut self, before: usize, after: usize) {
        self.young_bytes = self.young_bytes + after - before;
    }

    /// The turn is over.
    pub(super) fn end_turn(&mut self) {
        // All at once would take milliseconds. As fast as the young one fills, so that two at most
        // are in memory besides the one that dies.
        let room = self.limit.saturating_sub(self.young_bytes);
        let due = (PARTS as u128 * room as u128 / self.limit.max(1) as u128) as usize;
        self.dying.truncate(due.min(self.dying.len().saturating_sub(1)));
        if self.young_bytes > self.limit {
            let young = std::mem::replace(&mut self.young, parts());
            let old = std::mem::replace(&mut self.old, young);
            self.dying.extend(old.into_iter().filter(|part| !part.is_empty()));
            self.old_bytes = std::mem::take(&mut self.young_bytes);
        }
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

#[cfg(test)]
mod tests {
    use orloj_net::Blob;

    use super::*;

    #[test]
    fn what_is_forgotten_is_freed_as_fast_as_more_comes() {
        const BUDGET: usize = 1 << 20;
        let mut rows = Rows::new(BUDGET, 7);
        for key in 0..100_000_u32 {
            let entry = Some(Entry { value: Blob::new(&[0; 100]), deadline: None });
            rows.insert(&key.to_be_bytes(), Row { entry, turn: 0 });
            // Turns as large as a generation among them.
            if key % 1_000 == 0 || key % 5_000 < 10 {
                rows.end_turn();
            }
            assert!(rows.dying.len() <= PARTS);
        }
        let dying: usize = rows.dying.iter().map(Part::len).sum();
        assert!(dying * weight(&[0; 4], None) <= BUDGET, "{dying} rows");
    }
}
