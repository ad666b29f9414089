//! How a leaf changes: entries come and go, it grows, is pruned, split and merged.

use std::ops::Range;

use super::Leaf;
use crate::{
    Lsn,
    page::{
        Entry, Fence, NEWEST, PAGE_HEAD, Slot, VALUE_POINTER, ValuePointer, fence::prefix_between,
    },
};

impl Leaf {
    /// Whether entries of so many bytes in so many slots fit into the gap.
    #[inline]
    pub fn fits(&self, entries: usize, bytes: usize) -> bool {
        let slots = (self.count() + entries) * Slot::SIZE;
        PAGE_HEAD + slots + self.heap as usize + bytes <= self.bytes.len()
    }

    /// Puts `entry`, whose suffix lacks the common prefix, before the one at `at`.
    ///
    /// # Panics
    /// When it does not fit.
    #[inline]
    pub fn insert(&mut self, at: usize, entry: &Entry<'_>) {
        let size = entry.size();
        assert!(self.fits(1, size), "an entry of {size} bytes does not fit");
        self.heap += size as u32;
        let start = self.bytes.len() - self.heap as usize;
        entry.write(&mut self.bytes[start..start + size]);
        let slot = Slot { head: Slot::head_of(entry.suffix), back: self.heap };
        let (from, to) = (PAGE_HEAD + at * Slot::SIZE, PAGE_HEAD + self.count() * Slot::SIZE);
        self.bytes.copy_within(from..to, from + Slot::SIZE);
        self.bytes[from..from + Slot::SIZE].copy_from_slice(&slot.encode());
        self.appended = if at == self.count() { self.appended + 1 } else { 0 };
        self.count += 1;
        self.lsn = self.lsn.max(entry.version);
    }

    /// Takes the entry at `at` away. Its bytes are dead until the leaf is rebuilt.
    pub fn remove(&mut self, at: usize) {
        self.dead += self.entry(at).size() as u32;
        let (from, to) = (PAGE_HEAD + at * Slot::SIZE, PAGE_HEAD + self.count() * Slot::SIZE);
        self.bytes.copy_within(from + Slot::SIZE..to, from);
        self.count -= 1;
    }

    /// Has the entry at `at`, which holds a pointer, point elsewhere.
    pub fn repoint(&mut self, at: usize, to: ValuePointer) {
        let start = self.bytes.len() - self.slot(at).back as usize;
        let end = start + Entry::size_of(&self.bytes[start..]);
        self.bytes[end - VALUE_POINTER..end].copy_from_slice(&to.encode());
    }

    /// Opens the gap until the image has `size` bytes. No slot changes: they count from the end.
    pub fn grow(&mut self, size: usize) {
        let old = self.bytes.len();
        if size <= old {
            return;
        }
        let heap = self.heap as usize;
        // Exactly: what a leaf takes counts in a budget.
        self.bytes.reserve_exact(size - old);
        self.bytes.resize(size, 0);
        self.bytes.copy_within(old - heap..old, size - heap);
    }

    /// Grows until one more entry of `size` bytes fits.
    fn open_gap(&mut self, size: usize) {
        if !self.fits(1, size) {
            let used = PAGE_HEAD + (self.count() + 1) * Slot::SIZE + self.heap as usize;
            self.grow(used + size);
        }
    }

    /// Whether it has been filled in order, so that a split should leave it full.
    pub fn is_appended_to(&self) -> bool {
        self.appended * 2 >= self.count
    }

    /// A leaf of `size` bytes at least, between other fences, with what `change` makes of the
    /// entries in `range`; it may drop some and say otherwise what they hold.
    ///
    /// All of them lie between the new fences. The newest version of the leaf stays what it was.
    pub fn rebuilt<'a>(
        &'a self,
        lower: Fence<'_>,
        upper: Option<Fence<'_>>,
        range: Range<usize>,
        size: usize,
        mut change: impl FnMut(usize, Entry<'a>) -> Option<Entry<'a>>,
    ) -> Leaf {
        let mut new = Leaf::new(self.keyspace, lower, upper, size);
        new.take_from(self, range, &mut change);
        new.appended = 0;
        new
    }

    /// Appends what `change` makes of entries of `from`, which lie behind all of this leaf's.
    fn take_from<'a>(
        &mut self,
        from: &'a Leaf,
        range: Range<usize>,
        change: &mut impl FnMut(usize, Entry<'a>) -> Option<Entry<'a>>,
    ) {
        let (old, new) = (from.prefix_len(), self.prefix_len());
        let mut key = from.prefix()[new.min(old)..].to_vec();
        let missing = key.len();
        for at in range {
            let Some(entry) = change(at, from.entry(at)) else { continue };
            let suffix = if new >= old {
                &entry.suffix[new - old..]
            } else {
                key.truncate(missing);
                key.extend_from_slice(entry.suffix);
                &key
            };
            let entry = Entry { suffix, ..entry };
            self.open_gap(entry.size());
            self.insert(self.count(), &entry);
        }
        self.lsn = self.lsn.max(from.lsn);
    }

