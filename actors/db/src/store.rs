//! The store: rows in memory in front of the engine's tree, and every change of them in one place.
//!
//! Commands read and change rows. What a turn of commands changed goes to the engine as one commit
//! and so has one version, which is the truth; rows are forgotten as need be, and all of them when
//! a full disk takes history back.
//!
//! Time is part of the state. A key is gone when its deadline is at or before the store's *clock*,
//! and the clock moves only by a commit, so expiry is in the journal like everything else: what a
//! reader was shown as gone stays gone, whatever the machine's clock says after a restart. What is
//! dead is deleted later, step by step ([`Store::sweep`]), which nobody can see.
//!
//! Invariant: no deadline lies between the clock and `next_due`. A row that was not changed in the
//! turn that is going on is what the tree says.

mod execute;
mod fill;
mod key;
mod name;
mod redo;
mod rows;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::{BTreeMap, VecDeque};

use futures_util::future::join_all;
use orloj_kernel::Context;
use orloj_net::{Blob, Command, UnixMs};
use orloj_storage::{
    Database, Error, Lsn, Retention,
    database::{Assigned, Due, Keyspace},
};

use crate::commands::{Tables, Writes};
pub(crate) use fill::fill;
use key::MapKey;
pub(crate) use redo::Recorded;
use rows::{Row, Rows};

/// The keyspace of the keys that clients see, and the one in which the node keeps accounts.
pub(crate) const STRINGS: &str = "strings";
pub(crate) const ACCOUNTS: &str = "node";
/// The key of [`Counts`] in the accounts.
const COUNTS: &[u8] = b"strings";
/// Most rows that are read from the tree at a time.
const AHEAD: usize = 64;
/// Bytes of changes from which on a turn is committed at once. One more command may add a request's
/// worth and one value, and what a journal's frame can carry is 2 GiB.
const HEAVY: usize = 16 << 20;
const NEVER: UnixMs = UnixMs(u64::MAX);

/// What one key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    value: Blob,
    deadline: Option<UnixMs>,
}

/// What there is, without looking. Dead keys count until they are swept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) keys: u64,
    pub(crate) expiring: u64,
}

impl Counts {
    fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.keys.to_le_bytes());
        bytes[8..].copy_from_slice(&self.expiring.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Counts {
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        Counts { keys: number(0), expiring: number(8) }
    }

    fn count(&mut self, before: Option<&Entry>, after: Option<&Entry>) {
        let expires = |entry: &Entry| entry.deadline.is_some();
        self.keys = self.keys + u64::from(after.is_some()) - u64::from(before.is_some());
        self.expiring = self.expiring + u64::from(after.is_some_and(expires))
            - u64::from(before.is_some_and(expires));
    }
}

/// A turn that may be taken back.
#[derive(Clone, Copy, Debug)]
struct Recent {
    turn: u64,
    version: Lsn,
    /// What the clock was before it.
    clock: UnixMs,
}

/// Why a command cannot be carried out by a plain call. Nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Rows of its keys must be read: [`Store::load`].
    Rows,
    /// It looks at all keys: [`Store::walk`].
    Walk,
}

/// The store.
#[derive(Debug)]
pub(crate) struct Store {
    db: Database,
    strings: Keyspace,
    accounts: Keyspace,
    rows: Rows,
    counts: Counts,
    /// Counts as the tree has them.
    counted: Counts,
    /// Keys that were changed in this turn, each once.
    changed: Vec<MapKey>,
    /// Bytes of these keys and of what they hold.
    changed_bytes: usize,
    /// Whether every key was removed in this turn, before those changes.
    cleared: bool,
    /// Keys that one commit changes at most.
    many: usize,
    /// The last turn that changed anything, counted from 1.
    turn: u64,
    /// Keys with a deadline up to here are gone.
    clock: UnixMs,
    /// What the clock was before this turn moved it.
    passed: Option<UnixMs>,
    /// Turns that may be taken back, in order.
    recent: VecDeque<Recent>,
    /// No deadline is after the clock and before this.
    next_due: UnixMs,
    /// Entries of the index that this turn takes out.
    swept: Vec<Due>,
    /// Up to which entry the index was swept.
    sweeper: Option<Due>,
    /// Whether more is to be swept.
    backlog: bool,
    /// The version of the engine behind the last turn.
    last: Assigned,
    /// What was taken back is known up to here.
    known: usize,
    /// What the next commit is to be, if it is a replay's.
    recorded: Option<Recorded>,
}

