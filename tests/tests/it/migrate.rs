//! Goal: what a daemon of release 0.0 left behind is served by this release as that one served it,
//! and its directory stays as it is. Method: real journals of that release, in
//! `tests/fixtures/journal-1` with what it answered; the tool and the daemon as processes.

use std::{
    fs::{self, File},
    io::{BufReader, prelude::*},
    net::TcpStream,
    path::Path,
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    orlojd::{Orlojd, refusal},
    tool::program,
};

/// Where a segment's head says how many bytes it was made with.
const CAPACITY: usize = 72;

/// Lays out a fixture as the data directory that it was.
fn unpack(name: &str, to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/journal-1").join(name);
    fs::create_dir_all(to.join("wal")).expect("it is ours");
    fs::write(to.join("LOCK"), "").expect("it is ours");
    let mut last = None;
    for entry in fs::read_dir(from).expect("it is there") {
        let path = entry.expect("it is there").path();
        let file = path.file_name().expect("it is a file");
        if path.extension().is_some_and(|ext| ext == "seg") {
            let copy = to.join("wal").join(file);
            fs::copy(&path, &copy).expect("it is ours");
            last = last.max(Some(copy));
        }
    }
    // The zeros behind the last frame, which the repository does without. Segments before the
    // last had been cut off behind theirs.
    let last = last.expect("there is a journal");
    let head = fs::read(&last).expect("it is ours");
    let capacity = head[CAPACITY..CAPACITY + 8].try_into().expect("eight bytes");
    let file = File::options().write(true).open(last).expect("it is ours");
    file.set_len(u64::from_le_bytes(capacity)).expect("it is ours");
}

/// Key, value and deadline of everything that the old daemon answered.
fn answers(name: &str) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/journal-1").join(name);
    let text = fs::read_to_string(path.join("answers")).expect("it is there");
    let bytes = |hex: &str| -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("it is hex");
        (0..hex.len()).step_by(2).map(digits).collect()
    };
    let line = |line: &str| {
        let [key, value, deadline] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line:?}")
        };
        (bytes(key), bytes(value), deadline.parse().expect("a number"))
    };
    text.lines().map(line).collect()
}

/// Names and content of every file.
fn image(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for dir in [dir.to_owned(), dir.join("wal")] {
        for entry in fs::read_dir(dir).expect("it is there") {
            let path = entry.expect("it is there").path();
            let bytes = if path.is_dir() { Vec::new() } else { fs::read(&path).expect("it is") };
            files.push((path.display().to_string(), bytes));
        }
    }
    files.sort();
    files
}

/// Status, and what the tool says on standard output and standard error.
fn migrate(dir: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let mut tool = Command::new(program());
    let ran = tool.current_dir(dir).arg("migrate").args(words).output().expect("orloj starts");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (ran.status.code(), text(ran.stdout), text(ran.stderr))
}

fn refused(dir: &Path, words: &[&str], what: &str) {
    let (status, said, complaint) = migrate(dir, words);
    assert_eq!((status, &said[..]), (Some(2), ""), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(complaint.starts_with("orloj: ") && complaint.contains(what), "{complaint}");
}

/// A client that sends any bytes.
struct Asking(BufReader<TcpStream>);

impl Asking {
    fn of(daemon: &Orlojd) -> Asking {
        Asking(BufReader::new(daemon.connect().stream))
    }

    /// The answer without its first byte, or the string that follows it.
    fn ask(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend([word, &b"\r\n"[..]].concat());
        }
        self.0.get_mut().write_all(&request).expect("the node is up");
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the node is up");
        let Some(len) = line.strip_prefix('$') else {
            return line[1..].trim_end().into();
        };
        let len: usize = len.trim_end().parse().expect("it is there");
        let mut string = vec![0; len + 2];
        self.0.read_exact(&mut string).expect("the node is up");
        string.truncate(len);
        string
    }
}

