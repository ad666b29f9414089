//! One life of the process: it opens the database, looks at all there is, and lets clients work.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use orloj_invariants::{
    Durability as Promise,
    engine::{Found, KeyspaceId, Look, Version},
};
use orloj_kernel::{Context, OpenMode};
use orloj_sim::{Control, fault::FaultClass};
use orloj_storage::{
    Database, Durability, Error, JournalError, Options, Retention, Snapshot, Verdict,
    database::{KeyRange, Keyspace},
    verify::{Grade, Offline},
};

use super::{
    client,
    recorder::{Phase, Recorder, was_damaged},
};
use crate::scenario::EnginePlan;

/// The directory of the database.
pub(super) const DIR: &str = "data";
/// Where its copy goes.
const COPY: &str = "copy";

/// What the clients of one life share.
pub(super) struct Life {
    pub(super) cx: Context,
    pub(super) db: Database,
    pub(super) plan: Arc<EnginePlan>,
    pub(super) recorder: Arc<Recorder>,
    spaces: Mutex<BTreeMap<String, Keyspace>>,
    /// Whether a backup is being taken.
    pub(super) copying: AtomicBool,
    /// A sync has failed: whatever is asked, the process ends.
    halted: Mutex<Option<String>>,
}

pub(super) fn options(plan: &EnginePlan, dir: &str) -> Options {
    let durability = match plan.durability {
        Promise::Strict => Durability::Strict,
        Promise::Buffered { .. } => Durability::Buffered,
        Promise::InMemory => Durability::InMemory,
    };
    Options {
        page_bytes: 4096,
        inline_bytes: plan.inline_bytes as u32,
        cache_bytes: plan.cache_bytes,
        segment_bytes: 64 << 10,
        checkpoint_bytes: plan.checkpoint_bytes,
        checkpoint_every: plan.checkpoint_every,
        batch_bytes: 64 << 10,
        lock_wait: Duration::from_millis(200),
        ..Options::new(dir, durability)
    }
}

/// One life of the process, from its start to its own end.
pub(super) async fn process(cx: Context, plan: Arc<EnginePlan>, recorder: Arc<Recorder>) {
    recorder.boots();
    let (why, is_in_order) = match live(cx, plan, recorder.clone()).await {
        Ok(()) => ("it was told to stop".to_owned(), true),
        Err(error) => (error.to_string(), false),
    };
    recorder.ended(&why, is_in_order);
}

async fn live(cx: Context, plan: Arc<EnginePlan>, recorder: Arc<Recorder>) -> Result<(), Error> {
    let db = match open(cx, &plan, DIR).await {
        Ok(db) => db,
        Err(error) => {
            judge_refusal(&error, &recorder);
            return Err(error);
        }
    };
    let base = db.snapshot()?.version().0;
    recorder.opened(&db, base, plan.clients);
    let spaces = db.keyspaces()?;
    recorder.lists(spaces.iter().map(|keyspace| keyspace.id().0).collect());
    let spaces = spaces.into_iter().map(|keyspace| (keyspace.name().to_owned(), keyspace));
    let spaces = Mutex::new(spaces.collect());
    let halted = Mutex::new(None);
    let life = Arc::new(Life { cx, db, plan, recorder, spaces, copying: false.into(), halted });
    let content = life.everything(&life.db).await;
    match life.recorder.phase() {
        Phase::Dump => content.map(|content| life.recorder.dumps(&life.db, content)),
        Phase::Last => life.last(content?).await,
        Phase::Chaos | Phase::Quiet | Phase::Calm => {
            if let Err(error) = content {
                life.judge(&error, "reading everything");
            }
            life.work().await
        }
    }
}

pub(super) async fn open(cx: Context, plan: &EnginePlan, dir: &str) -> Result<Database, Error> {
    match plan.durability {
        Promise::InMemory => Database::in_memory(cx, options(plan, dir)),
        _ => Database::open(cx, options(plan, dir)).await.map(|(db, _)| db),
    }
}

/// A database that nothing has damaged must not say that it is.
fn judge_refusal(error: &Error, recorder: &Recorder) {
    let is_excused = match error {
        Error::Disk(_) | Error::ReadOnly { .. } | Error::InDoubt { .. } => true,
        Error::Journal(JournalError::Disk(_)) => true,
        _ => was_damaged(),
    };
    if !is_excused {
        recorder.fails(format!("opening was refused: {error}"));
    }
}

