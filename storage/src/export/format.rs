//! An export as bytes: a head, keyspaces each before its entries, an end that says how many they
//! were. Every line's checksum goes on from that of the line before it, so that none can be lost,
//! doubled or moved unnoticed.

use crc32c::crc32c_append;

use crate::{
    Lsn, Retention,
    encoding::{Reader, write_bytes},
    journal::DatabaseId,
    keyspace::is_name,
    record::{KEY_MAX, VALUE_MAX},
};

/// The format of exports this release writes: major, minor.
const FORMAT: (u16, u16) = (1, 0);
const MAGIC: &[u8; 8] = b"orlojexp";
/// Bytes of a line before what it says: its length and its checksum.
pub(super) const LINE_HEAD: usize = 8;
/// Bytes of the head of the file.
pub(super) const HEAD: usize = 8 + 2 + 2 + 16 + 8 + 8 + 4;
/// Most bytes that a line says.
const LINE_MAX: usize = VALUE_MAX + KEY_MAX + 64;

/// What an export says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The database it is of.
    pub database: DatabaseId,
    /// The version that it holds.
    pub version: Lsn,
    /// When it was written, Unix ms.
    pub written_at: u64,
}

/// How many lines there are of each kind, and the hash of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Keyspaces.
    pub keyspaces: u64,
    /// Keys.
    pub entries: u64,
    /// See [`Database::content`](crate::Database::content).
    pub content: [u8; 32],
}

/// A line of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A keyspace, to which the entries behind it belong.
    Keyspace {
        /// Its name.
        name: &'a str,
        /// What it keeps.
        keep: Retention,
    },
    /// A key with its newest value.
    Entry {
        /// The key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
        /// From then on (Unix ms) the key is gone.
        deadline: Option<u64>,
    },
    /// The end.
    End(Totals),
}

/// Why bytes are no export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportFault {
    /// It begins with something else.
    #[error("it is no export")]
    Foreign,
    /// A later release wrote it.
    #[error("export format {major}, this release reads {}", FORMAT.0)]
    Newer {
        /// Its format's major version.
        major: u16,
    },
    /// It lost its end.
    #[error("it ends before its end")]
    Short,
    /// Some bit flipped, or a line is missing.
    #[error("a checksum fails")]
    Sum,
    /// A line is intact and makes no sense.
    #[error("it makes no sense")]
    Senseless,
    /// Something stands behind its end.
    #[error("something stands behind its end")]
    Behind,
}

/// Appends the head. Returns the checksum that the first line goes on from.
pub(super) fn write_head(out: &mut Vec<u8>, header: &Header) -> u32 {
    let start = out.len();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT.0.to_le_bytes());
    out.extend_from_slice(&FORMAT.1.to_le_bytes());
    out.extend_from_slice(&header.database.0.to_le_bytes());
    out.extend_from_slice(&header.version.0.to_le_bytes());
    out.extend_from_slice(&header.written_at.to_le_bytes());
    let sum = crc32c_append(0, &out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
    sum
}

/// Appends a line behind one of checksum `before`. Returns its own.
pub(super) fn write_line(out: &mut Vec<u8>, line: &Line<'_>, before: u32) -> u32 {
    let start = out.len();
    out.extend_from_slice(&[0; LINE_HEAD]);
    match line {
        Line::Keyspace { name, keep } => {
            out.push(1);
            write_bytes(out, name.as_bytes());
            keep.write(out);
        }
        Line::Entry { key, value, deadline } => {
            out.push(if deadline.is_some() { 3 } else { 2 });
            write_bytes(out, key);
            deadline.iter().for_each(|at| out.extend_from_slice(&at.to_le_bytes()));
            out.extend_from_slice(value);
        }
        Line::End(totals) => {
            out.push(4);
            out.extend_from_slice(&totals.keyspaces.to_le_bytes());
            out.extend_from_slice(&totals.entries.to_le_bytes());
            out.extend_from_slice(&totals.content);
        }
    }
    let len = u32::try_from(out.len() - start - LINE_HEAD).expect("a line is below 4 GiB");
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    let sum = crc32c_append(before, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&sum.to_le_bytes());
    sum
}

