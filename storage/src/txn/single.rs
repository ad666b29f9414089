//! Single-shot transactions: everything said in advance, judged and done in one go.
//!
//! A shot names its keys in a table, asserts things about what they hold, and gives operations on
//! them. If all asserts hold then all operations happen, in order, each seeing those before it; if
//! one does not, nothing happens. The asserts speak of the state before the first operation.

mod decide;
mod execute;
mod format;
mod kind;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::KeyspaceId;
pub use decide::{Abort, Answer};
pub use execute::{Execution, Outcome, Progress};
pub use kind::{Kind, kind};

/// Most keys of a shot.
pub const KEYS_MAX: usize = 1_024;
/// Most asserts of a shot, and most operations.
pub const STEPS_MAX: usize = 4_096;

/// What a shot may do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Read it.
    Read,
    /// Read and write it.
    Write,
}

/// A row of the key table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// How the rest of the shot calls it; any number, once.
    pub id: u32,
    /// What may be done with it.
    pub access: Access,
    /// Where it is.
    pub keyspace: KeyspaceId,
    /// 1 to [`KEY_MAX`](crate::record::KEY_MAX) bytes; no key twice.
    pub key: &'a [u8],
}

/// What must hold of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// It exists.
    Exists,
    /// It does not exist.
    NotExists,
    /// It exists and holds a value of this kind.
    Type(Kind),
    /// It holds this integer.
    IntEq(i64),
    /// It holds bytes with this BLAKE3 hash; the byte of their kind is not hashed.
    BytesHashEq([u8; 32]),
    /// It holds a string with this BLAKE3 hash; the byte of its kind is not hashed.
    StringHashEq([u8; 32]),
}

/// What is done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Its value is answered.
    Get,
    /// It holds this value, until the deadline (Unix ms) if there is one.
    Put {
        /// At most [`VALUE_MAX`](crate::record::VALUE_MAX) bytes.
        value: &'a [u8],
        /// From then on the key is gone.
        deadline: Option<u64>,
    },
    /// It is gone.
    Delete,
    /// Its integer grows by this, from 0 if there is none, and is answered. The deadline stays.
    Add(i64),
}

/// A shot that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleShot<'a> {
    /// By id.
    rows: Vec<Row<'a>>,
    /// With the row each speaks of.
    asserts: Vec<(usize, Test)>,
    actions: Vec<(usize, Action<'a>)>,
}

/// Why a shot makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShotError {
    /// Its bytes cannot be read.
    #[error("the shot makes no sense from its byte {at} on")]
    Senseless {
        /// The first byte of what cannot be read.
        at: usize,
    },
    /// It has too many of something.
    #[error("{count} {of}: {max} are allowed")]
    TooMany {
        /// Of what.
        of: &'static str,
        /// How many.
        count: usize,
        /// How many it may have.
        max: usize,
    },
    /// Two rows have one id.
    #[error("two keys have the id {id}")]
    SameId {
        /// The id.
        id: u32,
    },
    /// Two rows are one key.
    #[error("the ids {one} and {other} are the same key")]
    SameKey {
        /// The lower id.
        one: u32,
        /// The other.
        other: u32,
    },
    /// No row has the id.
    #[error("no key has the id {id}")]
    NoSuchId {
        /// The id.
        id: u32,
    },
    /// A key that is only read is written.
    #[error("the key with the id {id} may only be read")]
    ReadOnly {
        /// Its id.
        id: u32,
    },
    /// A key is empty or too long.
    #[error("the key with the id {id} has {len} bytes")]
    KeyLength {
        /// Its id.
        id: u32,
        /// Its length.
        len: usize,
    },
    /// A value is too long.
    #[error("the value for the id {id} has {len} bytes")]
    ValueLength {
        /// The id of its key.
        id: u32,
        /// Its length.
        len: usize,
    },
}

