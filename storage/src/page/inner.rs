//! Inner nodes as bytes: separators and references to the nodes below.

use super::{
    Fence, PAGE_HEAD, PTR, PageHeader, PagePtr, PageType, Slot, UNIT, fence::prefix_between,
};
use crate::{KeyspaceId, Lsn, encoding::Reader};

/// Bytes of an entry of an inner node without its key.
const INNER_ENTRY: usize = 8 + 2 + PTR;

/// An inner node as it stands on disk, read into pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerPage<'a> {
    /// Where it belongs.
    pub keyspace: KeyspaceId,
    /// 1 above leaves, and so on.
    pub level: u8,
    /// The newest version below it.
    pub lsn: Lsn,
    /// Where each child begins, and the child; the first begins where the node does.
    pub children: Vec<(Fence<'a>, PagePtr)>,
    /// Where the node ends; `None` if nothing is behind it.
    pub upper: Option<Fence<'a>>,
}

impl InnerPage<'_> {
    /// Bytes that a node of these children takes, rounded up to nothing.
    pub fn size(separators: impl Iterator<Item = usize>, upper: usize) -> usize {
        let entries = separators.map(|key| Slot::SIZE + INNER_ENTRY + key);
        PAGE_HEAD + entries.sum::<usize>() + upper
    }

    /// The image for disk in whole units, with a head; its address and checksum are left to
    /// [`super::seal`].
    pub fn encode(&self) -> Vec<u8> {
        let lower = self.children[0].0;
        let prefix = prefix_between(lower, self.upper);
        let upper_len = self.upper.map_or(0, |upper| upper.key.len());
        let keys = self.children.iter().map(|(at, _)| at.key.len() - prefix);
        let slots = PAGE_HEAD + self.children.len() * Slot::SIZE;
        let fences = lower.key.len() + upper_len;
        let heap = keys.clone().map(|key| INNER_ENTRY + key).sum::<usize>() + fences;
        let mut image = vec![0; (slots + heap).next_multiple_of(UNIT)];
        let end = image.len();
        image[end - fences..end - upper_len].copy_from_slice(lower.key);
        image[end - upper_len..].copy_from_slice(self.upper.map_or(&[], |upper| upper.key));
        let mut back = fences;
        for (number, (at, ptr)) in self.children.iter().enumerate() {
            let suffix = &at.key[prefix..];
            back += INNER_ENTRY + suffix.len();
            let mut entry = Vec::with_capacity(INNER_ENTRY + suffix.len());
            entry.extend_from_slice(&at.version.0.to_le_bytes());
            entry.extend_from_slice(&(suffix.len() as u16).to_le_bytes());
            entry.extend_from_slice(&ptr.encode());
            entry.extend_from_slice(suffix);
            image[end - back..][..entry.len()].copy_from_slice(&entry);
            let slot = Slot { head: Slot::head_of(suffix), back: back as u32 };
            image[PAGE_HEAD + number * Slot::SIZE..][..Slot::SIZE].copy_from_slice(&slot.encode());
        }
        let header = PageHeader {
            kind: PageType::Inner,
            level: self.level,
            no_upper: self.upper.is_none(),
            unit: 0,
            generation: 0,
            lsn: self.lsn,
            keyspace: self.keyspace,
            len: end as u32,
            count: self.children.len() as u32,
            heap: heap as u32,
            prefix: prefix as u16,
            lower: lower.key.len() as u16,
            upper: upper_len as u16,
            lower_version: lower.version,
            upper_version: self.upper.map_or(Lsn(0), |upper| upper.version),
            dead: 0,
        };
        header.write(&mut image);
        image
    }

    /// Reads an image that [`super::open`] has vouched for, giving the pieces to `then`, since
    /// the keys are put together on the way; `None` if it makes no sense.
    pub fn read<T>(image: &[u8], then: impl FnOnce(&InnerPage<'_>) -> T) -> Option<T> {
        let header = PageHeader::read(image)?;
        let sane = header.kind == PageType::Inner
            && header.len as usize == image.len()
            && header.count > 0;
        if !sane {
            return None;
        }
        let end = image.len();
        let (lower_len, upper_len) = (usize::from(header.lower), usize::from(header.upper));
        let middle = end - upper_len;
        let lower =
            Fence { key: &image[middle - lower_len..middle], version: header.lower_version };
        let upper = Fence { key: &image[middle..], version: header.upper_version };
        let upper = (!header.no_upper).then_some(upper);
        let prefix = prefix_between(lower, upper);
        if prefix != usize::from(header.prefix) {
            return None;
        }
        let prefix = &lower.key[..prefix];
        let mut keys = Vec::new();
        let mut entries = Vec::with_capacity(header.count as usize);
        let (slots, _) = image[PAGE_HEAD..].as_chunks::<{ Slot::SIZE }>();
        for slot in slots.get(..header.count as usize)? {
            let slot = Slot::decode(*slot);
            let mut from = Reader(image.get(end.checked_sub(slot.back as usize)?..)?);
            let (version, len) = (Lsn(from.u64()?), from.u16()?);
            let ptr = PagePtr::decode(from.take(PTR)?.try_into().ok()?)?;
            let suffix = from.take(len.into())?;
            let start = keys.len();
            keys.extend_from_slice(prefix);
            keys.extend_from_slice(suffix);
            if Slot::head_of(suffix) != slot.head {
                return None;
            }
            entries.push((start..keys.len(), version, ptr));
        }
        let children: Vec<_> = entries
            .into_iter()
            .map(|(key, version, ptr)| (Fence { key: &keys[key], version }, ptr))
            .collect();
        let in_order = children.windows(2).all(|pair| pair[0].0 < pair[1].0)
            && children[0].0 == lower
            && upper.is_none_or(|upper| children[children.len() - 1].0 < upper);
        let page = InnerPage {
            keyspace: header.keyspace,
            level: header.level,
            lsn: header.lsn,
            children,
            upper,
        };
        in_order.then(|| then(&page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::NEWEST;

    fn ptr(unit: u64) -> PagePtr {
        PagePtr { unit, units: 1, sum: unit as u32, generation: 2 }
    }

    fn page<'a>(keys: &[Fence<'a>], upper: Option<Fence<'a>>) -> InnerPage<'a> {
        let children = keys.iter().zip(1..).map(|(at, unit)| (*at, ptr(unit))).collect();
        InnerPage { keyspace: KeyspaceId(20), level: 1, lsn: Lsn(7), children, upper }
    }

    #[test]
    fn a_node_comes_back_as_it_was() {
        let chain = Fence { key: b"abd", version: Lsn(5) };
        let keys = [Fence::before(b"abc"), Fence::before(b"abd"), chain, Fence::before(b"abdx")];
        let nodes = [
            page(&keys, Some(Fence::before(b"abz"))),
            page(&keys, None),
            page(&[Fence::FIRST], None),
            page(&[Fence::FIRST, Fence::before(b"k")], Some(Fence::before(b"x"))),
        ];
        for node in nodes {
            let image = node.encode();
            assert_eq!(image.len() % UNIT, 0);
            let same = InnerPage::read(&image, |read| assert_eq!(*read, node));
            assert_eq!(same, Some(()), "{node:?}");
        }
    }

    #[test]
    fn golden() {
        let node = page(&[Fence::before(b"ka"), Fence::before(b"kb")], Some(Fence::before(b"kz")));
        let image = node.encode();
        #[rustfmt::skip]
        let tail: &[u8] = &[
            255, 255, 255, 255, 255, 255, 255, 255, 1, 0,
            2, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 2, 0, 0, 0, b'b',
            255, 255, 255, 255, 255, 255, 255, 255, 1, 0,
            1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 2, 0, 0, 0, b'a',
            b'k', b'a', b'k', b'z',
        ];
        assert_eq!(&image[image.len() - tail.len()..], tail);
        let slots = [0, 0, 0, b'a', 31, 0, 0, 0, 0, 0, 0, b'b', 58, 0, 0, 0];
        assert_eq!(image[PAGE_HEAD..PAGE_HEAD + 16], slots);
        assert!(image[PAGE_HEAD + 16..image.len() - tail.len()].iter().all(|byte| *byte == 0));
        assert_eq!(NEWEST.0.to_le_bytes(), [255; 8]);
    }

    #[test]
    fn nodes_out_of_order_make_no_sense() {
        let wrong = [
            page(&[Fence::before(b"b"), Fence::before(b"a")], None),
            page(&[Fence::before(b"a"), Fence::before(b"a")], None),
            page(&[Fence::before(b"a"), Fence::before(b"c")], Some(Fence::before(b"b"))),
        ];
        for node in wrong {
            assert_eq!(InnerPage::read(&node.encode(), |_| ()), None, "{node:?}");
        }
        let mut cut = page(&[Fence::FIRST], None).encode();
        cut[PAGE_HEAD + 4] = 0xff;
        cut[PAGE_HEAD + 5] = 0xff;
        assert_eq!(InnerPage::read(&cut, |_| ()), None, "a slot that leads out of the image");
    }
}
