//! Every class of fault: what it does, when it is counted, what it spares.

use std::collections::BTreeSet;

use orloj_kernel::{DiskErrorKind, OpenMode};

use super::{ALWAYS, LAWFUL, Rig, full, runs};
use crate::{
    disk::{
        Ambush, Damage, DiskFaults, DiskOp, EIO, LatencyProfile, OnSynced, Place, SyncFailure,
        hostile::matches,
    },
    fault::FaultClass,
};

const BROKEN: DiskErrorKind = DiskErrorKind::Io(EIO);

fn rates(change: impl Fn(&mut DiskFaults)) -> DiskFaults {
    let mut rates = DiskFaults { on_synced: OnSynced::ALL, ..DiskFaults::NONE };
    change(&mut rates);
    rates
}

/// A rig whose file `f` durably holds `n` sectors of the bytes 1, 2, ...
fn numbered(seed: u64, n: u8) -> (Rig, crate::disk::FileKey) {
    let mut rig = Rig::new(seed);
    rig.disk.set_faults(DiskFaults::NONE);
    let bytes: Vec<u8> = (1..=n).flat_map(|b| [b; 512]).collect();
    let file = rig.durable("f", &bytes);
    (rig, file)
}

fn sectors(rig: &mut Rig) -> Vec<(u8, usize)> {
    runs(&rig.contents("f").unwrap())
}

#[test]
fn a_torn_sector_is_part_old_part_new() {
    let mut fronts = BTreeSet::new();
    for seed in 0..20 {
        let (mut rig, file) = numbered(seed, 2);
        rig.disk.set_faults(rates(|r| r.torn = ALWAYS));
        rig.write(file, 512, &full(9, 512)).unwrap();
        rig.power_cut();
        let shown = sectors(&mut rig);
        assert!(matches!(shown[..], [(1, 512), (2 | 9, _), (9 | 2, _)]), "{shown:?}");
        assert_eq!(rig.count(FaultClass::DiskTorn), 1);
        assert_eq!(rig.count(FaultClass::DiskLostWrite), 0);
        fronts.insert(shown[1].0);
    }
    assert_eq!(fronts, [2, 9].into());
}

#[test]
fn nothing_is_torn_where_nothing_differs() {
    let (mut rig, file) = numbered(1, 1);
    rig.disk.set_faults(rates(|r| (r.torn, r.lost_write, r.reorder) = (ALWAYS, ALWAYS, ALWAYS)));
    rig.write(file, 0, &full(1, 512)).unwrap();
    rig.power_cut();
    assert_eq!(rig.faults.injections().count(), 0);
}

#[test]
fn noise_spares_what_was_synced_unless_told_otherwise() {
    for (on_synced, spared) in [(OnSynced::default(), true), (OnSynced::ALL, false)] {
        let (mut rig, file) = numbered(1, 2);
        let faults = DiskFaults { garbage: ALWAYS, reorder: ALWAYS, on_synced, ..DiskFaults::NONE };
        rig.disk.set_faults(faults);
        rig.write(file, 512, &full(9, 1_024)).unwrap();
        rig.power_cut();
        let bytes = rig.contents("f").unwrap();
        assert_eq!(runs(&bytes[..512]), [(1, 512)], "not being written");
        assert_eq!(runs(&bytes[512..1_024]) == [(9, 512)], spared);
        assert!(runs(&bytes[1_024..]).len() > 400);
        assert_eq!(rig.count(FaultClass::DiskGarbage), if spared { 1 } else { 2 });
    }
}

