//! Goal: a journal whose beginning is not needed any more gives back all that is, and refuses when
//! it cannot; trimming loses nothing, whenever power fails.
//! Method: lives as in `crash`, but each begins from a position that was durable once, and trims at
//! random what lies before an older one; then damage as in `damage`, on both sides of the position.

use std::sync::{Arc, Mutex, MutexGuard};

use orloj_sim::{Crash, disk::DiskFaults};

use super::{
    History, NODE, World, append, batch,
    crash::{POWER_CUT, healthy},
    damage::{Files, read, write},
    small,
};
use crate::journal::{
    AppendError, Damage, DatabaseId, JournalError, Log, Lsn, Origin, Recovery, SECTOR,
};
use orloj_kernel::Context;

fn from(from: u64) -> Origin {
    Origin { database: None, from: Lsn(from) }
}

async fn open(cx: Context, origin: Origin) -> Result<(Log, Recovery, History), JournalError> {
    cx.create_dir("wal").await.map_err(JournalError::Disk)?;
    cx.sync_dir("").await.map_err(JournalError::Disk)?;
    let mut history = History::new();
    let mut next = origin.from;
    let mut on_record = |lsn: Lsn, record: &[u8]| {
        assert_eq!(lsn, next, "a record out of order");
        next = next.next();
        history.push(record.to_vec());
        true
    };
    let (log, recovery) = Log::open_from(cx, small(), origin, &mut on_record).await?;
    assert_eq!(log.next(), next);
    assert_eq!((log.durable().next(), recovery.last), (next, log.durable()));
    assert!(log.first() <= origin.from);
    Ok((log, recovery, history))
}

/// A history, of which everything up to `kept` is also known from elsewhere.
#[derive(Default)]
struct Model {
    durable: History,
    maybe: History,
    /// What the journal is next opened from, and what it is trimmed to.
    kept: u64,
    older: u64,
    /// Segments so far.
    trimmed: usize,
}

impl Model {
    fn recovered(&mut self, found: History, seed: u64) {
        let mut all = [self.durable.clone(), self.maybe.clone()].concat();
        let known = self.kept as usize;
        assert!(known + found.len() >= self.durable.len(), "seed {seed}: records were lost");
        assert!(all[known..].starts_with(&found), "seed {seed}: another history");
        all.truncate(known + found.len());
        self.durable = all;
        self.maybe.clear();
    }

    fn acknowledge(&mut self) {
        self.durable.append(&mut self.maybe);
    }
}

/// The model outlives every process that feeds it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Model>>);

impl Shared {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.0.lock().expect("a broken promise ends the run")
    }
}

#[test]
fn what_is_needed_survives_trimming_and_power_cuts() {
    let mut trimmed = 0;
    for seed in 0..300 {
        trimmed += lives(seed);
    }
    assert!(trimmed > 1000, "{trimmed} segments trimmed");
}

fn lives(seed: u64) -> usize {
    let mut world = World::new(seed);
    let shared = Shared::default();
    for _ in 0..8 {
        let cx = world.start();
        world.control(|w| {
            healthy(w);
            w.kill_after_polls(NODE, w.between("polls", 40, 600), Crash::Power);
            match w.between("trouble", 0, 5) {
                0 => w.limit_disk(NODE, Some(w.between("room", 0, 60_000))),
                1 => w.set_disk_faults(NODE, DiskFaults { write_error: 25_000, ..POWER_CUT }),
                2 => w.set_disk_faults(NODE, DiskFaults { sync_failed: 25_000, ..POWER_CUT }),
                _ => {}
            }
        });
        if world.run(cx, one_life(cx, shared.clone(), seed)).is_some() {
            world.control(|w| w.crash(NODE, Crash::Power));
        }
    }
    world.control(|w| {
        healthy(w);
        w.crash(NODE, Crash::Power);
    });
    // The older position is as good as the newer one.
    let positions = {
        let model = shared.model();
        [model.kept, model.older]
    };
    for kept in positions {
        shared.model().kept = kept;
        let found = world
            .live(|cx| async move { open(cx, from(kept + 1)).await.map(|(_, _, found)| found) });
        shared.model().recovered(found.expect("nothing is damaged"), seed);
    }
    let model = shared.model();
    model.trimmed
}

