//! Commits with conditions.

use super::*;

fn conflict(of: Attempt<Lsn>) -> Vec<u8> {
    match of {
        Err(Pause::Failed(Error::Conflict { keyspace: NEWEST_ONLY, key })) => key,
        other => panic!("{other:?}"),
    }
}

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Op<'a> {
    Op::Put { keyspace: NEWEST_ONLY, key, value, deadline: None }
}

#[test]
fn a_key_is_unchanged_until_somebody_writes_it() {
    let tree = tree(256, Durability::InMemory);
    let snapshot = tree.snapshot();
    let since = snapshot.version();
    let check = |key| Check::Unchanged { keyspace: NEWEST_ONLY, key, since };
    for key in [b"a", b"b", b"c"] {
        tree.commit(&[check(key)], &[put(key, b"1")]).expect("nobody wrote it");
        assert_eq!(conflict(tree.commit(&[check(key)], &[put(key, b"2")])), key);
    }
    tree.commit(&[check(b"d")], &[Op::Delete { keyspace: NEWEST_ONLY, key: b"e" }]).expect("d");
    assert_eq!(conflict(tree.commit(&[check(b"d"), check(b"e")], &[])), b"e", "a tombstone counts");
    let keyspace = tree.keyspace(NEWEST_ONLY).expect("it is there");
    let mut out = Vec::new();
    let found = tree.get(&keyspace, b"a", At::Visible, &mut out).expect("in memory");
    assert_eq!((found.map(|found| found.version), &out[..]), (Some(since.next()), &b"1"[..]));
}

#[test]
fn a_range_is_unchanged_until_a_key_of_it_is_written() {
    let tree = tree(256, Durability::InMemory);
    let keyspace = tree.keyspace(NEWEST_ONLY).expect("it is there");
    for n in 0..100_u8 {
        tree.put(&keyspace, &[n, n], b"0123456789", None).expect("there is room");
    }
    assert!(audit(&keyspace).0 > 5);
    let snapshot = tree.snapshot();
    let since = snapshot.version();
    let range = |from, to| Check::RangeUnchanged { keyspace: NEWEST_ONLY, from, to, since };
    tree.put(&keyspace, &[50, 51], b"a phantom", None).expect("there is room");
    assert_eq!(conflict(tree.commit(&[range(b"", None)], &[])), [50, 51]);
    assert_eq!(conflict(tree.commit(&[range(&[10], Some(&[50, 51, 0]))], &[])), [50, 51]);
    let written = tree.commit(&[range(b"", Some(&[50, 51]))], &[put(&[0], b"x")]);
    assert_eq!(written.expect("the end is no part of it"), since.plus(2));
    tree.commit(&[range(&[50, 52], None), range(&[9], Some(&[9]))], &[]).expect("beside it");
}

#[test]
fn a_version_is_compared_and_absence_is_zero() {
    let tree = tree(256, Durability::InMemory);
    let keyspace = tree.keyspace(NEWEST_ONLY).expect("it is there");
    let is = |expected, now| Check::VersionIs { keyspace: NEWEST_ONLY, key: b"k", expected, now };
    let first = tree.commit(&[is(Lsn(0), 0)], &[put(b"k", b"1")]).expect("it was not there");
    assert_eq!(conflict(tree.commit(&[is(Lsn(0), 0)], &[])), b"k");
    assert_eq!(conflict(tree.commit(&[is(first.previous(), 0)], &[])), b"k");
    tree.commit(&[is(first, 0)], &[Op::Delete { keyspace: NEWEST_ONLY, key: b"k" }]).expect("is");
    let absent = tree.commit(&[is(Lsn(0), 0)], &[]).expect("it was deleted");
    assert_eq!(absent, first.next(), "nothing was written");
    let mortal = tree.put(&keyspace, b"k", b"2", Some(1_000)).expect("there is room");
    tree.commit(&[is(mortal, 999)], &[]).expect("it lives");
    tree.commit(&[is(Lsn(0), 1_000)], &[]).expect("its time has come");
}

#[test]
fn the_last_write_of_a_key_counts_and_nothing_happens_on_errors() {
    let tree = tree(256, Durability::Buffered);
    let keyspace = tree.keyspace(NEWEST_ONLY).expect("it is there");
    let before = tree.tail().assigned();
    let many = [put(b"a", b"1"), put(b"b", b"1"), put(b"a", b"2")];
    assert_eq!(tree.commit(&[], &many).expect("no checks"), before.next());
    let mut out = Vec::new();
    tree.get(&keyspace, b"a", At::Visible, &mut out).expect("in memory").expect("it is there");
    assert_eq!(out, b"2");
    let nowhere = Op::Delete { keyspace: KeyspaceId(99), key: b"k" };
    for refused in [&[put(b"c", b"1"), nowhere][..], &[put(b"c", b"1"), put(b"", b"")]] {
        assert!(matches!(tree.commit(&[], refused), Err(Pause::Failed(_))));
    }
    assert_eq!(tree.get(&keyspace, b"c", At::Visible, &mut out).expect("in memory"), None);
    let mut records = crate::journal::Records::new();
    assert_eq!(tree.tail().drain(&mut records), before.next());
    let last = records.iter().last().expect("a record");
    let ops: Result<Vec<_>, _> = crate::record::ops(last).collect();
    // Replay would have the first of two writes to a key.
    assert_eq!(ops, Ok(many[1..].to_vec()), "the record says what became of it");
}