#[test]
fn a_broken_order_is_counted_once_for_the_cut() {
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        let (mut rig, file) = numbered(seed, 2);
        rig.disk.set_faults(DiskFaults { reorder: ALWAYS, ..LAWFUL });
        rig.write(file, 0, &full(8, 512)).unwrap();
        rig.write(file, 512, &full(9, 512)).unwrap();
        rig.power_cut();
        let shown = sectors(&mut rig);
        let broken = shown == [(1, 512), (9, 512)];
        assert_eq!(rig.count(FaultClass::DiskReorder), u64::from(broken), "{shown:?}");
        seen.insert(shown);
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn a_failed_sync_drops_the_pages_as_file_systems_do() {
    for (failure, sees) in [(SyncFailure::KeepsNew, 9), (SyncFailure::Reverts, 1)] {
        let (mut rig, file) = numbered(1, 1);
        rig.write(file, 0, &full(9, 512)).unwrap();
        rig.disk.ambush(Ambush::Sync(failure), "f");
        assert_eq!(rig.sync(file), Err(BROKEN));
        assert_eq!(rig.sync(file), Ok(()), "the pages are clean");
        assert_eq!(runs(&rig.read(file)), [(sees, 512)], "{failure:?}");
        rig.power_cut();
        assert_eq!(sectors(&mut rig), [(1, 512)], "{failure:?}");
        assert_eq!(rig.count(FaultClass::DiskSyncFailed), 1);
    }
}

#[test]
fn a_failed_sync_may_have_done_part_of_its_work() {
    let mut seen = BTreeSet::new();
    for seed in 0..30 {
        let (mut rig, file) = numbered(seed, 2);
        rig.disk.ambush(Ambush::Sync(SyncFailure::KeepsNew), "*");
        rig.write(file, 0, &full(9, 1_024)).unwrap();
        rig.sync(file).unwrap_err();
        rig.power_cut();
        seen.insert(sectors(&mut rig));
    }
    assert_eq!(seen, [vec![(1, 512), (2, 512)], vec![(9, 512), (2, 512)]].into());
}

#[test]
fn a_growth_that_failed_to_sync_reverts_or_leaves_a_hole() {
    for (failure, left) in [(SyncFailure::KeepsNew, 2), (SyncFailure::Reverts, 1)] {
        let (mut rig, file) = numbered(1, 1);
        rig.write(file, 512, &full(9, 512)).unwrap();
        rig.disk.ambush(Ambush::Sync(failure), "f");
        rig.sync(file).unwrap_err();
        rig.sync(file).unwrap();
        rig.power_cut();
        let want = [(1, 512), (0, 512)];
        assert_eq!(sectors(&mut rig), want[..left], "{failure:?}");
    }
}

#[test]
fn a_failed_journal_makes_the_disk_read_only() {
    let (mut rig, file) = numbered(1, 1);
    rig.disk.ambush(Ambush::Sync(SyncFailure::ReadOnly), "f");
    rig.write(file, 0, &full(9, 512)).unwrap();
    assert_eq!(rig.sync(file), Err(BROKEN));
    assert_eq!(rig.write(file, 0, b"x"), Err(DiskErrorKind::ReadOnly));
    assert_eq!(rig.open("g", OpenMode::Create), Err(DiskErrorKind::ReadOnly));
    assert_eq!(rig.disk.remove("f"), Err(DiskErrorKind::ReadOnly));
    assert_eq!(rig.sync_dir(""), Err(DiskErrorKind::ReadOnly));
    assert_eq!(rig.create_dir("d"), Err(DiskErrorKind::ReadOnly));
    rig.power_cut();
    assert_eq!(sectors(&mut rig), [(1, 512)]);
    rig.create("g");
}

#[test]
fn a_journaled_failure_is_reported_one_sync_late() {
    let (mut rig, file) = numbered(1, 2);
    rig.disk.ambush(Ambush::Sync(SyncFailure::Late), "f");
    rig.write(file, 0, &full(8, 512)).unwrap();
    assert_eq!(rig.sync(file), Ok(()));
    assert_eq!(rig.count(FaultClass::DiskSyncFailed), 0);
    rig.write(file, 512, &full(9, 512)).unwrap();
    assert_eq!(rig.sync(file), Err(BROKEN));
    assert_eq!(runs(&rig.read(file)), [(8, 512), (9, 512)]);
    rig.power_cut();
    assert_eq!(sectors(&mut rig), [(1, 512), (9, 512)]);
}

#[test]
fn a_directory_sync_fails_too() {
    let mut rig = Rig::new(1);
    rig.create("f");
    rig.disk.set_faults(rates(|r| r.sync_failed = ALWAYS));
    assert_eq!(rig.sync_dir(""), Err(BROKEN));
    rig.disk.calm();
    rig.lose_everything();
    assert_eq!(rig.contents("f"), None);
}

#[test]
fn a_read_fails_once_or_until_the_sector_is_written() {
    let (mut rig, file) = numbered(1, 3);
    rig.disk.ambush(Ambush::Read, "f");
    assert_eq!(rig.try_read(file), Err(BROKEN));
    rig.read(file);
    rig.disk.set_faults(rates(|_| {}));
    let (disk, mut luck) = rig.luck();
    let struck = disk.damage(Damage::Unreadable, "f", Place::Tail, &mut luck).unwrap();
    assert_eq!((&struck.path[..], struck.offset), ("f", 1_024));
    assert_eq!(rig.try_read(file), Err(BROKEN));
    rig.power_cut();
    let file = rig.create("f");
    assert_eq!(rig.try_read(file), Err(BROKEN));
    assert_eq!(rig.write(file, 1_100, b"part"), Err(BROKEN));
    assert_eq!(rig.count(FaultClass::DiskReadError), 4);
    rig.write(file, 1_024, &full(9, 512)).unwrap();
    assert_eq!(runs(&rig.read(file))[2], (9, 512));
}

#[test]
fn a_write_fails_and_may_have_done_part_of_its_work() {
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        let mut rig = Rig::new(seed);
        let file = rig.create("f");
        rig.disk.set_faults(rates(|r| r.write_error = ALWAYS));
        assert_eq!(rig.write(file, 100, &full(9, 8_192)), Err(BROKEN));
        assert_eq!(rig.count(FaultClass::DiskWriteError), 1);
        seen.insert(rig.disk.size(file).unwrap());
    }
    assert_eq!(seen, [0, 4_096, 8_192, 8_292].into());
}

