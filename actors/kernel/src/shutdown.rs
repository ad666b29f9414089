//! Telling many tasks that it is time to finish.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

/// A switch that is turned once and that any number of tasks can wait for. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    begun: bool,
    next: u64,
    waiting: BTreeMap<u64, Waker>,
}

impl Shutdown {
    /// A switch that nobody has turned.
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// Turns the switch and wakes all who wait, in the order in which they began to.
    pub fn begin(&self) {
        let waiting = {
            let mut state = self.state();
            state.begun = true;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Whether it has been turned.
    pub fn has_begun(&self) -> bool {
        self.state().begun
    }

    /// Waits until it is turned.
    pub async fn wait(&self) {
        let mut ticket = Ticket { shutdown: self, number: None };
        std::future::poll_fn(|cx| {
            let mut state = self.state();
            if state.begun {
                return Poll::Ready(());
            }
            let number = *ticket.number.get_or_insert_with(|| {
                state.next += 1;
                state.next
            });
            state.waiting.insert(number, cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes its waker back out when the wait is dropped.
struct Ticket<'a> {
    shutdown: &'a Shutdown,
    number: Option<u64>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.shutdown.state().waiting.remove(&number);
        }
    }
}
