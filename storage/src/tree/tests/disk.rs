//! A disk that is a map, and checkpoints to it.

use super::*;
use crate::{
    journal::DatabaseId,
    page::{PagePtr, UNIT, ValuePointer, open, seal},
    tree::Resident,
};

const DATABASE: DatabaseId = DatabaseId(5);

/// Pages by their first unit, and long values by their offset.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pages: BTreeMap<u64, Vec<u8>>,
    values: Vec<Vec<u8>>,
    next: u64,
    generation: u64,
    pub(super) loaded: Vec<Resident>,
}

impl Disk {
    pub(super) fn write(&mut self, mut image: Vec<u8>) -> PagePtr {
        let unit = self.next.max(1);
        self.next = unit + (image.len() / UNIT) as u64;
        let ptr = seal(&mut image, DATABASE, unit, self.generation);
        self.pages.insert(unit, image);
        ptr
    }

    pub(super) fn keep(&mut self, key: &[u8], value: &[u8]) -> ValuePointer {
        self.values.push(value.to_vec());
        let (offset, len) = (self.values.len() as u64 - 1, value.len() as u32);
        ValuePointer { segment: 1, key_len: key.len() as u16, offset, len, sum: 0 }
    }

    pub(super) fn value(&self, at: ValuePointer) -> &[u8] {
        &self.values[at.offset as usize]
    }

    /// Writes the next node of a capture; whether there was one.
    pub(super) fn step(&mut self, capture: &mut Capture) -> bool {
        let Some(mut dirty) = capture.next() else { return false };
        for long in dirty.long_values() {
            let at = self.keep(&long.key, &long.bytes);
            dirty.place(long.number, at);
        }
        let ptr = self.write(dirty.image().to_vec());
        dirty.saved(ptr);
        true
    }

    pub(super) fn finish(&mut self, capture: Capture) -> Vec<Catalogued> {
        let catalogue = capture.catalogue();
        self.generation += 1;
        for ptr in capture.finish() {
            assert!(self.pages.remove(&ptr.unit).is_some(), "{ptr:?} was not in use");
        }
        catalogue
    }

    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Asks until there is an answer.
    pub(super) fn resolve<T>(&mut self, mut ask: impl FnMut() -> Attempt<T>) -> Attempt<T> {
        loop {
            match ask() {
                Err(Pause::Miss(miss)) => {
                    let image = self.pages[&miss.ptr().unit].clone();
                    open(&image, DATABASE, miss.ptr()).expect("nobody damages this disk");
                    self.loaded.extend(miss.install(image).expect("it is the right page"));
                }
                answer => return answer,
            }
        }
    }

    /// Finds the places of trees that were cleared away.
    pub(super) fn retire(&mut self, capture: &mut Capture) {
        loop {
            match capture.retire() {
                Ok(()) => return,
                Err(Pause::Miss(miss)) if miss.is_leaf() => {
                    let image = self.pages[&miss.ptr().unit].clone();
                    capture.retire_leaf(miss.ptr(), Some(image));
                }
                Err(Pause::Miss(miss)) => {
                    let image = self.pages[&miss.ptr().unit].clone();
                    self.loaded.extend(miss.install(image).expect("it is the right page"));
                }
                Err(pause) => panic!("{pause:?}"),
            }
        }
    }

    /// Everything in a keyspace at `at`, long values looked up.
    pub(super) fn scan(&mut self, of: &Arc<Keyspace>, at: Lsn) -> Vec<(Vec<u8>, Lsn, Vec<u8>)> {
        let mut cursor = Cursor::new(of, b"", None, at).expect("the version is kept");
        let mut found = Vec::new();
        loop {
            let item = self.resolve(|| {
                let item = cursor.next()?;
                Ok(item.map(|i| (i.key.to_vec(), i.version, i.value.to_vec(), i.pointer)))
            });
            match item.expect("every page is there") {
                None => return found,
                Some((key, version, _, Some(at))) => {
                    found.push((key, version, self.value(at).to_vec()));
                }
                Some((key, version, value, None)) => found.push((key, version, value)),
            }
        }
    }
}

/// A tree with nothing in memory, as a catalogue says.
pub(super) fn reopen(page: usize, at: Lsn, catalogue: &[Catalogued]) -> Tree {
    let sizes = Sizes { page, inline: 64, fanout: 4 };
    let tree = Tree::with(sizes, Durability::Buffered, 1 << 24);
    tree.take_up(at, catalogue);
    tree
}
