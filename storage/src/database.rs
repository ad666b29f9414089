//! The database: the handle that its users hold.
//!
//! ```
//! use orloj_kernel::Context;
//! use orloj_storage::{Database, Durability, Error, Options, Retention};
//!
//! async fn example(cx: Context) -> Result<(), Error> {
//!     let (db, _) = Database::open(cx, Options::new("data", Durability::Strict)).await?;
//!     let fruit = match db.keyspace("fruit") {
//!         Ok(fruit) => fruit,
//!         Err(_) => db.create_keyspace("fruit", Retention::default()).await?,
//!     };
//!     let written = db.put(&fruit, b"apple", b"red".into()).await?;
//!
//!     let mut value = Vec::new();
//!     assert_eq!(db.get(&fruit, b"apple", &mut value).await?, Some(written));
//!     assert_eq!(value, b"red");
//!
//!     let snapshot = db.snapshot()?;
//!     db.delete(&fruit, b"apple").await?;
//!     let mut cursor = db.cursor(&fruit, (..).into(), &snapshot)?;
//!     while let Some(item) = cursor.next().await? {
//!         assert_eq!((item.key, item.value), (&b"apple"[..], &b"red"[..]));
//!     }
//!     db.close().await
//! }
//! # let mut sim = orloj_sim::Simulation::new(orloj_sim::Config::seed(1));
//! # let cx = sim.idle_host("node");
//! # sim.run(cx, example(cx)).expect("the world goes on").expect("nothing fails");
//! ```
//!
//! # Two ways to ask
//!
//! What is in memory is answered by a plain call: `try_get`, `try_put`, `try_next`. They touch no
//! executor and box no future. What they cannot answer at once is a [`Pause`](crate::Pause); after
//! [`Database::resolve`] the same can be asked again. `get`, `put` and the other async methods do
//! just that, and wait until what was written is as safe as [`Durability`](crate::Durability)
//! promises.
//!
//! # Errors
//!
//! Unless a method says otherwise: [`Error::Closed`] after [`Database::close`]; [`Error::Disk`] and
//! [`Error::Corrupt`] if something that is needed cannot be read; for writes [`Error::ReadOnly`]
//! while the disk takes none, and an error whose [`Verdict`](crate::Verdict) is to halt once a sync
//! has failed: then only reads go on.

mod ask;
mod compact;
mod content;
mod copy;
mod cursor;
mod files;
mod keeper;
mod keyspaces;
mod load;
mod open;
mod read;
mod redo;
mod sole;
#[cfg(test)]
mod tests;
mod transaction;
mod write;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use orloj_kernel::{Context, Instant, mutant};

pub use content::Content;
pub(crate) use content::ContentHash;
pub(crate) use copy::Copied;
pub use cursor::{Cursor, KeyRange};
pub use keyspaces::Keyspace;
pub use redo::Difference;
pub use sole::{Batch, Due, Newest};
pub use transaction::{Locked, Transaction};
pub use write::{Assigned, Value};

use files::Files;

use crate::{
    Error, Lsn, Options,
    cache::Counters,
    checkpoint::Checkpointed,
    snapshots::Snapshot,
    tree::Tree,
    txn::{Terms, single::Aborts},
};

/// An open database. Clones are the same one; it lives until the last is dropped, and is better
/// closed before.
#[derive(Clone, Debug)]
pub struct Database(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cx: Context,
    options: Options,
    tree: Arc<Tree>,
    /// What there is of files; `None` in memory.
    files: Option<Files>,
    clock: Clock,
    aborts: Aborts,
    closed: AtomicBool,
}

/// The database's time. It starts where history ended, or at the host's time if that is later, and
/// goes as the host's monotonic clock does: a wall clock that jumps does not move it.
#[derive(Clone, Copy, Debug)]
struct Clock {
    base: u64,
    at: Instant,
}

impl Database {
    fn tree(&self) -> &Arc<Tree> {
        &self.0.tree
    }

