//! What belongs to a backup, as bytes. `docs/src/engine-format.md` has the layout.

use std::fmt;

use crc32c::crc32c;

use super::{BackupError, Flaw, Target};
use crate::{
    Lsn,
    encoding::{Reader, write_bytes, write_leb},
    journal::DatabaseId,
    manifest::Manifest,
    superblock::Superblock,
};

/// The format of backups this release writes: major, minor.
pub(super) const FORMAT: (u16, u16) = (1, 0);
const MAGIC: &[u8; 8] = b"orlojbak";
/// What the names of inventories end in.
const NAME_END: &str = "-inventory";

/// A version, and when it was the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The version.
    pub version: Lsn,
    /// Unix ms, by the clock of the database.
    pub time: u64,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} (time {})", self.version, self.time)
    }
}

/// What an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Pages in a row, each behind all that it refers to; the catalogue and the units are the last
    /// of all.
    Pages,
    /// Bytes of a segment of the value log.
    Values {
        /// Its number.
        segment: u32,
        /// Where they begin in it.
        offset: u64,
    },
    /// Records of the journal, each behind its length.
    Journal {
        /// The position of the first.
        first: Lsn,
        /// And of the last.
        last: Lsn,
    },
}

/// An object of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name in the target.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Their CRC32C.
    pub sum: u32,
    /// What they are.
    pub part: Part,
}

/// What belongs to a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// Counts the backups of its target, from 1.
    pub number: u64,
    /// When it was taken, Unix ms.
    pub taken_at: u64,
    /// What the database is.
    pub manifest: Manifest,
    /// The generation it begins with.
    pub superblock: Superblock,
    /// The first version and time that it can be restored to.
    pub from: Moment,
    /// The last.
    pub to: Moment,
    /// All that it consists of: pages, values, journal, each in its order.
    pub objects: Vec<Object>,
}

impl Inventory {
    /// Its name in the target.
    pub fn name(&self) -> String {
        name_of(self.number)
    }

    /// The whole object.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&FORMAT.0.to_le_bytes());
        out.extend_from_slice(&FORMAT.1.to_le_bytes());
        let moments = [self.from, self.to].map(|at| [at.version.0, at.time]);
        let words = [self.number, self.taken_at].into_iter().chain(moments.into_iter().flatten());
        words.for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        write_bytes(&mut out, &self.manifest.encode());
        write_bytes(&mut out, &self.superblock.encode());
        write_leb(&mut out, self.objects.len() as u64);
        for Object { name, bytes, sum, part } in &self.objects {
            write_bytes(&mut out, name.as_bytes());
            write_leb(&mut out, *bytes);
            out.extend_from_slice(&sum.to_le_bytes());
            match part {
                Part::Pages => out.push(1),
                Part::Values { segment, offset } => {
                    out.push(2);
                    write_leb(&mut out, u64::from(*segment));
                    write_leb(&mut out, *offset);
                }
                Part::Journal { first, last } => {
                    out.push(3);
                    write_leb(&mut out, first.0);
                    write_leb(&mut out, last.0);
                }
            }
        }
        let sum = crc32c(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads it back. `name` is for errors.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] and [`BackupError::Newer`].
    pub fn decode(name: &str, object: &[u8]) -> Result<Inventory, BackupError> {
        let damaged = |what: Flaw| BackupError::damaged(name, what);
        let body = object.len().checked_sub(4).map(|at| object.split_at(at));
        let (body, sum) = body.ok_or_else(|| damaged(Flaw::Senseless))?;
        if Reader(sum).u32() != Some(crc32c(body)) {
            return Err(damaged(Flaw::Sum));
        }
        // Magic, major and checksum stay where they are in every format to come.
        let senseless = || damaged(Flaw::Senseless);
        let mut from = Reader(body.strip_prefix(MAGIC).ok_or_else(senseless)?);
        let major = from.u16().ok_or_else(senseless)?;
        if major != FORMAT.0 {
            return Err(BackupError::Newer { object: name.to_owned(), major });
        }
        let (number, taken_at, first, last, manifest, superblock) =
            head(&mut from).ok_or_else(senseless)?;
        let manifest = Manifest::decode(manifest).map_err(|e| damaged(e.into()))?;
        let superblock = Superblock::decode(superblock).map_err(|_| senseless())?;
        let objects = objects(&mut from).ok_or_else(senseless)?;
        let inventory =
            Inventory { number, taken_at, manifest, superblock, from: first, to: last, objects };
        match inventory.is_sane() {
            true => Ok(inventory),
            false => Err(damaged(Flaw::Misfit)),
        }
    }

