//! What a power cut may leave of one file, said in the fewest words: the states the file went through,
//! and for each sector and the length the free choice among them.

use std::collections::BTreeSet;

use crate::disk::SECTOR;

const SECTOR_BYTES: usize = SECTOR as usize;

/// The states of a file since its last sync began, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Oracle {
    states: Vec<Vec<u8>>,
    /// Index of the state a sync has made durable.
    durable: usize,
}

impl Oracle {
    pub(super) fn new() -> Oracle {
        Oracle { states: vec![Vec::new()], durable: 0 }
    }

    pub(super) fn now(&self) -> &Vec<u8> {
        &self.states[self.states.len() - 1]
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let mut next = self.now().clone();
        next.resize(next.len().max(offset + bytes.len()), 0);
        next[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.states.push(next);
    }

    pub(super) fn set_len(&mut self, len: usize) {
        let mut next = self.now().clone();
        next.resize(len, 0);
        self.states.push(next);
    }

    /// What a sync that begins now will make durable.
    pub(super) fn begin(&self) -> usize {
        self.states.len() - 1
    }

    pub(super) fn synced(&mut self, begin: usize) {
        self.durable = self.durable.max(begin);
    }

    /// Whether state `at` is on the same side of every truncation that took bytes of `sector` as `by`.
    fn agree(&self, sector: usize, at: usize, by: usize) -> bool {
        (self.durable + 1..self.states.len()).all(|i| {
            let (before, after) = (self.states[i - 1].len(), self.states[i].len());
            let hit = after < before
                && sector * SECTOR_BYTES < before
                && after < (sector + 1) * SECTOR_BYTES;
            !hit || (at >= i) == (by >= i)
        })
    }

    /// What `sector` may hold if the length is that of state `by`.
    pub(super) fn sector(&self, sector: usize, by: usize) -> BTreeSet<Vec<u8>> {
        let at = (self.durable..self.states.len()).filter(|at| self.agree(sector, *at, by));
        at.map(|at| {
            let bytes = self.states[at].iter().copied().chain(std::iter::repeat(0));
            bytes.skip(sector * SECTOR_BYTES).take(SECTOR_BYTES).collect()
        })
        .collect()
    }

    /// The lengths there may be, each with the state it comes from.
    pub(super) fn lens(&self) -> BTreeSet<(usize, usize)> {
        let mut lens = BTreeSet::new();
        for by in self.durable..self.states.len() {
            let len = self.states[by].len();
            lens.insert((len, by));
            if let Some(next) = self.states.get(by + 1) {
                let inside = (len + 1..next.len()).filter(|len| len % SECTOR_BYTES == 0);
                lens.extend(inside.map(|len| (len, by)));
            }
        }
        lens
    }

    /// Everything there may be.
    pub(super) fn outcomes(&self) -> BTreeSet<Vec<u8>> {
        let mut all = BTreeSet::new();
        for (len, by) in self.lens() {
            let mut files = vec![Vec::new()];
            for sector in 0..len.div_ceil(SECTOR_BYTES) {
                let ends = self.sector(sector, by);
                let longer = |file: &Vec<u8>| {
                    let file = file.clone();
                    ends.iter().map(move |end| [&file[..], end].concat()).collect::<Vec<_>>()
                };
                files = files.iter().flat_map(longer).collect();
            }
            for mut file in files {
                file.truncate(len);
                all.insert(file);
            }
        }
        all
    }
}

#[test]
fn the_oracle_knows_the_textbook_case() {
    let mut oracle = Oracle::new();
    oracle.write(0, &[1; 600]);
    oracle.synced(oracle.begin());
    oracle.write(0, &[2; 600]);
    // Two sectors, each old or new, and one length.
    assert_eq!(oracle.outcomes().len(), 4);
    oracle.set_len(0);
    // The truncation as well, and nothing between.
    assert_eq!(oracle.outcomes().len(), 5);
}
