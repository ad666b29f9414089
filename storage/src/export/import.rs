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

/// An export that was judged as a whole.
#[derive(Debug)]
pub struct Judged {
    source: Source,
    names: Vec<String>,
}

impl Judged {
    /// Reads the export in `file` to its end. `progress` is told how many bytes of how many are
    /// read: half of what there is to read, for importing it reads it again.
    ///
    /// # Errors
    /// [`ExportError`].
    pub async fn read(
        cx: Context,
        file: &str,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Judged, ExportError> {
        let opened = cx.open(file, OpenMode::Read).await?;
        let total = opened.size().await?;
        let path = file.to_owned();
        let mut source = Source { file: opened, path, total, read: 0, reading: Reading::new() };
        let names = judge(&mut source, progress).await?;
        (source.read, source.reading) = (0, Reading::new());
        Ok(Judged { source, names })
    }

    /// Writes it into `db`, which has none of its keyspaces. What was written is compared with it
    /// at the end.
    ///
    /// # Errors
    /// [`ExportError`]; [`Error::KeyspaceExists`] if the database has one of the keyspaces. If
    /// reading or writing fails half-way, the database has part of it, durable or not: import into
    /// one that can be thrown away.
    pub async fn import(
        self,
        db: &Database,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Imported, ExportError> {
        let Judged { mut source, names } = self;
        if let Some(name) = names.into_iter().find(|name| db.keyspace(name).is_ok()) {
            return Err(Error::KeyspaceExists { name }.into());
        }
        let total = source.total;
        let mut keyspace: Option<Keyspace> = None;
        let (mut keyspaces, mut last) = (0, None);
        // The first of the deadlines: what is past it may be swept before it is looked at.
        let mut first = u64::MAX;
        let totals = loop {
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
                Line::End(totals) => break totals,
            }
        };
        if let Some(last) = last {
            db.durable(last).await?;
        }
        let content = db.content(&db.snapshot()?).await?;
        let is_all = db.keyspaces()?.len() as u64 == keyspaces && db.now() < first;
        if is_all && content.hash != totals.content {
            return Err(ExportError::Differs { file: source.path });
        }
        Ok(Imported { content, keyspaces })
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

/// Makes sure that all of the file is what it says. Returns the names of its keyspaces.
async fn judge(
    source: &mut Source,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Vec<String>, ExportError> {
    let total = source.total;
    let mut names: Vec<String> = Vec::new();
    let mut last: Vec<u8> = Vec::new();
    let mut entries = 0;
    let mut hash = ContentHash::new(Lsn(0));
    loop {
        let at = source.reading.offset();
        let fits = match source.line(|read| progress(read, 2 * total)).await? {
            Line::Keyspace { name, .. } => {
                let in_order = names.last().is_none_or(|before| &before[..] < name);
                names.push(name.to_owned());
                last.clear();
                in_order
            }
            Line::Entry { key, value, deadline } => {
                entries += 1;
                let in_order = last[..] < *key;
                last.clear();
                last.extend_from_slice(key);
                if let Some(name) = names.last() {
                    hash.entry(name, key, deadline, value);
                }
                in_order && !names.is_empty()
            }
            Line::End(totals) => {
                let (keyspaces, content) = (names.len() as u64, hash.finish().hash);
                if totals != (Totals { keyspaces, entries, content }) {
                    return Err(source.fault(at, ExportFault::Senseless));
                }
                return source.end().map(|()| names);
            }
        };
        if !fits {
            return Err(source.fault(at, ExportFault::Senseless));
        }
    }
}

/// A file that is read.
#[derive(Debug)]
struct Source {
    file: File,
    path: String,
    total: u64,
    read: u64,
    reading: Reading,
}

impl Source {
    /// The next line.
    async fn line(&mut self, mut progress: impl FnMut(u64)) -> Result<Line<'_>, ExportError> {
        // For a line that is longer than what is read at once, twice as much is read each time.
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
        let (at, path) = (self.reading.offset(), &self.path);
        match self.reading.line() {
            Ok(Some(line)) => Ok(line),
            Ok(None) => unreachable!("nobody reads on behind the end"),
            Err(what) => Err(ExportError::File { file: path.clone(), offset: at, what }),
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
        ExportError::File { file: self.path.clone(), offset, what }
    }
}
