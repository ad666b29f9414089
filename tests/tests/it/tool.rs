//! Goal: `orloj` says of real files what they are, names what is damaged, and ends with the status
//! that scripts rely on and one line where it cannot look.
//! Method: databases made through the engine on the host's runtime; the tool as a process.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use orloj_host::{Host, Options as HostOptions};
use orloj_kernel::Context;
use orloj_storage::{
    Durability, KeyspaceId, Options, Retention,
    checkpoint::Checkpoint,
    journal::Records,
    record::Op,
    recover::{self, Opened},
};
use serde_json::Value;
use tempfile::TempDir;

const USERS: KeyspaceId = KeyspaceId(16);

/// The tool's program, built once for this run.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let this = std::env::current_exe().expect("this binary has a path");
        let profile = this.parent().and_then(Path::parent).expect("target/PROFILE/deps");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "orloj", "--bin", "orloj"]);
        match profile.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => {}
            Some(name) => drop(build.args(["--profile", name])),
        }
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
        assert!(built.success(), "orloj does not build");
        profile.join("orloj")
    })
}

/// Status, standard output and standard error of the tool.
pub(crate) fn orloj(command: &str, dir: &Path, flags: &[&str]) -> (Option<i32>, String, String) {
    let mut tool = Command::new(program());
    let ran = tool.arg(command).arg(dir).args(flags).output().expect("orloj starts");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (ran.status.code(), text(ran.stdout), text(ran.stderr))
}

/// The object that the tool prints.
pub(crate) fn object(command: &str, dir: &Path) -> (Option<i32>, Value) {
    let (status, said, complaint) = orloj(command, dir, &["--json"]);
    assert_eq!(complaint, "");
    (status, serde_json::from_str(&said).expect("one object"))
}

/// Asserts that it refused with one line, which contains `what`.
fn refused(dir: &Path, what: &str) {
    for command in ["verify", "stats", "dump-manifest"] {
        let (status, said, complaint) = orloj(command, dir, &[]);
        assert_eq!((status, &said[..]), (Some(2), ""), "{command}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{command}: {complaint}");
        assert!(complaint.starts_with("orloj: ") && complaint.contains(what), "{complaint}");
    }
}

pub(crate) fn context() -> Context {
    Host::new(HostOptions::new(".")).expect("a runtime").context()
}

/// Makes or opens the database in `dir`, writes, makes checkpoints, and gives what is open.
pub(crate) async fn write(cx: Context, dir: &Path) -> Opened {
    let path = dir.to_str().expect("a path in UTF-8");
    let options = Options::new(path, Durability::Strict);
    let mut opened = recover::open(cx, &options, None).await.expect("a disk that works");
    let tree = opened.engine.tree().clone();
    let create = Op::Create { keyspace: USERS, name: "users", keep: Retention::All };
    tree.commit(&[], &[create]).expect("it is new");
    for round in 0..3 {
        for number in 0..300_usize {
            let key = format!("user {number:05}");
            let value = vec![round; if number % 50 == 0 { 5000 } else { 90 }];
            let (key, value) = (key.as_bytes(), &value[..]);
            let put = Op::Put { keyspace: USERS, key, value, deadline: None };
            tree.commit(&[], &[put]).expect("it fits into memory");
        }
        let mut records = Records::new();
        let last = tree.tail().drain(&mut records);
        opened.log.append(&[records], true).await.expect("a disk that works");
        tree.tail().durable(last);
        if round < 2 {
            let checkpoint = Checkpoint::begin(&opened.engine);
            let done = checkpoint.write(&mut opened.values).await.expect("a disk that works");
            opened.log.trim(done.keep).await.expect("a disk that works");
        }
    }
    opened
}

pub(crate) fn made() -> TempDir {
    let dir = TempDir::new().expect("a directory");
    let cx = context();
    cx.block_on(async { drop(write(cx, dir.path()).await) });
    dir
}

/// Flips a bit.
pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("it is there");
    bytes[at] ^= 4;
    fs::write(path, bytes).expect("it is ours");
}