#[test]
fn rot_flips_one_durable_bit_where_it_is_told() {
    let mut hidden = 0;
    for seed in 0..40 {
        let (mut rig, file) = numbered(seed, 16);
        rig.disk.set_len(file, 20_000).unwrap();
        rig.sync(file).unwrap();
        rig.disk.set_faults(rates(|_| {}));
        let place = [Place::Tail, Place::Middle, Place::Anywhere][seed as usize % 3];
        let (disk, mut luck) = rig.luck();
        let struck = disk.damage(Damage::BitRot, "*", place, &mut luck).unwrap();
        match place {
            Place::Tail => assert_eq!(struck.offset, 15 * 512),
            Place::Middle => assert!((1_024..14 * 512).contains(&struck.offset)),
            Place::Anywhere => assert!(struck.offset < 16 * 512),
        }
        let flipped = |bytes: Vec<u8>| -> u32 {
            let was = |i: usize| if i < 8_192 { (i / 512 + 1) as u8 } else { 0 };
            bytes.iter().enumerate().map(|(i, b)| (b ^ was(i)).count_ones()).sum()
        };
        hidden += 1 - flipped(rig.read(file));
        assert_eq!(rig.count(FaultClass::DiskBitRot), 1);
        rig.power_cut();
        assert_eq!(flipped(rig.contents("f").unwrap()), 1);
    }
    assert!((10..30).contains(&hidden), "{hidden}");
}

