//! Goal: `orloj` copies a database and brings it back, as of a version or a time, through a
//! directory, an object store and a file, and what it prints of bytes can be given back to it.
//! Method: the tool as a process, on real files, from an empty directory on.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::tool::program;

/// Status, standard output and standard error of the tool in `dir`.
fn ran(dir: &Path, words: &[&str]) -> (Option<i32>, Vec<u8>, String) {
    let mut tool = Command::new(program());
    let ran = tool.current_dir(dir).args(words).output().expect("orloj starts");
    (ran.status.code(), ran.stdout, String::from_utf8(ran.stderr).expect("it prints text"))
}

/// The object that the tool prints, which has nothing to complain about.
fn done(dir: &Path, words: &[&str]) -> Value {
    let words = [words, &["--json"]].concat();
    let (status, said, complaint) = ran(dir, &words);
    assert_eq!((status, &complaint[..]), (Some(0), ""), "{words:?}");
    serde_json::from_slice(&said).expect("one object")
}

/// Asserts that the tool refuses with one line that contains `what`.
fn refused(dir: &Path, words: &[&str], what: &str) {
    let (status, said, complaint) = ran(dir, words);
    assert_eq!((status, &said[..]), (Some(2), &b""[..]), "{words:?}: {complaint}");
    assert_eq!(complaint.lines().count(), 1, "{words:?}: {complaint}");
    assert!(complaint.starts_with("orloj: ") && complaint.contains(what), "{complaint}");
}

fn set(dir: &Path, key: &str, value: &str) -> u64 {
    let words = ["set", "data", key, value, "--keyspace", "users", "--create"];
    done(dir, &words)["version"].as_u64().expect("a number")
}

fn content(dir: &Path, of: &str) -> String {
    done(dir, &["hash", of])["content"].as_str().expect("a hash").to_owned()
}

#[test]
fn keys_of_any_bytes_are_set_read_and_deleted() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    refused(dir, &["get", "data", "a"], "not found");
    assert!(!dir.join("data").exists(), "nothing is made by asking for it");
    refused(dir, &["set", "data", "a", "1", "--create"], "name it: --keyspace");
    let first = set(dir, "a\\x00b\\\\", "\\xff\\n");
    let second = set(dir, "b", "2");
    assert!(first < second);
    let got = done(dir, &["get", "data", "a\\x00b\\\\"]);
    assert_eq!((&got["value"], &got["version"]), (&"\\xff\\n".into(), &first.into()));
    let (_, raw, _) = ran(dir, &["get", "data", "a\\x00b\\\\", "--raw"]);
    assert_eq!(raw, b"\xff\n");
    let (_, lines, _) = ran(dir, &["scan", "data", "--keyspace", "users"]);
    assert_eq!(lines, b"a\\x00b\\\\\t\\xff\\n\nb\t2\n");
    let (_, lines, _) = ran(dir, &["scan", "data", "--prefix", "b"]);
    assert_eq!(lines, b"b\t2\n");
    let scanned = done(dir, &["scan", "data", "--limit", "1"]);
    assert_eq!(scanned.as_array().map(Vec::len), Some(1), "{scanned}");
    done(dir, &["del", "data", "b"]);
    assert_eq!(ran(dir, &["get", "data", "b"]).0, Some(1));
    assert_eq!(ran(dir, &["del", "data", "b"]).0, Some(1));
    refused(dir, &["get", "data", "a\\"], "behind a backslash");
    refused(dir, &["get", "data", "a", "--keyspace", "nobody"], "no keyspace \"nobody\"");
    refused(dir, &["get", "data", "a", "--lsn", "99999"], "still to come");
    assert!(done(dir, &["checkpoint", "data"])["version"].as_u64() > Some(second));
    assert_eq!(done(dir, &["verify", "data"])["sound"], true);
}

#[test]
fn a_database_comes_back_as_of_any_version_from_a_directory_and_from_a_store() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let url = format!("file://{}", dir.join("store").display());
    set(dir, "a", "1");
    for target in ["copies", &url] {
        let first = done(dir, &["backup", "data", target]);
        assert_eq!((&first["full"], &first["number"]), (&true.into(), &1.into()), "{first}");
        let older = content(dir, "data");
        let at = set(dir, "a", target);
        let second = done(dir, &["backup", "data", target]);
        assert_eq!((&second["full"], &second["number"]), (&false.into(), &2.into()), "{second}");
        let newer = content(dir, "data");
        assert_ne!(older, newer);

        let before = (at - 1).to_string();
        let new = if target == "copies" { "new-1" } else { "new-2" };
        let words = ["restore", target, new, "--lsn", &before];
        let plan = done(dir, &[&words[..], &["--dry-run"]].concat());
        assert_eq!((&plan["version"], &plan["database"]), (&(at - 1).into(), &Value::Null));
        assert!(!dir.join(new).exists(), "a dry run makes nothing");
        let made = done(dir, &words);
        assert_eq!((&made["version"], &made["origin"]), (&plan["version"], &first["database"]));
        assert_eq!(done(dir, &["verify", new])["sound"], true);
        assert_eq!(content(dir, new), older);
        let newest = format!("{new}-newest");
        let made = done(dir, &["restore", target, &newest]);
        assert_eq!(made["version"], second["to_version"]);
        assert_eq!(content(dir, &newest), newer);
        let time = second["from_time"].to_string();
        let made = done(dir, &["restore", target, &format!("{new}-time"), "--time", &time]);
        assert_eq!(made["version"], second["from_version"]);

        refused(dir, &words, "not empty");
        refused(dir, &["restore", target, "x", "--lsn", "99999"], "it reaches from version");
    }
    refused(dir, &["restore", "nowhere", "x"], "there is no backup");
    refused(dir, &["backup", "nowhere", "copies"], "not found");
    refused(dir, &["backup", "data", "s3://bucket"], "file:///");

    let pages = dir.join("copies").join("000001-pages-000001");
    let mut bytes = fs::read(&pages).expect("it is there");
    bytes[100] ^= 1;
    fs::write(&pages, bytes).expect("it is ours");
    let what = "000001-pages-000001: its checksum fails";
    refused(dir, &["restore", "copies", "x", "--dry-run"], what);
    refused(dir, &["restore", "copies", "x"], what);
    assert!(!dir.join("x").join("MANIFEST").exists());
    let bytes = fs::read(dir.join("store").join("000002-inventory")).expect("it is there");
    fs::write(dir.join("store").join("000002-inventory"), &bytes[..99]).expect("it is ours");
    refused(dir, &["restore", &url, "y"], "000002-inventory");
}

#[test]
fn a_database_goes_through_a_file() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    set(dir, "a", "1");
    set(dir, "b", "2");
    let exported = done(dir, &["export", "data", "all.export"]);
    assert_eq!((&exported["keys"], &exported["keyspaces"]), (&2.into(), &1.into()));
    refused(dir, &["export", "data", "all.export"], "exists already");
    let imported = done(dir, &["import", "all.export", "new"]);
    assert_eq!(imported["content"], exported["content"]);
    assert_eq!(content(dir, "new"), content(dir, "data"));
    refused(dir, &["import", "all.export", "new"], "not empty");
    refused(dir, &["import", "nowhere", "new-2"], "not found");
    assert!(!dir.join("new-2").exists());

    let mut bytes = fs::read(dir.join("all.export")).expect("it is there");
    bytes[60] ^= 1;
    fs::write(dir.join("all.export"), bytes).expect("it is ours");
    refused(dir, &["import", "all.export", "new-3"], "all.export: byte ");
    assert!(!dir.join("new-3").exists(), "nothing is made of a damaged file");
}
