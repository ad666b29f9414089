//! The rows on fjall. Nothing is compressed. By default it hands every commit to the operating
//! system before it returns, which is what buffered means.

use std::path::Path;

use anyhow::{Context, Result};
use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable, UserValue,
};
use orloj_bench_storage_rows::{
    Durability, Engine, Key, Reader, Session, Setup, Value, wait_until_idle,
};

fn main() -> Result<()> {
    orloj_bench_storage_rows::main::<Fjall>()
}

struct Fjall {
    database: Database,
    keyspace: Keyspace,
    strict: bool,
}

impl Fjall {
    fn batch(&self) -> OwnedWriteBatch {
        let mode = if self.strict { PersistMode::SyncData } else { PersistMode::Buffer };
        self.database.batch().durability(Some(mode))
    }
}

impl Engine for Fjall {
    type Session<'a> = &'a Fjall;

    fn open(dir: &Path, setup: &Setup) -> Result<Option<Fjall>> {
        if setup.durability == Durability::Memory {
            return Ok(None);
        }
        let database = Database::builder(dir)
            .cache_size(setup.cache)
            // Its journals are many to a log that may grow this far, and never fewer than two.
            .max_journaling_size(setup.log * 8)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(setup.log);
        let keyspace = database.keyspace("rows", options)?;
        Ok(Some(Fjall { database, keyspace, strict: setup.durability == Durability::Strict }))
    }

    fn session<R>(&self, work: impl FnOnce(&mut &Fjall) -> Result<R>) -> Result<R> {
        work(&mut &*self)
    }

    fn load_sorted(&self, entries: impl Iterator<Item = (Key, Value)>) -> Result<()> {
        let mut ingestion = self.keyspace.start_ingestion()?;
        for (key, value) in entries {
            ingestion.write(key, value)?;
        }
        Ok(ingestion.finish()?)
    }

    /// Its own counters do not know of a flush that is running.
    fn settle(&self) -> Result<()> {
        wait_until_idle();
        Ok(())
    }

    /// Tables that were compacted away are removed when the database is opened again.
    fn compact(self, dir: &Path, setup: &Setup) -> Result<Fjall> {
        self.keyspace.rotate_memtable_and_wait()?;
        self.keyspace.major_compact()?;
        drop(self);
        Fjall::open(dir, setup)?.context("it was open a moment ago")
    }
}

impl Session for &Fjall {
    type Reader<'a>
        = &'a Fjall
    where
        Self: 'a;

    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        if self.strict {
            return self.write(&[(*key, *value)]);
        }
        Ok(self.keyspace.insert(key, value)?)
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        if self.strict {
            let mut batch = self.batch();
            batch.remove(&self.keyspace, key);
            return Ok(batch.commit()?);
        }
        Ok(self.keyspace.remove(key)?)
    }

    fn write(&mut self, entries: &[(Key, Value)]) -> Result<()> {
        let mut batch = self.batch();
        for (key, value) in entries {
            batch.insert(&self.keyspace, key, value);
        }
        Ok(batch.commit()?)
    }

    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(show(self.keyspace.get(key)?, seen))
    }

    fn get_snapshot(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(show(self.database.snapshot().get(&self.keyspace, key)?, seen))
    }

    fn read<R>(&mut self, work: impl FnOnce(&mut &Fjall) -> Result<R>) -> Result<R> {
        work(&mut &**self)
    }
}

impl Reader for &Fjall {
    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(show(self.keyspace.get(key)?, seen))
    }

    fn scan(
        &mut self,
        from: &Key,
        limit: usize,
        mut seen: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let mut count = 0;
        for entry in self.keyspace.range(&from[..]..).take(limit) {
            let (key, value) = entry.into_inner()?;
            seen(&key, &value);
            count += 1;
        }
        Ok(count)
    }
}

fn show(value: Option<UserValue>, seen: impl FnOnce(&[u8])) -> bool {
    value.as_deref().map(seen).is_some()
}
