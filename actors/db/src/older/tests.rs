//! Goal: what a journal of release 0.0 comes to is brought over as a whole or not at all, whenever
//! power fails; damage and what is no such journal are refused; the old directory stays as it is.
//! Method: journals written with the journal's own writer, in a simulated world. Real ones, written
//! by that release, are in `tests/fixtures/journal-1`.

use orloj_kernel::OpenMode;
use orloj_net::UnixMs;
use orloj_sim::{Config, Control, Crash, Simulation, disk::DiskFaults};
use orloj_storage::{
    Options,
    database::KeyRange,
    journal::{Damage, JournalConfig, Log, Records},
};

use super::{
    effect::{Effect, tests::record},
    *,
};
use crate::{StartError, start};

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

fn config(data: &str) -> NodeConfig {
    let mut config = NodeConfig::new(data, "0.0.0.0:6379");
    config.storage = Options {
        page_bytes: 4096,
        inline_bytes: 64,
        cache_bytes: 256 << 10,
        segment_bytes: 64 << 10,
        checkpoint_bytes: 64 << 10,
        ..config.storage
    };
    config
}

/// Writes `records` to the journal of the directory `old`, as release 0.0 did.
async fn write(cx: Context, records: &[Vec<u8>]) {
    cx.create_dir("old/wal").await.expect("the disk works");
    drop(cx.lock("old/LOCK").await.expect("nobody has it"));
    for dir in ["", "old"] {
        cx.sync_dir(dir).await.expect("the disk works");
    }
    let wal = JournalConfig {
        first_bytes: 8192,
        segment_bytes: 16 << 10,
        step_bytes: 4096,
        ..JournalConfig::new("old/wal")
    };
    let mut told = |_, _: &[u8]| true;
    let (mut log, _) = Log::open(cx, wal, &mut told).await.expect("the disk works");
    for record in records {
        let mut one = Records::new();
        one.push(|out| out.extend_from_slice(record));
        let sync = cx.below(4) == 0;
        log.append(&[one], sync).await.expect("the disk works");
    }
    log.mark(cx.below(2) == 0).await.expect("the disk works");
}

/// Records of chance, each of which makes sense behind those before it; the first of them with
/// `many` keys.
fn records(cx: Context, count: usize, many: bool) -> Vec<Vec<u8>> {
    let mut state = State::new();
    let now = cx.wall().millis();
    let mut all = Vec::new();
    // More than one commit takes, with values that a leaf does not hold.
    if many {
        let value = [b'v'; 200];
        let keys: Vec<String> = (0..1000 + cx.below(2000)).map(|n| format!("many {n}")).collect();
        let puts = keys.iter().enumerate().map(|(n, key)| Effect::Put {
            key: key.as_bytes(),
            value: &value[..n % 200],
            deadline: (n % 7 == 0).then_some(UnixMs(now + 1_000_000)),
        });
        all.push(record(&puts.collect::<Vec<_>>()));
        assert!(state.replay(&all[0]), "it makes sense");
    }
    while all.len() < count {
        let key = match cx.below(12) {
            0 => Vec::new(),
            1 => vec![0],
            n => vec![b'k'; n as usize],
        };
        let value = vec![b'0' + cx.below(10) as u8; [1, 3, 70, 900][cx.below(4) as usize]];
        let (key, value) = (&key[..], &value[..]);
        let deadline = (cx.below(3) == 0).then(|| UnixMs(now + cx.below(1000)));
        let effect = match cx.below(12) {
            0 => Effect::Remove { key },
            1 => Effect::Append { key, value },
            2 | 3 => Effect::Add { key, by: cx.below(100) as i64 - 50 },
            4 => Effect::Deadline { key, deadline },
            5 if cx.below(6) == 0 => Effect::Clear,
            6 => Effect::Clock { now: UnixMs(now + cx.below(300)) },
            _ => Effect::Put { key, value, deadline },
        };
        let one = record(&[effect]);
        let before = state.clone();
        match state.replay(&one) {
            true => all.push(one),
            false => state = before,
        }
    }
    all
}

