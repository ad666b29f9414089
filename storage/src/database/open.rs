//! Opening a database.

use std::sync::{Arc, Weak};

use orloj_kernel::{Context, clock_bound};

use super::{Clock, Database, Files, Shared, keeper, keyspaces};
use crate::{
    Durability, Error, Options,
    recover::{self, Opened, Report},
    tree::{Pause, Tree},
    txn::single::Aborts,
    unfinished,
    writer::Writer,
};

impl Database {
    /// Opens the database in `options.dir`, or makes one there. What was fixed when it was made
    /// counts, whatever `options` say.
    ///
    /// # Errors
    /// [`Error::Options`]; [`Error::Locked`] if another process has it; [`Error::NotOurs`],
    /// [`Error::Manifest`], [`Error::Superblock`] and errors of the journal say what is wrong with
    /// the directory, which then is as it was, but for files that hold nothing.
    ///
    /// # Panics
    /// For [`Durability::InMemory`]: see [`Database::in_memory`].
    pub async fn open(cx: Context, options: Options) -> Result<(Database, Report), Error> {
        Database::start(cx, recover::open(cx, &options, None).await?).await
    }

    /// Makes a database in `options.dir`, which is empty or holds what an earlier attempt left, and
    /// which no opening takes for a database before [`Database::publish`]. So a crash half-way
    /// leaves what the same can be tried with again.
    ///
    /// # Errors
    /// [`Error::Options`], [`Error::NotEmpty`], [`Error::Locked`]; whatever the disk refuses.
    ///
    /// # Panics
    /// For [`Durability::InMemory`].
    pub async fn make(cx: Context, options: Options) -> Result<Database, Error> {
        Ok(Database::start(cx, recover::make(cx, &options).await?).await?.0)
    }

    /// Of one that is being made: all that was written is durable, and the directory is a database
    /// from here on. It can be used on, or closed.
    ///
    /// # Errors
    /// What could not be written or synced.
    pub async fn publish(&self) -> Result<(), Error> {
        self.durable(self.last_assigned()).await?;
        let Some(files) = &self.0.files else { return Ok(()) };
        let engine = &files.engine;
        Ok(unfinished::finish(self.0.cx, &engine.options.dir, &engine.manifest).await?)
    }

    /// Has what was read from files go on.
    async fn start(cx: Context, opened: Opened) -> Result<(Database, Report), Error> {
        let Opened { engine, log, values, lock, report } = opened;
        let (options, tree) = (engine.options.clone(), Arc::clone(engine.tree()));
        let writer = Writer::start(cx, &options, &tree, log, lock);
        let files = Files::new(cx, engine, writer);
        let db = Database::assemble(cx, options, tree, Some(files), report.clock);
        cx.spawn("storage-checkpoint", keeper::checkpoints(cx, db.weak(), values));
        keyspaces::make_own(&db).await?;
        cx.spawn("storage-keeper", keeper::run(cx, db.weak()));
        Ok((db, report))
    }

    /// A database without files. It is gone when the last handle is.
    ///
    /// # Errors
    /// [`Error::Options`].
    pub fn in_memory(cx: Context, options: Options) -> Result<Database, Error> {
        let options = Options { durability: Durability::InMemory, ..options };
        options.check()?;
        let tree = Arc::new(Tree::new(&options));
        let db = Database::assemble(cx, options, tree, None, 0);
        keyspaces::try_make_own(&db).map_err(|pause| match pause {
            Pause::Failed(error) => error,
            pause => unreachable!("everything is in memory: {pause:?}"),
        })?;
        cx.spawn("storage-keeper", keeper::run(cx, db.weak()));
        Ok(db)
    }

    /// A database without files and without keyspaces, not even those of the engine: what it holds
    /// comes by [`Database::redo`].
    ///
    /// # Errors
    /// [`Error::Options`].
    pub fn blank(cx: Context, options: Options) -> Result<Database, Error> {
        let options = Options { durability: Durability::InMemory, sweeps: false, ..options };
        options.check()?;
        let tree = Arc::new(Tree::new(&options));
        Ok(Database::assemble(cx, options, tree, None, 0))
    }

    /// `told` is the latest time that history knows of.
    fn assemble(
        cx: Context,
        options: Options,
        tree: Arc<Tree>,
        files: Option<Files>,
        told: u64,
    ) -> Database {
        // The host's clock counts at this moment only, and not where it would turn time back.
        let _tolerated = clock_bound!(cx, "storage: the wall clock at opening", 1_000_000_000);
        let clock = Clock { base: told.max(cx.wall().millis()), at: cx.now() };
        let (aborts, closed) = (Aborts::default(), false.into());
        Database(Arc::new(Shared { cx, options, tree, files, clock, aborts, closed }))
    }

    fn weak(&self) -> Weak<Shared> {
        Arc::downgrade(&self.0)
    }
}
