//! A leaf as bytes that are searched and changed in place.
//!
//! The image is laid out as on disk: head, slots, a gap, and a heap that grows down from the end,
//! where the fences stand. What a search needs of the head is kept beside the bytes; the head
//! itself is written when the leaf goes to disk.

mod change;
mod copy;
mod fill;
#[cfg(test)]
mod tests;

use std::{cmp::Ordering, ops::Range};

pub use fill::Filling;

use super::{
    ENTRY_HEAD, Entry, Fence, Held, PAGE_HEAD, PageHeader, PageType, Slot, UNIT,
    fence::prefix_between,
};
pub use copy::Plain;

use crate::{KeyspaceId, Lsn};

/// The sorted versions of keys between two fences.
///
/// What a search needs stands first, so that it shares a cache line with the latch before it.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Leaf {
    /// The image. Its head is not kept up to date.
    bytes: Vec<u8>,
    count: u32,
    /// Bytes of the heap, fences and dead entries included.
    heap: u32,
    prefix: u16,
    lower: u16,
    upper: u16,
    no_upper: bool,
    /// Heads of the fences: all others lie between them.
    lowest: u32,
    highest: u32,
    lower_version: Lsn,
    upper_version: Lsn,
    lsn: Lsn,
    /// Bytes of the heap that no slot refers to.
    dead: u32,
    /// How many inserts in a row went to the end.
    appended: u32,
    keyspace: KeyspaceId,
}

impl Leaf {
    /// An empty leaf between two fences, in `size` bytes or as many as the fences need.
    pub fn new(
        keyspace: KeyspaceId,
        lower: Fence<'_>,
        upper: Option<Fence<'_>>,
        size: usize,
    ) -> Leaf {
        Leaf::within(Vec::new(), keyspace, lower, upper, size)
    }

    /// As [`Leaf::new`], in the memory of `bytes`, whatever they say.
    fn within(
        mut bytes: Vec<u8>,
        keyspace: KeyspaceId,
        lower: Fence<'_>,
        upper: Option<Fence<'_>>,
        size: usize,
    ) -> Leaf {
        let fence_len = |fence: Fence<'_>| u16::try_from(fence.key.len()).expect("a key's length");
        let fences = lower.key.len() + upper.map_or(0, |upper| upper.key.len());
        let size = size.max(PAGE_HEAD + fences);
        match bytes.capacity() == size {
            true => bytes.resize(size, 0),
            // A leaf takes exactly what it says, and memory comes as zeros for less.
            false => bytes = vec![0; size],
        }
        let end = bytes.len();
        let middle = end - upper.map_or(0, |upper| upper.key.len());
        bytes[end - fences..middle].copy_from_slice(lower.key);
        bytes[middle..].copy_from_slice(upper.map_or(&[], |upper| upper.key));
        let (lowest, highest) = heads_of(lower, upper);
        Leaf {
            lowest,
            highest,
            bytes,
            count: 0,
            heap: fences as u32,
            dead: 0,
            appended: 0,
            prefix: prefix_between(lower, upper) as u16,
            lower: fence_len(lower),
            upper: upper.map_or(0, fence_len),
            no_upper: upper.is_none(),
            keyspace,
            lower_version: lower.version,
            upper_version: upper.map_or(Lsn(0), |upper| upper.version),
            lsn: Lsn(0),
        }
    }

    /// The leaf in an image that [`super::open`] has vouched for; `None` if it makes no sense.
    ///
    /// Everything that later reads would trust is looked at once: bounds, entries and their order.
    pub fn read(bytes: Vec<u8>) -> Option<Leaf> {
        let header = PageHeader::read(&bytes)?;
        if header.kind != PageType::Leaf || header.len as usize != bytes.len() {
            return None;
        }
        let mut leaf = Leaf {
            lowest: 0,
            highest: u32::MAX,
            bytes,
            count: header.count,
            heap: header.heap,
            dead: header.dead,
            appended: 0,
            prefix: header.prefix,
            lower: header.lower,
            upper: header.upper,
            no_upper: header.no_upper,
            keyspace: header.keyspace,
            lower_version: header.lower_version,
            upper_version: header.upper_version,
            lsn: header.lsn,
        };
        if !leaf.is_sane() {
            return None;
        }
        (leaf.lowest, leaf.highest) = heads_of(leaf.lower_fence(), leaf.upper_fence());
        Some(leaf)
    }

