//! What it costs to open a database behind whose last checkpoint lie 200 MB of journal, with keys
//! of 16 bytes and values of 100 on a real disk:
//! `cargo run --release -p orloj-tests --example reopen_cost DIR [MiB of cache]`.
//!
//! `DIR` is made if it is not there. Run it again to open the same journal, in a process that has
//! not written it: then the peak of memory is that of the opening.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::{path::Path, time::Instant};

use orloj_host::Host;
use orloj_kernel::Context;
use orloj_storage::{
    Durability, KeyspaceId, Options, Retention,
    journal::Records,
    record::Op,
    recover::{self, Opened},
};

const JOURNAL: usize = 200 << 20;
const KEYS: u64 = 1_000_000;

/// A number in disorder; the same for the same `n`.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Writes the journal as the engine would: a record for each operation, 256 to a frame.
async fn make(cx: Context, options: &Options) {
    let Opened { mut log, .. } = recover::open(cx, options, None).await.expect("a new directory");
    let (keyspace, keep) = (KeyspaceId::FIRST_USER, Retention::default());
    let mut records = Records::new();
    records.push(|out| Op::Create { keyspace, name: "users", keep }.write(out, true));
    let (mut written, mut count) = (0, 0);
    while written < JOURNAL {
        while records.count() < 256 {
            let key = format!("user{:012}", mix(count) % KEYS);
            let (key, value) = (key.as_bytes(), &[count as u8; 100]);
            let put = Op::Put { keyspace, key, value, deadline: None };
            records.push(|out| put.write(out, true));
            count += 1;
        }
        written += records.len();
        log.append(&[std::mem::take(&mut records)], false).await.expect("there is room");
    }
    log.sync().await.expect("a disk that works");
    println!("{count} operations written, {} MiB", written >> 20);
}

/// The most memory this process ever had, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says so");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.expect("Linux says so") >> 10
}

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().expect("a directory to work in");
    let cache = args.next().map_or(64, |mib| mib.parse().expect("MiB of cache"));
    let cache_bytes = cache << 20;
    let options = Options { cache_bytes, ..Options::new(&dir, Durability::Buffered) };
    let cx = Host::new(orloj_host::Options::new(".")).expect("a runtime").context();
    if !Path::new(&dir).exists() {
        cx.block_on(make(cx, &options));
    }
    let begun = Instant::now();
    let opened = cx.block_on(recover::open(cx, &options, None)).expect("nothing is damaged");
    let (took, report) = (begun.elapsed(), opened.report);
    let (bytes, operations) = (report.journal.bytes >> 20, report.operations);
    println!(
        "{operations} operations of {bytes} MiB in {took:?}, {cache} MiB of cache: peak {} MiB, \
         {} checkpoints",
        peak(),
        report.checkpoints
    );
}
