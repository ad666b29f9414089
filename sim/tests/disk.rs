//! The disk of a host as its process sees it: delays, crashes, and what a scenario does to it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use orloj_kernel::{Context, DiskError, DiskErrorKind, File, OpenMode};
use orloj_sim::{
    Config, Control, Crash, Simulation,
    disk::{Ambush, Damage, DiskFaults, EIO, LatencyProfile, OnSynced, Place, SyncFailure},
    fault::FaultClass,
};

const MS: Duration = Duration::from_millis(1);
const ALWAYS: u32 = 1_000_000;

/// Runs `body` in a calm world of the hosts `node` and `test`, as a task of `test`.
fn run<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    seed: u64,
    body: impl FnOnce(Context, Context) -> F,
) -> (T, orloj_sim::Report) {
    let mut sim = Simulation::new(Config::seed(seed));
    let node = sim.idle_host("node");
    let test = sim.idle_host("test");
    let out = sim.run(test, body(node, test)).unwrap();
    (out, sim.finish())
}

async fn read(cx: Context, path: &str) -> Result<Vec<u8>, DiskError> {
    let file = cx.open(path, OpenMode::Read).await?;
    let len = file.size().await?;
    file.read_at(0, len as usize + 1).await
}

async fn durable(cx: Context, path: &str, bytes: &[u8]) -> File {
    let file = cx.open(path, OpenMode::CreateNew).await.unwrap();
    file.write_at(0, bytes.to_vec()).await.unwrap();
    file.sync().await.unwrap();
    cx.sync_dir("").await.unwrap();
    file
}

fn kind<T>(result: Result<T, DiskError>) -> DiskErrorKind {
    result.err().expect("it failed").kind
}

#[test]
fn a_process_works_with_files_and_time_passes() {
    let (_, report) = run(1, |cx, _| async move {
        cx.create_dir("a/b").await.unwrap();
        let file = cx.open("a/b/f", OpenMode::Create).await.unwrap();
        let begun = cx.now();
        let buf = file.write_at(3, b"four".to_vec()).await.unwrap();
        assert_eq!(buf, b"four", "the buffer comes back");
        file.write_sync(7, b"!".to_vec()).await.unwrap();
        assert!(cx.now() - begun > Duration::from_micros(50));
        assert_eq!(file.read_at(0, 100).await.unwrap(), b"\0\0\0four!");
        file.set_len(5).await.unwrap();
        assert_eq!(file.size().await.unwrap(), 5);
        cx.rename("a/b/f", "g").await.unwrap();
        let names: Vec<_> =
            cx.list("").await.unwrap().into_iter().map(|e| (e.name, e.len)).collect();
        assert_eq!(names, [("a".to_owned(), 0), ("g".to_owned(), 5)]);
        let missing = cx.open("a/b/f", OpenMode::Read).await.unwrap_err();
        assert_eq!(missing, DiskError::new("open", "a/b/f", DiskErrorKind::NotFound));
        cx.remove("g").await.unwrap();
        assert_eq!(kind(cx.remove("g").await), DiskErrorKind::NotFound);
        assert_eq!(file.read_at(0, 100).await.unwrap(), b"\0\0\0fo", "still open");
    });
    assert!(report.virtual_ns > 0);
}

#[test]
fn synced_data_survives_a_power_cut_and_the_rest_may_not() {
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        let (left, report) = run(seed, |cx, _| async move {
            let file = durable(cx, "f", b"one").await;
            file.write_at(3, b"two".to_vec()).await.unwrap();
            cx.open("g", OpenMode::Create).await.unwrap();
            Control.crash("node", Crash::Power);
            Control.restart("node");
            let text = String::from_utf8(read(cx, "f").await.unwrap()).unwrap();
            (text, kind_of(read(cx, "g").await))
        });
        let lost = !left.1;
        assert_eq!(report.faults.injected(FaultClass::DiskLostName), u64::from(lost));
        assert!(left.0.starts_with("one"), "{left:?}");
        seen.insert(left);
    }
    for want in [("one", true), ("one", false), ("onetwo", true), ("onetwo", false)] {
        assert!(seen.contains(&(want.0.to_owned(), want.1)), "{want:?} of {seen:?}");
    }
}

fn kind_of(read: Result<Vec<u8>, DiskError>) -> bool {
    match read {
        Ok(_) => true,
        Err(e) => {
            assert_eq!(e.kind, DiskErrorKind::NotFound);
            false
        }
    }
}