impl Store {
    /// The store in `db`. `budget` bytes of memory are for rows.
    ///
    /// # Errors
    /// What the engine says.
    pub(crate) async fn open(cx: &Context, db: Database, budget: usize) -> Result<Store, Error> {
        let strings = keyspace(&db, STRINGS).await?;
        let accounts = keyspace(&db, ACCOUNTS).await?;
        let (last, known) = (db.last_assigned(), db.taken_back().len());
        let many = many(&db);
        let mut store = Store {
            clock: UnixMs(db.told()),
            db,
            strings,
            accounts,
            rows: Rows::new(budget, cx.entropy()),
            counts: Counts::default(),
            counted: Counts::default(),
            changed: Vec::new(),
            changed_bytes: 0,
            cleared: false,
            many,
            turn: 0,
            passed: None,
            recent: VecDeque::new(),
            next_due: NEVER,
            swept: Vec::new(),
            sweeper: None,
            backlog: true,
            last,
            known,
            recorded: None,
        };
        store.reset().await?;
        Ok(store)
    }

    /// The last turn that changed anything, counted from 1 in the life of the database.
    pub(crate) fn turn(&self) -> u64 {
        self.turn
    }

    /// The version of the engine behind it.
    pub(crate) fn last(&self) -> Assigned {
        self.last
    }

    /// Keys with a deadline up to here are gone.
    pub(crate) fn clock(&self) -> UnixMs {
        self.clock
    }

    /// What there is, without looking.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether there are dead keys to be deleted.
    pub(crate) fn has_backlog(&self) -> bool {
        self.backlog
    }

    /// Whether what this turn changed shall be committed before anything is added to it.
    pub(crate) fn is_heavy(&self, also: &Writes) -> bool {
        let (keys, bytes) = also.weight();
        self.changed_bytes + bytes >= HEAVY || self.changed.len() + keys >= self.many
    }

    /// Bytes of memory in use, roughly.
    pub(crate) fn memory(&self) -> usize {
        let cached = self.db.cache().map_or(0, |cache| cache.bytes);
        self.rows.bytes() + usize::try_from(cached).unwrap_or(usize::MAX)
    }

    /// Whether a full disk took history back: the turn from which on nothing has happened. The
    /// store is as it was before that as soon as it was [`reset`](Store::reset).
    pub(crate) fn undone(&mut self) -> Option<u64> {
        let taken_back = self.db.taken_back();
        let from = taken_back[self.known..].iter().min().copied()?;
        self.known = taken_back.len();
        let mut undone = self.turn + 1;
        while let Some(recent) = self.recent.pop_back_if(|recent| recent.version >= from) {
            (undone, self.clock) = (recent.turn, recent.clock);
        }
        self.last = self.db.last_assigned();
        Some(undone)
    }

    /// Forgets what this turn changed, and all that is in memory.
    ///
    /// # Errors
    /// What the engine says; it is still due then.
    pub(crate) async fn reset(&mut self) -> Result<(), Error> {
        self.clock = self.passed.take().unwrap_or(self.clock);
        self.rows.clear();
        self.changed.clear();
        self.swept.clear();
        (self.changed_bytes, self.cleared) = (0, false);
        (self.sweeper, self.backlog) = (None, true);
        self.turn = self.db.applied();
        let mut value = Vec::new();
        self.db.get_newest(&self.accounts, COUNTS, &mut value).await?;
        self.counts = Counts::decode(&value);
        self.counted = self.counts;
        self.next_due = self.first_due().await?;
        Ok(())
    }

    /// A time at which no key is due that is not gone already: `now`, or just before the next
    /// deadline.
    pub(crate) fn before_next_due(&self, now: UnixMs) -> UnixMs {
        UnixMs(now.0.min(self.next_due.0.saturating_sub(1))).max(self.clock)
    }

    /// Moves the clock to `now` if a key may die by it.
    ///
    /// # Errors
    /// What the engine says; the clock stands where it was.
    pub(crate) async fn pass(&mut self, now: UnixMs) -> Result<(), Error> {
        if now < self.next_due {
            return Ok(());
        }
        let next = self.first_due().await?;
        if now < next {
            self.next_due = next;
            return Ok(());
        }
        let after = self.db.next_deadline(now.0).await?.map_or(NEVER, UnixMs);
        self.passed.get_or_insert(self.clock);
        (self.clock, self.next_due, self.backlog) = (now, after, true);
        Ok(())
    }

