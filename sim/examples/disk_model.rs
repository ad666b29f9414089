//! CPU nanoseconds per operation of the disk model: `cargo run --release --example disk_model`.
//!
//! Fresh memory costs a page fault for every 4 KiB; see it vanish with
//! MALLOC_TRIM_THRESHOLD_=1000000000.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use orloj_kernel::OpenMode;
use orloj_sim::{
    choice::Choices,
    disk::{FileKey, Luck, SimDisk},
    fault::Faults,
};

fn cpu() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut t) };
    t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
}

fn row(name: &str, ops: u64, mut f: impl FnMut(u64)) {
    let best = (0..5)
        .map(|_| {
            let begun = cpu();
            (0..ops).for_each(&mut f);
            (cpu() - begun) / ops as f64
        })
        .fold(f64::MAX, f64::min);
    println!("{name:<36} {best:9.1} ns");
}

struct Rig {
    disk: SimDisk,
    choices: Choices,
    faults: Faults,
    file: Option<FileKey>,
}

impl Rig {
    fn new() -> Rig {
        let (choices, faults) = (Choices::from_seed(1), Faults::default());
        let mut rig = Rig { disk: SimDisk::new(), choices, faults, file: None };
        let mut luck = Luck { choices: &mut rig.choices, faults: &mut rig.faults };
        rig.file = rig.disk.open("journal", OpenMode::Create, &mut luck).ok();
        rig
    }

    fn with<T>(&mut self, f: impl FnOnce(&mut SimDisk, FileKey, &mut Luck<'_>) -> T) -> T {
        let mut luck = Luck { choices: &mut self.choices, faults: &mut self.faults };
        f(&mut self.disk, self.file.expect("it was created"), &mut luck)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        self.with(|disk, file, luck| disk.write_at(file, at, bytes, luck)).expect("no trouble");
    }

    fn sync(&mut self) {
        self.with(|disk, file, luck| disk.sync(file, luck)).expect("no trouble");
    }
}

fn main() {
    row("empty disk, made and dropped", 1_000_000, |_| {
        std::hint::black_box(SimDisk::new());
    });
    row("disk with one small synced file", 50_000, |_| {
        let mut rig = Rig::new();
        rig.write(0, &[7; 100]);
        rig.sync();
        rig.with(|disk, _, luck| disk.sync_dir("", luck)).expect("no trouble");
    });
    for (name, len, every) in [
        ("append 4 KiB, sync", 4_096, 1),
        ("append 150 bytes, sync", 150, 1),
        ("append 150 bytes, sync every 16", 150, 16),
        ("append 150 bytes, sync every 1000", 150, 1_000),
    ] {
        let (mut rig, bytes, mut at) = (Rig::new(), vec![9; len], 0);
        row(name, 16_000, |n| {
            if at > 1 << 20 {
                (rig, at) = (Rig::new(), 0);
            }
            rig.write(at, &bytes);
            at += len as u64;
            if n % every == 0 {
                rig.sync();
            }
        });
    }
    let (mut rig, bytes, mut buf) = (Rig::new(), vec![9; 4_096], vec![0; 4_096]);
    row("overwrite 4 KiB, sync", 16_000, |n| {
        rig.write(n % 64 * 4_096, &bytes);
        rig.sync();
    });
    row("read 4 KiB", 16_000, |n| {
        let read = rig.with(|disk, file, luck| disk.read_at(file, n % 64 * 4_096, &mut buf, luck));
        assert_eq!(read, Ok(4_096));
    });
    for (name, len) in
        [("prewrite 64 KiB of zeros, sync", 65_536), ("prewrite 1 MiB of zeros, sync", 1 << 20)]
    {
        let zeros = vec![0; len];
        row(name, 500, |_| {
            let mut rig = Rig::new();
            rig.write(0, &zeros);
            rig.sync();
        });
    }
}
