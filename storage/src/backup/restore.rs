//! Making a database of a backup, as of any version or time that it reaches to.

use std::fmt;

use orloj_kernel::{Context, clock_bound, sometimes};

use super::{
    BackupError, Flaw, Inventory, Moment, Object, Part, Target,
    inventory::{fetch, numbers, read},
    pages::{Reseal, damaged},
    pieces::{has_load, records, time_of},
    place::Place,
};
use crate::{
    Lsn, Options,
    journal::{DatabaseId, Records},
    manifest::{Manifest, Schemas},
    superblock::Superblock,
    unfinished::check_empty,
    verify::{OnProgress, Progress, Stage},
    vlog::SegmentHead,
};

/// What a database is restored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The end of the newest backup.
    Newest,
    /// A version.
    Version(Lsn),
    /// The newest version known to have been written at a time (Unix ms, the clock of the database)
    /// or before it: never a later one.
    Time(u64),
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Point::Newest => f.write_str("the newest version"),
            Point::Version(version) => write!(f, "version {version}"),
            Point::Time(time) => write!(f, "time {time}"),
        }
    }
}

/// What a restore did, or would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The number of the backup it was made of.
    pub number: u64,
    /// The database that was copied.
    pub origin: DatabaseId,
    /// The new one; `None` if nothing was made.
    pub database: Option<DatabaseId>,
    /// The version of the base.
    pub base: Lsn,
    /// The version that was reached, and the latest time known of it.
    pub reached: Moment,
    /// Records of the journal that were added to the base.
    pub records: u64,
    /// Bytes of pages, values and records that were read.
    pub bytes: u64,
}

/// Makes a database in `options.dir`, which is empty, of the backup in `target`, as of `to`.
/// Nothing but `dir` and `segment_bytes` of the options counts. All that is used of the backup is
/// judged; with `dry_run` that is all that is done.
///
/// The new database has an identity of its own, and the versions, keyspaces and deadlines of the
/// one that was copied. It is opened as any other.
///
/// # Errors
/// [`BackupError`]. The directory holds no database then, and can be given again.
pub async fn restore(
    cx: Context,
    target: &dyn Target,
    options: &Options,
    to: Point,
    dry_run: bool,
    progress: OnProgress<'_>,
) -> Result<Restored, BackupError> {
    let inventory = choose(target, to).await?;
    let name = inventory.name();
    let own = Schemas::of_this_release(None);
    inventory.manifest.check_schemas(&own).map_err(|e| BackupError::damaged(&name, e))?;
    check_empty(cx, &options.dir).await?;
    let (pages, values, journal) = inventory.bytes();
    let totals = [pages, values, journal];
    let mut restore = Restore {
        target,
        inventory: &inventory,
        to,
        place: None,
        totals,
        done: [0; 3],
        records: 0,
        reached: Moment { version: inventory.superblock.lsn, time: inventory.superblock.clock },
    };
    restore.resolve().await?;
    let mut database = DatabaseId(0);
    if !dry_run {
        database = DatabaseId(u128::from(cx.entropy()) << 64 | u128::from(cx.entropy()));
        restore.place = Some(Place::begin(cx, options, database).await?);
    }
    let block = match restore.copy(database, progress).await {
        Ok(block) => block,
        Err(error) => {
            sometimes!(cx, !dry_run, "restore: one was given up");
            if let Some(place) = restore.place.take() {
                place.abandon().await;
            }
            return Err(error);
        }
    };
    let _tolerated = clock_bound!(cx, "restore: when it was made", 1_000_000_000);
    let created_at = cx.wall().millis();
    let restored = Restored {
        number: inventory.number,
        origin: inventory.database(),
        database: (!dry_run).then_some(database),
        base: inventory.superblock.lsn,
        reached: restore.reached,
        records: restore.records,
        bytes: restore.done.iter().sum(),
    };
    if let Some(place) = restore.place.take() {
        let manifest =
            Manifest { database, generation: 1, created_at, ..inventory.manifest.clone() };
        place.finish(&block, &manifest).await?;
    }
    Ok(restored)
}

