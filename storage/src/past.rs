//! The past of a database, for reading only: its state as the oldest generation has it, and the
//! records of the journal behind that, one after the other.
//!
//! What is offered is records throughout: the state that the journal starts from is given as
//! records that make it, so whoever can apply records needs nothing else.

use orloj_kernel::DiskErrorKind;

use crate::{
    Database, Error, Fault, KeyspaceId, Lsn,
    backup::Moment,
    catalogue::Catalogue,
    engine::Hold,
    journal::{DatabaseId, History, Origin, follow, inspect},
    page::{Held, InnerPage, Leaf, PageFault, PagePtr},
    pager::Pager,
    record::{Op, ops},
    recover::{WAL, read_generation},
    superblock::Superblock,
    verify::Offline,
    vlog::ValueLog,
    writer::Kept,
};

/// Bytes of the state that are given in one record, roughly.
const PIECE: usize = 1 << 20;

/// A record of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past<'a> {
    /// Its version. All that make the state which the journal starts from have that state's.
    pub lsn: Lsn,
    /// Whether it is one of those.
    pub is_base: bool,
    /// Operations: see [`record`](crate::record). None of them loads a tree.
    pub record: &'a [u8],
}

/// Walks the past of a database.
#[derive(Debug)]
pub struct PastReader {
    origin: DatabaseId,
    base: Option<Superblock>,
    /// Trees that are left of the state: their roots, and pages of the first of them.
    trees: Vec<Tree>,
    pages: Vec<PagePtr>,
    pager: Option<Pager>,
    values: ValueLog,
    /// Whether the state was begun.
    is_begun: bool,
    history: History,
    end: Lsn,
    /// What is given.
    record: Vec<u8>,
    /// Records of the frame that was read, as they are left.
    frame: Vec<(Lsn, Vec<u8>)>,
    /// What keeps all of it there meanwhile.
    _guard: Guard,
}

#[derive(Debug)]
struct Tree {
    keyspace: KeyspaceId,
    root: Option<PagePtr>,
}

/// What keeps a past there while it is read.
#[derive(Debug)]
enum Guard {
    Offline { _locked: Box<Offline> },
    Online { _hold: Option<Hold>, _kept: Kept },
}

/// Adds an operation to a record.
fn add(op: Op<'_>, record: &mut Vec<u8>) {
    let is_first = record.is_empty();
    op.write(record, is_first);
}

impl Offline {
    /// The past of the database, up to what an opening would find. Takes the lock with it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if no generation is whole; [`Error::Journal`] for the first reason for
    /// which the journal would not open.
    pub async fn past(mut self) -> Result<PastReader, Error> {
        let (cx, dir) = (self.cx, format!("{}/{WAL}", self.dir));
        let database = self.manifest.database;
        let blocks = self.found.other.iter().chain(&self.found.newest).copied();
        let mut first = None;
        for block in blocks.map(Some).chain([None]) {
            let catalogue = match (block, &self.pager) {
                (Some(block), Some(pager)) => match read_generation(pager, &block).await {
                    Ok((catalogue, _)) => catalogue,
                    Err(error) => {
                        first.get_or_insert(error);
                        continue;
                    }
                },
                // Before the first checkpoint there is the whole journal.
                (None, _) if self.found.newest.is_none() => Catalogue::default(),
                _ => continue,
            };
            let lsn = block.map_or(Lsn(0), |block| block.lsn);
            let origin = Origin { database: Some(database), from: lsn.next() };
            let mut judge = |_: Lsn, record: &[u8]| ops(record).all(|op| op.is_ok());
            let last = match inspect(cx, &dir, origin, &mut judge).await {
                Ok(recovery) => recovery.last.max(lsn),
                Err(error) => {
                    first.get_or_insert(error.into());
                    continue;
                }
            };
            let history = match last > lsn {
                true => follow(cx, &dir, origin, last.next()).await?,
                false => History::none(cx, &dir, last.next()),
            };
            let (pager, values) = (self.pager.take(), ValueLog::new(cx, &self.dir, database));
            let guard = Guard::Offline { _locked: Box::new(self) };
            let end = last;
            return Ok(PastReader::new(
                database, block, &catalogue, pager, values, history, end, guard,
            ));
        }
        Err(first.unwrap_or_else(|| Error::NoDatabase { dir: self.dir.clone() }))
    }
}

