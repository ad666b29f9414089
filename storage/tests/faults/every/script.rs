//! The script: everything that writes, one step after the other, and what must be there after each.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use orloj_kernel::{Context, DiskErrorKind, OpenMode};
use orloj_sim::Control;
use orloj_storage::{
    Database, Durability, Error, JournalError, Lsn, Retention,
    backup::{Backup, BackupError, Directory, How, Point, restore},
    compact::Compaction,
    database::{KeyRange, Keyspace, Value},
    locks::Mode,
    repair::{Loss, repair},
    txn::Isolation,
};

use crate::{NODE, options};

/// A value and its deadline.
type Held = (Vec<u8>, Option<u64>);
/// Every keyspace with its keys.
pub(super) type State = BTreeMap<String, BTreeMap<Vec<u8>, Held>>;

/// What a process was told, which outlives it.
#[derive(Clone, Debug, Default)]
pub(super) struct Model(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
pub(super) struct Told {
    /// What was acknowledged.
    base: State,
    /// What is there if a write took effect of which nobody has been told.
    maybe: Vec<State>,
    /// The state that each acknowledged write made.
    pub(super) history: Vec<(Lsn, State)>,
    /// Every state that a backup was taken of, and the first of those that count.
    backups: Vec<State>,
    complete: Option<usize>,
    /// Both superblocks are being damaged, or were.
    pub(super) is_damaged: bool,
    /// Room may end; after so many refusals there is some again.
    pub(super) is_short: bool,
    pub(super) relief: Option<u32>,
    pub(super) refusals: u32,
    is_relieved: bool,
    writes: u32,
}

impl Model {
    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().expect("a broken promise ends the run")
    }

    fn begin(&self, change: impl FnOnce(&mut State)) {
        let mut told = self.told();
        let mut next = told.base.clone();
        change(&mut next);
        told.maybe.push(next);
    }

    fn end(&self, done: &Result<Lsn, Error>) {
        let mut told = self.told();
        match done {
            Ok(version) => {
                told.base = told.maybe.pop().expect("it was begun");
                // Whatever was in doubt is gone for good now.
                told.maybe.clear();
                let state = told.base.clone();
                told.history.push((*version, state));
            }
            Err(Error::InDoubt { .. }) => {}
            Err(_) => drop(told.maybe.pop()),
        }
        if let Err(error) = done {
            told.refused(error);
        }
    }

    /// The state must be one of those that there may be; from now on it is the one.
    pub(super) fn settle(&self, seen: State, now: (u64, u64), at: &str) {
        let mut told = self.told();
        let fits = |state: &&State| is_same(state, &seen, now);
        let found = std::iter::once(&told.base).chain(&told.maybe).find(fits).cloned();
        let Some(found) = found else {
            panic!("{at}: {:#?}", differences(&told.base, &seen));
        };
        told.base = found;
        told.maybe.clear();
    }

    /// The state of a backup that counts.
    pub(super) fn check_backup(&self, seen: &State, now: (u64, u64), at: &str) {
        let told = self.told();
        let complete = told.complete.expect("there is one");
        let mut may = told.backups[complete..].iter();
        assert!(may.any(|state| is_same(state, seen, now)), "{at}: no state of a backup");
    }

    pub(super) fn has_backup(&self) -> bool {
        self.told().complete.is_some()
    }
}

impl Told {
    /// A disk without room explains it, and nothing else does.
    fn refused(&mut self, error: &Error) {
        let is_full = match error {
            Error::ReadOnly { cause }
            | Error::InDoubt { cause }
            | Error::Disk(cause)
            | Error::Journal(JournalError::Disk(cause)) => cause.kind == DiskErrorKind::Full,
            _ => false,
        };
        assert!(self.is_short && is_full, "{error}");
        self.refusals += 1;
        if self.relief == Some(self.refusals) {
            Control.limit_disk(NODE, None);
            self.is_relieved = true;
        }
    }
}

/// Whether two states are the same, but for what expires between two times.
fn is_same(wanted: &State, seen: &State, (from, to): (u64, u64)) -> bool {
    wanted.keys().eq(seen.keys())
        && wanted.iter().zip(seen.values()).all(|((_, wanted), seen)| {
            let is_there = |(key, held): (&Vec<u8>, &Held)| seen.get(key) == Some(held);
            let must = wanted.iter().filter(|(_, (_, d))| d.is_none_or(|d| d > to));
            let is_gone = |(_, (_, d)): &(&Vec<u8>, &Held)| d.is_some_and(|d| d <= from);
            must.clone().all(is_there)
                && seen.iter().all(|(key, held)| wanted.get(key) == Some(held))
                && !seen.iter().any(|seen| is_gone(&seen))
        })
}