#[test]
fn damage_at_rest_spares_what_was_synced_unless_told_otherwise() {
    use Damage::{BitRot, Misdirected, Unreadable, Zeroed};
    let (mut rig, file) = numbered(1, 4);
    for damage in [BitRot, Zeroed, Unreadable, Misdirected] {
        let (disk, mut luck) = rig.luck();
        assert_eq!(disk.damage(damage, "*", Place::Anywhere, &mut luck), None);
    }
    // What the power cut leaves of an unsynced write was never promised to anybody.
    rig.write(file, 4 * 512, &full(9, 512)).unwrap();
    rig.power_cut();
    for (damage, class) in [
        (BitRot, FaultClass::DiskBitRot),
        (Misdirected, FaultClass::DiskMisdirectedWrite),
        (Zeroed, FaultClass::DiskZeroed),
    ] {
        let (disk, mut luck) = rig.luck();
        let struck = disk.damage(damage, "*", Place::Anywhere, &mut luck).unwrap();
        assert_eq!((struck.offset, rig.count(class)), (4 * 512, 1), "{damage:?}");
    }
    rig.power_cut();
    assert_eq!(sectors(&mut rig)[4], (0, 512));
}

#[test]
fn a_flip_on_the_way_is_gone_at_the_next_read() {
    let (mut rig, file) = numbered(1, 2);
    let clean = rig.read(file);
    rig.disk.set_faults(rates(|_| {}));
    rig.disk.ambush(Ambush::Flip, "f");
    let flips = rig.read(file).iter().zip(&clean).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
    assert_eq!((flips, rig.read(file) == clean), (1, true));
    rig.disk.set_faults(rates(|r| r.bit_rot = ALWAYS));
    rig.read(file);
    rig.disk.calm();
    let flips = rig.read(file).iter().zip(&clean).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
    assert_eq!(flips, 1, "rot stays");
}

#[test]
fn a_misdirected_read_shows_another_sector_once() {
    let (mut rig, file) = numbered(1, 4);
    rig.disk.set_faults(rates(|_| {}));
    rig.disk.ambush(Ambush::MisdirectedRead, "f");
    let read = rig.read(file);
    let wrong = read.chunks(512).zip(1_u8..).filter(|(sector, n)| sector[0] != *n);
    assert_eq!(wrong.count(), 1);
    assert_eq!(rig.count(FaultClass::DiskMisdirectedRead), 1);
    assert_eq!(runs(&rig.read(file)).len(), 4);
}

#[test]
fn a_misdirected_write_misses_its_place_and_hits_another() {
    let mut elsewhere = 0;
    for seed in 0..20 {
        let (mut rig, file) = numbered(seed, 4);
        rig.durable("g", &full(7, 2_048));
        rig.disk.set_faults(rates(|r| r.misdirected_write = ALWAYS));
        rig.write(file, 512, &full(9, 512)).unwrap();
        rig.sync(file).unwrap();
        assert_eq!(rig.count(FaultClass::DiskMisdirectedWrite), 1);
        rig.disk.calm();
        rig.power_cut();
        let f = rig.contents("f").unwrap();
        let g = rig.contents("g").unwrap();
        assert_eq!(f[512], 2, "it never arrived");
        let landed = |bytes: &[u8]| bytes.chunks(512).filter(|s| s[0] == 9).count();
        assert_eq!(landed(&f) + landed(&g), 1);
        elsewhere += landed(&g);
    }
    assert!((4..16).contains(&elsewhere), "{elsewhere}");
}

#[test]
fn a_synced_sector_turns_out_stale_or_zero() {
    for (what, class, left) in
        [(Ambush::Stale, FaultClass::DiskStale, 2), (Ambush::Zeroed, FaultClass::DiskZeroed, 0)]
    {
        let (mut rig, file) = numbered(1, 3);
        rig.disk.set_faults(rates(|_| {}));
        rig.disk.ambush(what, "f");
        rig.write(file, 512, &full(9, 512)).unwrap();
        assert_eq!(rig.sync(file), Ok(()));
        assert_eq!(rig.count(class), 1);
        rig.power_cut();
        assert_eq!(sectors(&mut rig)[1], (left, 512));
    }
}

