//! Walks over committed keys and own writes, against a sorted map.

use std::collections::BTreeMap;

use super::{TERMS, tree};
use crate::{
    Durability,
    locks::tests::Chance,
    txn::{Entry, Isolation, Transaction},
};

fn key(number: usize) -> [u8; 1] {
    [b'a' + number as u8]
}

/// A deadline now and then: passed, or not.
fn deadline(chance: &mut Chance) -> Option<u64> {
    [None, None, Some(TERMS.now), Some(TERMS.now + 1)][chance.below(4)]
}

/// What a reader knows of an entry: its value, and whether it is the transaction's own.
fn seen(entry: Entry<'_>) -> (Vec<u8>, (Vec<u8>, bool)) {
    (entry.key.to_vec(), (entry.value.to_vec(), entry.version.is_none()))
}

#[test]
fn both_ends_of_a_walk_see_own_writes_over_committed_keys() {
    let mut steps = 0;
    for seed in 0..400 {
        let mut chance = Chance(seed);
        let (tree, users) = tree(Durability::InMemory);
        let mut model = BTreeMap::new();
        for at in 0..26 {
            if chance.below(2) == 0 {
                let (value, deadline) = (vec![at as u8], deadline(&mut chance));
                tree.put(&users, &key(at), &value, deadline).expect("there is room");
                if deadline != Some(TERMS.now) {
                    model.insert(key(at).to_vec(), (value, false));
                }
            }
        }
        let mut txn = Transaction::begin(&tree, Isolation::Serializable, TERMS);
        let (from, to) = (chance.below(10), 16 + chance.below(11));
        let end = (to < 26).then(|| key(to));
        let end = end.as_ref().map(<[u8; 1]>::as_slice);
        let mut scan = txn.scan(&users, &key(from), end).expect("it is in memory");
        // What is still ahead of both ends.
        let (mut front, mut back) = (from, to.min(26));
        loop {
            for _ in 0..chance.below(3) {
                let at = chance.below(26);
                let (value, deadline) = (vec![100 + at as u8], deadline(&mut chance));
                if chance.below(3) == 0 {
                    txn.delete(&users, &key(at)).expect("it fits");
                    model.remove(&key(at)[..]);
                } else {
                    txn.put(&users, &key(at), &value, deadline).expect("it fits");
                    model.remove(&key(at)[..]);
                    if deadline != Some(TERMS.now) {
                        model.insert(key(at).to_vec(), (value, true));
                    }
                }
            }
            let is_front = chance.below(2) == 0;
            let is_there = txn.advance(&mut scan, is_front).expect("it is in memory");
            let entry = is_there.then(|| seen(scan.shown()));
            let ahead = || (front..back).map(key).filter(|key| model.contains_key(&key[..]));
            let expected = if is_front { ahead().next() } else { ahead().next_back() };
            let expected = expected.map(|key| (key.to_vec(), model[&key[..]].clone()));
            assert_eq!(entry, expected, "seed {seed}");
            let Some((key, _)) = entry else { break };
            match is_front {
                true => front = usize::from(key[0] - b'a') + 1,
                false => back = usize::from(key[0] - b'a'),
            }
            steps += 1;
        }
    }
    assert!(steps > 2_000, "{steps} steps");
}

#[test]
fn a_walk_that_was_met_from_both_ends_stays_over() {
    let (tree, users) = tree(Durability::InMemory);
    tree.put(&users, b"k", b"v", None).expect("there is room");
    let mut txn = Transaction::begin(&tree, Isolation::Serializable, TERMS);
    let mut scan = txn.scan(&users, b"", None).expect("it is in memory");
    assert!(txn.advance(&mut scan, false).expect("it is in memory"));
    for is_front in [true, false, true, false] {
        assert!(!txn.advance(&mut scan, is_front).expect("it is in memory"));
    }
}