/// What is shown of two states that differ: keys with lengths.
fn differences(wanted: &State, seen: &State) -> Vec<String> {
    let names = wanted.keys().chain(seen.keys().filter(|name| !wanted.contains_key(*name)));
    let none = BTreeMap::new();
    let mut all = Vec::new();
    for name in names {
        if wanted.contains_key(name) != seen.contains_key(name) {
            all.push(format!("keyspace {name}: seen {}", seen.contains_key(name)));
        }
        let (wanted, seen) = (wanted.get(name).unwrap_or(&none), seen.get(name).unwrap_or(&none));
        for key in wanted.keys().chain(seen.keys()) {
            let short = |held: Option<&Held>| held.map(|(v, d)| (v.len(), v.first().copied(), *d));
            if wanted.get(key) != seen.get(key) {
                let (wanted, seen) = (short(wanted.get(key)), short(seen.get(key)));
                let key = String::from_utf8_lossy(key);
                all.push(format!("{name} {key}: wanted {wanted:?}, seen {seen:?}"));
            }
        }
    }
    all
}

/// All there is at a version.
pub(super) async fn state(db: &Database, at: Option<Lsn>) -> Result<State, Error> {
    let snapshot = match at {
        Some(at) => db.snapshot_at(at)?,
        None => db.snapshot()?,
    };
    let mut state = State::new();
    for of in db.keyspaces()? {
        let mut cursor = db.cursor(&of, KeyRange::from(..), &snapshot)?;
        let mut keys = BTreeMap::new();
        while let Some(item) = cursor.next().await? {
            keys.insert(item.key.to_vec(), (item.value.to_vec(), item.deadline));
        }
        state.insert(of.name().to_owned(), keys);
    }
    Ok(state)
}

fn key(number: u32) -> Vec<u8> {
    match number % 5 {
        0 => format!("{}/{number}", "k".repeat(200)).into_bytes(),
        _ => format!("user/{number:04}").into_bytes(),
    }
}

/// Entries of a load: enough for a few leaves, and long values among them.
fn entries(round: u32) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    (0..70).map(move |n| (key_in_order(n), vec![round as u8; if n % 30 == 7 { 700 } else { 110 }]))
}

fn key_in_order(n: u32) -> Vec<u8> {
    format!("load/{n:04}").into_bytes()
}

struct Script {
    cx: Context,
    db: Database,
    model: Model,
    /// Keeps the journal for the next one.
    backup: Option<Backup>,
}

impl Script {
    async fn open(cx: Context, model: &Model) -> Result<Script, Error> {
        let (db, _) = Database::open(cx, options(Durability::Strict)).await?;
        Ok(Script { cx, db, model: model.clone(), backup: None })
    }

    /// The keyspace, if it could be made.
    fn of(&self, name: &str) -> Option<Keyspace> {
        let found = self.db.keyspace(name).ok();
        assert_eq!(found.is_some(), self.model.told().base.contains_key(name), "{name}");
        found
    }

