//! Names: paths, and what a power cut may take back.

use std::collections::BTreeSet;

use orloj_kernel::{DiskErrorKind, OpenMode};

use super::{ALWAYS, LAWFUL, Rig};
use crate::{choice::Choices, disk::DiskFaults, explore::every_way, fault::FaultClass};

fn names(rig: &Rig, dir: &str) -> Vec<String> {
    rig.disk.list(dir).unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn paths_lead_where_they_say() {
    use DiskErrorKind::{AlreadyExists, BadPath, NotFound};
    let mut rig = Rig::new(1);
    rig.create_dir("a/b//c").unwrap();
    rig.create_dir("a/b").unwrap();
    let file = rig.create("/a/./b/../b/f");
    rig.write(file, 0, b"1234").unwrap();
    let entries = rig.disk.list("a/b/").unwrap();
    let shown: Vec<_> = entries.iter().map(|e| (&e.name[..], e.len, e.is_dir)).collect();
    assert_eq!(shown, [("c", 0, true), ("f", 4, false)]);
    for (path, mode, want) in [
        ("a/x", OpenMode::Read, NotFound),
        ("x/y", OpenMode::Create, NotFound),
        ("a/b", OpenMode::Create, BadPath),
        ("", OpenMode::Read, BadPath),
        ("a/b", OpenMode::CreateNew, AlreadyExists),
        ("a/b/f", OpenMode::CreateNew, AlreadyExists),
        ("a/b/f/", OpenMode::Read, BadPath),
        ("a/b/f/g", OpenMode::Create, BadPath),
        ("new/", OpenMode::Create, BadPath),
        ("nul\0", OpenMode::Create, BadPath),
    ] {
        assert_eq!(rig.open(path, mode), Err(want), "{path:?} {mode:?}");
    }
    assert_eq!(rig.open(&"n".repeat(256), OpenMode::Create), Err(BadPath));
    assert_eq!(rig.create_dir("a/b/f/g"), Err(BadPath));
    assert_eq!(rig.create_dir("a/b/f"), Err(BadPath));
    assert_eq!(rig.disk.list("a/b/f"), Err(BadPath));
    assert_eq!(rig.disk.list("nowhere"), Err(NotFound));
    assert_eq!(rig.sync_dir("nowhere"), Err(NotFound));
    assert_eq!(rig.sync_dir("a/b/f"), Err(BadPath));
    assert_eq!(rig.disk.remove("a/b"), Err(BadPath));
    assert_eq!(rig.disk.remove("a/x"), Err(NotFound));
}

#[test]
fn renames_replace_and_refuse() {
    use DiskErrorKind::{BadPath, NotFound};
    let mut rig = Rig::new(1);
    let (a, b) = (rig.create("a"), rig.create("b"));
    rig.write(a, 0, b"A").unwrap();
    rig.write(b, 0, b"B").unwrap();
    rig.create_dir("d/e").unwrap();
    rig.disk.rename("a", "b").unwrap();
    rig.disk.rename("b", "b").unwrap();
    assert_eq!((rig.contents("a"), rig.contents("b")), (None, Some(b"A".to_vec())));
    assert_eq!(rig.read(b), b"B", "an open file outlives its name");
    assert_eq!(rig.disk.rename("a", "c"), Err(NotFound));
    assert_eq!(rig.disk.rename("b", "d"), Err(BadPath));
    assert_eq!(rig.disk.rename("d", "b"), Err(BadPath));
    assert_eq!(rig.disk.rename("d", "d/e/x"), Err(BadPath));
    assert_eq!(rig.disk.rename("b", "c/"), Err(BadPath));
    rig.create_dir("empty").unwrap();
    rig.disk.rename("d", "empty").unwrap();
    assert_eq!(names(&rig, ""), ["b", "empty"]);
    assert_eq!(names(&rig, "empty"), ["e"]);
    assert_eq!(rig.disk.rename("b", "empty"), Err(BadPath));
}

#[test]
fn locks_exclude_until_released_or_crashed() {
    let mut rig = Rig::new(1);
    let (disk, mut luck) = rig.luck();
    let lock = disk.lock("l", &mut luck).unwrap();
    assert_eq!(disk.lock("l", &mut luck), Err(DiskErrorKind::Locked));
    disk.unlock(lock);
    let again = disk.lock("l", &mut luck).unwrap();
    disk.process_crash();
    disk.unlock(again);
    disk.lock("l", &mut luck).unwrap();
    disk.power_cut(&mut luck);
    disk.lock("l", &mut luck).unwrap();
}

/// What is left of the names, and of the one byte in each file, after every possible power cut.
fn outcomes(before: impl Fn(&mut Rig), after: impl Fn(&mut Rig)) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    every_way(|choices: Choices| {
        let mut rig = Rig::with(choices);
        before(&mut rig);
        rig.disk.set_faults(DiskFaults { lost_write: 0, ..LAWFUL });
        after(&mut rig);
        rig.power_cut();
        let mut left = String::new();
        show(&mut rig, "", &mut left);
        seen.insert(left);
        rig.choices
    });
    seen
}

fn show(rig: &mut Rig, dir: &str, out: &mut String) {
    for entry in rig.disk.list(dir).unwrap() {
        let path = format!("{dir}{}", entry.name);
        if entry.is_dir {
            *out += &format!("{path}/ ");
            show(rig, &format!("{path}/"), out);
        } else {
            let bytes = rig.contents(&path).unwrap();
            *out += &format!("{path}={} ", String::from_utf8(bytes).unwrap());
        }
    }
}

