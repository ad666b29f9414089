//! The catalogue of a generation: its keyspaces with their roots, and its value segments. And the
//! page of its used units.

use crate::{
    KeyspaceId, Lsn, Retention,
    encoding::{Reader, write_bytes, write_leb},
    keyspace::is_name,
    page::{PAGE_HEAD, PTR, PageHeader, PagePtr, PageType, UNIT},
    pager::Bits,
    tree::Catalogued,
    vlog::SegmentUse,
};

/// What a generation consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// The highest number that a keyspace was ever given, so that none is given twice.
    pub highest: KeyspaceId,
    /// Which version was the newest at which time (Unix ms), both ascending.
    pub moments: Vec<(u64, Lsn)>,
    /// In the order of their numbers.
    pub keyspaces: Vec<Catalogued>,
    /// In the order of their numbers.
    pub segments: Vec<SegmentUse>,
}

impl Default for Catalogue {
    /// That of generation 0.
    fn default() -> Catalogue {
        let highest = KeyspaceId(0);
        let (moments, keyspaces, segments) = Default::default();
        Catalogue { highest, moments, keyspaces, segments }
    }
}

impl Catalogue {
    /// Its page, to be sealed.
    pub fn encode(&self, lsn: Lsn) -> Vec<u8> {
        let mut out = vec![0; PAGE_HEAD];
        let count = |len: usize| u32::try_from(len).expect("fewer than 2^32");
        out.extend_from_slice(&self.highest.0.to_le_bytes());
        out.extend_from_slice(&count(self.moments.len()).to_le_bytes());
        let mut last = (0, Lsn(0));
        for (time, version) in &self.moments {
            write_leb(&mut out, time - last.0);
            write_leb(&mut out, version.0 - last.1.0);
            last = (*time, *version);
        }
        out.extend_from_slice(&count(self.keyspaces.len()).to_le_bytes());
        for keyspace in &self.keyspaces {
            out.extend_from_slice(&keyspace.id.0.to_le_bytes());
            write_bytes(&mut out, keyspace.name.as_bytes());
            keyspace.keep.write(&mut out);
            out.extend_from_slice(&keyspace.earliest.0.to_le_bytes());
            let roots = u16::try_from(keyspace.roots.len()).expect("fewer than 2^16 roots");
            out.extend_from_slice(&roots.to_le_bytes());
            for (since, root) in &keyspace.roots {
                out.extend_from_slice(&since.0.to_le_bytes());
                out.extend_from_slice(&root.encode());
            }
        }
        out.extend_from_slice(&count(self.segments.len()).to_le_bytes());
        for segment in &self.segments {
            out.extend_from_slice(&segment.number.to_le_bytes());
            out.extend_from_slice(&segment.bytes.to_le_bytes());
            out.extend_from_slice(&segment.dead.to_le_bytes());
        }
        page(PageType::Catalogue, out, lsn)
    }

    /// Reads it off its page; `None` if it makes no sense.
    pub fn decode(image: &[u8]) -> Option<Catalogue> {
        let mut from = Reader(image.get(PAGE_HEAD..)?);
        let mut catalogue = Catalogue { highest: KeyspaceId(from.u32()?), ..Catalogue::default() };
        let mut last = (0_u64, 0_u64);
        for _ in 0..from.u32()? {
            let time = last.0.checked_add(from.leb()?)?;
            let version = from.leb().filter(|later| *later > 0)?;
            last = (time, last.1.checked_add(version)?);
            catalogue.moments.push((last.0, Lsn(last.1)));
        }
        for _ in 0..from.u32()? {
            let id = KeyspaceId(from.u32()?);
            let name = std::str::from_utf8(from.bytes()?).ok().filter(|name| is_name(name))?;
            let (keep, earliest) = (Retention::read(&mut from)?, Lsn(from.u64()?));
            let mut roots = Vec::new();
            for _ in 0..from.u16()? {
                let since = Lsn(from.u64()?);
                let root = from.take(PTR)?.try_into().expect("as many as were taken");
                roots.push((since, PagePtr::decode(root)?));
            }
            let known = catalogue.keyspaces.last().is_some_and(|last: &Catalogued| last.id >= id);
            let unheard_of = id > catalogue.highest;
            if known || unheard_of || roots.is_empty() || !roots.is_sorted_by(|a, b| a.0 > b.0) {
                return None;
            }
            let name = name.to_owned();
            catalogue.keyspaces.push(Catalogued { id, name, keep, earliest, roots });
        }
        for _ in 0..from.u32()? {
            let (number, bytes, dead) = (from.u32()?, from.u64()?, from.u64()?);
            catalogue.segments.push(SegmentUse { number, bytes, dead });
        }
        from.0.iter().all(|b| *b == 0).then_some(catalogue)
    }
}

