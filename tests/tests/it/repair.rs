//! Goal: `orloj repair` makes a damaged directory open again and says what is lost, `orloj compact`
//! gives room back and changes nothing else, and both say in one line why they do nothing.
//! Method: databases made through the engine on the host's runtime; the tool as a process.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    mounted::Mounted,
    tool::{context, flip, made, object, orloj, write},
};

/// The files below a directory, but for the lock.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("it is there") {
        let path = entry.expect("it is there").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("LOCK") {
            let bytes = fs::read(&path).expect("it is there");
            found.insert(path, bytes);
        }
    }
    found
}

/// The object that the tool prints.
fn told(command: &str, dir: &Path, flags: &[&str]) -> (Option<i32>, Value) {
    let (status, said, complaint) = orloj(command, dir, &[flags, &["--json"]].concat());
    assert_eq!(complaint, "", "{command} {flags:?}");
    (status, serde_json::from_str(&said).expect("one object"))
}

fn refused(command: &str, dir: &Path, flags: &[&str], what: &str) {
    let (status, said, complaint) = orloj(command, dir, flags);
    assert_eq!((status, &said[..]), (Some(2), ""), "{command}: {complaint}");
    assert_eq!(complaint.lines().count(), 1, "{command}: {complaint}");
    assert!(complaint.starts_with("orloj: ") && complaint.contains(what), "{command}: {complaint}");
}

/// As [`made`], and the journal has nothing left that is in a generation too.
fn settled() -> TempDir {
    let dir = made();
    assert_eq!(told("compact", dir.path(), &["--wal-only"]).0, Some(0));
    dir
}

fn content(dir: &Path) -> Value {
    let (status, hash) = object("hash", dir);
    assert_eq!(status, Some(0));
    hash["content"].clone()
}

#[test]
fn a_damaged_value_is_lost_and_told_and_everything_else_is_there() {
    let dir = settled();
    let dir = dir.path();
    flip(&dir.join("vlog").join("vlog-000001.seg"), 1024 + 2000);
    let before = files(dir);
    let (status, said, complaint) = orloj("repair", dir, &["--dry-run"]);
    assert_eq!((status, &complaint[..]), (Some(1), ""), "{said}");
    assert!(said.starts_with("found: damage: "), "{said}");
    let lost = "lost: keyspace \"users\" (16): value 2 of key \"user 00000\"";
    assert!(said.contains(lost), "{said}");
    assert!(said.ends_with("would lose 1 things; nothing was changed\n"), "{said}");
    assert!(files(dir) == before, "a dry run changes nothing");

    let (status, plan) = told("repair", dir, &["--dry-run"]);
    assert_eq!((status, &plan["dry_run"], &plan["folder"]), (Some(1), &true.into(), &Value::Null));
    let (status, done) = told("repair", dir, &[]);
    assert_eq!((status, &done["needed"]), (Some(1), &true.into()));
    for field in ["losses", "findings", "moved", "version"] {
        assert_eq!(done[field], plan[field], "{field}");
    }
    let loss = &done["losses"][0];
    assert_eq!((&loss["what"], &loss["key"]), (&"value".into(), &"user 00000".into()), "{done}");
    let folder = Path::new(done["folder"].as_str().expect("something was moved"));
    for name in ["MANIFEST.before", "MANIFEST.after", "report.txt"] {
        assert!(folder.join(name).is_file(), "{name}");
    }
    let report = fs::read_to_string(folder.join("report.txt")).expect("it is there");
    assert!(report.contains(lost), "{report}");

    assert_eq!(object("verify", dir).1["sound"], true);
    let (status, said, _) = orloj("repair", dir, &[]);
    assert_eq!(status, Some(0));
    assert_eq!(said, "nothing is wrong; nothing was changed\n");
    let version = loss["version"].to_string();
    assert_eq!(orloj("get", dir, &["user 00000", "--lsn", &version]).0, Some(1), "it is lost");
    assert_eq!(orloj("get", dir, &["user 00000"]).0, Some(0), "later ones are not");
    assert_eq!(orloj("get", dir, &["user 00050", "--lsn", "302"]).0, Some(0));
}

