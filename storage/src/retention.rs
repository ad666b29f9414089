//! Which versions a keyspace keeps: its retention, the snapshots and the clock put together.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use crate::{Lsn, Retention};

/// What pruning may take: what is older than the newest version at or below `floor` of its key,
/// unless it is one of the `last` newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// From here on every version can be read.
    pub floor: Lsn,
    /// How many of each key are kept whatever their age; 1 at least.
    pub last: u32,
}

/// Which version was the newest at which time.
///
/// Made of the `clock` records of history, so it is the same after every recovery.
#[derive(Debug, Default)]
pub struct Moments {
    /// Times in Unix ms and the version of the record that told them, both ascending.
    told: Mutex<VecDeque<(u64, Lsn)>>,
}

impl Moments {
    /// The record at `version` says that the time is at least `now`.
    pub fn tell(&self, now: u64, version: Lsn) {
        let mut told = self.told.lock().expect("nobody panics while holding the moments");
        // Replaying a record again tells nothing new.
        if told.back().is_none_or(|(time, last)| *time <= now && *last < version) {
            told.push_back((now, version));
        }
    }

    /// The newest time told, in Unix ms; 0 before the first.
    pub fn now(&self) -> u64 {
        let told = self.told.lock().expect("nobody panics while holding the moments");
        told.back().map_or(0, |(now, _)| *now)
    }

    /// A version that was written at `time` or before it, the newest known; 0 if none is.
    pub fn version_at(&self, time: u64) -> Lsn {
        let told = self.told.lock().expect("nobody panics while holding the moments");
        let later = told.partition_point(|(told, _)| *told <= time);
        later.checked_sub(1).map_or(Lsn(0), |at| told[at].1)
    }

    /// Everything told from version `from` on was taken back.
    pub(crate) fn take_back(&self, from: Lsn) {
        let mut told = self.told.lock().expect("nobody panics while holding the moments");
        while told.back().is_some_and(|(_, version)| *version >= from) {
            told.pop_back();
        }
    }

    /// What `retention` asks to keep if all else allows to prune up to `floor`.
    pub fn keep(&self, retention: Retention, floor: Lsn) -> Keep {
        let since = |age: Duration| {
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            self.now().checked_sub(age).map_or(Lsn(0), |time| self.version_at(time)).min(floor)
        };
        match retention {
            Retention::All => Keep { floor: Lsn(0), last: 1 },
            Retention::Last(count) => Keep { floor, last: count.get() },
            Retention::For(age) => Keep { floor: since(age), last: 1 },
            Retention::Either(count, age) => Keep { floor: since(age), last: count.get() },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn age_becomes_a_version_by_the_clock_of_history() {
        let moments = Moments::default();
        let (second, two) = (Duration::from_secs(1), NonZeroU32::new(2).expect("not zero"));
        let age = Retention::For(second);
        assert_eq!(moments.keep(age, Lsn(9)), Keep { floor: Lsn(0), last: 1 });
        for (now, version) in [(1_000, 10), (2_000, 20), (2_500, 25), (2_500, 25), (3_100, 31)] {
            moments.tell(now, Lsn(version));
        }
        assert_eq!(moments.now(), 3_100);
        assert_eq!(moments.keep(age, Lsn(99)), Keep { floor: Lsn(20), last: 1 });
        assert_eq!(moments.keep(age, Lsn(15)), Keep { floor: Lsn(15), last: 1 });
        let either = Retention::Either(two, second);
        assert_eq!(moments.keep(either, Lsn(99)), Keep { floor: Lsn(20), last: 2 });
        assert_eq!(moments.keep(Retention::All, Lsn(99)).floor, Lsn(0));
        assert_eq!(moments.keep(Retention::Last(two), Lsn(99)), Keep { floor: Lsn(99), last: 2 });
        moments.take_back(Lsn(25));
        assert_eq!((moments.now(), moments.version_at(5_000)), (2_000, Lsn(20)));
    }
}