impl Life {
    /// Lets the clients work until they are done, or nothing can be written any more.
    async fn work(self: Arc<Life>) -> Result<(), Error> {
        let clients: Vec<_> = (0..self.plan.clients)
            .map(|number| self.cx.spawn("client", client::work(self.clone(), number as u32)))
            .collect();
        for client in clients {
            // One that panics ends the run.
            let _ = client.await;
        }
        let halted = self.halted.lock().unwrap_or_else(PoisonError::into_inner).take();
        match halted {
            Some(why) => {
                self.recorder.tell(|| format!("halts: {why}"));
                Err(Error::Closed)
            }
            None if self.recorder.is_to_stop() => {
                let closed = self.db.clone().close().await;
                closed.or_else(|error| match error.verdict() {
                    // What could not be written is told to nobody else.
                    Verdict::Retry | Verdict::Reject => Ok(()),
                    Verdict::Repair | Verdict::Halt => Err(error),
                })
            }
            // All is done in calm. The scenario takes the process down.
            None => std::future::pending().await,
        }
    }

    pub(super) fn halts(&self, error: &Error) {
        let mut halted = self.halted.lock().unwrap_or_else(PoisonError::into_inner);
        halted.get_or_insert_with(|| error.to_string());
    }

    pub(super) fn has_halted(&self) -> bool {
        self.halted.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn spaces(&self) -> Vec<Keyspace> {
        let spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        spaces.values().cloned().collect()
    }

    pub(super) fn add_space(&self, keyspace: Keyspace) {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        spaces.insert(keyspace.name().to_owned(), keyspace);
    }

    pub(super) fn remove_space(&self, name: &str) {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Makes a keyspace of this name that keeps versions as its name says, if there is none.
    pub(super) async fn make_space(&self, name: &str) -> Result<(), Error> {
        let made = self.db.create_keyspace(name, retention(name)).await?;
        let keeps_since = match made.retention() {
            Retention::All => Some(self.db.snapshot()?.version().0),
            _ => None,
        };
        self.recorder.made(made.id().0, keeps_since);
        self.add_space(made);
        Ok(())
    }

    /// Says so if an error has no cause.
    pub(super) fn judge(&self, error: &Error, what: &str) {
        if error.verdict() == Verdict::Halt {
            self.halts(error);
        }
        let faults = Control.faults();
        let any = |classes: &[FaultClass]| classes.iter().any(|c| faults.injected(*c) > 0);
        use FaultClass as C;
        let is_calm = matches!(self.recorder.phase(), Phase::Calm | Phase::Dump | Phase::Last);
        let is_damaged = self.plan.may_refuse && was_damaged();
        let is_excused = match error {
            // A failed sync may leave the file system read-only.
            Error::ReadOnly { .. } | Error::InDoubt { .. } if any(&[C::DiskSyncFailed]) => true,
            // Others were faster, or a keyspace is gone.
            Error::Conflict { .. }
            | Error::Deadlock { .. }
            | Error::LockTimeout { .. }
            | Error::Upgrade { .. }
            | Error::NoKeyspace { .. }
            | Error::KeyspaceExists { .. } => true,
            _ if is_calm => is_damaged,
            Error::ReadOnly { .. } | Error::InDoubt { .. } | Error::RolledBack { .. } => {
                // A disk may be made read-only without that being counted as a fault.
                any(&[C::DiskFull, C::DiskWriteError]) || self.plan.is_made_read_only
            }
            Error::Disk(_) => self.is_disk_excused(),
            Error::Corrupt(_) => was_damaged(),
            Error::Closed => self.recorder.is_to_stop() || self.has_halted(),
            _ => false,
        };
        if !is_excused {
            self.recorder.fails(format!("{what}: {error}"));
        }
    }

    /// Whether a disk that fails has a reason to.
    pub(super) fn is_disk_excused(&self) -> bool {
        use FaultClass as C;
        let classes = [C::DiskFull, C::DiskWriteError, C::DiskSyncFailed, C::DiskReadError];
        classes.iter().any(|class| Control.faults().injected(*class) > 0)
            || self.plan.is_made_read_only
            || was_damaged()
    }

    /// Everything there is now, told to the witness.
    async fn everything(&self, db: &Database) -> Result<Vec<(KeyspaceId, Found)>, Error> {
        let snapshot = db.snapshot()?;
        let mut content = Vec::new();
        for keyspace in db.keyspaces()? {
            let found = self.whole(db, &keyspace, &snapshot, self.cx.below(4) == 0).await?;
            content.extend(found.into_iter().map(|found| (keyspace.id().0, found)));
        }
        Ok(content)
    }

    /// Every key of a keyspace at a snapshot, told to the witness.
    pub(super) async fn whole(
        &self,
        db: &Database,
        of: &Keyspace,
        at: &Snapshot,
        is_backward: bool,
    ) -> Result<Vec<Found>, Error> {
        let (begun, ..) = self.recorder.begins_read(&self.db);
        // A copy has a time of its own.
        let now = db.now();
        let mut cursor = db.cursor(of, KeyRange::from(..), at)?;
        let mut found = Vec::new();
        loop {
            let item = match is_backward {
                true => cursor.back().await?,
                false => cursor.next().await?,
            };
            let Some(item) = item else { break };
            found.extend(self.recorder.reads(of.id().0, item.key, item.version.0, item.value));
        }
        if is_backward {
            found.reverse();
        }
        let version: Version = at.version().0;
        let (from, to) = (Vec::new(), None);
        let now = (now, db.now());
        // What is a copy may be ahead of its origin.
        let latest = self.recorder.latest(&self.db).max(now.1);
        let look = Look { keyspace: of.id().0, from, to, found: found.clone(), now, latest };
        self.recorder.shows(&self.db, look, (version, version), begun);
        Ok(found)
    }

    /// The last life: the content once more, then a copy of the directory at a checkpoint, which
    /// must be a database of the same content, and then a look at every byte.
    async fn last(self: Arc<Life>, content: Vec<(KeyspaceId, Found)>) -> Result<(), Error> {
        self.recorder.dumps(&self.db, content.clone());
        if self.plan.durability == Promise::InMemory {
            self.recorder.dumps(&self.db, content);
            return std::future::pending().await;
        }
        self.db.checkpoint().await?;
        let at = self.db.snapshot()?.version();
        copy(self.cx, DIR, COPY).await?;
        // The keeper may have told history the time meanwhile; nobody else writes.
        self.recorder.tell(|| format!("copied at version {at}"));
        let copied = open(self.cx, &self.plan, COPY).await;
        let copied = match copied {
            Ok(copied) => copied,
            Err(error) => {
                self.judge(&error, "opening the copy");
                return Err(error);
            }
        };
        let content = self.everything(&copied).await?;
        copied.close().await?;
        let verified = Offline::open(self.cx, COPY).await?.verify(&mut |_| {}).await?;
        let damage = verified.findings.iter().find(|finding| finding.grade == Grade::Damage);
        if let Some(finding) = damage
            && !was_damaged()
        {
            self.recorder.fails(format!("a look at every byte found: {finding:?}"));
        }
        self.restores().await?;
        self.recorder.dumps(&self.db, content);
        std::future::pending().await
    }
}

/// Which versions a keyspace of this name keeps.
pub(super) fn retention(name: &str) -> Retention {
    let last = |count| std::num::NonZeroU32::new(count).expect("not zero");
    match name.as_bytes().last() {
        Some(b'0') => Retention::All,
        Some(b'1') => Retention::Last(last(3)),
        Some(b'2') => Retention::For(Duration::from_millis(300)),
        Some(b'3') => Retention::Either(last(2), Duration::from_millis(100)),
        _ => Retention::default(),
    }
}

/// Copies a directory and those in it, file by file.
async fn copy(cx: Context, from: &str, to: &str) -> Result<(), Error> {
    cx.create_dir(to).await?;
    for entry in cx.list(from).await? {
        let (from, to) = (format!("{from}/{}", entry.name), format!("{to}/{}", entry.name));
        if entry.is_dir {
            Box::pin(copy(cx, &from, &to)).await?;
            continue;
        }
        let source = cx.open(&from, OpenMode::Read).await?;
        let bytes = source.read_at(0, source.size().await? as usize).await?;
        cx.open(&to, OpenMode::Create).await?.write_at(0, bytes).await?;
    }
    Ok(())
}
