//! Goal: garbage, half frames, resets and a client that never reads cost the daemon bounded memory
//! and no file descriptor, and disturb nobody else.
//! Method: each against the real daemon while a well-behaved client looks on; what the daemon holds
//! is read from the kernel.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::orlojd::{Client, Orlojd};

impl Orlojd {
    /// Megabytes of memory it holds.
    fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process_id());
        let status = fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        let kilobytes = line.trim().trim_end_matches(" kB");
        kilobytes.parse::<u64>().expect("a number") / 1024
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process_id())).expect("it runs").count()
    }

    /// Waits until it holds no more descriptors than `before`.
    fn lets_go(&self, before: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.descriptors() > before {
            assert!(Instant::now() < deadline, "{} of {before} are open", self.descriptors());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.addr).expect("it is up");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a valid timeout");
        stream
    }
}

fn node() -> (tempfile::TempDir, Orlojd, Client, usize) {
    let dir = tempfile::tempdir().expect("room for a test");
    let node = Orlojd::start(&dir.path().join("db"), &[]);
    let mut good = node.connect();
    assert_eq!(good.ask("SET k v"), "+OK");
    let descriptors = node.descriptors();
    (dir, node, good, descriptors)
}

/// Splitmix64: the same bytes in every run.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn garbage_is_answered_with_an_error_or_a_closed_connection() {
    let (_dir, node, mut good, descriptors) = node();
    let begun: [&[u8]; 9] = [
        b"*1\r\n$",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc",
        b"*1048577\r\n",
        b"*1\r\n$-1\r\n",
        b"\"unbalanced\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"*2\r\n$3\r\nGET\r\n:1\r\n",
        b"\0\0\0\0",
    ];
    let mut state = 7;
    for n in 0..400 {
        let mut wire = Vec::new();
        if n % 2 == 0 {
            wire.extend_from_slice(begun[n / 2 % begun.len()]);
        }
        let bytes = random(&mut state) % 600;
        wire.extend((0..bytes).map(|_| random(&mut state) as u8));
        let mut rude = node.raw();
        let _ = rude.write_all(&wire).and_then(|()| rude.shutdown(Shutdown::Write));
        // The end of the connection is the answer to what cannot be answered; a reset is one.
        let mut said = Vec::new();
        let _ = rude.read_to_end(&mut said);
        assert!(said.is_empty() || b"-+:$*".contains(&said[0]), "{}", said.escape_ascii());
        if n % 50 == 0 {
            assert_eq!(good.ask("PING"), "+PONG");
        }
    }
    assert_eq!(good.ask("GET k"), "v");
    node.lets_go(descriptors);
    assert!(node.memory() < 100, "{} MB", node.memory());
}

#[test]
fn half_frames_cost_what_arrived_and_not_what_they_promise() {
    let (_dir, node, mut good, descriptors) = node();
    let before = node.memory();
    let half: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut rude = node.raw();
            rude.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\n").expect("it reads");
            rude.write_all(&[b'x'; 5_000]).expect("it reads");
            rude
        })
        .collect();
    assert_eq!(good.ask("GET k"), "v");
    // A connection begins with some room, of which an allocator may touch more than is used.
    let grown = node.memory() - before;
    assert!(grown < 120, "{grown} MB for 200 promises of 500 MB");
    drop(half);
    node.lets_go(descriptors);
    assert_eq!(good.ask("GET k"), "v", "half a command is none");

    let mut slow = node.raw();
    slow.set_nodelay(true).expect("a socket");
    for byte in b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\nslow\r\n" {
        slow.write_all(&[*byte]).expect("it reads");
        thread::sleep(Duration::from_millis(1));
    }
    let mut answer = [0; 5];
    slow.read_exact(&mut answer).expect("an answer");
    assert_eq!((&answer, good.ask("GET k").as_str()), (b"+OK\r\n", "slow"));
}

#[test]
fn a_client_that_never_reads_is_cut_off() {
    let (_dir, node, mut good, descriptors) = node();
    assert_eq!(good.ask(&format!("SET big {}", "v".repeat(60_000))), "+OK");
    let mut rude = node.raw();
    rude.set_write_timeout(Some(Duration::from_secs(5))).expect("a valid timeout");
    let many = b"GET big\r\n".repeat(1_000);
    let begun = Instant::now();
    // 60 MB of answers each time; 256 MB may wait.
    while rude.write_all(&many).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it may ask for ever");
        assert!(node.memory() < 600, "{} MB", node.memory());
    }
    assert_eq!(good.ask("GET k"), "v");
    node.lets_go(descriptors);
}

#[test]
fn resets_in_the_middle_leave_nothing_behind() {
    let (_dir, node, mut good, descriptors) = node();
    for _ in 0..300 {
        let mut rude = node.raw();
        // Closing with answers unread resets the connection.
        rude.write_all(&b"GET k\r\n".repeat(200)).expect("it reads");
    }
    node.lets_go(descriptors);
    assert_eq!(good.ask("GET k"), "v");
    assert!(node.memory() < 150, "{} MB", node.memory());
}
