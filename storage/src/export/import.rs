//! Reading an export into a database.

use orloj_kernel::{Context, File, OpenMode};

use super::{ExportError, ExportFault, Line, Reading, Totals};
use crate::{
    Database, Error, Lsn,
    database::{Content, ContentHash, Keyspace, Value},
    disk::read_stubbornly,
};

/// Bytes that are read at once.
const RUN: usize = 1 << 20;

/// An import that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// What was imported.
    pub content: Content,
    /// Keyspaces that were made.
    pub keyspaces: u64,
}

/// Reads the export in `file` into `db`, which has none of its keyspaces. The file is judged as a
/// whole before anything is written, and what was written is compared with it at the end.
/// `progress` is told how many bytes of how many are read; the file is read twice.
///
/// # Errors
/// [`ExportError`]; [`Error::KeyspaceExists`] if the database has one of the keyspaces. If reading
/// or writing fails half-way, the database has part of it, durable or not: import into one that
/// can be thrown away.
pub async fn import(
    cx: Context,
    file: &str,
    db: &Database,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Imported, ExportError> {
    let source = cx.open(file, OpenMode::Read).await?;
    let total = source.size().await?;
    let mut source = Source { file: source, path: file, total, read: 0, reading: Reading::new() };
    judge(&mut source, db, progress).await?;
    (source.read, source.reading) = (0, Reading::new());

    let mut keyspace: Option<Keyspace> = None;
    let (mut keyspaces, mut last) = (0, None);
    // The first of the deadlines: what is past it may be swept before it is looked at.
    let mut first = u64::MAX;
    loop {
        match source.line(|read| progress(total + read, 2 * total)).await? {
            Line::Keyspace { name, keep } => {
                keyspaces += 1;
                keyspace = Some(db.create_keyspace(name, keep).await?);
            }
            Line::Entry { key, value, deadline } => {
                let to = keyspace.as_ref().expect("the file was judged");
                first = first.min(deadline.unwrap_or(u64::MAX));
                last = Some(put(db, to, key, Value { bytes: value, deadline }).await?);
            }
            Line::End(totals) => {
                if let Some(last) = last {
                    db.durable(last).await?;
                }
                let content = db.content(&db.snapshot()?).await?;
                let differs = || ExportError::Differs { file: file.to_owned() };
                let is_all = db.keyspaces()?.len() as u64 == keyspaces && db.now() < first;
                if is_all && content.hash != totals.content {
                    return Err(differs());
                }
                return Ok(Imported { content, keyspaces });
            }
        }
    }
}

/// Writes, and does not wait until it is durable.
async fn put(
    db: &Database,
    to: &Keyspace,
    key: &[u8],
    value: Value<'_>,
) -> Result<crate::database::Assigned, Error> {
    loop {
        match db.try_put(to, key, value) {
            Ok(assigned) => return Ok(assigned),
            Err(pause) => db.resolve(pause).await?,
        }
    }
}

/// Makes sure that all of the file is what it says, and fits the database.
async fn judge(
    source: &mut Source<'_>,
    db: &Database,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<(), ExportError> {
    let total = source.total;
    let mut name_of: Option<String> = None;
    let mut last: Vec<u8> = Vec::new();
    let (mut keyspaces, mut entries) = (0, 0);
    let mut hash = ContentHash::new(Lsn(0));
    loop {
        let at = source.reading.offset();
        let fits = match source.line(|read| progress(read, 2 * total)).await? {
            Line::Keyspace { name, .. } => {
                keyspaces += 1;
                if db.keyspace(name).is_ok() {
                    return Err(Error::KeyspaceExists { name: name.to_owned() }.into());
                }
                let in_order = name_of.as_deref().is_none_or(|before| before < name);
                name_of = Some(name.to_owned());
                last.clear();
                in_order
            }
            Line::Entry { key, value, deadline } => {
                entries += 1;
                let in_order = last[..] < *key;
                last.clear();
                last.extend_from_slice(key);
                if let Some(name) = &name_of {
                    hash.entry(name, key, deadline, value);
                }
                in_order && name_of.is_some()
            }
            Line::End(totals) => {
                let counted = Totals { keyspaces, entries, content: hash.finish().hash };
                return match totals == counted {
                    true => source.end(),
                    false => Err(source.fault(at, ExportFault::Senseless)),
                };
            }
        };
        if !fits {
            return Err(source.fault(at, ExportFault::Senseless));
        }
    }
}

/// A file that is read.
struct Source<'a> {
    file: File,
    path: &'a str,
    total: u64,
    read: u64,
    reading: Reading,
}

impl Source<'_> {
    /// The next line.
    async fn line(&mut self, mut progress: impl FnMut(u64)) -> Result<Line<'_>, ExportError> {
        // A line that is longer than what is read at once is asked for with twice as much each time.
        let mut run = RUN;
        while let Err(what) = self.reading.peek() {
            let left = self.total - self.read;
            if what != ExportFault::Short || left == 0 {
                return Err(self.fault(self.reading.offset(), what));
            }
            let len = left.min(run as u64) as usize;
            let bytes = read_stubbornly(&self.file, self.read, len).await?;
            if bytes.is_empty() {
                return Err(self.fault(self.read, ExportFault::Short));
            }
            self.read += bytes.len() as u64;
            self.reading.feed(&bytes);
            progress(self.read);
            run *= 2;
        }
        let (at, path) = (self.reading.offset(), self.path);
        match self.reading.line() {
            Ok(Some(line)) => Ok(line),
            Ok(None) => unreachable!("nobody reads on behind the end"),
            Err(what) => Err(ExportError::File { file: path.to_owned(), offset: at, what }),
        }
    }

    /// Makes sure that nothing is behind the last line.
    fn end(&mut self) -> Result<(), ExportError> {
        let at = self.reading.offset();
        match at == self.total {
            true => Ok(()),
            false => Err(self.fault(at, ExportFault::Behind)),
        }
    }

    fn fault(&self, offset: u64, what: ExportFault) -> ExportError {
        ExportError::File { file: self.path.to_owned(), offset, what }
    }
}
