//! Units of `data.pages` that are spoken for before any generation uses them.

use std::sync::{Arc, Weak};

use crate::encoding::{Reader, write_leb};

/// Units that the pager gives to nobody for as long as this, or a copy of it, lives.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    alive: Arc<()>,
    /// The first of each row of units, and how many they are; ascending, none empty.
    rows: Vec<(u64, u64)>,
}

impl Claim {
    /// Reads an encoding back; `None` if it makes no sense.
    pub fn decode(bytes: &[u8]) -> Option<Claim> {
        let (mut from, mut rows, mut end) = (Reader(bytes), Vec::new(), 0_u64);
        while !from.0.is_empty() {
            let (gap, count) = (from.leb()?, from.leb()?);
            let first = end.checked_add(gap).filter(|first| *first > 0 && count > 0)?;
            end = first.checked_add(count)?;
            rows.push((first, count));
        }
        (!rows.is_empty()).then(|| Claim { alive: Arc::default(), rows })
    }

    /// Its encoding: for each row the gap before it and its length, as LEB128.
    pub fn encode(&self) -> Vec<u8> {
        let (mut bytes, mut end) = (Vec::new(), 0);
        for (first, count) in &self.rows {
            write_leb(&mut bytes, first - end);
            write_leb(&mut bytes, *count);
            end = first + count;
        }
        bytes
    }

    /// The rows of units: the first of each, and how many they are.
    pub fn rows(&self) -> &[(u64, u64)] {
        &self.rows
    }

    /// Whether `unit` is one of them.
    pub fn has(&self, unit: u64) -> bool {
        let at = self.rows.partition_point(|(first, _)| *first <= unit);
        at.checked_sub(1).is_some_and(|at| unit - self.rows[at].0 < self.rows[at].1)
    }

    /// The first unit behind the row that was added last.
    pub(crate) fn end(&self) -> u64 {
        self.rows.last().map_or(1, |(first, count)| first + count)
    }

    /// Adds a row behind all others.
    pub(crate) fn add(&mut self, first: u64, count: u64) {
        debug_assert!(first >= self.end(), "rows ascend");
        match self.rows.last_mut() {
            Some((last, so_many)) if *last + *so_many == first => *so_many += count,
            _ => self.rows.push((first, count)),
        }
    }

    /// What tells whether it, or a copy of it, lives.
    pub(crate) fn life(&self) -> Weak<()> {
        Arc::downgrade(&self.alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were() {
        let mut claim = Claim::default();
        assert_eq!(Claim::decode(&claim.encode()).map(|c| c.rows), None, "of nothing");
        for (first, count) in [(1, 3), (4, 2), (300, 1)] {
            claim.add(first, count);
        }
        assert_eq!(claim.rows(), [(1, 5), (300, 1)]);
        assert_eq!(claim.encode(), [1, 5, 0xa6, 2, 1]);
        let read = Claim::decode(&claim.encode()).expect("it makes sense");
        assert_eq!(read.rows(), claim.rows());
        assert_eq!(
            [0, 1, 5, 6, 300, 301].map(|unit| read.has(unit)),
            [false, true, true, false, true, false]
        );
        for senseless in [&[0, 1][..], &[1, 0], &[1], &[1, 1, 0x80]] {
            assert!(Claim::decode(senseless).is_none(), "{senseless:?}");
        }
    }
}
