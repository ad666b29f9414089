//! Filling leaves in the order of keys, straight into the bytes that go to disk.

use crate::{
    KeyspaceId, Lsn,
    page::{
        ENTRY_HEAD, Entry, Fence, Held, NEWEST, PAGE_HEAD, PageHeader, PageType, Slot, UNIT,
        fence::{common, prefix_between},
    },
};

/// Entries that come in ascending order, on their way into leaves.
#[derive(Debug)]
pub struct Filling {
    keyspace: KeyspaceId,
    version: Lsn,
    /// Bytes that the image of a leaf should have at most.
    most: usize,
    /// Where the leaf begins.
    lower: Vec<u8>,
    /// Keys and values in a row.
    bytes: Vec<u8>,
    entries: Vec<Gathered>,
    /// The last key, also when its leaf is finished.
    last: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Gathered {
    key: u16,
    value: u16,
}

impl Filling {
    /// Leaves of `keyspace` with images of `most` bytes, or as many as one entry takes. All that is
    /// in them is of `version`.
    pub fn new(keyspace: KeyspaceId, version: Lsn, most: usize) -> Filling {
        let (lower, bytes, entries, last) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Filling { keyspace, version, most, lower, bytes, entries, last }
    }

    /// Whether `key` comes behind all that was there before it.
    #[inline]
    pub fn is_behind(&self, key: &[u8]) -> bool {
        self.last_key() < key
    }

    /// Whether an entry of these lengths has room in the leaf. Into an empty one goes any.
    #[inline]
    pub fn fits(&self, key: usize, value: usize) -> bool {
        let each = Slot::SIZE + ENTRY_HEAD;
        // As if the next leaf began with this whole key, and nothing were common to all.
        let size = PAGE_HEAD + self.lower.len() + self.bytes.len() + self.entries.len() * each;
        let saved = self.entries.len() * self.common();
        self.entries.is_empty() || size - saved + each + key + value + key <= self.most
    }

    /// Adds an entry behind all others.
    #[inline]
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        debug_assert!(self.is_behind(key), "{key:?} is out of order");
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        let len = |bytes: &[u8]| u16::try_from(bytes.len()).expect("whoever adds it has checked");
        self.entries.push(Gathered { key: len(key), value: len(value) });
    }

    /// Whether there is no entry in the leaf.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where the leaf begins.
    pub fn lower(&self) -> &[u8] {
        &self.lower
    }

