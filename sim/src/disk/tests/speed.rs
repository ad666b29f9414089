//! What operations cost. Run with `cargo test --profile sim -p orloj-sim speed -- --ignored --nocapture`.

use super::Rig;
use crate::disk::{FileKey, SimDisk};

/// CPU time of this thread, which a busy machine does not change much.
fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of this frame, which the call fills.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "every Linux has this clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn per(what: &str, n: u32, mut body: impl FnMut(u32)) {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = cpu_ns();
        (0..n).for_each(&mut body);
        best = best.min((cpu_ns() - start) as f64 / f64::from(n));
    }
    println!("{what}: {best:.0} ns");
}

#[test]
#[ignore = "a measurement"]
fn speed_of_a_journal() {
    per("empty disk, made and dropped", 1_000_000, |_| {
        std::hint::black_box(SimDisk::new());
    });
    per("disk with one synced file of 100 bytes", 100_000, |_| {
        let mut rig = Rig::new(1);
        rig.durable("journal", &[7; 100]);
    });
    for (what, len, synced) in [
        ("append 4 KiB, sync", 4_096, 1),
        ("append 150 bytes, sync", 150, 1),
        ("append 150 bytes, sync every 16", 150, 16),
        ("append 150 bytes, sync every 1000", 150, 1_000),
    ] {
        let (mut rig, mut file) = fresh();
        let (bytes, mut at) = (vec![9; len], 0);
        per(what, 16_000, |n| {
            if at > 1 << 20 {
                (rig, file) = fresh();
                at = 0;
            }
            rig.write(file, at, &bytes).unwrap();
            at += len as u64;
            if n % synced == 0 {
                rig.sync(file).unwrap();
            }
        });
    }
    let bytes = vec![9; 4_096];
    let (mut rig, file) = fresh();
    let mut at = 0;
    per("append 4 KiB, sync, cut at 1 MiB", 16_000, |_| {
        if at > 1 << 20 {
            rig.disk.set_len(file, 0).unwrap();
            at = 0;
        }
        rig.write(file, at, &bytes).unwrap();
        at += bytes.len() as u64;
        rig.sync(file).unwrap();
    });
    per("overwrite 4 KiB, sync", 16_000, |n| {
        rig.write(file, u64::from(n % 64) * 4_096, &bytes).unwrap();
        rig.sync(file).unwrap();
    });
    let mut buf = vec![0; 4_096];
    per("read 4 KiB", 16_000, |n| {
        let (disk, mut luck) = rig.luck();
        disk.read_at(file, u64::from(n % 64) * 4_096, &mut buf, &mut luck).unwrap();
    });
    let zeros = vec![0; 1 << 20];
    per("prewrite 1 MiB of zeros, sync", 200, |_| {
        let (mut rig, file) = fresh();
        rig.write(file, 0, &zeros).unwrap();
        rig.sync(file).unwrap();
    });
    per("prewrite 64 KiB of zeros, sync", 2_000, |_| {
        let (mut rig, file) = fresh();
        rig.write(file, 0, &zeros[..65_536]).unwrap();
        rig.sync(file).unwrap();
    });
}

fn fresh() -> (Rig, FileKey) {
    let mut rig = Rig::new(1);
    let file = rig.create("journal");
    (rig, file)
}