async fn migrated(cx: Context) -> Result<Migrated, MigrateError> {
    migrate(cx, "old", &config("new"), &mut |_| {}).await
}

type Files = Vec<(String, Vec<u8>)>;

/// Every file of the old directory, whole.
async fn image(cx: Context) -> Files {
    let mut files = Vec::new();
    for dir in ["old", "old/wal"] {
        for entry in cx.list(dir).await.expect("the disk works") {
            let path = format!("{dir}/{}", entry.name);
            let mut bytes = Vec::new();
            if !entry.is_dir {
                let file = cx.open(&path, OpenMode::Read).await.expect("it is there");
                bytes = file.read_at(0, entry.len as usize).await.expect("the disk works");
            }
            files.push((path, bytes));
        }
    }
    files
}

type Held = Vec<(Vec<u8>, Vec<u8>, Option<u64>)>;

fn expected(records: &[Vec<u8>]) -> (Held, u64) {
    let mut state = State::new();
    assert!(records.iter().all(|record| state.replay(record)), "they make sense");
    state.sweep();
    let held = state
        .entries()
        .map(|(key, e)| (key.to_vec(), e.value.clone(), e.deadline.map(|deadline| deadline.0)));
    (held.collect(), state.clock().0)
}

/// Asserts that the new directory is what a node would serve: keys, counts, deadlines and time.
async fn check(cx: Context, (wanted, clock): &(Held, u64)) {
    let (tables, summary) = start::open(&cx, &config("new")).await.expect("it is a database");
    let db = tables.db();
    let expiring = wanted.iter().filter(|(_, _, deadline)| deadline.is_some()).count();
    assert_eq!(summary.keys, wanted.len() as u64);
    let counts = store::prepare(&db).await.expect("the disk works");
    assert_eq!((counts.keys, counts.expiring), (wanted.len() as u64, expiring as u64));
    assert!(db.told() >= *clock, "time goes back");
    let due = db.due(None, u64::MAX - 1, usize::MAX).await.expect("the disk works");
    assert_eq!(due.len(), expiring, "each deadline is in the index, and nothing else");
    let strings = db.keyspace("strings").expect("it was made");
    let at = db.newest_snapshot().expect("it is open");
    let mut keys = db.keys(&strings, KeyRange::from(..), &at).expect("it is there");
    let mut held = Vec::new();
    while let Some(item) = keys.next().await.expect("the disk works") {
        let mut value = Vec::new();
        let found = db.get_newest(&strings, item.key, &mut value).await.expect("the disk works");
        assert_eq!(found.map(|found| found.deadline), Some(item.deadline));
        held.push((item.key.strip_prefix(&[0]).unwrap_or(item.key).to_vec(), value, item.deadline));
    }
    assert!(held == *wanted, "{} keys of {}", held.len(), wanted.len());
    db.close().await.expect("the disk works");
}

struct World(Simulation);

