//! Bundles: the past of a database in one file, without what nobody else shall see, for reports of
//! incidents. A replay takes them as it takes a database.
//!
//! `docs/src/history.md` has the format. Values are keyed hashes throughout, in commands, answers
//! and what keys hold, so that equal stays equal; the key stays behind.

mod redact;

use std::{fmt, ops::Range};

use orloj_net::envelope::{SessionName, redaction::Redaction};
use orloj_storage::{
    Lsn,
    journal::DatabaseId,
    past::Past,
    record::{Op, ops},
};

use crate::{ReplayError, Source};
use redact::Redact;

/// What a bundle begins with.
const MAGIC: [u8; 8] = *b"ORLOJHST";
/// The version of the format.
const VERSION: u16 = 1;
/// Bits of the flags.
const VALUES_HASHED: u8 = 1;
const DATA_WITHHELD: u8 = 2;
/// Kinds of pieces.
const END: u8 = 0;
const BASE: u8 = 1;
const RECORD: u8 = 2;

/// What a bundle is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The database it is of.
    pub origin: DatabaseId,
    /// Whether values are hashes everywhere.
    pub are_values_hashed: bool,
    /// Whether no command with keys can be computed: keys are hashes, or a hook was asked.
    pub is_data_withheld: bool,
    /// The only session of which all rows are there.
    pub session: Option<SessionName>,
    /// The version of the last record.
    pub end: Lsn,
}

/// Why bytes are no bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// They are something else.
    #[error("it is no exported history")]
    Other,
    /// A later release wrote it.
    #[error("an exported history of format {version}, this release reads {VERSION}")]
    Newer {
        /// Its format.
        version: u16,
    },
    /// They were changed, or end too soon.
    #[error("it is cut short or damaged")]
    Damaged,
}

/// The records of a bundle, one after the other.
pub struct BundleReader {
    bundle: Bundle,
    bytes: Vec<u8>,
    /// Of each record whether it is of the state that comes first, its version and its place.
    records: Vec<(bool, Lsn, Range<usize>)>,
    next: usize,
}

impl fmt::Debug for BundleReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleReader").field("bundle", &self.bundle).finish_non_exhaustive()
    }
}

impl BundleReader {
    /// Understands the bytes of a bundle. All of them are judged.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn new(bytes: Vec<u8>) -> Result<BundleReader, BundleError> {
        let mut from = Cursor { bytes: &bytes, at: 0 };
        if from.take(MAGIC.len()).ok_or(BundleError::Other)? != MAGIC {
            return Err(BundleError::Other);
        }
        let version = from.number::<2>().ok_or(BundleError::Damaged)? as u16;
        if version != VERSION {
            return Err(BundleError::Newer { version });
        }
        let read = from.read().ok_or(BundleError::Damaged)?;
        let (bundle, records) = read;
        Ok(BundleReader { bundle, bytes, records, next: 0 })
    }

    /// What it is.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The next record.
    #[expect(clippy::should_implement_trait, reason = "what it lends ends with the next call")]
    pub fn next(&mut self) -> Option<Past<'_>> {
        let (is_base, lsn, place) = self.records.get(self.next)?.clone();
        self.next += 1;
        Some(Past { lsn, is_base, record: &self.bytes[place] })
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What a bundle is, and the places of its records.
type Read = (Bundle, Vec<(bool, Lsn, Range<usize>)>);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }

    fn number<const N: usize>(&mut self) -> Option<u64> {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(self.take(N)?);
        Some(u64::from_le_bytes(bytes))
    }

    fn read(&mut self) -> Option<Read> {
        let flags = self.take(1)?[0];
        let origin = DatabaseId(u128::from_le_bytes(self.take(16)?.try_into().ok()?));
        let end = Lsn(self.number::<8>()?);
        let len = self.number::<2>()? as usize;
        let session = std::str::from_utf8(self.take(len)?).ok()?;
        if flags & !(VALUES_HASHED | DATA_WITHHELD) != 0 {
            return None;
        }
        let bundle = Bundle {
            origin,
            are_values_hashed: flags & VALUES_HASHED != 0,
            is_data_withheld: flags & DATA_WITHHELD != 0,
            session: (!session.is_empty()).then(|| session.into()),
            end,
        };
        let (mut records, mut last) = (Vec::new(), Lsn(0));
        loop {
            let kind = self.take(1)?[0];
            if kind == END {
                let hash = blake3::hash(&self.bytes[..self.at]);
                let is_whole = self.take(32)? == hash.as_bytes() && self.at == self.bytes.len();
                return is_whole.then_some((bundle, records));
            }
            let lsn = Lsn(self.number::<8>()?);
            let len = self.number::<4>()? as usize;
            let place = self.at..self.at.checked_add(len)?;
            let record = self.take(len)?;
            let makes_sense = |op: Result<Op<'_>, _>| !matches!(op, Err(_) | Ok(Op::Load { .. }));
            let is_in_order = if kind == RECORD { lsn > last } else { lsn >= last };
            let has_kind = matches!(kind, BASE | RECORD) && lsn <= end && is_in_order;
            if !has_kind || !ops(record).all(makes_sense) {
                return None;
            }
            last = lsn;
            records.push((kind == BASE, lsn, place));
        }
    }
}

