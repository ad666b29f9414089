//! What a storage engine does, as far as the rows go.

use std::path::Path;

use anyhow::Result;

use crate::{Key, Value};

/// What a commit survives once it has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: there is no file.
    Memory,
    /// The end of the process: every commit is with the operating system, none is synced.
    Buffered,
    /// The end of the machine: every commit is synced.
    Strict,
}

/// How a database is opened.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// What a commit survives.
    pub durability: Durability,
    /// Bytes of cache the engine may use, if it has a cache of its own. All data fits.
    pub cache: u64,
    /// Bytes the log, or the table in memory that it secures, may grow to before the engine writes
    /// them back. Engines without a log have no use for it.
    pub log: u64,
}

/// An open database. Dropping it closes it.
pub trait Engine: Sync + Sized {
    /// What one thread works with.
    type Session<'a>: Session
    where
        Self: 'a;

    /// Opens the database in `dir`, which exists, and creates it when there is none. `None` when
    /// the engine has no such durability.
    ///
    /// # Errors
    ///
    /// The engine's own.
    fn open(dir: &Path, setup: &Setup) -> Result<Option<Self>>;

    /// Lets one thread work.
    ///
    /// # Errors
    ///
    /// The engine's own, and those of `work`.
    fn session<R>(&self, work: impl FnOnce(&mut Self::Session<'_>) -> Result<R>) -> Result<R>;

    /// Fills an empty database with `entries`, which ascend, by the fastest road there is. The
    /// entries are written to the operating system when it returns.
    ///
    /// # Errors
    ///
    /// The engine's own.
    fn load_sorted(&self, entries: impl Iterator<Item = (Key, Value)>) -> Result<()>;

    /// Waits until no background work is left; an engine without threads of its own has none.
    ///
    /// # Errors
    ///
    /// The engine's own.
    fn settle(&self) -> Result<()> {
        Ok(())
    }

    /// Gives back to `dir` what the database no longer needs.
    ///
    /// # Errors
    ///
    /// The engine's own.
    fn compact(self, dir: &Path, setup: &Setup) -> Result<Self>;
}

/// What one thread does with a database.
pub trait Session {
    /// Reads at one snapshot, or at what is there when it reads if that is cheaper.
    type Reader<'a>: Reader
    where
        Self: 'a;

    /// Commits one entry.
    ///
    /// # Errors
    ///
    /// The engine's own.
    fn put(&mut self, key: &Key, value: &Value) -> Result<()>;

    /// Commits the absence of one key.
    ///
    /// # Errors
    ///
    /// The engine's own.
    fn delete(&mut self, key: &Key) -> Result<()>;

    /// Commits many entries as one.
    ///
    /// # Errors
    ///
    /// The engine's own.
    fn write(&mut self, entries: &[(Key, Value)]) -> Result<()>;

    /// Shows the newest committed value to `seen`, and says whether there is one.
    ///
    /// # Errors
    ///
    /// The engine's own.
    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool>;

    /// Like [`Session::get`], but under a snapshot that is taken for it and released after it.
    ///
    /// # Errors
    ///
    /// The engine's own.
    fn get_snapshot(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool>;

    /// Lets `work` read many times.
    ///
    /// # Errors
    ///
    /// The engine's own, and those of `work`.
    fn read<R>(&mut self, work: impl FnOnce(&mut Self::Reader<'_>) -> Result<R>) -> Result<R>;
}

/// Reads one after the other, by one thread, while nobody writes.
pub trait Reader {
    /// Shows the value of `key` to `seen`, and says whether there is one.
    ///
    /// # Errors
    ///
    /// The engine's own.
    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool>;

    /// Shows up to `limit` entries, from `from` on and ascending, and says how many.
    ///
    /// # Errors
    ///
    /// The engine's own.
    fn scan(&mut self, from: &Key, limit: usize, seen: impl FnMut(&[u8], &[u8])) -> Result<usize>;
}