/// The newest backup that reaches to that point.
async fn choose(target: &dyn Target, to: Point) -> Result<Inventory, BackupError> {
    let (mut newest, mut first_error) = (None, None);
    for number in numbers(target).await? {
        let inventory = match read(target, number).await {
            Ok(inventory) => inventory,
            // Who asks for the newest shall not be given an older one without a word.
            Err(error) if to == Point::Newest => return Err(error),
            Err(error @ BackupError::Damaged { .. }) => {
                first_error.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let (from, end) = (inventory.from, inventory.to);
        let reaches = match to {
            Point::Newest => true,
            Point::Version(at) => (inventory.superblock.lsn..=end.version).contains(&at),
            Point::Time(at) => (from.time..=end.time).contains(&at),
        };
        if reaches {
            return Ok(inventory);
        }
        newest.get_or_insert((from, end));
    }
    match (first_error, newest) {
        (Some(error), _) => Err(error),
        (None, Some((from, end))) => Err(BackupError::OutOfReach { asked: to, from, to: end }),
        (None, None) => Err(BackupError::None),
    }
}

/// A restore that is under way.
struct Restore<'a> {
    target: &'a dyn Target,
    inventory: &'a Inventory,
    to: Point,
    /// `None` if nothing is made.
    place: Option<Place<'a>>,
    /// Bytes of pages, values and journal, and how many are done.
    totals: [u64; 3],
    done: [u64; 3],
    records: u64,
    reached: Moment,
}

impl Restore<'_> {
    async fn copy(
        &mut self,
        database: DatabaseId,
        progress: OnProgress<'_>,
    ) -> Result<Superblock, BackupError> {
        // A dry run says of which pages it would make those of a database, and makes none.
        let mut pages = Some(Reseal::new(self.inventory.database(), database));
        let mut block = None;
        let mut last = "";
        let inventory = self.inventory;
        for object in &inventory.objects {
            let is_page = object.part == Part::Pages;
            if !is_page && let Some(pages) = pages.take() {
                block = Some(self.finish(pages, last)?);
            }
            last = &object.name;
            if self.is_over(object) {
                break;
            }
            let bytes = fetch(self.target, object).await?;
            let stage = match object.part {
                Part::Pages => {
                    let pages = pages.as_mut().expect("pages come first");
                    self.pages(object, bytes, pages).await?;
                    Stage::Pages
                }
                Part::Values { segment, offset } => {
                    self.values(object, segment, offset, bytes, database).await?;
                    Stage::Values
                }
                Part::Journal { first, last } => {
                    self.begin_journal().await?;
                    self.journal(object, first, last, bytes).await?;
                    Stage::Journal
                }
            };
            let at = stage as usize;
            self.done[at] += object.bytes;
            progress(Progress { stage, done: self.done[at], total: self.totals[at] });
        }
        if let Some(pages) = pages.take() {
            block = Some(self.finish(pages, last)?);
        }
        self.begin_journal().await?;
        Ok(block.expect("pages are over"))
    }

    fn finish(&self, pages: Reseal, last: &str) -> Result<Superblock, BackupError> {
        pages.finish(&self.inventory.superblock).map_err(damaged(last))
    }

    /// Whether an object holds only what is behind the point to be reached.
    fn is_over(&self, object: &Object) -> bool {
        match (object.part, self.to) {
            (Part::Journal { first, .. }, Point::Version(to)) => first > to,
            _ => false,
        }
    }

    async fn pages(
        &self,
        object: &Object,
        bytes: Vec<u8>,
        pages: &mut Reseal,
    ) -> Result<(), BackupError> {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (at, image) = pages.next(&mut rest).map_err(damaged(&object.name))?;
            if let Some(place) = &self.place {
                place.page(at, image).await?;
            }
        }
        Ok(())
    }

    async fn values(
        &mut self,
        object: &Object,
        segment: u32,
        offset: u64,
        mut bytes: Vec<u8>,
        database: DatabaseId,
    ) -> Result<(), BackupError> {
        if offset == 0 {
            let origin = self.inventory.database();
            let head = SegmentHead::decode(&bytes)
                .filter(|head| (head.number, head.database) == (segment, origin));
            let head = head.map(|head| SegmentHead { database, ..head }.encode());
            let place = head.as_ref().and_then(|head| bytes.get_mut(..head.len()));
            let (Some(head), Some(place)) = (&head, place) else {
                return Err(BackupError::damaged(&object.name, Flaw::Misfit));
            };
            place.copy_from_slice(head);
        }
        match &mut self.place {
            Some(place) => place.values(segment, offset, bytes).await,
            None => Ok(()),
        }
    }

    async fn begin_journal(&mut self) -> Result<(), BackupError> {
        let first = self.inventory.superblock.lsn.next();
        match &mut self.place {
            Some(place) if !place.has_journal() => place.journal(first).await,
            _ => Ok(()),
        }
    }

    async fn journal(
        &mut self,
        object: &Object,
        first: Lsn,
        last: Lsn,
        bytes: Vec<u8>,
    ) -> Result<(), BackupError> {
        let all = records(object, first, last, bytes)?;
        let mut wanted = Records::new();
        for (record, at) in all.iter().zip(first.0..) {
            if matches!(self.to, Point::Version(Lsn(to)) if at > to) {
                break;
            }
            if has_load(record) {
                return Err(BackupError::damaged(&object.name, Flaw::Load { version: Lsn(at) }));
            }
            wanted.push(|out| out.extend_from_slice(record));
            self.reached.version = Lsn(at);
            self.reached.time = self.reached.time.max(time_of(record).unwrap_or(0));
        }
        self.records += u64::from(wanted.count());
        match &mut self.place {
            Some(place) if !wanted.is_empty() => place.records(wanted).await,
            _ => Ok(()),
        }
    }

    /// Turns a time into a version.
    async fn resolve(&mut self) -> Result<(), BackupError> {
        let Point::Time(to) = self.to else { return Ok(()) };
        let mut found = self.inventory.from.version;
        for object in &self.inventory.objects {
            let Part::Journal { first, last } = object.part else { continue };
            let all = records(object, first, last, fetch(self.target, object).await?)?;
            for (record, at) in all.iter().zip(first.0..) {
                match time_of(record) {
                    Some(time) if time > to => {
                        self.to = Point::Version(found);
                        return Ok(());
                    }
                    Some(_) => found = Lsn(at),
                    None => {}
                }
            }
        }
        self.to = Point::Version(found);
        Ok(())
    }
}