fn read_head(bytes: &[u8]) -> Result<(Header, u32), ExportFault> {
    let known = &bytes[..bytes.len().min(MAGIC.len())];
    if !MAGIC.starts_with(known) {
        return Err(ExportFault::Foreign);
    }
    let covered = bytes.get(..HEAD - 4).ok_or(ExportFault::Short)?;
    let sum = crc32c_append(0, covered);
    if Reader(&bytes[HEAD - 4..]).u32().ok_or(ExportFault::Short)? != sum {
        return Err(ExportFault::Sum);
    }
    // Magic, major and checksum stay where they are in every format to come.
    let mut from = Reader(&covered[MAGIC.len()..]);
    let major = from.u16().ok_or(ExportFault::Short)?;
    if major != FORMAT.0 {
        return Err(ExportFault::Newer { major });
    }
    let read = |from: &mut Reader<'_>| -> Option<Header> {
        let _minor = from.u16()?;
        let database = DatabaseId(from.u128()?);
        Some(Header { database, version: Lsn(from.u64()?), written_at: from.u64()? })
    };
    Ok((read(&mut from).ok_or(ExportFault::Short)?, sum))
}

fn read_line(body: &[u8]) -> Option<Line<'_>> {
    let mut from = Reader(body);
    let line = match from.byte()? {
        1 => {
            let name = std::str::from_utf8(from.bytes()?).ok().filter(|name| is_name(name))?;
            Line::Keyspace { name, keep: Retention::read(&mut from)? }
        }
        tag @ (2 | 3) => {
            let key = from.bytes().filter(|key| (1..=KEY_MAX).contains(&key.len()))?;
            let deadline = if tag == 3 { Some(from.u64()?) } else { None };
            let value = std::mem::take(&mut from.0);
            (value.len() <= VALUE_MAX).then_some(Line::Entry { key, value, deadline })?
        }
        4 => {
            let (keyspaces, entries) = (from.u64()?, from.u64()?);
            let content = from.take(32)?.try_into().ok()?;
            Line::End(Totals { keyspaces, entries, content })
        }
        _ => return None,
    };
    from.0.is_empty().then_some(line)
}

/// Reads an export that comes piece by piece.
///
/// ```
/// # use orloj_storage::export::{ExportFault, Reading};
/// let mut reading = Reading::new();
/// reading.feed(b"not one");
/// assert_eq!(reading.header(), Err(ExportFault::Foreign));
/// ```
#[derive(Debug, Default)]
pub struct Reading {
    /// What was fed and not read; from `taken` on.
    buffer: Vec<u8>,
    taken: usize,
    /// Bytes before the buffer.
    before: u64,
    sum: u32,
    header: Option<Header>,
    is_over: bool,
}

impl Reading {
    /// Nothing yet.
    pub fn new() -> Reading {
        Reading::default()
    }

    /// Adds bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.before += self.taken as u64;
        self.buffer.drain(..std::mem::take(&mut self.taken));
        self.buffer.extend_from_slice(bytes);
    }

    /// The first byte that is not read.
    pub fn offset(&self) -> u64 {
        self.before + self.taken as u64
    }

    /// The head.
    ///
    /// # Errors
    /// [`ExportFault`]; [`ExportFault::Short`] if more must be fed.
    pub fn header(&mut self) -> Result<Header, ExportFault> {
        if let Some(header) = self.header {
            return Ok(header);
        }
        let (header, sum) = read_head(&self.buffer)?;
        (self.taken, self.sum, self.header) = (HEAD, sum, Some(header));
        Ok(header)
    }

    /// Whether the next line is there as a whole, if there is one.
    pub(super) fn peek(&mut self) -> Result<(), ExportFault> {
        self.header()?;
        let mut from = Reader(&self.buffer[self.taken..]);
        let (_sum, len) = (from.u32(), from.u32().ok_or(ExportFault::Short)? as usize);
        // One that is too long will not be waited for.
        match self.is_over || len > LINE_MAX || from.0.len() >= len {
            true => Ok(()),
            false => Err(ExportFault::Short),
        }
    }

    /// The next line; `None` behind [`Line::End`].
    ///
    /// # Errors
    /// [`ExportFault`]; [`ExportFault::Short`] if more must be fed.
    pub fn line(&mut self) -> Result<Option<Line<'_>>, ExportFault> {
        self.header()?;
        let rest = &self.buffer[self.taken..];
        if self.is_over {
            return if rest.is_empty() { Ok(None) } else { Err(ExportFault::Behind) };
        }
        let mut from = Reader(rest);
        let (sum, len) = (from.u32().ok_or(ExportFault::Short)?, from.u32());
        let len = len.ok_or(ExportFault::Short)? as usize;
        if len > LINE_MAX {
            return Err(ExportFault::Senseless);
        }
        let body = from.take(len).ok_or(ExportFault::Short)?;
        if sum != crc32c_append(self.sum, &rest[4..LINE_HEAD + len]) {
            return Err(ExportFault::Sum);
        }
        let line = read_line(body).ok_or(ExportFault::Senseless)?;
        self.taken += LINE_HEAD + len;
        self.sum = sum;
        self.is_over = matches!(line, Line::End(_));
        Ok(Some(line))
    }
}