    /// Where the leaf has to end if `next` is the first key behind it.
    pub fn border<'a>(&self, next: &'a [u8]) -> &'a [u8] {
        Fence::before(next).shortest_after(Fence::before(self.last_key())).key
    }

    fn last_key(&self) -> &[u8] {
        match self.entries.last() {
            Some(last) => {
                let end = self.bytes.len() - usize::from(last.value);
                &self.bytes[end - usize::from(last.key)..end]
            }
            None => &self.last,
        }
    }

    /// Most bytes that all keys of the leaf can turn out to have in common.
    fn common(&self) -> usize {
        if self.lower.is_empty() { 0 } else { common(&self.lower, self.last_key()) }
    }

    fn prefix(&self, upper: Option<&[u8]>) -> usize {
        prefix_between(Fence::before(&self.lower), upper.map(Fence::before))
    }

    /// Bytes of the heap of its image.
    fn heap(&self, upper: Option<&[u8]>) -> usize {
        let fences = self.lower.len() + upper.map_or(0, <[u8]>::len);
        let each = ENTRY_HEAD - self.prefix(upper).min(ENTRY_HEAD);
        let less = self.prefix(upper).saturating_sub(ENTRY_HEAD);
        fences + self.bytes.len() + self.entries.len() * each - self.entries.len() * less
    }

    /// Units that its image takes if it ends at `upper`.
    pub fn units(&self, upper: Option<&[u8]>) -> usize {
        let slots = PAGE_HEAD + self.entries.len() * Slot::SIZE;
        (slots + self.heap(upper)).div_ceil(UNIT)
    }

    /// Writes the leaf, which ends at `upper`, to `image`, whose address and checksum are left to
    /// [`crate::page::seal`]: zeros, as many units as [`Filling::units`] says. The next leaf begins
    /// at `upper`.
    pub fn finish(&mut self, upper: Option<&[u8]>, image: &mut [u8]) {
        let (prefix, heap) = (self.prefix(upper), self.heap(upper));
        let (end, upper_len) = (image.len(), upper.map_or(0, <[u8]>::len));
        let mut back = self.lower.len() + upper_len;
        image[end - back..end - upper_len].copy_from_slice(&self.lower);
        image[end - upper_len..].copy_from_slice(upper.unwrap_or_default());
        let (slots, heap_bytes) = image.split_at_mut(PAGE_HEAD + self.entries.len() * Slot::SIZE);
        let (slots, _) = slots[PAGE_HEAD..].as_chunks_mut::<{ Slot::SIZE }>();
        let mut rest = &self.bytes[..];
        for (of, slot) in self.entries.iter().zip(slots) {
            let (key, behind) = rest.split_at(of.key.into());
            let (value, behind) = behind.split_at(of.value.into());
            rest = behind;
            let suffix = &key[prefix..];
            let held = Held::Value(value);
            let entry = Entry { suffix, version: self.version, deadline: None, held };
            back += entry.size();
            let start = heap_bytes.len() - back;
            entry.write(&mut heap_bytes[start..start + entry.size()]);
            *slot = Slot { head: Slot::head_of(suffix), back: back as u32 }.encode();
        }
        debug_assert_eq!(back, heap, "what was counted before");
        let header = PageHeader {
            kind: PageType::Leaf,
            level: 0,
            no_upper: upper.is_none(),
            unit: 0,
            generation: 0,
            lsn: self.version,
            keyspace: self.keyspace,
            len: end as u32,
            count: self.entries.len() as u32,
            heap: heap as u32,
            prefix: prefix as u16,
            lower: self.lower.len() as u16,
            upper: upper_len as u16,
            lower_version: NEWEST,
            upper_version: if upper.is_some() { NEWEST } else { Lsn(0) },
            dead: 0,
        };
        header.write(image);
        self.last = self.last_key().to_vec();
        self.bytes.clear();
        self.entries.clear();
        self.lower.clear();
        self.lower.extend_from_slice(upper.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Leaf;

    #[test]
    fn a_filled_leaf_is_what_inserts_one_by_one_would_make() {
        let keyspace = KeyspaceId(16);
        let mut filling = Filling::new(keyspace, Lsn(7), 4096);
        let key = |n: u32| format!("user{:09}", n * 3).into_bytes();
        let (mut next, mut leaves) = (0_u32, 0);
        while next < 500 {
            let (first, lower) = (next, filling.lower().to_vec());
            while next < 500 && filling.fits(key(next).len(), next as usize % 50) {
                filling.push(&key(next), &vec![next as u8; next as usize % 50]);
                next += 1;
            }
            assert!(!filling.is_behind(&key(next - 1)) && filling.is_behind(&key(next)));
            let upper = (next < 500).then(|| filling.border(&key(next)).to_vec());
            let mut image = vec![0; filling.units(upper.as_deref()) * UNIT];
            assert_eq!(image.len(), 4096);
            filling.finish(upper.as_deref(), &mut image);
            let leaf = Leaf::read(image).expect("it makes sense");
            let fence = upper.as_deref().map(Fence::before);
            let mut expected = Leaf::new(keyspace, Fence::before(&lower), fence, 1 << 14);
            for (at, n) in (first..next).enumerate() {
                let (key, value) = (key(n), vec![n as u8; n as usize % 50]);
                let suffix = &key[expected.prefix_len()..];
                let held = Held::Value(&value);
                let entry = Entry { suffix, version: Lsn(7), deadline: None, held };
                expected.insert(at, &entry);
            }
            assert_eq!(leaf.encode(), expected.encode());
            leaves += 1;
        }
        assert!((4..8).contains(&leaves), "{leaves} leaves");
        let mut large = Filling::new(keyspace, Lsn(7), 4096);
        assert!(large.fits(9, 60_000), "into an empty one goes any");
        large.push(b"large", &[7; 60_000]);
        assert!(!large.fits(5, 1));
        let mut image = vec![0; large.units(None) * UNIT];
        large.finish(None, &mut image);
        assert_eq!(Leaf::read(image).expect("it makes sense").count(), 1);
    }
}