    /// Whether it is in itself what it must be: nothing is missing, nothing doubled.
    fn is_sane(&self) -> bool {
        let Inventory { manifest, superblock, from, to, .. } = self;
        let mut next = superblock.lsn.next();
        let mut end = (0, 0);
        let rank = |part: &Part| match part {
            Part::Pages => 0,
            Part::Values { .. } => 1,
            Part::Journal { .. } => 2,
        };
        let fits = self.objects.iter().all(|object| match object.part {
            Part::Pages => true,
            Part::Values { segment, offset } => {
                let goes_on = (segment, offset) == end || segment > end.0 && offset == 0;
                end = (segment, offset.saturating_add(object.bytes));
                goes_on
            }
            Part::Journal { first, last } => {
                let goes_on = first == next && last >= first && last.0 < u64::MAX;
                next = Lsn(last.0.wrapping_add(1));
                goes_on
            }
        });
        fits && self.objects.is_sorted_by_key(|object| rank(&object.part))
            && self.objects.iter().all(|object| is_plain(&object.name))
            && manifest.database == superblock.database
            && from.version >= superblock.lsn
            && from.version <= to.version
            && from.time <= to.time
            && to.version == next.previous()
    }

    /// Bytes of its pages, values and journal.
    pub fn bytes(&self) -> (u64, u64, u64) {
        let sum = |of: fn(&Part) -> bool| {
            let objects = self.objects.iter().filter(|object| of(&object.part));
            objects.map(|object| object.bytes).sum()
        };
        (
            sum(|part| *part == Part::Pages),
            sum(|part| matches!(part, Part::Values { .. })),
            sum(|part| matches!(part, Part::Journal { .. })),
        )
    }

    /// The database it is of.
    pub fn database(&self) -> DatabaseId {
        self.manifest.database
    }
}

type Head<'a> = (u64, u64, Moment, Moment, &'a [u8], &'a [u8]);

fn head<'a>(from: &mut Reader<'a>) -> Option<Head<'a>> {
    let _minor = from.u16()?;
    let (number, taken_at) = (from.u64()?, from.u64()?);
    let moment = |from: &mut Reader<'a>| -> Option<Moment> {
        Some(Moment { version: Lsn(from.u64()?), time: from.u64()? })
    };
    let (first, last) = (moment(from)?, moment(from)?);
    Some((number, taken_at, first, last, from.bytes()?, from.bytes()?))
}

fn objects(from: &mut Reader<'_>) -> Option<Vec<Object>> {
    let mut objects = Vec::new();
    for _ in 0..from.leb()? {
        let name = std::str::from_utf8(from.bytes()?).ok()?.to_owned();
        let (bytes, sum) = (from.leb()?, from.u32()?);
        let part = match from.byte()? {
            1 => Part::Pages,
            2 => {
                let segment = u32::try_from(from.leb()?).ok().filter(|number| *number > 0)?;
                Part::Values { segment, offset: from.leb()? }
            }
            3 => Part::Journal { first: Lsn(from.leb()?), last: Lsn(from.leb()?) },
            _ => return None,
        };
        objects.push(Object { name, bytes, sum, part });
    }
    from.0.is_empty().then_some(objects)
}

/// Whether a name leads nowhere but into the target.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn name_of(number: u64) -> String {
    format!("{number:06}{NAME_END}")
}

/// The numbers of the backups in a target, newest first.
pub(super) async fn numbers(target: &dyn Target) -> Result<Vec<u64>, BackupError> {
    let names = target.list().await?;
    let number = |name: &String| -> Option<u64> {
        let number = name.strip_suffix(NAME_END)?.parse().ok()?;
        (name_of(number) == *name).then_some(number)
    };
    let mut numbers: Vec<u64> = names.iter().filter_map(number).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    Ok(numbers)
}

/// The inventory of that number.
pub(super) async fn read(target: &dyn Target, number: u64) -> Result<Inventory, BackupError> {
    let name = name_of(number);
    let damaged = |what: Flaw| BackupError::damaged(&name, what);
    let object = target.get(&name).await?.ok_or_else(|| damaged(Flaw::Missing))?;
    let inventory = Inventory::decode(&name, &object)?;
    match inventory.number == number {
        true => Ok(inventory),
        false => Err(damaged(Flaw::Misfit)),
    }
}

/// The bytes of an object, which are what the inventory says.
pub(super) async fn fetch(target: &dyn Target, of: &Object) -> Result<Vec<u8>, BackupError> {
    let damaged = |what: Flaw| BackupError::damaged(&of.name, what);
    let bytes = target.get(&of.name).await?.ok_or_else(|| damaged(Flaw::Missing))?;
    if bytes.len() as u64 != of.bytes {
        return Err(damaged(Flaw::Length { found: bytes.len() as u64, wanted: of.bytes }));
    }
    match crc32c(&bytes) == of.sum {
        true => Ok(bytes),
        false => Err(damaged(Flaw::Sum)),
    }
}
