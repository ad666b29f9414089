//! Making a segment ready before it is needed.
//!
//! A sync of bytes inside a file that was written before costs one flush of the device. A sync of a
//! file that grew, or of room that was only allocated, also commits the file system's metadata and
//! takes half as long again, or forty times as long on a busy machine. So segments are filled with
//! zeros and synced first, under a name that recovery does not read, and renamed when complete.

use std::time::Duration;

use orloj_kernel::{Context, DiskError, DiskErrorKind, File, OpenMode, buggify, mutant, sometimes};

use super::{
    SegmentHeader,
    segment::{file_name, new_name},
};

/// Rest between steps, so that a flood of zeros does not queue before a client's sync.
const PAUSE: Duration = Duration::from_millis(2);

/// A file of zeros, synced, that may become a segment.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) number: u64,
    pub(super) size: u64,
    file: File,
}

/// Why a prepared file did not become a segment.
pub(super) enum CommitError {
    /// Nothing uses it yet, so nothing is lost.
    Refused(DiskError),
    /// Whether the directory has it is unknown.
    Fatal(DiskError),
}

/// Fills a new file with `size` zeros, `step` at a time. A leftover of that name is replaced.
pub(super) async fn prepare(
    cx: Context,
    dir: String,
    number: u64,
    size: u64,
    step: usize,
    pace: bool,
) -> Result<Prepared, DiskError> {
    let path = format!("{dir}/{}", new_name(number));
    remove_if_there(cx, &path).await?;
    let file = cx.open(&path, OpenMode::CreateNew).await?;
    match fill(cx, &file, size, step, pace).await {
        Ok(()) => Ok(Prepared { number, size, file }),
        Err(e) => {
            sometimes!(cx, e.kind == DiskErrorKind::Full, "journal: no room for a new segment");
            drop(file);
            // It holds nothing; what matters is the first error.
            let _ = cx.remove(&path).await;
            Err(e)
        }
    }
}

async fn fill(
    cx: Context,
    file: &File,
    size: u64,
    step: usize,
    pace: bool,
) -> Result<(), DiskError> {
    let mut zeros = vec![0; step.min(size as usize)];
    let mut at = 0;
    while at < size {
        zeros.truncate(zeros.len().min((size - at) as usize));
        let len = zeros.len() as u64;
        zeros = file.write_at(at, zeros).await?;
        file.sync().await?;
        at += len;
        if pace && at < size {
            cx.sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// Turns a prepared file into the segment of `header`, whose first frames are `frames`. On success
/// file, head and frames survive a power cut.
pub(super) async fn commit(
    cx: Context,
    dir: &str,
    prepared: Prepared,
    header: &SegmentHeader,
    frames: &[u8],
) -> Result<File, CommitError> {
    let mut bytes = header.encode();
    bytes.extend_from_slice(frames);
    let (new, path) = (new_name(prepared.number), file_name(prepared.number));
    let (new, path) = (format!("{dir}/{new}"), format!("{dir}/{path}"));
    let written = async {
        prepared.file.write_at(0, bytes).await?;
        prepared.file.sync().await?;
        cx.rename(&new, &path).await
    };
    if let Err(e) = written.await {
        drop(prepared.file);
        let _ = cx.remove(&new).await;
        return Err(CommitError::Refused(e));
    }
    if buggify!(cx, "journal: a new name rests a while before it is synced") {
        cx.sleep(20 * PAUSE).await;
    }
    if !mutant!(cx, "journal.lost_dir_sync") {
        cx.sync_dir(dir).await.map_err(CommitError::Fatal)?;
    }
    // Errors shall name the file as it is called now.
    cx.open(&path, OpenMode::Write).await.map_err(CommitError::Refused)
}

/// Removes a file that may not be there.
pub(super) async fn remove_if_there(cx: Context, path: &str) -> Result<(), DiskError> {
    match cx.remove(path).await {
        Err(e) if e.kind == DiskErrorKind::NotFound => Ok(()),
        done => done,
    }
}
