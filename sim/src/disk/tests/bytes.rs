//! Files: what is written is read, and what is synced stays.

use orloj_kernel::{DiskErrorKind, OpenMode};

use super::{LAWFUL, Rig, full, runs};
use crate::disk::{DiskFaults, EFBIG, EIO, FILE_MAX};

#[test]
fn reads_see_writes_gaps_and_the_end() {
    let mut rig = Rig::new(1);
    let file = rig.create("f");
    rig.write(file, 5_000, b"tail").unwrap();
    rig.write(file, 2, b"head").unwrap();
    let bytes = rig.read(file);
    assert_eq!(
        (bytes.len(), &bytes[..8], &bytes[5_000..]),
        (5_004, &b"\0\0head\0\0"[..], &b"tail"[..])
    );
    rig.disk.set_len(file, 4).unwrap();
    rig.disk.set_len(file, 9).unwrap();
    assert_eq!(rig.read(file), b"\0\0he\0\0\0\0\0");
    let (disk, mut luck) = rig.luck();
    let mut buf = [1; 4];
    assert_eq!(disk.read_at(file, 9, &mut buf, &mut luck), Ok(0));
    assert_eq!(disk.read_at(file, u64::MAX, &mut buf, &mut luck), Ok(0));
    assert_eq!(disk.write_at(file, u64::MAX, &buf, &mut luck), Err(DiskErrorKind::Io(EFBIG)));
    assert_eq!(disk.set_len(file, FILE_MAX + 1), Err(DiskErrorKind::Io(EFBIG)));
    assert_eq!(disk.write_at(file, 100, &[], &mut luck), Ok(()));
    assert_eq!(disk.size(file), Ok(9));
}

#[test]
fn a_reader_may_not_write() {
    let mut rig = Rig::new(1);
    rig.create("f");
    let file = rig.open("f", OpenMode::Read).unwrap();
    assert_eq!(rig.write(file, 0, b"x"), Err(DiskErrorKind::ReadOnly));
    assert_eq!(rig.disk.set_len(file, 3), Err(DiskErrorKind::ReadOnly));
    assert_eq!(rig.sync(file), Ok(()));
}

#[test]
fn a_disk_without_faults_loses_nothing_and_chooses_nothing() {
    let mut rig = Rig::new(1);
    rig.disk.set_faults(DiskFaults::NONE);
    let file = rig.create("f");
    rig.write(file, 0, b"never synced").unwrap();
    rig.power_cut();
    assert_eq!(rig.contents("f").unwrap(), b"never synced");
    assert_eq!(rig.choices.made(), 0);
    assert_eq!(rig.disk.size(file), Err(DiskErrorKind::Io(EIO)));
}

#[test]
fn what_was_synced_stays_and_the_rest_goes() {
    let mut rig = Rig::new(1);
    let file = rig.durable("f", &full(1, 6_000));
    rig.write(file, 1_000, &full(2, 9_000)).unwrap();
    rig.lose_everything();
    assert_eq!(runs(&rig.contents("f").unwrap()), [(1, 6_000)]);
}

#[test]
fn a_sync_covers_what_was_complete_when_it_began() {
    let mut rig = Rig::new(1);
    let file = rig.durable("f", &full(1, 512));
    rig.write(file, 0, &full(2, 512)).unwrap();
    let sync = rig.disk.begin_sync(file).unwrap();
    rig.write(file, 0, &full(3, 512)).unwrap();
    rig.write(file, 512, &full(3, 512)).unwrap();
    let (disk, mut luck) = rig.luck();
    disk.end_sync(sync, &mut luck).unwrap();
    assert_eq!(runs(&rig.read(file)), [(3, 1_024)]);
    rig.lose_everything();
    assert_eq!(runs(&rig.contents("f").unwrap()), [(2, 512)]);
}