    #[inline]
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.0.closed.load(Relaxed) { Err(Error::Closed) } else { Ok(()) }
    }

    /// The database's time in Unix ms. It never goes back, and rests on the host's clock as it was
    /// when the database was opened.
    pub fn now(&self) -> u64 {
        self.0.now()
    }

    /// How it was opened.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Why single shots came to nothing so far, counted.
    pub fn aborts(&self) -> &Aborts {
        &self.0.aborts
    }

    /// What the cache holds, and what came of those who asked it. `None` in memory, where
    /// everything stays.
    pub fn cache(&self) -> Option<Counters> {
        self.0.files.as_ref().map(|files| files.engine.cache().counters())
    }

    /// Sets the cache's budget, in bytes, for as long as the database is open. What is too much
    /// leaves memory at once, or when a checkpoint has written it.
    ///
    /// # Errors
    /// [`Error::Options`] below 64 pages; [`Error::Closed`].
    pub fn set_cache_bytes(&self, bytes: u64) -> Result<(), Error> {
        self.check_open()?;
        Options { cache_bytes: bytes, ..self.0.options.clone() }.check()?;
        if let Some(files) = &self.0.files {
            files.set_cache(bytes);
        }
        Ok(())
    }

    /// From which version on history was taken back, each time that a disk took no write; the
    /// versions behind it were given again.
    pub fn taken_back(&self) -> Vec<Lsn> {
        self.tree().snapshots().taken_back()
    }

    fn terms(&self) -> Terms {
        Terms { now: self.now(), deadline: self.0.cx.now() + self.0.options.lock_wait }
    }

    /// What can be read now, for as long as the snapshot is held. Takes about 40 ns and allocates
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        self.check_open()?;
        if mutant!(self.0.cx, "snapshot.shows_what_is_not_durable") {
            return self.newest_snapshot();
        }
        Ok(self.tree().snapshot())
    }

    /// What could be read at version `at`. Whether a keyspace still keeps that version is told when
    /// it is read: see [`Error::HistoryTrimmed`].
    ///
    /// # Errors
    /// [`Error::StillToCome`].
    pub fn snapshot_at(&self, at: Lsn) -> Result<Snapshot, Error> {
        self.check_open()?;
        let newest = self.tree().tail().visible();
        match at <= newest {
            true => Ok(self.tree().snapshots().at(at)),
            false => Err(Error::StillToCome { asked: at, newest }),
        }
    }

    /// Waits until what was assigned survives a crash, and says which version it has.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] if the disk took no write and it was taken back; [`Error::InDoubt`].
    pub async fn durable(&self, assigned: Assigned) -> Result<Lsn, Error> {
        if let Some(files) = &self.0.files {
            files.writer.durable(assigned.version, assigned.taken_back).await?;
        }
        Ok(assigned.version)
    }

    /// Writes a checkpoint: the state at one version, after which the journal before it is not
    /// needed any more. Writers go on meanwhile. Checkpoints also come by themselves: see
    /// [`Options::checkpoint_bytes`] and [`Options::checkpoint_every`].
    ///
    /// `None` in memory, where there is nothing to write.
    ///
    /// # Errors
    /// It was abandoned and can be tried again; if the error's verdict is to halt, a sync failed.
    pub async fn checkpoint(&self) -> Result<Option<Checkpointed>, Error> {
        self.check_open()?;
        match &self.0.files {
            Some(files) => files.checkpoint().await.map(Some),
            None => Ok(None),
        }
    }

    /// Makes everything written so far durable, writes a checkpoint and ends the database, for all
    /// clones. Whatever is
    /// asked of it afterwards is [`Error::Closed`].
    ///
    /// # Errors
    /// What could not be written or synced; it is closed all the same.
    pub async fn close(self) -> Result<(), Error> {
        if self.0.closed.swap(true, Relaxed) {
            return Err(Error::Closed);
        }
        self.tree().tail().close(Error::Closed);
        match &self.0.files {
            Some(files) => files.shut().await,
            None => Ok(()),
        }
    }
}

impl Shared {
    fn now(&self) -> u64 {
        self.clock.now(&self.cx)
    }
}

impl Clock {
    fn now(&self, cx: &Context) -> u64 {
        let passed = cx.now().since(self.at).as_millis();
        self.base.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(files) = &self.files {
            files.let_go();
        }
    }
}