#[test]
fn a_cleared_keyspace_is_empty_and_old_snapshots_still_see_it() {
    let tree = tree(256, Durability::InMemory);
    let keyspace = tree.keyspace(NEWEST_ONLY).expect("it is there");
    for n in 0..50_u8 {
        tree.put(&keyspace, &[n], b"before", None).expect("there is room");
    }
    let snapshot = tree.snapshot();
    let since = snapshot.version();
    let ops = [put(b"lost", b"1"), Op::Clear(NEWEST_ONLY), put(b"new", b"2")];
    let cleared = tree.commit(&[], &ops).expect("no checks");
    let expected = vec![(b"new".to_vec(), cleared, b"2".to_vec())];
    assert_eq!(walk(&keyspace, b"", None, cleared, |_| true), expected);
    assert_eq!(walk(&keyspace, b"", None, since, |_| false).len(), 50);
    let mut out = Vec::new();
    let old = tree.get(&keyspace, &[7], At::Version(since), &mut out).expect("in memory");
    assert_eq!((old.is_some(), &out[..]), (true, &b"before"[..]));
    assert_eq!(tree.get(&keyspace, &[7], At::Visible, &mut out).expect("in memory"), None);
    let range = Check::RangeUnchanged { keyspace: NEWEST_ONLY, from: b"", to: None, since };
    assert_eq!(conflict(tree.commit(&[range], &[])), b"");
    assert_eq!(keyspace.roots().older.len(), 1);
    drop(snapshot);
    tree.commit(&[], &[Op::Clear(NEWEST_ONLY)]).expect("no checks");
    assert_eq!(keyspace.roots().older.len(), 0, "nobody can read what was there before");
    let gone = tree.get(&keyspace, &[7], At::Version(since), &mut out);
    assert!(matches!(gone, Err(Pause::Failed(Error::HistoryTrimmed { .. }))), "{gone:?}");
}

#[test]
fn strict_readers_see_a_clear_when_it_is_durable() {
    let tree = tree(256, Durability::Strict);
    tree.tail().durable(tree.tail().assigned());
    let keyspace = tree.keyspace(NEWEST_ONLY).expect("it is there");
    let put = tree.put(&keyspace, b"k", b"v", None).expect("there is room");
    let mut out = Vec::new();
    let mut get = |at| tree.get(&keyspace, b"k", at, &mut out).expect("in memory").is_some();
    assert_eq!((get(At::Visible), get(At::Assigned)), (false, true));
    tree.tail().durable(put);
    let cleared = tree.commit(&[], &[Op::Clear(NEWEST_ONLY)]).expect("no checks");
    assert_eq!((get(At::Visible), get(At::Assigned)), (true, false));
    tree.tail().durable(cleared);
    assert_eq!((get(At::Visible), get(At::Assigned)), (false, false));
}

#[test]
fn keyspaces_come_and_go_once() {
    let tree = tree(256, Durability::InMemory);
    let (keyspace, keep) = (KeyspaceId(40), Retention::default());
    let create = |name| Op::Create { keyspace, name, keep };
    let write = Op::Put { keyspace, key: b"k", value: b"v", deadline: None };
    tree.commit(&[], &[create("users"), write]).expect("it is new");
    let users = tree.named("users").expect("it is there");
    assert_eq!(walk(&users, b"", None, tree.tail().assigned(), |_| true).len(), 1);
    let again = |op| match tree.commit(&[], &[op]) {
        Err(Pause::Failed(Error::KeyspaceExists { name })) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(again(create("others")), "others");
    assert_eq!(again(Op::Create { keyspace: KeyspaceId(41), name: "users", keep }), "users");
    let snapshot = tree.snapshot();
    tree.commit(&[], &[Op::Drop(keyspace)]).expect("it is there");
    assert!(matches!(tree.named("users"), Err(Error::NoKeyspace { .. })));
    assert!(matches!(tree.put(&users, b"k", b"v", None), Err(Pause::Failed(_))));
    assert_eq!(walk(&users, b"", None, snapshot.version(), |_| true).len(), 1);
    for number in [40, 39, 19].map(KeyspaceId) {
        let again = Op::Create { keyspace: number, name: "again", keep };
        match tree.commit(&[], &[again]) {
            Err(Pause::Failed(Error::KeyspaceNumber { number: refused })) => {
                assert_eq!(refused, number);
            }
            other => panic!("{other:?}"),
        }
    }
    let keyspace = tree.next_keyspace();
    assert_eq!(keyspace, KeyspaceId(41));
    tree.commit(&[], &[Op::Create { keyspace, name: "users", keep }]).expect("it is new");
    // The engine's own have their numbers whatever users were given.
    let keyspace = KeyspaceId::DEADLINES;
    tree.commit(&[], &[Op::Create { keyspace, name: "own", keep }]).expect("it is new");
    assert_eq!(tree.next_keyspace(), KeyspaceId(42));
}
