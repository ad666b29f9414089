//! The latest value of something, and waiting for a newer one.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    task::{Poll, Waker},
};

use openraft_rt::{
    OptionalSend, OptionalSync, RecvError, Watch, WatchReceiver, WatchSender, watch::SendError,
};

/// Watched values. Those who wait are woken in the order in which they began to.
#[derive(Debug)]
pub struct Watched;

/// Changes the value. Clones share it.
pub struct Watching<T>(Arc<Shared<T>>);

/// Sees the value, and remembers which version it has seen.
pub struct Watcher<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// The value, which cannot change while this lives. To be kept for a moment only, and never while
/// waiting.
pub struct WatchedRef<'a, T>(RwLockReadGuard<'a, T>);

struct Shared<T> {
    /// Behind a lock for readers and writers, because openraft borrows it twice on one thread.
    value: RwLock<T>,
    state: Mutex<State>,
}

struct State {
    version: u64,
    watching: usize,
    watchers: usize,
    waiting: BTreeMap<u64, Waker>,
    tickets: u64,
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> WatchedRef<'_, T> {
        WatchedRef(self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn wake_all(&self, mut state: MutexGuard<'_, State>) {
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(Waker::wake);
    }
}

/// A watcher's place among those that wait.
struct Ticket<'a, T> {
    shared: &'a Shared<T>,
    number: Option<u64>,
}

impl<T> Drop for Ticket<'_, T> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.shared.state().waiting.remove(&number);
        }
    }
}

impl Watch for Watched {
    type Sender<T: OptionalSend + OptionalSync> = Watching<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Watcher<T>;
    type Ref<'a, T: OptionalSend + 'a> = WatchedRef<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(first: T) -> (Watching<T>, Watcher<T>) {
        let state =
            State { version: 0, watching: 1, watchers: 1, waiting: BTreeMap::new(), tickets: 0 };
        let shared = Arc::new(Shared { value: RwLock::new(first), state: Mutex::new(state) });
        (Watching(shared.clone()), Watcher { shared, seen: 0 })
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<Watched, T> for Watching<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.state().watchers == 0 {
            return Err(SendError(value));
        }
        self.send_if_modified(|current| {
            *current = value;
            true
        });
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        let modified = modify(&mut self.0.value.write().unwrap_or_else(PoisonError::into_inner));
        if modified {
            let mut state = self.0.state();
            state.version += 1;
            self.0.wake_all(state);
        }
        modified
    }

    fn borrow_watched(&self) -> WatchedRef<'_, T> {
        self.0.read()
    }

    fn subscribe(&self) -> Watcher<T> {
        let mut state = self.0.state();
        state.watchers += 1;
        Watcher { shared: self.0.clone(), seen: state.version }
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<Watched, T> for Watcher<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        let (shared, seen) = (&*self.shared, &mut self.seen);
        let mut ticket = Ticket { shared, number: None };
        std::future::poll_fn(move |cx| {
            let mut state = shared.state();
            if state.version != *seen {
                *seen = state.version;
                return Poll::Ready(Ok(()));
            }
            if state.watching == 0 {
                return Poll::Ready(Err(RecvError(())));
            }
            let state = &mut *state;
            let number = *ticket.number.get_or_insert_with(|| {
                state.tickets += 1;
                state.tickets
            });
            state.waiting.insert(number, cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn borrow_watched(&self) -> WatchedRef<'_, T> {
        self.shared.read()
    }

    fn borrow_and_update(&mut self) -> WatchedRef<'_, T> {
        // The version first: a value changed in between is then seen twice, and never missed.
        self.seen = self.shared.state().version;
        self.shared.read()
    }
}

impl<T> Deref for WatchedRef<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Watching<T> {
    fn clone(&self) -> Self {
        self.0.state().watching += 1;
        Watching(self.0.clone())
    }
}

impl<T> Drop for Watching<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.watching -= 1;
        if state.watching == 0 {
            self.0.wake_all(state);
        }
    }
}

impl<T> Clone for Watcher<T> {
    fn clone(&self) -> Self {
        self.shared.state().watchers += 1;
        Watcher { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T> Drop for Watcher<T> {
    fn drop(&mut self) {
        self.shared.state().watchers -= 1;
    }
}

impl<T> fmt::Debug for Watching<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watching")
    }
}

impl<T> fmt::Debug for Watcher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl<T: fmt::Debug> fmt::Debug for WatchedRef<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