/// Brings a fixture over, and asks the daemon for all of it.
fn brought_over(name: &str) -> Value {
    let dir = TempDir::new().expect("a directory");
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    unpack(name, &old);
    let before = image(&old);
    let (status, said) = refusal(&old, &["--resp", "127.0.0.1:0"]);
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains(&format!("`orloj migrate {} NEW`", old.display())), "{said}");

    let (status, said, complaint) = migrate(dir.path(), &["old", "new", "--json"]);
    assert_eq!((status, &complaint[..]), (Some(0), ""), "{said}");
    let said: Value = serde_json::from_str(&said).expect("one object");
    assert!(image(&old) == before, "the old directory was changed");
    refused(dir.path(), &["old", "new"], "not empty");

    let wanted = answers(name);
    let expiring = wanted.iter().filter(|(_, _, deadline)| *deadline >= 0).count();
    assert_eq!(said["keys"], wanted.len());
    assert_eq!(said["keys_with_deadline"], expiring);
    // Twice: what the first daemon does when it ends is seen by the second.
    for durability in ["strict", "buffered"] {
        let mut daemon = Orlojd::start(&new, &["--durability", durability]);
        let mut client = Asking::of(&daemon);
        assert_eq!(client.ask(&[b"DBSIZE"]), wanted.len().to_string().as_bytes());
        for (key, value, deadline) in &wanted {
            assert_eq!(client.ask(&[b"GET", key]), *value, "{key:?}");
            let found = client.ask(&[b"PEXPIRETIME", key]);
            assert_eq!(found, deadline.to_string().as_bytes(), "{key:?}");
        }
        let info = String::from_utf8(client.ask(&[b"INFO"])).expect("it is text");
        let keyspace = format!("keys={},expires={expiring}", wanted.len());
        assert!(info.contains(&keyspace), "{info}");
        daemon.signal("TERM");
        assert_eq!(daemon.end().0, Some(0));
    }
    let mut tool = Command::new(program());
    let verified = tool.arg("verify").arg(&new).output().expect("orloj starts");
    assert!(verified.status.success(), "{verified:?}");
    said
}

#[test]
fn what_was_stopped_in_order_is_brought_over() {
    let said = brought_over("stopped");
    assert_eq!(said["keys_expired"], 1, "{said}");
    assert_eq!(said["journal_segments"], 3, "{said}");
    assert_eq!(said["journal_cut_bytes"], 0, "{said}");
    assert!(said["time"].as_u64() > Some(1_700_000_000_000), "{said}");
}

#[test]
fn what_was_killed_is_brought_over() {
    let said = brought_over("killed");
    assert!(said["journal_records"].as_u64() > Some(100), "{said}");
}

#[test]
fn what_cannot_be_brought_over_is_refused_in_one_line() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    refused(dir, &["nowhere", "new"], "not found");
    fs::create_dir(dir.join("empty")).expect("it is ours");
    refused(dir, &["empty", "new"], "no journal of release 0.0");
    unpack("stopped", &dir.join("old"));
    refused(dir, &["old", "old/new"], "lies in old");

    let first = dir.join("old/wal/wal-000001.seg");
    let whole = fs::read(&first).expect("it is there");
    let mut bytes = whole.clone();
    bytes[1024 + 50] ^= 4;
    fs::write(&first, bytes).expect("it is ours");
    refused(dir, &["old", "new"], "wal-000001.seg: byte 1024, record 1: ");
    fs::remove_file(&first).expect("it is ours");
    refused(dir, &["old", "new"], "segment wal-000001.seg is missing");
    assert!(!dir.join("new").exists(), "nothing is made of a damaged journal");
    fs::write(&first, whole).expect("it is ours");

    assert_eq!(migrate(dir, &["old", "new"]).0, Some(0));
    refused(dir, &["new", "newer"], "start orlojd with it");
    let daemon = Orlojd::start(&dir.join("new"), &[]);
    refused(dir, &["old", "new"], "not empty");
    drop(daemon);
}
