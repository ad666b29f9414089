//! Repair: a database that would not open, or that has lost something, opens again, and what was
//! lost is told.
//!
//! [`repair`] works on a directory that nobody has open. It looks for the generation from which
//! nothing is lost, the older one and its journal if need be. Where there is none it takes the
//! newest and leaves out what cannot be read: an empty leaf for keys, a tombstone for a value,
//! and of the journal all from the first lost record on. Then a generation is written of what is
//! left, in both superblocks, and one segment of journal behind it. What it replaces or cannot
//! explain goes to a folder in `lost`, with the manifest of before and after; nothing is deleted.
//!
//! Whole pages stay where they are, and new ones are written behind the last, so a power cut during
//! a repair leaves what was there, to be repaired again.

mod base;
mod folder;
mod loads;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use orloj_kernel::{Context, DiskErrorKind};

use base::{Base, choose};
use folder::Folder;
use loads::Tools;
use tree::Mender;

use crate::{
    Error, KeyspaceId, Lsn, Options,
    catalogue::{Catalogue, encode_space},
    journal::{DatabaseId, FIRST_FRAME, SegmentHeader},
    manifest::{self, MANIFEST, Manifest, ManifestError, Schemas},
    page::{PAGE_HEAD, UNIT},
    pager::{DATA_PAGES, Pager},
    recover::{WAL, read_space},
    superblock::{self, FORMAT, FlipError, Side, Superblock},
    verify::{Defect, Finding, Offline, OnProgress, Report},
    vlog::{Appender, FIRST_RECORD as VALUES_FIRST, SegmentUse, VLOG},
};

/// The directory in which repairs leave what they replaced.
pub const LOST: &str = "lost";

/// Something that was stored and is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Every key of a keyspace from the first up to the second, or to its end. What the journal
    /// has of them is there.
    Keys {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// The first.
        from: Vec<u8>,
        /// The first that is not concerned.
        to: Option<Vec<u8>>,
    },
    /// The value that a version of a key had. It counts as deleted at that version.
    Value {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// The key.
        key: Vec<u8>,
        /// The version.
        version: Lsn,
    },
    /// Records of the journal: whatever was written by them. The versions will be given again.
    Records {
        /// The first.
        from: Lsn,
        /// The last that anything tells of; `None` if nothing does, and perhaps there is none.
        to: Option<Lsn>,
    },
    /// The manifest: page size and inline threshold are the defaults now.
    Settings,
    /// Both superblocks: the position in a replicated log counts as 0.
    Superblocks,
}

/// What a repair found and did, or would do.
#[derive(Clone, Debug)]
pub struct Repaired {
    /// Whether anything was to be done. If not, nothing was touched.
    pub needed: bool,
    /// What is gone. Nothing if it is empty.
    pub losses: Vec<Loss>,
    /// What was found before.
    pub report: Report,
    /// The generation that was built upon, and the version of it; 0 is none.
    pub base: (u64, Lsn),
    /// The last record of the journal that counts.
    pub last: Lsn,
    /// Where everything is that was replaced; `None` if nothing was written.
    pub folder: Option<String>,
    /// What was moved there, or would be.
    pub moved: Vec<String>,
    /// The manifest as it was; `None` if it could not be read.
    pub before: Option<Manifest>,
    /// The manifest as it is now, or would be.
    pub after: Manifest,
}

