//! What each kind of transaction promises beside isolation.

use std::sync::Arc;

use super::{TERMS, USERS, tree};
use crate::{
    Durability, Error, KeyspaceId, Lsn,
    journal::Records,
    locks::{Holder, Mode, tests::is_over},
    record::Op,
    tree::{At, Keyspace, Pause, Tree},
    txn::{
        Isolation, Locked, Seen, Terms, Transaction,
        single::{
            Abort, Aborts, Access, Action, Execution, Kind, Outcome, Progress, Row, SingleShot,
            Test,
        },
    },
};

fn begin(tree: &Arc<Tree>) -> Transaction {
    Transaction::begin(tree, Isolation::Serializable, TERMS)
}

/// Commits `to` over `expected`.
fn swap(
    tree: &Arc<Tree>,
    users: &Keyspace,
    expected: Lsn,
    to: Option<&[u8]>,
) -> Result<Lsn, Error> {
    let mut txn = begin(tree);
    txn.expect(users, b"k", expected);
    match to {
        Some(value) => txn.put(users, b"k", value, None)?,
        None => txn.delete(users, b"k")?,
    }
    txn.commit().map_err(failure)
}

fn failure(pause: Pause) -> Error {
    match pause {
        Pause::Failed(error) => error,
        pause => panic!("{pause:?}"),
    }
}

fn conflict() -> Error {
    Error::Conflict { keyspace: USERS, key: b"k".to_vec() }
}

fn get(tree: &Tree, users: &Keyspace, key: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let found = tree.get(users, key, At::Assigned, &mut out).expect("it is in memory");
    found.map(|_| out)
}

#[test]
fn compare_and_set_knows_absent_deleted_and_expired_as_zero() {
    let (tree, users) = tree(Durability::InMemory);
    let first = swap(&tree, &users, Lsn(0), Some(b"1")).expect("it never existed");
    assert_eq!(swap(&tree, &users, Lsn(0), Some(b"2")), Err(conflict()));
    let second = swap(&tree, &users, first, Some(b"2")).expect("it is the version");
    assert_eq!(swap(&tree, &users, first, Some(b"3")), Err(conflict()));
    let deleted = swap(&tree, &users, second, None).expect("it is the version");
    assert_eq!(swap(&tree, &users, deleted, Some(b"3")), Err(conflict()), "a tombstone is 0");
    swap(&tree, &users, Lsn(0), Some(b"3")).expect("it was deleted");
    let expired = tree.put(&users, b"k", b"4", Some(TERMS.now)).expect("there is room");
    assert_eq!(swap(&tree, &users, expired, Some(b"5")), Err(conflict()));
    swap(&tree, &users, Lsn(0), Some(b"5")).expect("its time has passed");
    assert_eq!(get(&tree, &users, b"k"), Some(b"5".to_vec()));
}

#[test]
fn a_transaction_sees_its_own_writes_and_no_key_whose_time_has_passed() {
    let (tree, users) = tree(Durability::InMemory);
    let version = tree.put(&users, b"k", b"v", Some(TERMS.now + 1)).expect("there is room");
    tree.put(&users, b"gone", b"v", Some(TERMS.now)).expect("there is room");
    let mut txn = begin(&tree);
    let mut out = Vec::new();
    let mut read = |txn: &mut Transaction, key: &[u8]| {
        let seen = txn.get(&users, key, &mut out).expect("it is in memory");
        (seen, out.clone())
    };
    let stored = Seen { version: Some(version), deadline: Some(TERMS.now + 1), pointer: None };
    assert_eq!(read(&mut txn, b"k"), (Some(stored), b"v".to_vec()));
    assert_eq!(read(&mut txn, b"gone"), (None, Vec::new()));
    txn.put(&users, b"k", b"mine", None).expect("it fits");
    let own = Seen { version: None, deadline: None, pointer: None };
    assert_eq!(read(&mut txn, b"k"), (Some(own), b"mine".to_vec()));
    txn.put(&users, b"k", b"late", Some(TERMS.now)).expect("it fits");
    assert_eq!(read(&mut txn, b"k"), (None, Vec::new()));
    txn.delete(&users, b"k").expect("it fits");
    assert_eq!(read(&mut txn, b"k"), (None, Vec::new()));
    drop(txn);
    assert_eq!(get(&tree, &users, b"k"), Some(b"v".to_vec()), "nobody else has seen any of it");
}

#[test]
fn lengths_are_refused_where_they_are_given() {
    let (tree, users) = tree(Durability::InMemory);
    let mut txn = begin(&tree);
    assert_eq!(txn.put(&users, b"", b"v", None), Err(Error::KeyLength { len: 0 }));
    assert_eq!(txn.delete(&users, &[0; 65_536]), Err(Error::KeyLength { len: 65_536 }));
    let len = 65_524;
    let late = txn.put(&users, &vec![0; len], b"v", Some(9));
    assert_eq!(late, Err(Error::DeadlineKeyLength { len }));
    assert_eq!(txn.put(&users, &vec![0; len], b"v", None), Ok(()));
    assert_eq!(txn.put(&users, &vec![0; len - 1], b"v", Some(9)), Ok(()));
    txn.commit().expect("nobody interferes");
}

