//! The rows on RocksDB. Nothing is compressed; blocks have Bloom filters of ten bits a key. By
//! default it hands every commit to the operating system before it returns, which is what buffered
//! means.

use std::path::Path;

use anyhow::Result;
use orloj_bench_storage_rows::{
    Durability, Engine, Key, Reader, Session, Setup, Value, wait_until_idle,
};
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, CompactOptions, DB, DBPinnableSlice, Env,
    IngestExternalFileOptions, Options, SstFileWriter, WaitForCompactOptions, WriteBatch,
    WriteOptions,
};

/// Entries of one ingested table: about the size of those it makes itself.
const TABLE: usize = 500_000;

fn main() -> Result<()> {
    orloj_bench_storage_rows::main::<Rocks>()
}

struct Rocks {
    db: DB,
    dir: std::path::PathBuf,
    options: Options,
    write: WriteOptions,
}

impl Engine for Rocks {
    type Session<'a> = &'a Rocks;

    fn open(dir: &Path, setup: &Setup) -> Result<Option<Rocks>> {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&Cache::new_lru_cache(setup.cache as usize));
        blocks.set_bloom_filter(10.0, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&blocks);
        options.set_write_buffer_size(setup.log as usize);
        options.increase_parallelism(std::thread::available_parallelism()?.get() as i32);
        options.set_enable_pipelined_write(true);
        let mut write = WriteOptions::default();
        write.set_sync(setup.durability == Durability::Strict);
        if setup.durability == Durability::Memory {
            options.set_env(&Env::mem_env()?);
            write.disable_wal(true);
        }
        let db = DB::open(&options, dir)?;
        Ok(Some(Rocks { db, dir: dir.to_owned(), options, write }))
    }

    fn session<R>(&self, work: impl FnOnce(&mut &Rocks) -> Result<R>) -> Result<R> {
        work(&mut &*self)
    }

    fn load_sorted(&self, entries: impl Iterator<Item = (Key, Value)>) -> Result<()> {
        let mut entries = entries.peekable();
        let mut paths = Vec::new();
        while entries.peek().is_some() {
            let path = self.dir.join(format!("ingest-{}", paths.len()));
            let mut writer = SstFileWriter::create(&self.options);
            writer.open(&path)?;
            for (key, value) in entries.by_ref().take(TABLE) {
                writer.put(key, value)?;
            }
            writer.finish()?;
            paths.push(path);
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        Ok(self.db.ingest_external_file_opts(&options, paths)?)
    }

    fn settle(&self) -> Result<()> {
        self.db.wait_for_compact(&WaitForCompactOptions::default())?;
        // Files that were compacted away are removed after that.
        wait_until_idle();
        Ok(())
    }

    fn compact(self, _dir: &Path, _setup: &Setup) -> Result<Rocks> {
        self.db.flush()?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
        Ok(self)
    }
}

impl Session for &Rocks {
    type Reader<'a>
        = &'a Rocks
    where
        Self: 'a;

    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        Ok(self.db.put_opt(key, value, &self.write)?)
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        Ok(self.db.delete_opt(key, &self.write)?)
    }

    fn write(&mut self, entries: &[(Key, Value)]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, value) in entries {
            batch.put(key, value);
        }
        Ok(self.db.write_opt(batch, &self.write)?)
    }

    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(show(self.db.get_pinned(key)?, seen))
    }

    fn get_snapshot(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(show(self.db.snapshot().get_pinned(key)?, seen))
    }

    fn read<R>(&mut self, work: impl FnOnce(&mut &Rocks) -> Result<R>) -> Result<R> {
        work(&mut &**self)
    }
}

impl Reader for &Rocks {
    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(show(self.db.get_pinned(key)?, seen))
    }

    fn scan(
        &mut self,
        from: &Key,
        limit: usize,
        mut seen: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let mut entries = self.db.raw_iterator();
        entries.seek(from);
        let mut count = 0;
        while count < limit
            && let Some((key, value)) = entries.item()
        {
            seen(key, value);
            count += 1;
            entries.next();
        }
        entries.status()?;
        Ok(count)
    }
}

fn show(value: Option<DBPinnableSlice<'_>>, seen: impl FnOnce(&[u8])) -> bool {
    value.as_deref().map(seen).is_some()
}