#[test]
fn what_a_sync_in_flight_needs_is_kept_among_many_rewrites() {
    let mut rig = Rig::new(1);
    let file = rig.durable("f", b"old");
    (0..9).for_each(|n| rig.write(file, 0, &[n; 3]).unwrap());
    let sync = rig.disk.begin_sync(file).unwrap();
    (9..50).for_each(|n| rig.write(file, 0, &[n; 3]).unwrap());
    let (disk, mut luck) = rig.luck();
    disk.end_sync(sync, &mut luck).unwrap();
    rig.lose_everything();
    assert_eq!(rig.contents("f").unwrap(), [8; 3]);
}

#[test]
fn syncs_may_end_in_another_order() {
    let mut rig = Rig::new(1);
    let file = rig.durable("f", b"0");
    let syncs = [1, 2, 3].map(|n| {
        rig.write(file, 0, &[n]).unwrap();
        rig.disk.begin_sync(file).unwrap()
    });
    let (disk, mut luck) = rig.luck();
    for (sync, want) in [(syncs[1], 2), (syncs[0], 2), (syncs[2], 3)] {
        disk.end_sync(sync, &mut luck).unwrap();
        let mut copy = Rig::new(1);
        copy.disk.restore(&disk.snapshot());
        assert_eq!(copy.contents("f").unwrap(), [want]);
    }
}

#[test]
fn a_process_crash_keeps_the_cache_and_kills_the_handles() {
    let mut rig = Rig::new(1);
    let file = rig.create("f");
    rig.write(file, 0, b"cached").unwrap();
    let sync = rig.disk.begin_sync(file).unwrap();
    rig.disk.process_crash();
    let dead = Err(DiskErrorKind::Io(EIO));
    assert_eq!(rig.write(file, 0, b"x"), dead);
    let (disk, mut luck) = rig.luck();
    assert_eq!(disk.end_sync(sync, &mut luck), dead);
    rig.disk.close(file);
    assert_eq!(rig.contents("f").unwrap(), b"cached");
    rig.lose_everything();
    assert_eq!(rig.contents("f"), None);
}

#[test]
fn room_is_taken_by_pages_and_given_back() {
    let mut rig = Rig::new(1);
    let a = rig.create("a");
    rig.write(a, 0, &full(1, 5_000)).unwrap();
    rig.disk.set_len(a, 1 << 20).unwrap();
    assert_eq!(rig.disk.used(), 8_192);
    rig.write(a, 100_000, &full(0, 10)).unwrap();
    assert_eq!(rig.disk.used(), 12_288, "zeros take room when they are written");
    rig.disk.remove("a").unwrap();
    assert_eq!(rig.disk.used(), 12_288, "it is still open");
    rig.disk.close(a);
    assert_eq!(rig.disk.used(), 0);
}

#[test]
fn an_image_brings_an_older_disk_back() {
    let mut rig = Rig::new(1);
    let file = rig.durable("f", b"one");
    rig.write(file, 0, b"unsynced").unwrap();
    let image = rig.disk.snapshot();
    assert_eq!(rig.read(file), b"unsynced", "a snapshot changes nothing");
    rig.sync(file).unwrap();
    rig.disk.restore(&image);
    assert_eq!(rig.contents("f").unwrap(), b"one");
    rig.disk.replace();
    assert_eq!(rig.disk.list("").unwrap(), []);
    rig.disk.restore(&image);
    assert_eq!(rig.contents("f").unwrap(), b"one");
}

#[test]
fn a_truncation_that_is_lost_gives_the_bytes_back() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let mut rig = Rig::new(seed);
        let file = rig.durable("f", &full(7, 10_000));
        rig.disk.set_faults(LAWFUL);
        rig.disk.set_len(file, 100).unwrap();
        rig.power_cut();
        let left = rig.contents("f").unwrap();
        assert!(left.iter().all(|b| *b == 7));
        seen.insert((left.len(), rig.disk.used()));
    }
    assert_eq!(seen, [(100, 4_096), (10_000, 12_288)].into());
}
