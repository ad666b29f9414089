//! Every anomaly of the literature: who permits it, and that serializable transactions permit none.
//!
//! The scripts are those of Berenson et al. (*A critique of ANSI SQL isolation levels*, 1995),
//! Adya (1999) and, for the read-only anomaly, Fekete et al. (2004).

use std::collections::BTreeSet;

use super::{
    history::Anomaly,
    script::{
        End,
        Level::{self, Alone, Locked, Serializable, Snapshot},
        Step::{self, Abort, Commit, Delete, Get, Put, Scan},
        World,
    },
};
use crate::{Durability, Error};

/// What a level shows when scripts are run in an order, and how they end.
fn shown(
    level: Level,
    before: &[Step],
    scripts: &[&[Step]],
    order: &[usize],
) -> (BTreeSet<Anomaly>, Vec<End>) {
    let mut world = World::new(Durability::InMemory);
    world.run(Level::Alone, &[before], &[]);
    let ends = world.run(level, scripts, order);
    world.history.assert_reads();
    if level >= Level::Serializable {
        world.history.assert_serial();
    }
    (world.history.anomalies(), ends)
}

/// Runs an anomaly's scripts at every level. `Alone` must show it, serializable levels nothing, and
/// at every level somebody gets through. Returns what `Snapshot` shows.
fn at_every_level(
    anomaly: Anomaly,
    before: &[Step],
    scripts: &[&[Step]],
    order: &[usize],
) -> BTreeSet<Anomaly> {
    let at = |level| {
        let (shown, ends) = shown(level, before, scripts, order);
        let is_wanted = |end: &End| matches!(end, End::Committed | End::Aborted);
        assert!(ends.iter().any(is_wanted), "{level:?}: {ends:?}");
        for end in ends {
            let lost = matches!(
                end,
                End::Failed(Error::Conflict { .. } | Error::Deadlock { .. }) | End::Committed
            );
            assert!(lost || end == End::Aborted, "{level:?}: {end:?}");
        }
        shown
    };
    assert!(at(Alone).contains(&anomaly), "unprotected, {anomaly:?} happens");
    assert_eq!(at(Serializable), BTreeSet::new(), "serializable");
    assert_eq!(at(Locked), BTreeSet::new(), "under locks");
    at(Snapshot)
}

const NONE: BTreeSet<Anomaly> = BTreeSet::new();

#[test]
fn g0_dirty_write() {
    let scripts: [&[Step]; 2] = [&[Put("x"), Put("y"), Commit], &[Put("x"), Put("y"), Commit]];
    assert_eq!(at_every_level(Anomaly::G0, &[Commit], &scripts, &[0, 1, 1, 0]), NONE);
}

#[test]
fn g1a_aborted_read() {
    let scripts: [&[Step]; 2] = [&[Put("x"), Abort], &[Get("x"), Commit]];
    assert_eq!(at_every_level(Anomaly::G1a, &[Commit], &scripts, &[0, 1, 0, 1]), NONE);
}

#[test]
fn g1b_intermediate_read() {
    let scripts: [&[Step]; 2] = [&[Put("x"), Put("x"), Commit], &[Get("x"), Commit]];
    assert_eq!(at_every_level(Anomaly::G1b, &[Commit], &scripts, &[0, 1, 0, 0, 1]), NONE);
}

#[test]
fn g1c_circular_flow() {
    let scripts: [&[Step]; 2] = [&[Put("x"), Get("y"), Commit], &[Put("y"), Get("x"), Commit]];
    let shown = at_every_level(Anomaly::G1c, &[Commit], &scripts, &[0, 1, 0, 1, 0, 1]);
    // Neither sees the other's write, which is write skew; the flow itself is prevented.
    assert_eq!(shown, [Anomaly::G2Item].into());
}

#[test]
fn g_single_read_skew() {
    let before = [Put("x"), Put("y"), Commit];
    let scripts: [&[Step]; 2] =
        [&[Get("x"), Get("y"), Put("z"), Commit], &[Put("x"), Put("y"), Commit]];
    assert_eq!(at_every_level(Anomaly::GSingle, &before, &scripts, &[0, 1, 1, 1, 0]), NONE);
}

#[test]
fn lost_update() {
    let before = [Put("x"), Commit];
    let scripts: [&[Step]; 2] = [&[Get("x"), Put("x"), Commit], &[Get("x"), Put("x"), Commit]];
    assert_eq!(at_every_level(Anomaly::GSingle, &before, &scripts, &[0, 1, 1, 1, 0]), NONE);
}

#[test]
fn lost_update_of_a_key_that_was_not_there() {
    let scripts: [&[Step]; 2] = [&[Get("x"), Put("x"), Commit], &[Get("x"), Put("x"), Commit]];
    assert_eq!(at_every_level(Anomaly::GSingle, &[Commit], &scripts, &[0, 1, 1, 1, 0]), NONE);
}

