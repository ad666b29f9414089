//! Shots as bytes, and what they decide.

use proptest::prelude::*;

use super::{
    decide::{Decided, Holds},
    kind::int_value,
    *,
};

const KS: KeyspaceId = KeyspaceId(300);

fn row(id: u32, access: Access, key: &[u8]) -> Row<'_> {
    Row { id, access, keyspace: KS, key }
}

fn every() -> SingleShot<'static> {
    let rows = vec![row(7, Access::Write, b"to"), row(300, Access::Read, b"by")];
    let asserts = [
        (7, Test::Exists),
        (300, Test::NotExists),
        (7, Test::Type(Kind::Int)),
        (7, Test::IntEq(-2)),
        (300, Test::BytesHashEq([8; 32])),
        (300, Test::StringHashEq([9; 32])),
    ];
    let actions = [
        (300, Action::Get),
        (7, Action::Put { value: b"v", deadline: None }),
        (7, Action::Put { value: b"", deadline: Some(0x0102) }),
        (7, Action::Delete),
        (7, Action::Add(1)),
    ];
    SingleShot::new(rows, &asserts, &actions).expect("it makes sense")
}

fn encoded(shot: &SingleShot<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    shot.encode(&mut bytes);
    bytes
}

#[test]
fn golden() {
    #[rustfmt::skip]
    let head: &[u8] = &[
        1,
        2,
        7, 2, 0xac, 2, 2, b't', b'o',
        0xac, 2, 1, 0xac, 2, 2, b'b', b'y',
        6,
        1, 7,
        2, 0xac, 2,
        3, 7, 2,
        4, 7, 254, 255, 255, 255, 255, 255, 255, 255,
    ];
    #[rustfmt::skip]
    let tail: &[u8] = &[
        5,
        1, 0xac, 2,
        2, 7, 1, b'v',
        3, 7, 0, 2, 1, 0, 0, 0, 0, 0, 0,
        4, 7,
        5, 7, 1, 0, 0, 0, 0, 0, 0, 0,
    ];
    let hashes = [&[5, 0xac, 2][..], &[8; 32], &[6, 0xac, 2], &[9; 32]].concat();
    let golden = [head, &hashes, tail].concat();
    assert_eq!(encoded(&every()), golden);
    assert_eq!(SingleShot::decode(&golden), Ok(every()));
}

