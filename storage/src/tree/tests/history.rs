//! History applied again and history taken back.

use proptest::prelude::*;

use super::*;
use crate::{journal::Records, record::ops};

const PAGE: usize = 300;

/// Writes of one key each: which keyspace, which key, and how long the value is, if there is one.
type Script = Vec<(u8, u8, Option<usize>)>;

fn script() -> impl Strategy<Value = Script> {
    let value = prop::option::weighted(0.8, prop_oneof![9 => 0..40_usize, 1 => Just(90_usize)]);
    prop::collection::vec((0..3_u8, 0..40_u8, value), 0..150)
}

fn space(of: u8) -> KeyspaceId {
    [NEWEST_ONLY, ALL, LAST_3][usize::from(of)]
}

fn run(tree: &Tree, model: &mut Model, script: &Script) {
    for (of, key, value) in script {
        let of = tree.keyspace(space(*of)).expect("it is there");
        let value = value.map(|len| vec![tree.tail().assigned().0 as u8; len]);
        let (keyspace, key) = (of.id(), &[*key][..]);
        let at = match &value {
            Some(value) if key[0] % 2 == 0 => {
                tree.commit(&[], &[Op::Put { keyspace, key, value, deadline: None }])
            }
            Some(value) => tree.put(&of, key, value, None),
            None => tree.delete(&of, key),
        };
        model.write(keyspace, key, at.expect("there is room"), value.as_deref());
    }
}

fn same(tree: &Tree, model: &Model) {
    let newest = tree.tail().assigned();
    for of in tree.keyspaces().iter() {
        audit(of);
        assert_eq!(walk(of, b"", None, newest, |_| true), model.scan(of.id(), newest));
    }
    let all = tree.keyspace(ALL).expect("it is there");
    for at in (0..newest.0).map(Lsn) {
        assert_eq!(walk(&all, b"", None, at, |_| false), model.scan(ALL, at), "at {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 80, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn replaying_the_journal_gives_the_same_tree(
        script in script(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (origin, mut model) = (tree(PAGE, Durability::Buffered), Model::default());
        let first = origin.tail().assigned().next();
        let mut records = Records::new();
        origin.tail().drain(&mut records);
        run(&origin, &mut model, &script);
        let last = origin.tail().drain(&mut records);
        let mut history: Vec<(Lsn, Op<'_>)> = Vec::new();
        for (at, record) in records.iter().enumerate() {
            let ops = ops(record).map(|op| op.expect("it makes sense"));
            history.extend(ops.map(|op| (first.plus(at as u64), op)));
        }
        let place = |op: &Op<'_>| match *op {
            Op::Put { keyspace, key, .. } => (keyspace, key.to_vec()),
            Op::Delete { keyspace, key } => (keyspace, key.to_vec()),
            _ => unreachable!("the script writes keys only"),
        };
        let copy = tree(PAGE, Durability::Buffered);
        // Replayed in two batches, the first of them twice, as after a crash during recovery.
        let (one, two) = history.split_at(cut.index(history.len() + 1));
        for part in [one, one, two] {
            let mut part = part.to_vec();
            part.sort_by_key(|(version, op)| (place(op), *version));
            let mut rest = &part[..];
            copy.apply_sorted(&mut rest).expect("all is in memory");
            prop_assert!(rest.is_empty());
        }
        copy.tail().recovered(last);
        same(&copy, &model);
    }

    #[test]
    fn what_is_taken_back_never_was(
        before in script(),
        drained in script(),
        waiting in script(),
        after in script(),
    ) {
        let (tree, mut model) = (tree(PAGE, Durability::Buffered), Model::default());
        let mut records = Records::new();
        run(&tree, &mut model, &before);
        let written = tree.tail().drain(&mut records);
        tree.tail().durable(written);
        let kept = tree.snapshot();
        let mut lost = model.clone();
        run(&tree, &mut lost, &drained);
        tree.tail().drain(&mut records);
        let gone = tree.snapshot();
        run(&tree, &mut lost, &waiting);
        tree.tail().close(Error::Closed);
        tree.roll_back(written.next(), &records).expect("all is in memory");
        prop_assert_eq!(tree.tail().assigned(), written);
        prop_assert_eq!(kept.check(), Ok(()));
        prop_assert_eq!(gone.check().is_err(), gone.version() > written);
        same(&tree, &model);
        tree.tail().reopen();
        run(&tree, &mut model, &after);
        same(&tree, &model);
    }
}

#[test]
fn clears_creations_and_drops_are_taken_back() {
    let tree = tree(PAGE, Durability::Buffered);
    let mut model = Model::default();
    run(&tree, &mut model, &(0..40).map(|n| (0, n, Some(20))).collect());
    let written = tree.tail().drain(&mut Records::new());
    tree.tail().durable(written);
    let keep = Retention::default();
    let ops: [&[Op<'_>]; 4] = [
        &[Op::Clear(NEWEST_ONLY)],
        &[Op::Put { keyspace: NEWEST_ONLY, key: b"new", value: b"v", deadline: None }],
        &[Op::Create { keyspace: KeyspaceId(50), name: "lost", keep }],
        &[Op::Drop(LAST_3)],
    ];
    for ops in ops {
        tree.commit(&[], ops).expect("no checks");
    }
    assert_eq!(tree.next_keyspace(), KeyspaceId(51));
    tree.tail().close(Error::Closed);
    tree.roll_back(written.next(), &Records::new()).expect("all is in memory");
    assert!(tree.named("lost").is_err());
    assert_eq!(tree.next_keyspace(), KeyspaceId(19), "nobody was told of any that was lost");
    assert!(tree.named("last 3").is_ok());
    same(&tree, &model);
}
