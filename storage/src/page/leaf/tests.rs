use std::{cmp::Reverse, collections::BTreeMap};

use proptest::prelude::*;

use super::*;
use crate::page::{FenceBuf, Held, NEWEST};

const SPACE: KeyspaceId = KeyspaceId(20);
const SIZE: usize = 1024;

type Model = BTreeMap<(Vec<u8>, Reverse<u64>), Option<Vec<u8>>>;

fn fill(model: &Model, lower: Fence<'_>, upper: Option<Fence<'_>>) -> Leaf {
    let mut leaf = Leaf::new(SPACE, lower, upper, SIZE);
    for ((key, version), value) in model {
        put(&mut leaf, key, version.0, value.as_deref());
    }
    leaf
}

fn put(leaf: &mut Leaf, key: &[u8], version: u64, value: Option<&[u8]>) {
    let (at, _) = leaf.seek(key, Lsn(version));
    let held = value.map_or(Held::Tombstone, Held::Value);
    let suffix = &key[leaf.prefix_len()..];
    let entry = Entry { suffix, version: Lsn(version), deadline: None, held };
    if !leaf.fits(1, entry.size()) {
        leaf.grow(leaf.size() + entry.size() + Slot::SIZE);
    }
    leaf.insert(at, &entry);
}

fn contents(leaf: &Leaf) -> Model {
    let whole = |entry: Entry<'_>| {
        let value = match entry.held {
            Held::Value(value) => Some(value.to_vec()),
            _ => None,
        };
        (([leaf.prefix(), entry.suffix].concat(), Reverse(entry.version.0)), value)
    };
    leaf.entries(0..leaf.count()).map(whole).collect()
}

/// Keys that share beginnings of every length, between "k" and "l".
fn key() -> impl Strategy<Value = Vec<u8>> {
    let tail = prop::collection::vec(prop::sample::select(vec![0, b'a', b'b', 255]), 0..7);
    tail.prop_map(|tail| [b"k", &tail[..]].concat())
}

