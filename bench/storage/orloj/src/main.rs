//! The rows on our storage engine, as somebody uses it who has threads: a plain call where the
//! answer is in memory, and the runtime only where it is not. Buffered, a commit is with the
//! operating system within five milliseconds, and not when it returns.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use orloj_bench_storage_rows::{
    Durability, Engine, Key, Reader, Session, Setup, Value, wait_until_idle,
};
use orloj_host::{Host, Options as HostOptions, Workers};
use orloj_kernel::Context;
use orloj_storage::{
    Database, Error, Options, Pause, Retention, Snapshot,
    compact::Compaction,
    database::{Assigned, KeyRange, Keyspace},
    txn::Isolation,
};

/// With huge pages, as `.cargo/config.toml` says: leaves that lie far apart cost as many misses of
/// the address cache else.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Result<()> {
    orloj_bench_storage_rows::main::<Orloj>()
}

struct Orloj {
    cx: Context,
    db: Database,
    data: Keyspace,
    is_strict: bool,
}

impl Orloj {
    /// Asks until there is an answer.
    fn ask<T>(&self, mut ask: impl FnMut() -> Result<T, Pause>) -> Result<T> {
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(pause) => self.cx.block_on(self.db.resolve(pause))?,
            }
        }
    }

    fn commit(&self, write: impl FnMut() -> Result<Assigned, Pause>) -> Result<()> {
        let assigned = self.ask(write)?;
        if self.is_strict {
            self.cx.block_on(self.db.durable(assigned))?;
        }
        Ok(())
    }

    fn write_all(&self, entries: &[(Key, Value)]) -> Result<(), Error> {
        self.cx.block_on(async {
            let mut transaction = self.db.begin(Isolation::Serializable)?;
            for (key, value) in entries {
                transaction.put(&self.data, key, value.into())?;
            }
            transaction.commit().await?;
            // A commit of many is with the operating system before the next begins, as the peers'.
            self.db.written(self.db.last_assigned()).await
        })
    }
}

impl Drop for Orloj {
    fn drop(&mut self) {
        // Whoever opens the directory next would find a database that is still writing.
        if let Err(error) = self.cx.block_on(self.db.clone().close()) {
            eprintln!("closing: {error}");
        }
    }
}

impl Engine for Orloj {
    type Session<'a> = Reading<'a>;

    fn open(dir: &Path, setup: &Setup) -> Result<Option<Orloj>> {
        let host = HostOptions { workers: Workers::Many(1), ..HostOptions::new(dir) };
        let cx = Host::new(host)?.context();
        let durability = match setup.durability {
            Durability::Memory => orloj_storage::Durability::InMemory,
            Durability::Buffered => orloj_storage::Durability::Buffered,
            Durability::Strict => orloj_storage::Durability::Strict,
        };
        let options = Options {
            cache_bytes: setup.cache,
            checkpoint_bytes: setup.log,
            ..Options::new("db", durability)
        };
        cx.block_on(async {
            let db = match setup.durability {
                Durability::Memory => Database::in_memory(cx, options)?,
                _ => Database::open(cx, options).await?.0,
            };
            let data = match db.keyspace("data") {
                Ok(data) => data,
                Err(_) => db.create_keyspace("data", Retention::default()).await?,
            };
            let is_strict = setup.durability == Durability::Strict;
            Ok(Some(Orloj { cx, db, data, is_strict }))
        })
    }

    fn session<R>(&self, work: impl FnOnce(&mut Reading<'_>) -> Result<R>) -> Result<R> {
        work(&mut Reading { of: self, at: None, value: Vec::new() })
    }

    fn load_sorted(&self, entries: impl Iterator<Item = (Key, Value)>) -> Result<()> {
        self.cx.block_on(self.db.load_keyspace(&self.data, entries))?;
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        wait_until_idle();
        Ok(())
    }

    fn compact(self, dir: &Path, setup: &Setup) -> Result<Orloj> {
        let _ = (dir, setup);
        self.cx.block_on(self.db.compact(Compaction::Full))?;
        Ok(self)
    }
}

/// One thread with a buffer of its own, at a snapshot if it has one.
struct Reading<'a> {
    of: &'a Orloj,
    at: Option<Snapshot>,
    value: Vec<u8>,
}

impl Reading<'_> {
    fn look(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        let Reading { of, at, value } = self;
        let found = match at {
            Some(at) => of.ask(|| of.db.try_get_at(&of.data, key, at, value))?,
            None => of.ask(|| of.db.try_get(&of.data, key, value))?,
        };
        Ok(found.map(|_| seen(value)).is_some())
    }
}

impl Session for Reading<'_> {
    type Reader<'a>
        = Reading<'a>
    where
        Self: 'a;

    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        let Orloj { db, data, .. } = self.of;
        self.of.commit(|| db.try_put(data, key, value.into()))
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        let Orloj { db, data, .. } = self.of;
        self.of.commit(|| db.try_delete(data, key))
    }

    fn write(&mut self, entries: &[(Key, Value)]) -> Result<()> {
        Ok(self.of.write_all(entries)?)
    }

    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        self.look(key, seen)
    }

    fn get_snapshot(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        self.at = Some(self.of.db.snapshot()?);
        let found = self.look(key, seen);
        self.at = None;
        found
    }

    fn read<R>(&mut self, work: impl FnOnce(&mut Reading<'_>) -> Result<R>) -> Result<R> {
        let at = Some(self.of.db.snapshot()?);
        work(&mut Reading { of: self.of, at, value: std::mem::take(&mut self.value) })
    }
}

impl Reader for Reading<'_> {
    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        self.look(key, seen)
    }

    fn scan(
        &mut self,
        from: &Key,
        limit: usize,
        mut seen: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let Orloj { cx, db, data, .. } = self.of;
        let at = self.at.as_ref().context("a reader has a snapshot")?;
        let mut cursor = db.cursor(data, KeyRange::from(&from[..]..), at)?;
        let mut count = 0;
        while count < limit {
            let pause = match cursor.try_next() {
                Ok(None) => break,
                Ok(Some(item)) => {
                    seen(item.key, item.value);
                    count += 1;
                    continue;
                }
                Err(pause) => pause,
            };
            cx.block_on(db.resolve(pause)).map_err(|error| anyhow!(error))?;
        }
        Ok(count)
    }
}
