//! The rows on the standard library's ordered map behind a lock: what an engine in memory costs
//! that keeps no versions, writes no log and checks nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use anyhow::Result;
use orloj_bench_storage_rows::{Durability, Engine, Key, Reader, Session, Setup, Value};

fn main() -> Result<()> {
    orloj_bench_storage_rows::main::<Map>()
}

/// Values are of any length, as everywhere, so each is an allocation.
#[derive(Default)]
struct Map {
    entries: RwLock<BTreeMap<Key, Box<[u8]>>>,
}

impl Map {
    fn read_lock(&self) -> RwLockReadGuard<'_, BTreeMap<Key, Box<[u8]>>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, BTreeMap<Key, Box<[u8]>>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Map {
    type Session<'a> = &'a Map;

    fn open(_dir: &Path, setup: &Setup) -> Result<Option<Map>> {
        Ok((setup.durability == Durability::Memory).then(Map::default))
    }

    fn session<R>(&self, work: impl FnOnce(&mut &Map) -> Result<R>) -> Result<R> {
        work(&mut &*self)
    }

    fn load_sorted(&self, entries: impl Iterator<Item = (Key, Value)>) -> Result<()> {
        *self.write_lock() = entries.map(|(key, value)| (key, value.into())).collect();
        Ok(())
    }

    fn compact(self, _dir: &Path, _setup: &Setup) -> Result<Map> {
        Ok(self)
    }
}

impl Session for &Map {
    type Reader<'a>
        = &'a Map
    where
        Self: 'a;

    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        self.write_lock().insert(*key, value[..].into());
        Ok(())
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        self.write_lock().remove(key);
        Ok(())
    }

    fn write(&mut self, entries: &[(Key, Value)]) -> Result<()> {
        let mut map = self.write_lock();
        for (key, value) in entries {
            map.insert(*key, value[..].into());
        }
        Ok(())
    }

    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(self.read_lock().get(key).map(|value| seen(value)).is_some())
    }

    fn get_snapshot(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        Session::get(self, key, seen)
    }

    fn read<R>(&mut self, work: impl FnOnce(&mut &Map) -> Result<R>) -> Result<R> {
        work(&mut &**self)
    }
}

impl Reader for &Map {
    fn get(&mut self, key: &Key, seen: impl FnOnce(&[u8])) -> Result<bool> {
        Session::get(self, key, seen)
    }

    fn scan(
        &mut self,
        from: &Key,
        limit: usize,
        mut seen: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let mut count = 0;
        for (key, value) in self.read_lock().range(*from..).take(limit) {
            seen(key, value);
            count += 1;
        }
        Ok(count)
    }
}
