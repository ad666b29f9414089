//! Databases that are being made. A directory is one as soon as its manifest is there, which is
//! written last; until then a mark says that what lies there is nobody's. No opening takes it for a
//! database, and a second attempt begins anew.

use orloj_kernel::{Context, DiskError, DiskErrorKind, OpenMode, RawLock, sometimes};

use crate::{
    Error,
    disk::remove_if_there,
    manifest::{self, MANIFEST, Manifest},
    pager::DATA_PAGES,
    recover::{LOCK, WAL, parent},
    superblock::Side,
    vlog::VLOG,
};

/// Says that what is in a directory is an unfinished database.
pub(crate) const UNFINISHED: &str = "UNFINISHED";

/// Makes sure that nothing is in `dir` that is not left of an attempt to make a database.
///
/// # Errors
/// [`Error::NotEmpty`], [`Error::Disk`].
pub async fn check_empty(cx: Context, dir: &str) -> Result<(), Error> {
    let entries = match cx.list(dir).await {
        Err(e) if e.kind == DiskErrorKind::NotFound => return Ok(()),
        listed => listed?,
    };
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    let is_ours = has(UNFINISHED) && !has(MANIFEST);
    let mut found = entries.iter().map(|entry| &entry.name[..]).filter(|name| match *name {
        // A disk of its own has `lost+found`.
        LOCK | UNFINISHED | "lost+found" => false,
        WAL | VLOG | DATA_PAGES | "SUPERBLOCK_A" | "SUPERBLOCK_B" | "MANIFEST.new" => !is_ours,
        _ => true,
    });
    match found.next() {
        None => Ok(()),
        Some(found) => Err(Error::NotEmpty { dir: dir.to_owned(), found: found.to_owned() }),
    }
}

/// Begins in `dir`, which is empty or holds what an earlier attempt left. The lock is the
/// database's.
///
/// # Errors
/// As [`check_empty`]; [`Error::Locked`].
pub(crate) async fn begin(cx: Context, dir: &str) -> Result<Box<dyn RawLock>, Error> {
    check_empty(cx, dir).await?;
    cx.create_dir(dir).await?;
    cx.sync_dir(parent(dir)).await?;
    let lock = match cx.lock(&format!("{dir}/{LOCK}")).await {
        Err(e) if e.kind == DiskErrorKind::Locked => {
            return Err(Error::Locked { dir: dir.to_owned() });
        }
        locked => locked?,
    };
    // Somebody else may have had it meanwhile.
    check_empty(cx, dir).await?;
    let mark = cx.open(&format!("{dir}/{UNFINISHED}"), OpenMode::Create).await?;
    mark.sync().await?;
    cx.sync_dir(dir).await?;
    clean(cx, dir).await?;
    for part in [WAL, VLOG] {
        cx.create_dir(&format!("{dir}/{part}")).await?;
    }
    Ok(lock)
}

/// What is in `dir`, the content of which is durable, is a database from here on.
///
/// # Errors
/// The disk's.
pub(crate) async fn finish(cx: Context, dir: &str, manifest: &Manifest) -> Result<(), DiskError> {
    // What was removed before shall not come back either.
    for part in [WAL, VLOG] {
        cx.sync_dir(&format!("{dir}/{part}")).await?;
    }
    manifest::write(cx, dir, manifest).await?;
    // It means nothing beside a manifest.
    let _ = remove_if_there(cx, &format!("{dir}/{UNFINISHED}")).await;
    Ok(())
}

/// Removes what an unfinished attempt left, but for its mark.
///
/// # Errors
/// [`Error::Disk`]; the next attempt removes the rest.
pub(crate) async fn clean(cx: Context, dir: &str) -> Result<(), Error> {
    let files = [DATA_PAGES, Side::A.file_name(), Side::B.file_name()];
    for name in files {
        remove_if_there(cx, &format!("{dir}/{name}")).await?;
    }
    for part in [WAL, VLOG] {
        let part = format!("{dir}/{part}");
        let entries = match cx.list(&part).await {
            Err(e) if e.kind == DiskErrorKind::NotFound => continue,
            listed => listed?,
        };
        sometimes!(cx, !entries.is_empty(), "unfinished: an earlier attempt had left something");
        for entry in entries {
            remove_if_there(cx, &format!("{part}/{}", entry.name)).await?;
        }
    }
    Ok(())
}