    fn is_sane(&self) -> bool {
        let (lower, upper) = (self.lower_fence(), self.upper_fence());
        if usize::from(self.prefix) != prefix_between(lower, upper)
            || upper.is_some_and(|upper| upper <= lower)
        {
            return false;
        }
        let mut key = self.prefix().to_vec();
        let mut before: Option<(Vec<u8>, Lsn)> = None;
        for slot in self.slots().iter().map(|slot| Slot::decode(*slot)) {
            let back = slot.back as usize;
            if back > self.heap as usize || back > self.bytes.len() - PAGE_HEAD {
                return false;
            }
            let Some(entry) = Entry::read(&self.bytes[self.bytes.len() - back..]) else {
                return false;
            };
            key.truncate(self.prefix.into());
            key.extend_from_slice(entry.suffix);
            let here = Fence { key: &key, version: entry.version };
            let in_order = match &before {
                Some((key, version)) => Fence { key, version: *version } < here,
                None => lower <= here,
            };
            // What is in memory only was never written.
            if !in_order
                || matches!(entry.held, Held::Memory(_))
                || upper.is_some_and(|upper| here >= upper)
                || Slot::head_of(entry.suffix) != slot.head
            {
                return false;
            }
            before = Some((key.clone(), entry.version));
        }
        true
    }

    /// Has the processor fetch what every search looks at first. Whoever is to search several
    /// leaves touches all of them before: these reads do not wait for each other, as those of a
    /// search do.
    #[inline]
    pub(crate) fn touch(&self) -> u8 {
        let slots = self.count() * Slot::SIZE;
        let at = |part| self.bytes.get(PAGE_HEAD + slots * part / 8).copied().unwrap_or(0);
        at(4) ^ at(2) ^ at(6)
    }

    /// Has the processor fetch the entries that a search for `key` compares first, those before
    /// having been fetched with [`Leaf::touch`].
    #[inline]
    pub(crate) fn touch_entries(&self, key: &[u8]) -> u8 {
        let head = Slot::head_of(&key[self.prefix.into()..]);
        let slots = self.slots();
        let from = heads_below(slots, head, self.guess(head));
        let same = slots[from..].iter().take(32);
        let same = same.take_while(|slot| Slot::decode(**slot).head == head).count();
        let byte = |at: usize| match slots.get(from + at) {
            Some(slot) => self.bytes[self.bytes.len() - Slot::decode(*slot).back as usize],
            None => 0,
        };
        byte(same / 2) ^ byte(same / 4) ^ byte(same / 2 + same / 4)
    }

    /// How many versions it holds.
    #[inline]
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The newest version that was ever written to it.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// The keyspace it belongs to.
    pub fn keyspace(&self) -> KeyspaceId {
        self.keyspace
    }

    /// Bytes of its image, the gap included.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that its head, slots and heap take, dead ones not counted.
    pub fn used(&self) -> usize {
        PAGE_HEAD + self.count() * Slot::SIZE + self.heap as usize - self.dead as usize
    }

