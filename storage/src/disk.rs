//! What every reader and writer of files here does alike.

use orloj_kernel::{Context, DiskError, DiskErrorKind, File, OpenMode};

/// How often something is read before a failure, or damage, is believed.
pub(crate) const READS: usize = 3;

/// Reads, and reads again where a device fails in passing.
pub(crate) async fn read_stubbornly(
    file: &File,
    offset: u64,
    len: usize,
) -> Result<Vec<u8>, DiskError> {
    let mut left = READS;
    loop {
        left -= 1;
        match file.read_at(offset, len).await {
            Err(e) if left > 0 && matches!(e.kind, DiskErrorKind::Io(_)) => {}
            read => return read,
        }
    }
}

/// Reads the first `most` bytes of a small file until `decode` makes sense of them, [`READS`] times
/// at most, and returns what it said last; `None` if there is no such file.
pub(crate) async fn read_small<T, E>(
    cx: Context,
    path: &str,
    most: usize,
    decode: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<Result<T, E>>, DiskError> {
    let file = match cx.open(path, OpenMode::Read).await {
        Err(e) if e.kind == DiskErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut decoded = decode(&read_stubbornly(&file, 0, most).await?);
    for _ in 1..READS {
        if decoded.is_ok() {
            break;
        }
        decoded = decode(&read_stubbornly(&file, 0, most).await?);
    }
    Ok(Some(decoded))
}

/// Removes a file that may not be there.
pub(crate) async fn remove_if_there(cx: Context, path: &str) -> Result<(), DiskError> {
    match cx.remove(path).await {
        Err(e) if e.kind == DiskErrorKind::NotFound => Ok(()),
        done => done,
    }
}
