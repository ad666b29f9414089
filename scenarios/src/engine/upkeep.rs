//! What users ask of the database as a whole: compactions, loads and backups.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use orloj_invariants::engine::{Change, value};
use orloj_storage::{
    Durability, Error, JournalError,
    backup::{BackupError, Directory, How, Point, restore},
    compact::Compaction,
    verify::{Grade, Offline},
};

use super::{
    client::Client,
    life::{Life, open, options, retention},
    recorder::was_damaged,
};

/// How the names of keyspaces begin that come into being by a load.
const LOADED: &str = "load";
/// Where backups go.
const BACKUP: &str = "backup";
/// Where the database goes that is made of one.
const RESTORED: &str = "restored";

/// Whether a keyspace came into being by a load. Who loads is told since when the keys are there,
/// and who dies meanwhile is not: nobody else looks at versions of then.
pub(super) fn is_loaded(name: &str) -> bool {
    name.starts_with(LOADED)
}

impl Client {
    pub(super) async fn compact(&self) -> Result<(), Error> {
        let what = match self.below(3) {
            0 => Compaction::WalOnly,
            _ => Compaction::Full,
        };
        self.life.db.compact(what).await.map(|_| ())
    }

    /// Makes a keyspace and loads it before anybody knows of it.
    pub(super) async fn load(&self) -> Result<(), Error> {
        let Life { db, recorder, .. } = &*self.life;
        let name = format!("{LOADED}{}", self.below(4));
        let made = db.create_keyspace(&name, retention(&name)).await?;
        let keyspace = made.id().0;
        recorder.made(keyspace, None);
        let keys: BTreeSet<Vec<u8>> = (0..1 + self.below(80)).map(|_| self.some_key()).collect();
        let mut changes = Vec::new();
        for key in &keys {
            changes.push(Change::Put { keyspace, key: key.clone(), deadline: None });
        }
        let id = self.begins(changes, Vec::new(), None);
        let mut entries = Vec::new();
        for key in keys {
            let value = value(id, keyspace, &key);
            entries.push((key, value));
        }
        let done = db.load_keyspace(&made, entries).await;
        if let Ok(since) = done {
            recorder.loaded(id, since.0);
            self.life.add_space(made);
        }
        recorder.ends(db, id, &done, true);
        done.map(|_| ())
    }

    /// Takes a backup, or goes on with the one before. One at a time.
    pub(super) async fn back_up(&self) -> Result<(), Error> {
        let Life { cx, db, copying, .. } = &*self.life;
        if db.options().durability == Durability::InMemory || copying.swap(true, Relaxed) {
            return Ok(());
        }
        let how = if self.below(4) == 0 { How::Full } else { How::Continue };
        let done = db.backup(Arc::new(Directory::new(*cx, BACKUP)), how, &mut |_| {}).await;
        copying.store(false, Relaxed);
        match done {
            Ok(_) => Ok(()),
            // What was misread of the journal has no bearing on the database that writes it.
            Err(error @ BackupError::Engine(Error::Journal(_))) => {
                self.life.judge_backup(&error);
                Ok(())
            }
            Err(BackupError::Engine(error)) => Err(error),
            Err(error) => {
                self.life.judge_backup(&error);
                Ok(())
            }
        }
    }
}

impl Life {
    /// What is no error of the database: the target is on the disk that fails.
    fn judge_backup(&self, error: &BackupError) {
        let is_excused = match error {
            BackupError::Target(_) | BackupError::Engine(Error::Journal(JournalError::Disk(_))) => {
                self.is_disk_excused()
            }
            BackupError::Engine(Error::Journal(JournalError::Missing { .. })) => false,
            _ => was_damaged(),
        };
        if !is_excused {
            self.recorder.fails(format!("backup: {error}"));
        }
    }

    /// The last backup, made a database as of its end and as of a version before: both must hold
    /// what the map holds there.
    pub(super) async fn restores(&self) -> Result<(), Error> {
        match self.try_restores().await {
            Ok(()) => Ok(()),
            Err(_) if was_damaged() => Ok(()),
            Err(BackupError::Engine(error)) => Err(error),
            Err(error) => {
                self.recorder.fails(format!("restoring a backup: {error}"));
                Ok(())
            }
        }
    }

    async fn try_restores(&self) -> Result<(), BackupError> {
        let (cx, db) = (self.cx, &self.db);
        let target = Arc::new(Directory::new(cx, BACKUP));
        let backup = db.backup(target.clone(), How::Continue, &mut |_| {}).await?;
        let (from, to) = (backup.inventory().from.version.0, backup.inventory().to.version.0);
        drop(backup);
        let between = orloj_storage::Lsn(from + cx.below(to - from + 1));
        for (number, point) in [Point::Newest, Point::Version(between)].into_iter().enumerate() {
            let dir = format!("{RESTORED}{number}");
            let options = options(&self.plan, &dir);
            let made = restore(cx, &*target, &options, point, false, &mut |_| {}).await?;
            let reached = made.reached.version;
            self.recorder.tell(|| format!("restored {point}: version {reached}"));
            let restored = open(cx, &self.plan, &dir).await?;
            let at = restored.snapshot_at(reached)?;
            for keyspace in restored.keyspaces()? {
                self.whole(&restored, &keyspace, &at, cx.below(4) == 0).await?;
            }
            drop(at);
            restored.close().await?;
            let verified = Offline::open(cx, &dir).await?.verify(&mut |_| {}).await?;
            let damage = verified.findings.iter().find(|found| found.grade == Grade::Damage);
            if let Some(found) = damage {
                self.recorder.fails(format!("a restored database is damaged: {found:?}"));
            }
        }
        Ok(())
    }
}
