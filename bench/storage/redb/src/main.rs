//! The rows on redb.
//!
//! redb commits in two ways: synced, or kept in memory until a synced commit follows. The second is
//! less than buffered promises: a killed process loses it. So buffered is a synced commit to a file
//! whose sync does nothing, and every commit is with the operating system when it returns.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use anyhow::Result;
use orloj_bench_storage_rows::{Durability, Engine, Key, Reader, Session, Setup, Value};
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Builder, Database, ReadOnlyTable, ReadableDatabase, StorageBackend, TableDefinition,
    WriteTransaction,
};

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");

fn main() -> Result<()> {
    orloj_bench_storage_rows::main::<Redb>()
}

struct Redb {
    database: Database,
}

impl Redb {
    fn commit(
        &self,
        work: impl FnOnce(&mut redb::Table<'_, &'static [u8], &'static [u8]>) -> Result<()>,
    ) -> Result<()> {
        let transaction: WriteTransaction = self.database.begin_write()?;
        work(&mut transaction.open_table(TABLE)?)?;
        Ok(transaction.commit()?)
    }

    fn table(&self) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>> {
        Ok(self.database.begin_read()?.open_table(TABLE)?)
    }
}

impl Engine for Redb {
    type Session<'a> = &'a Redb;

    fn open(dir: &Path, setup: &Setup) -> Result<Option<Redb>> {
        let mut builder = Builder::new();
        builder.set_cache_size(setup.cache as usize);
        let database = match setup.durability {
            Durability::Memory => builder.create_with_backend(InMemoryBackend::new())?,
            Durability::Strict => builder.create(dir.join("redb"))?,
            Durability::Buffered => {
                let mut options = OpenOptions::new();
                let file = options.read(true).write(true).create(true).truncate(false);
                let file = FileBackend::new(file.open(dir.join("redb"))?)?;
                builder.create_with_backend(Unsynced { file })?
            }
        };
        let redb = Redb { database };
        redb.commit(|_| Ok(()))?;
        Ok(Some(redb))
    }

    fn session<R>(&self, work: impl FnOnce(&mut &Redb) -> Result<R>) -> Result<R> {
        work(&mut &*self)
    }

    fn load_sorted(&self, entries: impl Iterator<Item = (Key, Value)>) -> Result<()> {
        self.commit(|table| {
            for (key, value) in entries {
                table.insert(&key[..], &value[..])?;
            }
            Ok(())
        })
    }

    fn compact(mut self, _dir: &Path, _setup: &Setup) -> Result<Redb> {
        self.database.compact()?;
        Ok(self)
    }
}

impl Session for &Redb {
    type Reader<'a>
        = Table
    where
        Self: 'a;

    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        self.commit(|table| {
            table.insert(&key[..], &value[..])?;
            Ok(())
        })
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        self.commit(|table| {
            table.remove(&key[..])?;
            Ok(())
        })
    }

    fn write(&mut self, entries: &[(Key, Value)]) -> Result<()> {
        self.commit(|table| {
            for (key, value) in entries {
                table.insert(&key[..], &value[..])?;
            }
            Ok(())
        })
    }

    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        Table(self.table()?).get(key, seen)
    }

    fn get_snapshot(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        self.get(key, seen)
    }

    fn read<R>(&mut self, work: impl FnOnce(&mut Table) -> Result<R>) -> Result<R> {
        work(&mut Table(self.table()?))
    }
}

/// A table as of the moment it was opened.
struct Table(ReadOnlyTable<&'static [u8], &'static [u8]>);

impl Reader for Table {
    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        let value = self.0.get(&key[..])?;
        if let Some(value) = &value {
            seen(value.value());
        }
        Ok(value.is_some())
    }

    fn scan(
        &mut self,
        from: &Key,
        limit: usize,
        mut seen: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let mut count = 0;
        for entry in self.0.range(&from[..]..)?.take(limit) {
            let (key, value) = entry?;
            seen(key.value(), value.value());
            count += 1;
        }
        Ok(count)
    }
}

/// A file that is never synced. One process opens it, so it takes no locks either.
#[derive(Debug)]
struct Unsynced {
    file: FileBackend,
}

impl StorageBackend for Unsynced {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
}
