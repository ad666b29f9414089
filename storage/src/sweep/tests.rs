//! The sweep against transactions that give deadlines.

use std::sync::Arc;

use super::*;
use crate::{
    Durability,
    locks::{Holder, Mode},
    tree::Keyspace,
    txn::{
        Isolation, Locked, Transaction,
        single::{Aborts, Access, Action, Execution, Row, SingleShot},
        tests::{TERMS, USERS, tree},
    },
};

/// Gives keys a deadline in one commit.
fn put(tree: &Arc<Tree>, users: &Keyspace, keys: &[(&[u8], u64)]) -> Lsn {
    let mut txn = Transaction::begin(tree, Isolation::Serializable, TERMS);
    for (key, deadline) in keys {
        txn.put(users, key, b"v", Some(*deadline)).expect("it fits");
    }
    txn.commit().expect("nobody interferes")
}

fn version(tree: &Tree, of: &Keyspace, key: &[u8]) -> Option<Lsn> {
    let found = tree.get(of, key, At::Assigned, &mut Vec::new()).expect("it is in memory");
    found.map(|found| found.version)
}

fn index(tree: &Tree) -> Vec<(u64, KeyspaceId, Vec<u8>)> {
    let index = tree.keyspace(KeyspaceId::DEADLINES).expect("it is made first");
    let mut cursor = Cursor::new(&index, &[], None, tree.tail().assigned()).expect("it is kept");
    let mut all = Vec::new();
    while let Some(item) = cursor.next().expect("it is in memory") {
        let (deadline, keyspace, key) = read_index_key(item.key).expect("it makes sense");
        all.push((deadline, keyspace, key.to_vec()));
    }
    all
}

fn swept(tree: &Tree, now: u64, limit: usize) -> (usize, usize, bool) {
    let swept = sweep(tree, now, limit).expect("it is in memory");
    (swept.entries, swept.keys, swept.more)
}

#[test]
fn an_entry_of_the_index_comes_back_as_it_was_and_sorts_by_deadline() {
    let op = |deadline, key| Op::Put { keyspace: USERS, key, value: b"", deadline: Some(deadline) };
    let (early, late) = (index_key(&op(255, b"z")), index_key(&op(256, b"a")));
    assert!(early < late);
    let early = early.expect("it has a deadline");
    assert_eq!(read_index_key(&early), Some((255, USERS, &b"z"[..])));
    for end in 0..=INDEX_HEAD {
        assert_eq!(read_index_key(&early[..end]), None, "cut at {end}");
    }
    assert_eq!(
        index_key(&Op::Put { keyspace: USERS, key: b"k", value: b"", deadline: None }),
        None
    );
    assert_eq!(index_key(&Op::Delete { keyspace: USERS, key: b"k" }), None);
}

#[test]
fn every_kind_of_transaction_indexes_its_deadlines_with_its_version() {
    let (tree, users) = tree(Durability::InMemory);
    put(&tree, &users, &[(b"a", 10)]);
    let mut locked = Locked::begin(&tree, TERMS);
    locked.put(&users, b"b", b"v", Some(20)).expect("it is free");
    locked.commit().expect("nobody interferes");
    let row = Row { id: 1, access: Access::Write, keyspace: USERS, key: b"c" };
    let action = Action::Put { value: b"v", deadline: Some(30) };
    let shot = SingleShot::new(vec![row], &[], &[(1, action)]).expect("it makes sense");
    Execution::new(&shot, &tree, TERMS).run(&Aborts::default()).expect("it is in memory");
    let keys: [&[u8]; 3] = [b"a", b"b", b"c"];
    let expected: Vec<_> =
        keys.iter().zip([10, 20, 30]).map(|(key, at)| (at, USERS, key.to_vec())).collect();
    assert_eq!(index(&tree), expected);
    let deadlines = tree.keyspace(KeyspaceId::DEADLINES).expect("it is made first");
    for (deadline, keyspace, key) in expected {
        let op = Op::Put { keyspace, key: &key, value: b"", deadline: Some(deadline) };
        let entry = index_key(&op).expect("it has a deadline");
        assert_eq!(version(&tree, &deadlines, &entry), version(&tree, &users, &key));
    }
}

#[test]
fn what_is_due_goes_a_few_at_a_time() {
    let (tree, users) = tree(Durability::InMemory);
    let keys: Vec<[u8; 1]> = (0..40).map(|n| [n]).collect();
    let all: Vec<(&[u8], u64)> =
        keys.iter().map(|key| (&key[..], 100 + u64::from(key[0]))).collect();
    put(&tree, &users, &all);
    assert_eq!(swept(&tree, 99, 16), (0, 0, false));
    assert_eq!(swept(&tree, 100, 16), (1, 1, false));
    assert_eq!(swept(&tree, 129, 16), (16, 16, true));
    assert_eq!(swept(&tree, 129, 16), (13, 13, false));
    let left = |key: &&[u8; 1]| version(&tree, &users, &key[..]).is_some();
    assert!(keys.iter().filter(left).eq(&keys[30..]));
    assert_eq!(index(&tree).len(), 10);
    assert_eq!(swept(&tree, u64::MAX, 100), (10, 10, false));
    assert_eq!(index(&tree), []);
}

#[test]
fn a_key_that_was_written_since_stays() {
    let (tree, users) = tree(Durability::InMemory);
    put(&tree, &users, &[(b"again", 10), (b"kept", 10), (b"deleted", 10), (b"late", 10)]);
    put(&tree, &users, &[(b"again", 50)]);
    tree.put(&users, b"kept", b"for ever", None).expect("there is room");
    tree.delete(&users, b"deleted").expect("there is room");
    put(&tree, &users, &[(b"late", 10)]);
    // The entry of "late" was written twice, as the same key: it has the newer version.
    assert_eq!(swept(&tree, 20, 100), (4, 1, false));
    let alive = |key: &[u8]| version(&tree, &users, key).is_some();
    assert!(alive(b"again") && alive(b"kept") && !alive(b"late"));
    assert_eq!(index(&tree), [(50, USERS, b"again".to_vec())]);
    assert_eq!(swept(&tree, 50, 100), (1, 1, false));
}

#[test]
fn a_locked_key_is_left_for_the_next_time() {
    let (tree, users) = tree(Durability::InMemory);
    put(&tree, &users, &[(b"a", 10), (b"b", 11), (b"c", 12)]);
    let mut holder = Holder::new(tree.locks(), TERMS.deadline);
    assert!(holder.lock(USERS, b"b", Mode::Shared).expect("alive").is_none());
    assert_eq!(swept(&tree, 20, 100), (2, 2, false));
    assert_eq!(index(&tree), [(11, USERS, b"b".to_vec())]);
    assert!(version(&tree, &users, b"b").is_some());
    assert_eq!(swept(&tree, 20, 100), (0, 0, false), "all that is due is locked");
    drop(holder);
    assert_eq!(swept(&tree, 20, 100), (1, 1, false));
}

#[test]
fn entries_of_what_is_no_more_go() {
    let (tree, users) = tree(Durability::InMemory);
    put(&tree, &users, &[(b"a", 10)]);
    tree.commit(&[], &[Op::Clear(USERS)]).expect("it asks nobody");
    assert_eq!(swept(&tree, 20, 100), (1, 0, false));
    put(&tree, &users, &[(b"a", 10)]);
    tree.commit(&[], &[Op::Drop(USERS)]).expect("it asks nobody");
    assert_eq!(swept(&tree, 20, 100), (1, 0, false));
    assert_eq!(index(&tree), []);
}
