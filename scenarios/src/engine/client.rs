//! A user of the database: a drawn series of operations, each told to the witness before and after.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use orloj_invariants::engine::{Change, Look, Version, WriteId, value};
use orloj_storage::{
    Error, KeyspaceId, Lsn, Snapshot,
    database::{KeyRange, Keyspace, Value},
};

use super::{life::Life, recorder::Phase, upkeep::is_loaded};
use crate::case::Step;

/// Operations of each client when everything must work.
const CLOSING: u64 = 12;
/// Names of keyspaces; the last digit says what each keeps.
const NAMES: [&str; 5] = ["all0", "last1", "for2", "either3", "newest4"];

pub(super) struct Client {
    pub(super) life: Arc<Life>,
    /// Snapshots that are held.
    held: Vec<Held>,
    /// Where the details of the present operation come from.
    luck: Luck,
}

/// What is drawn within one operation: of a number that stands beside its name, so that it is the
/// same operation whatever others do. SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Default)]
struct Luck(AtomicU64);

impl Luck {
    fn below(&self, bound: u64) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64) as u64
    }
}

struct Held {
    snapshot: Snapshot,
    /// The keyspaces there were.
    spaces: Vec<Keyspace>,
    /// How often history had been taken back.
    times: usize,
}

/// A step under way: dropped, it has ended, with its process perhaps.
struct UnderWay {
    life: Arc<Life>,
    client: u32,
    number: u32,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.life.recorder.ledger.ended(self.client, self.number);
    }
}

/// Works until the database is closed, nothing can be written any more, or all is done in calm.
pub(super) async fn work(life: Arc<Life>, number: u32) {
    let mut client = Client { life, held: Vec::new(), luck: Luck::default() };
    let mut closing = CLOSING;
    loop {
        let Life { cx, plan, recorder, .. } = &*client.life;
        let ledger = recorder.ledger.clone();
        if recorder.is_to_stop() || client.life.has_halted() {
            return;
        }
        let phase = recorder.phase();
        let is_calm = phase == Phase::Calm;
        let mut rest = 0;
        match phase {
            _ if ledger.plays() => {}
            Phase::Chaos => {
                if cx.below(2) == 0 {
                    rest = plan.think.low + cx.below(plan.think.high - plan.think.low + 1);
                    cx.sleep(Duration::from_nanos(rest)).await;
                }
            }
            Phase::Quiet => {
                rest = 50_000_000;
                cx.sleep(Duration::from_nanos(rest)).await;
            }
            Phase::Calm if closing == 0 => break,
            Phase::Calm => closing -= 1,
            Phase::Dump | Phase::Last => return,
        }
        let under_way =
            |place| UnderWay { life: client.life.clone(), client: number, number: place };
        let (under_way, what, luck) = match phase {
            Phase::Dump | Phase::Last => return,
            _ if ledger.plays() => match ledger.next(number, is_calm) {
                Some((place, step)) => {
                    let under_way = under_way(place);
                    cx.sleep(Duration::from_nanos(step.after)).await;
                    let (what, luck) = operation(&step.text);
                    (under_way, what, luck)
                }
                // What was not done in time is done in calm.
                None if is_calm && !ledger.skips(number) => break,
                None if is_calm => continue,
                None => {
                    cx.sleep(Duration::from_millis(5)).await;
                    continue;
                }
            },
            _ => {
                let what = What::of(cx.below(100));
                let (place, luck) = (ledger.noted(number), cx.below(1 << 32));
                ledger.notes(number, || Step {
                    text: format!("{} {luck}", what.name()),
                    after: rest,
                    closing: is_calm,
                    ..Step::default()
                });
                (under_way(place), what, luck)
            }
        };
        ledger.sent(number, under_way.number);
        client.luck = Luck(AtomicU64::new(luck));
        if let Err((error, what)) = client.operate(what).await {
            client.life.judge(&error, what);
        }
        drop(under_way);
    }
    drop(client.held);
    client.life.recorder.client_done();
}

/// The kinds of operations, and how many of a hundred are of each.
macro_rules! kinds {
    ($($kind:ident $name:literal $share:literal,)*) => {
        /// A kind of operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum What { $($kind),* }

        impl What {
            const ALL: &[(What, &str, u64)] = &[$((What::$kind, $name, $share)),*];
        }
    };
}

kinds! {
    Put "put" 22,
    Delete "delete" 5,
    CompareAndSet "compare-and-set" 4,
    Transaction "transaction" 12,
    Locked "locked-transaction" 8,
    Shot "single-shot" 5,
    Get "get" 16,
    Scan "scan" 8,
    Past "look-back" 4,
    Hold "snapshot" 8,
    Checkpoint "checkpoint" 1,
    Compact "compact" 1,
    Load "load-or-backup" 1,
    Clear "clear" 1,
    Drop "drop" 1,
    Make "make-keyspace" 2,
    Cache "cache" 1,
}