#[test]
fn cut_or_changed_bytes_are_refused_or_are_another_shot() {
    let whole = encoded(&every());
    for end in 0..whole.len() {
        let read = SingleShot::decode(&whole[..end]);
        assert!(matches!(read, Err(ShotError::Senseless { at }) if at <= end), "cut at {end}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert_eq!(SingleShot::decode(&longer), Err(ShotError::Senseless { at: whole.len() }));
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            // One encoding per shot, but for the order of rows, which new() restores.
            if let Ok(shot) = SingleShot::decode(&bytes) {
                assert_eq!(SingleShot::decode(&encoded(&shot)), Ok(shot), "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn what_makes_no_sense_is_told() {
    let read =
        |rows, asserts: &[_], actions: &[_]| SingleShot::new(rows, asserts, actions).map(|_| ());
    let w = |id, key| row(id, Access::Write, key);
    let same = read(vec![w(1, b"a"), w(1, b"b")], &[], &[]);
    assert_eq!(same, Err(ShotError::SameId { id: 1 }));
    let same = read(vec![w(2, b"a"), w(1, b"a")], &[], &[]);
    assert_eq!(same, Err(ShotError::SameKey { one: 1, other: 2 }));
    let elsewhere = Row { keyspace: KeyspaceId(16), ..w(2, b"a") };
    assert_eq!(read(vec![elsewhere, w(1, b"a")], &[], &[]), Ok(()));
    let unknown = Err(ShotError::NoSuchId { id: 2 });
    assert_eq!(read(vec![w(1, b"a")], &[(2, Test::Exists)], &[]), unknown);
    assert_eq!(read(vec![w(1, b"a")], &[], &[(2, Action::Get)]), unknown);
    for action in [Action::Delete, Action::Add(1), Action::Put { value: b"", deadline: None }] {
        let refused = read(vec![row(1, Access::Read, b"a")], &[], &[(1, action)]);
        assert_eq!(refused, Err(ShotError::ReadOnly { id: 1 }), "{action:?}");
    }
    assert_eq!(read(vec![w(1, b"")], &[], &[]), Err(ShotError::KeyLength { id: 1, len: 0 }));
    let keys: Vec<[u8; 4]> = (0..=KEYS_MAX as u32).map(u32::to_be_bytes).collect();
    let rows = (0..).zip(&keys).map(|(id, key)| w(id, key)).collect();
    let (count, max) = (KEYS_MAX + 1, KEYS_MAX);
    assert_eq!(read(rows, &[], &[]), Err(ShotError::TooMany { of: "keys", count, max }));
    let huge = [1, 0xff, 0xff, 0xff, 0xff, 0x0f];
    let count = u32::MAX as usize;
    assert_eq!(
        SingleShot::decode(&huge).map(|_| ()),
        Err(ShotError::TooMany { of: "keys", count, max }),
        "before any room is made"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_or_deciding_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        tail in prop::collection::vec(any::<u8>(), 0..40),
        held in prop::collection::vec(prop::option::of(prop::collection::vec(0..9_u8, 0..12)), 2),
    ) {
        let mut bytes = encoded(&every());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() * 4));
        bytes.extend_from_slice(&tail[..tail.len() % (bytes.len() % 3 + 1)]);
        if let Ok(shot) = SingleShot::decode(&bytes) {
            let again = encoded(&shot);
            prop_assert_eq!(SingleShot::decode(&again), Ok(shot.clone()));
            let held: Vec<_> = held.into_iter().map(|value| value.and_then(holds)).collect();
            if held.len() == shot.rows().len() {
                let decided = shot.decide(&held).map(|decided| decided.writes.len());
                prop_assert!(decided.is_err() || decided == Ok(held.len()));
            }
        }
    }
}

fn holds(value: impl Into<Vec<u8>>) -> Option<Holds> {
    Some(Holds { value: value.into(), deadline: None })
}

#[test]
fn an_assert_holds_or_does_not() {
    let hash = |payload: &[u8]| *blake3::hash(payload).as_bytes();
    let (text, bytes) = (b"\x04abc".to_vec(), b"\x05abc".to_vec());
    let values = [None, holds(int_value(5)), holds(text), holds(bytes), holds(b"\xffraw".to_vec())];
    let expected = [
        (Test::Exists, [false, true, true, true, true]),
        (Test::NotExists, [true, false, false, false, false]),
        (Test::Type(Kind::Int), [false, true, false, false, false]),
        (Test::Type(Kind::String), [false, false, true, false, false]),
        (Test::IntEq(5), [false, true, false, false, false]),
        (Test::IntEq(6), [false; 5]),
        (Test::StringHashEq(hash(b"abc")), [false, false, true, false, false]),
        (Test::BytesHashEq(hash(b"abc")), [false, false, false, true, false]),
        (Test::BytesHashEq(hash(b"\x05abc")), [false; 5]),
    ];
    let aborts = Aborts::default();
    for (test, holding) in expected {
        let rows = vec![row(1, Access::Read, b"k")];
        let shot = SingleShot::new(rows, &[(1, test)], &[]).expect("it makes sense");
        for (value, holding) in values.iter().zip(holding) {
            let decided = shot.decide(std::slice::from_ref(value)).map(|_| ());
            let failed = Abort::Assert { at: 0, id: 1, test };
            let judged = if holding { Ok(()) } else { Err(failed) };
            assert_eq!(decided, judged, "{test:?} of {value:?}");
            let _ = decided.inspect_err(|abort| aborts.count(abort));
        }
    }
    let counts: Vec<u64> = aborts.all().iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [1, 4, 8, 9, 9, 4, 0]);
}

#[test]
fn the_first_assert_that_fails_is_told_and_nothing_is_done() {
    let rows = vec![row(1, Access::Write, b"a"), row(2, Access::Write, b"b")];
    let asserts = [(1, Test::Exists), (2, Test::Exists), (2, Test::IntEq(1))];
    let shot = SingleShot::new(rows, &asserts, &[(1, Action::Delete)]).expect("it makes sense");
    let failed = Abort::Assert { at: 1, id: 2, test: Test::Exists };
    assert_eq!(shot.decide(&[holds("x"), None]), Err(failed));
}

#[test]
fn operations_see_those_before_them_and_asserts_see_none() {
    let rows = vec![row(1, Access::Write, b"a"), row(2, Access::Write, b"b")];
    let put = Action::Put { value: b"v", deadline: Some(9) };
    let actions = [
        (1, Action::Get),
        (1, put),
        (1, Action::Get),
        (2, Action::Add(3)),
        (2, Action::Add(-1)),
        (1, Action::Delete),
        (1, Action::Get),
    ];
    let shot = SingleShot::new(rows, &[(1, Test::NotExists)], &actions).expect("it makes sense");
    let two = Holds { value: int_value(2), deadline: None };
    let three = Some(int_value(3));
    let answers = vec![None, Some(b"v".to_vec()), three, Some(two.value.clone()), None];
    let writes = vec![Some(None), Some(Some(two))];
    assert_eq!(shot.decide(&[None, None]), Ok(Decided { writes, answers }));
}

#[test]
fn adding_keeps_the_deadline_and_refuses_what_is_no_sum() {
    let rows = vec![row(1, Access::Write, b"a")];
    let shot = SingleShot::new(rows, &[], &[(1, Action::Add(1))]).expect("it makes sense");
    let until = |value: Vec<u8>| Some(Holds { value, deadline: Some(77) });
    let decided = shot.decide(&[until(int_value(1))]).expect("a sum");
    assert_eq!(decided.writes, [Some(until(int_value(2)))]);
    assert_eq!(shot.decide(&[until(int_value(i64::MAX))]), Err(Abort::Overflow { id: 1 }));
    assert_eq!(shot.decide(&[until(b"\x04x".to_vec())]), Err(Abort::NotAnInt { id: 1 }));
}