    /// Where it begins.
    pub fn lower_fence(&self) -> Fence<'_> {
        let end = self.bytes.len() - usize::from(self.upper);
        Fence { key: &self.bytes[end - usize::from(self.lower)..end], version: self.lower_version }
    }

    /// Where the next one begins; `None` if there is none.
    pub fn upper_fence(&self) -> Option<Fence<'_>> {
        let key = &self.bytes[self.bytes.len() - usize::from(self.upper)..];
        (!self.no_upper).then_some(Fence { key, version: self.upper_version })
    }

    /// What all keys in it begin with.
    #[inline]
    pub fn prefix(&self) -> &[u8] {
        &self.lower_fence().key[..self.prefix.into()]
    }

    /// The length of what all keys in it begin with.
    #[inline]
    pub fn prefix_len(&self) -> usize {
        self.prefix.into()
    }

    #[inline]
    fn slots(&self) -> &[[u8; Slot::SIZE]] {
        self.bytes[PAGE_HEAD..][..self.count() * Slot::SIZE].as_chunks().0
    }

    #[inline]
    fn slot(&self, at: usize) -> Slot {
        Slot::decode(self.slots()[at])
    }

    /// The key behind the prefix, and the version, of the entry `back` bytes before the end.
    #[inline]
    fn place(&self, back: u32) -> Fence<'_> {
        let entry = &self.bytes[self.bytes.len() - back as usize..];
        let (head, rest) = entry.split_first_chunk::<ENTRY_HEAD>().expect("a whole entry");
        let len = usize::from(u16::from_le_bytes([head[9], head[10]]));
        let skip = if Entry::has_deadline(head[0]) { 8 } else { 0 };
        let version = u64::from_le_bytes(head[1..9].try_into().expect("eight bytes"));
        Fence { key: &rest[skip..skip + len], version: Lsn(version) }
    }

    /// The entry at `at`, counted in the order of the leaf.
    #[inline]
    pub fn entry(&self, at: usize) -> Entry<'_> {
        let back = self.slot(at).back as usize;
        Entry::read(&self.bytes[self.bytes.len() - back..]).expect("entries are whole")
    }

    /// The entries in `range`, in order.
    pub fn entries(&self, range: Range<usize>) -> impl DoubleEndedIterator<Item = Entry<'_>> {
        range.map(|at| self.entry(at))
    }

    /// Where the first entry at or behind `key` as of `version` is, and whether it is of that key.
    ///
    /// `key` lies between the fences.
    #[inline]
    pub fn seek(&self, key: &[u8], version: Lsn) -> (usize, bool) {
        debug_assert!(key.starts_with(self.prefix()), "{key:?} is not of this leaf");
        let target = Fence { key: &key[self.prefix.into()..], version };
        let head = Slot::head_of(target.key);
        let slots = self.slots();
        let mut at = heads_below(slots, head, self.guess(head));
        // Heads are equal for a few entries most often, and for all in the worst case.
        let mut end = at;
        while end < slots.len() && Slot::decode(slots[end]).head == head {
            end += 1;
            if end - at == 8 {
                end += heads_up_to(&slots[end..], head);
                break;
            }
        }
        let mut is_key = false;
        while at < end {
            let middle = at + (end - at) / 2;
            let place = self.place(Slot::decode(slots[middle]).back);
            match behind_head(place.key, target.key) {
                Ordering::Less => at = middle + 1,
                Ordering::Greater => end = middle,
                // A newer version comes before the place that is looked for.
                Ordering::Equal if place.version > version => at = middle + 1,
                Ordering::Equal => (end, is_key) = (middle, true),
            }
        }
        (at, is_key)
    }

    /// Where an entry with `head` would be if the heads lay evenly between the fences.
    #[inline]
    fn guess(&self, head: u32) -> usize {
        let before = u64::from(head.saturating_sub(self.lowest));
        let span = u64::from(self.highest.saturating_sub(self.lowest)) + 1;
        (before * u64::from(self.count) / span) as usize
    }

    /// Whether the entry at `at` is of the same key as the one before it.
    #[inline]
    pub fn is_same_key(&self, at: usize) -> bool {
        let (before, here) = (self.slot(at - 1), self.slot(at));
        before.head == here.head && self.place(before.back).key == self.place(here.back).key
    }

    /// Whether the entry at `at`, if there is one, is of `key`.
    pub fn is_of(&self, at: usize, key: &[u8]) -> bool {
        at < self.count() && self.place(self.slot(at).back).key == &key[self.prefix.into()..]
    }

    /// The version of the entry at `at`.
    #[inline]
    pub fn version(&self, at: usize) -> Lsn {
        self.place(self.slot(at).back).version
    }

    /// The key behind the prefix of the entry at `at`.
    #[inline]
    pub fn suffix(&self, at: usize) -> &[u8] {
        self.place(self.slot(at).back).key
    }

    /// How many units its image for disk takes.
    pub fn units(&self) -> usize {
        (PAGE_HEAD + self.count() * Slot::SIZE + self.heap as usize).div_ceil(UNIT)
    }

    /// The image for disk in whole units, with a head; its address and checksum are left to
    /// [`super::seal`].
    pub fn encode(&self) -> Vec<u8> {
        let mut image = vec![0; self.units() * UNIT];
        self.encode_to(&mut image);
        image
    }

    /// Writes what [`Leaf::encode`] returns to `image`: zeros, as many units as it takes.
    pub fn encode_to(&self, image: &mut [u8]) {
        let slots = PAGE_HEAD + self.count() * Slot::SIZE;
        let heap = self.heap as usize;
        let end = image.len();
        image[PAGE_HEAD..slots].copy_from_slice(&self.bytes[PAGE_HEAD..slots]);
        image[end - heap..].copy_from_slice(&self.bytes[self.bytes.len() - heap..]);
        let header = PageHeader {
            kind: PageType::Leaf,
            level: 0,
            no_upper: self.no_upper,
            unit: 0,
            generation: 0,
            lsn: self.lsn,
            keyspace: self.keyspace,
            len: end as u32,
            count: self.count,
            heap: self.heap,
            prefix: self.prefix,
            lower: self.lower,
            upper: self.upper,
            lower_version: self.lower_version,
            upper_version: self.upper_version,
            dead: self.dead,
        };
        header.write(image);
    }
}