#[test]
fn a_process_crash_keeps_what_was_written() {
    run(1, |cx, _| async move {
        let file = cx.open("f", OpenMode::Create).await.unwrap();
        let lock = cx.lock("lock").await.unwrap();
        assert_eq!(kind(cx.lock("lock").await), DiskErrorKind::Locked);
        file.write_at(0, b"cached".to_vec()).await.unwrap();
        Control.crash("node", Crash::Process);
        let dead = DiskErrorKind::Io(EIO);
        assert_eq!(kind(cx.open("f", OpenMode::Read).await), dead, "the host is down");
        Control.restart("node");
        assert_eq!(kind(file.read_at(0, 1).await), dead, "a handle of an earlier boot");
        assert_eq!(read(cx, "f").await.unwrap(), b"cached");
        let again = cx.lock("lock").await.unwrap();
        drop(lock);
        assert_eq!(kind(cx.lock("lock").await), DiskErrorKind::Locked, "the old guard is dead");
        drop(again);
        cx.lock("lock").await.unwrap();
    });
}

/// Polls `future` once and drops it.
async fn begin(future: impl Future) {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending(), "it takes time");
        std::task::Poll::Ready(())
    })
    .await;
}

#[test]
fn a_write_whose_future_is_dropped_happens_all_the_same() {
    run(1, |cx, test| async move {
        let file = durable(cx, "f", b"old").await;
        begin(file.write_at(0, b"new".to_vec())).await;
        let first = file.read_at(0, 3).await.unwrap();
        test.sleep(MS).await;
        assert_eq!(file.read_at(0, 3).await.unwrap(), b"new", "after {first:?}");
        begin(cx.lock("lock")).await;
        test.sleep(MS).await;
        cx.lock("lock").await.expect("nobody took it");
    });
}

#[test]
fn a_sync_leaves_out_what_is_still_being_written() {
    let mut lost = 0;
    for seed in 0..40 {
        let (left, _) = run(seed, |cx, _| async move {
            let file = Arc::new(durable(cx, "f", b"old").await);
            let writer = file.clone();
            let write =
                cx.spawn("writer", async move { writer.write_at(0, b"new".to_vec()).await });
            file.sync().await.unwrap();
            let _ = write.await;
            Control.crash("node", Crash::Power);
            Control.restart("node");
            read(cx, "f").await.unwrap()
        });
        lost += u32::from(left == b"old");
    }
    assert!((5..35).contains(&lost), "{lost}");
}

#[test]
fn what_was_under_way_at_a_crash_may_have_happened() {
    let mut seen = BTreeSet::new();
    for seed in 0..40 {
        let (left, _) = run(seed, |cx, test| async move {
            let file = durable(cx, "f", b"old").await;
            let write =
                test.spawn("elsewhere", async move { file.write_at(0, b"new".to_vec()).await });
            test.yield_now().await;
            Control.crash("node", Crash::Process);
            Control.restart("node");
            assert_eq!(kind(write.await.unwrap()), DiskErrorKind::Io(EIO));
            read(cx, "f").await.unwrap()
        });
        seen.insert(left);
    }
    assert_eq!(seen, [b"old".to_vec(), b"new".to_vec()].into());
}

#[test]
fn a_failed_sync_kills_the_file() {
    let (_, report) = run(1, |cx, _| async move {
        let file = durable(cx, "f", b"old").await;
        Control.ambush_disk("node", Ambush::Sync(SyncFailure::KeepsNew), "f");
        file.write_at(0, b"new".to_vec()).await.unwrap();
        assert_eq!(kind(file.sync().await), DiskErrorKind::Io(EIO));
        assert_eq!(kind(file.read_at(0, 1).await), DiskErrorKind::Dead);
        assert_eq!(read(cx, "f").await.unwrap(), b"new", "the cache has it");
        Control.crash("node", Crash::Power);
        Control.restart("node");
        assert_eq!(read(cx, "f").await.unwrap(), b"old", "and the media never had");
    });
    assert_eq!(report.faults.injected(FaultClass::DiskSyncFailed), 1);
}