    /// A value that nobody else writes.
    fn value(&self, len: usize) -> Vec<u8> {
        let mut told = self.model.told();
        told.writes += 1;
        let mix = u64::from(told.writes).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..len).map(|at| (mix >> (at % 57)) as u8).collect()
    }

    async fn make(&self, name: &str, keep: Retention) {
        if self.model.told().base.contains_key(name) {
            return;
        }
        self.model.begin(|state| drop(state.insert(name.into(), BTreeMap::new())));
        let done = self.db.create_keyspace(name, keep).await;
        let version = done.and_then(|_| self.db.snapshot().map(|snapshot| snapshot.version()));
        self.end(version).await;
    }

    async fn put(&self, name: &str, key: Vec<u8>, len: usize, lives: Option<u64>) {
        let Some(to) = self.of(name) else { return };
        let value = self.value(len);
        let deadline = lives.map(|lives| self.db.now() + lives);
        let held = (value.clone(), deadline);
        self.model.begin(|state| drop(state.get_mut(name).map(|k| k.insert(key.clone(), held))));
        let value = Value { bytes: &value, deadline };
        self.end(self.db.put(&to, &key, value).await).await;
    }

    async fn delete(&self, name: &str, key: Vec<u8>) {
        let Some(of) = self.of(name) else { return };
        self.model.begin(|state| drop(state.get_mut(name).map(|keys| keys.remove(&key))));
        self.end(self.db.delete(&of, &key).await).await;
    }

    /// One key goes from one keyspace to another, and a third is written.
    async fn transact(&self, number: u32, is_locked: bool) {
        let (Some(data), Some(short)) = (self.of("data"), self.of("short")) else { return };
        let (one, other) = (self.value(70), self.value(500));
        self.model.begin(|state| {
            let data = state.get_mut("data").expect("it is there");
            data.remove(&key(number));
            data.insert(key(number + 1), (one.clone(), None));
            let short = state.get_mut("short").expect("it is there");
            short.insert(key(number), (other.clone(), None));
        });
        let done = async {
            let (one, other) = (Value::from(&one), Value::from(&other));
            if is_locked {
                let mut locked = self.db.begin_locked()?;
                locked.get(&data, &key(number), Mode::Update, &mut Vec::new()).await?;
                locked.delete(&data, &key(number)).await?;
                locked.put(&data, &key(number + 1), one).await?;
                locked.put(&short, &key(number), other).await?;
                return locked.commit().await;
            }
            let mut transaction = self.db.begin(Isolation::Serializable)?;
            transaction.get(&data, &key(number), &mut Vec::new()).await?;
            transaction.delete(&data, &key(number))?;
            transaction.put(&data, &key(number + 1), one)?;
            transaction.put(&short, &key(number), other)?;
            transaction.commit().await
        };
        self.end(done.await).await;
    }

    async fn load(&self, round: u32) {
        let Some(into) = self.of("loaded") else { return };
        let held = |(key, value)| (key, (value, None));
        self.model
            .begin(|state| drop(state.insert("loaded".into(), entries(round).map(held).collect())));
        self.end(self.db.load_keyspace(&into, entries(round)).await).await;
    }

    async fn clear(&self, name: &str) {
        let Some(of) = self.of(name) else { return };
        self.model.begin(|state| drop(state.insert(name.into(), BTreeMap::new())));
        self.end(self.db.clear_keyspace(&of).await).await;
    }

    async fn drop_it(&self, name: &str) {
        let Some(of) = self.of(name) else { return };
        self.model.begin(|state| drop(state.remove(name)));
        self.end(self.db.drop_keyspace(&of).await).await;
    }

    /// Tells the model what became of a step.
    async fn end(&self, done: Result<Lsn, Error>) {
        self.model.end(&done);
        self.await_room().await;
    }

    /// Once there is room again it is found out soon.
    async fn await_room(&self) {
        if std::mem::take(&mut self.model.told().is_relieved) {
            self.cx.sleep(Duration::from_millis(400)).await;
            self.model.told().is_short = false;
        }
    }

    /// What changes nothing that anybody can see.
    fn quiet<T>(&self, done: Result<T, Error>) -> Option<T> {
        done.inspect_err(|error| self.model.told().refused(error)).ok()
    }

    async fn checkpoint(&self) {
        self.quiet(self.db.checkpoint().await);
        self.await_room().await;
    }

    async fn compact(&self, what: Compaction) {
        self.quiet(self.db.compact(what).await);
        self.await_room().await;
    }

    /// Takes one, or adds to the one that there is.
    async fn back_up(&mut self, how: How) {
        let count = {
            let mut told = self.model.told();
            let state = told.base.clone();
            told.backups.push(state);
            told.backups.len() - 1
        };
        let done = match (&mut self.backup, how) {
            (Some(backup), How::Continue) => backup.advance(&mut |_| {}).await.map(|_| ()),
            _ => {
                let target = Arc::new(Directory::new(self.cx, "target"));
                let taken = self.db.backup(target, how, &mut |_| {}).await;
                taken.map(|backup| self.backup = Some(backup))
            }
        };
        match done {
            Ok(()) => self.model.told().complete = Some(count),
            Err(BackupError::Engine(error)) => drop(self.quiet::<()>(Err(error))),
            // A target says in words what is wrong with it.
            Err(BackupError::Target(error)) => {
                let is_short = self.model.told().is_short;
                assert!(is_short && error.cause.contains("no space"), "{error}");
            }
            Err(error) => panic!("{error}"),
        }
        self.await_room().await;
    }

    /// Nobody sees anything else than what was acknowledged.
    async fn look(&self) {
        let from = self.db.now();
        let seen = state(&self.db, None).await.expect("reads go on");
        let told = self.model.told();
        let wanted = &told.base;
        assert!(is_same(wanted, &seen, (from, self.db.now())), "{:#?}", differences(wanted, &seen));
    }

    async fn write(&self, round: u32) {
        for n in 0..6 {
            let long = if n == 4 { 2_500 } else { 30 + 40 * n as usize };
            self.put("data", key(round * 3 + n), long, None).await;
        }
        // Most of these values are dead soon.
        for n in 0..5 {
            self.put("short", key(n % 2), 6_000 + n as usize, None).await;
        }
        self.delete("data", key(round * 3 + 1)).await;
        self.put("data", key(40 + round), 60, Some(30)).await;
        self.put("data", key(50 + round), 60, Some(1_000_000_000)).await;
        self.put("loaded", key_in_order(round * 11), 80, None).await;
        self.transact(60 + 2 * round, round.is_multiple_of(2)).await;
        self.look().await;
    }

    async fn close(mut self) -> Result<(), Error> {
        self.backup = None;
        self.db.close().await
    }
}

