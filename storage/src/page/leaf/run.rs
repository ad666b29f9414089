//! Entries copied out of a leaf, to be looked at under no latch.

use std::ops::Range;

use super::Leaf;
use crate::{
    Lsn,
    page::{ENTRY_HEAD, Entry, Slot},
};

/// A run of entries of one leaf in their order, laid out as there: slots, then a heap that is
/// addressed from its end.
#[derive(Debug, Default)]
pub struct Run {
    bytes: Vec<u8>,
    count: usize,
}

/// Where an entry's parts lie in a [`Run`] that holds nothing but a key and its value.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    start: usize,
    suffix: u16,
    value: u16,
    /// What wrote it.
    pub version: Lsn,
}

impl Run {
    /// Forgets everything but the room it has.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// How many entries there are.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes the entries in `range` of `leaf` in the place of what it had.
    ///
    /// Unless that is a small part of the leaf, its heap is copied as it stands: one stream of
    /// bytes costs a third of what as many places in disorder do.
    pub fn take(&mut self, leaf: &Leaf, range: Range<usize>) {
        self.clear();
        self.count = range.len();
        let slots = &leaf.slots()[range];
        if slots.len() * 4 > leaf.count() {
            self.bytes.reserve(slots.len() * Slot::SIZE + leaf.heap as usize);
            self.bytes.extend_from_slice(slots.as_flattened());
            let heap = leaf.bytes.len() - leaf.heap as usize;
            self.bytes.extend_from_slice(&leaf.bytes[heap..]);
        } else {
            self.take_each(leaf, slots);
        }
    }

    fn take_each(&mut self, leaf: &Leaf, slots: &[[u8; Slot::SIZE]]) {
        let raw = |slot: &[u8; Slot::SIZE]| {
            let entry = &leaf.bytes[leaf.bytes.len() - Slot::decode(*slot).back as usize..];
            &entry[..Entry::size_of(entry)]
        };
        // The sizes are had first, which is also what fetches all of them at once.
        let heap: usize = slots.iter().map(|slot| raw(slot).len()).sum();
        let mut back = heap;
        self.bytes.reserve(slots.len() * Slot::SIZE + heap);
        for slot in slots {
            let head = Slot::decode(*slot).head;
            self.bytes.extend_from_slice(&Slot { head, back: back as u32 }.encode());
            back -= raw(slot).len();
        }
        slots.iter().for_each(|slot| self.bytes.extend_from_slice(raw(slot)));
    }

    #[inline]
    fn slot(&self, at: usize) -> Slot {
        debug_assert!(at < self.count);
        let slots: &[[u8; Slot::SIZE]] = self.bytes.as_chunks().0;
        Slot::decode(slots[at])
    }

    /// The entry at `at` if it is a value that stands right there, without a deadline, of a
    /// version up to `newest`, and the only one here of its key.
    #[inline]
    pub fn plain(&self, at: usize, newest: Lsn) -> Option<Plain> {
        let slots: &[[u8; Slot::SIZE]] = self.bytes.as_chunks().0;
        let Slot { head, back } = Slot::decode(*slots.get(at)?);
        let is_last = at + 1 == self.count;
        if !is_last && Slot::decode(*slots.get(at + 1)?).head == head {
            return None;
        }
        let start = self.bytes.len().checked_sub(back as usize)?;
        let entry = self.bytes.get(start..)?.first_chunk::<ENTRY_HEAD>()?;
        let version = Lsn(u64::from_le_bytes(*entry[1..].first_chunk()?));
        if !Entry::is_plain(entry[0]) || version > newest {
            return None;
        }
        let half = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        Some(Plain { start: start + ENTRY_HEAD, suffix: half(9), value: half(11), version })
    }

    /// The key behind the prefix and the value of `entry`.
    #[inline]
    pub fn parts(&self, entry: Plain) -> (&[u8], &[u8]) {
        let (suffix, rest) = self.bytes[entry.start..].split_at(entry.suffix.into());
        (suffix, &rest[..entry.value.into()])
    }

    /// The entry at `at`.
    #[inline]
    pub fn entry(&self, at: usize) -> Entry<'_> {
        let back = self.slot(at).back as usize;
        Entry::read(&self.bytes[self.bytes.len() - back..]).expect("entries are whole")
    }

    /// The version of the entry at `at`, and whether it is a tombstone.
    #[inline]
    pub fn seen(&self, at: usize) -> (Lsn, bool) {
        let back = self.slot(at).back as usize;
        let entry = &self.bytes[self.bytes.len() - back..];
        let head = entry.first_chunk::<ENTRY_HEAD>().expect("entries are whole");
        let version = u64::from_le_bytes(*head[1..].first_chunk().expect("eight bytes"));
        (Lsn(version), Entry::is_tombstone(head[0]))
    }

    /// Whether the entries at `at` and before it are of one key.
    #[inline]
    pub fn is_same_key(&self, at: usize) -> bool {
        self.slot(at - 1).head == self.slot(at).head
            && self.entry(at - 1).suffix == self.entry(at).suffix
    }
}
