//! Superblocks on disk: reading both, writing one.

use orloj_kernel::{Context, DiskError, OpenMode, mutant, sometimes};

use super::{Found, SECOND_COPY, SUPERBLOCK, Side, Superblock, SuperblockError, choose};
use crate::{Error, disk::read_small, journal::DatabaseId};

/// Reads both superblocks of `database` in `dir`.
///
/// # Errors
/// [`Error::Superblock`] if either is of a later format, and [`Error::Disk`].
pub async fn read(cx: Context, dir: &str, database: DatabaseId) -> Result<Found, Error> {
    let file =
        async |side: Side| -> Result<Option<Result<Superblock, SuperblockError>>, DiskError> {
            let path = format!("{dir}/{}", side.file_name());
            read_small(cx, &path, SECOND_COPY + SUPERBLOCK, Superblock::decode).await
        };
    let (a, b) = (file(Side::A).await?, file(Side::B).await?);
    choose(database, a, b).map_err(|cause| Error::Superblock { dir: dir.to_owned(), cause })
}

/// Why a superblock was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlipError {
    /// The disk took no write. It is certain that no recovery will find this superblock.
    Refused(DiskError),
    /// Whether a recovery will find it is unknown.
    Fatal(DiskError),
}

/// Writes `block` over the older of the two. It survives a power cut on return; the other one is
/// not touched.
///
/// # Errors
/// [`FlipError`].
pub async fn write(cx: Context, dir: &str, block: &Superblock) -> Result<(), FlipError> {
    let side = match mutant!(cx, "superblock.always_the_same_side") {
        true => Side::A,
        false => Side::of(block.generation),
    };
    let path = format!("{dir}/{}", side.file_name());
    let file = cx.open(&path, OpenMode::Create).await.map_err(FlipError::Refused)?;
    let written = match mutant!(cx, "superblock.is_not_synced") {
        true => file.write_at(0, block.encode()).await,
        false => file.write_sync(0, block.encode()).await,
    };
    match written {
        Ok(_) => {}
        Err(e) if e.op == "sync" => return Err(FlipError::Fatal(e)),
        Err(refused) => {
            sometimes!(cx, true, "superblock: a write was refused");
            // Part of it may be there, or all. Cutting a file needs no room.
            let gone = async {
                file.set_len(0).await?;
                file.sync().await
            };
            return Err(gone.await.map_or_else(FlipError::Fatal, |()| FlipError::Refused(refused)));
        }
    }
    // The file may be new, and is small: asking whether it is would save nothing that matters.
    cx.sync_dir(dir).await.map_err(FlipError::Fatal)
}