#[test]
fn a_scenario_disturbs_a_disk_and_lets_it_be() {
    let (_, report) = run(1, |cx, _| async move {
        let file = durable(cx, "f", &[7; 4_096]).await;
        let timed = async |what: &str| {
            let begun = cx.now();
            let read = file.read_at(0, 1).await;
            (cx.now() - begun, read.map_err(|e| (what.to_owned(), e.kind)))
        };
        Control.set_disk_latency("node", LatencyProfile::INSTANT);
        assert!(timed("instant").await.0 < Duration::from_micros(1));
        Control.stall_disk("node", 50 * MS);
        assert!(timed("stalled").await.0 > 49 * MS);
        Control.set_disk_latency(
            "node",
            LatencyProfile { read: (1_000, 1_000), ..LatencyProfile::INSTANT },
        );
        Control.slow_disk("node", 1_000);
        assert!(timed("slow").await.0 >= MS);
        Control.slow_disk("node", 1);

        Control.limit_disk("node", Some(4_096));
        file.write_at(4_096, vec![1; 4_096]).await.unwrap();
        assert_eq!(kind(file.write_at(8_192, vec![1; 4_096]).await), DiskErrorKind::Full);
        Control.limit_disk("node", None);
        file.write_at(8_192, vec![1; 4_096]).await.unwrap();

        Control.set_disk_read_only("node", true);
        assert_eq!(kind(file.write_at(0, vec![1]).await), DiskErrorKind::ReadOnly);
        Control.set_disk_read_only("node", false);

        assert_eq!(Control.damage_disk("node", Damage::BitRot, "f", Place::Anywhere), None);
        let faults =
            DiskFaults { on_synced: OnSynced::ALL, write_error: ALWAYS, ..DiskFaults::NONE };
        Control.set_disk_faults("node", faults);
        assert_eq!(kind(file.write_at(0, vec![1]).await), DiskErrorKind::Io(EIO));
        let struck = Control.damage_disk("node", Damage::Zeroed, "*", Place::Tail).unwrap();
        assert_eq!(struck.path, "f");
        Control.quiet();
        file.write_at(0, vec![1]).await.unwrap();
    });
    for class in [
        FaultClass::DiskStall,
        FaultClass::DiskSlow,
        FaultClass::DiskFull,
        FaultClass::DiskWriteError,
        FaultClass::DiskZeroed,
    ] {
        assert!(report.faults.injected(class) > 0, "{}", class.name());
    }
    assert_eq!(report.faults.unfired().count(), 0);
}

#[test]
fn a_host_comes_back_with_an_older_disk_or_none() {
    run(1, |cx, _| async move {
        let file = durable(cx, "f", b"one").await;
        let image = Control.snapshot_disk("node");
        file.write_sync(0, b"two".to_vec()).await.unwrap();
        Control.crash("node", Crash::Power);
        Control.restore_disk("node", &image);
        Control.restart("node");
        assert_eq!(read(cx, "f").await.unwrap(), b"one");
        Control.replace("node");
        Control.restart("node");
        assert_eq!(cx.list("").await.unwrap(), []);
    });
}

#[test]
fn a_seed_is_a_run_with_a_disk_in_it() {
    let once = |seed| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let shared = log.clone();
        let mut sim = Simulation::new(Config::seed(seed));
        let node = sim.host("node", move |cx| {
            let log = shared.clone();
            async move {
                let found = read(cx, "log").await.map(|b| b.len());
                log.lock().unwrap().push(found.map_err(|e| e.kind));
                let Ok(file) = cx.open("log", OpenMode::Create).await else { return };
                for n in 0_u64.. {
                    if file.write_at(n * 100, vec![n as u8; 100]).await.is_err() {
                        return;
                    }
                    if n % 3 == 0 && file.sync().await.is_err() {
                        return;
                    }
                }
            }
        });
        let test = sim.idle_host("test");
        let faults = DiskFaults {
            sync_failed: 10_000,
            write_error: 1_000,
            read_error: 1_000,
            slow: 10_000,
            stall: 100,
            ..DiskFaults::HONEST
        };
        sim.control(|c| c.set_disk_faults("node", faults));
        sim.run(test, async move {
            let _ = node;
            for _ in 0..10 {
                test.sleep(5 * MS).await;
                Control.crash("node", Crash::Power);
                Control.restart("node");
            }
        })
        .unwrap();
        let log = log.lock().unwrap().clone();
        (sim.finish().trace_hash, log)
    };
    for seed in 0..10 {
        assert_eq!(once(seed), once(seed), "seed {seed}");
    }
    assert_ne!(once(1), once(2));
}
