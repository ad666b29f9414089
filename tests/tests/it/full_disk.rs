//! Goal: when the disk is full the daemon says so to whoever writes, serves readers, and goes on by
//! itself once there is room; what it acknowledged before and after is there at the next start.
//! Method: the daemon on a small file system in memory, which a process of this test mounts where
//! nobody else sees it, and which goes when that process does.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::orlojd::{Client, Orlojd, refusal};

/// A file system of a few megabytes.
struct SmallDisk {
    /// Holds the mount; it ends when its standard input does.
    holder: Child,
    path: PathBuf,
    _mount_point: tempfile::TempDir,
}

impl SmallDisk {
    fn new(megabytes: u32) -> SmallDisk {
        let mount_point = tempfile::tempdir().expect("room for a test");
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let mut command = Command::new("unshare");
        // Whoever is not root may mount as the root of a user namespace.
        command.args(if is_root { &["-m"][..] } else { &["-U", "-r", "-m"] });
        command.args(["sh", "-c", "mount -t tmpfs -o size=$2m none \"$1\" && echo up && exec cat"]);
        command.arg("sh").arg(mount_point.path()).arg(megabytes.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("unshare exists (Debian: util-linux)");
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut said).expect("it prints text");
        assert_eq!(said, "up\n", "this machine lets nobody mount; allow user namespaces");
        let inside = mount_point.path().strip_prefix("/").expect("it is absolute");
        let path = PathBuf::from(format!("/proc/{}/root", holder.id())).join(inside);
        SmallDisk { holder, path, _mount_point: mount_point }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

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
    let disk = SmallDisk::new(24);
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
