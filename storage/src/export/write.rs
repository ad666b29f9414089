//! Writing an export.

use orloj_kernel::{Context, DiskErrorKind, File, OpenMode, clock_bound};

use super::{
    ExportError, Header, Line, Totals,
    format::{write_head, write_line},
};
use crate::{
    Database, Lsn, Snapshot,
    database::{Content, ContentHash},
    disk::remove_if_there,
    journal::DatabaseId,
    recover::parent,
};

/// Bytes that are written at once, roughly.
const RUN: usize = 1 << 20;

/// An export that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// What it holds.
    pub content: Content,
    /// Keyspaces, those without a key included.
    pub keyspaces: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Writes what `at` shows of the database to `file`, which is not there yet and is complete and
/// durable on return. Writers go on meanwhile. `progress` is told how many bytes are written.
///
/// # Errors
/// [`ExportError::Exists`], and whatever stands in the way of reading or writing; there is no
/// `file` then.
pub async fn export(
    db: &Database,
    at: &Snapshot,
    file: &str,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<Exported, ExportError> {
    let cx = db.cx();
    match cx.open(file, OpenMode::Read).await {
        Err(e) if e.kind == DiskErrorKind::NotFound => {}
        Ok(_) => return Err(ExportError::Exists { file: file.to_owned() }),
        Err(e) => return Err(e.into()),
    }
    let new = format!("{file}.new");
    remove_if_there(cx, &new).await?;
    let out = cx.open(&new, OpenMode::CreateNew).await?;
    let done = async {
        let exported = write(db, at, &out, progress).await?;
        out.sync().await?;
        cx.rename(&new, file).await?;
        cx.sync_dir(parent(file)).await?;
        Ok(exported)
    };
    let done = done.await;
    if done.is_err() {
        let _ = remove_if_there(cx, &new).await;
    }
    done
}

async fn write(
    db: &Database,
    at: &Snapshot,
    file: &File,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<Exported, ExportError> {
    let mut out = Out { file, offset: 0, buffer: Vec::new(), sum: 0 };
    out.head(db.cx(), db.engine().map_or(DatabaseId(0), |e| e.manifest().database), at.version());
    let mut hash = ContentHash::new(at.version());
    let (mut keyspaces, mut entries) = (0, 0);
    for keyspace in db.keyspaces_by_name()? {
        let name = keyspace.name();
        out.line(&Line::Keyspace { name, keep: keyspace.retention() });
        keyspaces += 1;
        let mut cursor = db.timeless_cursor(&keyspace, at)?;
        while let Some(item) = cursor.next().await? {
            let (key, value, deadline) = (item.key, item.value, item.deadline);
            hash.entry(name, key, deadline, value);
            out.line(&Line::Entry { key, value, deadline });
            entries += 1;
            if out.buffer.len() >= RUN {
                out.flush().await?;
                progress(out.offset);
            }
        }
    }
    let content = hash.finish();
    out.line(&Line::End(Totals { keyspaces, entries, content: content.hash }));
    out.flush().await?;
    progress(out.offset);
    Ok(Exported { content, keyspaces, bytes: out.offset })
}

/// The file that is written.
struct Out<'a> {
    file: &'a File,
    offset: u64,
    buffer: Vec<u8>,
    sum: u32,
}

impl Out<'_> {
    fn head(&mut self, cx: Context, database: DatabaseId, version: Lsn) {
        let _tolerated = clock_bound!(cx, "export: when it was written", 1_000_000_000);
        let written_at = cx.wall().millis();
        self.sum = write_head(&mut self.buffer, &Header { database, version, written_at });
    }

    fn line(&mut self, line: &Line<'_>) {
        self.sum = write_line(&mut self.buffer, line, self.sum);
    }

    async fn flush(&mut self) -> Result<(), ExportError> {
        let buffer = std::mem::take(&mut self.buffer);
        let len = buffer.len() as u64;
        self.buffer = self.file.write_at(self.offset, buffer).await?;
        self.buffer.clear();
        self.offset += len;
        Ok(())
    }
}