async fn one_life(cx: Context, shared: Shared, seed: u64) {
    let kept = shared.model().kept;
    let (mut log, _, found) = match open(cx, from(kept + 1)).await {
        Ok(opened) => opened,
        Err(JournalError::Disk(_)) => return,
        Err(e) => panic!("seed {seed}: {e}"),
    };
    shared.model().recovered(found, seed);
    for n in 0..60_u64 {
        let mut record = format!("{seed}/{}/{n}/", shared.model().durable.len()).into_bytes();
        let noise = cx.entropy();
        record.extend((0..cx.below(900)).map(|n| (noise >> (n % 57)) as u8));
        match cx.below(12) {
            0..8 => {
                shared.model().maybe.push(record.clone());
                let sync = cx.below(3) > 0;
                match log.append(&batch([record.as_slice()]), sync).await {
                    Ok(()) if sync => shared.model().acknowledge(),
                    Ok(()) => {}
                    Err(AppendError::Refused { definite: true, .. }) => {
                        shared.model().maybe.pop();
                        if let Err(AppendError::Fatal(_)) = log.make_room().await {
                            return;
                        }
                    }
                    Err(_) => return,
                }
            }
            8 => match log.sync().await {
                Ok(()) => shared.model().acknowledge(),
                Err(_) => return,
            },
            9 => {
                // As a checkpoint does: two positions are kept, and only what is durable counts.
                let mut model = shared.model();
                model.older = model.kept;
                model.kept += cx.below(log.durable().0 - model.kept + 1);
            }
            _ => {
                let older = shared.model().older;
                match log.trim(Lsn(older + 1)).await {
                    Ok(count) => shared.model().trimmed += count,
                    Err(_) => return,
                }
            }
        }
        assert!(log.first() <= Lsn(shared.model().kept + 1), "seed {seed}");
    }
}

/// The files of a journal of several segments that are all there, and its history of twelve
/// records.
fn journal() -> (Files, History) {
    let mut world = World::new(1);
    let history = world.live(|cx| async move {
        let (mut log, _, mut history) = open(cx, from(1)).await.expect("a new journal");
        for n in 0..12_u8 {
            history.push(vec![n + 1; 3000]);
            append(&mut log, &history[usize::from(n)]).await.expect("room for it");
        }
        log.mark(false).await.expect("room for it");
        history
    });
    (world.live(read), history)
}

/// A world whose disk has these files and no others.
fn world_of(files: &Files) -> World {
    let mut world = World::new(2);
    let files = files.clone();
    world.live(|cx| async move { write(cx, files).await.expect("room for it") });
    world
}

fn reopen(world: &mut World, origin: Origin) -> Result<(Recovery, History), JournalError> {
    let opened = world.live(|cx| open(cx, origin));
    opened.map(|(_, recovery, found)| (recovery, found))
}

fn segments(files: &Files) -> Vec<String> {
    files.keys().filter(|name| name.ends_with(".seg")).cloned().collect()
}

#[test]
fn damage_behind_the_position_is_refused_and_before_it_is_not_looked_at() {
    let (files, history) = journal();
    let (mut refused, mut unread) = (0, 0);
    for (name, bytes) in &files {
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |n| n + 1);
        for at in (0..used).step_by(37) {
            let mut files = files.clone();
            files.get_mut(name).expect("it is there")[at] ^= 1 << (at % 8);
            match reopen(&mut world_of(&files), from(7)) {
                Ok((_, found)) => {
                    assert_eq!(found, history[6..], "{name}, byte {at}");
                    unread += usize::from(name.ends_with("1.seg"));
                }
                Err(JournalError::Damaged { .. }) => {
                    assert!(!name.ends_with("1.seg"), "{name}, byte {at}");
                    refused += 1;
                }
                Err(e) => panic!("{name}, byte {at}: {e}"),
            }
        }
    }
    assert!(refused > 300 && unread > 100, "{refused} refused, {unread} not read");
}