/// The page of the units that a generation uses, of `units` in all; to be sealed.
pub fn encode_space(used: &Bits, units: u64, size: usize, lsn: Lsn) -> Vec<u8> {
    let mut out = vec![0; PAGE_HEAD];
    out.extend_from_slice(&used.encode(units));
    assert!(out.len() <= size, "{units} units do not fit into {size} bytes");
    out.resize(size, 0);
    page(PageType::Space, out, lsn)
}

/// Reads the used ones of `units` units off their page; `None` if it makes no sense.
pub fn decode_space(image: &[u8], units: u64) -> Option<Bits> {
    Bits::decode(image.get(PAGE_HEAD..)?, units)
}

/// Whole units from the first that `body` fits into, beginning with a head of this kind.
fn page(kind: PageType, mut body: Vec<u8>, lsn: Lsn) -> Vec<u8> {
    body.resize(body.len().next_multiple_of(UNIT), 0);
    let head = PageHeader {
        kind,
        level: 0,
        no_upper: true,
        unit: 0,
        generation: 0,
        lsn,
        keyspace: KeyspaceId::META,
        len: u32::try_from(body.len()).expect("a page is below 4 GiB"),
        count: 0,
        heap: 0,
        prefix: 0,
        lower: 0,
        upper: 0,
        lower_version: Lsn(0),
        upper_version: Lsn(0),
        dead: 0,
    };
    head.write(&mut body);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let root = PagePtr { unit: 1, units: 2, sum: 3, generation: 4 };
        let users = Catalogued {
            id: KeyspaceId(16),
            name: "users".into(),
            keep: Retention::All,
            earliest: Lsn(5),
            roots: vec![(Lsn(7), root), (Lsn(6), root)],
        };
        let more = Catalogued {
            id: KeyspaceId(17),
            name: "m".into(),
            keep: Retention::default(),
            earliest: Lsn(0),
            roots: vec![(Lsn(9), root)],
        };
        let segments = vec![SegmentUse { number: 8, bytes: 9, dead: 10 }];
        let moments = vec![(1_000, Lsn(2)), (1_000, Lsn(3)), (1_300, Lsn(4))];
        let (highest, keyspaces) = (KeyspaceId(300), vec![users, more]);
        Catalogue { highest, moments, keyspaces, segments }
    }

    #[test]
    fn golden() {
        #[rustfmt::skip]
        let golden: &[u8] = &[
            44, 1, 0, 0,
            3, 0, 0, 0, 0xe8, 7, 2, 0, 1, 0xac, 2, 1,
            2, 0, 0, 0,
            16, 0, 0, 0, 5, b'u', b's', b'e', b'r', b's', 1, 5, 0, 0, 0, 0, 0, 0, 0, 2, 0,
            7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0,
            6, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0,
            17, 0, 0, 0, 1, b'm', 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0,
            9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0,
            1, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0,
        ];
        let image = catalogue().encode(Lsn(3));
        assert_eq!(image.len(), UNIT);
        assert_eq!(&image[PAGE_HEAD..PAGE_HEAD + golden.len()], golden);
        let header = PageHeader::read(&image).expect("a head that makes sense");
        assert_eq!((header.kind, header.lsn), (PageType::Catalogue, Lsn(3)));
        assert_eq!(Catalogue::decode(&image), Some(catalogue()));
        for end in 0..PAGE_HEAD + golden.len() {
            let cut = Catalogue::decode(&image[..end]);
            assert!(cut.is_none(), "cut at {end}: {cut:?}");
        }
        let empty = Catalogue::default();
        assert_eq!(Catalogue::decode(&empty.encode(Lsn(0))), Some(empty));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |change: fn(&mut Catalogue)| {
            let mut catalogue = catalogue();
            change(&mut catalogue);
            assert_eq!(Catalogue::decode(&catalogue.encode(Lsn(1))), None);
        };
        refused(|c| c.keyspaces.swap(0, 1));
        refused(|c| c.highest = KeyspaceId(16));
        refused(|c| c.moments[2].1 = Lsn(3));
        refused(|c| c.keyspaces[0].roots.clear());
        refused(|c| c.keyspaces[0].roots.swap(0, 1));
        refused(|c| c.keyspaces[0].name = "\n".into());
    }

    #[test]
    fn the_used_units_come_back() {
        let mut used = Bits::default();
        used.add(0, 9);
        used.add(30_000, 7);
        let image = encode_space(&used, 30_010, UNIT, Lsn(1));
        assert_eq!((image.len(), decode_space(&image, 30_010)), (UNIT, Some(used)));
        assert_eq!(decode_space(&image, 30_000), None, "a unit behind the last");
        assert_eq!(decode_space(&image[..UNIT / 2], 30_010), None);
        let header = PageHeader::read(&image).expect("a head that makes sense");
        assert_eq!(header.kind, PageType::Space);
    }
}
