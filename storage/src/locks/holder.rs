//! The side of a transaction: the locks it has, and waiting for one more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orloj_kernel::{Answer, Context, Instant, Reply};

use super::{Locks, Mode, Owner, Place, Taken, queue::Request, search::Waiting};
use crate::{Error, KeyspaceId};

/// What an owner shares with the table, which may make it die.
#[derive(Debug)]
pub(super) struct Shared {
    id: Owner,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Every key that it has or may have a lock on.
    held: BTreeSet<Place>,
    /// The key at which it had to die.
    died_at: Option<Place>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of everything, for ever: it waited at a key in a circle.
    pub(super) fn die(&self, locks: &Locks, at: &Place) {
        let held = {
            let mut state = self.state();
            state.died_at = Some(at.clone());
            std::mem::take(&mut state.held)
        };
        held.iter().for_each(|place| locks.release(self.id, place));
    }
}

/// The locks of one transaction. Dropping it lets all of them go.
#[derive(Debug)]
pub struct Holder {
    locks: Arc<Locks>,
    shared: Arc<Shared>,
    /// Until when it waits for locks.
    deadline: Instant,
    /// Where its last request may still stand in a queue.
    asked: Option<Place>,
}

impl Holder {
    /// Somebody without locks who waits for one until `deadline` at most. Of several, the one made
    /// last is the youngest.
    pub fn new(locks: &Arc<Locks>, deadline: Instant) -> Holder {
        let shared = Shared { id: locks.next_owner(), state: Mutex::default() };
        Holder { locks: Arc::clone(locks), shared: Arc::new(shared), deadline, asked: None }
    }

    /// Its name in the table.
    pub fn owner(&self) -> Owner {
        self.shared.id
    }

    /// Waits until `deadline` from now on.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Locks one key. `None` when it is held; else wait, and ask again.
    ///
    /// # Errors
    /// [`Error::Deadlock`] when this owner had to die, then and ever after: its locks are gone.
    /// [`Error::Upgrade`] when the key is held as shared and more is asked for.
    pub fn lock(
        &mut self,
        keyspace: KeyspaceId,
        key: &[u8],
        mode: Mode,
    ) -> Result<Option<Wait>, Error> {
        self.lock_at(Place::new(keyspace, key), mode, true, false)
    }

    /// Waits for a turn at a key without having it then. `None` if there is nobody to wait for.
    ///
    /// Who tries to write without a lock of his own must not leave one behind while he is woken:
    /// two of them would keep each other away, in turns, for ever.
    ///
    /// # Errors
    /// As [`Holder::lock`].
    pub fn turn(&mut self, keyspace: KeyspaceId, key: &[u8]) -> Result<Option<Wait>, Error> {
        self.lock_at(Place::new(keyspace, key), Mode::Exclusive, true, true)
    }

    /// Locks a set of keys in the one order in which everybody locks sets. `None` when all are
    /// held; else wait, and ask again for the same set. Who holds nothing else never dies of it.
    ///
    /// # Errors
    /// As [`Holder::lock`].
    pub fn lock_all<'a>(
        &mut self,
        set: impl IntoIterator<Item = (KeyspaceId, &'a [u8], Mode)>,
    ) -> Result<Option<Wait>, Error> {
        let mut ordered: BTreeMap<Place, Mode> = BTreeMap::new();
        for (keyspace, key, mode) in set {
            let strongest = ordered.entry(Place::new(keyspace, key)).or_insert(mode);
            *strongest = mode.max(*strongest);
        }
        // Where it holds something out of order, it could close a circle there.
        let (strays, last) = {
            let held = &self.shared.state().held;
            (held.iter().any(|place| !ordered.contains_key(place)), held.last().cloned())
        };
        let is_mortal = |at: &Place| strays || last.as_ref().is_some_and(|last| last > at);
        for (at, mode) in &ordered {
            if let Some(wait) = self.lock_at(at.clone(), *mode, is_mortal(at), false)? {
                return Ok(Some(wait));
            }
        }
        Ok(None)
    }

    /// Ends what it may still wait for and says whether it is alive. From then on until it waits
    /// again it stays alive, and every lock it was given is held.
    ///
    /// # Errors
    /// [`Error::Deadlock`] when it had to die.
    pub fn settle(&mut self) -> Result<(), Error> {
        if let Some(place) = self.asked.take() {
            self.locks.cancel(self.owner(), &place);
            self.locks.no_longer_waits(self.owner());
        }
        match &self.shared.state().died_at {
            Some(place) => Err(Error::Deadlock { key: place.key.to_vec() }),
            None => Ok(()),
        }
    }

    fn lock_at(
        &mut self,
        at: Place,
        mode: Mode,
        is_mortal: bool,
        passes: bool,
    ) -> Result<Option<Wait>, Error> {
        self.settle()?;
        let taken = match self.locks.take(self.owner(), &at, mode) {
            Taken::MustWait => {
                // Before it can be had: who dies must find everything it has.
                self.shared.state().held.insert(at.clone());
                self.asked = Some(at.clone());
                let (reply, answer) = Reply::new();
                let request = Request { owner: self.owner(), mode, passes, reply };
                let owner = Arc::clone(&self.shared);
                let waiting = Waiting { at: at.clone(), owner, is_mortal };
                let taken = self.locks.wait(waiting, request);
                if taken == Taken::MustWait {
                    self.settle_if_dead()?;
                    let locks = Arc::clone(&self.locks);
                    let (owner, deadline) = (self.owner(), self.deadline);
                    return Ok(Some(Wait { locks, owner, at, deadline, answer }));
                }
                taken
            }
            taken => taken,
        };
        match taken {
            Taken::Refused => Err(Error::Upgrade { key: at.key.into_vec() }),
            _ => {
                self.shared.state().held.insert(at);
                Ok(None)
            }
        }
    }

    fn settle_if_dead(&mut self) -> Result<(), Error> {
        let is_dead = self.shared.state().died_at.is_some();
        if is_dead { self.settle() } else { Ok(()) }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if self.asked.is_some() {
            self.locks.no_longer_waits(self.owner());
        }
        let held = std::mem::take(&mut self.shared.state().held);
        held.iter().for_each(|place| self.locks.release(self.owner(), place));
    }
}

/// A place in a queue. Dropping it gives the place up.
#[derive(Debug)]
pub struct Wait {
    locks: Arc<Locks>,
    owner: Owner,
    at: Place,
    deadline: Instant,
    pub(super) answer: Answer<()>,
}

impl Wait {
    /// Waits until it makes sense to ask again: the lock is had, or its owner had to die.
    ///
    /// # Errors
    /// [`Error::LockTimeout`] at the deadline. The owner keeps what it has.
    pub async fn over(mut self, cx: &Context) -> Result<(), Error> {
        let left = self.deadline.since(cx.now());
        match cx.timeout(left, &mut self.answer).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::LockTimeout { key: self.at.key.to_vec() }),
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.locks.cancel(self.owner, &self.at);
    }
}
