//! The rows on SQLite: one table without row numbers, a write-ahead log, prepared statements, a
//! connection for each thread. Buffered is `synchronous = NORMAL`: a commit goes to the log and is
//! synced by checkpoints only.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use orloj_bench_storage_rows::{Durability, Engine, Key, Reader, Session, Setup, Value};
use rusqlite::{Connection, Statement, params};

const PAGE: u64 = 4096;

fn main() -> Result<()> {
    orloj_bench_storage_rows::main::<Sqlite>()
}

struct Sqlite {
    path: PathBuf,
    setup: Setup,
    /// Connections nobody works with at the moment. Each has a cache of its own, which the next
    /// session finds warm.
    idle: Mutex<Vec<Connection>>,
    /// Held by whoever writes. SQLite would have writers sleep and try again.
    turn: Mutex<()>,
}

/// A thread's connection and its statements.
struct Prepared<'a> {
    turn: &'a Mutex<()>,
    begin: Statement<'a>,
    commit: Statement<'a>,
    put: Statement<'a>,
    delete: Statement<'a>,
    get: Statement<'a>,
    scan: Statement<'a>,
}

impl Engine for Sqlite {
    type Session<'a> = Prepared<'a>;

    fn open(dir: &Path, setup: &Setup) -> Result<Option<Sqlite>> {
        if setup.durability == Durability::Memory {
            return Ok(None);
        }
        let path = dir.join("sqlite");
        let connection = connect(&path, setup)?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, value BLOB NOT NULL)
             WITHOUT ROWID",
        )?;
        let idle = Mutex::new(vec![connection]);
        Ok(Some(Sqlite { path, setup: *setup, idle, turn: Mutex::new(()) }))
    }

    fn session<R>(&self, work: impl FnOnce(&mut Prepared<'_>) -> Result<R>) -> Result<R> {
        let idle = lock(&self.idle).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, &self.setup)?,
        };
        let result = work(&mut Prepared {
            turn: &self.turn,
            begin: connection.prepare("BEGIN")?,
            commit: connection.prepare("COMMIT")?,
            put: connection
                .prepare("INSERT INTO rows VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2")?,
            delete: connection.prepare("DELETE FROM rows WHERE key = ?1")?,
            get: connection.prepare("SELECT value FROM rows WHERE key = ?1")?,
            scan: connection
                .prepare("SELECT key, value FROM rows WHERE key >= ?1 ORDER BY key LIMIT ?2")?,
        });
        lock(&self.idle).push(connection);
        result
    }

    fn load_sorted(&self, entries: impl Iterator<Item = (Key, Value)>) -> Result<()> {
        self.session(|session| session.commit_all(entries))
    }

    fn compact(self, _dir: &Path, _setup: &Setup) -> Result<Sqlite> {
        let idle = lock(&self.idle).pop();
        let connection = idle.context("a session is open")?;
        connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")?;
        lock(&self.idle).push(connection);
        Ok(self)
    }
}

impl Prepared<'_> {
    fn commit_all(&mut self, entries: impl Iterator<Item = (Key, Value)>) -> Result<()> {
        let _turn = lock(self.turn);
        self.begin.execute([])?;
        for (key, value) in entries {
            self.put.execute(params![key, value])?;
        }
        self.commit.execute([])?;
        Ok(())
    }
}

impl Session for Prepared<'_> {
    type Reader<'a>
        = &'a mut Self
    where
        Self: 'a;

    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        let _turn = lock(self.turn);
        self.put.execute(params![key, value])?;
        Ok(())
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        let _turn = lock(self.turn);
        self.delete.execute([key])?;
        Ok(())
    }

    fn write(&mut self, entries: &[(Key, Value)]) -> Result<()> {
        self.commit_all(entries.iter().copied())
    }

    /// A statement of its own is a transaction of its own.
    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        let mut rows = self.get.query([key])?;
        let row = rows.next()?;
        if let Some(row) = row {
            seen(row.get_ref(0)?.as_blob()?);
        }
        Ok(row.is_some())
    }

    fn get_snapshot(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        self.get(key, seen)
    }

    fn read<R>(&mut self, work: impl FnOnce(&mut &mut Self) -> Result<R>) -> Result<R> {
        let mut session = self;
        session.begin.execute([])?;
        let result = work(&mut session);
        session.commit.execute([])?;
        result
    }
}

impl Reader for &mut Prepared<'_> {
    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        Session::get(*self, key, seen)
    }

    fn scan(
        &mut self,
        from: &Key,
        limit: usize,
        mut seen: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let mut rows = self.scan.query(params![from, limit as i64])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            seen(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
            count += 1;
        }
        Ok(count)
    }
}

fn connect(path: &Path, setup: &Setup) -> Result<Connection> {
    let connection = Connection::open(path)?;
    let synchronous = if setup.durability == Durability::Strict { "FULL" } else { "NORMAL" };
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};
         PRAGMA cache_size = -{}; PRAGMA wal_autocheckpoint = {};",
        setup.cache / 1024,
        setup.log / PAGE,
    ))?;
    Ok(connection)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
