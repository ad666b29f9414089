//! CPU nanoseconds per operation of the tree in memory, with keys of 16 bytes and values of 100:
//! `cargo run --release -p orloj-storage --example tree_cost [thousands of keys]...`.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(clippy::disallowed_methods, reason = "it measures the machine")]

use std::{hint::black_box, sync::Arc};

use orloj_storage::{
    At, Durability, KeyspaceId, Options, Retention,
    record::Op,
    tree::{Cursor, Keyspace, Tree},
};

/// Nanoseconds this thread has spent on a processor.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says so");
    let first = stat.split_whitespace().next().and_then(|word| word.parse().ok());
    first.expect("its first word is a number")
}

fn row(name: &str, ops: u64, mut act: impl FnMut(u64)) {
    let begun = cpu();
    (0..ops).for_each(&mut act);
    println!("  {name:<24} {:>8.0} ns", (cpu() - begun) as f64 / ops as f64);
}

/// A number in disorder; the same for the same `n`.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn key(n: u64) -> [u8; 16] {
    let mut key = *b"user000000000000";
    let mut n = n;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
    }
    key
}

fn tree() -> (Tree, Arc<Keyspace>) {
    let tree = Tree::new(&Options::new("", Durability::InMemory));
    let (keyspace, keep) = (KeyspaceId::FIRST_USER, Retention::default());
    tree.commit(&[], &[Op::Create { keyspace, name: "users", keep }]).expect("it is new");
    let keyspace = tree.keyspace(keyspace).expect("it was made");
    (tree, keyspace)
}

fn measure(keys: u64) {
    println!("{keys} keys");
    let value = [7; 100];
    // What is done in disorder visits every key about once.
    let any = |n: u64| key(mix(n) % keys);
    let (scattered, to) = tree();
    row("load at random", keys, |n| {
        // An odd factor below a power of two above `keys` visits each once.
        let at = (n.wrapping_mul(0x9e37_79b1)) % keys;
        scattered.put(&to, &key(at), &value, None).expect("there is room");
    });
    drop((scattered, to));
    let (tree, of) = tree();
    row("load in order", keys, |n| {
        tree.put(&of, &key(n), &value, None).expect("there is room");
    });
    let ops = 1_000_000;
    row("making a key", ops, |n| _ = black_box(any(n)));
    let mut out = Vec::new();
    row("get", ops, |n| {
        let found = tree.get(&of, &any(n), At::Visible, &mut out).expect("all is in memory");
        assert!(found.is_some() && out.len() == 100);
    });
    row("get, snapshot each", ops, |n| {
        let snapshot = tree.snapshot();
        let at = At::Version(snapshot.version());
        assert!(tree.get(&of, &any(n), at, &mut out).expect("all is in memory").is_some());
    });
    row("put, replacing", ops, |n| {
        tree.put(&of, &any(n), &value, None).expect("there is room");
    });
    row("put again", ops, |n| {
        tree.put(&of, &any(n + ops), &value, None).expect("there is room");
    });
    row("commit of one", ops / 4, |n| {
        let key = any(n);
        let put = Op::Put { keyspace: of.id(), key: &key, value: &value, deadline: None };
        tree.commit(&[], &[put]).expect("no checks");
    });
    row("get after puts", ops, |n| {
        let found = tree.get(&of, &any(n), At::Visible, &mut out).expect("all is in memory");
        assert!(found.is_some());
    });
    let snapshot = tree.snapshot();
    row("scan of 100", ops / 50, |n| {
        let mut cursor = Cursor::new(&of, &any(n), None, snapshot.version()).expect("it is kept");
        for _ in 0..100 {
            let Some(item) = cursor.next().expect("all is in memory") else { break };
            black_box(item);
        }
    });
    drop(snapshot);
    row("snapshot", ops, |_| drop(black_box(tree.snapshot())));
    pair("get", &of, keys, |of, key| {
        let mut out = Vec::with_capacity(128);
        assert!(tree.get(of, key, At::Visible, &mut out).expect("in memory").is_some());
    });
    pair("put", &of, keys, |of, key| {
        tree.put(of, key, &value, None).expect("there is room");
    });
    row("delete", keys.min(ops), |n| {
        tree.delete(&of, &any(n)).expect("there is room");
    });
}

/// Two threads at once, each with keys of its own.
fn pair(name: &str, of: &Keyspace, keys: u64, act: impl Fn(&Keyspace, &[u8]) + Sync) {
    let ops = 500_000;
    let half = |side: u64| {
        let begun = cpu();
        (0..ops).for_each(|n| act(of, &key(mix(n + side * ops) % (keys / 2) * 2 + side)));
        cpu() - begun
    };
    let alone = half(0);
    let both = std::thread::scope(|both| {
        let (one, two) = (both.spawn(|| half(0)), both.spawn(|| half(1)));
        one.join().expect("it ran") + two.join().expect("it ran")
    });
    println!("  two threads, {name:<11} {:>8.2} times one", 4.0 * alone as f64 / both as f64);
}

fn main() {
    let asked: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![100, 1_000] } else { asked };
    sizes.into_iter().for_each(|thousands| measure(thousands * 1_000));
}
