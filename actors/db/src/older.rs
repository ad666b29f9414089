//! Data directories of release 0.0, from before the storage engine: a `LOCK`, and in `wal/` a
//! journal whose records say what each command changed (schema 1). Nobody writes them any more.
//!
//! [`migrate`] does what that release did at its start: it reads the journal, by the journal's own
//! judgement of damage, into memory. Of what is there then it makes a database.
//!
//! Invariant: the old directory is only read, and the new one is no database before it is whole.

mod effect;
mod state;
#[cfg(test)]
mod tests;

use orloj_kernel::{Context, DiskError, DiskErrorKind, RawLock};
use orloj_storage::{
    Database, Error, JournalError,
    journal::{Origin, Recovery, inspect},
    manifest::MANIFEST,
    recover::{LOCK, WAL},
    unfinished::check_empty,
    verify::{OnProgress, Progress, Stage},
};

use crate::{NodeConfig, store};
use state::State;

/// Bytes of records after which progress is shown again.
const STEP: u64 = 1 << 20;

/// A migration that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// What was read, and what was cut off its end.
    pub journal: Recovery,
    /// Keys that there are.
    pub keys: u64,
    /// How many of them have a deadline.
    pub expiring: u64,
    /// Keys that were left out, since the journal says that their deadlines have passed.
    pub dead: u64,
    /// The time (Unix ms) that the journal had come to; 0 if it says none.
    pub clock: u64,
}

/// Why nothing was brought over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MigrateError {
    /// The new database, or a disk.
    #[error(transparent)]
    Engine(#[from] Error),
    /// The old journal cannot be used.
    #[error("{old}: {cause}")]
    Journal {
        /// The old directory.
        old: String,
        /// Why.
        cause: JournalError,
    },
    /// There is none.
    #[error("{old}: no journal of release 0.0 (it has no {WAL:?})")]
    NoJournal {
        /// The directory that was given as the old one.
        old: String,
    },
    /// Nothing is to be done.
    #[error("{old}: a database of the storage engine already (it has a {MANIFEST})")]
    NotOlder {
        /// The directory that was given as the old one.
        old: String,
    },
    /// The old directory is not to be changed.
    #[error("{new}: lies in {old}")]
    Inside {
        /// The old directory.
        old: String,
        /// The new one.
        new: String,
    },
    /// No client could ask for it.
    #[error("a key of {len} bytes ({:?}...): {most} are allowed", String::from_utf8_lossy(begin))]
    KeyLength {
        /// Its length.
        len: usize,
        /// The longest that is allowed.
        most: usize,
        /// Its first bytes.
        begin: Vec<u8>,
    },
}

impl From<DiskError> for MigrateError {
    fn from(e: DiskError) -> MigrateError {
        MigrateError::Engine(e.into())
    }
}

/// Makes the database of the node `new` out of the directory `old` of release 0.0, which no process
/// has open. All that it holds is in memory meanwhile, as it was while that release served it.
///
/// # Errors
/// [`MigrateError`]. There is no database then, and the same can be tried again: what was left
/// half-way is removed first.
pub async fn migrate(
    cx: Context,
    old: &str,
    new: &NodeConfig,
    progress: OnProgress<'_>,
) -> Result<Migrated, MigrateError> {
    let inside = new.data.strip_prefix(old.trim_end_matches('/'));
    if inside.is_some_and(|rest| rest.starts_with('/')) {
        return Err(MigrateError::Inside { old: old.to_owned(), new: new.data.clone() });
    }
    let (_lock, total) = enter(cx, old).await?;
    check_empty(cx, &new.data).await?;
    let mut state = State::new();
    let (mut done, mut shown) = (0, 0);
    let mut replay = |_, record: &[u8]| {
        done += record.len() as u64;
        if done >= shown {
            shown = done + STEP;
            progress(Progress { stage: Stage::Journal, done, total });
        }
        state.replay(record)
    };
    let journal = inspect(cx, &format!("{old}/{WAL}"), Origin::START, &mut replay).await;
    let journal = journal.map_err(|cause| match cause {
        JournalError::Disk(e) => e.into(),
        cause => MigrateError::Journal { old: old.to_owned(), cause },
    })?;
    let (clock, dead) = (state.clock(), state.sweep());
    let most = new.limits.key;
    if let Some((key, _)) = state.entries().find(|(key, _)| key.len() > most) {
        let begin = key[..key.len().min(32)].to_vec();
        return Err(MigrateError::KeyLength { len: key.len(), most, begin });
    }
    let total = state.entries().map(|(key, entry)| (key.len() + entry.value.len()) as u64).sum();
    let shown = &mut |done| progress(Progress { stage: Stage::Values, done, total });
    let db = Database::make(cx, new.engine()).await?;
    let entries = state.entries().map(|(key, entry)| (key, &entry.value[..], entry.deadline));
    let counts = store::fill(&db, entries, clock, shown).await?;
    db.publish().await?;
    // It is a database already: what cannot be written now is in its journal.
    if let Err(error) = db.close().await {
        cx.trace("migrate", format_args!("closed with: {error}"));
    }
    let (keys, expiring) = (counts.keys, counts.expiring);
    Ok(Migrated { journal, keys, expiring, dead, clock: clock.0 })
}

/// Makes sure that `old` is what it must be and that nobody has it open, and says how many bytes of
/// journal it has.
async fn enter(cx: Context, old: &str) -> Result<(Option<Box<dyn RawLock>>, u64), MigrateError> {
    let entries = cx.list(old).await?;
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    if has(MANIFEST) {
        return Err(MigrateError::NotOlder { old: old.to_owned() });
    }
    if !entries.iter().any(|entry| entry.name == WAL && entry.is_dir) {
        return Err(MigrateError::NoJournal { old: old.to_owned() });
    }
    // Whoever has it open made one; a copy may have none, and is given none.
    let lock = match has(LOCK) {
        true => cx.lock(&format!("{old}/{LOCK}")).await.map(Some),
        false => Ok(None),
    };
    let lock = match lock {
        Err(e) if e.kind == DiskErrorKind::Locked => {
            return Err(Error::Locked { dir: old.to_owned() }.into());
        }
        // Where nobody may write nobody has it open.
        Err(e) if e.kind == DiskErrorKind::ReadOnly => None,
        locked => locked?,
    };
    let segments = cx.list(&format!("{old}/{WAL}")).await?;
    Ok((lock, segments.iter().map(|entry| entry.len).sum()))
}