/// How two suffixes compare, the heads of which are the same.
#[inline]
fn behind_head(a: &[u8], b: &[u8]) -> Ordering {
    let (same_a, same_b) = (a.len().min(size_of::<u32>()), b.len().min(size_of::<u32>()));
    match (&a[same_a..], &b[same_b..]) {
        // No call: most suffixes of short keys are all head.
        ([], []) => same_a.cmp(&same_b),
        (a, b) => a.cmp(b),
    }
}

/// The heads behind the common prefix of two fences.
fn heads_of(lower: Fence<'_>, upper: Option<Fence<'_>>) -> (u32, u32) {
    let prefix = prefix_between(lower, upper);
    let highest = upper.map_or(u32::MAX, |upper| Slot::head_of(&upper.key[prefix..]));
    (Slot::head_of(&lower.key[prefix..]), highest)
}

/// How many of the sorted `slots` have a head below `head`. The search begins at `guess` and goes
/// from there in steps that double: slots of most leaves are not in the processor's caches, and a
/// good guess touches one or two lines of them where halving touches four.
#[inline]
fn heads_below(slots: &[[u8; Slot::SIZE]], head: u32, guess: usize) -> usize {
    let is_below = |at: usize| Slot::decode(slots[at]).head < head;
    let Some(last) = slots.len().checked_sub(1) else { return 0 };
    let at = guess.min(last);
    let (mut low, mut high, mut step) = (0, slots.len(), 4);
    if is_below(at) {
        low = at + 1;
        while low + step <= slots.len() {
            if !is_below(low + step - 1) {
                high = low + step - 1;
                break;
            }
            low += step;
            step *= 2;
        }
    } else {
        high = at;
        while high >= step {
            if is_below(high - step) {
                low = high - step + 1;
                break;
            }
            high -= step;
            step *= 2;
        }
    }
    while low < high {
        let middle = low + (high - low) / 2;
        match is_below(middle) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}

/// How many of the sorted `slots` have a head of at most `head`.
fn heads_up_to(slots: &[[u8; Slot::SIZE]], head: u32) -> usize {
    slots.partition_point(|slot| Slot::decode(*slot).head <= head)
}