/// What of a past is exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Rows of the history of this session alone, and of commands that those depend on.
    pub session: Option<SessionName>,
    /// Only what was committed at this time (Unix ms) or later is to be judged by a replay.
    pub from: Option<u64>,
    /// Nothing that was committed later.
    pub to: Option<u64>,
}

/// What an export did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The file.
    pub bytes: Vec<u8>,
    /// Records that a replay judges.
    pub records: u64,
    /// Rows of the history in them.
    pub rows: u64,
    /// The last version.
    pub end: Lsn,
}

/// What has to be known of a past before it is exported.
pub struct Survey {
    span: Span,
    redact: Redact,
    /// The last record that is exported.
    last: Lsn,
}

impl fmt::Debug for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Survey").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Survey {
    /// Looks through a past: what commands of a session depend on is known at its end only.
    ///
    /// # Errors
    /// What cannot be read.
    pub async fn of(
        mut source: Source,
        span: &Span,
        redaction: &Redaction,
    ) -> Result<Survey, ReplayError> {
        let mut redact = Redact::new(redaction, span);
        let mut last = Lsn(0);
        while let Some(past) = source.next().await? {
            if redact.survey(past.record, span) {
                break;
            }
            last = past.lsn;
        }
        Ok(Survey { span: span.clone(), redact, last })
    }
}

/// Makes a bundle of what `source` has, which is the past that was surveyed, from its beginning.
///
/// # Errors
/// What cannot be read; [`ReplayError::Redactor`] if a hook changed more than it may.
pub async fn export(survey: Survey, mut source: Source) -> Result<Exported, ReplayError> {
    let Survey { span, mut redact, last } = survey;
    let origin = source.origin();
    let values = if redact.are_values_hashed() { VALUES_HASHED } else { 0 };
    let data = if redact.is_data_withheld() { DATA_WITHHELD } else { 0 };
    let flags = values | data;
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.push(flags);
    bytes.extend_from_slice(&origin.0.to_le_bytes());
    bytes.extend_from_slice(&last.0.to_le_bytes());
    let session = span.session.as_deref().unwrap_or("");
    bytes.extend_from_slice(&(session.len() as u16).to_le_bytes());
    bytes.extend_from_slice(session.as_bytes());
    let (mut records, mut rows, mut is_before) = (0, 0, span.from.is_some());
    while let Some(Past { lsn, is_base, record }) = source.next().await? {
        if lsn > last {
            break;
        }
        let (redacted, count, time) = redact.record(lsn, record)?;
        // What is before is state, and no more.
        is_before = is_before && time.is_none_or(|time| span.from.is_some_and(|from| time < from));
        let is_base = is_base || is_before;
        if !is_base {
            (records, rows) = (records + 1, rows + count);
        }
        bytes.push(if is_base { BASE } else { RECORD });
        bytes.extend_from_slice(&lsn.0.to_le_bytes());
        let len = u32::try_from(redacted.len()).expect("a record is below 4 GiB");
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&redacted);
    }
    bytes.push(END);
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    Ok(Exported { bytes, records, rows, end: last })
}

impl Source {
    /// The database that it is of.
    pub fn origin(&self) -> DatabaseId {
        match self {
            Source::Database(past) => past.origin(),
            Source::Bundle(bundle) => bundle.bundle.origin,
        }
    }
}

#[cfg(test)]
mod tests;