impl What {
    /// The kind of the `percent`th of a hundred operations.
    fn of(percent: u64) -> What {
        let mut passed = 0;
        let found = What::ALL.iter().find(|(.., share)| {
            passed += share;
            percent < passed
        });
        found.map_or(What::Cache, |(what, ..)| *what)
    }

    fn name(self) -> &'static str {
        What::ALL.iter().find(|(what, ..)| *what == self).map_or("", |(_, name, _)| name)
    }
}

/// An operation as a case says it: its kind, and the number of which its details are drawn.
fn operation(text: &str) -> (What, u64) {
    let (name, luck) = text.split_once(' ').unwrap_or((text, "0"));
    let what = What::ALL.iter().find(|(_, known, _)| *known == name);
    let what = what.unwrap_or_else(|| panic!("no operation is called \"{name}\""));
    (what.0, luck.parse().unwrap_or(0))
}

type Done = Result<(), (Error, &'static str)>;

/// An error with the operation it belongs to.
pub(super) fn of<T>(
    what: &'static str,
) -> impl FnOnce(Result<T, Error>) -> Result<T, (Error, &'static str)> {
    move |done| done.map_err(|error| (error, what))
}

impl Client {
    pub(super) fn below(&self, bound: u64) -> u64 {
        self.luck.below(bound)
    }

    async fn operate(&mut self, what: What) -> Done {
        if self.some_space().is_none() {
            of("making a keyspace")(self.life.make_space(NAMES[0]).await)?;
        }
        let Some(space) = self.some_space() else { return Ok(()) };
        match what {
            What::Put => of("put")(self.write(&space, true).await),
            What::Delete => of("delete")(self.write(&space, false).await),
            What::CompareAndSet => of("compare and set")(self.compare_and_set(&space).await),
            What::Transaction => of("transaction")(self.transact().await),
            What::Locked => of("locked transaction")(self.transact_locked().await),
            What::Shot => of("single shot")(self.shoot(&space).await),
            What::Get => of("get")(self.get(&space).await),
            What::Scan => of("scan")(self.scan(&space).await),
            What::Past => of("a look at the past")(self.look_back(&space).await),
            What::Hold => of("held snapshot")(self.hold().await),
            What::Compact | What::Load if !self.life.plan.upkeep => {
                of("checkpoint")(self.life.db.checkpoint().await.map(|_| ()))
            }
            What::Checkpoint => of("checkpoint")(self.life.db.checkpoint().await.map(|_| ())),
            What::Compact => of("compaction")(self.compact().await),
            What::Load => match self.below(2) {
                0 => of("load")(self.load().await),
                _ => of("backup")(self.back_up().await),
            },
            What::Clear => of("clear")(self.whole(&space, false).await),
            What::Drop => of("drop")(self.whole(&space, true).await),
            What::Make => {
                let name = NAMES[self.below(NAMES.len() as u64) as usize];
                of("making a keyspace")(self.life.make_space(name).await)
            }
            What::Cache => {
                self.look_at_cache();
                Ok(())
            }
        }
    }

    /// A keyspace, if there is any.
    pub(super) fn some_space(&self) -> Option<Keyspace> {
        let mut spaces = self.life.spaces();
        match spaces.len() {
            0 => None,
            some => Some(spaces.swap_remove(self.below(some as u64) as usize)),
        }
    }

    /// Some share long beginnings, one in seven is long.
    pub(super) fn some_key(&self) -> Vec<u8> {
        let number = self.below(self.life.plan.keys);
        match number % 7 {
            0 => format!("{}/{number}", "k".repeat(200)).into_bytes(),
            1 => format!("user/{number:08}").into_bytes(),
            _ => number.to_be_bytes().to_vec(),
        }
    }

    /// When a put is to end, if it is.
    pub(super) fn some_deadline(&self) -> Option<u64> {
        let Life { plan, db, .. } = &*self.life;
        if self.below(1_000_000) >= u64::from(plan.deadlines_ppm) {
            return None;
        }
        let ttl = plan.ttl.low + self.below(plan.ttl.high - plan.ttl.low + 1);
        Some(db.now() + ttl / 1_000_000)
    }

    /// Asks the witness for a number for what `changes` are about to be done.
    pub(super) fn begins(
        &self,
        changes: Vec<Change>,
        rests_on: Vec<Look>,
        since: Option<Version>,
    ) -> WriteId {
        self.life.recorder.begins(&self.life.db, |_| changes, rests_on, since)
    }

    /// Tells the witness what became of it.
    pub(super) fn ends(&self, id: WriteId, told: Result<Lsn, Error>) -> Result<(), Error> {
        self.life.recorder.ends(&self.life.db, id, &told, false);
        told.map(|_| ())
    }

    async fn write(&self, space: &Keyspace, is_put: bool) -> Result<(), Error> {
        let (db, key, keyspace) = (&self.life.db, self.some_key(), space.id().0);
        let deadline = self.some_deadline().filter(|_| is_put);
        let change = match is_put {
            true => Change::Put { keyspace, key: key.clone(), deadline },
            false => Change::Delete { keyspace, key: key.clone() },
        };
        let id = self.begins(vec![change], Vec::new(), None);
        let bytes = value(id, keyspace, &key);
        let value = Value { bytes: &bytes, deadline };
        if self.below(3) > 0 {
            let done = match is_put {
                true => db.put(space, &key, value).await,
                false => db.delete(space, &key).await,
            };
            return self.ends(id, done);
        }
        // By hand: assigned first, and durable when somebody waits for it.
        let assigned = loop {
            let tried = match is_put {
                true => db.try_put(space, &key, value),
                false => db.try_delete(space, &key),
            };
            match tried {
                Ok(assigned) => break assigned,
                Err(pause) => {
                    if let Err(error) = db.resolve(pause).await {
                        return self.ends(id, Err(error));
                    }
                }
            }
        };
        let durable = db.durable(assigned).await;
        self.life.recorder.ends(db, id, &durable, true);
        durable.map(|_| ())
    }

    async fn compare_and_set(&self, space: &Keyspace) -> Result<(), Error> {
        let (db, key, keyspace) = (&self.life.db, self.some_key(), space.id().0);
        let (look, found) = self.look_up(space, &key).await?;
        let Some(look) = look else { return Ok(()) };
        let deadline = self.some_deadline();
        let change = Change::Put { keyspace, key: key.clone(), deadline };
        let id = self.begins(vec![change], vec![look], None);
        let bytes = value(id, keyspace, &key);
        let to = Value { bytes: &bytes, deadline };
        let expected = found.unwrap_or_default();
        self.ends(id, db.compare_and_set(space, &key, expected, Some(to)).await)
    }

    /// The latest of a key, told to the witness; no look if it makes no sense.
    pub(super) async fn look_up(
        &self,
        space: &Keyspace,
        key: &[u8],
    ) -> Result<(Option<Look>, Option<Lsn>), Error> {
        let Life { db, recorder, .. } = &*self.life;
        let (begun, newest, now) = recorder.begins_read(db);
        let floor = newest.max(db.snapshot()?.version().0);
        let mut bytes = Vec::new();
        let found = db.get(space, key, &mut bytes).await?;
        let ceiling = db.snapshot()?.version().0.max(floor);
        let keyspace = space.id().0;
        let shown = match found {
            None => None,
            Some(version) => match recorder.reads(keyspace, key, version.0, &bytes) {
                None => return Ok((None, found)),
                Some(shown) => Some((shown.version, shown.write)),
            },
        };
        let look = Look::at_key(keyspace, key, shown, (now, db.now()), recorder.latest(db));
        recorder.shows(db, look.clone(), (floor, ceiling), begun);
        Ok((Some(look), found))
    }

    async fn get(&self, space: &Keyspace) -> Result<(), Error> {
        self.look_up(space, &self.some_key()).await.map(|_| ())
    }

    async fn scan(&self, space: &Keyspace) -> Result<(), Error> {
        let snapshot = self.life.db.snapshot()?;
        if self.below(3) == 0 {
            return self
                .life
                .whole(&self.life.db, space, &snapshot, self.below(4) == 0)
                .await
                .map(|_| ());
        }
        self.part(space, &snapshot).await
    }

    /// A few keys of a range, from one end.
    async fn part(&self, space: &Keyspace, at: &Snapshot) -> Result<(), Error> {
        let Life { db, recorder, .. } = &*self.life;
        let (begun, _, now) = recorder.begins_read(db);
        let (one, other) = (self.some_key(), self.some_key());
        let (mut from, mut to) = (one.clone().min(other.clone()), one.max(other));
        let range = KeyRange { from: &from.clone(), to: Some(&to.clone()) };
        let mut cursor = db.cursor(space, range, at)?;
        let (is_front, mut left) = (self.below(2) == 0, self.below(12));
        let (mut found, mut is_over) = (Vec::new(), false);
        while left > 0 && !is_over {
            left -= 1;
            let item = if is_front { cursor.next().await? } else { cursor.back().await? };
            match item {
                Some(item) => {
                    found.extend(recorder.reads(
                        space.id().0,
                        item.key,
                        item.version.0,
                        item.value,
                    ));
                }
                None => is_over = true,
            }
        }
        let seen = found.last().map(|last: &orloj_invariants::engine::Found| last.key.clone());
        // Only what was walked over was shown.
        match (is_over, seen, is_front) {
            (true, ..) => {}
            (false, None, _) => return Ok(()),
            (false, Some(last), true) => to = [&last[..], &[0]].concat(),
            (false, Some(last), false) => from = last,
        }
        if !is_front {
            found.reverse();
        }
        let (version, latest) = (at.version().0, recorder.latest(db));
        let (to, now) = (Some(to), (now, db.now()));
        let look = Look { keyspace: space.id().0, from, to, found, now, latest };
        recorder.shows(db, look, (version, version), begun);
        Ok(())
    }

    /// An older version, if it is still kept.
    async fn look_back(&self, space: &Keyspace) -> Result<(), Error> {
        let Life { db, recorder, .. } = &*self.life;
        if is_loaded(space.name()) {
            return Ok(());
        }
        let keeps_since = recorder.keeps_since(space.id().0);
        let newest = db.snapshot()?.version().0;
        let least = keeps_since.unwrap_or(space.earliest().0).min(newest);
        let at = least + self.below(newest - least + 1);
        let Ok(snapshot) = db.snapshot_at(Lsn(at)) else { return Ok(()) };
        match self.life.whole(db, space, &snapshot, self.below(4) == 0).await {
            Err(Error::HistoryTrimmed { earliest_kept, .. }) => {
                // Asked again: the clearing that trims it may have come meanwhile.
                if recorder.keeps_since(space.id().0).is_some_and(|since| since <= at) {
                    let what = format!("everything is kept, and {at} is below {earliest_kept}");
                    recorder.lost_snapshot(what);
                }
                Ok(())
            }
            done => done.map(|_| ()),
        }
    }

    /// Takes a snapshot, or reads one that it has held for a while, and lets it go at times.
    async fn hold(&mut self) -> Result<(), Error> {
        if self.held.len() < 3 && self.below(2) == 0 {
            let Life { db, .. } = &*self.life;
            let (times, spaces) = (db.taken_back().len(), self.life.spaces());
            self.held.push(Held { snapshot: db.snapshot()?, spaces, times });
            return Ok(());
        }
        if self.held.is_empty() {
            return Ok(());
        }
        let one = self.below(self.held.len() as u64) as usize;
        let Held { snapshot, spaces, times } = &self.held[one];
        if spaces.is_empty() {
            self.held.swap_remove(one);
            return Ok(());
        }
        let space = &spaces[self.below(spaces.len() as u64) as usize];
        let is_backward = self.below(4) == 0;
        let done = self.life.whole(&self.life.db, space, snapshot, is_backward).await;
        match done {
            Err(Error::HistoryTrimmed { asked, earliest_kept }) => {
                let id = space.id();
                let what = format!(
                    "a snapshot at {asked} is held, and keyspace {id} begins at {earliest_kept}"
                );
                self.life.recorder.lost_snapshot(what);
                self.held.swap_remove(one);
                return Ok(());
            }
            Err(Error::RolledBack { at }) => {
                // The disk has taken back what it shows, be it long ago.
                let since = self.life.db.taken_back().split_off(*times);
                let is_so = at == snapshot.version() && since.iter().any(|from| *from <= at);
                self.held.swap_remove(one);
                return if is_so { Ok(()) } else { Err(Error::RolledBack { at }) };
            }
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        if self.below(3) == 0 {
            self.held.swap_remove(one);
        }
        Ok(())
    }

    /// Clears a keyspace or drops it.
    async fn whole(&self, space: &Keyspace, is_drop: bool) -> Result<(), Error> {
        let (db, id) = (&self.life.db, space.id());
        if self.below(2) == 0 {
            return Ok(());
        }
        let KeyspaceId(keyspace) = id;
        let change = if is_drop { Change::Drop(keyspace) } else { Change::Clear(keyspace) };
        let write = self.begins(vec![change], Vec::new(), None);
        let done = match is_drop {
            true => {
                self.life.remove_space(space.name());
                db.drop_keyspace(space).await
            }
            false => db.clear_keyspace(space).await,
        };
        if is_drop && matches!(&done, Err(error) if !matches!(error, Error::NoKeyspace { .. })) {
            // It may be there or not. The next life sees.
            if let Ok(still) = db.keyspace(space.name())
                && still.id() == id
            {
                self.life.add_space(still);
            }
        }
        self.life.recorder.ends(db, write, &done, true);
        done.map(|_| ())
    }

    /// The cache's size. Everybody may have pinned a path and a few leaves, and what was written
    /// since it was measured last is a part of the budget.
    fn look_at_cache(&self) {
        let Life { db, plan, recorder, .. } = &*self.life;
        let Some(counters) = db.cache() else { return };
        let pinned = (plan.clients + 2) * 16 * 4096;
        let allowed = counters.budget + counters.budget / 8 + pinned;
        recorder.cache(counters.bytes, allowed);
    }
}
