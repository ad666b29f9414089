//! Goal: power may go at every write and every sync, and room may end at every page, of a script
//! that has a part of everything; what is recovered is exactly what was acknowledged, or that and
//! the one step that nobody was told of; it is the same when it is recovered again; and it goes on.
//! Method: the script is one task; it is run again and again, and each time power goes one poll
//! of the process later, or the disk has one page more. Between two polls at most one operation of
//! a task begins or ends, so polls are a finer measure than writes and syncs. What of the unsynced
//! sectors stays is drawn, several times each. Built with `ORLOJ_EVERY_WRITE=1` it leaves none out.

mod script;

use std::collections::BTreeMap;

use orloj_kernel::{Context, SiteKind};
use orloj_sim::{Crash, fault::FaultClass};
use orloj_storage::{
    Database, Durability, Error, Lsn, Options, Verdict,
    verify::{Grade, Offline},
};

use crate::{NODE, World, options};
use script::{Model, State, copied, mend, run, state};

/// Bytes of a page, in which room is counted.
const PAGE: u64 = 4096;

/// What was found, when, at which version, and the hash of it.
struct Found {
    state: State,
    now: (u64, u64),
    version: Lsn,
    hash: [u8; 32],
}

/// All there is now; its hash is that of `at`, or of now.
async fn find(cx: Context, at: Option<Lsn>) -> Result<Found, Error> {
    let (db, _) = Database::open(cx, options(Durability::Strict)).await?;
    let snapshot = match at {
        Some(at) => db.snapshot_at(at)?,
        None => db.snapshot()?,
    };
    let content = db.content(&snapshot).await?;
    let from = db.now();
    let state = state(&db, None).await?;
    Ok(Found { state, now: (from, db.now()), version: content.version, hash: content.hash })
}

/// Old versions are what they were, where all are kept.
async fn look_back(cx: Context, model: &Model) -> Result<(), Error> {
    let (db, _) = Database::open(cx, options(Durability::Strict)).await?;
    let history = model.told().history.clone();
    let Ok(data) = db.keyspace("data") else { return Ok(()) };
    for (version, wanted) in history.iter().rev().step_by(9) {
        let Some(wanted) = wanted.get("data") else { continue };
        let snapshot = db.snapshot_at(*version)?;
        for (key, (bytes, deadline)) in wanted {
            let mut out = Vec::new();
            let found = db.get_at(&data, key, &snapshot, &mut out).await?;
            let is_due = deadline.is_some_and(|deadline| deadline <= db.now());
            assert!(is_due || found.is_some() && out == *bytes, "{version}: an old value");
        }
    }
    Ok(())
}

impl World {
    fn strict(seed: u64) -> World {
        let mut world = World::new(seed);
        world.durability = Durability::Strict;
        // What is asked for now is meant for the next process.
        world.sim.control(|w| w.exit(NODE));
        world.calm();
        world
    }

    /// Runs what must not fail.
    fn must<F, T>(&mut self, at: &str, what: &str, life: impl FnOnce(Context) -> F) -> T
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        let done = self.run(life).expect("power stays on");
        done.unwrap_or_else(|error| panic!("{at}, {what}: {error}"))
    }

    /// Recovers twice, looks at every byte, and writes on.
    fn judge(&mut self, model: &Model, at: &str) {
        self.calm();
        self.sim.control(|w| {
            w.restart(NODE);
            w.crash(NODE, Crash::Power);
        });
        model.told().is_short = false;
        if model.told().is_damaged {
            let its = model.clone();
            self.must(at, "repair", |cx| async move { mend(cx, &its).await });
        }
        let first = self.must(at, "recovery", |cx| find(cx, None));
        model.settle(first.state, first.now, at);
        self.sim.control(|w| w.crash(NODE, Crash::Power));
        let again = self.must(at, "recovery again", move |cx| find(cx, Some(first.version)));
        assert_eq!(first.hash, again.hash, "{at}: recovered twice");
        model.settle(again.state, again.now, &format!("{at}, again"));
        let its = model.clone();
        self.must(at, "history", |cx| async move { look_back(cx, &its).await });
        let damage = self.must(at, "verify", |cx| async move {
            let report = Offline::open(cx, "db").await?.verify(&mut |_| {}).await?;
            Ok(report.findings.into_iter().find(|found| found.grade == Grade::Damage))
        });
        assert!(damage.is_none(), "{at}: {damage:?}");
        if model.has_backup() {
            let copy = self.must(at, "restore", |cx| async move {
                copied(cx).await.unwrap_or_else(|error| panic!("{error}"));
                let of = Options { dir: "copy".into(), ..options(Durability::Strict) };
                let (db, _) = Database::open(cx, of).await?;
                let from = db.now();
                Ok((state(&db, None).await?, (from, db.now())))
            });
            model.check_backup(&copy.0, copy.1, at);
        }
        self.must(at, "afterwards", |cx| async move {
            let (db, _) = Database::open(cx, options(Durability::Strict)).await?;
            let of = match db.keyspace("after") {
                Ok(of) => of,
                Err(_) => db.create_keyspace("after", Default::default()).await?,
            };
            db.put(&of, b"a", (&[7; 5_000]).into()).await?;
            db.checkpoint().await?;
            assert!(db.get(&of, b"a", &mut Vec::new()).await?.is_some());
            db.close().await
        });
    }
}