/// Repairs the database in `dir`; with `dry_run` it only says what that would come to. `progress`
/// is told how far the walk got that looks for damage.
///
/// # Errors
/// [`Error::Locked`], [`Error::NoDatabase`], [`Error::Disk`]; [`Error::Manifest`],
/// [`Error::Superblock`] and [`Error::Corrupt`] if nothing is left to build upon, or a later
/// release wrote it. Nothing that was there is gone then.
pub async fn repair(
    cx: Context,
    dir: &str,
    dry_run: bool,
    progress: OnProgress<'_>,
) -> Result<Repaired, Error> {
    let (before, manifest) = identify(cx, dir).await?;
    let offline = Offline::open_as(cx, dir, Some(manifest.clone())).await?;
    let report = offline.verify(progress).await?;
    let mut done = Repaired {
        needed: before.is_none() || !report.is_sound() || report.totals.cut_bytes > 0,
        losses: Vec::new(),
        report,
        base: (0, Lsn(0)),
        last: Lsn(0),
        folder: None,
        moved: Vec::new(),
        before,
        after: manifest,
    };
    if !done.needed {
        return Ok(done);
    }
    done.after.generation += 1;
    let bad = bad_segments(&done.report);
    let base = choose(&offline, &bad).await?;
    done.base = base.block.map_or((0, Lsn(0)), |block| (block.generation, block.lsn));
    done.last = base.journal.last;
    done.losses.clone_from(&base.losses);
    if done.before.is_none() {
        done.losses.insert(0, Loss::Settings);
    }
    let listed = listed(&base, &bad);
    for number in offline.values.list().await.unwrap_or_default() {
        if !listed.contains(&number) {
            done.moved.push(offline.values.path(number));
        }
    }
    let wal = format!("{dir}/{WAL}");
    done.moved.extend(base.journal.files.iter().map(|name| format!("{wal}/{name}")));
    if dry_run {
        return Ok(done);
    }
    write(cx, &offline, base, bad, &mut done).await?;
    Ok(done)
}

/// Writes what is left, and moves aside what is not needed for it.
async fn write(
    cx: Context,
    offline: &Offline,
    mut base: Base,
    bad: BTreeSet<u32>,
    done: &mut Repaired,
) -> Result<(), Error> {
    let (dir, database) = (&offline.dir, offline.manifest.database);
    let folder = Folder::make(cx, dir).await?;
    folder.copy(&format!("{dir}/{MANIFEST}"), "MANIFEST.before").await?;
    for side in [Side::A, Side::B] {
        let name = side.file_name();
        folder.copy(&format!("{dir}/{name}"), name).await?;
    }
    if done.before.is_none() {
        // It names the database, and so everything else.
        manifest::write(cx, dir, &offline.manifest).await?;
    }
    let wal = format!("{dir}/{WAL}");
    for part in [WAL, VLOG] {
        cx.create_dir(&format!("{dir}/{part}")).await?;
    }
    cx.sync_dir(dir).await?;
    heads(cx, &done.report).await?;
    let block = mend(cx, offline, &mut base, bad).await?;
    let lsn = block.map_or(Lsn(0), |block| block.lsn);
    base.journal.write(cx, &wal, database, lsn).await?;
    match block {
        Some(first) => {
            let second = Superblock { generation: first.generation + 1, ..first };
            for block in [first, second] {
                superblock::write(cx, dir, &block).await.map_err(|e| match e {
                    FlipError::Refused(e) | FlipError::Fatal(e) => Error::Disk(e),
                })?;
            }
        }
        None => {
            for side in [Side::A, Side::B] {
                folder.take(&format!("{dir}/{}", side.file_name())).await?;
            }
        }
    }
    for path in &done.moved {
        folder.take(path).await?;
    }
    cx.sync_dir(&wal).await?;
    cx.sync_dir(&format!("{dir}/{VLOG}")).await?;
    manifest::write(cx, dir, &done.after).await?;
    folder.copy(&format!("{dir}/{MANIFEST}"), "MANIFEST.after").await?;
    folder.write("report.txt", done.told().into_bytes()).await?;
    done.folder = Some(folder.path().to_owned());
    Ok(())
}