#[test]
fn g2_write_skew() {
    let before = [Put("x"), Put("y"), Commit];
    let scripts: [&[Step]; 2] =
        [&[Get("x"), Get("y"), Put("x"), Commit], &[Get("x"), Get("y"), Put("y"), Commit]];
    let shown = at_every_level(Anomaly::G2Item, &before, &scripts, &[0, 0, 1, 1, 0, 1]);
    assert_eq!(shown, [Anomaly::G2Item].into(), "the snapshot level permits it");
}

#[test]
fn phantom() {
    // A range is read twice and has another key the second time.
    let scripts: [&[Step]; 2] = [&[Scan("a", "n"), Scan("a", "n"), Commit], &[Put("b"), Commit]];
    assert_eq!(at_every_level(Anomaly::Phantom, &[Commit], &scripts, &[0, 1, 1, 0]), NONE);
}

#[test]
fn phantom_write_skew() {
    // Each makes sure that a range is empty and then puts a key into it.
    let scripts: [&[Step]; 2] =
        [&[Scan("a", "n"), Put("b"), Commit], &[Scan("a", "n"), Put("c"), Commit]];
    let shown = at_every_level(Anomaly::Phantom, &[Commit], &scripts, &[0, 1, 0, 1]);
    assert_eq!(shown, [Anomaly::Phantom].into(), "the snapshot level permits it");
}

#[test]
fn phantom_by_deletion() {
    // Each relies on the key that the other deletes.
    let before = [Put("b"), Put("c"), Commit];
    let scripts: [&[Step]; 2] =
        [&[Scan("a", "n"), Delete("b"), Commit], &[Scan("a", "n"), Delete("c"), Commit]];
    let shown = at_every_level(Anomaly::G2Item, &before, &scripts, &[0, 1, 0, 1]);
    assert_eq!(shown, [Anomaly::G2Item].into(), "the snapshot level permits it");
}

const READ_ONLY: [&[Step]; 3] = [
    &[Get("x"), Get("y"), Put("x"), Commit],
    &[Get("y"), Put("y"), Commit],
    &[Get("x"), Get("y"), Commit],
];

#[test]
fn read_only_anomaly() {
    let before = [Put("x"), Put("y"), Commit];
    let order = [0, 0, 1, 1, 1, 2, 2, 2, 0, 0];
    let shown = at_every_level(Anomaly::G2Item, &before, &READ_ONLY, &order);
    assert_eq!(shown, [Anomaly::G2Item].into(), "the snapshot level permits it");
    let (without, ends) = self::shown(Snapshot, &before, &READ_ONLY[..2], &[0, 0, 1, 1, 1, 0, 0]);
    assert_eq!((without, ends), (NONE, vec![End::Committed; 2]), "it takes the reader to show it");
}

#[test]
fn a_reader_is_never_held_up_nor_refused() {
    let before = [Put("x"), Put("y"), Commit];
    let scripts: [&[Step]; 2] = [
        &[Get("x"), Scan("a", "z"), Get("y"), Commit],
        &[Put("x"), Put("y"), Delete("y"), Put("m"), Commit],
    ];
    for level in [Snapshot, Serializable] {
        let ends = shown(level, &before, &scripts, &[0, 1, 1, 1, 1, 1]);
        assert_eq!(ends, (NONE, vec![End::Committed; 2]), "{level:?}");
    }
}

#[test]
fn blind_writes_never_conflict() {
    let scripts: [&[Step]; 2] = [&[Put("x"), Put("y"), Commit], &[Put("y"), Put("x"), Commit]];
    let ends = shown(Serializable, &[Commit], &scripts, &[0, 1, 0, 1, 1, 0]);
    assert_eq!(ends, (NONE, vec![End::Committed; 2]));
}

#[test]
fn the_conflict_names_the_key() {
    let before = [Put("x"), Put("y"), Commit];
    let scripts: [&[Step]; 2] =
        [&[Get("x"), Scan("l", "z"), Put("a"), Commit], &[Put("m"), Put("z"), Commit]];
    let (_, ends) = shown(Serializable, &before, &scripts, &[0, 0, 1, 1, 1]);
    assert!(
        matches!(&ends[0], End::Failed(Error::Conflict { key, .. }) if key == b"m"),
        "{ends:?}"
    );
}

#[test]
fn only_what_was_scanned_conflicts() {
    let before = [Put("b"), Put("d"), Put("f"), Commit];
    let some = Step::ScanSome("a", "z", 2);
    for (key, expected) in [("c", false), ("d", false), ("d0", true), ("e", true)] {
        let scripts: [&[Step]; 2] = [&[some, Put("out"), Commit], &[Put(key), Commit]];
        let (_, ends) = shown(Serializable, &before, &scripts, &[0, 1, 1]);
        assert_eq!(ends[0] == End::Committed, expected, "{key}");
    }
}
