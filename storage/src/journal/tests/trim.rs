//! Goal: a journal whose beginning is not needed any more gives back all that is, and refuses when
//! it cannot; trimming loses nothing, whenever power fails.
//! Method: lives as in `crash`, but each begins from a position that was durable once, and trims at
//! random what lies before an older one; then damage as in `damage`, on both sides of the position.

use super::{History, append, batch, small, world::Chance, world::Handle};
use crate::journal::{
    AppendError, Damage, DatabaseId, JournalError, Log, Lsn, Origin, Recovery, SECTOR,
};
use orloj_kernel::Context;

fn from(from: u64) -> Origin {
    Origin { database: None, from: Lsn(from) }
}

async fn open(cx: Context, origin: Origin) -> Result<(Log, Recovery, History), JournalError> {
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

#[test]
fn what_is_needed_survives_trimming_and_power_cuts() {
    let mut trimmed = 0;
    for seed in 0..300 {
        trimmed += lives(seed);
    }
    assert!(trimmed > 1000, "{trimmed} segments trimmed");
}

fn lives(seed: u64) -> usize {
    let world = Handle::new(seed);
    let mut chance = Chance(seed ^ 0x7213);
    let mut model = Model::default();
    let mut trimmed = 0;
    for _ in 0..8 {
        {
            let mut state = world.state();
            state.fuse = 20 + chance.below(300);
            match chance.below(6) {
                0 => state.room = chance.below(60_000),
                1 => state.write_fails = Some(chance.below(40)),
                2 => state.sync_fails = Some(chance.below(40)),
                _ => {}
            }
        }
        world.run(one_life(&world, &mut chance, &mut model, seed, &mut trimmed));
        world.power_cut();
    }
    // The older position is as good as the newer one.
    for kept in [model.kept, model.older] {
        model.kept = kept;
        let opened = world.run(open(world.context(), from(kept + 1))).expect("power stays on");
        let (_, _, found) = opened.expect("nothing is damaged");
        model.recovered(found, seed);
    }
    trimmed
}

async fn one_life(
    world: &Handle,
    chance: &mut Chance,
    model: &mut Model,
    seed: u64,
    trimmed: &mut usize,
) {
    let (mut log, _, found) = match open(world.context(), from(model.kept + 1)).await {
        Ok(opened) => opened,
        Err(JournalError::Disk(_)) => return,
        Err(e) => panic!("seed {seed}: {e}"),
    };
    model.recovered(found, seed);
    for n in 0..60_u64 {
        let mut record = format!("{seed}/{}/{n}/", model.durable.len()).into_bytes();
        record.extend((0..chance.below(900)).map(|_| chance.next() as u8));
        match chance.below(12) {
            0..8 => {
                model.maybe.push(record.clone());
                let sync = chance.below(3) > 0;
                match log.append(&batch([record.as_slice()]), sync).await {
                    Ok(()) if sync => model.acknowledge(),
                    Ok(()) => {}
                    Err(AppendError::Refused { definite: true, .. }) => {
                        model.maybe.pop();
                        if let Err(AppendError::Fatal(_)) = log.make_room().await {
                            return;
                        }
                    }
                    Err(_) => return,
                }
            }
            8 => match log.sync().await {
                Ok(()) => model.acknowledge(),
                Err(_) => return,
            },
            9 => {
                // As a checkpoint does: two positions are kept, and only what is durable counts.
                model.older = model.kept;
                model.kept = chance.below(log.durable().0 - model.kept + 1) + model.kept;
            }
            _ => match log.trim(Lsn(model.older + 1)).await {
                Ok(count) => *trimmed += count,
                Err(_) => return,
            },
        }
        assert!(log.first() <= Lsn(model.kept + 1), "seed {seed}");
    }
}

/// A journal of several segments that are all there, and its history of twelve records.
fn journal() -> (Handle, History) {
    let world = Handle::new(1);
    let mut history = History::new();
    let made = world.run(async {
        let (mut log, _, _) = open(world.context(), from(1)).await.expect("a new journal");
        for n in 0..12_u8 {
            history.push(vec![n + 1; 3000]);
            append(&mut log, &history[usize::from(n)]).await.expect("room for it");
        }
        log.mark(false).await.expect("room for it");
    });
    made.expect("power stays on");
    (world, history)
}

fn reopen(world: &Handle, origin: Origin) -> Result<(Recovery, History), JournalError> {
    let opened = world.run(open(world.context(), origin)).expect("power stays on");
    opened.map(|(_, recovery, found)| (recovery, found))
}

fn segments(world: &Handle) -> Vec<String> {
    world.files().into_keys().filter(|n| n.ends_with(".seg")).collect()
}

#[test]
fn damage_behind_the_position_is_refused_and_before_it_is_not_looked_at() {
    let (world, history) = journal();
    let files = world.files();
    let (mut refused, mut unread) = (0, 0);
    for (name, bytes) in &files {
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |n| n + 1);
        for at in (0..used).step_by(37) {
            let world = Handle::new(2);
            world.put(&files);
            world.damage(name, |b| b[at] ^= 1 << (at % 8));
            match reopen(&world, from(7)) {
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
    let (world, history) = journal();
    let all = segments(&world);
    assert!(all.len() >= 3, "{all:?}");
    let (whole, _) = reopen(&world, from(1)).expect("an intact journal");
    let (part, _) = reopen(&world, from(12)).expect("an intact journal");
    assert!(part.segments < whole.segments && part.bytes < whole.bytes, "{part:?} {whole:?}");
    assert_eq!(part.records, 1);

    world.run(async {
        let (mut log, _, _) = open(world.context(), from(12)).await.expect("an intact journal");
        assert_eq!(log.trim(Lsn(1)).await, Ok(0), "it does not know where record 1 is");
        assert!(log.trim(Lsn(12)).await.expect("a disk that works") > 0);
        assert_eq!(log.trim(Lsn(12)).await, Ok(0), "nothing is left to trim");
    });
    assert!(segments(&world).len() < all.len());
    assert_eq!(reopen(&world, from(12)).expect("it is there").1, history[11..]);
    let error = reopen(&world, from(1)).expect_err("its beginning is gone");
    assert!(matches!(error, JournalError::Missing { .. }), "{error}");
}

#[test]
fn a_journal_that_ends_before_the_position_is_damaged() {
    let (world, history) = journal();
    assert_eq!(reopen(&world, from(13)).expect("an intact journal").1, history[12..]);
    // What had been synced is known from elsewhere, so its loss is never taken for a torn write.
    let (world, _) = journal();
    let error = reopen(&world, from(14)).expect_err("record 13 is not there");
    let JournalError::Damaged { lsn, damage, .. } = error else { panic!("{error}") };
    assert_eq!((lsn, damage), (Lsn(13), Damage::Lost { durable: Lsn(13) }));

    let (world, _) = journal();
    let last = segments(&world).pop().expect("segments");
    world.damage(&last, |bytes| {
        let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at / SECTOR * SECTOR);
        bytes[end - SECTOR..].fill(0);
    });
    let error = reopen(&world, from(13)).expect_err("the last record is torn");
    assert!(matches!(error, JournalError::Damaged { lsn: Lsn(12), .. }), "{error}");

    for name in segments(&world) {
        world.lose(&name);
    }
    let error = reopen(&world, from(13)).expect_err("no journal");
    assert!(matches!(error, JournalError::Missing { lsn: Lsn(13), .. }), "{error}");
}

#[test]
fn a_journal_of_another_database_is_refused_and_one_may_begin_anywhere() {
    let world = Handle::new(3);
    let (mine, other) = (DatabaseId(3), DatabaseId(4));
    world.run(async {
        let made = Log::create(world.context(), small(), mine, Lsn(70)).await;
        let mut log = made.expect("an empty directory");
        assert_eq!((log.next(), log.durable(), log.database()), (Lsn(70), Lsn(69), mine));
        append(&mut log, b"seventy").await.expect("room for it");
    });
    let origin = Origin { database: Some(mine), from: Lsn(70) };
    assert_eq!(reopen(&world, origin).expect("it is mine").1, [b"seventy"]);
    let foreign = reopen(&world, Origin { database: Some(other), ..origin });
    assert!(matches!(foreign, Err(JournalError::Foreign { .. })), "{foreign:?}");
    let early = reopen(&world, Origin { from: Lsn(69), ..origin });
    assert!(matches!(early, Err(JournalError::Missing { lsn: Lsn(69), .. })), "{early:?}");

    let world = Handle::new(4);
    world.run(async {
        let origin = Origin { database: Some(mine), from: Lsn(1) };
        let (log, recovery, _) = open(world.context(), origin).await.expect("a new journal");
        assert_eq!((log.database(), recovery.created), (mine, true));
    });
}