/// How often which places of the code were passed with what makes them rare, over all runs.
#[derive(Default)]
struct Passed(BTreeMap<&'static str, u64>);

impl Passed {
    fn add(&mut self, world: World) {
        let report = world.sim.finish();
        for (site, _, hits) in report.coverage.places(|kind| kind == SiteKind::Sometimes) {
            *self.0.entry(site.name).or_default() += hits;
        }
    }

    /// Of what is `rare` a thinned run may miss all.
    fn check(&self, wanted: &[&str], rare: &[&str]) {
        for place in wanted.iter().chain(rare.iter().filter(|_| EVERY)) {
            assert!(self.0.get(place).is_some_and(|hits| *hits > 0), "never: {place}");
        }
    }
}

/// Power goes at every `stride`th poll, from `first` on, with so many subsets each. Returns how
/// many times it did.
fn power(first: u64, stride: usize, subsets: u64, passed: &mut Passed) -> u64 {
    let mut cuts = 0;
    for polls in (first..).step_by(stride) {
        let before = cuts;
        for seed in 0..subsets {
            let mut world = World::strict(seed);
            world.sim.control(|w| w.kill_after_polls(NODE, polls, Crash::Power));
            let model = Model::default();
            let its = model.clone();
            let at = format!("power after {polls} polls, subset {seed}");
            match world.run(|cx| run(cx, its)) {
                None => cuts += 1,
                Some(done) => done.unwrap_or_else(|error| panic!("{at}: {error}")),
            }
            world.judge(&model, &at);
            passed.add(world);
        }
        if cuts == before {
            break;
        }
    }
    cuts
}

/// Room ends at every `stride`th page; `relief` is how many refusals there are before there is
/// room again. Returns how many times it ended.
fn full(stride: usize, relief: Option<u32>, passed: &mut Passed) -> u64 {
    let mut refused = 0;
    for pages in (0..).step_by(stride) {
        let mut world = World::strict(pages);
        world.sim.control(|w| w.limit_disk(NODE, Some(pages * PAGE)));
        let model = Model::default();
        (model.told().is_short, model.told().relief) = (true, relief);
        let its = model.clone();
        let at = format!("room for {pages} pages, until {relief:?}");
        if let Err(error) = world.run(|cx| run(cx, its)).expect("power stays on") {
            assert!(crate::is_excused(&error), "{at}: {error}");
            assert_eq!(error.verdict(), Verdict::Retry, "{at}: {error}");
        }
        let was_full = world.sim.control(|w| w.faults()).injected(FaultClass::DiskFull);
        world.judge(&model, &at);
        passed.add(world);
        match was_full {
            0 => break,
            _ => refused += 1,
        }
    }
    refused
}

/// Whether every poll and every page is tried, which takes a quarter of an hour.
const EVERY: bool = option_env!("ORLOJ_EVERY_WRITE").is_some();

#[test]
fn power_may_go_at_any_write_and_any_sync() {
    let mut passed = Passed::default();
    let cuts = if EVERY { power(0, 1, 4, &mut passed) } else { power(7, 61, 2, &mut passed) };
    assert!(cuts > 20, "{cuts} cuts");
    println!("{cuts} cuts of power; {:#?}", passed.0);
    let wanted = [
        "backup: one went on with another",
        "checkpoint: value segments were removed",
        "journal: segments were trimmed",
        "vlog: live values were moved",
    ];
    passed.check(&wanted, &["recovery: a torn tail was cut"]);
}

#[test]
fn room_may_end_at_any_page() {
    let mut passed = Passed::default();
    let (for_good, for_a_while) = if EVERY { (1, 1) } else { (17, 31) };
    let refused = full(for_good, None, &mut passed);
    let relieved = full(for_a_while, Some(3), &mut passed);
    assert!(refused > 10 && relieved > 5, "{refused} times for good, {relieved} for a while");
    println!("{refused} times for good, {relieved} for a while; {:#?}", passed.0);
    let wanted = ["checkpoint: one was abandoned", "journal: no room for a new segment"];
    let rare = ["writer: a refused batch was taken back", "writer: there was room again"];
    passed.check(&wanted, &rare);
}