#[test]
fn a_commit_of_one_who_has_no_locks_queues_behind_those_who_do() {
    let (tree, users) = tree(Durability::InMemory);
    let mut locked = Locked::begin(&tree, TERMS);
    locked.put(&users, b"k", b"locked", None).expect("nobody else has it");
    assert!(matches!(tree.put(&users, b"k", b"v", None), Err(Pause::Locked(_))));
    let mut txn = begin(&tree);
    txn.put(&users, b"a", b"v", None).expect("it fits");
    txn.put(&users, b"k", b"after", None).expect("it fits");
    let Err(Pause::Wait(mut wait)) = txn.commit() else { panic!("it must wait") };
    assert!(!is_over(&mut wait));
    // It holds what comes before, and is first in the queue of what it waits for.
    let mut third = Locked::begin(&tree, TERMS);
    assert!(matches!(third.put(&users, b"a", b"", None), Err(Pause::Wait(_))));
    locked.commit().expect("nobody can interfere");
    assert!(is_over(&mut wait));
    txn.commit().expect("it has the locks");
    assert_eq!(get(&tree, &users, b"k"), Some(b"after".to_vec()));
    third.put(&users, b"a", b"", None).expect("the lock is free again");
    drop(third);
    assert!(tree.locks().is_empty());
}

#[test]
fn a_transaction_under_locks_is_over_when_it_is_over() {
    let (tree, users) = tree(Durability::InMemory);
    let mut locked = Locked::begin(&tree, TERMS);
    locked.put(&users, b"k", b"v", None).expect("nobody else has it");
    let version = locked.commit().expect("nobody can interfere");
    assert!(tree.locks().is_empty());
    assert_eq!(locked.put(&users, b"k", b"w", None).map_err(failure), Err(Error::Over));
    assert_eq!(locked.commit().map_err(failure), Err(Error::Over));
    assert_eq!(tree.tail().assigned(), version);
}

#[test]
fn who_reads_under_locks_is_told_what_it_rests_on() {
    let (tree, users) = tree(Durability::Strict);
    let version = tree.put(&users, b"k", b"v", None).expect("there is room");
    let mut locked = Locked::begin(&tree, TERMS);
    let mut out = Vec::new();
    let seen = locked.get(&users, b"k", Mode::Shared, &mut out).expect("it is free");
    assert!(seen.is_some() && tree.tail().visible() < version, "the latest, durable or not");
    assert_eq!(locked.rests_on(), version);
    tree.delete(&users, b"d").expect("there is room");
    locked.get(&users, b"d", Mode::Shared, &mut out).expect("it is free");
    assert_eq!(locked.rests_on(), tree.tail().assigned(), "that it is gone rests on something too");
}

#[test]
fn clearing_a_keyspace_is_a_conflict_for_all_who_read_in_it() {
    let (tree, users) = tree(Durability::InMemory);
    tree.put(&users, b"k", b"v", None).expect("there is room");
    let mut out = Vec::new();
    let (mut txn, mut locked) = (begin(&tree), Locked::begin(&tree, TERMS));
    txn.get(&users, b"k", &mut out).expect("it is in memory");
    txn.put(&users, b"x", b"", None).expect("it fits");
    locked.get(&users, b"k", Mode::Shared, &mut out).expect("it is free");
    tree.commit(&[], &[Op::Clear(USERS)]).expect("it asks nobody");
    let is_conflict = |error| matches!(error, Error::Conflict { keyspace: USERS, .. });
    assert!(txn.commit().map_err(failure).is_err_and(is_conflict));
    assert!(locked.commit().map_err(failure).is_err_and(is_conflict));
    // What comes after it is not concerned.
    let mut locked = Locked::begin(&tree, TERMS);
    assert_eq!(locked.get(&users, b"k", Mode::Shared, &mut out).expect("it is free"), None);
    locked.commit().expect("nobody interferes");
}

#[test]
fn what_rests_on_refused_writes_does_not_commit() {
    let (tree, users) = tree(Durability::Buffered);
    let mut records = Records::new();
    let durable = tree.tail().drain(&mut records);
    tree.tail().durable(durable);
    let refused = tree.put(&users, b"k", b"lost", None).expect("there is room");
    let mut out = Vec::new();
    let (mut txn, mut locked) = (begin(&tree), Locked::begin(&tree, TERMS));
    txn.get(&users, b"k", &mut out).expect("it is in memory");
    txn.put(&users, b"x", b"", None).expect("it fits");
    locked.get(&users, b"k", Mode::Shared, &mut out).expect("it is free");
    locked.put(&users, b"y", b"", None).expect("it is free");
    tree.tail().drain(&mut records);
    tree.tail().close(Error::Closed);
    tree.roll_back(refused, &records).expect("it is in memory");
    tree.tail().reopen();
    // The version is given again, so that versions alone would not tell.
    assert_eq!(tree.put(&users, b"other", b"", None).expect("there is room"), refused);
    let rolled_back = Err(Error::RolledBack { at: refused });
    assert_eq!(txn.get(&users, b"k", &mut out).map(|_| ()).map_err(failure), rolled_back);
    assert_eq!(txn.commit().map(|_| ()).map_err(failure), rolled_back);
    assert_eq!(locked.commit().map(|_| ()).map_err(failure), rolled_back);
    assert_eq!(get(&tree, &users, b"x").or(get(&tree, &users, b"y")), None);
}