#[test]
fn a_whole_database_is_sound_and_counted() {
    let dir = made();
    let (status, said, complaint) = orloj("verify", dir.path(), &[]);
    assert_eq!((status, &complaint[..]), (Some(0), ""), "{said}");
    assert!(said.starts_with("sound: 0 findings; generation 2 at version 601"), "{said}");

    let (status, report) = object("verify", dir.path());
    assert_eq!((status, &report["sound"]), (Some(0), &Value::Bool(true)));
    assert_eq!(report["totals"]["values"], 12);
    // The older generation needs those behind its own version too.
    assert_eq!(report["totals"]["journal_records"], 600);

    let (status, stats) = object("stats", dir.path());
    assert_eq!((status, &stats["generation"]), (Some(0), &Value::from(2)));
    let users = stats["keyspaces"].as_array().expect("a list").iter().find(|k| k["id"] == 16);
    assert_eq!(users.expect("it is listed")["name"], "users");
    assert!(stats["page_bytes_in_use"].as_u64() > Some(50_000), "{stats}");

    let (status, manifest) = object("dump-manifest", dir.path());
    assert_eq!((status, &manifest["format"]), (Some(0), &Value::from("1.0")));
    assert_eq!(manifest["database"], stats["database"]);
    let (status, said, _) = orloj("dump-manifest", dir.path(), &[]);
    assert!(status == Some(0) && said.contains("page_bytes           16384"), "{said}");
}

#[test]
fn damage_is_named_with_its_file_and_keys() {
    let dir = made();
    let path = dir.path().join("vlog").join("vlog-000001.seg");
    flip(&path, 1024 + 2000);
    let (status, said, complaint) = orloj("verify", dir.path(), &[]);
    assert_eq!((status, &complaint[..]), (Some(1), ""), "{said}");
    let expected = format!("damage: {}: byte 1024: its checksum fails", path.display());
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.contains("keyspace \"users\" (16), from \"user 00000\""), "{said}");
    assert!(said.lines().last().is_some_and(|l| l.starts_with("NOT SOUND: 1 findings")), "{said}");

    let (status, report) = object("verify", dir.path());
    assert_eq!((status, &report["sound"]), (Some(1), &Value::Bool(false)));
    let finding = &report["findings"][0];
    assert_eq!(finding["keys"]["from"], "user 00000");
    assert_eq!((&finding["grade"], &finding["offset"]), (&"damage".into(), &1024.into()));
}

#[test]
fn what_is_no_database_is_refused_in_one_line() {
    let dir = TempDir::new().expect("a directory");
    refused(&dir.path().join("nowhere"), "not found");
    refused(dir.path(), "no database");
    fs::write(dir.path().join("letter.txt"), "hello").expect("it is ours");
    refused(dir.path(), "no database");
    let left: Vec<_> = fs::read_dir(dir.path()).expect("it is there").collect();
    assert_eq!(left.len(), 1, "a foreign directory is left as it is: {left:?}");
    refused(&dir.path().join("letter.txt"), "letter.txt");
    let (status, _, _) = orloj("explain", dir.path(), &[]);
    assert_eq!(status, Some(2), "there is no such command");
}

#[test]
fn a_database_in_use_is_not_walked_and_its_manifest_can_be_read() {
    let dir = TempDir::new().expect("a directory");
    let cx = context();
    cx.block_on(async {
        let opened = write(cx, dir.path()).await;
        for command in ["verify", "stats"] {
            let (status, said, complaint) = orloj(command, dir.path(), &[]);
            assert_eq!((status, &said[..]), (Some(2), ""), "{complaint}");
            assert!(complaint.contains("in use by another process"), "{complaint}");
            assert_eq!(complaint.lines().count(), 1, "{complaint}");
        }
        assert_eq!(object("dump-manifest", dir.path()).0, Some(0));
        drop(opened);
    });
    assert_eq!(object("verify", dir.path()).0, Some(0));
}

#[test]
fn a_later_format_and_a_damaged_manifest_are_refused() {
    let dir = made();
    let path = dir.path().join("MANIFEST");
    let whole = fs::read(&path).expect("it is there");
    flip(&path, 40);
    let (status, report) = object("verify", dir.path());
    assert_eq!((status, &report["findings"][0]["grade"]), (Some(1), &"reserve".into()));
    flip(&path, 4096 + 40);
    refused(dir.path(), "neither copy of the manifest is intact");

    fs::write(&path, whole).expect("it is ours");
    for side in ["SUPERBLOCK_A", "SUPERBLOCK_B"] {
        // The format's major version, and the checksum that makes it believed.
        let path = dir.path().join(side);
        let mut bytes = fs::read(&path).expect("it is there");
        for copy in [0, 4096] {
            bytes[copy + 8] = 9;
            let sum = crc32c::crc32c(&bytes[copy..copy + 508]);
            bytes[copy + 508..copy + 512].copy_from_slice(&sum.to_le_bytes());
        }
        fs::write(&path, bytes).expect("it is ours");
    }
    for command in ["verify", "stats"] {
        let (status, _, complaint) = orloj(command, dir.path(), &[]);
        assert_eq!(status, Some(2));
        assert!(complaint.contains("engine format 9, this release reads 1"), "{complaint}");
    }
}