impl<'a> SingleShot<'a> {
    /// A shot over `rows`; asserts and operations name their keys by id.
    ///
    /// # Errors
    /// The first thing that makes no sense.
    pub fn new(
        mut rows: Vec<Row<'a>>,
        asserts: &[(u32, Test)],
        actions: &[(u32, Action<'a>)],
    ) -> Result<SingleShot<'a>, ShotError> {
        bound("keys", rows.len(), KEYS_MAX)?;
        bound("asserts", asserts.len(), STEPS_MAX)?;
        bound("operations", actions.len(), STEPS_MAX)?;
        rows.sort_by_key(|row| row.id);
        check_rows(&rows)?;
        let at = |id: u32| {
            let found = rows.binary_search_by_key(&id, |row| row.id);
            found.map_err(|_| ShotError::NoSuchId { id })
        };
        let asserts: Result<_, _> =
            asserts.iter().map(|(id, test)| Ok((at(*id)?, *test))).collect();
        let action = |(id, action): &(u32, Action<'a>)| {
            let at = at(*id)?;
            if !matches!(action, Action::Get) && rows[at].access == Access::Read {
                return Err(ShotError::ReadOnly { id: *id });
            }
            match action {
                Action::Put { value, .. } if value.len() > crate::record::VALUE_MAX => {
                    Err(ShotError::ValueLength { id: *id, len: value.len() })
                }
                _ => Ok((at, *action)),
            }
        };
        let actions: Result<_, _> = actions.iter().map(action).collect();
        Ok(SingleShot { asserts: asserts?, actions: actions?, rows })
    }

    /// Its key table, by id.
    pub fn rows(&self) -> &[Row<'a>] {
        &self.rows
    }
}

fn bound(of: &'static str, count: usize, max: usize) -> Result<(), ShotError> {
    if count > max { Err(ShotError::TooMany { of, count, max }) } else { Ok(()) }
}

fn check_rows(by_id: &[Row<'_>]) -> Result<(), ShotError> {
    if let Some(pair) = by_id.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(ShotError::SameId { id: pair[0].id });
    }
    let bad_key = |row: &&Row<'_>| !(1..=crate::record::KEY_MAX).contains(&row.key.len());
    if let Some(row) = by_id.iter().find(bad_key) {
        return Err(ShotError::KeyLength { id: row.id, len: row.key.len() });
    }
    let mut by_key: Vec<&Row<'_>> = by_id.iter().collect();
    by_key.sort_by_key(|row| (row.keyspace, row.key, row.id));
    let same =
        |pair: &&[&Row<'_>]| (pair[0].keyspace, pair[0].key) == (pair[1].keyspace, pair[1].key);
    match by_key.windows(2).find(same) {
        Some(pair) => Err(ShotError::SameKey { one: pair[0].id, other: pair[1].id }),
        None => Ok(()),
    }
}

/// How often shots came to nothing, by reason, since the database was opened.
#[derive(Debug, Default)]
pub struct Aborts([AtomicU64; Aborts::REASONS.len()]);

impl Aborts {
    /// The reasons, in the order of [`Aborts::all`].
    pub const REASONS: [&'static str; 7] =
        ["exists", "not_exists", "type", "int_eq", "bytes_hash_eq", "string_hash_eq", "arithmetic"];

    /// Counts one.
    pub(super) fn count(&self, abort: &Abort) {
        let at = match abort {
            Abort::Assert { test, .. } => match test {
                Test::Exists => 0,
                Test::NotExists => 1,
                Test::Type(_) => 2,
                Test::IntEq(_) => 3,
                Test::BytesHashEq(_) => 4,
                Test::StringHashEq(_) => 5,
            },
            Abort::NotAnInt { .. } | Abort::Overflow { .. } => 6,
        };
        self.0[at].fetch_add(1, Ordering::Relaxed);
    }

    /// Every reason with its count.
    pub fn all(&self) -> [(&'static str, u64); Aborts::REASONS.len()] {
        std::array::from_fn(|at| (Aborts::REASONS[at], self.0[at].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests;