/// Writes the generation that is left of `base`, but for its superblock, which is returned, and
/// what is left of trees that its journal loads.
async fn mend(
    cx: Context,
    offline: &Offline,
    base: &mut Base,
    bad: BTreeSet<u32>,
) -> Result<Option<Superblock>, Error> {
    let (dir, database) = (&offline.dir, offline.manifest.database);
    let pager = match Pager::open_to_mend(cx, dir, database).await {
        Err(e) if e.kind == DiskErrorKind::NotFound => Pager::open(cx, dir, database).await?,
        opened => opened?,
    };
    let Base { block, catalogue, journal, .. } = base;
    let blocks = || offline.found.newest.iter().chain(&offline.found.other).chain(block.as_ref());
    let there = offline.values.list().await.unwrap_or_default();
    let newest_value = there.iter().copied().max().unwrap_or(0);
    let newest_value = blocks().map(|block| block.value_segment).fold(newest_value, u32::max);
    let segment_bytes = Options::new("", crate::Durability::Strict).segment_bytes;
    let size = pager.file().size().await?.div_ceil(UNIT as u64);

    let mut tools = Tools {
        // A file that is made now has none of their pages.
        pager: offline.pager.as_ref().map(|_| &pager),
        values: &offline.values,
        database,
        appender: Some(Appender::new(cx, dir, database, segment_bytes, newest_value)),
        next: blocks().map(|block| block.generation).max().unwrap_or(0) + 1,
        end: blocks().map(|block| block.units).fold(size.max(1), u64::max),
    };
    loads::mend(&mut tools, journal).await?;
    let Some(base) = block else {
        pager.sync().await?;
        cx.sync_dir(dir).await?;
        return Ok(None);
    };
    let mut mender = Mender::new(&pager, &offline.values, database);
    mender.generation = base.generation;
    mender.lsn = base.lsn;
    (mender.appender, mender.next, mender.end) = (tools.appender, tools.next, tools.end);
    mender.marked = read_space(&pager, base).await.ok();
    mender.bad_segments = bad;
    for keyspace in &mut catalogue.keyspaces {
        for (_, root) in &mut keyspace.roots {
            *root = mender.root(keyspace.id, *root).await?;
        }
    }
    let end = match &mut mender.appender {
        Some(appender) => appender.sync().await?,
        None => unreachable!("it was given one"),
    };
    catalogue.segments = segments(catalogue, &mender, &there, newest_value);
    let lsn = base.lsn;
    let place = mender.write(catalogue.encode(lsn)).await?;
    let size = (PAGE_HEAD + (mender.end as usize + UNIT) / 8).next_multiple_of(UNIT);
    let units = mender.end + (size / UNIT) as u64;
    mender.used.add(mender.end, (size / UNIT) as u64);
    let space = encode_space(&mender.used, units, size, lsn);
    let space = mender.write(space).await?;
    let generation = mender.next;
    pager.sync().await?;
    cx.sync_dir(dir).await?;
    let (value_segment, value_end) = match end.bytes {
        0 => (base.value_segment, base.value_end),
        bytes => (end.segment, bytes),
    };
    Ok(Some(Superblock {
        database,
        generation,
        previous_lsn: lsn,
        catalogue: place,
        space,
        units,
        value_segment,
        value_end,
        ..*base
    }))
}

/// The value segments that are left, with what is dead of them.
fn segments(
    catalogue: &Catalogue,
    mender: &Mender<'_>,
    there: &[u32],
    newest: u32,
) -> Vec<SegmentUse> {
    let live = |number: u32| mender.live.get(&number).copied().unwrap_or(0);
    let is_left =
        |s: &&SegmentUse| !mender.bad_segments.contains(&s.number) && there.contains(&s.number);
    let kept = catalogue
        .segments
        .iter()
        .filter(is_left)
        .map(|s| SegmentUse { dead: s.bytes.saturating_sub(VALUES_FIRST + live(s.number)), ..*s });
    let new = mender.live.range(newest + 1..).map(|(number, live)| SegmentUse {
        number: *number,
        bytes: VALUES_FIRST + live,
        dead: 0,
    });
    kept.chain(new).collect()
}

/// The value segments that a repair of `base` keeps.
fn listed(base: &Base, bad: &BTreeSet<u32>) -> BTreeSet<u32> {
    let all = base.catalogue.segments.iter().map(|segment| segment.number);
    all.filter(|number| !bad.contains(number)).collect()
}

/// Value segments of which something cannot be read.
fn bad_segments(report: &Report) -> BTreeSet<u32> {
    let is_bad = |finding: &&Finding| {
        !matches!(
            finding.what,
            Defect::Unlisted | Defect::Unreferenced { .. } | Defect::Copy | Defect::Dangling(_)
        )
    };
    let number = |finding: &Finding| {
        let name = finding.file.rsplit('/').next().unwrap_or_default();
        crate::vlog::number_of(name)
    };
    report.findings.iter().filter(is_bad).filter_map(number).collect()
}

/// Writes the copies anew that are damaged of the heads of value segments.
async fn heads(cx: Context, report: &Report) -> Result<(), Error> {
    for finding in report.findings.iter().filter(|finding| finding.what == Defect::Copy) {
        let name = finding.file.rsplit('/').next().unwrap_or_default();
        if crate::vlog::number_of(name).is_some() {
            let file = cx.open(&finding.file, orloj_kernel::OpenMode::Write).await?;
            let head = file.read_at(0, VALUES_FIRST as usize).await?;
            if let Some(head) = crate::vlog::SegmentHead::decode(&head) {
                let half = VALUES_FIRST / 2;
                let at = finding.offset / half * half;
                let copy = head.encode()[..half as usize].to_vec();
                file.write_sync(at, copy).await?;
            }
        }
    }
    Ok(())
}