    /// The first deadline after the clock.
    async fn first_due(&self) -> Result<UnixMs, Error> {
        Ok(self.db.next_deadline(self.clock.0).await?.map_or(NEVER, UnixMs))
    }

    /// Whether this turn changed no key so far.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.changed.is_empty() && !self.cleared
    }

    /// Gives the engine what this turn changed, and what `also` has, as one version; whether there
    /// was anything.
    ///
    /// # Errors
    /// What the engine says. Nothing happened; [`Store::reset`] is due.
    pub(crate) async fn commit(&mut self, also: Option<(&Writes, &Tables)>) -> Result<bool, Error> {
        let also = also.filter(|(writes, _)| !writes.is_empty());
        let is_nothing = self.is_unchanged() && self.swept.is_empty() && also.is_none();
        if is_nothing && self.passed.is_none() {
            self.rows.end_turn();
            return Ok(false);
        }
        let counts = self.counts.encode();
        // The tree will ask for that, and has further to go for each key than who has them here.
        self.changed.sort_unstable();
        let names: Vec<_> = self.changed.iter().map(|key| name::of(key.as_bytes())).collect();
        let mut batch = self.db.batch(self.last);
        if self.cleared {
            batch.clear(&self.strings);
        }
        for (key, name) in self.changed.iter().zip(&names) {
            let row = self.rows.peek(key.as_bytes()).expect("what was changed is kept");
            match &row.entry {
                Some(Entry { value, deadline }) => {
                    let deadline = deadline.map(|at| at.0);
                    batch.put(&self.strings, name, value.as_bytes(), deadline);
                }
                None => batch.delete(&self.strings, name),
            }
        }
        self.swept.iter().for_each(|due| batch.forget(due));
        if let Some((writes, tables)) = also {
            writes.add_to(&mut batch, tables);
        }
        if self.counts != self.counted {
            batch.put(&self.accounts, COUNTS, &counts, None);
        }
        let told = self.passed.is_some().then_some(self.clock);
        if let Some(told) = told.max(also.map(|(writes, _)| writes.at)) {
            batch.tell(told.0);
        }
        batch.applied(self.turn + 1);
        self.last = match &mut self.recorded {
            None => self.db.commit(&batch).await?,
            Some(recorded) => recorded.commit(&self.db, &batch).await?,
        };
        self.many = many(&self.db);
        self.turn += 1;
        let durable = self.db.durable_version();
        while self.recent.pop_front_if(|recent| recent.version <= durable).is_some() {}
        let clock = self.passed.take().unwrap_or(self.clock);
        self.recent.push_back(Recent { turn: self.turn, version: self.last.version(), clock });
        self.counted = self.counts;
        self.changed.clear();
        self.swept.clear();
        (self.changed_bytes, self.cleared) = (0, false);
        self.rows.end_turn();
        Ok(true)
    }

    /// Reads the rows that the first of `commands` needs, and of the others what can be read beside
    /// them.
    ///
    /// # Errors
    /// What the engine says of a row that the first command needs.
    pub(crate) async fn load(&mut self, commands: &[Command]) -> Result<(), Error> {
        let mut wanted: BTreeMap<&[u8], bool> = BTreeMap::new();
        for (number, command) in commands.iter().enumerate() {
            if number > 0 && wanted.len() >= AHEAD.min(self.many) {
                break;
            }
            for key in command.keys() {
                if self.rows.get(key).is_none() {
                    wanted.entry(key).or_insert(number == 0);
                }
            }
        }
        let wanted: Vec<(&[u8], bool)> = wanted.into_iter().collect();
        for some in wanted.chunks(AHEAD) {
            let rows = join_all(some.iter().map(|(key, _)| self.read(key))).await;
            for ((key, is_needed), row) in some.iter().zip(rows) {
                match row {
                    Ok(row) => {
                        self.rows.insert(key, row);
                    }
                    Err(error) if *is_needed => return Err(error),
                    // Whoever needs it will be told.
                    Err(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Keys of `command`, as the tree has them, for which it would have to wait for the disk.
    pub(crate) fn far_keys(&mut self, command: &Command) -> Vec<Vec<u8>> {
        let mut far = Vec::new();
        for key in command.keys() {
            if self.rows.get(key).is_none() && self.db.is_far(&self.strings, &name::of(key)) {
                far.push(name::of(key).into_owned());
            }
        }
        far
    }

    /// Has them near, as long as there is room for them.
    pub(crate) fn fetch(&self, names: Vec<Vec<u8>>) -> impl Future<Output = ()> + Send + use<> {
        let (db, strings) = (self.db.clone(), self.strings.clone());
        async move {
            let mut value = Vec::new();
            for name in names {
                // Whoever needs it is told if it cannot be read.
                let _ = db.get_newest(&strings, &name, &mut value).await;
            }
        }
    }

    /// What the tree says of `key`.
    async fn read(&self, key: &[u8]) -> Result<Row, Error> {
        let mut value = Vec::new();
        let name = name::of(key);
        let found = match self.cleared {
            true => None,
            false => self.db.get_newest(&self.strings, &name, &mut value).await?,
        };
        let entry = found.map(|found| {
            let deadline = found.deadline.map(UnixMs);
            Entry { value: Blob::new(&value), deadline }
        });
        Ok(Row { entry, turn: 0 })
    }

    #[inline]
    fn row(&mut self, key: &[u8]) -> Result<&mut Row, Wait> {
        self.rows.get(key).ok_or(Wait::Rows)
    }

    /// What `key` holds, if it lives.
    #[inline]
    fn live(&mut self, key: &[u8]) -> Result<Option<&mut Entry>, Wait> {
        let clock = self.clock;
        let entry = self.row(key)?.entry.as_mut();
        Ok(entry.filter(|e| e.deadline.is_none_or(|deadline| deadline > clock)))
    }

    #[inline]
    fn lives(&mut self, key: &[u8]) -> Result<bool, Wait> {
        Ok(self.live(key)?.is_some())
    }

    #[inline]
    fn put(&mut self, key: &[u8], value: &[u8], deadline: Option<UnixMs>) -> Result<(), Wait> {
        self.replace(key, Some(Entry { value: Blob::new(value), deadline }))
    }

    /// The one place where a row changes.
    #[inline]
    fn replace(&mut self, key: &[u8], entry: Option<Entry>) -> Result<(), Wait> {
        let turn = self.turn + 1;
        let row = self.rows.get(key).ok_or(Wait::Rows)?;
        // An index that kept what has lost its meaning would grow with every write.
        if row.turn != turn
            && let Some(Entry { deadline: Some(at), .. }) = row.entry
        {
            self.swept.push(Due::of(&self.strings, &name::of(key), at.0));
        }
        let len = |entry: Option<&Entry>| entry.map_or(0, |entry| entry.value.len());
        self.counts.count(row.entry.as_ref(), entry.as_ref());
        let (before, after) = (len(row.entry.as_ref()), len(entry.as_ref()));
        if let Some(Entry { deadline: Some(at), .. }) = entry {
            self.next_due = self.next_due.min(at);
        }
        row.entry = entry;
        if std::mem::replace(&mut row.turn, turn) == turn {
            self.changed_bytes = self.changed_bytes + after - before;
        } else {
            self.changed.push(MapKey::new(key));
            self.changed_bytes += key.len() + after;
        }
        self.rows.grown(before, after);
        Ok(())
    }

    /// Removes every key.
    fn clear(&mut self) {
        self.rows.clear();
        self.changed.clear();
        (self.changed_bytes, self.cleared) = (0, true);
        self.counts = Counts::default();
    }
}

/// How many keys one commit may change. Each may be in a leaf of its own, and a commit needs all of
/// its leaves at once: if the cache is full, they would take each other's room again and again.
fn many(db: &Database) -> usize {
    let Some(cache) = db.cache().filter(|cache| cache.bytes > cache.budget / 4 * 3) else {
        return usize::MAX;
    };
    let leaves = cache.budget / u64::from(db.options().page_bytes);
    usize::try_from(leaves / 16).unwrap_or(usize::MAX).max(16)
}

/// Makes what a store needs where it is missing, and says what there is.
///
/// # Errors
/// What the engine says.
pub(crate) async fn prepare(db: &Database) -> Result<Counts, Error> {
    keyspace(db, STRINGS).await?;
    let accounts = keyspace(db, ACCOUNTS).await?;
    let mut value = Vec::new();
    db.get_newest(&accounts, COUNTS, &mut value).await?;
    Ok(Counts::decode(&value))
}

async fn keyspace(db: &Database, name: &str) -> Result<Keyspace, Error> {
    match db.keyspace(name) {
        Err(Error::NoKeyspace { .. }) => db.create_keyspace(name, Retention::default()).await,
        found => found,
    }
}