fn model() -> impl Strategy<Value = Model> {
    let value = prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..20));
    prop::collection::btree_map((key(), (1_u64..20).prop_map(Reverse)), value, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_leaf_is_a_sorted_map(
        model in model(),
        probes in prop::collection::vec((key(), 0_u64..21), 8),
    ) {
        for (lower, upper) in
            [(Fence::FIRST, None), (Fence::before(b"k"), Some(Fence::before(b"l")))]
        {
            let leaf = fill(&model, lower, upper);
            prop_assert_eq!(contents(&leaf), model.clone());
            for (key, version) in &probes {
                let (at, is_key) = leaf.seek(key, Lsn(*version));
                let place = (key.clone(), Reverse(*version));
                prop_assert_eq!(at, model.range(..place.clone()).count());
                let next = model.range(place..).next();
                prop_assert_eq!(is_key, next.is_some_and(|(next, _)| next.0 == *key));
            }
        }
    }

    #[test]
    fn an_image_comes_back_as_it_was(model in model()) {
        let leaf = fill(&model, Fence::before(b"k"), Some(Fence::before(b"l")));
        let image = leaf.encode();
        prop_assert_eq!(image.len() % UNIT, 0);
        let read = Leaf::read(image).expect("what was encoded can be read");
        prop_assert_eq!(contents(&read), model);
        prop_assert_eq!((read.lsn(), read.upper_fence()), (leaf.lsn(), leaf.upper_fence()));
    }

    #[test]
    fn any_split_and_the_merge_behind_it_keep_everything(
        model in model(),
        at in any::<prop::sample::Index>(),
    ) {
        prop_assume!(model.len() > 1);
        let whole = fill(&model, Fence::before(b"k"), Some(Fence::before(b"l")));
        let chosen = 1 + at.index(model.len() - 1);
        for at in [chosen, whole.split_point()] {
            let mut left = whole.clone();
            let before = model.keys().nth(at - 1).expect("it is there").clone();
            let behind = model.keys().nth(at).expect("it is there").clone();
            let place = |(key, version): &(Vec<u8>, Reverse<u64>)| {
                Fence { key, version: Lsn(version.0) }.to_buf()
            };
            let (before, behind): (FenceBuf, FenceBuf) = (place(&before), place(&behind));
            let fence = behind.get().shortest_after(before.get());
            let mut spare = vec![0xaa; SIZE];
            let right = left.split(at, fence, SIZE, &mut spare);
            for part in [&left, &right] {
                prop_assert!(part.is_sane());
            }
            let mut both = contents(&left);
            prop_assert_eq!(both.len(), at);
            both.extend(contents(&right));
            prop_assert_eq!(&both, &model);
            let merged = left.merged(&right, SIZE, |entry| entry);
            prop_assert!(merged.is_sane());
            prop_assert_eq!(contents(&merged), both);
        }
    }

    #[test]
    fn pruning_changes_no_read_at_or_above_the_floor(
        model in model(),
        floor in 0_u64..21,
        last in 0_u32..4,
    ) {
        let mut leaf = fill(&model, Fence::FIRST, None);
        let mut dropped = 0;
        let mut spare = vec![0xaa; SIZE];
        leaf.prune(Lsn(floor), last, SIZE, &mut spare, &mut |_| dropped += 1);
        prop_assert!(leaf.is_sane());
        let pruned = contents(&leaf);
        prop_assert_eq!(pruned.len() + dropped, model.len());
        let read = |of: &Model, key: &[u8], at: u64| {
            let found = of.range((key.to_vec(), Reverse(at))..).next();
            found.filter(|(place, _)| place.0 == key).and_then(|(_, value)| value.clone())
        };
        for (key, _) in model.keys() {
            for at in floor..21 {
                let (now, before) = (read(&pruned, key, at), read(&model, key, at));
                prop_assert_eq!(now, before, "{:?} at {}", key, at);
            }
            let of_key =
                |of: &Model| of.keys().filter(|k| k.0 == *key).cloned().collect::<Vec<_>>();
            let (kept, all) = (of_key(&pruned), of_key(&model));
            prop_assert_eq!(&kept[..], &all[..kept.len()], "a newest part without a gap");
            let wanted = all.len().min(last as usize);
            let tombstone = wanted > 0
                && model[&all[wanted - 1]].is_none()
                && all[wanted - 1].1.0 <= floor;
            prop_assert!(kept.len() + usize::from(tombstone) >= wanted);
        }
    }

    #[test]
    fn no_damage_makes_a_leaf_panic(
        model in model(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut image = fill(&model, Fence::before(b"k"), Some(Fence::before(b"l"))).encode();
        let at = at.index(image.len());
        image[at] ^= 1 << bit;
        if let Some(leaf) = Leaf::read(image) {
            contents(&leaf);
            leaf.seek(&[leaf.prefix(), b"kab"].concat(), NEWEST);
        }
    }
}

#[test]
fn many_equal_heads_are_searched_by_key() {
    let keys: Vec<Vec<u8>> = (0..60_u8).map(|n| [b"aaaaaa", &[n][..]].concat()).collect();
    let model: Model = keys.iter().map(|key| ((key.clone(), Reverse(1)), None)).collect();
    let leaf = fill(&model, Fence::FIRST, None);
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(leaf.seek(key, NEWEST), (at, true));
        assert_eq!(leaf.seek(key, Lsn(0)), (at + 1, false));
    }
    assert_eq!(leaf.seek(b"aaaaa", NEWEST), (0, false));
    assert_eq!(leaf.seek(b"aaaaab", NEWEST), (60, false));
}

#[test]
fn golden() {
    let mut leaf = Leaf::new(SPACE, Fence::before(b"ka"), Some(Fence::before(b"kz")), 256);
    put(&mut leaf, b"kb", 7, Some(b"v"));
    put(&mut leaf, b"kb", 9, None);
    let image = leaf.encode();
    #[rustfmt::skip]
    let tail: &[u8] = &[
        1, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, b'b',
        0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, b'b', b'v',
        b'k', b'a', b'k', b'z',
    ];
    assert_eq!((image.len(), &image[image.len() - tail.len()..]), (UNIT, tail));
    let slots = [0, 0, 0, b'b', 33, 0, 0, 0, 0, 0, 0, b'b', 19, 0, 0, 0];
    assert_eq!(image[PAGE_HEAD..PAGE_HEAD + 16], slots);
}