#[test]
fn a_sync_does_not_go_astray_where_it_may_not() {
    let (mut rig, file) = numbered(1, 3);
    rig.disk.set_faults(DiskFaults {
        stale: ALWAYS,
        zeroed: ALWAYS,
        misdirected_write: ALWAYS,
        misdirected_read: ALWAYS,
        read_flip: ALWAYS,
        bit_rot: ALWAYS,
        unreadable: ALWAYS,
        ..DiskFaults::NONE
    });
    rig.write(file, 0, &full(9, 512)).unwrap();
    rig.sync(file).unwrap();
    assert_eq!(runs(&rig.read(file)), [(9, 512), (2, 512), (3, 512)]);
    rig.power_cut();
    assert_eq!(sectors(&mut rig), [(9, 512), (2, 512), (3, 512)]);
    assert_eq!(rig.faults.injections().count(), 0);
}

#[test]
fn unsynced_sectors_go_astray_when_the_power_is_cut() {
    let (mut rig, file) = numbered(1, 2);
    rig.write(file, 1_024, &full(9, 1_024)).unwrap();
    rig.disk.set_faults(DiskFaults { zeroed: ALWAYS, ..DiskFaults::NONE });
    rig.power_cut();
    assert_eq!(sectors(&mut rig), [(1, 512), (2, 512), (0, 1_024)]);
    assert_eq!(rig.count(FaultClass::DiskZeroed), 2);
    let file = rig.create("f");
    rig.write(file, 1_024, &full(9, 512)).unwrap();
    rig.disk.set_faults(DiskFaults { misdirected_write: ALWAYS, ..DiskFaults::NONE });
    rig.power_cut();
    assert_eq!(sectors(&mut rig), [(1, 512), (2, 512), (0, 512), (9, 512)]);
    assert_eq!(rig.count(FaultClass::DiskMisdirectedWrite), 1);
}

#[test]
fn a_full_disk_takes_what_fits_and_recovers() {
    let mut seen = BTreeSet::new();
    for seed in 0..40 {
        let mut rig = Rig::new(seed);
        let file = rig.create("f");
        rig.write(file, 0, &full(1, 4_096)).unwrap();
        rig.disk.set_capacity(Some(3 * 4_096 + 100));
        assert_eq!(rig.write(file, 1_000, &full(9, 20_000)), Err(DiskErrorKind::Full));
        assert!(rig.disk.used() <= 3 * 4_096);
        seen.insert(rig.disk.size(file).unwrap());
        rig.write(file, 0, &full(2, 4_096)).unwrap();
        rig.write(file, 8_192, &full(2, 4_096)).unwrap();
        let _ = rig.write(file, 4_096, &full(2, 4_096));
        let counted = rig.count(FaultClass::DiskFull);
        assert_eq!(rig.disk.used(), 3 * 4_096);
        assert_eq!(rig.open("g", OpenMode::Create), Err(DiskErrorKind::Full));
        assert_eq!(rig.create_dir("d"), Err(DiskErrorKind::Full));
        assert_eq!(rig.count(FaultClass::DiskFull), counted + 2);
        rig.disk.set_len(file, 4_096).unwrap();
        rig.create("g");
        rig.disk.set_capacity(None);
        rig.write(file, 0, &full(1, 20_000)).unwrap();
    }
    assert_eq!(seen, [4_096, 8_192, 12_288].into());
}

#[test]
fn room_may_be_missing_for_a_moment() {
    let mut rig = Rig::new(1);
    let file = rig.create("f");
    rig.disk.ambush(Ambush::Full, "f");
    rig.disk.ambush(Ambush::Full, "h");
    assert_eq!(rig.write(file, 0, &full(1, 9_000)), Err(DiskErrorKind::Full));
    rig.write(file, 0, &full(1, 9_000)).unwrap();
    rig.create("g");
    assert_eq!(rig.open("h", OpenMode::Create), Err(DiskErrorKind::Full));
    rig.create("h");
}