/// Runs the script; an error is one of opening or closing.
pub(super) async fn run(cx: Context, model: Model) -> Result<(), Error> {
    first_life(cx, &model).await?;
    if !spoil(cx, &model).await? {
        return Ok(());
    }
    mend(cx, &model).await?;
    second_life(cx, &model).await
}

async fn first_life(cx: Context, model: &Model) -> Result<(), Error> {
    let mut script = Script::open(cx, model).await?;
    for (name, keep) in [
        ("data", Retention::All),
        ("short", Retention::default()),
        ("loaded", Retention::All),
        ("gone", Retention::default()),
    ] {
        script.make(name, keep).await;
    }
    script.write(0).await;
    script.put("gone", key(0), 3_000, None).await;
    script.load(1).await;
    script.checkpoint().await;
    script.write(1).await;
    script.back_up(How::Full).await;
    // The index of deadlines is swept meanwhile.
    cx.sleep(Duration::from_millis(1_500)).await;
    script.drop_it("gone").await;
    script.clear("short").await;
    script.compact(Compaction::Full).await;
    script.write(2).await;
    script.back_up(How::Continue).await;
    // Twice: values are collected after the first, and their segment goes with a later one.
    script.checkpoint().await;
    script.checkpoint().await;
    script.compact(Compaction::WalOnly).await;
    script.load(2).await;
    script.write(3).await;
    script.back_up(How::Continue).await;
    script.look().await;
    script.close().await
}

/// Damages both superblocks, if they are there, so that a repair has something to do.
async fn spoil(cx: Context, model: &Model) -> Result<bool, Error> {
    model.told().is_damaged = true;
    for side in ["db/SUPERBLOCK_A", "db/SUPERBLOCK_B"] {
        match cx.open(side, OpenMode::Write).await {
            Ok(file) => drop(file.write_sync(0, vec![0x55; 4096]).await?),
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Repairs, which loses nothing of what the script knows.
pub(super) async fn mend(cx: Context, model: &Model) -> Result<(), Error> {
    let done = repair(cx, "db", false, &mut |_| {}).await.inspect_err(|error| {
        if model.told().is_short {
            model.told().refused(error);
        }
    })?;
    let lost: Vec<&Loss> = done.losses.iter().filter(|l| **l != Loss::Superblocks).collect();
    assert!(lost.is_empty(), "{lost:?}");
    model.told().is_damaged = false;
    Ok(())
}

async fn second_life(cx: Context, model: &Model) -> Result<(), Error> {
    let mut script = Script::open(cx, model).await?;
    script.look().await;
    script.put("data", key(1), 200, None).await;
    script.load(4).await;
    script.back_up(How::Continue).await;
    match copied(cx).await {
        // Without room for the first backup there is none.
        Ok(()) | Err(BackupError::None) => {}
        Err(BackupError::Engine(error)) => model.told().refused(&error),
        Err(error) => panic!("{error}"),
    }
    script.put("data", key(2), 200, None).await;
    script.close().await
}

/// Restores the newest backup, unless that was done.
pub(super) async fn copied(cx: Context) -> Result<(), BackupError> {
    let target = Directory::new(cx, "target");
    let of = orloj_storage::Options { dir: "copy".into(), ..options(Durability::Strict) };
    match restore(cx, &target, &of, Point::Newest, false, &mut |_| {}).await {
        Ok(_) | Err(BackupError::Engine(Error::NotEmpty { .. })) => Ok(()),
        Err(error) => Err(error),
    }
}