#[test]
fn only_segments_with_something_needed_are_read_and_trimmed_ones_are_not_missed() {
    let (files, history) = journal();
    let all = segments(&files);
    assert!(all.len() >= 3, "{all:?}");
    let mut world = world_of(&files);
    let (whole, _) = reopen(&mut world, from(1)).expect("an intact journal");
    let (part, _) = reopen(&mut world, from(12)).expect("an intact journal");
    assert!(part.segments < whole.segments && part.bytes < whole.bytes, "{part:?} {whole:?}");
    assert_eq!(part.records, 1);

    world.live(|cx| async move {
        let (mut log, _, _) = open(cx, from(12)).await.expect("an intact journal");
        assert_eq!(log.trim(Lsn(1)).await, Ok(0), "it does not know where record 1 is");
        assert!(log.trim(Lsn(12)).await.expect("a disk that works") > 0);
        assert_eq!(log.trim(Lsn(12)).await, Ok(0), "nothing is left to trim");
    });
    assert!(segments(&world.live(read)).len() < all.len());
    assert_eq!(reopen(&mut world, from(12)).expect("it is there").1, history[11..]);
    let error = reopen(&mut world, from(1)).expect_err("its beginning is gone");
    assert!(matches!(error, JournalError::Missing { .. }), "{error}");
}

#[test]
fn a_journal_that_ends_before_the_position_is_damaged() {
    let (mut files, history) = journal();
    let whole = world_of;
    assert_eq!(reopen(&mut whole(&files), from(13)).expect("it is intact").1, history[12..]);
    // What had been synced is known from elsewhere, so its loss is never taken for a torn write.
    let error = reopen(&mut whole(&files), from(14)).expect_err("record 13 is not there");
    let JournalError::Damaged { lsn, damage, .. } = error else { panic!("{error}") };
    assert_eq!((lsn, damage), (Lsn(13), Damage::Lost { durable: Lsn(13) }));

    let last = segments(&files).pop().expect("segments");
    let bytes = files.get_mut(&last).expect("it is there");
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at / SECTOR * SECTOR);
    bytes[end - SECTOR..].fill(0);
    let error = reopen(&mut whole(&files), from(13)).expect_err("the last record is torn");
    assert!(matches!(error, JournalError::Damaged { lsn: Lsn(12), .. }), "{error}");

    let error = reopen(&mut whole(&Files::new()), from(13)).expect_err("no journal");
    assert!(matches!(error, JournalError::Missing { lsn: Lsn(13), .. }), "{error}");
}

#[test]
fn a_journal_of_another_database_is_refused_and_one_may_begin_anywhere() {
    let mut world = World::new(3);
    let (mine, other) = (DatabaseId(3), DatabaseId(4));
    world.live(|cx| async move {
        cx.create_dir("wal").await.expect("a disk that works");
        let made = Log::create(cx, small(), mine, Lsn(70)).await;
        let mut log = made.expect("an empty directory");
        assert_eq!((log.next(), log.durable(), log.database()), (Lsn(70), Lsn(69), mine));
        append(&mut log, b"seventy").await.expect("room for it");
    });
    let origin = Origin { database: Some(mine), from: Lsn(70) };
    assert_eq!(reopen(&mut world, origin).expect("it is mine").1, [b"seventy"]);
    let foreign = reopen(&mut world, Origin { database: Some(other), ..origin });
    assert!(matches!(foreign, Err(JournalError::Foreign { .. })), "{foreign:?}");
    let early = reopen(&mut world, Origin { from: Lsn(69), ..origin });
    assert!(matches!(early, Err(JournalError::Missing { lsn: Lsn(69), .. })), "{early:?}");

    World::new(4).live(|cx| async move {
        let origin = Origin { database: Some(mine), from: Lsn(1) };
        let (log, recovery, _) = open(cx, origin).await.expect("a new journal");
        assert_eq!((log.database(), recovery.created), (mine, true));
    });
}