fn put(rig: &mut Rig, path: &str, text: &str) {
    let file = rig.create(path);
    rig.write(file, 0, text.as_bytes()).unwrap();
    rig.disk.close(file);
}

fn set(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|s| s.to_string()).collect()
}

#[test]
fn a_rename_leaves_the_old_or_the_new() {
    let got = outcomes(
        |rig| {
            put(rig, "f", "1");
            rig.sync_dir("").unwrap();
        },
        |rig| {
            put(rig, "f.tmp", "2");
            rig.disk.rename("f.tmp", "f").unwrap();
        },
    );
    assert_eq!(got, set(&["f=1 ", "f=1 f.tmp=2 ", "f=2 "]));
}

#[test]
fn unrelated_changes_survive_in_any_order() {
    let got = outcomes(
        |rig| {
            put(rig, "a", "1");
            rig.sync_dir("").unwrap();
        },
        |rig| {
            rig.disk.remove("a").unwrap();
            put(rig, "b", "2");
        },
    );
    assert_eq!(got, set(&["", "a=1 ", "a=1 b=2 ", "b=2 "]));
}

#[test]
fn a_chain_over_one_file_keeps_its_order() {
    let got = outcomes(
        |rig| {
            put(rig, "a", "1");
            rig.sync_dir("").unwrap();
        },
        |rig| {
            rig.disk.rename("a", "b").unwrap();
            put(rig, "a", "2");
            rig.disk.rename("b", "c").unwrap();
        },
    );
    assert_eq!(got, set(&["a=1 ", "b=1 ", "c=1 ", "a=2 b=1 ", "a=2 c=1 "]));
}

#[test]
fn a_directory_sync_covers_its_names_and_not_its_own() {
    let got = outcomes(
        |_| {},
        |rig| {
            rig.create_dir("d").unwrap();
            put(rig, "d/f", "1");
            rig.sync_dir("d").unwrap();
        },
    );
    assert_eq!(got, set(&["", "d/ d/f=1 "]));
    let synced = outcomes(
        |_| {},
        |rig| {
            rig.create_dir("d").unwrap();
            rig.sync_dir("").unwrap();
            put(rig, "d/f", "1");
            put(rig, "d/g", "2");
            rig.sync_dir("d").unwrap();
            rig.disk.remove("d/g").unwrap();
        },
    );
    assert_eq!(synced, set(&["d/ d/f=1 ", "d/ d/f=1 d/g=2 "]));
}

#[test]
fn a_rename_belongs_to_the_directory_it_moves_to() {
    let before = |rig: &mut Rig| {
        rig.create_dir("d").unwrap();
        put(rig, "f", "1");
        rig.sync_dir("").unwrap();
    };
    let moved = |rig: &mut Rig| rig.disk.rename("f", "d/f").unwrap();
    let source = outcomes(before, |rig| {
        moved(rig);
        rig.sync_dir("").unwrap();
    });
    assert_eq!(source, set(&["d/ d/f=1 ", "d/ f=1 "]));
    let target = outcomes(before, |rig| {
        moved(rig);
        rig.sync_dir("d").unwrap();
    });
    assert_eq!(target, set(&["d/ d/f=1 "]));
}

#[test]
fn a_sync_of_a_directory_covers_what_was_done_before_it_began() {
    let got = outcomes(
        |_| {},
        |rig| {
            put(rig, "a", "1");
            let sync = rig.disk.begin_sync_dir("").unwrap();
            put(rig, "b", "2");
            let (disk, mut luck) = rig.luck();
            disk.end_sync_dir(sync, &mut luck).unwrap();
        },
    );
    assert_eq!(got, set(&["a=1 ", "a=1 b=2 "]));
}

#[test]
fn an_ordered_cut_takes_names_back_from_the_end() {
    let mut seen = BTreeSet::new();
    every_way(|choices| {
        let mut rig = Rig::with(choices);
        rig.disk.set_faults(DiskFaults { reorder: 0, ..LAWFUL });
        for name in ["c", "a", "b"] {
            rig.create(name);
        }
        rig.power_cut();
        seen.insert(names(&rig, "").join(" "));
        assert_eq!(rig.count(FaultClass::DiskReorder), 0);
        rig.choices
    });
    assert_eq!(seen, set(&["", "c", "a c", "a b c"]));
}

#[test]
fn lost_names_are_counted_when_they_are_missed() {
    let mut rig = Rig::new(1);
    put(&mut rig, "old", "1");
    rig.sync_dir("").unwrap();
    rig.disk.set_faults(DiskFaults {
        lost_name: ALWAYS,
        lost_rename: ALWAYS,
        reorder: ALWAYS,
        ..DiskFaults::NONE
    });
    put(&mut rig, "passing", "2");
    rig.disk.remove("passing").unwrap();
    put(&mut rig, "new", "3");
    rig.disk.rename("old", "older").unwrap();
    rig.power_cut();
    assert_eq!(names(&rig, ""), ["old"]);
    let counts = (rig.count(FaultClass::DiskLostName), rig.count(FaultClass::DiskLostRename));
    assert_eq!(counts, (1, 1));
    assert_eq!(rig.disk.used(), 4_096, "what has no name takes no room");
}