    /// Drops the versions that nobody can ask for: those of which a newer one is at or below
    /// `floor`, but for the `last` newest of each key, and a tombstone at or below `floor` with
    /// nothing below it. Rebuilds the leaf in `size` bytes or as many as it needs, if anything is
    /// to be had by it. `dropped` is told of every entry that goes; whether anything changed is
    /// returned. It is rebuilt in the memory of `spare`, which gets that of the old one.
    ///
    /// What is kept of a key is always a newest part of its versions in this leaf without a gap.
    pub fn prune(
        &mut self,
        floor: Lsn,
        last: u32,
        size: usize,
        spare: &mut Vec<u8>,
        dropped: &mut dyn FnMut(&Entry<'_>),
    ) -> bool {
        let keeps = self.keeps(floor, last);
        let goes = keeps.iter().filter(|keep| !**keep).count();
        if goes == 0 && self.dead == 0 {
            return false;
        }
        let appended = if goes == 0 { self.appended } else { 0 };
        let (lower, upper) = (self.lower_fence(), self.upper_fence());
        let size = size.max(self.used());
        let mut new = Leaf::within(std::mem::take(spare), self.keyspace, lower, upper, size);
        for (at, keep) in keeps.into_iter().enumerate() {
            match keep {
                true => new.append_from(self, at),
                false => dropped(&self.entry(at)),
            }
        }
        (new.lsn, new.appended) = (self.lsn, appended);
        *spare = std::mem::replace(self, new).bytes;
        true
    }

    /// Appends the entry of a leaf with the same prefix as it stands.
    fn append_from(&mut self, from: &Leaf, at: usize) {
        let slot = from.slot(at);
        let start = from.bytes.len() - slot.back as usize;
        let size = Entry::size_of(&from.bytes[start..]);
        self.open_gap(size);
        self.heap += size as u32;
        let to = self.bytes.len() - self.heap as usize;
        self.bytes[to..to + size].copy_from_slice(&from.bytes[start..start + size]);
        let slot = Slot { back: self.heap, ..slot };
        let place = PAGE_HEAD + self.count() * Slot::SIZE;
        self.bytes[place..place + Slot::SIZE].copy_from_slice(&slot.encode());
        self.count += 1;
    }

    /// Which entries [`Leaf::prune`] keeps.
    fn keeps(&self, floor: Lsn, last: u32) -> Vec<bool> {
        let mut keeps = vec![true; self.count()];
        let mut start = 0;
        while start < self.count() {
            let mut end = start + 1;
            while end < self.count() && self.is_same_key(end) {
                end += 1;
            }
            self.keeps_of(start..end, floor, last, &mut keeps);
            start = end;
        }
        keeps
    }

    /// As [`Leaf::keeps`], for the versions of one key.
    fn keeps_of(&self, chain: Range<usize>, floor: Lsn, last: u32, keeps: &mut [bool]) {
        let (start, end) = (chain.start, chain.end);
        // Of most keys there is one version, and it is none that could go.
        if end - start == 1 && !self.is_tombstone(start) {
            return;
        }
        // The newest at or below the floor is what the floor sees; it stays, what is older goes.
        let seen = chain.clone().find(|at| self.version(*at) <= floor);
        let mut kept = match seen {
            Some(seen) => (seen + 1).max(start.saturating_add(last as usize)).min(end),
            None => end,
        };
        let oldest = kept - 1;
        let goes_on = end == self.count() && self.goes_on(end - 1);
        if self.version(oldest) <= floor && self.is_tombstone(oldest) && !goes_on {
            kept = oldest;
        }
        keeps[kept..end].fill(false);
    }

    /// Whether the entry at `at` says that its key was deleted.
    #[inline]
    pub fn is_tombstone(&self, at: usize) -> bool {
        let back = self.slot(at).back as usize;
        Entry::is_tombstone(self.bytes[self.bytes.len() - back])
    }

    /// Whether the versions of the key at `at`, the last here, go on in the next leaf.
    fn goes_on(&self, at: usize) -> bool {
        let prefix = self.prefix_len();
        let next = self.upper_fence().filter(|upper| upper.version != NEWEST);
        next.is_some_and(|upper| &upper.key[prefix..] == self.suffix(at))
    }

    /// The version from which on the next leaf has the versions of `key`, if they are cut there.
    pub fn goes_on_with(&self, key: &[u8]) -> Option<Lsn> {
        let next = self.upper_fence().filter(|upper| upper.version != NEWEST && upper.key == key);
        next.map(|upper| upper.version)
    }

    /// Whether `key` as of `version` lies between the fences, if the key does.
    #[inline]
    pub fn holds(&self, key: &[u8], version: Lsn) -> bool {
        if self.lower_version == NEWEST && (self.upper_version == NEWEST || self.no_upper) {
            return true;
        }
        let here = Fence { key, version };
        self.lower_fence() <= here && self.upper_fence().is_none_or(|upper| here < upper)
    }

    /// Whether the versions of `key` are cut where this leaf begins.
    pub fn came_with(&self, key: &[u8]) -> bool {
        let lower = self.lower_fence();
        lower.version != NEWEST && lower.key == key
    }

    /// Where to split it so that both parts take about the same: between two keys if there are
    /// two. It holds two entries at least.
    pub fn split_point(&self) -> usize {
        let sizes = |at: usize| Slot::SIZE + self.entry(at).size();
        let total: usize = (0..self.count()).map(sizes).sum();
        let (mut middle, mut sum) = (0, 0);
        while sum * 2 < total {
            sum += sizes(middle);
            middle += 1;
        }
        let middle = middle.clamp(1, self.count() - 1);
        let is_border = |at: usize| at > 0 && at < self.count() && !self.is_same_key(at);
        (0..self.count())
            .flat_map(|away| [middle.wrapping_sub(away), middle + away])
            .find(|at| is_border(*at))
            .unwrap_or(middle)
    }

    /// Cuts it at `fence`: keeps what is before `at` and returns the rest. Each part has `size`
    /// bytes or as many as it needs. What is kept is rebuilt in the memory of `spare`, which gets
    /// that of the old one.
    pub fn split(&mut self, at: usize, fence: Fence<'_>, size: usize, spare: &mut Vec<u8>) -> Leaf {
        let (lower, upper) = (self.lower_fence(), self.upper_fence());
        let right = self.part(Vec::new(), (fence, upper), at..self.count(), size);
        let mut left = self.part(std::mem::take(spare), (lower, Some(fence)), 0..at, size);
        left.appended = self.appended.min(at as u32);
        *spare = std::mem::replace(self, left).bytes;
        right
    }

    /// A leaf between other fences with the entries in `range`, in the memory of `bytes`.
    fn part(
        &self,
        bytes: Vec<u8>,
        (lower, upper): (Fence<'_>, Option<Fence<'_>>),
        range: Range<usize>,
        size: usize,
    ) -> Leaf {
        let mut new = Leaf::within(bytes, self.keyspace, lower, upper, size);
        if new.prefix == self.prefix {
            range.for_each(|at| new.append_from(self, at));
        } else {
            new.take_from(self, range, &mut |_, entry| Some(entry));
        }
        (new.lsn, new.appended) = (self.lsn, 0);
        new
    }

    /// The entries of neighbours in one leaf, which has as many bytes as it needs. Entries are what
    /// `change` makes of them; it is told of which leaf each is.
    pub fn joined<'a>(
        leaves: &[&'a Leaf],
        mut change: impl FnMut(usize, Entry<'a>) -> Entry<'a>,
    ) -> Leaf {
        let (first, last) = (leaves[0], leaves[leaves.len() - 1]);
        let size = leaves.iter().map(|leaf| leaf.size()).sum();
        let mut new = Leaf::new(first.keyspace, first.lower_fence(), last.upper_fence(), size);
        for (number, leaf) in leaves.iter().enumerate() {
            let mut change = |_, entry| Some(change(number, entry));
            new.take_from(leaf, 0..leaf.count(), &mut change);
        }
        new.appended = 0;
        new
    }

    /// Where parts begin that fill pages of `size` bytes as well as they can, the first but for
    /// which there is one: an entry that is larger has a part to itself.
    pub fn cuts(&self, size: usize) -> Vec<usize> {
        let key_len = |at: usize| self.prefix_len() + self.suffix(at).len();
        let upper = usize::from(self.upper);
        let mut cuts = Vec::new();
        let mut used = PAGE_HEAD + usize::from(self.lower);
        for at in 0..self.count() {
            let need = Slot::SIZE + self.entry(at).size();
            let fence = if at + 1 < self.count() { key_len(at + 1) } else { upper };
            let is_first = cuts.last().copied().unwrap_or(0) == at;
            if !is_first && used + need + fence > size {
                cuts.push(at);
                used = PAGE_HEAD + key_len(at);
            }
            used += need;
        }
        cuts
    }

    /// This leaf and its right neighbour in one, of `size` bytes or as many as it needs. Entries of
    /// the right one are what `change` makes of them.
    pub fn merged<'a>(
        &'a self,
        right: &'a Leaf,
        size: usize,
        change: impl Fn(Entry<'a>) -> Entry<'a>,
    ) -> Leaf {
        let (lower, upper) = (self.lower_fence(), right.upper_fence());
        debug_assert_eq!(self.upper_fence(), Some(right.lower_fence()), "not neighbours");
        debug_assert!(prefix_between(lower, upper) <= self.prefix_len().min(right.prefix_len()));
        let all = self.count();
        let mut new = self.rebuilt(lower, upper, 0..all, size, |_, entry| Some(entry));
        new.take_from(right, 0..right.count(), &mut |_, entry| Some(change(entry)));
        new
    }
}
