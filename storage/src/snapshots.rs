//! Who reads at which version, and hence which versions must be kept.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::Acquire, Ordering::Release},
    },
};

use crate::{Error, Lsn, tail::Tail};

/// The registered snapshots of a database.
#[derive(Debug, Default)]
pub struct Snapshots {
    held: Mutex<Held>,
    /// How many times versions were taken back.
    taken_back: AtomicUsize,
}

#[derive(Debug, Default)]
struct Held {
    /// Versions in order, and how many snapshots each has; none has none at the front.
    queue: VecDeque<(Lsn, u32)>,
    /// From which version on each taking back went.
    taken_back: Vec<Lsn>,
}

impl Snapshots {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("nobody panics while holding the snapshots")
    }

    /// A snapshot of all that is visible now. Allocates nothing once the queue has grown.
    pub fn now(self: &Arc<Snapshots>, tail: &Tail) -> Snapshot {
        let mut held = self.held();
        // Under the mutex: no floor can pass what is read here before it is registered.
        let at = tail.visible();
        self.register(&mut held, at)
    }

    /// A snapshot as of `at`, which is visible. Whether each keyspace still has that version is
    /// found out when it is read.
    pub fn at(self: &Arc<Snapshots>, at: Lsn) -> Snapshot {
        self.register(&mut self.held(), at)
    }

    fn register(self: &Arc<Snapshots>, held: &mut Held, at: Lsn) -> Snapshot {
        match held.queue.back_mut() {
            Some((last, count)) if *last == at => *count += 1,
            Some((last, _)) if *last > at => {
                let place = held.queue.partition_point(|(version, _)| *version < at);
                match &mut held.queue[place] {
                    (version, count) if *version == at => *count += 1,
                    _ => held.queue.insert(place, (at, 1)),
                }
            }
            _ => held.queue.push_back((at, 1)),
        }
        Snapshot { registry: self.clone(), at, taken_back: self.taken_back.load(Acquire) }
    }

    /// The oldest version that anybody may still ask for, without regard to retention.
    pub(crate) fn floor(&self, tail: &Tail) -> Lsn {
        let held = self.held();
        let seen = tail.visible().min(tail.last_written());
        held.queue.front().map_or(seen, |(oldest, _)| seen.min(*oldest))
    }

    /// How many snapshots are held.
    pub fn count(&self) -> u64 {
        self.held().queue.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// How many times versions were taken back.
    pub fn times_taken_back(&self) -> usize {
        self.taken_back.load(Acquire)
    }

    /// From which version on each taking back went.
    pub(crate) fn taken_back(&self) -> Vec<Lsn> {
        self.held().taken_back.clone()
    }

    /// Whether `at` still is history, if it was when versions had been taken back so many `times`.
    #[inline]
    pub(crate) fn check_since(&self, times: usize, at: Lsn) -> Result<(), Error> {
        if self.times_taken_back() == times {
            return Ok(());
        }
        match self.held().taken_back[times..].iter().any(|from| *from <= at) {
            true => Err(Error::RolledBack { at }),
            false => Ok(()),
        }
    }

    /// Everything from `from` on was taken back: snapshots that may have seen it are lost.
    pub(crate) fn take_back(&self, from: Lsn) {
        self.held().taken_back.push(from);
        self.taken_back.fetch_add(1, Release);
    }
}

/// A version that stays readable while this is held.
#[derive(Debug)]
pub struct Snapshot {
    registry: Arc<Snapshots>,
    at: Lsn,
    taken_back: usize,
}

impl Snapshot {
    /// The version.
    pub fn version(&self) -> Lsn {
        self.at
    }

    /// Whether what it shows still is history.
    ///
    /// # Errors
    /// [`Error::RolledBack`] if the journal refused what it rests on.
    #[inline]
    pub fn check(&self) -> Result<(), Error> {
        self.registry.check_since(self.taken_back, self.at)
    }
}

impl Clone for Snapshot {
    fn clone(&self) -> Snapshot {
        let mut copy = self.registry.at(self.at);
        copy.taken_back = self.taken_back;
        copy
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut held = self.registry.held();
        let place = held.queue.partition_point(|(version, _)| *version < self.at);
        held.queue[place].1 -= 1;
        while held.queue.front().is_some_and(|(_, count)| *count == 0) {
            held.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Durability;

    #[test]
    fn the_floor_is_the_oldest_snapshot() {
        let tail = Tail::new(Durability::InMemory, 1 << 16, Lsn(9));
        let snapshots = Arc::new(Snapshots::default());
        assert_eq!(snapshots.floor(&tail), Lsn(9));
        let (now, old, older) = (snapshots.now(&tail), snapshots.at(Lsn(5)), snapshots.at(Lsn(3)));
        let same = old.clone();
        assert_eq!((snapshots.floor(&tail), snapshots.count()), (Lsn(3), 4));
        drop(old);
        drop(older);
        assert_eq!(snapshots.floor(&tail), Lsn(5));
        drop(same);
        assert_eq!((snapshots.floor(&tail), now.version()), (Lsn(9), Lsn(9)));
        drop(now);
        assert_eq!(snapshots.count(), 0);
    }

    #[test]
    fn snapshots_of_what_was_taken_back_are_lost_and_others_are_not() {
        let snapshots = Arc::new(Snapshots::default());
        let (kept, lost) = (snapshots.at(Lsn(4)), snapshots.at(Lsn(5)));
        snapshots.take_back(Lsn(5));
        let later = snapshots.at(Lsn(5));
        assert_eq!((kept.check(), later.check()), (Ok(()), Ok(())));
        let rolled_back = Err(Error::RolledBack { at: Lsn(5) });
        assert_eq!((lost.check(), lost.clone().check()), (rolled_back.clone(), rolled_back));
    }
}
