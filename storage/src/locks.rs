//! Key locks, for transactions that would rather wait than try again.
//!
//! Strict two-phase locking: a [`Holder`] takes locks one by one and lets all of them go at once.
//! A lock is on a key, whether or not the key exists; ranges are not locked, they are validated at
//! commit. Requests queue per key and no request overtakes one that it conflicts with, so nobody
//! starves. Whoever must wait looks for a cycle of waiting first, and the youngest of a cycle dies
//! (Gray and Reuter, *Transaction Processing*, 1993, section 7.11).
//!
//! Commits that hold no locks must not write under somebody's lock. They ask [`Locks::bars`] while
//! they hold the latches of what they write, and a holder takes its lock before it takes the latch
//! to read. Whichever latches first is seen by the other: the holder reads what the commit wrote,
//! or the commit finds the lock. Nothing is asked while nobody holds a lock. Clearing a whole
//! keyspace asks nobody; it is a conflict for those who read in it under locks.
//!
//! Invariants: holders of a key are compatible; who waits has somebody to wait for; nobody waits
//! for himself, however indirectly.

mod holder;
mod queue;
mod search;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use crate::KeyspaceId;
pub use holder::{Holder, Wait};
pub use queue::Mode;
use queue::{Lock, Request, Taken};
use search::Waiting;

/// Parts of the table, each behind a mutex of its own.
const PARTITIONS: usize = 64;

/// Who holds locks. The greater is the younger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(u64);

/// A key of some keyspace, in the order in which sets of keys are locked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The keyspace.
    pub keyspace: KeyspaceId,
    /// The key.
    pub key: Box<[u8]>,
}

impl Place {
    pub(crate) fn new(keyspace: KeyspaceId, key: &[u8]) -> Place {
        Place { keyspace, key: key.into() }
    }
}

/// The locks of a database.
///
/// Mutexes are taken in the order: who waits, a partition, an owner's own.
#[derive(Debug)]
pub struct Locks {
    partitions: [Mutex<Partition>; PARTITIONS],
    /// Keys in all partitions.
    keys: AtomicUsize,
    /// Owners so far.
    owners: AtomicU64,
    /// Where each owner waits; also of some that no longer do.
    waiting: Mutex<BTreeMap<Owner, Waiting>>,
}

/// Keys that somebody holds.
#[derive(Debug, Default)]
struct Partition(BTreeMap<KeyspaceId, BTreeMap<Box<[u8]>, Lock>>);

impl Default for Locks {
    fn default() -> Locks {
        Locks {
            partitions: [const { Mutex::new(Partition(BTreeMap::new())) }; PARTITIONS],
            keys: AtomicUsize::new(0),
            owners: AtomicU64::new(0),
            waiting: Mutex::new(BTreeMap::new()),
        }
    }
}

impl Locks {
    /// Whether nobody holds any lock. Relaxed: the latch that the asker holds orders it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.load(Ordering::Relaxed) == 0
    }

    /// Whether anybody but `owner` holds a lock on the key, so that it must not be written now.
    ///
    /// To be asked under the latch of the key's leaf.
    #[inline]
    pub fn bars(&self, owner: Option<Owner>, keyspace: KeyspaceId, key: &[u8]) -> bool {
        !self.is_empty() && self.is_held_by_another(owner, keyspace, key)
    }

    #[cold]
    fn is_held_by_another(&self, than: Option<Owner>, keyspace: KeyspaceId, key: &[u8]) -> bool {
        let partition = self.partition(keyspace, key);
        partition.find(keyspace, key).is_some_and(|lock| lock.is_held_by_another(than))
    }

    fn next_owner(&self) -> Owner {
        Owner(self.owners.fetch_add(1, Ordering::Relaxed))
    }

    fn partition(&self, keyspace: KeyspaceId, key: &[u8]) -> MutexGuard<'_, Partition> {
        let at = hash(keyspace, key) as usize % PARTITIONS;
        self.partitions[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Owner, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock if it can be had at once.
    fn take(&self, owner: Owner, at: &Place, mode: Mode) -> Taken {
        let mut partition = self.partition(at.keyspace, &at.key);
        partition.entry(at, &self.keys).take(owner, mode)
    }

    /// Queues a request if it still has to wait.
    fn enqueue(&self, at: &Place, request: Request) -> Taken {
        let mut partition = self.partition(at.keyspace, &at.key);
        let lock = partition.entry(at, &self.keys);
        let taken = lock.take(request.owner, request.mode);
        if taken == Taken::MustWait {
            lock.enqueue(request);
        }
        taken
    }

    /// Lets go of the lock, or stops waiting for it, and tells those who have it now.
    fn release(&self, owner: Owner, at: &Place) {
        self.change(at, |lock| {
            lock.release(owner);
            lock.cancel(owner);
        });
    }

    /// Stops waiting. `true` if it did wait.
    fn cancel(&self, owner: Owner, at: &Place) -> bool {
        self.change(at, |lock| lock.cancel(owner)) == Some(true)
    }

    fn change<T>(&self, at: &Place, change: impl FnOnce(&mut Lock) -> T) -> Option<T> {
        let mut partition = self.partition(at.keyspace, &at.key);
        let lock = partition.0.get_mut(&at.keyspace)?.get_mut(&at.key)?;
        let out = change(lock);
        let granted = lock.grant();
        lock.check();
        partition.forget_if_idle(at, &self.keys);
        drop(partition);
        granted.into_iter().for_each(|reply| reply.send(()));
        Some(out)
    }

    /// Whom `owner` waits for at this key.
    fn blockers(&self, owner: Owner, at: &Place) -> Vec<Owner> {
        let partition = self.partition(at.keyspace, &at.key);
        partition.find(at.keyspace, &at.key).map(|lock| lock.blockers(owner)).unwrap_or_default()
    }
}

impl Partition {
    fn find(&self, keyspace: KeyspaceId, key: &[u8]) -> Option<&Lock> {
        self.0.get(&keyspace)?.get(key)
    }

    fn entry(&mut self, at: &Place, keys: &AtomicUsize) -> &mut Lock {
        let of_keyspace = self.0.entry(at.keyspace).or_default();
        of_keyspace.entry(at.key.clone()).or_insert_with(|| {
            keys.fetch_add(1, Ordering::Relaxed);
            Lock::default()
        })
    }

    fn forget_if_idle(&mut self, at: &Place, keys: &AtomicUsize) {
        let Some(of_keyspace) = self.0.get_mut(&at.keyspace) else { return };
        if of_keyspace.get(&at.key).is_some_and(Lock::is_idle) {
            of_keyspace.remove(&at.key);
            keys.fetch_sub(1, Ordering::Relaxed);
        }
        if of_keyspace.is_empty() {
            self.0.remove(&at.keyspace);
        }
    }
}

/// FNV-1a: the partition of a key is the same in every run.
fn hash(keyspace: KeyspaceId, key: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    let seed = keyspace.0.to_le_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step);
    let hash = key.iter().fold(seed, step);
    hash ^ (hash >> 32)
}

#[cfg(test)]
pub(crate) mod tests;