impl Database {
    /// The past of the database, from its newest generation up to what is durable now. Neither is
    /// taken away while it is read; writers go on. `None` in memory, where there is none.
    ///
    /// # Errors
    /// As offline.
    pub async fn past(&self) -> Result<Option<PastReader>, Error> {
        self.check_open()?;
        let Some(engine) = self.engine() else { return Ok(None) };
        let cx = self.cx();
        let kept = self.keep_journal(Lsn(0)).await;
        let hold = engine.hold();
        let block = hold.as_ref().map(|hold| *hold.superblock());
        let end = self.durable_version();
        let (dir, database) = (&engine.options.dir, engine.manifest.database);
        let pager = match Pager::open_to_read(cx, dir, database).await {
            Err(e) if e.kind == DiskErrorKind::NotFound => None,
            opened => Some(opened?),
        };
        let catalogue = match (&block, &pager) {
            (Some(block), Some(pager)) => read_generation(pager, block).await?.0,
            _ => Catalogue::default(),
        };
        let from = block.map_or(Lsn(0), |block| block.lsn).next();
        kept.move_to(from);
        let wal = format!("{dir}/{WAL}");
        let origin = Origin { database: Some(database), from };
        let history = match end >= from {
            true => follow(cx, &wal, origin, end.next()).await?,
            false => History::none(cx, &wal, from),
        };
        let values = ValueLog::new(cx, dir, database);
        let guard = Guard::Online { _hold: hold, _kept: kept };
        let end = end.max(from.previous());
        Ok(Some(PastReader::new(database, block, &catalogue, pager, values, history, end, guard)))
    }
}

impl PastReader {
    #[expect(clippy::too_many_arguments, reason = "the parts of what it reads, put together once")]
    fn new(
        origin: DatabaseId,
        base: Option<Superblock>,
        catalogue: &Catalogue,
        pager: Option<Pager>,
        values: ValueLog,
        history: History,
        end: Lsn,
        guard: Guard,
    ) -> PastReader {
        let mut record = Vec::new();
        for keyspace in &catalogue.keyspaces {
            let create =
                Op::Create { keyspace: keyspace.id, name: &keyspace.name, keep: keyspace.keep };
            add(create, &mut record);
        }
        if let Some(block) = base {
            add(Op::Clock(block.clock), &mut record);
            add(Op::Applied(block.applied), &mut record);
        }
        let trees = catalogue.keyspaces.iter().rev().map(|keyspace| Tree {
            keyspace: keyspace.id,
            // The last is what the keyspace holds; those before are what older versions held.
            root: keyspace.roots.last().map(|(_, root)| *root),
        });
        PastReader {
            origin,
            base,
            trees: trees.collect(),
            pages: Vec::new(),
            pager,
            values,
            is_begun: false,
            history,
            end,
            record,
            frame: Vec::new(),
            _guard: guard,
        }
    }

    /// The database it is of.
    pub fn origin(&self) -> DatabaseId {
        self.origin
    }

    /// The state that the journal starts from.
    pub fn base(&self) -> Moment {
        let block = self.base.as_ref();
        let (version, time) = block.map_or((Lsn(0), 0), |block| (block.lsn, block.clock));
        Moment { version, time }
    }

    /// The version of the last record.
    pub fn end(&self) -> Lsn {
        self.end
    }

