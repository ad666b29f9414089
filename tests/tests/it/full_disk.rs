//! Goal: when the disk is full the daemon says so to whoever writes, serves readers, and goes on by
//! itself once there is room; what it acknowledged before and after is there at the next start.
//! Method: the daemon on a small file system in memory, which a process of this test mounts where
//! nobody else sees it, and which goes when that process does.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{
    mounted::Mounted,
    orlojd::{Client, Orlojd, refusal},
};

fn value(n: usize) -> String {
    format!("{n:05}").repeat(2_000)
}

fn set(client: &mut Client, n: usize) -> String {
    client.ask(&format!("SET key:{n} {}", value(n)))
}

/// Writes until the disk takes no more; how many writes it took.
fn fill(client: &mut Client) -> usize {
    for n in 0..5_000 {
        let answer = set(client, n);
        if answer != "+OK" {
            assert!(answer.starts_with("-MISCONF "), "{answer}");
            return n;
        }
    }
    panic!("a small disk took 50 MB");
}

fn check(client: &mut Client, written: usize) {
    for n in 0..written {
        assert_eq!(client.ask(&format!("GET key:{n}")), value(n), "key {n} of {written}");
    }
}

#[test]
fn a_full_disk_refuses_writes_and_serves_reads_until_there_is_room() {
    let dir = tempfile::tempdir().expect("room for a test");
    let disk = Mounted::new(dir.path(), "mount -t tmpfs -o size=24m none \"$1\"");
    let ballast = disk.path.join("ballast");
    fs::write(&ballast, vec![1; 8 << 20]).expect("room for it");
    let data = disk.path.join("db");
    let mut node = Orlojd::start(&data, &[]);
    let mut client = node.connect();
    let written = fill(&mut client);
    assert!(written > 100, "{written} values of 10 kB fitted in 16 MB");

    // Full: readers are served, writers are told, nobody is disconnected, nothing half done.
    check(&mut client, written);
    assert_eq!(client.ask("DBSIZE"), format!(":{written}"));
    for _ in 0..3 {
        assert!(set(&mut client, written).starts_with("-MISCONF "));
        assert!(client.ask("INCR n").starts_with("-MISCONF "));
        assert_eq!(client.ask(&format!("EXISTS key:{written} n")), ":0");
    }
    assert_eq!(node.connect().ask("PING"), "+PONG");

    // Room: it goes on without being asked to.
    fs::remove_file(&ballast).expect("it is ours");
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.ask("SET after room") != "+OK" {
        assert!(Instant::now() < deadline, "there is room, and writes are refused still");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(set(&mut client, written), "+OK");
    assert_eq!(client.ask("INCR n"), ":1");
    node.kill();

    let mut node = Orlojd::start(&data, &[]);
    let mut client = node.connect();
    check(&mut client, written + 1);
    assert_eq!(client.ask("GET after"), "room");
    assert_eq!(client.ask("GET n"), "1");

    // Full once more, and then not even a start has room; it says so, and loses nothing.
    let more = fill(&mut client);
    node.kill();
    let mut filler = Vec::new();
    for n in 0..64 {
        let path = disk.path.join(format!("filler-{n}"));
        let full = fs::write(&path, vec![1; 1 << 20]).is_err();
        filler.push(path);
        if full {
            break;
        }
    }
    let (code, line) = refusal(&data, &["--resp", "127.0.0.1:0"]);
    assert!(line.contains("make room on that disk"), "{line}");
    assert_eq!(code, Some(3));
    filler.into_iter().for_each(|path| fs::remove_file(path).expect("it is ours"));
    let node = Orlojd::start(&data, &[]);
    check(&mut node.connect(), more.max(written + 1));
}