fn row(id: u32, access: Access, key: &[u8]) -> Row<'_> {
    Row { id, access, keyspace: USERS, key }
}

fn run(tree: &Arc<Tree>, shot: &SingleShot<'_>, aborts: &Aborts) -> Outcome {
    match Execution::new(shot, tree, TERMS).run(aborts) {
        Ok(Progress::Done(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_shot_does_all_or_nothing_and_what_came_to_nothing_is_counted() {
    let (tree, users) = tree(Durability::InMemory);
    let aborts = Aborts::default();
    let rows = || vec![row(1, Access::Write, b"from"), row(2, Access::Write, b"to")];
    let asserts = [(1, Test::Type(Kind::Int)), (2, Test::NotExists)];
    let actions = [(1, Action::Add(-3)), (2, Action::Add(3))];
    let shot = SingleShot::new(rows(), &asserts, &actions).expect("it makes sense");
    let failed = run(&tree, &shot, &aborts);
    let abort = Abort::Assert { at: 0, id: 1, test: Test::Type(Kind::Int) };
    assert_eq!(failed, Outcome { version: tree.tail().assigned(), result: Err(abort) });
    let int = |number: i64| [&[2][..], &number.to_le_bytes()].concat();
    tree.put(&users, b"from", &int(10), None).expect("there is room");
    let done = run(&tree, &shot, &aborts);
    assert_eq!(done.result, Ok(vec![Some(int(7)), Some(int(3))]));
    assert_eq!(done.version, tree.tail().assigned());
    assert_eq!(
        [get(&tree, &users, b"from"), get(&tree, &users, b"to")],
        [Some(int(7)), Some(int(3))]
    );
    assert_eq!(
        run(&tree, &shot, &aborts).result,
        Err(Abort::Assert { at: 1, id: 2, test: Test::NotExists })
    );
    let counts: Vec<u64> = aborts.all().iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [0, 1, 1, 0, 0, 0, 0]);
    let nowhere = Row { keyspace: KeyspaceId(99), ..row(1, Access::Read, b"k") };
    let shot = SingleShot::new(vec![nowhere], &[], &[]).expect("it makes sense");
    let lost = Execution::new(&shot, &tree, TERMS).run(&aborts).map(|_| ()).map_err(failure);
    assert!(matches!(lost, Err(Error::NoKeyspace { .. })), "{lost:?}");
}

#[test]
fn a_shot_takes_a_key_whose_time_has_passed_for_missing() {
    let (tree, users) = tree(Durability::InMemory);
    tree.put(&users, b"k", b"\x04old", Some(TERMS.now)).expect("there is room");
    let put = Action::Put { value: b"\x04new", deadline: Some(TERMS.now + 5) };
    let rows = vec![row(1, Access::Write, b"k")];
    let shot = SingleShot::new(rows, &[(1, Test::NotExists)], &[(1, Action::Get), (1, put)]);
    let shot = shot.expect("it makes sense");
    assert_eq!(run(&tree, &shot, &Aborts::default()).result, Ok(vec![None]));
    assert_eq!(get(&tree, &users, b"k"), Some(b"\x04new".to_vec()));
}

#[test]
fn a_shot_that_meets_locks_waits_for_its_whole_table() {
    let (tree, _) = tree(Durability::InMemory);
    let mut holder = Holder::new(tree.locks(), TERMS.deadline);
    assert!(holder.lock(USERS, b"b", Mode::Shared).expect("alive").is_none());
    let rows = vec![row(1, Access::Read, b"a"), row(2, Access::Write, b"b")];
    let shot = SingleShot::new(rows, &[(1, Test::NotExists)], &[(2, Action::Add(1))]);
    let shot = shot.expect("it makes sense");
    let (aborts, mut execution) = (Aborts::default(), Execution::new(&shot, &tree, TERMS));
    let Err(Pause::Wait(mut wait)) = execution.run(&aborts) else { panic!("b is locked") };
    assert!(tree.locks().bars(None, USERS, b"a"), "what it reads is locked as well");
    drop(holder);
    assert!(is_over(&mut wait));
    assert!(matches!(execution.run(&aborts), Ok(Progress::Done(Outcome { result: Ok(_), .. }))));
    assert!(tree.locks().is_empty(), "it is done with its locks");
}

#[test]
fn terms_say_what_has_expired_not_the_clock() {
    let (tree, users) = tree(Durability::InMemory);
    tree.put(&users, b"k", b"v", Some(500)).expect("there is room");
    let mut out = Vec::new();
    for (now, is_there) in [(499, true), (500, false)] {
        let mut txn = Transaction::begin(&tree, Isolation::Snapshot, Terms { now, ..TERMS });
        let seen = txn.get(&users, b"k", &mut out).expect("it is in memory");
        assert_eq!(seen.is_some(), is_there, "{now}");
    }
}
