//! Power fails while a backup is taken, or restored.

use orloj_sim::{Config, Crash, Simulation, disk::DiskFaults};

use super::*;
use crate::{Error, manifest};

const NODE: &str = "node";

const POWER_CUT: DiskFaults = DiskFaults {
    lost_write: 500_000,
    torn: 300_000,
    reorder: 500_000,
    garbage: 100_000,
    lost_name: 500_000,
    lost_rename: 500_000,
    ..DiskFaults::NONE
};

struct World(Simulation);

impl World {
    /// Runs a process until it ends, or until power fails, after so many polls.
    fn live<F>(&mut self, polls: Option<u64>, life: impl FnOnce(Context) -> F) -> Option<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let cx = self.0.control(|w| {
            w.exit(NODE);
            w.restart(NODE);
            w.set_disk_faults(NODE, POWER_CUT);
            w.context(NODE)
        });
        if let Some(polls) = polls {
            self.0.control(|w| w.kill_after_polls(NODE, polls, Crash::Power));
        }
        let ended = self.0.run(cx, life(cx));
        let is_up = self.0.control(|w| w.is_up(NODE));
        if polls.is_some() {
            self.0.control(|w| w.crash(NODE, Crash::Power));
        }
        match ended {
            Ok(out) => Some(out),
            Err(_) if !is_up => None,
            Err(failure) => panic!("{failure}"),
        }
    }
}

#[test]
fn power_that_fails_while_a_backup_is_taken_or_restored_costs_nothing_but_a_second_attempt() {
    survives(40, false);
}

/// No checkpoint has what is loaded when the backup begins, and more is loaded meanwhile.
#[test]
fn nor_does_it_while_the_journal_has_loads() {
    survives(40, true);
}

/// Loads something new into a keyspace.
async fn load(db: &Database) {
    let loaded = match db.keyspace("loaded") {
        Ok(loaded) => loaded,
        Err(_) => db.create_keyspace("loaded", Retention::All).await.expect("it is new"),
    };
    let (round, count) = (db.cx().below(256) as u8, 100 + db.cx().below(200) as u32);
    let entries = (0..count).map(|n| (n.to_be_bytes(), vec![round; n as usize % 50 * 11]));
    db.load_keyspace(&loaded, entries).await.expect("they ascend");
}

fn survives(seeds: u64, has_loads: bool) {
    let (mut backups_cut, mut restores_cut) = (0, 0);
    for seed in 0..seeds {
        let mut sim = Simulation::new(Config { buggify: true, ..Config::seed(seed) });
        sim.idle_host(NODE);
        let mut world = World(sim);
        world.live(None, |cx| async move {
            let (db, all) = made(cx).await;
            work(cx, db.clone(), all, 100).await;
            drop(backup(&db, How::Full).await.expect("the disk works"));
            db.close().await.expect("nothing is in the way");
        });
        for _ in 0..3 {
            let polls = world.0.control(|w| w.between("polls", 1, 700));
            let done = world.live(Some(polls), |cx| async move {
                let db = open(cx, "db").await;
                let all = db.keyspace("all").expect("it is there");
                if has_loads {
                    load(&db).await;
                }
                let mut busy = workers(cx, &db, &all, 20);
                if has_loads {
                    let (db, pause) = (db.clone(), Duration::from_millis(cx.below(30)));
                    busy.push(cx.spawn("loader", async move {
                        cx.sleep(pause).await;
                        load(&db).await;
                    }));
                }
                let how = if cx.below(2) == 0 { How::Full } else { How::Continue };
                let mut taken = backup(&db, how).await.expect("the disk works");
                join(busy).await;
                taken.advance(&mut |_| {}).await.expect("the disk works");
            });
            backups_cut += u64::from(done.is_none());
        }
        // What was complete is whole, and leads somewhere that the database remembers.
        let reached = world.live(None, |cx| async move {
            let plan = planned(cx, "copy", Point::Newest).await.expect("one is complete");
            let db = open(cx, "db").await;
            let at = plan.reached.version;
            let content = content(&db, at).await;
            let next = backup(&db, How::Continue).await.expect("another one can be taken");
            assert!(next.inventory().number > plan.number);
            (at, content)
        });
        let (at, wanted) = reached.expect("power stays on");
        for _ in 0..3 {
            let polls = world.0.control(|w| w.between("polls", 1, 150));
            let done = world.live(Some(polls), move |cx| async move {
                match restored(cx, "copy", at.into()).await {
                    Ok(done) => assert_eq!(done.reached.version, at),
                    // An earlier attempt came to its end.
                    Err(BackupError::Engine(Error::NotEmpty { .. })) => {}
                    Err(error) => panic!("{error}"),
                }
            });
            restores_cut += u64::from(done.is_none());
        }
        world.live(None, move |cx| async move {
            if manifest::read(cx, "copy").await.expect("the disk works").is_none() {
                if let Ok(entries) = cx.list("copy").await
                    && entries.iter().any(|entry| entry.name == "data.pages")
                {
                    let error = Database::open(cx, options("copy")).await.expect_err("no database");
                    assert!(matches!(error, Error::Unfinished { .. }), "{error}");
                }
                restored(cx, "copy", at.into()).await.expect("the backup is whole");
            }
            let copy = open(cx, "copy").await;
            assert_eq!((copy.newest(), content(&copy, at).await), (at, wanted));
        });
    }
    assert!(backups_cut > 40 && restores_cut > 40, "{backups_cut}, {restores_cut} were cut short");
}
