//! Numbers that only rise, and how far each had risen before what may still be taken back.

use std::sync::{Mutex, MutexGuard};

use super::NOBODY_PANICS;
use crate::Lsn;

/// A number that only rises; 0 at first.
#[derive(Debug, Default)]
pub(super) struct Rising {
    /// Each value with the version of what raised it there, both ascending.
    told: Mutex<Vec<(Lsn, u64)>>,
}

impl Rising {
    /// How far it has risen.
    pub(super) fn now(&self) -> u64 {
        self.told().last().map_or(0, |(_, number)| *number)
    }

    /// What has `version` raises it to `number`, unless it is there. What came up to `settled` is
    /// never taken back.
    pub(super) fn raise(&self, number: u64, version: Lsn, settled: Lsn) {
        let mut told = self.told();
        if told.last().map_or(0, |(_, last)| *last) < number {
            let done = told.partition_point(|(version, _)| *version <= settled);
            told.drain(..done.saturating_sub(1));
            told.push((version, number));
        }
    }

    /// Everything from version `from` on was taken back.
    pub(super) fn take_back(&self, from: Lsn) {
        let mut told = self.told();
        while told.last().is_some_and(|(version, _)| *version >= from) {
            told.pop();
        }
    }

    fn told(&self) -> MutexGuard<'_, Vec<(Lsn, u64)>> {
        self.told.lock().expect(NOBODY_PANICS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_falls_to_what_it_was_and_remembers_no_more_than_it_needs() {
        let number = Rising::default();
        for version in 1..=100 {
            number.raise(version * 10, Lsn(version), Lsn(version.saturating_sub(5)));
            number.raise(version, Lsn(version), Lsn(version));
        }
        assert_eq!((number.now(), number.told().len()), (1_000, 6));
        number.take_back(Lsn(97));
        assert_eq!(number.now(), 960);
        number.take_back(Lsn(97));
        number.raise(965, Lsn(97), Lsn(96));
        assert_eq!((number.now(), number.told().len()), (965, 2));
        let first = Rising::default();
        first.raise(7, Lsn(3), Lsn(2));
        first.take_back(Lsn(3));
        assert_eq!(first.now(), 0);
    }
}