#[test]
fn latency_follows_the_profile_and_the_trouble() {
    let mut rig = Rig::new(1);
    let (disk, mut luck) = rig.luck();
    for _ in 0..100 {
        let taken = disk.latency(DiskOp::Read, 4_096, 0, &mut luck);
        assert!((12_000..=102_000).contains(&taken), "{taken}");
    }
    disk.set_latency(LatencyProfile { sync: (500, 500), ..LatencyProfile::INSTANT });
    assert_eq!(disk.latency(DiskOp::Name, 0, 7, &mut luck), 0);
    disk.slow(10);
    assert_eq!(disk.latency(DiskOp::Sync, 0, 7, &mut luck), 5_000);
    disk.stall(1_000);
    assert_eq!(disk.latency(DiskOp::Sync, 0, 400, &mut luck), 5_600);
    assert_eq!(disk.latency(DiskOp::Sync, 0, 1_000, &mut luck), 5_000);
    assert_eq!(luck.faults.injected(FaultClass::DiskSlow), 3);
    assert_eq!(luck.faults.injected(FaultClass::DiskStall), 1);
    disk.calm();
    assert_eq!(disk.latency(DiskOp::Sync, 0, 0, &mut luck), 500);
    disk.set_faults(rates(|r| (r.slow, r.stall) = (ALWAYS, ALWAYS)));
    assert!(disk.latency(DiskOp::Sync, 0, 0, &mut luck) > 1_000_000);
}

#[test]
fn an_ambush_waits_for_its_path() {
    let (mut rig, file) = numbered(1, 1);
    let other = rig.create("g");
    rig.disk.ambush(Ambush::Write, "f*");
    rig.write(other, 0, b"x").unwrap();
    assert_eq!(rig.write(file, 0, b"x"), Err(BROKEN));
    rig.write(file, 0, b"x").unwrap();
}

#[test]
fn trouble_without_rates_chooses_nothing() {
    let (mut rig, file) = numbered(1, 1);
    rig.disk.set_faults(DiskFaults::NONE);
    rig.write(file, 0, &full(9, 600)).unwrap();
    rig.read(file);
    rig.sync(file).unwrap();
    rig.write(file, 0, &full(8, 600)).unwrap();
    rig.power_cut();
    assert_eq!((sectors(&mut rig), rig.choices.made()), (vec![(8, 600)], 0));
}

#[test]
fn patterns_match_paths() {
    for (pattern, path, want) in [
        ("*", "a/b", true),
        ("journal/*.log", "journal/0001.log", true),
        ("journal/*.log", "journal/0001.tmp", false),
        ("*/x*", "a/b/xy", true),
        ("f", "f/g", false),
        ("", "f", false),
        ("**", "", true),
    ] {
        assert_eq!(matches(pattern, path), want, "{pattern} {path}");
    }
}

#[test]
fn every_class_of_the_disk_has_a_rate() {
    let named: BTreeSet<FaultClass> = DiskFaults::NONE.rates().iter().map(|r| r.0).collect();
    let all = FaultClass::ALL.iter().filter(|class| class.name().starts_with("disk-"));
    // Somebody puts a copy back: no operation does.
    let all = all.filter(|class| **class != FaultClass::DiskOldCopy);
    assert_eq!(named, all.copied().collect());
}

#[test]
fn a_file_comes_back_as_it_was_copied() {
    let mut rig = Rig::new(1);
    let put = |rig: &mut Rig, path: &str, bytes: &[u8]| {
        let file = rig.open(path, OpenMode::Create).unwrap();
        rig.write(file, 0, bytes).unwrap();
        rig.sync(file).unwrap();
        rig.sync_dir("").unwrap();
    };
    put(&mut rig, "a", b"then");
    put(&mut rig, "b", b"the same");
    rig.disk.keep_copy();
    put(&mut rig, "a", b"now and longer");
    let copy = rig.disk.copy().expect("one was made");
    let back = |rig: &mut Rig| {
        let (disk, mut luck) = rig.luck();
        disk.restore_file(&copy, &mut luck)
    };
    assert_eq!(back(&mut rig).as_deref(), Some("a"));
    let read = |rig: &mut Rig, path: &str| {
        let file = rig.open(path, OpenMode::Read).unwrap();
        rig.read(file)
    };
    assert_eq!(read(&mut rig, "a"), b"then");
    assert_eq!(read(&mut rig, "b"), b"the same");
    assert_eq!(back(&mut rig), None, "nothing differs");
}
