//! Opening a database.

use std::sync::Arc;

use orloj_kernel::{Context, DiskErrorKind, clock_bound};

use super::{Clock, Database, Files, Shared, keeper, keyspaces};
use crate::{
    Durability, Error, Lsn, Options,
    journal::{JournalConfig, Log, Recovery},
    record::{Op, ops},
    tree::Tree,
    txn::single::Aborts,
    writer::Writer,
};

/// What opening a database found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// What the journal said.
    pub journal: Recovery,
}

impl Database {
    /// Opens the database in `options.dir`, or makes one there.
    ///
    /// # Errors
    /// [`Error::Options`]; [`Error::Locked`] if another process has it; errors of the journal if
    /// its history is damaged. The directory is then as it was, but for files that hold nothing.
    ///
    /// # Panics
    /// For [`Durability::InMemory`]: see [`Database::in_memory`].
    pub async fn open(cx: Context, options: Options) -> Result<(Database, Opened), Error> {
        options.check()?;
        assert!(options.durability != Durability::InMemory, "a database in memory has no files");
        let dir = options.dir.clone();
        cx.create_dir(&format!("{dir}/wal")).await?;
        let lock = match cx.lock(&format!("{dir}/LOCK")).await {
            Err(e) if e.kind == DiskErrorKind::Locked => return Err(Error::Locked { dir }),
            locked => locked?,
        };
        cx.sync_dir(&dir).await?;
        cx.sync_dir("").await?;
        let tree = Arc::new(Tree::new(&options));
        let config = JournalConfig {
            first_bytes: (4 << 20).min(options.segment_bytes),
            segment_bytes: options.segment_bytes,
            ..JournalConfig::new(format!("{dir}/wal"))
        };
        let (log, journal) =
            Log::open(cx, config, &mut |lsn, record| apply(&tree, lsn, record)).await?;
        tree.tail().recovered(log.next().previous());
        let writer = Writer::start(cx, &options, &tree, log, lock);
        let db = Database::start(cx, options, tree, Some(Files { writer }), 0);
        keyspaces::make_own(&db).await?;
        Ok((db, Opened { journal }))
    }

    /// A database without files. It is gone when the last handle is.
    ///
    /// # Errors
    /// [`Error::Options`].
    pub fn in_memory(cx: Context, options: Options) -> Result<Database, Error> {
        let options = Options { durability: Durability::InMemory, ..options };
        options.check()?;
        let tree = Arc::new(Tree::new(&options));
        let db = Database::start(cx, options, tree, None, 0);
        keyspaces::try_make_own(&db).map_err(|pause| match pause {
            crate::Pause::Failed(error) => error,
            pause => unreachable!("everything is in memory: {pause:?}"),
        })?;
        Ok(db)
    }

    /// `told` is the latest time that history knows of.
    fn start(
        cx: Context,
        options: Options,
        tree: Arc<Tree>,
        files: Option<Files>,
        told: u64,
    ) -> Database {
        // The host's clock counts at this moment only, and not where it would turn time back.
        let _tolerated = clock_bound!(cx, "storage: the wall clock at opening", 1_000_000_000);
        let base = told.max(tree.moments().now()).max(cx.wall().millis());
        let clock = Clock { base, at: cx.now() };
        let closed = false.into();
        let aborts = Aborts::default();
        let db = Database(Arc::new(Shared { cx, options, tree, files, clock, aborts, closed }));
        cx.spawn("storage-keeper", keeper::run(cx, Arc::downgrade(&db.0)));
        db
    }
}

/// Applies a record of history; whether it made sense.
fn apply(tree: &Tree, lsn: Lsn, record: &[u8]) -> bool {
    let Ok(ops): Result<Vec<Op<'_>>, _> = ops(record).collect() else { return false };
    let batch: Vec<(Lsn, Op<'_>)> = ops.into_iter().map(|op| (lsn, op)).collect();
    tree.apply_sorted(&mut &batch[..]).is_ok()
}