#[test]
fn damage_that_something_makes_up_for_costs_nothing() {
    let dir = made();
    let dir = dir.path();
    let before = {
        let copy = TempDir::new().expect("a directory");
        for (path, bytes) in files(dir) {
            let to = copy.path().join(path.strip_prefix(dir).expect("it is in it"));
            fs::create_dir_all(to.parent().expect("it has one")).expect("it is ours");
            fs::write(to, bytes).expect("it is ours");
        }
        content(copy.path())
    };
    for side in ["SUPERBLOCK_A", "SUPERBLOCK_B"] {
        flip(&dir.join(side), 100);
    }
    let (status, done) = told("repair", dir, &[]);
    assert_eq!((status, &done["needed"]), (Some(0), &true.into()));
    assert_eq!(done["losses"].as_array().map(Vec::len), Some(0), "{done}");
    assert_eq!(object("verify", dir).1["sound"], true);
    assert_eq!(content(dir), before);
}

#[test]
fn what_is_compacted_takes_less_room_and_holds_the_same() {
    let dir = made();
    let dir = dir.path();
    let before = content(dir);
    let (status, cut) = told("compact", dir, &["--wal-only"]);
    assert_eq!(status, Some(0));
    let bytes = |of: &Value, when: &str, what: &str| of[when][what].as_u64().expect("a number");
    assert!(bytes(&cut, "before", "journal") > bytes(&cut, "after", "journal"), "{cut}");
    let (status, said, complaint) = orloj("compact", dir, &[]);
    assert_eq!((status, &complaint[..]), (Some(0), ""), "{said}");
    assert!(said.lines().count() == 1 && said.contains(" reclaimed: pages "), "{said}");
    let (status, again) = told("compact", dir, &[]);
    assert_eq!(status, Some(0));
    assert!(bytes(&again, "after", "pages") <= bytes(&cut, "after", "pages"), "{again} {cut}");
    let on_disk = fs::metadata(dir.join("data.pages")).expect("it is there").len();
    assert_eq!(bytes(&again, "after", "pages"), on_disk);
    assert_eq!(object("verify", dir).1["sound"], true);
    assert_eq!(content(dir), before);
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let dir = TempDir::new().expect("a directory");
    let commands: [(&str, &[&str]); 4] = [
        ("repair", &[]),
        ("repair", &["--dry-run"]),
        ("compact", &[]),
        ("compact", &["--wal-only"]),
    ];
    for (command, flags) in commands {
        let what = if command == "repair" { "no database" } else { "not found" };
        refused(command, &dir.path().join("nowhere"), flags, what);
        refused(command, dir.path(), flags, "no database");
    }
    fs::write(dir.path().join("letter.txt"), "hello").expect("it is ours");
    for (command, flags) in commands {
        refused(command, dir.path(), flags, "no database");
        refused(command, &dir.path().join("letter.txt"), flags, "letter.txt");
    }
    assert_eq!(files(dir.path()).len(), 1, "a foreign directory is left as it is");

    let used = TempDir::new().expect("a directory");
    let cx = context();
    cx.block_on(async {
        let opened = write(cx, used.path()).await;
        for (command, flags) in commands {
            refused(command, used.path(), flags, "in use by another process");
        }
        drop(opened);
    });
    assert_eq!(told("repair", used.path(), &[]).0, Some(0));

    let damaged = settled();
    flip(&damaged.path().join("vlog").join("vlog-000001.seg"), 1024 + 2000);
    let before = files(damaged.path());
    let mount = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\"";
    let read_only = Mounted::new(damaged.path(), mount);
    let (status, plan) = told("repair", &read_only.path, &["--dry-run"]);
    assert_eq!((status, &plan["losses"][0]["what"]), (Some(1), &"value".into()), "it can be told");
    for (command, flags) in [commands[0], commands[2], commands[3]] {
        refused(command, &read_only.path, flags, "read-only");
    }
    drop(read_only);
    assert!(files(damaged.path()) == before, "nothing was changed");
}
