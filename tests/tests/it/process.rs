//! Goal: the real daemon, as a process, keeps what it acknowledged through `kill -9`, drains when
//! asked to stop, and refuses to start with one line and no panic.
//! Method: `orlojd` itself, killed under load again and again; clients over plain sockets.

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::orlojd::{Client, Orlojd, program, refusal, refusal_of};

/// How far one counter got: acknowledged, and sent.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    acknowledged: u64,
    sent: u64,
}

/// Counts up in pipelines until the node is gone; `answers` are those of all writers.
fn count_up(addr: String, key: String, mut count: Count, answers: &AtomicU64) -> Count {
    const PIPELINE: u64 = 4;
    let Ok(mut client) = Client::connect(&addr) else { return count };
    let commands = vec![format!("INCR {key}"); PIPELINE as usize];
    loop {
        count.sent += PIPELINE;
        if client.send(&commands).is_err() {
            return count;
        }
        for _ in 0..PIPELINE {
            let Some(line) = client.line() else { return count };
            let value: u64 = line.trim_start_matches(':').parse().expect("a number");
            assert!(value > count.acknowledged && value <= count.sent, "{key}: {value}, {count:?}");
            count.acknowledged = value;
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What came back of every counter: all that was acknowledged, nothing that was not sent.
fn check_counters(node: &Orlojd, counts: &mut [Count], kills: u64) {
    let mut client = node.connect();
    for (n, count) in counts.iter_mut().enumerate() {
        let value = client.ask(&format!("GET counter:{n}"));
        let value: u64 = if value == "$-1" { 0 } else { value.parse().expect("a number") };
        assert!(
            value >= count.acknowledged && value <= count.sent,
            "after {kills} kills counter {n} came back as {value}: {count:?}"
        );
        *count = Count { acknowledged: value, sent: value };
    }
}

#[test]
fn kill_9_under_load_20_times_loses_nothing_acknowledged() {
    const WRITERS: usize = 6;
    const KILLS: u64 = 20;
    let dir = tempfile::tempdir().expect("room for a test");
    let mut counts = [Count::default(); WRITERS];
    for kills in 0..KILLS {
        let mut node = Orlojd::start(dir.path(), &[]);
        check_counters(&node, &mut counts, kills);
        let answers = AtomicU64::new(0);
        thread::scope(|scope| {
            let writers: Vec<_> = counts
                .iter()
                .enumerate()
                .map(|(n, count)| {
                    let (addr, count, answers) = (node.addr.clone(), *count, &answers);
                    scope.spawn(move || count_up(addr, format!("counter:{n}"), count, answers))
                })
                .collect();
            // At another moment of the load each time, and never before there is one.
            let deadline = Instant::now() + Duration::from_secs(20);
            while answers.load(Ordering::Relaxed) < 50 {
                assert!(Instant::now() < deadline, "too few answers to call it a load");
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_micros(1_700 * (kills * 7 % KILLS)));
            node.kill();
            for (count, writer) in counts.iter_mut().zip(writers) {
                *count = writer.join().expect("the answers made sense");
            }
        });
    }
    check_counters(&Orlojd::start(dir.path(), &[]), &mut counts, KILLS);
    let total: u64 = counts.iter().map(|count| count.acknowledged).sum();
    assert!(total >= 50 * KILLS, "{total} writes are left of at least 50 for each kill");
}

#[test]
fn asked_to_stop_it_answers_what_it_received_and_closes_in_order() {
    let dir = tempfile::tempdir().expect("room for a test");
    let mut node = Orlojd::start(dir.path(), &[]);
    assert!(node.ready.contains(" durability=strict recovered=0 cut=0"), "{}", node.ready);
    let (mut busy, mut idle) = (node.connect(), node.connect());
    assert_eq!(idle.ask("PING"), "+PONG");
    let commands: Vec<String> = (0..500).map(|n| format!("SET key:{n} value:{n}")).collect();
    busy.send(&commands).expect("the node is up");
    assert_eq!(busy.line().as_deref(), Some("+OK"));
    node.signal("TERM");
    let answered = 1 + std::iter::from_fn(|| busy.line()).filter(|line| line == "+OK").count();
    assert_eq!(idle.line(), None, "the connection is closed");
    let (code, said) = node.end();
    assert_eq!(code, Some(0), "{said}");

    let node = Orlojd::start(dir.path(), &[]);
    assert!(node.ready.contains(" cut=0"), "{}", node.ready);
    let size: usize =
        node.connect().ask("DBSIZE").trim_start_matches(':').parse().expect("a number");
    assert!(size >= answered, "{answered} were answered and {size} are there");
}

#[test]
fn what_keeps_it_from_starting_is_said_in_one_line() {
    let dir = tempfile::tempdir().expect("room for a test");
    let data = dir.path().join("db");
    let mut node = Orlojd::start(&data, &[]);
    let any = ["--resp", "127.0.0.1:0"];
    let mut said = Vec::new();
    said.push((refusal(&data, &any), "in use by another process"));
    let other = dir.path().join("other");
    said.push((refusal(&other, &["--resp", &node.addr.clone()]), "the port is in use"));
    said.push((refusal(&other, &["--resp", "192.0.2.1:1"]), "cannot listen there"));
    assert_eq!(node.connect().ask("SET a b"), "+OK");
    node.signal("TERM");
    assert_eq!(node.end().0, Some(0));
    said.push((refusal(&data, &["--durability", "in_memory"]), "holds a database"));

    let stranger = dir.path().join("stranger");
    fs::create_dir(&stranger).expect("a directory");
    fs::write(stranger.join("homework.txt"), "x").expect("a file");
    said.push((refusal(&stranger, &any), "no database and not empty"));
    let file = dir.path().join("file");
    fs::write(&file, "x").expect("a file");
    said.push((refusal(&file, &any), "give --data a directory"));

    let segment = data.join("wal/wal-000001.seg");
    let intact = fs::read(&segment).expect("a segment");
    let damage = |at: usize| {
        let mut bytes = intact.clone();
        bytes[at] ^= 1;
        fs::write(&segment, bytes).expect("it is ours");
        refusal(&data, &any)
    };
    said.push((damage(1024 + 50), "acknowledged history is damaged"));
    let mut newer = intact.clone();
    for copy in [0, 512] {
        newer[copy + 8] = 2;
        let sum = crc32c::crc32c(&newer[copy..copy + 508]);
        newer[copy + 508..copy + 512].copy_from_slice(&sum.to_le_bytes());
    }
    fs::write(&segment, newer).expect("it is ours");
    said.push((refusal(&data, &any), "start it with the release that wrote it"));

    let absent = dir.path().join("absent.toml");
    let absent = absent.to_str().expect("a plain name");
    said.push((refusal(&other, &["--config", absent]), "check the path and its permissions"));
    said.push((refusal(&other, &["--log", "=x="]), "give a level as info"));
    let unspeakable = dir.path().join(OsStr::from_bytes(b"db-\xff"));
    said.push((refusal(&unspeakable, &any), "the name is not UTF-8"));
    assert!(!unspeakable.exists() && !dir.path().join("db-\u{fffd}").exists());
    fs::write(dir.path().join("bad.toml"), "durabilty = \"strict\"\n").expect("a file");
    let config = dir.path().join("bad.toml");
    let config = config.to_str().expect("a plain name");
    said.push((refusal(&other, &["--config", config]), "did you mean `durability`?"));
    for ((code, line), expected) in said {
        assert!(line.contains(expected), "{line}: not {expected:?}");
        let configuration = ["did you mean", "check the path", "give a level", "the name is"];
        let configuration = configuration.iter().any(|word| expected.starts_with(word));
        assert_eq!(code, Some(if configuration { 2 } else { 3 }), "{line}");
    }
    fs::write(&segment, intact).expect("it is ours");
    let node = Orlojd::start(&data, &[]);
    assert_eq!(node.connect().ask("GET a"), "b");
}

/// root may read everything, so the daemon runs as nobody where the tests run as root.
#[test]
fn a_directory_it_may_not_use_is_said_in_one_line() {
    const NOBODY: u32 = 65_534;
    let dir = tempfile::tempdir().expect("room for a test");
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    mode(dir.path(), 0o755);
    // Where the build lies may be closed to others.
    let copy = dir.path().join("orlojd");
    fs::copy(program(), &copy).expect("room for a program");
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let refused = |data: &Path| {
        let mut command = Command::new(&copy);
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        refusal_of(command.arg("--data").arg(data).args(["--resp", "127.0.0.1:0"]))
    };
    let data = dir.path().join("db");
    drop(Orlojd::start(&data, &[]));
    let remedy = "permission denied; give --data a directory that this user may read and write";
    mode(&data.join("LOCK"), 0o666);
    let (wal, new) = (data.join("wal"), dir.path().join("new"));
    for (path, bits, data) in [
        (&data, 0, &data),
        (&wal, 0, &data),
        (&wal, 0o555, &data),
        (&dir.path().into(), 0o555, &new),
    ] {
        mode(path, bits);
        let (code, line) = refused(data);
        mode(path, 0o755);
        assert!(line.trim_end().ends_with(remedy), "{} {bits:o}: {line}", path.display());
        assert_eq!(code, Some(3), "{line}");
    }
    assert_eq!(Orlojd::start(&data, &[]).connect().ask("PING"), "+PONG");
}

#[test]
fn a_client_that_sends_everything_before_it_reads_is_served() {
    let dir = tempfile::tempdir().expect("room for a test");
    let node = Orlojd::start(dir.path(), &["--durability", "buffered"]);
    let mut client = node.connect();
    let value = "v".repeat(1_000);
    assert_eq!(client.ask(&format!("SET k {value}")), "+OK");
    // 40 MB of answers: far more than sockets hold.
    let commands = vec!["GET k".to_owned(); 40_000];
    client.send(&commands).expect("the node reads on");
    let begun = Instant::now();
    for _ in 0..40_000 {
        assert_eq!(client.line().as_deref(), Some("$1000"));
        assert_eq!(client.line().as_deref(), Some(value.as_str()));
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(client.ask("PING"), "+PONG");
}

#[test]
fn nonsense_closes_its_own_connection_and_no_other() {
    let dir = tempfile::tempdir().expect("room for a test");
    let node = Orlojd::start(dir.path(), &["--max-clients", "3"]);
    let (mut good, mut bad) = (node.connect(), node.connect());
    assert_eq!(good.ask("SET a 1"), "+OK");
    bad.stream.write_all(b"SET b 2\r\n*1\r\n$nonsense\r\nGET a\r\n").expect("it is open");
    assert_eq!(bad.line().as_deref(), Some("+OK"));
    assert_eq!(bad.line().as_deref(), Some("-ERR Protocol error: invalid bulk length"));
    assert_eq!(bad.line(), None);
    assert_eq!(good.ask("GET b"), "2");
    assert!(good.ask("NOSUCH a b").starts_with("-ERR unknown command 'NOSUCH'"));
    assert!(good.ask("GET").starts_with("-ERR wrong number of arguments for 'get'"));

    // The bad one has left or is leaving; then two more find room, and a third does not.
    let mut rest: Vec<Client> = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while rest.len() < 2 {
        assert!(Instant::now() < deadline, "no room for a third client");
        let mut client = node.connect();
        if client.send(&["PING".to_owned()]).is_ok() && client.line().as_deref() == Some("+PONG") {
            rest.push(client);
        }
    }
    let mut turned_away = node.connect();
    assert_eq!(turned_away.line().as_deref(), Some("-ERR max number of clients reached"));
    assert_eq!(good.ask("CONFIG SET maxclients 10"), "+OK");
    assert_eq!(node.connect().ask("PING"), "+PONG");
}
