//! Calls one task that is waiting for something else.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// Rung once, by anybody; heard by the one task that polls it.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    /// Rings for good.
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }

    /// Ready once it has been rung.
    pub(crate) fn poll(&self, task: &mut Context<'_>) -> Poll<()> {
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: whoever rings later finds the waker.
        if self.rung.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        match &mut *waker {
            Some(waker) => waker.clone_from(task.waker()),
            none => *none = Some(task.waker().clone()),
        }
        Poll::Pending
    }
}