    /// The next record.
    ///
    /// # Errors
    /// What cannot be read.
    pub async fn next(&mut self) -> Result<Option<Past<'_>>, Error> {
        let lsn = self.base().version;
        if !self.is_begun {
            self.is_begun = true;
            if !self.record.is_empty() {
                return Ok(Some(Past { lsn, is_base: true, record: &self.record }));
            }
        }
        self.record.clear();
        while self.record.len() < PIECE && self.piece().await? {}
        if !self.record.is_empty() {
            return Ok(Some(Past { lsn, is_base: true, record: &self.record }));
        }
        if self.frame.is_empty() && self.history.frame().await? {
            let records = self.history.records();
            self.frame = records.map(|(lsn, record)| (lsn, record.to_vec())).collect();
            self.frame.reverse();
        }
        let Some((lsn, record)) = self.frame.pop() else { return Ok(None) };
        self.record = record;
        self.spell_out().await?;
        Ok(Some(Past { lsn, is_base: false, record: &self.record }))
    }

    /// Adds another page of the state; whether there was one.
    async fn piece(&mut self) -> Result<bool, Error> {
        let Some(tree) = self.trees.last_mut() else { return Ok(false) };
        if let Some(root) = tree.root.take() {
            self.pages.push(root);
        }
        let keyspace = tree.keyspace;
        match self.pages.pop() {
            Some(page) => self.page(keyspace, page).await?,
            None => drop(self.trees.pop()),
        }
        Ok(true)
    }

    /// Says of a record that loads a tree what is in it.
    async fn spell_out(&mut self) -> Result<(), Error> {
        let is_load = |op: &Op<'_>| matches!(op, Op::Load { .. });
        if !ops(&self.record).flatten().any(|op| is_load(&op)) {
            return Ok(());
        }
        let record = std::mem::take(&mut self.record);
        for op in ops(&record).map_while(Result::ok) {
            if let Op::Load { keyspace, root, .. } = op {
                add(Op::Clear(keyspace), &mut self.record);
                self.pages.push(root);
                while let Some(page) = self.pages.pop() {
                    self.page(keyspace, page).await?;
                }
            } else {
                add(op, &mut self.record);
            }
        }
        Ok(())
    }

    async fn page(&mut self, keyspace: KeyspaceId, ptr: PagePtr) -> Result<(), Error> {
        let Some(pager) = &self.pager else {
            let what = Fault::Missing;
            let file = crate::pager::DATA_PAGES.to_owned();
            return Err(Error::Corrupt(Box::new(crate::Corrupt {
                file,
                offset: 0,
                what,
                keys: None,
            })));
        };
        let (header, image) = pager.read(ptr).await?;
        let senseless = || pager.corrupt(ptr, PageFault::Senseless, None);
        if header.keyspace != keyspace {
            return Err(senseless());
        }
        if header.level > 0 {
            let below = InnerPage::read(&image, |page| {
                page.children.iter().rev().map(|(_, ptr)| *ptr).collect::<Vec<_>>()
            });
            self.pages.extend(below.ok_or_else(senseless)?);
            return Ok(());
        }
        let leaf = Leaf::read(image).ok_or_else(senseless)?;
        let mut key = leaf.prefix().to_vec();
        for (at, entry) in leaf.entries(0..leaf.count()).enumerate() {
            // Newest first; a key whose versions go on from the leaf before was given there.
            let is_older = at > 0 && leaf.is_same_key(at)
                || at == 0 && {
                    let lower = leaf.lower_fence();
                    lower.version < crate::page::NEWEST
                        && lower.key == [leaf.prefix(), entry.suffix].concat()
                };
            if is_older {
                continue;
            }
            key.truncate(leaf.prefix_len());
            key.extend_from_slice(entry.suffix);
            let far;
            let value = match entry.held {
                Held::Tombstone => continue,
                Held::Value(value) => value,
                Held::Pointer(pointer) => {
                    far = self.values.read(pointer, keyspace, &key, entry.version).await?;
                    &far[..]
                }
                Held::Memory(_) => return Err(senseless()),
            };
            let put = Op::Put { keyspace, key: &key, value, deadline: entry.deadline };
            add(put, &mut self.record);
        }
        Ok(())
    }
}