impl World {
    fn new(seed: u64) -> World {
        let mut sim = Simulation::new(Config { buggify: true, ..Config::seed(seed) });
        sim.idle_host(NODE);
        World(sim)
    }

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

/// A world whose old directory has a journal of chance, what that comes to, and its files.
fn old_world(seed: u64) -> (World, (Held, u64), Files) {
    let mut world = World::new(seed);
    let made = world.live(Some(u64::MAX), |cx| async move {
        let count = 20 + cx.below(300) as usize;
        let records = records(cx, count, cx.below(2) == 0);
        write(cx, &records).await;
        expected(&records)
    });
    let wanted = made.expect("power stays on");
    // What a segment that was being made ready left is settled by now.
    let files = world.live(None, image).expect("power stays on");
    (world, wanted, files)
}

#[test]
fn power_that_fails_while_a_journal_is_brought_over_costs_nothing_but_a_second_attempt() {
    let (mut cut, mut refused) = (0, 0);
    for seed in 0..40 {
        let (mut world, wanted, before) = old_world(seed);
        for _ in 0..3 {
            let polls = world.0.control(|w| {
                let most = [40, 100, 400][w.between("most polls", 0, 2) as usize];
                w.between("polls", 1, most)
            });
            let done = world.live(Some(polls), |cx| async move {
                match migrated(cx).await {
                    Ok(_) => {}
                    // An earlier attempt came to its end.
                    Err(MigrateError::Engine(Error::NotEmpty { .. })) => {}
                    Err(error) => panic!("{error}"),
                }
            });
            cut += u64::from(done.is_none());
            let looked = world.live(None, |cx| async move {
                let entries = cx.list("new").await.unwrap_or_default();
                let has = |name: &str| entries.iter().any(|entry| entry.name == name);
                let is_half = !has(MANIFEST) && has("UNFINISHED");
                if is_half {
                    let error = start::open(&cx, &config("new")).await.expect_err("it is half");
                    assert!(matches!(error, StartError::Unfinished { .. }), "{error}");
                }
                is_half
            });
            refused += u64::from(looked.expect("power stays on"));
        }
        world.live(None, |cx| async move {
            match migrated(cx).await {
                Ok(done) => assert_eq!(done.keys, wanted.0.len() as u64),
                Err(MigrateError::Engine(Error::NotEmpty { .. })) => {}
                Err(error) => panic!("{error}"),
            }
            assert!(image(cx).await == before, "the old directory was changed");
            check(cx, &wanted).await;
        });
    }
    assert!(cut > 40 && refused > 20, "{cut} were cut short, {refused} left something");
}

#[test]
fn what_the_disk_refuses_leaves_no_half_of_a_database() {
    let (mut failed, mut done) = (0, 0);
    for seed in 100..140 {
        let (mut world, wanted, before) = old_world(seed);
        for _ in 0..3 {
            let ended = world.live(None, |cx| async move {
                let rate = [20_000, 100_000, 300_000][cx.below(3) as usize];
                let (full, write_error, read_error) = (rate, rate / 4, rate / 4);
                let faults = DiskFaults { full, write_error, read_error, ..POWER_CUT };
                Control.set_disk_faults(NODE, faults);
                match migrated(cx).await {
                    Ok(_) => (1, 0),
                    // An earlier attempt came to its end.
                    Err(MigrateError::Engine(Error::NotEmpty { .. })) => (0, 0),
                    Err(MigrateError::Engine(_)) => (0, 1),
                    Err(error) => panic!("{error}"),
                }
            });
            let (ended, refused) = ended.expect("power stays on");
            (done, failed) = (done + ended, failed + refused);
        }
        world.live(None, |cx| async move {
            match migrated(cx).await {
                Ok(done) => assert_eq!(done.keys, wanted.0.len() as u64),
                Err(MigrateError::Engine(Error::NotEmpty { .. })) => {}
                Err(error) => panic!("{error}"),
            }
            assert!(image(cx).await == before, "the old directory was changed");
            check(cx, &wanted).await;
        });
    }
    assert!(failed > 20 && done > 10, "{failed} failed, {done} came to their end");
}

/// Flips a bit in a file.
async fn flip(cx: Context, path: &str, at: u64) {
    let file = cx.open(path, OpenMode::Write).await.expect("it is there");
    let mut byte = file.read_at(at, 1).await.expect("the disk works");
    byte[0] ^= 1;
    file.write_at(at, byte).await.expect("the disk works");
}

#[orloj_sim::test(seeds = 4)]
async fn damage_is_refused_and_a_torn_end_is_cut_off(cx: Context) {
    let records = records(cx, 30, false);
    write(cx, &records).await;
    let segments = cx.list("old/wal").await.expect("the disk works");
    let path = format!("old/wal/{}", segments[0].name);
    // The first record's, behind guard and head.
    flip(cx, &path, 1024 + 1 + 40 + 4).await;
    let error = migrated(cx).await.expect_err("it is damaged");
    let MigrateError::Journal { cause: JournalError::Damaged { damage, .. }, .. } = &error else {
        panic!("{error}")
    };
    assert!(matches!(damage, Damage::Body | Damage::Lost { .. }), "{error}");
    let made = cx.list("new").await;
    assert!(made.is_err(), "something was made: {made:?}");
    flip(cx, &path, 1024 + 1 + 40 + 4).await;

    // A write that no sync covered: the first half of a frame.
    let last = segments.iter().rfind(|entry| entry.name.ends_with(".seg")).expect("there is one");
    let path = format!("old/wal/{}", last.name);
    let file = cx.open(&path, OpenMode::Write).await.expect("it is there");
    let bytes = file.read_at(0, last.len as usize).await.expect("the disk works");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("it has a head") + 1;
    let end = end.next_multiple_of(512) as u64;
    let noise = [&[0x5a][..], &[7; 300]].concat();
    file.write_at(end, noise).await.expect("the disk works");
    let before = image(cx).await;
    let done = migrated(cx).await.expect("nothing that counts is damaged");
    assert_eq!(done.journal.cut.map(|cut| cut.offset), Some(end));
    assert_eq!(done.journal.records, records.len() as u64);
    assert!(image(cx).await == before, "the old directory was changed");
    check(cx, &expected(&records)).await;
}

#[orloj_sim::test(seeds = 2)]
async fn what_makes_no_sense_is_refused(cx: Context) {
    let error = migrated(cx).await.expect_err("it is not there");
    assert!(matches!(error, MigrateError::Engine(Error::Disk(_))), "{error}");
    cx.create_dir("old").await.expect("the disk works");
    let error = migrated(cx).await.expect_err("there is no journal");
    assert!(matches!(error, MigrateError::NoJournal { .. }), "{error}");
    let inside = migrate(cx, "old/", &config("old/new"), &mut |_| {}).await;
    assert!(matches!(inside, Err(MigrateError::Inside { .. })), "{inside:?}");

    let long = vec![b'k'; 65_530];
    write(cx, &[record(&[Effect::Put { key: &long, value: b"", deadline: None }])]).await;
    let error = migrated(cx).await.expect_err("nobody could ask for it");
    assert!(matches!(error, MigrateError::KeyLength { len: 65_530, .. }), "{error}");
    let removed = record(&[Effect::Remove { key: &long }]);
    write(cx, &[removed, record(&[Effect::Clear])]).await;
    let lock = cx.lock("old/LOCK").await.expect("nobody has it");
    let error = migrated(cx).await.expect_err("it is open");
    assert!(matches!(error, MigrateError::Engine(Error::Locked { .. })), "{error}");
    drop(lock);

    cx.create_dir("new").await.expect("the disk works");
    drop(cx.open("new/letter", OpenMode::Create).await.expect("the disk works"));
    let error = migrated(cx).await.expect_err("something is there");
    assert!(matches!(error, MigrateError::Engine(Error::NotEmpty { .. })), "{error}");
    cx.remove("new/letter").await.expect("the disk works");
    assert_eq!(migrated(cx).await.expect("all is well").keys, 0);
    check(cx, &(Vec::new(), 0)).await;
    let error = migrated(cx).await.expect_err("it is done");
    assert!(matches!(error, MigrateError::Engine(Error::NotEmpty { .. })), "{error}");
    let again = migrate(cx, "new", &config("newer"), &mut |_| {}).await;
    assert!(matches!(again, Err(MigrateError::NotOlder { .. })), "{again:?}");
    write(cx, &[b"\x02\x07".to_vec()]).await;
    let newer = migrate(cx, "old", &config("newer"), &mut |_| {}).await;
    let Err(MigrateError::Journal { cause: JournalError::Damaged { damage, .. }, .. }) = newer
    else {
        panic!("{newer:?}")
    };
    assert_eq!(damage, Damage::Record);
}
