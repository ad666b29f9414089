//! Which versions a keyspace keeps: its retention, the snapshots and the clock put together.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

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
/// Made of the `clock` records of history, and part of every generation. The more they are in the
/// past, the fewer are kept: between two that are next to each other lies at most a part in 64 of
/// the time that has passed since, if more was ever told.
#[derive(Debug, Default)]
pub struct Moments {
    /// Times in Unix ms and the version of the record that told them, both ascending.
    told: Mutex<Vec<(u64, Lsn)>>,
}

/// Moments that are kept at least as long as they are no more than this.
const MOMENTS: usize = 8192;
/// Two moments that are next to each other lie apart by at most one in so many parts of their age.
const PARTS: u64 = 64;

// Of three in a row that are kept the first and the last are further apart, so not more than
// twice as many lie between one age and its double, and `PARTS` below the age of so many ms.
const _: () = assert!((u64::BITS as usize - 6) * (2 * PARTS as usize + 2) + 64 < MOMENTS);

impl Moments {
    /// The record at `version` says that the time is at least `now`.
    pub fn tell(&self, now: u64, version: Lsn) {
        let mut told = self.told();
        // Replaying a record again tells nothing new.
        if told.last().is_none_or(|(time, last)| *time <= now && *last < version) {
            told.push((now, version));
        }
        if told.len() > MOMENTS {
            thin(&mut told);
        }
    }

    /// The newest time told, in Unix ms; 0 before the first.
    pub fn now(&self) -> u64 {
        self.told().last().map_or(0, |(now, _)| *now)
    }

    /// A version that was written at `time` or before it, the newest known; 0 if none is.
    pub fn version_at(&self, time: u64) -> Lsn {
        let told = self.told();
        let later = told.partition_point(|(told, _)| *told <= time);
        later.checked_sub(1).map_or(Lsn(0), |at| told[at].1)
    }

    /// Everything told from version `from` on was taken back.
    pub(crate) fn take_back(&self, from: Lsn) {
        let mut told = self.told();
        while told.last().is_some_and(|(_, version)| *version >= from) {
            told.pop();
        }
    }

    /// All that are kept: times in Unix ms and versions, both ascending.
    pub(crate) fn list(&self) -> Vec<(u64, Lsn)> {
        self.told().clone()
    }

    /// Those of a generation, to which history adds.
    pub(crate) fn restore(&self, moments: &[(u64, Lsn)]) {
        *self.told() = moments.to_vec();
    }

    fn told(&self) -> MutexGuard<'_, Vec<(u64, Lsn)>> {
        self.told.lock().expect("nobody panics while holding the moments")
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

/// Leaves out what is not needed. What is older than a time asked for is found for it then, so age
/// keeps a little more, never less.
fn thin(told: &mut Vec<(u64, Lsn)>) {
    let now = told.last().map_or(0, |(now, _)| *now);
    let mut kept = 1;
    for at in 1..told.len() {
        let before = told[kept - 1].0;
        let is_needed = told.get(at + 1).is_none_or(|(after, _)| {
            // The one before and the one after would be further apart than they may be.
            after - before > (now - after) / PARTS
        });
        if is_needed {
            told[kept] = told[at];
            kept += 1;
        }
    }
    told.truncate(kept);
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
        let other = Moments::default();
        other.restore(&moments.list());
        other.tell(2_001, Lsn(20));
        other.tell(2_001, Lsn(21));
        assert_eq!(other.list(), [(1_000, Lsn(10)), (2_000, Lsn(20)), (2_001, Lsn(21))]);
    }

    #[test]
    fn the_past_thins_out_and_stays_true() {
        // Every millisecond for a while, then every second, then at growing distances for ever.
        let mut now = 1_700_000_000_000;
        let mut all = Vec::new();
        let moments = Moments::default();
        for n in 1..400_000_u64 {
            now += match n {
                ..50_000 => 1,
                50_000..300_000 => 1_000,
                _ => (n - 300_000) * 1_000_000,
            };
            moments.tell(now, Lsn(n));
            all.push((now, Lsn(n)));
            assert!(moments.told().len() <= MOMENTS);
        }
        let kept = moments.list();
        assert!(kept.len() > 1_000 && kept[0] == all[0] && kept.last() == all.last());
        assert!(kept.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
        for (time, version) in all.iter().step_by(97) {
            let found = moments.version_at(*time);
            assert!(found <= *version, "{found} is later than {time}");
            let (then, _) = all[found.0 as usize - 1];
            let age = now - time;
            assert!(time - then <= age / PARTS, "{time} is {age} ago, and {then} was found");
        }
        // As often as may be, over all the time there is.
        let moments = Moments::default();
        let (mut now, mut n) = (u64::MAX, 0);
        let mut times = vec![now];
        while now > u64::MAX / 3 {
            n += 1;
            now = now.saturating_sub(1 + (u64::MAX - now) / 400);
            times.push(now);
        }
        for (version, time) in (1..=n).zip(times.into_iter().rev()) {
            moments.tell(time, Lsn(version));
        }
        assert!(moments.told().len() <= MOMENTS && n > 8_192);
    }
}