/// The manifest, and the one to go on with: another if it cannot be read.
async fn identify(cx: Context, dir: &str) -> Result<(Option<Manifest>, Manifest), Error> {
    let cause = match manifest::read(cx, dir).await {
        Ok(Some(manifest)) => return Ok((Some(manifest.clone()), manifest)),
        Ok(None) => Error::NoDatabase { dir: dir.to_owned() },
        Err(error @ Error::Manifest { cause: ManifestError::Damaged, .. }) => error,
        Err(error) => return Err(error),
    };
    let Some(database) = database(cx, dir).await? else { return Err(cause) };
    let options = Options::new(dir, crate::Durability::Strict);
    let manifest = Manifest {
        generation: 1,
        minor: FORMAT.1,
        database,
        created_at: cx.wall().millis(),
        page_bytes: options.page_bytes,
        inline_bytes: options.inline_bytes,
        schemas: Schemas::of_this_release(None),
    };
    Ok((None, manifest))
}

/// Which database a directory is, as its superblocks or its journal say.
async fn database(cx: Context, dir: &str) -> Result<Option<DatabaseId>, Error> {
    for side in [Side::A, Side::B] {
        let path = format!("{dir}/{}", side.file_name());
        let most = superblock::SECOND_COPY + superblock::SUPERBLOCK;
        let block = crate::disk::read_small(cx, &path, most, Superblock::decode).await?;
        if let Some(Ok(block)) = block {
            return Ok(Some(block.database));
        }
    }
    let wal = format!("{dir}/{WAL}");
    let entries = match cx.list(&wal).await {
        Err(e) if e.kind == DiskErrorKind::NotFound => Vec::new(),
        listed => listed?,
    };
    for entry in entries.iter().filter(|e| crate::journal::number_of(&e.name).is_some()) {
        let path = format!("{wal}/{}", entry.name);
        let most = FIRST_FRAME as usize;
        let head = crate::disk::read_small(cx, &path, most, SegmentHeader::decode).await?;
        if let Some(Ok(head)) = head {
            return Ok(Some(head.database));
        }
    }
    Ok(None)
}

impl Repaired {
    /// What was found, lost and moved, a line each.
    pub fn told(&self) -> String {
        let mut text = String::new();
        let name = |id: &KeyspaceId| {
            let name = self.report.keyspaces.get(id).map_or("?", String::as_str);
            format!("keyspace {name:?} ({id})")
        };
        for Finding { grade, file, offset, what, .. } in &self.report.findings {
            text += &format!("found: {}: {file}: byte {offset}: {what}\n", grade.name());
        }
        for loss in &self.losses {
            text += &match loss {
                Loss::Keys { keyspace, from, to } => {
                    let to = to
                        .as_ref()
                        .map_or("the end".to_owned(), |to| format!("\"{}\"", to.escape_ascii()));
                    let from = from.escape_ascii();
                    format!("lost: {}: keys from \"{from}\" to {to}\n", name(keyspace))
                }
                Loss::Value { keyspace, key, version } => {
                    let key = key.escape_ascii();
                    format!("lost: {}: value {version} of key \"{key}\"\n", name(keyspace))
                }
                Loss::Records { from, to: Some(to) } => {
                    format!("lost: records {from} to {to}\n")
                }
                Loss::Records { from, to: None } => format!("perhaps lost: records from {from}\n"),
                Loss::Settings => "lost: page size and inline threshold are the defaults\n".into(),
                Loss::Superblocks => "lost: the position in a replicated log counts as 0\n".into(),
            };
        }
        for path in &self.moved {
            text += &format!("moved: {path}\n");
        }
        text
    }

    /// The names of keyspaces in losses.
    pub fn keyspaces(&self) -> &BTreeMap<KeyspaceId, String> {
        &self.report.keyspaces
    }
}

/// The file of pages, for errors.
fn page_file(dir: &str) -> String {
    format!("{dir}/{DATA_PAGES}")
}

#[cfg(test)]
mod tests;
