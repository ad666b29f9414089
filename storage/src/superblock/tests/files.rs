//! Goal: whatever happens to the write of one superblock, the other is there to be opened.

use std::time::Duration;

use orloj_kernel::DiskErrorKind;
use orloj_sim::{
    Config, Control, Crash, Simulation,
    disk::{Ambush, DiskFaults, SyncFailure},
};

use super::{ME, generation};
use crate::superblock::{FlipError, read, write};

#[test]
fn power_cuts_leave_the_one_before_or_the_new_one() {
    let mut found = [0_u32; 6];
    for seed in 0..60 {
        for polls in 1..25 {
            let mut sim = Simulation::new(Config::seed(seed));
            let calm = sim.idle_host("calm");
            let node = sim.host("node", |cx| async move {
                let at = read(cx, "", ME).await.expect("a disk that works").newest;
                for next in at.map_or(1, |s| s.generation + 1)..6 {
                    write(cx, "", &generation(next)).await.expect("an honest disk");
                }
            });
            Simulation::control(&mut sim, |c| {
                c.set_disk_faults("node", DiskFaults::HONEST);
                c.kill_after_polls("node", polls, Crash::Power);
            });
            let newest = sim.run(calm, async move {
                calm.sleep(Duration::from_secs(9)).await;
                Control.crash("node", Crash::Power);
                Control.restart("node");
                Control.kill_after_polls("node", polls / 2 + 1, Crash::Power);
                calm.sleep(Duration::from_secs(9)).await;
                Control.crash("node", Crash::Power);
                Control.restart("node");
                let found = read(Control.context("node"), "", ME).await.expect("it works");
                assert!(found.damaged.len() < 2, "{found:?}");
                if let (Some(newest), Some(other)) = (found.newest, found.other) {
                    assert_eq!(newest.generation, other.generation + 1);
                }
                found.newest.map_or(0, |s| s.generation)
            });
            found[newest.expect("no property is broken") as usize] += 1;
            let _ = node;
        }
    }
    assert!(found.iter().all(|n| *n > 10), "{found:?}");
}

#[test]
fn a_refused_write_is_never_found_and_a_failed_sync_is_fatal() {
    let ambushes = [Ambush::Write, Ambush::Full, Ambush::Sync(SyncFailure::Reverts)];
    for (seed, ambush) in (0..30).flat_map(|seed| ambushes.map(|a| (seed, a))) {
        let mut sim = Simulation::new(Config::seed(seed));
        let cx = sim.idle_host("node");
        sim.run(cx, async move {
            for next in 1..4 {
                write(cx, "", &generation(next)).await.expect("an honest disk");
            }
            Control.ambush_disk("node", ambush, "*SUPERBLOCK_B");
            let refused = write(cx, "", &generation(4)).await.expect_err("an ambush");
            match (&ambush, &refused) {
                (Ambush::Sync(_), FlipError::Fatal(e)) => assert_eq!(e.op, "sync"),
                (Ambush::Full, FlipError::Refused(e)) => assert_eq!(e.kind, DiskErrorKind::Full),
                (Ambush::Write, FlipError::Refused(_)) => {}
                _ => panic!("{ambush:?}: {refused:?}"),
            }
            if let FlipError::Refused(_) = refused {
                let found = read(cx, "", ME).await.expect("a disk that works");
                assert_eq!(found.newest, Some(generation(3)));
                write(cx, "", &generation(4)).await.expect("the ambush is over");
                let found = read(cx, "", ME).await.expect("a disk that works");
                assert_eq!((found.newest, found.other), (Some(generation(4)), Some(generation(3))));
            }
        })
        .expect("no property is broken");
    }
}
