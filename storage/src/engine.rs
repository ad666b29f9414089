//! The parts of an open database, and what those who wait for a page, a value or room may ask.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orloj_kernel::{Context, sometimes};

use crate::{
    Error, JournalError, KeyspaceId, Lsn, Options,
    cache::Cache,
    journal::{Origin, follow},
    manifest::Manifest,
    page::{Claim, PagePtr, ValuePointer},
    pager::{Bits, Pager},
    record::{Op, ops},
    recover::WAL,
    superblock::Superblock,
    tree::{Attempt, Miss, Pause, Tree},
    vlog::{Segments, ValueLog},
};

/// An open database, but for the writing ends of its logs.
#[derive(Debug)]
pub struct Engine {
    pub(crate) cx: Context,
    /// As it was opened, with what was fixed when the database was made.
    pub(crate) options: Options,
    pub(crate) manifest: Manifest,
    pub(crate) tree: Arc<Tree>,
    pub(crate) pager: Pager,
    pub(crate) values: ValueLog,
    pub(crate) segments: Segments,
    pub(crate) cache: Cache,
    pub(crate) roots: Mutex<Roots>,
}

/// What is on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Roots {
    /// The newest generation; `None` before the first checkpoint.
    pub(crate) newest: Option<Superblock>,
    /// The number of the next.
    pub(crate) next: u64,
}

impl Roots {
    /// The pages to which a superblock refers itself.
    pub(crate) fn pages(&self) -> impl Iterator<Item = PagePtr> {
        self.newest.into_iter().flat_map(|block| [block.catalogue, block.space])
    }
}

impl Engine {
    /// The tree.
    pub fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// What the database is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What is in memory.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The file of pages.
    pub fn pager(&self) -> &Pager {
        &self.pager
    }

    /// The value log.
    pub fn values(&self) -> &ValueLog {
        &self.values
    }

    /// How much of each value segment is dead.
    pub fn segments(&self) -> &Segments {
        &self.segments
    }

    /// The superblock of the newest generation; `None` before the first checkpoint.
    pub fn newest(&self) -> Option<Superblock> {
        self.roots().newest
    }

    pub(crate) fn roots(&self) -> MutexGuard<'_, Roots> {
        self.roots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads the page that is missed into its place.
    ///
    /// Returns whether there was room for it within the budget. It is there in either case, for
    /// somebody waits for it; if there was not, a checkpoint is due.
    ///
    /// # Errors
    /// [`Error::Disk`] if the device fails, [`Error::Corrupt`], which names the keys that cannot be
    /// served, if the page is damaged.
    pub async fn load(&self, miss: Miss) -> Result<bool, Error> {
        self.watch();
        let image = match self.pager.load(&miss).await {
            Ok(image) => image,
            // It moved while it was read: then its old place may hold anything by now.
            Err(_) if !miss.is_current() => return Ok(true),
            Err(error) => return Err(error),
        };
        let (ptr, keys) = (miss.ptr(), miss.range());
        match miss.install(image) {
            Ok(Some(node)) => Ok(self.cache.loaded(node)),
            Ok(None) => Ok(true),
            Err(fault) => Err(self.pager.corrupt(ptr, fault, keys)),
        }
    }

    /// Asks the tree until there is an answer, loading what is missed. What was loaded for it stays
    /// until then.
    ///
    /// # Errors
    /// [`Pause::Failed`], with an error of [`Engine::load`] too, and whatever else the tree has to
    /// wait for; never [`Pause::Miss`].
    pub async fn answer<T>(&self, mut ask: impl FnMut() -> Attempt<T>) -> Attempt<T> {
        let mut pin = None;
        loop {
            match ask() {
                Err(Pause::Miss(miss)) => {
                    pin.get_or_insert_with(|| self.cache.pin());
                    self.load(miss).await?;
                }
                answer => return answer,
            }
        }
    }

    /// The value that `at` refers to, of this version of this key, out of memory or the value log.
    ///
    /// # Errors
    /// As [`ValueLog::read`].
    pub async fn value(
        &self,
        at: ValuePointer,
        keyspace: KeyspaceId,
        key: &[u8],
        version: Lsn,
    ) -> Result<Arc<[u8]>, Error> {
        if let Some(value) = self.cache.block(at) {
            return Ok(value);
        }
        let value: Arc<[u8]> = self.values.read(at, keyspace, key, version).await?.into();
        self.cache.keep_block(at, value.clone());
        Ok(value)
    }

    /// Shows the cache the nodes that came into being, and the value log what fell out of use.
    pub fn watch(&self) {
        self.cache.born(self.tree.take_born());
        for (segment, bytes) in self.tree.take_dead_values() {
            self.segments.die(segment, bytes);
        }
    }

    /// Whether everything in memory is within the budget, or can be made to be. If not, a
    /// checkpoint is due, and writers should wait for it.
    pub fn has_room(&self) -> bool {
        self.watch();
        let fits = self.cache.measure();
        sometimes!(self.cx, !fits, "cache: everything is dirty or in use");
        fits
    }

    /// Finds out what the journal loads between the two generations on disk, if this process does
    /// not know it yet: should the newest turn out to be damaged, the one before needs those pages
    /// as they were. To be called before any unit is given away.
    pub(crate) async fn know_loads(&self) {
        let space = &self.pager.space;
        if space.knows_loads() {
            return;
        }
        let newest = self.newest().filter(|block| block.previous_lsn < block.lsn);
        let loads = match newest {
            Some(block) => self.loads_before(&block).await,
            None => Ok(Vec::new()),
        };
        // Without that journal there is no going back to the older generation, whoever kept what.
        space.loaded_before(&loads.unwrap_or_default());
    }

    async fn loads_before(&self, newest: &Superblock) -> Result<Vec<Claim>, JournalError> {
        let dir = format!("{}/{WAL}", self.options.dir);
        let from = newest.previous_lsn.next();
        let origin = Origin { database: Some(self.manifest.database), from };
        let mut history = follow(self.cx, &dir, origin, newest.lsn.next()).await?;
        let mut claims = Vec::new();
        while history.frame().await? {
            for op in history.records().flat_map(|(_, record)| ops(record)) {
                if let Ok(Op::Load { units, .. }) = op {
                    claims.extend(Claim::decode(units));
                }
            }
        }
        sometimes!(self.cx, !claims.is_empty(), "engine: the older generation needs a load");
        Ok(claims)
    }

    /// Keeps what the newest generation consists of until the hold is let go: its pages, its value
    /// segments, and the journal behind it. `None` before the first checkpoint.
    pub fn hold(self: &Arc<Engine>) -> Option<Hold> {
        let roots = self.roots();
        let superblock = roots.newest?;
        let (number, units) = self.pager.space.hold();
        self.segments.hold();
        drop(roots);
        Some(Hold { engine: self.clone(), superblock, number, units })
    }
}

/// A generation that stays, for a backup or an export.
#[derive(Debug)]
pub struct Hold {
    engine: Arc<Engine>,
    superblock: Superblock,
    number: u64,
    units: Bits,
}

impl Hold {
    /// Its superblock. The journal must be kept from the version after its own.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The units it uses.
    pub fn units(&self) -> &Bits {
        &self.units
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.engine.pager.space.let_go(self.number);
        self.engine.segments.let_go();
    }
}
