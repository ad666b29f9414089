//! The rows on LMDB. Buffered is its `MDB_NOSYNC` with `MDB_WRITEMAP`: a commit has changed pages
//! of the mapped file, which are the operating system's, and syncs nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use heed::types::Bytes;
use heed::{CommitOrAbort, CompactionOption, Database, Env, EnvFlags, EnvOpenOptions, PutFlags};
use heed::{RoTxn, RwTxn, WithTls};
use orloj_bench_storage_rows::{Durability, Engine, Key, Reader, Session, Setup, Value};

/// Address space, of which only what is written becomes memory or disk.
const MAP: usize = 64 << 30;

fn main() -> Result<()> {
    orloj_bench_storage_rows::main::<Lmdb>()
}

struct Lmdb {
    env: Env,
}

/// A thread's view of the one table.
struct Handle<'a> {
    env: &'a Env,
    table: Database<'a, Bytes, Bytes>,
}

impl Handle<'_> {
    fn commit(
        &self,
        work: impl FnOnce(&mut RwTxn<'_>, &Database<'_, Bytes, Bytes>) -> Result<()>,
    ) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        work(&mut transaction, &self.table)?;
        Ok(transaction.commit()?)
    }
}

impl Engine for Lmdb {
    type Session<'a> = Handle<'a>;

    fn open(dir: &Path, setup: &Setup) -> Result<Option<Lmdb>> {
        let flags = match setup.durability {
            Durability::Memory => return Ok(None),
            Durability::Buffered => EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP,
            Durability::Strict => EnvFlags::empty(),
        };
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP).max_readers(64);
        // SAFETY: memory is unsafe only where somebody else changes the mapped file, and this
        // program is alone with it and opens it once at a time. NO_SYNC gives up what a power cut
        // leaves of the file, which is never opened after one; with WRITE_MAP a stray pointer
        // could change the file, and the program around has none: it is safe Rust.
        let env = unsafe { options.flags(flags).open(dir)? };
        let transaction = env.write_txn()?;
        env.create_databases_and_commit(transaction, |opener, transaction| {
            let table = opener.create_database::<Bytes, Bytes>(transaction, None)?;
            heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(table))
        })?;
        Ok(Some(Lmdb { env }))
    }

    fn session<R>(&self, work: impl FnOnce(&mut Handle<'_>) -> Result<R>) -> Result<R> {
        let transaction = self.env.read_txn()?;
        let opened = self.env.open_databases_and_commit(transaction, |opener, transaction| {
            let table = opener.open_database::<Bytes, Bytes>(transaction, None)?;
            heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(table))
        })?;
        let table = opened.commit().flatten().context("the table was created on opening")?;
        work(&mut Handle { env: &self.env, table })
    }

    fn load_sorted(&self, entries: impl Iterator<Item = (Key, Value)>) -> Result<()> {
        self.session(|handle| {
            handle.commit(|transaction, table| {
                for (key, value) in entries {
                    table.put_with_flags(transaction, PutFlags::APPEND, &key, &value)?;
                }
                Ok(())
            })
        })
    }

    fn compact(self, dir: &Path, setup: &Setup) -> Result<Lmdb> {
        let copy = dir.join("copy");
        self.env.copy_to_path(&copy, CompactionOption::Enabled)?;
        self.env.prepare_for_closing().wait();
        fs::rename(copy, dir.join("data.mdb"))?;
        Lmdb::open(dir, setup)?.context("it was open a moment ago")
    }
}

impl Session for Handle<'_> {
    type Reader<'a>
        = Snapshot<'a>
    where
        Self: 'a;

    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        self.commit(|transaction, table| Ok(table.put(transaction, key, value)?))
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        self.commit(|transaction, table| {
            table.delete(transaction, key)?;
            Ok(())
        })
    }

    fn write(&mut self, entries: &[(Key, Value)]) -> Result<()> {
        self.commit(|transaction, table| {
            for (key, value) in entries {
                table.put(transaction, key, value)?;
            }
            Ok(())
        })
    }

    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        let transaction = self.env.read_txn()?;
        Ok(self.table.get(&transaction, key)?.map(seen).is_some())
    }

    fn get_snapshot(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        self.get(key, seen)
    }

    fn read<R>(&mut self, work: impl FnOnce(&mut Snapshot<'_>) -> Result<R>) -> Result<R> {
        work(&mut Snapshot { transaction: self.env.read_txn()?, table: &self.table })
    }
}

/// The table as of the moment the transaction began.
struct Snapshot<'a> {
    transaction: RoTxn<'a, WithTls>,
    table: &'a Database<'a, Bytes, Bytes>,
}

impl Reader for Snapshot<'_> {
    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(self.table.get(&self.transaction, key)?.map(seen).is_some())
    }

    fn scan(
        &mut self,
        from: &Key,
        limit: usize,
        mut seen: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let mut count = 0;
        let range = (std::ops::Bound::Included(&from[..]), std::ops::Bound::Unbounded);
        for entry in self.table.range(&self.transaction, &range)?.take(limit) {
            let (key, value) = entry?;
            seen(key, value);
            count += 1;
        }
        Ok(count)
    }
}
